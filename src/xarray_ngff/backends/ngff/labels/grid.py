"""Whether labels lie on the grid of an image, and the labels with the very coordinates of that image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends.ngff.attributes import ascending
from xarray_ngff.channels import COORDINATES
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.units import conversion_factor

__all__ = ["on_grid"]

# Of a voxel: what coordinates that went through other software and a few digits may be off by.
_TOLERANCE = 0.01
_SAME_DIRECTION = 1e-6


def on_grid(labels: xr.DataArray, image: xr.DataArray, place: str) -> xr.DataArray:
    """Labels in the order of dims and with the coordinates of their image, after a check that they are on its grid.

    So both open with the same coordinates to the last bit, and xarray aligns them. What a coordinate of the labels
    does not say (it is absent, or has no unit, orientation or direction) is taken from the image.

    Parameters
    ----------
    labels
        Any image. Its dims are those of `image`; axes other than the spatial ones and t may be absent or of length 1.
    image
        Level 0 of the image, as the engine opens it.
    place
        What the labels are, for messages.

    Raises
    ------
    GeometryError
        Where dims, sizes, positions or orientations differ.
    """
    _check_dims(labels, image, place)
    shared = [str(dim) for dim, size in image.sizes.items() if dim != "c" and labels.sizes.get(dim) == size]
    labels = labels.transpose(*(dim for dim in image.dims if dim in labels.dims))
    absent = {dim: image.coords[dim].variable for dim in shared if dim in image.coords and dim not in labels.coords}
    labels = ascending(labels.assign_coords(absent))
    placing = (*geometry.SPATIAL_DIMS, "t")  # scalar ones too: where a plane was selected
    for dim in map(str, image.coords):
        if dim in shared or (dim in placing and dim in labels.coords):
            _check_position(labels, image, dim, place)
    # the channel that labels were made from says nothing of them
    stale = [*placing, *(() if "c" in labels.dims else COORDINATES)]
    labels = labels.drop_vars([name for name in stale if name in labels.coords and name not in labels.dims])
    return labels.assign_coords(
        {name: values.variable for name, values in image.coords.items() if name in shared or name in placing}
    )


def _check_dims(labels: xr.DataArray, image: xr.DataArray, place: str) -> None:
    dims = f"the image has dims {', '.join(map(str, image.dims))}"
    for dim in labels.dims:
        if dim not in image.dims:
            raise GeometryError(f"{place} have the dim {dim!r}, but {dims}: select along it, labels.isel({dim}=0)")
    for dim, size in image.sizes.items():
        needed = dim in geometry.SPATIAL_DIMS or dim == "t"
        if dim not in labels.dims:
            if needed:
                raise GeometryError(f"{place} lack the dim {dim!r}, but {dims}: add it, labels.expand_dims({dim!r})")
        elif labels.sizes[dim] != size and (needed or labels.sizes[dim] != 1):
            raise GeometryError(
                f"{place}: {labels.sizes[dim]} voxels along {dim!r}, but the image has {size}: labels lie on the grid "
                "of level 0 of their image. Write labels of another grid as an image of their own"
            )


def _check_position(labels: xr.DataArray, image: xr.DataArray, dim: str, place: str) -> None:
    own, other = geometry.axis(labels, dim), geometry.axis(image, dim)
    for key in ("orientation", "direction"):
        found, wanted = getattr(own, key), getattr(other, key)
        if found is not None and wanted is not None and not _same(found, wanted):
            raise GeometryError(f"{place} have {key} {found!r} along {dim!r}, that of the image is {wanted!r}")
    try:
        factor = conversion_factor(own.units, other.units)
    except UnitError as error:
        raise UnitError(f"{place}, axis {dim!r}: {error}") from error
    start, step = own.start * factor, own.step * factor
    off = max(abs(start - other.start), abs(start - other.start + (step - other.step) * (own.size - 1)))
    if not off <= _TOLERANCE * abs(other.step):
        raise GeometryError(
            f"{place} begin at {start:g} along {dim!r} in steps of {step:g}, the image at {other.start:g} in steps of "
            f"{other.step:g}{f' {other.units}' if other.units else ''}: labels lie on the grid of level 0 of their "
            "image. Take its coordinates, img.copy(data=...), where they are meant to be the same"
        )


def _same(found: str | Sequence[float], wanted: str | Sequence[float]) -> bool:
    if isinstance(found, str) or isinstance(wanted, str):
        return found == wanted
    return bool(np.allclose(found, wanted, rtol=0, atol=_SAME_DIRECTION))
