"""How chunks are compressed: by HDF5's filters, or in threads with the same result."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.imaris.chunk_layout import Shape
from xarray_ngff.errors import FormatError, MissingExtraError

if TYPE_CHECKING:
    import h5py

__all__ = ["Compression", "compression_named"]

# What Imaris's own writer uses.
_DEFAULT_LEVEL = 2
_GZIP = re.compile(r"gzip(?::([1-9]))?")


@dataclass(frozen=True)
class Compression:
    """Compression of chunks.

    Attributes
    ----------
    filters
        Arguments of ``create_dataset``.
    gzip
        Level of zlib; 0 for none. None where only HDF5 itself can compress, with a plugin.
    """

    filters: dict[str, Any]
    gzip: int | None

    def encode(self, chunk: npt.NDArray[Any]) -> bytes | npt.NDArray[Any]:
        """What `write` takes; this is the work, and threads may do it."""
        if self.gzip is None:
            return chunk
        raw = np.ascontiguousarray(chunk).tobytes()
        return zlib.compress(raw, self.gzip) if self.gzip else raw

    def decode(self, stored: bytes | npt.NDArray[Any], dtype: np.dtype[Any], shape: Shape) -> npt.NDArray[Any]:
        """The chunk that `read` gave in its stored form; threads may do it."""
        if not isinstance(stored, bytes):
            return stored
        return np.frombuffer(zlib.decompress(stored) if self.gzip else stored, dtype).reshape(shape)

    def write(self, dataset: h5py.Dataset, start: Shape, encoded: bytes | npt.NDArray[Any]) -> None:
        """Write a chunk that starts at a voxel."""
        if isinstance(encoded, bytes):
            dataset.id.write_direct_chunk(start, encoded)
        else:
            dataset[_region(start, dataset.chunks)] = encoded

    def read(self, dataset: h5py.Dataset, start: Shape) -> bytes | npt.NDArray[Any]:
        """The chunk that starts at a voxel, in its stored form where HDF5 is not needed to decode it."""
        if self.gzip is None:
            decoded: npt.NDArray[Any] = dataset[_region(start, dataset.chunks)]
            return decoded
        return bytes(dataset.id.read_direct_chunk(start)[1])


def _region(start: Shape, chunk: Shape) -> tuple[slice, ...]:
    return tuple(slice(first, first + length) for first, length in zip(start, chunk, strict=True))


def compression_named(name: object) -> Compression:
    """Compression that an option asks for.

    Parameters
    ----------
    name
        None; ``"gzip"`` (level 2, as Imaris writes it) or ``"gzip:1"`` to ``"gzip:9"``; ``"lz4"``.

    Raises
    ------
    FormatError
        For anything else.
    MissingExtraError
        For ``"lz4"`` without hdf5plugin.

    Examples
    --------
    >>> compression_named("gzip").filters
    {'compression': 'gzip', 'compression_opts': 2}
    """
    if name is None:
        return Compression({}, 0)
    if isinstance(name, str) and (match := _GZIP.fullmatch(name)):
        level = int(match[1] or _DEFAULT_LEVEL)
        return Compression({"compression": "gzip", "compression_opts": level}, level)
    if name != "lz4":
        raise FormatError(f'compression={name!r}: expected None, "gzip", "gzip:1" to "gzip:9", or "lz4"')
    try:
        import hdf5plugin
    except ImportError as error:
        raise MissingExtraError(
            'compression="lz4" needs hdf5plugin: pip install "xarray-ngff[imaris]", or take compression="gzip"'
        ) from error
    return Compression(dict(hdf5plugin.LZ4()), None)
