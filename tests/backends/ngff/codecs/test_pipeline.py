import asyncio
import concurrent.futures
import importlib.util
import itertools
import pickle
import sys
import time

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.abc.codec import CodecPipeline
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec, ZstdCodec
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from xarray_ngff.backends.ngff.codecs.pipeline import fastest

needs_zarrs = pytest.mark.skipif(
    importlib.util.find_spec("zarrs") is None or not hasattr(CodecPipeline, "from_array_metadata_and_store"),
    reason="the package zarrs (extra zarrs), which needs zarr 3.1, is not installed",
)
CODECS = {
    "blosc": {"compressors": BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", blocksize=2**19)},
    "lz4": {"compressors": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle")},
    "gzip": {"compressors": GzipCodec(level=1)},
    "zstd": {"compressors": ZstdCodec(level=1, checksum=True)},
    "checksum": {"compressors": Crc32cCodec()},
    "nothing": {"compressors": None},
    "v2": {"zarr_format": 2, "compressors": numcodecs.Blosc("zstd", 1, 1)},
    "v2 zstd": {"zarr_format": 2, "compressors": numcodecs.Zstd(1)},
    "v2 nothing": {"zarr_format": 2, "compressors": None},
}
OTHERS = {
    "shards": {"shards": (8, 8)},
    "shards, index first": {"shards": {"shape": (8, 8), "index_location": "start"}},
    "transposed shards": {"shards": (8, 8), "filters": [TransposeCodec(order=(1, 0))]},
    "transposed": {"filters": [TransposeCodec(order=(1, 0))]},
    "big-endian": {"serializer": BytesCodec(endian="big")},
    "v2 big-endian": {"zarr_format": 2, "dtype": ">u2"},
    "v2 F": {"zarr_format": 2, "order": "F"},
    "v2 zlib": {"zarr_format": 2, "compressors": numcodecs.Zlib(1)},
    "v2 delta": {"zarr_format": 2, "filters": [numcodecs.Delta("<u2")]},
}
ALL = CODECS | OTHERS


def made(store, name, **options):
    shape = {"shape": (13, 15), "chunks": (4, 4), "dtype": "u2", "fill_value": 0}
    return zarr.create_array(store, **(shape | ALL[name] | options))


def pipeline(array):
    return array._async_array.codec_pipeline


def numbers(array, seed=0):
    """Voxels of which the first chunk is empty."""
    data = np.random.default_rng(seed).integers(0, 2 if array.dtype == bool else 99, array.shape).astype(array.dtype)
    data[:4, :4] = 0
    return data


def timeless(content):
    """Stored bytes, less the time in the header of gzip."""
    return content[:4] + bytes(4) + content[8:] if content.startswith(b"\x1f\x8b") else content


def contents(store):
    return {key: timeless(content.to_bytes()) for key, content in store.items()}


# -- our own pipeline -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_what_is_stored_is_what_zarr_stores(name):
    plain, quick = {}, {}
    theirs, ours = made(plain, name), made(quick, name)
    fast, data = fastest(ours), numbers(theirs)
    for region in [np.s_[...], np.s_[4:8, 4:8], np.s_[3:9, 5:15], np.s_[12:, :], np.s_[5], np.s_[:, 3], np.s_[2, 2]]:
        theirs[region] = fast[region] = (data[region] * 3).astype(theirs.dtype)
        assert contents(quick) == contents(plain)
    theirs[:8] = fast[:8] = 0
    assert contents(quick) == contents(plain)
    np.testing.assert_array_equal(fast[...], ours[...])


@settings(max_examples=60)
@given(
    st.sampled_from(["bool", "i1", "u2", "i8", "f2", "f4", "f8", "c8", "c16"]),
    st.sampled_from([0, 1, np.nan]),
    st.lists(st.sampled_from([0, 1, np.nan]), min_size=1, max_size=3),
    st.booleans(),
)
def test_empty_chunks_are_those_that_zarr_leaves_out(dtype, fill, values, write_empty):
    all_values = np.array([fill, *values])
    whole = np.dtype(dtype).kind in "biu"
    fill_value, *others = (np.nan_to_num(all_values) if whole else all_values).astype(dtype)
    data = np.resize(others, (6, 9)).astype(dtype)
    data[:3, :3] = fill_value
    plain, quick = {}, {}
    options = {"shape": (6, 9), "chunks": (3, 3), "dtype": dtype, "config": {"write_empty_chunks": write_empty}}
    theirs, ours = (zarr.create_array(store, fill_value=fill_value, **options) for store in (plain, quick))
    theirs[...] = fastest(ours)[...] = data
    assert contents(quick) == contents(plain)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8"])
def test_chunks_of_negative_zeros_are_not_empty(dtype):
    array = zarr.create_array({}, shape=(4, 4), chunks=(2, 2), dtype=dtype, fill_value=0)
    fastest(array)[...] = np.full((4, 4), -0.0, dtype)
    assert np.signbit(array[...].real).all()


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("name", ["blosc", "v2", "shards"])
def test_it_is_the_same_array_and_the_given_one_stays(tmp_path, name, reading):
    before = dict(zarr.config.config)
    array = made(tmp_path / "array", name)
    fast = fastest(array, reading=reading)
    assert type(pipeline(array)) is BatchedCodecPipeline
    assert type(pipeline(fast)) is not BatchedCodecPipeline
    assert fast == array or (fast.metadata == array.metadata and fast.store_path == array.store_path)
    assert zarr.config.config == before
    array[...] = data = numbers(array)
    np.testing.assert_array_equal(fast[...], data)


def test_it_pickles_and_threads_share_it(tmp_path):
    array = made(tmp_path / "array", "blosc", shape=(64, 64), chunks=(8, 8))
    fast = pickle.loads(pickle.dumps(fastest(array)))
    assert type(pipeline(fast)) is type(pipeline(fastest(array)))
    data = np.random.default_rng(0).integers(0, 99, array.shape, dtype="u2")
    blocks = [np.s_[i : i + 16, j : j + 16] for i, j in itertools.product(range(0, 64, 16), repeat=2)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda block: fast.__setitem__(block, data[block]), blocks))
    np.testing.assert_array_equal(array[...], data)


@pytest.mark.filterwarnings("ignore:Combining a `sharding_indexed` codec")
@pytest.mark.parametrize("around", [{"shards": (8, 8)}, {"filters": [TransposeCodec(order=(1, 0))]}], ids=str)
def test_odd_shards_are_left_to_zarr(around):
    shards = ShardingCodec(chunk_shape=(2, 2), codecs=[BytesCodec()])
    array = zarr.create_array(
        {}, shape=(9, 9), chunks=(4, 4), dtype="u2", serializer=shards, compressors=None, **around
    )  # fmt: skip
    assert fastest(array) is array


class OtherPipeline(BatchedCodecPipeline):
    """One that a user has chosen."""


def test_a_pipeline_that_someone_chose_stays():
    zarr.registry.register_pipeline(OtherPipeline)
    with zarr.config.set({"codec_pipeline.path": f"{OtherPipeline.__module__}.OtherPipeline"}):
        array = made({}, "blosc")
    assert type(pipeline(array)) is OtherPipeline
    assert fastest(array) is array


class Full(WrapperStore):
    """Store that has room for no chunk of the first row, and is slow with all others."""

    def __init__(self, store):
        super().__init__(store)
        self.written = []

    async def set(self, key, value):
        if key.startswith("c/0"):
            raise OSError(28, "No space left on device")
        await asyncio.sleep(0.01)
        self.written.append(key)
        await super().set(key, value)


def test_nothing_is_written_any_more_when_an_error_is_raised():
    memory = MemoryStore()
    made(memory, "blosc", shape=(32, 32))
    store = Full(memory)
    array = fastest(zarr.open_array(store, mode="r+"))
    with pytest.raises(OSError, match="No space left"):
        array[...] = 7
    with pytest.raises(OSError, match="No space left"):
        array[...] = np.full((32, 32), 7, "u2")
    seen = list(store.written)
    time.sleep(0.1)
    assert store.written == seen


# -- zarrs ------------------------------------------------------------------------------------------------------------


def is_of_zarrs(array):
    return type(pipeline(array)).__module__.startswith("zarrs")


UNSERVED = {"big-endian", "v2 big-endian", "v2 F", "v2 zlib", "v2 delta"}


@needs_zarrs
@pytest.mark.parametrize("name", [name for name in ALL if name not in UNSERVED])
@pytest.mark.parametrize("dtype", ["bool", "u1", "u2", "i4", "f4", "f8", "c8"])
def test_zarrs_reads_what_is_stored(tmp_path, name, dtype):
    array = made(tmp_path / "array", name, dtype=dtype)
    array[...] = data = numbers(array)
    fast = fastest(array, reading=True)
    assert is_of_zarrs(fast)
    assert type(pipeline(pickle.loads(pickle.dumps(fast)))) is type(pipeline(fast))
    for region in [np.s_[...], np.s_[3:9, 5:15], np.s_[12:, :], np.s_[5], np.s_[:, 3], np.s_[2, 2], np.s_[::2, 1:9:3]]:
        np.testing.assert_array_equal(fast[region], data[region])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for part, row in zip(pool.map(fast.__getitem__, range(13)), data, strict=True):
            np.testing.assert_array_equal(part, row)


@needs_zarrs
@pytest.mark.parametrize("name", ["blosc", "lz4", "v2", "gzip", "zstd", "shards"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_zarrs_refuses_chunks_that_are_cut_short(tmp_path, name, part):
    array = made(
        tmp_path / "array", name, shape=(64, 64), chunks=(64, 64), **({"shards": (64, 64)} if name == "shards" else {})
    )
    array[...] = np.random.default_rng(0).integers(0, 9999, (64, 64), dtype="u2")
    path = tmp_path / "array" / array.metadata.encode_chunk_key((0, 0))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever it raises
        fastest(array, reading=True)[...]


@pytest.mark.parametrize("name", sorted(UNSERVED))
def test_zarrs_is_not_asked_for_what_it_does_not_serve(tmp_path, name):
    array = made(tmp_path / "array", name)
    array[...] = data = numbers(array)
    fast = fastest(array, reading=True)
    assert not is_of_zarrs(fast)
    np.testing.assert_array_equal(fast[...], data)


def test_zarrs_only_reads_local_files(tmp_path):
    """It changes chunks in place, where a reader may meet half of one."""
    assert not is_of_zarrs(fastest(made(tmp_path / "array", "blosc")))
    assert not is_of_zarrs(fastest(made(MemoryStore(), "blosc"), reading=True))
    made(LocalStore(tmp_path / "wrapped"), "blosc")
    wrapped = zarr.open_array(WrapperStore(LocalStore(tmp_path / "wrapped")), mode="r+")
    assert not is_of_zarrs(fastest(wrapped, reading=True))


def test_without_zarrs_all_is_read_too(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarrs", None)
    array = made(tmp_path / "array", "blosc")
    array[...] = data = numbers(array)
    fast = fastest(array, reading=True)
    assert not is_of_zarrs(fast)
    np.testing.assert_array_equal(fast[...], data)
