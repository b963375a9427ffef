"""resume=True: a write that was stopped goes on, and gives the files that a write in one go gives."""

import functools
import os
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec
from xarray_ngff.backends.ngff.targets.journal import described, journal_of
from xarray_ngff.backends.ngff.targets.target import (
    begin,
    create_arrays,
    discard,
    finish,
    held,
    is_finished,
    open_target,
)
from xarray_ngff.errors import FormatError, TargetExistsError

KINDS = ["folder", "memory", "fsspec", "inside"]
by_kind = pytest.mark.parametrize("kind", KINDS[:3])

OLD = as_image(np.full((6, 8), 3, "u1"), spacing=(3, 3), name="image")
TRUTH = np.random.default_rng(0).integers(0, 900, (6, 40, 50), dtype="u2")
TRUTH[4] = 0  # blocks that are all fill value have no chunks


class StoppedError(Exception):
    pass


class Planes(BackendArray):
    """A time series that is made plane by plane, and knows which planes were."""

    shape, dtype = TRUTH.shape, TRUTH.dtype

    def __init__(self, fails_at, error):
        self.made, self.fails_at, self.error = [], fails_at, error

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._get)

    def _get(self, key):
        (t,) = range(6)[key[0]]
        if self.fails_at is not None and t >= self.fails_at:  # what was begun meanwhile fails too
            raise self.error("stopped")
        self.made.append(t)
        return TRUTH[key]


class Source:
    """An image of six planes, each of which is a block."""

    def __init__(self, fails_at=None, error=StoppedError):
        self.planes = Planes(fails_at, error)

    @property
    def made(self):
        return self.planes.made

    def image(self, **changed):
        lazy = xr.Variable(tuple("tyx"), indexing.LazilyIndexedArray(self.planes))
        geometry = {"spacing": (2, 2), "units": "um"} | changed
        described = as_image(np.broadcast_to(np.uint16(0), TRUTH.shape), "tyx", **geometry)
        return xr.DataArray(lazy, coords=described.coords, name=described.name)


OPTIONS = {"levels": 3, "chunks": 16}
PLANE_BYTES = 40 * 50 * 2


def with_blocks_of(patch, size):
    """Have one thread read so many bytes at a time."""
    patch.setattr("xarray_ngff.pyramid.writing_plan.BLOCK_BYTES", size)
    patch.setattr("xarray_ngff.pyramid.writing_plan._SMALLEST_BLOCK", 1)
    patch.setattr("xarray_ngff.pyramid.writing_plan._threads", lambda: 1)


@pytest.fixture(autouse=True)
def plane_by_plane(monkeypatch):
    with_blocks_of(monkeypatch, PLANE_BYTES)


def stopped(store, error=StoppedError, **changed):
    """Begin a write that is stopped when half of the planes are whole."""
    source = Source(3, error)
    with pytest.raises(error):
        source.image(**changed).ngff.to_ome_zarr(store, resume=True, **OPTIONS)
    assert source.made == [0, 1, 2]


def place(kind, tmp_path, name="a"):
    return {
        "folder": lambda: tmp_path / f"{name}.zarr",
        "memory": MemoryStore,
        "fsspec": lambda: FsspecStore.from_url(f"memory://test_resume/{tmp_path.name}/{name}", read_only=False),
        "inside": lambda: StorePath(MemoryStore(), "scans/first"),
    }[kind]()


def files(store):
    """Every key with its content, where the random name of what replaces something is always the same."""
    if isinstance(store, os.PathLike):
        keys = {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}
    else:
        inner = store.store if isinstance(store, StorePath) else store
        if isinstance(inner, MemoryStore):
            keys = {key: value.to_bytes() for key, value in inner._store_dict.items()}
        else:
            top = f"/{inner.path.strip('/')}/"
            keys = {key.removeprefix(top): memory().cat_file(key) for key in memory().find(top)}
    prefix = next((match[0] for key in sorted(keys) if (match := re.search(r"\b[0-9a-f]{8}\b", key))), None)
    if prefix is None:
        return keys
    return {key.replace(prefix, "new"): value.replace(prefix.encode(), b"new") for key, value in keys.items()}


