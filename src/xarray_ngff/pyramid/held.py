"""What a write holds in memory at most, beyond the image itself: a model of `stream` and `execution`, from above."""

from __future__ import annotations

import itertools
import math
import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import xarray as xr

from xarray_ngff.pyramid.execution import stored_chunks
from xarray_ngff.pyramid.grids import LevelGrid
from xarray_ngff.pyramid.passes import PART_BYTES, Pass
from xarray_ngff.pyramid.stream import block_shape, part_shape
from xarray_ngff.spatial.downsample import aligned_chunks

__all__ = ["Holding", "Source", "block_shapes", "held_bytes", "holdings", "read_voxels", "source_of", "written_block"]

Shape = tuple[int, ...]

# What a thread has beside voxels, such as its stack and the tiles of a reduction.
_PER_THREAD = 8 * 2**20
# Allocators give larger pieces back to the system at once.
_RETURNED = 32 * 2**20
# Metadata, the event loop, the task graph.
_FIXED = 24 * 2**20


@dataclass(frozen=True)
class Source:
    """How the voxels of an image come.

    Attributes
    ----------
    chunks : tuple of int or None
        Longest chunks of the file that is read, along every axis; None for an image in memory.
    blocks : tuple of tuple of int or None
        Sizes of the chunks of a dask image along every axis; None for any other.
    """

    chunks: Shape | None = None
    blocks: tuple[Shape, ...] | None = None


def source_of(img: xr.DataArray) -> Source:
    """How the voxels of an image come, as far as the image says."""
    if img.chunks is not None:
        return Source(tuple(map(max, img.chunks)), img.chunks)
    if img.variable._in_memory:
        return Source()
    preferred = img.encoding.get("preferred_chunks", {})
    return Source(tuple(min(int(preferred.get(dim, 1)), size) for dim, size in img.sizes.items()))


def written_block(stage: Pass, shape: Shape, itemsize: int, source: Source, block_bytes: int) -> Shape:
    """Shape of what one thread writes at a time of the first level of a pass."""
    if stage.source is not None:
        return stage.unit
    if source.blocks is None:
        return block_shape(shape, stage.unit, itemsize, source.chunks, block_bytes=block_bytes)
    return tuple(map(max, stored_chunks(source.blocks, stage.unit, itemsize, [0] * len(shape))))


def _aligned(blocks: tuple[Shape, ...], unit: Shape) -> tuple[Shape, ...]:
    """Sizes of the chunks of a dask image, their edges moved to whole units."""
    return tuple(aligned_chunks(sizes, length) for sizes, length in zip(blocks, unit, strict=True))


