"""What an image that is there says of its levels, against stores made by hand with zarr."""

import pickle
import shutil

import fsspec
import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, StorePath

from xarray_ngff.backends.ngff.existing import existing_pyramid
from xarray_ngff.errors import FormatError, GeometryError, LevelError, MissingFileError, NgffWarning

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)


@by_version
def test_what_is_said(version, make_image, pyramid):
    store = MemoryStore()
    arrays = pyramid(2, 5, 9, levels=3, spatial=2)
    group = make_image(
        store,
        arrays,
        "cyx",
        version=version,
        scale=(1, 0.5, 0.25),
        translation=(0, 3, -7),
        chunks=(1, 4, 4),
        type="mean",
    )
    found = existing_pyramid(store)
    assert (found.version, found.zarr_format) == (version, 2 if version == "0.4" else 3)
    assert found.dims == ("c", "y", "x")
    assert found.paths == ("0", "1", "2")
    assert found.shapes == ((2, 5, 9), (2, 3, 5), (2, 2, 3))
    assert found.factors == ({"y": 1, "x": 1}, {"y": 2, "x": 2}, {"y": 4, "x": 4})
    assert found.method == "mean"
    assert found.attributes == group.attrs.asdict()
    assert found.image.name == "image"
    assert found.image.ngff.origin == {"y": 3, "x": -7}
    np.testing.assert_array_equal(found.image, arrays[0])
    for array, values in zip(found.arrays, arrays, strict=True):
        assert array.chunks == (1, 4, 4)
        np.testing.assert_array_equal(array[...], values)


def test_nothing_is_loaded(make_image, ramp, tmp_path):
    make_image(tmp_path / "a.zarr", [ramp(4, 6)], "yx")
    assert not existing_pyramid(tmp_path / "a.zarr").image.variable._in_memory


@pytest.mark.parametrize(
    "place",
    ["path", "text", "uri", "store", "store_path", "group", "memory_url", "zip"],
)
def test_places(place, make_image, ramp, tmp_path):
    values = ramp(4, 6)
    folder = tmp_path / "a.zarr"
    make_image(folder, [values], "yx")
    if place == "memory_url":
        fsspec.filesystem("memory").put(str(folder), "/existing/a.zarr", recursive=True)
    if place == "zip":
        shutil.make_archive(str(folder), "zip", folder)
    store = {
        "path": folder,
        "text": str(folder),
        "uri": folder.as_uri(),
        "store": LocalStore(folder),
        "store_path": StorePath(LocalStore(tmp_path), "a.zarr"),
        "group": zarr.open_group(folder, mode="r+"),
        "memory_url": "memory://existing/a.zarr",
        "zip": tmp_path / "a.zarr.zip",
    }[place]
    np.testing.assert_array_equal(existing_pyramid(store).arrays[0][...], values)
    if place == "zip":
        with pytest.raises(FormatError, match="zip archive cannot be changed in place"):
            existing_pyramid(store, writable=True)
        return
    array = existing_pyramid(store, writable=True).arrays[0]
    array[1:3, 2:4] = 99
    values[1:3, 2:4] = 99
    np.testing.assert_array_equal(existing_pyramid(store).arrays[0][...], values)


def test_reading_does_not_allow_writing(make_image, ramp, tmp_path):
    make_image(tmp_path / "a.zarr", [ramp(4, 6)], "yx")
    array = existing_pyramid(tmp_path / "a.zarr").arrays[0]
    with pytest.raises(ValueError, match="read"):
        array[...] = 0


@pytest.mark.parametrize("kind", ["store", "group"])
def test_read_only_store(kind, make_image, ramp, tmp_path):
    make_image(tmp_path / "a.zarr", [ramp(4, 6)], "yx")
    store = (
        LocalStore(tmp_path / "a.zarr", read_only=True)
        if kind == "store"
        else zarr.open_group(tmp_path / "a.zarr", mode="r")
    )
    assert existing_pyramid(store).dims == ("y", "x")
    with pytest.raises(FormatError, match="is read-only: open it for writing"):
        existing_pyramid(store, writable=True)


