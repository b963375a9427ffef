"""Where the pixels of a series lie in its files: planes, and the tiles or strips of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries

__all__ = ["SegmentGrid", "Storage", "storage_of"]

#: Axes of an image file directory as tifffile sees it: planar samples, depth, length, width, interleaved samples.
PAGE_AXES = 5

_JPEG = (6, 7, 34892, 33007)


@dataclass(frozen=True)
class SegmentGrid:
    """Tiles or strips that a plane is cut into.

    Attributes
    ----------
    shape
        Of the plane: planar samples, depth, length, width, interleaved samples.
    segment
        Shape of a whole tile or strip along the same axes.
    tiled
        Whether segments at the border are as large as the others.
    compression
        Code of the TIFF tag.
    bits
        Bits that one stored number takes.
    """

    shape: tuple[int, int, int, int, int]
    segment: tuple[int, int, int, int, int]
    tiled: bool
    compression: int
    bits: int

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of segments along each axis of the plane."""
        return tuple(-(-size // part) for size, part in zip(self.shape, self.segment, strict=True))


@dataclass(frozen=True)
class Storage:
    """Pixels of a series of pages.

    Attributes
    ----------
    axes, shape
        Letters and lengths of the axes of the series, as tifffile gives them.
    outer
        How many of them count planes; the others lie within a plane.
    dtype
        Type of the stored numbers, in the byte order of the file.
    files
        Paths of the files that hold the planes.
    file_of
        For each plane the index of its file, -1 for a plane that is in none and reads as `fill`.
    offsets, counts
        Position and length in bytes of each segment of each plane; a length of 0 reads as `fill`. For planes in one
        piece, there is one segment.
    grid
        How planes are cut, or None where they lie in one piece as plain numbers.
    page_axes
        For each axis within a plane its place in `SegmentGrid.shape`.
    tables
        For JPEG, the tables of each plane.
    fill
        Value of what is not stored.
    """

    axes: str
    shape: tuple[int, ...]
    outer: int
    dtype: np.dtype[Any]
    files: tuple[str, ...]
    file_of: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    grid: SegmentGrid | None
    page_axes: tuple[int, ...] = ()
    tables: tuple[bytes | None, ...] = ()
    fill: float = 0

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """Lengths of the axes within a plane."""
        return self.shape[self.outer :]


def storage_of(series: TiffPageSeries, *, place: str) -> Storage:
    """Where the pixels of a series lie.

    Raises
    ------
    FormatError
        Where pages promise tiles or strips that they do not have, or cannot make up the series.
    """
    page = series.keyframe
    if page.dtype is None or 0 in page.shaped:
        raise FormatError(
            f"{place} has pages of shape {page.shaped} with {page.bitspersample} bits of sample format "
            f"{page.sampleformat}, which cannot be read. Write it anew with a common type of numbers"
        )
    dtype = page.dtype.newbyteorder(page.parent.byteorder)
    axes, shape = str(series.axes), tuple(int(size) for size in series.shape)
    whole = None if series.is_multifile else series.dataoffset
    if whole is not None:
        file = str(page.parent.filehandle.path)
        size = math.prod(shape) * dtype.itemsize
        return Storage(axes, shape, 0, dtype, (file,), np.zeros(1, np.int32), _column([whole]), _column([size]), None)

    pages = list(series)
    outer, page_axes = _split(shape, tuple(page.shaped), len(pages), place)
    names: dict[str, int] = {}
    file_of = np.full(len(pages), -1, np.int32)
    for index, found in enumerate(pages):
        if found is not None:
            file_of[index] = names.setdefault(str(found.parent.filehandle.path), len(names))
    files = tuple(names)
    fill = float(page.nodata)
    if page.is_final and _all_in_one_piece(pages, page):
        starts = [0 if found is None else found.dataoffsets[0] for found in pages]
        sizes = np.where(file_of >= 0, math.prod(page.shaped) * dtype.itemsize, 0)
        return Storage(
            axes, shape, outer, dtype, files, file_of, _column(starts), _column(sizes), None, page_axes, (), fill
        )
    grid = _grid(page)
    offsets, counts = _segments(pages, page, math.prod(grid.counts), place)
    tables: tuple[bytes | None, ...] = ()
    if page.compression in _JPEG:
        tables = tuple(None if found is None else found.jpegtables for found in pages)
    return Storage(axes, shape, outer, dtype, files, file_of, offsets, counts, grid, page_axes, tables, fill)


def _column(values: Sequence[int] | npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64).reshape(-1, 1)


def _split(shape: tuple[int, ...], page: tuple[int, ...], planes: int, place: str) -> tuple[int, tuple[int, ...]]:
    """How many axes of a series count its planes, and where the others are in a page."""
    for outer in range(len(shape), -1, -1):
        places = _places(shape[outer:], page)
        if places is not None and math.prod(shape[:outer]) == planes:
            return outer, places
    raise FormatError(
        f"{place}: {planes} pages of shape {page} cannot make up an image of shape {shape}. Get a whole copy of the "
        "file, or write it anew"
    )


def _places(sizes: tuple[int, ...], page: tuple[int, ...]) -> tuple[int, ...] | None:
    """For each of the sizes its place in a page that has the same ones, and others of length 1, in the same order."""
    places: list[int] = []
    start = 0
    for size in sizes:
        place = next((i for i in range(start, len(page)) if page[i] == size), None)
        if place is None or math.prod(page[start:place]) != 1:
            return None
        places.append(place)
        start = place + 1
    return tuple(places) if math.prod(page[start:]) == 1 else None


def _all_in_one_piece(pages: Sequence[Any], key: TiffPage) -> bool:
    """Whether the segments of every page follow each other as those of the first do."""
    if len(key.dataoffsets) == 1:
        return True
    gaps = np.diff(np.asarray(key.dataoffsets, np.int64))
    return all(
        page is None
        or (len(page.dataoffsets) == len(gaps) + 1 and (np.diff(np.asarray(page.dataoffsets, np.int64)) == gaps).all())
        for page in pages
    )


def _grid(page: TiffPage) -> SegmentGrid:
    planar, depth, length, width, samples = (int(size) for size in page.shaped)
    if page.is_tiled:
        part = (1, int(page.tiledepth), int(page.tilelength), int(page.tilewidth), samples)
    else:
        part = (1, 1, min(int(page.rowsperstrip), length), width, samples)
    if 0 in part:
        raise FormatError(f"{page.parent.filehandle.path}: tiles or strips have shape {part}. Write the file anew")
    bits = page.bitspersample
    return SegmentGrid(
        (planar, depth, length, width, samples),
        part,
        bool(page.is_tiled),
        int(page.compression),
        min(bits) if isinstance(bits, tuple) else int(bits),
    )


def _segments(
    pages: Sequence[Any], key: TiffPage, expected: int, place: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Position and length of each segment of each page."""
    for index, page in enumerate(pages):
        if page is not None and min(len(page.dataoffsets), len(page.databytecounts)) < expected:
            raise FormatError(
                f"{place}: plane {index} should have {expected} tiles or strips but has "
                f"{min(len(page.dataoffsets), len(page.databytecounts))}. Get a whole copy of the file"
            )
    offsets = np.zeros((len(pages), expected), np.int64)
    counts = np.zeros((len(pages), expected), np.int64)
    for index, page in enumerate(pages):
        if page is not None:
            offsets[index] = page.dataoffsets[:expected]
            counts[index] = page.databytecounts[:expected]
    counts[offsets <= 0] = 0
    return offsets, counts
