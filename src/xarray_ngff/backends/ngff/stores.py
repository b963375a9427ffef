"""Where the bytes of an OME-Zarr come from: one root inside a zarr store, whatever it was given as.

Nothing here knows what the documents mean, and nothing lists a store to open it, so a plain web server will do.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError, MissingFileError

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["METADATA_KEYS", "StoreRoot", "joined", "open_store", "read_documents"]

# Any of these makes a folder a Zarr node.
METADATA_KEYS = ("zarr.json", ".zgroup", ".zattrs", ".zarray")

# Requests under way at once: enough to hide the latency of object stores, and of network file systems.
_CONCURRENT_REQUESTS = 64
_CONCURRENT_FILES = 16


@dataclass(frozen=True)
class StoreRoot:
    """A place inside a zarr store, from which paths are counted. It pickles when its store does.

    Attributes
    ----------
    store
        The zarr store.
    path
        Prefix inside the store, without slashes at the ends; empty at its top.
    name
        What the user called it, for messages.
    """

    store: Store
    path: str
    name: str

    def child(self, path: str) -> StoreRoot:
        """Root of a group further down."""
        inner = joined(path)
        return replace(self, path=joined(self.path, inner), name=f"{self.name.rstrip('/')}/{inner}") if inner else self


def joined(*parts: str) -> str:
    """Path inside a store, without slashes at the ends.

    Raises
    ------
    FormatError
        Where it leads out of its root.

    Examples
    --------
    >>> joined("A/1", "./0/")
    'A/1/0'
    """
    path = posixpath.normpath("/".join(part.strip("/") for part in parts)).strip("/")
    if path == ".." or path.startswith("../"):
        raise FormatError(f"path {'/'.join(parts)!r} leads out of the store: paths inside a store go down only")
    return "" if path == "." else path


def open_store(source: Any, *, storage_options: Mapping[str, Any] | None = None) -> StoreRoot:
    """Root of an OME-Zarr, wherever it is. Nothing is read, except the directory of a zip file.

    Parameters
    ----------
    source
        A directory, a ``.zip`` or ``.ozx`` file, any fsspec URL (``https://``, ``s3://``, ``memory://``; one that ends
        in ``.zip`` or ``.ozx`` is read in place), or a zarr store, store path or group. In a zip file the root is at
        the top or, with an `NgffWarning`, in its only top-level folder.
    storage_options
        Options of the fsspec file system, for URLs only.

    Raises
    ------
    FormatError
        Where there is nothing, or nothing of these kinds. Whether it holds OME-Zarr is seen when its nodes are read.

    Examples
    --------
    >>> import zarr
    >>> group = zarr.create_group(zarr.storage.MemoryStore(), path="scan/brain")
    >>> open_store(group).path
    'scan/brain'
    """
    if isinstance(source, StoreRoot):
        return source
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if isinstance(source, str) and source.startswith("file://"):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        source = url2pathname(urlsplit(source).path)
    if isinstance(source, str) and ("://" in source or "::" in source):
        return _remote_root(source, dict(storage_options or {}))
    if storage_options:
        raise FormatError(f"{source}: storage_options are for URLs, and this is not one: leave them out")
    return _local_root(Path(source).expanduser()) if isinstance(source, str) else _object_root(source)


def _local_root(path: Path) -> StoreRoot:
    import zipfile

    from zarr.core.sync import sync
    from zarr.storage import LocalStore

    if path.is_dir():
        # absolute, for reads after a change of the working folder
        return StoreRoot(sync(LocalStore.open(path.absolute(), read_only=True)), "", str(path))
    if path.is_file():
        if path.name in METADATA_KEYS:
            raise FormatError(f"{path} is one document of a Zarr: give its folder, {str(path.parent)!r}")
        if not zipfile.is_zipfile(path):
            raise FormatError(
                f"{path} is neither a folder nor a whole zip archive: an OME-Zarr is one of them. If it should be a "
                "zip archive, it is truncated or corrupt."
            )
        return _zip_root(path)
    there = next((parent for parent in path.absolute().parents if parent.is_dir()), None)
    raise MissingFileError(f"{path} does not exist; of its parents {str(there)!r} does. Check the path.")


def _zip_root(path: Path) -> StoreRoot:
    import zipfile

    from xarray_ngff.backends.ngff.archive.reader import ArchiveReader

    try:
        store = ArchiveReader(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise FormatError(f"{path} cannot be read as a zip archive: {error}") from error
    root = StoreRoot(store, "", str(path))
    names = store.keys()
    odd = next((name for name in names if _is_lost(name)), None)
    if odd is not None:
        raise FormatError(
            f"{path} has a document under the name {odd!r}, where no Zarr reader looks for it: names in a zip archive "
            "have forward slashes and start at its top. Unpack it and zip it again, for example with  zip -0 -r"
        )
    nodes = {name.rpartition("/")[0] for name in names if name.rpartition("/")[2] in METADATA_KEYS}
    depth = min((_depth(node) for node in nodes), default=0)
    tops = [node for node in nodes if _depth(node) == depth]
    if depth == 0 or len(tops) != 1:
        return root
    warn(f"{path}:", f"has its Zarr in the folder {tops[0]!r} instead of at the top; it was read from there")
    return StoreRoot(store, tops[0], str(path))


def _is_lost(name: str) -> bool:
    """Whether an entry is a document of a Zarr, but not as its key would name it."""
    plain = name.replace("\\", "/")
    return plain.rpartition("/")[2] in METADATA_KEYS and (plain != name or plain.startswith(("/", "./", "../")))


def _depth(path: str) -> int:
    return path.count("/") + bool(path)


def _remote_root(url: str, options: dict[str, Any]) -> StoreRoot:
    import zipfile

    from zarr.storage import FsspecStore

    chained = "::" not in url and url.split("?", 1)[0].lower().endswith((".zip", ".ozx"))
    target = f"zip://::{url}" if chained else url
    if chained and options:
        # in a chain, fsspec takes the options of each file system under its protocol
        options = {url.split("://", 1)[0]: options}
    # older fsspec says KeyError for what a zip file does not have
    absent = (FileNotFoundError, IsADirectoryError, NotADirectoryError, KeyError)
    try:
        store = FsspecStore.from_url(target, storage_options=options, read_only=True, allowed_exceptions=absent)
    except (ImportError, ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        hint = "; pip install 'xarray-ngff[remote]' has the usual ones" if isinstance(error, ImportError) else ""
        raise FormatError(f"{url} cannot be opened: {error}{hint}") from error
    return StoreRoot(store, "", url)


def _object_root(source: Any) -> StoreRoot:
    import zarr
    from zarr.abc.store import Store
    from zarr.core.sync import sync
    from zarr.storage import StorePath

    if isinstance(source, zarr.Array):
        raise FormatError(f"{source.store_path} is a Zarr array, not a group: give the group that holds it")
    if isinstance(source, zarr.Group):
        source = source.store_path
    if isinstance(source, Store):
        source = StorePath(source)
    if not isinstance(source, StorePath):
        raise FormatError(
            f"a {type(source).__name__} is not a place that an OME-Zarr can be read from: give a path, a URL, or a "
            "zarr store, store path or group"
        )
    # a ZipStore that nobody opened yet has no archive
    opened = sync(StorePath.open(source.store, source.path, mode=None))
    return StoreRoot(opened.store, opened.path, str(opened))


def read_documents(root: StoreRoot, keys: Sequence[str]) -> dict[str, bytes | None]:
    """Content of many keys, fetched concurrently; None for those that are not there.

    Parameters
    ----------
    root
        Where the keys are counted from.
    keys
        Such as ``"A/1/0/zarr.json"``.

    Raises
    ------
    FormatError
        Where the store cannot be reached, or denies everything that was asked for.
    """
    from zarr.core.sync import sync
    from zarr.storage import LocalStore

    full = [joined(root.path, key) for key in keys]
    # files are read as files: the event loop costs five times what reading a small file does
    contents = _read_files(root, full) if type(root.store) is LocalStore else sync(_get_all(root, full))
    return dict(zip(keys, contents, strict=True))


def _read_files(root: StoreRoot, keys: Sequence[str]) -> list[bytes | None]:
    from concurrent.futures import ThreadPoolExecutor

    top: Path = root.store.root  # type: ignore[attr-defined]  # only a LocalStore comes here

    def read(batch: Sequence[str]) -> list[bytes | None]:
        return [_read_file(root, top / key) for key in batch]

    workers = min(_CONCURRENT_FILES, len(keys))
    if workers <= 1:
        return read(keys)
    # a few batches per thread: a task per file would cost more than the file
    size = -(-len(keys) // (4 * workers))
    with ThreadPoolExecutor(workers) as pool:
        batches = pool.map(read, [keys[start : start + size] for start in range(0, len(keys), size)])
        return [content for batch in batches for content in batch]


def _read_file(root: StoreRoot, path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise FormatError(f"{root.name}: cannot read {path}: {error}") from error


async def _get_all(root: StoreRoot, keys: Sequence[str]) -> list[bytes | None]:
    import asyncio

    from zarr.core.buffer import default_buffer_prototype

    prototype = default_buffer_prototype()
    gate = asyncio.Semaphore(_CONCURRENT_REQUESTS)
    denied: list[Exception] = []

    async def get(key: str) -> bytes | None:
        async with gate:
            try:
                buffer = await root.store.get(key, prototype)
            except Exception as error:
                # an object store that may not be listed answers "denied" for what is not there
                if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):
                    denied.append(error)
                    return None
                raise FormatError(f"{root.name}: cannot read {key}: {error or type(error).__name__}") from error
        return None if buffer is None else buffer.to_bytes()

    contents = await asyncio.gather(*(get(key) for key in keys))
    if keys and len(denied) == len(keys):
        raise FormatError(
            f"{root.name}: access denied ({denied[0]}). Check the address, and the credentials in storage_options."
        ) from denied[0]
    return contents
