"""Channels: their names, colours and display windows as coordinates along ``c``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xarray_ngff.errors import GeometryError

__all__ = ["COORDINATES", "Channel", "channel_coordinates", "channels", "set_channels", "with_channels"]

# Coordinate along c, and what it holds. Numbers are NaN where a channel has no value, text is empty.
_TEXT = {"c": "name", "channel_color": "color"}
_NUMBERS = {
    "window_min": ("limits", 0),
    "window_max": ("limits", 1),
    "window_start": ("window", 0),
    "window_end": ("window", 1),
}
#: Names of all coordinates that channels may have.
COORDINATES = (*_TEXT, *_NUMBERS)
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class Channel:
    """Name and display settings of one channel.

    Attributes
    ----------
    name
        Label, or None.
    color
        Six hex digits, upper case ("00FF00"), or None.
    window
        (start, end) of what is displayed, or None.
    limits
        (min, max) of the values that a display offers, or None.
    """

    name: str | None = None
    color: str | None = None
    window: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None


def channel_coordinates(given: Sequence[Channel | str | Mapping[str, Any]]) -> dict[str, xr.Variable]:
    """Coordinates along ``c`` for a sequence of channels.

    Only what at least one channel has becomes a coordinate.

    Parameters
    ----------
    given
        For each channel its name, a `Channel`, or a mapping with the keys of `Channel`.

    Raises
    ------
    GeometryError
        For an unknown key, a colour that is not six hex digits, or a window that is not (low, high).

    Examples
    --------
    >>> coords = channel_coordinates(["DAPI", {"name": "GFP", "color": "00ff00", "window": (0, 900)}])
    >>> coords["c"].values.tolist(), coords["channel_color"].values.tolist()
    (['DAPI', 'GFP'], ['', '00FF00'])
    """
    checked = [_checked(index, channel) for index, channel in enumerate(given)]
    coords = {}
    for name, field in _TEXT.items():
        texts = [getattr(channel, field) for channel in checked]
        if any(text is not None for text in texts):
            coords[name] = xr.Variable(("c",), np.array([text or "" for text in texts], dtype=np.str_))
    for name, (field, end) in _NUMBERS.items():
        pairs = [getattr(channel, field) for channel in checked]
        if any(pair is not None for pair in pairs):
            coords[name] = xr.Variable(("c",), np.array([np.nan if p is None else p[end] for p in pairs]))
    return coords


def _checked(index: int, channel: Channel | str | Mapping[str, Any]) -> Channel:
    place = f"channel {index}"
    if isinstance(channel, str):
        return Channel(name=channel)
    if isinstance(channel, Mapping):
        keys = sorted(map(str, channel))
        try:
            channel = Channel(**channel)
        except TypeError:
            raise GeometryError(f"{place} has keys {keys}, expected some of name, color, window, limits") from None
    if not isinstance(channel, Channel):
        raise GeometryError(f"{place} is {channel!r}, expected a name, a Channel or a mapping with its keys")
    color = channel.color
    if color is not None:
        match = _HEX.fullmatch(color) if isinstance(color, str) else None
        if match is None:
            raise GeometryError(f'{place}: color {color!r} is not six hex digits like "00FF00"')
        color = match[1].upper()
    return Channel(
        channel.name,
        color,
        _checked_pair(f"{place}: window", channel.window),
        _checked_pair(f"{place}: limits", channel.limits),
    )


def _checked_pair(place: str, pair: tuple[float, float] | None) -> tuple[float, float] | None:
    if pair is None:
        return None
    values = np.asarray(pair)
    if values.shape != (2,) or values.dtype.kind not in "biuf" or not -np.inf < values[0] <= values[1] < np.inf:
        raise GeometryError(f"{place} {pair!r} is not a pair of finite numbers (low, high)")
    return float(values[0]), float(values[1])


def channels(img: xr.DataArray) -> tuple[Channel, ...]:
    """Channels of an image, in the order of ``c``; one where a single channel was selected, none without channels.

    Raises
    ------
    GeometryError
        Where coordinates that were set by hand hold a colour that is not six hex digits, or a window that is not
        (low, high).
    """
    along = "c" in img.dims
    # xarray keeps a value that is the same for all channels as a scalar when it joins them
    found = {
        name: img.coords[name].values
        for name in COORDINATES
        if name in img.coords and img.coords[name].dims in ((), ("c",))
    }
    count = img.sizes["c"] if along else int(bool(found))
    present = {name: np.broadcast_to(values, (count,)) for name, values in found.items()}

    def text(name: str, index: int) -> str | None:
        return str(present[name][index]) or None if name in present else None

    def pair(low: str, high: str, index: int) -> tuple[float, float] | None:
        if low not in present or high not in present:
            return None
        values = float(present[low][index]), float(present[high][index])
        return None if np.isnan(values).any() else values

    found_channels = (
        Channel(
            text("c", i),
            text("channel_color", i),
            pair("window_start", "window_end", i),
            pair("window_min", "window_max", i),
        )
        for i in range(count)
    )
    return tuple(_checked(i, channel) for i, channel in enumerate(found_channels))


def set_channels(
    img: xr.DataArray,
    *,
    names: Sequence[str | None] | None = None,
    colors: Sequence[str | None] | None = None,
    windows: Sequence[tuple[float, float] | None] | None = None,
) -> xr.DataArray:
    """Image with other names, colours or display windows of its channels; what is not given stays.

    Parameters
    ----------
    names, colors, windows
        One entry for each channel; windows are (start, end).

    Raises
    ------
    GeometryError
        Where the image has no dim ``c`` or another number of channels.
    """
    if "c" not in img.dims:
        raise GeometryError(f"the image has dims {tuple(img.dims)} and no channel dim 'c' to describe")
    count = img.sizes["c"]
    for option, entries in (("names", names), ("colors", colors), ("windows", windows)):
        if entries is not None and (isinstance(entries, str) or len(entries) != count):
            raise GeometryError(f"{option}={entries!r} does not have one entry for each of the {count} channels")
    changed = [
        Channel(
            old.name if names is None else names[i],
            old.color if colors is None else colors[i],
            old.window if windows is None else windows[i],
            old.limits,
        )
        for i, old in enumerate(channels(img))
    ]
    return with_channels(img, changed)


def with_channels(img: xr.DataArray, given: Sequence[Channel | str | Mapping[str, Any]]) -> xr.DataArray:
    """Image with these channels instead of those that it has; `given` is what `channel_coordinates` takes."""
    stale = [name for name in COORDINATES if name in img.coords]
    return img.drop_vars(stale).assign_coords(channel_coordinates(given))
