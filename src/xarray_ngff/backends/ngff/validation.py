"""Checks of values read from JSON. Every message starts with the place, such as ``img.zarr: multiscales[0].axes``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterable
from typing import Any

from xarray_ngff.errors import MetadataError, NgffWarning

__all__ = ["integer", "number", "object_at", "shown", "text", "unique", "values", "vector", "warn"]


def warn(place: str, message: str) -> None:
    """Warn that something at `place` was read by a lenient rule."""
    warnings.warn(f"{place} {message}", NgffWarning, stacklevel=3)


def shown(value: object) -> str:
    """Text of a value for a message, cut where it is long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def object_at(value: object, place: str) -> dict[str, Any]:
    """The value as a JSON object."""
    if not isinstance(value, dict):
        raise MetadataError(f"{place} is {shown(value)}, expected an object")
    return value


def values(value: object, place: str, *, of: str, empty: bool = False) -> list[Any]:
    """The value as a list, not empty unless `empty`."""
    if not isinstance(value, list) or not (value or empty):
        raise MetadataError(f"{place} is {shown(value)}, expected a {'' if empty else 'non-empty '}list of {of}")
    return value


def text(value: object, place: str) -> str:
    """The value as text that is not empty."""
    if not isinstance(value, str) or not value:
        raise MetadataError(f"{place} is {shown(value)}, expected a text that is not empty")
    return value


def number(value: object, place: str) -> float:
    """The value as a finite float. JSON has no NaN, but writers do."""
    # bool is an int to Python
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise MetadataError(f"{place} is {shown(value)}, expected a finite number")
    return float(value)


def integer(value: object, place: str, *, minimum: int | None = None) -> int:
    """The value as an integer of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int) or (minimum is not None and value < minimum):
        bound = "" if minimum is None else f" of at least {minimum}"
        raise MetadataError(f"{place} is {shown(value)}, expected an integer{bound}")
    return value


def vector(value: object, place: str, length: int) -> tuple[float, ...]:
    """The value as finite floats, one for each of `length` axes."""
    if not isinstance(value, list):
        raise MetadataError(f"{place} is {shown(value)}, expected a list of {length} numbers, one for each axis")
    if len(value) != length:
        raise MetadataError(
            f"{place} is {shown(value)} with {len(value)} numbers, expected {length}: one for each axis, in their order"
        )
    return tuple(number(item, f"{place}[{index}]") for index, item in enumerate(value))


def unique(items: Iterable[Hashable], place: str) -> None:
    """Raise where an item occurs twice."""
    seen = set()
    for item in items:
        if item in seen:
            raise MetadataError(f"{place} has {item!r} twice, expected each only once")
        seen.add(item)
