"""What becomes of one block: every level that is made from it, and no more of a stored one than is needed."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import zarr
from arrays import Recorder
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.pyramid import stream
from xarray_ngff.pyramid.passes import Pass
from xarray_ngff.pyramid.stream import block_key, block_shape, made_block, regions, store_block, written_bytes

shapes = st.lists(st.integers(1, 13), min_size=1, max_size=3)


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
    def test_within_a_region_cover_it_once(self, shape, data):
        chunks = [data.draw(st.integers(1, n + 2)) for n in shape]
        within = tuple(slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))) for n in shape)
        count, expected = np.zeros(shape, int), np.zeros(shape, int)
        expected[within] = 1
        for region in regions(shape, chunks, within):
            assert count[region].size
            count[region] += 1
            assert all(part.start // c == (part.stop - 1) // c for part, c in zip(region, chunks, strict=True))
        np.testing.assert_array_equal(count, expected)

    @given(shape=shapes, data=st.data())
    def test_cover_every_voxel_once(self, shape, data):
        chunks = [data.draw(st.integers(1, n + 2)) for n in shape]
        count = np.zeros(shape, int)
        for region in regions(shape, chunks):
            count[region] += 1
            assert all(part.start % c == 0 for part, c in zip(region, chunks, strict=True))
        assert (count == 1).all()


class TestMadeBlock:
    @given(limit=st.sampled_from([1, 8, 64]), factors=st.tuples(st.integers(1, 4), st.integers(1, 4)))
    @settings(deadline=None)
    def test_what_is_read_at_a_time_is_bounded(self, limit, factors):
        source = Recorder(np.arange(13 * 17, dtype="u1").reshape(13, 17), (4, 4))
        shape = tuple(-(-n // f) for n, f in zip(source.shape, factors, strict=True))
        stage = Pass(0, (1,), (0,), (factors,), shape)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stream, "PART_BYTES", limit)
            made = made_block([source], tuple(slice(0, n) for n in shape), stage, "max")
        whole = math.prod(math.lcm(4, f) for f in factors)  # no chunk of the source is decoded twice
        touched = Counter()
        for region in source.read:
            assert math.prod(part.stop - part.start for part in region) <= max(limit, whole)
            touched.update(itertools.product(*(range(p.start // 4, -(-p.stop // 4)) for p in region)))
        if all(4 % f == 0 for f in factors):
            assert set(touched.values()) == {1}
        for place in np.ndindex(shape):
            block = tuple(slice(i * f, (i + 1) * f) for i, f in zip(place, factors, strict=True))
            assert made[place] == source.array[block].max()


class TestStoreBlock:
    stage = Pass(None, (0, 1, 2), (None, 0, 1), ((1,), (2,), (2,)), (8,))

    def targets(self):
        return [Recorder(np.full(n, 99, "u1"), (n,)) for n in (11, 6, 3)]

    def test_levels_of_a_block_at_the_end(self):
        targets = self.targets()
        store_block(np.array([4, 6, 9], "u1"), targets, (slice(8, 11),), self.stage, method="mean")
        assert targets[0].array[8:].tolist() == [4, 6, 9]
        assert targets[1].array[4:].tolist() == [5, 9]
        assert targets[2].array.tolist() == [99, 99, 7]
        assert all((target.array[:2] == 99).all() for target in targets)

    def test_levels_that_are_kept_are_read_but_not_written(self):
        targets = self.targets()
        store_block(None, targets, (slice(0, 8),), self.stage, method="max", kept=frozenset({0}))
        assert targets[0].written == []
        assert targets[0].read == [(slice(0, 8),)]
        assert targets[2].array.tolist() == [99, 99, 99]

    def test_a_part_is_completed_from_what_is_stored_level_by_level(self):
        """Of each level the stored voxels count, also where they are not those that its source would give."""
        targets = self.targets()
        targets[0].array[:] = np.arange(11)
        targets[1].array[:] = [10, 20, 30, 40, 50, 60]
        limits = ((slice(2, 4),), (slice(1, 2),), (slice(0, 1),))
        store_block(np.array([7, 8], "u1"), targets, (slice(2, 4),), self.stage, method="max", limits=limits)
        assert targets[0].array.tolist() == [0, 1, 7, 8, *range(4, 11)]
        assert targets[1].array.tolist() == [10, 8, 30, 40, 50, 60]
        assert targets[2].array.tolist() == [10, 99, 99]

    def test_a_whole_block_reads_nothing(self):
        targets = self.targets()
        limits = ((slice(0, 8),), (slice(0, 4),), (slice(0, 2),))
        store_block(np.arange(8, dtype="u1"), targets, (slice(0, 8),), self.stage, method="max", limits=limits)
        assert [target.read for target in targets] == [[], [], []]
        assert targets[2].array.tolist() == [3, 7, 99]

    def test_is_recorded_when_it_is_whole(self):
        noted = []

        class Journal:
            def record(self, key):
                noted.append((key, targets[2].array.tolist()))

        targets = self.targets()
        store_block(np.zeros(8, "u1"), targets, (slice(0, 8),), self.stage, method="max", journal=Journal())
        assert noted == [("0/0-8", [0, 0, 99])]

    def test_zarr_holds_few_chunks_at_a_time(self, monkeypatch):
        monkeypatch.setattr(stream, "PART_BYTES", 64)
        target = Recorder(np.zeros((16, 16), "u1"), (4, 4))
        stage = Pass(None, (0,), (None,), ((1, 1),), (16, 16))
        store_block(np.ones((16, 16), "u1"), [target], (slice(0, 16),) * 2, stage, method="mean")
        assert (target.array == 1).all()
        assert {math.prod(part.stop - part.start for part in region) for region in target.written} == {64}

    @given(length=st.integers(1, 40), start=st.integers(0, 4))
    def test_bytes_are_those_that_are_written(self, length, start):
        region = (slice(8 * start, 8 * start + length),)
        targets = [Recorder(np.zeros(-(-region[0].stop // f), "u2"), (80,)) for f in (1, 2, 4)]
        store_block(np.zeros(length, "u2"), targets, region, self.stage, method="mean")
        written = [sum(part.stop - part.start for (part,) in target.written) for target in targets]
        assert written_bytes(region, self.stage, 2, frozenset()) == 2 * sum(written)
        assert written_bytes(region, self.stage, 2, frozenset({0})) == 2 * sum(written[1:])


def test_keys_name_the_level_and_the_place():
    assert block_key(3, (slice(0, 5), slice(10, 20))) == "3/0-5_10-20"


def test_shards_are_written_whole():
    """One writing of a shard at a time, whatever its size is: a part of one would read and write it again."""
    target = zarr.create_array(zarr.storage.MemoryStore(), shape=(64,), chunks=(2,), shards=(16,), dtype="u1")
    written = []

    class Watched(Recorder):
        shards = target.shards

        def __setitem__(self, region, values):
            written.append(region)
            target[region] = values

    stage = Pass(None, (0,), (None,), ((1,),), (32,))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "PART_BYTES", 1)
        store_block(
            np.arange(32, dtype="u1"), [Watched(np.zeros(64, "u1"), (2,))], (slice(0, 32),), stage, method="mean"
        )
    assert written == [(slice(0, 16),), (slice(16, 32),)]
    assert target[:32].tolist() == list(range(32))
