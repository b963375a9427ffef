"""The store that reads archives gives what `zipfile` gives, reads what is asked for only, and stays with its file."""

import asyncio
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from xarray_ngff.backends.ngff.archive.reader import ArchiveReader
from xarray_ngff.backends.ngff.stores import open_store

PROTOTYPE = default_buffer_prototype()
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]


def archive(path, contents, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return path


def got(store, key, part=None):
    found = asyncio.run(store.get(key, PROTOTYPE, part))
    return None if found is None else found.to_bytes()


async def names(listed):
    return [name async for name in listed]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archives")


@pytest.mark.parametrize("has_pread", [True, False], ids=["pread", "no pread"])
@given(
    content=st.binary(max_size=300),
    start=st.integers(0, 350),
    length=st.integers(0, 350),
    method=st.sampled_from(METHODS),
)
@settings(deadline=None, max_examples=40)
def test_parts(folder, has_pread, content, start, length, method):
    with pytest.MonkeyPatch.context() as patch:
        if not has_pread:
            patch.delattr(os, "pread")
        store = ArchiveReader(archive(folder / "a.zip", {"x": b"before", "a": content, "y": b"after"}, method))
        asked = [
            (None, content),
            (RangeByteRequest(start, start + length), content[start : start + length]),
            (OffsetByteRequest(start), content[start:]),
            (SuffixByteRequest(length), content[max(len(content) - length, 0) :]),
        ]
        for part, expected in asked:
            assert got(store, "a", part) == expected
            assert got(store, "b", part) is None
        assert asyncio.run(store.getsize("a")) == len(content)
        store.close()


def test_keys(tmp_path):
    store = ArchiveReader(archive(tmp_path / "a.zip", {"zarr.json": b"{}", "0/": b"", "0/c/0": b"x", "0/c/1": b"y"}))
    assert asyncio.run(names(store.list())) == ["zarr.json", "0/c/0", "0/c/1"]
    assert asyncio.run(names(store.list_dir(""))) == ["zarr.json", "0"]
    assert asyncio.run(names(store.list_dir("0/c"))) == ["0", "1"]
    assert not asyncio.run(store.exists("0/"))
    assert asyncio.run(store.exists("0/c/0"))


@pytest.mark.parametrize("method", METHODS, ids=["stored", "deflated"])
def test_threads(tmp_path, method):
    contents = {str(i): np.random.default_rng(i).bytes(1 + 997 * i) for i in range(60)}
    store = ArchiveReader(archive(tmp_path / "a.zip", contents, method))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store.content, [*contents] * 5))
    assert found == [*contents.values()] * 5


def test_a_part_of_a_shard_is_read_alone(tmp_path, monkeypatch):
    """However far into the archive, and the shard, it is."""
    path = tmp_path / "a.ozx"
    writer = zarr.storage.ZipStore(path, mode="w")
    writer._sync_open()
    values = np.random.default_rng(0).integers(0, 2**16, (64, 64), "u2")
    array = zarr.create_array(writer, shape=(64, 64), chunks=(8, 8), shards=(64, 64), dtype="u2", compressors=None)
    array[...] = values
    writer.close()

    store = open_store(path).store
    read, pread = [], os.pread

    def counting(*args):
        read.append(args[1])
        return pread(*args)

    array = zarr.open_array(store, mode="r")
    monkeypatch.setattr(os, "pread", counting)
    np.testing.assert_array_equal(array[-8:, -8:], values[-8:, -8:])
    # one chunk, the index of 64 chunks, and a header for each of the two
    assert sum(read) <= 8 * 8 * 2 + 64 * 16 + 4 + 2 * 30


def test_it_stays_with_the_file_that_it_opened(tmp_path):
    path = archive(tmp_path / "a.zip", {"a": b"old"})
    store = ArchiveReader(path)
    archive(tmp_path / "b.zip", {"long/name": bytes(99), "a": b"new"}).replace(path)
    assert (got(store, "a"), got(store, "long/name")) == (b"old", None)
    copy = pickle.loads(pickle.dumps(store))
    assert (got(copy, "a"), got(copy, "long/name")) == (b"new", bytes(99))
    assert copy == store


def test_copies_are_opened_from_anywhere(tmp_path, monkeypatch):
    archive(tmp_path / "a.zip", {"a": b"there"})
    monkeypatch.chdir(tmp_path)
    packed = pickle.dumps(open_store("a.zip").store)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert got(pickle.loads(packed), "a") == b"there"


def test_nothing_can_be_changed(tmp_path):
    path = archive(tmp_path / "a.zip", {"a": b"there"})
    before = path.read_bytes()
    store = ArchiveReader(path)
    assert store.read_only
    content = PROTOTYPE.buffer.from_bytes(b"x")
    for forbidden in (store.set("b", content), store.set_if_not_exists("b", content), store.delete("a"), store.clear()):
        with pytest.raises(ValueError, match="read-only"):
            asyncio.run(forbidden)
    assert path.read_bytes() == before


def test_closed(tmp_path):
    store = ArchiveReader(archive(tmp_path / "a.zip", {"a": b"there"}))
    store.close()
    with pytest.raises(ValueError, match="was closed"):
        got(store, "a")


def test_damage(tmp_path):
    path = archive(tmp_path / "a.zip", {"a": b"there", "b": b"too"})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"PK\3\4", b"PK\3\5", 1))
    with pytest.raises(zipfile.BadZipFile, match="no entry begins where that of 'a' should"):
        got(ArchiveReader(path), "a")
    path.write_bytes(data.replace(b"there", b"These"))
    with pytest.raises(zipfile.BadZipFile, match="Bad CRC-32 for file 'a'"):
        got(ArchiveReader(path), "a")
    # an entry that says to go on where the file has ended
    place = data.find(b"PK\1\2")
    longer = bytearray(data)
    longer[place + 20 : place + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(longer)
    with pytest.raises(zipfile.BadZipFile, match="ends before byte"):
        got(ArchiveReader(path), "a")
