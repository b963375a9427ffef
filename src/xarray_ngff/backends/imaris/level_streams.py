"""The voxels of an image into an Imaris file: level 0 block by block, each further level from the one before.

Chunks are compressed by threads, and written in one order whatever the threads do, so that the same image gives the
same file. What is held beside the blocks of the source is a few chunks for each thread, and those that are not whole
yet.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends.locks import HDF5_LOCK

from xarray_ngff.backends._blocks import blocks
from xarray_ngff.backends.imaris.chunk_assembly import ChunkAssembly, Place
from xarray_ngff.backends.imaris.chunk_layout import Shape
from xarray_ngff.backends.imaris.compression import Compression
from xarray_ngff.backends.imaris.histograms import Bins, Counts, Range, count, finite_range, joined
from xarray_ngff.backends.imaris.resolution_levels import ResolutionLevel, reduced

if TYPE_CHECKING:
    import h5py

__all__ = ["Target", "chunks_of", "group_name", "write_coarser_level", "write_finest_level"]

# The finished results that may wait for their turn, for each thread.
_AHEAD = 2

_DIMS = ("t", "c", "z", "y", "x")

# Along z, y, x.
Index = tuple[int, int, int]
Stored = bytes | npt.NDArray[Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """An open file and how its voxels are stored.

    Attributes
    ----------
    file
        Open for writing.
    levels
        The finest first.
    dtype
        Of the voxels.
    compression
        Of the chunks.
    pool
        Does the work that is not HDF5's.
    threads
        How many it has.
    """

    file: h5py.File
    levels: Sequence[ResolutionLevel]
    dtype: np.dtype[Any]
    compression: Compression
    pool: Executor
    threads: int

    def dataset(self, level: int, time: int, channel: int) -> h5py.Dataset:
        """The voxels of one channel at one time point."""
        return self.file[f"{group_name(level, time, channel)}/Data"]

    def in_order(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results of threads in the order of the items, of which no more are taken than soon needed."""
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(self.pool.submit(work, item))
            if len(waiting) >= _AHEAD * self.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def group_name(level: int, time: int, channel: int) -> str:
    """Name of the group of a channel at a time point."""
    return f"DataSet/ResolutionLevel {level}/TimePoint {time}/Channel {channel}"


def write_finest_level(target: Target, img: xr.DataArray, scratch: Path) -> dict[tuple[int, int], Range]:
    """Write all voxels of an image, and return the range of values by time point and channel.

    Parameters
    ----------
    img
        Dims any of t, c, z, y, x.
    scratch
        An empty file.
    """
    level = target.levels[0]

    def encoded(item: tuple[Place, npt.NDArray[Any]]) -> tuple[Place, Stored, Range]:
        place, chunk = item
        return place, target.compression.encode(chunk), finite_range(chunk[level.inside(place[2:])])

    ranges: dict[tuple[int, int], Range] = {}
    for place, stored, found in target.in_order(encoded, _whole_chunks(img, level, target.dtype, scratch)):
        time, channel, *index = place
        with HDF5_LOCK:
            target.compression.write(target.dataset(0, time, channel), _product(index, level.chunk), stored)
        ranges[time, channel] = joined([ranges.get((time, channel)), found])
    return ranges


def _whole_chunks(
    img: xr.DataArray, level: ResolutionLevel, dtype: np.dtype[Any], scratch: Path
) -> Iterator[tuple[Place, npt.NDArray[Any]]]:
    """Chunks of an image, padded with zeros, as its blocks finish them."""
    dims = [dim for dim in _DIMS if dim in img.dims]
    shape = [img.sizes.get(dim, 1) for dim in _DIMS]
    assembly = ChunkAssembly(level, dtype, scratch)
    for block in blocks(img, dims[::-1], dtype.itemsize):
        # loaded before it is transposed: xarray's lazy transpose turns slices into an index for each voxel
        values = img.isel(block).to_numpy().transpose([img.dims.index(dim) for dim in dims])
        parts = [block.get(dim, slice(0, size)) for dim, size in zip(_DIMS, shape, strict=True)]
        t, c, z, y, x = (part.start for part in parts)
        yield from assembly.add(values.reshape([part.stop - part.start for part in parts]), (t, c, z, y, x))


