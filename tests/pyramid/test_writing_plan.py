"""Plans of pyramids: what they say is what is written, whole and once, and what a limit makes of them."""

from __future__ import annotations

import dataclasses
import functools
import math
import pickle
from collections import Counter

import dask
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import xarray_ngff
from xarray_ngff.errors import GeometryError, MemoryLimitError
from xarray_ngff.pyramid import writing_plan
from xarray_ngff.pyramid.execution import write
from xarray_ngff.pyramid.memory import byte_count
from xarray_ngff.pyramid.stream import Destination, Filling
from xarray_ngff.pyramid.writing_plan import LevelPlan, plan_pyramid

MIB = 2**20


def image(shape, dims=None, dtype="uint16", chunks=None):
    """Image of any size that takes no memory, or a dask image of these chunks."""
    data = np.broadcast_to(np.zeros((), dtype), shape)
    if chunks is not None:
        data = dask.array.zeros(shape, dtype=dtype, chunks=chunks)
    dims = dims or "tczyx"[-len(shape) :]
    return xarray_ngff.as_image(data, dims, spacing=dict.fromkeys([d for d in dims if d in "zyx"], 1.0), units="um")


@pytest.fixture(autouse=True)
def _two_threads():
    with dask.config.set(num_workers=2):
        yield


class CountingStore(zarr.storage.MemoryStore):
    """Store that counts how often each chunk is written."""

    def __init__(self):
        super().__init__()
        self.count = Counter()

    async def set(self, key, value, byte_range=None):
        if not key.endswith("zarr.json"):
            self.count[key] += 1
        await super().set(key, value, byte_range)


def nothing():
    """A destination that needs no last step."""


def yes():
    return True


class KeyJournal:
    """Journal that remembers the blocks."""

    def __init__(self):
        self.keys = []

    def done(self):
        return frozenset()

    def record(self, key):
        self.keys.append(key)


def written(img, plan, journal=None):
    """The arrays of a plan, and their store, as the streaming writer fills them with maxima."""
    store = CountingStore()
    arrays = [
        zarr.create_array(
            store,
            name=str(level.index),
            shape=level.shape,
            chunks=level.chunks,
            shards=level.shards,
            dtype=img.dtype,
            compressors=None,
            fill_value=0,
        )
        for level in plan.levels
    ]
    destination = Destination("memory", functools.partial(list, arrays), nothing, nothing, yes, is_shared=False)
    filling = Filling(
        plan.passes,
        tuple(level.shape for level in plan.levels),
        img.dtype.itemsize,
        "max",
        plan.threads,
        given={0: img.transpose(*plan.dims).variable},
        block_bytes=plan.block_bytes,
        journal=journal,
    )
    write(filling, destination, compute=True, progress=False)
    return arrays, store


def maxima(array, factors):
    for axis, factor in enumerate(factors):
        array = np.maximum.reduceat(array, range(0, array.shape[axis], factor), axis=axis)
    return array


@st.composite
def pyramids(draw):
    """Image of 2 to 5 axes, in memory or of dask chunks, with options that fit it."""
    dims = draw(st.sampled_from(["yx", "zyx", "cyx", "tzyx", "czyx", "tczyx", "xcy"]))
    most = {2: 60, 3: 24, 4: 12, 5: 9}[len(dims)]
    sizes = {dim: draw(st.integers(1, most if dim in "zyx" else 3)) for dim in dims}
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(1, 2**16, tuple(sizes.values()), dtype="uint16")
    if draw(st.booleans()):
        values = dask.array.from_array(values, chunks=tuple(draw(st.integers(1, n)) for n in sizes.values()))
    spatial = [dim for dim in dims if dim in "zyx"]
    img = xarray_ngff.as_image(values, tuple(dims), spacing=dict.fromkeys(spatial, 1.0), units="um")
    factors, grown = [], dict.fromkeys(spatial, 1)
    for _ in range(draw(st.integers(0, 3))):
        before = {dim: min(n, sizes[dim]) for dim, n in grown.items()}
        grown = {dim: n * draw(st.sampled_from([1, 2, 2, 3])) for dim, n in grown.items()}
        if {dim: min(n, sizes[dim]) for dim, n in grown.items()} != before:
            factors.append(dict(grown))
    chunks = {dim: draw(st.integers(1, 8)) for dim in dims}
    shards = draw(
        st.none()
        | st.sampled_from(["auto", "200 B", "2 kB"])
        | st.just({dim: length * draw(st.integers(1, 3)) for dim, length in chunks.items()})
    )
    return img, {"factors": factors, "chunks": chunks, "shards": shards}


