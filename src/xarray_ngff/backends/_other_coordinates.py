"""Coordinates that no format has a place for, named before they are left out."""

from __future__ import annotations

import warnings

import xarray as xr

from xarray_ngff import channels, geometry
from xarray_ngff.errors import NgffWarning

__all__ = ["warn_of_other_coordinates"]


def warn_of_other_coordinates(img: xr.DataArray, *, place: str, holder: str) -> None:
    """Warn of coordinates of an image that place no voxel and describe no channel, such as a temperature along t.

    Parameters
    ----------
    place
        What is written, for the warning.
    holder
        Name of the format, for the warning.

    Examples
    --------
    >>> img = xr.DataArray([1, 2], dims="x", coords={"x": [0.0, 1.0], "quality": 0.9})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_other_coordinates(img, place="a.tif", holder="OME-TIFF")
    >>> str(caught[0].message)
    'a.tif: OME-TIFF cannot hold the coordinates quality; they are left out'
    """
    known = {*geometry.SPATIAL_DIMS, "t", *channels.COORDINATES, *img.dims}
    others = [str(name) for name in img.coords if name not in known]
    if others:
        warnings.warn(
            f"{place}: {holder} cannot hold the coordinates {', '.join(others)}; they are left out",
            NgffWarning,
            stacklevel=3,
        )
