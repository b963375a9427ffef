import itertools
import pickle

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)
from zarr.storage import LocalStore

from xarray_ngff.backends.ngff.codecs.compressors import check_chunk_bytes, codecs, codecs_like, same_encoding
from xarray_ngff.errors import FormatError, GeometryError

NAMES = ["blosc-zstd", "blosc-lz4", "blosc-lz4hc", "blosc-zlib", "blosc-blosclz", "zstd", "gzip"]
DTYPES = ["bool", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
DRIVERS = {2: "zarr", 3: "zarr3"}


def voxels(shape, dtype, seed=0):
    """Numbers that are neither all alike nor without pattern."""
    rng = np.random.default_rng(seed)
    return (np.arange(np.prod(shape)).reshape(shape) // 5 + rng.integers(0, 4, shape)).astype(dtype)


def made(store, zarr_format, found, *, dtype="u2", shape=(10, 11), chunks=(4, 5), shards=None, **options):
    options = {"shape": shape, "chunks": chunks, "shards": found.shards(shards), "fill_value": 0} | options
    return zarr.create_array(
        store, dtype=found.dtype(dtype), zarr_format=zarr_format, **options, **found.arguments()
    )  # fmt: skip


def timeless(content):
    """Stored bytes, less the time in the header of gzip."""
    return content[:4] + bytes(4) + content[8:] if content.startswith(b"\x1f\x8b") else content


def by_tensorstore(path, zarr_format):
    spec = {"driver": DRIVERS[zarr_format], "kvstore": {"driver": "file", "path": str(path)}}
    return tensorstore.open(spec, open=True).result().read().result()


# -- the option -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", [*NAMES, "auto", None])
def test_tensorstore_reads_what_every_name_means(tmp_path, name, zarr_format):
    for dtype in ("bool", "u1", "u2", "f4") if name == "auto" else ("u2",):
        path, data = tmp_path / dtype, voxels((10, 11), dtype)
        made(path, zarr_format, codecs(name, zarr_format=zarr_format, dtype=dtype), dtype=dtype)[...] = data
        np.testing.assert_array_equal(by_tensorstore(path, zarr_format), data)


@pytest.mark.parametrize("name", NAMES)
def test_a_level_is_what_the_metadata_say(name):
    config = codecs(f"{name}:7", zarr_format=3, dtype="u2").compressors[0]["configuration"]
    assert config["clevel" if name.startswith("blosc") else "level"] == 7
    old = codecs(f"{name}:7", zarr_format=2, dtype="u2").compressors[0]
    assert old["clevel" if name.startswith("blosc") else "level"] == 7


def test_zstd_has_negative_levels_too():
    assert codecs("zstd:-7", zarr_format=3, dtype="u2").compressors[0]["configuration"]["level"] == -7


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_blosc_shuffles_what_suits_the_dtype(dtype, zarr_format):
    array = made({}, zarr_format, codecs("auto", zarr_format=zarr_format, dtype=dtype), dtype=dtype)
    bits, size = np.dtype(dtype) == bool, np.dtype(dtype).itemsize
    if zarr_format == 2:
        assert array.compressors[0].shuffle == (2 if bits else 0 if size == 1 else 1)
        assert array.compressors[0].blocksize == 2**19
    else:
        assert array.metadata.to_dict()["codecs"][-1] == {
            "name": "blosc",
            "configuration": {
                "typesize": size,
                "cname": "zstd",
                "clevel": 1,
                "shuffle": "bitshuffle" if bits else "noshuffle" if size == 1 else "shuffle",
                "blocksize": 2**19,
            },
        }


def test_none_is_no_compression():
    assert made({}, 3, codecs(None, zarr_format=3, dtype="u2")).compressors == ()
    assert made({}, 2, codecs(None, zarr_format=2, dtype="u2")).compressors == ()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "given",
    [
        (numcodecs.Blosc("lz4", 3, 2, 2**15), BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle", blocksize=2**15)),
        (numcodecs.Blosc("zstd", 9, 0), BloscCodec(cname="zstd", clevel=9, shuffle="noshuffle")),
        (numcodecs.GZip(2), GzipCodec(level=2)),
        (numcodecs.Zstd(4), ZstdCodec(level=4)),
        (numcodecs.Zstd(4, checksum=True), ZstdCodec(level=4, checksum=True)),
    ],
    ids=["lz4", "unshuffled", "gzip", "zstd", "zstd with checksum"],
)
def test_a_codec_of_either_format_means_the_same(given, zarr_format):
    old, new = (codecs(codec, zarr_format=zarr_format, dtype="u2") for codec in given)
    a, b = (made({}, zarr_format, each) for each in (old, new))
    # zarr itself, given the codec of its format
    truth = zarr.create_array(
        {}, shape=(10, 11), chunks=(4, 5), dtype="u2", zarr_format=zarr_format, fill_value=0,
        compressors=given[zarr_format - 2]
    )  # fmt: skip
    assert a.metadata.to_dict() == b.metadata.to_dict() == truth.metadata.to_dict()


def test_a_blosc_of_another_dtype_gets_the_typesize_of_this_one():
    other = made({}, 3, codecs("auto", zarr_format=3, dtype="u2")).compressors[0]
    assert other.typesize == 2
    array = made({}, 3, codecs(other, zarr_format=3, dtype="f8"), dtype="f8")
    assert array.compressors[0].typesize == 8


def test_codecs_that_only_one_format_has_are_taken_there():
    assert made({}, 2, codecs(numcodecs.LZMA(), zarr_format=2, dtype="u2")).compressors == (numcodecs.LZMA(),)
    assert made({}, 3, codecs(Crc32cCodec(), zarr_format=3, dtype="u2")).compressors == (Crc32cCodec(),)
    big = made({}, 3, codecs(BytesCodec(endian="big"), zarr_format=3, dtype="u2"))
    assert big.serializer == BytesCodec(endian="big")
    assert big.compressors == ()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    ("compressor", "message"),
    [
        ("zlib", "is not known: expected one of blosc-zstd, .* gzip, with a level if wanted"),
        ("", "is not known"),
        ("Zstd", "is not known"),
        ("blosc", "is not known"),
        ("blosc-snappy", "is not known"),
        ("zstd:23", "level of zstd is a whole number from -131072 to 22, as in 'zstd:3'"),
        ("zstd:", "level of zstd"),
        ("zstd:3:4", "level of zstd"),
        ("gzip:-1", "level of gzip is a whole number from 0 to 9"),
        ("gzip:1.5", "level of gzip"),
        ("gzip:٣", "level of gzip"),
        ("blosc-lz4:10", "level of blosc-lz4 is a whole number from 0 to 9"),
        ("blosc-lz4:99999999999999999999", "level of blosc-lz4"),
        (3, r"is no compressor \(int\): expected one of"),
        (True, r"is no compressor \(bool\)"),
        ({"id": "zstd"}, r"is no compressor \(dict\)"),
        (["zstd"], r"is no compressor \(list\)"),
        (BloscCodec, r"is no compressor \(type\)"),
        (TransposeCodec(order=(0,)), r"is no compressor \(TransposeCodec\)"),
        (ShardingCodec(chunk_shape=(2,)), "a shard is no compressor; pass shards="),
        (numcodecs.VLenUTF8(), "compressor=VLenUTF8"),
    ],
    ids=str,
)
def test_all_else_is_refused(compressor, message, zarr_format):
    with pytest.raises(FormatError, match=message):
        codecs(compressor, zarr_format=zarr_format, dtype="u2")


@pytest.mark.parametrize(
    ("compressor", "zarr_format", "message"),
    [
        (numcodecs.Zlib(1), 3, "zlib cannot be had in Zarr v3: name a compressor="),
        (numcodecs.LZ4(), 3, "lz4 cannot be had in Zarr v3"),
        (Crc32cCodec(), 2, "crc32c cannot be had in Zarr v2"),
        (numcodecs.Blosc("snappy", 5), 2, "cannot encode uint16 in Zarr v2"),
        (numcodecs.Blosc("lz4", 77), 2, "cannot encode uint16 in Zarr v2"),
        (numcodecs.Blosc("lz4", 77), 3, "uint16 in Zarr v3"),
        (numcodecs.PackBits(), 2, "cannot encode uint16: other numbers are read"),
    ],
    ids=str,
)
def test_codecs_that_a_format_or_a_dtype_cannot_have_are_refused(compressor, zarr_format, message):
    with pytest.raises(FormatError, match=message):
        codecs(compressor, zarr_format=zarr_format, dtype="u2")


def test_codecs_pickle():
    for compressor, zarr_format in itertools.product(["auto", "zstd:1", GzipCodec(), numcodecs.GZip()], [2, 3]):
        found = codecs(compressor, zarr_format=zarr_format, dtype="f4")
        assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["blosc-lz4", "zstd"])
