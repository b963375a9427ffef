import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.plan import Level, default_chunks, plan_levels


def plan_of(sizes, spacing=None, **options):
    """The plan for sizes (and spacings) in z, y, x order, as many as given."""
    dims = "zyx"[-len(sizes) :]
    return plan_levels(
        dict(zip(dims, sizes, strict=True)), dict(zip(dims, spacing or [1.0] * len(sizes), strict=True)), **options
    )


def rows(plan, what):
    return [tuple(getattr(level, what).values()) for level in plan]


def test_isotropic():
    plan = plan_of((1000, 1000, 1000))
    assert rows(plan, "factors") == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert rows(plan, "sizes") == [(1000,) * 3, (500,) * 3, (250,) * 3]
    assert rows(plan, "steps") == [(1, 1, 1), (2, 2, 2), (2, 2, 2)]
    assert [level.source for level in plan] == [None, 0, 1]
    assert [level.index for level in plan] == [0, 1, 2]


@pytest.mark.parametrize(
    ("sizes", "spacing", "factors"),
    [
        # z five times coarser: x and y alone until they have caught up to within a factor of two
        ((300, 2000, 2000), (5.0, 1.0, 1.0), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]),
        # exactly twice as coarse is not within a factor of two; 1.9 times is
        ((600, 600, 600), (2.0, 1.0, 1.0), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        ((600, 600, 600), (1.9, 1.0, 1.0), [(1, 1, 1), (2, 2, 2), (4, 4, 4)]),
        # twice, but for rounding
        ((600, 600, 600), (0.2 - 1e-9, 0.1, 0.1), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        ((600, 600, 600), (0.2 + 1e-9, 0.1, 0.1), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        # z finer: z alone first
        ((2000, 500, 500), (0.25, 1.0, 1.0), [(1, 1, 1), (2, 1, 1), (4, 1, 1), (8, 2, 2)]),
        # three different spacings
        ((400, 800, 1600), (4.0, 2.0, 1.0), [(1, 1, 1), (1, 1, 2), (1, 2, 4), (2, 4, 8)]),
        # two dims, one dim
        ((1000, 600), (1.0, 1.0), [(1, 1), (2, 2), (4, 4)]),
        ((1025,), (1.0,), [(1,), (2,), (4,), (8,)]),
        # a single slice is never halved, and however fine it is it does not count
        ((1, 1000, 1000), (1.0, 1.0, 1.0), [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),
        ((1, 1000, 1000), (0.001, 1.0, 1.0), [(1, 1, 1), (1, 2, 2), (1, 4, 4)]),
        # five slices: the third halving leaves one, a block of all five
        ((5, 4096, 4096), (1.0, 1.0, 1.0), [(1, 1, 1), (2, 2, 2), (4, 4, 4), (5, 8, 8), (5, 16, 16)]),
        # small enough from the start
        ((256, 256, 256), (1.0, 1.0, 1.0), [(1, 1, 1)]),
        ((1, 1, 1), (1.0, 1.0, 1.0), [(1, 1, 1)]),
    ],
)
def test_default_factors(sizes, spacing, factors):
    assert rows(plan_of(sizes, spacing), "factors") == factors


def test_scale_of_the_spacing_does_not_matter():
    plans = [rows(plan_of((300, 2000, 2000), (5 * unit, unit, unit)), "factors") for unit in (1.0, 5e-320, 1e-9, 1e307)]
    assert all(plan == plans[0] for plan in plans)


def test_spacings_beyond_all_proportion_end():
    plan = plan_of((8, 8), (1e308, 5e-324), target=1)
    assert rows(plan, "sizes") == [(8, 8), (8, 4), (8, 2), (8, 1), (4, 1), (2, 1), (1, 1)]


def test_target():
    assert rows(plan_of((1000, 1000), target=100), "sizes")[-1] == (63, 63)
    assert rows(plan_of((1000, 1000), target=1), "sizes")[-1] == (1, 1)


def test_levels_count_level_0():
    assert len(plan_of((1000, 1000), levels=1)) == 1
    assert len(plan_of((1000, 1000), levels=2)) == 2
    assert rows(plan_of((1000, 1000), levels=6), "sizes")[-1] == (32, 32)  # beyond the target
    assert rows(plan_of((10, 3), levels=5), "sizes") == [(10, 3), (5, 2), (3, 1), (2, 1), (1, 1)]


def test_too_many_levels_names_the_most():
    with pytest.raises(GeometryError, match=r"levels=6 is too many .*'y': 10, 'x': 3.* at most 5"):
        plan_of((10, 3), levels=6)
    assert len(plan_of((10, 3), levels=5)) == 5


def test_given_factors_count_voxels_of_level_0():
    plan = plan_of((100, 200), factors=[2, 4, 8])
    assert rows(plan, "factors") == [(1, 1), (2, 2), (4, 4), (8, 8)]
    assert rows(plan, "sizes") == [(100, 200), (50, 100), (25, 50), (13, 25)]
    assert rows(plan, "steps") == [(1, 1), (2, 2), (2, 2), (2, 2)]
    assert plan_of((100, 200), factors=[2, 4, 8], levels=4) == plan


def test_given_factors_by_dim():
    plan = plan_of((10, 100, 100), factors=[{"y": 3, "x": 3}, {"z": 2, "y": 6, "x": 9}])
    assert rows(plan, "factors") == [(1, 1, 1), (1, 3, 3), (2, 6, 9)]
    assert rows(plan, "steps") == [(1, 1, 1), (1, 3, 3), (2, 2, 3)]


def test_source_is_the_nearest_level_that_divides():
    plan = plan_of((100, 100), factors=[2, 3, 4, 6, 7])
    assert [level.source for level in plan] == [None, 0, 0, 1, 2, 0]
    assert rows(plan, "steps") == [(1, 1), (2, 2), (3, 3), (2, 2), (2, 2), (7, 7)]
    assert plan_of((100, 100), factors=[{"x": 2}, {"x": 4, "y": 3}])[2].source == 1
    assert plan_of((100, 100), factors=[{"x": 2, "y": 2}, {"x": 4, "y": 3}])[2].source == 0


def test_factor_beyond_the_axis_is_the_axis():
    plan = plan_of((1, 3, 100), factors=[2, 4, 8])
    assert rows(plan, "factors") == [(1, 1, 1), (1, 2, 2), (1, 3, 4), (1, 3, 8)]
    assert rows(plan, "sizes") == [(1, 3, 100), (1, 2, 50), (1, 1, 25), (1, 1, 13)]
    assert [level.source for level in plan] == [None, 0, 0, 2]  # 2 does not divide 3
    assert rows(plan, "steps")[2:] == [(1, 3, 4), (1, 1, 2)]


def test_no_factors_and_no_spatial_dims_leave_level_0():
    assert rows(plan_of((1000, 1000), factors=[]), "factors") == [(1, 1)]
    assert plan_levels({}, {}) == (Level(0, {}, {}, None, {}),)


def test_numpy_numbers_become_python_ones():
    plan = plan_levels(
        {"y": np.int64(1000), "x": np.int64(1000)}, {"y": np.float64(1), "x": np.float32(1)}, factors=np.array([2, 4])
    )
    assert [{type(n) for row in (level.factors, level.sizes, level.steps) for n in row.values()} for level in plan] == [
        {int}
    ] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, r"levels \(level 0 included\) is 0: expected an integer >= 1"),
        ({"levels": 2.0}, "levels .* is 2.0"),
        ({"levels": True}, "levels .* is True"),
        ({"target": 0}, "target is 0"),
        ({"factors": [0]}, "factor of level 1 is 0"),
        ({"factors": [2, 4.0]}, "factor of level 2 is 4.0"),
        ({"factors": [True]}, "factor of level 1 is True"),
        ({"factors": ["2"]}, "factor of level 1 is '2'"),
        ({"factors": [{"x": 2.5}]}, "factor of level 1 along 'x' is 2.5"),
        ({"factors": [{"x": 2, "t": 2}]}, r"level 1 name \['t'\]: the spatial dims are \['z', 'y', 'x'\]"),
        ({"factors": [1]}, "level 1, .* the same level as .* of level 0"),
        ({"factors": [{}]}, "the same level"),
        ({"factors": [2, 2]}, "level 2, .* the same level as .* of level 1"),
        ({"factors": [64, 128, 256]}, "level 3, .* the same level"),  # both beyond every axis
        ({"factors": [4, 2]}, r"level 2, .* below those of level 1, .* along \['z', 'y', 'x'\]"),
        ({"factors": [{"x": 4}, {"y": 4}]}, r"below .* along \['x'\]"),
        ({"factors": [{"x": 400}, {"x": 300, "y": 4}]}, r"below .* along \['x'\]"),  # though both clamp to the axis
        ({"factors": {"x": 2}}, "expected one entry per level"),
        ({"factors": "24"}, "expected one entry per level"),
        ({"factors": 2}, "expected one entry per level"),
        ({"factors": [2, 4], "levels": 2}, "levels=2 counts level 0, so it needs 1 factors, but 2 were given"),
    ],
)
def test_options_that_make_no_pyramid(options, message):
    with pytest.raises(GeometryError, match=message):
        plan_of((100, 100, 100), **options)


