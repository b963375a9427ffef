"""Streaming: every chunk is written once and by one task, and what a task holds is bounded."""

import itertools
import math
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import numpy as np
import pytest
from dask.delayed import delayed
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.pyramid import stream
from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.stream import block_shape, compute, reduce_chunk, reducing_tasks, regions, storing_tasks


class Recorder:
    """Array that remembers the regions that were written and read."""

    def __init__(self, array):
        self.array, self.written, self.read = array, [], []
        self.shape, self.dtype = array.shape, array.dtype

    def __setitem__(self, region, values):
        self.written.append(region)
        self.array[region] = values

    def __getitem__(self, region):
        self.read.append(region)
        return self.array[region]


def chunk_numbers(region, chunks):
    return itertools.product(
        *(range(part.start // c, -(-part.stop // c)) for part, c in zip(region, chunks, strict=True))
    )


shapes = st.lists(st.integers(1, 13), min_size=1, max_size=3)


@st.composite
def split(draw, total):
    """Chunk sizes that add up to a total."""
    sizes = []
    while sum(sizes) < total:
        sizes.append(draw(st.integers(1, total - sum(sizes))))
    return tuple(sizes)


class TestBlockShape:
    @given(shape=st.lists(st.integers(1, 5000), min_size=1, max_size=5), data=st.data())
    def test_is_whole_chunks_of_bounded_size(self, shape, data):
        chunks = [data.draw(st.integers(1, n)) for n in shape]
        itemsize = data.draw(st.sampled_from([1, 2, 4, 8, 16]))
        of_file = data.draw(st.none() | st.tuples(*(st.integers(1, 6000) for _ in shape)))
        block = block_shape(shape, chunks, itemsize, of_file)
        for n, c, b in zip(shape, chunks, block, strict=True):
            assert b == n or b % c == 0
            assert c <= b <= n
        limit = 2**23 if of_file is None else 2**25
        assert math.prod(block) * itemsize <= max(limit, math.prod(chunks) * itemsize)

    def test_of_an_image_that_is_smaller(self):
        assert block_shape((3, 100, 100), (1, 128, 128), 2) == (3, 100, 100)

    def test_of_chunks_beyond_the_size(self):
        assert block_shape((4, 8192, 8192), (1, 8192, 8192), 2) == (1, 8192, 8192)

    def test_of_a_file_of_planes(self):
        assert block_shape((300, 2000, 2000), (128, 128, 128), 1, (1, 2000, 2000)) == (128, 128, 2000)

    def test_of_a_file_of_cubes(self):
        assert block_shape((300, 2000, 2000), (128, 128, 128), 2, (64, 64, 64)) == (128, 128, 256)


class TestRegions:
    @given(shape=shapes, data=st.data())
    def test_cover_every_voxel_once(self, shape, data):
        chunks = [data.draw(st.integers(1, n + 2)) for n in shape]
        count = np.zeros(shape, int)
        for region in regions(shape, chunks):
            count[region] += 1
            assert all(part.start % c == 0 for part, c in zip(region, chunks, strict=True))
        assert (count == 1).all()


class TestStoring:
    @given(shape=shapes, data=st.data())
    @settings(deadline=None, max_examples=60)
    def test_no_two_tasks_meet_in_a_chunk(self, shape, data):
        """Whatever the chunks of the source are."""
        array = np.arange(math.prod(shape)).reshape(shape)
        source = da.from_array(array, chunks=tuple(data.draw(split(n)) for n in shape))
        chunks = [data.draw(st.integers(1, n)) for n in shape]
        target = Recorder(np.full(shape, -1))
        dask.compute(storing_tasks(source, target, chunks), scheduler="synchronous")
        np.testing.assert_array_equal(target.array, array)
        touched = Counter(number for region in target.written for number in chunk_numbers(region, chunks))
        assert set(touched.values()) == {1}
        assert len(touched) == math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))

    def test_a_delayed_target_is_made_once(self):
        made = []

        def make():
            made.append(Recorder(np.zeros((6, 6))))
            return made[-1]

        tasks = storing_tasks(da.ones((6, 6), chunks=2), delayed(make, pure=False)(), (2, 2))
        dask.compute(tasks, scheduler="synchronous")
        assert len(made) == 1
        assert (made[0].array == 1).all()

    def test_every_source_chunk_is_computed_once(self):
        """Chunks of the source that straddle those of the target, too."""
        computed = Counter()
        lock = threading.Lock()

        def block(info):
            with lock:
                computed[info[None]["chunk-location"]] += 1
            return np.ones(info[None]["chunk-shape"])

        source = da.map_blocks(
            lambda block_info: block(block_info), chunks=((5, 5, 5), (7, 7)), dtype=float, meta=np.empty((0, 0))
        )
        target = Recorder(np.zeros((15, 14)))
        dask.compute(storing_tasks(source, target, (4, 4)))
        assert (target.array == 1).all()
        assert set(computed.values()) == {1}
        assert len(computed) == 6


