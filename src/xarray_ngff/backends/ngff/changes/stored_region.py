"""Which part of a stored image another image is: found by coordinates, or given as slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._lazy import FileKey, LazyArray
from xarray_ngff.backends.ngff.existing import ExistingPyramid
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.geometry import Axis
from xarray_ngff.orientation import ORIENTATIONS, opposite
from xarray_ngff.units import conversion_factor

__all__ = ["Where", "located"]

Where = Literal["auto"] | Mapping[str, "slice | str"]

# Of a voxel: coordinates that went through float32, or text with a few digits, agree to much less.
_TOLERANCE = 0.01
_SAME_DIRECTION = 1e-6


def located(img: xr.DataArray, pyramid: ExistingPyramid, region: Where) -> tuple[xr.Variable, tuple[slice, ...]]:
    """Voxels of an image in the order of the axes of a stored one, and the part of its level 0 that they are.

    Nothing is read. An image that descends where the stored one ascends is turned, and channels in another order are
    reordered.

    Parameters
    ----------
    img
        The image.
    pyramid
        The stored one.
    region
        ``"auto"``, or by dim a slice of voxels or ``"auto"``; dims that are left out mean the whole axis.

    Raises
    ------
    GeometryError
        Where the image is no part of the stored one.
    """
    asked = _by_dim(region, pyramid)
    place = pyramid.root.name
    extra = [str(dim) for dim in img.dims if dim not in pyramid.dims]
    if extra:
        raise GeometryError(
            f"the image has the dim {extra[0]!r}, but {place} has {', '.join(pyramid.dims)}: select along it"
        )
    if 0 in img.shape:
        raise GeometryError(f"the image is empty ({dict(img.sizes)}): there is nothing to write")
    _check_scalars(img, pyramid)
    parts = {}
    for dim in pyramid.dims:
        said = asked.get(dim, slice(None))
        if isinstance(said, slice):
            parts[dim] = _given(img, pyramid, dim, said)
        elif dim not in img.coords and img.sizes.get(dim, 1) == pyramid.image.sizes[dim]:
            parts[dim] = slice(0, pyramid.image.sizes[dim])
        elif dim not in img.coords:
            raise GeometryError(
                f"the image does not say where along {dim!r} it lies in {place}, which has "
                f"{pyramid.image.sizes[dim]}: give region={{{dim!r}: slice(start, stop)}}, or the coordinate"
            )
        elif dim == "c":
            order, parts[dim] = _channels(img, pyramid)
            img = img if order is None else img.isel(c=order)
        else:
            turned, parts[dim] = _positions(img, pyramid, dim)
            img = img.isel({dim: slice(None, None, -1)}) if turned else img
    return _in_order(img.variable, pyramid.dims), tuple(parts[dim] for dim in pyramid.dims)


def _by_dim(region: Where, pyramid: ExistingPyramid) -> dict[str, slice | str]:
    dims = pyramid.dims
    if isinstance(region, str) and region == "auto":
        return dict.fromkeys(dims, "auto")
    if not isinstance(region, Mapping):
        raise GeometryError(f'region={region!r}: expected "auto", or a mapping of dims to slices or "auto"')
    unknown = [dim for dim in region if dim not in dims]
    if unknown:
        raise GeometryError(f"region names dim {unknown[0]!r}, but {pyramid.root.name} has the dims {', '.join(dims)}")
    for dim, part in region.items():
        if not isinstance(part, slice) and not (isinstance(part, str) and part == "auto"):
            raise GeometryError(f'region[{dim!r}] is {part!r}: expected a slice of voxels, or "auto"')
    return dict(region)


def _given(img: xr.DataArray, pyramid: ExistingPyramid, dim: str, part: slice) -> slice:
    """A slice of voxels with its ends, checked; negative ones count from the end, as Python's do."""
    size, length = pyramid.image.sizes[dim], img.sizes.get(dim, 1)
    ends = []
    for end, default in ((part.start, 0), (part.stop, size)):
        if end is not None and (isinstance(end, bool) or not isinstance(end, int | np.integer)):
            raise GeometryError(f"region[{dim!r}] is {part}: expected whole numbers of voxels")
        ends.append(default if end is None else int(end) + (size if end < 0 else 0))
    start, stop = ends
    if part.step not in (None, 1):
        raise GeometryError(f"region[{dim!r}] is {part}: expected a slice without a step")
    if not 0 <= start <= stop <= size:
        raise GeometryError(f"region[{dim!r}] is {part}, but {pyramid.root.name} has {size} along {dim!r}")
    if stop - start != length:
        said = "the whole axis" if part == slice(None) else f"{part}"
        raise GeometryError(
            f"the image has {length} along {dim!r}, but its region in {pyramid.root.name} is {said}, {stop - start} "
            f'of {size}: give region={{{dim!r}: slice(start, stop)}}, or "auto" to go by coordinates'
        )
    return slice(start, stop)


