"""Arrays of several files as one, compared with NumPy's concatenate."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends._lazy import LazyArray, image_dataset, take_orthogonal
from xarray_ngff.backends.ome_tiff.stack_array import Member, StackArray


class Held(LazyArray):
    """Array in memory that counts what is read of it."""

    def __init__(self, array):
        super().__init__(array.shape, array.dtype, range(array.ndim))
        self.array = array
        self.reads = 0

    def read(self, key):
        self.reads += 1
        return take_orthogonal(self.array, key)


def stacked(whole, dims, lengths, *, bare=frozenset()):
    """The array cut into members, those of length 1 in `bare` dims without that axis."""
    edges = {dim: np.cumsum((0, *along)) for dim, along in lengths.items()}
    members = []
    for place in np.ndindex(*(len(along) for along in lengths.values())):
        cut = {dim: slice(edges[dim][i], edges[dim][i + 1]) for dim, i in zip(lengths, place, strict=True)}
        part = whole[tuple(cut.get(dim, slice(None)) for dim in dims)]
        gone = [dim for dim in lengths if dim in bare and part.shape[dims.index(dim)] == 1]
        kept = tuple(dim for dim in dims if dim not in gone)
        members.append(Member(kept, Held(part.squeeze(tuple(dims.index(dim) for dim in gone)))))
    return StackArray(members, dims, dict(zip(dims, whole.shape, strict=True)), lengths)


@st.composite
def stacks(draw):
    dims = draw(st.sampled_from([("z", "y", "x"), ("c", "z", "y"), ("t", "c", "z", "y", "x")]))
    joined = draw(
        st.sampled_from([pair for pair in (("z",), ("c", "z"), ("t",), ("c", "t")) if set(pair) <= set(dims)])
    )
    lengths = {dim: draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)) for dim in joined}
    shape = [sum(lengths[dim]) if dim in lengths else draw(st.integers(1, 3)) for dim in dims]
    whole = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    return whole, stacked(whole, dims, lengths, bare=draw(st.sets(st.sampled_from(joined))))


def indexers(size):
    slices = st.slices(size)
    lists = st.lists(st.integers(-size, size - 1), max_size=4).map(lambda entries: np.array(entries, int))
    return st.one_of(st.integers(-size, size - 1), slices, lists)


@given(stacks(), st.data())
def test_any_selection(stack, data):
    whole, array = stack
    image = image_dataset("image", array.dims, array, {})["image"]
    assert image.shape == whole.shape
    key = {dim: data.draw(indexers(size)) for dim, size in image.sizes.items()}
    expected = xr.DataArray(whole, dims=array.dims).isel(key)
    found = image.isel(key)
    again = pickle.loads(pickle.dumps(image)).isel(key)
    xr.testing.assert_equal(found.load(), expected)
    xr.testing.assert_equal(again, expected)
    assert found.dtype == whole.dtype


def test_only_members_that_are_met_are_read():
    whole = np.zeros((2, 12, 4, 5))
    array = stacked(whole, ("c", "z", "y", "x"), {"c": [1, 1], "z": [3] * 4}, bare={"c"})
    image = image_dataset("image", array.dims, array, {})["image"]
    image.isel(c=1, z=slice(4, 8), y=0).load()
    assert [member.array.reads for member in array.members] == [0, 0, 0, 0, 0, 1, 1, 0]
    image.isel(z=[11, 0, 0]).load()
    assert [member.array.reads for member in array.members] == [1, 0, 0, 1, 1, 1, 1, 1]
    image.isel(z=slice(5, 5)).load()
    assert sum(member.array.reads for member in array.members) == 6


@pytest.mark.parametrize("dim", ["c", "z"])
def test_a_selection_over_many_files_is_one_array(dim):
    whole = np.random.default_rng(0).integers(0, 99, (50, 6, 7))
    array = stacked(whole, (dim, "y", "x"), {dim: [1] * 50}, bare={dim})
    assert np.shares_memory(array.members[3].array.array, whole)
    found = array.read((np.array([0, 1, 30, 49]), slice(0, 6, 5), 2))
    np.testing.assert_array_equal(found, whole[[0, 1, 30, 49]][:, ::5, 2])


def test_a_plane_that_is_asked_for_twice():
    whole = np.arange(12, dtype="i4").reshape(2, 2, 3)
    stack = stacked(whole, ("z", "y", "x"), {"z": [1, 1]}, bare={"z"})
    found = image_dataset("image", stack.dims, stack, {})["image"][[1, 1, 0]]
    np.testing.assert_array_equal(found.values, whole[[1, 1, 0]])
