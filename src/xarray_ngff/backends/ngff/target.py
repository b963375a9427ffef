"""Where an OME-Zarr is written so that a reader finds the old one or the new one, whole, and never a part.

A local target is written into a hidden folder beside it and moved into place at the end. In any other store the arrays
are written first, under a prefix of their own where something is to be replaced, and the one document that makes the
group an OME-Zarr is written last; only then is what it replaces deleted. A reader that is in the middle of a read at
the very moment of the change may get chunks of both, as with any file that is replaced.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xarray_ngff.backends._atomic import checked_target, partial_path, publish, remove
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined, read_documents
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError, TargetExistsError

if TYPE_CHECKING:
    import zarr

__all__ = ["ArraySpec", "Target", "create_arrays", "discard", "finish", "is_finished", "open_target"]


@dataclass(frozen=True)
class ArraySpec:
    """Array of a level that is to be created."""

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """A place that is being written.

    Attributes
    ----------
    root
        Where the group is written: for a local target the hidden folder.
    prefix
        Path below it under which the arrays go, "" where nothing is in their way.
    final
        Folder that the hidden one becomes; None for a store.
    replaces
        Whether something is there that the finished group replaces.
    """

    root: StoreRoot
    prefix: str
    final: Path | None
    replaces: bool

    def array_path(self, path: str) -> str:
        """Path of an array from the group."""
        return joined(self.prefix, path)


def open_target(store: Any, *, overwrite: bool, storage_options: Mapping[str, Any] | None) -> Target:
    """Place to write to, checked; nothing is written or created.

    Parameters
    ----------
    store
        Path of a folder, fsspec URL, zarr store, store path or group.
    overwrite
        Whether what is there may be replaced.
    storage_options
        Options of the fsspec file system, for URLs.

    Raises
    ------
    TargetExistsError
        Where something is there and `overwrite` is False, or where it is no Zarr.
    FormatError
        Where the place cannot be written to.
    """
    from zarr.storage import LocalStore

    if isinstance(store, str) and store.startswith("file://"):
        store = url2pathname(urlsplit(store).path)
    is_url = isinstance(store, str) and ("://" in store or "::" in store)
    if storage_options and not is_url:
        raise FormatError(f"{store}: storage_options are for URLs, and this is not one: leave them out")
    if isinstance(store, str | os.PathLike) and os.fspath(store).rstrip("/").lower().endswith((".zip", ".ozx")):
        raise FormatError(f"{store}: OME-Zarr is written as a folder, not into a zip archive: leave out the suffix")
    if isinstance(store, str | os.PathLike) and not is_url:
        return _folder_target(Path(store).expanduser(), overwrite=overwrite)
    root = _writable_root(store, storage_options)
    if type(root.store) is LocalStore:
        return _folder_target(Path(root.store.root) / root.path, overwrite=overwrite)
    there = any(content is not None for content in read_documents(root, METADATA_KEYS).values())
    if there and not overwrite:
        raise TargetExistsError(f"{root.name} exists: pass overwrite=True to replace it, or choose another place")
    if there and not _can_delete(root):
        raise FormatError(f"{root.name} exists, and a {type(root.store).__name__} cannot delete what would be replaced")
    if not there and (found := _first_child(root)) is not None:
        raise TargetExistsError(
            f"{root.name} is no Zarr but holds {found!r}, so nothing is written over it: choose another place, for "
            "example a path inside it"
        )
    return Target(root, secrets.token_hex(4) if there else "", None, there)


def _folder_target(path: Path, *, overwrite: bool) -> Target:
    from zarr.storage import LocalStore

    target = checked_target(path, overwrite=overwrite)
    exists = os.path.lexists(target)
    if exists and not (target.is_dir() and any((target / key).is_file() for key in METADATA_KEYS)):
        raise TargetExistsError(f"{target} is no Zarr, so it is not overwritten: remove it, or choose another name")
    return Target(StoreRoot(LocalStore(partial_path(target)), "", str(target)), "", target, exists)


def _writable_root(store: Any, storage_options: Mapping[str, Any] | None) -> StoreRoot:
    import zarr
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, StorePath, ZipStore

    name = None
    if isinstance(store, str):
        name = store
        try:
            store = FsspecStore.from_url(store, storage_options=dict(storage_options or {}), read_only=False)
        except (ImportError, ValueError, TypeError, OSError) as error:
            raise FormatError(f"{name} cannot be opened for writing: {error}") from error
    if isinstance(store, zarr.Group):
        store = store.store_path
    if isinstance(store, Store):
        store = StorePath(store)
    if not isinstance(store, StorePath):
        raise FormatError(
            f"a {type(store).__name__} is not a place that an OME-Zarr can be written to: give a path, a URL, or a "
            "zarr store, store path or group"
        )
    if isinstance(store.store, ZipStore):
        raise FormatError(f"{store}: a zip archive cannot be written in any order: write a folder")
    if store.store.read_only:
        raise FormatError(f"{store} is read-only: open it for writing")
    return StoreRoot(store.store, store.path, name or str(store))


def _can_delete(root: StoreRoot) -> bool:
    return bool(root.store.supports_deletes and root.store.supports_listing)


def _first_child(root: StoreRoot) -> str | None:
    """Name of something below a root; None where nothing is, or in a kind of store that never tells."""
    from zarr.core.sync import sync

    async def first() -> str | None:
        async for name in root.store.list_dir(root.path):
            return name
        return None

    if not root.store.supports_listing:
        return None
    try:
        return sync(first())
    except FileNotFoundError:
        return None
    except Exception as error:
        # stores raise whatever their libraries do
        raise FormatError(
            f"{root.name} cannot be listed, so whether something is in the way is not known ({type(error).__name__}: "
            f"{error}): give a place that can be written to"
        ) from error


def create_arrays(target: Target, specs: Sequence[ArraySpec], *, zarr_format: int) -> list[zarr.Array[Any]]:
    """Empty arrays of the levels, at the target. The group is not an OME-Zarr yet.

    What an earlier try left is removed first.
    """
    if target.final is None and _is_published(target):
        raise TargetExistsError(f"{target.root.name} was written since this write was planned, and was left as it is")
    if target.final is not None or _first_child(target.root.child(target.prefix)) is not None:
        discard(target, specs)
    if target.prefix:
        for key, document in _group_documents(zarr_format, {}).items():
            _put(target.root, joined(target.prefix, key), _json(document))
    return [_created(target, spec, zarr_format) for spec in specs]


def _created(target: Target, spec: ArraySpec, zarr_format: int) -> zarr.Array[Any]:
    import zarr
    from zarr.core.sync import sync
    from zarr.storage import MemoryStore, StorePath

    # made elsewhere and copied: zarr also creates groups all the way up, where a hierarchy of the other format may be
    scratch = MemoryStore()
    zarr.create_array(
        scratch,
        shape=spec.shape,
        chunks=spec.chunks,
        dtype=spec.dtype,
        fill_value=0,
        zarr_format=_format(zarr_format),
        compressors=_compressor(zarr_format, spec.dtype),
        chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        dimension_names=spec.dims if zarr_format == 3 else None,
    )
    path = joined(target.root.path, target.array_path(spec.path))
    for key, content in read_documents(StoreRoot(scratch, "", "scratch"), METADATA_KEYS).items():
        if content is not None:
            _put(target.root, joined(target.array_path(spec.path), key), content)
    return zarr.Array(sync(zarr.AsyncArray.open(StorePath(target.root.store, path), zarr_format=_format(zarr_format))))


def _format(zarr_format: int) -> Any:
    return zarr_format


def _compressor(zarr_format: int, dtype: str) -> Any:
    # bits of neighbouring voxels agree more often than their bytes do: smaller and faster than byte shuffling
    if zarr_format == 2:
        import numcodecs

        return numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.BITSHUFFLE)
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")


def finish(target: Target, attributes: Mapping[str, Any], *, zarr_format: int) -> None:
    """Make the group an OME-Zarr in one step, then delete what it replaces."""
    documents = {key: _json(document) for key, document in _group_documents(zarr_format, attributes).items()}
    if target.final is not None:
        for key, content in documents.items():
            _put(target.root, key, content)
        publish(_hidden_folder(target), target.final, overwrite=target.replaces)
        return
    before = read_documents(target.root, METADATA_KEYS)
    try:
        _put_parents(target.root, zarr_format)
        for key, content in documents.items():
            _put(target.root, key, content)
        # those of the other Zarr format would still lead readers to the old group
        for key in METADATA_KEYS:
            if before[key] is not None and key not in documents:
                _delete(target.root, key)
    except BaseException:
        _restore(target.root, before)
        raise
    if target.replaces:
        _delete_replaced(target, keep={*documents, target.prefix})


def discard(target: Target, specs: Sequence[ArraySpec]) -> None:
    """Remove what was written of an unfinished group; what was there before, and a finished group, stay as they are."""
    if target.final is not None:
        remove(_hidden_folder(target))
    elif _can_delete(target.root) and not _is_published(target):
        for path in [target.prefix] if target.prefix else [spec.path for spec in specs]:
            _delete(target.root, path)


def is_finished(target: Target) -> bool:
    """Whether the group is where this process would read it."""
    return target.final.is_dir() if target.final is not None else _is_published(target)


def _is_published(target: Target) -> bool:
    """Whether the document that readers of a store go by is the one of this target."""
    documents = read_documents(target.root, ("zarr.json", ".zattrs"))
    content = documents["zarr.json"] or documents[".zattrs"]
    return content is not None and target.prefix.encode() in content


def _hidden_folder(target: Target) -> Path:
    return Path(target.root.store.root)  # type: ignore[attr-defined]  # a LocalStore


def _group_documents(zarr_format: int, attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Documents of a group by key; the last one is what gives it its attributes."""
    if zarr_format == 3:
        return {"zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)}}
    return {".zgroup": {"zarr_format": 2}} | ({".zattrs": dict(attributes)} if attributes else {})


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, allow_nan=False).encode()