def memory():
    return fsspec.filesystem("memory")


def hidden(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".partial"))


@functools.cache
def whole(kind, version="0.5", before=None):
    """The files of a write in one go."""
    with tempfile.TemporaryDirectory() as folder:
        store = place(kind, Path(folder), "whole")
        if before is not None:
            OLD.ngff.to_ome_zarr(store, version=before)
        Source().image().ngff.to_ome_zarr(store, version=version, overwrite=before is not None, **OPTIONS)
        return files(store)


def agrees(store, img=None):
    found = xr.open_dataarray(store, engine="ngff")
    return np.array_equal(found, TRUTH if img is None else img)


class TestGoesOn:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize(("version", "before"), [("0.5", None), ("0.4", None), ("0.5", "0.5"), ("0.5", "0.4")])
    def test_what_is_whole_is_not_made_again(self, kind, version, before, tmp_path):
        truth = whole(kind, version, before)
        store = place(kind, tmp_path)
        if before is not None:
            OLD.ngff.to_ome_zarr(store, version=before)
        old = files(store)
        options = {**OPTIONS, "version": version, "overwrite": before is not None, "resume": True}
        made = []
        for fails_at in (2, 2, 5, None):
            source = Source(fails_at)
            if fails_at is None:
                source.image().ngff.to_ome_zarr(store, **options)
            else:
                with pytest.raises(StoppedError):
                    source.image().ngff.to_ome_zarr(store, **options)
                if kind == "folder":
                    assert files(store) == old
                    assert len(hidden(tmp_path)) == 1
                elif before is not None:
                    assert agrees(store, OLD)
                else:
                    with pytest.raises(FormatError):
                        xr.open_dataarray(store, engine="ngff")
            made.append(source.made)
        assert made == [[0, 1], [], [2, 3, 4], [5]]
        assert files(store) == truth
        assert hidden(tmp_path) == []

    @by_kind
    def test_an_interrupt(self, kind, tmp_path):
        store = place(kind, tmp_path)
        stopped(store, KeyboardInterrupt)
        source = Source()
        source.image().ngff.to_ome_zarr(store, resume=True, **OPTIONS)
        assert source.made == [3, 4, 5]
        assert files(store) == whole(kind)

    @by_kind
    def test_without_anything_to_go_on_with(self, kind, tmp_path):
        store = place(kind, tmp_path)
        Source().image().ngff.to_ome_zarr(store, resume=True, **OPTIONS)
        assert files(store) == whole(kind)
        with pytest.raises(TargetExistsError):
            Source().image().ngff.to_ome_zarr(store, resume=True, **OPTIONS)
        Source().image().ngff.to_ome_zarr(store, resume=True, overwrite=True, **OPTIONS)
        assert agrees(store)

    @by_kind
    def test_without_it_a_failure_leaves_nothing(self, kind, tmp_path):
        store = place(kind, tmp_path)
        for error in (StoppedError, KeyboardInterrupt):
            with pytest.raises(error):
                Source(3, error).image().ngff.to_ome_zarr(store, **OPTIONS)
        assert files(store) == {}
        assert hidden(tmp_path) == []

    @pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2), (1, 1 / 8), (1 / 8, 1), (1 / 8, 3)])
    def test_blocks_that_are_cut_otherwise_are_made_again(self, first, then, tmp_path, monkeypatch):
        """Blocks of another size, and the same region in a pass that makes other levels of it."""
        image = as_image(TRUTH, "tyx", spacing=(2, 2), units="um")
        truth = whole("folder")
        for stop in (1, 3):
            store = tmp_path / f"{stop}.zarr"
            with monkeypatch.context() as patch:
                with_blocks_of(patch, PLANE_BYTES * first)
                stop_after(patch, stop)
                with pytest.raises(StoppedError):
                    image.ngff.to_ome_zarr(store, resume=True, **OPTIONS)
            with_blocks_of(monkeypatch, PLANE_BYTES * then)
            image.ngff.to_ome_zarr(store, resume=True, **OPTIONS)
            assert files(store) == truth

    @pytest.mark.parametrize("stop", range(1, 100, 24))
    def test_levels_that_are_made_from_stored_ones(self, stop, tmp_path, monkeypatch):
        image = as_image(TRUTH, "tyx", spacing=(2, 2), units="um")
        with_blocks_of(monkeypatch, PLANE_BYTES / 8)
        with monkeypatch.context() as patch:
            before = stop_after(patch, stop)
            with pytest.raises(StoppedError):
                image.ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        with monkeypatch.context() as patch:
            after = stop_after(patch, None)
            image.ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        assert not set(before) - {before[stop - 1]} & set(after)
        assert {key[0] for key in [*before, *after]} == set("012")  # so each level has a pass of its own
        assert files(tmp_path / "a.zarr") == whole("folder")

    @pytest.mark.parametrize("lengths", [{"t": 1}, {"t": 2, "y": 7}], ids=["planes", "awkward"])
    def test_a_dask_image(self, lengths, tmp_path, monkeypatch):
        image = as_image(TRUTH, "tyx", spacing=(2, 2), units="um").chunk(lengths)
        with monkeypatch.context() as patch:
            before = stop_after(patch, 2)
            with pytest.raises(StoppedError):
                image.ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        with monkeypatch.context() as patch:
            after = stop_after(patch, None)
            image.ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        assert before[0] not in after
        assert files(tmp_path / "a.zarr") == whole("folder")

    def test_what_a_killed_process_left_of_a_chunk_is_removed(self, tmp_path):
        stopped(tmp_path / "a.zarr")
        (name,) = hidden(tmp_path)
        for torn in ("0/c/4/0/1.0123456789abcdef0123456789abcdef.partial", "zarr." + 32 * "a" + ".partial"):
            (tmp_path / name / torn).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / torn).write_bytes(b"half")
        (tmp_path / name / "0/c/3/0").mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "0/c/3/0/0").write_bytes(b"what zarr 3.0 leaves: half a chunk under its own name")
        Source().image().ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        assert files(tmp_path / "a.zarr") == whole("folder")


