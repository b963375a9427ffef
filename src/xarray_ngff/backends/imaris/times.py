"""When the time points were taken: ``DataSetInfo/TimeInfo``, where they are numbered from 1."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._times import START_TIME, parse_time
from xarray_ngff.backends.imaris.attributes import text_at
from xarray_ngff.backends.imaris.files import group_at
from xarray_ngff.errors import MetadataError

if TYPE_CHECKING:
    import h5py

__all__ = ["CREATOR", "NO_DATE", "counts_from_no_date", "read_times", "time_coordinate"]

#: What files of this package name as their creator.
CREATOR = "xarray-ngff"
#: The date of t = 0 in files of images that do not say it.
NO_DATE = datetime(2000, 1, 1)

# Imaris writes times in milliseconds, so steps that differ by less may be the same.
_RESOLUTION = 1e-3


def read_times(file: h5py.File, path: str, count: int, notes: list[str]) -> list[datetime] | None:
    """Times of the time points, ascending; None, and why in `notes`, where the file does not say them well."""
    info = group_at(file, "DataSetInfo", path)
    group = None if info is None else group_at(info, "TimeInfo", path)
    times: list[datetime] = []
    for index in range(count):
        name = f"TimePoint{index + 1}"
        try:
            text = None if group is None else text_at(group, name, path)
        except MetadataError as error:
            notes.append(f"{error}: time points were counted")
            return None
        time = parse_time(text or "")
        if time is None:
            # one time point needs no time
            if count > 1 or text:
                there = "there is no" if text is None else f"there is {text!r} for"
                notes.append(
                    f"{there} DataSetInfo/TimeInfo {name}, expected a time like '2021-03-04 05:06:07.891': time points "
                    "were counted"
                )
            return None
        if times and ((time.tzinfo is None) != (times[-1].tzinfo is None) or time <= times[-1]):
            notes.append(
                f"DataSetInfo/TimeInfo has {name} {text!r} after {times[-1]}, expected a later time: time points were "
                "counted"
            )
            return None
        times.append(time)
    return times


def counts_from_no_date(file: h5py.File, path: str, times: list[datetime] | None) -> bool:
    """Whether the date of the times only stands for the one that the image did not say when it was written."""
    info = group_at(file, "DataSetInfo", path)
    group = None if info is None else group_at(info, "ImarisDataSet", path)
    try:
        creator = None if group is None else text_at(group, "Creator", path)
    except MetadataError:
        return False
    return creator == CREATOR and times is not None and times[0].date() == NO_DATE.date()


def time_coordinate(times: list[datetime] | None, count: int, *, dated: bool = True) -> xr.Variable:
    """Coordinate of t in seconds since the first time point, or frames that are counted.

    Steps that are the same within a millisecond make a regular axis; others stay as the file has them. Without `dated`
    the date of the first is not told.

    Examples
    --------
    >>> first = datetime(2021, 3, 4)
    >>> time_coordinate([first, first.replace(second=2), first.replace(second=4)], 3).values
    array([0., 2., 4.])
    """
    if times is None:
        return geometry.coordinate("t", count)
    seconds = np.array([(time - times[0]).total_seconds() for time in times])
    if count == 1:
        coord = xr.Variable(("t",), seconds, {"units": "second"})
    else:
        step = seconds[-1] / (count - 1)
        coord = geometry.coordinate("t", count, step=step, units="second")
        if np.abs(coord.values - seconds).max() >= _RESOLUTION:
            coord = xr.Variable(("t",), seconds, {"units": "second"})
    if dated:
        coord.attrs[START_TIME] = times[0].isoformat()
    return coord
