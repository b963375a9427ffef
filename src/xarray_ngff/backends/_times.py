"""The instant that a time axis counts from, which some formats hold and coordinates alone do not say."""

from __future__ import annotations

import re
from datetime import datetime

import xarray as xr

from xarray_ngff.errors import GeometryError

__all__ = ["START_TIME", "parse_time", "start_time"]

#: Attribute of the coordinate t: ISO 8601 time at which t is 0.
START_TIME = "start_time"

# datetime reads at most six digits of a second
_MORE_DIGITS = re.compile(r"(\.\d{6})\d+")


def parse_time(text: str) -> datetime | None:
    """Instant that a text of a file names, in ISO 8601 or nearly so; None where it names none.

    Examples
    --------
    >>> parse_time("2021-03-04 05:06:07.891").isoformat()
    '2021-03-04T05:06:07.891000'
    >>> parse_time("yesterday") is None
    True
    """
    try:
        return datetime.fromisoformat(_MORE_DIGITS.sub(r"\1", text.strip()))
    except ValueError:
        return None


def start_time(img: xr.DataArray) -> datetime | None:
    """Instant at which the coordinate t is 0; None where the image does not say it.

    Raises
    ------
    GeometryError
        Where the attribute is no ISO 8601 time.
    """
    said = img.coords["t"].attrs.get(START_TIME) if "t" in img.coords else None
    if said is None:
        return None
    found = parse_time(said) if isinstance(said, str) else None
    if found is None:
        raise GeometryError(
            f"attribute {START_TIME!r} of coordinate 't' is {said!r}, expected an ISO 8601 time such as "
            "'2021-03-04T05:06:07'. Correct or delete it"
        )
    return found
