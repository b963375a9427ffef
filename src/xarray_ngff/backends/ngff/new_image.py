"""A new OME-Zarr image: from an image, whose levels are made, or from levels that are there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._other_coordinates import warn_of_other_coordinates
from xarray_ngff.backends.ngff.archive.destination import archive_destination, archive_path
from xarray_ngff.backends.ngff.attributes import ascending, image_attributes, written_dims
from xarray_ngff.backends.ngff.codecs.compressors import Codecs, check_chunk_bytes, codecs, codecs_like, same_encoding
from xarray_ngff.backends.ngff.existing import ExistingPyramid
from xarray_ngff.backends.ngff.like import grids_like, model_for
from xarray_ngff.backends.ngff.stored_source import documented_array, stored_part
from xarray_ngff.backends.ngff.targets.journal import described, journal_of
from xarray_ngff.backends.ngff.targets.target import (
    ArraySpec,
    Target,
    array_documents,
    begin,
    create_arrays,
    discard,
    finish,
    held,
    is_finished,
    open_target,
)
from xarray_ngff.errors import FormatError, GeometryError
from xarray_ngff.pyramid.build import Factors, planned_levels
from xarray_ngff.pyramid.execution import write
from xarray_ngff.pyramid.grids import Chunks, LevelGrid, Shards, pyramid_grids
from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.passes import Pass
from xarray_ngff.pyramid.stream import Destination, Filling, Journal
from xarray_ngff.pyramid.verbatim import StoredPart
from xarray_ngff.pyramid.writing_plan import plan_pyramid, plan_writing
from xarray_ngff.spatial.downsample import checked_method

if TYPE_CHECKING:
    from dask.delayed import Delayed

__all__ = ["Storage", "write_levels", "write_new"]

# Versions that are written, and the Zarr format that each is.
_ZARR_FORMATS = {"0.4": 2, "0.5": 3}

# Types of numbers that both Zarr formats define.
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


@dataclass(frozen=True)
class Storage:
    """Where and how the arrays of an image are stored, and how they get there; options of ``to_ome_zarr``.

    `then` is a picklable function that is called when the image is whole.
    """

    version: str = "0.5"
    compressor: Any = "auto"
    like: Any = None
    overwrite: bool = False
    resume: bool = False
    compute: bool = True
    progress: bool = False
    memory_limit: int | str | None = None
    storage_options: Mapping[str, Any] | None = None
    then: Callable[[], None] | None = None

    @property
    def zarr_format(self) -> int:
        """Format of the arrays."""
        if self.version not in _ZARR_FORMATS:
            raise FormatError(f"version={self.version!r} is not written: expected one of {', '.join(_ZARR_FORMATS)}")
        return _ZARR_FORMATS[self.version]


def write_new(
    img: xr.DataArray,
    store: Any,
    storage: Storage,
    *,
    levels: int | None = None,
    factors: Factors | None = None,
    method: str | None = None,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
) -> Delayed | None:
    """Write an image with its pyramid, as a new OME-Zarr; see `xarray_ngff.backends.ngff.writer.write_image`.

    Parameters
    ----------
    img
        The image.
    store
        Folder, ``.ozx`` file, fsspec URL, zarr store, store path or group.
    storage
        How it is stored.
    levels, factors, method, chunks, shards
        See `xarray_ngff.backends.ngff.writer.write_image`.
    """
    chosen = checked_method(img, method)
    finest = _prepared(img)
    model = None
    if storage.like is not None:
        model = model_for(finest, storage.like, storage_options=storage.storage_options)
        factors = list(model.factors[1:]) if levels is None and factors is None else factors
    _check_shards(shards, storage)
    wanted = planned_levels(finest, levels=levels, factors=factors)
    shapes = [tuple(level.sizes.get(str(dim), size) for dim, size in finest.sizes.items()) for level in wanted]
    if model is None:
        grids = pyramid_grids(finest, shapes, chunks, shards)
    else:
        sharded = storage.zarr_format == 3
        grids = grids_like(model, finest, shapes, chunks=chunks, shards=shards, sharded=sharded)
    plan = plan_writing(finest, wanted, grids, memory_limit=storage.memory_limit)
    if len(plan.levels) > 1:
        block_reduce(np.zeros(2, dtype=img.dtype), (2,), chosen)  # raises now if the method is not for this dtype
    described = [finest, *(_described(finest, level.factors, level.shape) for level in plan.levels[1:])]
    encoding = _codecs(storage, finest, model)
    filling = Filling(
        plan.passes,
        tuple(shapes),
        finest.dtype.itemsize,
        chosen,
        plan.threads,
        given={0: finest.variable},
        verbatim=_verbatim(finest, grids[0], encoding, storage),
        block_bytes=plan.block_bytes,
    )
    return _written(described, grids, encoding, filling, store, storage)


def write_levels(
    images: Sequence[xr.DataArray],
    store: Any,
    storage: Storage,
    *,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
) -> Delayed | None:
    """Write levels that exist already, finest first, as they are; see `xarray_ngff.backends.ngff.writer.write_tree`.

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
    _check_shards(shards, storage)
    # the plan of the finest level alone says how much may be held
    plan = plan_pyramid(first, levels=1, chunks=chunks, shards=shards, memory_limit=storage.memory_limit)
    grids = pyramid_grids(first, [image.shape for image in prepared], chunks, shards)
    filling = Filling(
        tuple(Pass(None, (i,), (None,), ((1,) * first.ndim,), grid.unit) for i, grid in enumerate(grids)),
        tuple(image.shape for image in prepared),
        first.dtype.itemsize,
        "custom",
        plan.threads,
        given={index: image.variable for index, image in enumerate(prepared)},
        block_bytes=plan.block_bytes,
    )
    return _written(prepared, grids, _codecs(storage, first, None), filling, store, storage)


