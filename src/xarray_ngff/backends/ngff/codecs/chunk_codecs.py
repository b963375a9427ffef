"""Codecs of an array's chunks as data, and the equals of those of Zarr v2 in v3 and back.

Both formats have the same compressors under other names and settings. Beyond them, v2 says the byte order in its dtype
and the memory order in a field of its own, where v3 has codecs for both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    import zarr
    from numpy.typing import DTypeLike
    from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

__all__ = ["Codecs", "Config", "converted", "encoding_chain", "plain", "stored_codecs", "to_v2", "to_v3"]

# A codec as the metadata of its format write it: {"id": "zstd", "level": 1} in v2, {"name": "zstd", "configuration":
# {"level": 1, "checksum": False}} in v3.
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Codecs:
    """Codecs of the chunks of an array, each as the metadata of the Zarr format write it.

    Attributes
    ----------
    zarr_format
        2 or 3.
    compressors
        Codecs from bytes to bytes; for Zarr v2 one at most.
    filters
        Codecs that come before.
    serializer
        Codec that turns an array into bytes (v3); None for little-endian bytes.
    byte_order, order
        "little" or "big", and "C" or "F", which v2 keeps apart from its codecs.
    index_location
        Where a shard has its index (v3): "start" or "end".
    """

    zarr_format: int
    compressors: tuple[Config, ...] = ()
    filters: tuple[Config, ...] = ()
    serializer: Config | None = None
    byte_order: str = "little"
    order: str = "C"
    index_location: str = "end"

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `zarr.create_array`; what to give it as dtype and shards the methods below say."""
        if self.zarr_format == 3:
            return {
                "filters": [dict(codec) for codec in self.filters],
                "serializer": "auto" if self.serializer is None else dict(self.serializer),
                "compressors": [dict(codec) for codec in self.compressors],
            }
        import numcodecs

        filters, compressors = (
            [numcodecs.get_codec(dict(codec)) for codec in configs] for configs in (self.filters, self.compressors)
        )
        return {"filters": filters or None, "compressors": compressors or None, "order": self.order}

    def dtype(self, dtype: DTypeLike) -> str:
        """The dtype to create the array with, which in v2 says the byte order."""
        return np.dtype(dtype).newbyteorder(">" if self.byte_order == "big" else "<").str

    def shards(self, shape: tuple[int, ...] | None) -> Any:
        """What `zarr.create_array` takes as `shards` for shards of a shape, or for none."""
        if shape is None or self.index_location == "end":
            return shape
        return {"shape": shape, "index_location": self.index_location}


def plain(config: Any) -> Any:
    """A codec as JSON has it: with lists for tuples."""
    return json.loads(json.dumps(config))


# -- compressors of one format in the other ---------------------------------------------------------------------------

# What numcodecs and Zarr v3 name alike, with the settings that both know.
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "blosc": ("cname", "clevel", "shuffle", "blocksize"),
    "gzip": ("level",),
    "zstd": ("level", "checksum"),
}
# What metadata may leave out.
_UNSAID: Config = {"blocksize": 0, "checksum": False}

_SHUFFLES = {0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}
_SHUFFLE_NUMBERS = {name: number for number, name in _SHUFFLES.items()}


def to_v3(config: Config, itemsize: int) -> Config | None:
    """The codec of Zarr v3 that is a codec of v2; None where the specification of v3 has none."""
    name = config["id"]
    if name not in _SETTINGS:
        return None
    settings = {key: config.get(key, _UNSAID.get(key)) for key in _SETTINGS[name]}
    if name == "blosc":
        # -1 is whatever suits the dtype
        suited = "bitshuffle" if itemsize == 1 else "shuffle"
        settings["shuffle"] = _SHUFFLES.get(settings["shuffle"], suited)
        if config.get("typesize") not in (None, itemsize):
            settings["typesize"] = config["typesize"]
    return {"name": name, "configuration": settings}


def to_v2(config: Config) -> Config | None:
    """The codec of Zarr v2 that is a codec of v3; None where there is none."""
    name, settings = config["name"], config.get("configuration", {})
    if name.startswith("numcodecs."):
        return {"id": name.removeprefix("numcodecs."), **settings}
    if name not in _SETTINGS:
        return None
    known = {key: settings.get(key, _UNSAID.get(key)) for key in _SETTINGS[name]}
    if name == "blosc":
        known["shuffle"] = _SHUFFLE_NUMBERS[known["shuffle"]]
    return {"id": name, **known}


# -- codecs of an array -----------------------------------------------------------------------------------------------


def stored_codecs(array: zarr.Array[Any]) -> Codecs:
    """Codecs of a stored array in its own format; of a sharded one those of the chunks in its shards.

    Raises
    ------
    FormatError
        Where shards are combined with other codecs, or lie in shards, as `zarr.create_array` cannot ask for.
    """
    return _of_v2(array) if array.metadata.zarr_format == 2 else _of_v3(array)


def _of_v2(array: zarr.Array[Any]) -> Codecs:
    metadata = cast("ArrayV2Metadata", array.metadata)
    return Codecs(
        2,
        () if metadata.compressor is None else (plain(metadata.compressor.get_config()),),
        tuple(plain(codec.get_config()) for codec in metadata.filters or ()),
        byte_order="big" if array.dtype.str.startswith(">") else "little",
        order=metadata.order,
    )


