"""Stored chunks copied from one Zarr array to another as they are, without decoding and encoding them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import zarr

__all__ = ["StoredPart", "copied_chunks"]

Region = tuple[slice, ...]


@dataclass(frozen=True)
class StoredPart:
    """A part of a Zarr array that consists of whole chunks, or whole shards where it has them.

    Attributes
    ----------
    array
        The array.
    start
        Index of the first voxel of the part.
    """

    array: zarr.Array[Any]
    start: tuple[int, ...]


def copied_chunks(
    source: StoredPart, target: zarr.Array[Any], region: Region, *, decoded: bool
) -> np.ndarray[Any, Any] | None:
    """Copy the chunks of a region to an array with the same grid of chunks and the same encoding.

    Parameters
    ----------
    source
        What is copied; it has the shape of the target.
    target
        Where it goes.
    region
        Whole chunks, or shards, of the target.
    decoded
        Whether the voxels of the region are wanted too. They come from the same reading of the chunks; those of shards
        are read again, from the target.

    Returns
    -------
    numpy.ndarray or None
        The voxels, if they are wanted.
    """
    from zarr.core.sync import sync

    keys = dict(_keys(source, target, region))
    if decoded and source.array.shards is None:
        there = tuple(slice(p.start + s, p.stop + s) for p, s in zip(region, source.start, strict=True))
        return np.asarray(_through_copying_store(source.array, target, keys)[there])
    sync(_copy_all(source.array, target, keys))
    return np.asarray(target[region]) if decoded else None


def _keys(source: StoredPart, target: zarr.Array[Any], region: Region) -> Iterator[tuple[str, str]]:
    """Keys of the chunks of a region, in the store of the source and in that of the target."""
    array = source.array
    grid = array.shards or array.chunks
    numbers = [range(part.start // length, -(-part.stop // length)) for part, length in zip(region, grid, strict=True)]
    ahead = [first // length for first, length in zip(source.start, grid, strict=True)]
    for place in itertools.product(*numbers):
        there = tuple(number + extra for number, extra in zip(place, ahead, strict=True))
        yield _key(array, there), _key(target, place)


def _key(array: zarr.Array[Any], place: tuple[int, ...]) -> str:
    key: str = array.metadata.encode_chunk_key(place)
    return f"{array.store_path.path}/{key}" if array.store_path.path else key


async def _copy_all(source: zarr.Array[Any], target: zarr.Array[Any], keys: dict[str, str]) -> None:
    from zarr.core.buffer import default_buffer_prototype

    for key, place in keys.items():
        content = await source.store.get(key, default_buffer_prototype())
        if content is not None:
            await target.store.set(place, content)


def _through_copying_store(source: zarr.Array[Any], target: zarr.Array[Any], keys: dict[str, str]) -> zarr.Array[Any]:
    """The source array, reading from a store that copies each chunk that it gives."""
    import zarr
    from zarr.storage import StorePath, WrapperStore

    class CopyingStore(WrapperStore[Any]):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            content = await self._store.get(key, prototype, byte_range)
            if content is not None and key in keys:
                await target.store.set(keys[key], content)
            return content

    place = StorePath(CopyingStore(source.store), source.store_path.path)
    inner = source._async_array
    config = inner.config if hasattr(inner, "config") else inner._config  # zarr 3.0
    return zarr.Array(zarr.AsyncArray(source.metadata, place, config))