def _put(root: StoreRoot, key: str, content: bytes) -> None:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    try:
        sync(root.store.set(joined(root.path, key), default_buffer_prototype().buffer.from_bytes(content)))
    except Exception as error:
        # stores raise whatever their libraries do
        raise FormatError(f"{root.name} cannot be written to: {type(error).__name__}: {error}") from error


def _put_parents(root: StoreRoot, zarr_format: int) -> None:
    """Make the folders above a root groups, where they are nothing yet."""
    top = StoreRoot(root.store, "", root.name)
    parts = root.path.split("/")[:-1] if root.path else []
    for path in ["/".join(parts[:length]) for length in range(len(parts) + 1)] if root.path else []:
        keys = [joined(path, key) for key in METADATA_KEYS]
        if all(content is None for content in read_documents(top, keys).values()):
            for key, document in _group_documents(zarr_format, {}).items():
                _put(top, joined(path, key), _json(document))


def _restore(root: StoreRoot, before: Mapping[str, bytes | None]) -> None:
    now = read_documents(root, list(before))
    for key, content in before.items():
        if content is not None and now[key] != content:
            _put(root, key, content)
        elif content is None and now[key] is not None:
            _delete(root, key)


def _delete_replaced(target: Target, *, keep: set[str]) -> None:
    from zarr.core.sync import sync

    async def children() -> list[str]:
        return [name async for name in target.root.store.list_dir(target.root.path)]

    try:
        for name in sync(children()):
            if name not in keep:
                _delete(target.root, name)
    except Exception as error:  # noqa: BLE001  # the new group is whole, whatever becomes of the old one
        warn(f"{target.root.name}:", f"was replaced, but not all of what it replaces could be deleted: {error}")


def _delete(root: StoreRoot, name: str) -> None:
    """Delete a key, or everything below it."""
    from zarr.core.sync import sync

    path = joined(root.path, name)
    if name.rpartition("/")[2] not in METADATA_KEYS:
        sync(root.store.delete_dir(path))
    sync(root.store.delete(path))
