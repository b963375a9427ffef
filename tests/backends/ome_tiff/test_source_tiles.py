"""Blocks of whole tiles, where the chunks of the source allow it."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from xarray_ngff import as_image
from xarray_ngff.backends import _blocks
from xarray_ngff.backends.ome_tiff import source_tiles
from xarray_ngff.backends.ome_tiff.source_tiles import tile_blocks


def blocks_of(shape, chunks, tile, *, merged=1 << 25, block=1, dims=None):
    data = np.arange(np.prod(shape)).reshape(shape)
    dims = "tczyx"[-len(shape) :] if dims is None else dims
    img = as_image(data if chunks is None else da.from_array(data, chunks=chunks), dims=dims)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(source_tiles, "_MERGED", merged)
        patched.setattr(_blocks, "_BLOCK", block)
        return data, list(tile_blocks(img, tile))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((1, 16, 16), {(1, 32, 48)}),
        ((2, 10, 24), {(2, 80, 48), (1, 80, 48), (2, 80, 42), (1, 80, 42)}),
        ((1, 80, 90), {(1, 80, 90)}),
        ((1, 64, 90), {(1, 64, 90), (1, 16, 90)}),
    ],
)
def test_chunks_are_merged_to_whole_tiles(chunks, expected):
    data, found = blocks_of((3, 80, 90), chunks, (32, 48))
    shapes = {values.shape[2:] for _, values in found}
    assert expected <= shapes
    for _, height, width in shapes:
        assert height % 32 == 0 or height in (80, 80 % 32)
        assert width % 48 == 0 or width in (90, 90 % 48)
    assert sum(values.size for _, values in found) == data.size


def test_chunks_stay_where_whole_tiles_would_be_large():
    _, found = blocks_of((3, 80, 90), (1, 10, 10), (32, 48), merged=1000)
    assert {values.shape for _, values in found} == {(1, 1, 1, 10, 10)}


def test_values_are_in_the_order_of_pages():
    data, found = blocks_of((6, 20, 2, 30), (3, 20, 1, 10), (16, 16), dims=("x", "y", "t", "z"))
    ordered = data.transpose(2, 3, 1, 0)[:, None]
    for block, values in found:
        place = tuple(block.get(dim, slice(None)) for dim in "tczyx")
        np.testing.assert_array_equal(values, ordered[place])
    assert sum(values.size for _, values in found) == data.size


def test_an_image_in_memory_is_not_copied():
    data, found = blocks_of((4, 80, 90), None, (32, 48), block=20_000)
    assert len(found) > 4
    assert all(np.shares_memory(values, data) for _, values in found)
    assert all(block["y"].start % 32 == 0 and block["x"].start % 48 == 0 for block, _ in found)
