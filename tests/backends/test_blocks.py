"""Blocks of whole chunks: bounded, in the order of the file, each voxel once."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.backends import _blocks
from xarray_ngff.backends._blocks import blocks


def located(data):
    return xr.DataArray(data, dims=("x", "y", "z", "t")[: data.ndim][::-1])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_blocks_are_bounded_and_cover_the_image_once(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    image = located(np.zeros(shape, "u1"))
    budget = data.draw(st.integers(20, 5000))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_blocks, "_BLOCK", budget)
        parts = list(blocks(image, image.dims[::-1], 2))
    seen = np.zeros(shape, int)
    positions = []
    for part in parts:
        block = image.isel(part)
        assert block.size * 2 <= max(budget, 2)
        place = tuple(part[dim] for dim in image.dims)
        seen[place] += 1
        positions.append(np.ravel_multi_index([s.start for s in place], shape))
    assert (seen == 1).all()
    assert positions == sorted(positions)


def test_a_lazy_file_is_read_in_the_chunks_that_it_prefers():
    image = located(np.zeros((8, 6, 4), "i2"))
    image.encoding["preferred_chunks"] = {"z": 3, "y": 6, "x": 4}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_blocks, "_BLOCK", 1)
        parts = list(blocks(image, ("x", "y", "z"), 2))
    assert [part["z"] for part in parts] == [slice(0, 3), slice(3, 6), slice(6, 8)]
    assert [part["y"] for part in parts] == [slice(0, 6)] * 3


def test_coordinates_in_other_chunks_do_not_matter():
    image = xr.DataArray(np.zeros((2, 4), "u1"), dims=("c", "x"), coords={"color": ("c", ["a", "b"])}).chunk()
    image = image.copy(data=image.data.rechunk((1, 2)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_blocks, "_BLOCK", 1)
        assert len(list(blocks(image, ("x", "c"), 1))) == 4
