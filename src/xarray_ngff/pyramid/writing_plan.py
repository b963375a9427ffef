"""How the pyramid of an image is written: its levels and their grids, in which blocks, and the memory that it takes."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.errors import GeometryError, MemoryLimitError
from xarray_ngff.pyramid.build import Factors, planned_levels
from xarray_ngff.pyramid.grids import Chunks, LevelGrid, Shards, pyramid_grids
from xarray_ngff.pyramid.held import Source, block_shapes, held_bytes, holdings, read_voxels, source_of, written_block
from xarray_ngff.pyramid.memory import bytes_text, memory_bytes
from xarray_ngff.pyramid.passes import BLOCK_BYTES, Pass, plan_passes
from xarray_ngff.pyramid.plan import Level
from xarray_ngff.pyramid.plan_tables import by_axis, html, text

__all__ = ["LevelPlan", "PyramidPlan", "plan_pyramid", "plan_writing"]

Shape = tuple[int, ...]

# Below this, blocks are single chunks or shards anyway.
_SMALLEST_BLOCK = 2**16

# Time to read and decode a voxel, by that to encode and write it.
_DECODING = 0.25
# Voxels that are encoded in the time that a block takes beside its voxels.
_PER_BLOCK = 2**17


@dataclass(frozen=True)
class LevelPlan:
    """One level of a pyramid as it is written.

    Attributes
    ----------
    index : int
        0 for the full resolution.
    factors : dict of str to int
        Voxels of level 0 in one voxel of this level, by spatial dim.
    shape, chunks : tuple of int
        Voxels of the level and of its chunks, along every axis.
    shards : tuple of int or None
        Voxels of its shards; None without shards.
    source : int or None
        The level that it is made from; None for level 0.
    """

    index: int
    factors: Mapping[str, int]
    shape: Shape
    chunks: Shape
    shards: Shape | None
    source: int | None


@dataclass(frozen=True, repr=False)
class PyramidPlan:
    """How a pyramid is written; printed, a table of its levels and one of its passes.

    Attributes
    ----------
    dims : tuple of str
        Names of the axes, in the order in which they are written.
    dtype : numpy.dtype
        That of the voxels.
    levels : tuple of LevelPlan
        Every level, the full resolution first.
    passes : tuple of Pass
        The readings that write them, in their order.
    blocks : tuple of tuple of int
        For each pass the shape of what one thread writes at a time of the first level of the pass. Of a dask image it
        may be more along some axes, as its own chunks are.
    threads : int
        How many blocks are made at a time.
    block_bytes : int
        What a thread may read at a time, beyond whole chunks or shards.
    memory_limit : int
        Bytes that the plan was made for.
    peak_bytes : int
        Bytes that the write takes at most, beyond the image where that is in memory; an estimate from above.
    """

    dims: tuple[str, ...]
    dtype: np.dtype[np.generic]
    levels: tuple[LevelPlan, ...]
    passes: tuple[Pass, ...]
    blocks: tuple[Shape, ...]
    threads: int
    block_bytes: int
    memory_limit: int
    peak_bytes: int

    def __repr__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return html(self)


def plan_pyramid(
    img: xr.DataArray,
    *,
    levels: int | None = None,
    factors: Factors | None = None,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
    memory_limit: int | str | None = None,
) -> PyramidPlan:
    """How the pyramid of an image is written: its levels, and in which blocks; nothing is read or written.

    The coarser levels are made from blocks of the image while these are in memory, as far as about 64 MiB for each
    thread, or the limit, allow; the others from a stored level, in further passes.

    Parameters
    ----------
    img
        Image with regular spatial coordinates, its dims in any order.
    levels, factors
        See `xarray_ngff.pyramid.build.to_multiscale`.
    chunks
        Chunk length for all spatial dims, or one for each dim in the order t, c, others, z, y, x, or by dim. Default:
        128 along each of three spatial axes, 1024 along each of two, 1 along the others.
    shards
        Shard length in the same ways, in whole chunks (a dim that is left out has one chunk in a shard); or the bytes
        that a shard has at most, uncompressed, as ``"256 MiB"``; or ``"auto"`` for 64 MiB. Shards of given lengths are
        the same at all levels; of a given size those of the coarser levels hold the same part of the image, so that
        they too are made in one reading. Default: none.
    memory_limit
        Bytes that a write may take beyond the image itself, or text such as ``"2 GiB"``. Fewer blocks at a time are
        made, and smaller ones, where that needs it. Default: a quarter of what is free.

    Returns
    -------
    PyramidPlan

    Raises
    ------
    GeometryError
        Where the options do not fit the image.
    MemoryLimitError
        Where the limit is no number of bytes, or less than a single chunk, or shard, takes.

    Examples
    --------
    >>> import dask
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((256, 512, 512), "uint16"), spacing=(1, 1, 1), units="um")
    >>> with dask.config.set(num_workers=2):
    ...     plan_pyramid(img, memory_limit="1 GiB")
    pyramid (z, y, x) uint16: 2 levels in 1 pass, 2 threads, memory up to ... MiB (limit 1 GiB)
      level  factors    shape            chunks           shards  made from
      0      1 x 1 x 1  256 x 512 x 512  128 x 128 x 128  none    the image
      1      2 x 2 x 2  128 x 256 x 256  128 x 128 x 128  none    level 0
      pass  reads      writes levels  block            bytes   blocks
      1     the image  0, 1           256 x 256 x 256  32 MiB  4
    """
    ordered = img.transpose(*geometry.canonical_dims(img.dims))
    if 0 in ordered.shape:
        raise GeometryError(f"the image is empty ({dict(ordered.sizes)}): there is nothing to write")
    plan = planned_levels(ordered, levels=levels, factors=factors)
    shapes = [tuple(level.sizes.get(str(dim), size) for dim, size in ordered.sizes.items()) for level in plan]
    return plan_writing(ordered, plan, pyramid_grids(ordered, shapes, chunks, shards), memory_limit=memory_limit)


def plan_writing(
    img: xr.DataArray, plan: Sequence[Level], grids: Sequence[LevelGrid], *, memory_limit: int | str | None = None
) -> PyramidPlan:
    """How levels with these grids are written from an image whose dims are in the order of the grids.

    Parameters
    ----------
    img
        Image; only its sizes, dtype and chunks are looked at.
    plan
        Every level, the full resolution first.
    grids
        The grid of each of them.
    memory_limit
        As in `plan_pyramid`.

    Raises
    ------
    MemoryLimitError
        Where the limit is less than the smallest block takes.
    """
    limit, source = memory_bytes(memory_limit), source_of(img)
    ways = list(_ways(img, plan, grids, source, limit))
    fitting = [way for way in ways if way.peak_bytes <= limit]
    if fitting:
        return min(fitting, key=lambda way: _duration(way, source))
    smallest = min(ways, key=lambda way: way.peak_bytes)
    if memory_limit is None:  # nobody asked for less than it takes
        return smallest
    raise MemoryLimitError(_too_little(smallest, img.chunks is not None))


def _ways(
    img: xr.DataArray, plan: Sequence[Level], grids: Sequence[LevelGrid], source: Source, limit: int
) -> Iterator[PyramidPlan]:
    """Ways to write a pyramid, from large blocks to small ones, each with as many threads as the limit allows."""
    dims, itemsize = tuple(map(str, img.dims)), img.dtype.itemsize
    shapes, units = [grid.shape for grid in grids], [grid.unit for grid in grids]
    levels = tuple(
        LevelPlan(level.index, level.factors, grid.shape, grid.chunks, grid.shards, level.source)
        for level, grid in zip(plan, grids, strict=True)
    )
    longest = None if source.blocks is None else source.chunks
    passes: tuple[Pass, ...] = ()
    blocks: tuple[Shape, ...] = ()
    for block_bytes in _halved(BLOCK_BYTES):
        before = passes, blocks
        passes = plan_passes(plan, dims, shapes, units, itemsize, source_chunks=longest, block_bytes=block_bytes)
        if passes != before[0] or source.blocks is None:
            blocks = tuple(
                written_block(stage, shapes[stage.levels[0]], itemsize, source, block_bytes) for stage in passes
            )
        if (passes, blocks) != before:
            peak = functools.partial(held_bytes, holdings(passes, blocks, grids, itemsize, source))
            # what is held grows with the threads
            threads = max(bisect.bisect_right(range(1, _threads() + 1), limit, key=peak), 1)
            yield PyramidPlan(dims, img.dtype, levels, passes, blocks, threads, block_bytes, limit, peak(threads))


def _halved(most: int) -> Iterator[int]:
    while most >= _SMALLEST_BLOCK:
        yield most
        most //= 2


def _duration(plan: PyramidPlan, source: Source) -> float:
    """How long a write takes, counted in voxels that a thread encodes.

    Small blocks keep more threads busy; large ones spare passes that decode what was just encoded.
    """
    total = 0.0
    for stage, block in zip(plan.passes, plan.blocks, strict=True):
        made = sum(map(math.prod, block_shapes(stage, block).values()))
        one = made + _DECODING * read_voxels(stage, block, source) + _PER_BLOCK
        shape = plan.levels[stage.levels[0]].shape
        rounds = math.prod(n / length for n, length in zip(shape, block, strict=True)) / plan.threads
        # blocks at the edges are smaller, so the last round takes less than the others
        total += one * (rounds + math.ceil(rounds)) / 2
    return total


def _threads() -> int:
    """Threads that dask would use for the same work."""
    import dask
    from dask.system import CPU_COUNT

    return int(dask.config.get("num_workers", None) or CPU_COUNT)


def _too_little(smallest: PyramidPlan, comes_in_chunks: bool) -> str:
    finest = smallest.levels[0]
    what = "shards" if finest.shards else "chunks"
    lengths = by_axis(smallest.dims, finest.shards or finest.chunks)
    advice = (
        "The image comes in dask chunks that straddle these, so many are held at a time: rechunk it to them first, or "
        if comes_in_chunks
        else ""
    )
    return (
        f"memory_limit is {bytes_text(smallest.memory_limit)}, but a write with one thread, in {what} of {lengths}, "
        f"takes up to {bytes_text(smallest.peak_bytes)}: {advice}raise memory_limit, or give smaller {what}"
    )
