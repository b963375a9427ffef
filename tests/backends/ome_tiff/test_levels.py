"""Factors of pyramid levels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ome_tiff.levels import level_factors


@pytest.mark.parametrize(
    ("fine", "coarse", "factor"),
    [
        (100, 100, 1),
        (100, 50, 2),
        (101, 50, 2),
        (101, 51, 2),
        (7, 1, 8),
        (5, 1, 4),
        (90, 30, 3),
        (1000, 700, 1000 / 700),
    ],
)
def test_factor_of_one_axis(fine, coarse, factor):
    assert level_factors({"x": fine}, {"x": coarse}) == {"x": factor}


def test_short_axes_follow_the_longest():
    # 3 pixels are 1 after halving twice or three times: x says which
    assert level_factors({"y": 3, "x": 1024}, {"y": 1, "x": 128}) == {"y": 8, "x": 8}


@given(sizes=st.tuples(st.integers(64, 5000), st.integers(64, 5000)), level=st.integers(0, 4), up=st.booleans())
def test_powers_of_two_are_found_however_sizes_are_rounded(sizes, level, up):
    factor = 2**level
    coarse = [-(-size // factor) if up else size // factor for size in sizes]
    found = level_factors(dict(zip("yx", sizes, strict=True)), dict(zip("yx", coarse, strict=True)))
    assert found == {"y": factor, "x": factor}
