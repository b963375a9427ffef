"""Images made smaller by whole blocks of voxels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff.errors import GeometryError
from xarray_ngff.geometry import block_coordinates, measured_dims, spatial_dims
from xarray_ngff.pyramid.kernels import METHODS, block_reduce

if TYPE_CHECKING:
    import dask.array

__all__ = ["as_dask", "checked_method", "downsample"]


def checked_method(img: xr.DataArray, method: str | None) -> str:
    """The method asked for, or the one that suits the image: mode for labels and masks, mean for everything else."""
    if method is None:
        return "mode" if img.name == "labels" or img.dtype == np.bool_ else "mean"
    if method not in METHODS:
        raise GeometryError(f"method={method!r}: expected one of {', '.join(METHODS)}")
    return method


def downsample(img: xr.DataArray, factors: int | Mapping[str, int], *, method: str | None = None) -> xr.DataArray:
    """Image with each block of voxels reduced to one, at the exact centre of the block.

    Sizes that do not divide are handled to the last voxel: the last block of an axis holds what is left. A factor
    longer than its axis is the axis, so that an axis of length 1 stays where it is.

    Parameters
    ----------
    img
        Image with regular coordinates along the dims that change.
    factors
        Whole number for all spatial dims, or one by dim (t is allowed; dims left out stay).
    method
        mean (integers are rounded half to even), nearest, mode, min, max or median. Default: mode for an image named
        "labels" and for bool, else mean.

    Returns
    -------
    xarray.DataArray
        Lazy where the image is lazy (dask, or a file opened and not loaded); dtype unchanged.

    Raises
    ------
    GeometryError
        For an unknown dim or method, or a factor that is not a whole number of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.array([[0, 2, 4, 6, 9]], "uint8"), spacing=(1, 0.5))
    >>> small = downsample(img, {"x": 2})
    >>> small.values, small.x.values
    (array([[1, 5, 9]], dtype=uint8), array([0.25, 1.25, 2.25]))
    """
    chosen = checked_method(img, method)
    steps = _checked_factors(img, factors)
    if not steps:
        return img
    coords = block_coordinates(img, steps)
    per_axis = tuple(steps.get(str(dim), 1) for dim in img.dims)
    data = _reduced(img, per_axis, chosen)
    kept = {
        name: coord for name, coord in img.coords.items() if name not in coords and not set(coord.dims) & set(steps)
    }
    result = xr.DataArray(data, dims=img.dims, coords=kept, name=img.name, attrs=img.attrs)
    return result.assign_coords(coords)


def _checked_factors(img: xr.DataArray, factors: int | Mapping[str, int]) -> dict[str, int]:
    by_dim = factors if isinstance(factors, Mapping) else dict.fromkeys(spatial_dims(img), factors)
    allowed = measured_dims(img)
    steps = {}
    for dim, factor in by_dim.items():
        if dim not in allowed:
            raise GeometryError(f"downsample names {dim!r}, but the dims with a spacing are {', '.join(allowed)}")
        if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or factor < 1:
            raise GeometryError(f"factor of {dim!r} is {factor!r}, expected a whole number of at least 1")
        length = min(int(factor), img.sizes[dim])
        if length > 1:
            steps[dim] = length
    return steps


def as_dask(img: xr.DataArray, *, chunks: Mapping[str, int] | None = None) -> dask.array.Array:
    """Data of an image as a dask array, without reading or copying it.

    Parameters
    ----------
    img
        Image; one that is chunked already keeps its chunks.
    chunks
        Chunk length by dim for one that is not. Default: what its file prefers, else dask's own choice.
    """
    if img.chunks is None:
        import secrets

        wanted: Any = chunks or img.encoding.get("preferred_chunks", "auto")
        # a token of our own spares dask the hashing of an array in memory
        img = img.chunk(wanted, token=secrets.token_hex(8))
    data: dask.array.Array = img.data
    return data


def _reduced(img: xr.DataArray, factors: tuple[int, ...], method: str) -> Any:
    if img.chunks is None and img.variable._in_memory:
        return block_reduce(img.data, factors, method)
    import dask.array

    lazy = as_dask(img)
    lazy = lazy.rechunk(
        tuple(aligned_chunks(sizes, factor) for sizes, factor in zip(lazy.chunks, factors, strict=True))
    )
    chunks = tuple(tuple(-(-size // f) for size in sizes) for sizes, f in zip(lazy.chunks, factors, strict=True))
    reduced: dask.array.Array = dask.array.map_blocks(
        block_reduce,
        lazy,
        factors=factors,
        method=method,
        dtype=lazy.dtype,
        chunks=chunks,
        meta=np.empty((0,) * lazy.ndim, dtype=lazy.dtype),
    )
    return reduced


def aligned_chunks(sizes: tuple[int, ...], factor: int) -> tuple[int, ...]:
    """Chunk sizes whose boundaries are multiples of `factor`, each boundary moved as little as that takes.

    Examples
    --------
    >>> aligned_chunks((5, 5, 3), 2), aligned_chunks((4, 4), 2), aligned_chunks((1, 1, 1), 2)
    ((4, 6, 3), (4, 4), (2, 1))
    """
    total = sum(sizes)
    ends = np.minimum(np.cumsum(sizes, dtype=np.int64) // factor * factor, total)
    edges = np.unique(np.concatenate([[0], ends[:-1], [total]]))
    return tuple(int(size) for size in np.diff(edges))
