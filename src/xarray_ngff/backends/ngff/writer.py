"""OME-Zarr written from an image or from a pyramid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._other_coordinates import warn_of_other_coordinates
from xarray_ngff.backends.ngff.attributes import ascending, image_attributes, written_dims
from xarray_ngff.backends.ngff.target import (
    ArraySpec,
    Target,
    create_arrays,
    discard,
    finish,
    is_finished,
    open_target,
)
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError, GeometryError, MissingExtraError
from xarray_ngff.pyramid.build import Factors, is_level, level_images, planned_levels
from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.passes import Pass, plan_passes
from xarray_ngff.pyramid.plan import Level, default_chunks
from xarray_ngff.pyramid.stream import block_shape, reducing_tasks, storing_tasks
from xarray_ngff.pyramid.stream import compute as compute_to_rest
from xarray_ngff.spatial.downsample import as_dask, checked_method

if TYPE_CHECKING:
    import dask.array
    from dask.delayed import Delayed

__all__ = ["Chunks", "write_image", "write_levels", "write_tree"]

Chunks = int | Sequence[int] | Mapping[str, int]

# Versions that are written, and the Zarr format that each is.
_ZARR_FORMATS = {"0.4": 2, "0.5": 3}

# Types of numbers that both Zarr formats define.
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


def write_image(
    img: xr.DataArray,
    store: Any,
    *,
    levels: int | None = None,
    factors: Factors | None = None,
    method: str | None = None,
    version: str = "0.5",
    chunks: Chunks | None = None,
    overwrite: bool = False,
    compute: bool = True,
    progress: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write an image as OME-Zarr, with a pyramid.

    The image is read once, block by block; from each block level 0 and the next levels are written, and the coarser
    ones are made from a stored level. So the peak of memory is a few blocks for each thread, whatever the size of the
    image (see `xarray_ngff.pyramid.stream`).

    Parameters
    ----------
    img
        Image with two or three spatial axes; t, c and one other axis are optional. Any real, bool or complex dtype.
    store
        Folder, fsspec URL, zarr store, store path or group.
    levels, factors, method
        See `xarray_ngff.pyramid.build.to_multiscale`.
    version
        ``"0.5"`` (Zarr v3) or ``"0.4"`` (Zarr v2).
    chunks
        Chunk length: by dim, one for all spatial dims, or one for each dim in the order t, c, others, z, y, x.
        Default: 128 along each of three spatial axes, 1024 along each of two, 1 along the others.
    overwrite
        Whether what is at the target may be replaced, with all that it holds, labels too; it stays whole until the new
        image is.
    compute
        False returns a `dask.delayed.Delayed` that writes when it is computed. Should that fail, the target is as it
        was, but a hidden folder ``.NAME.*.partial`` beside it may be left; computing it again starts anew.
    progress
        Show a progress bar while writing (needs the extra ``progress``).
    storage_options
        Options of the fsspec file system, for URLs.

    Returns
    -------
    None, or dask.delayed.Delayed with ``compute=False``

    Raises
    ------
    TargetExistsError
        Where the target exists and `overwrite` is False.
    GeometryError, FormatError
        Where the image has no regular grid, axes that OME-Zarr cannot hold, or the options do not fit it. All of it
        before anything is written.
    """
    chosen = checked_method(img, method)
    plan = planned_levels(img, levels=levels, factors=factors)
    finest = _prepared(img)
    if len(plan) > 1:
        block_reduce(np.zeros(2, dtype=img.dtype), (2,), chosen)  # raises now if the method is not for this dtype
    described = [finest] + [_described(finest, level) for level in plan[1:]]
    return _write(described, plan, store, chosen, version, chunks, overwrite, compute, progress, storage_options)


def write_tree(tree: xr.DataTree, store: Any, **options: Any) -> Delayed | None:
    """Write the pyramid of a tree, its levels as they are; options as in `write_levels`.

    What else the tree holds, such as the labels of an image, is left out with an `NgffWarning`.
    """
    images = level_images(tree)
    others = [name for name in tree.children if not is_level(name)]
    if others:
        warn("the tree", f"holds {', '.join(others)} beside its levels scale0, scale1, ...; that was not written")
    return write_levels(images, store, **options)


