"""Pyramids written block by block, in bounded memory.

The image is read once, in blocks that hold whole chunks of level 0 and, where that fits, of the next levels
(`xarray_ngff.pyramid.passes`): these are made in memory and written at once. The coarser levels are made from the
coarsest of them in the same way. No two tasks ever write to the same chunk. What is held is bounded, whatever the size
of the image:

- of an image without chunks: for each thread a block, 64 MiB at most unless a chunk is larger, and the chunks that it
  is read from and compressed to;
- of a dask image: the chunks of the source that meet the blocks being written. Where these are the planes of a stack,
  they are as many planes as one or two chunks of the target are deep, whatever the number of threads;
- for the coarser levels: for each thread one block of the level that is made, and about 8 MiB of the level below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.passes import Pass
from xarray_ngff.spatial.downsample import aligned_chunks

if TYPE_CHECKING:
    import dask.array
    import zarr
    from dask.delayed import Delayed

__all__ = ["block_shape", "compute", "reducing_tasks", "storing_tasks"]

# What a thread reads at a time where that decodes the chunks of a file less often.
_BLOCK_BYTES = 32 * 2**20
# What it reads, merges or reduces at a time otherwise: enough for whole chunks, and little beside them.
_PART_BYTES = 8 * 2**20

# Keeps dask from rechunking by way of larger chunks, which saves it tasks and costs memory.
_NO_DETOUR = 10**9

Region = tuple[slice, ...]


def block_shape(
    shape: Sequence[int], chunks: Sequence[int], itemsize: int, source_chunks: Sequence[int] | None = None
) -> tuple[int, ...]:
    """Shape of the blocks in which an image without chunks is read: whole chunks of the target, one at least.

    Blocks grow, the last axes first, to the length of the chunks of the file that the image comes from, which are then
    decoded less often, up to about 32 MiB; and otherwise to about 8 MiB.

    Examples
    --------
    >>> block_shape((4, 512, 512, 512), (1, 128, 128, 128), 2)
    (1, 128, 128, 256)
    >>> block_shape((4, 512, 512, 512), (1, 128, 128, 128), 2, source_chunks=(1, 1, 512, 512))
    (1, 128, 256, 512)
    """
    block = [min(size, chunk) for size, chunk in zip(shape, chunks, strict=True)]
    for lengths, limit in ((source_chunks or block, _BLOCK_BYTES), (shape, _PART_BYTES)):
        for axis in reversed(range(len(block))):
            while block[axis] < min(lengths[axis], shape[axis]) and 2 * math.prod(block) * itemsize <= limit:
                block[axis] = min(2 * block[axis], shape[axis])
    return tuple(block)


def storing_tasks(source: dask.array.Array, targets: Any, stage: Pass, method: str) -> list[Delayed]:
    """One task for each block of a dask array that writes it, and what the first pass makes of it.

    The source is rechunked where its chunks straddle the units of the pass, so that each chunk of every level is
    written by one task only. `targets` are the arrays of all levels, zarr arrays or a delayed list of them.
    """
    from dask.delayed import delayed

    aligned = source.rechunk(_stored_chunks(source.chunks, stage.unit, source.dtype.itemsize), threshold=_NO_DETOUR)
    # a task of our own and not dask.array.store: the latter's optimisation would run a delayed target twice
    task = delayed(store_block, pure=False, traverse=False)
    blocks = aligned.to_delayed()
    places = np.ndindex(blocks.shape)
    starts = [np.cumsum((0, *sizes)) for sizes in aligned.chunks]
    return [
        task(
            blocks[place],
            targets,
            tuple(slice(int(s[i]), int(s[i + 1])) for s, i in zip(starts, place, strict=True)),
            stage,
            method,
        )
        for place in places
    ]


def _stored_chunks(
    given: Sequence[tuple[int, ...]], chunks: Sequence[int], itemsize: int
) -> tuple[tuple[int, ...], ...]:
    """Sizes of blocks that hold whole chunks of the target, as near to the chunks of the source as that allows.

    Chunks of the source that are merged make large blocks, such as the planes that a cube meets; these are split, so
    that what is merged is copied in parts.
    """
    aligned = tuple(aligned_chunks(sizes, chunk) for sizes, chunk in zip(given, chunks, strict=True))
    if aligned == tuple(given):
        return aligned
    longest = [max(sizes) for sizes in aligned]
    for axis, chunk in enumerate(chunks):
        while longest[axis] > chunk and math.prod(longest) * itemsize > _PART_BYTES:
            longest[axis] = max(longest[axis] // 2 // chunk, 1) * chunk
    return tuple(
        tuple(min(long, size - start) for size in sizes for start in range(0, size, long))
        for sizes, long in zip(aligned, longest, strict=True)
    )


def store_block(block: Any, targets: Sequence[zarr.Array[Any]], region: Region, stage: Pass, method: str) -> None:
    """Write a block to its region of the first level of a pass, and what the other levels of the pass have of it."""
    made = {stage.levels[0]: (region, np.asarray(block))}
    _write(targets[stage.levels[0]], *made[stage.levels[0]])
    for level, parent, steps in list(zip(stage.levels, stage.parents, stage.steps, strict=True))[1:]:
        above, values = made[cast(int, parent)]
        values = block_reduce(values, steps, method)
        starts = [part.start // step for part, step in zip(above, steps, strict=True)]
        made[level] = tuple(slice(start, start + n) for start, n in zip(starts, values.shape, strict=True)), values
        _write(targets[level], *made[level])


def _write(target: zarr.Array[Any], region: Region, values: Any) -> None:
    """Write some chunks at a time, as zarr holds all that it encodes."""
    chunks = target.shards or target.chunks
    for part in regions(values.shape, block_shape(values.shape, chunks, values.dtype.itemsize)):
        place = tuple(
            slice(whole.start + inner.start, whole.start + inner.stop)
            for whole, inner in zip(region, part, strict=True)
        )
        target[place] = values[part]


def reducing_tasks(targets: Any, stage: Pass, shape: Sequence[int], method: str, *, after: Any) -> list[Delayed]:
    """One task for each block of the first level of a pass, of this `shape`, that makes it from the stored source.

    `targets` are the arrays of all levels, or a delayed list of them. The tasks start when the delayed `after` is done.
    """
    from dask.delayed import delayed

    task = delayed(reduce_block, pure=False, traverse=False)
    return [task(targets, region, stage, method, after) for region in regions(shape, stage.unit)]


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


def reduce_block(
    targets: Sequence[zarr.Array[Any]], region: Region, stage: Pass, method: str, after: Any = None
) -> None:
    """Write a region of the first level of a pass, made from the stored source, and what the others have of it.

    `after` is there for a task graph only: it is what must be done before.
    """
    source, steps = targets[cast(int, stage.source)], stage.steps[0]
    shape = tuple(part.stop - part.start for part in region)
    result = np.empty(shape, dtype=source.dtype)
    for part in regions(shape, _part_shape(shape, source, steps)):
        block = tuple(
            slice((whole.start + inner.start) * step, min((whole.start + inner.stop) * step, size))
            for whole, inner, step, size in zip(region, part, steps, source.shape, strict=True)
        )
        result[part] = block_reduce(np.asarray(source[block]), steps, method)
    store_block(result, targets, region, stage, method)


def compute(task: Delayed) -> None:
    """Compute a task, and come back only when nothing of it runs any more, after an error too.

    dask's own threads go on with what they have begun when a task fails or the user interrupts, and would write to what
    the caller then removes. So they are threads of a pool that is waited for, unless another scheduler or pool is set.
    """
    from concurrent.futures import ThreadPoolExecutor

    import dask.threaded
    from dask.base import get_scheduler
    from dask.system import CPU_COUNT

    if get_scheduler(collections=[task]) is not dask.threaded.get or dask.config.get("pool", None) is not None:
        task.compute()
        return
    with ThreadPoolExecutor(dask.config.get("num_workers", None) or CPU_COUNT) as pool:
        task.compute(pool=pool)


def _part_shape(shape: Sequence[int], source: zarr.Array[Any], factors: Sequence[int]) -> tuple[int, ...]:
    """Shape of a part of a target chunk whose source fits the block size, halved along the longest axis first."""
    part = list(shape)
    reads = [size * factor for size, factor in zip(part, factors, strict=True)]
    while math.prod(reads) * source.dtype.itemsize > _PART_BYTES and max(part) > 1:
        axis = max((a for a in range(len(part)) if part[a] > 1), key=lambda a: reads[a])
        part[axis] = -(-part[axis] // 2)
        reads[axis] = part[axis] * factors[axis]
    return tuple(part)
