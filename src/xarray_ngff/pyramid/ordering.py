"""Values of many blocks put in order at once: each step of a sorting network compares two voxels of every block.

The voxels of blocks are lanes, arrays of one voxel of each block: the first voxels, the second, and so on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

__all__ = ["middle_lanes", "sorted_lanes"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_NETWORK_LANES = 64  # beyond this a sorting network has more comparisons than a sort has


def sorted_lanes(lanes: Array) -> list[Array]:
    """The values of each block in order, the smallest in the first lane, NaN in the last; overwrites `lanes`."""
    if len(lanes) > _NETWORK_LANES or (lanes.dtype.kind == "f" and np.isnan(lanes).any()):
        return list(np.sort(lanes, axis=0))
    return _compared(lanes, ((low, high, True, True) for low, high in _sorting_network(len(lanes))))


def middle_lanes(lanes: Array) -> tuple[Array, Array]:
    """The middle two values of each block in any order, one and the same of an odd number; overwrites `lanes`.

    Of a block that holds NaN they are any.
    """
    count = len(lanes)
    if count > _NETWORK_LANES:
        ordered = list(np.partition(lanes, sorted({(count - 1) // 2, count // 2}), axis=0))
    else:
        ordered = _compared(lanes, _median_network(count))
    return ordered[(count - 1) // 2], ordered[count // 2]


def _compared(lanes: Array, steps: Iterable[tuple[int, int, bool, bool]]) -> list[Array]:
    """Lanes after steps that leave the smaller, the larger, or both of the values of two lanes; overwrites `lanes`."""
    ordered = list(lanes)
    spare = np.empty_like(ordered[0])
    for low, high, smaller, larger in steps:
        if not larger:
            np.minimum(ordered[low], ordered[high], out=ordered[low])
        elif not smaller:
            np.maximum(ordered[low], ordered[high], out=ordered[high])
        else:
            np.minimum(ordered[low], ordered[high], out=spare)
            np.maximum(ordered[low], ordered[high], out=ordered[high])
            ordered[low], spare = spare, ordered[low]
    return ordered


@functools.cache
def _sorting_network(count: int) -> tuple[tuple[int, int], ...]:
    """Pairs of lanes to put in order, one after another, to sort `count` lanes: Batcher's odd-even merge sort."""
    halvings = [2**power for power in reversed(range((count - 1).bit_length()))]
    return tuple(
        (low, low + step)
        for span in reversed(halvings)
        for step in halvings
        if step <= span
        for start in range(step % span, count - step, 2 * step)
        for low in range(start, min(start + step, count - step))
        if low // (2 * span) == (low + step) // (2 * span)
    )


@functools.cache
def _median_network(count: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """The steps of a sorting network that the middle two lanes depend on, and what of each step is needed."""
    middle = {(count - 1) // 2, count // 2}
    needed, steps = set(middle), []
    for low, high in reversed(_sorting_network(count)):
        smaller, larger = low in needed, high in needed
        if (smaller or larger) and {low, high} != needed:  # the order of the two themselves makes no difference
            steps.append((low, high, smaller, larger))
            needed |= {low, high}
    return tuple(reversed(steps))
