"""Sorting networks against sorts."""

import itertools

import numpy as np
import pytest

from xarray_ngff.pyramid.ordering import middle_lanes, sorted_lanes


def zeros_and_ones(count):
    """Lanes of 0 and 1: every sequence up to 12 lanes, every run of ones and many others beyond.

    By the zero-one principle a network of comparisons that is right for all sequences of 0 and 1 is right for all.
    """
    if count <= 12:
        return np.array(list(itertools.product([0, 1], repeat=count)), "u1").T.copy()
    lanes = np.arange(count)[:, None, None]
    runs = (lanes >= np.arange(count)[:, None]) & (lanes < np.arange(count + 1))
    others = np.random.default_rng(count).random((count, 5000)) < np.linspace(0, 1, 5000)
    return np.concatenate([runs.reshape(count, -1), others], axis=1).astype("u1")


@pytest.mark.parametrize("count", range(1, 33))
def test_network_sorts(count):
    columns = zeros_and_ones(count)
    np.testing.assert_array_equal(sorted_lanes(columns.copy()), np.sort(columns, axis=0))


@pytest.mark.parametrize("count", [*range(1, 33), 64, 65])
def test_network_of_the_median_finds_the_middle_two(count):
    columns = zeros_and_ones(count)
    wanted = np.sort(columns, axis=0)[[(count - 1) // 2, count // 2]]
    np.testing.assert_array_equal(np.sort(middle_lanes(columns.copy()), axis=0), wanted)


def test_nan_are_last():
    lanes = np.array([[np.nan, 1.0], [2.0, np.nan], [-np.inf, np.nan]])
    np.testing.assert_array_equal(sorted_lanes(lanes.copy()), np.sort(lanes, axis=0))