def _written(
    levels: Sequence[xr.DataArray],
    grids: Sequence[LevelGrid],
    encoding: Codecs,
    filling: Filling,
    store: Any,
    storage: Storage,
) -> Delayed | None:
    """Write levels that are described, on these grids."""
    specs = [
        ArraySpec(
            str(index), grid.shape, grid.chunks, _dtype(level), tuple(map(str, level.dims)), grid.shards, encoding
        )
        for index, (level, grid) in enumerate(zip(levels, grids, strict=True))
    ]
    check_chunk_bytes(encoding, grids[0].chunks, levels[0].dtype)
    attributes = functools.partial(image_attributes, levels, version=storage.version, method=filling.method)
    destination, journal = _destination(store, specs, attributes, filling, storage)
    warn_of_other_coordinates(levels[0], place=destination.name, holder="OME-Zarr")
    filling = replace(filling, journal=journal)
    return write(filling, destination, compute=storage.compute, progress=storage.progress)


def _dtype(level: xr.DataArray) -> str:
    return level.dtype.newbyteorder("=").str


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


def _described(finest: xr.DataArray, factors: Mapping[str, int], shape: Sequence[int]) -> xr.DataArray:
    """Image without data that stands for a level: its sizes, coordinates and dtype."""
    blocks = {dim: factor for dim, factor in factors.items() if factor > 1}
    coords = geometry.block_coordinates(finest, blocks)
    empty = np.broadcast_to(np.zeros((), dtype=finest.dtype), shape)
    kept = {name: c for name, c in finest.coords.items() if not set(c.dims) & set(blocks)}
    return xr.DataArray(empty, dims=finest.dims, coords=kept, name=finest.name).assign_coords(coords)


def _check_shards(shards: Shards | None, storage: Storage) -> None:
    if shards is not None and storage.zarr_format == 2:
        raise FormatError(
            f"shards={shards!r}: OME-Zarr {storage.version} is Zarr v2, which has no shards: write version 0.5, or "
            "pass shards=None"
        )


def _codecs(storage: Storage, img: xr.DataArray, model: ExistingPyramid | None) -> Codecs:
    if model is not None and isinstance(storage.compressor, str) and storage.compressor == "auto":
        return codecs_like(model.arrays[0], zarr_format=storage.zarr_format)
    return codecs(storage.compressor, zarr_format=storage.zarr_format, dtype=_dtype(img))


def _verbatim(img: xr.DataArray, grid: LevelGrid, encoding: Codecs, storage: Storage) -> StoredPart | None:
    """The stored chunks of the image, where they are just what would be written."""
    part = stored_part(img.variable)
    if part is None:
        return None
    spec = ArraySpec("0", grid.shape, grid.chunks, _dtype(img), tuple(map(str, img.dims)), grid.shards, encoding)
    documents = array_documents(spec, zarr_format=storage.zarr_format)
    return part if same_encoding(part.array, documented_array(documents)) else None


# -- places -----------------------------------------------------------------------------------------------------------


def _destination(
    store: Any,
    specs: Sequence[ArraySpec],
    attributes: Callable[[Sequence[str]], Mapping[str, Any]],
    filling: Filling,
    storage: Storage,
) -> tuple[Destination, Journal | None]:
    """Where to write to, checked, and what keeps its blocks that are whole."""
    paths = [spec.path for spec in specs]
    file = archive_path(
        store,
        version=storage.version,
        compute=storage.compute,
        resume=storage.resume,
        storage_options=storage.storage_options,
    )
    if file is not None:
        return archive_destination(file, specs, attributes(paths), overwrite=storage.overwrite), None
    opened = open_target(
        store, overwrite=storage.overwrite, storage_options=storage.storage_options, resume=storage.resume
    )
    zarr_format = storage.zarr_format
    target = begin(opened, described(specs, attributes(paths), zarr_format=zarr_format, method=filling.method))
    said = attributes([target.array_path(path) for path in paths])
    destination = Destination(
        target.root.name,
        functools.partial(create_arrays, target, specs, zarr_format=zarr_format),
        functools.partial(_finish, target, said, zarr_format, storage.then),
        functools.partial(discard, target, specs),
        functools.partial(is_finished, target),
        held=functools.partial(held, target),
    )
    return destination, journal_of(target, [stage.levels for stage in filling.passes])


def _finish(target: Target, attributes: Mapping[str, Any], zarr_format: int, then: Callable[[], None] | None) -> None:
    finish(target, attributes, zarr_format=zarr_format)
    if then is not None:
        then()
