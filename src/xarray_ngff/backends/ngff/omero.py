"""Channels as the transitional "omero" metadata describes them.

Spec: "omero" metadata of OME-NGFF 0.1 to 0.6. Channels must have a colour and a window there; many files have neither.
"""

from __future__ import annotations

import re
from typing import Any

from xarray_ngff.backends.ngff.validation import number, object_at, shown, warn
from xarray_ngff.errors import MetadataError

__all__ = ["parse_channels"]

_HEX = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")


def parse_channels(raw: object, place: str) -> tuple[dict[str, Any], ...]:
    """Channels of "omero", one dict each, with "label", "color" and "window" put right or left out.

    Parameters
    ----------
    raw
        The value of "omero"; None gives no channels.
    place
        Where it is, for messages.

    Returns
    -------
    tuple of dict
        The file's keys. "label" is text; "color" six hex digits in upper case; "window" has some of the pairs
        ("start", "end") and ("min", "max"), each in ascending order.

    Raises
    ------
    MetadataError
        Where a colour is not text, or a limit of a window not a number.

    Examples
    --------
    >>> channel = {"label": "DAPI", "color": "0000ff", "window": {"start": 0, "end": 900}}
    >>> parse_channels({"channels": [channel]}, "img.zarr: omero")
    ({'label': 'DAPI', 'color': '0000FF', 'window': {'start': 0.0, 'end': 900.0}},)
    """
    if raw is None:
        return ()
    listed = object_at(raw, place).get("channels")
    if not isinstance(listed, list):
        warn(f"{place}.channels", f"is {shown(listed)}, expected a list; the channels were ignored")
        return ()
    channels = tuple(_channel(entry, f"{place}.channels[{index}]") for index, entry in enumerate(listed))
    without = [str(index) for index, entry in enumerate(listed) if not entry.get("window")]
    if without:
        warn(f"{place}.channels", f"has no window for channel {', '.join(without)}")
    return channels


def _channel(raw: object, place: str) -> dict[str, Any]:
    channel = dict(object_at(raw, place))
    for key, parse in (("label", _label), ("color", _color), ("window", _window)):
        parsed = parse(channel.pop(key, None), f"{place}.{key}")
        if parsed is not None:
            channel[key] = parsed
    return channel


def _label(raw: object, place: str) -> str | None:
    if raw is None or isinstance(raw, str):
        return raw
    warn(place, f"is {shown(raw)}, expected a text; it was read as {str(raw)!r}")
    return str(raw)


def _color(raw: object, place: str) -> str | None:
    if raw is None:
        return None
    if not isinstance(raw, str):
        raise MetadataError(f'{place} is {shown(raw)}, expected six hex digits like "00FF00"')
    match = _HEX.fullmatch(raw.strip())
    if match is None:
        warn(place, f'is {raw!r}, expected six hex digits like "00FF00"; the colour was ignored')
        return None
    if len(raw) != 6:
        warn(place, f"is {raw!r}, expected six hex digits; it was read as {match[1].upper()!r}")
    return match[1].upper()


def _window(raw: object, place: str) -> dict[str, float] | None:
    if raw is None:
        return None
    window = object_at(raw, place)
    limits = {
        key: number(window[key], f"{place}.{key}")
        for key in ("start", "end", "min", "max")
        if window.get(key) is not None
    }
    for low, high in (("start", "end"), ("min", "max")):
        pair = [key for key in (low, high) if key in limits]
        if len(pair) == 1 or (pair and limits[low] > limits[high]):
            warn(place, f"is {shown(window)}, expected {low!r} up to {high!r}; these two were ignored")
            for key in pair:
                del limits[key]
    return limits or None
