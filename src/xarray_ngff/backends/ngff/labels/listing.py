"""The group "labels" of an image, which lists its label images: read, and kept right.

Spec: "labels" metadata of OME-NGFF 0.4 and 0.5.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xarray_ngff.backends.ngff import metadata
from xarray_ngff.backends.ngff.changes.documents import (
    changed_documents,
    delete_below,
    group_document,
    put_document,
    read_document,
)
from xarray_ngff.backends.ngff.nodes import read_nodes
from xarray_ngff.backends.ngff.stores import StoreRoot, joined
from xarray_ngff.backends.ngff.validation import object_at
from xarray_ngff.backends.ngff.versions import ome_metadata
from xarray_ngff.errors import FormatError

__all__ = ["FOLDER", "list_label", "listed_labels", "local_folder"]

#: Name of the group, from the image.
FOLDER = "labels"

# Documents of nodes by Zarr format; of a group, the last of them holds the attributes.
_GROUP_KEYS = {2: (".zgroup", ".zattrs"), 3: ("zarr.json",)}
_ARRAY_KEYS = {2: (".zarray", ".zattrs"), 3: ("zarr.json",)}

# One at a time reads the list and writes it, or the name that another one adds meanwhile would be lost.
_ONE_THREAD = threading.Lock()


def listed_labels(image: StoreRoot, zarr_format: int) -> tuple[str, ...]:
    """Paths of the label images that are listed, from the group "labels"; none where that group is not there.

    Parameters
    ----------
    image
        Group of the image.
    zarr_format
        2 or 3, that of the image.

    Raises
    ------
    FormatError
        Where something else is in the place of the group, or it is no Zarr of that format.
    """
    group = image.child(FOLDER)
    node = read_nodes(group, [""])[""]
    if node is None:
        return ()
    if node.kind != "group" or node.zarr_format != zarr_format:
        raise FormatError(
            f"{group.name} is a Zarr v{node.zarr_format} {node.kind}, expected a Zarr v{zarr_format} group that lists "
            "label images: move it out of the way"
        )
    if "labels" not in ome_metadata(node.attributes, group.name):
        return ()
    return metadata.labels(node.attributes, group.name)


def list_label(image: StoreRoot, name: str, *, version: str, zarr_format: int, is_new: bool) -> None:
    """Add a label image, which is whole, to the list; it stays as it is where it has the name already.

    The list is read right before it is written, by one thread at a time, and on a local disk by one process. What else
    its document says is kept. Consolidated metadata, where there are any, take up the label too.

    Parameters
    ----------
    image
        Group of the image.
    name
        Path of the label image, from the group "labels".
    version, zarr_format
        Those of the image.
    is_new
        Whether the label image is removed again where it cannot be listed.
    """
    try:
        with _one_writer(local_folder(image)):
            _add(image, name, version, zarr_format)
    except BaseException as error:
        if is_new:
            _remove_after(error, image, name)
        raise


def _remove_after(error: BaseException, image: StoreRoot, name: str) -> None:
    try:
        delete_below(image, joined(FOLDER, name))
    except Exception as second:  # noqa: BLE001  # what went wrong first is what the user must see
        error.add_note(f"{image.name}: {FOLDER}/{name} is whole but not listed, and could not be removed: {second}")


def local_folder(image: StoreRoot, path: str = FOLDER) -> Path | None:
    """Folder of a group of the image; None where the store is no folder."""
    from zarr.storage import LocalStore

    return Path(image.store.root) / image.path / path if isinstance(image.store, LocalStore) else None


@contextlib.contextmanager
def _one_writer(folder: Path | None) -> Iterator[None]:
    """Keep out other threads and, where the system knows locks of folders, other processes."""
    with _ONE_THREAD:
        if folder is None or sys.platform == "win32":
            yield
            return
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
        try:
            # some network file systems have no locks, as object stores have none
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _add(image: StoreRoot, name: str, version: str, zarr_format: int) -> None:
    group = image.child(FOLDER)
    for path in _groups_between(name):
        for key in _GROUP_KEYS[zarr_format][:1]:
            if read_document(group, joined(path, key)) is None:
                put_document(group, joined(path, key), _group_document(None, key, group.name))
    listed = listed_labels(image, zarr_format)
    if name not in listed:
        for key in _GROUP_KEYS[zarr_format]:
            found = read_document(group, key)
            document = (found or {}) | _group_document(found, key, group.name)
            if key == _GROUP_KEYS[zarr_format][-1]:
                document = _with_list(document, [*listed, name], version, f"{group.name}: {key}")
            if document != found:
                put_document(group, key, document)
    _consolidate(group, name, zarr_format)


def _consolidate(group: StoreRoot, name: str, zarr_format: int) -> None:
    """Have consolidated metadata, of the group "labels" or of one above it, tell of a label image."""
    _, _, attributes = group_document(group, zarr_format)
    repeating = changed_documents(group, zarr_format, attributes, {})
    if len(repeating) == 1 and "consolidated_metadata" not in repeating[0][2]:
        return
    changed = _image_documents(group, name, zarr_format)
    for path in _groups_between(name):
        changed |= _documents(group, path, _GROUP_KEYS[zarr_format])
    # in Zarr v2, what makes "labels" a group is another document than its attributes
    changed |= _documents(group, "", _GROUP_KEYS[zarr_format][:-1])
    for root, key, document in changed_documents(group, zarr_format, attributes, changed):
        if document != read_document(root, key):
            put_document(root, key, document)


def _groups_between(name: str) -> list[str]:
    """Paths of the groups between "labels" and a label image; most have none."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _group_document(found: Mapping[str, Any] | None, key: str, place: str) -> dict[str, Any]:
    """What a document of a group says at least."""
    if key == "zarr.json":
        attributes = object_at((found or {}).get("attributes") or {}, f"{place}: attributes")
        return {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return {"zarr_format": 2} if key == ".zgroup" else {}


def _with_list(document: dict[str, Any], names: list[str], version: str, place: str) -> dict[str, Any]:
    """The document that holds the attributes of the group, with these names in its list."""
    if version == "0.4":
        return document | {"labels": names}
    attributes = document["attributes"]
    ome = {"version": version} | object_at(attributes.get("ome", {}), f"{place}: ome") | {"labels": names}
    return document | {"attributes": attributes | {"ome": ome}}


def _image_documents(group: StoreRoot, name: str, zarr_format: int) -> dict[str, dict[str, Any]]:
    """Documents of a label image and its arrays, by key from the group "labels"."""
    _, _, attributes = group_document(group.child(name), zarr_format)
    levels = metadata.multiscales(attributes, f"{group.name}: {name}", zarr_format=zarr_format)[0].levels
    found = _documents(group, name, _GROUP_KEYS[zarr_format])
    for level in levels:
        found |= _documents(group, joined(name, level.path), _ARRAY_KEYS[zarr_format])
    return found


def _documents(group: StoreRoot, path: str, keys: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    documents = {joined(path, key): read_document(group, joined(path, key)) for key in keys}
    return {key: document for key, document in documents.items() if document is not None}
