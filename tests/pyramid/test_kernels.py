"""Kernels against statistics of one block at a time in exact Python arithmetic, and against scikit-image and dask."""

import math
import pickle
import tracemalloc
from collections import Counter
from fractions import Fraction
from unittest import mock

import dask.array
import numpy as np
import pytest
import skimage.measure
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid import kernels
from xarray_ngff.pyramid.kernels import METHODS, block_reduce

INTEGERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i2", ">u4", ">i8", "?"]
FLOATS = ["f2", "f4", "f8", ">f4", "g"]
LONGEST_SIDE = {1: 30, 2: 9, 3: 6, 4: 4, 5: 3}


def mean(values):
    return round(Fraction(sum(values), len(values)))  # Python rounds half to even


def median(values):
    ordered = sorted(values)
    return round(Fraction(ordered[(len(values) - 1) // 2] + ordered[len(values) // 2], 2))


def mode(values):
    counts = Counter("NaN" if value != value else value for value in values)
    most = max(counts.values())
    tied = [value for value, count in counts.items() if count == most]
    numbers = [value for value in tied if value != "NaN"]
    return min(numbers) if numbers else math.nan


def smallest(values):
    return math.nan if any(value != value for value in values) else min(values)


def largest(values):
    return math.nan if any(value != value for value in values) else max(values)


def blocks(array, factors):
    """Index of each block, and its voxels."""
    for index in np.ndindex(*(math.ceil(n / f) for n, f in zip(array.shape, factors, strict=True))):
        yield index, array[tuple(slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True))]


def expected(array, factors, statistic):
    result = np.empty([math.ceil(n / f) for n, f in zip(array.shape, factors, strict=True)], array.dtype)
    for index, block in blocks(array, factors):
        result[index] = statistic(block.ravel().tolist() if array.dtype.char != "g" else list(block.ravel()))
    return result


def elements(dtype):
    """Values of which many repeat, and the extremes."""
    if dtype.kind == "b":
        return st.booleans()
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = int(limits.min), int(limits.max)
        extremes = st.sampled_from([low, low + 1, high - 1, high])
        return st.one_of(st.integers(max(low, -3), 3), extremes, st.integers(low, high))
    special = st.sampled_from([-0.0, math.inf, -math.inf, math.nan])
    ordinary = st.one_of(st.integers(-3, 3).map(float), st.floats(-60000, 60000, width=16))
    return st.one_of(ordinary, ordinary, special)


@st.composite
def cases(draw, dtypes):
    """An array that cannot be written to, in any memory layout, and factors for it."""
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    ndim = draw(st.integers(1, 5))
    shape = draw(st.tuples(*[st.integers(1, LONGEST_SIDE[ndim])] * ndim))
    values = np.array(draw(st.lists(elements(dtype), min_size=1, max_size=12)), dtype)
    array = values[np.random.default_rng(draw(st.integers(0, 99))).integers(len(values), size=shape)]
    array = array.transpose(draw(st.permutations(range(ndim))))
    array = array[tuple(slice(None, None, draw(st.sampled_from([1, 1, -1, 2]))) for _ in range(ndim))]
    array.flags.writeable = False
    return array, draw(st.tuples(*[st.sampled_from([1, 2, 3, 4, 5, 8, 40])] * ndim))


def assert_reduces(array, factors, method, wanted):
    for tile_bytes in (2**19, 40):  # all at once, and in many small tiles
        with mock.patch.object(kernels, "_TILE_BYTES", tile_bytes):
            found = block_reduce(array, factors, method)
        assert found.dtype == array.dtype
        assert found.dtype.byteorder == array.dtype.byteorder
        np.testing.assert_array_equal(found, wanted)


exact = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("method", "statistic"),
    [("mean", mean), ("median", median), ("mode", mode), ("min", smallest), ("max", largest)],
)
@exact
@given(case=cases(INTEGERS))
def test_integers_are_reduced_exactly(method, statistic, case):
    array, factors = case
    assert_reduces(array, factors, method, expected(array, factors, statistic))


@pytest.mark.parametrize(("method", "statistic"), [("mode", mode), ("min", smallest), ("max", largest)])
@exact
@given(case=cases(FLOATS))
def test_floats_are_selected(method, statistic, case):
    array, factors = case
    assert_reduces(array, factors, method, expected(array, factors, statistic))


@exact
@given(case=cases(FLOATS))
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # of numpy.median
def test_median_of_floats_is_that_of_numpy(case):
    array, factors = case
    wanted = np.empty([math.ceil(n / f) for n, f in zip(array.shape, factors, strict=True)], array.dtype)
    for index, block in blocks(array, factors):
        wanted[index] = np.median(block)
    assert_reduces(array, factors, "median", wanted)


@exact
@given(case=cases([*FLOATS, "c8", "c16", ">c8"]))
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # of Python's sums of infinities
def test_mean_of_floats(case):
    array, factors = case
    found = block_reduce(array, factors, "mean")
    assert found.dtype == array.dtype
    limits = np.finfo(array.dtype)
    for index, block in blocks(array, factors):
        for part, voxels in ((found.real, block.real), (found.imag, block.imag)):
            values = [float(value) for value in voxels.ravel()]
            if all(math.isfinite(value) for value in values):
                wanted = float(sum(map(Fraction, values)) / len(values))
                size = max(map(abs, values))
                assert abs(float(part[index]) - wanted) <= limits.eps * size + limits.smallest_subnormal
            else:
                np.testing.assert_equal(float(part[index]), sum(values))  # infinite or NaN


@pytest.mark.parametrize("dtype", ["u1", ">i8", "f2", "c8", "?", "U2", "M8[s]", "u1,u1,u1", "O"])
@exact
@given(case=cases(["u1"]))
def test_nearest_takes_the_voxel_before_the_middle(dtype, case):
    array, factors = case
    array = array.astype(dtype)
    picked = [[min(i + (f - 1) // 2, n - 1) for i in range(0, n, f)] for n, f in zip(array.shape, factors, strict=True)]
    assert_reduces(array, factors, "nearest", array[np.ix_(*picked)])


NAN = math.nan
INF = math.inf


@pytest.mark.parametrize(
    ("method", "values", "wanted"),
    [
        ("mode", [NAN, 1, 1, NAN, 1], 1),
        ("mode", [NAN, 1, 2, NAN, 3], NAN),
        ("mode", [NAN, 3, NAN, 2, 2, 3], 2),
        ("mode", [NAN, INF], INF),
        ("mode", [-INF, 0, INF], -INF),
        ("min", [1, NAN, 0], NAN),
        ("max", [1, 2, NAN], NAN),
        ("median", [1, 2, 3, 4, NAN], NAN),
        ("median", [-INF, INF], NAN),
        ("median", [INF, 1, -INF], 1),
        ("mean", [1, NAN], NAN),
        ("mean", [-INF, INF], NAN),
        ("mean", [INF, 1], INF),
        ("nearest", [1, NAN, 2], NAN),
    ],
)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_and_infinity(method, values, wanted, dtype):
    np.testing.assert_equal(block_reduce(np.array(values, dtype), (len(values),), method), [wanted])


@pytest.mark.parametrize("method", ["min", "max", "median"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g"])
@pytest.mark.parametrize("factors", [(2, 2, 2), (1, 3, 4), (5, 5, 5)])
def test_one_nan_spoils_its_block_and_no_other(method, dtype, factors):
    array = np.random.default_rng(7).integers(0, 9, (10, 12, 20)).astype(dtype)
    spoiled = array.copy()
    spoiled[3, 4, 5] = NAN
    found, wanted = block_reduce(spoiled, factors, method), block_reduce(array, factors, method)
    place = tuple(index // factor for index, factor in zip((3, 4, 5), factors, strict=True))
    wanted[place] = NAN
    np.testing.assert_array_equal(found, wanted)


def test_mean_keeps_the_parts_of_complex_numbers_apart():
    found = block_reduce(np.array([complex(INF, 1), complex(2, 3)], "c8"), (2,), "mean")
    np.testing.assert_equal([found.real, found.imag], [[INF], [2]])


def test_narrow_floats_sum_in_wider_ones():
    assert block_reduce(np.full(6, 60000, "f2"), (6,), "mean").tolist() == [60000]
    assert block_reduce(np.array([2**24, 1, 1, 2], "f4"), (4,), "mean").tolist() == [2**22 + 1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["u1", "i8", "f4", "?"])
def test_every_edge_of_an_odd_shape(method, dtype):
    rng = np.random.default_rng(3)
    array = rng.integers(0, 2 if dtype == "?" else 50, (7, 11, 13)).astype(dtype)
    found = block_reduce(array, (2, 3, 5), method)
    assert found.shape == (4, 4, 3)
    for index, block in blocks(array, (2, 3, 5)):  # each block alone gives what it gives as a part
        np.testing.assert_array_equal(found[index], block_reduce(block, (2, 3, 5), method).item())


@pytest.mark.parametrize(
    ("values", "wanted"),
    [([0, 1], 0), ([1, 2], 2), ([2, 3], 2), ([-1, 0], 0), ([-2, -1], -2), ([-3, -2], -2), ([5, 6, 6, 6], 6)],
)
@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8"])
def test_integer_means_round_half_to_even(values, wanted, dtype):
    assert block_reduce(np.array(values, dtype), (len(values),), "mean").tolist() == [wanted]
    assert block_reduce(np.array([values[0], values[-1]], dtype), (2,), "median").tolist() == [
        int(np.rint((values[0] + values[-1]) / 2))
    ]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("count", [2, 3, 7, 8, 255, 256, 257, 258, 1000])  # 257 * 255 is the largest uint16
def test_means_of_extremes_do_not_overflow(dtype, count):
    for value in (np.iinfo(dtype).min, np.iinfo(dtype).max):
        array = np.full(2 * count + 1, value, dtype)
        assert block_reduce(array, (count,), "mean").tolist() == [value] * 3


@pytest.mark.parametrize("method", ["mean", "median", "mode"])
@pytest.mark.parametrize("factors", [(9, 9), (1, 70), (8, 8), (40, 40)])  # about and beyond 64 voxels per block
def test_large_blocks(method, factors):
    array = np.random.default_rng(5).integers(-100, 100, (20, 90), dtype="i2")
    statistic = {"mean": mean, "median": median, "mode": mode}[method]
    np.testing.assert_array_equal(block_reduce(array, factors, method), expected(array, factors, statistic))


@pytest.mark.parametrize("method", ["mean", "min", "max", "median"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_agrees_with_scikit_image_and_dask_where_blocks_divide(method, dtype):
    array = np.random.default_rng(0).integers(0, 200, (12, 15, 20)).astype(dtype)
    factors = (2, 3, 4)
    statistic = getattr(np, method)
    by_skimage = skimage.measure.block_reduce(array, factors, statistic)
    by_dask = dask.array.coarsen(statistic, dask.array.from_array(array, chunks=(4, 6, 20)), dict(enumerate(factors)))
    found = block_reduce(array, factors, method)
    for theirs in (by_skimage, np.asarray(by_dask)):
        if array.dtype.kind == "f":
            np.testing.assert_allclose(found, theirs, rtol=1e-6)
        else:
            np.testing.assert_array_equal(found, np.rint(theirs).astype(dtype))


@pytest.mark.parametrize("method", METHODS)
def test_factors_of_one_give_the_array_itself(method):
    array = np.arange(24, dtype="u2").reshape(2, 3, 4)
    assert block_reduce(array, (1, 1, 1), method) is array
    scalar = np.array(7)
    assert block_reduce(scalar, (), method) is scalar


@pytest.mark.parametrize("method", METHODS)
def test_an_axis_of_no_voxels_has_no_blocks(method):
    found = block_reduce(np.empty((4, 0, 5), "f4"), (2, 2, 2), method)
    assert found.shape == (2, 0, 3)
    assert found.dtype == np.dtype("f4")


@pytest.mark.parametrize("method", METHODS)
def test_result_lies_in_memory_as_the_array_does(method):
    array = np.asfortranarray(np.random.default_rng(1).integers(0, 9, (6, 8, 10), dtype="u2"))
    found = block_reduce(array, (2, 2, 2), method)
    assert found.flags.f_contiguous
    assert not np.shares_memory(found, array)
    np.testing.assert_array_equal(found, block_reduce(np.ascontiguousarray(array), (2, 2, 2), method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(64, 512, 512), (1, 4096, 4096), (2**24,)])
def test_takes_little_memory_beside_the_result(method, shape):
    array = np.zeros(shape, "u2")  # 32 MiB
    array[..., ::3] = 5
    factors = [2 if size > 1 else 1 for size in shape]
    block_reduce(array[..., :64], factors, method)
    tracemalloc.start()
    try:
        result = block_reduce(array, factors, method)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - result.nbytes < 4 * 2**20


@pytest.mark.parametrize("method", ["mode", "median", "min", "max"])
def test_complex_has_no_order(method):
    with pytest.raises(GeometryError, match=rf"'{method}' is not defined for dtype complex64: use .* mean, nearest"):
        block_reduce(np.zeros(4, "c8"), (2,), method)


@pytest.mark.parametrize("dtype", ["U3", "M8[s]", "u1,u1", "O"])
def test_what_is_not_a_number_can_only_be_selected(dtype):
    with pytest.raises(GeometryError, match=r"use one of nearest$"):
        block_reduce(np.zeros(4, dtype), (2,), "mean")


def test_unknown_method_names_the_methods():
    with pytest.raises(GeometryError, match="'average': expected one of mean, nearest, mode, min, max, median"):
        block_reduce(np.zeros((4, 4)), (2, 2), "average")


@pytest.mark.parametrize(
    "factors", [(), (2,), (2, 2, 2), (0, 2), (-1, 2), (2.0, 2), (True, 2), (np.True_, 2), ("2", 2)]
)
def test_factors_that_do_not_fit(factors):
    with pytest.raises(GeometryError, match=r"shape \(4, 6\): expected 2 integers >= 1"):
        block_reduce(np.zeros((4, 6)), factors, "mean")


def test_numpy_integers_are_integers():
    assert block_reduce(np.arange(4), np.array([2]), "max").tolist() == [1, 3]


def test_memory_maps_give_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "voxels", "u2", "w+", shape=(4, 4))
    for method in METHODS:
        assert type(block_reduce(mapped, (2, 2), method)) is np.ndarray


def test_is_a_plain_function_for_other_processes():
    assert pickle.loads(pickle.dumps(block_reduce)) is block_reduce
