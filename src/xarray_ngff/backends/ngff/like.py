"""Another OME-Zarr as the model of a new one: its levels, chunks, shards and codecs, where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from xarray_ngff.backends.ngff.existing import ExistingPyramid, existing_pyramid
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.grids import Chunks, LevelGrid, Shards, chunk_lengths, level_grids, shard_lengths

__all__ = ["grids_like", "model_for"]


def model_for(img: xr.DataArray, like: Any, *, storage_options: Mapping[str, Any] | None) -> ExistingPyramid:
    """The image at `like`, if the given one can be stored in its way.

    Raises
    ------
    GeometryError
        Where it has other dims.
    """
    model = existing_pyramid(like, storage_options=storage_options)
    if tuple(img.dims) != model.dims:
        raise GeometryError(
            f"like={model.root.name!r} has the dims {', '.join(model.dims)}, the image has "
            f"{', '.join(map(str, img.dims))}: give levels, chunks and compressor instead"
        )
    return model


def grids_like(
    model: ExistingPyramid,
    img: xr.DataArray,
    shapes: Sequence[tuple[int, ...]],
    *,
    chunks: Chunks | None,
    shards: Shards | None,
    sharded: bool,
) -> tuple[LevelGrid, ...]:
    """Grids of levels as those of a model, the last one for levels that it has not.

    Parameters
    ----------
    model
        What is taken where nothing else is said.
    img
        The finest level, its dims in the order of the arrays.
    shapes
        Shape of each level.
    chunks, shards
        What was said; see `xarray_ngff.pyramid.grids`.
    sharded
        Whether the new arrays can have shards at all.
    """
    arrays = model.arrays
    grids: list[LevelGrid] = []
    for index, shape in enumerate(shapes):
        array = arrays[min(index, len(arrays) - 1)]
        own = dict(zip(model.dims, array.chunks, strict=True)) if chunks is None else chunk_lengths(img, chunks)
        inherited = sharded and array.shards is not None
        wanted = dict(zip(model.dims, array.shards or (), strict=True)) if shards is None and inherited else shards
        grids += level_grids(model.dims, [shape], own, shard_lengths(img, wanted, own))
    return tuple(grids)
