"""Where voxels are, from extents and sizes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint
from xarray_ngff.backends.imaris.extents import Extents, spatial_coordinates
from xarray_ngff.errors import NgffWarning


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(1, 200))
def test_voxels_fill_the_extents(low, length, size):
    high = low + length
    assume(high - low > 1e-6)
    notes = []
    coord = spatial_coordinates(Extents({"y": (low, high)}, "nanometer"), {"y": size}, notes)["y"]
    borders = np.linspace(low, high, size + 1)
    np.testing.assert_allclose(coord.values, (borders[:-1] + borders[1:]) / 2, rtol=1e-9, atol=1e-9 * abs(high - low))
    assert coord.attrs["units"] == "nanometer"
    assert notes == []


@pytest.mark.parametrize(
    ("unit", "read"),
    [
        ("um", "micrometer"),
        ("µm", "micrometer"),
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("m", "meter"),
        (" um ", "micrometer"),
    ],
)
def test_units(unit, read, make_ims, noise, opened):
    image = opened(make_ims(noise((1, 1, 2, 3, 4)), unit=unit))
    assert {image[dim].attrs["units"] for dim in "zyx"} == {read}


def test_no_unit(make_ims, noise, opened):
    assert "units" not in opened(make_ims(noise((1, 1, 2, 3, 4)), unit="")).x.attrs
    assert "units" not in opened(make_ims(noise((1, 1, 2, 3, 4)), unit=None)).x.attrs


@pytest.mark.parametrize("unit", ["pixel", "second", "furlong"])
def test_unknown_units_are_kept(unit, make_ims, noise):
    path = make_ims(noise((1, 1, 2, 3, 4)), unit=unit)
    with pytest.warns(NgffWarning, match=rf"image\.ims: Unit of DataSetInfo/Image is '{unit}'") as caught:
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert dataset.x.attrs["units"] == unit
    assert len(caught) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"ExtMax1": "-3"},
        {"ExtMax1": "0.0"},
        {"ExtMin1": "nan"},
        {"ExtMax1": "inf"},
        {"ExtMax1": "wide"},
        {"ExtMin1": None},
        {"ExtMin1": "1e300", "ExtMax1": "1.0000000000000001e300"},
        {"ExtMin1": "-1.7e308", "ExtMax1": "1.7e308"},
        {"ExtMin1": "1e17", "ExtMax1": "1.00000000000000016e17"},
        {"ExtMin1": np.zeros(2 << 14, "S1")},
    ],
    ids=str,
)
def test_extents_that_are_wrong(changed, make_ims, noise):
    path = make_ims(noise((1, 1, 4, 5, 6)), extents=((1, 0, 3), (7, 10, 11)))
    with h5py.File(path, "r+") as file:
        attributes = file["DataSetInfo/Image"].attrs
        for name, value in changed.items():
            del attributes[name]
            if value is not None:
                attributes[name] = value
    with pytest.warns(NgffWarning, match="y were counted, without unit|voxels were counted, without unit") as caught:
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert len(caught) == 1
    assert dataset.y.values.tolist() == [0, 1, 2, 3, 4]
    assert "units" not in dataset.y.attrs
    np.testing.assert_allclose(dataset.x, [1.5, 2.5, 3.5, 4.5, 5.5, 6.5])
    assert dataset.z.attrs == {"units": "micrometer", "spacing": 2.0}


@pytest.mark.parametrize("gone", ["DataSetInfo", "DataSetInfo/Image"])
def test_no_extents(gone, make_ims, noise):
    path = make_ims(noise((2, 1, 4, 5, 6)))
    with h5py.File(path, "r+") as file:
        del file[gone]
    with pytest.warns(NgffWarning, match="there is no DataSetInfo/Image") as caught:
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert len(caught) == 1
    assert dataset.z.values.tolist() == [0, 1, 2, 3]


def test_attributes_as_others_write_them(make_ims, noise, opened):
    plain, numbers = (
        opened(
            make_ims(noise((2, 1, 4, 5, 6)), name=name, extents=((1, 2, 3), (7, 12, 11)), names=["GFP"], encode=encode)
        )
        for name, encode in (("plain.ims", str), ("bytes.ims", lambda value: np.bytes_(str(value))))
    )
    xr.testing.assert_identical(plain, numbers)
    assert plain.c.values.tolist() == ["GFP"]
    assert plain.y.attrs == {"units": "micrometer", "spacing": 2.0}
