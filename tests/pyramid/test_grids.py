"""Grids of levels: options that a user gives, what zarr makes of them, and how shards grow and shrink."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.grids import (
    SHARD_BYTES,
    LevelGrid,
    chunk_lengths,
    level_grids,
    pyramid_grids,
    shard_lengths,
)


def empty(dtype="uint16", **sizes):
    """Image of any size that takes no memory."""
    return xr.DataArray(np.broadcast_to(np.zeros((), dtype), tuple(sizes.values())), dims=tuple(sizes))


@st.composite
def images(draw):
    dims = draw(st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tczyx", "tcyx"]))
    sizes = {dim: draw(st.integers(1, 3000 if dim in "zyx" else 60)) for dim in dims}
    return empty(draw(st.sampled_from(["uint8", "uint16", "float64"])), **sizes)


class TestChunkLengths:
    IMAGE = empty(t=2, c=3, z=50, y=600, x=2000)

    @pytest.mark.parametrize(
        ("chunks", "expected"),
        [
            (None, (1, 1, 50, 128, 128)),
            (64, (1, 1, 64, 64, 64)),
            ((1, 3, 10, 20, 30), (1, 3, 10, 20, 30)),
            ([1, 1, 5, 5, 5], (1, 1, 5, 5, 5)),
            (np.array([1, 1, 5, 5, 5]), (1, 1, 5, 5, 5)),
            ({"x": 512, "t": 2}, (2, 1, 50, 128, 512)),
            ({}, (1, 1, 50, 128, 128)),
            (np.int64(7), (1, 1, 7, 7, 7)),
        ],
        ids=str,
    )
    def test_in_every_form(self, chunks, expected):
        assert tuple(chunk_lengths(self.IMAGE, chunks).values()) == expected

    @pytest.mark.parametrize(
        ("chunks", "message"),
        [
            ({"q": 3}, "dim 'q', but the image has dims t, c, z, y, x"),
            ((64, 64), "2 entries for the dims t, c, z, y, x"),
            (0, "'z' is 0"),
            ({"y": -3}, "'y' is -3"),
            ({"y": 2.0}, "'y' is 2.0"),
            (True, "is True"),
            ("64", "is '64'"),
            ((1, 1, 8, 8, None), "'x' is None"),
        ],
        ids=str,
    )
    def test_that_do_not_fit(self, chunks, message):
        with pytest.raises(GeometryError, match="chunk") as raised:
            chunk_lengths(self.IMAGE, chunks)
        assert message in str(raised.value)


CHUNKS = MappingProxyType({"c": 1, "z": 50, "y": 128, "x": 128})


class TestShardLengths:
    IMAGE = empty(c=2, z=50, y=600, x=2000)

    @pytest.mark.parametrize(
        ("shards", "expected"),
        [
            ((2, 50, 256, 512), (2, 50, 256, 512)),
            ({"x": 1024}, (1, 50, 128, 1024)),
            (256, (1, 50, 256, 256)),  # z has one chunk only, whatever the shard
            (4096, (1, 50, 4096, 4096)),
            (np.array([1, 50, 128, 128]), (1, 50, 128, 128)),
        ],
        ids=str,
    )
    def test_in_every_form(self, shards, expected):
        assert tuple(shard_lengths(self.IMAGE, shards, CHUNKS).values()) == expected

    def test_without(self):
        assert shard_lengths(self.IMAGE, None, CHUNKS) is None

    @pytest.mark.parametrize(
        ("shards", "message"),
        [
            ({"y": 200}, "shard length of 'y' is 200, which is no multiple of the chunk length 128: the nearest that "
             "are: 128 or 256"),
            ({"x": 100}, "'x' is 100, which is no multiple of the chunk length 128: the nearest that are: 128"),
            ({"z": 25}, "'z' is 25"),
            ({"y": 1000}, "896 or 1024"),
            ((128, 128), "2 entries for the dims c, z, y, x"),
            ({"q": 128}, "shards names dim 'q'"),
            ({"x": 0}, "'x' is 0"),
            ({"x": 128.0}, "'x' is 128.0"),
            ("large", 'expected "auto", a size such as "256 MiB"'),
            ("64", "expected"),
            ("0 MiB", "expected"),
            ("-1 MiB", "expected"),
        ],
        ids=str,
    )  # fmt: skip
    def test_that_do_not_fit(self, shards, message):
        with pytest.raises(GeometryError, match="shard") as raised:
            shard_lengths(self.IMAGE, shards, CHUNKS)
        assert message in str(raised.value)

    @pytest.mark.parametrize(
        ("img", "shards", "expected"),
        [
            (empty(z=2048, y=2048, x=2048), "auto", (256, 256, 512)),
            (empty("uint8", z=2048, y=2048, x=2048), "auto", (256, 512, 512)),
            (empty(z=2048, y=2048, x=2048), "256 MiB", (512, 512, 512)),
            (empty(z=2048, y=2048, x=2048), "4 MiB", (128, 128, 128)),
            (empty(z=2048, y=2048, x=2048), "1 kB", (128, 128, 128)),
            (empty(z=100, y=2048, x=2048), "auto", (100, 512, 512)),
            # the spatial image is held whole, and then the channels before the times
            (empty("uint8", t=1000, c=4, y=1024, x=1024), "auto", (16, 4, 1024, 1024)),
            (empty("uint8", t=1000, c=100, y=1024, x=1024), "auto", (1, 64, 1024, 1024)),
            (empty("uint8", t=1000, c=3, y=4096, x=4096), "auto", (1, 3, 4096, 4096)),
            (empty("uint8", t=1000, c=3, y=10000, x=10000), "auto", (1, 1, 8192, 8192)),
            # no more chunks than there are
            (empty("uint8", z=300, y=300, x=300), "1 GiB", (384, 384, 384)),
            (empty("uint8", y=50, x=60), "auto", (50, 60)),
        ],
        ids=lambda value: str(dict(value.sizes)) if isinstance(value, xr.DataArray) else str(value),
    )
    def test_of_a_size(self, img, shards, expected):
        assert tuple(shard_lengths(img, shards, chunk_lengths(img, None)).values()) == expected

    @given(img=images(), data=st.data())
    def test_of_a_size_are_whole_chunks_within_it(self, img, data):
        chunks = chunk_lengths(img, {dim: data.draw(st.integers(1, 2000)) for dim in img.dims})
        size = data.draw(st.integers(1, 2**30))
        shards = shard_lengths(img, f"{size} B", chunks)
        held = math.prod(min(length, n) for length, n in zip(shards.values(), img.shape, strict=True))
        one = math.prod(min(chunks[dim], n) for dim, n in img.sizes.items())
        assert held * img.dtype.itemsize <= max(size, one * img.dtype.itemsize)
        for dim, n in img.sizes.items():
            assert shards[dim] % chunks[dim] == 0
            assert shards[dim] < n + chunks[dim]
        # other axes only where the spatial image is whole
        if any(shards[dim] > chunks[dim] for dim in img.dims if dim in "tc"):
            assert all(shards[dim] >= img.sizes[dim] for dim in img.dims if dim in "zyx")

    def test_auto_is_about_64_mib(self):
        assert SHARD_BYTES == 2**26
        img = empty(z=5000, y=5000, x=5000)
        lengths = chunk_lengths(img, None)
        assert shard_lengths(img, "auto", lengths) == shard_lengths(img, "64 MiB", lengths)


class TestLevelGrids:
    def test_chunks_and_shards_of_small_levels(self):
        grids = level_grids("yx", [(600, 300), (300, 150), (75, 38)], {"y": 128, "x": 128}, {"y": 512, "x": 256})
        assert grids == (
            LevelGrid((600, 300), (128, 128), (512, 256)),
            LevelGrid((300, 150), (128, 128), (384, 256)),
            LevelGrid((75, 38), (75, 38), (75, 38)),
        )
        assert [grid.unit for grid in grids] == [grid.shards for grid in grids]

    def test_the_unit_without_shards_is_a_chunk(self):
        (grid,) = level_grids("yx", [(600, 300)], {"y": 128, "x": 512}, None)
        assert grid.unit == grid.chunks == (128, 300)

    def test_shards_of_a_size_hold_the_same_part_of_the_image_at_every_level(self):
        img = empty(z=1024, y=1024, x=1024)
        shapes = [(1024,) * 3, (512,) * 3, (256,) * 3, (128,) * 3]
        grids = pyramid_grids(img, shapes, None, "auto")
        assert [grid.shards for grid in grids] == [(256, 256, 512), (128, 128, 256), (128, 128, 128), (128, 128, 128)]

    def test_shards_of_given_lengths_are_the_same_at_every_level(self):
        img = empty(z=1024, y=1024, x=1024)
        grids = pyramid_grids(img, [(1024,) * 3, (512,) * 3, (256,) * 3], 64, 512)
        assert [grid.shards for grid in grids] == [(512,) * 3, (512,) * 3, (256,) * 3]

    @given(data=st.data(), shrink=st.booleans())
    @settings(max_examples=50, deadline=None)
    def test_zarr_and_tensorstore_take_them(self, data, shrink, tmp_path_factory):
        """Whole chunks in a shard, or zarr refuses; written by one and read by the other."""
        ndim = data.draw(st.integers(1, 3))
        dims = "zyx"[-ndim:]
        shape = tuple(data.draw(st.integers(1, 20)) for _ in dims)
        factor = data.draw(st.sampled_from([1, 2, 3, 5, 100]))
        coarse = tuple(-(-n // factor) for n in shape)
        chunks = {dim: data.draw(st.integers(1, 25)) for dim in dims}
        shards = {dim: chunks[dim] * data.draw(st.integers(1, 5)) for dim in dims}
        folder = tmp_path_factory.mktemp("level")
        grid = level_grids(dims, [shape, coarse], chunks, shards, shrink=shrink)[1]
        for chunk, shard, n, dim in zip(grid.chunks, grid.shards, coarse, dims, strict=True):
            assert chunk == min(chunks[dim], n)
            assert shard % chunk == 0
            assert shard < n + chunk
            assert shard <= shards[dim]
        array = zarr.create_array(
            folder / "array", shape=coarse, chunks=grid.chunks, shards=grid.shards, dtype="uint16", fill_value=0
        )
        array[...] = values = np.arange(math.prod(coarse), dtype="uint16").reshape(coarse) + 1
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder / "array")}}
        np.testing.assert_array_equal(tensorstore.open(spec, open=True).result().read().result(), values)