def stop_after(patch, number):
    """Have a write stop at the n-th block that is noted; gives the blocks that were, and the one that was not."""
    from xarray_ngff.backends.ngff.targets.journal import BlockJournal

    record, seen = BlockJournal.record, []

    def counted(self, key):
        seen.append(key)
        if len(seen) == number:
            raise StoppedError
        record(self, key)

    patch.setattr(BlockJournal, "record", counted)
    return seen


class TestAnotherWrite:
    """What is not the same is not continued."""

    CHANGES = MappingProxyType({
        "spacing": ({"spacing": (3, 2)}, {}, r"scale\[1\]"),
        "units": ({"units": "mm"}, {}, r"unit is .micrometer., and .millimeter. is to be written"),
        "chunks": ({}, {"chunks": 20}, "chunk_shape"),
        "compressor": ({}, {"compressor": "gzip"}, "codecs"),
        "method": ({}, {"method": "nearest"}, "method is .mean., and .nearest. is to be written"),
        "levels": ({}, {"levels": 2}, r"arrays\.2 is .* and missing is to be written"),
        "version": ({}, {"version": "0.4"}, r"zarr\.json"),
    })  # fmt: skip

    @pytest.mark.parametrize("changed", CHANGES)
    @pytest.mark.parametrize("kind", ["folder", "memory"])
    def test_the_first_difference_is_named(self, changed, kind, tmp_path):
        store = place(kind, tmp_path)
        stopped(store)
        of_image, options, message = self.CHANGES[changed]
        before = files(tmp_path) if kind == "folder" else files(store)
        with pytest.raises(FormatError, match=f"(?s)unfinished write of something else.*{message}.*begin anew"):
            Source().image(**of_image).ngff.to_ome_zarr(store, resume=True, **OPTIONS | options)
        assert (files(tmp_path) if kind == "folder" else files(store)) == before
        # and the first one can still go on
        Source().image().ngff.to_ome_zarr(store, resume=True, **OPTIONS)
        assert files(store) == whole(kind)

    def test_without_resume_a_folder_is_begun_anew_and_the_other_stays(self, tmp_path):
        stopped(tmp_path / "a.zarr")
        (name,) = hidden(tmp_path)
        before = files(tmp_path / name)
        source = Source()
        source.image().ngff.to_ome_zarr(tmp_path / "a.zarr", **OPTIONS)
        assert len(source.made) == 6
        assert files(tmp_path / name) == before

    def test_without_resume_a_store_says_what_is_in_the_way(self):
        store = MemoryStore()
        stopped(store)
        before = files(store)
        for overwrite in (True, False):
            with pytest.raises(TargetExistsError, match="holds an unfinished write: pass resume=True"):
                Source().image().ngff.to_ome_zarr(store, overwrite=overwrite, **OPTIONS)
        assert files(store) == before

    def test_the_one_that_fits_is_taken_of_several(self, tmp_path):
        for spacing in ((2, 2), (5, 5)):
            stopped(tmp_path / "a.zarr", spacing=spacing)
            (name,) = hidden(tmp_path)
            (tmp_path / name).rename(tmp_path / f"kept{spacing[0]}")
        for name in ("2", "5"):
            (tmp_path / f"kept{name}").rename(tmp_path / f".a.zarr.0000000{name}.partial")
        with pytest.raises(FormatError, match=r"in .*\.a\.zarr\.00000005\.partial"):
            Source().image(spacing=(3, 3)).ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        source = Source()
        source.image().ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        assert source.made == [3, 4, 5]

    @pytest.mark.parametrize("name", [".a.zarr.0123.partial", ".a.zarr.01234567.partial", ".b.zarr.01234567.partial"])
    def test_folders_without_a_journal_are_none_of_ours(self, name, tmp_path):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("years of work")
        Source().image().ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        assert (tmp_path / name / "thesis.txt").read_text() == "years of work"

    def test_a_store_that_cannot_delete(self):
        class Archive(MemoryStore):
            supports_deletes = False

        with pytest.raises(FormatError, match="resume=True is not possible there"):
            Source().image().ngff.to_ome_zarr(Archive(), resume=True, **OPTIONS)
        store = Archive()
        Source().image().ngff.to_ome_zarr(store, **OPTIONS)
        assert files(store) == whole("memory")


