"""Chunk shapes against those of genuine files."""

from __future__ import annotations

import h5py
import pytest

from xarray_ngff.backends.imaris.chunk_layout import chunk_shape


def test_chunks_of_genuine_files(genuine):
    times, *_ = genuine.pixels.shape
    with h5py.File(genuine.path) as file:
        for level in range(len(file["DataSet"])):
            group = file[f"DataSet/ResolutionLevel {level}/TimePoint 0/Channel 0"]
            size = tuple(int(group.attrs[f"ImageSize{axis}"].tobytes()) for axis in "ZYX")
            assert chunk_shape(size, genuine.pixels.itemsize, times=times) == group["Data"].chunks


@pytest.mark.parametrize(
    ("size", "itemsize", "expected"),
    [
        ((1, 1, 1), 1, (1, 1, 1)),
        ((1000, 2048, 2048), 2, (32, 128, 128)),
        ((1000, 30, 30), 2, (512, 32, 32)),
        ((1, 10_000, 10), 4, None),
    ],
)
def test_chunks_are_square_in_volumes_and_nearly_so_in_planes(size, itemsize, expected):
    z, y, x = chunk_shape(size, itemsize)
    assert z * y * x * itemsize <= 2**20
    assert (z == 1 and max(y, x) <= 4 * min(y, x)) if size[0] == 1 else (y == x and z >= 4)
    assert expected in (None, (z, y, x))


def test_what_no_layout_fits_stays_as_it_must():
    assert chunk_shape((1, 40, 40), 1, at_least=(2, 16, 16)) == (2, 16, 16)
