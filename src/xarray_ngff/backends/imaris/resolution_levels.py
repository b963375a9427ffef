"""The resolution levels of an Imaris file: their sizes, and how one is made from the next finer one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.imaris.chunk_layout import MEBIBYTE, Shape, chunk_shape
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.kernels import block_reduce

__all__ = ["ResolutionLevel", "plan_resolution_levels", "reduced"]


@dataclass(frozen=True)
class ResolutionLevel:
    """One level as it is stored.

    Attributes
    ----------
    size
        Voxels along z, y, x.
    chunk
        Lengths of a chunk along z, y, x; the stored array is padded to whole ones.
    steps
        Voxels of the next finer level in one of this along z, y, x: 1 or 2, and 1 for the finest.
    """

    size: Shape
    chunk: Shape
    steps: Shape = (1, 1, 1)

    @property
    def grid(self) -> Shape:
        """Number of chunks along z, y, x."""
        z, y, x = (-(-size // chunk) for size, chunk in zip(self.size, self.chunk, strict=True))
        return z, y, x

    @property
    def stored_shape(self) -> Shape:
        """Lengths of the stored array along z, y, x, padding included."""
        z, y, x = (count * chunk for count, chunk in zip(self.grid, self.chunk, strict=True))
        return z, y, x

    def inside(self, place: Sequence[int]) -> tuple[slice, ...]:
        """The part of the chunk at a place of the grid that is not padding."""
        return tuple(
            slice(0, min(chunk, size - index * chunk))
            for index, chunk, size in zip(place, self.chunk, self.size, strict=True)
        )


def plan_resolution_levels(
    size: Shape, itemsize: int, *, times: int = 1, levels: int | None = None
) -> tuple[ResolutionLevel, ...]:
    """Levels of a volume by Imaris's own rules, the finest first.

    Each level has ``floor(n / 2)`` voxels along the axes that it halves: all of more than one voxel, but an axis n with
    ``(10 n)^2`` no more than the product of the other two waits until these are shorter. Levels follow until one takes
    no more than 1 MiB for a channel at one time point.

    Parameters
    ----------
    size
        Voxels along z, y, x.
    itemsize
        Bytes of a voxel.
    times
        Number of time points, which the size of chunks depends on.
    levels
        How many levels, the finest included, instead of Imaris's own number.

    Raises
    ------
    GeometryError
        Where `levels` is no integer from 1, or the volume is too small for so many.

    Examples
    --------
    >>> [level.size for level in plan_resolution_levels((60, 2000, 2000), 2)]
    [(60, 2000, 2000), (60, 1000, 1000), (60, 500, 500), (30, 250, 250), (15, 125, 125)]
    """
    if levels is not None and (isinstance(levels, bool) or not isinstance(levels, Integral) or levels < 1):
        raise GeometryError(f"levels (level 0 included) is {levels!r}: expected an integer >= 1, or None")
    planned = [ResolutionLevel(size, chunk_shape(size, itemsize, times=times))]
    while len(planned) < levels if levels is not None else math.prod(planned[-1].size) * itemsize > MEBIBYTE:
        finer = planned[-1]
        coarser = _coarser(finer.size)
        if coarser == finer.size:  # of one voxel, so never where nobody asked for more levels
            raise GeometryError(
                f"levels={levels} is too many for an image of z, y, x = {size} voxels: Imaris's rule gives it at most "
                f"{len(planned)}, level 0 included"
            )
        steps = _steps(finer.size, coarser)
        least = tuple(side // step for side, step in zip(finer.chunk, steps, strict=True))
        chunk = chunk_shape(coarser, itemsize, times=times, at_least=(least[0], least[1], least[2]))
        planned.append(ResolutionLevel(coarser, chunk, steps))
    return tuple(planned)


def _coarser(size: Shape) -> Shape:
    """Size of the next level; the same where no axis can be halved."""
    z, y, x = (
        length // 2 if length > 1 and (10 * length) ** 2 > math.prod(size) // length else length for length in size
    )
    return z, y, x


def _steps(finer: Shape, coarser: Shape) -> Shape:
    z, y, x = (2 if small < large else 1 for large, small in zip(finer, coarser, strict=True))
    return z, y, x


def reduced(values: npt.NDArray[Any], steps: Shape, *, labels: bool) -> npt.NDArray[Any]:
    """Voxels of the next coarser level, each the mean of its block; a voxel left over at the end of an axis is dropped.

    Parameters
    ----------
    values
        Voxels along z, y, x.
    steps
        Lengths of a block, 1 or 2.
    labels
        Take the most frequent value instead, the smallest of several, so that no label is invented.

    Returns
    -------
    numpy.ndarray
        Of the same dtype. Means of integers are rounded down, as Imaris has them; floats are summed in float64.

    Examples
    --------
    >>> reduced(np.array([[[1, 2, 9], [3, 5, 9]]], dtype="uint8"), (1, 2, 2), labels=False)
    array([[[2]]], dtype=uint8)
    """
    whole = values[tuple(slice(length // step * step) for length, step in zip(values.shape, steps, strict=True))]
    if labels or values.dtype.kind == "f":
        return block_reduce(whole, steps, "mode" if labels else "mean")
    total: npt.NDArray[Any] = whole.astype(np.dtype(f"u{2 * values.itemsize}"))
    halved = [axis for axis, step in enumerate(steps) if step == 2]
    for axis in halved:
        before = (slice(None),) * axis
        total = total[(*before, slice(0, None, 2))] + total[(*before, slice(1, None, 2))]
    return (total >> len(halved)).astype(values.dtype)
