"""Whether an image is nothing but whole stored chunks of an OME-Zarr, which can then be copied as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xarray.core import indexing

from xarray_ngff.backends.ngff.datasets import ZarrLevel
from xarray_ngff.pyramid.verbatim import StoredPart

if TYPE_CHECKING:
    import xarray as xr
    import zarr

__all__ = ["documented_array", "stored_part"]

# What xarray wraps around the array of an engine.
_WRAPPERS = (indexing.MemoryCachedArray, indexing.CopyOnWriteArray)


def stored_part(variable: xr.Variable) -> StoredPart | None:
    """Where an image lies in a Zarr array, if it was opened from one lazily and only cut along its chunks since.

    Parameters
    ----------
    variable
        Variable of the image, not loaded.

    Returns
    -------
    StoredPart or None
        None for all other images: those in memory, of dask or of other formats, and those that are transposed, strided,
        or begin or end within a chunk.
    """
    data = variable._data
    while isinstance(data, _WRAPPERS):
        data = data.array
    if not isinstance(data, indexing.LazilyIndexedArray) or not isinstance(data.array, ZarrLevel):
        return None
    level, key = data.array, data.key.tuple
    if level.order != tuple(range(len(level.file_shape))) or len(key) != len(level.file_shape):
        return None
    parts = [_whole_range(part, size) for part, size in zip(key, level.file_shape, strict=True)]
    array = level.opened()
    if any(part is None for part in parts):
        return None
    ranges = [part for part in parts if part is not None]
    grid = array.shards or array.chunks
    return StoredPart(array, tuple(part.start for part in ranges)) if _on_grid(ranges, array.shape, grid) else None


def _whole_range(part: object, size: int) -> range | None:
    """Indices that a slice takes, if they are consecutive."""
    taken = range(size)[part] if isinstance(part, slice) else None
    return taken if taken is not None and len(taken) > 0 and taken.step == 1 else None


def _on_grid(ranges: Sequence[range], shape: Sequence[int], grid: Sequence[int]) -> bool:
    return all(
        part.start % length == 0 and (part.stop % length == 0 or part.stop == size)
        for part, size, length in zip(ranges, shape, grid, strict=True)
    )


def documented_array(documents: Mapping[str, bytes]) -> zarr.Array[Any]:
    """Array that these metadata documents describe, without any chunks, in memory."""
    import zarr
    from zarr.core.buffer import default_buffer_prototype

    buffer = default_buffer_prototype().buffer
    store = zarr.storage.MemoryStore({key: buffer.from_bytes(content) for key, content in documents.items()})
    return zarr.open_array(store, mode="r")
