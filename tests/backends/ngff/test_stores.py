"""Stores of every kind give the same documents, from one root."""

import asyncio
import functools
import pickle
import shutil
import threading
import zipfile
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, WrapperStore, ZipStore

from xarray_ngff.backends.ngff.nodes import open_array, read_group, read_nodes
from xarray_ngff.backends.ngff.stores import StoreRoot, joined, open_store, read_documents
from xarray_ngff.errors import FormatError, NgffWarning

PIXELS = np.arange(24, dtype="u2").reshape(4, 6)
ATTRIBUTES = {"ome": {"version": "0.5", "multiscales": []}}


def fill(store, path=""):
    group = zarr.create_group(store, path=path, attributes=ATTRIBUTES)
    array = group.create_array("0", shape=PIXELS.shape, chunks=(2, 3), dtype=PIXELS.dtype, dimension_names=("y", "x"))
    array[:] = PIXELS
    return group


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "img.ome.zarr"
    fill(path)
    return path


def zipped(folder, target, prefix="", extra=()):
    with zipfile.ZipFile(target, "w") as archive:
        for name in extra:
            archive.writestr(name, b"x")
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{prefix}{file.relative_to(folder).as_posix()}")
    return target


@pytest.fixture
def served(tmp_path):
    """Address of `tmp_path` on a plain web server that cannot list, and the paths and tokens it was asked with."""
    asked, tokens = [], set()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            tokens.add(self.headers.get("X-Token"))
            if self.path.startswith("/forbidden"):
                self.send_error(403)
            elif self.path.startswith("/broken"):
                self.send_error(500)
            elif "Range" in self.headers:
                self.send_part(*map(int, self.headers["Range"].removeprefix("bytes=").split("-")))
            else:
                super().do_GET()

        def send_part(self, start, end):
            content = Path(self.translate_path(self.path)).read_bytes()
            part = content[start : end + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part)

        def list_directory(self, path):
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, tokens
    server.shutdown()
    server.server_close()
    thread.join()


def check(root):
    """The root holds what `fill` wrote, and so does its copy in another process."""
    for each in (root, pickle.loads(pickle.dumps(root))):
        assert read_group(each).attributes == ATTRIBUTES
        node = read_nodes(each, ["0"])["0"]
        assert (node.kind, node.shape, node.dtype, node.chunks) == ("array", (4, 6), np.dtype("u2"), (2, 3))
        np.testing.assert_array_equal(open_array(each, node)[:], PIXELS)


