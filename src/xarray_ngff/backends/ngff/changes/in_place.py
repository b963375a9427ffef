"""Levels added to an OME-Zarr image that is there, or built anew, from its own level 0.

New arrays are written where nothing is. One document then makes them levels of the image, and only after that the
arrays that they replace are deleted: a reader finds the old levels or the new ones, all of them. Level 0 is only read.
"""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Mapping, Sequence
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends.ngff.changes.documents import is_free, read_document
from xarray_ngff.backends.ngff.changes.level_replacement import (
    Documents,
    Replacement,
    created_arrays,
    discard,
    finish,
    is_published,
    multiscale_entry,
)
from xarray_ngff.backends.ngff.codecs.compressors import Codecs, codecs, codecs_like
from xarray_ngff.backends.ngff.existing import ExistingPyramid, existing_pyramid
from xarray_ngff.backends.ngff.nodes import Node, open_array, read_nodes
from xarray_ngff.backends.ngff.stores import joined
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec, array_documents
from xarray_ngff.backends.ngff.transforms import scale_and_translation
from xarray_ngff.errors import FormatError, GeometryError, TargetExistsError
from xarray_ngff.pyramid.build import Factors, planned_levels
from xarray_ngff.pyramid.execution import write
from xarray_ngff.pyramid.grids import Chunks, LevelGrid, Shards, chunk_lengths, level_grids, shard_lengths
from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.plan import Level
from xarray_ngff.pyramid.stream import Destination, Filling
from xarray_ngff.pyramid.writing_plan import plan_writing
from xarray_ngff.spatial.downsample import checked_method

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["build_pyramid"]

# What the arrays of all levels of an image have in common, by the document that says it.
_SHARED_KEYS = {
    "zarr.json": ("chunk_key_encoding", "data_type", "fill_value"),
    ".zarray": ("dimension_separator", "dtype", "fill_value"),
    ".zattrs": ("_ARRAY_DIMENSIONS",),
}