@pytest.mark.parametrize(
    ("sizes", "spacing", "message"),
    [
        ({"x": 0}, {"x": 1.0}, "size of dim 'x' is 0"),
        ({"x": 4.0}, {"x": 1.0}, "size of dim 'x' is 4.0"),
        ({"x": 4}, {"x": 0.0}, "spacing of dim 'x' is 0.0"),
        ({"x": 4}, {"x": -1.0}, "spacing of dim 'x' is -1.0"),
        ({"x": 4}, {"x": math.nan}, "spacing of dim 'x' is nan"),
        ({"x": 4}, {"x": math.inf}, "spacing of dim 'x' is inf"),
        ({"y": 4, "x": 4}, {"x": 1.0}, r"dims \['x'\], expected those of the sizes, \['y', 'x'\]"),
    ],
)
def test_what_is_no_grid(sizes, spacing, message):
    with pytest.raises(GeometryError, match=message):
        plan_levels(sizes, spacing)


def dimensions(most):
    return st.lists(st.integers(1, most), min_size=1, max_size=3)


def assert_consistent(plan, sizes):
    """What holds for every plan, by counting the voxels of level 0 in each block."""
    for level in plan:
        assert tuple(level.sizes.values()) == tuple(
            len(range(0, size, factor)) for size, factor in zip(sizes, level.factors.values(), strict=True)
        )
    for before, level in itertools.pairwise(plan):
        source = plan[level.source]
        assert level.source < level.index
        for dim in level.factors:
            assert level.factors[dim] == source.factors[dim] * level.steps[dim]
            assert level.sizes[dim] == len(range(0, source.sizes[dim], level.steps[dim]))
            assert before.factors[dim] <= level.factors[dim] <= plan[0].sizes[dim]
            blocks = range(0, plan[0].sizes[dim], level.factors[dim])
            assert blocks[0] + level.factors[dim] - 1 < plan[0].sizes[dim]  # the first block is whole: its centre exact
        assert level.factors != before.factors


