"""Histograms against numpy.histogram."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xarray_ngff.backends.imaris.histograms import (
    Bins,
    bins_for,
    count,
    display_range,
    finite_range,
    joined,
    resampled,
    shifted,
)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@given(data=st.data())
def test_every_integer_is_in_the_bin_that_its_value_says(dtype, data):
    values = data.draw(hnp.arrays(dtype, st.integers(1, 60)))
    bins = bins_for(values.dtype, finite_range(values))
    counts = count(values, bins)
    expected = np.zeros(bins.number, int)
    for value in values.tolist():
        expected[value * bins.number // (int(bins.high) + 1)] += 1
    np.testing.assert_array_equal(counts, expected)
    few = np.zeros(256, int)
    for place, number in enumerate(counts.tolist()):
        few[place * 256 // bins.number] += number
    np.testing.assert_array_equal(resampled(counts, 256), few)


@given(values=hnp.arrays("f4", st.integers(1, 60)))
def test_every_finite_float_is_counted(values):
    found = finite_range(values)
    finite = values[np.isfinite(values)]
    assert found == ((finite.min(), finite.max()) if finite.size else None)
    bins = bins_for(values.dtype, found)
    assert bins.low < bins.high
    counts = count(values, bins)
    assert (len(counts), counts.sum()) == (1024, finite.size)
    if finite.size and finite.min() < finite.max():
        assert counts[0] > 0
        assert counts[-1] > 0


def test_ranges():
    assert finite_range(np.array([np.nan, np.inf], "f4")) is None
    assert joined([None, None]) is None
    assert joined([(3, 4), None, (1, 2)]) == (1, 4)
    assert bins_for(np.dtype("u2"), (5, 9)) == Bins(0, 256, 257, 1)
    assert bins_for(np.dtype("f4"), (0.5, 0.5)) == Bins(0.5, 1.5, 1024, 0)


def test_counts_move_to_bins_of_another_range():
    narrow, wide = bins_for(np.dtype("u2"), (0, 2047)), bins_for(np.dtype("u2"), (0, 4095))
    values = np.arange(2048, dtype="u2")
    np.testing.assert_array_equal(shifted(count(values, narrow), narrow, wide), count(values, wide))
    np.testing.assert_array_equal(shifted(count(values, narrow), narrow, narrow), count(values, narrow))


def test_display_range_leaves_out_background_and_outliers():
    random = np.random.default_rng(0)
    background = random.normal(200, 10, 90_000)
    cells = random.uniform(200, 3000, 10_000)
    values = np.concatenate([background, cells, [60_000]]).clip(0).astype("u2")
    bins = bins_for(values.dtype, finite_range(values))
    low, high = display_range(count(values, bins), bins)
    assert 0 <= low < 1000
    assert 2000 < high < 12_000
    assert high == int(high)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("fill", [0, 7])
def test_display_range_of_a_constant_image_is_a_range(dtype, fill):
    values = np.full(50, fill, dtype)
    bins = bins_for(values.dtype, finite_range(values))
    low, high = display_range(count(values, bins), bins)
    assert bins.low <= low < high <= bins.high


def test_display_range_of_no_values():
    bins = bins_for(np.dtype("f4"), None)
    assert display_range(count(np.array([np.nan], "f4"), bins), bins) == (0, 1)
