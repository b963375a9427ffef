"""Tiles and strips: which of them a selection meets, and their decoding."""

from __future__ import annotations

import itertools
import lzma
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends._lazy import take_orthogonal
from xarray_ngff.backends.ome_tiff.file_bytes import FileBytes
from xarray_ngff.backends.ome_tiff.selection import Indices, as_slice, planes_of
from xarray_ngff.backends.ome_tiff.storage import PAGE_AXES, SegmentGrid, Storage
from xarray_ngff.errors import FormatError, MissingExtraError, NgffError

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["check_extents", "check_growth", "read_segments", "segments_met"]

# Segments that follow each other in a file are read together up to so many bytes; gaps of a few bytes are read along.
_TOGETHER = 1 << 21
_GAP = 1 << 12
_MOST_THREADS = 8
# Pixels below this are decoded sooner than threads start.
_WORTH_THREADS = 1 << 18

# What one byte of a compression can grow to at most; others have no bound that could tell a sound file from another.
# Without compression (1), tiles that are somewhat short, as by subsampling, are left to the decoder.
_MOST_GROWTH = {1: 64, 5: 4200, 8: 1040, 32773: 64, 32946: 1040, 34925: 10_000, 50000: 33_000, 50013: 1040}

_DECODING = (
    ValueError, TypeError, IndexError, KeyError, AttributeError, NameError, RuntimeError, AssertionError, EOFError,
    ImportError, struct.error, zlib.error, lzma.LZMAError,
)  # fmt: skip

Key = tuple["slice | Indices", ...]


@dataclass(frozen=True)
class _Cell:
    """Part of one segment that is wanted: its number, the part of the target, and the part of the segment."""

    segment: int
    target: tuple[slice, ...]
    own: Key


@dataclass(frozen=True)
class _Task:
    """One segment of one plane to decode."""

    file: int
    offset: int
    count: int
    plane: int
    cell: _Cell
    view: npt.NDArray[Any]


