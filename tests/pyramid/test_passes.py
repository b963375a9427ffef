"""Passes over a pyramid: each level is written by one of them, from what is there by then, in whole chunks."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.pyramid.grids import level_grids
from xarray_ngff.pyramid.passes import plan_passes
from xarray_ngff.pyramid.plan import plan_levels

DIMS = ("z", "y", "x")


def cube(edge, factors):
    plan = plan_levels(dict.fromkeys(DIMS, edge), dict.fromkeys(DIMS, 1.0), factors=factors)
    return plan, [tuple(level.sizes.values()) for level in plan]


@pytest.mark.parametrize(
    ("block_bytes", "expected"),
    [
        (1, [(None, (0,)), (0, (1,)), (1, (2,)), (2, (3,))]),
        (2 * 256**3, [(None, (0, 1)), (1, (2,)), (2, (3,))]),
        (2 * 512**3, [(None, (0, 1, 2)), (2, (3,))]),
        (2 * 1024**3, [(None, (0, 1, 2, 3))]),
    ],
)
def test_levels_join_while_their_blocks_fit(block_bytes, expected):
    plan, shapes = cube(4096, [2, 4, 8])
    passes = plan_passes(plan, DIMS, shapes, [(128,) * 3] * 4, 2, block_bytes=block_bytes)
    assert [(each.source, each.levels) for each in passes] == expected
    assert all(2 * math.prod(each.unit) <= max(block_bytes, 2 * 128**3) for each in passes if each.source is None)


def test_a_level_that_skips_others_is_made_from_level_0():
    plan, shapes = cube(600, [2, 3])
    passes = plan_passes(plan, DIMS, shapes, [(10,) * 3] * 3, 2)
    assert [(each.source, each.levels, each.parents) for each in passes] == [(None, (0, 1, 2), (None, 0, 0))]
    assert passes[0].unit == (60, 60, 60)


def test_long_chunks_of_the_source_keep_blocks_shallow():
    plan, shapes = cube(1024, [2])
    options = {"block_bytes": 2**26, "itemsize": 2}
    cubes = plan_passes(plan, DIMS, shapes, [(128,) * 3] * 2, source_chunks=(128, 128, 128), **options)
    planes = plan_passes(plan, DIMS, shapes, [(128,) * 3] * 2, source_chunks=(1, 1024, 1024), **options)
    assert [each.levels for each in cubes] == [(0, 1)]
    assert [each.levels for each in planes] == [(0,), (1,)]


@given(st.data())
def test_every_level_once_from_what_is_there(data):
    edge = data.draw(st.integers(20, 3000))
    factors = data.draw(st.sampled_from([[], [2], [2, 4, 8], [3, 9], [2, 6, 12], [4, 5], [2, 3, 7]]))
    plan, shapes = cube(edge, factors)
    chunks = [tuple(min(n, data.draw(st.integers(1, 200))) for n in shape) for shape in shapes]
    block_bytes = data.draw(st.sampled_from([1, 2**10, 2**16, 2**24, 2**40]))
    passes = plan_passes(plan, DIMS, shapes, chunks, 1, block_bytes=block_bytes)
    written = []
    for each in passes:
        assert each.source is None or each.source in written
        for level, parent, steps in zip(each.levels, each.parents, each.steps, strict=True):
            assert parent == plan[level].source
            assert parent in (each.source, *each.levels[: each.levels.index(level)])
            assert steps == tuple(plan[level].steps.values())
        # whole chunks of every level, or the whole axis
        for level in each.levels:
            for axis in range(3):
                scale = plan[level].factors[DIMS[axis]] // plan[each.levels[0]].factors[DIMS[axis]]
                unit = each.unit[axis]
                assert unit == shapes[each.levels[0]][axis] or unit % (scale * chunks[level][axis]) == 0
        written += each.levels
    assert written == sorted(written) or len(set(written)) == len(written)
    assert sorted(written) == list(range(len(plan)))


@st.composite
def gridded(draw):
    """Levels of an image of 2 to 5 axes with their grids, where shards are whole chunks."""
    dims = draw(st.sampled_from(["yx", "zyx", "cyx", "tzyx", "tczyx"]))
    sizes = {dim: draw(st.integers(1, 14 if dim in "zyx" else 3)) for dim in dims}
    spatial = {dim: n for dim, n in sizes.items() if dim in "zyx"}
    factors, grown = [], dict.fromkeys(spatial, 1)
    for _ in range(draw(st.integers(0, 3))):
        before = {dim: min(n, spatial[dim]) for dim, n in grown.items()}
        grown = {dim: n * draw(st.sampled_from([1, 2, 2, 3])) for dim, n in grown.items()}
        if {dim: min(n, spatial[dim]) for dim, n in grown.items()} != before:
            factors.append(grown)
    plan = plan_levels(spatial, dict.fromkeys(spatial, 1.0), factors=factors)
    shapes = [tuple(level.sizes.get(dim, sizes[dim]) for dim in dims) for level in plan]
    chunks = {dim: draw(st.integers(1, 6)) for dim in dims}
    shards = draw(st.none() | st.just({dim: n * draw(st.integers(1, 3)) for dim, n in chunks.items()}))
    return dims, plan, shapes, level_grids(dims, shapes, chunks, shards, shrink=draw(st.booleans()))


@settings(deadline=None)
@given(gridded(), st.sampled_from([1, 20, 200, 2000, 10**9]))
def test_no_unit_has_two_writers_and_every_voxel_one(pyramid, block_bytes):
    """Units are shards, or chunks, of every level; counted voxel by voxel."""
    dims, plan, shapes, grids = pyramid
    passes = plan_passes(plan, dims, shapes, [grid.unit for grid in grids], 1, block_bytes=block_bytes)
    writer = [np.full(shape, -1) for shape in shapes]
    count = [np.zeros(shape, int) for shape in shapes]
    number = 0
    for each in passes:
        first = each.levels[0]
        assert math.prod(each.unit) <= max(block_bytes, math.prod(map(min, grids[first].unit, shapes[first])))
        for corner in itertools.product(*(range(0, n, u) for n, u in zip(shapes[first], each.unit, strict=True))):
            number += 1
            regions = {first: [(a, min(a + u, n)) for a, u, n in zip(corner, each.unit, shapes[first], strict=True)]}
            for level, parent, steps in list(zip(each.levels, each.parents, each.steps, strict=True))[1:]:
                regions[level] = [(a // s, -(-b // s)) for (a, b), s in zip(regions[parent], steps, strict=True)]
            for level, region in regions.items():
                place = tuple(slice(a, b) for a, b in region)
                count[level][place] += 1
                writer[level][place] = number
    for level, grid in enumerate(grids):
        assert (count[level] == 1).all()
        for corner in itertools.product(*(range(0, n, u) for n, u in zip(grid.shape, grid.unit, strict=True))):
            unit = tuple(slice(a, a + u) for a, u in zip(corner, grid.unit, strict=True))
            assert len(np.unique(writer[level][unit])) == 1
