"""The metadata documents of a store that is there, changed one at a time: a reader finds the old one or the new one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xarray_ngff.backends._atomic import replacing_file
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined, read_documents
from xarray_ngff.backends.ngff.targets.store_changes import delete, forget_listings, put
from xarray_ngff.backends.ngff.validation import object_at
from xarray_ngff.errors import FormatError, MetadataError

__all__ = [
    "changed_documents",
    "delete_below",
    "group_document",
    "is_free",
    "put_document",
    "read_document",
]

# Where a group of each Zarr format has its attributes.
_ATTRIBUTES_KEYS = {2: ".zattrs", 3: "zarr.json"}


def group_document(root: StoreRoot, zarr_format: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Key and content of the document that holds the attributes of a group, and the attributes, a part of it."""
    key = _ATTRIBUTES_KEYS[zarr_format]
    document = read_document(root, key)
    if document is None:
        raise FormatError(f"{root.name}: {key} is gone: the group was removed or replaced meanwhile")
    if zarr_format == 2:
        return key, document, document
    return key, document, object_at(document.get("attributes"), f"{root.name}: {key}: attributes")


def read_document(root: StoreRoot, key: str) -> dict[str, Any] | None:
    """A document as JSON; None where there is none."""
    content = read_documents(root, [key])[key]
    if content is None:
        return None
    try:
        return object_at(json.loads(content), f"{root.name}: {key}")
    except ValueError as error:
        raise MetadataError(f"{root.name}: {key} is not JSON ({error}): the file is truncated or corrupt") from error


def put_document(root: StoreRoot, key: str, document: Mapping[str, Any]) -> None:
    """Write a document, in one step also where the store is a folder.

    Raises
    ------
    FormatError
        Where the store cannot be written to.
    """
    from zarr.storage import LocalStore

    # what JSON does not know, such as NaN, was there before
    content = json.dumps(document, indent=2).encode()
    path = Path(root.store.root) / joined(root.path, key) if type(root.store) is LocalStore else None
    if path is None or not path.is_file():
        put(root, key, content)
        return
    try:
        # a store of zarr 3.0 writes over a file in place
        with replacing_file(path, overwrite=True) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise FormatError(f"{root.name} cannot be written to: {type(error).__name__}: {error}") from error


def delete_below(root: StoreRoot, path: str) -> None:
    """Delete everything at a path."""
    delete(root, path)


def is_free(root: StoreRoot, path: str) -> bool:
    """Whether nothing is at a path, as far as the store tells."""
    from zarr.core.sync import sync

    if any(content is not None for content in read_documents(root, [joined(path, k) for k in METADATA_KEYS]).values()):
        return False
    forget_listings(root)
    return not root.store.supports_listing or sync(root.store.is_empty(joined(root.path, path)))


def changed_documents(
    root: StoreRoot, zarr_format: int, attributes: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any] | None]
) -> list[tuple[StoreRoot, str, dict[str, Any]]]:
    """Documents to write, in this order, when the attributes of a group and some arrays below it change.

    The first one gives the group its attributes. The others repeat those of many nodes for readers that want them at
    once, as far as the store has such: ``.zmetadata`` in Zarr v2, and "consolidated_metadata" in the ``zarr.json`` of
    v3, of the group or of one above it in the store.

    Parameters
    ----------
    root
        The group.
    zarr_format
        2 or 3.
    attributes
        All its attributes.
    changed
        Documents of arrays by their key from the group; None for those that are going to be deleted.
    """
    key, document, _ = group_document(root, zarr_format)
    own = dict(attributes) if zarr_format == 2 else document | {"attributes": dict(attributes)}
    first = own if zarr_format == 2 else _consolidated(own, changed, "", None)
    found = [(root, key, first)]
    parts = root.path.split("/") if root.path else []
    for depth in range(len(parts), -1, -1):
        above, inner = StoreRoot(root.store, "/".join(parts[:depth]), root.name), "/".join(parts[depth:])
        flat = read_document(above, ".zmetadata")
        if flat is not None and isinstance(flat.get("metadata"), dict):
            entries = {joined(inner, name): content for name, content in {**changed, key: own}.items()}
            found.append((above, ".zmetadata", flat | {"metadata": _updated(flat["metadata"], entries)}))
        nested = read_document(above, "zarr.json") if inner else None
        if nested is not None and "consolidated_metadata" in nested:
            found.append((above, "zarr.json", _consolidated(nested, changed, inner, own)))
    return found


def _consolidated(
    document: dict[str, Any],
    changed: Mapping[str, Mapping[str, Any] | None],
    inner: str,
    group: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """A ``zarr.json`` whose consolidated metadata, if it has such, say what changed below `inner`, and the group."""
    consolidated = document.get("consolidated_metadata")
    if not isinstance(consolidated, dict) or not isinstance(consolidated.get("metadata"), dict):
        return document
    paths = {key.removesuffix("zarr.json"): content for key, content in changed.items() if key.endswith("zarr.json")}
    entries = {joined(inner, path): content for path, content in paths.items()}
    if group is not None:
        said = consolidated["metadata"].get(inner, {})
        entries[inner] = {**said, **{key: group[key] for key in ("zarr_format", "node_type", "attributes")}}
    return document | {
        "consolidated_metadata": consolidated | {"metadata": _updated(consolidated["metadata"], entries)}
    }


def _updated(entries: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    kept = {key: value for key, value in entries.items() if changed.get(key, value) is not None}
    return kept | {key: dict(value) for key, value in changed.items() if value is not None}
