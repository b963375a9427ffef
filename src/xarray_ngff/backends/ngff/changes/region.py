"""A part of an OME-Zarr image written anew, at every level of its pyramid.

Only the voxels of the part are written, and of the coarser levels only those that stand for some of them. Chunks and
shards that lie partly outside are read, completed and written again, each by one writer.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff.backends.ngff.changes.stored_region import Where, located
from xarray_ngff.backends.ngff.existing import ExistingPyramid, existing_pyramid
from xarray_ngff.backends.ngff.nodes import Node, open_array
from xarray_ngff.backends.ngff.stores import StoreRoot
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.build import planned_levels
from xarray_ngff.pyramid.execution import write
from xarray_ngff.pyramid.grids import LevelGrid
from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.pyramid.plan import Level
from xarray_ngff.pyramid.stream import Destination, Filling
from xarray_ngff.pyramid.writing_plan import plan_writing
from xarray_ngff.spatial.downsample import checked_method

if TYPE_CHECKING:
    import zarr
    from dask.delayed import Delayed
    from zarr.abc.store import Store

__all__ = ["write_region"]

Region = tuple[slice, ...]


def write_region(
    img: xr.DataArray,
    store: Any,
    *,
    region: Where,
    group: str | None = None,
    method: str | None = None,
    compute: bool = True,
    progress: bool = False,
    memory_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write an image into its place in an OME-Zarr image that is there, and rebuild that part of every level.

    The result is what a pyramid of the changed image would be: each voxel of a coarser level that stands for a voxel
    of the part is made again from the level below. All others, and all metadata, stay as they are.

    It is no single step: a reader may meet some chunks of before and some of after, and a write that fails or is killed
    leaves the part in between; writing it again sets it right. Several processes may write at the same time if their
    parts share no chunk, or shard, at any level.

    Parameters
    ----------
    img
        The part, with the dtype of the stored image. Axes that were selected away count as length 1. It must not be
        read lazily from the very voxels that are written: load it first.
    store
        Folder, URL, zarr store, store path or group of an OME-Zarr 0.4 or 0.5 that can be written to. Of several images
        in a group the first is meant.
    region
        ``"auto"``: by coordinates. Positions along t, z, y, x and other axes must be those of stored voxels, to a
        hundredth of a voxel, in any unit and either direction; channels go by name. An axis without a coordinate must
        be there in full length. Or by dim a slice of voxels, for which coordinates do not count, or ``"auto"``; dims
        that are left out mean the whole axis.
    group
        Path of the image below the store, such as ``"labels/nuclei"``.
    method
        Block statistic of the levels. Default, and the only one allowed, is the one that the file names; it is needed
        where the file names none.
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
    GeometryError
        Where the image is outside the stored one, off its grid, or of another dtype, unit or direction; where a channel
        is unknown, or the levels that are there are not whole blocks of level 0. All of it before anything is written.
    FormatError
        Where the store is no such image, or cannot be written to.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xarray_ngff, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> img = xarray_ngff.as_image(np.zeros((6, 8), "uint8"), spacing=(0.5, 0.5), units="um")
    >>> img.ngff.to_ome_zarr(store, levels=2)
    >>> part = xr.full_like(img.sel(y=slice(1, 2), x=slice(0, 1)), 8)
    >>> write_region(part, store, region="auto")
    >>> xr.open_dataarray(store, engine="ngff", level=1).values
    array([[0, 0, 0, 0],
           [8, 4, 0, 0],
           [4, 2, 0, 0]], dtype=uint8)
    """
    pyramid = existing_pyramid(store, group=group, writable=True, storage_options=storage_options)
    _check_dtypes(img, pyramid)
    plan = _plan(pyramid)
    chosen = _method(pyramid, method)
    if len(plan) > 1:
        block_reduce(np.zeros(2, dtype=img.dtype), (2,), chosen)  # raises now if the method is not for this dtype
    variable, part = located(img, pyramid, region)
    grids = [
        LevelGrid(shape, tuple(map(min, node.chunks or (), shape)), node.shards)
        for node, shape in zip(pyramid.nodes, pyramid.shapes, strict=True)
    ]
    # by way of a dataset, which loads nothing
    placed = xr.Dataset({"image": variable})["image"]
    work = plan_writing(placed, plan, grids, memory_limit=memory_limit)
    filling = Filling(
        work.passes,
        pyramid.shapes,
        img.dtype.itemsize,
        chosen,
        work.threads,
        given={0: variable},
        limits=_limits(pyramid, part),
        block_bytes=work.block_bytes,
    )
    destination = Destination(
        pyramid.root.name,
        functools.partial(_arrays, pyramid.root, pyramid.nodes),
        _nothing,
        _nothing,
        _yes,
        is_shared=not _in_this_process(pyramid.root.store),
    )
    return write(filling, destination, compute=compute, progress=progress)


