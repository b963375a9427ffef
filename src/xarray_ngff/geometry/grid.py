"""Regular axes: coordinates made, and read back as origin and step."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import affine as matrices
from xarray_ngff.errors import GeometryError
from xarray_ngff.orientation import direction_vector, frame_signs, vector_value
from xarray_ngff.units import unit_name

SPATIAL_DIMS = ("x", "y", "z")
DIM_ORDER = ("t", "c", "z", "y", "x")

# A direction this close to an axis is that axis: single-precision headers round at about 1e-7.
_SAME_DIRECTION = 1e-6
_NOTHING = 1e-12

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Axis:
    """One axis of a regular grid, as its coordinate says it.

    Attributes
    ----------
    dim
        Name of the dimension.
    size
        Number of voxels; 1 for a scalar coordinate.
    start
        Coordinate of the first voxel's centre.
    step
        Coordinate of the second voxel less that of the first; negative where coordinates descend.
    units
        Unit of the coordinate, or None.
    orientation
        RFC-4 value of increasing coordinates, or None.
    direction
        World vector (x, y, z) of one unit along the axis where name and orientation do not say it, else None.
    """

    dim: str
    size: int
    start: float
    step: float
    units: str | None = None
    orientation: str | None = None
    direction: Vector | None = None


def coordinate(
    dim: str,
    size: int,
    *,
    start: float = 0.0,
    step: float = 1.0,
    units: str | None = None,
    orientation: str | None = None,
    direction: Vector | None = None,
) -> xr.Variable:
    """Coordinate of a regular axis: ``start + step * i`` at voxel centres, float64, with its attributes.

    Parameters
    ----------
    dim, size
        Name and length of the axis.
    start, step
        Coordinate of voxel 0, and what one voxel adds to it (negative for a coordinate that descends).
    units, orientation, direction
        Written to the attributes where given; see `Axis`.

    Raises
    ------
    GeometryError
        Where `start` or `step` is not finite, `step` is zero, or it is too small beside `start` for float64.

    Examples
    --------
    >>> x = coordinate("x", 3, start=0.25, step=0.5, units="micrometer")
    >>> x.values, x.attrs
    (array([0.25, 0.75, 1.25]), {'units': 'micrometer', 'spacing': 0.5})
    """
    if not (np.isfinite(start) and np.isfinite(step)) or step == 0:
        raise GeometryError(
            f"axis {dim!r}: spacing {step} and origin {start} make no grid; both must be finite and spacing not zero"
        )
    values = start + step * np.arange(size, dtype=np.float64)
    if (values[1:] == values[:-1]).any():
        raise GeometryError(
            f"axis {dim!r}: spacing {step} is lost in rounding beside coordinates as large as {start}. Move the origin "
            "nearer to zero"
        )
    stated: dict[str, Any] = {"units": units, "orientation": orientation, "spacing": float(step)}
    if direction is not None:
        stated["direction"] = [float(component) for component in direction]
    attrs = {key: value for key, value in stated.items() if value is not None}
    return xr.Variable((dim,), values, attrs)


def coordinates_from_affine(
    sizes: Mapping[str, int], affine: npt.ArrayLike, *, units: str | None = None, frame: str | None = None
) -> dict[str, xr.Variable]:
    """Coordinates of the spatial axes that an affine places in the world.

    Where the affine is a signed permutation with scaling (to 1e-6), coordinates are world coordinates; they descend
    where the image is stored against a world axis. Otherwise they run along the voxel axes, each with its `direction`,
    and their origin is shifted so that no world offset is left over.

    Parameters
    ----------
    sizes
        Length of each spatial dim, any of x, y, z.
    affine
        (n+1, n+1) matrix from voxel index ``(i_x, i_y, i_z, 1)`` to world, for the n dims in `sizes`.
    units
        Unit of the world.
    frame
        ``"RAS"`` or ``"LPS"`` for an anatomical world (coordinates are RAS+ then); None for any other.

    Raises
    ------
    GeometryError
        Where the matrix has the wrong shape, is not finite or not invertible.

    Examples
    --------
    >>> coords = coordinates_from_affine({"x": 2, "y": 3}, [[-2, 0, 10], [0, 1, 5], [0, 0, 1]], frame="RAS")
    >>> coords["x"].values, coords["x"].attrs["orientation"]
    (array([10.,  8.]), 'left-to-right')
    """
    dims = [dim for dim in SPATIAL_DIMS if dim in sizes]
    matrix = checked_affine(affine, dims)
    world = [SPATIAL_DIMS.index(dim) for dim in dims]
    if frame is not None:
        matrix[:-1] *= np.array(frame_signs(frame), dtype=np.float64)[world, None]
    part, shift = matrices.linear(matrix), matrices.offset(matrix)
    axes, signs = matrices.closest_axes(part)
    steps = matrices.voxel_sizes(matrix) * signs
    directions = part / steps
    ideal = np.zeros_like(part)
    ideal[axes, range(len(dims))] = 1.0
    straight = bool(np.abs(directions - ideal).max() <= _SAME_DIRECTION)
    if straight:
        directions, steps = ideal, part[axes, range(len(dims))]
    # what matrix products leave where there is nothing
    directions[np.abs(directions) < _NOTHING] = 0.0
    starts = np.linalg.solve(directions, shift)
    coords = {}
    for column, dim in enumerate(dims):
        vector = np.zeros(3)
        vector[world] = directions[:, column]
        value = None if frame is None else vector_value(world[axes[column]], 1)
        implied = unit_vector(dim) if value is None else direction_vector(value)
        direction = None if tuple(vector) == implied else cast(Vector, tuple(map(float, vector)))
        coords[dim] = coordinate(
            dim,
            sizes[dim],
            start=float(starts[column]),
            step=float(steps[column]),
            units=units,
            orientation=value,
            direction=direction,
        )
    return coords


def checked_affine(affine: npt.ArrayLike, dims: list[str] | tuple[str, ...]) -> npt.NDArray[np.float64]:
    """Copy of an affine for `dims`, or `GeometryError` where it cannot be one."""
    n = len(dims)
    try:
        matrix = np.array(affine, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise GeometryError(f"affine={affine!r} is no matrix of numbers") from error
    wanted = f"({n + 1}, {n + 1}) for the spatial dims {', '.join(dims)}"
    if matrix.shape != (n + 1, n + 1):
        raise GeometryError(
            f"affine has shape {matrix.shape}, expected {wanted}: from voxel index ({', '.join(dims)}, 1)"
        )
    if not np.isfinite(matrix).all():
        raise GeometryError(f"affine is not finite:\n{matrix}")
    if not np.array_equal(matrix[-1], np.eye(n + 1)[-1]):
        raise GeometryError(f"last row of affine is {matrix[-1].tolist()}, expected {np.eye(n + 1)[-1].tolist()}")
    sizes = matrices.voxel_sizes(matrix)
    if (sizes == 0).any() or abs(np.linalg.det(matrices.linear(matrix) / sizes)) < 1e-9:
        raise GeometryError(f"affine is singular: it maps different voxels to the same place\n{matrix}")
    return matrix


def block_coordinates(img: xr.DataArray, factors: Mapping[str, int]) -> dict[str, xr.Variable]:
    """Coordinates of the centres of blocks of voxels, as a coarser level of a pyramid has them.

    Parameters
    ----------
    img
        Image with regular coordinates along the dims in `factors`.
    factors
        Block length by dim. The last block may be partial; its centre stays on the regular grid.

    Examples
    --------
    >>> img = xr.DataArray(np.zeros(5), coords={"x": coordinate("x", 5, step=0.5)}, dims="x")
    >>> block_coordinates(img, {"x": 2})["x"].values
    array([0.25, 1.25, 2.25])
    """
    coords = {}
    for dim, factor in factors.items():
        along = axis(img, dim)
        values = coordinate(
            dim, -(-along.size // factor), start=along.start + (factor - 1) / 2 * along.step, step=along.step * factor
        )
        values.attrs = dict(img.coords[dim].attrs) | values.attrs
        coords[dim] = values
    return coords


def canonical_dims(dims: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
    """Dims in the order of the data model: t, c, any others, z, y, x.

    Examples
    --------
    >>> canonical_dims(("x", "y", "angle", "c"))
    ('c', 'angle', 'y', 'x')
    """
    others = [dim for dim in dims if dim not in DIM_ORDER]
    order = [*DIM_ORDER[:2], *others, *DIM_ORDER[2:]]
    return tuple(dim for dim in order if dim in dims)


def spatial_dims(img: xr.DataArray) -> tuple[str, ...]:
    """Spatial dimensions of the array (z, y, x, as far as it has them), in the array's order."""
    return tuple(str(dim) for dim in img.dims if dim in SPATIAL_DIMS)


