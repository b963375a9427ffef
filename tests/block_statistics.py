"""Pyramids in plain NumPy, one block at a time: the truth for everything that makes levels."""

from unittest import mock

import numpy as np


def _mean(block):
    if block.dtype.kind in "fc":
        return block.mean(dtype=np.result_type(block.dtype, "f8"))
    return np.rint(block.mean(dtype="f8"))


def _mode(block):
    values, counts = np.unique(block, return_counts=True)
    return values[counts.argmax()]


def _median(block):
    return np.rint(np.median(block)) if block.dtype.kind in "biu" else np.median(block)


def _nearest(block, factors):
    return block[tuple(min((f - 1) // 2, n - 1) for f, n in zip(factors, block.shape, strict=True))]


STATISTICS = {"mean": _mean, "mode": _mode, "median": _median, "min": np.min, "max": np.max}


def reduced(array, factors, method):
    """The statistic of every block of an array; `factors` has one number for each axis."""
    result = np.empty([-(-n // f) for n, f in zip(array.shape, factors, strict=True)], array.dtype)
    for place in np.ndindex(result.shape):
        block = array[tuple(slice(i * f, (i + 1) * f) for i, f in zip(place, factors, strict=True))]
        result[place] = _nearest(block, factors) if method == "nearest" else STATISTICS[method](block)
    return result


def sources(factors):
    """For each level the one that it is made from: the nearest before it whose factors divide its own.

    `factors` has a tuple for every level, from that of level 0 on, all ones.
    """
    return [None] + [
        next((i for i in range(k - 1, 0, -1) if all(a % b == 0 for a, b in zip(own, factors[i], strict=True))), 0)
        for k, own in enumerate(factors)
        if k
    ]


def pyramid_of(array, factors, method):
    """Levels of an array."""
    levels = [array]
    for own, source in list(zip(factors, sources(factors), strict=True))[1:]:
        steps = [a // b for a, b in zip(own, factors[source], strict=True)]
        levels.append(reduced(levels[source], steps, method))
    return levels


def with_part(levels, factors, method, part, values):
    """Levels in which a part of level 0 is replaced, and of the others what stands for some of its voxels."""
    after = [levels[0].copy()]
    after[0][part] = values
    for k, (own, source) in list(enumerate(zip(factors, sources(factors), strict=True)))[1:]:
        steps = [a // b for a, b in zip(own, factors[source], strict=True)]
        touched = tuple(slice(p.start // f, -(-p.stop // f)) for p, f in zip(part, own, strict=True))
        after.append(levels[k].copy())
        after[k][touched] = reduced(after[source], steps, method)[touched]
    return after


def in_blocks_of(size):
    """Context in which pyramids are written from blocks of so many bytes, so that small ones take several passes."""
    return mock.patch.multiple("xarray_ngff.pyramid.writing_plan", BLOCK_BYTES=size, _SMALLEST_BLOCK=1)
