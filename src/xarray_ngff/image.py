"""Images made from plain arrays, and images given another geometry."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff.channels import Channel, with_channels
from xarray_ngff.errors import GeometryError, NgffError
from xarray_ngff.geometry import (
    SPATIAL_DIMS,
    canonical_dims,
    coordinate,
    coordinates_from_affine,
    spatial_axes,
)
from xarray_ngff.geometry import axis as axis_of
from xarray_ngff.orientation import ORIENTATIONS, direction_vector, orientation_values
from xarray_ngff.units import unit_name

if TYPE_CHECKING:
    import dask.array

__all__ = ["as_image", "set_geometry"]

T = TypeVar("T")
ByDim = Mapping[str, T] | Sequence[T]

_DEFAULT_DIMS = {2: ("y", "x"), 3: ("z", "y", "x"), 5: ("t", "c", "z", "y", "x")}


def as_image(
    data: Any,
    dims: Sequence[str] | str | None = None,
    *,
    spacing: ByDim[float] | None = None,
    origin: ByDim[float] | None = None,
    units: str | ByDim[str | None] | None = None,
    orientation: str | Mapping[str, str] | None = None,
    affine: npt.ArrayLike | None = None,
    channels: Sequence[Channel | str | Mapping[str, Any]] | None = None,
    name: str | None = None,
) -> xr.DataArray:
    """Labeled image that knows where its voxels are, from any array.

    Geometry comes from `spacing` and `origin` or from an `affine`. Where neither is given, a DataArray keeps the
    coordinates that it has, and any other axis has spacing 1 and origin 0.

    Parameters
    ----------
    data
        NumPy or dask array, zarr array (read lazily, as dask), DataArray, or any array of the Python array API
        standard (taken over through DLPack without a copy where its library allows).
    dims
        Name of each axis: z, y, x for space, t for time, c for channels; other names are kept. A string gives one
        letter for each. Default: those of a DataArray or of a zarr array with dimension names; else y, x for two axes,
        z, y, x for three and t, c, z, y, x for five.
    spacing, origin
        Distance between voxel centres, and centre of voxel 0, in the axis's unit: a mapping by dim, or a sequence for
        all of `dims` or for the spatial ones among them, in their order. A negative spacing stores the axis backwards.
    units
        Unit by dim, likewise, or one string for all spatial axes. Common spellings are understood ("um").
    orientation
        With `spacing`: ``"RAS"``-style codes in x, y, z order that say where each increasing coordinate points, or a
        mapping by dim to values of OME-NGFF RFC-4. With `affine`: the frame that it maps to, ``"RAS"`` or ``"LPS"``
        (converted to RAS+), or None for a world that is not anatomical.
    affine
        (n+1, n+1) matrix from voxel index (x, y, z order) to world, as nibabel has it, for the n spatial dims.
    channels
        For each channel its name, a `Channel`, or a mapping with the keys of `Channel`.
    name
        Name of the result; a label image is called "labels". Default: that of a DataArray, else "image".

    Returns
    -------
    xarray.DataArray
        The array in the order t, c, others, z, y, x (transposed as a view), dtype unchanged, lazy where `data` is.

    Raises
    ------
    GeometryError
        Where the options do not fit the array or one another.
    UnitError
        Where a unit is given that cannot be one.

    Examples
    --------
    >>> import numpy as np
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((2, 4, 6)), "zyx", spacing=(2, 0.5, 0.5), units="um")
    >>> img.ngff.spacing
    {'z': 2.0, 'y': 0.5, 'x': 0.5}
    >>> img.isel(x=slice(None, None, 2)).ngff.spacing["x"]
    1.0
    """
    bare, names = _labeled(data, dims)
    bare = bare.rename(name or bare.name or "image")
    steps, starts = _by_dim("spacing", spacing, names), _by_dim("origin", origin, names)
    for dim in map(str, bare.dims):
        if dim not in bare.coords and dim in {*SPATIAL_DIMS, "t", *steps, *starts}:
            bare = bare.assign_coords({dim: coordinate(dim, bare.sizes[dim])})
    geometry = _changed_coordinates(bare, steps, starts, _units_by_dim(units, names), orientation, affine)
    if channels is None:
        return bare.assign_coords(geometry)
    if "c" not in bare.dims or len(channels) != bare.sizes["c"]:
        raise GeometryError(
            f"channels describes {len(channels)} channels, but the array has {dict(bare.sizes)}: give one entry "
            "for each index along dim 'c'"
        )
    return with_channels(bare.assign_coords(geometry), channels)


def set_geometry(
    img: xr.DataArray,
    *,
    spacing: ByDim[float] | None = None,
    origin: ByDim[float] | None = None,
    units: str | ByDim[str | None] | None = None,
    orientation: str | Mapping[str, str] | None = None,
    affine: npt.ArrayLike | None = None,
) -> xr.DataArray:
    """Image with the same data and another geometry; what is not given stays as it is.

    The options are those of `as_image`. Nothing is resampled or converted: use `to_units` to convert. An axis that was
    selected away with an integer is set like any other. A `spacing` without an `origin` keeps the first voxel where it
    is and an axis that runs backwards running backwards. An `orientation` replaces the direction of a rotated axis; an
    `affine` without one maps to the frame that the image has.

    Parameters
    ----------
    img
        Image; its spatial coordinates may be missing or irregular where they are replaced.
    spacing, origin, units, orientation, affine
        See `as_image`.

    Raises
    ------
    GeometryError
        Where the options do not fit the image or one another.
    """
    names = tuple(dict.fromkeys((*map(str, img.dims), *spatial_axes(img))))
    if affine is not None and orientation is None and _is_anatomical(img):
        orientation = "RAS"
    return img.assign_coords(
        _changed_coordinates(
            img,
            _by_dim("spacing", spacing, names),
            _by_dim("origin", origin, names),
            _units_by_dim(units, names),
            orientation,
            affine,
        )
    )


def _is_anatomical(img: xr.DataArray) -> bool:
    axes = spatial_axes(img)
    stated = [img.coords[dim].attrs.get("orientation") for dim in axes if dim in img.coords]
    return len(stated) == len(axes) and all(direction_vector(value) is not None for value in stated)


def _changed_coordinates(
    img: xr.DataArray,
    steps: Mapping[str, float],
    starts: Mapping[str, float],
    units: Mapping[str, str | None],
    orientation: Any,
    affine: npt.ArrayLike | None,
) -> dict[str, xr.Variable]:
    """Coordinates of the axes that the options change; scalar ones for axes that were selected away."""
    axes = spatial_axes(img)
    steps = {dim: _number("spacing", dim, step) for dim, step in steps.items()}
    starts = {dim: _number("origin", dim, start) for dim, start in starts.items()}
    coords: dict[str, xr.Variable] = {}
    values: Mapping[str, str] = {}
    if affine is not None:
        if {*steps, *starts} & set(axes):
            raise GeometryError("give the geometry either as spacing and origin or as an affine, not both")
        coords = _placed_coordinates(img, affine, units, orientation)
    elif orientation is not None:
        values = orientation_values(orientation, axes)
        kept = {dim: img.coords[dim].attrs.get("orientation") for dim in axes if dim in img.coords}
        orientation_values({dim: value for dim, value in kept.items() if value in ORIENTATIONS} | values, axes)
    for dim in dict.fromkeys((*steps, *starts, *units, *values)):
        if dim in coords:
            continue
        variable = _regridded(img, dim, steps.get(dim), starts.get(dim))
        attrs = dict(variable.attrs)
        if dim in units:
            attrs["units"] = units[dim]
        if dim in values:
            attrs |= {"orientation": values[dim], "direction": None}
        attrs = {key: value for key, value in attrs.items() if value is not None}
        coords[dim] = xr.Variable(variable.dims, variable.values, attrs)
    return coords


def _regridded(img: xr.DataArray, dim: str, step: float | None, start: float | None) -> xr.Variable:
    """Coordinate of an axis with another spacing or origin; what is None stays as it is."""
    old: xr.Variable | None = img.coords[dim].variable if dim in img.coords else None
    if old is not None and step is None and start is None:
        return old
    values = np.empty(0) if old is None or old.dtype.kind not in "iuf" else np.atleast_1d(old.values)
    if start is None:
        start = float(values[0]) if values.size else 0.0
        if step is not None and _descends(values, old):
            step = -abs(step)
    if step is None:
        step = axis_of(img, dim).step if values.size else 1.0
    new = coordinate(dim, img.sizes.get(dim, 1), start=start, step=step)
    new.attrs = (old.attrs if old is not None else {}) | new.attrs
    return new if dim in img.dims else new[0]


def _descends(values: npt.NDArray[Any], old: xr.Variable | None) -> bool:
    if old is None or values.size == 0:
        return False
    return bool(values[-1] < values[0]) if values.size > 1 else old.attrs.get("spacing", 1.0) < 0


def _placed_coordinates(
    img: xr.DataArray, affine: npt.ArrayLike, units: Mapping[str, str | None], orientation: Any
) -> dict[str, xr.Variable]:
    if orientation is not None and not isinstance(orientation, str):
        raise GeometryError('with an affine, orientation names the frame it maps to: "RAS", "LPS" or None')
    sizes = {dim: img.sizes.get(dim, 1) for dim in spatial_axes(img)}
    named = {dim: unit_name(img.coords[dim].attrs.get("units")) for dim in sizes if dim in img.coords} | dict(units)
    distinct = {named[dim] for dim in sizes if named.get(dim) is not None}
    if len(distinct) > 1:
        raise GeometryError(f"an affine maps to one world, in one unit, but units are {named}: give units=")
    coords = coordinates_from_affine(sizes, affine, units=next(iter(distinct), None), frame=orientation)
    return {dim: variable if dim in img.dims else variable[0] for dim, variable in coords.items()}


def _labeled(data: Any, dims: Sequence[str] | str | None) -> tuple[xr.DataArray, tuple[str, ...]]:
    """Data as a DataArray with canonical dims, and its dims in the order that options refer to."""
    array, known = (data, tuple(map(str, data.dims))) if isinstance(data, xr.DataArray) else _array(data)
    if dims is not None and not isinstance(dims, Iterable):
        raise GeometryError(f'dims={dims!r}: expected the name of each axis, for example "zyx"')
    names = _checked_dims(known if dims is None else tuple(dims), array.ndim)
    if not isinstance(array, xr.DataArray):
        array = xr.DataArray(array, dims=names, name="image")
    elif set(names) != set(known or ()):
        array = array.rename(dict(zip(array.dims, names, strict=True)))
    return array.transpose(*canonical_dims(names)), names


def _array(data: Any) -> tuple[Any, tuple[str, ...] | None]:
    """The array as NumPy, dask or another array that xarray holds as it is; its dims where it has them."""
    if type(data).__module__.partition(".")[0] == "zarr" and hasattr(data, "ndim"):
        return _dask_array(data), _zarr_dims(data)
    if isinstance(data, np.ndarray) or hasattr(data, "__array_function__"):
        return data, None
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    if hasattr(data, "__dlpack__"):
        try:
            return np.from_dlpack(data), None
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise NgffError(
                f"a {kind} array could not be shared with NumPy ({error}). Move it to the CPU, detach it from any "
                "gradient, or convert it to NumPy first"
            ) from error
    try:
        array = np.asarray(data)
    except (TypeError, ValueError) as error:
        raise GeometryError(f"data of type {kind} is no array of one shape ({error})") from error
    if array.dtype.kind not in "biufc":
        raise GeometryError(f"data of type {kind} is no array of numbers")
    return array, None


def _dask_array(data: Any) -> dask.array.Array:
    import dask.array

    lazy: dask.array.Array = dask.array.from_zarr(data)
    return lazy


def _zarr_dims(data: Any) -> tuple[str, ...] | None:
    names = getattr(data.metadata, "dimension_names", None)
    return tuple(names) if names and all(names) else None


def _checked_dims(dims: tuple[str, ...] | None, ndim: int) -> tuple[str, ...]:
    if dims is None:
        if ndim not in _DEFAULT_DIMS:
            raise GeometryError(f'an array of {ndim} axes does not say which is which: give dims, for example "czyx"')
        return _DEFAULT_DIMS[ndim]
    if len(dims) != ndim or len(set(dims)) != ndim or not all(isinstance(dim, str) and dim for dim in dims):
        raise GeometryError(f"dims={dims} does not give each of the {ndim} axes a name of its own")
    if not set(SPATIAL_DIMS) & set(dims):
        raise GeometryError(f"dims={dims} has no spatial axis: name them, at least one of x, y, z, with dims=")
    return dims


def _by_dim(option: str, given: ByDim[T] | None, dims: tuple[str, ...]) -> dict[str, T]:
    """Option by dim, from a mapping or from a sequence for all dims or for the spatial ones."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        for dim in given:
            if dim not in dims:
                raise GeometryError(f"{option} names dim {dim!r}, but the image has dims {', '.join(dims)}")
        return dict(given)
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise GeometryError(f"{option}={given!r}: expected a mapping by dim, or a sequence for dims {', '.join(dims)}")
    entries = list(given)
    spatial = [dim for dim in dims if dim in SPATIAL_DIMS]
    for names in (list(dims), spatial):
        if len(entries) == len(names):
            # a channel is not measured: its entry in a full sequence says nothing
            return {dim: entry for dim, entry in zip(names, entries, strict=True) if dim != "c"}
    raise GeometryError(
        f"{option} has {len(entries)} entries, expected {len(dims)} for dims {', '.join(dims)} or {len(spatial)} for "
        f"the spatial ones"
    )


def _units_by_dim(units: str | ByDim[str | None] | None, dims: tuple[str, ...]) -> dict[str, str | None]:
    if isinstance(units, str):
        units = {dim: units for dim in dims if dim in SPATIAL_DIMS}
    named = _by_dim("units", units, dims)
    for dim, unit in named.items():
        if unit is not None and (not isinstance(unit, str) or not unit.strip()):
            raise GeometryError(f"unit of dim {dim!r} is {unit!r}, expected a name such as 'micrometer'")
    return {dim: unit_name(unit) for dim, unit in named.items()}


def _number(option: str, dim: Hashable, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise GeometryError(
            f"{option} of dim {dim!r} is {value!r}, expected a number in the unit of that axis"
        ) from None
