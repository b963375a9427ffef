"""Chunks that follow the tiles and strips of a file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xarray_ngff.backends.ome_tiff.storage import Storage

__all__ = ["preferred_chunks"]

# Bytes of a chunk that tiles or planes are gathered to, and of one that a plane without tiles is cut down to.
_GATHERED, _LARGEST = 1 << 22, 1 << 25
_LENGTH, _WIDTH = 2, 3


def preferred_chunks(
    storage: Storage, dims: Sequence[str], sources: Sequence[Sequence[int]], shape: Sequence[int]
) -> dict[str, int]:
    """Chunks by dim of about 4 MiB: whole tiles, or whole planes where there are none; one for each t and c.

    Parameters
    ----------
    storage
        Where the pixels lie.
    dims, sources, shape
        Dims, the axes of the series that each is made of, and its length.
    """
    lengths = dict(zip(dims, shape, strict=True))
    chunks = dict.fromkeys(dims, 1)
    samples = 1
    if "c" in chunks:
        along = sources[dims.index("c")]
        interleaved = along[-1] == len(storage.axes) - 1
        chunks["c"] = samples = storage.shape[along[-1]] if interleaved else 1
    size = storage.dtype.itemsize * samples
    height, width = lengths.get("y", 1), lengths.get("x", 1)
    grid = storage.grid
    if grid is not None and grid.tiled:
        rows, columns = grid.segment[_LENGTH], grid.segment[_WIDTH]
        side = max(1, math.isqrt(_GATHERED // (rows * columns * size) or 1))
        height, width = min(height, rows * side), min(width, columns * side)
    elif height * width * size > _LARGEST:
        strip = 1 if grid is None else grid.segment[_LENGTH]
        height = min(height, strip * max(1, _LARGEST // (width * size * strip)))
    for dim, length in (("y", height), ("x", width)):
        if dim in chunks:
            chunks[dim] = length
    if "z" in chunks:
        chunks["z"] = max(1, min(lengths["z"], _GATHERED // (height * width * size)))
    return chunks
