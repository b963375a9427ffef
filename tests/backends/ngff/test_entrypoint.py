"""The engine: what it opens, from where, and how it names what it finds."""

import functools
import json
import pickle
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore, MemoryStore, StorePath, ZipStore

from xarray_ngff.backends.ngff.entrypoint import NgffEntrypoint
from xarray_ngff.errors import FormatError, LevelError, MetadataError, NgffWarning


@pytest.fixture
def folder(tmp_path, make_image, pyramid):
    """A czyx image of three levels, spacing (2, 0.5, 0.25), beginning at (10, 20, 30)."""
    path = tmp_path / "img.ome.zarr"
    make_image(path, pyramid(2, 8, 12, 16), "czyx", scale=(1, 2, 0.5, 0.25), translation=(0, 10, 20, 30), name="brain")
    return path


@pytest.fixture
def zipped(folder, tmp_path):
    def made(name, prefix=""):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, prefix + file.relative_to(folder).as_posix())
        return tmp_path / name

    return made


@pytest.fixture
def served(tmp_path):
    """Address of `tmp_path` on a plain web server without listings that wants a token, and the paths it was asked."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.headers.get("X-Token") != "open":
                self.send_error(403)
            else:
                super().do_GET()

        def list_directory(self, path):
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def check(source, folder, **options):
    """Dataset, array and tree opened from `source` say what zarr reads from the folder, and pickle."""
    truth = zarr.open_group(folder, mode="r")
    image = xr.open_dataarray(source, engine="ngff", level=1, **options)
    assert (image.name, image.dims) == ("image", ("c", "z", "y", "x"))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)), truth["1"])
    np.testing.assert_array_equal(image, truth["1"])
    np.testing.assert_array_equal(image.z, 10 + 1 + 4 * np.arange(4))
    np.testing.assert_array_equal(image.y, 20 + 0.25 + np.arange(6))
    np.testing.assert_array_equal(image.x, 30 + 0.125 + 0.5 * np.arange(8))
    dataset = xr.open_dataset(source, engine="ngff", **options)
    assert list(dataset.data_vars) == ["image"]
    np.testing.assert_array_equal(dataset.image, truth["0"])
    tree = xr.open_datatree(source, engine="ngff", **options)
    assert list(tree.children) == ["scale0", "scale1", "scale2"]
    assert not tree.data_vars
    assert not tree.coords
    for index in range(3):
        np.testing.assert_array_equal(tree[f"scale{index}/image"], truth[str(index)])


class TestPlaces:
    def test_folder(self, folder, monkeypatch):
        check(folder, folder)
        check(str(folder), folder)
        check(f"{folder}/", folder)
        check(folder.as_uri(), folder)
        monkeypatch.chdir(folder.parent)
        check("img.ome.zarr", folder)

    @pytest.mark.parametrize("name", ["img.zip", "img.ozx", "img.ome.zarr.zip"])
    def test_zip(self, folder, zipped, name):
        check(zipped(name), folder)

    def test_zip_with_a_folder_at_the_top(self, folder, zipped):
        path = zipped("img.zip", "img.ome.zarr/")
        with pytest.warns(NgffWarning, match="has its Zarr in the folder 'img.ome.zarr'"):
            image = xr.open_dataarray(path, engine="ngff")
        np.testing.assert_array_equal(image, zarr.open_group(folder)["0"])

    def test_store_objects(self, folder, zipped):
        store = LocalStore(folder)
        check(store, folder)
        check(StorePath(LocalStore(folder.parent), folder.name), folder)
        check(zarr.open_group(folder), folder)
        check(zarr.open_group(folder, mode="r"), folder)
        check(ZipStore(zipped("img.zip"), mode="r"), folder)

    def test_memory(self, folder, make_image, pyramid):
        for store in (MemoryStore(), "memory://test_entrypoint/img.ome.zarr"):
            make_image(store, pyramid(2, 8, 12, 16), "czyx", scale=(1, 2, 0.5, 0.25), translation=(0, 10, 20, 30))
            check(store, folder)

    def test_http(self, folder, served):
        address, asked = served
        options = {"headers": {"X-Token": "open"}}
        check(f"{address}/{folder.name}", folder, storage_options=options)
        asked.clear()
        image = xr.open_dataarray(f"{address}/{folder.name}", engine="ngff", storage_options=options)
        assert not [path for path in asked if "/c/" in path]
        np.testing.assert_array_equal(image[1, 3], zarr.open_group(folder)["0"][1, 3])
        assert f"/{folder.name}/0/c/0/0/0/0" in asked
        with pytest.raises(FormatError, match=r"img\.ome\.zarr: access denied"):
            xr.open_dataarray(f"{address}/{folder.name}", engine="ngff")
        with pytest.raises(FormatError, match=r"nosuch\.zarr holds no Zarr group"):
            xr.open_dataarray(f"{address}/nosuch.zarr", engine="ngff", storage_options=options)

    def test_options_of_urls_are_not_for_paths(self, folder):
        with pytest.raises(FormatError, match="storage_options are for URLs"):
            xr.open_dataarray(folder, engine="ngff", storage_options={"headers": {}})


class TestOptions:
    def test_level(self, folder):
        for level in (0, 1, 2, np.int64(2)):
            image = xr.open_dataarray(folder, engine="ngff", level=level)
            assert image.shape == (2, *(n // 2**level for n in (8, 12, 16)))
            assert image.ngff.spacing == {"z": 2.0 * 2**level, "y": 0.5 * 2**level, "x": 0.25 * 2**level}

    @pytest.mark.parametrize("level", [9, 3, -1, 1.0, True, "1", None])
    def test_level_that_is_not_there(self, folder, level):
        with pytest.raises(LevelError, match=r"level=.* is not in .*img\.ome\.zarr, which has the levels 0 \(0\), 1 "):
            xr.open_dataset(folder, engine="ngff", level=level)

    def test_multiscale(self, tmp_path, make_image, put_array, ramp, axes_of, placed):
        group = make_image(tmp_path / "two.zarr", [ramp(6, 8)], "yx", name="first")
        put_array(group, "other", ramp(3, 4))
        ome = group.attrs["ome"]
        second = {"name": "second", "axes": axes_of("yx")}
        second["datasets"] = [{"path": "other", "coordinateTransformations": placed([3, 3])}]
        group.attrs["ome"] = ome | {"multiscales": [*ome["multiscales"], second]}
        image = xr.open_dataarray(tmp_path / "two.zarr", engine="ngff", multiscale=1)
        assert image.ngff.spacing == {"y": 3.0, "x": 3.0}
        assert image.shape == (3, 4)
        tree = xr.open_datatree(tmp_path / "two.zarr", engine="ngff", multiscale=1)
        assert tree["scale0"]["image"].shape == (3, 4)
        with pytest.raises(LevelError, match=r"multiscale=2 .* has 0 \(first\), 1 \(second\)"):
            xr.open_dataset(tmp_path / "two.zarr", engine="ngff", multiscale=2)

    def test_group(self, tmp_path, make_image, ramp):
        root = zarr.create_group(tmp_path / "all.zarr")
        make_image(root.store, [ramp(6, 8)], "yx", path="scan/b", scale=(2, 3))
        for group in ("scan/b", "/scan/b/"):
            image = xr.open_dataarray(tmp_path / "all.zarr", engine="ngff", group=group)
            assert image.ngff.spacing == {"y": 2.0, "x": 3.0}
        assert image.encoding["source"] == f"{tmp_path / 'all.zarr'}/scan/b"
        with pytest.raises(FormatError, match=r"all\.zarr is a Zarr group without OME-Zarr metadata"):
            xr.open_dataarray(tmp_path / "all.zarr", engine="ngff")
        with pytest.raises(FormatError, match=r"all\.zarr: scan .* did you mean group='scan/b'\?"):
            xr.open_dataarray(tmp_path / "all.zarr", engine="ngff", group="scan")
        with pytest.raises(FormatError, match=r"all\.zarr: scan/c holds no Zarr group.*check the path"):
            xr.open_dataarray(tmp_path / "all.zarr", engine="ngff", group="scan/c")
        with pytest.raises(FormatError, match="leads out of the store"):
            xr.open_dataarray(tmp_path / "all.zarr", engine="ngff", group="../other.zarr")

    def test_group_given_as_path(self, tmp_path, make_image, ramp):
        root = zarr.create_group(tmp_path / "all.zarr")
        make_image(root.store, [ramp(6, 8)], "yx", path="scan/b")
        np.testing.assert_array_equal(xr.open_dataarray(tmp_path / "all.zarr/scan/b", engine="ngff"), ramp(6, 8))

    def test_drop_variables(self, folder):
        dataset = xr.open_dataset(folder, engine="ngff", drop_variables="y")
        assert set(dataset.variables) == {"image", "z", "x"}
        tree = xr.open_datatree(folder, engine="ngff", drop_variables=["y", "nosuch"])
        assert set(tree["scale1"].dataset.variables) == {"image", "z", "x"}

    def test_chunks_of_the_file(self, tmp_path, make_image, pyramid):
        make_image(tmp_path / "a.zarr", pyramid(2, 8, 12, 16), "czyx", chunks=(1, 3, 4, 5))
        image = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff", chunks={})
        assert image.chunks == ((1, 1), (3, 3, 2), (4, 4, 4), (5, 5, 5, 1))
        np.testing.assert_array_equal(image.compute(), pyramid(2, 8, 12, 16)[0])
        tree = xr.open_datatree(tmp_path / "a.zarr", engine="ngff", chunks={})
        assert tree["scale1/image"].chunks == ((1, 1), (3, 1), (4, 2), (5, 3))

    def test_chunks_of_shards_are_the_inner_ones(self, tmp_path, make_image, ramp):
        make_image(tmp_path / "a.zarr", [ramp(16, 16)], "yx", chunks=(4, 4), shards=(8, 16))
        image = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff", chunks={})
        assert image.chunks == ((4,) * 4, (4,) * 4)
        np.testing.assert_array_equal(image.compute(), ramp(16, 16))

    def test_unknown_option(self, folder):
        with pytest.raises(TypeError, match="resolution"):
            xr.open_dataset(folder, engine="ngff", resolution=1)

    def test_open_groups(self, folder):
        groups = xr.open_groups(folder, engine="ngff")
        assert set(groups) >= {"/scale0", "/scale1", "/scale2"}
        assert groups["/scale2"]["image"].shape == (2, 2, 3, 4)


class TestNotOmeZarr:
    def test_folder_without_zarr(self, tmp_path):
        (tmp_path / "notes.txt").write_text("hello")
        for opener in (xr.open_dataset, xr.open_datatree):
            with pytest.raises(FormatError, match=rf"{tmp_path} holds no Zarr group: neither zarr\.json"):
                opener(tmp_path, engine="ngff")

    def test_nothing_there(self, tmp_path):
        with pytest.raises(FormatError, match=r"x\.ome\.zarr does not exist"):
            xr.open_dataset(tmp_path / "x.ome.zarr", engine="ngff")

    def test_array(self, folder):
        with pytest.raises(FormatError, match=r"img\.ome\.zarr/0 is a Zarr array, not a group.*folder above.*level="):
            xr.open_dataset(folder / "0", engine="ngff")

    def test_folder_above(self, folder):
        with pytest.raises(FormatError, match=r"did you mean group='img\.ome\.zarr'\?"):
            xr.open_dataset(folder.parent, engine="ngff")

    def test_truncated_zip(self, zipped):
        path = zipped("img.zip")
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(FormatError, match="truncated or corrupt"):
            xr.open_dataset(path, engine="ngff")

    def test_other_objects(self):
        with pytest.raises(FormatError, match="a ndarray is not a place"):
            xr.open_dataset(np.zeros(3), engine="ngff")

    def test_store_of_xarray(self, tmp_path):
        xr.Dataset({"a": ("x", [1, 2])}).to_zarr(tmp_path / "plain.zarr", zarr_format=3, consolidated=False)
        with pytest.raises(FormatError, match=r"without OME-Zarr metadata \(none of multiscales.*another kind of Zarr"):
            xr.open_dataset(tmp_path / "plain.zarr", engine="ngff")

    def test_metadata_that_leave_no_safe_reading(self, folder):
        document = folder / "zarr.json"
        text = document.read_text()
        for wrong, message in (
            (
                [1, 2],
                r"multiscales\[0\]\.datasets\[0\]\.coordinateTransformations\[0\]\.scale is \[1, 2\] with 2 numbers",
            ),
            ([1, 0, 1, 1], r"scale\[1\] is 0, expected a number above zero"),
            ([1, 1, -2, 1], r"scale\[2\] is -2, expected a number above zero"),
        ):
            raw = json.loads(text)
            raw["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = wrong
            document.write_text(json.dumps(raw))
            with pytest.raises(MetadataError, match=message) as caught:
                xr.open_dataset(folder, engine="ngff")
            assert str(folder) in str(caught.value)

    def test_missing_level(self, folder):
        shutil.rmtree(folder / "1")
        assert xr.open_dataarray(folder, engine="ngff", level=2).shape == (2, 2, 3, 4)
        for opener in (functools.partial(xr.open_dataset, level=1), xr.open_datatree):
            with pytest.raises(MetadataError, match=r"lists the level '1', but that array is not there: .* incomplete"):
                opener(folder, engine="ngff")

    def test_corrupt_chunk(self, folder):
        chunk = next(path for path in (folder / "0/c").rglob("*") if path.is_file())
        chunk.write_bytes(chunk.read_bytes()[:-10])
        image = xr.open_dataarray(folder, engine="ngff")
        with pytest.raises(FormatError, match=rf"{folder}: cannot read \[.*\] of array '0': a chunk is corrupt"):
            image.load()


class TestGuess:
    @pytest.mark.parametrize(
        ("name", "mine"),
        [
            ("img.ome.zarr", True),
            ("img.OME.ZARR", True),
            ("img.ome.zarr/", True),
            (Path("a") / "img.ome.zarr", True),
            ("s3://bucket/img.ome.zarr", True),
            ("img.ozx", True),
            ("img.ome.zarr.zip", True),
            ("img.zarr", False),
            ("img.zip", False),
            ("img.nii", False),
            ("ome.zarr.txt", False),
            (b"img.ome.zarr", False),
            (3, False),
        ],
    )
    def test_only_names_that_are_ours(self, name, mine):
        assert NgffEntrypoint().guess_can_open(name) is mine

    def test_xarray_finds_the_engine(self, folder, zipped):
        for path in (folder, zipped("img.ozx")):
            assert xr.open_dataarray(path).ngff.spacing["x"] == 0.25
            assert xr.open_datatree(path)["scale2/image"].shape == (2, 2, 3, 4)

    def test_a_plain_zarr_is_left_to_xarray(self, tmp_path):
        xr.Dataset({"a": ("x", [1, 2])}).to_zarr(tmp_path / "plain.zarr", consolidated=False)
        assert xr.open_dataset(tmp_path / "plain.zarr", consolidated=False)["a"].sum() == 3


def test_importing_the_engine_stays_light():
    """xarray imports the modules of all engines when it guesses."""
    code = (
        "import sys, xarray, xarray_ngff.backends.ngff.entrypoint\n"
        "heavy = {'zarr', 'dask', 'ome_zarr', 'nibabel', 'pint', 'scipy', 'fsspec', 'numcodecs', 'skimage'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before = subprocess.run(
        [sys.executable, "-c", code.replace(", xarray_ngff.backends.ngff.entrypoint", "")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == before.stdout
