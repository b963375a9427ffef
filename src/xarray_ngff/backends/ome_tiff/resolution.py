"""Pixel sizes from the resolution tags of a page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xarray_ngff.backends.ome_tiff.description import AxisGrid, Description

if TYPE_CHECKING:
    from tifffile import TiffPage

__all__ = ["pixel_sizes", "resolution_description"]

_TAGS = {"y": 283, "x": 282}
_UNIT_TAG, _CENTIMETER = 296, 3


def pixel_sizes(page: TiffPage) -> dict[str, float]:
    """Size of a pixel along y and x, in whatever unit the resolution counts pixels in."""
    sizes = {}
    for dim, code in _TAGS.items():
        value = page.tags.valueof(code)
        try:
            pixels, units = (int(part) for part in value)
        except (TypeError, ValueError):
            continue
        if pixels > 0 and units > 0 and math.isfinite(units / pixels):
            sizes[dim] = units / pixels
    return sizes


def resolution_description(page: TiffPage) -> Description:
    """What the resolution tags say of a page.

    Only pixels per centimetre are taken for the size of what is in the picture. Pixels per inch nearly always are what
    a printer is to make of it, and without a unit they are a ratio of sides.
    """
    if page.tags.valueof(_UNIT_TAG) != _CENTIMETER:
        return Description()
    return Description({dim: AxisGrid(size, 0.0, "centimeter") for dim, size in pixel_sizes(page).items()})
