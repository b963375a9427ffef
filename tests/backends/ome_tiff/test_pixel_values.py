"""Values clipped and stretched, compared with exact arithmetic on Python's numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xarray_ngff.backends.ome_tiff.pixel_values import clipped, finite_range, stretched
from xarray_ngff.errors import FormatError

INTEGERS = ["uint8", "int8", "uint16", "int16", "uint32", "int32"]
FLOATS = ["float32", "float64"]
SOURCES = ["bool", *INTEGERS, "int64", "uint64", "float16", *FLOATS]


def arrays(dtype, **options):
    return hnp.arrays(dtype, st.integers(1, 20), elements=hnp.from_dtype(np.dtype(dtype), **options))


@given(data=st.data(), source=st.sampled_from(SOURCES), name=st.sampled_from(INTEGERS))
def test_clipped_to_integers(data, source, name):
    values = data.draw(arrays(source, allow_nan=False))
    info = np.iinfo(name)
    found = clipped(np.dtype(name), place="a.tif")(values)
    assert found.dtype == name
    for value, stored in zip(values.tolist(), found.tolist(), strict=True):
        whole = value if isinstance(value, float) and math.isinf(value) else round(value)  # half to even
        assert stored == max(info.min, min(info.max, whole))


@given(data=st.data(), source=st.sampled_from(SOURCES), name=st.sampled_from(FLOATS))
def test_clipped_to_floats(data, source, name):
    values = data.draw(arrays(source))
    found = clipped(np.dtype(name), place="a.tif")(values)
    assert found.dtype == name
    largest = float(np.finfo(name).max)
    for value, stored in zip(values.tolist(), found.tolist(), strict=True):
        if math.isnan(value):
            assert math.isnan(stored)
        elif math.isinf(value):
            assert stored == value
        else:
            assert stored == np.dtype(name).type(max(-largest, min(largest, float(value))))


@given(data=st.data(), source=st.sampled_from(SOURCES), name=st.sampled_from([*INTEGERS, *FLOATS]))
def test_stretched(data, source, name):
    values = data.draw(arrays(source, allow_nan=False, allow_infinity=False))
    image = xr.DataArray(values, dims="x")
    low, high = finite_range(image, place="a.tif")
    assert (low, high) == (float(values.min()), float(values.max()))
    found = stretched(low, high, np.dtype(name), place="a.tif")(values)
    assert found.dtype == name
    first, last = (np.iinfo(name).min, np.iinfo(name).max) if name in INTEGERS else (0, 1)
    assert found.min() == first
    if low == high:
        assert (found == first).all()
        return
    assert found.max() == last
    for value, stored in zip(values.tolist(), found.tolist(), strict=True):
        exact = (Fraction(float(value)) - Fraction(low)) / (Fraction(high) - Fraction(low)) * (last - first) + first
        slack = Fraction(1, 2) + Fraction(1, 10**5) if name in INTEGERS else Fraction(1, 10**6)
        assert abs(Fraction(stored) - exact) <= slack


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("convert", [clipped, lambda dtype, place: stretched(0, 1, dtype, place=place)])
def test_nan_has_no_integer(name, convert):
    with pytest.raises(FormatError, match=rf"a\.tif: the image holds NaN, for which {name}.*fillna"):
        convert(np.dtype(name), place="a.tif")(np.array([0.5, np.nan]))


def test_values_that_are_not_finite_do_not_stretch_the_range():
    values = np.array([-np.inf, 2.0, np.nan, 4.0, np.inf, 3.0])
    low, high = finite_range(xr.DataArray(values, dims="x"), place="a.tif")
    assert (low, high) == (2.0, 4.0)
    found = stretched(low, high, np.dtype("float32"), place="a.tif")(values)
    np.testing.assert_array_equal(found, np.array([0, 0, np.nan, 1, 1, 0.5], "float32"))
    with pytest.raises(FormatError, match=r"a\.tif: the image has no finite value"):
        finite_range(xr.DataArray(np.array([np.nan, np.inf]), dims="x"), place="a.tif")


def test_arrays_of_any_size_and_layout():
    values = np.random.default_rng(0).normal(100, 80, (3, 300, 301))
    expected = np.rint(values).clip(0, 255).astype("uint8")
    convert = clipped(np.dtype("uint8"), place="a.tif")
    np.testing.assert_array_equal(convert(values), expected)
    np.testing.assert_array_equal(
        convert(values.transpose(2, 0, 1)[::-1, :, ::2]), expected.transpose(2, 0, 1)[::-1, :, ::2]
    )
    assert convert(values[:0]).shape == (0, 300, 301)
    assert convert(np.float64(3.5)).shape == ()


def test_each_chunk_is_read_once_for_the_range():
    seen = []

    def count(block, block_info=None):
        seen.extend([1] if block_info else [])
        return block

    data = da.from_array(np.arange(4096.0).reshape(16, 16, 16), chunks=(8, 4, 16))
    image = xr.DataArray(data.map_blocks(count, dtype="f8", meta=np.empty((0, 0, 0))), dims=("z", "y", "x"))
    assert finite_range(image, place="a.tif") == (0.0, 4095.0)
    assert len(seen) == 8
