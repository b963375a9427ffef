"""Images written as NIfTI files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._atomic import replacing_file, scratch_file
from xarray_ngff.backends._other_coordinates import warn_of_other_coordinates
from xarray_ngff.backends._times import start_time
from xarray_ngff.backends.nifti.fields import ENCODING_KEY, set_fields, stored_encoding, stored_extensions
from xarray_ngff.backends.nifti.files import file_names
from xarray_ngff.backends.nifti.header import COLOR_TYPES
from xarray_ngff.backends.nifti.layout import (
    COLOR_OUTER_DIMS,
    EXTENSION_CODE,
    OUTER_DIMS,
    Labels,
    labels_content,
    outer_dims,
)
from xarray_ngff.backends.nifti.placement import set_space, set_time
from xarray_ngff.backends.nifti.scaling import Scaling, scaling_from_header
from xarray_ngff.backends.nifti.streaming import compress_file, write_voxels
from xarray_ngff.channels import Channel, channels
from xarray_ngff.errors import FormatError, NgffWarning
from xarray_ngff.orientation import direction_vector

__all__ = ["write_nifti"]

# Type that each type of NumPy is stored as. NIfTI has no other (nifti1.h, DT_ codes).
_STORED = {
    "bool": "uint8",
    "float16": "float32",
    **{
        name: name
        for name in (
            *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
            *("float32", "float64", "complex64", "complex128"),
        )
    },
}
# dim[] of NIfTI-1 holds 16-bit integers.
_LARGEST_DIM = {1: 2**15 - 1, 2: 2**63 - 1}


@dataclass(frozen=True)
class _Plan:
    """All that is to be written, but the voxels.

    `dims` are the dims of the image in the order of the file, the fastest first; `dtype` is that of the stored numbers
    and `scaling` what they are multiplied by on reading.
    """

    header: bytes
    dims: tuple[str, ...]
    dtype: np.dtype[Any]
    scaling: Scaling | None

    def convert(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self.scaling is not None:
            return self.scaling.encode(values, self.dtype)
        return values.astype(self.dtype, copy=False)


def write_nifti(
    img: xr.DataArray, path: str | os.PathLike[str], *, overwrite: bool = False, version: int | None = None
) -> None:
    """Write an image as a NIfTI file, block by block.

    Voxels are stored in x, y, z order with the direction of each axis as it is, so nothing is flipped or resampled, and
    little-endian. An image that came from a NIfTI file carries its header in ``img.encoding["nifti"]``: codes, texts,
    intent, extensions, slope and intercept are written back, with the same stored integers.

    Parameters
    ----------
    img
        Dims any of x, y, z, t, c (and v, w for the last axes of a file that had them), in any order. A dask array is
        computed block by block, each chunk once; a lazily opened image is read in blocks of about 32 MiB.
    path
        Ends with .nii, .nii.gz, .hdr or .img (a pair). The file appears whole or not at all; of a pair the voxels
        appear first. A .nii.gz file needs room for its uncompressed self beside it while it is written.
    overwrite
        Whether existing files may be replaced.
    version
        1 or 2. By default the version of the file that the image came from, else 1, and 2 where an axis is longer than
        32767.

    Raises
    ------
    FormatError
        For a dim, type or value that NIfTI cannot hold, or another suffix.
    GeometryError
        Where the coordinates are not regular.
    UnitError
        Where a unit is no length, or that of t no time.
    TargetExistsError
        Where the target exists and `overwrite` is False.
    MissingFolderError
        Where the folder of the target does not exist.

    Notes
    -----
    bool is stored as uint8 and float16 as float32. Affines and times are single precision in NIfTI-1. c without t is
    the 5th axis of a file whose 4th has length 1; names, colours and windows of channels are in a header extension
    (a comment in JSON).

    Examples
    --------
    >>> import nibabel, tempfile
    >>> img = xr.DataArray(np.zeros((2, 3, 4), "int16"), dims=("z", "y", "x"))
    >>> coords = {dim: geometry.coordinate(dim, n, step=0.5, units="micrometer") for dim, n in img.sizes.items()}
    >>> img = img.assign_coords(coords)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nifti(img, f"{folder}/image.nii.gz")
    ...     nibabel.load(f"{folder}/image.nii.gz").header.get_zooms()
    (np.float32(0.0005), np.float32(0.0005), np.float32(0.0005))
    """
    names = file_names(path)
    plan = _planned(img, version=version, pair=names.is_pair)
    _warn_of_orientation(img, names.header)
    warn_of_other_coordinates(img, place=str(names.header), holder="NIfTI")
    if names.is_pair:
        with (
            replacing_file(names.header, overwrite=overwrite) as header,
            replacing_file(names.data, overwrite=overwrite) as data,
        ):
            header.write_bytes(plan.header)
            write_voxels(data, 0, img, plan.dims, plan.dtype, plan.convert)
        return
    with replacing_file(names.data, overwrite=overwrite) as target:
        if not names.compressed:
            _write_single(target, img, plan)
            return
        with scratch_file(names.data) as plain:
            _write_single(plain, img, plan)
            compress_file(plain, target)


def _warn_of_orientation(img: xr.DataArray, path: Path) -> None:
    """Say that an orientation is not written: the world of NIfTI is RAS+ or has no anatomy."""
    found = {dim: geometry.axis(img, dim).orientation for dim in geometry.spatial_axes(img)}
    if any(found.values()) and any(direction_vector(value) is None for value in found.values()):
        said = ", ".join(f"{dim} {value or 'none'}" for dim, value in found.items())
        warnings.warn(
            f"{path}: NIfTI cannot hold the orientation ({said}): only left/right, posterior/anterior and "
            "inferior/superior, and for all axes",
            NgffWarning,
            stacklevel=3,
        )


def _write_single(path: Path, img: xr.DataArray, plan: _Plan) -> None:
    path.write_bytes(plan.header)
    write_voxels(path, len(plan.header), img, plan.dims, plan.dtype, plan.convert)


def _planned(img: xr.DataArray, *, version: int | None, pair: bool) -> _Plan:
    encoding = stored_encoding(img)
    colors = _color_type(img, encoding)
    outer = _outer_axes(img, encoding, colors=colors is not None)
    shape = _file_shape(img, outer)
    dtype, stored_scaling = (np.dtype(np.uint8), None) if colors else _stored_type(img, encoding)

    fields = _new_fields(_version(shape, version, encoding), pair=pair)
    fields.set_data_shape(shape)
    fields.set_data_dtype(np.dtype([(part, "u1") for part in COLOR_TYPES[colors]]) if colors else dtype)
    set_fields(fields, img, encoding)
    set_space(fields, img, encoding)
    set_time(fields, img, encoding)
    scaling = _set_scaling(fields, encoding, stored_scaling, dtype)

    extensions = stored_extensions(encoding)
    started, described = start_time(img), _described_channels(img, colors=colors is not None)
    alone = {"t": "t" in img.coords, "c": bool(described)}
    labels = Labels(
        outer,
        described,
        None if started is None else started.isoformat(),
        tuple(dim for dim, said in alone.items() if said and dim not in img.dims),
    )
    plain = outer_dims(shape, intent=int(fields["intent_code"]), colors=colors is not None)
    if labels != Labels(plain):
        extensions.append((EXTENSION_CODE, labels_content(labels)))
    dims = [*(["c"] if colors else []), *geometry.SPATIAL_DIMS, *outer]
    return _Plan(
        _header_bytes(fields, extensions, pair=pair),
        tuple(dim for dim in dims if dim is not None and dim in img.dims),
        dtype.newbyteorder("<"),
        scaling,
    )


def _color_type(img: xr.DataArray, encoding: Mapping[str, Any]) -> str | None:
    """Colour type of the file that the image came from, if its voxels are still such colours."""
    parts = COLOR_TYPES.get(encoding.get("dtype", ""))
    if parts is None or img.dtype != np.uint8 or "c" not in img.dims or "c" not in img.coords:
        return None
    return encoding["dtype"] if tuple(map(str, img.coords["c"].values)) == parts else None


def _outer_axes(img: xr.DataArray, encoding: Mapping[str, Any], *, colors: bool) -> tuple[str | None, ...]:
    """Dim of the 4th and each later axis of the file; None for a place that an axis of length 1 fills."""
    places = COLOR_OUTER_DIMS if colors else OUTER_DIMS
    known = {*geometry.SPATIAL_DIMS, *places, *(["c"] if colors else [])}
    for dim in img.dims:
        if dim not in known:
            raise FormatError(
                f"dim {dim!r} has no place in a NIfTI file, which has {', '.join(geometry.SPATIAL_DIMS + places)}. "
                f"Select one of it (img.isel({dim}=0)) or rename it"
            )
        if img.sizes[dim] == 0:
            raise FormatError(f"dim {dim!r} is empty, and a NIfTI file has at least one voxel: select at least one")
    present = {dim for dim in places if dim in img.dims}
    # as in the file that the image came from, where it has the same axes
    before = tuple(encoding.get("outer", ()))
    if sorted(dim for dim in before if isinstance(dim, str)) == sorted(present) and len(before) <= len(places):
        return before
    last = max((places.index(dim) for dim in present), default=-1)
    return tuple(dim if dim in present else None for dim in places[: last + 1])


def _file_shape(img: xr.DataArray, outer: tuple[str | None, ...]) -> tuple[int, ...]:
    shape = [img.sizes.get(dim, 1) for dim in geometry.SPATIAL_DIMS]
    if outer:
        shape += [1 if dim is None else img.sizes[dim] for dim in outer]
    else:
        last = max(i for i, dim in enumerate(geometry.SPATIAL_DIMS) if dim in img.dims or i == 0)
        shape = shape[: last + 1]
    return tuple(shape)


def _stored_type(img: xr.DataArray, encoding: Mapping[str, Any]) -> tuple[np.dtype[Any], Scaling | None]:
    """Type of the stored numbers, and the scaling to take out of the values."""
    if encoding.get("scaled") and img.dtype.kind in "iuf":
        try:
            dtype = np.dtype(encoding.get("dtype", ""))
        except TypeError as error:
            raise FormatError(
                f'encoding["{ENCODING_KEY}"]["dtype"] is {encoding["dtype"]!r}, which is no type. Delete it'
            ) from error
        scaling = scaling_from_header(encoding.get("scl_slope"), encoding.get("scl_inter"), dtype)
        if scaling is not None:
            return dtype, scaling
    name = _STORED.get(img.dtype.name)
    if name is not None:
        return np.dtype(name), None
    from nibabel.nifti1 import data_type_codes

    if img.dtype.kind in "fc" and img.dtype in data_type_codes:  # float128 where NumPy has the IEEE type
        return img.dtype, None
    raise FormatError(
        f"NIfTI has no type for {img.dtype}, only for {', '.join(_STORED)}: convert, as with img.astype('float64')"
    )


def _set_scaling(
    fields: Any, encoding: Mapping[str, Any], scaling: Scaling | None, dtype: np.dtype[Any]
) -> Scaling | None:
    """Write slope and intercept; what comes back is the scaling as the header holds it, to take out of the values."""
    slope, intercept = 1.0, 0.0
    if scaling is not None:
        slope, intercept = scaling.slope, scaling.intercept
    elif not encoding.get("scaled") and encoding.get("scl_slope") is not None:
        slope, intercept = encoding["scl_slope"], encoding.get("scl_inter") or 0.0
    fields["scl_slope"], fields["scl_inter"] = slope, intercept
    if scaling is None:
        return None
    return scaling_from_header(float(fields["scl_slope"]), float(fields["scl_inter"]), dtype) or scaling


def _version(shape: tuple[int, ...], asked: int | None, encoding: Mapping[str, Any]) -> int:
    if asked not in (None, *_LARGEST_DIM):
        raise FormatError(f"version={asked!r}: NIfTI has the versions 1 and 2")
    longest = max(shape)
    if asked == 1 and longest > _LARGEST_DIM[1]:
        raise FormatError(
            f"an axis is {longest} long, and NIfTI-1 holds at most {_LARGEST_DIM[1]}: write version=2, or crop it"
        )
    if asked is not None:
        return asked
    return 2 if longest > _LARGEST_DIM[1] or encoding.get("version") == 2 else 1


def _new_fields(version: int, *, pair: bool) -> Any:
    import nibabel as nib
    from nibabel.nifti1 import Nifti1PairHeader
    from nibabel.nifti2 import Nifti2PairHeader

    single: Any = {1: nib.Nifti1Header, 2: nib.Nifti2Header}
    paired: Any = {1: Nifti1PairHeader, 2: Nifti2PairHeader}
    return (paired if pair else single)[version](endianness="<")


def _described_channels(img: xr.DataArray, *, colors: bool) -> tuple[Channel, ...]:
    """Channels, if the image has any that say something that the type of the file does not."""
    if colors:
        return ()
    described = channels(img)
    return described if any(channel != Channel() for channel in described) else ()


def _header_bytes(fields: Any, extensions: list[tuple[int, bytes]], *, pair: bool) -> bytes:
    """The header as it is in the file, up to the voxels."""
    parts = [b"\1\0\0\0" if extensions else bytes(4)]
    for code, content in extensions:
        padded = content + bytes(-(len(content) + 8) % 16)
        parts.append(np.array([len(padded) + 8, code], dtype="<i4").tobytes() + padded)
    after = b"".join(parts)
    fields["vox_offset"] = 0 if pair else len(fields.binaryblock) + len(after)
    return bytes(fields.binaryblock) + after
