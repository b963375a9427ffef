"""The scratch file of a pyramid: tiles come back whole, in the order of a TIFF file, and from several threads."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ome_tiff.tile_codec import tile_codec
from xarray_ngff.backends.ome_tiff.tile_spool import TileGrid, TileSpool


def spool_of(array, tile, *, order=None, compression="zlib"):
    grid = TileGrid(array.shape[0], array.shape[1:], tile)
    spool = TileSpool(io.BytesIO(), [grid], tile_codec(compression, array.dtype, place="a.tif"))
    places = list(grid.places())
    for index in range(len(places)) if order is None else order:
        page, row, column = places[index]
        spool.put(0, places[index], array[page][grid.region(row, column)])
    return spool


@given(data=st.data(), pages=st.integers(1, 3), height=st.integers(1, 70), width=st.integers(1, 70))
def test_any_part_of_a_plane_comes_back(data, pages, height, width):
    array = np.random.default_rng(0).integers(0, 2**16, (pages, height, width)).astype("uint16")
    tile = (data.draw(st.sampled_from([16, 32])), data.draw(st.sampled_from([16, 48])))
    count = pages * -(-height // tile[0]) * -(-width // tile[1])
    spool = spool_of(array, tile, order=data.draw(st.permutations(range(count))))
    region = []
    for size in (height, width):
        start = data.draw(st.integers(0, size - 1))
        region.append(slice(start, data.draw(st.integers(start + 1, size))))
    page = data.draw(st.integers(0, pages - 1))
    np.testing.assert_array_equal(spool.values(0, page, tuple(region)), array[page][tuple(region)])


def test_tiles_come_in_the_order_of_a_tiff_file():
    array = np.arange(2 * 20 * 40, dtype="uint16").reshape(2, 20, 40)
    spool = spool_of(array, (16, 32), order=[5, 0, 7, 2, 4, 1, 6, 3], compression=None)
    tiles = [np.frombuffer(data, "uint16").reshape(16, 32) for data in spool.encoded_tiles(0)]
    corners = [array[page, row, column] for page in range(2) for row in (0, 16) for column in (0, 32)]
    assert [tile[0, 0] for tile in tiles] == corners
    assert spool.encoded_bytes() == sum(tile.nbytes for tile in tiles)


def test_threads_share_it():
    array = np.random.default_rng(0).integers(0, 2**16, (40, 32, 32)).astype("uint16")
    grid = TileGrid(40, (32, 32), (16, 16))
    spool = TileSpool(io.BytesIO(), [grid], tile_codec("zlib", array.dtype, place="a.tif"))

    def put(place):
        page, row, column = place
        spool.put(0, place, array[page][grid.region(row, column)])
        return spool.values(0, page, grid.region(row, column))

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(put, grid.places()))
    for (page, row, column), part in zip(grid.places(), parts, strict=True):
        np.testing.assert_array_equal(part, array[page][grid.region(row, column)])


def test_room_that_is_free_again_is_used():
    stream = io.BytesIO()
    spool = TileSpool(stream, [TileGrid(1, (1, 1), (16, 16))], tile_codec(None, np.dtype("uint8"), place="a.tif"))
    first, second = spool.append(b"aaaa"), spool.append(b"bbbb")
    assert spool.taken(first, 4) == b"aaaa"
    assert spool.append(b"ccc") == 8
    assert spool.append(b"dddd") == first
    assert spool.taken(second, 4) == b"bbbb"
    assert stream.getvalue() == b"ddddbbbbccc"


@pytest.mark.parametrize(
    ("region", "tiles"),
    [
        ((slice(0, 1), slice(0, 1)), [(0, 0)]),
        ((slice(15, 17), slice(31, 32)), [(0, 0), (1, 0)]),
        ((slice(16, 20), slice(0, 40)), [(1, 0), (1, 1)]),
    ],
)
def test_tiles_that_a_part_meets(region, tiles):
    assert list(TileGrid(1, (20, 40), (16, 32)).meeting(region)) == tiles
