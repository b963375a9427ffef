"""Units of axes in the spelling of OME-XML, and images in units that it has."""

from __future__ import annotations

import warnings

import xarray as xr

from xarray_ngff import geometry, units
from xarray_ngff.errors import NgffWarning, UnitError

__all__ = ["PIXEL", "ome_length", "ome_time", "ome_time_of", "with_ome_units"]

#: What OME-XML calls a length that is no length.
PIXEL = "pixel"

# Beyond the units of OME-NGFF, whose symbols are OME's (https://www.openmicroscopy.org/Schemas/OME/2016-06/ome.xsd).
_MORE_LENGTHS = {name: name for name in ("dam", "thou", "li", "ua", "ly", "pt", PIXEL, "reference frame")}
_MORE_TIMES = {"das": "das"}
# Dims that the coordinate t has.
_OWN_DIMS = (("t",), ())
# What a length in any other unit is converted to.
_COMMON_LENGTH = "micrometer"


def ome_length(unit: str | None) -> str | None:
    """Symbol that OME-XML has for a unit of length; None where it has none.

    Examples
    --------
    >>> ome_length("micrometer"), ome_length("um"), ome_length("pixel"), ome_length("fathom"), ome_length(None)
    ('µm', 'µm', 'pixel', None, None)
    """
    name = units.unit_name(unit)
    if name is None:
        return None
    return units.symbol(name) if units.is_length(name) else _MORE_LENGTHS.get(name)


def ome_time(unit: str | None) -> str | None:
    """Symbol that OME-XML has for a unit of time; None where it has none.

    Examples
    --------
    >>> ome_time("second"), ome_time("msec"), ome_time("hertz")
    ('s', 'ms', None)
    """
    name = units.unit_name(unit)
    if name is None:
        return None
    return units.symbol(name) if units.is_time(name) else _MORE_TIMES.get(name)


def ome_time_of(img: xr.DataArray) -> str | None:
    """Symbol of the unit of t; None where the image has no times in a unit of OME-XML."""
    coord = img.coords.get("t")
    return None if coord is None or coord.dims not in _OWN_DIMS else ome_time(coord.attrs.get("units"))


def with_ome_units(img: xr.DataArray, *, place: str) -> xr.DataArray:
    """Image whose lengths are in units that OME-XML has: others that are lengths are converted to micrometers.

    Parameters
    ----------
    img
        Image that `plain_grid` made.
    place
        The file that is written, for the warning.

    Warns
    -----
    NgffWarning
        Once, naming each unit that is no length (its numbers are written as pixels), and that of t where it is no time
        (its values are left out).

    Examples
    --------
    >>> import numpy as np
    >>> from xarray_ngff import as_image
    >>> converted = with_ome_units(as_image(np.zeros(2), "x", spacing=[2], units="nautical_mile"), place="a.ome.tif")
    >>> converted.x.attrs
    {'spacing': 3704000000.0, 'units': 'micrometer'}
    """
    lost = []
    for dim in geometry.spatial_axes(img):
        unit = units.unit_name(img.coords[dim].attrs.get("units"))
        if unit is None or ome_length(unit) is not None:
            continue
        try:
            img = geometry.to_units(img, {dim: _COMMON_LENGTH})
        except UnitError:
            lost.append(f"the unit {unit!r} of {dim}, which is no length (its numbers are written as pixels)")
    if "t" in img.coords and ome_time_of(img) is None and _says_time(img):
        lost.append(
            f"the values of t, {_why_no_time(img)} (they are left out; name a unit with "
            "img.ngff.set_geometry(units={'t': 'second'}))"
        )
    if lost:
        warnings.warn(f"{place}: OME-XML cannot hold {'; nor '.join(lost)}", NgffWarning, stacklevel=2)
    return img


def _says_time(img: xr.DataArray) -> bool:
    """Whether the values of t are other than a count from 0."""
    values = img.coords["t"].values
    return bool((values.ravel() != range(values.size)).any()) or img.coords["t"].attrs.get("units") is not None


def _why_no_time(img: xr.DataArray) -> str:
    coord = img.coords["t"]
    if coord.dims not in _OWN_DIMS:
        return f"which lies along {', '.join(map(str, coord.dims))}"
    unit = units.unit_name(coord.attrs.get("units"))
    return "which has no unit" if unit is None else f"whose unit {unit!r} is no time"
