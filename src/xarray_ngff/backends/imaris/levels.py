"""What an Imaris file holds: resolution levels, their time points and channels, and the datasets of voxels.

``DataSet/ResolutionLevel r/TimePoint t/Channel c/Data`` is padded to whole chunks; ``ImageSizeX``, ``Y`` and ``Z`` of
the channel's group are the true size at that level. Opening looks at the channels of the first time point of a level;
the others are checked against them when they are read, as there may be thousands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xarray_ngff.backends.imaris.attributes import text_at
from xarray_ngff.backends.imaris.files import check_filters, group_at, item_name, member
from xarray_ngff.errors import FormatError, LevelError, MetadataError

if TYPE_CHECKING:
    import h5py

__all__ = ["Level", "channel_dataset", "channel_name", "checked_level", "level_count", "level_group", "read_level"]

# Bytes that are read at once where there are no chunks.
_PIECE = 1 << 21
_LEVEL, _TIME, _CHANNEL = "ResolutionLevel", "TimePoint", "Channel"
_NUMBERED = {name: re.compile(rf"{name} (0|[1-9]\d*)") for name in (_LEVEL, _TIME, _CHANNEL)}


@dataclass(frozen=True)
class Level:
    """One resolution level.

    Attributes
    ----------
    index
        Its number, 0 for the finest.
    shape
        Lengths of t, c, z, y, x, without padding.
    dtype
        Type of the stored numbers.
    chunks
        Lengths along z, y, x of the chunks that HDF5 decodes at once; of some planes where it stores no chunks.
    """

    index: int
    shape: tuple[int, int, int, int, int]
    dtype: np.dtype[np.generic]
    chunks: tuple[int, int, int]


def level_count(file: h5py.File, path: str) -> int:
    """Number of resolution levels.

    Raises
    ------
    FormatError
        Where the file is HDF5 but no Imaris image.
    MetadataError
        Where a level before the last is missing.
    """
    images = group_at(file, "DataSet", path)
    count = 0 if images is None else _count(images, _LEVEL, path)
    if count == 0:
        found = ", ".join(map(repr, list(file)[:8])) or "nothing"
        raise FormatError(
            f"{path} is HDF5 but no Imaris 5.5 image: there is no 'DataSet/ResolutionLevel 0' in it, only {found}. "
            'Open netCDF-4 with engine="h5netcdf", anything else with h5py'
        )
    return count


def checked_level(file: h5py.File, path: str, level: object) -> int:
    """Index of the level that was asked for, if the file has it.

    Raises
    ------
    LevelError
        Where it has not; the message lists those that it has.
    """
    count = level_count(file, path)
    if isinstance(level, (int, np.integer)) and not isinstance(level, bool) and 0 <= level < count:
        return int(level)
    sizes = (read_level(file, path, index, []).shape[2:] for index in range(count))
    listed = ", ".join(f"{index} (z {z}, y {y}, x {x})" for index, (z, y, x) in enumerate(sizes))
    raise LevelError(f"level={level!r} is not in {path}, which has the levels {listed}")


def read_level(file: h5py.File, path: str, index: int, notes: list[str]) -> Level:
    """One level, from the channels of its first time point; what is amiss but does no harm is added to `notes`.

    Raises
    ------
    MetadataError
        Where a time point or channel is missing, channels differ, or a size cannot be that of what is stored.
    MissingExtraError
        Where the voxels are compressed in a way that needs hdf5plugin.
    """
    group = level_group(file, path, index)
    times = _count(group, _TIME, path)
    if index and times != (finest := _count(level_group(file, path, 0), _TIME, path)):
        raise MetadataError(
            f"{path}: {item_name(group)} has {times} time points, but {_LEVEL} 0 has {finest}. {_REPAIR}"
        )
    channels = _count(_group(group, f"{_TIME} 0", path), _CHANNEL, path)
    if not channels:
        raise MetadataError(f"{path}: there is no group {item_name(group)}/{_TIME} 0/{_CHANNEL} 0. {_REPAIR}")
    found = [_read_channel(file, path, index, channel, notes) for channel in range(channels)]
    size, dtype, chunks = found[0]
    for channel, (other, other_dtype, _) in enumerate(found):
        if (other, other_dtype) != (size, dtype):
            raise MetadataError(
                f"{path}: {channel_name(index, 0, channel)} has size (z, y, x) {other} of {other_dtype}, but "
                f"Channel 0 has {size} of {dtype}; the channels of an image must agree. {_REPAIR}"
            )
    return Level(index, (times, channels, *size), dtype, chunks)


def level_group(file: h5py.File, path: str, index: int) -> h5py.Group:
    """Group of a level, which must be there."""
    return _group(file, f"DataSet/{_LEVEL} {index}", path)


def channel_dataset(group: h5py.Group, path: str, level: Level, time: int, channel: int) -> h5py.Dataset:
    """The voxels of one channel at one time point of a level's group, if they are as those of the first.

    Raises
    ------
    MetadataError
        Where they are missing, of another type, or fewer than the size of the level.
    MissingExtraError
        Where they are compressed in a way that needs hdf5plugin.
    """
    dataset = _data(_group(group, f"{_TIME} {time}/{_CHANNEL} {channel}", path), path)
    stored = _shape(dataset)
    if dataset.dtype != level.dtype or any(a < b for a, b in zip(stored, level.shape[2:], strict=True)):
        raise MetadataError(
            f"{path}: {item_name(dataset)} has shape {dataset.shape} of {dataset.dtype}, expected at least "
            f"{level.shape[2:]} of {level.dtype}, as at the first time point. {_REPAIR}"
        )
    return dataset


_REPAIR = "Save the file anew with the software that wrote it, or read what it has with h5py"


def _read_channel(
    file: h5py.File, path: str, level: int, channel: int, notes: list[str]
) -> tuple[tuple[int, int, int], np.dtype[np.generic], tuple[int, int, int]]:
    """Size, type and chunks of a channel at the first time point."""
    group = _group(file, channel_name(level, 0, channel), path)
    dataset = _data(group, path)
    stored = _shape(dataset)
    size = tuple(_size(group, axis, length, path, notes) for axis, length in zip("ZYX", stored, strict=True))
    planes = max(1, _PIECE // (stored[1] * stored[2] * dataset.dtype.itemsize))
    whole = (min(planes, stored[0]), *stored[1:])
    chunks = whole if dataset.chunks is None else (*(1,) * (3 - dataset.ndim), *dataset.chunks)
    return (size[0], size[1], size[2]), dataset.dtype, (chunks[0], chunks[1], chunks[2])


def _size(group: h5py.Group, axis: str, stored: int, path: str, notes: list[str]) -> int:
    """Length of an axis without padding."""
    name = f"ImageSize{axis}"
    text = text_at(group, name, path)
    if text is None:
        if stored > 1:
            notes.append(
                f"{item_name(group)} has no {name}; all {stored} voxels that are stored were taken for the image"
            )
        return stored
    size = int(text) if text.strip().isdecimal() else 0
    if not 1 <= size <= stored:
        raise MetadataError(
            f"{path}: {name} of {item_name(group)} is {text!r}, expected 1 to {stored}, as many as are stored. "
            f"{_REPAIR}"
        )
    return size


def _shape(dataset: h5py.Dataset) -> tuple[int, int, int]:
    """Stored lengths of z, y, x."""
    stored = dataset.shape
    shape = (*(1,) * (3 - len(stored)), *stored)
    return shape[0], shape[1], shape[2]


def _data(group: h5py.Group, path: str) -> h5py.Dataset:
    """Dataset of the voxels in the group of a channel, checked to be numbers along 2 or 3 axes within this file."""
    import h5py

    dataset = member(group, "Data", path)
    if not isinstance(dataset, h5py.Dataset):
        raise MetadataError(f"{path}: there is no dataset {item_name(group)}/Data. {_REPAIR}")
    try:
        dtype, shape = dataset.dtype, dataset.shape or ()  # None where there is no value at all
    except TypeError as error:  # a type that NumPy has not
        raise MetadataError(f"{path}: {item_name(dataset)} holds no numbers: {error}. {_REPAIR}") from error
    if dtype.kind not in "iuf" or len(shape) not in (2, 3) or 0 in shape:
        raise MetadataError(
            f"{path}: {item_name(dataset)} has shape {shape} of {dtype}, expected integers or floats "
            f"along z, y, x or y, x. {_REPAIR}"
        )
    created = dataset.id.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count():
        raise MetadataError(
            f"{path}: the voxels of {item_name(dataset)} are in other files, which are not read. Copy them into one "
            "file with h5repack"
        )
    check_filters(dataset, path)
    return dataset


def _group(parent: h5py.Group, name: str, path: str) -> h5py.Group:
    """A group below another, that must be there."""
    group = parent
    for part in name.split("/"):
        found = group_at(group, part, path)
        if found is None:
            raise MetadataError(f"{path}: there is no group {f'{group.name}/{part}'.lstrip('/')}. {_REPAIR}")
        group = found
    return group


def _count(group: h5py.Group, kind: str, path: str) -> int:
    """Number of members "<kind> 0", "<kind> 1", ..., which must have no gaps."""
    # h5py gives names that are not UTF-8 as bytes
    matches = (_NUMBERED[kind].fullmatch(name) for name in group if isinstance(name, str))
    numbers = sorted(int(match[1]) for match in matches if match)
    gap = next((index for index, number in enumerate(numbers) if index != number), None)
    if gap is not None:
        last = f"{kind} {numbers[-1]}"
        raise MetadataError(f"{path}: there is no group {item_name(group)}/{kind} {gap}, but {last}. {_REPAIR}")
    return len(numbers)


def channel_name(level: int, time: int, channel: int) -> str:
    """Path of the group of one channel at one time point of a level."""
    return f"DataSet/{_LEVEL} {level}/{_TIME} {time}/{_CHANNEL} {channel}"
