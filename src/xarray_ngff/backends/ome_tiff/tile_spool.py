"""Encoded tiles of a pyramid in a scratch file, where they wait for their turn in the file that is written."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.ome_tiff.tile_codec import TileCodec

__all__ = ["TileGrid", "TilePlace", "TileSpool", "overlap"]

#: A page, and the row and column of a tile in it.
TilePlace = tuple[int, int, int]


@dataclass(frozen=True)
class TileGrid:
    """The tiles of one level of a pyramid.

    Attributes
    ----------
    pages
        Number of planes.
    shape
        Height and width of a plane.
    tile
        Height and width of a tile; those at the end reach beyond the plane.
    """

    pages: int
    shape: tuple[int, int]
    tile: tuple[int, int]

    @property
    def tiles(self) -> tuple[int, int, int]:
        """Number of pages, and of rows and columns of tiles in each.

        Examples
        --------
        >>> TileGrid(3, (100, 40), (32, 48)).tiles
        (3, 4, 1)
        """
        rows, columns = (math.ceil(size / tile) for size, tile in zip(self.shape, self.tile, strict=True))
        return self.pages, rows, columns

    def region(self, row: int, column: int) -> tuple[slice, slice]:
        """Part of the plane that a tile holds.

        Examples
        --------
        >>> TileGrid(1, (100, 40), (32, 48)).region(3, 0)
        (slice(96, 100, None), slice(0, 40, None))
        """
        starts = (row * self.tile[0], column * self.tile[1])
        down, across = (
            slice(start, min(start + tile, size))
            for start, tile, size in zip(starts, self.tile, self.shape, strict=True)
        )
        return down, across

    def places(self) -> Iterator[TilePlace]:
        """Page, row and column of each tile in the order of a TIFF file: page by page, row by row."""
        pages, rows, columns = self.tiles
        for page in range(pages):
            for row in range(rows):
                for column in range(columns):
                    yield page, row, column

    def meeting(self, region: tuple[slice, slice]) -> Iterator[tuple[int, int]]:
        """Row and column of each tile that holds something of a part of a plane."""
        rows, columns = (
            range(part.start // tile, math.ceil(part.stop / tile)) for part, tile in zip(region, self.tile, strict=True)
        )
        for row in rows:
            for column in columns:
                yield row, column


class TileSpool:
    """Tiles of all levels, in the order in which they were made, and where each is. Threads may share it.

    Parameters
    ----------
    stream
        An empty file that is open for reading and writing.
    grids
        Tiles of each level.
    codec
        How they are encoded.
    """

    def __init__(self, stream: BinaryIO, grids: Sequence[TileGrid], codec: TileCodec) -> None:
        self.grids = tuple(grids)
        self.codec = codec
        self._stream = stream
        self._lock = threading.Lock()
        self._end = 0
        # offsets by the length of what may be written there
        self._free: dict[int, list[int]] = {}
        # offset and length of each tile
        self._where = [np.zeros((*grid.tiles, 2), np.int64) for grid in grids]

    def append(self, data: bytes) -> int:
        """Write bytes at the end, or where bytes were taken; what comes back is their offset."""
        with self._lock:
            left = self._free.get(len(data))
            offset = left.pop() if left else self._end
            self._stream.seek(offset)
            self._stream.write(data)
            self._end = max(self._end, offset + len(data))
        return offset

    def taken(self, offset: int, length: int) -> bytes:
        """Bytes that `append` wrote, which are then no longer there."""
        data = self._bytes_at(offset, length)
        with self._lock:
            self._free.setdefault(length, []).append(offset)
        return data

    def _bytes_at(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._stream.seek(offset)
            return self._stream.read(length)

    def put(self, level: int, place: TilePlace, values: npt.NDArray[Any]) -> None:
        """Encode and keep the values of a tile, which is smaller at the end of a plane."""
        data = self.codec.encode(values, self.grids[level].tile)
        self._where[level][place] = self.append(data), len(data)

    def values(self, level: int, page: int, region: tuple[slice, slice]) -> npt.NDArray[Any]:
        """Part of a plane, decoded from the tiles that it meets."""
        grid = self.grids[level]
        result = np.empty([part.stop - part.start for part in region], self.codec.dtype)
        for row, column in grid.meeting(region):
            held = grid.region(row, column)
            tile = self.codec.decode(self._encoded(level, (page, row, column)), grid.tile)
            result[overlap(held, region)] = tile[overlap(region, held)]
        return result

    @property
    def tile_bytes(self) -> int:
        """Length of a tile of level 0 before it is encoded."""
        return math.prod(self.grids[0].tile) * self.codec.dtype.itemsize

    def encoded_bytes(self) -> int:
        """Length of all encoded tiles together."""
        return sum(int(where[..., 1].sum()) for where in self._where)

    def encoded_tiles(self, level: int) -> Iterator[bytes]:
        """Tiles of a level in the order of a TIFF file."""
        for place in self.grids[level].places():
            yield self._encoded(level, place)

    def _encoded(self, level: int, place: TilePlace) -> bytes:
        offset, length = self._where[level][place].tolist()
        return self._bytes_at(offset, length)


def overlap(part: tuple[slice, slice], whole: tuple[slice, slice]) -> tuple[slice, slice]:
    """What two parts of a plane have in common, counted from the start of `whole`.

    Examples
    --------
    >>> overlap((slice(0, 20), slice(5, 9)), (slice(16, 32), slice(0, 16)))
    (slice(0, 4, None), slice(5, 9, None))
    """
    down, across = (
        slice(max(a.start, b.start) - b.start, min(a.stop, b.stop) - b.start) for a, b in zip(part, whole, strict=True)
    )
    return down, across
