"""The instant at which t is 0."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._times import START_TIME, parse_time, start_time
from xarray_ngff.errors import GeometryError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-03-04T05:06:07.891", datetime(2021, 3, 4, 5, 6, 7, 891000)),
        ("2021-03-04 05:06:07", datetime(2021, 3, 4, 5, 6, 7)),
        (" 2021-03-04T05:06:07.8910004567 ", datetime(2021, 3, 4, 5, 6, 7, 891000)),
        ("2021-03-04T05:06:07Z", datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)),
        ("2021-13-04T05:06:07", None),
        ("", None),
    ],
)
def test_times_as_files_write_them(text, expected):
    assert parse_time(text) == expected


def image(**attrs):
    coord = geometry.coordinate("t", 3, step=2.0, units="second")
    coord.attrs |= attrs
    return xr.DataArray(np.zeros(3), dims="t", coords={"t": coord})


def test_the_start_survives_a_selection():
    said = image(**{START_TIME: "2021-03-04T05:06:07"})
    assert start_time(said[1:]) == start_time(said.isel(t=2)) == datetime(2021, 3, 4, 5, 6, 7)


def test_an_image_without_a_start():
    assert start_time(image()) is None
    assert start_time(xr.DataArray(np.zeros(3), dims="x")) is None


@pytest.mark.parametrize("said", ["soon", 5])
def test_a_start_that_is_no_time_is_an_error(said):
    with pytest.raises(GeometryError, match=r"start_time.*ISO 8601"):
        start_time(image(**{START_TIME: said}))
