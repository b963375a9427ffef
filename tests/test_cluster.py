"""Every format read and written by two processes of dask.distributed, which share the disk only."""

from __future__ import annotations

import dask
import numpy as np
import pytest
import xarray as xr
from formats import FORMATS, image

TRUTH = image()

pytestmark = pytest.mark.filterwarnings("default", "ignore:Call to deprecated class Scaler:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.admin.log-length": 0}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_workers_read_and_what_they_make_is_written(fmt, tmp_path):
    first, second = fmt.path(tmp_path / "a"), fmt.path(tmp_path / "b")
    for path in (first, second):
        path.parent.mkdir()
    fmt.write(TRUTH, first)
    opened = xr.open_dataarray(first, engine=fmt.engine, chunks={})
    made = opened + 1
    np.testing.assert_array_equal(made.compute(), TRUTH + 1)
    fmt.write(made, second)
    np.testing.assert_array_equal(fmt.stored(second, 0), fmt.stored(first, 0) + np.uint16(1))
    assert [path.name for path in second.parent.iterdir() if path.suffix == ".partial"] == []
