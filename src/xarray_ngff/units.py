"""Units of axes: the names that files use, their canonical spelling, and conversion.

The canonical names are those of the OME-NGFF axes metadata, which are UDUNITS-2's. Arithmetic is pint's; pint is
imported only when two units really differ or a length is given as text.
"""

from __future__ import annotations

import math
import re
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from xarray_ngff.errors import UnitError

if TYPE_CHECKING:
    import pint

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])

__all__ = ["conversion_factor", "converted", "is_known", "is_length", "is_time", "magnitude", "symbol", "unit_name"]

# Prefix and its symbol, as far as the OME-NGFF list of units goes.
_PREFIXES = {
    "yotta": "Y",
    "zetta": "Z",
    "exa": "E",
    "peta": "P",
    "tera": "T",
    "giga": "G",
    "mega": "M",
    "kilo": "k",
    "hecto": "h",
    "": "",
    "deci": "d",
    "centi": "c",
    "milli": "m",
    "micro": "µ",
    "nano": "n",
    "pico": "p",
    "femto": "f",
    "atto": "a",
    "zepto": "z",
    "yocto": "y",
}
_LENGTHS = {f"{prefix}meter": f"{sign}m" for prefix, sign in _PREFIXES.items()} | {
    "angstrom": "Å",
    "foot": "ft",
    "inch": "in",
    "mile": "mi",
    "parsec": "pc",
    "yard": "yd",
}
_TIMES = {f"{prefix}second": f"{sign}s" for prefix, sign in _PREFIXES.items()} | {
    "day": "d",
    "hour": "h",
    "minute": "min",
}
_SYMBOLS = _LENGTHS | _TIMES

# Spellings seen in files. Symbols are case-sensitive ("Mm" is not "mm"), words are not.
_ALIASES = {sign: name for name, sign in _SYMBOLS.items()} | {
    "um": "micrometer",
    "\u03bcm": "micrometer",
    "us": "microsecond",
    "\u03bcs": "microsecond",
}
_WORDS = {
    "micron": "micrometer",
    "ångström": "angstrom",
    "ångstrom": "angstrom",
    "feet": "foot",
    "inches": "inch",
    "sec": "second",
    "msec": "millisecond",
    "usec": "microsecond",
    "hr": "hour",
    "mins": "minute",
}
_QUANTITY = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*")


def unit_name(unit: str | None) -> str | None:
    """Canonical OME-NGFF name of a unit, or the text as it is where the unit is not known.

    Parameters
    ----------
    unit
        A name or symbol, in any of the spellings that files use, or None for no unit.

    Examples
    --------
    >>> unit_name("um"), unit_name("micron"), unit_name("Micrometres"), unit_name("seconds")
    ('micrometer', 'micrometer', 'micrometer', 'second')
    >>> unit_name("pixel"), unit_name(None)
    ('pixel', None)
    """
    if unit is None:
        return None
    text = unit.strip()
    if text in _SYMBOLS:
        return text
    if text in _ALIASES:
        return _ALIASES[text]
    word = text.lower().replace("metre", "meter")
    for candidate in (word, word.removesuffix("s")):
        if candidate in _SYMBOLS:
            return candidate
        if candidate in _WORDS:
            return _WORDS[candidate]
    return unit


def symbol(unit: str | None) -> str:
    """Short symbol of a unit for people to read.

    Examples
    --------
    >>> symbol("micrometer"), symbol("pixel"), symbol(None)
    ('µm', 'pixel', '')
    """
    return "" if unit is None else _SYMBOLS.get(unit, unit)


def is_known(unit: str) -> bool:
    """Whether a canonical name is on the OME-NGFF list of lengths and times."""
    return unit in _SYMBOLS


def is_length(unit: str) -> bool:
    """Whether a canonical name is a length of the OME-NGFF list."""
    return unit in _LENGTHS