def build_pyramid(
    store: Any,
    *,
    group: str | None = None,
    levels: int | None = None,
    factors: Factors | None = None,
    method: str | None = None,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
    compressor: Any = "auto",
    overwrite: bool = False,
    compute: bool = True,
    progress: bool = False,
    memory_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Add levels to an OME-Zarr image, or build them anew, from its level 0, which is read once and left as it is.

    What the group says beside its levels (channels, name, keys of other programs, further images) is kept. The levels
    become visible in one step, when all are whole. A failure before that removes what was written. A process that is
    killed leaves arrays that no metadata name: the image is as it was, and a later call takes other paths.

    Parameters
    ----------
    store
        Folder, URL, zarr store, store path or group of an OME-Zarr 0.4 or 0.5 that can be written to.
    group
        Path of the image below it, such as ``"labels/nuclei"``. Of several images in a group the first is meant.
    levels
        Number of levels, counting level 0.
    factors
        Cumulative factors from level 0, one entry for each further level: a whole number for all spatial dims or a
        mapping by dim. Default, without `levels`: those that the image has, where it has several levels of whole
        blocks; else as for a new image (see `xarray_ngff.pyramid.build.to_multiscale`).
    method
        Block statistic: mean, nearest, mode, min, max or median. Default: that which the file names, else mode for a
        label image and for bool, mean for all others.
    chunks, shards
        Lengths as in `to_ome_zarr`. Default, and for dims that are left out of `chunks`: those of level 0.
    compressor
        As in `to_ome_zarr`; ``"auto"`` means the codecs of level 0.
    overwrite
        Whether levels that are there are replaced. They are deleted, unless another image of the group has them too.
    compute
        False returns a `dask.delayed.Delayed` that does it when it is computed.
    progress
        Show a progress bar.
    memory_limit
        What to hold in memory at most, in bytes or as ``"2 GiB"``. Default: a quarter of what is free.
    storage_options
        Options of the fsspec file system, for URLs.

    Returns
    -------
    None, or dask.delayed.Delayed with ``compute=False``

    Raises
    ------
    TargetExistsError
        Where the image has further levels and `overwrite` is False.
    GeometryError, FormatError
        Where options do not fit the image, or the store is no such image or cannot be written to. All of it before
        anything is written.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xarray_ngff, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> img = xarray_ngff.as_image(np.full((64, 80), 7, "uint8"), spacing=(0.5, 0.5), units="um")
    >>> img.ngff.to_ome_zarr(store, levels=1)
    >>> build_pyramid(store, levels=3)
    >>> xr.open_dataarray(store, engine="ngff", level=2).shape
    (16, 20)
    """
    pyramid = existing_pyramid(store, group=group, writable=True, storage_options=storage_options)
    if len(pyramid.levels) > 1 and not overwrite:
        raise TargetExistsError(
            f"{pyramid.root.name} has {len(pyramid.levels)} levels: pass overwrite=True to build all but level 0 anew"
        )
    img = pyramid.image.transpose(*pyramid.dims)
    chosen = checked_method(img, pyramid.method if method is None else method)
    if levels is None and factors is None:
        factors = _present_factors(pyramid)
    plan = planned_levels(img, levels=levels, factors=factors)
    if len(plan) > 1:
        block_reduce(np.zeros(2, dtype=img.dtype), (2,), chosen)  # raises now if the method is not for this dtype
    grids = _grids(pyramid, img, plan, chunks, shards)
    work = plan_writing(img, plan, grids, memory_limit=memory_limit)
    filling = Filling(
        tuple(stage for stage in work.passes if stage.levels != (0,)),
        tuple(grid.shape for grid in grids),
        img.dtype.itemsize,
        chosen,
        work.threads,
        kept=frozenset({0}),
        block_bytes=work.block_bytes,
    )
    new = _replacement(pyramid, plan, grids, _encoding(pyramid, compressor), chosen)
    destination = Destination(
        pyramid.root.name,
        functools.partial(created_arrays, new),
        functools.partial(finish, new),
        functools.partial(discard, new),
        functools.partial(is_published, new),
    )
    return write(filling, destination, compute=compute, progress=progress)


def _present_factors(pyramid: ExistingPyramid) -> Factors | None:
    """Factors of the levels that the image has; None where it has one level only, or others than whole blocks."""
    if len(pyramid.levels) == 1:
        return None
    try:
        return list(pyramid.factors[1:])
    except GeometryError:
        return None


def _grids(
    pyramid: ExistingPyramid, img: xr.DataArray, plan: Sequence[Level], chunks: Chunks | None, shards: Shards | None
) -> tuple[LevelGrid, ...]:
    """How the array of each level is cut; level 0 as it is."""
    finest = pyramid.nodes[0]
    own = dict(zip(pyramid.dims, finest.chunks or (), strict=True))
    lengths = own if chunks is None else own | _asked(img, chunks)
    if shards is not None:
        if pyramid.zarr_format == 2:
            raise FormatError(
                f"{pyramid.root.name} is OME-Zarr {pyramid.version} in Zarr v2, which has no shards: leave out shards="
            )
        sharded = shard_lengths(img, shards, lengths)
    elif finest.shards is not None:
        sharded = shard_lengths(img, dict(zip(pyramid.dims, finest.shards, strict=True)), lengths)
    else:
        sharded = None
    shapes = [tuple(level.sizes.get(dim, img.sizes[dim]) for dim in pyramid.dims) for level in plan]
    coarser = level_grids(pyramid.dims, shapes, lengths, sharded, shrink=isinstance(shards, str))[1:]
    present = tuple(min(own[dim], img.sizes[dim]) for dim in pyramid.dims)
    return (LevelGrid(shapes[0], present, finest.shards), *coarser)


def _asked(img: xr.DataArray, chunks: Chunks) -> dict[str, int]:
    """Chunk lengths of the dims that the option speaks of."""
    lengths = chunk_lengths(img, chunks)
    if isinstance(chunks, Mapping):
        return {dim: lengths[dim] for dim in chunks}
    return lengths if isinstance(chunks, Sequence) else {dim: lengths[dim] for dim in geometry.spatial_dims(img)}


def _encoding(pyramid: ExistingPyramid, compressor: Any) -> Codecs:
    if isinstance(compressor, str) and compressor == "auto":
        return codecs_like(pyramid.arrays[0], zarr_format=pyramid.zarr_format)
    return codecs(compressor, zarr_format=pyramid.zarr_format, dtype=pyramid.image.dtype)


def _replacement(
    pyramid: ExistingPyramid, plan: Sequence[Level], grids: Sequence[LevelGrid], encoding: Codecs, method: str
) -> Replacement:
    names = [str(level.index) for level in plan[1:]]
    prefix = "" if all(is_free(pyramid.root, name) for name in names) else secrets.token_hex(4)
    paths = [joined(prefix, name) for name in names]
    arrays = {path: _documents(pyramid, path, grid, encoding) for path, grid in zip(paths, grids[1:], strict=True)}
    entry = multiscale_entry(pyramid.attributes)
    transforms = _transforms(pyramid, entry["datasets"][0], plan)
    datasets = [
        entry["datasets"][0],
        *({"path": path, "coordinateTransformations": steps} for path, steps in zip(paths, transforms, strict=True)),
    ]
    said: dict[str, Any] = {"type": None, "metadata": None}
    if len(plan) > 1:
        about = {"method": "xarray_ngff.build_pyramid", "version": package_version("xarray-ngff")}
        said = {"type": method, "metadata": {"description": f"{method} of blocks of the voxels that exist"} | about}
    return Replacement(
        pyramid.root,
        pyramid.zarr_format,
        pyramid.nodes[0],
        prefix,
        arrays,
        secrets.token_hex(8),
        entry["datasets"],
        {"datasets": datasets} | said,
    )


def _documents(pyramid: ExistingPyramid, path: str, grid: LevelGrid, encoding: Codecs) -> Documents:
    """Metadata of the array of a new level: like level 0, on its own grid."""
    # the names that the file gives its axes, which the reader may have changed
    axes = multiscale_entry(pyramid.attributes)["axes"]
    names = tuple(str(axis["name"] if isinstance(axis, Mapping) else axis) for axis in axes)
    spec = ArraySpec(path, grid.shape, grid.chunks, pyramid.image.dtype.str, names, grid.shards, encoding)
    made = {key: json.loads(content) for key, content in array_documents(spec, zarr_format=pyramid.zarr_format).items()}
    for key, shared in _SHARED_KEYS.items():
        finest = read_document(pyramid.root, joined(pyramid.paths[0], key)) or {}
        if key in made:
            kept = {name: value for name, value in made[key].items() if name not in shared}
            made[key] = kept | {name: finest[name] for name in shared if name in finest}
    return made


def _transforms(
    pyramid: ExistingPyramid, finest: Mapping[str, Any], plan: Sequence[Level]
) -> list[list[dict[str, Any]]]:
    """The coordinateTransformations of every level but the first, which follow from those that the file gives it."""

    def read_array(path: str) -> Any:
        node = read_nodes(pyramid.root, [path], zarr_format=pyramid.zarr_format, kind="array")[path]
        return np.asarray(open_array(pyramid.root, node or Node(path, pyramid.zarr_format, "array"))[...])

    place = f"{pyramid.root.name}: multiscales[0].datasets[0].coordinateTransformations"
    scale, translation = scale_and_translation(
        finest["coordinateTransformations"], place, len(pyramid.dims), read_array=read_array
    )
    transforms = []
    for level in plan[1:]:
        factors = [level.factors.get(dim, 1) for dim in pyramid.dims]
        coarser = [step * factor for step, factor in zip(scale, factors, strict=True)]
        centres = [t + s * (f - 1) / 2 for t, s, f in zip(translation, scale, factors, strict=True)]
        transforms.append([{"type": "scale", "scale": coarser}, {"type": "translation", "translation": centres}])
    return transforms