def test_groups(make_image, ramp):
    store = MemoryStore()
    make_image(store, [ramp(4, 6)], "yx", path="labels/nuclei", attributes={"image-label": {}})
    found = existing_pyramid(store, group="labels/nuclei")
    assert found.root.path == "labels/nuclei"
    assert found.image.name == "labels"
    assert found.method is None
    assert existing_pyramid(StorePath(store, "labels"), group="nuclei").shapes == ((4, 6),)


@by_version
def test_series_of_one(version, make_image, ramp):
    store = MemoryStore()
    layout = {"bioformats2raw.layout": 3}
    top = zarr.create_group(store, zarr_format=2 if version == "0.4" else 3)
    top.attrs.update(layout if version == "0.4" else {"ome": {"version": "0.5", **layout}})
    make_image(store, [ramp(4, 6)], "yx", path="0", version=version)
    assert existing_pyramid(store).root.path == "0"


def test_pickles(make_image, pyramid, tmp_path):
    make_image(tmp_path / "a.zarr", pyramid(6, 8, levels=2), "yx", type="median")
    found = pickle.loads(pickle.dumps(existing_pyramid(tmp_path / "a.zarr", writable=True)))
    assert found.factors[1] == {"y": 2, "x": 2}
    found.arrays[1][0, 0] = 77
    assert zarr.open_array(tmp_path / "a.zarr" / "1")[0, 0] == 77
    assert found.method == "median"


class TestRefused:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(MissingFileError, match="does not exist"):
            existing_pyramid(tmp_path / "a.zarr")

    def test_other_zarr(self):
        with pytest.raises(FormatError, match="without OME-Zarr metadata"):
            existing_pyramid(zarr.create_group(MemoryStore()))

    def test_labels_list(self):
        store = MemoryStore()
        zarr.create_group(store).attrs["ome"] = {"version": "0.5", "labels": ["nuclei"]}
        with pytest.raises(FormatError, match="group='nuclei'"):
            existing_pyramid(store)

    @pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", "0.6"])
    def test_other_version(self, version, make_image, ramp):
        store = MemoryStore()
        group = make_image(store, [ramp(1, 1, 1, 4, 6)], "tczyx", version="0.5" if version == "0.6" else "0.4")
        if version == "0.6":
            axes = [{"name": n, "type": "space"} for n in "yx"]
            system = {"name": "world", "axes": axes}
            dataset = {
                "path": "0",
                "coordinateTransformations": [
                    {"type": "scale", "scale": [1, 1], "input": {"path": "0"}, "output": {"name": "world"}}
                ],
            }
            entry = {"coordinateSystems": [system], "datasets": [dataset]}
            group.attrs["ome"] = {"version": "0.6", "multiscales": [entry]}
        else:
            names = {"axes": list("tczyx")} if version == "0.3" else {}
            group.attrs["multiscales"] = [{"version": version, "datasets": [{"path": "0"}]} | names]
        with pytest.raises(FormatError, match=rf"is OME-Zarr {version}, expected 0\.4 or 0\.5: open it with xarray"):
            existing_pyramid(store)

    def test_level_that_is_absent(self, make_image, pyramid, tmp_path):
        make_image(tmp_path / "a.zarr", pyramid(6, 8, levels=2), "yx")
        (tmp_path / "a.zarr" / "1" / "zarr.json").unlink()
        with pytest.raises(FormatError, match="lists the level '1', but that array is not there"):
            existing_pyramid(tmp_path / "a.zarr")

    def test_no_such_group(self, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(4, 6)], "yx")
        with pytest.raises((FormatError, LevelError), match="holds no Zarr group"):
            existing_pyramid(store, group="labels/nuclei")