class TestLater:
    """compute=False."""

    @by_kind
    def test_it_goes_on_when_it_is_computed(self, kind, tmp_path):
        store = place(kind, tmp_path)
        stopped(store)
        source = Source()
        there = files(tmp_path) if kind == "folder" else files(store)
        task = source.image().ngff.to_ome_zarr(store, resume=True, compute=False, **OPTIONS)
        assert (files(tmp_path) if kind == "folder" else files(store)) == there
        task.compute(scheduler="synchronous")
        assert sorted(source.made) == [3, 4, 5]
        assert files(store) == whole(kind)

    @by_kind
    def test_what_fails_is_kept(self, kind, tmp_path):
        store = place(kind, tmp_path)
        first = Source(3)
        task = first.image().ngff.to_ome_zarr(store, resume=True, compute=False, **OPTIONS)
        with pytest.raises(StoppedError):
            task.compute(scheduler="synchronous")
        source = Source()
        source.image().ngff.to_ome_zarr(store, resume=True, **OPTIONS)
        assert set(source.made) | set(first.made) == set(range(6))
        assert files(store) == whole(kind)

    @by_kind
    def test_what_was_to_be_continued_is_gone(self, kind, tmp_path):
        store = place(kind, tmp_path)
        stopped(store)
        task = Source().image().ngff.to_ome_zarr(store, resume=True, compute=False, **OPTIONS)
        Source().image().ngff.to_ome_zarr(store, resume=True, **OPTIONS)
        truth = files(store)
        with pytest.raises((FormatError, TargetExistsError), match=r"is gone|was written since"):
            task.compute(scheduler="synchronous")
        assert files(store) == truth
        assert hidden(tmp_path) == []


SPECS = (ArraySpec("0", (4, 6), (2, 3), "<u2", ("y", "x")), ArraySpec("1", (2, 3), (2, 3), "<u2", ("y", "x")))
DESCRIPTION = described(SPECS, {"note": "done"}, zarr_format=3, method="mean")