@given(sizes=dimensions(10**6), data=st.data(), target=st.integers(1, 1000))
def test_default_plans(sizes, data, target):
    spacing = data.draw(st.tuples(*[st.integers(1, 100)] * len(sizes)))
    plan = plan_of(sizes, [float(step) for step in spacing], target=target)
    assert_consistent(plan, sizes)
    assert max(plan[-1].sizes.values()) <= target
    assert all(max(level.sizes.values()) > target for level in plan[:-1])
    for before, level in itertools.pairwise(plan):
        current = [step * factor for step, factor in zip(spacing, before.factors.values(), strict=True)]
        extended = [step for step, size in zip(current, before.sizes.values(), strict=True) if size > 1]
        for dim, step in zip(level.factors, current, strict=True):
            halves = before.sizes[dim] > 1 and step < 2 * min(extended)
            assert level.sizes[dim] == (-(-before.sizes[dim] // 2) if halves else before.sizes[dim])


@given(sizes=dimensions(10**5), data=st.data())
def test_as_many_levels_as_asked_for(sizes, data):
    spacing = data.draw(st.tuples(*[st.floats(1e-3, 1e3)] * len(sizes)))
    most = len(plan_of(sizes, spacing, target=1))
    levels = data.draw(st.integers(1, most))
    plan = plan_of(sizes, spacing, levels=levels)
    assert len(plan) == levels
    assert_consistent(plan, sizes)
    with pytest.raises(GeometryError, match=f"at most {most},"):
        plan_of(sizes, spacing, levels=most + 1)


@settings(max_examples=200)
@given(sizes=dimensions(500), data=st.data())
def test_given_plans(sizes, data):
    steps = data.draw(st.lists(st.tuples(*[st.integers(0, 6)] * len(sizes)), max_size=6))
    cumulative = list(itertools.accumulate(steps, np.add, initial=np.ones(len(sizes), int)))[1:]
    given_factors = [dict(zip("zyx"[-len(sizes) :], map(int, row), strict=True)) for row in cumulative]
    clamped = [tuple(np.minimum(row, sizes)) for row in [np.ones(len(sizes), int), *cumulative]]
    if any(a == b for a, b in itertools.pairwise(clamped)):
        with pytest.raises(GeometryError, match="the same level"):
            plan_of(sizes, factors=given_factors)
        return
    plan = plan_of(sizes, factors=given_factors)
    assert rows(plan, "factors") == clamped
    assert_consistent(plan, sizes)
    for level in plan[1:]:
        dividing = [
            before.index
            for before in plan[: level.index]
            if all(level.factors[dim] % before.factors[dim] == 0 for dim in level.factors)
        ]
        assert level.source == max(dividing)


@pytest.mark.parametrize(
    ("sizes", "chunks"),
    [
        ({"z": 500, "y": 500, "x": 500}, (128, 128, 128)),
        ({"t": 9, "c": 3, "z": 100, "y": 2000, "x": 2000}, (1, 1, 100, 128, 128)),
        ({"y": 5000, "x": 700}, (1024, 700)),
        ({"c": 3, "z": 1, "y": 5000, "x": 5000}, (1, 1, 1024, 1024)),
        ({"z": 50, "y": 1, "x": 5000}, (50, 1, 1024)),
        ({"x": 3 * 2**20}, (2**20,)),
        ({"t": 100, "x": 1000, "y": 1, "z": 1}, (1, 1000, 1, 1)),
        ({"t": 100, "angle": 7}, (1, 1)),
        ({"z": 1, "y": 1, "x": 1}, (1, 1, 1)),
        ({"t": 0, "y": 0, "x": 8}, (1, 1, 8)),
        ({}, ()),
    ],
)
def test_default_chunks(sizes, chunks):
    assert default_chunks(sizes) == dict(zip(sizes, chunks, strict=True))
