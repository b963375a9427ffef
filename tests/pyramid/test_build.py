import dask.array
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_ngff import Channel, as_image
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.build import level_images, to_multiscale

TILT = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.2, 0.1) * [1, 2, 3], [5, 6, 7])


def refuse(block):
    raise AssertionError("the data were read")


@pytest.fixture
def unreadable():
    data = dask.array.zeros((3, 2, 20, 300, 1100), chunks=(1, 1, 20, 100, 300), dtype="u1")
    return data.map_blocks(refuse, dtype="u1", meta=np.empty((0,) * 5, "u1"))


def test_a_pyramid_is_a_tree_of_levels_under_an_empty_root(unreadable):
    tree = to_multiscale(as_image(unreadable, units="um"), levels=3)
    assert list(tree.children) == ["scale0", "scale1", "scale2"]
    assert tree.to_dataset().sizes == {}
    assert [list(level.data_vars) for level in tree.children.values()] == [["image"]] * 3


def test_nothing_is_computed(unreadable):
    img = as_image(unreadable, affine=TILT, units="mm", channels=["a", "b"], name="labels")
    tree = img.ngff.to_multiscale(factors=[2, {"z": 2, "y": 6, "x": 8}])
    levels = level_images(tree)
    assert [dict(level.sizes) for level in levels] == [
        {"t": 3, "c": 2, "z": 20, "y": 300, "x": 1100},
        {"t": 3, "c": 2, "z": 10, "y": 150, "x": 550},
        {"t": 3, "c": 2, "z": 10, "y": 50, "x": 138},
    ]
    assert [level.name for level in levels] == ["labels"] * 3
    assert [level.ngff.channels for level in levels] == [(Channel("a"), Channel("b"))] * 3
    assert all(isinstance(level.data, dask.array.Array) for level in levels)
    with pytest.raises(AssertionError, match="the data were read"):
        levels[2].compute()


def test_a_file_that_is_not_loaded_stays_so():
    class Unreadable(BackendArray):
        shape, dtype = (600, 600), np.dtype("u1")

        def __getitem__(self, key):
            raise AssertionError("the data were read")

    img = as_image(xr.DataArray(indexing.LazilyIndexedArray(Unreadable()), dims=("y", "x")))
    levels = level_images(img.ngff.to_multiscale())
    assert [level.shape for level in levels] == [(600, 600), (300, 300), (150, 150)]
    assert not img.variable._in_memory


def test_level_0_is_the_image_itself():
    img = as_image(np.arange(16.0).reshape(4, 4))
    levels = level_images(img.ngff.to_multiscale(levels=2))
    xr.testing.assert_identical(levels[0], img)
    assert np.shares_memory(levels[0].values, img.values)


@pytest.mark.parametrize("shape", [(16, 24, 32), (5, 19, 31)])
@pytest.mark.parametrize("method", ["nearest", "min", "max"])
def test_levels_are_what_the_full_resolution_gives(shape, method):
    data = np.random.default_rng(0).integers(0, 1000, shape, "u2")
    img = as_image(data)
    for level, factor in zip(
        level_images(img.ngff.to_multiscale(factors=[2, 4, 6], method=method)), [1, 2, 4, 6], strict=True
    ):
        values = level.values
        if method == "nearest":  # a voxel of the block
            starts = [np.arange(0, size, factor) for size in shape]
            for index in np.ndindex(*values.shape):
                block = data[tuple(slice(s[i], s[i] + factor) for s, i in zip(starts, index, strict=True))]
                assert values[index] in block
        else:
            function = {"min": np.minimum, "max": np.maximum}[method]
            expected = data
            for axis, size in enumerate(shape):
                expected = function.reduceat(expected, np.arange(0, size, factor), axis=axis)
            np.testing.assert_array_equal(values, expected)