def spatial_axes(img: xr.DataArray) -> tuple[str, ...]:
    """Spatial axes that place the image in the world, in x, y, z order: its spatial dims and scalar coordinates."""
    return tuple(dim for dim in SPATIAL_DIMS if dim in img.dims or (dim in img.coords and img.coords[dim].ndim == 0))


def axis(img: xr.DataArray, dim: str) -> Axis:
    """One axis of the image as a regular grid, derived from its coordinate.

    Raises
    ------
    GeometryError
        Where the dim has no coordinate, or one that is not numeric or not regular.

    Examples
    --------
    >>> img = xr.DataArray(np.zeros(5), coords={"x": coordinate("x", 5, step=0.5)}, dims="x")
    >>> axis(img.isel(x=slice(None, None, -2)), "x")
    Axis(dim='x', size=3, start=2.0, step=-1.0, units=None, orientation=None, direction=None)
    """
    if dim not in img.coords:
        raise GeometryError(
            f"dim {dim!r} has no coordinate, so its spacing is unknown. Give it one: "
            f"img.ngff.set_geometry(spacing={{{dim!r}: ...}})"
        )
    variable = img.coords[dim].variable
    if variable.dims not in ((dim,), ()) or variable.dtype.kind not in "iuf":
        raise GeometryError(
            f"coordinate {dim!r} has dims {variable.dims} and dtype {variable.dtype}, expected numbers along {dim!r}. "
            f"Replace it: img.ngff.set_geometry(spacing={{{dim!r}: ...}})"
        )
    values = np.atleast_1d(np.asarray(variable.values, dtype=np.float64))
    attrs = variable.attrs
    if len(values) == 0:
        raise GeometryError(f"dim {dim!r} is empty: no grid is left")
    if not matrices.is_regular(values):
        raise GeometryError(
            f"coordinate {dim!r} is not regular ({_shown(values)}), but a regular grid is needed here. Select with a "
            f"slice instead of a list, fill what a pad left empty, or set it anew: "
            f"img.ngff.set_geometry(spacing={{{dim!r}: ...}})"
        )
    direction = attrs.get("direction")
    return Axis(
        dim,
        len(values),
        float(values[0]),
        _step(values, attrs.get("spacing")),
        unit_name(attrs.get("units")),
        attrs.get("orientation"),
        None if direction is None else _checked_direction(dim, direction),
    )


