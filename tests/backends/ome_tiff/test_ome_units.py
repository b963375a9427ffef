"""Units in the spelling of OME-XML: the lists are those of the schema, as ome_types has them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ome_types.model import UnitsLength, UnitsTime

from xarray_ngff import as_image, units
from xarray_ngff.backends.ome_tiff.ome_units import ome_length, ome_time, ome_time_of, with_ome_units
from xarray_ngff.errors import NgffWarning


def test_every_unit_of_ome_is_written_as_itself():
    assert {ome_length(unit.value) for unit in UnitsLength} == {unit.value for unit in UnitsLength}
    assert {ome_time(unit.value) for unit in UnitsTime} == {unit.value for unit in UnitsTime}


def test_every_unit_of_ome_ngff_is_one_of_ome():
    lengths, times = {unit.value for unit in UnitsLength}, {unit.value for unit in UnitsTime}
    names = [name for name in units._SYMBOLS if units.is_length(name)]
    assert {ome_length(name) for name in names} <= lengths
    assert {ome_time(name) for name in units._SYMBOLS if name not in names} <= times
    assert {ome_time(name) for name in names} == {None}


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("nanometer", "nm"), ("um", "µm"), ("\u03bcm", "µm"), ("angstrom", "Å"), ("inch", "in"), ("metre", "m")],
)
def test_symbols(name, symbol):
    assert UnitsLength(ome_length(name)).value == symbol


def test_other_lengths_are_converted():
    img = as_image(np.zeros((2, 3)), spacing=(2, 1), origin=(5, 1), units={"y": "nautical_mile", "x": "mm"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = with_ome_units(img, place="a.tif")
    np.testing.assert_allclose(found.y, [5 * 1852e6, 7 * 1852e6])
    assert found.y.attrs["units"] == "micrometer"
    assert found.x.identical(img.x)


def test_what_cannot_be_said_is_named_in_one_warning():
    img = as_image(np.zeros((2, 2, 3)), dims="tyx", spacing=[2, 2, 2], units=["hertz", "blob", "second"])
    with pytest.warns(NgffWarning) as caught:
        found = with_ome_units(img, place="here.tif")
    (warning,) = caught
    for part in ("here.tif", "'blob' of y", "'second' of x", "'hertz' is no time", "pixels"):
        assert part in str(warning.message)
    assert found.identical(img)


def test_times_without_a_unit_are_named_unless_they_only_count():
    def frames(step):
        return as_image(np.zeros((2, 2, 3)), dims="tyx", spacing={"t": step, "y": 1, "x": 1})

    with pytest.warns(NgffWarning, match="t, which has no unit"):
        with_ome_units(frames(2.0), place="a.tif")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with_ome_units(frames(1.0), place="a.tif")
        with_ome_units(frames(1.0).isel(t=0), place="a.tif")


def test_times_along_another_dim_are_named():
    img = as_image(np.zeros((2, 3)), spacing=(1, 1)).assign_coords(t=("y", [0.0, 4.0], {"units": "second"}))
    with pytest.warns(NgffWarning, match="t, which lies along y"):
        with_ome_units(img, place="a.tif")
    assert ome_time_of(img) is None
    assert ome_time_of(img.isel(y=1)) == "s"
