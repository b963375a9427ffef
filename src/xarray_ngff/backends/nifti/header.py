"""The header of a NIfTI file: read, checked, and nothing else of the file touched."""

from __future__ import annotations

import gzip
import logging
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.nifti.files import FileNames, file_names
from xarray_ngff.errors import FormatError, MissingFileError, NgffWarning

__all__ = ["BEST_COMPRESSION", "COLOR_TYPES", "LARGEST_NUMBER", "NiftiHeader", "has_nifti_magic", "read_header"]

# NIfTI-1: 348 bytes, magic at 344. NIfTI-2: 540 bytes, magic at 4. (nifti1.h and nifti2.h of the NIfTI standard.)
_SIZES = {1: 348, 2: 540}
_MAGIC_AT = {1: 344, 2: 4}
_MAGIC = {1: (b"n+1", b"ni1"), 2: (b"n+2", b"ni2")}
_GZIP = b"\x1f\x8b"

#: Components of the types whose voxels are colours, by the name that the standard gives them.
COLOR_TYPES = {"RGB24": ("R", "G", "B"), "RGBA32": ("R", "G", "B", "A")}

# What nibabel reports from this level on cannot be repaired; below it, a repair of these fields moves voxels.
_FATAL = 40
_REPAIRS_THAT_MATTER = ("sform_code", "qform_code", "pixdim")
_SILENT = logging.Logger("nifti header", level=logging.CRITICAL + 1)

# Coordinates of an axis are made on opening: a longer one must have a file that can hold a line of voxels along it.
_LONG_AXIS = 2**15 - 1
#: A place or size beyond this is none in any unit, and its square may be infinite.
LARGEST_NUMBER = 1e30
#: Deflate cannot do better than about 1032 to 1.
BEST_COMPRESSION = 1100


