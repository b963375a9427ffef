"""When time points were taken."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff import geometry
from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint
from xarray_ngff.backends.imaris.times import time_coordinate
from xarray_ngff.errors import NgffWarning

FIRST = datetime(2021, 3, 4, 5, 6, 7, 891000)


def texts(*seconds):
    return [(FIRST + timedelta(seconds=second)).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] for second in seconds]


@given(st.integers(2, 300), st.floats(0.002, 1e5))
def test_steps_that_milliseconds_round(count, step):
    """Times of a regular series, printed in milliseconds, make a regular axis again."""
    times = [FIRST + timedelta(milliseconds=round(1000 * step * i)) for i in range(count)]
    coord = time_coordinate(times, count)
    np.testing.assert_allclose(coord.values, step * np.arange(count), atol=1.1e-3, rtol=0)
    axis = geometry.axis(xr.DataArray(np.zeros(count), coords={"t": coord}, dims="t"), "t")
    assert axis.units == "second"
    assert axis.step == pytest.approx(step, abs=1e-3)


def test_regular(make_ims, noise, opened):
    image = opened(make_ims(noise((4, 1, 2, 3, 4)), times=texts(0, 12.5, 25, 37.5)))
    assert image.t.values.tolist() == [0.0, 12.5, 25.0, 37.5]
    assert image.t.attrs == {"units": "second", "spacing": 12.5, "start_time": "2021-03-04T05:06:07.891000"}


def test_irregular(make_ims, noise, opened):
    image = opened(make_ims(noise((3, 1, 2, 3, 4)), times=texts(0, 1.5, 10)))
    assert image.t.values.tolist() == [0.0, 1.5, 10.0]
    assert image.t.attrs == {"units": "second", "start_time": "2021-03-04T05:06:07.891000"}


def test_one(make_ims, noise, opened):
    image = opened(make_ims(noise((1, 1, 2, 3, 4)), times=["2021-03-04 05:06:07"]))
    assert image.t.values.tolist() == [0.0]
    assert image.t.attrs == {"units": "second", "start_time": "2021-03-04T05:06:07"}


@pytest.mark.parametrize("times", [[], [""]], ids=["none", "empty"])
def test_one_that_is_not_said(times, make_ims, noise, opened):
    image = opened(make_ims(noise((1, 1, 2, 3, 4)), times=times))
    assert image.t.values.tolist() == [0.0]
    assert "units" not in image.t.attrs


@pytest.mark.parametrize(
    ("times", "named"),
    [
        ([], "there is no DataSetInfo/TimeInfo TimePoint1"),
        (texts(0, 1), "there is no DataSetInfo/TimeInfo TimePoint3"),
        ([*texts(0), "", ""], "there is '' for DataSetInfo/TimeInfo TimePoint2"),
        ([*texts(0), "yesterday", *texts(2)], "there is 'yesterday' for DataSetInfo/TimeInfo TimePoint2"),
        (
            texts(0, 2, 1),
            "TimePoint3 '2021-03-04 05:06:08.891' after 2021-03-04 05:06:09.891000, expected a later time",
        ),
        (texts(0, 0, 1), "TimePoint2 '2021-03-04 05:06:07.891' after"),
        (["2021-03-04 05:06:07", "2021-03-04 05:06:08+01:00", ""], "TimePoint2 '2021-03-04 05:06:08"),
    ],
)
def test_what_is_wrong_is_counted(times, named, make_ims, noise):
    path = make_ims(noise((3, 1, 2, 3, 4)), times=times)
    with pytest.warns(NgffWarning) as caught:
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert len(caught) == 1
    assert str(caught[0].message).startswith(f"{path}: ")
    assert named in str(caught[0].message)
    assert dataset.t.values.tolist() == [0, 1, 2]
    assert dataset.t.attrs == {"spacing": 1.0}
