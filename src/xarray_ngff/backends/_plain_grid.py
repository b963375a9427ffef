"""Images as formats without orientation and rotation hold them: ascending coordinates along plain axes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._other_coordinates import warn_of_other_coordinates
from xarray_ngff.errors import NgffWarning
from xarray_ngff.geometry import Axis
from xarray_ngff.orientation import direction_vector

__all__ = ["plain_grid"]


def plain_grid(img: xr.DataArray, *, place: str, holder: str) -> xr.DataArray:
    """Image with ascending coordinates and without what a format that knows only spacing and origin cannot hold.

    Where every spatial axis runs along the world axis of its name, coordinates become world positions (RAS+ in an
    anatomical world), so every voxel keeps its place; data are flipped along axes that would descend, lazily. A
    rotation or shear is left out: voxels are then placed as if each axis ran along the world axis of its name.

    Parameters
    ----------
    img
        Image with regular spatial axes; t may be irregular.
    place
        The file that is written, for the warning.
    holder
        Name of the format, for the warning.

    Warns
    -----
    NgffWarning
        Once, naming all that is left out: an orientation, a rotation, that the image holds labels; and once for
        coordinates that place no voxel and describe no channel.

    Examples
    --------
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.arange(3), "x", spacing=[0.5], orientation={"x": "right-to-left"})
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", NgffWarning)
    ...     plain = plain_grid(img, place="a.tif", holder="TIFF")
    >>> plain.values, plain.x.values
    (array([2, 1, 0]), array([-1. , -0.5,  0. ]))
    """
    warn_of_other_coordinates(img, place=place, holder=holder)
    axes = {dim: geometry.axis(img, dim) for dim in geometry.spatial_axes(img)}
    lost = _lost(img, axes)
    if lost:
        warnings.warn(f"{place}: {holder} cannot hold {'; nor '.join(lost)}", NgffWarning, stacklevel=2)
    signs = _signs(axes)
    for dim, axis in axes.items():
        step = signs[dim] * axis.step
        ends = signs[dim] * np.atleast_1d(img.coords[dim].values)[[0, -1]]
        coord = geometry.coordinate(dim, axis.size, start=float(ends.min()), step=abs(step), units=axis.units)
        if dim not in img.dims:
            img = img.assign_coords({dim: coord[0]})
            continue
        if step < 0:
            img = img.isel({dim: slice(None, None, -1)})
        img = img.assign_coords({dim: coord})
    if "t" in img.dims and "t" in img.coords and img.coords["t"][-1] < img.coords["t"][0]:
        img = img.isel(t=slice(None, None, -1))
    return img


def _lost(img: xr.DataArray, axes: Mapping[str, Axis]) -> list[str]:
    """What is left out, in words."""
    lost = []
    oriented = {dim: axis.orientation for dim, axis in axes.items() if axis.orientation}
    if oriented:
        now = "; coordinates in the file are RAS+ world positions" if _named_for_world(axes) else ""
        lost.append(f"the orientation ({', '.join(f'{dim} {value}' for dim, value in oriented.items())}{now})")
    oblique = [dim for dim, axis in axes.items() if axis.direction is not None]
    if oblique:
        lost.append(
            f"the rotation or shear (direction of {', '.join(oblique)}; the file places voxels as if each axis ran "
            "along the world axis of its name. Resample to a straight grid first, or write OME-Zarr or NIfTI)"
        )
    if img.name == "labels":
        lost.append("that this is a label image (it opens as an image)")
    return lost


def _named_for_world(axes: Mapping[str, Axis]) -> bool:
    """Whether every axis is anatomical, straight, and named for the world axis that it runs along."""
    return all(
        axis.direction is None
        and (vector := direction_vector(axis.orientation)) is not None
        and vector[geometry.SPATIAL_DIMS.index(dim)] != 0
        for dim, axis in axes.items()
    )


def _signs(axes: Mapping[str, Axis]) -> dict[str, float]:
    """What turns the coordinates of each axis into world positions."""
    if not _named_for_world(axes):
        return dict.fromkeys(axes, 1.0)
    vectors = {dim: direction_vector(axis.orientation) for dim, axis in axes.items()}
    return {dim: vector[geometry.SPATIAL_DIMS.index(dim)] for dim, vector in vectors.items() if vector is not None}
