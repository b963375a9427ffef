"""The levels of a pyramid: which axes each one shrinks, by how much, and from which level it is made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TypeAlias

from xarray_ngff.errors import GeometryError
from xarray_ngff.geometry import SPATIAL_DIMS

__all__ = ["Level", "default_chunks", "plan_levels"]

Factors: TypeAlias = dict[str, int]

_ONE_OCTAVE = math.log2(2 * (1 - 1e-6))  # so a spacing of twice the finest, but for rounding, counts as twice
_CHUNK_EDGES = {0: 1, 1: 2**20, 2: 1024, 3: 128}  # by the number of spatial dims of more than one voxel


@dataclass(frozen=True)
class Level:
    """One level of a pyramid.

    Attributes
    ----------
    index : int
        0 for the full resolution.
    factors : dict of str to int
        Voxels of level 0 in one voxel of this level, by spatial dim; never more than level 0 has.
    sizes : dict of str to int
        Voxels of this level, by spatial dim: `ceil(n / f)`.
    source : int or None
        The level to make this one from, always an earlier one; None for level 0.
    steps : dict of str to int
        Voxels of the source in one voxel of this level, by spatial dim; never more than the source has.
    """

    index: int
    factors: Factors
    sizes: dict[str, int]
    source: int | None
    steps: Factors


def plan_levels(
    sizes: Mapping[str, int],
    spacing: Mapping[str, float],
    *,
    levels: int | None = None,
    factors: Sequence[int | Mapping[str, int]] | None = None,
    target: int = 256,
) -> tuple[Level, ...]:
    """Return the levels of a pyramid, the full resolution first.

    By default each level halves the axes whose spacing, at that level, is less than twice the finest one, so that
    voxels become as isotropic as they can, until every axis has at most `target` voxels. An axis of one voxel is not
    halved and its spacing does not count.

    A factor larger than its axis becomes the size of the axis: the one block that is left holds no more voxels than
    that, so its centre and its extent stay exact, and an axis of one voxel keeps its position. Each level is made from
    the nearest one before it whose factors divide its own, else from level 0, so `factors` always are those of the
    source times `steps`.

    Parameters
    ----------
    sizes : mapping of str to int
        Voxels of level 0 by spatial dim, at least 1 each.
    spacing : mapping of str to float
        Spacing of level 0 for the same dims, positive and all in one unit.
    levels : int, optional
        How many levels, level 0 included; goes below `target`, or stops above it.
    factors : sequence of int or mapping of str to int, optional
        For each level but level 0: how many voxels of *level 0* make one of its own, along every spatial dim or by dim
        (1 for a dim left out). Any integers that grow from level to level. Replaces the default rule.
    target : int
        The size at which the default rule stops.

    Returns
    -------
    tuple of Level

    Raises
    ------
    GeometryError
        If the sizes or the spacing are not those of a grid, the image is too small for `levels`, or `factors` are not
        integers >= 1, name an unknown dim, shrink, repeat a level, or are not `levels - 1` in number.

    Examples
    --------
    >>> plan = plan_levels({"z": 100, "y": 2000, "x": 2000}, {"z": 2.0, "y": 0.5, "x": 0.5})
    >>> [level.sizes for level in plan][-2:]
    [{'z': 100, 'y': 500, 'x': 500}, {'z': 50, 'y': 250, 'x': 250}]
    >>> plan[-1].factors, plan[-1].source, plan[-1].steps
    ({'z': 2, 'y': 8, 'x': 8}, 2, {'z': 2, 'y': 2, 'x': 2})
    """
    sizes = _checked_sizes(sizes)
    _check_spacing(spacing, tuple(sizes))
    if levels is not None:
        levels = _checked_integer(levels, "levels (level 0 included)")
    if factors is not None:
        asked = _checked_factors(factors, sizes)
        if levels is not None and levels != len(asked):
            raise GeometryError(
                f"levels={levels} counts level 0, so it needs {levels - 1} factors, but {len(asked) - 1} were given: "
                f"give either levels or factors"
            )
    else:
        asked = _default_factors(sizes, spacing, levels, _checked_integer(target, "target"))
    return tuple(_level(index, asked, sizes) for index in range(len(asked)))


def default_chunks(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the chunk size along each dim of an image that is stored without a choice of its own.

    A chunk is about 2**20 voxels (2**21 in 3-D): 128 along each of three spatial dims, 1024 along two, 2**20 along
    one, counting spatial dims of more than one voxel; 1 along all others; never more than the axis has.

    Parameters
    ----------
    sizes : mapping of str to int
        Voxels along every dim of the image.

    Returns
    -------
    dict of str to int

    Examples
    --------
    >>> default_chunks({"t": 10, "c": 3, "z": 1, "y": 512, "x": 5000})
    {'t': 1, 'c': 1, 'z': 1, 'y': 512, 'x': 1024}
    """
    extended = [dim for dim in sizes if dim in SPATIAL_DIMS and sizes[dim] > 1]
    edge = _CHUNK_EDGES[len(extended)]
    return {dim: min(edge, size) if dim in extended else 1 for dim, size in sizes.items()}


