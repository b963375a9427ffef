"""What Imaris keeps beside the voxels: the attributes of ``DataSetInfo`` and of the root of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from xarray_ngff import geometry
from xarray_ngff.backends.imaris.attributes import encoded
from xarray_ngff.backends.imaris.chunk_layout import Shape
from xarray_ngff.backends.imaris.decimals import decimal
from xarray_ngff.backends.imaris.extents_written import Box
from xarray_ngff.backends.imaris.times import CREATOR
from xarray_ngff.channels import Channel
from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    import h5py

__all__ = [
    "Sections",
    "channel_colors",
    "color_range_text",
    "dataset_info",
    "write_root",
    "write_sections",
    "write_text",
]

#: Text by name of the attribute, by name of the group below ``DataSetInfo``.
Sections = dict[str, dict[str, str]]

_ROOT = {
    "ImarisDataSet": "ImarisDataSet",
    "ImarisVersion": "5.5.0",
    "DataSetInfoDirectoryName": "DataSetInfo",
    "ThumbnailDirectoryName": "Thumbnail",
    "DataSetDirectoryName": "DataSet",
}
# Colours of channels that have none: white for a single one, else these in turn.
_WHITE = "FFFFFF"
_COLORS = ("0000FF", "00FF00", "FF0000", "FFFFFF", "FF00FF", "00FFFF", "FFFF00")
# HDF5 keeps attributes in headers of 64 KiB.
_LONGEST = 60_000
_PLACES = 3
_BORDER_PLACES = 9


def channel_colors(channels: Sequence[Channel]) -> list[tuple[float, float, float]]:
    """Red, green and blue of each channel, from 0 to 1.

    Examples
    --------
    >>> channel_colors([Channel(), Channel(color="FF8000")])
    [(0.0, 0.0, 1.0), (1.0, 0.5019607843137255, 0.0)]
    """
    defaults = (_WHITE,) if len(channels) == 1 else _COLORS
    colors = []
    for index, channel in enumerate(channels):
        red, green, blue = bytes.fromhex(channel.color or defaults[index % len(defaults)])
        colors.append((red / 255, green / 255, blue / 255))
    return colors


def dataset_info(
    name: str, size: Shape, box: Box, times: Sequence[str], channels: Sequence[Channel], *, place: str
) -> Sections:
    """Everything that is known of an image before its values are.

    Parameters
    ----------
    name
        Of the image.
    size
        Voxels along z, y, x.
    box, times
        As `box_of` and `time_texts` have them.
    channels
        At least one.
    place
        The file that is written, for messages.

    Raises
    ------
    FormatError
        Where a name is too long for HDF5, or has a character that ends it.
    """
    described = "(description not specified)"
    image = {
        "Name": name,
        "Description": described,
        "RecordingDate": times[0],
        **{dim.upper(): str(length) for dim, length in zip("zyx", size, strict=True)},
        **{
            f"{end}{index}": decimal(box.borders[dim][side], _BORDER_PLACES)
            for index, dim in enumerate(geometry.SPATIAL_DIMS)
            for side, end in enumerate(("ExtMin", "ExtMax"))
        },
        **{f"ResampleDimension{dim}": "true" for dim in "XYZ"},
    }
    if box.unit is not None:
        image["Unit"] = box.unit
    sections = {
        "ImarisDataSet": {"Creator": CREATOR, "NumberOfImages": "1", "Version": version("xarray-ngff")},
        "Image": image,
        "Log": {"Entries": "0"},
        "TimeInfo": {
            "DatasetTimePoints": str(len(times)),
            "FileTimePoints": str(len(times)),
            **{f"TimePoint{index}": text for index, text in enumerate(times, start=1)},
        },
    }
    for index, (channel, color) in enumerate(zip(channels, channel_colors(channels), strict=True)):
        if channel.name is not None and (len(channel.name.encode()) > _LONGEST or "\0" in channel.name):
            raise FormatError(
                f"{place}: the name of channel {index}, {channel.name[:40]!r}..., is longer than {_LONGEST} bytes or "
                "has a null character, which Imaris cannot hold. Shorten it: img.ngff.set_channels(names=...)"
            )
        sections[f"Channel {index}"] = {
            "Name": channel.name or "(name not specified)",
            "Description": described,
            "Color": " ".join(f"{part:.{_PLACES}f}" for part in color),
            "ColorMode": "BaseColor",
            "ColorOpacity": decimal(1, _PLACES),
            "GammaCorrection": decimal(1, _PLACES),
        }
    return sections


def color_range_text(limits: tuple[float, float]) -> str:
    """Display range as ``ColorRange`` has it."""
    return " ".join(decimal(value, _PLACES) for value in limits)


def write_root(file: h5py.File) -> None:
    """Write the attributes that make an HDF5 file one of Imaris."""
    for name, text in _ROOT.items():
        write_text(file, name, text)
    file.attrs.create("NumberOfDataSets", np.array([1], np.uint32))


def write_sections(file: h5py.File, sections: Mapping[str, Mapping[str, str]]) -> None:
    """Write the groups below ``DataSetInfo``."""
    for section, texts in sections.items():
        group = file.require_group(f"DataSetInfo/{section}")
        for name, text in texts.items():
            write_text(group, name, text)


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Write a text attribute as Imaris has it: an array of strings of one byte, of the type that C has."""
    from h5py import h5a, h5s, h5t

    value = encoded(text)
    attribute = h5a.create(group.id, name.encode(), h5t.C_S1, h5s.create_simple(value.shape))
    # as the same type, because HDF5 would make room for an end of string in each
    attribute.write(value, mtype=h5t.C_S1)
