"""What the metadata of a TIFF file, of whichever kind, says of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._times import START_TIME
from xarray_ngff.channels import Channel, channel_coordinates

__all__ = ["AxisGrid", "Description", "described_coordinates"]

#: Axes that have a place in space or time; others have no coordinate.
MEASURED = ("t", "z", "y", "x")


@dataclass(frozen=True)
class AxisGrid:
    """Spacing, position of the first voxel's centre, and unit of one axis at full resolution."""

    step: float = 1.0
    start: float = 0.0
    units: str | None = None


@dataclass(frozen=True)
class Description:
    """What a file says of one image.

    Attributes
    ----------
    axes
        Grid by dim, for each of t, z, y, x that the file says something of.
    channels
        Channels, as far as described.
    times
        Seconds of each time point where they are not regular, else empty.
    start_time
        When t is 0.
    """

    axes: Mapping[str, AxisGrid] = field(default_factory=dict)
    channels: Sequence[Channel] = ()
    times: tuple[float, ...] = ()
    start_time: datetime | None = None


def described_coordinates(
    found: Description, sizes: Mapping[str, int], factors: Mapping[str, float], channels: Sequence[Channel]
) -> dict[str, xr.Variable]:
    """Coordinates of an image at one level of a pyramid.

    Parameters
    ----------
    found
        What the file says of the image at full resolution.
    sizes
        Length by dim at this level.
    factors
        Voxels of the finest level along one voxel of this level, by dim; those that are absent are 1.
    channels
        One for each index of c; for one channel without a dim c, scalar coordinates.
    """
    coords = {}
    for dim in MEASURED:
        size = sizes.get(dim)
        grid = found.axes.get(dim)
        if size is None and grid is None and not (dim == "t" and (found.times or found.start_time)):
            continue
        grid, factor = grid or AxisGrid(), factors.get(dim, 1.0)
        if dim == "t" and len(found.times) == (size or 1):
            variable = xr.Variable(("t",), np.array(found.times), {"units": "second"})
        else:
            variable = geometry.coordinate(
                dim,
                size or 1,
                start=grid.start + (factor - 1) / 2 * grid.step,
                step=grid.step * factor,
                units=grid.units,
            )
        if dim == "t" and found.start_time is not None:
            variable.attrs[START_TIME] = found.start_time.isoformat()
        coords[dim] = variable[0] if size is None else variable
    along = channel_coordinates(channels)
    return coords | (along if "c" in sizes else {name: variable[0] for name, variable in along.items()})
