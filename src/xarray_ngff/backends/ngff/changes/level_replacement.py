"""Levels of an image replaced in its store: new arrays beside the old ones, one document, then the old ones deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xarray_ngff.backends.ngff.changes.documents import (
    changed_documents,
    delete_below,
    group_document,
    is_free,
    put_document,
)
from xarray_ngff.backends.ngff.nodes import Node, open_array, read_nodes
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined, read_documents
from xarray_ngff.backends.ngff.targets.store_changes import children
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    import zarr

__all__ = [
    "Documents",
    "Replacement",
    "created_arrays",
    "discard",
    "finish",
    "is_published",
    "multiscale_entry",
]

Documents = dict[str, dict[str, Any]]

_EMPTY_GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}


@dataclass(frozen=True)
class Replacement:
    """New levels of an image.

    Attributes
    ----------
    root, zarr_format
        The group of the image.
    finest
        The array of level 0.
    prefix
        Group below it that is made for the new arrays; empty where they go beside level 0.
    arrays
        Path of each new array from the group, finest first, and its metadata documents by key.
    token
        Tells this build from all others.
    before
        The "datasets" that the image has.
    after
        What its entry in "multiscales" gets; None for keys that it loses.
    """

    root: StoreRoot
    zarr_format: int
    finest: Node
    prefix: str
    arrays: Mapping[str, Documents]
    token: str
    before: Sequence[Mapping[str, Any]]
    after: Mapping[str, Any]


def multiscale_entry(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The image in the attributes of its group: the first of its "multiscales"."""
    entry: dict[str, Any] = attributes.get("ome", attributes)["multiscales"][0]
    return entry


def created_arrays(new: Replacement) -> list[zarr.Array[Any]]:
    """Level 0 and the new arrays, which are created; nothing refers to them yet."""
    _check_unchanged(new)
    _claim(new)
    for key, document in _new_documents(new).items():
        put_document(new.root, key, document)
    return [open_array(new.root, node, writable=True) for node in _nodes(new)]


def _claim(new: Replacement) -> None:
    """Take the paths of the new arrays, which were free when they were chosen, for this build alone."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    if not new.arrays or _is_claimed(new):
        return
    if all(is_free(new.root, path) for path in new.arrays):
        token = default_buffer_prototype().buffer.from_bytes(new.token.encode())
        try:
            sync(new.root.store.set_if_not_exists(joined(new.root.path, _claim_key(new)), token))
        except Exception as error:
            # stores raise whatever their libraries do
            raise FormatError(f"{new.root.name} cannot be written to: {type(error).__name__}: {error}") from error
    if not _is_claimed(new):
        raise FormatError(
            f"{new.root.name}: something was written to {', '.join(new.arrays)} since these paths were chosen for new "
            "levels, perhaps by another build: start again when it is done"
        )


def _is_claimed(new: Replacement) -> bool:
    key = _claim_key(new)
    return read_documents(new.root, [key])[key] == new.token.encode()


def _claim_key(new: Replacement) -> str:
    return joined(next(iter(new.arrays)), ".building")


def _new_documents(new: Replacement) -> Documents:
    """Metadata documents of the new arrays, and of the group that holds them, by key from the group of the image."""
    holder = {".zgroup": {"zarr_format": 2}} if new.zarr_format == 2 else {"zarr.json": _EMPTY_GROUP}
    documents = {joined(new.prefix, key): document for key, document in holder.items()} if new.prefix else {}
    return documents | {joined(path, key): doc for path, docs in new.arrays.items() for key, doc in docs.items()}


def _nodes(new: Replacement) -> list[Node]:
    return [new.finest, *(Node(path, new.zarr_format, "array") for path in new.arrays)]


def _check_unchanged(new: Replacement) -> None:
    _, _, attributes = group_document(new.root, new.zarr_format)
    if multiscale_entry(attributes)["datasets"] != new.before:
        raise FormatError(
            f"{new.root.name}: the levels of the image were changed since they were looked at, and were left as they "
            "are: start again"
        )


def is_published(new: Replacement) -> bool:
    """Whether the new arrays are levels of the image."""
    _, _, attributes = group_document(new.root, new.zarr_format)
    return bool(multiscale_entry(attributes)["datasets"] == new.after["datasets"])


def finish(new: Replacement) -> None:
    """Make the new arrays the levels of the image, then delete those that they replace."""
    replaced = [path for path in (dataset["path"].strip("/") for dataset in new.before) if path != new.finest.path]
    _, _, attributes = group_document(new.root, new.zarr_format)
    if not is_published(new):
        _check_unchanged(new)
        entry = multiscale_entry(attributes)
        lost = {key for key, value in new.after.items() if value is None}
        changed = {key: value for key, value in {**entry, **new.after}.items() if key not in lost}
        home = attributes.get("ome", attributes)
        home["multiscales"] = [changed, *home["multiscales"][1:]]
        obsolete = _unreferred(attributes, replaced)
        documents: dict[str, Any] = {joined(path, key): None for path in obsolete for key in METADATA_KEYS}
        documents |= _new_documents(new)
        for root, key, document in changed_documents(new.root, new.zarr_format, attributes, documents):
            put_document(root, key, document)
    _delete_replaced(new, _unreferred(attributes, replaced))


def _unreferred(attributes: Mapping[str, Any], paths: Sequence[str]) -> list[str]:
    """Those of the paths at and below which no image of the group has a level."""
    entries = attributes.get("ome", attributes)["multiscales"]
    used = [dataset["path"].strip("/") for entry in entries for dataset in entry.get("datasets", ())]
    return [path for path in paths if path and not any(f"{other}/".startswith(f"{path}/") for other in used)]


def _delete_replaced(new: Replacement, paths: Sequence[str]) -> None:
    from zarr.core.sync import sync

    root = new.root
    try:
        if new.arrays:
            sync(root.store.delete(joined(root.path, _claim_key(new))))
        for path in paths:
            delete_below(root, path)
            # a group that was made for them goes with the last
            above = path.rpartition("/")[0]
            if above and set(children(root.child(above))) <= set(METADATA_KEYS) and not _has_attributes(root, above):
                delete_below(root, above)
    except Exception as error:  # noqa: BLE001  # the new levels are whole, whatever becomes of the old ones
        warn(f"{root.name}:", f"has its new levels, but not all that they replace could be deleted: {error}")


def _has_attributes(root: StoreRoot, path: str) -> bool:
    node = read_nodes(root, [path])[path]
    return node is not None and (node.kind != "group" or bool(node.attributes))


def discard(new: Replacement) -> None:
    """Remove the new arrays, unless they are levels of the image, or somebody else's."""
    if new.arrays and _is_claimed(new) and not is_published(new):
        for path in [new.prefix] if new.prefix else new.arrays:
            delete_below(new.root, path)
