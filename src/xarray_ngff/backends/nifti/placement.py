"""Place and time of an image as header fields: sform, qform, voxel sizes, repetition time and their units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import affine as matrices
from xarray_ngff import geometry
from xarray_ngff.backends.nifti.fields import ENCODING_KEY
from xarray_ngff.backends.nifti.header import LARGEST_NUMBER, NiftiHeader
from xarray_ngff.backends.nifti.units import LENGTHS, TIMES, UNKNOWN, length_code, time_code
from xarray_ngff.errors import FormatError
from xarray_ngff.orientation import direction_vector
from xarray_ngff.units import conversion_factor, unit_name

__all__ = ["set_space", "set_time", "sform_to_qform", "world_affine"]

_MILLIMETER = 2
_SECOND = 8
_SCANNER, _ALIGNED = 1, 2

# Parts of a voxel by which a corner may move: a qform stands for an affine up to the first, and two forms that a header
# rounds to single precision are the same one up to the second.
_SAME_PLACE, _SAME_FORM = 1e-2, 1e-4


def world_affine(img: xr.DataArray) -> npt.NDArray[np.float64]:
    """(4, 4) matrix from ``(i_x, i_y, i_z, 1)`` to world; axes that the image lacks have spacing 1 at 0."""
    matrix = geometry.affine(img)
    columns = [geometry.SPATIAL_DIMS.index(dim) for dim in geometry.spatial_axes(img)]
    rows = [geometry.SPATIAL_DIMS.index(dim) for dim in geometry.world_extent(img)]
    full = np.zeros((4, 4))
    full[3, 3] = 1.0
    full[np.ix_(rows, columns)] = matrices.linear(matrix)
    full[rows, 3] = matrices.offset(matrix)
    missing = zip(sorted({0, 1, 2} - set(rows)), sorted({0, 1, 2} - set(columns)), strict=True)
    for row, column in missing:
        full[row, column] = 1.0
    return full


def sform_to_qform(header: NiftiHeader) -> list[list[float]] | None:
    """World-to-world matrix from where the sform puts a voxel to where the qform does, if these are two places.

    Selecting voxels changes both forms but not this relation, so it stays true.
    """
    fields = header.fields
    if not (fields["sform_code"] and fields["qform_code"]):
        return None
    sform = np.array(fields.get_sform(), dtype=np.float64)
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is left out below
            qform = np.array(fields.get_qform(), dtype=np.float64)
    except ValueError:
        return None  # no rotation; the sform decides anyway
    if not _is_invertible(qform) or _same_place(qform, sform, header.shape, _SAME_FORM):
        return None
    relation = qform @ matrices.invert(sform)
    relation[3] = (0, 0, 0, 1)
    return cast("list[list[float]]", relation.tolist())


def set_space(fields: Any, img: xr.DataArray, encoding: Mapping[str, Any]) -> None:
    """Write sform, qform, voxel sizes and their unit.

    The matrix is in millimetres, or in the unit that `encoding` names where the coordinates are still in it. Codes are
    those of `encoding`; else the sform is 1 (scanner) for an anatomical world and 2 (aligned) for any other, and the
    qform has the same code where it can hold the affine. A qform holds no shear: where the affine has one the qform's
    code is 0, and the sform takes over a code that only the qform had.

    Parameters
    ----------
    fields
        Header of nibabel, with the shape of the file set.
    """
    code, factor = _length_scale(geometry.world_unit(img), encoding)
    sform = world_affine(img)
    sform[:3] *= factor
    qform = _moved(sform, encoding, code)
    wanted = _codes(fields, img, encoding, sform)
    fields.set_sform(sform, 0)
    fields.set_qform(qform, 0)
    rigid = _same_place(fields.get_qform(), qform, fields.get_data_shape(), _SAME_PLACE)
    fields["sform_code"] = wanted[0] if wanted[0] or rigid else wanted[1]
    fields["qform_code"] = wanted[1] if rigid else UNKNOWN
    fields["xyzt_units"] = int(code + time_code(int(fields["xyzt_units"])))


def _length_scale(unit: str | None, encoding: Mapping[str, Any]) -> tuple[int, float]:
    """Unit code to write, and what turns lengths of the image into it."""
    name = unit_name(unit)
    if name is None:
        return UNKNOWN, 1.0
    stored = length_code(encoding["xyzt_units"]) if "xyzt_units" in encoding else _MILLIMETER
    if LENGTHS.get(stored, "millimeter") == name:
        return stored, 1.0
    return _MILLIMETER, conversion_factor(name, "millimeter")


def _moved(sform: npt.NDArray[np.float64], encoding: Mapping[str, Any], code: int) -> npt.NDArray[np.float64]:
    """Where the qform of `encoding` puts the voxels, if that is not where the sform does."""
    if "sform_to_qform" not in encoding:
        return sform
    relation = np.array(encoding["sform_to_qform"], dtype=np.float64)
    if relation.shape != (4, 4) or not _is_invertible(relation):
        raise FormatError(f'encoding["{ENCODING_KEY}"]["sform_to_qform"] is no invertible (4, 4) matrix. Delete it')
    # its offset is in the unit of the file that it was read from
    stored = LENGTHS.get(length_code(encoding.get("xyzt_units", UNKNOWN)), "millimeter")
    relation[:3, 3] *= conversion_factor(stored, LENGTHS.get(code, "millimeter"))
    moved: npt.NDArray[np.float64] = relation @ sform
    return moved


def _codes(
    fields: Any, img: xr.DataArray, encoding: Mapping[str, Any], sform: npt.NDArray[np.float64]
) -> tuple[int, int]:
    """Codes of sform and qform to write."""
    stored = encoding.get("sform_code", 0), encoding.get("qform_code", 0)
    if any(stored):
        return stored
    fields["pixdim"][1:4] = matrices.voxel_sizes(sform)
    if "sform_code" in encoding and _same_place(fields.get_base_affine(), sform, fields.get_data_shape(), _SAME_PLACE):
        return UNKNOWN, UNKNOWN
    axes = [geometry.axis(img, dim) for dim in geometry.spatial_axes(img)]
    anatomical = all(direction_vector(axis.orientation) is not None for axis in axes)
    code = _SCANNER if anatomical else _ALIGNED
    return code, code


def _is_invertible(affine: npt.NDArray[np.float64]) -> bool:
    usable = bool((np.abs(affine) < LARGEST_NUMBER).all()) and bool(matrices.voxel_sizes(affine).all())
    return usable and bool(np.linalg.det(affine) != 0)


def _same_place(one: npt.ArrayLike, other: npt.NDArray[np.float64], shape: tuple[int, ...], tolerance: float) -> bool:
    """Whether two affines put every corner voxel at one place, to a part of a voxel."""
    lengths = np.array((*shape, 1, 1)[:3])
    corners = matrices.corners(np.zeros(3), lengths - 1)
    moved = np.abs(matrices.apply(one, corners) - matrices.apply(other, corners)).max()
    return bool(moved <= tolerance * matrices.voxel_sizes(other).min())


def set_time(fields: Any, img: xr.DataArray, encoding: Mapping[str, Any]) -> None:
    """Write the repetition time, the time of the first volume, and their unit.

    Times are in seconds, or in the unit that `encoding` names. Frames without a time get the repetition time 0.

    Raises
    ------
    FormatError
        Where time runs backwards.
    GeometryError
        Where the times are not regular.
    """
    stored = time_code(encoding.get("xyzt_units", UNKNOWN))
    code, start, step = stored, encoding.get("toffset") or 0.0, 0.0 if "t" in img.dims else 1.0
    if "t" in img.coords:
        axis = geometry.axis(img, "t")
        if axis.step < 0:
            raise FormatError(
                f"t runs backwards (step {axis.step:g}), which NIfTI cannot say: sort it, img.sortby('t')"
            )
        code, factor = _time_scale(unit_name(axis.units), stored if "xyzt_units" in encoding else _SECOND)
        start = axis.start * factor
        step = axis.step * factor
    fields["pixdim"][4] = step
    fields["toffset"] = start
    fields["xyzt_units"] = int(code + length_code(int(fields["xyzt_units"])))


def _time_scale(unit: str | None, stored: int) -> tuple[int, float]:
    """Unit code to write, and what turns times of the image into it."""
    if unit is None:
        return UNKNOWN, 1.0
    known, factor = TIMES.get(stored, ("second", 1.0))
    if known == unit:
        return stored, 1.0 / factor
    spectral = {name: code for code, (name, _) in TIMES.items() if name != "second"}
    return (spectral[unit], 1.0) if unit in spectral else (_SECOND, conversion_factor(unit, "second"))
