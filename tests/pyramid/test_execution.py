"""Every chunk has one writer, whatever the image is and however it is worked off; and errors leave nothing running."""

import io
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
import xarray as xr
from arrays import Recorder
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray.core import indexing

from xarray_ngff.errors import FormatError
from xarray_ngff.pyramid import execution, stream
from xarray_ngff.pyramid.execution import write
from xarray_ngff.pyramid.kernels import METHODS, block_reduce
from xarray_ngff.pyramid.passes import Pass, plan_passes
from xarray_ngff.pyramid.plan import plan_levels
from xarray_ngff.pyramid.stream import Destination, Filling


class Place:
    """Arrays that are written to, and what became of them."""

    def __init__(self, targets, *, is_shared=True):
        self.targets, self.happened = targets, []
        self.destination = Destination(
            "place",
            self.make,
            lambda: self.happened.append("finished"),
            lambda: self.happened.append("discarded"),
            lambda: "finished" in self.happened,
            is_shared=is_shared,
        )

    def make(self):
        self.happened.append("made")
        return self.targets


class FileOf(xr.backends.BackendArray):
    """A file that is read when it is indexed."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, []

    def __getitem__(self, key):
        self.read.append(key.tuple)
        return self.array[key.tuple]


def in_file(array):
    dims = ("z", "y", "x")[-array.ndim :]
    return xr.Variable(dims, indexing.LazilyIndexedArray(FileOf(array)))


def in_memory(array):
    return xr.Variable(("z", "y", "x")[-array.ndim :], array)


def chunk_numbers(region, chunks):
    return itertools.product(
        *(range(part.start // c, -(-part.stop // c)) for part, c in zip(region, chunks, strict=True))
    )


@st.composite
def split(draw, total):
    """Chunk sizes that add up to a total."""
    sizes = []
    while sum(sizes) < total:
        sizes.append(draw(st.integers(1, total - sum(sizes))))
    return tuple(sizes)


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


def run(filling, destination, how):
    """Work off in one of the ways there are."""
    if how == "delayed":
        task = write(filling, destination, compute=False, progress=False)
        task.compute(scheduler="synchronous")
        return
    with dask.config.set(scheduler="synchronous" if how == "graph" else None):
        write(filling, destination, compute=True, progress=False)


WAYS = st.sampled_from(["threads", "graph", "delayed"])


class TestPyramids:
    """A pyramid written block by block is the one that is reduced level by level, and no chunk has two writers."""

    @given(pyramid=pyramids(), data=st.data(), method=st.sampled_from(METHODS), how=WAYS)
    @settings(deadline=None, max_examples=200)
    def test_in_blocks_as_at_once(self, pyramid, data, method, how):
        plan, dims, shapes, chunks = pyramid
        array = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 50, shapes[0]).astype("u1")
        expected = [array]
        for level in plan[1:]:
            expected.append(block_reduce(expected[level.source], [level.steps[dim] for dim in dims], method))
        image = self.image(array, data)
        block_bytes = data.draw(st.sampled_from([1, 30, 300, 10**6]))
        passes = plan_passes(plan, dims, shapes, chunks, 1, block_bytes=block_bytes)
        place = Place([Recorder(np.zeros(s, "u1"), c) for s, c in zip(shapes, chunks, strict=True)])
        filling = Filling(passes, tuple(shapes), 1, method, 2, given={0: image}, block_bytes=block_bytes)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "PART_BYTES", data.draw(st.sampled_from([1, 8, 64, 2**25])))
            run(filling, place.destination, how)
        assert place.happened == ["made", "finished"]
        for target, level, c in zip(place.targets, expected, chunks, strict=True):
            np.testing.assert_array_equal(target.array, level)
            touched = Counter(number for region in target.written for number in chunk_numbers(region, c))
            assert set(touched.values()) == {1}
            assert len(touched) == math.prod(-(-n // length) for n, length in zip(level.shape, c, strict=True))
        # a stored level is read once for each pass that starts from it, and not by those that came from memory
        for index, target in enumerate(place.targets):
            count = np.zeros(target.shape, int)
            for region in target.read:
                count[region] += 1
            assert (count == sum(stage.source == index for stage in passes)).all()

    @given(pyramid=pyramids(), data=st.data(), method=st.sampled_from(["mean", "max"]), how=WAYS)
    @settings(deadline=None, max_examples=200)
    def test_of_a_part_the_rest_stays(self, pyramid, data, method, how):
        """Also where the rest is not what the finer level would give."""
        plan, dims, shapes, chunks = pyramid
        random = np.random.default_rng(data.draw(st.integers(0, 99)))
        stored = [random.integers(0, 50, shape).astype("u1") for shape in shapes]
        part = tuple(slice(*sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n))))) for n in shapes[0])
        part = tuple(slice(p.start, max(p.stop, p.start + 1)) for p in part)
        new = random.integers(100, 150, [p.stop - p.start for p in part]).astype("u1")
        expected, limits = [stored[0].copy()], [part]
        expected[0][part] = new
        for level in plan[1:]:
            steps = [level.steps[dim] for dim in dims]
            limits.append(
                tuple(slice(p.start // f, -(-p.stop // f)) for p, f in zip(limits[level.source], steps, strict=True))
            )
            expected.append(stored[level.index].copy())
            expected[-1][limits[-1]] = block_reduce(expected[level.source], steps, method)[limits[-1]]
        passes = plan_passes(plan, dims, shapes, chunks, 1, block_bytes=data.draw(st.sampled_from([1, 30, 10**6])))
        place = Place([Recorder(array.copy(), c) for array, c in zip(stored, chunks, strict=True)])
        filling = Filling(
            passes, tuple(shapes), 1, method, 2, given={0: self.image(new, data)}, limits=tuple(limits), block_bytes=64
        )
        run(filling, place.destination, how)
        for target, level, limit, c in zip(place.targets, expected, limits, chunks, strict=True):
            np.testing.assert_array_equal(target.array, level)
            assert {number for region in target.written for number in chunk_numbers(region, c)} == set(
                chunk_numbers(limit, c)
            )
            count = np.zeros(target.shape, int)
            for region in target.written:
                count[region] += 1
            assert count.max() == 1

    @given(pyramid=pyramids(), data=st.data(), how=WAYS)
    @settings(deadline=None, max_examples=60)
    def test_blocks_that_are_whole_are_left_out(self, pyramid, data, how):
        plan, dims, shapes, chunks = pyramid
        array = np.random.default_rng(0).integers(0, 50, shapes[0]).astype("u1")
        passes = plan_passes(plan, dims, shapes, chunks, 1, block_bytes=30)
        noted = []

        class Journal:
            def done(self):
                return frozenset(noted)

            def record(self, key):
                noted.append(key)

        targets = [Recorder(np.zeros(s, "u1"), c) for s, c in zip(shapes, chunks, strict=True)]
        filling = Filling(
            passes, tuple(shapes), 1, "max", 1, given={0: in_memory(array)}, block_bytes=30, journal=Journal()
        )
        run(filling, Place(targets).destination, how)
        whole = [target.array.copy() for target in targets]
        every = sorted(noted)
        assert len(set(every)) == len(every)
        del noted[data.draw(st.integers(0, len(noted) - 1)) :]
        left_out = [key for key in noted if key.startswith("0/")]
        for target in targets:
            target.written.clear()
        run(filling, Place(targets).destination, how)
        assert sorted(noted) == every
        for target, level in zip(targets, whole, strict=True):
            np.testing.assert_array_equal(target.array, level)
        again = {"0/" + "_".join(f"{p.start}-{p.stop}" for p in region) for region in targets[0].written}
        assert not again & set(left_out)

    def image(self, array, data):
        kind = data.draw(st.sampled_from(["memory", "file", "dask"]))
        if kind == "dask":
            return in_memory(da.from_array(array, chunks=tuple(data.draw(split(n)) for n in array.shape)))
        image = in_memory(array) if kind == "memory" else in_file(array)
        image.encoding["preferred_chunks"] = {dim: data.draw(st.integers(1, 13)) for dim in image.dims}
        return image


def whole_pass(chunks):
    return (Pass(None, (0,), (None,), ((1,) * len(chunks),), tuple(chunks)),)


class TestSources:
    def test_every_dask_chunk_is_computed_once(self):
        """Chunks of the source that straddle those of the target, too."""
        computed = Counter()
        lock = threading.Lock()

        def block(block_info):
            with lock:
                computed[block_info[None]["chunk-location"]] += 1
            return np.ones(block_info[None]["chunk-shape"])

        lazy = da.map_blocks(block, chunks=((5, 5, 5), (7, 7)), dtype=float, meta=np.empty((0, 0)))
        place = Place([Recorder(np.zeros((15, 14)), (4, 4))])
        filling = Filling(whole_pass((4, 4)), ((15, 14),), 8, "mean", 2, given={0: xr.Variable(("y", "x"), lazy)})
        write(filling, place.destination, compute=True, progress=False)
        assert (place.targets[0].array == 1).all()
        assert set(computed.values()) == {1}
        assert len(computed) == 6

    def test_a_file_is_read_once_and_without_dask(self, monkeypatch):
        def no_graph(*args, **kwargs):
            raise AssertionError("a graph was made")

        monkeypatch.setattr(execution, "_graph", no_graph)
        image = in_file(np.arange(35 * 20, dtype="u2").reshape(35, 20))
        place = Place([Recorder(np.zeros((35, 20), "u2"), (8, 8))])
        filling = Filling(whole_pass((8, 8)), ((35, 20),), 2, "mean", 2, given={0: image}, block_bytes=128)
        write(filling, place.destination, compute=True, progress=False)
        np.testing.assert_array_equal(place.targets[0].array, image.values)
        count = np.zeros(image.shape, int)
        for region in image._data.array.read:
            count[region] += 1
        assert count.sum() == count.size + count.size  # once for the write, once for the comparison

    def test_one_task_for_each_block(self):
        image = in_file(np.zeros((32, 32), "u1"))
        place = Place([Recorder(np.zeros((32, 32), "u1"), (8, 8)), Recorder(np.zeros((16, 16), "u1"), (8, 8))])
        stage = Pass(None, (0, 1), (None, 0), ((1, 1), (2, 2)), (16, 16))
        filling = Filling((stage,), ((32, 32), (16, 16)), 1, "mean", 2, given={0: image}, block_bytes=1)
        task = write(filling, place.destination, compute=False, progress=False)
        stores = [key for key in dict(task.__dask_graph__()) if str(key).startswith("_store_after")]
        assert len(stores) == 4
        assert len(dict(task.__dask_graph__())) < 20
        assert place.happened == []


class TestErrors:
    @pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
    @pytest.mark.parametrize("kind", [in_memory, da.from_array])
    def test_comes_back_when_nothing_runs_any_more(self, error, kind):
        running, started = [], threading.Barrier(4)

        class Failing(Recorder):
            def __setitem__(self, region, values):
                started.wait()
                if region[0].start == 0:
                    raise error
                time.sleep(0.2)
                running.append(region)

        place = Place([Failing(np.zeros(4), (1,))])
        image = in_memory(np.zeros(4)) if kind is in_memory else xr.Variable("x", da.zeros(4, chunks=1))
        filling = Filling(whole_pass((1,)), ((4,),), 8, "mean", 4, given={0: image}, block_bytes=1)
        with pytest.raises(type(error)):
            write(filling, place.destination, compute=True, progress=False)
        assert len(running) == 3
        assert place.happened == ["made", "discarded"]

    def test_what_waits_is_not_begun(self):
        begun = []

        class Failing(Recorder):
            def __setitem__(self, region, values):
                begun.append(region)
                time.sleep(0.05)
                raise ValueError("broken")

        place = Place([Failing(np.zeros(100), (1,))])
        filling = Filling(whole_pass((1,)), ((100,),), 8, "mean", 2, given={0: in_memory(np.zeros(100))}, block_bytes=1)
        with pytest.raises(ValueError, match="broken"):
            write(filling, place.destination, compute=True, progress=False)
        assert len(begun) < 10

    def test_the_first_error_is_the_one_that_is_seen(self):
        class Failing(Recorder):
            def __setitem__(self, region, values):
                raise ValueError("the disk is full")

        def cannot():
            raise OSError("nor can it be removed")

        destination = Destination("place", lambda: [Failing(np.zeros(4), (4,))], lambda: None, cannot, lambda: True)
        filling = Filling(whole_pass((4,)), ((4,),), 8, "mean", 2, given={0: in_memory(np.zeros(4))})
        with pytest.raises(ValueError, match="the disk is full") as raised:
            write(filling, destination, compute=True, progress=False)
        assert "place could not be removed: nor can it be" in raised.value.__notes__[0]

    def test_a_place_that_is_not_there_at_the_end(self):
        destination = Destination("s3://a", lambda: [Recorder(np.zeros(4), (4,))], list, list, lambda: False)
        filling = Filling(whole_pass((4,)), ((4,),), 8, "mean", 2, given={0: in_memory(np.zeros(4))})
        with pytest.raises(FormatError, match="whose memory or disks this one does not share"):
            write(filling, destination, compute=True, progress=False)

    def test_a_delayed_write_that_cannot_finish_is_discarded(self):
        place = Place([Recorder(np.zeros(4), (4,))])

        def cannot():
            raise OSError("full")

        destination = Destination("place", place.make, cannot, place.destination.discard, lambda: False)
        filling = Filling(whole_pass((4,)), ((4,),), 8, "mean", 2, given={0: in_memory(np.zeros(4))})
        task = write(filling, destination, compute=False, progress=False)
        with pytest.raises(OSError, match="full"):
            task.compute(scheduler="synchronous")
        assert place.happened == ["made", "discarded"]


class TestSchedulers:
    def used(self, filling_threads=3, count=20, **options):
        """Threads that wrote."""
        names = set()

        class Noting(Recorder):
            def __setitem__(self, region, values):
                time.sleep(0.01)
                names.add(threading.current_thread().name)

        place = Place([Noting(np.zeros(count), (1,))], **options)
        image = xr.Variable("x", da.zeros(count, chunks=1))
        filling = Filling(whole_pass((1,)), ((count,),), 8, "mean", filling_threads, given={0: image}, block_bytes=1)
        write(filling, place.destination, compute=True, progress=False)
        return names

    def test_threads_are_as_many_as_planned(self):
        assert len(self.used()) == 3

    def test_another_scheduler_is_left_alone(self):
        with dask.config.set(scheduler="synchronous"):
            assert self.used() == {threading.current_thread().name}
        with ThreadPoolExecutor(1, thread_name_prefix="mine") as pool, dask.config.set(pool=pool):
            (name,) = self.used()
        assert name.startswith("mine")

    def test_what_is_not_shared_is_written_by_threads_of_this_process(self):
        with dask.config.set(scheduler="processes"):
            assert len(self.used(is_shared=False)) == 3

    def test_what_is_not_shared_cannot_wait(self):
        place = Place([Recorder(np.zeros(4), (4,))], is_shared=False)
        filling = Filling(whole_pass((4,)), ((4,),), 8, "mean", 2, given={0: in_memory(np.zeros(4))})
        with pytest.raises(FormatError, match="leave out compute=False"):
            write(filling, place.destination, compute=False, progress=False)
        assert place.happened == []

    def test_from_several_threads(self):
        """A pool of one write is not that of another."""

        def once(number):
            place = Place([Recorder(np.zeros(10), (1,))])
            image = xr.Variable("x", da.full(10, number, chunks=1))
            filling = Filling(whole_pass((1,)), ((10,),), 8, "mean", 2, given={0: image})
            write(filling, place.destination, compute=True, progress=False)
            return place.targets[0].array

        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(once, range(8)))
        assert [set(array) for array in results] == [{float(number)} for number in range(8)]


class TestProgress:
    @pytest.mark.parametrize("scheduler", [None, "synchronous"])
    @pytest.mark.parametrize("lazy", [False, True])
    def test_counts_the_bytes_of_all_levels(self, scheduler, lazy, monkeypatch):
        amounts = {"expected": 0, "written": 0}

        class Bar:
            def __init__(self, **options):
                assert options["unit"] == "B"

            def __enter__(self):
                return self

            def __exit__(self, *error):
                return None

            def reset(self, total):
                amounts["expected"] = total

            def update(self, amount):
                amounts["written"] += amount

        monkeypatch.setattr("tqdm.auto.tqdm", Bar)
        place = Place([Recorder(np.zeros((32, 32), "u2"), (8, 8)), Recorder(np.zeros((16, 16), "u2"), (8, 8))])
        stage = Pass(None, (0, 1), (None, 0), ((1, 1), (2, 2)), (16, 16))
        data = np.zeros((32, 32), "u2")
        image = xr.Variable(("y", "x"), da.from_array(data, chunks=10) if lazy else data)
        filling = Filling((stage,), ((32, 32), (16, 16)), 2, "mean", 2, given={0: image}, block_bytes=1)
        with dask.config.set(scheduler=scheduler):
            write(filling, place.destination, compute=True, progress=True)
        assert amounts == {"expected": 2 * (32 * 32 + 16 * 16), "written": 2 * (32 * 32 + 16 * 16)}

    def test_is_shown_with_rate_and_rest(self, monkeypatch):
        shown = io.StringIO()
        monkeypatch.setattr("sys.stderr", shown)
        place = Place([Recorder(np.zeros(4096, "u2"), (1024,))])
        filling = Filling(
            whole_pass((1024,)), ((4096,),), 2, "mean", 2, given={0: in_memory(np.zeros(4096, "u2"))}, block_bytes=1
        )
        write(filling, place.destination, compute=True, progress=True)
        assert "8.00k/8.00k" in shown.getvalue()
        assert "B/s" in shown.getvalue()