def is_time(unit: str) -> bool:
    """Whether a canonical name is a time of the OME-NGFF list."""
    return unit in _TIMES


def _registry() -> pint.UnitRegistry[Any]:
    import pint

    registry: pint.UnitRegistry[Any] = pint.get_application_registry().get()
    return registry


def conversion_factor(source: str | None, target: str | None) -> float:
    """Number that turns a magnitude in `source` into one in `target`.

    An axis without a unit is taken to be in the unit of the others, so None on either side gives 1.

    Raises
    ------
    UnitError
        Where the two have different dimensions, or one is unknown and they are not the same word.

    Examples
    --------
    >>> conversion_factor("millimeter", "um")
    1000.0
    """
    source, target = unit_name(source), unit_name(target)
    if source is None or target is None or source == target:
        return 1.0
    import pint

    try:
        factor = float(_registry().Quantity(1.0, source).to(target).magnitude)
    except pint.DimensionalityError as error:
        raise UnitError(
            f"cannot convert {source!r} to {target!r}: they measure different things. Give units of the same dimension."
        ) from error
    except (pint.UndefinedUnitError, pint.OffsetUnitCalculusError, ValueError, TypeError) as error:
        raise UnitError(
            f"cannot convert {source!r} to {target!r}: at least one of them is not a unit that pint knows. "
            "Rename it with img.ngff.set_geometry(units=...)."
        ) from error
    # pint multiplies chains of powers of ten; 15 digits drop the noise of that, not information
    return float(f"{factor:.15g}")


def converted(values: Numbers, source: str | None, target: str | None) -> Numbers:
    """Numbers in `source` as numbers in `target`; see `conversion_factor`.

    Examples
    --------
    >>> converted(9.0, "nanometer", "micrometer")
    0.009
    """
    factor = conversion_factor(source, target)
    # dividing by a whole number is exact where multiplying by its inverse is not (9 nm is 0.009 µm)
    inverse = 1.0 / factor
    return values / round(inverse) if factor < 1 and abs(inverse - round(inverse)) < 1e-9 * inverse else values * factor


def magnitude(value: float | str | pint.Quantity[Any] | Any, unit: str | None) -> float:
    """Plain number, in `unit`, of a number, a text such as ``"10 um"``, a pint quantity, or an array of no axes.

    Parameters
    ----------
    value
        A bare number is taken to be in `unit` already. A DataArray is in the unit that its attributes name.
    unit
        Unit of the axis that the value is for, or None for an axis without one.

    Raises
    ------
    UnitError
        Where the text is not a number with a unit, the unit does not convert, or the axis has none to convert to.

    Examples
    --------
    >>> magnitude("10 um", "millimeter"), magnitude(3, "millimeter"), magnitude("1e3 nm", "um")
    (0.01, 3.0, 1.0)
    """
    number, own = _number_and_unit(value)
    if not math.isfinite(number):
        raise UnitError(f"{value!r} is not finite")
    if own is None:
        return number
    if unit is None:
        raise UnitError(
            f"{value!r} carries a unit but the axis has none to convert to: give a bare number, or name the unit of "
            "the axis with img.ngff.set_geometry(units=...)"
        )
    return converted(number, own, unit)


def _number_and_unit(value: Any) -> tuple[float, str | None]:
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        if match is None:
            raise UnitError(f'{value!r} is not a number with a unit: write it like "10 um" or "2.5 mm"')
        return float(match[1]), match[2] or None
    if isinstance(value, Real):
        return float(value), None
    if getattr(value, "ndim", 0) == 0:
        if hasattr(value, "magnitude") and hasattr(value, "units"):
            return float(value.magnitude), format(value.units, "D")
        if hasattr(value, "dtype") and value.dtype.kind in "iuf":
            return float(value), getattr(value, "attrs", {}).get("units")
    raise UnitError(f'{value!r} is neither a number, nor a text like "10 um", nor a pint quantity')
