import json
import pickle

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec

from xarray_ngff.backends.ngff.codecs.chunk_codecs import Codecs, converted, stored_codecs, to_v2, to_v3
from xarray_ngff.errors import FormatError

CNAMES = ["lz4", "lz4hc", "blosclz", "zlib", "zstd"]
SHUFFLES = ["noshuffle", "shuffle", "bitshuffle"]


def made(zarr_format, shape=(6, 7), **options):
    return zarr.create_array(
        {}, shape=shape, chunks=(3,) * len(shape), zarr_format=zarr_format, fill_value=0, **options
    )


@given(
    st.sampled_from(CNAMES), st.integers(0, 9), st.sampled_from([0, 1, 2]), st.sampled_from([0, 2**15, 2**19]),
    st.sampled_from(["u1", "u2", "f4", "c16"]),
)  # fmt: skip
def test_blosc_of_one_format_decodes_what_that_of_the_other_encoded(cname, level, shuffle, blocksize, dtype):
    old = numcodecs.Blosc(cname, level, shuffle, blocksize)
    new = BloscCodec.from_dict(to_v3(old.get_config(), np.dtype(dtype).itemsize))
    assert (new.cname.value, new.clevel, new.blocksize) == (cname, level, blocksize)
    assert new.shuffle.value == SHUFFLES[shuffle]
    assert numcodecs.get_codec(to_v2(to_v3(old.get_config(), 1))) == old


@pytest.mark.parametrize(("dtype", "shuffle"), [("u1", "bitshuffle"), ("u2", "shuffle"), ("f8", "shuffle")])
def test_the_automatic_shuffle_is_spelled_out(dtype, shuffle):
    config = numcodecs.Blosc("zstd", 1, numcodecs.Blosc.AUTOSHUFFLE).get_config()
    assert to_v3(config, np.dtype(dtype).itemsize)["configuration"]["shuffle"] == shuffle


def test_a_typesize_that_older_metadata_have_is_kept_where_it_says_something():
    config = {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0}
    assert "typesize" not in to_v3(config | {"typesize": 2}, 2)["configuration"]
    assert to_v3(config | {"typesize": 1}, 2)["configuration"]["typesize"] == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (numcodecs.GZip(7), GzipCodec(level=7)),
        (numcodecs.Zstd(-5), ZstdCodec(level=-5, checksum=False)),
        (numcodecs.Zstd(11, checksum=True), ZstdCodec(level=11, checksum=True)),
    ],
    ids=["gzip", "zstd", "zstd with checksum"],
)
def test_gzip_and_zstd_are_the_same_in_both(old, new):
    assert to_v3(old.get_config(), 2) == new.to_dict()
    assert numcodecs.get_codec(to_v2(new.to_dict())) == old


def test_zstd_of_metadata_without_checksum_has_none():
    assert to_v3({"id": "zstd", "level": 3}, 1)["configuration"] == {"level": 3, "checksum": False}


@pytest.mark.parametrize("codec", [numcodecs.Zlib(1), numcodecs.LZ4(), numcodecs.BZ2(1), numcodecs.LZMA()], ids=repr)
def test_v3_has_no_equal_of_the_rest(codec):
    assert to_v3(codec.get_config(), 2) is None


def test_v2_has_no_equal_of_a_checksum_but_those_of_numcodecs():
    assert to_v2(Crc32cCodec().to_dict()) is None
    assert to_v2({"name": "numcodecs.zlib", "configuration": {"level": 3}}) == numcodecs.Zlib(3).get_config()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("compressors", [None, "auto"])
def test_codecs_make_an_array_like_the_one_that_they_are_of(zarr_format, compressors):
    array = made(zarr_format, dtype="u2", compressors=compressors)
    found = stored_codecs(array)
    again = made(zarr_format, dtype=found.dtype("u2"), **found.arguments())
    assert again.metadata == array.metadata
    assert pickle.loads(pickle.dumps(found)) == found
    assert json.loads(json.dumps(found.compressors)) == list(found.compressors)


@pytest.mark.parametrize(
    "options",
    [
        {"filters": [TransposeCodec(order=(1, 0))], "compressors": [GzipCodec(level=1), Crc32cCodec()]},
        {
            "serializer": BytesCodec(endian="big"),
            "compressors": BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle"),
        },
        {"shards": (6, 6), "compressors": ZstdCodec(level=2)},
        {"shards": {"shape": (6, 6), "index_location": "start"}},
    ],
    ids=["several codecs", "big-endian", "shards", "shards with their index first"],
)
def test_codecs_of_v3_survive_with_all_they_say(options):
    array = made(3, dtype="u2", **options)
    found = stored_codecs(array)
    again = made(3, dtype=found.dtype("u2"), shards=found.shards(array.shards), **found.arguments())
    assert again.metadata.to_dict() == array.metadata.to_dict()


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": ">u2", "order": "F", "compressors": numcodecs.Blosc("lz4", 5, 1)},
        {"dtype": "<f4", "compressors": numcodecs.Zlib(3)},
        {"dtype": ">i4", "filters": [numcodecs.Delta(">i4")], "compressors": None},
    ],
    ids=["big-endian and F", "zlib", "filter"],
)
def test_codecs_of_v2_survive_with_all_they_say(options):
    array = made(2, **options)
    found = stored_codecs(array)
    again = made(2, dtype=found.dtype(array.dtype), **found.arguments())
    assert again.metadata.to_dict() == array.metadata.to_dict()


def test_shards_that_cannot_be_asked_for_are_refused():
    inner = ShardingCodec(chunk_shape=(3, 3), codecs=[BytesCodec()])
    array = made(3, dtype="u2", shards=(6, 6), serializer=inner, compressors=None)
    with pytest.raises(FormatError, match="has shards among other codecs"):
        stored_codecs(array)


@pytest.mark.parametrize(
    ("codecs", "zarr_format", "named"),
    [
        (Codecs(2, ({"id": "bz2", "level": 1},)), 3, "bz2"),
        (Codecs(2, filters=({"id": "delta", "dtype": "<u2"},)), 3, "delta"),
        (Codecs(3, (Crc32cCodec().to_dict(),)), 2, "crc32c"),
        (Codecs(3, (GzipCodec().to_dict(), GzipCodec().to_dict())), 2, "gzip"),
        (Codecs(3, filters=({"name": "transpose", "configuration": {"order": [0, 2, 1]}},)), 2, "transpose"),
        (Codecs(3, serializer={"name": "numcodecs.pcodec", "configuration": {}}), 2, "numcodecs.pcodec"),
    ],
    ids=["bz2", "filter", "checksum", "two compressors", "a transposition that is no order", "another serializer"],
)
def test_what_has_no_equal_is_refused_by_name(codecs, zarr_format, named):
    with pytest.raises(FormatError, match=f"^it: {named} cannot be had in Zarr v{zarr_format}: name a compressor="):
        converted(codecs, zarr_format, itemsize=2, ndim=3, name="it")


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("byte_order", ["little", "big"])
def test_orders_go_from_v2_to_v3_and_back(ndim, order, byte_order):
    codecs = Codecs(2, ({"id": "gzip", "level": 1},), byte_order=byte_order, order=order)
    there = converted(codecs, 3, itemsize=2, ndim=ndim, name="it")
    back = converted(there, 2, itemsize=2, ndim=ndim, name="it")
    assert back.byte_order == byte_order
    assert back.order == (order if ndim > 1 else "C")  # one axis has one order
    assert back.compressors == codecs.compressors