def _check_scalars(img: xr.DataArray, pyramid: ExistingPyramid) -> None:
    """Raise where both were cut out along an axis that the stored image does not have, at different places."""
    for dim in ("t", *geometry.SPATIAL_DIMS):
        both = [each for each in (img, pyramid.image) if dim in each.coords and dim not in pyramid.dims]
        if len(both) == 2 and both[0].coords[dim].ndim == 0:
            mine, stored = _converted(geometry.axis(img, dim), geometry.axis(pyramid.image, dim), pyramid)
            if abs(mine.start - stored.start) > _TOLERANCE * abs(stored.step):
                raise GeometryError(
                    f"the image lies at {dim} = {mine.start:g}, but {pyramid.root.name} at {stored.start:g}: they are "
                    "different places"
                )


def _channels(img: xr.DataArray, pyramid: ExistingPyramid) -> tuple[list[int] | None, slice]:
    """In which order the channels of an image lie side by side in the stored one, None for theirs, and where."""
    names = [str(name) for name in np.atleast_1d(img.coords["c"].values)]
    place = pyramid.root.name
    stored = [str(name) for name in pyramid.image.coords["c"].values] if "c" in pyramid.image.coords else []
    for name in names:
        if stored.count(name) != 1 or names.count(name) != 1:
            found = "has none of that name" if name not in stored else "or the image has several of that name"
            known = f"its channels are {', '.join(stored)}" if stored else "its channels have no names"
            raise GeometryError(
                f"the image has the channel {name!r}, but {place} {found}; {known}. Rename it, or give "
                "region={'c': slice(start, stop)}"
            )
    indices = [stored.index(name) for name in names]
    first = min(indices)
    if sorted(indices) != list(range(first, first + len(indices))):
        raise GeometryError(
            f"the channels {', '.join(names)} do not lie side by side in {place}, whose channels are "
            f"{', '.join(stored)}: write them one by one"
        )
    order = [int(index) for index in np.argsort(indices)]
    return None if order == sorted(order) else order, slice(first, first + len(indices))


def _positions(img: xr.DataArray, pyramid: ExistingPyramid, dim: str) -> tuple[bool, slice]:
    """Whether an image runs against a stored axis, and the voxels of that axis that it has."""
    place = pyramid.root.name
    mine, stored = _converted(geometry.axis(img, dim), geometry.axis(pyramid.image, dim), pyramid)
    ends = (np.array([mine.start, mine.start + (mine.size - 1) * mine.step]) - stored.start) / stored.step
    first, last = (int(index) for index in np.rint(np.sort(ends)))
    off = float(np.abs(np.sort(ends) - (first, last)).max())
    if last - first != mine.size - 1:
        raise GeometryError(
            f"the image has a spacing of {abs(mine.step):g} along {dim!r}, but {place} one of {stored.step:g}: a part "
            "of an image has every voxel that lies in it"
        )
    if off > _TOLERANCE:
        raise GeometryError(
            f"the image is off the grid of {place} along {dim!r} by {off:.2g} of a voxel: it begins at "
            f"{mine.start:g}, which is voxel {ends[0]:.7g}. Put it on the grid first, or give slices of voxels"
        )
    if first < 0 or last >= stored.size:
        raise GeometryError(
            f"the image is voxels {first} to {last} along {dim!r}, but {place} has {stored.size}: cut it to those"
        )
    return mine.size > 1 and bool(ends[0] > ends[1]), slice(first, last + 1)


