"""Zarr groups and arrays of a store, many at once: what they are and their attributes.

Array documents are read by hand, because a plate has thousands of them; zarr reads those with anything unusual.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xarray_ngff.backends.ngff.stores import StoreRoot, joined, read_documents
from xarray_ngff.backends.ngff.validation import object_at, shown, warn
from xarray_ngff.errors import FormatError, MetadataError

if TYPE_CHECKING:
    import zarr

__all__ = ["Kind", "Node", "open_array", "read_group", "read_nodes", "suggested_groups"]

Kind = Literal["group", "array"]

# What there is to ask for, by Zarr format and, where it is known, by kind of node.
_KEYS: dict[tuple[int, Kind | None], tuple[str, ...]] = {
    (3, None): ("zarr.json",),
    (3, "group"): ("zarr.json",),
    (3, "array"): ("zarr.json",),
    (2, None): (".zgroup", ".zarray", ".zattrs"),
    (2, "group"): (".zgroup", ".zattrs"),
    (2, "array"): (".zarray", ".zattrs"),
}
_DTYPES = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
    )
}
_DTYPE_V2 = re.compile(r"[<>|=][biufc](1|2|4|8|16)")

# Attributes that make a group worth opening.
_OME_KEYS = ("multiscales", "plate", "well", "labels", "bioformats2raw.layout")


@dataclass(frozen=True)
class Node:
    """A Zarr group or array, as its metadata documents describe it.

    Attributes
    ----------
    path
        Path from the root it was read from.
    zarr_format
        2 or 3.
    kind
        "group" or "array".
    attributes
        User attributes.
    shape, dtype
        Of an array; None for a group.
    chunks
        The least that one read fetches: the chunk, or the inner chunk where chunks are sharded.
    shards
        Shape of a shard, or None.
    dimension_names
        As Zarr v3 has them, or as xarray writes them to Zarr v2; None where the array has none.
    """

    path: str
    zarr_format: int
    kind: Kind
    attributes: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] | None = None
    dtype: np.dtype[Any] | None = None
    chunks: tuple[int, ...] | None = None
    shards: tuple[int, ...] | None = None
    dimension_names: tuple[str | None, ...] | None = None


def read_nodes(
    root: StoreRoot, paths: Sequence[str], *, zarr_format: int | None = None, kind: Kind | None = None
) -> dict[str, Node | None]:
    """Nodes at many paths, fetched together; None where there is none.

    Parameters
    ----------
    root
        Where the paths are counted from.
    paths
        ``""`` is the root itself.
    zarr_format
        2 or 3 where it is known, so that only its keys are asked for.
    kind
        Where it is known, which asks for fewer keys of Zarr v2.

    Raises
    ------
    MetadataError
        Where a document is not JSON or not what Zarr defines, naming its key.
    FormatError
        Where the store cannot be reached, or zarr does not know the data type of an array.
    """
    formats = (3, 2) if zarr_format is None else (zarr_format,)
    keys = {path: {key: joined(path, key) for f in formats for key in _KEYS[f, kind]} for path in paths}
    contents = read_documents(root, [key for wanted in keys.values() for key in wanted.values()])
    nodes = {}
    for path, wanted in keys.items():
        documents = {
            name: _document(contents[key], f"{root.name}: {key}")  # type: ignore[arg-type]
            for name, key in wanted.items()
            if contents[key] is not None
        }
        nodes[path] = _node(root, path, documents) if documents else None
    return nodes


def _document(content: bytes, place: str) -> dict[str, Any]:
    try:
        return object_at(json.loads(content), place)
    except ValueError as error:
        raise MetadataError(f"{place} is not JSON ({error}): the file is truncated or corrupt") from error


def _node(root: StoreRoot, path: str, documents: Mapping[str, dict[str, Any]]) -> Node:
    place = f"{root.name}: {path or 'root'}"
    if "zarr.json" in documents:
        if ".zgroup" in documents or ".zarray" in documents:
            warn(place, "has the documents of Zarr v3 and of v2; v3 was read")
        return _node_v3(root, path, documents["zarr.json"])
    attributes = documents.get(".zattrs", {})
    if ".zarray" in documents:
        return _array_v2(root, path, documents[".zarray"], attributes)
    if ".zgroup" not in documents:
        warn(place, "has .zattrs but neither .zgroup nor .zarray; it was read as a group")
    return Node(path, 2, "group", attributes)


def _node_v3(root: StoreRoot, path: str, document: dict[str, Any]) -> Node:
    place = f"{root.name}: {joined(path, 'zarr.json')}"
    kind = document.get("node_type")
    if document.get("zarr_format") != 3 or kind not in ("group", "array"):
        raise MetadataError(
            f"{place} has zarr_format {shown(document.get('zarr_format'))} and node_type {shown(kind)}, expected 3 and "
            "'group' or 'array'"
        )
    attributes = object_at(document.get("attributes") or {}, f"{place}: attributes")
    if kind == "group":
        return Node(path, 3, "group", attributes)
    names = document.get("dimension_names")
    dimension_names = None if names is None else tuple(names)
    shape = _shape(document.get("shape"), f"{place}: shape")
    dtype = _DTYPES.get(document["data_type"]) if isinstance(document.get("data_type"), str) else None
    grid = document.get("chunk_grid")
    if dtype is None or not isinstance(grid, dict) or grid.get("name") != "regular":
        return _node_from_zarr(root, Node(path, 3, "array", attributes, dimension_names=dimension_names))
    chunks = _shape(grid.get("configuration", {}).get("chunk_shape"), f"{place}: chunk_grid", len(shape))
    for codec in document.get("codecs", ()):
        if isinstance(codec, dict) and codec.get("name") == "sharding_indexed":
            inner = _shape(codec.get("configuration", {}).get("chunk_shape"), f"{place}: sharding", len(shape))
            return Node(path, 3, "array", attributes, shape, dtype, inner, chunks, dimension_names)
    return Node(path, 3, "array", attributes, shape, dtype, chunks, None, dimension_names)


def _array_v2(root: StoreRoot, path: str, document: dict[str, Any], attributes: dict[str, Any]) -> Node:
    place = f"{root.name}: {joined(path, '.zarray')}"
    names = attributes.get("_ARRAY_DIMENSIONS")
    dimension_names = tuple(names) if isinstance(names, list) else None
    shape = _shape(document.get("shape"), f"{place}: shape")
    chunks = _shape(document.get("chunks"), f"{place}: chunks", len(shape))
    dtype = document.get("dtype")
    if not isinstance(dtype, str) or not _DTYPE_V2.fullmatch(dtype):
        return _node_from_zarr(root, Node(path, 2, "array", attributes, dimension_names=dimension_names))
    return Node(path, 2, "array", attributes, shape, np.dtype(dtype), chunks, None, dimension_names)


def _shape(value: object, place: str, ndim: int | None = None) -> tuple[int, ...]:
    if (
        not isinstance(value, list)
        or not all(type(size) is int and size >= 0 for size in value)
        or ndim not in (None, len(value))
    ):
        raise MetadataError(f"{place} is {shown(value)}, expected {'a list of' if ndim is None else ndim} sizes")
    return tuple(value)


def _node_from_zarr(root: StoreRoot, node: Node) -> Node:
    array = open_array(root, node)
    return Node(
        node.path, node.zarr_format, "array", node.attributes, array.shape, array.dtype, array.chunks, array.shards,
        node.dimension_names,
    )  # fmt: skip


def open_array(root: StoreRoot, node: Node, *, writable: bool = False) -> zarr.Array[Any]:
    """The zarr array of a node. One or two small reads; no pixels.

    Parameters
    ----------
    root, node
        Where it is.
    writable
        Whether it is written to; one that is not is not fit for it.

    Raises
    ------
    FormatError
        Where zarr cannot read it: an unknown codec or data type, or it is gone.
    """
    import zarr
    from zarr.core.sync import sync
    from zarr.storage import StorePath

    from xarray_ngff.backends.ngff.codecs.pipeline import fastest
    from xarray_ngff.backends.ngff.codecs.whole_chunks import checking_lengths

    place = StorePath(root.store, joined(root.path, node.path))
    try:
        # not zarr.open_array: it would replace the store by a read-only copy of itself
        array = sync(zarr.AsyncArray.open(place, zarr_format=node.zarr_format))  # type: ignore[arg-type]
        checked = zarr.Array(checking_lengths(array))
        return fastest(checked, reading=not writable) if writable or checked.shards is not None else checked
    except Exception as error:
        raise FormatError(f"{root.name}: zarr cannot open the array {node.path!r}: {error}") from error


def read_group(root: StoreRoot, path: str = "", *, zarr_format: int | None = None) -> Node:
    """The group at a path.

    Raises
    ------
    FormatError
        Where there is none; the message says what was looked for and, as far as can be seen, what was meant.
    """
    node = read_nodes(root, [path], zarr_format=zarr_format)[path]
    if node is not None and node.kind == "group":
        return node
    place = f"{root.name}{': ' + path if path else ''}"
    if node is not None:
        above = repr(joined(path).rpartition("/")[0]) if path else "the folder above"
        raise FormatError(f"{place} is a Zarr array, not a group: an OME-Zarr image is the group that holds it. "
                          f"Give {above}, and pick the array with level=.")  # fmt: skip
    meant = suggested_groups(root, path)
    hint = f"did you mean {' or '.join(f'group={group!r}' for group in meant)}?" if meant else "check the path"
    raise FormatError(
        f"{place} holds no Zarr group: neither zarr.json (Zarr v3) nor .zgroup (Zarr v2) is there; {hint}"
    )


def suggested_groups(root: StoreRoot, path: str = "") -> tuple[str, ...]:
    """Up to three groups right below a path that hold OME-Zarr metadata, for a hint in a message.

    Folders, zip files and memory are listed. Other stores are only asked for the group "0".
    """
    try:
        names = sorted(_children(root, path))[:100] or ["0"]
        found = read_nodes(root, [joined(path, name) for name in names])
    except FormatError:
        # the message that wants a hint is worth more than what is wrong with a neighbour
        return ()
    groups = [(path, node.attributes) for path, node in found.items() if node is not None and node.kind == "group"]
    return tuple(path for path, attributes in groups if _has_ome_metadata(attributes))[:3]


def _has_ome_metadata(attributes: Mapping[str, Any]) -> bool:
    inner = attributes.get("ome", attributes)
    return isinstance(inner, Mapping) and any(key in inner for key in _OME_KEYS)


def _children(root: StoreRoot, path: str) -> list[str]:
    from zarr.core.sync import sync
    from zarr.storage import LocalStore, MemoryStore, ZipStore

    async def names() -> list[str]:
        prefix = joined(root.path, path)
        return [name async for name in root.store.list_dir(prefix)]

    return sync(names()) if isinstance(root.store, LocalStore | ZipStore | MemoryStore) else []
