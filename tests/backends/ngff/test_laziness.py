"""What is read when: counted in the store. And who may read: threads, pickles, processes."""

import itertools
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dask
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from xarray_ngff import as_image
from xarray_ngff.errors import FormatError

DOCUMENTS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")


class CountingStore(MemoryStore):
    """Memory that remembers what was asked of it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.asked = []
        self.listed = 0

    async def get(self, key, prototype, byte_range=None):
        self.asked.append(key)
        return await super().get(key, prototype, byte_range)

    def list_dir(self, prefix):
        self.listed += 1
        return super().list_dir(prefix)

    @property
    def chunks(self):
        return [key for key in self.asked if not key.endswith(DOCUMENTS)]


@pytest.fixture
def store(make_image, pyramid):
    """A czyx image of two levels in chunks of (1, 4, 5, 6)."""
    store = CountingStore()
    make_image(store, pyramid(2, 8, 16, 18, levels=2), "czyx", chunks=(1, 4, 5, 6), scale=(1, 2, 1, 1))
    store.asked.clear()
    store.listed = 0
    return store


def boxes(n):
    return st.lists(st.integers(0, n), min_size=2, max_size=2).map(lambda ends: slice(*sorted(ends)))


def met(chunks, selected):
    """Keys of the chunks that a box of ranges meets, in plain Python."""
    numbers = [sorted({i // c for i in part}) for part, c in zip(selected, chunks, strict=True)]
    return ["0/c/" + "/".join(map(str, place)) for place in itertools.product(*numbers)]


class TestReads:
    @pytest.mark.parametrize("level", [0, 1])
    def test_opening_reads_documents_only(self, store, level):
        image = xr.open_dataarray(store, engine="ngff", level=level)
        assert not store.chunks
        assert set(store.asked) == set(DOCUMENTS) | {f"{level}/zarr.json"}
        assert len(store.asked) == 5
        assert store.listed == 0
        store.asked.clear()
        # nor does any of this
        assert image.isel(z=0, x=slice(None, None, -2)).ngff.affine.shape == (4, 4)
        repr(image), image._repr_html_(), repr(image.ngff), image.ngff._repr_html_()
        image.ngff.crop(x=(2, 9)).ngff.spacing, image.nbytes, image.copy(), image.transpose("x", ...)
        image.ngff.to_multiscale(levels=3), image.chunk({"z": 2}), image.to_dataset()
        pickle.loads(pickle.dumps(image))
        assert store.asked == []

    def test_opening_a_tree_reads_every_document_once(self, store):
        xr.open_datatree(store, engine="ngff")
        assert not store.chunks
        assert store.listed == 0
        assert max(Counter(store.asked).values()) == 1
        assert {"0/zarr.json", "1/zarr.json"} <= set(store.asked)

    @given(data=st.data())
    @settings(max_examples=30, deadline=None)
    def test_a_crop_reads_the_chunks_that_it_meets(self, data, make_image, ramp):
        shape, chunks = (2, 8, 16, 18), (1, 4, 5, 6)
        store = CountingStore()
        make_image(store, [ramp(*shape)], "czyx", chunks=chunks)
        chunked = data.draw(st.booleans())
        image = xr.open_dataarray(store, engine="ngff", chunks={} if chunked else None)
        image.isel(c=0, z=0, y=0, x=0).load()  # opens the array
        store.asked.clear()
        # with a step, dask also reads chunks that the step jumps over
        slices = [data.draw(boxes(n) if chunked else st.slices(n)) for n in shape]
        part = image.isel(dict(zip("czyx", slices, strict=True))).load()
        ranges = [range(n)[s] for n, s in zip(shape, slices, strict=True)]
        np.testing.assert_array_equal(part, ramp(*shape)[tuple(slices)])
        if part.size:
            assert sorted(store.asked) == sorted(met(chunks, ranges))
        else:  # dask reads a chunk to take nothing from it
            assert chunked or not store.asked

    def test_a_crop_of_shards_reads_their_index_and_inner_chunks(self, make_image, ramp):
        """Byte ranges of one shard out of four, much less than the shard."""
        store = CountingStore()
        data = np.random.default_rng(0).integers(0, 2**16, (64, 64)).astype("u2")
        make_image(store, [data], "yx", chunks=(8, 8), shards=(32, 32))
        image = xr.open_dataarray(store, engine="ngff")
        image[0, 0].load()
        store.asked.clear()
        ranges = []

        class Recorder(CountingStore):
            async def get(self, key, prototype, byte_range=None):
                found = await super().get(key, prototype, byte_range)
                ranges.append((key, byte_range, len(found)))
                return found

        store.__class__ = Recorder
        np.testing.assert_array_equal(image[34:40, 3:7], data[34:40, 3:7])
        assert {key for key, _, _ in ranges} == {"0/c/1/0"}
        assert sum(length for _, _, length in ranges) < 32 * 32 * 2 / 4

    def test_time_series_one_frame(self, make_image, ramp):
        store = CountingStore()
        make_image(store, [ramp(9, 4, 4)], "tyx", chunks=(1, 4, 4))
        image = xr.open_dataarray(store, engine="ngff")
        np.testing.assert_array_equal(image.sel(t=5), ramp(9, 4, 4)[5])
        assert store.chunks == ["0/c/5/0/0"]

    def test_statistics_of_a_lazy_image_read_every_chunk_once(self, store, ramp):
        image = xr.open_dataarray(store, engine="ngff", chunks={})
        assert float(image.mean()) == ramp(2, 8, 16, 18).mean()
        assert len(store.chunks) == 2 * 2 * 4 * 3
        assert max(Counter(store.chunks).values()) == 1


class TestWhoReads:
    @pytest.mark.parametrize("chunks", [None, {}])
    def test_pickles(self, tmp_path, make_image, pyramid, chunks):
        make_image(tmp_path / "a.zarr", pyramid(4, 6, 8), "zyx", chunks=(2, 3, 4))
        dataset = xr.open_dataset(tmp_path / "a.zarr", engine="ngff", chunks=chunks)
        lazy = dataset.image.isel(z=slice(1, None), x=slice(None, None, -1))
        truth = pyramid(4, 6, 8)[0][1:, :, ::-1]
        for protocol in (2, pickle.HIGHEST_PROTOCOL):
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy, protocol)), truth)
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset, protocol)).image, pyramid(4, 6, 8)[0])
        lazy.load()
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy)), truth)
        tree = xr.open_datatree(tmp_path / "a.zarr", engine="ngff", chunks=chunks)
        copy = pickle.loads(pickle.dumps(tree))
        np.testing.assert_array_equal(copy["scale1/image"], pyramid(4, 6, 8)[1])

    def test_eight_threads_share_one(self, tmp_path, make_image, ramp):
        truth = ramp(16, 32, 32)
        make_image(tmp_path / "a.zarr", [truth], "zyx", chunks=(4, 8, 8))
        image = xr.open_dataset(tmp_path / "a.zarr", engine="ngff", cache=False).image
        random = np.random.default_rng(1)
        boxes = [tuple(slice(*sorted(random.integers(0, n + 1, 2))) for n in truth.shape) for _ in range(200)]

        def agrees(box):
            return np.array_equal(image[box].values, truth[box])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(agrees, boxes))

    def test_processes_of_dask(self, tmp_path, make_image, ramp):
        make_image(tmp_path / "a.zarr", [ramp(4, 8, 8)], "zyx", chunks=(4, 4, 4))
        image = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff", chunks={})
        with dask.config.set(scheduler="processes", num_workers=2):
            np.testing.assert_array_equal(image.compute(), ramp(4, 8, 8))


@pytest.fixture(scope="module")
def cluster():
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.admin.log-length": 0}),
        LocalCluster(
            n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, memory_limit=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("default", "ignore:Call to deprecated class Scaler:DeprecationWarning")
class TestCluster:
    """Two processes of dask.distributed, which share the disk only."""

    def test_computes_and_writes(self, cluster, tmp_path, make_image, ramp):
        truth = ramp(8, 40, 40)
        make_image(tmp_path / "a.zarr", [truth], "zyx", chunks=(4, 16, 16), scale=(2, 0.5, 0.5))
        image = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff", chunks={})
        np.testing.assert_array_equal((image + 1).compute(), truth + 1)
        (image + 1).ngff.to_ome_zarr(tmp_path / "b.zarr", factors=[2, 4], chunks=(3, 7, 16))
        # an image that is opened and not chunked is read by the workers, too
        lazy = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff")
        lazy.ngff.to_ome_zarr(tmp_path / "c.zarr", factors=[2, 4])
        here = as_image(truth + 1, spacing=(2, 0.5, 0.5))
        with dask.config.set(scheduler="synchronous"):
            here.ngff.to_ome_zarr(tmp_path / "d.zarr", factors=[2, 4])
        for level in range(3):
            found, alone = (zarr.open_group(tmp_path / name)[str(level)][:] for name in ("b.zarr", "d.zarr"))
            np.testing.assert_array_equal(found, alone)
        np.testing.assert_array_equal(zarr.open_group(tmp_path / "c.zarr")["0"], truth)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "c.zarr", "d.zarr"]

    def test_writes_later(self, cluster, tmp_path, ramp):
        task = as_image(ramp(20, 20)).chunk(x=5).ngff.to_ome_zarr(tmp_path / "a.zarr", levels=2, compute=False)
        assert not list(tmp_path.iterdir())
        cluster.compute(task).result()
        np.testing.assert_array_equal(xr.open_dataarray(tmp_path / "a.zarr", engine="ngff"), ramp(20, 20))

    def test_memory_of_this_process_is_not_theirs(self, cluster, ramp):
        store = MemoryStore()
        with pytest.raises(FormatError, match="written by processes whose memory or disks this one does not share"):
            as_image(ramp(20, 20)).ngff.to_ome_zarr(store)
        assert store._store_dict == {}