def _checked_direction(dim: str, direction: Any) -> Vector:
    vector = np.asarray(direction, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise GeometryError(
            f"attribute 'direction' of coordinate {dim!r} is {direction!r}, expected a world vector (x, y, z)"
        )
    return float(vector[0]), float(vector[1]), float(vector[2])


def _step(values: npt.NDArray[np.float64], nominal: float | None) -> float:
    if len(values) == 1:
        return 1.0 if nominal is None else float(nominal)
    found = float((values[-1] - values[0]) / (len(values) - 1))
    if nominal is not None:
        # the exact decimal, where the values agree with it as well as floating point lets them
        slack = max(1e-9 * abs(nominal), 4 * np.spacing(np.abs(values).max()) / (len(values) - 1))
        if abs(abs(found) - abs(nominal)) <= slack:
            return float(np.copysign(nominal, found))
    return found


def _shown(values: npt.NDArray[np.float64]) -> str:
    head = ", ".join(f"{value:g}" for value in values[:4])
    return head if len(values) <= 4 else f"{head}, ..."


def unit_vector(dim: str) -> Vector:
    """World vector along which an axis of this name runs where nothing else is said."""
    x, y, z = (float(dim == name) for name in SPATIAL_DIMS)
    return x, y, z


def measured_dims(img: xr.DataArray) -> list[str]:
    """Dims with a spacing: the spatial ones, and t where it has a coordinate, in the array's order."""
    spatial = spatial_dims(img)
    return [str(dim) for dim in img.dims if dim in spatial or (dim == "t" and dim in img.coords)]


def spacing(img: xr.DataArray) -> dict[str, float]:
    """Distance between voxel centres by dim (spatial dims, and t where it has a coordinate), each in its own unit."""
    return {dim: abs(axis(img, dim).step) for dim in measured_dims(img)}


def origin(img: xr.DataArray) -> dict[str, float]:
    """Coordinate of the first voxel's centre by dim, each in its own unit."""
    return {dim: axis(img, dim).start for dim in measured_dims(img)}


def units(img: xr.DataArray) -> dict[str, str | None]:
    """Unit by dim; None where the coordinate has none."""
    return {
        dim: unit_name(img.coords[dim].attrs.get("units")) if dim in img.coords else None for dim in measured_dims(img)
    }
