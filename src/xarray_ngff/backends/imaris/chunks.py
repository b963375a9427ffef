"""Selections as shares of chunks, and chunks decoded outside of HDF5.

HDF5 decodes one chunk after another under a lock that all threads of a process share. Chunks in gzip, with or without
shuffle, are taken from it as they are stored instead, and inflated by as many threads as there are.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    import h5py

__all__ = ["Codec", "Selected", "Share", "chunk_codec", "corrupt", "run", "shares", "stored_chunk"]

#: What is selected along an axis: a range with a positive step, or sorted indices.
Selected = range | npt.NDArray[np.integer[Any]]

# numbers of HDF5's filters
_DEFLATE, _SHUFFLE = 1, 2


@dataclass(frozen=True)
class Share:
    """What a selection takes of one chunk.

    Attributes
    ----------
    origin
        Index of the chunk's first voxel along each axis.
    within
        What is taken of the chunk along each axis, from its origin.
    target
        Where that goes in the selection.
    """

    origin: tuple[int, ...]
    within: tuple[slice | npt.NDArray[np.integer[Any]], ...]
    target: tuple[slice, ...]


def shares(selected: Sequence[Selected], chunks: Sequence[int]) -> Iterator[Share]:
    """Shares of the chunks that a selection meets, each chunk once, in the order of the file.

    Examples
    --------
    >>> [share.origin for share in shares([range(0, 9, 4), range(2)], [4, 4])]
    [(0, 0), (4, 0), (8, 0)]
    """
    along = [_shares_along(part, chunk) for part, chunk in zip(selected, chunks, strict=True)]
    for combination in itertools.product(*along):
        origin, within, target = zip(*combination, strict=True)
        yield Share(origin, within, target)


def _shares_along(selected: Selected, chunk: int) -> list[tuple[int, slice | npt.NDArray[np.integer[Any]], slice]]:
    """Origin, part within the chunk, and part of the selection, for every chunk that is met along an axis."""
    found: list[tuple[int, slice | npt.NDArray[np.integer[Any]], slice]] = []
    start = 0
    while start < len(selected):
        origin = int(selected[start]) // chunk * chunk
        if isinstance(selected, range):
            stop = min(len(selected), start - (selected[start] - origin - chunk) // selected.step)
            within = slice(selected[start] - origin, selected[stop - 1] - origin + 1, selected.step)
            found.append((origin, within, slice(start, stop)))
        else:
            stop = int(np.searchsorted(selected, origin + chunk))
            found.append((origin, selected[start:stop] - origin, slice(start, stop)))
        start = stop
    return found


@dataclass(frozen=True)
class Codec:
    """How the chunks of a dataset are stored.

    Attributes
    ----------
    shape
        Lengths of a chunk.
    dtype
        Type of the stored numbers, in their byte order.
    filters
        Numbers of HDF5's filters, in the order in which they were applied.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    filters: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of a decoded chunk."""
        return math.prod(self.shape) * self.dtype.itemsize

    def decoded(self, raw: bytes, skipped: int = 0) -> npt.NDArray[Any]:
        """Numbers of a stored chunk.

        Parameters
        ----------
        raw
            The bytes that are stored.
        skipped
            Mask of the filters that were not applied to this chunk.

        Raises
        ------
        FormatError
            Where they are corrupt.
        """
        content: bytes | npt.NDArray[np.uint8] = raw
        for position, number in reversed(list(enumerate(self.filters))):
            if not skipped >> position & 1:
                content = self._inflated(bytes(content)) if number == _DEFLATE else self._unshuffled(content)
        if len(content) != self.nbytes:
            raise FormatError(f"it has {len(content)} bytes, expected {self.nbytes}")
        return np.frombuffer(content, self.dtype).reshape(self.shape)

    def _inflated(self, raw: bytes) -> bytes:
        stream = zlib.decompressobj()
        try:
            content = stream.decompress(raw, self.nbytes + 1)  # one more, to come to the checksum at the end
        except zlib.error as error:
            raise FormatError(str(error)) from error
        if not stream.eof:
            raise FormatError(f"its stream has no end after {len(content)} bytes, expected {self.nbytes}")
        return content

    def _unshuffled(self, content: bytes | npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Bytes of numbers one after another, from their first bytes, their second bytes, and so on."""
        size = self.dtype.itemsize
        planes = np.frombuffer(content, np.uint8)
        if len(planes) != self.nbytes:
            raise FormatError(f"it has {len(planes)} bytes, expected {self.nbytes}")
        numbers = np.empty((len(planes) // size, size), np.uint8)
        for index, plane in enumerate(planes.reshape(size, -1)):
            numbers[:, index] = plane
        return numbers.reshape(-1)


def chunk_codec(dataset: h5py.Dataset) -> Codec | None:
    """How the chunks of a dataset are stored, or None where they are left to HDF5."""
    created = dataset.id.get_create_plist()
    filters = tuple(int(created.get_filter(index)[0]) for index in range(created.get_nfilters()))
    if filters not in ((_DEFLATE,), (_SHUFFLE, _DEFLATE)):
        return None
    return Codec(dataset.chunks, dataset.dtype, filters)


def corrupt(place: str, origin: tuple[int, ...], why: object) -> FormatError:
    """The error that names a chunk of a dataset."""
    return FormatError(f"{place} is corrupt in the chunk at {origin} (z, y, x): {why}. Get a whole copy")


def stored_chunk(dataset: h5py.Dataset, origin: tuple[int, ...], codec: Codec, place: str) -> tuple[bytes, int] | None:
    """Bytes of a chunk as they are stored, and the mask of filters that were not applied; None for one never written.

    Raises
    ------
    FormatError
        Where they are more than a chunk can need.
    """
    stored_origin = origin[-len(codec.shape) :]
    info = dataset.id.get_chunk_info_by_coord(stored_origin)
    if info.byte_offset is None:
        return None
    if info.size > codec.nbytes + codec.nbytes // 100 + 1024:
        raise corrupt(place, origin, f"it has {info.size} bytes for {codec.nbytes} decoded ones")
    skipped, raw = dataset.id.read_direct_chunk(stored_origin)
    return raw, skipped


def run(tasks: Iterable[Callable[[], None]], threads: int) -> None:
    """Run tasks on several threads, in about their order, a few of them made ahead; the first error is raised."""
    if threads == 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[None]] = deque()
        for task in tasks:
            if len(running) >= 2 * threads:
                running.popleft().result()
            running.append(pool.submit(task))
        for future in running:
            future.result()
