"""Calibration as ImageJ writes it, which tifffile's own descriptions follow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_ngff.backends.ome_tiff.description import AxisGrid, Description
from xarray_ngff.backends.ome_tiff.resolution import pixel_sizes
from xarray_ngff.channels import Channel
from xarray_ngff.units import is_time, unit_name

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["imagej_description"]

_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
# Words for "not calibrated".
_UNCALIBRATED = {"", "pixel", "pixels", "-", "null"}


def imagej_description(
    metadata: Mapping[str, Any], page: TiffPage, axes: Mapping[str, int], planes: int
) -> Description:
    """What ImageJ says of an image.

    Parameters
    ----------
    metadata
        The lines of its description and what its own tag holds, as tifffile reads them.
    page
        First page, whose resolution tags are pixels in one unit.
    axes
        Length by axis letter of the series.
    planes
        Number of planes that labels count.
    """
    unit = _unit(metadata.get("unit"))
    found = {}
    sizes = pixel_sizes(page)
    for dim, step in sizes.items():
        own = _unit(metadata.get(f"{dim}unit")) or unit
        if own is not None or step != 1.0:
            found[dim] = AxisGrid(step, _start(metadata, dim, step), own)
    depth = _positive(metadata.get("spacing"), signed=True)
    depth_unit = _unit(metadata.get("zunit")) or unit
    if depth is None and depth_unit is not None and axes.get("Z", 1) > 1 and "ImageJ" in metadata:
        depth = 1.0  # ImageJ writes no spacing of 1
    if depth is not None:
        found["z"] = AxisGrid(depth, _start(metadata, "z", depth), depth_unit)
    interval = _positive(metadata.get("finterval"))
    if interval is not None:
        named = unit_name(str(metadata["tunit"])) if "tunit" in metadata else None
        found["t"] = AxisGrid(interval, 0.0, named if named is not None and is_time(named) else "second")
    return Description(found, _channels(metadata, axes, planes))


def _unit(text: object) -> str | None:
    r"""Canonical unit of a text with ImageJ's escapes, or None where it says that there is none.

    Examples
    --------
    >>> _unit(r"\u00B5m"), _unit("micron"), _unit("pixel")
    ('micrometer', 'micrometer', None)
    """
    if not isinstance(text, str):
        return None
    plain = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text).strip()
    return None if plain.lower() in _UNCALIBRATED else unit_name(plain)


def _positive(value: object, *, signed: bool = False) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        return None
    number = abs(float(value)) if signed else float(value)
    return number if number > 0 else None


def _start(metadata: Mapping[str, Any], dim: str, step: float) -> float:
    """Coordinate of the first voxel; ImageJ's origin is the voxel at coordinate 0."""
    origin = metadata.get(f"{dim}origin")
    if isinstance(origin, bool) or not isinstance(origin, (int, float)) or not np.isfinite(origin) or not origin:
        return 0.0
    return -float(origin) * step


def _channels(metadata: Mapping[str, Any], axes: Mapping[str, int], planes: int) -> tuple[Channel, ...]:
    count = axes.get("C", 1)
    names = _names(metadata.get("Labels"), axes, count, planes)
    windows = _windows(metadata, count)
    colors = _colors(metadata.get("LUTs"), count)
    return tuple(Channel(names[i], colors[i], windows[i]) for i in range(count))


def _names(labels: object, axes: Mapping[str, int], count: int, planes: int) -> Sequence[str | None]:
    """Names of channels, where all planes of a channel have the same label and channels have different ones."""
    nothing: list[str | None] = [None] * count
    if not isinstance(labels, (list, tuple)) or count < 2:
        return nothing
    texts = [str(label).strip() for label in labels]
    if len(texts) == planes and planes % count == 0:
        order = [axis for axis in axes if axis not in "YXS"]
        grid = np.array(texts, dtype=object).reshape([axes[axis] for axis in order])
        by_channel = np.moveaxis(grid, order.index("C"), 0).reshape(count, -1)
        if not (by_channel == by_channel[:, :1]).all():
            return nothing
        texts = [str(text) for text in by_channel[:, 0]]
    if len(texts) != count or len(set(texts)) != count or not all(texts):
        return nothing
    return texts


def _windows(metadata: Mapping[str, Any], count: int) -> Sequence[tuple[float, float] | None]:
    ranges = metadata.get("Ranges")
    if ranges is None and count == 1:
        ranges = (metadata.get("min"), metadata.get("max"))
    if not isinstance(ranges, (list, tuple)) or len(ranges) != 2 * count:
        return [None] * count
    return [_window(ranges[2 * i], ranges[2 * i + 1]) for i in range(count)]


def _window(low: object, high: object) -> tuple[float, float] | None:
    if not isinstance(low, (int, float)) or not isinstance(high, (int, float)) or not low < high:
        return None
    return float(low), float(high)


def _colors(tables: object, count: int) -> Sequence[str | None]:
    if not isinstance(tables, (list, tuple)) or len(tables) != count:
        return [None] * count
    return [_ramp_color(np.asarray(table)) for table in tables]


def _ramp_color(table: np.ndarray[Any, Any]) -> str | None:
    """Colour at the end of a table that runs straight to it from black, or None for any other table.

    Examples
    --------
    >>> ramp = np.arange(256, dtype=np.uint8)
    >>> _ramp_color(np.stack([ramp, 0 * ramp, ramp])), _ramp_color(np.stack([ramp[::-1]] * 3))
    ('FF00FF', None)
    """
    if table.shape != (3, 256) or not table[:, -1].any():
        return None
    straight = table[:, -1:].astype(np.float64) * np.arange(256) / 255
    if np.abs(table - straight).max() > 1:
        return None
    return "".join(f"{int(value):02X}" for value in table[:, -1])