def write_levels(
    images: Sequence[xr.DataArray],
    store: Any,
    *,
    method: str = "custom",
    version: str = "0.5",
    chunks: Chunks | None = None,
    overwrite: bool = False,
    compute: bool = True,
    progress: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write levels that exist already, finest first, as they are. Options as in `write_image`.

    Raises
    ------
    GeometryError
        Where the levels are not the same image at decreasing sizes.
    """
    prepared = [_prepared(image) for image in images]
    first = prepared[0]
    for index, image in enumerate(prepared[1:], start=1):
        if image.dims != first.dims or image.dtype != first.dtype:
            raise GeometryError(
                f"level {index} has dims {image.dims} and dtype {image.dtype}, level 0 has {first.dims} and "
                f"{first.dtype}: the levels of a pyramid are one image"
            )
        grown = [str(dim) for dim in image.dims if image.sizes[dim] > prepared[index - 1].sizes[dim]]
        if grown:
            raise GeometryError(f"level {index} is longer along {grown[0]!r} than the level before it")
        _check_same_axes(first, image, index)
    return _write(prepared, None, store, method, version, chunks, overwrite, compute, progress, storage_options)


def _check_same_axes(first: xr.DataArray, image: xr.DataArray, index: int) -> None:
    """Raise where a level lies in another space than level 0, whose axes are written for all of them."""
    for dim in geometry.measured_dims(first):
        mine, other = geometry.axis(image, dim), geometry.axis(first, dim)
        for key in ("units", "orientation", "direction"):
            found, wanted = getattr(mine, key), getattr(other, key)
            same = np.allclose(found, wanted) if key == "direction" and found and wanted else found == wanted
            if not same:
                raise GeometryError(
                    f"level {index} has {key} {found!r} along {dim!r}, level 0 has {wanted!r}: the levels of a pyramid "
                    "lie in one space"
                )


def _prepared(img: xr.DataArray) -> xr.DataArray:
    """Image in the order of dims and with the ascending coordinates that OME-Zarr asks for."""
    if img.dtype.name not in _DTYPES:
        raise FormatError(
            f"the image has dtype {img.dtype}, which OME-Zarr cannot hold: convert it with astype to one of "
            f"{', '.join(_DTYPES)}"
        )
    if 0 in img.shape:
        raise FormatError(f"the image is empty ({dict(img.sizes)}): there is nothing to write")
    return ascending(img.transpose(*written_dims(img)))


def _described(finest: xr.DataArray, level: Level) -> xr.DataArray:
    """Image without data that stands for a level: its sizes, coordinates and dtype."""
    blocks = {dim: factor for dim, factor in level.factors.items() if factor > 1}
    coords = geometry.block_coordinates(finest, blocks)
    shape = [level.sizes.get(str(dim), size) for dim, size in finest.sizes.items()]
    empty = np.broadcast_to(np.zeros((), dtype=finest.dtype), shape)
    kept = {name: c for name, c in finest.coords.items() if not set(c.dims) & set(blocks)}
    return xr.DataArray(empty, dims=finest.dims, coords=kept, name=finest.name).assign_coords(coords)


def _checked_chunks(img: xr.DataArray, chunks: Chunks | None) -> dict[str, int]:
    sizes = {str(dim): size for dim, size in img.sizes.items()}
    lengths = default_chunks(sizes)
    if chunks is None:
        return lengths
    if isinstance(chunks, Mapping):
        unknown = [dim for dim in chunks if dim not in sizes]
        if unknown:
            raise GeometryError(f"chunks names dim {unknown[0]!r}, but the image has dims {', '.join(sizes)}")
        given: dict[str, Any] = dict(chunks)
    elif isinstance(chunks, Sequence) and not isinstance(chunks, str):
        if len(chunks) != len(sizes):
            raise GeometryError(f"chunks={tuple(chunks)} has {len(chunks)} entries for the dims {', '.join(sizes)}")
        given = dict(zip(sizes, chunks, strict=True))
    else:
        given = dict.fromkeys(geometry.spatial_dims(img), chunks)
    for dim, length in given.items():
        if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
            raise GeometryError(f"chunk length of {dim!r} is {length!r}, expected a whole number of at least 1")
    return lengths | {dim: int(length) for dim, length in given.items()}


def _write(
    levels: Sequence[xr.DataArray],
    plan: Sequence[Level] | None,
    store: Any,
    method: str,
    version: str,
    chunks: Chunks | None,
    overwrite: bool,
    compute: bool,
    progress: bool,
    storage_options: Mapping[str, Any] | None,
) -> Delayed | None:
    if version not in _ZARR_FORMATS:
        raise FormatError(f"version={version!r} is not written: expected one of {', '.join(_ZARR_FORMATS)}")
    zarr_format = _ZARR_FORMATS[version]
    lengths = _checked_chunks(levels[0], chunks)
    bar = _progress_bar(progress)
    specs = [
        ArraySpec(
            str(index),
            level.shape,
            tuple(min(lengths[str(dim)], size) for dim, size in level.sizes.items()),
            level.dtype.newbyteorder("=").str,
            tuple(map(str, level.dims)),
        )
        for index, level in enumerate(levels)
    ]
    target = open_target(store, overwrite=overwrite, storage_options=storage_options)
    warn_of_other_coordinates(levels[0], place=target.root.name, holder="OME-Zarr")
    paths = [target.array_path(spec.path) for spec in specs]
    attributes = image_attributes(levels, paths, version=version, method=method)
    task = _task(levels, plan, specs, target, attributes, method, zarr_format)
    if not compute:
        return task
    try:
        with bar:
            compute_to_rest(task)
    except BaseException as error:
        _discard_after(error, target, specs)
        raise
    if not is_finished(target):
        raise FormatError(
            f"{target.root.name} was written by processes whose memory or disks this one does not share: write to a "
            "path or URL that all of them share, or compute in threads"
        )
    return None


def _discard_after(error: BaseException, target: Target, specs: Sequence[ArraySpec]) -> None:
    try:
        discard(target, specs)
    except Exception as second:  # noqa: BLE001  # what went wrong first is what the user must see
        error.add_note(f"what was written of {target.root.name} could not be removed: {second}")


def _task(
    levels: Sequence[xr.DataArray],
    plan: Sequence[Level] | None,
    specs: Sequence[ArraySpec],
    target: Target,
    attributes: Mapping[str, Any],
    method: str,
    zarr_format: int,
) -> Delayed:
    """One delayed object that creates the arrays, fills them level by level, and finishes the group."""
    from dask.delayed import delayed

    create = delayed(create_arrays, pure=False, nout=len(specs))
    arrays = create(target, specs, zarr_format=zarr_format)
    done: dict[int, Any] = {}
    for stage in _passes(levels, plan, specs):
        first = stage.levels[0]
        if stage.source is None:
            tasks = storing_tasks(_blocks(levels[first], specs[first], stage), arrays, stage, method)
        else:
            tasks = reducing_tasks(arrays, stage, specs[first].shape, method, after=done[stage.source])
        done |= dict.fromkeys(stage.levels, delayed(_all_done, pure=False)(tasks))
    end = delayed(_finished, pure=False)
    finished: Delayed = end(list(done.values()), target, specs, attributes, zarr_format)
    return finished


def _passes(levels: Sequence[xr.DataArray], plan: Sequence[Level] | None, specs: Sequence[ArraySpec]) -> Sequence[Pass]:
    if plan is None:
        return [Pass(None, (i,), (None,), ((1,) * len(spec.shape),), spec.chunks) for i, spec in enumerate(specs)]
    finest = levels[0]
    return plan_passes(
        plan,
        specs[0].dims,
        [spec.shape for spec in specs],
        [spec.chunks for spec in specs],
        finest.dtype.itemsize,
        source_chunks=None if finest.chunks is None else tuple(map(max, finest.chunks)),
    )


def _blocks(level: xr.DataArray, spec: ArraySpec, stage: Pass) -> dask.array.Array:
    """The image in blocks that can be written at once."""
    preferred = level.encoding.get("preferred_chunks", {})
    of_file = [preferred.get(dim, 1) for dim in spec.dims]
    block = block_shape(spec.shape, stage.unit, level.dtype.itemsize, of_file)
    return as_dask(level, chunks=dict(zip(spec.dims, block, strict=True)))


def _all_done(tasks: Sequence[Any]) -> bool:
    return True


def _finished(
    done: Sequence[Any], target: Target, specs: Sequence[ArraySpec], attributes: Mapping[str, Any], zarr_format: int
) -> None:
    try:
        finish(target, attributes, zarr_format=zarr_format)
    except BaseException as error:
        _discard_after(error, target, specs)
        raise


def _progress_bar(progress: bool) -> AbstractContextManager[Any]:
    if not progress:
        return nullcontext()
    try:
        from tqdm.dask import TqdmCallback
    except ImportError as error:
        raise MissingExtraError(
            "progress=True needs tqdm: install it with  pip install 'xarray-ngff[progress]'"
        ) from error
    bar: AbstractContextManager[Any] = TqdmCallback(desc="writing", unit="task")
    return bar
