"""The same voxels in other coordinates: another unit, or the exact values of another image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import units as unit_table
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.geometry.grid import measured_dims, spatial_axes


def to_units(img: xr.DataArray, target: str | Mapping[str, str]) -> xr.DataArray:
    """Image with its coordinates in another unit; the data and the place in the world stay as they are.

    Parameters
    ----------
    target
        A length for all spatial axes, or a mapping by dim (t takes a time).

    Raises
    ------
    UnitError
        Where an axis has no unit or one that does not convert.
    """
    wanted = dict.fromkeys(spatial_axes(img), target) if isinstance(target, str) else dict(target)
    coords = {}
    for dim, unit in wanted.items():
        if dim not in img.coords:
            raise GeometryError(f"units name {dim!r}, but the image has coordinates {', '.join(map(str, img.coords))}")
        variable = img.coords[dim].variable
        own, name = variable.attrs.get("units"), cast(str, unit_table.unit_name(unit))
        if own is None:
            raise UnitError(
                f"axis {dim!r} has no unit to convert from. Say what it is: "
                f"img.ngff.set_geometry(units={{{dim!r}: ...}})"
            )
        attrs = dict(variable.attrs, units=name)
        try:
            values = unit_table.converted(variable.values.astype(np.float64), own, name)
            if "spacing" in attrs:
                attrs["spacing"] = unit_table.converted(float(attrs["spacing"]), own, name)
        except UnitError as error:
            raise UnitError(f"axis {dim!r}: {error}") from error
        coords[dim] = xr.Variable(variable.dims, values, attrs)
    return img.assign_coords(coords)


def snap(img: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Image whose coordinates take the exact values of `like` where they mean the same places.

    Two grids that were computed in different ways may differ in the last bits, and xarray then joins them as if their
    samples were different ones. Coordinates within a thousandth of a voxel are replaced.

    Raises
    ------
    GeometryError
        Where a shared dim has another unit, orientation or direction, or voxels that are not voxels of `like`.
    """
    coords = {}
    for dim in measured_dims(img):
        if dim not in like.coords:
            continue
        mine, other = img.coords[dim].variable, like.coords[dim].variable
        _check_same_meaning(dim, mine.attrs, other.attrs)
        candidates = np.sort(np.atleast_1d(other.values).astype(np.float64))
        values = np.atleast_1d(mine.values).astype(np.float64)
        right = np.clip(np.searchsorted(candidates, values), 1, max(len(candidates) - 1, 1))
        near = np.stack([candidates[right - 1], candidates[np.minimum(right, len(candidates) - 1)]])
        nearest = np.where(np.abs(near[0] - values) <= np.abs(near[1] - values), near[0], near[1])
        distance = np.abs(nearest - values).max()
        tolerance = 1e-3 * _finest_step(values, mine.attrs)
        if distance > tolerance:
            raise GeometryError(
                f"cannot snap {dim!r}: its coordinates are up to {distance:g} away from those of the other image, more "
                f"than a thousandth of a voxel ({tolerance:g}). Bring one image onto the grid of the other first"
            )
        coords[dim] = xr.Variable(mine.dims, nearest.reshape(mine.shape), dict(mine.attrs))
    return img.assign_coords(coords)


def _check_same_meaning(dim: str, mine: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raise `GeometryError` where equal values of two coordinates would be different places."""
    differs = {
        "units": unit_table.unit_name(mine.get("units")) != unit_table.unit_name(other.get("units")),
        "orientation": mine.get("orientation") != other.get("orientation"),
        "direction": not _same_direction(mine.get("direction"), other.get("direction")),
    }
    for key, different in differs.items():
        if different:
            raise GeometryError(
                f"cannot snap {dim!r}: its {key} is {mine.get(key)!r}, that of the other image is {other.get(key)!r}, "
                "so equal coordinates are different places. Bring one image onto the grid of the other first "
                "(another unit: img.ngff.to_units(...))"
            )


def _same_direction(mine: Any, other: Any) -> bool:
    if mine is None or other is None:
        return mine is other
    return bool(np.allclose(mine, other, rtol=0, atol=1e-6))


def _finest_step(values: npt.NDArray[np.float64], attrs: Mapping[str, Any]) -> float:
    if len(values) > 1:
        return float(np.abs(np.diff(values)).min())
    return abs(float(attrs.get("spacing", 1.0)))