def block_shapes(stage: Pass, block: Shape) -> dict[int, Shape]:
    """Shape of what a block of the first level of a pass becomes in each of its levels.

    Examples
    --------
    >>> block_shapes(Pass(None, (0, 1), (None, 0), ((1, 1), (2, 2)), (64, 64)), (64, 9))
    {0: (64, 9), 1: (32, 5)}
    """
    shapes = {stage.levels[0]: block}
    for level, parent, steps in list(zip(stage.levels, stage.parents, stage.steps, strict=True))[1:]:
        shapes[level] = tuple(-(-n // step) for n, step in zip(shapes[cast(int, parent)], steps, strict=True))
    return shapes


def read_voxels(stage: Pass, block: Shape, source: Source) -> int:
    """Voxels that are decoded, or fetched, for a block of a pass."""
    if stage.source is not None:
        return math.prod(block) * math.prod(stage.steps[0])
    if source.chunks is None or source.blocks is not None:  # a dask image keeps its chunks until all blocks are made
        return math.prod(block)
    return math.prod(-(-n // chunk) * chunk for n, chunk in zip(block, source.chunks, strict=True))


def holdings(
    passes: Sequence[Pass], blocks: Sequence[Shape], grids: Sequence[LevelGrid], itemsize: int, source: Source
) -> tuple[Holding, ...]:
    """What is held during each pass."""
    return tuple(_holding(stage, block, grids, itemsize, source) for stage, block in zip(passes, blocks, strict=True))


def held_bytes(holdings: Sequence[Holding], threads: int) -> int:
    """Bytes that a write takes at most, with so many blocks made at a time; never fewer with more of them."""
    return _FIXED + max(holding.held_bytes(threads) for holding in holdings)


@dataclass(frozen=True)
class Holding:
    """What is held during a pass, whatever the number of threads.

    What is freed counts as held as long as a block is worked on: allocators keep it for what comes next.

    Attributes
    ----------
    blocks : int
        How many blocks there are.
    each : int
        Bytes that a thread holds for a block.
    works : tuple of _Work
        What zarr decodes and encodes.
    waiting : _Waiting or None
        Chunks of a dask image that wait for others.
    """

    blocks: int
    each: int
    works: tuple[_Work, ...]
    waiting: _Waiting | None

    def held_bytes(self, threads: int) -> int:
        """Bytes that the pass takes at most with so many threads."""
        active = min(threads, self.blocks)
        waiting = self.waiting.held_bytes(threads) if self.waiting else 0
        return active * self.each + max(work.kept(active) for work in self.works) + waiting


@dataclass(frozen=True)
class _Work:
    """What zarr holds to decode or encode what it is given at a time.

    Attributes
    ----------
    chunk : int
        Bytes of a chunk.
    count : int
        How many chunks may be worked on at a time.
    held : int
        Bytes held for them.
    pieces : int
        Pieces of memory that a chunk takes, as stored and decoded, each fetched or made by a thread.
    """

    chunk: int
    count: int
    held: int
    pieces: int = 1

    def kept(self, active: int) -> int:
        """What zarr's own threads keep for the next chunk, of those that are not given back at once."""
        workers = min(_codec_threads(), active * self.count * self.pieces)
        return workers * self.pieces * self.chunk if self.chunk < _RETURNED else 0


@dataclass(frozen=True)
class _Waiting:
    """Chunks of a dask image that wait until all blocks that they meet are made.

    Attributes
    ----------
    group : int
        Bytes of chunks that share blocks with each other only.
    in_group : int
        Blocks in such a group.
    between : int
        Bytes of chunks between the blocks that are done and those to come.
    image : int
        Bytes of the image.
    """

    group: int
    in_group: int
    between: int
    image: int

    def held_bytes(self, threads: int) -> int:
        """Bytes of the groups that are begun, and between them, with so many threads."""
        begun = threads if self.in_group == 1 else 1 + -(-threads // self.in_group)
        return min(begun * self.group + self.between, self.image)


def _holding(stage: Pass, block: Shape, grids: Sequence[LevelGrid], itemsize: int, source: Source) -> Holding:
    first, shapes = stage.levels[0], block_shapes(stage, block)
    reading = _reading(stage, block, grids, itemsize, source)
    writing = [_writing(grids[level], shape, itemsize) for level, shape in shapes.items()]
    made = itemsize * sum(math.prod(shape) for level, shape in shapes.items() if level != first)
    parts = reading.held, made + max(work.held for work in writing)
    own = 0 if stage.source is None and source.chunks is None else math.prod(block) * itemsize
    waiting, held = None, sum(parts)
    if stage.source is None and source.blocks is not None:
        # a thread either makes a chunk of a dask image or stores a block; of a file it does both, one after the other
        waiting, held = _waiting(stage.unit, block, source.blocks, itemsize), max(parts)
    count = math.prod(-(-n // length) for n, length in zip(grids[first].shape, block, strict=True))
    return Holding(count, own + held + _PER_THREAD, (reading, *writing), waiting)


def _reading(stage: Pass, block: Shape, grids: Sequence[LevelGrid], itemsize: int, source: Source) -> _Work:
    """What is held to read a block, or to make it from a stored level, beside the block."""
    if stage.source is not None:
        steps, chunks = stage.steps[0], grids[stage.source].chunks
        part = tuple(map(operator.mul, part_shape(block, steps, chunks, itemsize), steps))
        decoding = _decoding(part, chunks, itemsize)
        return replace(decoding, held=decoding.held + math.prod(part) * itemsize)
    if source.chunks is None:
        return _Work(0, 0, 0)
    return _decoding(block if source.blocks is None else source.chunks, source.chunks, itemsize)


def _decoding(region: Shape, chunks: Shape, itemsize: int) -> _Work:
    """What is held of the chunks that a region meets: as stored, were they not to compress at all, and decoded."""
    chunk = math.prod(chunks) * itemsize
    met = math.prod(-(-n // length) for n, length in zip(region, chunks, strict=True))
    held = 2 * min(met * chunk, max(_concurrency() * chunk, PART_BYTES))
    return _Work(chunk, min(met, _concurrency()), held, pieces=2)


def _writing(grid: LevelGrid, shape: Shape, itemsize: int) -> _Work:
    """What is held of the chunks that are encoded at a time: a copy, the codec's buffer, and its result."""
    chunk = math.prod(grid.chunks) * itemsize
    given = math.prod(map(min, shape, block_shape(grid.shape, grid.unit, itemsize))) * itemsize
    at_a_time = min(given, max(_concurrency() * chunk, PART_BYTES))
    count = -(-at_a_time // chunk)
    if grid.shards is None:
        return _Work(chunk, count, 3 * at_a_time)
    # the chunks of a shard are all encoded before they are put together
    return _Work(chunk, count, 2 * given + at_a_time)


def _concurrency() -> int:
    """Chunks that zarr decodes or encodes at a time for one reader or writer."""
    import zarr

    return int(zarr.config.get("async.concurrency") or 1)


def _codec_threads() -> int:
    """Threads that zarr decodes and encodes with, for all readers and writers."""
    import zarr

    return int(zarr.config.get("threading.max_workers") or min(32, (os.cpu_count() or 1) + 4))


def _waiting(unit: Shape, block: Shape, blocks: tuple[Shape, ...], itemsize: int) -> _Waiting | None:
    """Chunks of a dask image that wait for others; None where each of them becomes blocks by itself.

    Along each axis chunks and blocks nest in groups that share nothing, of the longer of both; or they straddle, and
    the chunks between the blocks that are done and those to come wait across all later axes.
    """
    if _aligned(blocks, unit) == blocks:
        return None
    along = [_group(sizes, length) for sizes, length in zip(blocks, block, strict=True)]
    shape = [sum(sizes) for sizes in blocks]
    group = [min(length, size) for (length, _), size in zip(along, shape, strict=True)]
    between = sum(
        math.prod(group[:axis]) * max(blocks[axis]) * math.prod(shape[axis + 1 :])
        for axis, (_, nested) in enumerate(along)
        if not nested
    )
    in_group = math.prod(-(-n // length) for n, length in zip(group, block, strict=True))
    return _Waiting(math.prod(group) * itemsize, in_group, between * itemsize, math.prod(shape) * itemsize)


def _group(sizes: Shape, length: int) -> tuple[int, bool]:
    """Voxels along an axis of the chunks that a block meets, and whether no other block meets a part of them only."""
    edges, ends = set(itertools.accumulate(sizes)), range(length, sum(sizes), length)
    if all(edge % length == 0 for edge in edges - {sum(sizes)}):
        return max(length, *sizes), True
    if edges.issuperset(ends):
        return length, True
    return length + max(sizes), False
