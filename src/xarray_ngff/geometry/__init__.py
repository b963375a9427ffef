"""Where every voxel is in the world: the only place where coordinates are made or an affine is derived.

Geometry lives in the coordinates of an image and nowhere else. For each voxel

    world = sum over the spatial axes of  direction(axis) * coordinate(axis)

where `direction` is the unit vector that the axis's orientation (or, without orientations, its name) means, unless the
coordinate's ``direction`` attribute says otherwise. Coordinates are voxel centres. An axis that was selected away with
an integer keeps its place as a scalar coordinate, and counts as an axis of length 1 wherever an affine is derived.
"""

from __future__ import annotations

from xarray_ngff.geometry.change import snap, to_units
from xarray_ngff.geometry.grid import (
    DIM_ORDER,
    SPATIAL_DIMS,
    Axis,
    axis,
    block_coordinates,
    canonical_dims,
    checked_affine,
    coordinate,
    coordinates_from_affine,
    measured_dims,
    origin,
    spacing,
    spatial_axes,
    spatial_dims,
    units,
)
from xarray_ngff.geometry.world import (
    affine,
    extent,
    index_to_world,
    orientation,
    world_extent,
    world_to_index,
    world_unit,
)

__all__ = [
    "DIM_ORDER",
    "SPATIAL_DIMS",
    "Axis",
    "affine",
    "axis",
    "block_coordinates",
    "canonical_dims",
    "checked_affine",
    "coordinate",
    "coordinates_from_affine",
    "extent",
    "index_to_world",
    "measured_dims",
    "orientation",
    "origin",
    "snap",
    "spacing",
    "spatial_axes",
    "spatial_dims",
    "to_units",
    "units",
    "world_extent",
    "world_to_index",
    "world_unit",
]
