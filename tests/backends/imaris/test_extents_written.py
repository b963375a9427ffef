"""Extents as text, and back."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff import as_image, geometry
from xarray_ngff.backends.imaris.decimals import decimal
from xarray_ngff.backends.imaris.extents_written import box_of
from xarray_ngff.errors import GeometryError, UnitError


def grid(**axes):
    coords = {
        dim: geometry.coordinate(dim, size, start=start, step=step, units=unit)
        for dim, (size, start, step, unit) in axes.items()
    }
    return xr.DataArray(np.zeros([coords[dim].size for dim in axes]), coords=coords, dims=tuple(axes))


@given(
    size=st.integers(1, 5000),
    step=st.floats(1e-6, 1e4),
    offset=st.floats(-1e5, 1e5),
)
def test_spacing_and_origin_come_back_from_the_text(size, step, offset):
    start = offset * step
    box, notes = box_of(grid(x=(size, start, step, "micrometer")))
    low, high = (float(decimal(border, 9)) for border in box.borders["x"])
    found = (high - low) / size
    assert found == pytest.approx(step, rel=1e-9)
    assert low + found / 2 == pytest.approx(start, rel=1e-9, abs=1e-9 * step)
    assert notes == []


def test_decimals_stay_decimals():
    box, _ = box_of(grid(y=(100, 0.15, 0.3, "um"), x=(3, 0.05, 0.1, "um")))
    assert [decimal(border, 9) for dim in "yx" for border in box.borders[dim]] == [
        "0.000000000",
        "30.000000000",
        "0.000000000",
        "0.300000000",
    ]


@pytest.mark.parametrize(
    ("units", "unit", "steps"),
    [
        (("micrometer",) * 3, "um", (1, 1, 1)),
        (("nanometer",) * 3, "nm", (1, 1, 1)),
        (("millimeter",) * 3, "mm", (1, 1, 1)),
        (("meter",) * 3, "m", (1, 1, 1)),
        (("angstrom",) * 3, "um", (1e-4, 1e-4, 1e-4)),
        (("inch",) * 3, "um", (25400, 25400, 25400)),
        (("micrometer", "nanometer", "millimeter"), "um", (1, 1e-3, 1e3)),
        (("nanometer", "micrometer", "micrometer"), "nm", (1, 1e3, 1e3)),
        ((None, "millimeter", "micrometer"), "mm", (1, 1, 1e-3)),
        (("pixel", None, None), None, (1, 1, 1)),
    ],
)
def test_one_unit_for_all_axes(units, unit, steps):
    box, notes = box_of(grid(**{dim: (4, 0, 1, name) for dim, name in zip("xyz", units, strict=True)}))
    assert box.unit == unit
    assert [box.spacing[dim] for dim in "xyz"] == pytest.approx(list(steps))
    for dim, step in zip("xyz", steps, strict=True):
        assert box.borders[dim] == pytest.approx((-step / 2, 3.5 * step))
    without = [dim for dim, name in zip("xyz", units, strict=True) if name in (None, "pixel")]
    assert len(notes) == bool(without)
    assert all(dim in notes[0] for dim in without)


def test_axes_that_the_image_does_not_have():
    img = as_image(np.zeros((3, 4, 5)), "zyx", spacing=[2, 1, 1], units="um", origin={"z": 10})
    assert box_of(img.isel(z=1))[0].borders["z"] == (11, 13)
    assert box_of(img.isel(z=1, drop=True))[0].borders["z"] == (-0.5, 0.5)


def test_errors():
    with pytest.raises(UnitError, match="'x' is in 'second', which is a time"):
        box_of(grid(x=(4, 0, 1, "second")))
    with pytest.raises(GeometryError, match=r"axis 'x': spacing 1\.0 is lost in rounding"):
        box_of(grid(x=(1, 1e17, 1, "um")))
    with pytest.raises(GeometryError, match="not regular"):
        box_of(grid(x=(9, 0, 1, "um")).isel(x=[0, 1, 5]))
