"""How channels are shown: names, colours and windows of ``DataSetInfo/Channel c``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xarray_ngff.backends.imaris.attributes import text_at
from xarray_ngff.backends.imaris.files import group_at
from xarray_ngff.channels import Channel
from xarray_ngff.errors import MetadataError

if TYPE_CHECKING:
    import h5py

__all__ = ["read_channels"]

# What Imaris's own writer writes where it is given no name.
_NO_NAME = ("", "(name not specified)")


def read_channels(file: h5py.File, path: str, count: int, notes: list[str]) -> list[Channel]:
    """Channels as far as the file says them well; what is wrong is added to `notes`."""
    info = group_at(file, "DataSetInfo", path)
    groups = [None if info is None else group_at(info, f"Channel {index}", path) for index in range(count)]
    if info is not None and (missing := [str(index) for index, group in enumerate(groups) if group is None]):
        notes.append(f"there is no DataSetInfo/Channel {', '.join(missing)}, so these have no name and colour")
    return [
        Channel() if group is None else _channel(group, f"DataSetInfo/Channel {index}", path, notes)
        for index, group in enumerate(groups)
    ]


def _channel(group: h5py.Group, place: str, path: str, notes: list[str]) -> Channel:
    texts: dict[str, str] = {}
    for name in ("Name", "ColorMode", "Color", "ColorTable", "ColorRange"):
        try:
            text = text_at(group, name, path)
        except MetadataError as error:
            notes.append(f"{error}; it was left out")
        else:
            if text is not None:
                texts[name] = text
    name = texts.get("Name", "")
    window = texts.get("ColorRange")
    return Channel(
        name=None if name.strip() in _NO_NAME else name,
        color=_color(texts, place, notes),
        window=None if window is None else _window(window, place, notes),
    )


def _color(texts: dict[str, str], place: str, notes: list[str]) -> str | None:
    """Six hex digits of the base colour, or of the brightest entry of the colour table (the last one of several)."""
    key = "ColorTable" if texts.get("ColorMode") == "TableColor" and "ColorTable" in texts else "Color"
    if key not in texts:
        return None
    numbers = _numbers(texts[key])
    if len(numbers) < 3 or (key == "Color" and len(numbers) > 4) or (key == "ColorTable" and len(numbers) % 3):
        numbers = [math.nan] * 3
    if key == "Color":
        numbers = numbers[:3]
    if not all(0 <= part <= 1 for part in numbers):
        notes.append(
            f"{key} of {place} is {_shown(texts[key])}, expected red, green and blue from 0 to 1; it was left out"
        )
        return None
    entries = [numbers[start : start + 3] for start in range(0, len(numbers), 3)]
    brightest = max(reversed(entries), key=sum)
    return "".join(f"{round(255 * part):02X}" for part in brightest)


def _window(text: str, place: str, notes: list[str]) -> tuple[float, float] | None:
    numbers = _numbers(text)
    if len(numbers) != 2 or not all(map(math.isfinite, numbers)) or numbers[0] > numbers[1]:
        notes.append(f"ColorRange of {place} is {_shown(text)}, expected two numbers that ascend; it was left out")
        return None
    return numbers[0], numbers[1]


def _numbers(text: str) -> list[float]:
    """Numbers of a text, or none where one of its words is no number."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return []


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:30]} ... {text[-20:]}")
