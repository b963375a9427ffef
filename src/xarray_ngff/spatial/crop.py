"""Parts of an image, cut out by coordinates, world points or indices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import affine as matrices
from xarray_ngff import geometry
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.roi import Bound, Bounds, Roi
from xarray_ngff.units import magnitude, symbol

__all__ = ["crop"]

# Bounds and centres within this part of a voxel are the same place: neither is exact in floating point.
_SAME_PLACE = 1e-6


def crop(img: xr.DataArray, roi: Roi) -> xr.DataArray:
    """Part of an image whose voxel centres lie in a half-open box ``low <= centre < high``.

    What reaches beyond the image is clipped. In a rotated image a world box gives the smallest index box whose
    voxels cover it. Nothing is read: the result is as lazy as the image.

    Parameters
    ----------
    img
        Image with any dims.
    roi
        Box by dim (by world axis in world space); dims that it does not name stay whole.

    Returns
    -------
    xarray.DataArray
        The part, with its own coordinates; dtype unchanged.

    Raises
    ------
    GeometryError
        For a dim that the image does not have, or a box that misses the image or holds no voxel centre.
    UnitError
        For a unit that does not convert to that of the axis.

    Examples
    --------
    >>> import numpy as np
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((4, 10)), spacing=(1, 0.5), units="mm")
    >>> crop(img, Roi({"x": ("1000 um", "3 mm")})).x.values
    array([1. , 1.5, 2. , 2.5])
    """
    ranges = _RANGES[roi.space](img, roi.bounds)
    return img.isel({dim: slice(low, high) for dim, (low, high) in ranges.items()})


def _check_dims(bounds: Mapping[str, Bounds], dims: tuple[str, ...], space: str) -> None:
    for dim in bounds:
        if dim not in dims:
            raise GeometryError(f"crop names {dim!r}, but in {space} space the image has {', '.join(dims)}")


def _number(dim: str, bound: Bound, unit: str | None, otherwise: float) -> float:
    if bound is None:
        return otherwise
    if isinstance(bound, Real) and math.isinf(bound):
        return float(bound)
    try:
        return magnitude(bound, unit)
    except UnitError as error:
        raise UnitError(f"bound of {dim!r}: {error}") from error


def _index_ranges(img: xr.DataArray, bounds: Mapping[str, Bounds]) -> dict[str, tuple[int, int]]:
    _check_dims(bounds, tuple(map(str, img.dims)), "index")
    ranges = {}
    for dim, pair in bounds.items():
        size = img.sizes[dim]
        for bound in pair:
            if bound is not None and not isinstance(bound, int | np.integer):
                raise GeometryError(f"bound of {dim!r} is {bound!r}: in index space bounds are whole numbers")
        low, high = (0 if pair[0] is None else int(pair[0])), (size if pair[1] is None else int(pair[1]))
        start, stop = max(low, 0), min(high, size)
        if start >= stop:
            raise GeometryError(
                f"the box {low} to {high} along {dim!r} misses the image, which has indices 0 to {size}"
            )
        ranges[dim] = (start, stop)
    return ranges


def _physical_ranges(img: xr.DataArray, bounds: Mapping[str, Bounds]) -> dict[str, tuple[int, int]]:
    measured = tuple(str(dim) for dim in img.dims if dim in img.coords and img.coords[dim].dtype.kind in "iuf")
    _check_dims(bounds, measured, "physical")
    ranges = {}
    for dim, pair in bounds.items():
        unit = img.coords[dim].attrs.get("units")
        low, high = _number(dim, pair[0], unit, -np.inf), _number(dim, pair[1], unit, np.inf)
        ranges[dim] = _centres_inside(dim, img.coords[dim].values.astype(np.float64), low, high, unit)
    return ranges


def _centres_inside(
    dim: str, centres: npt.NDArray[np.float64], low: float, high: float, unit: str | None
) -> tuple[int, int]:
    """Index range of the centres within ``low <= centre < high``."""
    steps = np.diff(centres)
    if not ((steps > 0).all() or (steps < 0).all()) or not np.isfinite(centres).all():
        raise GeometryError(
            f"coordinate {dim!r} neither ascends nor descends throughout, so a range of it is no range of voxels. Sort "
            f"it, fill what a pad left empty, or set it anew: img.ngff.set_geometry(spacing={{{dim!r}: ...}})"
        )
    slack = _SAME_PLACE * float(np.abs(steps).min()) if len(steps) else 0.0
    inside = np.flatnonzero((centres >= low - slack) & (centres < high - slack))
    if len(inside) == 0:
        sign = symbol(unit)
        raise GeometryError(
            f"the box {low:g} to {high:g} {sign} along {dim!r} holds no voxel of the image, whose centres run from "
            f"{centres.min():g} to {centres.max():g} {sign}"
        )
    return int(inside[0]), int(inside[-1]) + 1


def _world_ranges(img: xr.DataArray, bounds: Mapping[str, Bounds]) -> dict[str, tuple[int, int]]:
    matrix, whole = geometry.affine(img), geometry.world_extent(img)
    _check_dims(bounds, tuple(whole), "world")
    unit = geometry.world_unit(img)
    asked = {dim: bounds.get(dim, (None, None)) for dim in whole}
    low = {dim: _number(dim, pair[0], unit, -np.inf) for dim, pair in asked.items()}
    high = {dim: _number(dim, pair[1], unit, np.inf) for dim, pair in asked.items()}
    axes = geometry.spatial_axes(img)
    part = matrices.linear(matrix)
    sizes = [img.sizes.get(dim, 1) for dim in axes]
    found: dict[str, tuple[int, int]] = {}
    if np.count_nonzero(part) == len(axes):
        # every voxel axis is a world axis: the rule for coordinates holds as it is
        for column, dim in enumerate(axes):
            row = int(np.flatnonzero(part[:, column])[0])
            name = list(whole)[row]
            centres = matrix[row, -1] + part[row, column] * np.arange(sizes[column])
            found[dim] = _centres_inside(name, centres, low[name], high[name], unit)
    else:
        box = _index_box(matrix, np.array(list(low.values())), np.array(list(high.values())), sizes)
        if box is None:
            raise GeometryError(
                f"the world box {_box(low, high)} misses the image, which spans {_box_of(whole)} ({symbol(unit)})"
            )
        found = dict(zip(axes, box, strict=True))
    return {dim: found[dim] for dim in axes if dim in img.dims}


def _index_box(
    matrix: npt.NDArray[np.float64], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64], sizes: list[int]
) -> list[tuple[int, int]] | None:
    """Smallest index ranges whose voxels cover what of the world box is in the image; None where nothing is.

    Voxels are cells half a voxel around their centres. How far the part that box and image share reaches along each
    index axis is a small linear programme, exact for boxes that are open or larger than the image too.
    """
    from scipy.optimize import linprog

    rows, shift = matrices.linear(matrix), matrices.offset(matrix)
    scale = matrices.voxel_sizes(matrix).min()  # in voxels, so that the solver's tolerance is a part of one
    sides = np.concatenate([rows, -rows]) / scale
    limits = np.concatenate([high - shift, shift - low]) / scale
    closed = np.isfinite(limits)
    if (low >= high).any():
        return None
    ranges = []
    for index, size in enumerate(sizes):
        ends = []
        for sign in (1, -1):
            target = np.zeros(len(sizes))
            target[index] = sign
            found = linprog(target, sides[closed], limits[closed], bounds=[(-0.5, n - 0.5) for n in sizes])
            if found.status != 0:
                return None
            ends.append(sign * found.fun)
        first, last = np.floor(ends[0] + 0.5 + _SAME_PLACE), np.ceil(ends[1] - 0.5 - _SAME_PLACE)
        if first > last:
            return None
        ranges.append((max(int(first), 0), min(int(last), size - 1) + 1))
    return ranges


def _box(low: Mapping[str, float], high: Mapping[str, float]) -> str:
    return ", ".join(f"{dim} {low[dim]:g} to {high[dim]:g}" for dim in low)


def _box_of(extent: Mapping[str, tuple[float, float]]) -> str:
    return _box({d: low for d, (low, _) in extent.items()}, {d: high for d, (_, high) in extent.items()})


_RANGES = {"physical": _physical_ranges, "world": _world_ranges, "index": _index_ranges}
