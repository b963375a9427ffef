"""The extents of an image, on the borders of its outer voxels and in one unit, as Imaris keeps them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.geometry import Axis
from xarray_ngff.units import conversion_factor, converted, is_time

__all__ = ["Box", "box_of"]

# What Imaris calls the units that it knows; other lengths are converted to the first.
_SYMBOLS = {"micrometer": "um", "nanometer": "nm", "millimeter": "mm", "meter": "m"}
# Digits of a border that float64 holds, and the part of the image's length that may be lost by rounding to them.
_DIGITS = 15
_FELT = 1e-12


@dataclass(frozen=True)
class Box:
    """Where the voxels are.

    Attributes
    ----------
    borders
        (low, high) outer borders by dim: x, y and z.
    spacing
        By dim.
    unit
        ``"um"``, ``"nm"``, ``"mm"``, ``"m"``, or None where the image names no length.
    """

    borders: Mapping[str, tuple[float, float]]
    spacing: Mapping[str, float]
    unit: str | None


def box_of(img: xr.DataArray) -> tuple[Box, list[str]]:
    """Box of an image with ascending coordinates, and what it does not hold of the image.

    The unit is that of x, else of y, else of z. An axis that the image does not have is one voxel of spacing 1 at 0.

    Raises
    ------
    GeometryError
        Where a coordinate is missing or not regular.
    UnitError
        Where the unit of a spatial axis is one of time.

    Examples
    --------
    >>> x = geometry.coordinate("x", 2, start=500, step=1000, units="nm")
    >>> box, _ = box_of(xr.DataArray([0, 0], coords={"x": x}, dims="x"))
    >>> box.borders["x"], box.unit
    ((0.0, 2000.0), 'nm')
    """
    axes = {dim: geometry.axis(img, dim) for dim in geometry.spatial_axes(img)}
    for dim, axis in axes.items():
        if axis.units is not None and is_time(axis.units):
            raise UnitError(
                f"axis {dim!r} is in {axis.units!r}, which is a time: name a length with set_geometry(units=...)"
            )
    lengths = {dim: axis.units for dim, axis in axes.items() if _is_length(axis.units)}
    first = next(iter(lengths.values()), None)
    unit = first if first is None or first in _SYMBOLS else next(iter(_SYMBOLS))
    borders = dict.fromkeys(geometry.SPATIAL_DIMS, (-0.5, 0.5))
    spacing = dict.fromkeys(geometry.SPATIAL_DIMS, 1.0)
    for dim, axis in axes.items():
        step, start = (converted(value, lengths.get(dim), unit) for value in (axis.step, axis.start))
        spacing[dim] = step
        borders[dim] = _rounded(start - step / 2, start + step * (axis.size - 0.5))
        if not borders[dim][0] < borders[dim][1]:
            raise GeometryError(
                f"axis {dim!r}: spacing {step} is lost in rounding beside coordinates as large as {start}. Move the "
                "origin nearer to zero"
            )
    return Box(borders, spacing, None if unit is None else _SYMBOLS[unit]), _notes(axes, lengths, unit)


def _is_length(unit: str | None) -> bool:
    if unit is None:
        return False
    try:
        conversion_factor(unit, "micrometer")
    except UnitError:
        return False
    return True


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Borders without the noise of float64 in their last digits, unless that would be felt in the spacing."""
    places = _DIGITS - math.ceil(math.log10(max(abs(low), abs(high))))
    if 10.0**-places > _FELT * (high - low):
        return low, high
    return round(low, places), round(high, places)


def _notes(axes: Mapping[str, Axis], lengths: Mapping[str, str | None], unit: str | None) -> list[str]:
    without = [f"{dim}: {axis.units or 'none'}" for dim, axis in axes.items() if dim not in lengths]
    if not without:
        return []
    taken = (
        "the file names no unit, and Imaris takes such numbers for micrometres"
        if unit is None
        else f"they are in {_SYMBOLS[unit]} in the file"
    )
    return [f"numbers that have no unit of length ({', '.join(without)}): {taken}"]
