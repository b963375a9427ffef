"""Sizes of levels and chunks against what the vendor's rules say, and levels against plain NumPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.imaris.resolution_levels import ResolutionLevel, plan_resolution_levels, reduced
from xarray_ngff.errors import GeometryError

sizes = st.tuples(st.integers(1, 3000), st.integers(1, 40_000), st.integers(1, 40_000))


@given(size=sizes, itemsize=st.sampled_from([1, 2, 4]), times=st.integers(1, 500))
def test_default_levels(size, itemsize, times):
    plan = plan_resolution_levels(size, itemsize, times=times)
    assert plan[0].size == size
    assert math.prod(plan[-1].size) * itemsize <= 2**20
    for finer, coarser in itertools.pairwise(plan):
        assert math.prod(finer.size) * itemsize > 2**20
        z, y, x = finer.size
        expected = (
            z // 2 if z > 1 and 100 * z * z > x * y else z,
            y // 2 if y > 1 and 100 * y * y > x * z else y,
            x // 2 if x > 1 and 100 * x * x > y * z else x,
        )
        assert coarser.size == expected


@given(size=sizes, itemsize=st.sampled_from([1, 2, 4]), times=st.integers(1, 500), levels=st.integers(1, 6))
def test_chunks_of_a_level_hold_whole_chunks_of_the_finer_one(size, itemsize, times, levels):
    try:
        plan = plan_resolution_levels(size, itemsize, times=times, levels=levels)
    except GeometryError:
        return
    assert len(plan) == levels
    for level in plan:
        assert math.prod(level.chunk) * itemsize <= 2**20
        assert all(side & (side - 1) == 0 for side in level.chunk)
        assert all(
            0 <= stored - size < side
            for stored, size, side in zip(level.stored_shape, level.size, level.chunk, strict=True)
        )
    for finer, coarser in itertools.pairwise(plan):
        assert all(
            (step * large) % small == 0
            for step, large, small in zip(coarser.steps, coarser.chunk, finer.chunk, strict=True)
        )
        assert all(n // step == m for n, step, m in zip(finer.size, coarser.steps, coarser.size, strict=True))


def test_levels_end_at_one_voxel():
    assert [level.size for level in plan_resolution_levels((1, 5, 3), 1, levels=3)] == [(1, 5, 3), (1, 2, 1), (1, 1, 1)]
    with pytest.raises(GeometryError, match=r"levels=4 is too many .* at most 3"):
        plan_resolution_levels((1, 5, 3), 1, levels=4)


def test_part_of_a_chunk_that_is_not_padding():
    level = ResolutionLevel((5, 9, 16), (4, 8, 8))
    assert level.grid == (2, 2, 2)
    assert level.inside((0, 0, 0)) == (slice(0, 4), slice(0, 8), slice(0, 8))
    assert level.inside((1, 1, 1)) == (slice(0, 1), slice(0, 1), slice(0, 8))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("steps", [(1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 1, 1)])
def test_integer_means_are_rounded_down_and_never_overflow(steps, dtype):
    random = np.random.default_rng(1)
    values = random.integers(0, np.iinfo(dtype).max, (5, 7, 9), dtype, endpoint=True)
    values[:2, :2, :2] = np.iinfo(dtype).max
    result = reduced(values, steps, labels=False)
    assert result.dtype == values.dtype
    assert result.shape == tuple(n // step for n, step in zip(values.shape, steps, strict=True))
    for place in np.ndindex(result.shape):
        block = values[tuple(slice(at * step, (at + 1) * step) for at, step in zip(place, steps, strict=True))]
        assert int(result[place]) == sum(map(int, block.ravel())) // block.size


def test_float_means_and_labels():
    values = np.array([[[0.1, 0.2, 9.0], [np.nan, 1.0, 9.0]]], "f4")
    np.testing.assert_array_equal(
        reduced(values, (1, 1, 2), labels=False)[0, 0, 0], np.float32(values[0, 0, :2].mean(dtype="f8"))
    )
    assert np.isnan(reduced(values, (1, 2, 2), labels=False)).all()
    ids = np.array([[[5, 5, 1], [9, 7, 1]]], "u4")
    np.testing.assert_array_equal(reduced(ids, (1, 2, 2), labels=True), [[[5]]])
