"""How much coarser one level of a pyramid is than the finest."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["level_factors"]


def level_factors(finest: Mapping[str, int], coarser: Mapping[str, int]) -> dict[str, float]:
    """Voxels of the finest level along one voxel of a coarser one, by dim.

    Sizes alone say it, and they are rounded. A power of two that gives the size when rounded up or down is taken
    first, then another whole number, then the ratio as it is. Dims that cannot tell two factors apart take that of the
    longest dim.

    Parameters
    ----------
    finest, coarser
        Length by dim.

    Examples
    --------
    >>> level_factors({"z": 5, "y": 401, "x": 600}, {"z": 5, "y": 100, "x": 150})
    {'z': 1, 'y': 4, 'x': 4}
    >>> level_factors({"y": 900, "x": 1000}, {"y": 300, "x": 333})
    {'y': 3, 'x': 3}
    """
    found: dict[str, float] = {}
    shared: float | None = None
    for dim in sorted(coarser, key=lambda dim: -finest[dim]):
        fine, coarse = finest[dim], coarser[dim]
        if fine == coarse:
            found[dim] = 1
        elif shared is not None and shared == int(shared) and _gives(fine, coarse, int(shared)):
            found[dim] = shared
        else:
            found[dim] = _factor(fine, coarse)
            shared = found[dim] if shared is None else shared
    return {dim: found[dim] for dim in coarser}


def _factor(fine: int, coarse: int) -> float:
    ratio = fine / coarse
    powers = [1 << exponent for exponent in range(fine.bit_length() + 1)]
    whole = range(max(1, int(ratio) - 1), int(ratio) + 3)
    for candidates in (powers, whole):
        fitting = [factor for factor in candidates if _gives(fine, coarse, factor)]
        if fitting:
            return min(fitting, key=lambda factor: abs(factor - ratio))
    return ratio


def _gives(fine: int, coarse: int, factor: int) -> bool:
    return coarse in (fine // factor, -(-fine // factor))
