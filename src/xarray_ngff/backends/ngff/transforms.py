"""Coordinate transformations of OME-Zarr as numbers: scale and translation, or a matrix over all axes.

Spec: "coordinateTransformations" metadata of OME-NGFF 0.4 and 0.5 (scale, translation, identity) and of 0.6 (RFC-5), of
which the linear types are read here. Everything is in the order of the array's axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff import affine as maps
from xarray_ngff.backends.ngff.validation import integer, object_at, shown, text, values, vector, warn
from xarray_ngff.errors import MetadataError

__all__ = ["ArrayReader", "listed", "matrix", "positive", "scale_and_translation", "unread_types"]

Matrix = npt.NDArray[np.float64]

# Reads a small array, by its path from the group, that holds the parameters of a transformation.
ArrayReader = Callable[[str], npt.ArrayLike]

_NOT_READ = ("displacements", "coordinates", "byDimension", "bijection", "projectAxis", "inverseOf")


def listed(raw: object, place: str) -> list[dict[str, Any]]:
    """The transformations at a place, which early drafts of 0.6 have without a list where there is only one."""
    entries = [raw] if isinstance(raw, dict) else values(raw, place, of="transformations")
    return [object_at(entry, f"{place}[{index}]") for index, entry in enumerate(entries)]


def scale_and_translation(
    raw: object, place: str, ndim: int, *, read_array: ArrayReader | None = None, scale_required: bool = True
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and translation of a list of transformations of version 0.4 or 0.5.

    Transformations apply in their order, so a translation before the scale is scaled too, with a warning.

    Parameters
    ----------
    raw
        The value of "coordinateTransformations".
    place
        Where it is, for messages.
    ndim
        Number of axes.
    read_array
        Reads parameters that are stored as an array; without it they are refused.
    scale_required
        Whether the lack of a scale is an error, as for a dataset, or a warning.

    Raises
    ------
    MetadataError
        For no scale or two, a length that is not the number of axes, a scale that is not positive, another type.

    Examples
    --------
    >>> steps = [{"type": "scale", "scale": [2, 0.5]}, {"type": "translation", "translation": [0, 3]}]
    >>> scale_and_translation(steps, "img.zarr: multiscales[0]", 2)
    ((2.0, 0.5), (0.0, 3.0))
    """
    scale, shift = np.ones(ndim), np.zeros(ndim)
    seen: list[str] = []
    for index, step in enumerate(listed(raw, place)):
        where = f"{place}[{index}]"
        kind = text(step.get("type"), f"{where}.type")
        if kind in seen:
            raise MetadataError(f"{place} has two transformations of type {kind!r}, expected one")
        seen.append(kind)
        if kind == "scale":
            factors = positive(_parameters(step, kind, where, ndim, read_array), f"{where}.scale")
            scale, shift = scale * factors, shift * factors
        elif kind == "translation":
            shift = shift + np.asarray(_parameters(step, kind, where, ndim, read_array))
        elif kind != "identity":
            raise MetadataError(f"{where}.type is {kind!r}, expected 'scale' or 'translation'")
    if "scale" not in seen:
        if scale_required and seen != ["identity"]:
            raise MetadataError(f"{place} has no transformation of type 'scale', expected one")
        warn(place, "has no transformation of type 'scale'; the scale was taken to be 1")
    elif "translation" in seen and seen.index("translation") < seen.index("scale"):
        warn(place, "has the translation before the scale; they were applied in that order, so it is scaled too")
    return tuple(scale.tolist()), tuple(shift.tolist())


def _parameters(
    step: dict[str, Any], key: str, place: str, ndim: int, read_array: ArrayReader | None
) -> tuple[float, ...]:
    if key not in step and "path" in step:
        return vector(_stored(step, place, read_array).tolist(), f"{place}.path", ndim)
    return vector(step.get(key), f"{place}.{key}", ndim)


def _stored(step: dict[str, Any], place: str, read_array: ArrayReader | None) -> Matrix:
    path = text(step.get("path"), f"{place}.path")
    if read_array is None:
        raise MetadataError(f"{place} keeps its parameters in the array {path!r}; give read_array to read it")
    return np.asarray(read_array(path), dtype=np.float64)


def positive(factors: Sequence[float], place: str) -> Matrix:
    """Factors of a scale, checked to be above zero."""
    for index, factor in enumerate(factors):
        if factor <= 0:
            raise MetadataError(f"{place}[{index}] is {factor:g}, expected a number above zero: the size of a pixel")
    return np.asarray(factors, dtype=np.float64)


