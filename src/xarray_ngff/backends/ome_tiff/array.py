"""Pixels of a TIFF series as a lazy array."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends._lazy import FileKey, LazyArray, take_orthogonal
from xarray_ngff.backends.ome_tiff.file_bytes import FileBytes
from xarray_ngff.backends.ome_tiff.plain import read_plain
from xarray_ngff.backends.ome_tiff.segments import check_extents, read_segments, segments_met
from xarray_ngff.backends.ome_tiff.selection import Indices, parts_of_selection, plane_numbers
from xarray_ngff.backends.ome_tiff.storage import Storage

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

__all__ = ["TiffArray"]


class TiffArray(LazyArray):
    """Pixels of one level of a series, read from its files when they are indexed.

    Plain numbers are read by ranges of bytes or mapped into memory; of compressed or tiled planes only those tiles and
    strips are decoded that a selection meets, several at a time. Files are open during a read alone, so copies pickle
    and threads share one freely.

    Parameters
    ----------
    storage
        Where the pixels lie.
    sources
        For each dim the letters of the axes of the series that it is made of: one, or two for channels of samples.
    reopen
        A picklable function that finds the series in its file again: it knows how to decode.
    series
        That series, or None to have `reopen` find it when it is needed.
    dtype
        Type of the pixels, where tifffile turns the stored numbers into others, one by one.
    """

    def __init__(
        self,
        storage: Storage,
        sources: Sequence[Sequence[int]],
        *,
        reopen: Callable[[], TiffPageSeries],
        series: TiffPageSeries | None = None,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self.storage = storage
        self.sources = tuple(tuple(places) for places in sources)
        shape = [math.prod(storage.shape[place] for place in places) for places in self.sources]
        super().__init__(shape, storage.dtype if dtype is None else dtype, range(len(shape)))
        self._transformed = dtype is not None
        self._reopen = reopen
        self._lock = threading.Lock()
        self._series = series if storage.grid is not None or self._transformed else None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_series")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock, self._series = threading.Lock(), None

    def close(self) -> None:
        """Forget what decodes; a later read finds it again. No file is open between reads."""
        self._series = None

    def read(self, key: FileKey) -> npt.NDArray[Any]:
        """Selected pixels, in the order of the dims."""
        wanted = [_indices(part, length) for part, length in zip(key, self.shape, strict=True)]
        found = self._selected(wanted)
        if self._transformed and (transform := self._decoder().transform) is not None:
            found = transform(found)
        return take_orthogonal(
            found, tuple(slice(None) if isinstance(part, (slice, np.ndarray)) else 0 for part in key)
        )

    def _selected(self, wanted: Sequence[Indices]) -> npt.NDArray[Any]:
        storage, shape = self.storage, [len(indices) for indices in wanted]
        native = storage.dtype.newbyteorder("=")
        if 0 in shape:
            return np.empty(shape, native)
        with FileBytes(storage.files) as files:
            for _, indices in self._parts(np.broadcast_to(native.type(), shape), wanted):
                met = np.zeros(1, np.intp) if storage.grid is None else segments_met(storage, indices)
                check_extents(files, storage, plane_numbers(storage, indices), met)
            if storage.grid is None:
                found = np.empty(shape, storage.dtype)
                for part, indices in self._parts(found, wanted):
                    read_plain(files, storage, part, indices)
                return found if storage.dtype.isnative else found.byteswap(inplace=True).view(native)
            found = np.empty(shape, native)
            page = self._decoder().keyframe
            for part, indices in self._parts(found, wanted):
                read_segments(files, storage, part, indices, page)
            return found

    def _parts(self, found: npt.NDArray[Any], wanted: Sequence[Indices]) -> Any:
        return parts_of_selection(found, wanted, self.sources, self.storage.shape)

    def _decoder(self) -> TiffPageSeries:
        with self._lock:
            if self._series is None:
                self._series = self._reopen()
            return self._series


def _indices(part: int | slice | npt.NDArray[Any], length: int) -> Indices:
    if isinstance(part, slice):
        return np.arange(length)[part]
    return np.atleast_1d(np.asarray(part, dtype=np.intp))