def begun(store, **options):
    return begin(open_target(store, **{"overwrite": False, "storage_options": None} | options), DESCRIPTION)


class TestSteps:
    """What a cluster does twice, and what two processes do at once."""

    @by_kind
    def test_arrays_that_are_asked_for_again_keep_their_blocks(self, kind, tmp_path):
        """The worker that had created them was lost."""
        target = begun(place(kind, tmp_path))
        arrays = create_arrays(target, SPECS, zarr_format=3)
        arrays[0][:2] = 5
        again = create_arrays(pickle.loads(pickle.dumps(target)) if kind == "folder" else target, SPECS, zarr_format=3)
        again[0][2:] = 6
        np.testing.assert_array_equal(arrays[0][:], np.repeat([5, 6], [2, 2])[:, None] * np.ones(6))
        finish(target, {"note": "done"}, zarr_format=3)
        assert is_finished(target)

    @by_kind
    @pytest.mark.parametrize("before", [None, "0.5"])
    def test_finishing_again_changes_nothing(self, kind, before, tmp_path):
        """The worker that had finished was lost before it could tell."""
        store = place(kind, tmp_path)
        if before is not None:
            OLD.ngff.to_ome_zarr(store, version=before)
        target = begun(store, overwrite=before is not None)
        create_arrays(target, SPECS, zarr_format=3)[0][:] = 5
        for _ in range(2):
            finish(target, {"note": target.prefix}, zarr_format=3)
            truth = files(store)
        assert files(store) == truth
        assert not any(".unfinished" in key for key in truth)

    def test_creating_again_after_the_end_does_not_replace_what_is_whole(self, tmp_path):
        OLD.ngff.to_ome_zarr(tmp_path / "a.zarr")
        target = begun(tmp_path / "a.zarr", overwrite=True)
        create_arrays(target, SPECS, zarr_format=3)[0][:] = 5
        finish(target, {"note": "done"}, zarr_format=3)
        truth = files(tmp_path)
        with pytest.raises(TargetExistsError, match="was written since this write was planned"):
            create_arrays(target, SPECS, zarr_format=3)
        assert files(tmp_path) == truth

    @by_kind
    def test_who_was_overtaken_does_not_finish(self, kind, tmp_path):
        store = place(kind, tmp_path)
        first = begun(store)
        create_arrays(first, SPECS, zarr_format=3)[0][:] = 5
        second = begun(store, resume=True)
        assert second.continues
        create_arrays(second, SPECS, zarr_format=3)
        with pytest.raises(FormatError, match="another process has gone on with this write"):
            finish(first, {"note": "done"}, zarr_format=3)
        discard(first, SPECS)
        assert not is_finished(first)
        finish(second, {"note": "done"}, zarr_format=3)
        assert is_finished(second)
        assert (zarr.open_group(store, mode="r")["0"][:] == 5).all()
        with pytest.raises(
            FormatError, match=r"another process has gone on|was written since|what was written is not there"
        ):
            finish(first, {"note": "other"}, zarr_format=3)

    def test_one_process_at_a_time(self, tmp_path):
        first = begun(tmp_path / "a.zarr", resume=True)
        with held(first):
            create_arrays(first, SPECS, zarr_format=3)
            message = rf"a\.zarr is being written by process {os.getpid()} on .*: wait until it is done"
            with pytest.raises(FormatError, match=message):
                begun(tmp_path / "a.zarr", resume=True)
            with pytest.raises(FormatError, match=message), held(first):
                pass
            # a write of something else is none of its business
            other = begin(
                open_target(tmp_path / "a.zarr", overwrite=False, storage_options=None, resume=True),
                DESCRIPTION.replace("done", "other"),
            )
            assert not other.continues
        second = begun(tmp_path / "a.zarr", resume=True)
        assert second.continues
        with held(second):
            finish_in_order(second)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

    def test_the_lock_goes_with_the_process(self, tmp_path):
        script = (
            "import sys, os, signal; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
            "from test_resume import *\n"
            "target = begun(Path(sys.argv[1]))\n"
            "with held(target):\n"
            "    create_arrays(target, SPECS, zarr_format=3)\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", script, str(tmp_path / "a.zarr"), os.path.dirname(__file__)]  # noqa: PTH120
        with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(FormatError, match=f"is being written by process {process.pid} on"):
                begun(tmp_path / "a.zarr", resume=True)
            process.kill()
        target = begun(tmp_path / "a.zarr", resume=True)
        assert target.continues

    def test_a_folder_that_was_held_for_nothing_goes(self, tmp_path):
        with pytest.raises(StoppedError), held(begun(tmp_path / "a.zarr")):
            raise StoppedError
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("system", ["network file system", "Windows"])
    def test_where_files_cannot_be_locked(self, system, tmp_path, monkeypatch):
        def no_locks(*_):
            raise OSError(37, "No locks available")

        if system == "Windows":
            monkeypatch.setattr("xarray_ngff.backends.ngff.targets.folder._CAN_LOCK", False)
        else:
            monkeypatch.setattr("fcntl.flock", no_locks)
        stopped(tmp_path / "a.zarr")
        Source().image().ngff.to_ome_zarr(tmp_path / "a.zarr", resume=True, **OPTIONS)
        assert agrees(tmp_path / "a.zarr")
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

    def test_what_was_to_be_continued_is_another_write_now(self, tmp_path):
        first = begun(tmp_path / "a.zarr")
        create_arrays(first, SPECS, zarr_format=3)
        second = begun(tmp_path / "a.zarr", resume=True)
        (begun_file,) = tmp_path.glob(".*/.unfinished/begun")
        begun_file.write_text(begun_file.read_text().replace("done", "other"))
        with pytest.raises(FormatError, match="that was to be continued is gone"):
            create_arrays(second, SPECS, zarr_format=3)

    def test_blocks_are_noted_where_the_arrays_are(self, tmp_path):
        OLD.ngff.to_ome_zarr(store := MemoryStore())
        target = begun(store, overwrite=True)
        create_arrays(target, SPECS, zarr_format=3)
        journal_of(target, [(0, 1)]).record("0/0-4_0-6")
        assert {key.split("/")[0] for key in store._store_dict if ".unfinished" in key} == {target.prefix}
        assert journal_of(begun(store, overwrite=True, resume=True), [(0, 1)]).done() == {"0/0-4_0-6"}
        assert journal_of(begun(store, overwrite=True), [(0, 1)]).done() == frozenset()