def _of_v3(array: zarr.Array[Any]) -> Codecs:
    from zarr.abc.codec import ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec
    from zarr.codecs import ShardingCodec

    chain: tuple[Any, ...] = _chain(array)
    where = "end"
    if len(chain) == 1 and isinstance(chain[0], ShardingCodec):
        where, chain = chain[0].index_location.value, chain[0].codecs
    if any(isinstance(codec, ShardingCodec) for codec in chain):
        raise FormatError(
            f"{array.store_path} has shards among other codecs ({chain}), which is not written: name a compressor="
        )
    kinds: dict[Any, tuple[Config, ...]] = {
        kind: tuple(_without_typesize(plain(c.to_dict()), array.dtype.itemsize) for c in chain if isinstance(c, kind))
        for kind in (ArrayArrayCodec, ArrayBytesCodec, BytesBytesCodec)
    }
    (serializer,) = kinds[ArrayBytesCodec]
    usual = serializer["name"] == "bytes" and serializer.get("configuration", {}).get("endian") != "big"
    return Codecs(
        3, kinds[BytesBytesCodec], kinds[ArrayArrayCodec], None if usual else serializer, index_location=where
    )


def _chain(array: zarr.Array[Any]) -> tuple[Any, ...]:
    """Codecs of an array of v3."""
    return cast("ArrayV3Metadata", array.metadata).codecs


def _without_typesize(config: Config, itemsize: int) -> Config:
    """A codec without the typesize of Blosc where it follows from the dtype."""
    settings = config.get("configuration", {})
    if config["name"] != "blosc" or settings.get("typesize") != itemsize:
        return config
    return {**config, "configuration": {key: value for key, value in settings.items() if key != "typesize"}}


def converted(found: Codecs, zarr_format: int, *, itemsize: int, ndim: int, name: str) -> Codecs:
    """The equal codecs of a format.

    Parameters
    ----------
    found
        Codecs of either format.
    itemsize, ndim
        Bytes of a voxel, and number of axes.
    name
        What they are the codecs of, for the message.

    Raises
    ------
    FormatError
        Where the format has no equal of one of them.
    """
    if found.zarr_format == zarr_format:
        return found
    known, strange = _v3_of_v2(found, itemsize, ndim) if zarr_format == 3 else _v2_of_v3(found, ndim)
    if strange:
        raise FormatError(
            f"{name}: {', '.join(strange)} cannot be had in Zarr v{zarr_format}: name a compressor= that both formats "
            "have, such as 'blosc-zstd', 'zstd' or 'gzip'"
        )
    return known


def _v3_of_v2(found: Codecs, itemsize: int, ndim: int) -> tuple[Codecs, list[str]]:
    """Codecs of v3, and the names of those that it has no equal of."""
    equals = [(codec["id"], to_v3(codec, itemsize)) for codec in found.compressors]
    known = Codecs(
        3,
        tuple(equal for _, equal in equals if equal is not None),
        (_reversal(ndim),) if found.order == "F" and ndim > 1 else (),
        {"name": "bytes", "configuration": {"endian": "big"}} if found.byte_order == "big" else None,
    )
    return known, [codec["id"] for codec in found.filters] + [name for name, equal in equals if equal is None]


def _v2_of_v3(found: Codecs, ndim: int) -> tuple[Codecs, list[str]]:
    """Codecs of v2, and the names of those that it has no equal of."""
    filters = [codec for codec in found.filters if not _is_idle(codec)]
    reverses = filters == [_reversal(ndim)]
    arranging = [codec["name"] for codec in ([] if reverses else filters)]
    serializers = [] if found.serializer is None else [found.serializer["name"]]
    equals = [(codec["name"], to_v2(codec)) for codec in found.compressors]
    strange = [*arranging, *(name for name in serializers if name != "bytes")]
    # v2 has room for one compressor
    strange += [name for index, (name, equal) in enumerate(equals) if equal is None or index > 0]
    known = Codecs(
        2,
        tuple(equal for _, equal in equals if equal is not None),
        byte_order="big" if serializers else "little",
        order="F" if reverses else "C",
    )
    return known, strange


def _reversal(ndim: int) -> Config:
    """The transposition that stores the first axis fastest, as the order "F" of v2 does."""
    return {"name": "transpose", "configuration": {"order": list(range(ndim))[::-1]}}


def _is_idle(config: Config) -> bool:
    """Whether a codec is a transposition that leaves the axes as they are."""
    order = config.get("configuration", {}).get("order") if config.get("name") == "transpose" else None
    return order is not None and order == sorted(order)


def encoding_chain(array: zarr.Array[Any]) -> list[Config]:
    """Codecs of a stored array, one after the other and shards too, in words that both formats share.

    What goes without saying is said and what does nothing is left out, so chains that are equal encode to the same
    bytes. Codecs of v2 that v3 has not are given as v2 has them.
    """
    itemsize = array.dtype.itemsize
    if array.metadata.zarr_format == 3:
        return _said([plain(codec.to_dict()) for codec in _chain(array)], itemsize)
    found = _of_v2(array)
    chain = [_reversal(array.ndim)] if found.order == "F" else []
    chain += [*found.filters, {"name": "bytes", "configuration": {"endian": found.byte_order}}]
    chain += [to_v3(codec, itemsize) or codec for codec in found.compressors]
    return _said(chain, itemsize)


def _said(chain: Sequence[Config], itemsize: int) -> list[Config]:
    said: list[Config] = []
    for codec in chain:
        settings = dict(codec.get("configuration", {}))
        match codec.get("name"):
            case "bytes":
                settings = {"endian": settings.get("endian", "little")} if itemsize > 1 else {}
            case "blosc":
                settings = {"typesize": itemsize, **settings}
            case "sharding_indexed":
                settings["codecs"] = _said(settings["codecs"], itemsize)
        if not _is_idle(codec):
            said.append({"name": codec["name"], "configuration": settings} if "name" in codec else codec)
    return said
