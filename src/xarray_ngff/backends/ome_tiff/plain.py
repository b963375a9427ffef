"""Planes that lie in a file as plain numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends._lazy import take_orthogonal
from xarray_ngff.backends.ome_tiff.file_bytes import FileBytes
from xarray_ngff.backends.ome_tiff.selection import Indices, as_slice, planes_of
from xarray_ngff.backends.ome_tiff.storage import Storage

__all__ = ["read_plain"]

# Ranges shorter than this are left to the pages of memory that the system maps.
_WORTH_A_READ = 1 << 15


def read_plain(files: FileBytes, storage: Storage, target: npt.NDArray[Any], indices: Sequence[Indices]) -> None:
    """Fill an array of the stored type with the selected numbers.

    Parameters
    ----------
    files
        Files of the storage.
    storage
        Where planes lie, each in one piece.
    target
        Array, in the axes of the series.
    indices
        Ascending indices along each axis of the series.
    """
    inner = indices[storage.outer :]
    for plane, view in planes_of(target, storage, indices):
        file = int(storage.file_of[plane])
        if file < 0:
            view[...] = storage.fill
        else:
            _read_piece(files, file, int(storage.offsets[plane, 0]), storage.plane_shape, inner, view)


def _read_piece(
    files: FileBytes, file: int, offset: int, shape: tuple[int, ...], indices: Sequence[Indices], view: npt.NDArray[Any]
) -> None:
    # the fastest axes that are wanted whole, and a range of the next one, follow each other in the file
    split, unit = len(shape), view.itemsize
    while split and np.array_equal(indices[split - 1], np.arange(shape[split - 1])):  # not one index several times
        split -= 1
        unit *= shape[split]
    ranged = as_slice(indices[split - 1]) if split else None
    if ranged is not None and ranged.step == 1:
        split -= 1
        start, run, unit = ranged.start * unit, (ranged.stop - ranged.start) * unit, unit * shape[split]
    else:
        start, run = 0, unit
    if split and run < _WORTH_A_READ:
        mapped: npt.NDArray[Any] = np.memmap(files.files[file], view.dtype, "r", offset, shape)
        key = tuple(as_slice(along) or along for along in indices)
        view[...] = take_orthogonal(mapped, key)
        return
    strides = [unit * math.prod(shape[axis + 1 : split]) for axis in range(split)]
    for place in itertools.product(*(range(len(indices[axis])) for axis in range(split))):
        position = sum(int(indices[axis][i]) * strides[axis] for axis, i in enumerate(place))
        piece = view[place]
        if piece.flags.c_contiguous:
            files.fill(file, offset + position + start, piece)
        else:
            loose = np.empty(piece.shape, piece.dtype)
            files.fill(file, offset + position + start, loose)
            piece[...] = loose
