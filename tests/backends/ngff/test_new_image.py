"""Options of a new image: shards, another pyramid as a model, what cannot go together; the plan is what is written."""

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from block_statistics import pyramid_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xarray_ngff
from xarray_ngff import FormatError, GeometryError
from xarray_ngff.errors import MemoryLimitError

VALUES = np.random.default_rng(0).integers(0, 4096, (20, 50, 60)).astype("u2")
IMAGE = xarray_ngff.as_image(VALUES, spacing=(2, 1, 1), units="um")


def arrays(store):
    group = zarr.open_group(store, mode="r")
    ome = group.attrs.asdict().get("ome", group.attrs.asdict())
    return [group[dataset["path"]] for dataset in ome["multiscales"][0]["datasets"]]


class TestShards:
    def test_are_what_was_asked_for(self, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, shards={"z": 16, "y": 16, "x": 32}, factors=[2])
        for level, expected in zip(
            arrays(tmp_path / "a.zarr"), pyramid_of(VALUES, [(1, 1, 1), (2, 2, 2)], "mean"), strict=True
        ):
            assert level.shards == (16, 16, 32)
            assert level.chunks == (8, 8, 8)
            np.testing.assert_array_equal(level[:], expected)

    def test_each_is_written_once(self, tmp_path, monkeypatch):
        written = []
        original = zarr.storage.LocalStore.set

        async def noting(self, key, value):
            written.append(key)
            await original(self, key, value)

        monkeypatch.setattr(zarr.storage.LocalStore, "set", noting)
        IMAGE.chunk(7).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, shards=16, factors=[2, 4])
        shards = [key for key in written if "/c/" in key]
        assert len(shards) == len(set(shards)) > 20

    def test_of_version_04(self, tmp_path):
        with pytest.raises(FormatError, match=r"Zarr v2, which has no shards: write version 0\.5"):
            IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", shards="auto", version="0.4")
        assert not list(tmp_path.iterdir())

    def test_that_are_no_multiple_of_chunks(self, tmp_path):
        with pytest.raises(
            GeometryError, match="shard length of 'x' is 20, which is no multiple of the chunk length 8"
        ):
            IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, shards={"x": 20})
        assert not list(tmp_path.iterdir())

    @given(data=st.data())
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_from_any_chunks_of_dask(self, data):
        """No shard has two writers, in threads, whatever the chunks of the image are."""
        shape = data.draw(st.tuples(*[st.integers(1, 20)] * 3))
        values = np.random.default_rng(0).integers(0, 99, shape).astype("u1")
        lazy = da.from_array(values, chunks=tuple(data.draw(st.integers(1, n)) for n in shape))
        chunks = [data.draw(st.integers(1, 5)) for _ in shape]
        shards = [length * data.draw(st.integers(1, 4)) for length in chunks]
        store = zarr.storage.MemoryStore()
        image = xarray_ngff.as_image(lazy)
        factor = data.draw(st.sampled_from([2, 3]))
        if max(shape) == 1:
            factor = None
        image.ngff.to_ome_zarr(store, chunks=chunks, shards=shards, factors=[] if factor is None else [factor])
        factors = [(1, 1, 1), *([] if factor is None else [tuple(min(factor, n) for n in shape)])]
        for level, expected in zip(arrays(store), pyramid_of(values, factors, "mean"), strict=True):
            np.testing.assert_array_equal(level[:], expected)


