"""Where the voxels are: the extents and the unit of ``DataSetInfo/Image``.

Extents lie on the borders of the first and last voxel, are stored once for all levels, and their index 0 is x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends.imaris.attributes import text_at
from xarray_ngff.backends.imaris.files import group_at
from xarray_ngff.errors import GeometryError, MetadataError
from xarray_ngff.units import is_length, unit_name

if TYPE_CHECKING:
    import h5py

__all__ = ["Extents", "read_extents", "spatial_coordinates"]


@dataclass(frozen=True)
class Extents:
    """Borders of the image by dim, for those that the file says well, and their unit.

    Attributes
    ----------
    borders
        (low, high) by dim.
    units
        Canonical name, the file's own text where that is not known, or None.
    """

    borders: Mapping[str, tuple[float, float]]
    units: str | None


def read_extents(file: h5py.File, path: str, notes: list[str]) -> Extents:
    """Extents of the image; what is wrong with them is added to `notes`."""
    info = group_at(file, "DataSetInfo", path)
    image = None if info is None else group_at(info, "Image", path)
    if image is None:
        notes.append("there is no DataSetInfo/Image: voxels were counted, without unit")
        return Extents({}, None)
    borders = {}
    for dim, index in zip(geometry.SPATIAL_DIMS, range(3), strict=True):
        texts = [_text(image, f"{end}{index}", path, notes) for end in ("ExtMin", "ExtMax")]
        low, high = map(_number, texts)
        if low < high and math.isfinite(high - low):
            borders[dim] = (low, high)
        else:
            notes.append(
                f"DataSetInfo/Image has ExtMin{index} {texts[0]!r} and ExtMax{index} {texts[1]!r}, expected numbers "
                f"that ascend: voxels along {dim} were counted, without unit"
            )
    return Extents(borders, _unit(_text(image, "Unit", path, notes), notes))


def spatial_coordinates(extents: Extents, sizes: Mapping[str, int], notes: list[str]) -> dict[str, xr.Variable]:
    """Coordinates of voxel centres along z, y and x at the level that has these sizes.

    Examples
    --------
    >>> extents = Extents({"x": (10.0, 14.0)}, "micrometer")
    >>> spatial_coordinates(extents, {"x": 8}, [])["x"].values[:2]
    array([10.25, 10.75])
    """
    coords = {}
    for dim, size in sizes.items():
        coords[dim] = geometry.coordinate(dim, size)
        if dim in extents.borders:
            low, high = extents.borders[dim]
            step = (high - low) / size
            try:
                coords[dim] = geometry.coordinate(dim, size, start=low + step / 2, step=step, units=extents.units)
            except GeometryError as error:
                notes.append(f"the extents {low} to {high} cannot be used ({error}): voxels were counted, without unit")
    return coords


def _text(image: h5py.Group, name: str, path: str, notes: list[str]) -> str | None:
    try:
        return text_at(image, name, path)
    except MetadataError as error:
        notes.append(str(error))
        return None


def _number(text: str | None) -> float:
    """The number that a text is, or NaN."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _unit(text: str | None, notes: list[str]) -> str | None:
    name = unit_name((text or "").strip() or None)
    if name is not None and not is_length(name):
        notes.append(f"Unit of DataSetInfo/Image is {text!r}, which is no length that is known; it was kept as it is")
    return name