def matrix(
    step: dict[str, Any],
    place: str,
    ndim: int,
    *,
    read_array: ArrayReader | None = None,
    axes: tuple[Sequence[str], Sequence[str]] | None = None,
) -> Matrix:
    """Homogeneous matrix, (ndim+1, ndim+1), of one transformation of version 0.6.

    Parameters
    ----------
    step
        The transformation: identity, scale, translation, affine, rotation, mapAxis, or a sequence of them.
    place
        Where it is, for messages.
    ndim
        Number of axes of its input, and of its output.
    read_array
        Reads parameters that are stored as an array; without it they are refused.
    axes
        Names of the axes of the input and of the output, for the mapAxis of early drafts, which maps names.

    Raises
    ------
    MetadataError
        For a type that is not linear or not known, and for parameters that do not fit.

    Examples
    --------
    >>> steps = [{"type": "scale", "scale": [2, 3]}, {"type": "mapAxis", "mapAxis": [1, 0]}]
    >>> matrix({"type": "sequence", "transformations": steps}, "img.zarr: multiscales[0]", 2)
    array([[0., 3., 0.],
           [2., 0., 0.],
           [0., 0., 1.]])
    """
    kind = text(step.get("type"), f"{place}.type")
    if kind == "identity":
        return np.eye(ndim + 1)
    if kind == "scale":
        factors = positive(_parameters(step, kind, place, ndim, read_array), f"{place}.scale")
        return maps.compose(np.diag(factors), np.zeros(ndim))
    if kind == "translation":
        return maps.compose(np.eye(ndim), _parameters(step, kind, place, ndim, read_array))
    if kind == "affine":
        rows = _rows(step, kind, place, (ndim, ndim + 1), read_array)
        return _invertible(maps.compose(rows[:, :-1], rows[:, -1]), place)
    if kind == "rotation":
        rows = _rows(step, kind, place, (ndim, ndim), read_array)
        if not np.allclose(rows @ rows.T, np.eye(ndim), atol=1e-3) or np.linalg.det(rows) < 0:
            warn(f"{place}.rotation", "is not a rotation matrix; it was applied as the matrix that it is")
        return _invertible(maps.compose(rows, np.zeros(ndim)), place)
    if kind == "mapAxis":
        return _permutation(step.get("mapAxis"), f"{place}.mapAxis", ndim, axes)
    if kind == "sequence":
        result = np.eye(ndim + 1)
        for index, inner in enumerate(listed(step.get("transformations"), f"{place}.transformations")):
            # only the ends of the sequence have named axes
            result = matrix(inner, f"{place}.transformations[{index}]", ndim, read_array=read_array, axes=axes) @ result
        return result
    if kind in _NOT_READ:
        raise MetadataError(
            f"{place}.type is {kind!r}, which is not read by this version of xarray-ngff: it reads identity, scale, "
            "translation, affine, rotation, mapAxis and sequences of them"
        )
    raise MetadataError(f"{place}.type is {kind!r}, which is no transformation of OME-Zarr 0.6")


def unread_types(step: dict[str, Any]) -> list[str]:
    """Types in a transformation that the specification has and this package does not read."""
    kind = step.get("type")
    inner = step.get("transformations")
    if kind == "sequence" and isinstance(inner, list):
        return [found for part in inner if isinstance(part, dict) for found in unread_types(part)]
    return [kind] if isinstance(kind, str) and kind in _NOT_READ else []


def _rows(step: dict[str, Any], key: str, place: str, shape: tuple[int, int], read_array: ArrayReader | None) -> Matrix:
    if key not in step and "path" in step:
        rows = _stored(step, place, read_array).tolist()
    else:
        rows = values(step.get(key), f"{place}.{key}", of="rows")
    if not isinstance(rows[0], list):
        # early drafts have the rows one after the other in a flat list
        flat = vector(rows, f"{place}.{key}", shape[0] * shape[1])
        return np.reshape(flat, shape)
    if len(rows) != shape[0]:
        raise MetadataError(f"{place}.{key} has {len(rows)} rows, expected {shape[0]}: one for each axis")
    return np.array([vector(row, f"{place}.{key}[{index}]", shape[1]) for index, row in enumerate(rows)])


def _invertible(result: Matrix, place: str) -> Matrix:
    sizes = maps.voxel_sizes(result)
    if not sizes.all() or abs(np.linalg.det(maps.linear(result) / sizes)) < 1e-9:
        raise MetadataError(f"{place} maps different points to the same place: its matrix has no inverse")
    return result


def _permutation(raw: object, place: str, ndim: int, axes: tuple[Sequence[str], Sequence[str]] | None) -> Matrix:
    if isinstance(raw, dict) and axes is not None:
        inputs, outputs = axes
        order = [list(inputs).index(raw[name]) if raw.get(name) in inputs else -1 for name in outputs]
    else:
        order = [integer(item, f"{place}[{index}]") for index, item in enumerate(values(raw, place, of="axes"))]
    if sorted(order) != list(range(ndim)):
        raise MetadataError(f"{place} is {shown(raw)}, expected each of the {ndim} axes of the input once")
    return maps.compose(np.eye(ndim)[order], np.zeros(ndim))
