"""Selections as shares of chunks, and chunks decoded without HDF5."""

from __future__ import annotations

import threading
import zlib

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends._lazy import take_orthogonal
from xarray_ngff.backends.imaris.chunks import Codec, chunk_codec, run, shares, stored_chunk
from xarray_ngff.errors import FormatError


@st.composite
def selections(draw):
    size, chunk = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    chosen = draw(
        st.one_of(
            st.builds(lambda a, b, step: range(size)[a:b:step], *[st.integers(0, 40)] * 2, st.integers(1, 30)),
            st.lists(st.integers(0, size - 1), max_size=8).map(lambda indices: np.array(sorted(indices), dtype=int)),
        )
    )
    return size, chunk, chosen


@given(st.lists(selections(), min_size=1, max_size=3))
def test_shares_make_the_selection(axes):
    sizes, chunks, chosen = zip(*axes, strict=True)
    numbers = np.arange(np.prod(sizes)).reshape(sizes)
    found = np.full([len(part) for part in chosen], -1)
    origins = []
    for share in shares(chosen, chunks):
        chunk = numbers[tuple(slice(o, o + c) for o, c in zip(share.origin, chunks, strict=True))]
        assert (found[share.target] == -1).all()
        found[share.target] = take_orthogonal(chunk, share.within)
        origins.append(share.origin)
        assert all(o % c == 0 for o, c in zip(share.origin, chunks, strict=True))
    np.testing.assert_array_equal(found, numbers[np.ix_(*(np.array(part, dtype=int) for part in chosen))])
    assert origins == sorted(set(origins))


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u4", "f4", ">f8"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_chunks_come_out_as_from_hdf5(dtype, shuffle, tmp_path, noise):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset(
            "a", data=noise((7, 9), dtype).astype(dtype), chunks=(4, 5), compression="gzip", shuffle=shuffle
        )
        codec = chunk_codec(dataset)
        for y in (0, 4):
            for x in (0, 5):
                chunk = codec.decoded(*stored_chunk(dataset, (y, x), codec, "a"))
                expected = dataset[y : y + 4, x : x + 5]
                np.testing.assert_array_equal(chunk[: expected.shape[0], : expected.shape[1]], expected)


@pytest.mark.parametrize(
    "storage",
    [{}, {"chunks": (4, 5)}, {"compression": "lzf"}, {"compression": "gzip", "fletcher32": True}, {"scaleoffset": 0}],
    ids=str,
)
def test_what_is_left_to_hdf5(storage, tmp_path, noise):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        assert chunk_codec(file.create_dataset("a", data=noise((7, 9)), **storage)) is None


NUMBERS = np.arange(12, dtype="<u2")
GZIP = Codec((3, 4), NUMBERS.dtype, (1,))
STREAM = zlib.compress(NUMBERS.tobytes())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"rubbish",
        STREAM[:-1],
        STREAM[:-5] + b"12345",
        zlib.compress(NUMBERS[:-1].tobytes()),
        zlib.compress(bytes(25)),
        zlib.compress(bytes(1 << 24)),
    ],
    ids=["nothing", "rubbish", "cut", "checksum", "short", "long", "bomb"],
)
@pytest.mark.parametrize("filters", [(1,), (2, 1)], ids=str)
def test_corrupt_chunks(raw, filters):
    with pytest.raises(FormatError):
        Codec((3, 4), NUMBERS.dtype, filters).decoded(raw)


def test_a_chunk_without_its_filter():
    np.testing.assert_array_equal(GZIP.decoded(NUMBERS.tobytes(), skipped=1).ravel(), NUMBERS)
    np.testing.assert_array_equal(GZIP.decoded(STREAM).ravel(), NUMBERS)
    with pytest.raises(FormatError, match="23 bytes, expected 24"):
        GZIP.decoded(NUMBERS.tobytes()[:-1], skipped=1)


@pytest.mark.parametrize("threads", [1, 3])
def test_tasks_are_made_as_they_are_run(threads):
    lock, made, done = threading.Lock(), 0, 0
    most = 0

    def task():
        nonlocal done
        with lock:
            done += 1

    def tasks():
        nonlocal made, most
        for _ in range(100):
            with lock:
                made += 1
                most = max(most, made - done)
            yield task

    run(tasks(), threads)
    assert done == 100
    assert most <= 2 * threads + 1 + threads


@pytest.mark.parametrize("threads", [1, 3])
def test_the_error_of_a_task_is_raised(threads):
    def fail():
        raise FormatError("a chunk")

    with pytest.raises(FormatError, match="a chunk"):
        run([fail] * 20, threads)
