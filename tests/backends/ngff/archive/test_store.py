"""A store that only grows: a ZIP file for everyone else, and readable while it is written."""

import asyncio
import json
import pickle
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.storage import MemoryStore

from xarray_ngff.backends.ngff.archive import store as archive_store
from xarray_ngff.backends.ngff.archive.store import ArchiveStore
from xarray_ngff.errors import FormatError

PROTOTYPE = default_buffer_prototype()
# keys that hold each other's names, too
KEYS = st.lists(st.sampled_from(["c", "0", "1", "c1", "é", "zarr.json"]), min_size=1, max_size=4).map("/".join)
CONTENTS = st.dictionaries(KEYS, st.binary(max_size=60), max_size=8)


def buffer(content):
    return cpu.Buffer.from_bytes(content)


def run(coroutine):
    return asyncio.run(coroutine)


async def all_of(names):
    return [name async for name in names]


@pytest.fixture
def store(tmp_path):
    return new(tmp_path / "a.zip")


def new(path):
    path.write_bytes(b"")
    return ArchiveStore(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archives")


class TestArchive:
    @given(contents=CONTENTS, comment=st.text(max_size=20))
    @settings(deadline=None, max_examples=60)
    def test_zipfile_reads_it(self, folder, contents, comment):
        comment = json.dumps(comment).encode()
        store = new(folder / "a.zip")
        for key, content in contents.items():
            store.append(key, content)
        store.seal(comment=comment)
        with zipfile.ZipFile(store.path) as archive:
            assert archive.testzip() is None
            assert archive.comment == comment
            assert archive.namelist() == list(contents)
            assert [archive.read(key) for key in contents] == list(contents.values())
            assert {info.compress_type for info in archive.infolist()} <= {zipfile.ZIP_STORED}

    def test_equal_contents_give_equal_files(self, tmp_path):
        files = []
        for name in "ab":
            store = new(tmp_path / name)
            store.append("zarr.json", b"{}")
            store.append("0/c/0", bytes(99))
            store.seal(comment=b"same")
            files.append(store.path.read_bytes())
        assert files[0] == files[1]

    def test_threads(self, store):
        """Each writes and reads back its own; the archive has them all, whole and apart."""
        contents = {f"c/{i}": np.random.default_rng(i).bytes(1 + i * 997 % 50_000) for i in range(200)}

        def write(key):
            store.append(key, contents[key])
            return store.content(key) == contents[key]

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(write, contents))
        store.seal(comment=b"")
        with zipfile.ZipFile(store.path) as archive:
            assert archive.testzip() is None
            assert {name: archive.read(name) for name in archive.namelist()} == contents
            infos = archive.infolist()
            assert [info.header_offset for info in infos] == sorted(info.header_offset for info in infos)

    def test_a_slow_write_holds_up_no_other(self, store, monkeypatch):
        begun, go_on = threading.Event(), threading.Event()

        def header(entry):
            if entry.name == "slow":
                begun.set()
                assert go_on.wait(10)
            return local_header(entry)

        local_header = archive_store.local_header
        monkeypatch.setattr(archive_store, "local_header", header)
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(store.append, "slow", b"s" * 99)
            assert begun.wait(10)
            store.append("quick", b"q")
            assert store.content("quick") == b"q"
            # what is not whole is not there, and its name is taken
            assert list(store.keys()) == ["quick"]
            with pytest.raises(FormatError, match="'slow' is written a second time"):
                store.append("slow", b"")
            with pytest.raises(FormatError, match="'slow' was not written whole"):
                store.seal(comment=b"")
            go_on.set()
            slow.result()
        store.seal(comment=b"")
        with zipfile.ZipFile(store.path) as archive:
            assert (archive.read("slow"), archive.read("quick")) == (b"s" * 99, b"q")

    def test_a_key_is_written_once(self, store):
        store.append("a", b"first")
        with pytest.raises(FormatError, match=r"a\.zip: 'a' is written a second time, and an archive only grows"):
            store.append("a", b"second")
        assert store.content("a") == b"first"

    def test_nothing_comes_after_the_end(self, store):
        store.append("a", b"first")
        store.seal(comment=b"")
        with pytest.raises(FormatError, match="'b' comes after the archive was closed"):
            store.append("b", b"")
        with zipfile.ZipFile(store.path) as archive:
            assert archive.namelist() == ["a"]

    def test_what_failed_cannot_be_closed(self, store, monkeypatch):
        def full(entry):
            raise OSError(28, "No space left on device")

        store.append("a", b"first")
        with monkeypatch.context() as patch:
            patch.setattr(archive_store, "local_header", full)
            with pytest.raises(OSError, match="No space left"):
                store.append("b", b"second")
        store.append("c", b"third")
        with pytest.raises(FormatError, match="cannot be closed: 'b' was not written whole"):
            store.seal(comment=b"")

    def test_it_does_not_leave_its_process(self, store):
        with pytest.raises(FormatError, match="only threads of one process can do"):
            pickle.dumps(store)


