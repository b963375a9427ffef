"""Chunks put together from blocks of any shape, against padding the whole array."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.imaris.chunk_assembly import ChunkAssembly
from xarray_ngff.backends.imaris.resolution_levels import ResolutionLevel

SIZE, CHUNK = (5, 9, 17), (2, 4, 8)


@pytest.mark.parametrize("held", [0, 3 * 64 * 2, 10**6])
@given(data=st.data())
def test_blocks_of_any_shape_in_any_order(held, data, tmp_path_factory):
    pixels = np.arange(2 * 3 * np.prod(SIZE), dtype="u2").reshape(2, 3, *SIZE) + np.uint16(1)
    cuts = [sorted({0, size, *data.draw(st.lists(st.integers(1, size), max_size=3))}) for size in pixels.shape]
    places = list(itertools.product(*(list(itertools.pairwise(ends)) for ends in cuts)))
    scratch = tmp_path_factory.mktemp("scratch") / "chunks"
    scratch.touch()
    level = ResolutionLevel(SIZE, CHUNK)
    assembly = ChunkAssembly(level, pixels.dtype, scratch, held=held)
    padded = np.zeros((2, 3, *level.stored_shape), "u2")
    padded[:, :, : SIZE[0], : SIZE[1], : SIZE[2]] = pixels
    seen = set()
    for place in data.draw(st.permutations(places)):
        block = pixels[tuple(slice(*ends) for ends in place)]
        for (t, c, *index), chunk in assembly.add(block, tuple(start for start, _ in place)):
            assert (t, c, *index) not in seen
            seen.add((t, c, *index))
            region = tuple(slice(at * side, (at + 1) * side) for at, side in zip(index, CHUNK, strict=True))
            np.testing.assert_array_equal(chunk, padded[(t, c, *region)])
    assert len(seen) == 2 * 3 * np.prod(level.grid)
    if held == 10**6:
        assert scratch.stat().st_size == 0
