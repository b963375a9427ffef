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
from xarray_ngff.pyramid.kernels import METHODS, block_reduce
from xarray_ngff.pyramid.passes import Pass, plan_passes
from xarray_ngff.pyramid.plan import plan_levels
from xarray_ngff.pyramid.stream import block_shape, compute, reduce_block, reducing_tasks, regions, storing_tasks


class Recorder:
    """Array that remembers the regions that were written and read."""

    shards = None

    def __init__(self, array, chunks):
        self.array, self.written, self.read = array, [], []
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, tuple(chunks)

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


def whole(chunks, levels=(0,), parents=(None,), steps=None, source=None):
    """Pass whose blocks are whole chunks of its first level."""
    ones = (1,) * len(chunks)
    return Pass(source, tuple(levels), tuple(parents), tuple(steps or [ones]), tuple(chunks))


@st.composite
def pyramids(draw):
    """Shape, a plan of levels with factors by axis, and chunks for each of them."""
    shape = tuple(draw(st.lists(st.integers(1, 13), min_size=1, max_size=3)))
    dims = ("z", "y", "x")[-len(shape) :]
    grown, factors = dict.fromkeys(dims, 1), []
    for _ in range(draw(st.integers(0, 3))):
        grown = {dim: factor * draw(st.sampled_from([1, 2, 2, 3])) for dim, factor in grown.items()}
        clamped = {dim: min(factor, n) for (dim, factor), n in zip(grown.items(), shape, strict=True)}
        if not factors or clamped != factors[-1]:
            factors.append(clamped)
    factors = [each for each in factors if set(each.values()) != {1}]
    sizes = dict(zip(dims, shape, strict=True))
    plan = plan_levels(sizes, dict.fromkeys(dims, 1.0), factors=factors)
    shapes = [tuple(level.sizes.values()) for level in plan]
    chunks = [tuple(draw(st.integers(1, n)) for n in each) for each in shapes]
    return plan, dims, shapes, chunks


class TestStoring:
    @given(shape=shapes, data=st.data())
    @settings(deadline=None, max_examples=60)
    def test_no_two_tasks_meet_in_a_chunk(self, shape, data):
        """Whatever the chunks of the source are."""
        array = np.arange(math.prod(shape)).reshape(shape)
        source = da.from_array(array, chunks=tuple(data.draw(split(n)) for n in shape))
        chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
        target = Recorder(np.full(shape, -1), chunks)
        dask.compute(storing_tasks(source, [target], whole(chunks), "mean"), scheduler="synchronous")
        np.testing.assert_array_equal(target.array, array)
        touched = Counter(number for region in target.written for number in chunk_numbers(region, chunks))
        assert set(touched.values()) == {1}
        assert len(touched) == math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))

    def test_delayed_targets_are_made_once(self):
        made = []

        def make():
            made.append([Recorder(np.zeros((6, 6)), (2, 2))])
            return made[-1]

        tasks = storing_tasks(da.ones((6, 6), chunks=2), delayed(make, pure=False)(), whole((2, 2)), "mean")
        dask.compute(tasks, scheduler="synchronous")
        assert len(made) == 1
        assert (made[0][0].array == 1).all()

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
        target = Recorder(np.zeros((15, 14)), (4, 4))
        dask.compute(storing_tasks(source, [target], whole((4, 4)), "mean"))
        assert (target.array == 1).all()
        assert set(computed.values()) == {1}
        assert len(computed) == 6


class TestPasses:
    """A pyramid written in passes is the one that is reduced level by level, and no chunk has two writers."""

    @given(pyramid=pyramids(), data=st.data(), method=st.sampled_from(METHODS))
    @settings(deadline=None, max_examples=150)
    def test_in_blocks_as_at_once(self, pyramid, data, method):
        plan, dims, level_shapes, chunks = pyramid
        array = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 50, level_shapes[0]).astype("u1")
        expected = [array]
        for level in plan[1:]:
            expected.append(block_reduce(expected[level.source], [level.steps[dim] for dim in dims], method))
        source = da.from_array(array, chunks=tuple(data.draw(split(n)) for n in array.shape))
        block_bytes = data.draw(st.sampled_from([1, 30, 300, 10**6]))
        passes = plan_passes(plan, dims, level_shapes, chunks, 1, block_bytes=block_bytes)
        targets = [Recorder(np.zeros(s, "u1"), c) for s, c in zip(level_shapes, chunks, strict=True)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "_PART_BYTES", data.draw(st.sampled_from([1, 8, 64, 2**25])))
            for stage in passes:
                if stage.source is None:
                    tasks = storing_tasks(source, targets, stage, method)
                else:
                    tasks = reducing_tasks(targets, stage, level_shapes[stage.levels[0]], method, after=None)
                dask.compute(tasks, scheduler="synchronous")
        for target, level, c in zip(targets, expected, chunks, strict=True):
            np.testing.assert_array_equal(target.array, level)
            touched = Counter(number for region in target.written for number in chunk_numbers(region, c))
            assert set(touched.values()) == {1}
            assert len(touched) == math.prod(-(-n // length) for n, length in zip(level.shape, c, strict=True))
        # a stored level is read once for each pass that starts from it, and not by those that came from memory
        for index, target in enumerate(targets):
            count = np.zeros(target.shape, int)
            for region in target.read:
                count[region] += 1
            assert (count == sum(stage.source == index for stage in passes)).all()

    @given(limit=st.sampled_from([1, 8, 64]), factors=st.tuples(st.integers(1, 4), st.integers(1, 4)))
    @settings(deadline=None)
    def test_what_is_read_at_a_time_is_bounded(self, limit, factors):
        source = Recorder(np.zeros((13, 17), "u1"), (4, 4))
        shape = tuple(-(-n // f) for n, f in zip(source.shape, factors, strict=True))
        targets = [source, Recorder(np.zeros(shape, "u1"), shape)]
        stage = whole(shape, [1], [0], [factors], source=0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "_PART_BYTES", limit)
            reduce_block(targets, tuple(slice(0, n) for n in shape), stage, "max")
        for region in source.read:
            assert math.prod(part.stop - part.start for part in region) <= max(limit, math.prod(factors))

    def test_starts_after_what_it_waits_for(self):
        order = []

        class Late(Recorder):
            def __getitem__(self, region):
                order.append("read")
                return super().__getitem__(region)

        def before():
            time.sleep(0.05)
            order.append("before")

        targets = [Late(np.arange(8), (8,)), Recorder(np.zeros(4, int), (1,))]
        stage = whole((1,), [1], [0], [(2,)], source=0)
        tasks = reducing_tasks(targets, stage, (4,), "max", after=delayed(before, pure=False)())
        dask.compute(tasks, scheduler="threads", num_workers=4)
        assert order == ["before", *["read"] * 4]
        assert targets[1].array.tolist() == [1, 3, 5, 7]


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