class TestStore:
    """What zarr asks for, as its own store in memory answers."""

    @given(contents=CONTENTS, asked=st.lists(KEYS, max_size=4))
    @settings(deadline=None, max_examples=40)
    def test_keys(self, folder, contents, asked):
        store, truth = new(folder / "b.zip"), MemoryStore()
        for each in (store, truth):
            for key, content in contents.items():
                run(each.set(key, buffer(content)))
        assert run(all_of(store.list())) == run(all_of(truth.list()))
        for key in [*contents, *asked, ""]:
            assert run(store.exists(key)) == run(truth.exists(key))
            prefix = f"{key}/" if key else ""
            assert run(all_of(store.list_prefix(prefix))) == run(all_of(truth.list_prefix(prefix)))
            # in memory, a key may have others below it, which no folder can
            for name in (key, f"{key}/"):
                assert set(run(all_of(store.list_dir(name)))) == set(run(all_of(truth.list_dir(name))))
            assert run(store.is_empty(key)) == run(truth.is_empty(key))
        for key, content in contents.items():
            assert run(store.getsize(key)) == len(content)

    @given(content=st.binary(max_size=40), start=st.integers(0, 50), length=st.integers(0, 50))
    @settings(deadline=None, max_examples=40)
    def test_parts(self, folder, content, start, length):
        store = new(folder / "c.zip")
        run(store.set("before", buffer(b"xx")))
        run(store.set("a", buffer(content)))
        run(store.set("after", buffer(b"yy")))
        asked = [
            (None, content),
            (RangeByteRequest(start, start + length), content[start : start + length]),
            (OffsetByteRequest(start), content[start:]),
            (SuffixByteRequest(length), content[max(len(content) - length, 0) :]),
        ]
        for part, expected in asked:
            assert run(store.get("a", PROTOTYPE, part)).to_bytes() == expected
            assert run(store.get("b", PROTOTYPE, part)) is None
        found = run(store.get_partial_values(PROTOTYPE, [("a", part) for part, _ in asked] + [("b", None)]))
        assert [each.to_bytes() for each in found[:-1]] == [expected for _, expected in asked]
        assert found[-1] is None

    def test_absent_size(self, store):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            run(store.getsize("nowhere"))

    def test_only_what_is_absent_can_be_deleted(self, store):
        run(store.set("a/b", buffer(b"x")))
        run(store.delete("a"))
        run(store.delete_dir("b"))
        for forbidden in (store.delete("a/b"), store.delete_dir("a"), store.delete_dir(""), store.delete_dir("a/")):
            with pytest.raises(FormatError, match="'a/b' cannot be deleted, as an archive only grows"):
                run(forbidden)
        run(store.set_if_not_exists("a/b", buffer(b"y")))
        run(store.set_if_not_exists("c", buffer(b"z")))
        assert (store.content("a/b"), store.content("c")) == (b"x", b"z")

    def test_keys_are_written_whole(self, store):
        store.append("a", b"first")
        with pytest.raises(FormatError, match="a part of 'a' cannot be written"):
            run(store.set_partial_values([("a", 1, b"x")]))
        run(store.set_partial_values([]))
        assert not store.supports_partial_writes
        assert store.content("a") == b"first"

    def test_says_what_it_is(self, store):
        assert (str(store), store.supports_deletes, store.read_only) == (f"zip://{store.path}", False, False)
        assert repr(store) == f"ArchiveStore('{store.path}')"
        assert store == store
        assert store != ArchiveStore(store.path)

    @pytest.mark.parametrize("shards", [None, (8, 12)], ids=["chunks", "shards"])
    @pytest.mark.parametrize("compressors", [None, "auto"], ids=["raw", "compressed"])
    def test_arrays(self, store, shards, compressors, ramp):
        """Written whole, read back in parts before and after the end; chunks of zeros take no entry."""
        values = ramp(21, 30)
        values[8:16, :12] = 0
        array = zarr.create_array(
            store, shape=values.shape, chunks=(4, 6), shards=shards, dtype=values.dtype, compressors=compressors
        )
        array[...] = values
        np.testing.assert_array_equal(array[...], values)
        np.testing.assert_array_equal(array[3:18, 5:29:3], values[3:18, 5:29:3])
        store.seal(comment=b"")
        with zipfile.ZipFile(store.path) as archive:
            names = set(archive.namelist())
            assert archive.testzip() is None
        assert ("c/1/0" if shards else "c/2/0") not in names
        read = zarr.open_array(zarr.storage.ZipStore(store.path, mode="r"), mode="r")
        np.testing.assert_array_equal(read[...], values)
        read.store.close()
