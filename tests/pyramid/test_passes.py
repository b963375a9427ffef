"""Passes over a pyramid: each level is written by one of them, from what is there by then, in whole chunks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
