"""Regions of interest: a box in coordinate, world or index space, with a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from xarray_ngff.errors import GeometryError

__all__ = ["Bound", "Bounds", "Roi", "Space"]

Space = Literal["physical", "world", "index"]
# A number, a text such as "10 um", a pint quantity, or None for "as far as the image goes".
Bound: TypeAlias = Any
Bounds: TypeAlias = Any  # (low, high) or slice(low, high)


@dataclass(frozen=True)
class Roi:
    """Half-open box ``low <= centre < high`` along some axes of an image.

    Parameters
    ----------
    bounds
        (low, high) or ``slice(low, high)`` by dim; None leaves that side open. Numbers are in the unit of the axis,
        text ("1 mm") and pint quantities are converted.
    space
        ``"physical"`` (coordinates), ``"world"`` (by world axis x, y, z) or ``"index"`` (voxels from 0).
    name
        What the region is called.

    Raises
    ------
    GeometryError
        Where a bound is not a pair, or the space is none of the three.

    Examples
    --------
    >>> Roi({"x": ("1 mm", "3 mm"), "z": slice(0, 4)}, name="lesion").bounds["z"]
    (0, 4)
    """

    bounds: Mapping[str, Bounds]
    space: Space = "physical"
    name: str | None = None

    def __post_init__(self) -> None:
        if self.space not in get_args(Space):
            raise GeometryError(f"space={self.space!r}: expected one of {', '.join(get_args(Space))}")
        pairs = {dim: _pair(dim, bound) for dim, bound in dict(self.bounds).items()}
        object.__setattr__(self, "bounds", MappingProxyType(pairs))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self.bounds), self.space, self.name)


def _pair(dim: str, bound: Bounds) -> tuple[Bound, Bound]:
    if isinstance(bound, slice) and bound.step is None:
        return bound.start, bound.stop
    if isinstance(bound, tuple | list | np.ndarray) and len(bound) == 2:
        return bound[0], bound[1]
    raise GeometryError(f'bounds of {dim!r} are {bound!r}: expected a pair (low, high), for example ("1 mm", "3 mm")')
