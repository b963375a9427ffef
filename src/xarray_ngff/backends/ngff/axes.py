"""Axes of an image as OME-Zarr describes them: name, type, unit, anatomical orientation.

Spec: "axes" metadata of OME-NGFF 0.3 (names only) to 0.6, and RFC-4 for the orientation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from xarray_ngff.backends.ngff.validation import object_at, shown, text, unique, values, warn
from xarray_ngff.errors import MetadataError
from xarray_ngff.orientation import ORIENTATIONS, direction_vector
from xarray_ngff.units import is_known, is_length, is_time, unit_name

__all__ = ["AxisMeta", "axes_by_ndim", "canonical_axes", "parse_axes"]

_TYPE_BY_NAME = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_ORDER = {"time": 0, "channel": 1, None: 1, "space": 2}

# Names of axes by the number of dims, for the versions that had none: tczyx is the rule, and what is left of it.
_BY_NDIM = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}


@dataclass(frozen=True)
class AxisMeta:
    """One axis of an image.

    Attributes
    ----------
    name
        ``t``, ``c``, ``z``, ``y``, ``x``, or another name for an axis of another type.
    type
        "space", "time", "channel", another text, or None.
    unit
        Canonical name where the unit is known, the file's own text where it is not, or None.
    orientation
        RFC-4 value: where increasing coordinates point.
    long_name
        A longer name, or the file's name of an axis that goes by a canonical one here.
    """

    name: str
    type: str | None
    unit: str | None = None
    orientation: str | None = None
    long_name: str | None = None


def axes_by_ndim(ndim: int, place: str) -> tuple[AxisMeta, ...]:
    """Axes of an array of versions 0.1 and 0.2, which are 5-D tczyx by definition; fewer dims by what is usual."""
    if ndim not in _BY_NDIM:
        raise MetadataError(f"{place} names no axes, and an array of {ndim} dims has no usual ones: 2 to 5 are known")
    if ndim < 5:
        warn(place, f"names no axes, and has {ndim} dims instead of 5; they were read as {', '.join(_BY_NDIM[ndim])}")
    return tuple(AxisMeta(name, _TYPE_BY_NAME[name]) for name in _BY_NDIM[ndim])


def parse_axes(raw: object, place: str, *, names_only: bool = False) -> tuple[AxisMeta, ...]:
    """Axes as the file has them, in the order of the array, each checked by itself; see `canonical_axes` for the rest.

    Parameters
    ----------
    raw
        The value of "axes".
    place
        Where it is, for messages.
    names_only
        Whether the version has plain names, as 0.3.
    """
    found = tuple(
        _axis(item, f"{place}[{index}]", names_only=names_only)
        for index, item in enumerate(values(raw, place, of="axes"))
    )
    unique((axis.name for axis in found), f"{place}: name")
    lines = Counter(tuple(map(abs, v)) for a in found if (v := direction_vector(a.orientation)) is not None)
    if any(count > 1 for count in lines.values()):
        warn(place, "has two axes whose orientation is along the same line; the orientations were ignored")
        return tuple(replace(axis, orientation=None) for axis in found)
    return found


def _axis(raw: object, place: str, *, names_only: bool) -> AxisMeta:
    if isinstance(raw, str):
        if not names_only:
            warn(place, f"is the plain name {raw!r}, as in version 0.3; type and unit are not known")
        name = _lower(text(raw, place), place)
        return AxisMeta(name, _TYPE_BY_NAME.get(name))
    if names_only:
        raise MetadataError(
            f"{place} is {shown(raw)}, but the version is 0.3 or older, where an axis is a plain name: set the version "
            "to the one that the metadata follows"
        )
    axis = object_at(raw, place)
    name = _lower(text(axis.get("name"), f"{place}.name"), f"{place}.name")
    kind = axis.get("type")
    if kind is None:
        kind = _TYPE_BY_NAME.get(name)
        if kind is not None:
            warn(place, f"has no type; {name!r} was taken to be {kind!r}")
    else:
        kind = text(kind, f"{place}.type").lower()
    long_name = axis.get("longName")
    return AxisMeta(
        name,
        kind,
        _unit(axis, kind, place),
        _orientation(axis, kind, place),
        long_name if isinstance(long_name, str) else None,
    )


def _lower(name: str, place: str) -> str:
    if name.lower() in _TYPE_BY_NAME and name not in _TYPE_BY_NAME:
        warn(place, f"is {name!r} in upper case; it was read as {name.lower()!r}")
        return name.lower()
    return name


def _unit(axis: dict[str, Any], kind: str | None, place: str) -> str | None:
    key = "unit"
    if "unit" not in axis and "units" in axis:
        key = "units"
        warn(place, "has 'units'; it was read as 'unit'")
    unit = axis.get(key)
    if unit is None or unit == "":
        return None
    if not isinstance(unit, str):
        warn(f"{place}.{key}", f"is {shown(unit)}, which is not a text; it was ignored")
        return None
    name = unit_name(unit)
    if name is None or kind not in ("space", "time"):
        return name
    if not is_known(name):
        warn(f"{place}.{key}", f"is {unit!r}, which is not a known unit; it was kept as it is")
    elif not (is_length(name) if kind == "space" else is_time(name)):
        warn(f"{place}.{key}", f"is {unit!r}, which is not a unit of an axis of type {kind!r}; it was kept as it is")
    elif name != unit:
        warn(f"{place}.{key}", f"is {unit!r}; it was read as {name!r}")
    return name


def _orientation(axis: dict[str, Any], kind: str | None, place: str) -> str | None:
    # the older key held the value alone, or the same object
    key = "orientation" if axis.get("orientation") is not None else "anatomicalOrientation"
    raw = axis.get(key)
    if raw is None:
        return None
    where = f"{place}.{key}"
    value = raw
    if isinstance(raw, dict):
        value = raw.get("value") if raw.get("type", "anatomical") == "anatomical" else None
    value = value.strip().lower() if isinstance(value, str) else None
    if value not in ORIENTATIONS:
        warn(where, f"is {shown(raw)}, which is not an anatomical orientation of RFC-4; it was ignored")
        return None
    if kind != "space":
        warn(where, f"is on an axis of type {kind!r}, where only a spatial axis can have one; it was ignored")
        return None
    return value


def canonical_axes(axes: Sequence[AxisMeta], place: str) -> tuple[AxisMeta, ...]:
    """The same axes with spatial ones named z, y, x, the time axis t and the channel axis c, checked as a set.

    Raises
    ------
    MetadataError
        Where there are not 2 to 5 axes with 2 or 3 spatial ones.
    """
    if not 2 <= len(axes) <= 5:
        raise MetadataError(f"{place} has {len(axes)} axes, expected 2 to 5")
    spatial = [axis for axis in axes if axis.type == "space"]
    if not 2 <= len(spatial) <= 3:
        kinds = ", ".join(f"{axis.name}: {axis.type}" for axis in axes)
        raise MetadataError(f"{place} has {len(spatial)} axes of type 'space', expected 2 or 3; it has {kinds}")
    order = [_ORDER.get(axis.type, 1) for axis in axes]
    if order != sorted(order):
        warn(place, f"is in the order {', '.join(a.name for a in axes)}, expected time, then channel, then space")
    names = {axis.name: axis.name for axis in axes}
    # what has no name of its own takes those left over, in the order z, y, x
    unnamed = [axis.name for axis in spatial if axis.name not in ("z", "y", "x")]
    free = [name for name in ("x", "y", "z") if name not in names][: len(unnamed)]
    names.update(zip(unnamed, reversed(free), strict=False))
    for kind, name in (("time", "t"), ("channel", "c")):
        candidates = [axis.name for axis in axes if axis.type == kind]
        if len(candidates) == 1 and name not in names:
            names[candidates[0]] = name
    renamed = {old: new for old, new in names.items() if old != new}
    if renamed:
        warn(place, f"has axes that were renamed: {', '.join(f'{old} to {new}' for old, new in renamed.items())}")
    return tuple(
        replace(axis, name=names[axis.name], long_name=axis.long_name or axis.name) if axis.name in renamed else axis
        for axis in axes
    )