class TestLike:
    @pytest.fixture
    def model(self, tmp_path):
        other = xarray_ngff.as_image(np.zeros((30, 40, 40), "u1"), spacing=(2, 1, 1), units="um")
        factors = [{"y": 2, "x": 2}, {"z": 2, "y": 4, "x": 4}]
        other.ngff.to_ome_zarr(
            tmp_path / "model.zarr", factors=factors, chunks=(4, 8, 8), shards=(8, 16, 16), compressor="zstd:7"
        )
        return tmp_path / "model.zarr"

    def test_takes_levels_chunks_shards_and_codecs(self, model, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", like=model)
        mine, models = arrays(tmp_path / "a.zarr"), arrays(model)
        assert [level.shape for level in mine] == [(20, 50, 60), (20, 25, 30), (10, 13, 15)]
        assert {level.chunks for level in mine} == {(4, 8, 8)}
        assert mine[0].shards == models[0].shards == (8, 16, 16)
        assert mine[0].compressors == models[0].compressors
        for level, expected in zip(mine, pyramid_of(VALUES, [(1, 1, 1), (1, 2, 2), (2, 4, 4)], "mean"), strict=True):
            np.testing.assert_array_equal(level[:], expected)

    def test_what_is_said_counts(self, model, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", like=model, levels=1, chunks=10, shards=20, compressor=None)
        (level,) = arrays(tmp_path / "a.zarr")
        assert (level.chunks, level.shards, level.compressors) == ((10, 10, 10), (20, 20, 20), ())

    def test_of_the_other_format(self, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "old.zarr", version="0.4", compressor="zstd:2", chunks=16)
        IMAGE.ngff.to_ome_zarr(tmp_path / "new.zarr", like=tmp_path / "old.zarr")
        assert [level.chunks for level in arrays(tmp_path / "new.zarr")] == [(16, 16, 16)]
        (codec,) = arrays(tmp_path / "new.zarr")[0].compressors
        assert codec.to_dict()["name"] == "zstd"
        assert codec.to_dict()["configuration"]["level"] == 2

    def test_shards_that_shrink_with_the_levels(self, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "model.zarr", chunks=4, shards="4 KB", factors=[2])
        models = arrays(tmp_path / "model.zarr")
        assert models[0].shards != models[1].shards
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", like=tmp_path / "model.zarr")
        assert [level.shards for level in arrays(tmp_path / "a.zarr")] == [level.shards for level in models]

    def test_of_shards_in_the_older_format(self, model, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", like=model, version="0.4", compressor="zstd:1")
        assert {level.chunks for level in arrays(tmp_path / "a.zarr")} == {(4, 8, 8)}

    def test_of_other_dims(self, model, tmp_path):
        with pytest.raises(GeometryError, match="has the dims z, y, x, the image has c, z, y, x"):
            IMAGE.expand_dims("c").ngff.to_ome_zarr(tmp_path / "a.zarr", like=model)

    def test_that_is_not_there(self, tmp_path):
        with pytest.raises(xarray_ngff.MissingFileError, match=r"none\.zarr does not exist"):
            IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", like=tmp_path / "none.zarr")
        assert not list(tmp_path.iterdir())


class TestTogether:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"region": "auto", "levels": 2}, "levels=2 cannot be chosen with region='auto'"),
            ({"region": "auto", "overwrite": True}, "overwrite=True cannot be chosen with region='auto'"),
            ({"region": "auto", "compressor": None}, "compressor=None cannot be chosen with region='auto'"),
            ({"label": "cells", "version": "0.4"}, "version='0.4' cannot be chosen with label='cells'"),
            ({"colors": {1: "#FF0000"}}, "give its name too, label='nuclei'"),
            ({"properties": {1: {"area": 3}}}, "give its name too, label='nuclei'"),
            ({"compressor": "lzw"}, "compressor='lzw'"),
        ],
    )
    def test_what_cannot(self, options, message, tmp_path):
        with pytest.raises(FormatError, match=message):
            IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", **options)
        assert not list(tmp_path.iterdir())


class TestPlan:
    def test_is_what_is_written(self, tmp_path):
        options = {"chunks": 8, "shards": 16, "factors": [2, 6]}
        plan = IMAGE.ngff.plan_pyramid(**options)
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", **options)
        for planned, level in zip(plan.levels, arrays(tmp_path / "a.zarr"), strict=True):
            assert (planned.shape, planned.chunks, planned.shards) == (level.shape, level.chunks, level.shards)

    def test_of_an_image_in_another_order_of_dims(self):
        assert IMAGE.transpose("x", "z", "y").ngff.plan_pyramid().levels[0].shape == (20, 50, 60)

    def test_too_little_memory_is_said_before_anything_is_written(self, tmp_path):
        with pytest.raises(MemoryLimitError, match="memory_limit"):
            IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", memory_limit=1000)
        assert not list(tmp_path.iterdir())


class TestLevelsOfATree:
    def test_shards_and_codecs(self, tmp_path):
        tree = IMAGE.ngff.to_multiscale(factors=[2])
        tree.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, shards=16, compressor="gzip:2")
        for level, expected in zip(
            arrays(tmp_path / "a.zarr"), pyramid_of(VALUES, [(1, 1, 1), (2, 2, 2)], "mean"), strict=True
        ):
            assert (level.chunks, level.shards) == ((8, 8, 8), (16, 16, 16))
            np.testing.assert_array_equal(level[:], expected)
        codecs = json.loads((tmp_path / "a.zarr/0/zarr.json").read_text())["codecs"][0]["configuration"]["codecs"]
        assert codecs[-1] == {"name": "gzip", "configuration": {"level": 2}}

    def test_levels_in_files_are_read_by_threads(self, tmp_path):
        IMAGE.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, factors=[2])
        tree = xr.open_datatree(tmp_path / "a.zarr", engine="ngff")
        tree.ngff.to_ome_zarr(tmp_path / "b.zarr", chunks=10)
        for level, expected in zip(
            arrays(tmp_path / "b.zarr"), pyramid_of(VALUES, [(1, 1, 1), (2, 2, 2)], "mean"), strict=True
        ):
            np.testing.assert_array_equal(level[:], expected)
