"""How the chunks of an OME-Zarr are encoded: what the option `compressor=` means, and what a stored array has."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_ngff.backends.ngff.codecs.chunk_codecs import (
    Codecs,
    Config,
    converted,
    encoding_chain,
    plain,
    stored_codecs,
)
from xarray_ngff.errors import FormatError, GeometryError

if TYPE_CHECKING:
    import zarr
    from numpy.typing import DTypeLike

__all__ = ["Codecs", "check_chunk_bytes", "codecs", "codecs_like", "same_encoding"]

# -- codecs by name ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Named:
    """Compressor that both formats have, and every reader of OME-Zarr: its name in both, settings and levels."""

    codec: str
    settings: Config
    level: str
    default: int
    levels: range


_NAMED: Mapping[str, _Named] = {
    "blosc-zstd": _Named("blosc", {"cname": "zstd", "blocksize": 2**19}, "clevel", 1, range(10)),
    "blosc-lz4": _Named("blosc", {"cname": "lz4", "blocksize": 0}, "clevel", 5, range(10)),
    "blosc-lz4hc": _Named("blosc", {"cname": "lz4hc", "blocksize": 0}, "clevel", 5, range(10)),
    "blosc-zlib": _Named("blosc", {"cname": "zlib", "blocksize": 0}, "clevel", 5, range(10)),
    "blosc-blosclz": _Named("blosc", {"cname": "blosclz", "blocksize": 0}, "clevel", 5, range(10)),
    "zstd": _Named("zstd", {"checksum": False}, "level", 3, range(-(2**17), 23)),
    "gzip": _Named("gzip", {}, "level", 6, range(10)),
}

# What compresses best and fastest on microscopy and MRI of all dtypes, as benchmarks/compression.py measures.
_AUTO = "blosc-zstd:1"
# What Blosc shuffles, by the kind of the dtype and its bytes: nothing where a voxel is one byte, unless it is one bit.
_SHUFFLES: Mapping[tuple[str, int], str] = {("b", 1): "bitshuffle", ("u", 1): "noshuffle", ("i", 1): "noshuffle"}

# The most bytes that these compress at once.
_MOST_BYTES: Mapping[str, int] = {"blosc": 2**31 - 17, "zstd": 2**31 - 17}


def codecs(compressor: Any, *, zarr_format: int, dtype: DTypeLike) -> Codecs:
    """Codecs that the option `compressor=` means.

    Parameters
    ----------
    compressor
        A name with or without a level (``"zstd:3"``, ``"blosc-lz4"``, ``"gzip"``), a numcodecs codec, a codec of
        Zarr v3, None for no compression, or ``"auto"`` for the default. Codecs of one format become their equals of
        the other.
    zarr_format
        2 or 3.
    dtype
        Type of the voxels, which decides what Blosc shuffles where it is chosen by name: bits of bool, nothing of
        integers of one byte, bytes of all else.

    Raises
    ------
    FormatError
        Where it is none of these, the level is out of range, or the format has no such codec for this dtype.

    Examples
    --------
    >>> from xarray_ngff.backends.ngff.codecs.compressors import codecs
    >>> codecs("zstd:5", zarr_format=3, dtype="uint16").compressors
    ({'name': 'zstd', 'configuration': {'checksum': False, 'level': 5}},)
    >>> codecs("gzip", zarr_format=2, dtype="uint16").compressors
    ({'id': 'gzip', 'level': 6},)
    """
    dtype = np.dtype(dtype)
    shown = f"compressor={compressor!r}"
    if compressor is None:
        return Codecs(zarr_format)
    if isinstance(compressor, str):
        found = _by_name(_AUTO if compressor == "auto" else compressor, dtype)
    else:
        found = _of_object(compressor, shown, dtype)
    chosen = converted(found, zarr_format, itemsize=dtype.itemsize, ndim=1, name=shown)
    _check_by_writing(chosen, shown, dtype)
    return chosen


def _by_name(compressor: str, dtype: np.dtype[Any]) -> Codecs:
    """Codecs of Zarr v3 for a name with or without a level."""
    name, colon, text = compressor.partition(":")
    named = _NAMED.get(name)
    if named is None:
        raise FormatError(f"compressor={compressor!r} is not known: expected {_expected()}")
    if colon and (not re.fullmatch("-?[0-9]{1,6}", text) or int(text) not in named.levels):
        raise FormatError(
            f"compressor={compressor!r}: the level of {name} is a whole number from {named.levels[0]} to "
            f"{named.levels[-1]}, as in '{name}:{named.default}'"
        )
    settings = {**named.settings, named.level: int(text) if colon else named.default}
    if named.codec == "blosc":
        settings["shuffle"] = _SHUFFLES.get((dtype.kind, dtype.itemsize), "shuffle")
    return Codecs(3, ({"name": named.codec, "configuration": settings},))


def _expected() -> str:
    return (
        f"one of {', '.join(_NAMED)}, with a level if wanted ('zstd:3'); a codec of numcodecs or of Zarr v3; None for "
        "no compression; or 'auto'"
    )


def _of_object(compressor: Any, shown: str, dtype: np.dtype[Any]) -> Codecs:
    """Codecs for an object of either format, in that format."""
    import numcodecs.abc
    from zarr.abc.codec import ArrayBytesCodec, BytesBytesCodec
    from zarr.codecs import ShardingCodec

    if isinstance(compressor, numcodecs.abc.Codec):
        return Codecs(2, (plain(compressor.get_config()),))
    if isinstance(compressor, ShardingCodec):
        raise FormatError(f"{shown}: a shard is no compressor; pass shards=")
    if not isinstance(compressor, BytesBytesCodec | ArrayBytesCodec):
        raise FormatError(f"{shown} is no compressor ({type(compressor).__name__}): expected {_expected()}")
    given = {"compressors" if isinstance(compressor, BytesBytesCodec) else "serializer": compressor}
    found = stored_codecs(_small_array({"compressors": None, **given}, shown, dtype, zarr_format=3))
    return replace(found, compressors=tuple(_without_typesize(codec) for codec in found.compressors))


def _without_typesize(codec: Config) -> Config:
    """A codec of Zarr v3 that takes the typesize of Blosc from the dtype, not from the array it may stem from."""
    settings = codec.get("configuration", {})
    if codec["name"] != "blosc":
        return codec
    return {**codec, "configuration": {key: value for key, value in settings.items() if key != "typesize"}}


def _check_by_writing(chosen: Codecs, shown: str, dtype: np.dtype[Any]) -> None:
    """Raise where a few voxels cannot be written and read, rather than in the middle of an image."""
    array = _small_array(chosen.arguments(), shown, dtype, zarr_format=chosen.zarr_format)
    few = np.arange(8).astype(dtype)
    try:
        array[...] = few
        # lossy compressors of floats are a choice
        faithful = np.allclose(np.asarray(array[...]), few, rtol=0.1)
    except Exception as error:
        # codecs come from anywhere, and raise what they like
        raise FormatError(f"{shown} cannot encode {dtype} in Zarr v{chosen.zarr_format}: {error}") from error
    if not faithful:
        raise FormatError(f"{shown} cannot encode {dtype}: other numbers are read than were written")


def _small_array(
    arguments: Mapping[str, Any], shown: str, dtype: np.dtype[Any], *, zarr_format: int
) -> zarr.Array[Any]:
    """An array in memory, to see what zarr makes of codecs."""
    import zarr
    from zarr.storage import MemoryStore

    options: dict[str, Any] = {"zarr_format": zarr_format, **arguments}
    try:
        return zarr.create_array(MemoryStore(), shape=(8,), chunks=(8,), dtype=dtype, fill_value=0, **options)
    except Exception as error:
        # codecs come from anywhere, and raise what they like
        raise FormatError(f"{shown} is not possible for {dtype} in Zarr v{zarr_format}: {error}") from error


def check_chunk_bytes(chosen: Codecs, chunks: tuple[int, ...], dtype: DTypeLike) -> None:
    """Raise `GeometryError` where a chunk is more than its compressor takes at once.

    Examples
    --------
    >>> from xarray_ngff.backends.ngff.codecs.compressors import check_chunk_bytes, codecs
    >>> check_chunk_bytes(codecs("auto", zarr_format=3, dtype="uint16"), (128, 128, 128), "uint16")
    """
    nbytes = math.prod(chunks) * np.dtype(dtype).itemsize
    for codec in chosen.compressors:
        name = codec["id" if chosen.zarr_format == 2 else "name"]
        if nbytes > _MOST_BYTES.get(name, nbytes):
            raise GeometryError(
                f"chunks of {chunks} voxels of {np.dtype(dtype)} are {nbytes} bytes, and {name} takes at most "
                f"{_MOST_BYTES[name]}: make the chunks smaller"
            )


# -- codecs of stored arrays ------------------------------------------------------------------------------------------


def codecs_like(array: zarr.Array[Any], *, zarr_format: int) -> Codecs:
    """Codecs of a stored array; of a sharded one those of the chunks in its shards.

    Parameters
    ----------
    array
        Array of Zarr v2 or v3.
    zarr_format
        Format that the codecs are for. Those of the other become their equals: a memory order (v2) a transposition
        (v3), and the byte order of the dtype (v2) that of the codec `bytes` (v3).

    Raises
    ------
    FormatError
        Where the format has no such codecs.

    Examples
    --------
    >>> import zarr
    >>> from xarray_ngff.backends.ngff.codecs.compressors import codecs_like
    >>> stored = zarr.create_array({}, shape=(4, 4), chunks=(2, 2), dtype=">u2", zarr_format=2, order="F")
    >>> found = codecs_like(stored, zarr_format=3)
    >>> found.filters
    ({'name': 'transpose', 'configuration': {'order': [1, 0]}},)
    >>> found.serializer
    {'name': 'bytes', 'configuration': {'endian': 'big'}}
    """
    name = f"the codecs of {array.store_path}"
    return converted(stored_codecs(array), zarr_format, itemsize=array.dtype.itemsize, ndim=array.ndim, name=name)


def same_encoding(a: zarr.Array[Any], b: zarr.Array[Any]) -> bool:
    """Whether what one array stores of a chunk is, byte for byte, what the other would store.

    Then chunks, or shards where there are such, can be copied as they are, also from Zarr v2 to v3 and back: the dtype
    and its byte order, the shape of chunks and of the chunks in shards, memory order, filters, compressors with all
    their settings, the index of shards and the value of chunks that are not stored are the same. The shapes of the
    arrays and the keys of their chunks are not looked at. False where it cannot be known.

    Examples
    --------
    >>> import zarr
    >>> from xarray_ngff.backends.ngff.codecs.compressors import codecs, same_encoding
    >>> v2, v3 = (
    ...     zarr.create_array({}, shape=(9, 9), chunks=(4, 4), dtype="uint16", zarr_format=zarr_format,
    ...                       **codecs("auto", zarr_format=zarr_format, dtype="uint16").arguments())
    ...     for zarr_format in (2, 3)
    ... )
    >>> same_encoding(v2, v3)
    True
    """
    one = _stored_form(a)
    return one is not None and one == _stored_form(b)


def _stored_form(array: zarr.Array[Any]) -> tuple[Any, ...] | None:
    """All that decides the bytes of stored chunks; None where it is not known."""
    grid = plain(array.metadata.chunk_grid.to_dict())
    if array.dtype.kind not in "biufc" or grid["name"] != "regular":
        return None
    native = array.dtype.newbyteorder("=")
    # v2 may leave the value open, and zarr then reads zeros
    fill = 0 if array.metadata.fill_value is None else array.metadata.fill_value
    return native.str, grid["configuration"], np.asarray(fill, dtype=native).tobytes(), encoding_chain(array)
