"""Writing OME-Zarr: a new image, a label image beside it, or a part of an image that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from xarray_ngff.backends.ngff.labels.tree_labels import tree_labels, write_tree_labels
from xarray_ngff.backends.ngff.new_image import Storage, write_levels, write_new
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError
from xarray_ngff.pyramid.build import Factors, is_level, level_images
from xarray_ngff.pyramid.grids import Chunks, Shards

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["Chunks", "Shards", "write_image", "write_tree"]

# What makes no sense where a part of an image is written: the image that is there decides it.
_SETTLED_BY_THE_IMAGE = (
    *("levels", "factors", "version", "chunks", "shards", "compressor", "like"),
    *("colors", "properties", "overwrite", "resume"),
)


def write_image(
    img: xr.DataArray,
    store: Any,
    *,
    levels: int | None = None,
    factors: Factors | None = None,
    method: str | None = None,
    version: str | None = None,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
    compressor: Any = "auto",
    like: Any = None,
    region: Any = None,
    label: str | None = None,
    colors: Mapping[int, Any] | None = None,
    properties: Any = None,
    overwrite: bool = False,
    resume: bool = False,
    compute: bool = True,
    progress: bool = False,
    memory_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write an image as OME-Zarr, with a pyramid.

    The image is read once, block by block; from each block level 0 and the next levels are written, and the coarser
    ones are made from a stored level (`xarray_ngff.pyramid.stream`). Each level is the exact block statistic of the one
    it is made from. An image in memory or in a file is worked off by threads; a dask image by dask, on its cluster
    where a client is active (`xarray_ngff.pyramid.execution`). Where the image is a lazily opened OME-Zarr with the
    chunks, dtype and codecs that are to be written, its chunks are copied as they are stored.

    Parameters
    ----------
    img
        Image with two or three spatial axes; t, c and one other axis are optional. Any real, bool or complex dtype.
    store
        Folder, ``.ozx`` file, fsspec URL, zarr store, store path or group.
    levels, factors, method
        See `xarray_ngff.pyramid.build.to_multiscale`.
    version
        ``"0.5"`` (Zarr v3) or ``"0.4"`` (Zarr v2). Default: that of the image with `label` or `region`, else 0.5.
    chunks
        Chunk length: by dim, one for all spatial dims, or one for each dim in the order t, c, others, z, y, x.
        Default: 128 along each of three spatial axes, 1024 along each of two, 1 along the others.
    shards
        Shard length in the same forms, in whole chunks; ``"auto"`` for about 64 MiB uncompressed, or a size such as
        ``"256 MiB"``. Default: no shards. Of version 0.5 only.
    compressor
        Name and level, such as ``"zstd:3"`` or ``"blosc-lz4"``, a codec of numcodecs or zarr, or None. Default: that
        of `like`, else what `xarray_ngff.backends.ngff.codecs.compressors` names for the dtype.
    like
        Another OME-Zarr, whose levels, chunks, shards and codecs are taken where nothing else is said.
    region
        ``"auto"``, or slices by dim: write to a part of the image at `store`, or of its labels of the name `label`; see
        `xarray_ngff.backends.ngff.changes.region.write_region`.
    label, colors, properties
        Write a label image of this name beside the image at `store`; see
        `xarray_ngff.backends.ngff.labels.label_image.write_label`.
    overwrite
        Whether what is at the target may be replaced, with all that it holds, labels too; it stays whole until the new
        image is.
    resume
        Whether to go on where an earlier try with the same image and options was stopped, and to keep what is whole
        should this one be stopped.
    compute
        False returns a `dask.delayed.Delayed` that writes when it is computed. Should that fail, the target is as it
        was, but a hidden folder ``.NAME.*.partial`` beside it may be left.
    progress
        Show a bar of the bytes written, their rate and the time left (needs the extra ``progress``).
    memory_limit
        Bytes, or a size such as ``"2 GiB"``, that the write may take beyond an image in memory. Default: a quarter of
        what is free. `xarray_ngff.pyramid.writing_plan.plan_pyramid` shows what comes of it.
    storage_options
        Options of the fsspec file system, for URLs.

    Returns
    -------
    None, or dask.delayed.Delayed with ``compute=False``

    Raises
    ------
    TargetExistsError
        Where the target exists and `overwrite` is False.
    GeometryError, FormatError, MemoryLimitError
        Where the image has no regular grid, axes that OME-Zarr cannot hold, or the options do not fit it. All of it
        before anything is written.
    """
    if region is not None:
        from xarray_ngff.backends.ngff.changes.region import write_region

        _refuse(locals(), _SETTLED_BY_THE_IMAGE, f"region={region!r}")
        return write_region(
            img,
            store,
            region=region,
            group=None if label is None else f"labels/{label}",
            method=method,
            compute=compute,
            progress=progress,
            memory_limit=memory_limit,
            storage_options=storage_options,
        )
    if label is not None:
        from xarray_ngff.backends.ngff.labels.label_image import write_label

        _refuse(locals(), ("version",), f"label={label!r}")
        return write_label(
            img,
            store,
            label=label,
            colors=colors,
            properties=properties,
            levels=levels,
            factors=factors,
            method=method,
            chunks=chunks,
            shards=shards,
            compressor=compressor,
            like=like,
            overwrite=overwrite,
            resume=resume,
            compute=compute,
            progress=progress,
            memory_limit=memory_limit,
            storage_options=storage_options,
        )
    if colors is not None or properties is not None:
        raise FormatError("colors and properties are those of a label image: give its name too, label='nuclei'")
    storage = Storage(
        version=version or "0.5",
        compressor=compressor,
        like=like,
        overwrite=overwrite,
        resume=resume,
        compute=compute,
        progress=progress,
        memory_limit=memory_limit,
        storage_options=storage_options,
    )
    return write_new(img, store, storage, levels=levels, factors=factors, method=method, chunks=chunks, shards=shards)


def _refuse(given: Mapping[str, Any], names: tuple[str, ...], why: str) -> None:
    """Raise where one of these options was given, that is, is not as it is by default."""
    defaults = write_image.__kwdefaults__ or {}
    for name in names:
        if given[name] is not defaults[name] and given[name] != defaults[name]:
            raise FormatError(
                f"{name}={given[name]!r} cannot be chosen with {why}, where the image that is there decides it: leave "
                f"out {name}"
            )


def write_tree(
    tree: xr.DataTree,
    store: Any,
    *,
    version: str | None = None,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
    compressor: Any = "auto",
    overwrite: bool = False,
    resume: bool = False,
    compute: bool = True,
    progress: bool = False,
    memory_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write the pyramid of a tree, its levels as they are; options as in `write_image`.

    The labels of the tree are written too, after the image. What else it holds is left out with an `NgffWarning`.

    Raises
    ------
    FormatError
        Where a tree with labels is to be written into an archive, or with ``compute=False``.
    """
    images = level_images(tree)
    others = [name for name in tree.children if not is_level(name) and name != "labels"]
    if others:
        warn("the tree", f"holds {', '.join(others)} beside its levels and labels; that was not written")
    storage = Storage(
        version=version or "0.5",
        compressor=compressor,
        overwrite=overwrite,
        resume=resume,
        compute=compute,
        progress=progress,
        memory_limit=memory_limit,
        storage_options=storage_options,
    )
    found = tree_labels(tree, images, store, storage)
    task = write_levels(images, store, storage, chunks=chunks, shards=shards)
    write_tree_labels(found, store, storage, chunks=chunks, shards=shards)
    return task