class TestReducing:
    @given(shape=shapes, data=st.data(), method=st.sampled_from(["mean", "nearest", "mode", "min", "max", "median"]))
    @settings(deadline=None, max_examples=80)
    def test_in_parts_as_at_once(self, shape, data, method):
        factors = [data.draw(st.integers(1, 4)) for _ in shape]
        array = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 50, shape).astype("u1")
        whole = block_reduce(array, factors, method)
        chunks = [data.draw(st.integers(1, n)) for n in whole.shape]
        limit = data.draw(st.sampled_from([1, 8, 64, 2**25]))
        source, target = Recorder(array), Recorder(np.zeros(whole.shape, "u1"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "_PART_BYTES", limit)
            tasks = reducing_tasks(source, target, whole.shape, chunks, factors, method)
            dask.compute(tasks, scheduler="synchronous")
        np.testing.assert_array_equal(target.array, whole)
        assert (
            len(target.written) == len(tasks) == math.prod(-(-n // c) for n, c in zip(whole.shape, chunks, strict=True))
        )
        touched = Counter(number for region in target.written for number in chunk_numbers(region, chunks))
        assert set(touched.values()) == {1}
        # what is read at a time is bounded, but for a single block
        for region in source.read:
            assert math.prod(part.stop - part.start for part in region) <= max(limit, math.prod(factors))
        # and every voxel is read once
        count = np.zeros(shape, int)
        for region in source.read:
            count[region] += 1
        assert (count == 1).all()

    def test_starts_after_what_it_waits_for(self):
        order = []
        source, target = np.arange(8), Recorder(np.zeros(4, int))

        class Late(Recorder):
            def __getitem__(self, region):
                order.append("read")
                return super().__getitem__(region)

        def before():
            time.sleep(0.05)
            order.append("before")

        tasks = reducing_tasks(Late(source), target, (4,), (1,), (2,), "max", after=delayed(before, pure=False)())
        dask.compute(tasks, scheduler="threads", num_workers=4)
        assert order == ["before", *["read"] * 4]
        assert target.array.tolist() == [1, 3, 5, 7]

    def test_one_chunk(self):
        source, target = np.arange(12).reshape(3, 4), np.zeros((2, 2), int)
        reduce_chunk(source, target, (slice(1, 2), slice(0, 2)), (2, 2), "min")
        assert target.tolist() == [[0, 0], [8, 10]]


class TestCompute:
    def failing(self, running, error):
        """A task of one part that fails and three that go on for a while."""
        barrier = threading.Barrier(4)

        def slow():
            barrier.wait()
            time.sleep(0.2)
            running.append("done")

        def fail():
            barrier.wait()
            raise error

        def nothing(parts):
            return None

        parts = [delayed(fail, pure=False)(), *(delayed(slow, pure=False)() for _ in range(3))]
        return delayed(nothing, pure=False)(parts)

    @pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
    def test_comes_back_when_nothing_runs_any_more(self, error):
        running = []
        with dask.config.set(num_workers=4), pytest.raises(type(error)):
            compute(self.failing(running, error))
        assert running == ["done"] * 3

    def test_threads_are_as_many_as_asked_for(self):
        names = set()

        def note():
            time.sleep(0.01)
            names.add(threading.current_thread().name)

        parts = [delayed(note, pure=False)() for _ in range(20)]
        with dask.config.set(num_workers=3):
            compute(delayed(list, pure=False)(parts))
        assert len(names) == 3

    def test_another_scheduler_is_left_alone(self):
        threads = []
        task = delayed(lambda: threads.append(threading.current_thread()), pure=False)
        with dask.config.set(scheduler="synchronous"):
            compute(task())
        with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool, dask.config.set(pool=pool):
            compute(task())
        assert threads[0] is threading.current_thread()
        assert threads[1].name.startswith("mine")

    def test_from_several_threads(self):
        """A pool of one write is not that of another."""
        done = []

        def write(number):
            parts = [delayed(lambda i=i: done.append((number, i)), pure=False)() for i in range(10)]
            compute(delayed(list, pure=False)(parts))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(8)))
        assert sorted(done) == [(number, i) for number in range(8) for i in range(10)]
