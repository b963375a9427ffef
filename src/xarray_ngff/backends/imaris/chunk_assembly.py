"""Chunks put together from the blocks that an image is computed in, whatever their shape, in bounded memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.imaris.resolution_levels import ResolutionLevel

__all__ = ["ChunkAssembly", "Place"]

#: Index of time point and channel, and of the chunk along z, y, x.
Place = tuple[int, int, int, int, int]

# Bytes of unfinished chunks that are held in memory; further ones are in the scratch file.
_HELD = 1 << 27


@dataclass
class _Unfinished:
    """A chunk that misses voxels, in memory or in a slot of the scratch file."""

    values: npt.NDArray[Any] | None
    slot: int
    missing: int


class ChunkAssembly:
    """Takes blocks of an image and gives back its chunks, each when its last voxel has come.

    Parameters
    ----------
    level
        Sizes of image and chunks.
    dtype
        Of the voxels.
    scratch
        An empty file, where unfinished chunks go beyond `held` bytes of them: in a source that has all time points in
        one of its chunks, say, as many volumes are unfinished at once.
    """

    def __init__(self, level: ResolutionLevel, dtype: np.dtype[Any], scratch: Path, *, held: int = _HELD) -> None:
        self._level = level
        self._dtype = dtype
        self._scratch = scratch
        self._room = held // (math.prod(level.chunk) * dtype.itemsize)
        self._unfinished: dict[Place, _Unfinished] = {}
        self._free: list[int] = []
        self._slots = 0

    def add(self, block: npt.NDArray[Any], start: Place) -> Iterator[tuple[Place, npt.NDArray[Any]]]:
        """Chunks that a block finishes, padded with zeros; they are not kept.

        Parameters
        ----------
        block
            Voxels along t, c, z, y, x.
        start
            Index of its first voxel.
        """
        ranges = [
            range(first // length, -(-(first + size) // length))
            for first, size, length in zip(start[2:], block.shape[2:], self._level.chunk, strict=True)
        ]
        for place in itertools.product(*(range(n) for n in block.shape[:2]), *ranges):
            time, channel, *index = place
            parts: list[slice] = []
            targets: list[slice] = []
            for first, size, at, length in zip(start[2:], block.shape[2:], index, self._level.chunk, strict=True):
                low, high = max(first, at * length), min(first + size, (at + 1) * length)
                parts.append(slice(low - first, high - first))
                targets.append(slice(low - at * length, high - at * length))
            key = (start[0] + time, start[1] + channel, index[0], index[1], index[2])
            finished = self._put(key, tuple(targets), block[time, channel][tuple(parts)])
            if finished is not None:
                yield key, finished

    def _put(self, key: Place, target: tuple[slice, ...], piece: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Copy a piece into its chunk; the chunk, if that finishes it."""
        inside = self._level.inside(key[2:])
        chunk = self._unfinished.get(key)
        if chunk is None:
            missing = math.prod(part.stop for part in inside)
            if missing == piece.size:
                whole: npt.NDArray[Any] = np.zeros(self._level.chunk, self._dtype)
                whole[target] = piece
                return whole
            chunk = self._unfinished[key] = self._begun(missing)
        values = self._slot(chunk.slot) if chunk.values is None else chunk.values
        values[target] = piece
        chunk.missing -= piece.size
        if chunk.missing:
            return None
        del self._unfinished[key]
        if chunk.values is not None:
            self._room += 1
            return chunk.values
        self._free.append(chunk.slot)
        finished: npt.NDArray[Any] = np.zeros(self._level.chunk, self._dtype)
        finished[inside] = values[inside]  # beyond is what an earlier chunk left there
        return finished

    def _begun(self, missing: int) -> _Unfinished:
        if self._room > 0:
            self._room -= 1
            return _Unfinished(np.zeros(self._level.chunk, self._dtype), -1, missing)
        if not self._free:
            self._free.append(self._slots)
            self._slots += 1
        return _Unfinished(None, self._free.pop(), missing)

    def _slot(self, slot: int) -> npt.NDArray[Any]:
        """A chunk of the scratch file, mapped for as long as it is used."""
        offset = slot * math.prod(self._level.chunk) * self._dtype.itemsize
        return np.memmap(self._scratch, self._dtype, "r+", offset, self._level.chunk)
