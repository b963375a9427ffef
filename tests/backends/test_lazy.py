"""The lazy array and the dataset assembly that engines share."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray.core import indexing

from xarray_ngff.backends._lazy import LazyArray, image_dataset, take_orthogonal

# axes of the "file": x, a filler of length 1, z, t, y
FILE = np.arange(5 * 1 * 4 * 2 * 3, dtype=">i4").reshape(5, 1, 4, 2, 3)
DIMS = ("t", "z", "y", "x")
ORDER = (3, 2, 4, 0)
EXPECTED = xr.DataArray(np.einsum("xfzty->tzyx", FILE).astype("i4"), dims=DIMS)


class Recorded(LazyArray):
    """An array in memory that notes the keys it is read with."""

    def __init__(self):
        super().__init__(FILE.shape, FILE.dtype, ORDER)
        self.keys = []

    def read(self, key):
        self.keys.append(key)
        return take_orthogonal(FILE, key)


class RecordedSlices(Recorded):
    support = indexing.IndexingSupport.BASIC


def opened(array):
    return image_dataset("image", DIMS, array, {"y": xr.Variable("y", [0.5, 1.5, 2.5])}, source="somewhere")["image"]


def selections(size):
    index = st.integers(-size, size - 1)
    forward, backward = st.none() | st.integers(-size - 1, size + 1), st.none() | st.integers(0, size - 1)
    return st.one_of(
        index,
        st.builds(slice, forward, forward, st.none() | st.integers(1, 3)),
        # xarray itself takes slice(-3, None, -1) of a lazy axis of length 2 for all of it
        st.builds(slice, backward, backward, st.integers(-3, -1)),
        st.lists(index, max_size=4).map(lambda chosen: np.array(chosen, dtype=int)),
    )


@pytest.mark.skipif(
    int(xr.__version__.split(".")[0]) < 2026, reason="xarray before 2026 composes lazy selections wrongly in itself"
)
@pytest.mark.parametrize("kind", [Recorded, RecordedSlices])
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_selecting_lazily_is_selecting(kind, data):
    lazy, eager = opened(kind()), EXPECTED
    for _ in range(2):
        chosen = {
            dim: data.draw(selections(size)) for dim, size in eager.sizes.items() if size and data.draw(st.booleans())
        }
        lazy, eager = lazy.isel(chosen), eager.isel(chosen)
    np.testing.assert_array_equal(lazy.values, eager.values)
    assert lazy.dims == eager.dims


def test_pointwise_selection():
    points = {"z": xr.DataArray([0, 3, 3], dims="p"), "x": xr.DataArray([4, 0, 1], dims="p")}
    np.testing.assert_array_equal(opened(Recorded()).isel(points).values, EXPECTED.isel(points).values)


def test_values_are_in_native_byte_order():
    image = opened(Recorded())
    assert image.dtype == np.dtype("i4")
    assert image.dtype.isnative
    assert image.values.dtype.isnative


def test_a_slice_is_read_as_a_slice_in_file_order():
    array = Recorded()
    assert opened(array).isel(z=slice(1, 3), x=2).shape == (2, 2, 3)
    assert array.keys == []
    opened(array).isel(z=slice(1, 3), x=2).load()
    (key,) = array.keys
    assert key[:2] == (2, 0)
    assert key[2].indices(4) == (1, 3, 1)


def test_it_can_be_read_asynchronously():
    image = opened(Recorded()).isel(z=[3, 0])

    async def loaded():
        return await image.load_async()

    np.testing.assert_array_equal(asyncio.run(loaded()).values, EXPECTED.isel(z=[3, 0]).values)


def test_it_pickles():
    copy = pickle.loads(pickle.dumps(opened(Recorded()).isel(x=slice(None, None, 2))))
    np.testing.assert_array_equal(copy.values, EXPECTED.isel(x=slice(None, None, 2)).values)


def test_dataset_knows_its_source_and_closes_it():
    closed = []
    dataset = image_dataset(
        "labels", DIMS, Recorded(), {}, attrs={"a": 1}, encoding={"b": 2}, source="file", close=lambda: closed.append(1)
    )
    assert dataset.encoding["source"] == "file"
    assert dataset["labels"].encoding == {"b": 2, "source": "file"}
    assert dataset["labels"].attrs == {"a": 1}
    dataset.close()
    assert closed == [1]


def test_orthogonal_selection_is_that_of_numpy_ix():
    array = np.arange(60).reshape(3, 4, 5)
    key = (np.array([0, 2, 2]), slice(1, 4, 2), np.array([4, 0]))
    np.testing.assert_array_equal(take_orthogonal(array, key), array[np.ix_([0, 2, 2], [1, 3], [4, 0])])
    np.testing.assert_array_equal(take_orthogonal(array, (1, np.array([3, 1]), 2)), array[1, [3, 1], 2])
