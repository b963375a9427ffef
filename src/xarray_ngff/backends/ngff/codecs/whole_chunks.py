"""Chunks of Blosc that are cut short, refused: Blosc itself would give whatever lies in memory behind them.

Imported inside functions only, as it needs zarr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr  # noqa: TID253
from zarr.storage import StorePath, WrapperStore  # noqa: TID253

from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["checking_lengths"]

# Blosc's header of 16 bytes ends with the length of the whole.
_LENGTH_AT, _HEADER = 12, 16


class _WholeBlosc(WrapperStore[Any]):
    """Store whose chunks are all Blosc's."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        content = await super().get(key, prototype, byte_range)
        if content is not None and byte_range is None:
            length = len(content)
            header = content[:_HEADER].to_bytes()
            promised = int.from_bytes(header[_LENGTH_AT:], "little") if length >= _HEADER else _HEADER
            if promised > length:
                raise FormatError(f"chunk {key!r} is cut short: it has {length} bytes of {promised}")
        return content


def checking_lengths(array: zarr.AsyncArray[Any]) -> zarr.AsyncArray[Any]:
    """The array, reading through a check of the length of every chunk where these are compressed by Blosc.

    In shards a chunk is a range of bytes, whose length the index of the shard says.
    """
    last = array.compressors[-1:]
    if array.shards is not None or not any(type(codec).__name__ in ("Blosc", "BloscCodec") for codec in last):
        return array
    place = StorePath(_WholeBlosc(array.store_path.store), array.store_path.path)
    config = array.config if hasattr(array, "config") else array._config  # zarr 3.0
    return zarr.AsyncArray(array.metadata, place, config)
