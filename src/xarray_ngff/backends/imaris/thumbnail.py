"""The small picture of an image that Imaris shows in its file browser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.imaris.chunk_layout import MEBIBYTE, Shape

__all__ = ["colored", "projection", "thumbnail_level", "thumbnail_size"]

# Pixels along the longer side.
_SIDE = 256
# Bytes of a channel that are read for it at the most, if there is a coarser level.
_READ = 64 * MEBIBYTE


def thumbnail_level(sizes: Sequence[Shape], itemsize: int) -> int:
    """Level to make the thumbnail from: the coarsest of at least 256 x 256 pixels, or one that is read quickly.

    Examples
    --------
    >>> thumbnail_level([(3, 701, 902), (3, 350, 451), (3, 175, 225)], 1)
    1
    """
    large = [level for level, (_, y, x) in enumerate(sizes) if min(y, x) >= _SIDE]
    level = large[-1] if large else 0
    while level + 1 < len(sizes) and np.prod(sizes[level], dtype=float) * itemsize > _READ:
        level += 1
    return level


def thumbnail_size(size: Shape, spacing: tuple[float, float]) -> tuple[int, int]:
    """Pixels along y and x: 256 along the longer side, and square pixels.

    Parameters
    ----------
    size
        Voxels along z, y, x.
    spacing
        Of the voxels along y and x.

    Examples
    --------
    >>> thumbnail_size((13, 101, 150), (0.5, 0.5)), thumbnail_size((1, 100, 100), (2.0, 1.0))
    ((172, 256), (256, 128))
    """
    finest = min(spacing)
    y, x = (length * step / finest for length, step in zip(size[1:], spacing, strict=True))
    scale = _SIDE / max(y, x)
    return max(1, int(y * scale + 0.5)), max(1, int(x * scale + 0.5))


def projection(
    chunks: Iterable[tuple[Shape, npt.NDArray[Any]]], size: Shape, pixels: tuple[int, int]
) -> npt.NDArray[np.float64]:
    """Largest values along z at the voxel that each pixel starts in; NaN where no voxel is a number.

    Parameters
    ----------
    chunks
        Index of the first voxel along z, y, x, and the voxels, for all chunks of a volume.
    size
        Voxels along z, y, x.
    pixels
        Along y and x.
    """
    picture = np.full(pixels, np.nan)
    rows, columns = (np.arange(n) * length // n for n, length in zip(pixels, size[1:], strict=True))
    for (_, top, left), values in chunks:
        _, height, width = values.shape
        across = slice(*np.searchsorted(rows, [top, top + height]))
        along = slice(*np.searchsorted(columns, [left, left + width]))
        sampled = values[:, rows[across] - top][:, :, columns[along] - left]
        part = picture[across, along]
        np.fmax(part, np.fmax.reduce(sampled, axis=0), out=part)
    return picture


def colored(
    pictures: Sequence[npt.NDArray[np.float64]],
    colors: Sequence[tuple[float, float, float]],
    ranges: Sequence[tuple[float, float]],
) -> npt.NDArray[np.uint8]:
    """Channels shown together, the brightest of them in each of red, green and blue.

    Parameters
    ----------
    pictures
        Values along y, x of each channel.
    colors
        Red, green and blue, from 0 to 1.
    ranges
        Values that are black and that have the full colour.

    Returns
    -------
    numpy.ndarray
        (y, 4 x) bytes: red, green, blue and opacity of one pixel after another.
    """
    height, width = pictures[0].shape
    rgba: npt.NDArray[np.uint8] = np.zeros((height, width, 4), np.uint8)
    rgba[..., 3] = 255
    for picture, color, (low, high) in zip(pictures, colors, ranges, strict=True):
        shown = np.nan_to_num(np.clip((picture - low) / (high - low), 0, 1) if high > low else picture >= high)
        tinted = (shown[..., None] * np.array(color) * 255).astype(np.uint8)
        np.maximum(rgba[..., :3], tinted, out=rgba[..., :3])
    return rgba.reshape(height, 4 * width)
