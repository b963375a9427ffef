"""What zarr stores of a ZIP file have in common, written or read: keys, and parts of their bytes."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Iterable

from zarr.abc.store import (  # noqa: TID253  # loaded only where an archive is opened
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype  # noqa: TID253

__all__ = ["ArchiveKeys", "limits"]


class ArchiveKeys(Store):
    """Zarr store whose keys and sizes are known, and whose bytes any thread may read."""

    supports_deletes: bool = False
    supports_listing: bool = True
    supports_partial_writes = False

    @abstractmethod
    def keys(self) -> Collection[str]:
        """Keys that are whole."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes of a key that is there."""

    @abstractmethod
    def content(self, key: str, byte_range: ByteRequest | None = None) -> bytes:
        """Bytes of a key that is there, or a part of them."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Bytes of a key, or a part of them; None where it is not there."""
        if key not in self.keys():
            return None
        return prototype.buffer.from_bytes(await asyncio.to_thread(self.content, key, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Parts of keys."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Whether a key is there."""
        return key in self.keys()

    async def getsize(self, key: str) -> int:
        """Bytes of a key."""
        if key not in self.keys():
            raise FileNotFoundError(key)
        return self.size(key)

    async def list(self) -> AsyncIterator[str]:
        """All keys."""
        for key in tuple(self.keys()):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys that begin so."""
        async for key in self.list():
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names right below a prefix."""
        above = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        for name in dict.fromkeys([key[len(above) :].split("/", 1)[0] async for key in self.list_prefix(above)]):
            yield name


def limits(byte_range: ByteRequest | None, size: int) -> tuple[int, int]:
    """First byte, and the one after the last, of a part of so many bytes.

    Examples
    --------
    >>> limits(None, 10), limits(RangeByteRequest(2, 30), 10), limits(OffsetByteRequest(4), 10)
    ((0, 10), (2, 10), (4, 10))
    >>> limits(SuffixByteRequest(3), 10), limits(SuffixByteRequest(30), 10), limits(OffsetByteRequest(30), 10)
    ((7, 10), (0, 10), (10, 10))
    """
    start, stop = 0, size
    match byte_range:
        case RangeByteRequest(first, end):
            start, stop = first, end
        case OffsetByteRequest(offset):
            start = offset
        case SuffixByteRequest(suffix):
            start = size - suffix
    start = min(max(start, 0), size)
    return start, min(max(stop, start), size)
