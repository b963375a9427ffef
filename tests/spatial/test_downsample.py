import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import block_reduce as skimage_block_reduce
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_ngff import Channel, as_image
from xarray_ngff.errors import GeometryError
from xarray_ngff.spatial.downsample import aligned_chunks


def blocks_of(array, factors):
    """Every block as an array of its own, by the index of its result."""
    counts = [-(-size // factor) for size, factor in zip(array.shape, factors, strict=True)]
    for index in np.ndindex(*counts):
        yield index, array[tuple(slice(i * f, i * f + f) for i, f in zip(index, factors, strict=True))]


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "function"), [("mean", np.mean), ("min", np.min), ("max", np.max), ("median", np.median)]
)
def test_whole_blocks_are_those_of_scikit_image(method, function):
    data = np.random.default_rng(0).normal(size=(6, 8, 9))
    img = as_image(data)
    expected = skimage_block_reduce(data, (3, 2, 3), function)
    np.testing.assert_allclose(img.ngff.downsample(z=3, y=2, x=3, method=method), expected, rtol=1e-12)


@given(hnp.arrays("u1", hnp.array_shapes(min_dims=2, max_dims=3, max_side=7)), st.data())
def test_every_block_counts_to_the_last_voxel(data, choice):
    img = as_image(data)
    factors = [choice.draw(st.integers(1, 4)) for _ in img.dims]
    found = {
        method: img.ngff.downsample(**dict(zip(img.dims, factors, strict=True)), method=method).values
        for method in ("mean", "min", "max")
    }
    for index, block in blocks_of(data, [min(f, size) for f, size in zip(factors, data.shape, strict=True)]):
        assert found["mean"][index] == np.rint(block.mean())
        assert found["min"][index] == block.min()
        assert found["max"][index] == block.max()


def test_means_of_integers_round_half_to_even():
    img = as_image(np.array([[0, 1, 1, 2, 254, 255, 255, 255]], "uint8"))
    small = img.ngff.downsample(x=2, y=1)
    assert small.dtype == np.uint8
    assert small.values.tolist() == [[0, 2, 254, 255]]


def test_labels_and_masks_keep_their_values():
    data = np.array([[1, 1, 7, 0, 0, 5]], "uint16")
    assert as_image(data, name="labels").ngff.downsample(x=3, y=1).values.tolist() == [[1, 0]]
    assert as_image(data).ngff.downsample(x=3, y=1).values.tolist() == [[3, 2]]
    assert as_image(data, name="labels").ngff.downsample(x=3, y=1, method="max").values.tolist() == [[7, 5]]
    mask = as_image(np.array([[True, False, False, True, True, False]]))
    assert mask.ngff.downsample(x=3, y=1).values.tolist() == [[False, True]]


# -- dask -------------------------------------------------------------------------------------------------------------


@st.composite
def chunkings(draw, size):
    sizes = []
    while sum(sizes) < size:
        sizes.append(draw(st.integers(1, size - sum(sizes))))
    return tuple(sizes)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_chunks_do_not_change_the_result(data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=9))
    array = data.draw(hnp.arrays("u2", shape, elements=st.integers(0, 9)))
    chunks = tuple(data.draw(chunkings(size)) for size in shape)
    method = data.draw(st.sampled_from(["mean", "nearest", "mode", "min", "max", "median"]))
    img = as_image(array)
    factors = {dim: data.draw(st.integers(1, 5)) for dim in img.dims}
    lazy = img.copy(data=dask.array.from_array(array, chunks=chunks)).ngff.downsample(**factors, method=method)
    assert isinstance(lazy.data, dask.array.Array) or factors == dict.fromkeys(img.dims, 1)
    xr.testing.assert_identical(lazy.compute(), img.ngff.downsample(**factors, method=method))


@given(st.integers(1, 60).flatmap(chunkings), st.integers(1, 9))
def test_chunks_are_moved_to_whole_blocks_by_less_than_one(sizes, factor):
    aligned = aligned_chunks(sizes, factor)
    assert sum(aligned) == sum(sizes)
    assert min(aligned) > 0
    before, after = np.cumsum(sizes)[:-1], np.cumsum(aligned)[:-1]
    assert not (after % factor).any()
    assert set(after) == {end // factor * factor for end in before} - {0, sum(sizes)}


def test_dask_is_not_computed():
    def fail(block):
        raise AssertionError("the data were read")

    lazy = dask.array.ones((6, 7), chunks=3).map_blocks(fail, dtype="f4", meta=np.empty((0, 0), "f4"))
    small = as_image(lazy).ngff.downsample(2)
    assert (small.shape, small.dtype) == ((3, 4), np.float32)
    with pytest.raises(AssertionError, match="the data were read"):
        small.compute()


def test_a_file_that_is_not_loaded_stays_so():
    reads = []

    class File(BackendArray):
        shape, dtype = (8, 8), np.dtype("u1")

        def __getitem__(self, key):
            return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self.read)

        def read(self, key):
            reads.append(key)
            return np.arange(64, dtype="u1").reshape(8, 8)[key]

    bare = xr.DataArray(indexing.LazilyIndexedArray(File()), dims=("y", "x"))
    bare.encoding["preferred_chunks"] = {"y": 4, "x": 8}
    img = as_image(bare)
    small = img.ngff.downsample(2, method="nearest")
    assert reads == []
    assert small.chunks == ((2, 2), (4,))
    np.testing.assert_array_equal(small[:2].values, np.arange(64).reshape(8, 8)[:4:2, ::2])
    assert [(key[0].start, key[0].stop) for key in reads] == [(0, 4)]  # the chunk that it needs
    assert not img.variable._in_memory


