"""The labels of a tree, written into the image of the tree, level by level as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xarray_ngff.backends.ngff.archive.destination import archive_path
from xarray_ngff.backends.ngff.attributes import ascending, written_dims
from xarray_ngff.backends.ngff.existing import existing_pyramid
from xarray_ngff.backends.ngff.labels.grid import on_grid
from xarray_ngff.backends.ngff.labels.label_image import checked_name, integer_labels, writing_label
from xarray_ngff.backends.ngff.labels.listing import FOLDER
from xarray_ngff.backends.ngff.labels.metadata import beside_image
from xarray_ngff.backends.ngff.new_image import Storage, write_levels
from xarray_ngff.errors import FormatError, GeometryError
from xarray_ngff.pyramid.build import is_level, level_images
from xarray_ngff.pyramid.grids import Chunks, Shards

__all__ = ["tree_labels", "write_tree_labels"]

Pyramids = Mapping[str, Sequence[xr.DataArray]]


def tree_labels(tree: xr.DataTree, images: Sequence[xr.DataArray], store: Any, storage: Storage) -> Pyramids:
    """Levels of each label image of a tree, by its path below "labels", checked before anything is written.

    Parameters
    ----------
    tree
        Tree of an image, as ``engine="ngff"`` gives it: the labels are at ``/labels/<name>/scale0``, ...
    images
        Levels of the image.
    store, storage
        Where all of it is to be written.

    Raises
    ------
    GeometryError
        Where labels are not on the grid of level 0 of the image, or have another number of levels.
    FormatError
        Where they are no integers, have a name that OME-Zarr does not hold, or cannot be written to such a place, or
        by ``compute=False``.
    """
    if FOLDER not in tree.children:
        return {}
    group = tree.children[FOLDER]
    nodes = [node for node in group.subtree if any(is_level(name) for name in node.children)]
    finest = ascending(images[0].transpose(*written_dims(images[0])))
    pyramids: dict[str, Sequence[xr.DataArray]] = {}
    for node in nodes:
        path = node.path.removeprefix(group.path).strip("/")
        for part in path.split("/"):
            checked_name(part)
        place = f"the tree: labels {path!r}"
        levels = [integer_labels(level, place).rename("labels") for level in level_images(node)]
        if len(levels) != len(images):
            raise GeometryError(
                f"{place} have {len(levels)} levels, but the image has {len(images)}, and OME-Zarr asks for as many: "
                f"leave them out, tree.drop_nodes({f'{FOLDER}/{path}'!r})"
            )
        on_grid(levels[0], finest, place)
        pyramids[path] = [beside_image(levels[0], path), *levels[1:]]
    if pyramids:
        if archive_path(store) is not None:
            raise FormatError(
                f"{store} is a single-file OME-Zarr, into which the labels of a tree are not written: write a folder, "
                f"or leave them out, tree.drop_nodes({FOLDER!r})"
            )
        if not storage.compute:
            raise FormatError(
                "the tree holds labels, which are written when the image is there: leave out compute=False, or write "
                "the image and then each of its labels with to_ome_zarr(..., label=...)"
            )
    return pyramids


def write_tree_labels(
    pyramids: Pyramids, store: Any, storage: Storage, *, chunks: Chunks | None = None, shards: Shards | None = None
) -> None:
    """Write what `tree_labels` found into the image at `store`, which has just been written. Options are the image's.

    Each label image is listed when it is whole; where one fails, the image and those before it stay.
    """
    if not pyramids:
        return
    image = existing_pyramid(store, writable=True, storage_options=storage.storage_options)
    for path, levels in pyramids.items():
        with writing_label(image, path) as (place, then):
            own = replace(storage, overwrite=False, resume=False, like=None, storage_options=None, then=then)
            dims = tuple(map(str, levels[0].dims))
            write_levels(levels, place, own, chunks=_of(chunks, image.dims, dims), shards=_of(shards, image.dims, dims))


def _of(option: Any, image_dims: Sequence[str], dims: Sequence[str]) -> Any:
    """The part of an option of the image, with an entry for each dim, that is about the dims of its labels."""
    if isinstance(option, Sequence | np.ndarray) and not isinstance(option, str | bytes):
        option = dict(zip(image_dims, option, strict=True))
    if isinstance(option, Mapping):
        return {dim: length for dim, length in option.items() if dim in dims}
    return option
