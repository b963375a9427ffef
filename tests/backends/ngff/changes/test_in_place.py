"""Levels built from the level 0 of images that are there, against plain NumPy; and what happens when it fails."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter

import dask
import fsspec
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from block_statistics import in_blocks_of, pyramid_of
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath, WrapperStore

from xarray_ngff.backends.ngff.changes.in_place import build_pyramid
from xarray_ngff.errors import (
    FormatError,
    GeometryError,
    MemoryLimitError,
    MissingFileError,
    NgffWarning,
    TargetExistsError,
)

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)
DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
HALF = {"zyx": [(1, 1, 1), (2, 2, 2), (4, 4, 4)], "yx": [(1, 1), (2, 2), (4, 4)]}


def content(store):
    return {key: value.to_bytes() for key, value in store._store_dict.items()}


def chunks_of(state):
    return {key: value for key, value in state.items() if key.rpartition("/")[2] not in DOCUMENTS}


def ome(store, path=""):
    attributes = zarr.open_group(store, path=path, mode="r", use_consolidated=False).attrs.asdict()
    return attributes.get("ome", attributes)


def datasets(store, path=""):
    return ome(store, path)["multiscales"][0]["datasets"]


def paths(store, path=""):
    return [dataset["path"] for dataset in datasets(store, path)]


def levels(store, path=""):
    group = zarr.open_group(store, path=path, mode="r", use_consolidated=False)
    return [group[name] for name in paths(store, path)]


def assert_levels(store, expected, path=""):
    found = levels(store, path)
    assert len(found) == len(expected)
    for index, (array, truth) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(array[...], truth, err_msg=f"level {index}", strict=True)


class Watched(WrapperStore):
    """Store that counts what is read, and calls a function before and after each write."""

    def __init__(self, store, happens=lambda key: None):
        super().__init__(store)
        self.read, self.written, self.happens = Counter(), [], happens

    async def get(self, key, *args, **kwargs):
        self.read[key] += 1
        return await super().get(key, *args, **kwargs)

    async def set(self, key, *args, **kwargs):
        # beside zarr's event loop, which what happens may need
        await asyncio.to_thread(self.happens, key)
        self.written.append(key)
        await super().set(key, *args, **kwargs)
        await asyncio.to_thread(self.happens, key)


class TestLevels:
    @settings(max_examples=25)
    @given(data=st.data())
    def test_against_numpy(self, data, make_image):
        dims = data.draw(st.sampled_from(["yx", "zyx", "cyx", "tczyx"]))
        shape = [data.draw(st.integers(1, 14 if dim in "zyx" else 3)) for dim in dims]
        steps = data.draw(st.lists(st.sampled_from([2, 3, 5]), min_size=1, max_size=3))
        if data.draw(st.booleans()):
            steps = np.cumprod(steps).tolist()
        factors = []
        for entry in sorted(set(steps)):
            clipped = tuple(min(entry, n) if dim in "zyx" else 1 for dim, n in zip(dims, shape, strict=True))
            if clipped not in ((1,) * len(dims), *factors):
                factors.append(clipped)
        version = data.draw(st.sampled_from(VERSIONS))
        method = data.draw(st.sampled_from(["mean", "mode", "median", "min", "max", "nearest"]))
        chunks = tuple(data.draw(st.integers(1, 6)) for _ in dims)
        sharded = version == "0.5" and data.draw(st.booleans())
        shards = tuple(c * data.draw(st.integers(1, 3)) for c in chunks) if sharded else None
        dtype = data.draw(st.sampled_from(["u1", "i2", "f4", "?"]))
        seed = data.draw(st.integers(0, 99))
        values = np.random.default_rng(seed).integers(0, 2 if dtype == "?" else 120, shape).astype(dtype)
        store = MemoryStore()
        make_image(store, [values], dims, version=version, chunks=chunks, shards=shards)
        before = content(store)
        asked = [dict(zip(dims, entry, strict=True)) for entry in factors]
        asked = [{dim: factor for dim, factor in entry.items() if dim in "zyx"} for entry in asked]
        with in_blocks_of(data.draw(st.sampled_from([2**26, 300, 30]))):
            build_pyramid(store, factors=asked, method=method)
        assert_levels(store, pyramid_of(values, [(1,) * len(dims), *factors], method))
        after = content(store)
        own = {key for key in before if key.startswith("0/")}
        assert {key: after[key] for key in own} == {key: before[key] for key in own}

    @by_version
    def test_files_of_level_0_are_left_alone(self, version, make_image, ramp, tmp_path):
        folder = tmp_path / "a.zarr"
        make_image(folder, [ramp(20, 30, 40)], "zyx", version=version, chunks=(8, 8, 8))

        def state():
            files = [path for path in (folder / "0").rglob("*") if path.is_file()]
            return {path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in files}

        before = state()
        build_pyramid(folder, levels=3)
        assert state() == before
        assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["0", "1", "2"]
        assert_levels(folder, pyramid_of(ramp(20, 30, 40), HALF["zyx"], "mean"))

    @pytest.mark.parametrize("shards", [None, (4, 16, 16)], ids=["chunks", "shards"])
    def test_each_chunk_of_level_0_is_read_once(self, shards, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(12, 40, 40)], "zyx", chunks=(4, 8, 8), shards=shards)
        watched = Watched(store)
        build_pyramid(watched, levels=4)
        read = {key: count for key, count in watched.read.items() if key.startswith("0/c/")}
        stored = {key for key in content(store) if key.startswith("0/c/")}
        assert set(read) == stored
        if shards is None:
            assert set(read.values()) == {1}
        assert not [key for key in watched.written if key.startswith("0/")]

    @by_version
    def test_they_lie_where_their_blocks_are(self, version, make_image, ramp):
        """Also below transformations of the whole image, which are kept."""
        store = MemoryStore()
        outer = [{"type": "scale", "scale": [10, 1, 1]}, {"type": "translation", "translation": [0, 100, 200]}]
        make_image(
            store, [ramp(4, 9, 10)], "tyx", version=version, scale=(2, 0.5, 0.25), translation=(7, -1, 3),
            coordinateTransformations=outer,
        )  # fmt: skip
        build_pyramid(store, factors=[{"y": 3}, {"y": 3, "x": 4}])
        assert ome(store)["multiscales"][0]["coordinateTransformations"] == outer
        assert [dataset["coordinateTransformations"] for dataset in datasets(store)[1:]] == [
            [{"type": "scale", "scale": [2, 1.5, 0.25]}, {"type": "translation", "translation": [7, -0.5, 3]}],
            [{"type": "scale", "scale": [2, 1.5, 1.0]}, {"type": "translation", "translation": [7, -0.5, 3.375]}],
        ]
        coarse = xr.open_dataarray(store, engine="ngff", level=2)
        np.testing.assert_allclose(coarse.t, 10 * (7 + 2 * np.arange(4)))
        np.testing.assert_allclose(coarse.y, 99.5 + 1.5 * np.arange(3))

    def test_level_0_without_translation(self, make_image, ramp):
        store = MemoryStore()
        group = make_image(store, [ramp(6, 6)], "yx")
        said = group.attrs["ome"]
        said["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [2, 4]}]
        group.attrs["ome"] = said
        build_pyramid(store, factors=[2])
        kept, made = datasets(store)
        assert kept == said["multiscales"][0]["datasets"][0]
        assert made["coordinateTransformations"] == [
            {"type": "scale", "scale": [4, 8]},
            {"type": "translation", "translation": [1, 2]},
        ]

    def test_method(self, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(8, 8)], "yx", path="labels/nuclei", attributes={"image-label": {}})
        make_image(store, [ramp(8, 8)], "yx", path="image", type="max")
        make_image(store, [ramp(8, 8)], "yx", path="other", type="gaussian", metadata={"sigma": 2})
        for path, expected in {"labels/nuclei": "mode", "image": "max", "other": "mean"}.items():
            build_pyramid(store, group=path, levels=2)
            assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"][:2], expected), path)
            entry = ome(store, path)["multiscales"][0]
            assert entry["type"] == expected
            assert entry["metadata"]["method"] == "xarray_ngff.build_pyramid"

    def test_as_many_as_a_new_image_gets(self, make_image):
        store = MemoryStore()
        make_image(store, [np.zeros((600, 300), "u1")], "yx")
        build_pyramid(store)
        assert [array.shape for array in levels(store)] == [(600, 300), (300, 150), (150, 75)]


class TestEncoding:
    @pytest.mark.parametrize("separator", ["/", "."])
    def test_zarr_2_as_level_0(self, separator, make_image, ramp):
        import numcodecs

        store = MemoryStore()
        group = make_image(store, [ramp(4, 4)], "yx", version="0.4")
        del group["0"]
        array = group.create_array(
            "0",
            shape=(10, 9),
            chunks=(4, 20),
            dtype=">i4",
            order="F",
            fill_value=7,
            filters=[numcodecs.Delta(dtype=">i4")],
            compressors=numcodecs.GZip(3),
            chunk_key_encoding={"name": "v2", "separator": separator},
            attributes={"_ARRAY_DIMENSIONS": ["y", "x"], "other": 1},
        )
        array[...] = np.arange(90).reshape(10, 9)
        build_pyramid(store, levels=2)
        state = content(store)
        first, second = (json.loads(state[f"{level}/.zarray"]) for level in "01")
        assert second == first | {"shape": [5, 5], "chunks": [4, 5]}
        assert json.loads(state["1/.zattrs"]) == {"_ARRAY_DIMENSIONS": ["y", "x"]}
        assert f"1/0{separator}0" in state
        np.testing.assert_array_equal(
            levels(store)[1][...], pyramid_of(np.arange(90, dtype=">i4").reshape(10, 9), HALF["yx"][:2], "mean")[1]
        )

    @pytest.mark.parametrize("encoding", [("default", "/"), ("default", "."), ("v2", ".")], ids=str)
    def test_zarr_3_as_level_0(self, encoding, make_image, ramp):
        from zarr.codecs import BytesCodec, GzipCodec, TransposeCodec

        store = MemoryStore()
        group = make_image(store, [ramp(4, 4)], "yx")
        del group["0"]
        array = group.create_array(
            "0",
            shape=(10, 9),
            chunks=(2, 3),
            shards=(4, 6),
            dtype="f4",
            fill_value=np.nan,
            filters=[TransposeCodec(order=(1, 0))],
            serializer=BytesCodec(endian="big"),
            compressors=[GzipCodec(level=2)],
            chunk_key_encoding={"name": encoding[0], "separator": encoding[1]},
            dimension_names=("y", "x"),
        )
        array[...] = np.arange(90).reshape(10, 9)
        build_pyramid(store, levels=2)
        state = content(store)
        first, second = (json.loads(state[f"{level}/zarr.json"]) for level in "01")
        assert second == first | {"shape": [5, 5], "attributes": {}}
        np.testing.assert_array_equal(
            levels(store)[1][...], pyramid_of(np.arange(90, dtype="f4").reshape(10, 9), HALF["yx"][:2], "mean")[1]
        )

    def test_clipped_to_the_level(self, make_image):
        store = MemoryStore()
        make_image(store, [np.zeros((16, 12), "u1")], "yx", chunks=(4, 4), shards=(8, 12))
        build_pyramid(store, levels=4)
        assert [(array.chunks, array.shards) for array in levels(store)] == [
            ((4, 4), (8, 12)),
            ((4, 4), (8, 8)),
            ((4, 3), (4, 3)),
            ((2, 2), (2, 2)),
        ]

    @pytest.mark.parametrize(
        ("options", "chunks", "shards"),
        [
            ({"chunks": 8}, (1, 8, 8), None),
            ({"chunks": {"y": 3}}, (1, 3, 6), None),
            ({"chunks": (2, 5, 7)}, (2, 5, 7), None),
            ({"shards": {"y": 10, "x": 12}}, (1, 5, 6), (1, 10, 12)),
            ({"chunks": 4, "shards": 8}, (1, 4, 4), (1, 8, 8)),
        ],
        ids=["int", "by-dim", "all", "shards", "both"],
    )
    def test_asked_for(self, options, chunks, shards, make_image):
        store = MemoryStore()
        make_image(store, [np.ones((3, 40, 40), "u1")], "cyx", chunks=(1, 5, 6))
        build_pyramid(store, levels=2, **options)
        first, second = levels(store)
        assert (first.chunks, first.shards) == ((1, 5, 6), None)
        assert (second.chunks, second.shards) == (chunks, shards)

    @by_version
    def test_compressor(self, version, make_image, ramp):
        store = MemoryStore()
        group = make_image(store, [ramp(8, 8)], "yx", version=version)
        del group["0"]
        group.create_array("0", shape=(8, 8), dtype="u2", compressors=None)[...] = ramp(8, 8)
        build_pyramid(store, levels=2)
        assert levels(store)[1].compressors == ()
        build_pyramid(store, levels=2, overwrite=True, compressor="gzip:2")
        (codec,) = levels(store)[1].compressors
        assert "gzip" in type(codec).__name__.lower()
        assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"][:2], "mean"))


class TestWhatElseIsThere:
    @by_version
    def test_attributes_are_kept(self, version, make_image, ramp):
        store = MemoryStore()
        said = {
            "omero": {"channels": [{"label": "DAPI", "color": "0000FF", "lut": "fire",
                                    "window": {"start": 0, "end": 9, "min": 0, "max": 9}}],
                      "rdefs": {"model": "color"}},
            "_creator": {"name": "someone"},
        }  # fmt: skip
        group = make_image(
            store, [ramp(1, 8, 8)], "cyx", version=version, attributes=said,
            name="brain", custom=[1, {"a": None}], note=None,
        )  # fmt: skip
        group.attrs.update({"acquisition": {"power": 1e-300, "big": 2**60}, "xarray_ngff": {"selected": {}}})
        group.create_group("labels").attrs["labels"] = []
        before = group.attrs.asdict()
        build_pyramid(store, levels=2)
        after = zarr.open_group(store, mode="r").attrs.asdict()
        entry = (after if version == "0.4" else after["ome"])["multiscales"][0]
        first = (before if version == "0.4" else before["ome"])["multiscales"][0]
        assert entry.pop("type") == "mean"
        assert entry.pop("metadata")["description"]
        assert entry["datasets"][:1] == first["datasets"]
        assert len(entry["datasets"]) == 2
        entry["datasets"] = first["datasets"]
        assert after == before
        assert list(after) == list(before)
        assert zarr.open_group(store, mode="r")["labels"].attrs["labels"] == []

    def test_other_images_of_the_group(self, make_image, ramp):
        """One that shares levels with the first keeps them, when the first gets others."""
        store = MemoryStore()
        group = make_image(store, [ramp(8, 8), ramp(4, 4), ramp(2, 2)], "yx")
        said = group.attrs["ome"]
        other = json.loads(json.dumps(said["multiscales"][0])) | {"name": "other"}
        other["datasets"] = other["datasets"][:2]
        group.attrs["ome"] = said | {"multiscales": [said["multiscales"][0], other]}
        build_pyramid(store, overwrite=True)
        assert ome(store)["multiscales"][1] == other
        assert paths(store)[0] == "0"
        np.testing.assert_array_equal(group["1"][...], ramp(4, 4))
        assert "2" not in group
        assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"], "mean"))

    @by_version
    @pytest.mark.parametrize("path", ["", "image", "a/b"])
    def test_consolidated_metadata(self, version, path, make_image, ramp):
        """Readers that go by them find the new levels, and none that are gone."""
        store = MemoryStore()
        arrays = [ramp(16, 16), ramp(8, 8)]
        make_image(store, arrays, "yx", version=version, path=path)
        zarr_format = 2 if version == "0.4" else 3
        with pytest.warns() if zarr_format == 3 else contextlib.nullcontext():
            zarr.consolidate_metadata(store, zarr_format=zarr_format)
        for factors in ([2, 4, 8], [4], [2]):
            build_pyramid(store, group=path, factors=factors, overwrite=True)
            top = zarr.open_group(store, mode="r", zarr_format=zarr_format, use_consolidated=True)
            group = top[path] if path else top
            entry = group.attrs.asdict().get("ome", group.attrs.asdict())["multiscales"][0]
            found = [dataset["path"] for dataset in entry["datasets"]]
            expected = pyramid_of(ramp(16, 16), [(1, 1), *((f, f) for f in factors)], "mean")
            for name, truth in zip(found, expected, strict=True):
                np.testing.assert_array_equal(group[name][...], truth)
            listed = {name for name, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}
            assert listed == set(found)

    def test_axes_as_plain_names(self, make_image, ramp):
        """As some files of version 0.4 have them."""
        store = MemoryStore()
        make_image(store, [ramp(8, 8)], "yx", version="0.4", axes=["y", "x"])
        with pytest.warns(NgffWarning, match="is the plain name"):
            build_pyramid(store, levels=2)
        assert ome(store)["multiscales"][0]["axes"] == ["y", "x"]
        assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"][:2], "mean"))

    def test_scale_in_an_array(self, make_image, ramp, put_array):
        """As transformations may be stored."""
        store = MemoryStore()
        group = make_image(store, [ramp(8, 8)], "yx")
        put_array(group, "sizes", np.array([3.0, 0.5]))
        said = group.attrs["ome"]
        said["multiscales"][0]["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "path": "sizes"}]
        group.attrs["ome"] = said
        build_pyramid(store, factors=[2])
        assert datasets(store)[1]["coordinateTransformations"] == [
            {"type": "scale", "scale": [6, 1]},
            {"type": "translation", "translation": [1.5, 0.25]},
        ]

    @by_version
    def test_valid_for_others(self, version, make_image, ramp, tmp_path):
        folder = tmp_path / "a.zarr"
        group = make_image(folder, [ramp(5, 16, 16)], "zyx", version=version, chunks=(2, 8, 8))
        if version == "0.5":
            del group["0"]
            names = {"dimension_names": ("z", "y", "x")}
            group.create_array("0", shape=(5, 16, 16), chunks=(2, 8, 8), dtype="u2", **names)[...] = ramp(5, 16, 16)
        build_pyramid(folder, levels=3)
        found = pytest.importorskip("ome_zarr_models").open_ome_zarr(zarr.open_group(folder, mode="r"))
        assert type(found).__name__ == "Image"
        for path, truth in zip("012", pyramid_of(ramp(5, 16, 16), HALF["zyx"], "mean"), strict=True):
            driver = "zarr" if version == "0.4" else "zarr3"
            spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(folder / path)}}
            np.testing.assert_array_equal(tensorstore.open(spec).result().read().result(), truth)


class TestAgain:
    def test_not_without_being_asked(self, make_image, pyramid):
        store = MemoryStore()
        make_image(store, pyramid(8, 8, levels=2), "yx")
        before = content(store)
        with pytest.raises(TargetExistsError, match="has 2 levels: pass overwrite=True to build all but level 0 anew"):
            build_pyramid(store)
        assert content(store) == before

    @by_version
    def test_old_levels_go(self, version, make_image, ramp):
        store = MemoryStore()
        wrong = [ramp(16, 16), np.zeros((8, 8), "u2"), np.zeros((4, 4), "u2"), np.zeros((2, 2), "u2")]
        make_image(store, wrong, "yx", version=version, chunks=(4, 4))
        build_pyramid(store, overwrite=True, levels=3)
        assert_levels(store, pyramid_of(ramp(16, 16), HALF["yx"], "mean"))
        holder = paths(store)[1].partition("/")[0]
        assert paths(store) == ["0", f"{holder}/1", f"{holder}/2"]
        assert {key.split("/")[0] for key in content(store) if "/" in key} == {"0", holder}
        # now the plain names are free, and the group that was made for the others goes with them
        build_pyramid(store, overwrite=True, levels=2, method="max")
        assert paths(store) == ["0", "1"]
        assert {key.split("/")[0] for key in content(store) if "/" in key} == {"0", "1"}
        assert_levels(store, pyramid_of(ramp(16, 16), HALF["yx"][:2], "max"))

    def test_the_levels_that_it_had(self, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(9, 9), np.zeros((5, 5), "u2"), np.zeros((3, 3), "u2")], "yx", type="median")
        build_pyramid(store, overwrite=True)
        assert_levels(store, pyramid_of(ramp(9, 9), HALF["yx"], "median"))

    def test_levels_that_are_no_blocks(self, make_image):
        store = MemoryStore()
        make_image(store, [np.zeros((601, 600), "u1"), np.zeros((300, 300), "u1")], "yx")
        build_pyramid(store, overwrite=True)
        assert [array.shape for array in levels(store)] == [(601, 600), (301, 300), (151, 150)]

    def test_none_but_level_0(self, make_image, pyramid):
        store = MemoryStore()
        make_image(store, pyramid(8, 8, levels=3), "yx", type="nearest", metadata={"by": "someone"})
        build_pyramid(store, overwrite=True, levels=1)
        (entry,) = ome(store)["multiscales"]
        assert paths(store) == ["0"]
        assert "type" not in entry
        assert "metadata" not in entry
        assert {key.split("/")[0] for key in content(store) if "/" in key} == {"0"}

    def test_a_group_with_something_else_stays(self, make_image, pyramid):
        store = MemoryStore()
        group = make_image(store, pyramid(8, 8, levels=2), "yx")
        group.create_group("coarse").create_array("1", shape=(4, 4), dtype="u2")
        group["coarse"].create_array("mine", shape=(3,), dtype="u1")
        said = group.attrs["ome"]
        said["multiscales"][0]["datasets"][1]["path"] = "coarse/1"
        group.attrs["ome"] = said
        build_pyramid(store, overwrite=True)
        assert "coarse/1" not in group
        assert "coarse/mine" in group
        assert "1" in group

    def test_what_cannot_be_deleted(self, make_image, pyramid):
        class Kept(MemoryStore):
            async def delete_dir(self, prefix):
                raise PermissionError("read-only bucket")

        store = Kept()
        make_image(store, pyramid(8, 8, levels=2), "yx")
        with pytest.warns(NgffWarning, match="not all that they replace could be deleted: read-only bucket"):
            build_pyramid(store, overwrite=True)
        assert_levels(store, pyramid_of(pyramid(8, 8)[0], HALF["yx"][:2], "mean"))


class TestPlaces:
    @by_version
    @pytest.mark.parametrize("kind", ["path", "text", "uri", "memory_url", "store_path", "group", "memory", "wrapped"])
    def test_same_everywhere(self, kind, version, make_image, ramp, tmp_path):
        folder = tmp_path / "a.zarr"
        fsspec.filesystem("memory").store.clear()
        options = {"version": version, "chunks": (4, 4)}
        made = {
            "memory_url": FsspecStore.from_url("memory://in_place/a.zarr", read_only=False),
            "memory": MemoryStore(),
            "wrapped": WrapperStore(MemoryStore()),
        }.get(kind, folder)
        make_image(made, [ramp(8, 8)], "yx", **options)
        store = {
            "path": folder,
            "text": str(folder),
            "uri": folder.as_uri(),
            "memory_url": "memory://in_place/a.zarr",
            "store_path": StorePath(LocalStore(tmp_path), "a.zarr"),
            "group": zarr.open_group(folder, mode="r+") if kind == "group" else None,
        }.get(kind, made)
        for overwrite in (False, True, True):
            build_pyramid(store, levels=3, overwrite=overwrite)
            assert_levels(made, pyramid_of(ramp(8, 8), HALF["yx"], "mean"))
        assert len(list(zarr.open_group(made, mode="r").array_keys())) == 3 if paths(made)[1] == "1" else 1

    def test_link_to_a_folder(self, make_image, ramp, tmp_path):
        make_image(tmp_path / "real.zarr", [ramp(8, 8)], "yx")
        (tmp_path / "link.zarr").symlink_to(tmp_path / "real.zarr")
        build_pyramid(tmp_path / "link.zarr", levels=2)
        assert (tmp_path / "link.zarr").is_symlink()
        assert paths(tmp_path / "real.zarr") == ["0", "1"]

    def test_compute_later(self, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(8, 8)], "yx")
        before = content(store)
        task = build_pyramid(store, levels=2, compute=False)
        assert content(store) == before
        task.compute()
        assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"][:2], "mean"))

    def test_two_processes(self, make_image, ramp, tmp_path):
        make_image(tmp_path / "a.zarr", [ramp(16, 16), np.zeros((8, 8), "u2")], "yx", chunks=(4, 4))
        with dask.config.set(scheduler="processes", num_workers=2):
            build_pyramid(tmp_path / "a.zarr", levels=3, overwrite=True)
        assert_levels(tmp_path / "a.zarr", pyramid_of(ramp(16, 16), HALF["yx"], "mean"))

    def test_progress(self, make_image, ramp, capsys):
        store = MemoryStore()
        make_image(store, [ramp(8, 8)], "yx")
        build_pyramid(store, levels=2, progress=True)
        assert "100%" in capsys.readouterr().err


class TestRefused:
    """Before anything is written."""

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"factors": [0]}, GeometryError, "factor of level 1 is 0"),
            ({"factors": [{"c": 2}]}, GeometryError, r"name \['c'\]"),
            ({"levels": 30}, GeometryError, "levels=30 is too many"),
            ({"method": "average"}, GeometryError, "expected one of mean"),
            ({"chunks": 0}, GeometryError, "chunk length of 'y' is 0"),
            ({"chunks": {"z": 3}}, GeometryError, "chunks names dim 'z'"),
            ({"shards": 7}, GeometryError, "no multiple of the chunk length 4"),
            ({"compressor": "middle-out"}, FormatError, "compressor='middle-out' is not known"),
            ({"memory_limit": "3 B"}, MemoryLimitError, "memory_limit is 3 B"),
            ({"storage_options": {"anon": True}}, FormatError, "storage_options are for URLs"),
        ],
        ids=["factor", "channel", "levels", "method", "chunks", "dim", "shards", "codec", "memory", "storage"],
    )  # fmt: skip
    def test_options(self, options, error, message, make_image, ramp, tmp_path):
        make_image(tmp_path / "a.zarr", [ramp(1, 64, 64)], "cyx", chunks=(1, 4, 4))
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        with pytest.raises(error, match=message):
            build_pyramid(tmp_path / "a.zarr", **{"levels": None if "factors" in options else 3} | options)
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before

    def test_shards_in_zarr_2(self, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(8, 8)], "yx", version="0.4")
        with pytest.raises(FormatError, match="Zarr v2, which has no shards"):
            build_pyramid(store, levels=2, shards=4)

    def test_method_for_a_dtype_that_has_none(self, make_image):
        store = MemoryStore()
        make_image(store, [np.zeros((8, 8), "c8")], "yx")
        with pytest.raises(GeometryError, match="'mode' is not defined for dtype complex64"):
            build_pyramid(store, levels=2, method="mode")

    def test_read_only(self, make_image, ramp, tmp_path):
        make_image(tmp_path / "a.zarr", [ramp(8, 8)], "yx")
        with pytest.raises(FormatError, match="is read-only"):
            build_pyramid(LocalStore(tmp_path / "a.zarr", read_only=True), levels=2)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(MissingFileError):
            build_pyramid(tmp_path / "a.zarr")


class HaltError(Exception):
    """What a store raises in these tests."""


def paths_now(state):
    """Paths of the levels, each of which must have its array."""
    document = json.loads(state.get("zarr.json", state.get(".zattrs")))
    document = document.get("attributes", document)
    found = [dataset["path"] for dataset in document.get("ome", document)["multiscales"][0]["datasets"]]
    assert all(f"{path}/zarr.json" in state or f"{path}/.zarray" in state for path in found)
    return found


class TestFailures:
    @by_version
    @pytest.mark.parametrize("overwrite", [False, True], ids=["added", "replaced"])
    def test_at_every_write(self, version, overwrite, make_image, ramp):
        """Whichever write fails, what is there is as before; a reader at any moment finds all old or all new levels."""
        old = [ramp(8, 8), np.zeros((4, 4), "u2")][: 1 + overwrite]
        new = pyramid_of(old[0], HALF["yx"], "mean")

        def attempt(fails_at):
            store, moments = MemoryStore(), []
            make_image(store, old, "yx", version=version, chunks=(4, 4))
            before = content(store)

            def happens(key):
                moments.append(paths_now(content(store)))
                if len(moments) == fails_at:
                    raise HaltError("halt")

            if not fails_at:
                build_pyramid(Watched(store, happens), levels=3, overwrite=overwrite)
            else:
                with pytest.raises((HaltError, FormatError), match="halt"):
                    build_pyramid(Watched(store, happens), levels=3, overwrite=overwrite)
            assert all(found == paths_now(before) or len(found) == 3 for found in moments)
            if len(paths_now(content(store))) == 3:
                assert_levels(store, new)
            else:
                assert content(store) == before
            return len(moments)

        total = attempt(0)
        assert total >= 10
        for fails_at in range(1, total + 1):
            attempt(fails_at)

    def test_an_error_in_level_0(self, make_image, ramp, tmp_path):
        folder = tmp_path / "a.zarr"
        group = make_image(folder, [ramp(16, 16)], "yx", chunks=(4, 4))
        del group["0"]
        blosc = zarr.codecs.BloscCodec(cname="zstd")
        array = group.create_array("0", shape=(16, 16), chunks=(4, 4), dtype="u2", compressors=blosc)
        array[...] = ramp(16, 16)
        broken = folder / "0" / "c" / "2" / "1"
        broken.write_bytes(broken.read_bytes()[:-3])
        before = {path for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(FormatError, match="is cut short"):
            build_pyramid(folder, levels=3)
        assert {path for path in folder.rglob("*") if path.is_file()} == before
        assert paths(folder) == ["0"]

    def test_changed_meanwhile(self, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(8, 8)], "yx")
        first, second = (build_pyramid(store, levels=n, compute=False) for n in (2, 3))
        first.compute()
        before = content(store)
        with pytest.raises(FormatError, match="were changed since they were looked at"):
            second.compute()
        assert content(store) == before

    @pytest.mark.parametrize("planned", ["before", "during"])
    def test_two_builds_at_once(self, planned, make_image, ramp):
        """Each has arrays of its own, and the first one to finish gives the image its levels."""
        store, others = MemoryStore(), []
        make_image(store, [ramp(8, 8)], "yx", chunks=(4, 4))
        other = build_pyramid(store, levels=2, method="max", compute=False) if planned == "before" else None

        def happens(key):
            if key.startswith("1/c/") and not others:
                others.append(key)
                if other is None:
                    build_pyramid(store, levels=2, method="max")
                else:
                    with pytest.raises(FormatError, match="something was written to 1 since"):
                        other.compute()

        watched = Watched(store, happens)
        if planned == "before":
            build_pyramid(watched, levels=3, method="min")
        else:
            with pytest.raises(FormatError, match="were changed since they were looked at"):
                build_pyramid(watched, levels=3, method="min")
        assert others
        method, n = ("min", 3) if planned == "before" else ("max", 2)
        assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"][:n], method))
        assert {key.split("/")[0] for key in content(store) if "/" in key} == {
            path.split("/")[0] for path in paths(store)
        }
        assert not [key for key in content(store) if "building" in key]

    def test_attributes_that_change_meanwhile_stay(self, make_image, ramp):
        store = MemoryStore()
        group = make_image(store, [ramp(8, 8)], "yx")
        task = build_pyramid(store, levels=2, compute=False)
        group.attrs["remark"] = "written while the levels were built"
        task.compute()
        assert zarr.open_group(store, mode="r").attrs["remark"] == "written while the levels were built"
        assert paths(store) == ["0", "1"]

    @by_version
    def test_what_a_killed_process_leaves_is_in_nobodys_way(self, version, make_image, ramp):
        store = MemoryStore()
        group = make_image(store, [ramp(8, 8)], "yx", version=version)
        stray = group.create_array("2", shape=(99, 99), dtype="f8")
        stray[...] = 5
        before = {key: value for key, value in content(store).items() if key.startswith("2/")}
        build_pyramid(store, levels=3)
        assert_levels(store, pyramid_of(ramp(8, 8), HALF["yx"], "mean"))
        assert {key: value for key, value in content(store).items() if key.startswith("2/")} == before

    @pytest.mark.parametrize("delay", [0.05, 0.25])
    def test_killed(self, delay, make_image, ramp, tmp_path):
        """At any moment the image has its old levels or its new ones, whole, and the next build brings these."""
        folder = tmp_path / "a.zarr"
        values = ramp(160, 160)
        make_image(folder, [values, np.zeros((80, 80), "u2")], "yx", chunks=(8, 8))
        code = (
            "import sys; from xarray_ngff.backends.ngff.changes.in_place import build_pyramid; import dask, zarr\n"
            "print('ready', flush=True); build_pyramid(sys.argv[1], levels=3, overwrite=True)"
        )
        child = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
        with child:
            assert child.stdout.readline() == b"ready\n"
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
        found = [array[...] for array in levels(folder)]
        if len(found) == 2:
            np.testing.assert_array_equal(found[1], 0)
        else:
            assert_levels(folder, pyramid_of(values, HALF["yx"], "mean"))
        build_pyramid(folder, levels=3, overwrite=True)
        assert_levels(folder, pyramid_of(values, HALF["yx"], "mean"))