class TestKinds:
    def test_folder(self, folder):
        check(open_store(folder))
        check(open_store(str(folder)))
        assert open_store(folder).name == str(folder)

    def test_folder_given_from_home(self, folder, monkeypatch):
        monkeypatch.setenv("HOME", str(folder.parent))
        check(open_store("~/img.ome.zarr"))

    def test_file_url(self, folder, tmp_path):
        check(open_store(folder.as_uri()))
        check(open_store(zipped(folder, tmp_path / "img.zip").as_uri()))

    @pytest.mark.parametrize("suffix", ["zip", "ozx"])
    def test_zip(self, folder, tmp_path, suffix):
        check(open_store(zipped(folder, tmp_path / f"img.{suffix}")))

    def test_zip_with_one_folder_at_the_top(self, folder, tmp_path):
        target = zipped(folder, tmp_path / "img.zip", "img.ome.zarr/", extra=["__MACOSX/x", ".DS_Store"])
        with pytest.warns(NgffWarning, match=r"img\.zip: has its Zarr in the folder 'img\.ome\.zarr'"):
            root = open_store(target)
        assert root.path == "img.ome.zarr"
        check(root)

    def test_zip_with_two_folders_at_the_top_says_what_they_are(self, folder, tmp_path):
        target = zipped(folder, tmp_path / "two.zip", "b.zarr/")
        with zipfile.ZipFile(target, "a") as archive:
            for file in folder.rglob("zarr.json"):
                archive.write(file, f"a.zarr/{file.relative_to(folder).as_posix()}")
        root = open_store(target)
        with pytest.raises(FormatError, match=r"two\.zip holds no Zarr group.*group='a\.zarr' or group='b\.zarr'"):
            read_group(root)
        check(root.child("b.zarr"))

    def test_memory_url(self):
        fill("memory://test_stores/img.zarr")
        check(open_store("memory://test_stores/img.zarr"))

    def test_storage_options_reach_the_file_system(self, folder, tmp_path):
        cache = tmp_path / "cache"
        root = open_store(f"filecache::{folder.as_uri()}", storage_options={"filecache": {"cache_storage": str(cache)}})
        assert read_group(root).attributes == ATTRIBUTES
        assert [file for file in cache.iterdir() if b"multiscales" in file.read_bytes()]

    def test_http(self, folder, served):
        address, asked, _ = served
        root = open_store(f"{address}/img.ome.zarr")
        assert asked == []
        check(root)
        # nothing but documents and chunks: no folder was asked for
        assert {Path(path).name for path in asked} <= {"zarr.json", ".zgroup", ".zattrs", ".zarray", "0", "1", "2"}

    def test_zip_behind_http_is_read_in_place(self, folder, tmp_path, served):
        zipped(folder, tmp_path / "img.zip")
        check(open_store(f"{served[0]}/img.zip"))

    @pytest.mark.parametrize("name", ["img.ome.zarr", "img.zip"])
    def test_storage_options_reach_the_server(self, folder, tmp_path, served, name):
        zipped(folder, tmp_path / "img.zip")
        address, _, tokens = served
        # a zip file is read through the options of the protocol that it lies behind
        root = open_store(f"{address}/{name}", storage_options={"headers": {"X-Token": "abc"}})
        assert read_group(root).attributes == ATTRIBUTES
        assert "abc" in tokens

    def test_store_objects(self, folder, tmp_path):
        memory = MemoryStore()
        group = fill(memory, "a/b")
        check(open_store(group))
        check(open_store(group.store_path))
        check(open_store(memory).child("a/b"))
        check(open_store(LocalStore(folder)))
        # one that nobody opened yet
        check(open_store(ZipStore(zipped(folder, tmp_path / "img.zip"), mode="r")))

    def test_a_root_stays_what_it_is(self, folder):
        root = open_store(folder)
        assert open_store(root) is root


