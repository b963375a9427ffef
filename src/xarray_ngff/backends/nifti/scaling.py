"""Stored numbers to values and back: ``value = slope * stored + intercept``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.errors import FormatError

__all__ = ["Scaling", "scaling_from_header"]

# Numbers that are converted at a time, so that no copy in double precision grows with the image.
_PIECE = 1 << 18


@dataclass(frozen=True)
class Scaling:
    """A slope and an intercept that change something.

    Attributes
    ----------
    slope, intercept
        Finite; the slope is not 0.
    """

    slope: float
    intercept: float

    def value_dtype(self, stored: npt.DTypeLike) -> np.dtype[Any]:
        """Smallest float type from which every stored integer can be had back.

        Rounding a value v to a type with unit roundoff u moves it by at most ``u * |v|``, which is ``u * |v| / slope``
        stored units; under a quarter of one, rounding finds the integer. Stored floats need float64, as they have no
        such room; integers of 64 bits may not survive even that.

        Examples
        --------
        >>> Scaling(0.5, 10.0).value_dtype("int16"), Scaling(0.5, 1e7).value_dtype("int16")
        (dtype('float32'), dtype('float64'))
        """
        dtype = np.dtype(stored)
        if dtype.kind not in "iu":
            return np.dtype(np.float64 if dtype.itemsize <= 8 else dtype.newbyteorder("="))
        ends = np.iinfo(dtype)
        largest = max(
            abs(self.slope * int(ends.min) + self.intercept), abs(self.slope * int(ends.max) + self.intercept)
        )
        single = np.finfo(np.float32)
        lost = max(largest * float(single.eps) / 2, float(single.smallest_subnormal) / 2) / abs(self.slope)
        return np.dtype(np.float32 if lost < 0.25 and largest < float(single.max) else np.float64)

    def decode(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of stored numbers, in `value_dtype`, computed in double precision."""
        values = np.empty_like(stored, dtype=self.value_dtype(stored.dtype))
        work = np.promote_types(values.dtype, np.float64)
        for source, target in _pieces(stored, values):
            piece = source.astype(work)
            piece *= self.slope
            piece += self.intercept
            target[...] = piece
        return values

    def encode(self, values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Numbers to store for values: the nearest integers, or for a float type the quotients.

        Raises
        ------
        FormatError
            Where a value is not finite or leads outside the range of an integer type.
        """
        stored = np.empty_like(values, dtype=dtype)
        work = np.promote_types(np.promote_types(values.dtype, np.float64), stored.dtype)
        for source, target in _pieces(values, stored):
            piece = source.astype(work if work.kind == "f" else np.float64)
            piece -= self.intercept
            piece /= self.slope
            if dtype.kind in "iu":
                np.rint(piece, out=piece)
                self._check_range(piece, dtype)
            target[...] = piece
        return stored

    def _check_range(self, piece: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
        ends = np.iinfo(dtype)
        # both ends as floats: the first number beyond the range is exact where the last one within may not be
        inside = (piece >= float(ends.min)) & (piece < float(int(ends.max) + 1))
        if inside.all():
            return
        value = piece[~inside].flat[0] * self.slope + self.intercept
        raise FormatError(
            f"the image is to be stored as {dtype} with slope {self.slope:g} and intercept {self.intercept:g}, as "
            f"it was in the file that it came from, but the value {value:g} cannot be. Store the values as they are: "
            'del img.encoding["nifti"]'
        )


def scaling_from_header(slope: float | None, intercept: float | None, dtype: np.dtype[Any]) -> Scaling | None:
    """Scaling that header fields ask for; None where they ask for none.

    A slope that is 0 or not finite means none, and complex numbers and colours are never scaled (nifti1.h).
    """
    if dtype.kind not in "iuf" or slope is None or slope == 0 or not np.isfinite(slope):
        return None
    offset = 0.0 if intercept is None else float(intercept)
    return None if (slope, offset) == (1.0, 0.0) else Scaling(float(slope), offset)


def _pieces(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> Any:
    """The same parts of two arrays of one layout, as flat views of bounded size."""
    with np.nditer(
        [source, target],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=[["readonly"], ["writeonly"]],
        buffersize=_PIECE,
        order="K",
    ) as pieces:
        yield from pieces