def test_chunks_that_a_compressor_cannot_hold_are_refused(name, zarr_format):
    found = codecs(name, zarr_format=zarr_format, dtype="u1")
    check_chunk_bytes(found, (1024, 1024, 2047), "u1")
    with pytest.raises(GeometryError, match=r"are 2147483648 bytes, and .* takes at most 2147483631: make"):
        check_chunk_bytes(found, (1024, 1024, 2048), "u1")
    check_chunk_bytes(codecs("gzip", zarr_format=zarr_format, dtype="u1"), (1024, 1024, 4096), "u1")


# -- codecs of stored arrays ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [2, 3])
@pytest.mark.parametrize("origin", [2, 3])
@pytest.mark.parametrize("name", ["auto", "blosc-lz4:9", "zstd:2", "gzip:1", None])
def test_like_another_array_of_either_format(name, origin, target):
    array = made({}, origin, codecs(name, zarr_format=origin, dtype="u2"))
    assert codecs_like(array, zarr_format=target) == codecs(name, zarr_format=target, dtype="u2")


def test_like_an_array_that_java_wrote():
    """bioformats2raw writes big-endian Blosc."""
    array = zarr.create_array(
        {}, shape=(10, 11), chunks=(4, 5), dtype=">u2", zarr_format=2, compressors=numcodecs.Blosc("lz4", 5, 1)
    )
    new = made({}, 3, codecs_like(array, zarr_format=3))
    assert new.serializer == BytesCodec(endian="big")
    old = made({}, 2, codecs_like(array, zarr_format=2))
    assert old.dtype == np.dtype(">u2")
    new[...] = old[...] = data = voxels((10, 11), "u2")
    np.testing.assert_array_equal(new[...], data)
    np.testing.assert_array_equal(old[...], data)


