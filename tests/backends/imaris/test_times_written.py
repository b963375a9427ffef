"""Times as text against datetime's own reading of it."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.imaris.times_written import time_texts
from xarray_ngff.errors import GeometryError, UnitError


def timed(values, units="second", **attrs):
    if units is not None:
        attrs["units"] = units
    coords = {} if values is None else {"t": xr.Variable("t", values, attrs)}
    return xr.DataArray(np.zeros(2 if values is None else len(values)), coords=coords, dims="t")


@given(
    start=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)),
    steps=st.lists(st.integers(1, 10**9), min_size=1, max_size=9),
)
def test_times_are_exact_to_the_millisecond(start, steps):
    start = start.replace(microsecond=start.microsecond // 1000 * 1000)
    milliseconds = [0, *np.cumsum(steps).tolist()]
    texts, notes = time_texts(timed(np.array(milliseconds) / 1000, start_time=start.isoformat()))
    assert [datetime.fromisoformat(text) for text in texts] == [
        start + timedelta(milliseconds=ms) for ms in milliseconds
    ]
    assert notes == []


@pytest.mark.parametrize(
    ("values", "units", "seconds"),
    [([0, 1500], "millisecond", 1.5), ([0, 2], "minute", 120), ([0, 1], "hour", 3600), ([0, 0.25], "second", 0.25)],
)
def test_units(values, units, seconds):
    texts, notes = time_texts(timed(values, units))
    assert [datetime.fromisoformat(text) for text in texts] == [
        datetime(2000, 1, 1),
        datetime(2000, 1, 1) + timedelta(seconds=seconds),
    ]
    assert texts[0] == "2000-01-01 00:00:00"
    assert notes == []


@pytest.mark.parametrize(
    ("img", "texts", "note"),
    [
        (timed(None), ["2000-01-01 00:00:00", "2000-01-01 00:00:01"], "no coordinate"),
        (timed([0.0, 1.0], None), ["2000-01-01 00:00:00", "2000-01-01 00:00:01"], "no unit"),
        (timed([5.0, 6.0]), ["2000-01-01 00:00:05", "2000-01-01 00:00:06"], "t starts at 5 s"),
        (timed([0.0, 0.0015]), ["2000-01-01 00:00:00", "2000-01-01 00:00:00.002"], "fractions of a millisecond"),
        (timed([0.0], start_time="2020-01-01T00:00:00.000600"), ["2020-01-01 00:00:00.001"], "fractions"),
        (timed([3.0]), ["2000-01-01 00:00:03"], "t starts at 3 s"),
        (timed([0.0, 4e-4]), ["2000-01-01 00:00:00"] * 2, "times less than a millisecond apart: some are the same"),
        (
            timed([5.0], start_time="2020-01-01T00:00:00+02:00"),
            ["2020-01-01 00:00:05"],
            "time zone of start_time (UTC+",
        ),
        (timed([0.0], start_time="2020-01-01T00:00:00Z"), ["2020-01-01 00:00:00"], "time zone of start_time (UTC)"),
    ],
    ids=["no coordinate", "no unit", "late", "fine", "fine start", "one late", "same", "zone", "Greenwich"],
)
def test_what_is_lost_is_said(img, texts, note):
    found, notes = time_texts(img)
    assert found == texts
    assert len(notes) == 1
    assert note in notes[0]


def test_one_time_point_of_which_nothing_is_known():
    assert time_texts(timed([0.0])) == ([""], [])
    assert time_texts(xr.DataArray(0)) == ([""], [])
    assert time_texts(timed([0.0, 7.0], start_time="2020-01-01").isel(t=1)) == (["2020-01-01 00:00:07"], [])


@pytest.mark.parametrize(
    ("img", "error", "message"),
    [
        (timed([0, 1], "micrometer"), UnitError, "'t' is in 'micrometer', which is no time"),
        (timed([0.0, np.nan]), GeometryError, "not finite"),
        (timed([0.0, 1.0, 1.0]), GeometryError, "does not ascend"),
        (timed([0.0, 1e13]), GeometryError, "years 1 to 9999"),
        (timed([0.0, 1e300]), GeometryError, "years 1 to 9999"),
        (timed([0.0, 1.0], start_time="yesterday"), GeometryError, "start_time"),
        (timed(np.array(["2020-01-01", "2020-01-02"], "M8[ns]"), None), GeometryError, "expected numbers"),
    ],
)
def test_errors(img, error, message):
    with pytest.raises(error, match=message):
        time_texts(img)
