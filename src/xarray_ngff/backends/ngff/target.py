"""Where an OME-Zarr is written so that a reader finds the old one or the new one, whole, and never a part.

A local target is written into a hidden folder beside it and moved into place at the end. In any other store the arrays
are written first, under a prefix of their own where something is to be replaced, and the one document that makes the
group an OME-Zarr is written last; only then is what it replaces deleted.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xarray_ngff.backends._atomic import checked_target, partial_path, publish, remove
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined, read_documents
from xarray_ngff.errors import FormatError, TargetExistsError

if TYPE_CHECKING:
    import zarr

__all__ = ["ArraySpec", "Target", "create_arrays", "discard", "finish", "open_target"]


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
    """Place to write to, checked before anything is written.

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
        store = store.removeprefix("file://")
    if isinstance(store, os.PathLike) or (isinstance(store, str) and "://" not in store and "::" not in store):
        if storage_options:
            raise FormatError(f"{store}: storage_options are for URLs, and this is a path: leave them out")
        return _folder_target(Path(store).expanduser(), overwrite=overwrite)
    root = _writable_root(store, storage_options)
    if type(root.store) is LocalStore:
        return _folder_target(Path(root.store.root) / root.path, overwrite=overwrite)
    there = any(content is not None for content in read_documents(root, METADATA_KEYS).values())
    if there and not overwrite:
        raise TargetExistsError(f"{root.name} exists: pass overwrite=True to replace it, or choose another place")
    if there and not (root.store.supports_deletes and root.store.supports_listing):
        raise FormatError(f"{root.name} exists, and a {type(root.store).__name__} cannot delete what would be replaced")
    return Target(root, secrets.token_hex(4) if there else "", None, there)


def _folder_target(path: Path, *, overwrite: bool) -> Target:
    from zarr.core.sync import sync
    from zarr.storage import LocalStore

    if path.suffix.lower() in (".zip", ".ozx"):
        raise FormatError(f"{path}: OME-Zarr is written as a folder, not into a zip archive: leave out {path.suffix!r}")
    target = checked_target(path, overwrite=overwrite)
    exists = os.path.lexists(target)
    if exists and not (target.is_dir() and any((target / key).is_file() for key in METADATA_KEYS)):
        raise TargetExistsError(f"{target} is no Zarr, so it is not overwritten: remove it, or choose another name")
    hidden = partial_path(target)
    return Target(StoreRoot(sync(LocalStore.open(hidden)), "", str(target)), "", target, exists)


def _writable_root(store: Any, storage_options: Mapping[str, Any] | None) -> StoreRoot:
    import zarr
    from zarr.abc.store import Store
    from zarr.storage import FsspecStore, StorePath, ZipStore

    if isinstance(store, str):
        try:
            store = FsspecStore.from_url(store, storage_options=dict(storage_options or {}), read_only=False)
        except (ImportError, ValueError, TypeError, OSError) as error:
            raise FormatError(f"{store} cannot be opened for writing: {error}") from error
    if isinstance(store, zarr.Group):
        store = store.store_path
    if isinstance(store, Store):
        store = StorePath(store)
    if not isinstance(store, StorePath):
        raise FormatError(
            f"a {type(store).__name__} is not a place that an OME-Zarr can be written to: give a path, a URL, or a zarr "
            "store, store path or group"
        )
    if isinstance(store.store, ZipStore):
        raise FormatError(f"{store}: a zip archive cannot be written in any order: write a folder")
    if store.store.read_only:
        raise FormatError(f"{store} is read-only: open it for writing")
    return StoreRoot(store.store, store.path, str(store))


def create_arrays(target: Target, specs: Sequence[ArraySpec], *, zarr_format: int) -> list[zarr.Array[Any]]:
    """Empty arrays of the levels, at the target. The group is not an OME-Zarr yet."""
    import zarr
    from zarr.storage import StorePath

    if not target.replaces or target.final is not None:
        zarr.create_group(StorePath(target.root.store, target.root.path), zarr_format=_format(zarr_format))
    if target.prefix:
        zarr.create_group(
            StorePath(target.root.store, joined(target.root.path, target.prefix)), zarr_format=_format(zarr_format)
        )
    return [
        zarr.create_array(
            StorePath(target.root.store, joined(target.root.path, target.array_path(spec.path))),
            shape=spec.shape,
            chunks=spec.chunks,
            dtype=spec.dtype,
            fill_value=0,
            zarr_format=_format(zarr_format),
            compressors=_compressor(zarr_format, spec.dtype),
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
            dimension_names=spec.dims if zarr_format == 3 else None,
        )
        for spec in specs
    ]


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
    documents = (
        {"zarr.json": {"zarr_format": 3, "node_type": "group", "attributes": attributes}}
        if zarr_format == 3
        else {".zgroup": {"zarr_format": 2}, ".zattrs": attributes}
    )
    for key, document in documents.items():
        _put(target.root, key, document)
    if target.final is not None:
        publish(Path(target.root.store.root), target.final, overwrite=target.replaces)  # type: ignore[attr-defined]
    elif target.replaces:
        _delete(target.root, keep={*documents, target.prefix})


def discard(target: Target) -> None:
    """Remove what was written of an unfinished group; what was there before stays as it is."""
    if target.final is not None:
        remove(Path(target.root.store.root))  # type: ignore[attr-defined]
    elif target.prefix:
        _delete(target.root.child(target.prefix), keep=set())
    else:
        _delete(target.root, keep=set())


def _put(root: StoreRoot, key: str, document: Mapping[str, Any]) -> None:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    content = json.dumps(document, indent=2, allow_nan=False).encode()
    sync(root.store.set(joined(root.path, key), default_buffer_prototype().buffer.from_bytes(content)))


def _delete(root: StoreRoot, *, keep: set[str]) -> None:
    from zarr.core.sync import sync

    async def delete() -> None:
        names = [name async for name in root.store.list_dir(root.path)]
        for name in names:
            if name in keep:
                continue
            path = joined(root.path, name)
            if await root.store.exists(path):
                await root.store.delete(path)
            else:
                await root.store.delete_dir(path)

    sync(delete())
