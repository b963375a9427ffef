"""OME-XML: spacing, positions, times and channels of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xarray_ngff.backends._times import parse_time
from xarray_ngff.backends.ome_tiff.description import AxisGrid, Description
from xarray_ngff.backends.ome_tiff.ome_model import WINDOW_NAMESPACE, OmeImage, child, children, number
from xarray_ngff.channels import Channel
from xarray_ngff.units import converted, is_length, is_time, unit_name

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["ome_description"]

Warn = Callable[[str], None]

# Unit of a number that names none: of the schema since 2015, and the only one before.
_LENGTH, _POSITION, _TIME = "micrometer", "reference frame", "second"

# Planes are on the grid of their spacing within this part of it: stages are read out to so many digits.
_OFF_GRID = 1e-2
_OFF_TIME = 1e-6


@dataclass(frozen=True)
class _Plane:
    """One Plane element."""

    z: int
    c: int
    t: int
    element: Element


def ome_description(image: OmeImage, root: Element, warn: Warn) -> Description:
    """What OME-XML says of an image.

    Parameters
    ----------
    image
        The image, in `root`.
    root
        Root of the document, which holds the annotations.
    warn
        Takes each thing that is not used, in words.

    Notes
    -----
    PhysicalSize is the distance between voxel centres; positions of planes are taken to be the centre of their first
    voxel. A unit ``"reference frame"`` says that a position is not known in units of length. Signed colours are RGBA.
    """
    planes = [plane for plane in map(_plane, children(image.pixels, "Plane")) if plane is not None]
    axes = {}
    for dim in ("z", "y", "x"):
        grid = _spatial_grid(image, dim, planes, warn)
        if grid is not None:
            axes[dim] = grid
    date = child(image.element, "AcquisitionDate")
    if date is None:  # before 2011
        date = child(image.element, "CreationDate")
    start = None if date is None or not date.text else parse_time(date.text)
    if date is not None and start is None:
        warn(f"AcquisitionDate {date.text!r} is no time")
    time, times = _time_grid(image, planes, warn)
    if time is not None:
        axes["t"] = time
    return Description(axes, _channels(image, root, warn), times, start)


def _plane(element: Element) -> _Plane | None:
    try:
        z, c, t = (int(element.get(f"The{axis}", "0")) for axis in "ZCT")
    except ValueError:
        return None
    return _Plane(z, c, t, element)


def _spatial_grid(image: OmeImage, dim: str, planes: Sequence[_Plane], warn: Warn) -> AxisGrid | None:
    key = f"PhysicalSize{dim.upper()}"
    text = image.pixels.get(key)
    step = number(text)
    if text is not None and (step is None or step <= 0):
        warn(f"{key} {text!r} is no positive number")
        step = None
    units = None if step is None else unit_name(image.pixels.get(f"{key}Unit", _LENGTH)) or None
    place = _place(dim, planes, step, units, warn)
    if step is None and place is None:
        return None
    start, sign = place or (0.0, 1)
    return AxisGrid(1.0 if step is None else sign * step, start, units)


def _place(
    dim: str, planes: Sequence[_Plane], step: float | None, units: str | None, warn: Warn
) -> tuple[float, int] | None:
    """Position of the first voxel, in the unit of the axis, where the planes agree on one that can be had in it.

    And the sign of the steps: a stack may be taken from the top down.
    """
    key = f"Position{dim.upper()}"
    found = [(plane.z, value) for plane in planes if (value := number(plane.element.get(key))) is not None]
    if not found:
        return None
    named = sorted({plane.element.get(f"{key}Unit", _POSITION) for plane in planes if key in plane.element.attrib})
    own = unit_name(named[0])
    values = np.array([value for _, value in found])
    if len(named) == 1 and own == units:
        pass
    elif len(named) == 1 and own and units and is_length(own) and is_length(units):
        values = converted(values, own, units)
    elif not values.any():
        return None
    else:
        warn(f"{key} is in {' and '.join(map(repr, named))}, which is not known in the unit of {dim}, {units!r}")
        return None
    slack = _OFF_GRID * (step or 1.0) if dim == "z" else 1e-9 * max(1.0, float(np.abs(values).max()))
    if np.ptp(values) <= (1e-9 * max(1.0, float(np.abs(values).max()))):
        return float(values[0]), 1
    if dim != "z" or step is None:
        return None
    numbers = np.array([z for z, _ in found])
    for sign in (1, -1):
        starts = values - sign * numbers * step
        first = float(starts[np.argmin(numbers)])
        if np.abs(starts - first).max() <= slack:
            return first, sign
    return None


def _time_grid(image: OmeImage, planes: Sequence[_Plane], warn: Warn) -> tuple[AxisGrid | None, tuple[float, ...]]:
    """Regular times, or seconds of each time point."""
    text = image.pixels.get("TimeIncrement")
    step = number(text)
    if text is not None and (step is None or step <= 0):
        if step != 0:  # what some writers put where they do not know
            warn(f"TimeIncrement {text!r} is no positive number")
        step = None
    units = unit_name(image.pixels.get("TimeIncrementUnit", _TIME)) or _TIME
    count = image.sizes["T"]
    deltas = _deltas(planes, _TIME if step is None or not is_time(units) else units, warn)
    complete = np.array([deltas[t] for t in range(count)]) if all(t in deltas for t in range(count)) else None
    if step is not None:
        start = 0.0
        if complete is not None:
            ideal = complete[0] + step * np.arange(count)
            if np.abs(complete - ideal).max() <= _OFF_TIME * max(step, float(np.abs(ideal).max())):
                start = float(complete[0])
        return AxisGrid(step, start, units), ()
    if complete is None or not (np.diff(complete) > 0).all():
        return None, ()
    return None, tuple(map(float, complete))


def _deltas(planes: Sequence[_Plane], units: str, warn: Warn) -> dict[int, float]:
    """Time of the first plane of each time point."""
    deltas: dict[int, float] = {}
    for plane in planes:
        value = number(plane.element.get("DeltaT"))
        if value is None or plane.z or plane.c:
            continue
        own = unit_name(plane.element.get("DeltaTUnit", _TIME)) or _TIME
        if not is_time(own):
            warn(f"DeltaT is in {own!r}, which is no time")
            return {}
        deltas[plane.t] = converted(value, own, units)
    return deltas


def _channels(image: OmeImage, root: Element, warn: Warn) -> tuple[Channel, ...]:
    windows = _windows(root, warn)
    channels = []
    for element in children(image.pixels, "Channel"):
        refs = [ref.get("ID") for ref in children(element, "AnnotationRef")]
        window, limits = next((windows[ref] for ref in refs if ref in windows), (None, None))
        channels.append(Channel(element.get("Name") or None, _color(element.get("Color"), warn), window, limits))
    return tuple(channels)


def _color(text: str | None, warn: Warn) -> str | None:
    """Hex digits of a signed 32-bit RGBA number.

    Examples
    --------
    >>> _color("-16776961", print), _color("16711935", print)
    ('FF0000', '00FF00')
    """
    if text is None:
        return None
    try:
        return f"{(int(text) & 0xFFFFFFFF) >> 8:06X}"
    except ValueError:
        warn(f"channel colour {text!r} is no whole number")
        return None


def _windows(
    root: Element, warn: Warn
) -> dict[str | None, tuple[tuple[float, float] | None, tuple[float, float] | None]]:
    """Display window and limits by the ID of the annotation that holds them."""
    windows = {}
    for group in children(root, "StructuredAnnotations"):
        for annotation in children(group, "MapAnnotation"):
            value = child(annotation, "Value")
            if annotation.get("Namespace") == WINDOW_NAMESPACE and value is not None:
                pairs = {entry.get("K"): number(entry.text) for entry in children(value, "M")}
                windows[annotation.get("ID")] = (_pair(pairs, "start", "end", warn), _pair(pairs, "min", "max", warn))
    return windows


def _pair(numbers: Mapping[str | None, float | None], low: str, high: str, warn: Warn) -> tuple[float, float] | None:
    first, last = numbers.get(low), numbers.get(high)
    if first is None or last is None:
        return None
    if first > last:
        warn(f"display window from {first:g} to {last:g} is empty")
        return None
    return first, last