class TestErrors:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(
            FormatError, match=rf"{tmp_path}/a/b\.zarr does not exist; of its parents '{tmp_path}' does"
        ):
            open_store(tmp_path / "a" / "b.zarr")

    def test_file_that_is_no_zip(self, tmp_path):
        file = tmp_path / "img.tif"
        file.write_bytes(b"II*\0")
        with pytest.raises(FormatError, match=r"img\.tif is neither a folder nor a whole zip archive"):
            open_store(file)

    def test_truncated_zip(self, folder, tmp_path):
        file = zipped(folder, tmp_path / "img.zip")
        file.write_bytes(file.read_bytes()[:-30])
        with pytest.raises(FormatError, match="truncated or corrupt"):
            open_store(file)

    def test_zip_with_a_corrupt_directory(self, folder, tmp_path):
        file = zipped(folder, tmp_path / "img.zip")
        file.write_bytes(file.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x09"))
        with pytest.raises(FormatError, match=r"img\.zip cannot be read as a zip archive"):
            open_store(file)

    def test_zip_of_something_else(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
            archive.writestr("notes/a.txt", "a")
        with pytest.raises(FormatError, match=r"notes\.zip holds no Zarr group.*check the path"):
            read_group(open_store(tmp_path / "notes.zip"))

    def test_zip_behind_http_that_is_not_there_or_no_zip(self, tmp_path, served):
        (tmp_path / "bad.zip").write_bytes(b"x" * 100)
        with pytest.raises(FormatError, match=r"/bad\.zip cannot be opened: File is not a zip file"):
            open_store(f"{served[0]}/bad.zip")
        with pytest.raises(FormatError, match=r"/none\.ozx cannot be opened"):
            open_store(f"{served[0]}/none.ozx")

    def test_document_of_a_zarr(self, folder):
        with pytest.raises(FormatError, match=rf"give its folder, '{folder}'"):
            open_store(folder / "zarr.json")

    def test_zarr_array(self, folder):
        with pytest.raises(FormatError, match="is a Zarr array, not a group"):
            open_store(zarr.open_array(folder / "0"))

    def test_other_objects(self):
        with pytest.raises(FormatError, match="a int is not a place"):
            open_store(3)

    def test_storage_options_without_url(self, folder):
        with pytest.raises(FormatError, match="storage_options are for URLs"):
            open_store(folder, storage_options={"anon": True})

    def test_unknown_protocol(self):
        with pytest.raises(FormatError, match=r"nosuch://x cannot be opened"):
            open_store("nosuch://x")

    def test_server_that_denies(self, served):
        with pytest.raises(FormatError, match=r"/forbidden/img\.zarr: access denied"):
            read_group(open_store(f"{served[0]}/forbidden/img.zarr"))

    def test_server_that_fails(self, served):
        with pytest.raises(FormatError, match=r"/broken/img\.zarr: cannot read zarr\.json: 500"):
            read_group(open_store(f"{served[0]}/broken/img.zarr"), zarr_format=3)

    def test_server_that_is_not_there(self, served):
        with pytest.raises(FormatError, match="cannot read"):
            read_group(open_store("http://127.0.0.1:9/img.zarr"))

    def test_unreadable_file(self, folder):
        with pytest.raises(FormatError, match="cannot read"):
            read_documents(open_store(folder), ["a\0b"])

    @pytest.mark.parametrize("path", ["..", "../other", "a/../../other"])
    def test_path_that_leads_out(self, folder, path):
        with pytest.raises(FormatError, match="leads out of the store"):
            open_store(folder).child(path)


class Watched(WrapperStore):
    """Store that counts what is fetched, and how many fetches are under way at once."""

    def __init__(self, store):
        super().__init__(store)
        self.keys, self.now, self.peak = Counter(), 0, 0

    async def get(self, key, prototype, byte_range=None):
        self.keys[key] += 1
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return await super().get(key, prototype, byte_range)


class TestReadDocuments:
    @pytest.fixture(params=["folder", "memory"])
    def root(self, request, folder):
        if request.param == "folder":
            return open_store(folder)
        store = MemoryStore()
        fill(store)
        return open_store(store)

    @pytest.mark.parametrize("copies", [1, 3, 40])
    def test_same_keys_same_order(self, root, copies):
        names = ["0/zarr.json", "nothing", "zarr.json", "0/zarr.json/deeper", "0"]
        keys = [f"{'./' * i}{name}" for i in range(copies) for name in names]
        found = read_documents(root, keys)
        assert list(found) == keys
        for key, content in found.items():
            assert (content is not None) == key.endswith("zarr.json")
        assert found["zarr.json"] == read_documents(root, ["zarr.json"])["zarr.json"]

    def test_no_keys(self, root):
        assert read_documents(root, []) == {}

    def test_fetches_run_together_and_each_once(self):
        watched = Watched(MemoryStore())
        fill(watched)
        watched.keys.clear()
        keys = [f"{i}/zarr.json" for i in range(500)]
        found = read_documents(StoreRoot(watched, "", "watched"), keys)
        assert [key for key, content in found.items() if content is not None] == ["0/zarr.json"]
        assert watched.keys == Counter(keys)
        assert 16 <= watched.peak <= 64

    def test_key_that_is_denied_is_absent_where_others_are_not(self):
        class Guarded(WrapperStore):
            async def get(self, key, prototype, byte_range=None):
                if key == ".zattrs":
                    raise PermissionError("Forbidden")
                return await super().get(key, prototype, byte_range)

        store = MemoryStore()
        fill(store)
        root = StoreRoot(Guarded(store), "", "bucket")
        assert read_documents(root, [".zattrs", "zarr.json"])[".zattrs"] is None
        with pytest.raises(FormatError, match=r"bucket: access denied \(Forbidden\)"):
            read_documents(root, [".zattrs"])

    def test_folder_that_went_away(self, folder):
        root = open_store(folder)
        shutil.rmtree(folder)
        assert read_documents(root, ["zarr.json", "0/zarr.json"]) == {"zarr.json": None, "0/zarr.json": None}


def test_joined():
    assert joined("", "a//b/", "./c") == "a/b/c"
    assert joined("", "/") == joined() == ""
    assert joined("a/b", "../c") == "a/c"
