"""Slope and intercept: what is stored can be had back from the values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xarray_ngff.backends.nifti.scaling import Scaling, scaling_from_header
from xarray_ngff.errors import FormatError

INTEGERS = ["u1", "i1", "u2", "i2", "u4", "i4", ">i2", ">u4"]
slopes = st.floats(2**-100, 2**100, width=32) | st.floats(-(2**100), -(2**-100), width=32) | st.floats(0.1, 10)
intercepts = st.floats(-(2**100), 2**100, width=32) | st.floats(-1e4, 1e4)


@given(st.sampled_from(INTEGERS), slopes, intercepts, st.data())
def test_stored_integers_survive(dtype, slope, intercept, data):
    scaling = Scaling(slope, intercept)
    stored = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=6)))
    ends = np.iinfo(dtype)
    stored.flat[0] = ends.max
    stored.flat[-1] = ends.min
    # an intercept that drowns the slope even in double precision leaves nothing to be had back
    assume(abs(intercept) / abs(slope) < 2**50)
    values = scaling.decode(stored)
    assert values.dtype == scaling.value_dtype(dtype)
    np.testing.assert_array_equal(scaling.encode(values, np.dtype(dtype)), stored)


@given(st.sampled_from(INTEGERS), slopes, intercepts)
def test_single_precision_is_taken_where_it_suffices(dtype, slope, intercept):
    """An independent look at both ends and the middle of the range, where rounding is worst."""
    ends = np.iinfo(dtype)
    stored = np.unique(np.clip([ends.min, ends.min + 1, -1, 0, 1, ends.max - 1, ends.max], ends.min, ends.max))
    chosen = Scaling(slope, intercept).value_dtype(dtype)
    with np.errstate(over="ignore"):
        single = (slope * stored.astype("f8") + intercept).astype("f4")
    survives = np.isfinite(single).all() and np.array_equal(np.rint((single.astype("f8") - intercept) / slope), stored)
    if chosen == np.float32:
        assert survives
    else:
        largest = np.abs(slope * stored.astype("f8") + intercept).max()
        assert not survives or np.spacing(np.float32(min(largest, 3e38))) / 2 / abs(slope) >= 0.12


def test_double_precision_is_used_to_compute():
    stored = np.array([1, 2, 3], dtype="i2")
    exact = Scaling(0.1, 0.2).decode(stored)
    np.testing.assert_array_equal(exact, (0.1 * stored.astype("f8") + 0.2).astype("f4"))


@pytest.mark.parametrize("order", ["C", "F"])
def test_layout_and_strides_do_not_matter(order):
    stored = np.arange(5000, dtype="i2").reshape(10, 20, 25, order=order)[::2, ::-1, 3:]
    np.testing.assert_array_equal(Scaling(2.0, 1.0).decode(stored), 2.0 * stored + 1)
    values = 2.0 * stored + 1
    np.testing.assert_array_equal(Scaling(2.0, 1.0).encode(values.T, np.dtype("i2")), stored.T)


def test_more_than_one_piece():
    stored = np.arange(600_000, dtype="u2")
    np.testing.assert_array_equal(Scaling(0.5, 0.0).decode(stored), stored / 2)


def test_nothing_is_nothing():
    assert Scaling(2.0, 1.0).decode(np.empty((0, 3), "i2")).shape == (0, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65536.0, -0.6, 1e300])
def test_what_does_not_fit_is_an_error(value):
    with pytest.raises(FormatError, match=r"stored as uint16 with slope 1 and intercept 0\.25.* cannot be"):
        Scaling(1.0, 0.25).encode(np.array([3.25, value]), np.dtype("u2"))


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_the_ends_of_64_bits(dtype):
    scaling, ends = Scaling(2.0, 0.0), np.iinfo(dtype)
    with pytest.raises(FormatError, match="cannot be"):
        scaling.encode(np.array([2.0 * (float(ends.max) + 1)]), np.dtype(dtype))
    assert scaling.encode(np.array([2.0 * float(ends.min)]), np.dtype(dtype))[0] == ends.min


@given(hnp.arrays("f4", 20, elements=st.floats(-1e6, 1e6, width=32)), st.sampled_from([0.5, 3.0, -1.7]))
def test_stored_floats_survive(stored, slope):
    scaling = Scaling(slope, 0.0)
    values = scaling.decode(stored)
    assert values.dtype == np.float64
    np.testing.assert_array_equal(scaling.encode(values, stored.dtype), stored)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype", "expected"),
    [
        (2.0, 1.0, "i2", Scaling(2.0, 1.0)),
        (1.0, 3.0, "i2", Scaling(1.0, 3.0)),
        (2.0, None, "f4", Scaling(2.0, 0.0)),
        (1.0, 0.0, "i2", None),
        (0.0, 3.0, "i2", None),
        (np.nan, 3.0, "i2", None),
        (np.inf, 3.0, "i2", None),
        (None, None, "i2", None),
        (2.0, 1.0, "c8", None),
    ],
)
def test_what_a_header_asks_for(slope, intercept, dtype, expected):
    assert scaling_from_header(slope, intercept, np.dtype(dtype)) == expected
