"""The model of what a write holds: it grows with what there is to hold, and knows which dask chunks wait for others."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.pyramid import held
from xarray_ngff.pyramid.grids import LevelGrid
from xarray_ngff.pyramid.held import Source, held_bytes, holdings
from xarray_ngff.pyramid.passes import Pass

MIB = 2**20


def waiting_voxels(block, blocks, threads):
    waiting = held._waiting(block, block, blocks, 1)
    return waiting.held_bytes(threads) if waiting else 0


def whole(shape, unit):
    return Pass(None, (0,), (None,), ((1,) * len(shape),), unit)


def peak(shape=(512,) * 3, chunks=(128,) * 3, block=(256,) * 3, *, shards=None, source=None, threads=2):
    grids = [LevelGrid(shape, chunks, shards)]
    return held_bytes(holdings([whole(shape, block)], [block], grids, 2, source or Source()), threads)


def test_a_file_takes_more_than_memory():
    assert peak(source=Source((128,) * 3)) > peak() + 2 * 2 * 256**3


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({"threads": 8}, {"threads": 2}),
        ({"block": (512,) * 3, "source": Source((128,) * 3)}, {"source": Source((128,) * 3)}),
        ({"source": Source((256,) * 3)}, {"source": Source((32,) * 3)}),
        ({"chunks": (256,) * 3}, {}),
        ({"shards": (256,) * 3}, {}),
    ],
    ids=str,
)
def test_grows(more, less):
    assert peak(**more) > peak(**less)


def test_no_more_threads_than_blocks():
    assert peak(threads=100) == peak(threads=8)


@given(
    sizes=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=3),
    length=st.integers(1, 12),
    threads=st.integers(1, 9),
)
@settings(deadline=None)
def test_chunks_that_wait(sizes, length, threads):
    """Never more than there are, nor less than one block; none where every chunk is whole units."""
    blocks = tuple(map(tuple, sizes))
    shape = tuple(map(sum, blocks))
    block = tuple(min(length, n) for n in shape)
    waiting = waiting_voxels(block, blocks, threads)
    assert waiting <= math.prod(shape)
    fits = all(n % b == 0 for each, b in zip(blocks, block, strict=True) for n in each[:-1])
    assert waiting == 0 if fits else waiting >= math.prod(block)


@pytest.mark.parametrize(
    ("chunks", "block", "expected"),
    [
        ((128, 128), (128, 128), 0),
        ((64, 64), (128, 128), 2 * 128 * 128),  # two threads, each with the chunks of its block
        ((1, 512), (128, 128), 2 * 128 * 512),  # a row of planes, and the next one
        ((512, 64), (128, 128), 2 * 512 * 128),
        ((512, 512), (128, 128), 0),
    ],
)
def test_groups_of_chunks_that_share_nothing(chunks, block, expected):
    blocks = tuple((length,) * (512 // length) for length in chunks)
    assert waiting_voxels(block, blocks, 2) == expected


def test_chunks_that_straddle_wait_across_the_image():
    blocks = ((96,) * 16, (128,) * 12)
    assert waiting_voxels((128, 128), blocks, 2) >= 96 * 1536
