"""Images for formats without orientation: every voxel keeps its world position, or a warning says what is lost."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from xarray_ngff import NgffWarning, as_image
from xarray_ngff.backends._plain_grid import plain_grid

FLIPS = list(itertools.product("LR", "AP", "IS"))


def plain(img):
    return plain_grid(img, place="a.tif", holder="OME-TIFF")


def positions(img):
    """World position of every voxel by its value."""
    indices = np.stack(np.meshgrid(*(np.arange(n) for n in img.transpose("x", "y", "z").shape), indexing="ij"), -1)
    points = img.ngff.index_to_world(indices.reshape(-1, 3))
    return dict(zip(img.transpose("x", "y", "z").values.ravel().tolist(), points.round(9).tolist(), strict=True))


def test_an_image_without_orientation_is_as_it_was():
    img = as_image(np.zeros((2, 3, 4)), spacing=(2, 0.5, 0.25), origin=(1, -3, 1e6), units="um")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = plain(img)
    assert found.identical(img)


@pytest.mark.parametrize("codes", FLIPS, ids="".join)
@pytest.mark.parametrize("flipped", [(), ("x",), ("z", "y", "x")], ids=str)
def test_oriented_voxels_keep_their_world_position(codes, flipped):
    data = np.arange(24).reshape(2, 3, 4)
    img = as_image(data, spacing=(2, 0.5, 0.25), origin=(1, -3, 7), units="mm", orientation="".join(codes))
    img = img.isel({dim: slice(None, None, -1) for dim in flipped})
    with pytest.warns(NgffWarning, match="a.tif: OME-TIFF cannot hold the orientation") as caught:
        found = plain(img)
    assert len(caught) == 1
    assert positions(found) == positions(img)
    assert found.ngff.orientation is None
    assert all((np.diff(found[dim]) > 0).all() for dim in "zyx")


@pytest.mark.parametrize("codes", FLIPS, ids="".join)
def test_a_plane_keeps_its_place(codes):
    img = as_image(np.arange(24).reshape(2, 3, 4), spacing=(2, 0.5, 0.25), orientation="".join(codes)).isel(z=1)
    with pytest.warns(NgffWarning):
        found = plain(img)
    assert found.z.item() == img.ngff.index_to_world([0, 0, 0])[2]


def test_a_rotation_is_named_and_left_out():
    turned = [[0.8, -0.6, 0, 5], [0.6, 0.8, 0, 6], [0, 0, 2, 7], [0, 0, 0, 1]]
    img = as_image(np.arange(24).reshape(2, 3, 4), affine=turned, units="um")
    with pytest.warns(NgffWarning, match="rotation or shear [(]direction of x, y; "):
        found = plain(img)
    np.testing.assert_allclose(found.ngff.affine[:3, :3], np.diag([1, 1, 2]))
    np.testing.assert_array_equal(found.values, img.values)


def test_labels_are_named():
    with pytest.warns(NgffWarning, match="label image"):
        plain(as_image(np.zeros((2, 2), int), name="labels"))


def test_times_that_descend_are_turned_even_if_irregular():
    img = as_image(np.arange(3).reshape(3, 1), "tx").assign_coords(t=[5.0, 2.0, 1.0])
    found = plain(img)
    assert found.t.values.tolist() == [1, 2, 5]
    assert found.values.ravel().tolist() == [2, 1, 0]


def test_the_result_is_lazy():
    img = as_image(np.arange(24).reshape(2, 3, 4), spacing=(2, 0.5, 0.25)).chunk()
    assert plain(img.isel(x=slice(None, None, -1))).chunks is not None
