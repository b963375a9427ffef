"""Values of an image in another type: clipped to its range, or stretched over it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff.backends._blocks import blocks
from xarray_ngff.errors import FormatError

__all__ = ["clipped", "finite_range", "stretched"]

Convert = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]

# Values that are converted at a time: arithmetic on them is in float64, in the cache of a processor.
_PIECE = 1 << 16


def clipped(dtype: np.dtype[Any], *, place: str) -> Convert:
    """Function that converts values to a type, with those beyond its range at its ends.

    Parameters
    ----------
    dtype
        Integers of up to 32 bits, or floats.
    place
        The file that is written, for messages.

    Notes
    -----
    To integers, floats are rounded half to even and infinities are the ends of the range; NaN is a `FormatError`. To
    floats, NaN and infinities stay as they are. True is 1.

    Examples
    --------
    >>> clipped(np.dtype("uint8"), place="a.tif")(np.array([-3, 0.5, 1.5, 300]))
    array([  0,   0,   2, 255], dtype=uint8)
    """

    def convert(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if dtype.kind == "f":
            return _as_floats(values, dtype)
        if values.dtype.kind == "f":
            return _as_integers(values, dtype, place)
        if values.dtype.kind == "b":
            return values.astype(dtype)
        own, range_ = np.iinfo(values.dtype), np.iinfo(dtype)
        within: npt.NDArray[Any] = np.clip(values, max(own.min, range_.min), min(own.max, range_.max))
        return within.astype(dtype)

    return _piecewise(convert, dtype)


def _piecewise(convert: Convert, dtype: np.dtype[Any]) -> Convert:
    """The same conversion of arrays of any size and shape, in little memory beside the result."""

    def converted(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        flat, found = values.reshape(-1), np.empty(values.size, dtype)
        for start in range(0, values.size, _PIECE):
            found[start : start + _PIECE] = convert(flat[start : start + _PIECE])
        return found.reshape(values.shape)

    return converted


def _as_floats(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if values.dtype.kind != "f" or values.dtype.itemsize <= dtype.itemsize:
        return values.astype(dtype)
    largest = values.dtype.type(np.finfo(dtype).max)
    # infinities are not beyond the range of a float
    return np.where(np.isinf(values), values, np.clip(values, -largest, largest)).astype(dtype)


def _as_integers(values: npt.NDArray[Any], dtype: np.dtype[Any], place: str) -> npt.NDArray[Any]:
    if np.isnan(values).any():
        raise FormatError(
            f"{place}: the image holds NaN, for which {dtype} has no number: fill it first, as with img.fillna(0), or "
            "write dtype='float32'"
        )
    range_ = np.iinfo(dtype)
    # float64 holds every integer of 32 bits
    rounded = np.rint(values.astype(np.float64, copy=False))
    within: npt.NDArray[Any] = np.clip(rounded, range_.min, range_.max)
    return within.astype(dtype)


def stretched(low: float, high: float, dtype: np.dtype[Any], *, place: str) -> Convert:
    """Function that maps low..high linearly to the range of a type: all of it for integers, 0..1 for floats.

    Values beyond low..high go to the ends; all go to the lower end where `low` equals `high`. NaN is as in `clipped`.

    Examples
    --------
    >>> stretched(-1.0, 1.0, np.dtype("uint8"), place="a.tif")(np.array([-1.0, -0.5, 0.0, 1.0]))
    array([  0,  64, 128, 255], dtype=uint8)
    """
    first, last = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.kind in "iu" else (0, 1)
    convert = clipped(dtype, place=place)
    # a power of two, which changes no digit, keeps the difference of large numbers finite
    exponent = -math.frexp(max(abs(low), abs(high)))[1]
    start, span = math.ldexp(low, exponent), math.ldexp(high, exponent) - math.ldexp(low, exponent)

    def map_range(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        scaled = np.ldexp(np.clip(values.astype(np.float64), low, high), exponent)
        scaled -= start
        if span:
            scaled /= span
        scaled *= last - first
        scaled += first
        return convert(scaled)

    return _piecewise(map_range, dtype)


def finite_range(img: xr.DataArray, *, place: str) -> tuple[float, float]:
    """Smallest and largest value of an image, read block by block; NaN and infinities do not count.

    Raises
    ------
    FormatError
        Where no value is finite.
    """
    low, high = math.inf, -math.inf
    for block in blocks(img, tuple(reversed(img.dims)), img.dtype.itemsize):
        values = img.isel(block).to_numpy()
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:
        raise FormatError(f"{place}: the image has no finite value, so there is no range to rescale")
    return low, high
