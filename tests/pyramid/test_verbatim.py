"""Chunks that are copied as they are stored: the same bytes, read once, and the voxels from the same reading."""

from collections import Counter

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore, WrapperStore

from xarray_ngff.pyramid.verbatim import StoredPart, copied_chunks

VALUES = np.random.default_rng(0).integers(1, 999, (10, 12)).astype("u2")


class Counting(WrapperStore):
    """Store that counts what is read."""

    def __init__(self, store):
        super().__init__(store)
        self.read = Counter()

    async def get(self, key, prototype, byte_range=None):
        self.read[key] += 1
        return await super().get(key, prototype, byte_range)


def array(store, shape=(10, 12), zarr_format=3, path="", **options):
    return zarr.create_array(
        store, name=path or None, shape=shape, chunks=(4, 4), dtype="u2", zarr_format=zarr_format, **options
    )


def stored(store, path=""):
    """Bytes of every chunk, by its key below the array."""
    prefix = f"{path}/" if path else ""
    return {
        key.removeprefix(prefix): value.to_bytes()
        for key, value in store._store_dict.items()
        if key.startswith(prefix) and not key.endswith(("zarr.json", ".zarray", ".zattrs", ".zgroup"))
    }


@pytest.mark.parametrize("options", [{}, {"shards": (8, 8)}])
@pytest.mark.parametrize("decoded", [False, True])
def test_the_same_bytes(options, decoded):
    stores = MemoryStore(), MemoryStore()
    source, target = array(stores[0], path="a/b", **options), array(stores[1], **options)
    source[:] = VALUES
    for region in [(slice(0, 8), slice(0, 12)), (slice(8, 10), slice(0, 12))]:
        voxels = copied_chunks(StoredPart(source, (0, 0)), target, region, decoded=decoded)
        assert (voxels is None) == (not decoded)
        if decoded:
            np.testing.assert_array_equal(voxels, VALUES[region])
    assert stored(stores[1]) == stored(stores[0], "a/b")
    assert len(stored(stores[1])) > 1


@pytest.mark.parametrize("decoded", [False, True])
def test_each_chunk_is_read_once(decoded):
    store = Counting(MemoryStore())
    source, target = array(store), array(MemoryStore())
    source[:] = VALUES
    store.read.clear()
    copied_chunks(StoredPart(source, (0, 0)), target, (slice(0, 10), slice(0, 12)), decoded=decoded)
    assert len(store.read) == 9
    assert set(store.read.values()) == {1}
    np.testing.assert_array_equal(target[:], VALUES)


@pytest.mark.parametrize("decoded", [False, True])
def test_of_a_part_and_between_the_formats(decoded):
    source = array(MemoryStore(), zarr_format=2, chunk_key_encoding={"name": "v2", "separator": "."}, compressors=None)
    target = array(MemoryStore(), shape=(6, 8), compressors=None)
    source[:] = VALUES
    voxels = copied_chunks(StoredPart(source, (4, 4)), target, (slice(0, 4), slice(4, 8)), decoded=decoded)
    if decoded:
        np.testing.assert_array_equal(voxels, VALUES[4:8, 8:12])
    assert list(stored(target.store)) == ["c/0/1"]
    np.testing.assert_array_equal(target[:4, 4:], VALUES[4:8, 8:12])


@pytest.mark.parametrize("decoded", [False, True])
def test_chunks_that_are_not_there_stay_absent(decoded):
    source, target = array(MemoryStore()), array(MemoryStore())
    source[:4, :4] = VALUES[:4, :4]
    voxels = copied_chunks(StoredPart(source, (0, 0)), target, (slice(0, 8), slice(0, 8)), decoded=decoded)
    if decoded:
        assert (voxels[4:] == 0).all()
    assert list(stored(target.store)) == ["c/0/0"]