def test_like_an_array_that_has_what_the_format_has_not():
    array = made({}, 2, codecs(numcodecs.BZ2(1), zarr_format=2, dtype="u2"))
    with pytest.raises(
        FormatError, match=r"the codecs of memory://.*: bz2 cannot be had in Zarr v3: name a compressor="
    ):
        codecs_like(array, zarr_format=3)


# -- arrays that are encoded alike ------------------------------------------------------------------------------------

BLOSC = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
OLD_BLOSC = numcodecs.Blosc("zstd", 1, 1)

# Ways to store the same numbers; those of one group hold the same bytes.
ENCODINGS = {
    "v3": (0, {"compressors": BLOSC}),
    "v3 with its typesize": (0, {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2)}),
    "v3 under other keys": (0, {"compressors": BLOSC, "chunk_key_encoding": {"name": "v2", "separator": "."}}),
    "v3 with an idle transposition": (0, {"compressors": BLOSC, "filters": [TransposeCodec(order=(0, 1))]}),
    "v2": (0, {"zarr_format": 2, "compressors": OLD_BLOSC}),
    "v2 without a fill value": (0, {"zarr_format": 2, "compressors": OLD_BLOSC, "fill_value": None}),
    "another level": (1, {"compressors": BloscCodec(cname="zstd", clevel=2, shuffle="shuffle")}),
    "another shuffle": (2, {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")}),
    "another blocksize": (3, {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", blocksize=2**15)}),
    "another typesize": (4, {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=1)}),
    "big-endian": (5, {"compressors": BLOSC, "serializer": BytesCodec(endian="big")}),
    "big-endian v2": (5, {"zarr_format": 2, "compressors": OLD_BLOSC, "dtype": ">u2"}),
    "transposed": (6, {"compressors": BLOSC, "filters": [TransposeCodec(order=(1, 0))]}),
    "transposed v2": (6, {"zarr_format": 2, "compressors": OLD_BLOSC, "order": "F"}),
    "fill value": (7, {"compressors": BLOSC, "fill_value": 1}),
    "signed": (8, {"compressors": BLOSC, "dtype": "i2"}),
    "wider": (9, {"compressors": BLOSC, "dtype": "u4"}),
    "other chunks": (10, {"compressors": BLOSC, "chunks": (8, 4)}),
    "shards": (11, {"compressors": BLOSC, "chunks": (4, 4), "shards": (8, 8)}),
    "shards, index first": (
        12, {"compressors": BLOSC, "chunks": (4, 4), "shards": {"shape": (8, 8), "index_location": "start"}}),
    "shards of other chunks": (13, {"compressors": BLOSC, "chunks": (8, 4), "shards": (8, 8)}),
    "shards of big-endian": (
        14, {"compressors": BLOSC, "chunks": (4, 4), "shards": (8, 8), "serializer": BytesCodec(endian="big")}),
    "gzip": (15, {"compressors": GzipCodec(level=1)}),
    "gzip v2": (15, {"zarr_format": 2, "compressors": numcodecs.GZip(1)}),
    "zstd": (16, {"compressors": ZstdCodec(level=1)}),
    "zstd v2": (16, {"zarr_format": 2, "compressors": numcodecs.Zstd(1)}),
    "checksum": (17, {"compressors": ZstdCodec(level=1, checksum=True)}),
    "nothing": (18, {"compressors": None}),
    "nothing v2": (18, {"zarr_format": 2, "compressors": None}),
    "zlib": (19, {"zarr_format": 2, "compressors": numcodecs.Zlib(1)}),
    "delta": (20, {"zarr_format": 2, "compressors": OLD_BLOSC, "filters": [numcodecs.Delta("<u2")]}),
}  # fmt: skip
DATA = voxels((19, 21), "u2")
DATA[:8, :8] = 0  # a chunk that is not stored


def encoded(options):
    """An array of `DATA` in memory, and its stored chunks by place."""
    shape = {"shape": DATA.shape, "chunks": (8, 8), "dtype": "u2", "fill_value": 0}
    store = {}
    array = zarr.create_array(store, **(shape | options))
    array[...] = DATA
    outer = array.shards or array.chunks
    places = itertools.product(*(range(-(-n // c)) for n, c in zip(DATA.shape, outer, strict=True)))
    keys = {place: array.metadata.encode_chunk_key(place) for place in places}
    return array, {place: timeless(store[key].to_bytes()) for place, key in keys.items() if key in store}


@pytest.fixture(scope="module")
def stored():
    return {name: encoded(options) for name, (_, options) in ENCODINGS.items()}


@pytest.mark.parametrize("name", ENCODINGS)
def test_arrays_are_encoded_alike_just_where_they_are(stored, name):
    array, chunks = stored[name]
    group = ENCODINGS[name][0]
    for other, (number, _) in ENCODINGS.items():
        assert same_encoding(array, stored[other][0]) == (group == number), other
        if group == number:
            assert stored[other][1] == chunks, other


ALIKE = [(a, b) for a, b in itertools.permutations(ENCODINGS, 2) if ENCODINGS[a][0] == ENCODINGS[b][0]]


@pytest.mark.parametrize(("origin", "target"), ALIKE)
def test_chunks_copied_between_arrays_that_are_encoded_alike_are_read_by_all(tmp_path, stored, origin, target):
    options = ENCODINGS[target][1]
    shape = {"shape": DATA.shape, "chunks": (8, 8), "dtype": "u2", "fill_value": 0}
    array = zarr.create_array(LocalStore(tmp_path), **(shape | options))
    for place, content in stored[origin][1].items():
        path = tmp_path / array.metadata.encode_chunk_key(place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    np.testing.assert_array_equal(array[...], DATA)
    np.testing.assert_array_equal(by_tensorstore(tmp_path, array.metadata.zarr_format), DATA)


@settings(max_examples=30)
@given(st.sampled_from(NAMES), st.integers(0, 9), st.sampled_from(DTYPES), st.permutations([2, 3]))
def test_the_formats_store_the_same_bytes_for_every_name(name, level, dtype, formats):
    stores = [{}, {}]
    arrays = [
        made(store, number, codecs(f"{name}:{level}", zarr_format=number, dtype=dtype), dtype=dtype)
        for store, number in zip(stores, formats, strict=True)
    ]
    assert same_encoding(*arrays)
    for array in arrays:
        array[...] = voxels((10, 11), dtype)
    one, two = ({key: timeless(content.to_bytes()) for key, content in store.items()} for store in stores)
    for place in itertools.product(range(3), range(3)):
        chunks = [
            content.get(array.metadata.encode_chunk_key(place))
            for content, array in zip((one, two), arrays, strict=True)
        ]
        assert chunks[0] == chunks[1]


@pytest.mark.parametrize("fills", [(0.0, -0.0), (0.0, np.nan), (1.5, 2.5)])
def test_a_fill_value_differs_by_its_bits(fills):
    options = {"shape": (4,), "chunks": (2,), "dtype": "f4"}
    one, two = (zarr.create_array({}, fill_value=value, **options) for value in fills)
    assert not same_encoding(one, two)
    assert same_encoding(two, zarr.create_array({}, fill_value=fills[1], **options))


def test_endianness_says_nothing_of_single_bytes():
    options = {"shape": (4,), "chunks": (2,), "dtype": "u1", "compressors": None, "fill_value": 0}
    plain, big = (zarr.create_array({}, **options, serializer=BytesCodec(endian=e)) for e in ("little", "big"))
    assert same_encoding(plain, big)
    assert same_encoding(big, zarr.create_array({}, zarr_format=2, **options))


def test_dtypes_that_images_do_not_have_are_never_the_same():
    text = zarr.create_array({}, shape=(2,), chunks=(2,), dtype="S4", zarr_format=2)
    assert not same_encoding(text, text)
