"""Unit codes of NIfTI headers (``xyzt_units``, nifti1.h)."""

from __future__ import annotations

import warnings

from xarray_ngff.backends.nifti.header import NiftiHeader
from xarray_ngff.errors import NgffWarning

__all__ = ["LENGTHS", "TIMES", "UNKNOWN", "length_code", "length_unit", "time_code", "time_unit"]

UNKNOWN = 0

#: Unit by code in the low three bits. Where it is unknown readers take millimetres, and so do we.
LENGTHS = {1: "meter", 2: "millimeter", 3: "micrometer"}

#: Unit by code in the next three bits, and what turns the file's numbers into it. Times are in seconds; spectral axes
#: keep their unit.
TIMES = {
    8: ("second", 1.0),
    16: ("second", 1e-3),
    24: ("second", 1e-6),
    32: ("hertz", 1.0),
    40: ("ppm", 1.0),
    48: ("radian/second", 1.0),
}


def length_code(xyzt_units: int) -> int:
    """Part of ``xyzt_units`` that is about x, y and z."""
    return xyzt_units & 0x07


def time_code(xyzt_units: int) -> int:
    """Part of ``xyzt_units`` that is about t."""
    return xyzt_units & 0x38


def length_unit(header: NiftiHeader) -> str:
    """Unit of the coordinates of x, y and z."""
    code = length_code(int(header.fields["xyzt_units"]))
    if code != UNKNOWN and code not in LENGTHS:
        _warn(header, code, "millimeter")
    return LENGTHS.get(code, "millimeter")


def time_unit(header: NiftiHeader) -> tuple[str, float]:
    """Unit of the coordinate of t, and the factor from the file's numbers."""
    code = time_code(int(header.fields["xyzt_units"]))
    if code != UNKNOWN and code not in TIMES:
        _warn(header, code, "second")
    return TIMES.get(code, ("second", 1.0))


def _warn(header: NiftiHeader, code: int, taken: str) -> None:
    warnings.warn(
        f"{header.names.header}: xyzt_units holds the code {code}, which is no unit; read as {taken}",
        NgffWarning,
        stacklevel=2,
    )
