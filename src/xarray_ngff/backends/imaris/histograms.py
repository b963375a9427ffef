"""Histograms as Imaris keeps them for each channel, time point and level, and the display range that they suggest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Bins",
    "Counts",
    "Range",
    "bins_for",
    "count",
    "display_range",
    "finite_range",
    "joined",
    "resampled",
    "shifted",
]

Counts = npt.NDArray[np.int64]
#: Smallest and largest finite value, or None where there is none.
Range = tuple[float, float] | None

# The most bins that are kept, and the fewest values that they span where integers have more than eight bits.
_BINS = 1024
_SPAN = 256
# Width of the filter that smooths a histogram before its first peak is looked for, in parts of 256 bins.
_SMOOTHING = 5
# A Gaussian of width s is nearly (1 + a |x|) exp(-a |x|) with a = 1.695 / s (Deriche 1993).
_DERICHE = 1.695
_BRIGHTEST = 0.998
_HEADROOM = 0.2


@dataclass(frozen=True)
class Bins:
    """Bins of one length.

    Attributes
    ----------
    low, high
        What ``HistogramMin`` and ``HistogramMax`` say: the smallest and largest value that the bins span.
    number
        How many bins there are.
    width
        Of one value: 1 for integers, as the last bin holds all of `high`, and 0 for floats.
    """

    low: float
    high: float
    number: int
    width: int

    @property
    def span(self) -> float:
        """Length of all bins together."""
        return self.high - self.low + self.width


def finite_range(values: npt.NDArray[Any]) -> Range:
    """Smallest and largest value that is finite; None where there is none."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def joined(ranges: Iterable[Range]) -> Range:
    """Range that holds several.

    Examples
    --------
    >>> joined([(1, 4), None, (3, 9)])
    (1, 9)
    """
    known = [found for found in ranges if found is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def bins_for(dtype: np.dtype[Any], found: Range) -> Bins:
    """Bins that Imaris uses for values of a type that span a range.

    One for each value of 8 bits. Wider integers are counted from 0 to the largest value (or to 256, if that is less),
    in at most 1024 bins; floats from the smallest to the largest finite value in 1024. (Imaris's own writer has bins
    from -100 to 40000 for uint32 and float32, whatever the values are.)

    Examples
    --------
    >>> bins_for(np.dtype("u2"), (7, 36395)), bins_for(np.dtype("u1"), (3, 9)).number
    (Bins(low=0, high=36395, number=1024, width=1), 256)
    """
    if dtype == np.uint8:
        return Bins(0, 255, 256, 1)
    low, high = (0.0, 0.0) if found is None else found
    if dtype.kind == "u":
        largest = max(int(high), _SPAN)
        return Bins(0, largest, min(_BINS, largest + 1), 1)
    return Bins(low, high if high > low else low + max(1.0, abs(low)), _BINS, 0)


def count(values: npt.NDArray[Any], bins: Bins) -> Counts:
    """How many values lie in each bin; what is not finite in none.

    Examples
    --------
    >>> count(np.array([0, 1, 1, 255], "u1"), bins_for(np.dtype("u1"), None))[[0, 1, 255]]
    array([1, 2, 1])
    """
    flat = values.reshape(-1)
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
        places = ((flat.astype(np.float64) - bins.low) * (bins.number / bins.span)).astype(np.int64)
        return np.bincount(np.minimum(places, bins.number - 1), minlength=bins.number)
    largest = int(bins.high) + 1
    if flat.dtype.itemsize > 2:
        places = (flat.astype(np.uint64) * np.uint64(bins.number) // np.uint64(largest)).astype(np.int64)
        return np.bincount(places, minlength=bins.number)
    return resampled(np.bincount(flat, minlength=largest), bins.number)


def resampled(counts: Counts, number: int) -> Counts:
    """Counts in fewer bins.

    Examples
    --------
    >>> resampled(np.array([1, 2, 3, 4, 5]), 2)
    array([6, 9])
    """
    if len(counts) == number:
        return counts
    starts = -(-np.arange(number) * len(counts) // number)
    return np.add.reduceat(counts, starts)


def shifted(counts: Counts, bins: Bins, target: Bins) -> Counts:
    """Counts in bins of another range, each moved whole to the bin that its middle lies in."""
    middles = bins.low + bins.span * (np.arange(bins.number) + 0.5) / bins.number
    places = np.clip((middles - target.low) / target.span * target.number, 0, target.number - 1).astype(np.int64)
    moved: Counts = np.zeros(target.number, np.int64)
    np.add.at(moved, places, counts)
    return moved


def display_range(counts: Counts, bins: Bins) -> tuple[float, float]:
    """Range of values to show a channel in, where nothing better is known.

    As Imaris's own writer has it: from the first peak of the smoothed histogram, which is background, to a fifth beyond
    the value that 99.8 % of the voxels do not exceed; all values where that is nothing.
    """
    smooth = _smoothed(counts.astype(np.float64))
    rising = np.diff(smooth, prepend=-1.0) > 0
    falling = np.diff(smooth, append=np.inf) < 0
    peaks = np.flatnonzero(rising & falling)
    total = np.cumsum(smooth)
    brightest = int(np.searchsorted(total, _BRIGHTEST * total[-1], side="right"))
    low, high = (
        bins.low + (bins.high - bins.low) * place / bins.number
        for place in (int(peaks[0]) if peaks.size else 0, min(brightest, bins.number - 1))
    )
    high = min(high + _HEADROOM * (high - low), bins.high)
    if bins.width:
        high = float(int(high))
    return (low, high) if low < high else (float(bins.low), float(bins.high))


def _smoothed(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Counts smoothed by Deriche's filter, the first and last one taken to go on for ever."""
    reach = len(counts)
    alpha = _DERICHE / (_SMOOTHING * reach / 256)
    distance = alpha * np.abs(np.arange(-reach, reach + 1))
    kernel = (1 + distance) * np.exp(-distance)
    return np.convolve(np.pad(counts, reach, mode="edge"), kernel / kernel.sum(), mode="valid")
