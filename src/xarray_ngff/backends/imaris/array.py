"""Voxels of one level of an Imaris file as a lazy array."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends._lazy import FileKey, LazyArray, take_orthogonal
from xarray_ngff.backends.imaris.chunks import Codec, Selected, Share, chunk_codec, corrupt, run, shares, stored_chunk
from xarray_ngff.backends.imaris.files import Manager, clear_errors, opened
from xarray_ngff.backends.imaris.levels import Level, channel_dataset, channel_name, level_group
from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    import h5py

__all__ = ["ImarisArray", "preferred_chunks"]

# Stored bytes that are taken from HDF5 at a time, so that other threads get their turn.
_BATCH = 1 << 23
# Decoded bytes that make a task.
_TASK = 1 << 20
# Bytes of the chunks that chunks={} gives; a selection that decodes no more is left to the thread that asks for it.
_CHUNK = 1 << 23


class _Need(NamedTuple):
    """Share of a chunk that goes into the place of one time point and channel."""

    found: npt.NDArray[Any]
    time: int
    channel: int
    share: Share


class _Stored(NamedTuple):
    """A needed chunk as it is stored, and how: see `Codec.decoded`."""

    need: _Need
    codec: Codec
    raw: bytes
    skipped: int
    place: str


class ImarisArray(LazyArray):
    """Voxels of all time points and channels of one level, along t, c, z, y, x and without padding.

    A selection reads the chunks that it meets, of the time points and channels that it meets. The file is opened by
    the first read; pickled copies open it for themselves; threads take turns where HDF5 is needed, but not to decode
    gzip.

    Parameters
    ----------
    path
        The file.
    level
        What is read of it.
    manager
        What opens it.
    """

    def __init__(self, path: str, level: Level, manager: Manager) -> None:
        super().__init__(level.shape, level.dtype, range(5))
        self.path = path
        self.level = level
        self.manager = manager

    def read(self, key: FileKey) -> npt.NDArray[Any]:
        """Selected voxels."""
        times, channels, *box = (_selected(part, length) for part, length in zip(key, self.file_shape, strict=True))
        found = np.empty([len(part) for part in (times, channels, *box)], self.dtype)
        if found.size:
            met = list(shares(box, self.level.chunks))
            needs = [
                _Need(found[i, j], int(time), int(channel), share)
                for i, time in enumerate(times)
                for j, channel in enumerate(channels)
                for share in met
            ]
            threads = _threads() if len(needs) * self._chunk_bytes > _CHUNK else 1
            run(self._tasks(needs, met), threads)
        return found[tuple(slice(None) if isinstance(part, (slice, np.ndarray)) else 0 for part in key)]

    @property
    def _chunk_bytes(self) -> int:
        return math.prod(self.level.chunks) * self.dtype.itemsize

    def _tasks(self, needs: Sequence[_Need], met: Sequence[Share]) -> Iterator[Callable[[], None]]:
        """Tasks that decode chunks, which are taken from HDF5 as tasks are asked for."""
        count, each = (max(1, limit // self._chunk_bytes) for limit in (_BATCH, _TASK))
        for start in range(0, len(needs), count):
            taken = self._take(needs[start : start + count], met)
            for first in range(0, len(taken), each):
                yield partial(_decode, taken[first : first + each])

    def _take(self, needs: Sequence[_Need], met: Sequence[Share]) -> list[_Stored]:
        """Chunks as they are stored; what HDF5 must decode, and chunks that were never written, are filled in."""
        taken = []
        with opened(self.manager, self.path) as file:
            group = level_group(file, self.path, self.level.index)
            for (time, channel), wanted in itertools.groupby(needs, lambda need: (need.time, need.channel)):
                place = f"{self.path}: {channel_name(self.level.index, time, channel)}/Data"
                with clear_errors(place):
                    dataset = channel_dataset(group, self.path, self.level, time, channel)
                    codec = chunk_codec(dataset)
                    for need in wanted:
                        if codec is None or _grid(codec.shape) != self.level.chunks:
                            if need.share is met[0]:  # all at once, which is faster
                                _fill(need.found, dataset, met)
                        elif (stored := stored_chunk(dataset, need.share.origin, codec, place)) is None:
                            need.found[need.share.target] = dataset.fillvalue
                        else:
                            taken.append(_Stored(need, codec, *stored, place))
        return taken


def _decode(chunks: Sequence[_Stored]) -> None:
    """Decode chunks, and put what is needed of them where it belongs."""
    for need, codec, raw, skipped, place in chunks:
        try:
            chunk = codec.decoded(raw, skipped)
        except FormatError as error:
            raise corrupt(place, need.share.origin, error) from error
        need.found[need.share.target] = take_orthogonal(chunk.reshape(_grid(chunk.shape)), need.share.within)


def _fill(found: npt.NDArray[Any], dataset: h5py.Dataset, met: Sequence[Share]) -> None:
    """Have HDF5 fill in the selection along z, y, x that shares make up."""
    if all(isinstance(part, slice) and part.step == 1 for part in met[0].within):
        starts, ends = _ends(met[0])[0], _ends(met[-1])[1]
        box = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
        dataset.read_direct(found.reshape(found.shape[-dataset.ndim :]), box[-dataset.ndim :])
        return
    # a box of each chunk, of which the rest is left out: HDF5 is slow where it must pick
    for share in met:
        starts, ends = _ends(share)
        box = tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))
        block = dataset[box[-dataset.ndim :]]
        within = tuple(
            slice(None, None, part.step) if isinstance(part, slice) else part + origin - start
            for part, origin, start in zip(share.within, share.origin, starts, strict=True)
        )
        found[share.target] = take_orthogonal(block.reshape(_grid(block.shape)), within)


def _ends(share: Share) -> tuple[list[int], list[int]]:
    """First index of what a share takes along each axis, and the one after its last."""
    spans = [
        (part.start, part.stop) if isinstance(part, slice) else (int(part[0]), int(part[-1]) + 1)
        for part in share.within
    ]
    starts = [origin + start for origin, (start, _) in zip(share.origin, spans, strict=True)]
    return starts, [origin + stop for origin, (_, stop) in zip(share.origin, spans, strict=True)]


def _grid(shape: Sequence[int]) -> tuple[int, ...]:
    """Lengths along z, y, x, of what has two axes too."""
    return (*(1,) * (3 - len(shape)), *shape)


def _selected(part: int | slice | npt.NDArray[Any], length: int) -> Selected:
    if isinstance(part, np.ndarray):
        return part
    return range(length)[part if isinstance(part, slice) else slice(part, part + 1)]


def _threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def preferred_chunks(level: Level) -> dict[str, int]:
    """Chunks by dim that are whole chunks of the file, of one time point and channel, and up to 8 MiB.

    Examples
    --------
    >>> preferred_chunks(Level(0, (9, 3, 64, 2048, 2048), np.dtype("u2"), (16, 256, 256)))
    {'t': 1, 'c': 1, 'z': 16, 'y': 512, 'x': 512}
    """
    sizes = level.shape[2:]
    chunks = [min(chunk, size) for chunk, size in zip(level.chunks, sizes, strict=True)]
    grown = True
    while grown:
        grown = False
        for axis in reversed(range(3)):
            longer = [
                min(2 * chunk, size) if a == axis else chunk
                for a, (chunk, size) in enumerate(zip(chunks, sizes, strict=True))
            ]
            if longer != chunks and math.prod(longer) * level.dtype.itemsize <= _CHUNK:
                chunks, grown = longer, True
    return {"t": 1, "c": 1, **dict(zip("zyx", chunks, strict=True))}
