"""Types that a format holds: nothing is lost, and values are looked at only where types do not tell."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xarray_ngff import as_image
from xarray_ngff.backends._dtypes import storable
from xarray_ngff.errors import FormatError

IMARIS = ("uint8", "uint16", "uint32", "float32")
TIFF = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "complex64", "complex128")


def stored(values, dtypes=IMARIS):
    return storable(xr.DataArray(values), dtypes, place="a.ims", holder="Imaris")


@pytest.mark.parametrize(
    ("dtype", "dtypes", "expected"),
    [
        ("uint16", IMARIS, "uint16"),
        (">u2", IMARIS, "uint16"),
        ("bool", IMARIS, "uint8"),
        ("float16", IMARIS, "float32"),
        ("bool", TIFF, "uint8"),
        ("complex64", TIFF, "complex64"),
    ],
)
def test_types_alone_decide_without_a_look_at_values(dtype, dtypes, expected):
    def fail(block):
        raise AssertionError("a value was read")

    lazy = da.zeros((4, 4), dtype=dtype, chunks=2).map_blocks(fail, dtype=dtype, meta=np.empty((0, 0), dtype))
    assert stored(lazy, dtypes).dtype.name == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255], "int16"), "uint8"),
        (np.array([0, 256], "int64"), "uint16"),
        (np.array([0, 2**32 - 1], "uint64"), "uint32"),
        (np.array([-5, 2**24], "int32"), "float32"),
        (np.array([0.5, np.nan, np.inf, -0.0]), "float32"),
    ],
)
def test_values_decide_where_types_cannot(values, expected):
    found = stored(values)
    assert found.dtype == expected
    np.testing.assert_array_equal(found.values, values)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.array([-1, 2**24 + 1], "int64"), "from -1 to 16777217"),
        (np.array([0, 2**32], "uint64"), "from 0 to 4294967296"),
        (np.array([0.1, 2.0]), "from 0.1 to 2.0"),
        (np.array([1e300]), "from 1e[+]300"),
        (np.array([1j, 2]), "complex128"),
    ],
)
def test_a_loss_is_refused_and_the_range_named(values, shown):
    with pytest.raises(FormatError, match=f"a[.]ims: Imaris holds uint8.*{shown}"):
        stored(values)


def test_text_is_refused():
    with pytest.raises(FormatError, match="not <U1"):
        stored(np.array(["a"]))


@settings(max_examples=100, deadline=None)
@given(
    values=hnp.arrays(
        st.sampled_from(["int8", "int16", "int32", "int64", "uint64", "float16", "float64"]),
        hnp.array_shapes(max_dims=3, max_side=4),
    ),
    dtypes=st.sampled_from([IMARIS, TIFF]),
)
def test_what_is_stored_is_what_was_there(values, dtypes):
    try:
        found = stored(da.from_array(values, chunks=2), dtypes)
    except FormatError:
        return
    assert found.dtype.name in dtypes
    if values.dtype.kind in "iu":
        assert found.values.astype(object).tolist() == values.astype(object).tolist()
    else:
        np.testing.assert_array_equal(found.values, values)


def test_a_file_is_converted_without_loading_it(tmp_path):
    as_image(np.zeros((4, 4), "float16")).ngff.to_ome_zarr(tmp_path / "a.ome.zarr")
    opened = xr.open_dataarray(tmp_path / "a.ome.zarr", engine="ngff")
    found = storable(opened, IMARIS, place="a.ims", holder="Imaris")
    assert found.dtype == "float32"
    assert found.chunks is not None
    assert not opened.variable._in_memory