# -- geometry ---------------------------------------------------------------------------------------------------------

TILT = [[0.8, -1.2, 0.1, 5], [0.6, 1.6, 0.2, 6], [0.1, 0, -3, 7], [0, 0, 0, 1]]


@pytest.mark.parametrize("shape", [(4, 6, 8), (5, 7, 9), (1, 3, 2)])
@pytest.mark.parametrize("factors", [{"x": 2}, {"z": 1, "y": 2, "x": 3}, {"z": 3, "x": 5}])
def test_a_block_is_at_its_centre_in_the_world(shape, factors):
    img = as_image(np.zeros(shape), affine=TILT, orientation="LPS", units="um")
    small = img.ngff.downsample(**factors)
    lengths = [min(factors.get(dim, 1), img.sizes[dim]) for dim in "xyz"]
    to_block = np.diag([*lengths, 1.0])
    to_block[:3, 3] = [(length - 1) / 2 for length in lengths]
    np.testing.assert_allclose(small.ngff.affine, np.diag([-1, -1, 1, 1]) @ TILT @ to_block, rtol=1e-12, atol=1e-12)
    assert small.ngff.orientation == img.ngff.orientation
    assert small.ngff.units == img.ngff.units


def test_an_axis_shorter_than_the_factor_becomes_one_voxel_at_its_centre():
    img = as_image(np.zeros((3, 10)), spacing=(2, 1), origin=(10, 0))
    small = img.ngff.downsample(8)
    assert small.sizes == {"y": 1, "x": 2}
    assert small.y.values.tolist() == [12.0]
    assert small.ngff.spacing == {"y": 6.0, "x": 8.0}
    assert small.ngff.extent["y"] == img.ngff.extent["y"]


def test_an_axis_of_one_voxel_stays_where_it_is():
    img = as_image(np.zeros((1, 8)), spacing=(2, 1), origin=(10, 0))
    small = img.ngff.downsample(2)
    xr.testing.assert_identical(small.y.variable, img.y.variable)


def test_a_backward_axis_stays_backward():
    img = as_image(np.zeros((2, 6)), spacing=(1, -2), origin=(0, 10))
    assert img.ngff.downsample(x=2).x.values.tolist() == [9, 5, 1]


def test_time_can_be_binned_too():
    img = as_image(np.arange(12).reshape(3, 2, 2), "tyx", spacing={"t": 0.5}, units={"t": "s"})
    small = img.ngff.downsample(t=2)
    assert small.t.values.tolist() == [0.25, 1.25]
    assert small.t.attrs == {"units": "second", "spacing": 1.0}
    assert small.values[:, 0, 0].tolist() == [2, 8]


def test_what_is_not_binned_keeps_its_coordinates():
    img = as_image(np.zeros((2, 4, 4)), "cyx", channels=[Channel("a", "FF0000"), "b"])
    img = img.assign_coords(exposure=("c", [0.1, 0.2]), plate="P7", row_mean=("y", [1.0, 2, 3, 4])).assign_attrs(a=1)
    small = img.ngff.downsample(x=2)
    assert small.ngff.channels == img.ngff.channels
    assert small.exposure.values.tolist() == [0.1, 0.2]
    assert small.plate == "P7"
    assert small.row_mean.values.tolist() == [1, 2, 3, 4]
    assert (small.name, small.attrs) == (img.name, {"a": 1})
    assert "row_mean" not in img.ngff.downsample(2).coords  # along a dim that has other voxels now


def test_a_plane_keeps_its_place():
    img = as_image(np.zeros((4, 6, 8)), affine=TILT)
    small = img.isel(z=2).ngff.downsample(2)
    np.testing.assert_allclose(small.ngff.affine, img.ngff.downsample(x=2, y=2).isel(z=2).ngff.affine, rtol=1e-12)
    assert small.z == img.z[2]


def test_factors_of_1_give_the_image():
    img = as_image(np.zeros((4, 6)))
    xr.testing.assert_identical(img.ngff.downsample(1), img)


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ({"q": 2}, "downsample names 'q', but the dims with a spacing are t, y, x"),
        ({"c": 2}, "downsample names 'c', but the dims with a spacing are t, y, x"),
        ({"x": 0}, "factor of 'x' is 0, expected a whole number of at least 1"),
        ({"x": -2}, "factor of 'x' is -2, expected"),
        ({"x": 2.0}, r"factor of 'x' is 2\.0, expected"),
        ({"x": True}, "factor of 'x' is True, expected"),
        ({"x": "2"}, "factor of 'x' is '2', expected"),
        ({"x": 2, "method": "average"}, "method='average': expected one of mean, nearest, mode, min, max, median"),
        ({}, "give one of both"),
        ({"factor": 2, "x": 2}, "give one of both"),
    ],
)
def test_what_does_not_fit_is_refused(factors, message):
    img = as_image(np.zeros((2, 2, 4, 4)), "tcyx")
    with pytest.raises(GeometryError, match=message):
        img.ngff.downsample(**factors)


@pytest.mark.parametrize("method", ["mean", "median", "max"])
def test_a_method_that_the_values_do_not_have_is_refused(method):
    img = as_image(np.zeros((4, 4), "M8[s]"))
    with pytest.raises(GeometryError, match=f"'{method}' is not defined for dtype datetime64"):
        img.ngff.downsample(2, method=method)


def test_blocks_need_a_regular_grid_where_they_are_made():
    img = as_image(np.zeros((4, 6))).isel(x=[0, 1, 3])
    assert img.ngff.downsample(y=2).shape == (2, 3)
    with pytest.raises(GeometryError, match="'x' is not regular"):
        img.ngff.downsample(x=2)
