"""zarr's own pipeline of codecs, without what it does twice over for chunks that are written whole.

Where several chunks are written at once, zarr fills a new chunk, copies the voxels into it, and compares all of them
with the fill value in a way that takes as long as a fast compressor does. Here a whole chunk is encoded where it lies,
and the comparison ends where it is decided. What is stored is the same.

Imported inside functions only, as it needs zarr.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import zarr  # noqa: TID253
from zarr.codecs import ShardingCodec  # noqa: TID253
from zarr.core.buffer import BufferPrototype, NDBuffer, cpu  # noqa: TID253
from zarr.core.codec_pipeline import BatchedCodecPipeline  # noqa: TID253

__all__ = ["ChunkPipeline"]


class _Voxels(cpu.NDBuffer):
    """Buffer that knows sooner whether all voxels are the fill value."""

    def all_equal(self, other: Any, equal_nan: bool = True) -> bool:
        voxels: Any = self._data
        if other is None or voxels.dtype.kind not in "biufc" or voxels.ndim == 0:
            return super().all_equal(other, equal_nan)
        if voxels.dtype.itemsize <= 8 and not any(np.asarray(other, voxels.dtype).tobytes()):
            bits = voxels.view(f"u{voxels.dtype.itemsize}")
            return not any(plane.any() for plane in bits)
        return cpu.NDBuffer(voxels[:1]).all_equal(other, equal_nan) and super().all_equal(other, equal_nan)


class ChunkPipeline(BatchedCodecPipeline):
    """Pipeline that encodes whole chunks one by one, several at a time, and leaves all else to zarr's."""

    async def write(self, batch_info: Iterable[Any], value: NDBuffer, drop_axes: tuple[int, ...] = ()) -> None:
        """Encode and store what is selected of chunks."""
        if type(value) is not cpu.NDBuffer:
            # voxels on another device
            await super().write(batch_info, value, drop_axes)
            return
        voxels = _Voxels(value.as_ndarray_like())
        # what a shard holds already is read into zarr's own buffers only
        has_shards = isinstance(self.array_bytes_codec, ShardingCodec)
        whole: list[tuple[tuple[Any, ...], _Voxels]] = []
        others: list[tuple[Any, ...]] = []
        for setter, spec, in_chunk, in_value, is_complete in batch_info:
            ours = replace(spec, prototype=BufferPrototype(spec.prototype.buffer, _Voxels))
            chunk = voxels[in_value] if is_complete and voxels.shape and not drop_axes else None
            if chunk is not None and chunk.shape == spec.shape:
                everything = tuple(slice(0, length) for length in spec.shape)
                whole.append(((setter, ours, in_chunk, everything, True), chunk))
            else:
                others.append((setter, spec if has_shards else ours, in_chunk, in_value, is_complete))
        at_once = asyncio.Semaphore(zarr.config.get("async.concurrency"))

        async def write_chunk(chunk_info: tuple[Any, ...], chunk: _Voxels) -> None:
            async with at_once:
                await super(ChunkPipeline, self).write([chunk_info], chunk)

        # none goes on after this has failed
        outcomes = await asyncio.gather(*(write_chunk(*each) for each in whole), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        if others:
            await super().write(others, value if has_shards else voxels, drop_axes)
