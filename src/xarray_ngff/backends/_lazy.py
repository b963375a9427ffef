"""Arrays that are read from a file when they are indexed, and the dataset that an engine hands to xarray."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = ["FileKey", "LazyArray", "image_dataset", "take_orthogonal", "tree_of", "without_variables"]

# For each axis of the file: an index, a slice with a positive step, or a sorted vector of indices (orthogonal).
FileKey = tuple["int | slice | npt.NDArray[np.integer[Any]]", ...]


class LazyArray(BackendArray):
    """Array of a file, seen in the order of dims of the data model and in native byte order.

    The transposition happens here because xarray's own lazy transpose turns every later selection into a pointwise
    one, which no file can serve well. Subclasses implement `read`, and drop locks and open files in `__getstate__`.

    Parameters
    ----------
    file_shape
        Lengths of the axes in the order of the file.
    dtype
        Type of the values that `read` gives, in any byte order.
    order
        For each dim, the axis of the file that it is. Axes of the file that are left out have length 1.
    """

    #: How `read` can be indexed.
    support: ClassVar[indexing.IndexingSupport] = indexing.IndexingSupport.OUTER

    def __init__(self, file_shape: Sequence[int], dtype: npt.DTypeLike, order: Sequence[int]) -> None:
        self.file_shape = tuple(file_shape)
        self.order = tuple(order)
        self.shape = tuple(self.file_shape[axis] for axis in self.order)
        self.dtype = np.dtype(dtype).newbyteorder("=")

    @abstractmethod
    def read(self, key: FileKey) -> npt.ArrayLike:
        """Selected part of the array, in the axis order of the file; an axis with an integer key is gone."""

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        # xarray cannot turn an empty slice with a negative step into a positive one
        parts = [
            slice(0, 0) if isinstance(part, slice) and not range(size)[part] else part
            for part, size in zip(key.tuple, self.shape, strict=True)
        ]
        return indexing.explicit_indexing_adapter(
            type(key)(tuple(parts)), self.shape, self.support, self._read_in_dims_order
        )

    async def async_getitem(self, key: indexing.ExplicitIndexer) -> Any:
        return await asyncio.to_thread(self.__getitem__, key)

    def _read_in_dims_order(self, key: FileKey) -> npt.NDArray[Any]:
        file_key: list[Any] = [0] * len(self.file_shape)
        for position, axis in enumerate(self.order):
            file_key[axis] = key[position]
        kept = [axis for axis, part in enumerate(file_key) if not isinstance(part, (int, np.integer))]
        block = np.asarray(self.read(tuple(file_key)))
        return block.transpose([kept.index(axis) for axis in self.order if axis in kept]).astype(self.dtype, copy=False)


def take_orthogonal(array: npt.NDArray[Any], key: FileKey) -> npt.NDArray[Any]:
    """Part of an array where every vector in the key selects along its own axis alone.

    Examples
    --------
    >>> take_orthogonal(np.arange(12).reshape(3, 4), (np.array([0, 2]), slice(0, 4, 3)))
    array([[ 0,  3],
           [ 8, 11]])
    """
    # integers stay as axes of length 1 until the end, so that axis numbers hold
    slices = [
        part if isinstance(part, slice) else slice(None) if isinstance(part, np.ndarray) else slice(part, part + 1)
        for part in key
    ]
    part = array[tuple(slices)]
    for axis, selected in enumerate(key):
        if isinstance(selected, np.ndarray):
            part = part.take(selected, axis=axis)
    return part[tuple(slice(None) if isinstance(selected, (slice, np.ndarray)) else 0 for selected in key)]


def image_dataset(
    name: str,
    dims: Sequence[str],
    array: Any,
    coords: Mapping[str, xr.Variable] | xr.Coordinates,
    *,
    attrs: Mapping[str, Any] | None = None,
    encoding: Mapping[str, Any] | None = None,
    source: str | None = None,
    close: Callable[[], None] | None = None,
) -> xr.Dataset:
    """Dataset of one image that is read lazily.

    Parameters
    ----------
    name
        Name of the variable: ``"image"`` or ``"labels"``.
    dims
        Dims of `array`, in its order.
    array
        A `LazyArray`, or anything that xarray can index.
    coords
        Coordinates by name; 1-D ones along a dim of the same name get an index. `xarray.Coordinates` bring their own.
    attrs, encoding
        Of the variable. ``encoding["preferred_chunks"]`` is what ``chunks={}`` uses.
    source
        File or URL, kept in the encoding of variable and dataset.
    close
        Called when the dataset is closed.
    """
    stored = dict(encoding or {})
    if source is not None:
        stored.setdefault("source", source)
    variable = xr.Variable(tuple(dims), indexing.LazilyIndexedArray(array), dict(attrs or {}), stored)
    dataset = xr.Dataset({name: variable}, coords=coords)
    if source is not None:
        dataset.encoding["source"] = source
    dataset.set_close(_nothing if close is None else close)
    return dataset


def without_variables(dataset: xr.Dataset, names: str | Iterable[str] | None) -> xr.Dataset:
    """Dataset without these variables, as far as it has them, that closes what the given one does."""
    if names is None:
        return dataset
    kept = dataset.drop_vars([names] if isinstance(names, str) else list(names), errors="ignore")
    kept.set_close(dataset.close)
    return kept


def tree_of(datasets: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """Tree of datasets by path, which closes what they close."""
    tree = xr.DataTree.from_dict(dict(datasets))
    for path, dataset in datasets.items():
        tree[path].set_close(dataset.close)  # which from_dict leaves behind
    return tree


def _nothing() -> None:
    """Close nothing: `xarray.open_mfdataset` wants a function to call."""
