"""What a new array of a level says of itself: its metadata documents, before it is stored anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xarray_ngff.backends.ngff.codecs.compressors import codecs
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, read_documents

if TYPE_CHECKING:
    from xarray_ngff.backends.ngff.codecs.compressors import Codecs

__all__ = ["ArraySpec", "array_documents"]


@dataclass(frozen=True)
class ArraySpec:
    """Array of a level that is to be created.

    Attributes
    ----------
    path
        Its path from the group.
    shape, chunks
        In voxels along each axis.
    dtype
        Type of the voxels.
    dims
        Names of the axes.
    shards
        Shape of its shards, whole chunks; None for an array without.
    codecs
        How chunks are encoded; None for the default.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: str
    dims: tuple[str, ...]
    shards: tuple[int, ...] | None = None
    codecs: Codecs | None = None


def array_documents(spec: ArraySpec, *, zarr_format: int) -> dict[str, bytes]:
    """Metadata documents of an array, by key below it.

    Parameters
    ----------
    spec
        The array.
    zarr_format
        2 (``.zarray`` and ``.zattrs``) or 3 (``zarr.json``).

    Examples
    --------
    >>> spec = ArraySpec("0", (4, 6), (2, 3), "<u2", ("y", "x"))
    >>> list(array_documents(spec, zarr_format=3)), list(array_documents(spec, zarr_format=2))
    (['zarr.json'], ['.zattrs', '.zarray'])
    """
    import zarr
    from zarr.storage import MemoryStore

    encoding = spec.codecs or codecs("auto", zarr_format=zarr_format, dtype=spec.dtype)
    # made elsewhere: zarr also creates groups all the way up, where a hierarchy of the other format may be
    scratch = MemoryStore()
    options: dict[str, Any] = {
        "shape": spec.shape,
        "chunks": spec.chunks,
        "shards": encoding.shards(spec.shards),
        "dtype": encoding.dtype(spec.dtype),
        "fill_value": 0,
        "zarr_format": zarr_format,
        "chunk_key_encoding": {"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        "dimension_names": spec.dims if zarr_format == 3 else None,
    }
    zarr.create_array(scratch, **options, **encoding.arguments())
    documents = read_documents(StoreRoot(scratch, "", "scratch"), METADATA_KEYS)
    return {key: content for key, content in documents.items() if content is not None}
