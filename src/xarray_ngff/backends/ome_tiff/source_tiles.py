"""An image taken apart into tiles, each chunk of the source once, whatever its chunks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff.backends._blocks import Block, blocks
from xarray_ngff.backends.ome_tiff.tile_spool import TilePlace, TileSpool, overlap

__all__ = ["PAGE_DIMS", "SourceTiles", "tile_blocks"]

Array = npt.NDArray[Any]

#: Dims that the pages of a file are counted along, the slowest first.
PAGE_DIMS = ("t", "c", "z")

_PLANE = ("y", "x")
# Bytes that chunks are merged up to, so that blocks hold whole tiles.
_MERGED = 1 << 25


class _Piece(NamedTuple):
    """Part of a tile that waits in the scratch file for the rest of it."""

    region: tuple[slice, slice]
    offset: int

    @property
    def area(self) -> int:
        return math.prod(side.stop - side.start for side in self.region)


def tile_blocks(img: xr.DataArray, tile: tuple[int, int]) -> Iterator[tuple[Block, Array]]:
    """Blocks of an image, each with its values in the order t, c, z, y, x.

    A block is made of whole chunks of the source. Chunks are merged along y and x until their borders are borders of
    tiles, where that takes no more than 32 MiB; and then up to as much, as `blocks` does.
    """
    dims = tuple(dim for dim in (*PAGE_DIMS, *_PLANE) if dim in img.dims)
    merged = _with_chunks_of_whole_tiles(img, dict(zip(_PLANE, tile, strict=True)))
    for block in blocks(merged, tuple(reversed(dims)), img.dtype.itemsize):
        # loaded before it is transposed: xarray's lazy transpose turns slices into an index for each voxel
        values = merged.isel(block).to_numpy().transpose([img.dims.index(dim) for dim in dims])
        absent = [axis for axis, dim in enumerate(PAGE_DIMS) if dim not in dims]
        yield block, np.expand_dims(values, absent)


class SourceTiles:
    """Tiles of an image that comes in blocks. Parts of a tile wait in the scratch file for the rest of it.

    Parameters
    ----------
    sizes
        Length of the image along each dim.
    spool
        Of the pyramid whose level 0 is the image.
    """

    def __init__(self, sizes: Mapping[Any, int], spool: TileSpool) -> None:
        self._counts = [sizes.get(dim, 1) for dim in PAGE_DIMS]
        self._spool = spool
        self._waiting: dict[TilePlace, list[_Piece]] = {}

    def made_whole(self, block: Block, values: Array) -> Iterator[tuple[TilePlace, Callable[[], Array]]]:
        """Each tile that a block holds whole or is the last part of, with a function that gives its values.

        The block is as `tile_blocks` gives it. Values end where the plane ends.
        """
        here, grid = (block["y"], block["x"]), self._spool.grids[0]
        first = [block.get(dim, slice(0, 1)).start for dim in PAGE_DIMS]
        for inner in np.ndindex(values.shape[:3]):
            page = int(np.ravel_multi_index([a + b for a, b in zip(first, inner, strict=True)], self._counts))
            for row, column in grid.meeting(here):
                place, held = (page, row, column), grid.region(row, column)
                part = values[inner][overlap(held, here)]
                shape = (held[0].stop - held[0].start, held[1].stop - held[1].start)
                if part.shape == shape:
                    yield place, partial(_itself, part)
                    continue
                pieces = self._waiting.setdefault(place, [])
                pieces.append(_Piece(overlap(here, held), self._spool.append(part.tobytes())))
                if sum(piece.area for piece in pieces) == math.prod(shape):
                    yield place, partial(self._joined, self._waiting.pop(place), shape, part.dtype)

    def _joined(self, pieces: Sequence[_Piece], shape: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        values = np.empty(shape, dtype)
        for piece in pieces:
            part = values[piece.region]
            part[...] = np.frombuffer(self._spool.taken(piece.offset, part.nbytes), dtype).reshape(part.shape)
        return values


def _itself(values: Array) -> Array:
    return values


def _with_chunks_of_whole_tiles(img: xr.DataArray, tile: dict[str, int]) -> xr.DataArray:
    """Image with chunks merged along y and x so that they end where tiles end, as far as that keeps them small."""
    if img.chunks is None:
        return _preferring_whole_tiles(img, tile)
    chunks = {str(dim): tuple(lengths) for dim, lengths in img.variable.chunksizes.items()}
    for dims in (_PLANE, ("x",), ("y",)):
        merged = chunks | {dim: _merged_to(chunks[dim], tile[dim]) for dim in dims}
        if merged == chunks:
            return img
        if img.dtype.itemsize * math.prod(map(max, merged.values())) <= _MERGED:
            # in one step: dask would else make larger chunks on the way
            data = img.data.rechunk(tuple(merged[str(dim)] for dim in img.dims), threshold=10**9)
            return img.copy(data=data)
    return img


def _preferring_whole_tiles(img: xr.DataArray, tile: dict[str, int]) -> xr.DataArray:
    """Image that is read in chunks of its file; those that are short along y and x are merged to whole tiles."""
    found = img.encoding.get("preferred_chunks") or {}
    lengths = {str(dim): found.get(dim, 1) for dim in img.dims}
    lengths = {dim: min(length, img.sizes[dim]) if isinstance(length, int) else 1 for dim, length in lengths.items()}
    for dims in (_PLANE, ("x",), ("y",)):
        merged = lengths | {dim: min(math.lcm(lengths[dim], tile[dim]), img.sizes[dim]) for dim in dims}
        if img.dtype.itemsize * math.prod(merged.values()) <= _MERGED:
            lengths = merged
            break
    img = img.copy(deep=False)
    img.encoding = img.encoding | {"preferred_chunks": lengths}
    return img


def _merged_to(chunks: Sequence[int], tile: int) -> tuple[int, ...]:
    """Chunks merged so that each but the last ends where a tile ends.

    Examples
    --------
    >>> _merged_to((128, 128, 128, 128, 100), 256), _merged_to((300, 300, 300), 512)
    ((256, 256, 100), (900,))
    """
    ends = [end for end in itertools.accumulate(chunks) if end % tile == 0]
    edges = [0, *ends, *([sum(chunks)] if not ends or ends[-1] != sum(chunks) else [])]
    return tuple(stop - start for start, stop in itertools.pairwise(edges))