@dataclass(frozen=True)
class NiftiHeader:
    """What opening a NIfTI file learns.

    Attributes
    ----------
    names
        The files.
    version
        1 or 2.
    fields
        The header as nibabel has it (``nibabel.Nifti1Header`` or a subclass).
    shape
        Lengths of the axes, the fastest first. Colours are not an axis here.
    dtype
        Type of a stored number, in the byte order of the file; uint8 for colours.
    color_type
        ``"RGB24"``, ``"RGBA32"`` or None.
    offset
        Where the voxels start in the data file, in bytes.
    affine
        (4, 4) matrix from voxel index to RAS+ world in the unit of the file: sform, else qform, else voxel sizes.
    extensions
        Code and content of each header extension, as stored.
    """

    names: FileNames
    version: int
    fields: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    color_type: str | None
    offset: int
    affine: npt.NDArray[np.float64]
    extensions: tuple[tuple[int, bytes], ...]

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Lengths of the axes of the stored numbers, the fastest first; the components of colours come first."""
        return (len(COLOR_TYPES[self.color_type]), *self.shape) if self.color_type else self.shape


def has_nifti_magic(path: str) -> bool:
    """Whether the header file that belongs to `path` exists and says that it is NIfTI."""
    try:
        with file_names(path).header.open("rb") as stream:
            return _version(stream.read(_SIZES[2])) is not None
    except OSError:
        return False


def read_header(path: object) -> NiftiHeader:
    """Header of the NIfTI image that a file belongs to.

    Parameters
    ----------
    path
        A ``.nii`` or ``.nii.gz`` file, or either file of a ``.hdr``/``.img`` pair.

    Raises
    ------
    FormatError
        Where the file is not NIfTI, or says something that cannot be true.
    MissingFileError
        Where the file or its partner does not exist.
    """
    names = file_names(path)
    for file, partner in ((names.header, names.data), (names.data, names.header)):
        if not file.is_file():
            other = f" ({partner.name} is one of a pair and needs it)" if names.is_pair and partner.is_file() else ""
            raise MissingFileError(f"{file} does not exist{other}")
    try:
        with _open_header(names) as stream:
            raw = _read_up_to(stream, _SIZES[2])
            version = _version(raw)
            if version is None:
                raise FormatError(_what_else(names, raw))
            fields = _fields(names, version, raw)
            offset = _data_offset(names, fields)
            stream.seek(_SIZES[version])
            end = names.header.stat().st_size if names.is_pair else offset
            extensions = tuple(_extensions(names.header, stream, end, fields.endianness))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{names.header}: the gzip stream ends or breaks in the header ({error})") from error
    color_type, dtype = _stored_type(fields)
    return NiftiHeader(
        names=names,
        version=version,
        fields=fields,
        shape=_shape(names, fields),
        dtype=dtype,
        color_type=color_type,
        offset=offset,
        affine=_affine(names, fields),
        extensions=extensions,
    )


def _open_header(names: FileNames) -> IO[bytes]:
    """The header file, decompressed. The name must tell the truth, as all readers go by it."""
    with names.header.open("rb") as stream:
        zipped = stream.read(2) == _GZIP
    if zipped and not names.compressed:
        raise FormatError(f"{names.header} is gzip-compressed, which its name does not say: rename it to .nii.gz")
    if names.compressed and not zipped:
        raise FormatError(f"{names.header} is not gzip-compressed as its name says: rename it to .nii if it is NIfTI")
    return cast("IO[bytes]", gzip.open(names.header, "rb") if zipped else names.header.open("rb"))


def _read_up_to(stream: IO[bytes], count: int, piece: int = 1 << 20) -> bytes:
    """At most `count` bytes, fetched in pieces so that a wrong count claims no memory."""
    parts = []
    while count > 0 and (part := stream.read(min(count, piece))):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _version(raw: bytes) -> int | None:
    for version, at in _MAGIC_AT.items():
        if len(raw) >= _SIZES[version] and raw[at : at + 3] in _MAGIC[version] and raw[at + 3] == 0:
            return version
    return None


def _what_else(names: FileNames, raw: bytes) -> str:
    if len(raw) < _SIZES[1]:
        return (
            f"{names.header} has {len(raw)} bytes, and a NIfTI header takes {_SIZES[1]}: it is truncated, or no NIfTI"
        )
    if _SIZES[1] in (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")):
        return (
            f"{names.header} is an Analyze 7.5 (or SPM) image: it has no NIfTI magic, and does not say which side is "
            "left. Convert it: nibabel.save(nibabel.Nifti1Image.from_image(nibabel.load(path)), 'image.nii.gz')"
        )
    return f"{names.header} is no NIfTI file: it has no magic ('n+1', 'ni1', 'n+2' or 'ni2')"


def _byte_order(names: FileNames, version: int, raw: bytes) -> str:
    for mark, order in (("<", "little"), (">", "big")):
        if int.from_bytes(raw[:4], order) == _SIZES[version]:  # type: ignore[arg-type]
            return mark
    found = int.from_bytes(raw[:4], "little")
    raise FormatError(f"{names.header}: sizeof_hdr is {found}, expected {_SIZES[version]}: the header is corrupt")


def _fields(names: FileNames, version: int, raw: bytes) -> Any:
    """The fixed header as nibabel has it, with the repairs that nibabel makes."""
    import nibabel as nib
    from nibabel.nifti1 import Nifti1PairHeader, data_type_codes
    from nibabel.nifti2 import Nifti2PairHeader

    kinds: dict[tuple[int, bool], Any] = {
        (1, False): nib.Nifti1Header,
        (1, True): Nifti1PairHeader,
        (2, False): nib.Nifti2Header,
        (2, True): Nifti2PairHeader,
    }
    kind = kinds[version, names.is_pair]
    fields = kind(raw[: _SIZES[version]], _byte_order(names, version, raw), check=False)
    code = int(fields["datatype"])
    dtype = np.dtype(cast(Any, data_type_codes.dtype[code])) if code in data_type_codes else np.dtype(np.void)
    if dtype.kind == "V" and dtype.names is None:
        raise FormatError(
            f"{names.header}: datatype is {code}, which is no NIfTI type that NumPy has on this machine. Convert the "
            "file with the software that wrote it"
        )
    if not (np.isfinite(fields["vox_offset"]) and fields["vox_offset"] >= 0):
        raise FormatError(
            f"{names.header}: vox_offset is {fields['vox_offset']}, expected the byte where the voxels start"
        )
    if not names.is_pair and fields["vox_offset"] < fields.single_vox_offset:
        # as the NIfTI C library reads it; nibabel would take the header for voxels
        _warn(names.header, f"vox_offset is {fields['vox_offset']:g}, read as {fields.single_vox_offset}")
        fields["vox_offset"] = fields.single_vox_offset
    before = {key: np.array(fields[key]) for key in _REPAIRS_THAT_MATTER}
    try:
        fields.check_fix(logger=_SILENT, error_level=_FATAL)
    except nib.spatialimages.HeaderDataError as error:
        raise FormatError(f"{names.header}: the header is not valid: {error}") from error
    for key, found in before.items():
        # the first entry of pixdim is a sign, and 0 is read as 1 by the standard
        old, new = (found[1:], fields[key][1:]) if found.ndim else (found, fields[key])
        if not np.array_equal(old, new, equal_nan=True):
            _warn(names.header, f"{key} is {old.tolist()}, which is not valid; read as {new.tolist()}")
    return fields


def _warn(path: Path, message: str) -> None:
    warnings.warn(f"{path}: {message}", NgffWarning, stacklevel=2)


def _shape(names: FileNames, fields: Any) -> tuple[int, ...]:
    import nibabel as nib

    dim = [int(entry) for entry in fields["dim"]]
    if not 1 <= dim[0] <= 7:
        raise FormatError(f"{names.header}: dim[0], the number of axes, is {dim[0]}, expected 1 to 7")
    try:
        shape = tuple(int(length) for length in fields.get_data_shape())
    except nib.spatialimages.HeaderDataError as error:
        raise FormatError(f"{names.header}: dim is {dim}: {error}") from error
    for axis, length in enumerate(shape, start=1):
        if length < 1:
            raise FormatError(f"{names.header}: dim[{axis}] is {length}, expected at least 1")
        if length > _LONG_AXIS and length > names.data.stat().st_size * (BEST_COMPRESSION if names.compressed else 1):
            raise FormatError(f"{names.header}: dim[{axis}] is {length}, more than the bytes of the file")
    return shape


def _stored_type(fields: Any) -> tuple[str | None, np.dtype[Any]]:
    dtype = np.dtype(fields.get_data_dtype())
    if dtype.names is None:
        return None, dtype
    return {parts: name for name, parts in COLOR_TYPES.items()}[dtype.names], np.dtype(np.uint8)


def _data_offset(names: FileNames, fields: Any) -> int:
    size, offset = names.data.stat().st_size, int(fields["vox_offset"])
    if not names.compressed and offset > size:
        raise FormatError(f"{names.data}: voxels start at byte {offset} (vox_offset), but the file has {size} bytes")
    return offset


def _extensions(path: Path, stream: IO[bytes], end: int, endianness: str) -> list[tuple[int, bytes]]:
    """Extensions between the fixed header and byte `end`; what is broken is left out with a warning."""
    found: list[tuple[int, bytes]] = []
    flag = stream.read(4)
    if len(flag) < 4 or flag[0] == 0:
        return found
    while (at := stream.tell()) + 16 <= end:
        head = _read_up_to(stream, 8)
        size, code = (int(number) for number in np.frombuffer(head.ljust(8, b"\0"), dtype=f"{endianness}i4"))
        content = _read_up_to(stream, size - 8) if 8 <= size <= end - at else b""
        if size < 8 or len(content) < size - 8:
            _warn(path, f"header extension {len(found)} says it has {size} bytes; it and any after it are left out")
            break
        found.append((code, content))
    return found


def _affine(names: FileNames, fields: Any) -> npt.NDArray[np.float64]:
    """Best affine, as nibabel chooses it, checked. A flat axis without a size gets one, as it moves no voxel."""
    import nibabel as nib

    kind = "sform" if fields["sform_code"] else "qform" if fields["qform_code"] else "pixdim"
    advice = "Repair it: img = nibabel.load(path); img.set_sform(affine, 1); nibabel.save(img, new_path)"
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is refused below
            affine = np.array(fields.get_best_affine(), dtype=np.float64)
    except (nib.spatialimages.HeaderDataError, ValueError) as error:
        raise FormatError(f"{names.header}: the {kind} makes no affine: {error}. {advice}") from error
    if not (np.abs(affine) < LARGEST_NUMBER).all():
        raise FormatError(f"{names.header}: the {kind} is not finite:\n{affine}\n{advice}")
    shape = (*_shape(names, fields), 1, 1)[:3]
    for axis in range(3):
        if shape[axis] == 1 and not affine[:3, axis].any():
            _warn(names.header, f"axis {axis + 1} is flat and its voxel size is 0; read as 1")
            affine[:3, axis] = _normal(np.delete(affine[:3, :3], axis, axis=1))
    lengths = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    if not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-9:
        raise FormatError(f"{names.header}: the {kind} is singular, so voxels have no places:\n{affine}\n{advice}")
    return affine


def _normal(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Unit vector across two others, along an axis where both are zero too."""
    left = np.linalg.svd(columns)[0]
    normal: npt.NDArray[np.float64] = left[:, -1]
    return normal * (np.sign(normal[np.argmax(np.abs(normal))]) or 1.0)
