"""Pyramids written block by block, in bounded memory.

Level 0 goes from the source to its array in blocks that hold whole chunks of the target; every further level is made
from the stored level below it, one chunk of the target at a time. No two tasks ever write to the same chunk. What a
task holds is bounded: for level 0 the chunks of the source that meet its block, for the others one chunk of the target
and at most about 32 MiB of the level below. So the peak is about (number of threads) x (the larger of the two).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.spatial.downsample import aligned_chunks

if TYPE_CHECKING:
    import dask.array
    import zarr
    from dask.delayed import Delayed

__all__ = ["block_shape", "reduce_chunk", "reducing_tasks", "storing_tasks"]

# About the second-level working set that a thread can hold without mattering to the machine.
_BLOCK_BYTES = 32 * 2**20

Region = tuple[slice, ...]


def block_shape(shape: Sequence[int], chunks: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Shape of a block of whole chunks of about 32 MiB (one chunk at least), grown along the last axes first.

    Examples
    --------
    >>> block_shape((4, 512, 512, 512), (1, 128, 128, 128), 2)
    (1, 128, 256, 512)
    """
    block = [min(size, chunk) for size, chunk in zip(shape, chunks, strict=True)]
    for axis in reversed(range(len(block))):
        while block[axis] < shape[axis] and 2 * math.prod(block) * itemsize <= _BLOCK_BYTES:
            block[axis] = min(2 * block[axis], shape[axis])
    return tuple(block)


def storing_tasks(source: dask.array.Array, target: Any, chunks: Sequence[int]) -> list[Delayed]:
    """One task for each block of a dask array that writes it to an array of the same shape.

    The source is rechunked where its chunks straddle those of the target, which are (or whose shards are) `chunks`, so
    that each of them is written by one task only. `target` is a zarr array, or a delayed one.
    """
    from dask.delayed import delayed

    aligned = source.rechunk(
        tuple(aligned_chunks(sizes, chunk) for sizes, chunk in zip(source.chunks, chunks, strict=True))
    )
    # a task of our own and not dask.array.store: the latter's optimisation would run a delayed target twice
    task = delayed(store_block, pure=False, traverse=False)
    blocks = aligned.to_delayed()
    places = np.ndindex(blocks.shape)
    starts = [np.cumsum((0, *sizes)) for sizes in aligned.chunks]
    return [
        task(blocks[place], target, tuple(slice(int(s[i]), int(s[i + 1])) for s, i in zip(starts, place, strict=True)))
        for place in places
    ]


def store_block(block: Any, target: zarr.Array[Any], region: Region) -> None:
    """Write a block to its region of `target`."""
    target[region] = block


def reducing_tasks(
    source: Any,
    target: Any,
    shape: Sequence[int],
    chunks: Sequence[int],
    factors: Sequence[int],
    method: str,
    *,
    after: Any = None,
) -> list[Delayed]:
    """One task for each chunk of `target` (of this `shape`) that reduces its part of `source` and writes it.

    `source` and `target` are zarr arrays, or delayed ones. The tasks start when the delayed `after` is done.
    """
    from dask.delayed import delayed

    task = delayed(reduce_chunk, pure=False, traverse=False)
    return [task(source, target, region, tuple(factors), method, after) for region in regions(shape, chunks)]


def regions(shape: Sequence[int], chunks: Sequence[int]) -> Iterator[Region]:
    """Slices of each chunk of a grid, in C order.

    Examples
    --------
    >>> list(regions((3,), (2,)))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    """
    starts = [range(0, size, chunk) for size, chunk in zip(shape, chunks, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + chunk, size)) for start, chunk, size in zip(corner, chunks, shape, strict=True)
        )


def reduce_chunk(
    source: zarr.Array[Any], target: zarr.Array[Any], region: Region, factors: Sequence[int], method: str, after: Any = None
) -> None:
    """Write a region of `target`, each voxel a statistic of a block of `factors` voxels of `source`.

    `after` is there for a task graph only: it is what must be done before.
    """
    shape = tuple(part.stop - part.start for part in region)
    result = np.empty(shape, dtype=target.dtype)
    for part in regions(shape, _part_shape(shape, source, factors)):
        block = tuple(
            slice((whole.start + inner.start) * factor, min((whole.start + inner.stop) * factor, size))
            for whole, inner, factor, size in zip(region, part, factors, source.shape, strict=True)
        )
        result[part] = block_reduce(np.asarray(source[block]), factors, method)
    target[region] = result


def _part_shape(shape: Sequence[int], source: zarr.Array[Any], factors: Sequence[int]) -> tuple[int, ...]:
    """Shape of a part of a target chunk whose source fits the block size, halved along the longest axis first."""
    part = list(shape)
    reads = [size * factor for size, factor in zip(part, factors, strict=True)]
    while math.prod(reads) * source.dtype.itemsize > _BLOCK_BYTES and max(part) > 1:
        axis = max((a for a in range(len(part)) if part[a] > 1), key=lambda a: reads[a])
        part[axis] = -(-part[axis] // 2)
        reads[axis] = part[axis] * factors[axis]
    return tuple(part)
