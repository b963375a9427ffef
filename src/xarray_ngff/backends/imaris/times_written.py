"""The times of an image as Imaris keeps them: the date and time of day of each time point, in milliseconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff.backends._times import start_time
from xarray_ngff.backends.imaris.times import NO_DATE
from xarray_ngff.errors import GeometryError, UnitError
from xarray_ngff.units import conversion_factor, converted

__all__ = ["time_texts"]

# Milliseconds that float64 and the conversion of units add to whole ones.
_NOISE = 1e-6


def time_texts(img: xr.DataArray) -> tuple[list[str], list[str]]:
    """Text of each time point, and what these do not hold of the image.

    Time points are at the start time plus t. Without a start time, t counts from midnight of 1 January 2000; an image
    of one time point at t = 0, or without t, has no text then, as Imaris's own writer leaves empty what it is not told.

    Raises
    ------
    GeometryError
        Where t does not ascend, is not finite, or leaves the years 1 to 9999, or the start time is no time.
    UnitError
        Where the unit of t is no time.

    Examples
    --------
    >>> t = xr.Variable("t", [0, 12.5], {"units": "second", "start_time": "2021-03-04T05:06:07.891"})
    >>> time_texts(xr.DataArray([0, 0], coords={"t": t}, dims="t"))
    (['2021-03-04 05:06:07.891', '2021-03-04 05:06:20.391'], [])
    """
    count = img.sizes.get("t", 1)
    if "t" not in img.coords:
        if count == 1:
            return [""], []
        note = "that t has no coordinate: its time points are one second apart in the file"
        return [_text(NO_DATE + timedelta(seconds=index)) for index in range(count)], [note]
    start, seconds, notes = start_time(img), *_seconds(img.coords["t"])
    if start is None and count == 1 and seconds[0] == 0:
        return [""], notes
    if start is None and seconds[0] != 0:
        notes.append(
            f"that t starts at {seconds[0]:g} s: the file has dates, and readers count from the first. Give t the "
            "attribute start_time to keep it"
        )
    zero = start or NO_DATE
    milliseconds = seconds * 1e3 + zero.microsecond % 1000 / 1e3
    if start is not None and start.tzinfo is not None:
        notes.append(
            f"the time zone of start_time ({start.tzname()}): the file has the time of day there, without the zone"
        )
    rounded = np.rint(milliseconds)
    if (np.diff(rounded) <= 0).any():
        notes.append(
            "times less than a millisecond apart: some are the same in the file, so readers count the time points. "
            "Write OME-Zarr to keep them"
        )
    elif np.abs(milliseconds - rounded).max() > max(_NOISE, 1e-12 * np.abs(milliseconds).max()):
        notes.append("fractions of a millisecond of t")
    try:
        zero = zero.replace(microsecond=zero.microsecond // 1000 * 1000)
        return [_text(zero + timedelta(milliseconds=float(time))) for time in rounded], notes
    except OverflowError as error:
        raise GeometryError(
            f"coordinate 't' reaches from {seconds[0]:g} to {seconds[-1]:g} s after {start or NO_DATE}, which is "
            "beyond the years 1 to 9999. Set it anew, or its attribute start_time"
        ) from error


def _seconds(coord: xr.DataArray) -> tuple[npt.NDArray[np.float64], list[str]]:
    if coord.dtype.kind not in "iuf":
        raise GeometryError(f"coordinate 't' has dtype {coord.dtype}, expected numbers: seconds, or a unit in attrs")
    unit = coord.attrs.get("units")
    try:
        conversion_factor(unit, "second")
    except UnitError as error:
        raise UnitError(
            f"axis 't' is in {unit!r}, which is no time: name one with set_geometry(units={{'t': ...}})"
        ) from error
    seconds = converted(np.atleast_1d(coord.values).astype(np.float64), unit, "second")
    if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
        raise GeometryError(
            "coordinate 't' is not finite or does not ascend: sort it with img.sortby('t'), or set it anew"
        )
    notes = [] if unit is not None or len(seconds) == 1 else ["that t has no unit: it is in seconds in the file"]
    return seconds, notes


def _text(time: datetime) -> str:
    """A time of whole milliseconds, which are left out where they are zero."""
    return time.replace(tzinfo=None).isoformat(" ", "milliseconds" if time.microsecond else "seconds")
