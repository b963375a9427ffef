"""A target in a store: arrays first, under a prefix where something is in their way, and the deciding document last."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined, read_documents
from xarray_ngff.backends.ngff.targets.journal import beginning
from xarray_ngff.backends.ngff.targets.place import JOURNAL, Target
from xarray_ngff.backends.ngff.targets.store_changes import can_delete, children, delete, group_documents, put
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError, TargetExistsError

if TYPE_CHECKING:
    from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec

__all__ = [
    "discard_prefix",
    "earlier_prefixes",
    "empty_prefix",
    "finish_store",
    "is_published",
    "put_prefix",
    "store_target",
    "writable_root",
]

_PREFIX = re.compile(r"[0-9a-f]{8}")


def store_target(root: StoreRoot, *, overwrite: bool, resume: bool) -> Target:
    """Target at a root; nothing is created."""
    there = any(content is not None for content in read_documents(root, METADATA_KEYS).values())
    if there and not overwrite:
        raise TargetExistsError(f"{root.name} exists: pass overwrite=True to replace it, or choose another place")
    if there and not can_delete(root):
        raise FormatError(f"{root.name} exists, and a {type(root.store).__name__} cannot delete what would be replaced")
    if resume and not can_delete(root):
        raise FormatError(
            f"{root.name}: a {type(root.store).__name__} cannot list or delete what an unfinished write left, so "
            "resume=True is not possible there"
        )
    if not there and (found := _first_child(root)) is not None:
        unfinished = next(_unfinished(root), None) if root.store.supports_listing else None
        if unfinished is None:
            raise TargetExistsError(
                f"{root.name} is no Zarr but holds {found!r}, so nothing is written over it: choose another place, for "
                "example a path inside it"
            )
        if not resume:
            raise TargetExistsError(
                f"{root.name} holds an unfinished write: pass resume=True to go on with it, or delete it, if no "
                "process is writing it"
            )
    return Target(root, secrets.token_hex(4) if there else "", None, there, resume=resume)


def _unfinished(root: StoreRoot) -> Iterator[str]:
    """Prefixes of unfinished writes."""
    for name in children(root):
        prefix = "" if name == JOURNAL else name
        if (not prefix or _PREFIX.fullmatch(prefix)) and beginning(root.child(joined(prefix, JOURNAL))) is not None:
            yield prefix


def earlier_prefixes(target: Target) -> list[Target]:
    """Places of unfinished writes to the same target that can be continued."""
    return [replace(target, prefix=prefix) for prefix in _unfinished(target.root)]


def writable_root(store: Any, storage_options: Mapping[str, Any] | None) -> StoreRoot:
    """Place in a store that can be written to."""
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


# -- steps ------------------------------------------------------------------------------------------------------------


def empty_prefix(target: Target, specs: Sequence[ArraySpec]) -> None:
    """Remove what an earlier computation left."""
    if _first_child(target.root.child(target.prefix)) is not None:
        discard_prefix(target, specs)


def put_prefix(target: Target, zarr_format: int) -> None:
    """Make the prefix a group."""
    for key, content in group_documents(zarr_format, {}).items() if target.prefix else ():
        put(target.root, joined(target.prefix, key), content)


def finish_store(target: Target, documents: Mapping[str, bytes], zarr_format: int) -> None:
    """Give the group its documents, then delete what they replace."""
    before = read_documents(target.root, METADATA_KEYS)
    try:
        _put_parents(target.root, zarr_format)
        for key, content in documents.items():
            put(target.root, key, content)
        # those of the other Zarr format would still lead readers to the old group
        for key in METADATA_KEYS:
            if before[key] is not None and key not in documents:
                delete(target.root, key)
    except BaseException:
        _restore(target.root, before)
        raise
    _delete_replaced(target, keep={*documents, target.prefix})


def discard_prefix(target: Target, specs: Sequence[ArraySpec]) -> None:
    """Remove what was written of an unfinished group."""
    if not can_delete(target.root) or is_published(target):
        return
    own = [spec.path for spec in specs] if target.description is None else [*(spec.path for spec in specs), JOURNAL]
    for path in [target.prefix] if target.prefix else own:
        delete(target.root, path)


def is_published(target: Target) -> bool:
    """Whether the document that readers of a store go by is the one of this target."""
    documents = read_documents(target.root, ("zarr.json", ".zattrs"))
    content = documents["zarr.json"] or documents[".zattrs"]
    return content is not None and target.prefix.encode() in content


def _put_parents(root: StoreRoot, zarr_format: int) -> None:
    """Make the folders above a root groups, where they are nothing yet."""
    top = StoreRoot(root.store, "", root.name)
    parts = root.path.split("/")[:-1] if root.path else []
    for path in ["/".join(parts[:length]) for length in range(len(parts) + 1)] if root.path else []:
        keys = [joined(path, key) for key in METADATA_KEYS]
        if all(content is None for content in read_documents(top, keys).values()):
            for key, content in group_documents(zarr_format, {}).items():
                put(top, joined(path, key), content)


def _restore(root: StoreRoot, before: Mapping[str, bytes | None]) -> None:
    now = read_documents(root, list(before))
    for key, content in before.items():
        if content is not None and now[key] != content:
            put(root, key, content)
        elif content is None and now[key] is not None:
            delete(root, key)


def _delete_replaced(target: Target, *, keep: set[str]) -> None:
    try:
        if target.description is not None:
            delete(target.root, target.array_path(JOURNAL))
        for name in children(target.root) if target.replaces else ():
            if name not in keep:
                delete(target.root, name)
    except Exception as error:  # noqa: BLE001  # the new group is whole, whatever becomes of the rest
        done, rest = ("replaced", "what it replaces") if target.replaces else ("written", f"the notes in {JOURNAL}")
        warn(f"{target.root.name}:", f"was {done}, but not all of {rest} could be deleted: {error}")
