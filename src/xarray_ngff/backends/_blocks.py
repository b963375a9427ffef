"""Images taken apart into blocks that are read or computed one after another, each chunk of the source once."""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence

import xarray as xr

__all__ = ["Block", "blocks"]

# Bytes that neighbouring chunks are merged up to.
_BLOCK = 1 << 25

Block = dict[Hashable, slice]


def blocks(img: xr.DataArray, dims: Sequence[Hashable], itemsize: int) -> Iterator[Block]:
    """Parts of an image that together are the whole, in the order of the file.

    Each is made of whole chunks (of dask, or the ones that its file prefers), so that every chunk is computed once. As
    many chunks as fit in about 32 MiB are merged, along the fastest dims first, so that runs in the file are long.

    Parameters
    ----------
    dims
        Dims of the file, the fastest first.
    """
    sizes = {dim: img.sizes[dim] for dim in dims}
    chunks = _chunks(img, sizes)
    lengths = {dim: max(parts) for dim, parts in chunks.items()}
    for dim in dims:
        others = itemsize * math.prod(length for other, length in lengths.items() if other != dim)
        lengths[dim] = max(lengths[dim], min(sizes[dim], _BLOCK // others))
        if lengths[dim] < sizes[dim]:
            break
    merged = {dim: _merged(chunks[dim], lengths[dim]) for dim in dims}
    for parts in itertools.product(*(merged[dim] for dim in reversed(dims))):
        yield dict(zip(reversed(dims), parts, strict=True))


def _chunks(img: xr.DataArray, sizes: Mapping[Hashable, int]) -> dict[Hashable, Sequence[int]]:
    if img.chunks is not None:
        return {dim: img.variable.chunksizes[dim] for dim in sizes}
    preferred = img.encoding.get("preferred_chunks") or {}
    return {dim: _even(size, preferred.get(dim, 1)) for dim, size in sizes.items()}


def _even(size: int, length: object) -> Sequence[int]:
    """Chunks of one length, the last one shorter, or of the lengths that are listed."""
    if isinstance(length, tuple) and sum(length) == size:
        return length
    step = length if isinstance(length, int) and length > 0 else 1
    return [min(step, size - start) for start in range(0, size, step)]


def _merged(chunks: Sequence[int], length: int) -> list[slice]:
    """Slices of consecutive chunks that are at most `length` long together, or one chunk that is longer."""
    slices, start, stop = [], 0, 0
    for chunk in chunks:
        if stop > start and stop + chunk - start > length:
            slices.append(slice(start, stop))
            start = stop
        stop += chunk
    return [*slices, slice(start, stop)]