def segments_met(storage: Storage, indices: Sequence[Indices]) -> npt.NDArray[np.intp]:
    """Numbers of the segments that a selection meets in every plane."""
    assert storage.grid is not None
    blocks = [np.unique(along // size) for along, size in _along_page(storage, indices, storage.grid)]
    return np.asarray(np.ravel_multi_index(np.ix_(*blocks), storage.grid.counts), np.intp).ravel()


def check_extents(
    files: FileBytes, storage: Storage, planes: npt.NDArray[np.intp], segments: npt.NDArray[np.intp]
) -> None:
    """Refuse a file that ends before its pixels do, before any memory is claimed for them.

    Raises
    ------
    FormatError
        Naming the file, where it ends and where it should.
    """
    planes = planes.ravel()
    offsets, counts = (table[np.ix_(planes, segments)] for table in (storage.offsets, storage.counts))
    ends = np.where(counts > 0, offsets + counts, 0).max(axis=1, initial=0)
    for file in np.unique(storage.file_of[planes]):
        if file < 0:
            continue
        end, size = int(ends[storage.file_of[planes] == file].max()), files.size(int(file))
        if not 0 <= end <= size:
            raise FormatError(
                f"{files.files[file]} is truncated: pixels are promised up to byte {end}, but it ends at {size}. "
                "Get a whole copy"
            )


def check_growth(storage: Storage) -> None:
    """Refuse tiles and strips that promise more pixels than their bytes can decode to.

    Raises
    ------
    FormatError
        Naming the promise and the bytes.
    """
    grid = storage.grid
    growth = None if grid is None else _MOST_GROWTH.get(grid.compression)
    if grid is None or growth is None:
        return
    sizes = math.prod(_decoded_shape(grid, np.arange(math.prod(grid.counts)))) * grid.bits / 8
    poor = (storage.counts > 0) & (storage.counts < sizes / growth - 1)
    if poor.any():
        raise FormatError(
            f"{storage.files[0]} is corrupt: a tile or strip of {int(np.max(sizes))} bytes is promised, which is more "
            f"than its {int(storage.counts[poor].min())} bytes can hold. Get a whole copy"
        )


def _decoded_shape(grid: SegmentGrid, segments: npt.NDArray[np.intp]) -> Sequence[Any]:
    """Shape of each segment when decoded: strips at the lower border are shorter."""
    if grid.tiled:
        return grid.segment
    row = np.unravel_index(segments, grid.counts)[2]
    rows = np.minimum(grid.segment[2], grid.shape[2] - row * grid.segment[2])
    return (*grid.segment[:2], rows.astype(np.float64), *grid.segment[3:])  # a product of lengths may pass int64


def read_segments(
    files: FileBytes, storage: Storage, target: npt.NDArray[Any], indices: Sequence[Indices], page: TiffPage
) -> None:
    """Decode those segments that a selection meets into an array.

    Parameters
    ----------
    files
        Files of the storage.
    storage
        Where the segments of each plane lie.
    target
        Array of native numbers, in the axes of the series.
    indices
        Ascending indices along each axis of the series.
    page
        The page of tifffile that knows how to decode.
    """
    assert storage.grid is not None
    cells = _cells(storage, indices, storage.grid)
    places = tuple(slice(None) if place in storage.page_axes else None for place in range(PAGE_AXES))
    tasks = []
    for plane, view in planes_of(target, storage, indices):
        spread = view[places]
        file = int(storage.file_of[plane])
        for cell in cells:
            count = int(storage.counts[plane, cell.segment])
            if file < 0 or not count:
                spread[cell.target] = storage.fill
            else:
                offset = int(storage.offsets[plane, cell.segment])
                tasks.append(_Task(file, offset, count, plane, cell, spread))
    _decode(files, storage, tasks, page, target.nbytes)


def _along_page(storage: Storage, indices: Sequence[Indices], grid: SegmentGrid) -> Iterator[tuple[Indices, int]]:
    """Indices along each axis of a page, and how many of them one segment spans."""
    inner = dict(zip(storage.page_axes, indices[storage.outer :], strict=True))
    for place in range(PAGE_AXES):
        yield inner.get(place, np.zeros(1, np.intp)), grid.segment[place]


def _cells(storage: Storage, indices: Sequence[Indices], grid: SegmentGrid) -> list[_Cell]:
    along = [_blocks(wanted, size) for wanted, size in _along_page(storage, indices, grid)]
    cells = []
    for blocks in itertools.product(*along):
        segment = int(np.ravel_multi_index([block for block, _, _ in blocks], grid.counts))
        # planar samples are no axis of a decoded segment
        cells.append(_Cell(segment, tuple(part for _, part, _ in blocks), tuple(own for _, _, own in blocks[1:])))
    return cells


def _blocks(wanted: Indices, size: int) -> list[tuple[int, slice, slice | Indices]]:
    """For each segment along an axis: its number, the positions that it fills, and which of its own places."""
    numbers, starts = np.unique(wanted // size, return_index=True)
    stops = [*starts[1:], len(wanted)]
    blocks = []
    for number, start, stop in zip(numbers, starts, stops, strict=True):
        own = wanted[start:stop] - number * size
        blocks.append((int(number), slice(int(start), int(stop)), as_slice(own) or own))
    return blocks


def _decode(files: FileBytes, storage: Storage, tasks: list[_Task], page: TiffPage, nbytes: int) -> None:
    batches = list(_batches(tasks))
    if not batches:
        return
    with _codec_errors(files, batches[0][0]):
        page.decode  # noqa: B018  # made once, before threads meet here

    def decode(batch: list[_Task]) -> None:
        start = batch[0].offset
        raw = bytearray(max(task.offset + task.count for task in batch) - start)
        files.fill(batch[0].file, start, raw)
        for task in batch:
            data = bytes(memoryview(raw)[task.offset - start : task.offset - start + task.count])
            with _codec_errors(files, task):
                _place(task, _decoded(storage, task, data, page))

    threads = min(len(batches), _MOST_THREADS, _cores())
    if threads < 2 or nbytes < _WORTH_THREADS:
        for batch in batches:
            decode(batch)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(decode, batches):
            pass


def _decoded(storage: Storage, task: _Task, data: bytes, page: TiffPage) -> npt.NDArray[Any]:
    options: dict[str, Any] = {}
    if storage.tables:
        options = {"jpegtables": storage.tables[task.plane], "jpegheader": page.jpegheader}
    segment, _, _ = page.decode(data, task.cell.segment, **options)
    assert segment is not None  # only where there are no data
    return segment


def _place(task: _Task, segment: npt.NDArray[Any]) -> None:
    own = task.cell.own
    part = segment[own] if all(isinstance(along, slice) for along in own) else take_orthogonal(segment, own)
    task.view[task.cell.target] = part


def _batches(tasks: list[_Task]) -> Iterator[list[_Task]]:
    """Segments that are read together, in the order of the files."""
    batch: list[_Task] = []
    start = end = 0
    for task in sorted(tasks, key=lambda task: (task.file, task.offset)):
        stop = task.offset + task.count
        if batch and (task.file != batch[0].file or task.offset > end + _GAP or stop - start > _TOGETHER):
            yield batch
            batch = []
        if not batch:
            start, end = task.offset, stop
        batch.append(task)
        end = max(end, stop)
    if batch:
        yield batch


def _cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _codec_errors:  # noqa: N801  # reads as a statement; a generator would cost more than decoding a small strip
    """Turns what a decoder raises into an error that names file and place."""

    def __init__(self, files: FileBytes, task: _Task) -> None:
        self.files, self.task = files, task

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, NgffError) or not isinstance(error, _DECODING):
            return
        path = self.files.files[self.task.file]
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise MissingExtraError(
                f"{path} is compressed in a way that tifffile alone cannot decode ({error}). Install the codecs: "
                "pip install 'xarray-ngff[tiff]'"
            ) from error
        raise FormatError(
            f"{path} is corrupt: tile or strip {self.task.cell.segment} of plane {self.task.plane}, "
            f"{self.task.count} bytes at byte {self.task.offset}, cannot be decoded ({type(error).__name__}: {error}). "
            "Get a whole copy"
        ) from error
