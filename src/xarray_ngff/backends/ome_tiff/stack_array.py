"""Arrays of several files as one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from xarray.core import indexing

from xarray_ngff.backends._lazy import FileKey, LazyArray
from xarray_ngff.backends.ome_tiff.selection import as_slice

__all__ = ["Member", "StackArray"]


@dataclass(frozen=True)
class Member:
    """Array of one file, and the dims that it has."""

    dims: tuple[str, ...]
    array: LazyArray


@dataclass(frozen=True)
class _Run:
    """Indices along one axis that lie in one file."""

    file: int
    within: slice | npt.NDArray[np.integer[Any]]
    place: slice


class StackArray(LazyArray):
    """Arrays of files, joined along some of their dims; only files that a selection meets are read.

    Parameters
    ----------
    members
        Arrays of equal type, in C order of the files along the joined dims. A member without one of these has length 1
        along it.
    dims
        Dims of the whole.
    sizes
        Length of each dim that is not joined.
    lengths
        For each dim that is joined, the length along it of each file.
    """

    def __init__(
        self,
        members: Sequence[Member],
        dims: Sequence[str],
        sizes: Mapping[str, int],
        lengths: Mapping[str, Sequence[int]],
    ) -> None:
        shape = [sum(lengths[dim]) if dim in lengths else sizes[dim] for dim in dims]
        super().__init__(shape, members[0].array.dtype, range(len(shape)))
        self.dims = tuple(dims)
        self.members = tuple(members)
        self.counts = tuple(len(along) for along in lengths.values())
        self.starts = {dim: np.cumsum((0, *along)) for dim, along in lengths.items()}

    def read(self, key: FileKey) -> npt.NDArray[Any]:
        """Selected part; an axis with an integer key is gone."""
        runs = {
            dim: list(self._runs(dim, slice(part, part + 1) if isinstance(part, (int, np.integer)) else part))
            for dim, part in zip(self.dims, key, strict=True)
        }
        found = np.empty([max((run.place.stop for run in runs[dim]), default=0) for dim in self.dims], self.dtype)
        for combination in itertools.product(*runs.values()):
            met = dict(zip(self.dims, combination, strict=True))
            number = np.ravel_multi_index([met[dim].file for dim in self.starts], self.counts)
            member = self.members[int(number)]
            selected = member.array[indexing.OuterIndexer(tuple(met[dim].within for dim in member.dims))]
            part = found[tuple(met[dim].place for dim in self.dims)]
            # an index that is asked for twice is there once in a file without that axis
            own = [n if dim in member.dims else 1 for dim, n in zip(self.dims, part.shape, strict=True)]
            part[...] = np.asarray(selected).reshape(own)
        return found[tuple(slice(None) if isinstance(part, (slice, np.ndarray)) else 0 for part in key)]

    def _runs(self, dim: str, part: slice | npt.NDArray[np.integer[Any]]) -> Iterator[_Run]:
        """The files that a selection along one axis meets, one after the other."""
        starts = self.starts.get(dim)
        size = self.shape[self.dims.index(dim)]
        indices = np.arange(size)[part] if isinstance(part, slice) else part.astype(np.intp)
        if starts is None or not len(indices):
            yield from [_Run(0, part, slice(0, len(indices)))] if len(indices) else []
            return
        files = np.searchsorted(starts, indices, side="right") - 1
        ends = [0, *(np.flatnonzero(np.diff(files)) + 1).tolist(), len(files)]
        for start, stop in itertools.pairwise(ends):
            file = int(files[start])
            within = indices[start:stop] - starts[file]
            yield _Run(file, as_slice(within) or within, slice(start, stop))