def _converted(mine: Axis, stored: Axis, pyramid: ExistingPyramid) -> tuple[Axis, Axis]:
    """The axis of an image in the unit, and along the direction, of the stored one; and that one."""
    dim, place = mine.dim, pyramid.root.name
    try:
        factor = conversion_factor(mine.units, stored.units)
    except UnitError as error:
        raise GeometryError(f"the image cannot be placed in {place} along {dim!r}: {error}") from error
    sign = _sign(mine, stored, place)
    direction = None if mine.direction is None else [sign * component for component in mine.direction]
    if not _same(direction, stored.direction):
        raise GeometryError(
            f"the image runs {_along(direction)} for {dim!r}, but {place} {_along(stored.direction)}: they are turned "
            "against each other. Transform it onto the grid first, or give slices of voxels"
        )
    scaled = Axis(dim, mine.size, sign * factor * mine.start, sign * factor * mine.step, stored.units)
    return scaled, stored


def _same(direction: Sequence[float] | None, stored: Sequence[float] | None) -> bool:
    if direction is None or stored is None:
        return direction is stored
    return bool(np.allclose(direction, stored, rtol=0, atol=_SAME_DIRECTION))


def _along(direction: Sequence[float] | None) -> str:
    return "straight" if direction is None else f"along {tuple(direction)}"


def _sign(mine: Axis, stored: Axis, place: str) -> int:
    """-1 where the image counts the other way along the same anatomical line. What says nothing may be either."""
    found, wanted = mine.orientation, stored.orientation
    if found is None or wanted is None or found == wanted:
        return 1
    if found in ORIENTATIONS and opposite(found) == wanted:
        return -1
    raise GeometryError(
        f"the image runs {found} along {mine.dim!r}, but {place} {wanted}: reorient it, or give slices of voxels"
    )


# -- the order of axes ------------------------------------------------------------------------------------------------


def _in_order(variable: xr.Variable, dims: tuple[str, ...]) -> xr.Variable:
    """The same voxels with all of these dims, in this order; still lazy where they were."""
    if variable.dims == dims:
        return variable
    if variable.chunks is not None or variable._in_memory:
        lacking = [dim for dim in dims if dim not in variable.dims]
        complete: xr.Variable = variable.set_dims([*lacking, *map(str, variable.dims)])
        return complete.transpose(*dims)
    from xarray.core import indexing

    data = indexing.LazilyIndexedArray(_Reordered(variable, dims))
    return xr.Variable(dims, data, encoding=dict(variable.encoding), fastpath=True)


class _Reordered(LazyArray):
    """Variable that is not loaded, with its axes in another order and further ones of length 1.

    xarray would load it to add an axis, and once transposed would select from it point by point.
    """

    def __init__(self, variable: xr.Variable, dims: tuple[str, ...]) -> None:
        super().__init__([variable.sizes.get(dim, 1) for dim in dims], variable.dtype, range(len(dims)))
        self._variable = variable
        self._dims = dims

    def read(self, key: FileKey) -> npt.ArrayLike:
        """Selected voxels; an axis with an integer key is gone."""
        parts: dict[str, Any] = dict(zip(self._dims, key, strict=True))
        part = self._variable.isel({dim: parts[str(dim)] for dim in self._variable.dims})
        kept = [dim for dim in self._dims if not isinstance(parts[dim], int | np.integer)]
        loaded = xr.Variable(part.dims, part.values).transpose(*(dim for dim in kept if dim in part.dims))
        lengths = [loaded.sizes[dim] if dim in loaded.dims else len(np.arange(1)[parts[dim]]) for dim in kept]
        return loaded.values.reshape(lengths)
