"""Single keys put into a store and deleted from it, whatever kind of store it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined
from xarray_ngff.errors import FormatError

__all__ = ["can_delete", "children", "delete", "encoded", "forget_listings", "group_documents", "put"]

# Characters of a document that someone may look at.
_READABLE = 2**20


def group_documents(zarr_format: int, attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """Documents of a group by key; the last one is what gives it its attributes."""
    if zarr_format == 3:
        return {"zarr.json": encoded({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})}
    return {".zgroup": encoded({"zarr_format": 2})} | ({".zattrs": encoded(attributes)} if attributes else {})


def encoded(document: Mapping[str, Any]) -> bytes:
    """A document as strict JSON, on many lines where people may read it."""
    compact = json.dumps(document, allow_nan=False)
    # indenting takes ten times as long, which shows with the properties of many labels
    return (compact if len(compact) > _READABLE else json.dumps(document, indent=2, allow_nan=False)).encode()


def put(root: StoreRoot, key: str, content: bytes) -> None:
    """Write a key, counted from the root.

    Raises
    ------
    FormatError
        Where the store refuses.
    """
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    try:
        sync(root.store.set(joined(root.path, key), default_buffer_prototype().buffer.from_bytes(content)))
    except Exception as error:
        # stores raise whatever their libraries do
        raise FormatError(f"{root.name} cannot be written to: {type(error).__name__}: {error}") from error


def delete(root: StoreRoot, name: str) -> None:
    """Delete a key, or everything below it."""
    from zarr.core.sync import sync

    path = joined(root.path, name)
    if name.rpartition("/")[2] not in METADATA_KEYS:
        forget_listings(root)
        sync(root.store.delete_dir(path))
    sync(root.store.delete(path))


def can_delete(root: StoreRoot) -> bool:
    """Whether what is in a store can be found and deleted."""
    return bool(root.store.supports_deletes and root.store.supports_listing)


def children(root: StoreRoot) -> list[str]:
    """Names directly below a root, as the store knows them now."""
    from zarr.core.sync import sync

    async def names() -> list[str]:
        return [name.strip("/") async for name in root.store.list_dir(root.path)]

    forget_listings(root)
    try:
        return sync(names())
    except FileNotFoundError:
        return []


def forget_listings(root: StoreRoot) -> None:
    """Have fsspec ask anew for what is in a store: it keeps listings, and other processes write too."""
    file_system = getattr(root.store, "fs", None)
    if file_system is not None:
        file_system.invalidate_cache()