def _level(index: int, factors: Sequence[Factors], sizes: Mapping[str, int]) -> Level:
    own = factors[index]
    if index == 0:
        return Level(index, own, dict(sizes), None, dict(own))
    divisors = (i for i in range(index - 1, 0, -1) if all(own[dim] % factors[i][dim] == 0 for dim in own))
    source = next(divisors, 0)
    return Level(index, own, _reduced(sizes, own), source, {dim: own[dim] // factors[source][dim] for dim in own})


def _default_factors(
    sizes: Mapping[str, int], spacing: Mapping[str, float], levels: int | None, target: int
) -> list[Factors]:
    """Cumulative factors of every level by the anisotropy-aware rule."""
    factors: list[Factors] = []
    for coarser in _halvings(sizes, spacing):
        factors.append(coarser)
        small = all(size <= target for size in _reduced(sizes, coarser).values())
        if len(factors) == levels or (levels is None and small):
            return factors
    raise GeometryError(
        f"levels={levels} is too many for an image of {dict(sizes)} voxels: with level 0 it has at most "
        f"{len(factors)}, the last of one voxel"
    )


def _halvings(sizes: Mapping[str, int], spacing: Mapping[str, float]) -> Iterator[Factors]:
    """Cumulative factors of one level after another until one voxel is left."""
    factors = dict.fromkeys(sizes, 1)
    while True:
        yield factors
        extended = [dim for dim in sizes if factors[dim] < sizes[dim]]
        if not extended:
            return
        octaves = {dim: math.log2(spacing[dim]) + math.log2(factors[dim]) for dim in extended}  # cannot overflow
        limit = min(octaves.values()) + _ONE_OCTAVE
        halved = [dim for dim in extended if octaves[dim] < limit]
        factors = factors | {dim: min(2 * factors[dim], sizes[dim]) for dim in halved}


def _reduced(sizes: Mapping[str, int], factors: Mapping[str, int]) -> dict[str, int]:
    return {dim: -(-size // factors[dim]) for dim, size in sizes.items()}


def _clamped(factors: Mapping[str, int], sizes: Mapping[str, int]) -> Factors:
    return {dim: min(factors[dim], size) for dim, size in sizes.items()}


def _checked_integer(value: object, what: str) -> int:
    """The value as an int >= 1; bool and float are not integers here, even if they are whole."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise GeometryError(f"{what} is {value!r}: expected an integer >= 1")
    return int(value)


def _checked_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    return {dim: _checked_integer(size, f"the size of dim {dim!r}") for dim, size in sizes.items()}


def _check_spacing(spacing: Mapping[str, float], dims: tuple[str, ...]) -> None:
    if set(spacing) != set(dims):
        raise GeometryError(f"the spacing is of dims {list(spacing)}, expected those of the sizes, {list(dims)}")
    for dim in dims:
        if not (math.isfinite(spacing[dim]) and spacing[dim] > 0):
            raise GeometryError(f"the spacing of dim {dim!r} is {spacing[dim]}: expected a positive, finite length")


def _checked_factors(given: Sequence[int | Mapping[str, int]], sizes: Mapping[str, int]) -> list[Factors]:
    """Cumulative factors of every level by dim, none larger than its axis."""
    if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise GeometryError(
            f"factors is {given!r}: expected one entry per level after level 0, as in [2, 4] or [{{'x': 2, 'y': 2}}]"
        )
    factors = [dict.fromkeys(sizes, 1)]
    for level, entry in enumerate(given, start=1):
        factors.append(_factors_by_dim(entry, sizes, level))
        shrunk = [dim for dim in sizes if factors[level][dim] < factors[level - 1][dim]]
        if shrunk:
            raise GeometryError(
                f"the factors of level {level}, {factors[level]}, are below those of level {level - 1}, "
                f"{factors[level - 1]}, along {shrunk}: they count voxels of level 0, so they cannot shrink"
            )
        if _clamped(factors[level], sizes) == _clamped(factors[level - 1], sizes):
            raise GeometryError(
                f"the factors of level {level}, {factors[level]}, make the same level as {factors[level - 1]} of level "
                f"{level - 1} for an image of {dict(sizes)} voxels: leave it out, or give larger factors"
            )
    return [_clamped(entry, sizes) for entry in factors]


def _factors_by_dim(entry: int | Mapping[str, int], sizes: Mapping[str, int], level: int) -> Factors:
    if not isinstance(entry, Mapping):
        return dict.fromkeys(sizes, _checked_integer(entry, f"the factor of level {level}"))
    unknown = [dim for dim in entry if dim not in sizes]
    if unknown:
        raise GeometryError(f"the factors of level {level} name {unknown}: the spatial dims are {list(sizes)}")
    return {dim: _checked_integer(entry.get(dim, 1), f"the factor of level {level} along {dim!r}") for dim in sizes}
