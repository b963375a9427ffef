"""Voxels of an image into a file, block by block."""

from __future__ import annotations

import errno
import gzip
import itertools
import math
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff.backends._blocks import blocks

__all__ = ["compress_file", "write_voxels"]

# Bytes of the file that a memory map covers at a time.
_MAP = 1 << 25
# A block whose contiguous runs are shorter than this is written through a memory map.
_SHORT_RUN = 1 << 12
_COPY = 1 << 22


def write_voxels(
    path: Path,
    offset: int,
    img: xr.DataArray,
    dims: Sequence[Hashable],
    dtype: np.dtype[Any],
    convert: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
) -> None:
    """Write all voxels of an image into a file at their places, one block in memory at a time.

    Parameters
    ----------
    path
        An existing file.
    offset
        Where the first voxel goes, in bytes.
    dims
        Dims of the image in the order of the file, the fastest first.
    dtype
        Type in the file.
    convert
        Turns a block into that type.
    """
    shape = tuple(img.sizes[dim] for dim in dims)
    with path.open("r+b") as stream:
        _reserve(stream.fileno(), offset + math.prod(shape) * dtype.itemsize)
        for block in blocks(img, dims, max(dtype.itemsize, img.dtype.itemsize)):
            # loaded before it is transposed: xarray's lazy transpose turns slices into an index for each voxel
            values = img.isel(block).to_numpy().transpose([img.dims.index(dim) for dim in dims])
            stored = np.asfortranarray(convert(values), dtype=dtype)
            _write_block(stream.fileno(), path, offset, shape, [block[dim] for dim in dims], stored)


def _reserve(descriptor: int, size: int) -> None:
    """Claim the space of the whole file, so that a full disk is an error before any work."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
                raise
    os.ftruncate(descriptor, size)


def _write_block(
    descriptor: int,
    path: Path,
    offset: int,
    shape: Sequence[int],
    place: Sequence[slice],
    stored: npt.NDArray[Any],
) -> None:
    # a run is as long as all dims up to the first that the block does not have whole
    run, axes = stored.itemsize, 0
    for axis, (length, size) in enumerate(zip(stored.shape, shape, strict=True)):
        run, axes = run * length, axis + 1
        if length < size:
            break
    if run < _SHORT_RUN and run < stored.nbytes:
        _write_through_map(path, offset, shape, place, stored)
        return
    strides = [stored.itemsize * math.prod(shape[:axis]) for axis in range(len(shape))]
    first = offset + sum(part.start * stride for part, stride in zip(place, strides, strict=True))
    flat = memoryview(stored.reshape(-1, order="F").view(np.uint8).data)
    rest = itertools.product(*(range(length) for length in reversed(stored.shape[axes:])))
    for count, combination in enumerate(rest):
        position = first + sum(i * stride for i, stride in zip(reversed(combination), strides[axes:], strict=True))
        _write_all(descriptor, flat[count * run : (count + 1) * run], position)


def _write_through_map(
    path: Path, offset: int, shape: Sequence[int], place: Sequence[slice], stored: npt.NDArray[Any]
) -> None:
    """Assign a block to a map of the file, which covers about one block's bytes at a time."""
    stride = stored.itemsize * math.prod(shape[:-1])
    step = max(1, _MAP // stride)
    for start in range(0, stored.shape[-1], step):
        part = stored[..., start : start + step]
        first = offset + (place[-1].start + start) * stride
        target = np.memmap(path, stored.dtype, "r+", first, (*shape[:-1], part.shape[-1]), order="F")
        target[tuple(place[:-1])] = part


def _write_all(descriptor: int, data: memoryview, position: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written


def compress_file(source: Path, target: Path, *, level: int = 1) -> None:
    """Gzip a file into another; the same bytes give the same file, as neither name nor time is stored."""
    with (
        source.open("rb") as plain,
        target.open("wb") as out,
        gzip.GzipFile(filename="", mode="wb", compresslevel=level, fileobj=out, mtime=0) as zipped,
    ):
        while part := plain.read(_COPY):
            zipped.write(part)