def finish_in_order(target):
    create_arrays(target, SPECS, zarr_format=3)
    finish(target, {"note": "done"}, zarr_format=3)


class TestFullDisk:
    """A store that takes so many bytes, and then no more."""

    @pytest.mark.parametrize("share", [0, 0.6, 0.9])
    @pytest.mark.parametrize(("kind", "before"), [("folder", None), ("folder", "0.5"), ("memory", "0.5")])
    def test_what_was_there_stays_and_it_goes_on_when_there_is_room(self, kind, before, share, tmp_path, monkeypatch):
        truth = whole(kind, before=before)
        store = place(kind, tmp_path)
        if before is not None:
            OLD.ngff.to_ome_zarr(store)
        old = files(tmp_path) if kind == "folder" else files(store)
        options = {"overwrite": before is not None} | OPTIONS
        cls = LocalStore if kind == "folder" else MemoryStore
        room = share * sum(map(len, truth.values()))
        for resume in (False, True):
            with monkeypatch.context() as patch:
                fill(patch, cls, room)
                with pytest.raises((OSError, FormatError), match="No space left on device"):
                    Source().image().ngff.to_ome_zarr(store, resume=resume, **options)
            if not resume:
                assert (files(tmp_path) if kind == "folder" else files(store)) == old
            if before is not None:
                assert agrees(store, OLD)
        source = Source()
        source.image().ngff.to_ome_zarr(store, resume=True, **options)
        if share == 0.9:
            assert len(source.made) < 6
        assert files(store) == truth
        assert hidden(tmp_path) == []


def fill(patch, cls, room):
    """Have all stores of a class take so many bytes together."""
    put, left = cls.set, [room]

    async def limited(self, key, value, *args, **kwargs):
        left[0] -= len(value)
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        await put(self, key, value, *args, **kwargs)

    patch.setattr(cls, "set", limited)
