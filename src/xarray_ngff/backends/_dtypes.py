"""Images in a type of number that a format holds, without loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff.backends._blocks import blocks
from xarray_ngff.errors import FormatError
from xarray_ngff.spatial.downsample import as_dask

__all__ = ["storable"]

# Kinds of type that are one family, so that no integers become floats before their values were looked at.
_LIKE = {"b": "iu", "i": "iu", "u": "iu", "f": "f", "c": "c"}
# What a user may do where nothing holds the values.
_HINTS = {
    **dict.fromkeys("biu", 'img.clip(...).astype("uint16")'),
    "f": 'img.astype("float32")',
    "c": "abs(img)",
}
# Integers up to this are exact in the float type.
_EXACT_INTEGERS = {"float32": 2**24, "float64": 2**53}


def storable(img: xr.DataArray, dtypes: Sequence[str], *, place: str, holder: str) -> xr.DataArray:
    """Image in one of the types that a format holds, converted lazily where that loses nothing.

    A type of the same kind that holds every value of the image's type is taken without looking at the values (bool
    becomes uint8). Otherwise the values are read once, block by block, and the first type that holds them all is taken.

    Parameters
    ----------
    img
        Image of any type; it is returned as it is where the format holds that.
    dtypes
        Names of the types that the format holds, the preferred ones first.
    place
        The file that is written, for messages.
    holder
        Name of the format, for messages.

    Raises
    ------
    FormatError
        Where no type holds all values; the message names their range.

    Examples
    --------
    >>> img = xr.DataArray(np.array([3, 70_000]))
    >>> storable(img, ("uint8", "uint16", "uint32", "float32"), place="a.ims", holder="Imaris").dtype
    dtype('uint32')
    """
    if img.dtype.name in dtypes:
        return img
    if img.dtype.kind not in "biufc":
        raise FormatError(
            f"{place}: {holder} holds {', '.join(dtypes)}, not {img.dtype}: convert the image to numbers first"
        )
    for name in dtypes:
        if np.can_cast(img.dtype, name, "safe") and np.dtype(name).kind in _LIKE[img.dtype.kind]:
            return _converted(img, name)
    low, high, fitting = _range_and_fitting(img, [name for name in dtypes if _may_hold(img.dtype, np.dtype(name))])
    if fitting:
        return _converted(img, fitting[0])
    raise FormatError(
        f"{place}: {holder} holds {', '.join(dtypes)}, and none of these holds the {img.dtype} values of the image, "
        f"which range from {low} to {high}, without loss. Convert it yourself, for example with "
        f"{_HINTS[img.dtype.kind]}, or write OME-Zarr"
    )


def _converted(img: xr.DataArray, dtype: str) -> xr.DataArray:
    """Image in another type, as lazy as it was: of an image that is opened lazily xarray would load all."""
    lazy = img if img.chunks is not None or img.variable._in_memory else img.copy(data=as_dask(img))
    return lazy.astype(dtype)


def _may_hold(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether some values of a type might fit another one: floats stay floats, complex numbers complex."""
    return not (source.kind in "fc" and target.kind != source.kind) and not (
        source.kind in "biu" and target.kind == "c"
    )


def _range_and_fitting(img: xr.DataArray, names: list[str]) -> tuple[Any, Any, list[str]]:
    """Smallest and largest value, and those of the types that hold every value."""
    low = high = None
    for block in blocks(img, tuple(reversed(img.dims)), img.dtype.itemsize):
        values = img.isel(block).to_numpy()
        if not values.size:
            continue
        low = values.min() if low is None else min(low, values.min(), key=_order)
        high = values.max() if high is None else max(high, values.max(), key=_order)
        names = [name for name in names if _HOLDS[np.dtype(name).kind](values, np.dtype(name))]
    return low, high, names


def _order(value: Any) -> Any:
    return (value.real, value.imag) if isinstance(value, complex | np.complexfloating) else value


def _integer_holds(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    info = np.iinfo(dtype)
    return info.min <= int(values.min()) and int(values.max()) <= info.max


def _float_holds(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if values.dtype.kind in "iu":
        limit = _EXACT_INTEGERS[dtype.name]
        return -limit <= int(values.min()) and int(values.max()) <= limit
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(dtype), values, equal_nan=True))


_HOLDS: dict[str, Callable[[npt.NDArray[Any], np.dtype[Any]], bool]] = {
    "i": _integer_holds,
    "u": _integer_holds,
    "f": _float_holds,
    "c": _float_holds,
}
