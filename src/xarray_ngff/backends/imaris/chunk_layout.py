"""How Imaris cuts volumes into chunks: blocks of about 1 MiB whose sides are powers of two."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

__all__ = ["MEBIBYTE", "Shape", "chunk_shape"]

#: Bytes of a chunk, and what a volume is reduced to by the levels of a pyramid.
MEBIBYTE = 2**20

#: Lengths along z, y, x.
Shape = tuple[int, int, int]

# A layout that stores more than this many voxels for one of the image gives way to the next best.
_WASTE = 2


def chunk_shape(size: Shape, itemsize: int, *, times: int = 1, at_least: Shape = (1, 1, 1)) -> Shape:
    """Lengths along z, y, x of the chunks that Imaris would give a volume.

    Of all layouts with sides that are powers of two, square in y and x and at least 4 deep (volumes of one plane: one
    deep, and at most four times as long as wide), the one that takes the fewest chunks to show one plane along each
    axis, then the most compact one.

    Parameters
    ----------
    size
        Voxels along z, y, x.
    itemsize
        Bytes of a voxel.
    times
        Number of time points. Imaris counts a chunk as if it could hold several, which makes those of small volumes
        smaller.
    at_least
        Smallest allowed lengths: half the chunk of the next finer level where the axis is halved, else all of it. Where
        no layout fits, this is what the chunk is.

    Examples
    --------
    >>> chunk_shape((20, 130, 259), 2), chunk_shape((3, 701, 902), 1), chunk_shape((1, 4096, 4096), 2)
    ((32, 128, 128), (4, 512, 512), (1, 512, 1024))
    """
    layouts = sorted(
        (_cost(size, times, chunk, depth), (-chunk[2], -chunk[1]), chunk)
        for chunk, depth in _candidates(size[0] == 1, MEBIBYTE // itemsize)
        if all(length >= least for length, least in zip(chunk, at_least, strict=True))
    )
    sparing = (chunk for (_, _, waste), _, chunk in layouts if waste <= _WASTE)
    return next(sparing, layouts[0][2] if layouts else at_least)


def _candidates(flat: bool, voxels: int) -> Iterator[tuple[Shape, int]]:
    """Allowed chunks, and the time points that each would hold in as many voxels."""
    sides = [2**power for power in range(voxels.bit_length())]
    for x, y, z in itertools.product(sides, repeat=3):
        if x * y * z > voxels:
            continue
        if (z == 1 and x <= 4 * y and y <= 4 * x) if flat else (z > 2 and x == y):
            yield (z, y, x), voxels // (x * y * z)


def _cost(size: Shape, times: int, chunk: Shape, depth: int) -> tuple[int, int, float]:
    """Chunks that meet three orthogonal planes, surface of a chunk, and voxels stored for one of the image."""
    z, y, x = (-(-length // side) for length, side in zip(size, chunk, strict=True))
    surface = chunk[0] * chunk[1] + chunk[0] * chunk[2] + chunk[1] * chunk[2]
    stored = z * y * x * math.prod(chunk) * -(-times // depth) * depth
    return 1 + x * y + x * z + y * z - x - y - z, surface, stored / (math.prod(size) * times)
