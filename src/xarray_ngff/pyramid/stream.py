"""What becomes of one block of an image: its part of every level that is made from it.

The image is read once, in blocks that hold whole chunks of level 0 and, where that fits, of the next levels
(`xarray_ngff.pyramid.passes`): these are made in memory and written at once. The coarser levels are made from the
coarsest of them in the same way. No two blocks ever share a chunk, or a shard, so they can be written by any number of
threads or processes (`xarray_ngff.pyramid.execution`). What a thread holds is bounded, whatever the size of the
image: a block, the chunks that it is read from, and those it is compressed to.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.passes import BLOCK_BYTES, PART_BYTES, Pass
from xarray_ngff.pyramid.verbatim import StoredPart, copied_chunks

if TYPE_CHECKING:
    import xarray as xr
    import zarr

__all__ = [
    "Destination",
    "Filling",
    "Journal",
    "Region",
    "block_key",
    "block_shape",
    "made_block",
    "part_shape",
    "regions",
    "store_block",
    "written_bytes",
]

# What a thread reads at a time where that decodes the chunks of a file less often.
_BLOCK_BYTES = 32 * 2**20

Region = tuple[slice, ...]
Shape = tuple[int, ...]


class Journal(Protocol):
    """Which blocks are whole, for a write that goes on where an earlier one was stopped. It pickles."""

    def done(self) -> frozenset[str]:
        """Keys of the blocks that are whole; asked once, before the work starts."""

    def record(self, key: str) -> None:
        """Note that a block is whole, in all levels that are made from it."""


@dataclass(frozen=True)
class Destination:
    """Where levels go. The functions take nothing and pickle.

    Attributes
    ----------
    name
        What the user called it, for messages.
    arrays
        Creates or opens the arrays of all levels, finest first.
    finish
        Makes them an OME-Zarr, in one step.
    discard
        Removes what was written of one that was not finished.
    is_finished
        Whether this process finds the finished one where it should be.
    is_shared
        Whether other processes can write to the arrays too.
    held
        Context in which no other process goes on with the same unfinished write.
    """

    name: str
    arrays: Callable[[], Sequence[zarr.Array[Any]]]
    finish: Callable[[], None]
    discard: Callable[[], None]
    is_finished: Callable[[], bool]
    is_shared: bool = True
    held: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(frozen=True)
class Filling:
    """What is written to the arrays of a pyramid.

    Attributes
    ----------
    passes
        The readings that it takes, in their order.
    shapes
        Shape of every level.
    itemsize
        Bytes of a voxel.
    method
        Block statistic of the levels that are made, one of `xarray_ngff.pyramid.kernels.METHODS`.
    threads
        How many blocks are made at a time, where threads of this process make them.
    given
        The levels that come from an image, by index: its variable. Level 0 is read from its array where it is not here.
    kept
        Levels that are there already and are left as they are.
    limits
        The part of each level that is written, where the rest stays as it is; `given[0]` then has the shape of the
        first. None for all of them whole.
    verbatim
        `given[0]` as it is stored in an array with the same encoding as that of level 0: its chunks are copied.
    block_bytes
        What one thread may read at a time, beyond whole chunks.
    journal
        Keeps the blocks that are whole.
    """

    passes: tuple[Pass, ...]
    shapes: tuple[Shape, ...]
    itemsize: int
    method: str
    threads: int
    given: Mapping[int, xr.Variable] = field(default_factory=dict)
    kept: frozenset[int] = frozenset()
    limits: tuple[Region, ...] | None = None
    verbatim: StoredPart | None = None
    block_bytes: int = BLOCK_BYTES
    journal: Journal | None = None


def block_key(level: int, region: Region) -> str:
    """Name of a block: the first level that is written from it, and where it is in that level.

    Examples
    --------
    >>> block_key(0, (slice(0, 64), slice(128, 256)))
    '0/0-64_128-256'
    """
    return f"{level}/" + "_".join(f"{part.start}-{part.stop}" for part in region)


def block_shape(
    shape: Sequence[int],
    chunks: Sequence[int],
    itemsize: int,
    source_chunks: Sequence[int] | None = None,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> Shape:
    """Shape of the blocks in which an image without chunks is read: whole chunks of the target, one at least.

    Blocks grow, the last axes first, to the length of the chunks of the file that the image comes from, which are then
    decoded less often, up to about 32 MiB; and otherwise to about 8 MiB; never beyond `block_bytes`.

    Examples
    --------
    >>> block_shape((4, 512, 512, 512), (1, 128, 128, 128), 2)
    (1, 128, 128, 256)
    >>> block_shape((4, 512, 512, 512), (1, 128, 128, 128), 2, source_chunks=(1, 1, 512, 512))
    (1, 128, 256, 512)
    """
    block = [min(size, chunk) for size, chunk in zip(shape, chunks, strict=True)]
    for lengths, limit in ((source_chunks or block, _BLOCK_BYTES), (shape, PART_BYTES)):
        limit = min(limit, block_bytes)
        for axis in reversed(range(len(block))):
            while block[axis] < min(lengths[axis], shape[axis]) and 2 * math.prod(block) * itemsize <= limit:
                block[axis] = min(2 * block[axis], shape[axis])
    return tuple(block)


def regions(shape: Sequence[int], chunks: Sequence[int], within: Region | None = None) -> Iterator[Region]:
    """Slices of each chunk of a grid, in C order; with `within` the parts of chunks that lie in it.

    Examples
    --------
    >>> list(regions((3,), (2,)))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    >>> list(regions((7,), (2,), (slice(3, 6),)))
    [(slice(3, 4, None),), (slice(4, 6, None),)]
    """
    within = within or tuple(slice(0, size) for size in shape)
    edges = [
        [part.start, *range((part.start // chunk + 1) * chunk, part.stop, chunk), part.stop]
        for part, chunk in zip(within, chunks, strict=True)
    ]
    yield from itertools.product(*([slice(a, b) for a, b in itertools.pairwise(each) if a < b] for each in edges))


def made_block(targets: Sequence[zarr.Array[Any]], region: Region, stage: Pass, method: str) -> np.ndarray[Any, Any]:
    """A region of the first level of a pass, made from the stored level that the pass reads, in small parts."""
    if stage.source is None:
        return np.asarray(targets[stage.levels[0]][region])
    source, steps = targets[stage.source], stage.steps[0]
    shape = tuple(part.stop - part.start for part in region)
    result = np.empty(shape, dtype=source.dtype)
    for part in regions(shape, part_shape(shape, steps, source.chunks, source.dtype.itemsize)):
        block = tuple(
            slice((whole.start + inner.start) * step, min((whole.start + inner.stop) * step, size))
            for whole, inner, step, size in zip(region, part, steps, source.shape, strict=True)
        )
        result[part] = block_reduce(np.asarray(source[block]), steps, method)
    return result


def part_shape(shape: Sequence[int], steps: Sequence[int], chunks: Sequence[int], itemsize: int) -> Shape:
    """Shape of the parts in which a block is made from a stored level: few whole chunks of it, none decoded twice.

    Parameters
    ----------
    shape
        The block, of the level that is made.
    steps
        Voxels of the stored level in one of the block, along each axis.
    chunks
        Chunks of the stored level.
    itemsize
        Bytes of a voxel.

    Examples
    --------
    >>> part_shape((128, 128, 128), (2, 2, 2), (128, 128, 128), 2)
    (64, 64, 128)
    """
    least = [math.lcm(c, f) // f for c, f in zip(chunks, steps, strict=True)]
    least = [min(length, size) for length, size in zip(least, shape, strict=True)]
    part = list(shape)
    reads = [size * step for size, step in zip(part, steps, strict=True)]
    while math.prod(reads) * itemsize > PART_BYTES and part != least:
        axis = max((a for a in range(len(part)) if part[a] > least[a]), key=lambda a: reads[a])
        part[axis] = -(-part[axis] // (2 * least[axis])) * least[axis]
        reads[axis] = part[axis] * steps[axis]
    return tuple(part)


def store_block(
    block: np.ndarray[Any, Any] | None,
    targets: Sequence[zarr.Array[Any]],
    region: Region,
    stage: Pass,
    *,
    method: str,
    kept: frozenset[int] = frozenset(),
    limits: Sequence[Region] | None = None,
    verbatim: StoredPart | None = None,
    journal: Journal | None = None,
) -> None:
    """Write a region of the first level of a pass, and what the other levels of the pass have of it.

    Where only a part of the levels is written, the rest of the block is taken from what is stored, level by level.

    Parameters
    ----------
    block
        Voxels of the region; None where they are made from a stored level, or copied with the chunks of `verbatim`.
    targets
        Arrays of all levels.
    region
        Whole units of the pass, as far as they lie in the first of `limits`.
    stage, method, kept, limits, verbatim, journal
        See `Filling`.
    """
    first = stage.levels[0]
    if verbatim is not None and first == 0:
        block = copied_chunks(verbatim, targets[0], region, decoded=len(stage.levels) > 1)
        kept = kept | {0}
    elif block is None:
        block = made_block(targets, region, stage, method)
    if block is None:
        made = {}
    else:
        made = {first: _settled(np.asarray(block), region, targets[first], first, stage, kept, limits)}
    for level, parent, steps in list(zip(stage.levels, stage.parents, stage.steps, strict=True))[1:]:
        above, values = made[parent]  # type: ignore[index]  # only level 0, the first, has none
        reduced = block_reduce(values, steps, method)
        starts = [part.start // step for part, step in zip(above, steps, strict=True)]
        place = tuple(slice(start, start + n) for start, n in zip(starts, reduced.shape, strict=True))
        made[level] = _settled(reduced, place, targets[level], level, stage, kept, limits)
    if journal is not None:
        journal.record(block_key(first, region))


def _settled(
    values: np.ndarray[Any, Any],
    region: Region,
    target: zarr.Array[Any],
    level: int,
    stage: Pass,
    kept: frozenset[int],
    limits: Sequence[Region] | None,
) -> tuple[Region, np.ndarray[Any, Any]]:
    """Write the voxels of a level that may be written; give back what coarser levels are made from, and its place."""
    part = region if limits is None else _common(region, limits[level])
    if level not in kept:
        _write(target, part, values[_inside(part, region)])
    whole = _outward(region, stage.unit, target.shape) if level == stage.levels[0] else region
    if part == whole or level not in stage.parents:
        return region, values
    stored = np.array(target[whole])
    stored[_inside(part, whole)] = values[_inside(part, region)]
    return whole, stored


def _write(target: zarr.Array[Any], region: Region, values: np.ndarray[Any, Any]) -> None:
    """Write some chunks at a time, as zarr holds all that it encodes."""
    grid = block_shape(target.shape, target.shards or target.chunks, values.dtype.itemsize)
    for part in regions(target.shape, grid, region):
        target[part] = values[_inside(part, region)]


def _common(one: Region, other: Region) -> Region:
    """What two regions share; an empty slice where they do not meet."""
    starts = [max(a.start, b.start) for a, b in zip(one, other, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(one, other, strict=True)]
    return tuple(slice(start, max(start, stop)) for start, stop in zip(starts, stops, strict=True))


def _inside(part: Region, whole: Region) -> Region:
    """A part of a region, counted from the start of the region."""
    return tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(part, whole, strict=True))


def _outward(region: Region, unit: Shape, shape: Shape) -> Region:
    """The whole units that a region meets."""
    return tuple(
        slice(part.start // step * step, min(-(-part.stop // step) * step, size))
        for part, step, size in zip(region, unit, shape, strict=True)
    )


def written_bytes(region: Region, stage: Pass, itemsize: int, kept: frozenset[int]) -> int:
    """Bytes of voxels, uncompressed, that a block of a pass becomes in all its levels."""
    lengths = {stage.levels[0]: tuple(part.stop - part.start for part in region)}
    for level, parent, steps in list(zip(stage.levels, stage.parents, stage.steps, strict=True))[1:]:
        lengths[level] = tuple(-(-n // step) for n, step in zip(lengths[parent], steps, strict=True))  # type: ignore[index]
    return itemsize * sum(int(math.prod(shape)) for level, shape in lengths.items() if level not in kept)