class TestFactors:
    def made(self, make_image, shapes, scales, translations, dims="yx", **options):
        store = MemoryStore()
        group = make_image(store, [np.zeros(shape, "u1") for shape in shapes], dims, **options)
        ome = group.attrs["ome"]
        for dataset, scale, translation in zip(ome["multiscales"][0]["datasets"], scales, translations, strict=True):
            steps = [{"type": "scale", "scale": list(scale)}]
            if translation is not None:
                steps.append({"type": "translation", "translation": list(translation)})
            dataset["coordinateTransformations"] = steps
        group.attrs["ome"] = ome
        return existing_pyramid(store)

    @pytest.mark.parametrize(
        ("shapes", "scales", "translations", "expected"),
        [
            ([(7, 9), (3, 3)], [(1, 1), (3, 4)], [(0, 0), (1, 1.5)], {"y": 3, "x": 4}),
            ([(7, 9), (4, 9)], [(0.5, 2), (1, 2)], [(1, 5), (1.25, 5)], {"y": 2, "x": 1}),
            # rounded to few digits
            ([(8, 8), (4, 4)], [(0.1083, 1), (0.2167, 2)], [(0, 0), (0.054, 0.5)], {"y": 2, "x": 2}),
            ([(1, 8), (1, 2)], [(1, 1), (2, 4)], [(0, 0), (0.5, 1.5)], {"y": 2, "x": 4}),
        ],
        ids=["mixed", "one-axis", "rounded", "single-voxel"],
    )
    def test_whole_blocks(self, shapes, scales, translations, expected, make_image):
        assert self.made(make_image, shapes, scales, translations).factors[1] == expected

    @pytest.mark.parametrize(
        ("shapes", "scales", "translations", "message"),
        [
            ([(7, 8), (3, 4)], [(1, 1), (2, 2)], [(0, 0), (0.5, 0.5)], "has 3 voxels, where level 0 has 7 in 4 blocks"),
            ([(8, 8), (4, 4)], [(1, 1), (2, 2)], [None, None], "begins 0 voxels after level 0, expected 0.5"),
            ([(7, 8), (3, 4)], [(1, 1), (7 / 3, 2)], [(0, 0), (2 / 3, 0.5)], "has 2.33333 times the scale"),
            ([(8, 8), (8, 8)], [(2, 2), (1, 1)], [(0, 0), (0, 0)], "has 0.5 times the scale"),
        ],
        ids=["floor", "corner", "fraction", "finer"],
    )
    def test_anything_else(self, shapes, scales, translations, message, make_image):
        found = self.made(make_image, shapes, scales, translations)
        with pytest.raises(GeometryError, match=message) as caught:
            _ = found.factors
        assert "level 1 ('1')" in str(caught.value)
        assert "build_pyramid(..., overwrite=True)" in str(caught.value)

    def test_other_axes_stay(self, make_image):
        shapes = [(4, 8, 8), (2, 4, 4)]
        found = self.made(make_image, shapes, [(1, 1, 1), (2, 2, 2)], [(0, 0, 0), (0.5, 0.5, 0.5)], dims="tyx")
        with pytest.raises(GeometryError, match="is 2 times coarser, along 't'"):
            _ = found.factors


@pytest.mark.parametrize("kind", ["gaussian", "local mean", 7, None])
def test_method_that_is_not_ours(kind, make_image, ramp):
    store = MemoryStore()
    make_image(store, [ramp(4, 6)], "yx", type=kind)
    assert existing_pyramid(store).method is None


def test_one_warning_for_one_fault(make_image, ramp):
    store = MemoryStore()
    make_image(
        store, [ramp(4, 6)], "yx", axes=[{"name": "y", "type": "space", "unit": "um"}, {"name": "x", "type": "space"}]
    )
    with pytest.warns(NgffWarning, match="'um'") as caught:
        existing_pyramid(store)
    assert len(caught) == 1
