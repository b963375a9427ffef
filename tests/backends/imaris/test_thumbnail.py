"""Thumbnails against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from xarray_ngff.backends.imaris.thumbnail import colored, projection, thumbnail_level, thumbnail_size


@pytest.mark.parametrize(
    ("sizes", "itemsize", "level"),
    [
        ([(20, 130, 259), (10, 65, 129)], 2, 0),
        ([(3, 701, 902), (3, 350, 451)], 1, 1),
        ([(3, 1024, 1024), (3, 512, 512), (3, 256, 256), (3, 128, 128)], 1, 2),
        ([(4000, 300, 300), (2000, 150, 150), (1000, 75, 75)], 4, 2),
    ],
)
def test_level(sizes, itemsize, level):
    assert thumbnail_level(sizes, itemsize) == level


@pytest.mark.parametrize(
    ("size", "spacing", "pixels"),
    [
        ((1, 10, 10), (1, 1), (256, 256)),
        ((1, 1, 10_000), (1, 1), (1, 256)),
        ((1, 400, 100), (1, 2), (256, 128)),
        ((1, 100, 100), (1e-9, 1e9), (1, 256)),
    ],
)
def test_size(size, spacing, pixels):
    assert thumbnail_size(size, spacing) == pixels


@pytest.mark.parametrize("pixels", [(4, 6), (256, 100), (1, 1)])
def test_projection_is_that_of_the_whole_volume(pixels, noise):
    volume = noise((5, 30, 44), "f4")
    volume[:, 3, 3] = np.nan
    chunks = [
        ((z, y, x), volume[z : z + 2, y : y + 8, x : x + 16])
        for z in range(0, 5, 2)
        for y in range(0, 30, 8)
        for x in range(0, 44, 16)
    ]
    rows, columns = (np.arange(n) * size // n for n, size in zip(pixels, (30, 44), strict=True))
    with np.errstate(invalid="ignore"):
        expected = np.fmax.reduce(volume, axis=0)[np.ix_(rows, columns)]
    np.testing.assert_array_equal(projection(chunks, volume.shape, pixels), expected)


def test_colours():
    dark, bright = np.array([[0.0, 50, np.nan]]), np.array([[100.0, -5, 200]])
    result = colored([dark, bright], [(1.0, 0.5, 0.0), (0.0, 0.0, 1.0)], [(0, 100), (0, 100)])
    np.testing.assert_array_equal(result.reshape(3, 4), [[0, 0, 255, 255], [127, 63, 0, 255], [0, 0, 255, 255]])
    flat = colored([np.array([[1.0, 3.0]])], [(1, 1, 1)], [(2, 2)])
    np.testing.assert_array_equal(flat.reshape(2, 4), [[0, 0, 0, 255], [255, 255, 255, 255]])