def _check_dtypes(img: xr.DataArray, pyramid: ExistingPyramid) -> None:
    stored = pyramid.image.dtype.newbyteorder("=")
    if img.dtype.newbyteorder("=") != stored:
        raise GeometryError(
            f'the image has dtype {img.dtype}, but {pyramid.root.name} has {stored}: convert it with astype("{stored}")'
        )
    for node in pyramid.nodes:
        if node.dtype is None or node.dtype.newbyteorder("=") != stored:
            raise GeometryError(
                f"{pyramid.root.name}: level {node.path!r} has dtype {node.dtype}, level 0 has {stored}: build the "
                "levels anew with xarray_ngff.build_pyramid(..., overwrite=True)"
            )


def _plan(pyramid: ExistingPyramid) -> tuple[Level, ...]:
    """The levels as they are, each with the one that it is made from."""
    factors = list(pyramid.factors[1:])
    return planned_levels(pyramid.image.transpose(*pyramid.dims), factors=factors)


def _method(pyramid: ExistingPyramid, method: str | None) -> str:
    """How the levels were made, as far as that is known; no other method would give one pyramid."""
    asked = checked_method(pyramid.image, method)
    place = pyramid.root.name
    if len(pyramid.levels) == 1:
        return asked
    if pyramid.method is None and method is None:
        raise GeometryError(
            f"{place} does not say how its levels were made: pass method=, or build them anew with "
            "xarray_ngff.build_pyramid(..., overwrite=True), after which it does"
        )
    if method is not None and pyramid.method not in (None, method):
        raise GeometryError(
            f"method={method!r}, but the levels of {place} were made by {pyramid.method!r}: leave it out, or build all "
            "of them anew with xarray_ngff.build_pyramid(..., method=..., overwrite=True)"
        )
    return pyramid.method or asked


def _limits(pyramid: ExistingPyramid, part: Region) -> tuple[Region, ...]:
    """The part of each level that stands for a part of level 0."""
    return tuple(
        tuple(
            slice(along.start // factors.get(dim, 1), -(-along.stop // factors.get(dim, 1)))
            for dim, along in zip(pyramid.dims, part, strict=True)
        )
        for factors in pyramid.factors
    )


def _arrays(root: StoreRoot, nodes: Sequence[Node]) -> list[zarr.Array[Any]]:
    return [open_array(root, node, writable=True) for node in nodes]


def _nothing() -> None:
    """Finish, and discard: each chunk is in its place as soon as it is written."""


def _yes() -> bool:
    return True


def _in_this_process(store: Store) -> bool:
    """Whether what another process writes to its copy of a store is not in this one."""
    from zarr.storage import FsspecStore, MemoryStore, WrapperStore

    while isinstance(store, WrapperStore):
        store = store._store
    if isinstance(store, FsspecStore):
        inner = getattr(store.fs, "sync_fs", store.fs)
        return bool(inner.protocol == "memory" or "memory" in inner.protocol)
    return isinstance(store, MemoryStore)
