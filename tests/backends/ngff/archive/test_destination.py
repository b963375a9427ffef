"""Single-file OME-Zarr: as RFC-9 asks, the same image in every reader, and there whole or not at all."""

import errno
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import dask
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import ZipStore

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.archive.destination import archive_destination, archive_path
from xarray_ngff.backends.ngff.archive.store import ArchiveStore
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec
from xarray_ngff.errors import FormatError, MissingFolderError, TargetExistsError

COMMENT = {"ome": {"version": "0.5", "zipFile": {"centralDirectory": {"jsonFirst": True}}}}
OLD = as_image(np.full((6, 8), 3, "u1"), spacing=(3, 3), name="image")
NEW = as_image(np.arange(63, dtype="u2").reshape(9, 7), spacing=(7, 7), name="image")


def means(array, factor):
    """Means of the blocks of every level, block by block, halves to even."""
    result = np.empty([-(-n // factor) for n in array.shape], array.dtype)
    for place in np.ndindex(result.shape):
        block = array[tuple(slice(i * factor, (i + 1) * factor) for i in place)]
        result[place] = np.round(block.mean(dtype=float))
    return result


def entries(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return archive.infolist(), archive.comment


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def opened(path, **options):
    return xr.open_dataarray(path, engine="ngff", **options)


@pytest.fixture
def brain():
    """Image whose blocks are all different, but for some that are zero."""
    values = np.random.default_rng(0).integers(1, 4000, (21, 34, 45)).astype("u2")
    values[:16, :16, :16] = 0
    return as_image(values, spacing=(2, 0.5, 0.25), origin=(7, -3, 0.1), units="um", orientation="RAS")


class TestFormat:
    """What RFC-9 asks of the file."""

    @pytest.mark.parametrize("shards", [None, 16], ids=["chunks", "shards"])
    @pytest.mark.parametrize("name", ["a.ozx", "a.zip", "A.OME.ZARR.ZIP"])
    def test_entries(self, brain, tmp_path, name, shards):
        brain.ngff.to_ome_zarr(tmp_path / name, factors=[2, 4, 8], chunks=8, shards=shards)
        infos, comment = entries(tmp_path / name)
        documents = [info.filename for info in infos if info.filename.endswith("zarr.json")]
        assert documents == ["zarr.json", *(f"{level}/zarr.json" for level in range(4))]
        assert [info.filename for info in infos[:5]] == documents
        # in the file as in the directory
        assert [info.header_offset for info in infos] == sorted(info.header_offset for info in infos)
        assert infos[0].header_offset == 0
        assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
        assert len({info.filename for info in infos}) == len(infos)
        assert json.loads(comment) == COMMENT

    def test_zip64_at_any_size(self, tmp_path):
        OLD.ngff.to_ome_zarr(tmp_path / "a.ozx")
        data = (tmp_path / "a.ozx").read_bytes()
        comment = json.dumps(COMMENT).encode()
        end = len(data) - len(comment) - 22
        assert data[end - 76 : end - 72] == b"PK\6\6"
        assert data[end - 20 : end - 16] == b"PK\6\7"
        assert data[end : end + 4] == b"PK\5\6"

    def test_chunks_of_zeros_take_no_entry(self, brain, tmp_path):
        brain.ngff.to_ome_zarr(tmp_path / "a.ozx", factors=[2], chunks=8)
        names = {info.filename for info in entries(tmp_path / "a.ozx")[0]}
        zeros = {f"0/c/{z}/{y}/{x}" for z in range(2) for y in range(2) for x in range(2)} | {"1/c/0/0/0"}
        assert not zeros & names
        counts = [3 * 5 * 6, 2 * 3 * 3]
        assert len(names) == 3 + sum(counts) - len(zeros)

    def test_what_is_equal_gives_equal_entries(self, brain, tmp_path):
        found = []
        for name in "ab":
            brain.ngff.to_ome_zarr(tmp_path / f"{name}.ozx", factors=[2], chunks=8)
            infos, comment = entries(tmp_path / f"{name}.ozx")
            found.append(({info.filename: (info.CRC, info.file_size, info.date_time) for info in infos}, comment))
        assert found[0] == found[1]
        assert (tmp_path / "a.ozx").stat().st_size == (tmp_path / "b.ozx").stat().st_size


class TestReaders:
    @pytest.mark.parametrize("shards", [None, 16], ids=["chunks", "shards"])
    @pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
    def test_same_image(self, brain, tmp_path, shards, chunked):
        path = tmp_path / "a.ozx"
        (brain.chunk(z=5, y=13) if chunked else brain).ngff.to_ome_zarr(path, factors=[2, 4], chunks=8, shards=shards)
        truth = [brain.values, means(brain.values, 2)]
        truth.append(means(truth[1], 2))

        group = zarr.open_group(ZipStore(path, mode="r"), mode="r")
        for level, values in enumerate(truth):
            np.testing.assert_array_equal(group[str(level)][...], values)
            assert (group[str(level)].shards is None) == (shards is None)
            own = opened(path, level=level)
            np.testing.assert_array_equal(own, values)
            np.testing.assert_allclose(own.ngff.spacing["z"], 2 * 2**level)
            np.testing.assert_allclose(own.ngff.origin["y"], -3 + 0.5 * (2**level - 1) / 2)
            spec = {"driver": "zip", "base": path.as_uri(), "path": f"{level}/"}
            other = tensorstore.open({"driver": "zarr3", "kvstore": spec}).result()
            np.testing.assert_array_equal(other.read().result(), values)
        np.testing.assert_allclose(opened(path).ngff.affine, brain.ngff.affine)
        group.store.close()

    def test_ngff_zarr(self, brain, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from ngff_zarr import from_ngff_zarr
            from ngff_zarr.rfc9_zip import read_ozx_json_first, read_ozx_version

        path = tmp_path / "a.ozx"
        brain.ngff.to_ome_zarr(path, factors=[2], chunks=8, shards=16)
        assert (read_ozx_version(path), read_ozx_json_first(path)) == ("0.5", True)
        image = from_ngff_zarr(str(path)).images[0]
        np.testing.assert_array_equal(np.asarray(image.data), brain)
        assert image.scale["x"] == 0.25

    @given(data=st.data())
    @settings(max_examples=10, deadline=None)
    def test_any_image(self, data, tmp_path_factory):
        path = tmp_path_factory.mktemp("any") / "a.ozx"
        shape = [data.draw(st.integers(2, 14)) for _ in range(data.draw(st.integers(2, 3)))]
        values = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 3, shape).astype("f4")
        chunk, per_shard = data.draw(st.integers(2, 6)), data.draw(st.integers(0, 3))
        img = as_image(values)
        source = img.chunk(data.draw(st.integers(1, 7))) if data.draw(st.booleans()) else img
        source.ngff.to_ome_zarr(path, levels=2, method="max", chunks=chunk, shards=chunk * per_shard or None)
        np.testing.assert_array_equal(opened(path), values)
        assert float(opened(path, level=1).max()) == values.max()
        entries(path)

    def test_tree_and_like(self, brain, tmp_path):
        tree = brain.ngff.to_multiscale(factors=[2, 4])
        tree.ngff.to_ome_zarr(tmp_path / "a.ozx", chunks=8)
        for level in range(3):
            np.testing.assert_array_equal(opened(tmp_path / "a.ozx", level=level), tree[f"scale{level}"]["image"])

    def test_over_itself(self, brain, tmp_path):
        """What is read until the end is replaced at the end."""
        path = tmp_path / "a.ozx"
        brain.ngff.to_ome_zarr(path, factors=[2], chunks=8)
        (opened(path) + np.uint16(1)).ngff.to_ome_zarr(path, factors=[2], chunks=8, overwrite=True)
        np.testing.assert_array_equal(opened(path), brain + 1)
        assert names_in(tmp_path) == ["a.ozx"]

    def test_whatever_the_scheduler(self, brain, tmp_path):
        """Other processes could not write to it, so threads of this one do."""
        with dask.config.set(scheduler="processes"):
            brain.chunk(z=8).ngff.to_ome_zarr(tmp_path / "a.ozx", factors=[2], chunks=8)
        np.testing.assert_array_equal(opened(tmp_path / "a.ozx"), brain)


class TestRefused:
    """All of it before anything is written."""

    @pytest.fixture(autouse=True)
    def _unchanged(self, tmp_path):
        OLD.ngff.to_ome_zarr(tmp_path / "old.ozx")
        before = (tmp_path / "old.ozx").read_bytes()
        yield
        assert (tmp_path / "old.ozx").read_bytes() == before
        assert not [name for name in names_in(tmp_path) if name.endswith(".partial")]

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"version": "0.4"}, "leave out version='0.4'"),
            ({"version": "0.6"}, "version='0.6'"),
            ({"compute": False}, "leave out compute=False"),
            ({"resume": True}, "leave out resume=True"),
            ({"storage_options": {"anon": True}}, "leave out storage_options"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    @pytest.mark.parametrize("name", ["old.ozx", "new.ozx", "new.ZIP"])
    def test_options(self, tmp_path, name, options, named):
        with pytest.raises(FormatError, match=named):
            NEW.ngff.to_ome_zarr(tmp_path / name, overwrite=True, **options)
        assert names_in(tmp_path) == ["old.ozx"]

    @pytest.mark.parametrize("option", [{"region": "auto"}, {"label": "nuclei"}], ids=["region", "label"])
    def test_parts(self, option):
        with pytest.raises(FormatError, match=rf"a\.ozx is a single-file OME-Zarr.*leave out {next(iter(option))}"):
            archive_path("a.ozx", **option)

    @pytest.mark.parametrize(
        "url", ["s3://lab/a.ozx", "memory://a.zip", "https://lab.org/a.ozx/", "zip://::/tmp/a.zip"]
    )
    def test_urls(self, url):
        with pytest.raises(FormatError, match="an archive is written to a local path only"):
            NEW.ngff.to_ome_zarr(url)

    def test_existing(self, tmp_path):
        for path in (tmp_path / "old.ozx", str(tmp_path / "old.ozx"), (tmp_path / "old.ozx").as_uri()):
            with pytest.raises(TargetExistsError, match=r"old\.ozx exists: pass overwrite=True"):
                NEW.ngff.to_ome_zarr(path)

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_what_is_no_zarr(self, tmp_path, overwrite):
        (tmp_path / "text.ozx").write_text("years of work")
        (tmp_path / "folder.zip").mkdir()
        with zipfile.ZipFile(tmp_path / "backup.zip", "w") as archive:
            archive.writestr("thesis.txt", "years of work")
        os.mkfifo(tmp_path / "pipe.ozx")
        before = {name: (tmp_path / name).read_bytes() for name in ("text.ozx", "backup.zip")}
        for name in ("text.ozx", "folder.zip", "backup.zip", "pipe.ozx"):
            message = "is a folder, and|is no Zarr archive, so it is not overwritten" if overwrite else "exists: pass"
            with pytest.raises(TargetExistsError, match=message):
                NEW.ngff.to_ome_zarr(tmp_path / name, overwrite=overwrite)
        assert {name: (tmp_path / name).read_bytes() for name in before} == before

    def test_missing_folder(self, tmp_path):
        with pytest.raises(MissingFolderError, match="no/where does not exist"):
            NEW.ngff.to_ome_zarr(tmp_path / "no/where/a.ozx")


def test_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert archive_path("~/a.ozx") == tmp_path / "a.ozx"
    assert archive_path((tmp_path / "a b.ozx").as_uri()) == tmp_path / "a b.ozx"
    assert archive_path("a.zip/") == Path("a.zip")
    for other in ("a.ome.zarr", Path("a.zarr"), "s3://lab/a.zarr", b"a.ozx", 3, None, zarr.storage.MemoryStore()):
        assert archive_path(other, version="0.4", compute=False, resume=True, region="auto", label="a") is None


class TestReplacing:
    def test_old_one_stays_until_the_end(self, brain, tmp_path, monkeypatch):
        path = tmp_path / "a.ozx"
        OLD.ngff.to_ome_zarr(path)
        path.chmod(0o640)
        seen = []
        seal = ArchiveStore.seal

        def sealed(self, *, comment):
            seen.append(opened(path).values)
            seal(self, comment=comment)
            seen.append(opened(path).values)

        monkeypatch.setattr(ArchiveStore, "seal", sealed)
        brain.ngff.to_ome_zarr(path, chunks=8, overwrite=True)
        assert len(seen) == 2
        np.testing.assert_array_equal(seen, [OLD, OLD])
        np.testing.assert_array_equal(opened(path), brain)
        assert names_in(tmp_path) == ["a.ozx"]
        assert path.stat().st_mode & 0o777 == 0o640

    def test_link(self, tmp_path):
        OLD.ngff.to_ome_zarr(tmp_path / "disk.ozx")
        (tmp_path / "link.ozx").symlink_to("disk.ozx")
        NEW.ngff.to_ome_zarr(tmp_path / "link.ozx", overwrite=True)
        assert (tmp_path / "link.ozx").is_symlink()
        np.testing.assert_array_equal(opened(tmp_path / "disk.ozx"), NEW)

    def test_empty_file(self, tmp_path):
        """As `tempfile` makes them."""
        (tmp_path / "a.ozx").touch()
        NEW.ngff.to_ome_zarr(tmp_path / "a.ozx", overwrite=True)
        np.testing.assert_array_equal(opened(tmp_path / "a.ozx"), NEW)

    def test_what_appears_meanwhile_is_left(self, tmp_path, monkeypatch):
        path = tmp_path / "a.ozx"
        seal = ArchiveStore.seal

        def sealed(self, *, comment):
            seal(self, comment=comment)
            path.write_text("someone else's")

        monkeypatch.setattr(ArchiveStore, "seal", sealed)
        with pytest.raises(TargetExistsError, match="appeared while it was being written"):
            NEW.ngff.to_ome_zarr(path)
        assert path.read_text() == "someone else's"
        assert names_in(tmp_path) == ["a.ozx"]


# Where a write can break: the module, the name in it, and how often that is called before.
STEPS = {
    "documents": ("archive.destination", "array_documents", 0),
    "a document": ("archive.store", "local_header", 1),
    "a chunk": ("archive.store", "local_header", 3),
    "a later chunk": ("archive.store", "local_header", 8),
    "directory": ("archive.store", "central_directory", 0),
    "disk": ("_atomic", "flush", 0),
    "name": ("_atomic", "move_to_free_name", 0),
}
FULL = OSError(errno.ENOSPC, "No space left on device")
# only the main thread is interrupted, and it writes no chunk
BREAKS = [(step, FULL, chunked) for step in STEPS for chunked in (False, True)]
BREAKS += [(step, KeyboardInterrupt(), False) for step in STEPS if "chunk" not in step]


class TestBroken:
    """The target is absent or the old one, and nothing else is left."""

    @pytest.mark.parametrize(
        ("step", "error", "chunked"),
        BREAKS,
        ids=lambda value: value if isinstance(value, str) else str(value) or "interrupt",
    )
    @pytest.mark.parametrize("there", [True, False], ids=["old", "absent"])
    def test_at_any_step(self, tmp_path, monkeypatch, step, error, there, chunked):
        path = tmp_path / "a.ozx"
        if there:
            OLD.ngff.to_ome_zarr(path)
        module, name, count = STEPS[step]
        package = "xarray_ngff.backends" if module == "_atomic" else "xarray_ngff.backends.ngff"
        place = importlib.import_module(f"{package}.{module}")
        original, calls = getattr(place, name), []
        if there and step == "name":
            place, name, original = Path, "replace", Path.replace

        def failing(*args, **kwargs):
            calls.append(args)
            if len(calls) > count:
                raise error
            return original(*args, **kwargs)

        before = path.read_bytes() if there else None
        image = NEW.chunk(y=2) if chunked else NEW
        with monkeypatch.context() as patch:
            patch.setattr(place, name, failing)
            with pytest.raises(type(error)):
                image.ngff.to_ome_zarr(path, factors=[2], chunks=2, overwrite=there)
        assert len(calls) > count
        assert names_in(tmp_path) == (["a.ozx"] if there else [])
        assert (path.read_bytes() if there else None) == before
        image.ngff.to_ome_zarr(path, factors=[2], chunks=2, overwrite=there)
        np.testing.assert_array_equal(opened(path), NEW)

    def test_file_that_may_not_grow(self, brain, tmp_path):
        """A limit of the system, which is met in the middle of a chunk."""
        path = tmp_path / "a.ozx"
        OLD.ngff.to_ome_zarr(path)
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(OSError, match="too large"):
                brain.ngff.to_ome_zarr(path, chunks=8, overwrite=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == before
        assert names_in(tmp_path) == ["a.ozx"]

    def test_killed(self, tmp_path):
        """What is left of it is hidden, and no archive."""
        path = tmp_path / "a.ozx"
        OLD.ngff.to_ome_zarr(path)
        before = path.read_bytes()
        script = (
            "import sys, time, numpy as np\n"
            "from xarray_ngff import as_image\n"
            "from xarray_ngff.backends.ngff.archive import store as archive_store\n"
            "directory = archive_store.central_directory\n"
            "def stuck(*args):\n"
            "    print('at the end', flush=True)\n"
            "    time.sleep(60)\n"
            "archive_store.central_directory = stuck\n"
            "as_image(np.ones((50, 60), 'u1')).ngff.to_ome_zarr(sys.argv[1], chunks=16, overwrite=True)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "at the end\n"
            process.send_signal(signal.SIGKILL)
        assert path.read_bytes() == before
        (left,) = set(tmp_path.iterdir()) - {path}
        assert left.name.startswith(".a.ozx.")
        assert not zipfile.is_zipfile(left)

    def test_interrupted(self, tmp_path):
        """Ctrl-C, as the system sends it, while chunks are written."""
        path = tmp_path / "a.ozx"
        script = (
            "import sys, time, numpy as np\n"
            "from xarray_ngff import as_image\n"
            "from xarray_ngff.backends.ngff.archive import store as archive_store\n"
            "header = archive_store.local_header\n"
            "def slow(entry):\n"
            "    if '/c/' in entry.name:\n"
            "        print('in the middle', flush=True)\n"
            "        time.sleep(0.02)\n"
            "    return header(entry)\n"
            "archive_store.local_header = slow\n"
            "as_image(np.ones((99, 99), 'u1')).ngff.to_ome_zarr(sys.argv[1], chunks=16)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert "in the middle" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert "KeyboardInterrupt" in said
        assert process.returncode != 0
        assert names_in(tmp_path) == []


class TestDestination:
    """The functions that the engine calls, in any order."""

    SPECS = (ArraySpec("0", (6, 8), (3, 4), "<u2", ("y", "x")), ArraySpec("1", (3, 4), (3, 4), "<u2", ("y", "x")))
    ATTRIBUTES = {"ome": {"version": "0.5", "multiscales": []}}  # noqa: RUF012

    def new(self, path, **options):
        return archive_destination(path, self.SPECS, self.ATTRIBUTES, **{"overwrite": False} | options)

    def test_nothing_is_written_before_it_begins(self, tmp_path):
        destination = self.new(tmp_path / "a.ozx")
        assert (destination.name, destination.is_shared) == (str(tmp_path / "a.ozx"), False)
        assert not destination.is_finished()
        destination.discard()
        with pytest.raises(FormatError, match=r"a\.ozx was not begun, or was discarded"):
            destination.finish()
        assert names_in(tmp_path) == []

    def test_coarser_levels_are_made_from_what_is_there(self, tmp_path, ramp):
        destination = self.new(tmp_path / "a.ozx")
        first, second = destination.arrays()
        first[...] = ramp(6, 8)
        second[...] = first[::2, 1::2]
        assert not (tmp_path / "a.ozx").exists()
        destination.finish()
        assert destination.is_finished()
        np.testing.assert_array_equal(zarr.open_array(ZipStore(tmp_path / "a.ozx"), path="1"), ramp(6, 8)[::2, 1::2])
        (tmp_path / "a.ozx").unlink()
        assert not destination.is_finished()

    def test_begun_again(self, tmp_path, ramp):
        destination = self.new(tmp_path / "a.ozx")
        stale, _ = destination.arrays()
        first, _ = destination.arrays()
        (hidden,) = names_in(tmp_path)
        assert hidden.endswith(".partial")
        with pytest.raises(OSError, match="No such file"):
            stale[...] = 8
        first[...] = ramp(6, 8)
        destination.finish()
        np.testing.assert_array_equal(zarr.open_array(ZipStore(tmp_path / "a.ozx"), path="0"), ramp(6, 8))

    def test_discarded(self, tmp_path):
        destination = self.new(tmp_path / "a.ozx")
        array, _ = destination.arrays()
        array[...] = 7
        destination.discard()
        destination.discard()
        assert names_in(tmp_path) == []
        with pytest.raises(FormatError, match="was not begun, or was discarded"):
            destination.finish()
        assert not destination.is_finished()

    def test_finished_once(self, tmp_path):
        destination = self.new(tmp_path / "a.ozx")
        destination.arrays()
        destination.finish()
        whole = (tmp_path / "a.ozx").read_bytes()
        destination.discard()
        with pytest.raises(FormatError, match="was not begun, or was discarded"):
            destination.finish()
        assert (tmp_path / "a.ozx").read_bytes() == whole

    def test_a_chunk_that_two_write_is_refused(self, tmp_path):
        destination = self.new(tmp_path / "a.ozx")
        array, _ = destination.arrays()
        array[:2] = 1
        with pytest.raises(FormatError, match=r"'0/c/0/[01]' is written a second time"):
            array[2:] = 2

    def test_what_is_forgotten_leaves_nothing(self, tmp_path):
        destination = self.new(tmp_path / "a.ozx")
        destination.arrays()
        del destination
        assert names_in(tmp_path) == []
