"""Every format read and written by two processes of dask.distributed, which share the disk only."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from block_statistics import pyramid_of
from formats import FORMATS, image

import xarray_ngff

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


class TestPyramids:
    """One task for each block, on the workers; no chunk and no shard has two writers, whatever the image comes in."""

    VALUES = np.random.default_rng(0).integers(0, 4096, (2, 37, 45, 53)).astype("u2")
    FACTORS = ((1, 1, 1, 1), (1, 2, 2, 2), (1, 4, 4, 4))

    def check(self, store):
        for index, expected in enumerate(pyramid_of(self.VALUES, self.FACTORS, "mean")):
            np.testing.assert_array_equal(zarr.open_array(f"{store}/{index}", mode="r")[:], expected)

    def image(self, values):
        return xarray_ngff.as_image(values, "czyx", units="um")

    @pytest.mark.parametrize("chunks", [(1, 5, 45, 53), (2, 37, 7, 11), ((1, 1), (3, 30, 4), (20, 25), (1, 51, 1))])
    @pytest.mark.parametrize("options", [{}, {"shards": 16}, {"shards": "30 KB"}])
    def test_of_awkward_chunks(self, chunks, options, tmp_path):
        lazy = da.from_array(self.VALUES, chunks=chunks)
        self.image(lazy).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, factors=[2, 4], **options)
        self.check(tmp_path / "a.zarr")

    def test_of_an_image_in_memory_and_of_one_in_a_file(self, tmp_path):
        self.image(self.VALUES).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, factors=[2, 4])
        self.check(tmp_path / "a.zarr")
        again = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff")
        again.ngff.to_ome_zarr(tmp_path / "b.zarr", chunks=10, shards=20, factors=[2, 4])
        self.check(tmp_path / "b.zarr")
        again.ngff.to_ome_zarr(tmp_path / "c.zarr", chunks=8, factors=[2, 4])  # chunks as they are
        self.check(tmp_path / "c.zarr")

    def test_progress(self, tmp_path, capsys):
        lazy = da.from_array(self.VALUES, chunks=10)
        self.image(lazy).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, factors=[2, 4], progress=True)
        self.check(tmp_path / "a.zarr")
        assert "100%" in capsys.readouterr().err

    def test_levels_in_place(self, tmp_path):
        self.image(self.VALUES).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=8, levels=1)
        xarray_ngff.build_pyramid(tmp_path / "a.zarr", factors=[2, 4])
        self.check(tmp_path / "a.zarr")

    def test_an_error_on_a_worker_leaves_nothing(self, tmp_path):
        def broken(block):
            raise ValueError("the detector is off")

        lazy = da.from_array(self.VALUES, chunks=10).map_blocks(broken, dtype="u2", meta=np.empty((0,) * 4, "u2"))
        with pytest.raises(ValueError, match="the detector is off"):
            self.image(lazy).ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert not (tmp_path / "a.zarr").exists()