def test_means_over_whole_blocks_are_those_of_the_full_resolution():
    data = np.random.default_rng(0).normal(size=(12, 24))
    for level, factor in zip(
        level_images(as_image(data).ngff.to_multiscale(factors=[2, 4, 12])), [1, 2, 4, 12], strict=True
    ):
        expected = data.reshape(12 // factor, factor, 24 // factor, factor).mean(axis=(1, 3))
        np.testing.assert_allclose(level.values, expected, rtol=1e-12, atol=1e-15)


def test_labels_get_no_new_values():
    data = np.random.default_rng(0).choice([0, 7, 1000], (40, 40)).astype("u2")
    for level in level_images(as_image(data, name="labels").ngff.to_multiscale(levels=4)):
        assert set(np.unique(level)) <= {0, 7, 1000}


@pytest.mark.parametrize("factors", [[2, 4, 8], [3], [{"x": 2}, {"x": 4, "y": 3}], [2, 6]])
def test_every_level_is_at_the_centres_of_its_blocks(factors):
    img = as_image(np.zeros((11, 20, 33), "u1"), affine=TILT, orientation="RAS", units="um")
    levels = level_images(img.ngff.to_multiscale(factors=factors))
    for level, factor in zip(levels[1:], factors, strict=True):
        lengths = [factor.get(dim, 1) if isinstance(factor, dict) else factor for dim in "xyz"]
        to_block = np.diag([*lengths, 1.0])
        to_block[:3, 3] = [(length - 1) / 2 for length in lengths]
        np.testing.assert_allclose(level.ngff.affine, TILT @ to_block, rtol=1e-10, atol=1e-10)
        assert level.shape == tuple(-(-size // f) for size, f in zip(img.shape, lengths[::-1], strict=True))


def test_axes_are_halved_by_their_spacing_in_one_unit():
    img = as_image(np.zeros((40, 600, 600), "u1"), spacing=(4000, 1, 1), units={"z": "nm", "y": "um", "x": "um"})
    shapes = [level.shape for level in level_images(img.ngff.to_multiscale(levels=4))]
    assert shapes == [(40, 600, 600), (40, 300, 300), (40, 150, 150), (20, 75, 75)]  # 4 µm in z is 1, 2, 4 µm in x


def test_time_need_not_be_regular():
    img = as_image(np.zeros((4, 8, 8), "u1"), "tyx").isel(t=[0, 1, 3])
    assert [level.shape for level in level_images(img.ngff.to_multiscale(levels=2))] == [(3, 8, 8), (3, 4, 4)]


def test_one_level_is_the_image_alone():
    img = as_image(np.zeros((4, 8)))
    (level,) = level_images(img.ngff.to_multiscale(levels=1))
    xr.testing.assert_identical(level, img)


def test_time_and_channels_stay_whole():
    img = as_image(np.zeros((4, 3, 2, 300, 300), "u1"), spacing=(9, 1, 1))
    assert [level.shape for level in level_images(img.ngff.to_multiscale())] == [
        (4, 3, 2, 300, 300),
        (4, 3, 2, 150, 150),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": [4, 2]}, "below those of level 1"),
        ({"factors": [2], "levels": 3}, "levels=3 counts level 0"),
        ({"factors": [{"t": 2}]}, r"name \['t'\]: the spatial dims are"),
        ({"levels": 0}, "expected an integer >= 1"),
        ({"method": "average"}, "method='average': expected one of mean"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(GeometryError, match=message):
        as_image(np.zeros((2, 8, 8)), "tyx").ngff.to_multiscale(**options)


def test_an_array_without_space_has_no_pyramid():
    with pytest.raises(GeometryError, match="none of which is spatial: there is no pyramid"):
        xr.DataArray(np.zeros((4, 4)), dims=("a", "b")).ngff.to_multiscale()


# -- reading levels ---------------------------------------------------------------------------------------------------


def node(*names):
    return xr.Dataset({name: ("x", [0.0]) for name in names})


def test_levels_come_in_the_order_of_their_numbers():
    tree = xr.DataTree.from_dict({f"/scale{i}": xr.Dataset({"image": ("x", [float(i)])}) for i in [10, *range(10)]})
    assert [image.item() for image in level_images(tree)] == list(range(11))


def test_other_nodes_are_no_levels():
    tree = xr.DataTree.from_dict({"/scale0": node("image"), "/labels/nuclei/scale0": node("labels")})
    assert [image.name for image in level_images(tree)] == ["image"]


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ({"/A/1/0/scale0": node("image")}, r"no pyramid: expected nodes scale0, scale1, .* found A"),
        ({"/": xr.Dataset()}, r"no pyramid: .* found none"),
        ({"/scale0": node("image"), "/scale2": node("image")}, r"the tree has levels \[0, 2\]"),
        ({"/scale1": node("image")}, r"the tree has levels \[1\]"),
        ({"/scale0": node("image", "mask")}, "node '/scale0' holds 2 variables, expected one image"),
        ({"/scale0": node()}, "node '/scale0' holds 0 variables"),
    ],
)
def test_what_is_no_pyramid_is_refused(nodes, message):
    with pytest.raises(GeometryError, match=message):
        level_images(xr.DataTree.from_dict(nodes))


def test_the_tree_shows_its_levels():
    tree = as_image(np.zeros((4, 8)), units="um").ngff.to_multiscale(levels=2)
    assert [level.shape for level in tree.ngff.levels] == [(4, 8), (2, 4)]
    assert repr(tree.ngff).count("xarray-ngff image") == 2
