"""Block statistics of NumPy arrays: the arithmetic that turns one pyramid level into the next.

A block is `factors` voxels along each axis; the last block of an axis holds what is left. Every statistic is over the
voxels that exist: nothing is padded, and nothing is copied whole, because the work goes tile by tile through views.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np

from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.ordering import middle_lanes, sorted_lanes

__all__ = ["METHODS", "block_reduce"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Slices: TypeAlias = tuple[slice, ...]
Counts: TypeAlias = tuple[int, ...]

METHODS = ("mean", "nearest", "mode", "min", "max", "median")

_TILE_BYTES = 2**19  # a tile and its sums stay in a core's caches, and are memory that malloc reuses


def block_reduce(array: Array, factors: Sequence[int], method: str = "mean") -> Array:
    """Reduce every block of `factors` voxels to one voxel.

    The result has `ceil(n / f)` voxels along an axis of `n`, and the dtype (with its byte order) of `array`:

    ============= ============================== ==========================================================
    method        dtypes                         rule
    ============= ============================== ==========================================================
    ``"mean"``    bool, integers, floats,        integers: the exact mean, rounded half to even, never
                  complex                        truncated and never overflowing (64 bits too); bool is
                                                 0 or 1; floats sum in float64 or wider; NaN propagates
    ``"nearest"`` any                            the voxel at `(f - 1) // 2` along each axis, or the last
                                                 one of a block that ends before it
    ``"mode"``    bool, integers, floats         the most frequent value, the smallest of several; all NaN
                                                 count as one value, larger than every number
    ``"min"``,    bool, integers, floats         the smallest, the largest value; NaN propagates
    ``"max"``
    ``"median"``  bool, integers, floats         the middle value, or the mean of the middle two, for
                                                 integers exact and rounded half to even; NaN propagates
    ============= ============================== ==========================================================

    `"nearest"` and `"mode"` give only values that the block holds, so they are the ones for labels. Infinities give
    what IEEE arithmetic gives (`inf - inf` is NaN), without a warning.

    Parameters
    ----------
    array : numpy.ndarray
        Any number of axes, any memory layout. An axis of 0 voxels has 0 blocks.
    factors : sequence of int
        Voxels per block along each axis, at least 1; may exceed the axis, which then is one block.
    method : str
        One of `METHODS`.

    Returns
    -------
    numpy.ndarray
        A new array whose axes lie in memory in the order of those of `array`; `array` itself when every factor is 1.
        Beside the result it takes 2 MiB at most, or a few times one block where a block is larger.

    Raises
    ------
    GeometryError
        If the method is unknown or not defined for the dtype, or the factors are not one integer >= 1 per axis.

    Examples
    --------
    >>> block_reduce(np.array([[1, 2, 9], [3, 5, 9]], dtype="uint8"), (2, 2), "mean")
    array([[3, 9]], dtype=uint8)
    """
    array = np.asarray(array)
    _check_method(method, array.dtype)
    factors = _checked_factors(factors, array.shape)
    if all(factor == 1 for factor in factors):
        return array
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    source = array.transpose(order)
    factors = tuple(factors[axis] for axis in order)
    result = np.empty([-(-size // factor) for size, factor in zip(source.shape, factors, strict=True)], array.dtype)
    if method == "nearest":
        _copy_nearest(source, factors, result)
    else:
        as_numbers = np.dtype(np.uint8) if array.dtype.kind == "b" else array.dtype
        _reduce_tiles(source.view(as_numbers), factors, _KERNELS[method][1], result.view(as_numbers))
    return result.transpose(np.argsort(order))


def _check_method(method: str, dtype: np.dtype[Any]) -> None:
    if method not in METHODS:
        raise GeometryError(f"unknown downsampling method {method!r}: expected one of {', '.join(METHODS)}")
    if not _reduces(method, dtype):
        possible = ", ".join(name for name in METHODS if _reduces(name, dtype))
        raise GeometryError(f"method {method!r} is not defined for dtype {dtype}: use one of {possible}")


def _reduces(method: str, dtype: np.dtype[Any]) -> bool:
    return method == "nearest" or dtype.kind in _KERNELS[method][0]


def _checked_factors(factors: Sequence[int], shape: Counts) -> Counts:
    found = tuple(factors)
    integers = all(isinstance(factor, Integral) and not isinstance(factor, bool) for factor in found)
    if len(found) != len(shape) or not integers or any(factor < 1 for factor in found):
        raise GeometryError(
            f"factors {found} do not fit an array of shape {shape}: "
            f"expected {len(shape)} integers >= 1, one for each axis (1 leaves an axis as it is)"
        )
    return tuple(int(factor) for factor in found)


def _copy_nearest(source: Array, factors: Counts, result: Array) -> None:
    """Write the voxel at `(f - 1) // 2` of each block into `result`; the last one of a block that ends before it."""
    axes = []
    for size, factor, count in zip(source.shape, factors, result.shape, strict=True):
        start = (factor - 1) // 2
        regular = len(range(start, size, factor))
        pieces = [(slice(0, regular), slice(start, None, factor))] if regular else []
        axes.append(pieces + ([(slice(regular, count), slice(size - 1, size))] if regular < count else []))
    for part in itertools.product(*axes):
        result[tuple(target for target, _ in part)] = source[tuple(voxels for _, voxels in part)]


def _reduce_tiles(source: Array, factors: Counts, kernel: Callable[[Array, Counts], Array], result: Array) -> None:
    """Write `kernel(tile, block)` into `result` for tiles of `source` that consist of whole blocks of one shape."""
    native = source.dtype.newbyteorder("=")
    with np.errstate(all="ignore"):
        for part in itertools.product(*map(_axis_parts, source.shape, factors)):
            starts, counts, block = zip(*part, strict=True)
            for tile in _tiles(counts, block, max(1, _TILE_BYTES // source.itemsize)):
                target = tuple(slice(s + t.start, s + t.stop) for s, t in zip(starts, tile, strict=True))
                voxels = tuple(
                    slice(s * f + t.start * b, s * f + t.stop * b)
                    for s, f, t, b in zip(starts, factors, tile, block, strict=True)
                )
                values = source[voxels].astype(native, copy=False)
                result[target] = values if math.prod(block) == 1 else kernel(values, block)


def _axis_parts(size: int, factor: int) -> list[tuple[int, int, int]]:
    """(index of the first block, number of blocks, voxels per block) of the whole blocks and of the partial one."""
    whole, rest = divmod(size, factor)
    return ([(0, whole, factor)] if whole else []) + ([(whole, 1, rest)] if rest else [])


def _tiles(counts: Counts, block: Counts, limit: int) -> Iterator[Slices]:
    """Slices of blocks that cut a grid of `counts` blocks into tiles of at most `limit` voxels (or of one block)."""
    if not counts:
        yield ()
        return
    row = block[0] * math.prod(c * b for c, b in zip(counts[1:], block[1:], strict=True))
    step = max(1, min(counts[0], limit // row))
    for start in range(0, counts[0], step):
        for rest in _tiles(counts[1:], block[1:], max(1, limit // (step * block[0]))):
            yield (slice(start, min(start + step, counts[0])), *rest)


def _fold(ufunc: np.ufunc, tile: Array, block: Counts, dtype: np.dtype[Any] | None = None) -> Array:
    """Combine the voxels of each block axis by axis; the contiguous axis comes last, when the least is left."""
    for axis, factor in enumerate(block):
        if factor > 1:
            lanes = _along(tile, axis, factor)
            folded: Array = ufunc(lanes[0], lanes[1], dtype=dtype)
            for lane in lanes[2:]:
                ufunc(folded, lane, out=folded)
            tile = folded
    return tile


def _along(tile: Array, axis: int, factor: int) -> list[Array]:
    """Views of the first, the second, ... voxel of each block along an axis."""
    before = (slice(None),) * axis
    return [tile[(*before, slice(offset, None, factor))] for offset in range(factor)]


def _means(tile: Array, block: Counts) -> Array:
    count = math.prod(block)
    if tile.dtype.kind in "fc":
        total = _fold(np.add, tile, block, np.result_type(tile.dtype, np.float64))
        for part in (total.real, total.imag) if total.dtype.kind == "c" else (total,):  # complex / real makes inf NaN
            part /= count
        return total
    wide = _sum_dtype(tile.dtype, count)
    if wide is not None:
        return _rounded_quotient(_fold(np.add, tile, block, wide), count)
    quotients = tile // count  # their sum is the mean, but for the remainders, whose sum is small
    remainders = tile - quotients * count
    return _rounded_quotient(_fold(np.add, remainders, block), count, _fold(np.add, quotients, block))


@functools.cache
def _sum_dtype(dtype: np.dtype[Any], count: int) -> np.dtype[Any] | None:
    """The narrowest integer dtype that holds the sum of `count` values and half of `count`; None beyond 64 bits."""
    limits = np.iinfo(dtype)
    for size in (2, 4, 8):
        wide = np.iinfo(f"{dtype.kind}{size}")
        if count * int(limits.min) >= wide.min and count * int(limits.max) + count // 2 <= wide.max:
            return wide.dtype
    return None


def _rounded_quotient(total: Array, count: int, whole: Array | int = 0) -> Array:
    """`whole + total / count` rounded half to even, all in integers; overwrites `total`."""
    if count % 2:
        total += count // 2
    else:  # one less than half, and the parity of the quotient: a tie goes up from an odd quotient only
        parity = total // count
        parity += whole
        parity &= 1
        total += parity
        total += count // 2 - 1
    total //= count
    total += whole
    return total


def _minima(tile: Array, block: Counts) -> Array:
    return _fold(np.minimum, tile, block)


def _maxima(tile: Array, block: Counts) -> Array:
    return _fold(np.maximum, tile, block)


def _modes(tile: Array, block: Counts) -> Array:
    corners, mixed = _corners(tile, block)
    modes = corners.copy()
    if mixed.any():  # few blocks of a label image
        lanes = np.stack([tile[place][mixed] for place in _offsets(block)])
        modes[mixed] = _most_frequent(sorted_lanes(lanes))
    return modes


def _corners(tile: Array, block: Counts) -> tuple[Array, Array]:
    """The first voxel of each block, as a view, and whether another one is not equal to it (NaN equals nothing)."""
    mixed = np.zeros((1,) * tile.ndim, bool)
    for axis, factor in enumerate(block):
        if factor > 1:
            first, *others = _along(tile, axis, factor)
            unequal = first != others[0]
            for other in others[1:]:
                unequal |= first != other
            if mixed.size > 1:
                unequal |= _any_along(mixed, axis, factor)
            tile, mixed = first, unequal
    return tile, mixed


def _any_along(flags: Array, axis: int, factor: int) -> Array:
    """Whether any of the flags of each block along an axis is set."""
    if axis == flags.ndim - 1 and factor in (2, 4, 8):  # those of a block are one number in memory
        found: Array = np.ascontiguousarray(flags).view(f"u{factor}") != 0
    else:
        found = functools.reduce(np.logical_or, _along(flags, axis, factor))
    return found


def _offsets(block: Counts) -> Iterator[Slices]:
    """Index of each voxel of all blocks."""
    for offset in itertools.product(*map(range, block)):
        yield tuple(slice(start, None, factor) for start, factor in zip(offset, block, strict=True))


def _most_frequent(lanes: Sequence[Array]) -> Array:
    """The value that most of the sorted lanes have, the smallest of several."""
    bits = np.dtype(f"u{lanes[0].itemsize}") if lanes[0].itemsize <= 8 else None
    best = lanes[0].copy()
    run = np.ones(best.shape, np.min_scalar_type(len(lanes)))
    longest = run.copy()
    for before, value in itertools.pairwise(lanes):
        same = value == before
        if value.dtype.kind == "f":
            same |= np.isnan(before)  # NaN are last, so another follows
        run *= same
        run += 1
        longer = run > longest
        if bits is None:
            np.copyto(best, value, where=longer)
        else:  # the same on the bits, without a branch for each value
            kept = best.view(bits)
            kept ^= (kept ^ value.view(bits)) & np.negative(longer, dtype=bits)
        np.maximum(longest, run, out=longest)
    return best


def _medians(tile: Array, block: Counts) -> Array:
    lanes = _lanes(tile, block)
    count = len(lanes)
    unordered = None
    if tile.dtype.kind == "f" and np.isnan(lanes).any():
        unordered = np.isnan(lanes).any(axis=0)
    low, high = middle_lanes(lanes)
    if tile.dtype.kind != "f":
        floor: Array = (low >> 1) + (high >> 1) + (low & high & 1)
        floor += (low ^ high) & floor & 1  # a half goes up from an odd value only
        return floor
    wide = np.result_type(tile.dtype, np.float64)
    middle: Array = low if count % 2 else (low.astype(wide) + high.astype(wide)) / 2
    if unordered is not None:
        middle[unordered] = np.nan
    return middle


def _lanes(tile: Array, block: Counts) -> Array:
    """A copy with the voxels of each block along a new first axis: (voxels per block, blocks along each axis...)."""
    counts = [size // factor for size, factor in zip(tile.shape, block, strict=True)]
    split = tile.reshape([n for pair in zip(counts, block, strict=True) for n in pair])
    within, across = range(1, split.ndim, 2), range(0, split.ndim, 2)
    return np.array(split.transpose(*within, *across), order="C").reshape(-1, *counts)  # a copy even of one block


# method: (kinds of dtype, kernel from a tile of whole blocks of more than one voxel, and their shape, to their values)
_KERNELS: dict[str, tuple[str, Callable[[Array, Counts], Array]]] = {
    "mean": ("biufc", _means),
    "mode": ("biuf", _modes),
    "min": ("biuf", _minima),
    "max": ("biuf", _maxima),
    "median": ("biuf", _medians),
}
