"""The world that an image's coordinates place its voxels in: affine, orientation, extents and points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import affine as matrices
from xarray_ngff import units as unit_table
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.geometry.grid import SPATIAL_DIMS, Axis, axis, spatial_axes, spatial_dims, unit_vector
from xarray_ngff.orientation import direction_vector

_CODES = ("LR", "PA", "IS")


def _is_anatomical(axes: list[Axis]) -> bool:
    return all(direction_vector(a.orientation) is not None for a in axes)


def _world_vectors(axes: list[Axis]) -> npt.NDArray[np.float64]:
    """World vector of one unit of each coordinate, as the columns of a (3, n) matrix."""
    anatomical = _is_anatomical(axes)
    vectors = [
        a.direction or (direction_vector(a.orientation) if anatomical else None) or unit_vector(a.dim) for a in axes
    ]
    return np.array(vectors, dtype=np.float64).T


def world_unit(img: xr.DataArray) -> str | None:
    """Unit of world coordinates: that of x, else of y, else of z."""
    named = (unit_table.unit_name(img.coords[dim].attrs.get("units")) for dim in spatial_axes(img) if dim in img.coords)
    return next((unit for unit in named if unit is not None), None)


def _grid(img: xr.DataArray) -> tuple[npt.NDArray[np.float64], list[int], list[Axis]]:
    """Affine, the world axes (0, 1, 2 for x, y, z) of its rows, and the axes of its columns."""
    axes = [axis(img, dim) for dim in spatial_axes(img)]
    if not axes:
        raise GeometryError(
            f"the image has dims {tuple(img.dims)}, none of which is spatial: rename its dims to any of x, y, z"
        )
    vectors = _world_vectors(axes)
    unit = world_unit(img)
    try:
        factors = np.array([unit_table.conversion_factor(a.units, unit) for a in axes])
    except UnitError as error:
        raise GeometryError(
            f"the spatial axes have units { ({a.dim: a.units for a in axes}) } that do not convert to one another, so "
            "there is no common world. Name them anew: img.ngff.set_geometry(units=...)"
        ) from error
    rows = [row for row in range(3) if len(axes) == 3 or vectors[row].any()]
    steps, starts = np.array([a.step for a in axes]), np.array([a.start for a in axes])
    names = ", ".join(a.dim for a in axes)
    if len(rows) != len(axes):
        raise GeometryError(
            f"the axes {names} span {len(rows)} world axes, so no square affine places them. A rotated image keeps its "
            "place when planes are selected (img.isel(z=0)), not when an axis is reduced away"
        )
    # adding zero turns the -0.0 of an axis that runs backwards into 0.0
    matrix = matrices.compose((vectors * factors * steps)[rows], (vectors @ (factors * starts))[rows]) + 0.0
    if abs(np.linalg.det(vectors[rows])) < 1e-9:
        raise GeometryError(f"the axes {names} point along the same line, so no affine places their voxels")
    return matrix, rows, axes


def affine(img: xr.DataArray) -> npt.NDArray[np.float64]:
    """(n+1, n+1) matrix from voxel index ``(i_x, i_y, i_z, 1)`` to world, as nibabel has it.

    n counts the spatial axes that the image has as dims or as scalar coordinates. World is in `world_unit`.

    Examples
    --------
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((2, 4)), spacing={"y": 2.0, "x": 0.5}, origin={"x": 1.0})
    >>> affine(img[:, ::-1])
    array([[-0.5,  0. ,  2.5],
           [ 0. ,  2. ,  0. ],
           [ 0. ,  0. ,  1. ]])
    """
    return _grid(img)[0]


def orientation(img: xr.DataArray) -> str | None:
    """Axis codes of the array as stored, in x, y, z order (``"RAS"``), or None where the world is not anatomical.

    Each letter says where increasing *index* points, as `nibabel.aff2axcodes` does.
    """
    matrix, rows, axes = _grid(img)
    if not _is_anatomical(axes):
        return None
    towards, signs = matrices.closest_axes(matrices.linear(matrix))
    return "".join(_CODES[rows[row]][sign > 0] for row, sign in zip(towards, signs, strict=True))


def extent(img: xr.DataArray) -> dict[str, tuple[float, float]]:
    """Outer voxel edges (low, high) by spatial dim, in coordinates: half a voxel beyond the outer centres."""
    edges = {}
    for dim in spatial_dims(img):
        along = axis(img, dim)
        ends = (along.start - along.step / 2, along.start + along.step * (along.size - 0.5))
        edges[dim] = (min(ends), max(ends))
    return edges


def world_extent(img: xr.DataArray) -> dict[str, tuple[float, float]]:
    """Smallest world box (low, high) around the outer voxel edges, by world axis."""
    matrix, rows, axes = _grid(img)
    sizes = np.array([a.size for a in axes])
    points = matrices.apply(matrix, matrices.corners(-0.5 * np.ones(len(axes)), sizes - 0.5))
    low, high = points.min(axis=0), points.max(axis=0)
    return {SPATIAL_DIMS[row]: (float(low[i]), float(high[i])) for i, row in enumerate(rows)}


def _checked_points(points: npt.ArrayLike, matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    array = np.asarray(points, dtype=np.float64)
    n = len(matrix) - 1
    if array.ndim == 0 or array.shape[-1] != n:
        raise GeometryError(f"points have shape {array.shape}, expected (..., {n}) in x, y, z order")
    return array


def index_to_world(img: xr.DataArray, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """World points of voxel indices; both (..., n) in x, y, z order. Fractions of a voxel are allowed."""
    matrix = affine(img)
    return matrices.apply(matrix, _checked_points(points, matrix))


def world_to_index(img: xr.DataArray, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Voxel indices (fractional) of world points; both (..., n) in x, y, z order."""
    matrix = affine(img)
    return matrices.apply(matrices.invert(matrix), _checked_points(points, matrix))