class TestWhatIsWritten:
    @given(pyramid=pyramids(), block=st.sampled_from([1, 64, 512, 4096, 2**20]))
    @settings(deadline=None, max_examples=30)
    def test_every_chunk_once_and_every_voxel(self, pyramid, block):
        """Shards, too, whatever the chunks of the source are."""
        img, options = pyramid
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing_plan, "BLOCK_BYTES", block)
            patch.setattr(writing_plan, "_SMALLEST_BLOCK", 1)
            plan = plan_pyramid(img, **options)
        arrays, store = written(img, plan)
        finest = np.asarray(img.transpose(*plan.dims))
        files = 0
        for level, array in zip(plan.levels, arrays, strict=True):
            np.testing.assert_array_equal(array[...], maxima(finest, [level.factors.get(dim, 1) for dim in plan.dims]))
            unit = level.shards or level.chunks
            files += math.prod(-(-n // length) for n, length in zip(level.shape, unit, strict=True))
        assert len(store.count) == files
        assert set(store.count.values()) == {1}

    @given(pyramid=pyramids(), block=st.sampled_from([1, 64, 512, 4096]))
    @settings(deadline=None, max_examples=50)
    def test_blocks_are_within_the_bytes_unless_one_unit_needs_more(self, pyramid, block):
        img, options = pyramid
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing_plan, "BLOCK_BYTES", block)
            patch.setattr(writing_plan, "_SMALLEST_BLOCK", 1)
            plan = plan_pyramid(img, **options)
        if img.chunks is not None:
            return  # its own chunks may be longer
        for stage, shape in zip(plan.passes, plan.blocks, strict=True):
            first = plan.levels[stage.levels[0]]
            one = math.prod(map(min, first.shards or first.chunks, first.shape))
            assert math.prod(shape) * 2 <= max(block, one * 2)

    @given(pyramid=pyramids(), block=st.sampled_from([1, 64, 512, 4096]))
    @settings(deadline=None, max_examples=30)
    def test_the_blocks_that_it_tells(self, pyramid, block):
        """The longest that are written along each axis, of any source, and of stored levels."""
        img, options = pyramid
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(writing_plan, "BLOCK_BYTES", block)
            patch.setattr(writing_plan, "_SMALLEST_BLOCK", 1)
            plan = plan_pyramid(img, **options)
        journal = KeyJournal()
        written(img, plan, journal)
        found: dict[int, list[int]] = {}
        for key in journal.keys:
            level, _, region = key.partition("/")
            edges = [tuple(map(int, part.split("-"))) for part in region.split("_")]
            lengths = [stop - start for start, stop in edges]
            found[int(level)] = list(map(max, lengths, found.get(int(level), lengths)))
        assert found == {stage.levels[0]: list(block) for stage, block in zip(plan.passes, plan.blocks, strict=True)}


class TestOptions:
    def test_levels_and_their_grids(self):
        plan = plan_pyramid(image((3, 400, 400, 400), dims="czyx"), factors=[2, {"y": 4, "x": 4, "z": 2}], chunks=64)
        assert plan.dims == ("c", "z", "y", "x")
        assert plan.dtype == np.dtype("uint16")
        assert plan.levels == (
            LevelPlan(0, {"z": 1, "y": 1, "x": 1}, (3, 400, 400, 400), (1, 64, 64, 64), None, None),
            LevelPlan(1, {"z": 2, "y": 2, "x": 2}, (3, 200, 200, 200), (1, 64, 64, 64), None, 0),
            LevelPlan(2, {"z": 2, "y": 4, "x": 4}, (3, 200, 100, 100), (1, 64, 64, 64), None, 1),
        )

    def test_any_order_of_dims(self):
        turned = plan_pyramid(image((300, 3, 500), dims="xcy"), chunks=(1, 100, 200))
        assert turned.dims == ("c", "y", "x")
        assert turned.levels[0].shape == (3, 500, 300)
        assert turned.levels[0].chunks == (1, 100, 200)

    def test_shards_of_a_size_take_one_pass(self):
        given_lengths = plan_pyramid(image((1024,) * 3), levels=2, shards=(256, 256, 512))
        of_a_size = plan_pyramid(image((1024,) * 3), levels=2, shards="auto")
        assert [level.shards for level in given_lengths.levels] == [(256, 256, 512)] * 2
        assert [stage.levels for stage in given_lengths.passes] == [(0,), (1,)]
        assert [level.shards for level in of_a_size.levels] == [(256, 256, 512), (128, 128, 256)]
        assert [stage.levels for stage in of_a_size.passes] == [(0, 1)]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"factors": [0]}, "0"),
            ({"levels": 50}, "too many"),
            ({"chunks": {"q": 1}}, "'q'"),
            ({"shards": 100}, "no multiple of the chunk length 128"),
            ({"memory_limit": "many"}, "memory_limit is 'many'"),
            ({"memory_limit": 0}, "memory_limit is 0"),
        ],
        ids=str,
    )
    def test_that_do_not_fit(self, options, message):
        with pytest.raises((GeometryError, MemoryLimitError), match=message):
            plan_pyramid(image((600, 600, 600)), **options)

    def test_an_image_without_voxels(self):
        with pytest.raises(GeometryError, match="the image is empty"):
            plan_pyramid(image((0, 3, 600, 600), dims="tcyx"))

    def test_threads_are_those_of_dask(self):
        with dask.config.set(num_workers=5):
            assert plan_pyramid(image((1024,) * 3), memory_limit="100 GiB").threads == 5
        with dask.config.set(num_workers=None):
            assert plan_pyramid(image((1024,) * 3), memory_limit="100 GiB").threads == dask.system.CPU_COUNT

    def test_small_blocks_where_large_ones_leave_threads_idle(self):
        """Eight blocks of 32 MiB for 64 threads."""
        with dask.config.set(num_workers=64):
            plan = plan_pyramid(image((512,) * 3), memory_limit="100 GiB")
        assert math.prod(n // b for n, b in zip((512,) * 3, plan.blocks[0], strict=True)) >= 32
        assert plan_pyramid(image((512,) * 3), memory_limit="100 GiB").blocks == ((256, 256, 256),)

    def test_pickles(self):
        plan = plan_pyramid(image((600, 600, 600)))
        assert pickle.loads(pickle.dumps(plan)) == plan

    def test_is_frozen(self):
        plan = plan_pyramid(image((600, 600, 600)))
        with pytest.raises(dataclasses.FrozenInstanceError):
            plan.threads = 7


class TestLimit:
    @given(
        shape=st.lists(st.integers(1, 3000), min_size=2, max_size=3),
        chunk=st.integers(8, 400),
        shards=st.sampled_from([None, "auto", "8 MiB"]),
        limits=st.lists(st.integers(MIB, 4096 * MIB), min_size=2, max_size=6),
        workers=st.integers(1, 20),
    )
    @settings(deadline=None, max_examples=30)
    def test_is_kept_and_more_of_it_is_no_slower(self, shape, chunk, shards, limits, workers):
        """And what is refused with a limit is refused with a lower one."""
        img = image(tuple(shape))
        durations = []
        with dask.config.set(num_workers=workers):
            for limit in sorted(limits):
                try:
                    plan = plan_pyramid(img, chunks=chunk, shards=shards, memory_limit=limit)
                except MemoryLimitError:
                    assert not durations
                    continue
                assert plan.peak_bytes <= limit == plan.memory_limit
                assert 1 <= plan.threads <= workers
                durations.append(writing_plan._duration(plan, writing_plan.source_of(img)))
        assert durations == sorted(durations, reverse=True)

    def test_fewer_threads_then_none(self):
        """Chunks of 32 MiB: as many at a time as fit, and an error where not even one does."""
        img = image((2048,) * 3)
        with dask.config.set(num_workers=8):
            threads = [
                plan_pyramid(img, chunks=256, memory_limit=limit).threads for limit in ("4 GiB", "768 MiB", "300 MiB")
            ]
            assert threads == sorted(threads, reverse=True)
            assert threads[0] == 8
            assert threads[-1] == 1
            with pytest.raises(MemoryLimitError) as raised:
                plan_pyramid(img, chunks=256, memory_limit="64 MiB")
        said = str(raised.value)
        assert "memory_limit is 64 MiB, but a write with one thread, in chunks of z 256, y 256, x 256, takes up" in said
        assert said.endswith("raise memory_limit, or give smaller chunks")
        # what it says that it needs is enough
        needed = byte_count(said.partition("up to ")[2].partition(":")[0])
        assert plan_pyramid(img, chunks=256, memory_limit=needed + MIB).threads == 1

    def test_names_the_shards_where_there_are_any(self):
        with pytest.raises(MemoryLimitError, match=r"in shards of z 256, y 256, x 512, .* give smaller shards"):
            plan_pyramid(image((2048,) * 3), shards="auto", memory_limit="64 MiB")

    def test_says_what_to_do_with_dask_chunks(self):
        with pytest.raises(MemoryLimitError, match="rechunk it to them first"):
            plan_pyramid(image((512, 2048, 2048), chunks=(1, 2048, 2048)), memory_limit="256 MiB")

    def test_without_one_nothing_is_refused(self, monkeypatch):
        monkeypatch.setattr("xarray_ngff.pyramid.memory.available_bytes", lambda: 4 * MIB)
        plan = plan_pyramid(image((600, 600, 600)))
        assert plan.memory_limit == MIB
        assert plan.threads == 1
        assert plan.peak_bytes > MIB