def write_coarser_level(
    target: Target, level: int, time: int, channel: int, bins: Bins, *, labels: bool
) -> tuple[Counts, Range]:
    """Count the values of a level at one time point, and write the next coarser one if there is one.

    Parameters
    ----------
    level
        Index of the level that is read.
    bins
        What to count in.
    labels
        Reduce by the most frequent value instead of the mean.

    Returns
    -------
    counts, found
        Values in each bin, and the range of values of the coarser level.
    """
    source = target.levels[level]
    coarser = target.levels[level + 1] if level + 1 < len(target.levels) else None
    family = (1, 1, 1) if coarser is None else _family(source, coarser)
    with HDF5_LOCK:
        dataset = target.dataset(level, time, channel)
        written = None if coarser is None else target.dataset(level + 1, time, channel)

    def read() -> Iterator[tuple[Index, list[tuple[Index, Stored]]]]:
        for parent in _places([-(-n // m) for n, m in zip(source.grid, family, strict=True)]):
            chunks = []
            for offset in _places(family):
                place = _sum(_product(parent, family), offset)
                if all(at < n for at, n in zip(place, source.grid, strict=True)):
                    with HDF5_LOCK:
                        chunks.append((offset, target.compression.read(dataset, _product(place, source.chunk))))
            yield parent, chunks

    def work(item: tuple[Index, list[tuple[Index, Stored]]]) -> tuple[Index, Counts, Stored | None, Range]:
        parent, chunks = item
        corner = _product(parent, family)
        counts: Counts = np.zeros(bins.number, np.int64)
        region: npt.NDArray[Any] = np.empty(_product(family, source.chunk) if coarser else (0, 0, 0), target.dtype)
        for offset, stored in chunks:
            inside = source.inside(_sum(corner, offset))
            values = target.compression.decode(stored, target.dtype, source.chunk)[inside]
            counts += count(values, bins)
            if coarser:
                first = _product(offset, source.chunk)
                region[tuple(slice(a, a + n) for a, n in zip(first, values.shape, strict=True))] = values
        if coarser is None:
            return parent, counts, None, None
        whole = [
            min(length, size - at * side)
            for length, size, at, side in zip(region.shape, source.size, corner, source.chunk, strict=True)
        ]
        smaller = reduced(region[tuple(map(slice, whole))], coarser.steps, labels=labels)
        if not smaller.size:  # what is left over beyond the last block
            return parent, counts, None, None
        chunk = np.zeros(coarser.chunk, target.dtype)
        chunk[tuple(map(slice, smaller.shape))] = smaller
        return parent, counts, target.compression.encode(chunk), finite_range(smaller)

    total: Counts = np.zeros(bins.number, np.int64)
    found: Range = None
    for parent, counts, stored, limits in target.in_order(work, read()):
        total += counts
        found = joined([found, limits])
        if coarser is not None and stored is not None:
            with HDF5_LOCK:
                target.compression.write(written, _product(parent, coarser.chunk), stored)
    return total, found


def chunks_of(target: Target, level: int, time: int, channel: int) -> Iterator[tuple[Shape, npt.NDArray[Any]]]:
    """Chunks of a stored level one after another: index of the first voxel, and the voxels without padding."""
    source = target.levels[level]
    with HDF5_LOCK:
        dataset = target.dataset(level, time, channel)

    def read() -> Iterator[tuple[Index, Stored]]:
        for place in _places(source.grid):
            with HDF5_LOCK:
                stored = target.compression.read(dataset, _product(place, source.chunk))
            yield place, stored

    def decoded(item: tuple[Index, Stored]) -> tuple[Shape, npt.NDArray[Any]]:
        place, stored = item
        values = target.compression.decode(stored, target.dtype, source.chunk)
        return _product(place, source.chunk), values[source.inside(place)]

    yield from target.in_order(decoded, read())


def _family(source: ResolutionLevel, coarser: ResolutionLevel) -> Index:
    """Chunks of a level that one chunk of the coarser one is made from, along z, y, x; always whole ones."""
    z, y, x = (
        step * large // small for step, large, small in zip(coarser.steps, coarser.chunk, source.chunk, strict=True)
    )
    return z, y, x


def _places(counts: Sequence[int]) -> Iterator[Index]:
    """Indices of a grid in C order."""
    z, y, x = counts
    yield from itertools.product(range(z), range(y), range(x))


def _sum(first: Sequence[int], second: Sequence[int]) -> Index:
    z, y, x = (a + b for a, b in zip(first, second, strict=True))
    return z, y, x


def _product(first: Sequence[int], second: Sequence[int]) -> Index:
    z, y, x = (a * b for a, b in zip(first, second, strict=True))
    return z, y, x
