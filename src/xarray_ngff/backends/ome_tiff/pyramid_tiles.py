"""A pyramid made tile by tile: level 0 from the image, each further level from the one below it."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy.typing as npt
import xarray as xr

from xarray_ngff.backends.ome_tiff.source_tiles import SourceTiles, tile_blocks
from xarray_ngff.backends.ome_tiff.tile_spool import TilePlace, TileSpool
from xarray_ngff.pyramid.kernels import block_reduce

__all__ = ["STEP", "spool_pyramid"]

#: A voxel of a level is a block of this many of the level below it, along y and x.
STEP = 2

# A thread is given tiles of about this many bytes at a time, and this many times that waits for it.
_TASK = 1 << 19
_WAITING_TASKS = 4
_MOST_THREADS = 16

Item = TypeVar("Item")


def spool_pyramid(img: xr.DataArray, spool: TileSpool, method: str) -> None:
    """Encode the tiles of all levels of an image into a spool.

    Level 0 is encoded by a few threads while the next block of the image is computed, so two blocks are in memory.

    Parameters
    ----------
    img
        Dims y, x and any of t, c, z, in any order.
    method
        Statistic of the 2 x 2 voxels (fewer at the end of a plane) that become one; see `block_reduce`.
    """
    from dask.system import CPU_COUNT

    threads = min(CPU_COUNT, _MOST_THREADS)
    pool = ThreadPoolExecutor(threads)
    try:
        _spool_image(img, spool, pool)
        for level in range(1, len(spool.grids)):
            _spool_level(level, spool, method, pool, threads)
    finally:
        # what is left after an error is not worth encoding, but what is running writes to the scratch file
        pool.shutdown(wait=True, cancel_futures=True)


def _spool_image(img: xr.DataArray, spool: TileSpool, pool: ThreadPoolExecutor) -> None:
    def encode(tiles: Sequence[tuple[TilePlace, Callable[[], npt.NDArray[Any]]]]) -> None:
        for place, load in tiles:
            spool.put(0, place, load())

    source = SourceTiles(img.sizes, spool)
    running: list[Future[None]] = []
    for block, values in tile_blocks(img, spool.grids[0].tile):
        _finish(running)
        running = [pool.submit(encode, tiles) for tiles in _batches(source.made_whole(block, values), spool)]
    _finish(running)


def _spool_level(level: int, spool: TileSpool, method: str, pool: ThreadPoolExecutor, threads: int) -> None:
    def reduce(places: Sequence[TilePlace]) -> None:
        for page, row, column in places:
            region = tuple(
                slice(part.start * STEP, min(part.stop * STEP, size))
                for part, size in zip(grid.region(row, column), below, strict=True)
            )
            values = spool.values(level - 1, page, (region[0], region[1]))
            spool.put(level, (page, row, column), block_reduce(values, (STEP, STEP), method))

    grid, below = spool.grids[level], spool.grids[level - 1].shape
    running: deque[Future[None]] = deque()
    for places in _batches(grid.places(), spool):
        if len(running) >= threads * _WAITING_TASKS:
            running.popleft().result()
        running.append(pool.submit(reduce, places))
    _finish(running)


def _finish(running: Iterable[Future[None]]) -> None:
    for task in running:
        task.result()


def _batches(items: Iterable[Item], spool: TileSpool) -> Iterator[list[Item]]:
    """Tiles in groups that are worth handing to a thread."""
    count = max(1, _TASK // spool.tile_bytes)
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, count)):
        yield batch
