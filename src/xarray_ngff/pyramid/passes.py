"""Which levels of a pyramid are made from one reading, and in which blocks.

A pass reads a level (or the image) once, block by block, and writes all levels that can be made from a block alone:
those whose chunks the block holds whole. Blocks grow with every level that joins, by a factor of 8 in 3-D, so the
coarser levels are made in further passes from a stored level, each of which reads an eighth of what the one before it
read, or less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xarray_ngff.pyramid.plan import Level

__all__ = ["BLOCK_BYTES", "PART_BYTES", "Pass", "plan_passes"]

#: Bytes of the image that one thread holds at a time, as far as chunks allow.
BLOCK_BYTES = 64 * 2**20

#: Bytes that are read, merged, reduced or encoded at a time beyond whole chunks: enough for these, and little beside.
PART_BYTES = 8 * 2**20

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Pass:
    """One reading of a level, and all that is made from it.

    Attributes
    ----------
    source : int or None
        The stored level that is read; None for the image itself, which becomes level 0.
    levels : tuple of int
        The levels that are written, finest first.
    parents : tuple of int or None
        For each of them the level that it is made from, `source` or one before it in `levels`; None for level 0.
    steps : tuple of tuple of int
        For each of them the voxels of the parent in one of its own, along every axis.
    unit : tuple of int
        A block of the first of `levels` is a multiple of this along every axis, or ends with it: then it holds whole
        chunks of all of them.
    """

    source: int | None
    levels: tuple[int, ...]
    parents: tuple[int | None, ...]
    steps: tuple[Shape, ...]
    unit: Shape


def plan_passes(
    plan: Sequence[Level],
    dims: Sequence[str],
    shapes: Sequence[Shape],
    chunks: Sequence[Shape],
    itemsize: int,
    *,
    source_chunks: Shape | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Pass, ...]:
    """Passes that write a pyramid, in the order in which they can be done.

    Parameters
    ----------
    plan : sequence of Level
        Every level, the full resolution first.
    dims : sequence of str
        Names of the axes of the arrays.
    shapes, chunks : sequence of tuple of int
        Shape of each level, and what one writer must write of it at once: its chunks, or its shards.
    itemsize : int
        Bytes of a voxel.
    source_chunks : tuple of int, optional
        Longest chunks of an image that comes in chunks; a block holds all that it meets.
    block_bytes : int
        What a block of the level that is read, with the chunks that it meets, may have. Where a single chunk of the
        first level of a pass needs more, it has more.

    Examples
    --------
    >>> from xarray_ngff.pyramid.plan import plan_levels
    >>> dims, sizes = ("z", "y", "x"), dict.fromkeys("zyx", 1024)
    >>> plan = plan_levels(sizes, dict.fromkeys("zyx", 1.0), levels=4)
    >>> shapes = [tuple(level.sizes.values()) for level in plan]
    >>> for each in plan_passes(plan, dims, shapes, [(128, 128, 128)] * 4, 2):
    ...     print(each.source, each.levels, each.unit)
    None (0, 1) (256, 256, 256)
    1 (2,) (128, 128, 128)
    2 (3,) (128, 128, 128)
    """
    steps = [tuple(level.steps.get(dim, 1) for dim in dims) for level in plan]
    passes: list[Pass] = []
    left = [level.index for level in plan]
    while left:
        first = left[0]
        source = plan[first].source
        taken = [first]
        unit = _clipped(chunks[first], shapes[first])
        scales = {first: (1,) * len(dims)}  # voxels of the first level of the pass in one of each level
        for index in left[1:]:
            parent = plan[index].source
            if parent not in scales:
                continue
            scale = tuple(a * b for a, b in zip(scales[parent], steps[index], strict=True))
            wider = _clipped(
                tuple(math.lcm(u, c * s) for u, c, s in zip(unit, chunks[index], scale, strict=True)), shapes[first]
            )
            if itemsize * math.prod(_held(wider, source, steps[first], source_chunks)) > block_bytes:
                continue
            taken.append(index)
            scales[index], unit = scale, wider
        parents = tuple(plan[index].source for index in taken)
        passes.append(Pass(source, tuple(taken), parents, tuple(steps[index] for index in taken), unit))
        left = [index for index in left if index not in taken]
    return tuple(passes)


def _clipped(lengths: Shape, shape: Shape) -> Shape:
    return tuple(min(length, size) for length, size in zip(lengths, shape, strict=True))


def _held(block: Shape, source: int | None, steps: Shape, source_chunks: Shape | None) -> Shape:
    """Shape of what is read for a block of the first level of a pass."""
    if source is not None:
        return tuple(length * step for length, step in zip(block, steps, strict=True))
    return block if source_chunks is None else tuple(map(max, block, source_chunks))
