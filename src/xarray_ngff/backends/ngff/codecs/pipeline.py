"""The fastest way to write and read the chunks of an array: the same array with another codec pipeline."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xarray_ngff.backends.ngff.codecs.chunk_codecs import Config, encoding_chain

if TYPE_CHECKING:
    import zarr

__all__ = ["fastest"]

_SHARDS = "sharding_indexed"
# What zarrs reads as zarr does, of either format. Big-endian voxels are not here: complex ones it reads wrongly.
_OF_ZARRS = {
    2: frozenset({"bytes", "blosc", "gzip", "zstd"}),
    3: frozenset({_SHARDS, "transpose", "bytes", "blosc", "gzip", "zstd", "crc32c"}),
}


def fastest(array: zarr.Array[Any], *, reading: bool = False) -> zarr.Array[Any]:
    """The same array with the codec pipeline that is fastest; what is stored and read is the same.

    It is a new object that pickles, and that threads may share; `array` and the settings of zarr stay as they are. An
    array with a pipeline other than zarr's own, which someone has chosen, is given back, and so is one that has shards
    in shards or among other codecs.

    Parameters
    ----------
    array
        Array of Zarr v2 or v3, in any store.
    reading
        Whether nothing is written through the array that is given back. Then, where the extra ``zarrs`` is installed
        and serves the array, local files are decoded by it, straight into place. It is not for writing: that takes it
        as much work or more, and it changes chunks in place, so that a reader may meet half of one.

    Examples
    --------
    >>> import zarr
    >>> from xarray_ngff.backends.ngff.codecs.pipeline import fastest
    >>> array = fastest(zarr.create_array({}, shape=(8, 8), chunks=(4, 4), dtype="uint16"))
    >>> array[...] = 7
    >>> int(array[5, 5])
    7
    """
    from zarr.core.codec_pipeline import BatchedCodecPipeline

    from xarray_ngff.backends.ngff.codecs.chunk_pipeline import ChunkPipeline

    present = array._async_array.codec_pipeline
    if type(present) is not BatchedCodecPipeline or _has_odd_shards(array):
        return array
    pipeline = _zarrs_pipeline(array) if reading else None
    inner = copy.copy(array._async_array)
    # frozen, and no argument of its constructor
    object.__setattr__(inner, "codec_pipeline", pipeline or ChunkPipeline(**vars(present)))
    return type(array)(inner)


def _has_odd_shards(array: zarr.Array[Any]) -> bool:
    """Whether shards lie in shards or among other codecs."""
    chain = encoding_chain(array)
    is_sharded = any(codec.get("name") == _SHARDS for codec in chain)
    return is_sharded and (len(chain) > 1 or list(_names(chain)).count(_SHARDS) > 1)


def _names(chain: Sequence[Config]) -> Iterator[str | None]:
    """Names of codecs, also of those in shards; None for those that only Zarr v2 has."""
    for codec in chain:
        yield codec.get("name")
        yield from _names(codec.get("configuration", {}).get("codecs", ()))


def _zarrs_pipeline(array: zarr.Array[Any]) -> Any:
    """The pipeline of zarrs; None where it is not installed or does not serve the array."""
    from zarr.abc.codec import CodecPipeline
    from zarr.storage import LocalStore

    # zarr 3.0 has no place for such a pipeline
    has_place = hasattr(CodecPipeline, "from_array_metadata_and_store")
    if not has_place or type(array.store_path.store) is not LocalStore or not _serves(array):
        return None
    try:
        from zarrs import ZarrsCodecPipeline
    except ImportError:
        return None
    pipeline = ZarrsCodecPipeline.from_array_metadata_and_store(array.metadata, array.store_path.store)
    return None if pipeline.impl is None else pipeline


def _serves(array: zarr.Array[Any]) -> bool:
    """Whether zarrs reads an array as zarr does."""
    chain, known = encoding_chain(array), _OF_ZARRS[array.metadata.zarr_format]
    is_little = '"endian": "big"' not in json.dumps(chain)
    return array.dtype.kind in "biufc" and is_little and all(name in known for name in _names(chain))
