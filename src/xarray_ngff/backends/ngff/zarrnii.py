"""Orientation as the zarrnii package stores it beside OME-Zarr 0.4 and 0.5.

The group has ``xyz_orientation``, such as "LPI": where increasing index points, in x, y, z order (or, in older files,
``orientation`` in z, y, x order). The world is RAS, and a translation is the RAS position of voxel 0 even on an axis
that runs to the left, to the back or down, where zarrnii counts *against* the scale. OME-Zarr, and this package, have
coordinates increase along every axis; so such an axis is negated: its level 0 starts at ``-t0``, and a level that every
reader draws ``t - t0`` further along the axis starts at ``-t0 + (t - t0)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xarray_ngff.backends.ngff.axes import AxisMeta
from xarray_ngff.backends.ngff.validation import shown, warn
from xarray_ngff.orientation import direction_vector, value_from_code

__all__ = ["ras_translation", "zarrnii_orientations"]

# One letter of each pair, in any order.
_PAIRS = ("RL", "AP", "SI")


def zarrnii_orientations(attributes: Mapping[str, Any], place: str) -> dict[str, str]:
    """RFC-4 values for x, y and z from the attributes of a group, empty where zarrnii wrote none.

    Examples
    --------
    >>> zarrnii_orientations({"orientation": "IPL"}, "img.zarr")
    {'x': 'right-to-left', 'y': 'anterior-to-posterior', 'z': 'superior-to-inferior'}
    """
    code = attributes.get("xyz_orientation")
    if code is None:
        # "orientation" is a word that others use too: anything else than a code is not zarrnii's
        legacy = attributes.get("orientation")
        if not isinstance(legacy, str) or not _is_code(legacy):
            return {}
        code = legacy[::-1]
    if not _is_code(code):
        warn(f"{place}: xyz_orientation", f"is {shown(code)}, expected axis codes such as 'RAS'; it was ignored")
        return {}
    return {name: value_from_code(letter) for name, letter in zip("xyz", code, strict=True)}


def _is_code(code: object) -> bool:
    if not isinstance(code, str) or len(code) != 3:
        return False
    return all(sum(letter in pair for letter in code.upper()) == 1 for pair in _PAIRS)


def ras_translation(
    axes: Sequence[AxisMeta], first: Sequence[float], translation: Sequence[float]
) -> tuple[float, ...]:
    """Translation of a level for axes with zarrnii's orientations, where coordinates increase along every axis.

    Parameters
    ----------
    axes
        Axes of the image, with their orientations.
    first, translation
        Translations of level 0 and of the level, as the file has them.
    """
    shifted = []
    for axis, start, own in zip(axes, first, translation, strict=True):
        direction = direction_vector(axis.orientation)
        against = direction is not None and min(direction) < 0
        shifted.append(own - 2 * start if against else own)
    return tuple(shifted)
