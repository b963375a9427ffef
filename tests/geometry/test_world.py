import itertools

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nibabel.testing import data_path

from xarray_ngff import as_image, geometry
from xarray_ngff.errors import GeometryError

numbers = st.floats(-50, 50).map(lambda value: round(value, 3))


@st.composite
def affines(draw):
    part = draw(hnp.arrays(float, (3, 3), elements=numbers))
    lengths = np.linalg.norm(part, axis=0)
    assume((lengths > 0.01).all())
    assume(abs(np.linalg.det(part / lengths)) > 0.05)
    return nib.affines.from_matvec(part, draw(hnp.arrays(float, 3, elements=numbers)))


@pytest.fixture(scope="module")
def brain():
    return nib.load(f"{data_path}/example4d.nii.gz")


def image_of(scan):
    return as_image(np.asanyarray(scan.dataobj).T, "tzyx", affine=scan.affine, orientation="RAS", units="mm")


def test_the_brain_lies_where_nibabel_says(brain):
    img = image_of(brain)
    np.testing.assert_allclose(img.ngff.affine, brain.affine, rtol=1e-12, atol=1e-9)
    assert img.ngff.orientation == "".join(nib.aff2axcodes(brain.affine))
    np.testing.assert_allclose(
        [img.ngff.spacing[dim] for dim in "xyz"], nib.affines.voxel_sizes(brain.affine), rtol=1e-12
    )


def test_a_part_of_the_brain_lies_where_nibabel_says(brain):
    img = image_of(brain).isel(z=slice(20, 3, -2), y=slice(95, None, -1), x=slice(5, 90))
    expected = brain.slicer[5:90, 95::-1, 20:3:-2]
    np.testing.assert_allclose(img.ngff.affine, expected.affine, rtol=1e-12, atol=1e-9)
    assert img.ngff.orientation == "".join(nib.aff2axcodes(expected.affine))


def test_the_brain_in_lps_is_the_brain_in_ras(brain):
    lps = np.diag([-1, -1, 1, 1]) @ brain.affine
    img = as_image(np.zeros((2, 3, 4)), affine=lps, orientation="LPS")
    np.testing.assert_allclose(img.ngff.affine, brain.affine, rtol=1e-12, atol=1e-9)


@given(affines(), st.sampled_from([None, "RAS"]))
def test_affine_and_orientation_are_those_of_nibabel(affine, frame):
    img = as_image(np.zeros((2, 3, 4)), affine=affine, orientation=frame)
    np.testing.assert_allclose(img.ngff.affine, affine, rtol=1e-6, atol=1e-4)
    assert img.ngff.orientation == (frame and "".join(nib.aff2axcodes(affine)))


@given(st.permutations("xyz"), st.tuples(*[st.sampled_from([1, -1])] * 3), st.tuples(*[st.floats(0.01, 100)] * 3))
def test_every_axis_order_and_handedness_is_told_as_nibabel_tells_it(order, signs, sizes):
    part = np.eye(3)[:, ["xyz".index(dim) for dim in order]] * signs * sizes
    affine = nib.affines.from_matvec(part, [1, 2, 3])
    img = as_image(np.zeros((2, 3, 4)), affine=affine, orientation="RAS")
    np.testing.assert_allclose(img.ngff.affine, affine, rtol=1e-14)
    assert img.ngff.orientation == "".join(nib.aff2axcodes(affine))
    assert not any("direction" in img[dim].attrs for dim in "xyz")


@given(affines(), hnp.arrays(float, (4, 2, 3), elements=numbers))
def test_points_go_to_the_world_and_back(affine, points):
    img = as_image(np.zeros((2, 3, 4)), affine=affine)
    world = img.ngff.index_to_world(points)
    np.testing.assert_allclose(world, nib.affines.apply_affine(affine, points), atol=1e-2)
    np.testing.assert_allclose(img.ngff.world_to_index(world), points, atol=1e-3)


@settings(max_examples=40)
@given(affines(), st.booleans())
def test_world_points_are_sums_of_coordinates_along_directions(affine, anatomical):
    img = as_image(np.zeros((2, 3, 4)), affine=affine, orientation="RAS" if anatomical else None)
    named = {"left-to-right": (1, 0, 0), "posterior-to-anterior": (0, 1, 0), "inferior-to-superior": (0, 0, 1)}
    vectors = {
        dim: np.array(img[dim].attrs.get("direction", named.get(img[dim].attrs.get("orientation"), unit)), dtype=float)
        for dim, unit in zip("xyz", np.eye(3), strict=True)
    }
    for index in [(0, 0, 0), (3, 2, 1), (1, 0, 1)]:
        place = sum(vectors[dim] * img[dim].values[i] for dim, i in zip("xyz", index, strict=True))
        np.testing.assert_allclose(place, nib.affines.apply_affine(affine, index), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("points", [0, 1.0, [1, 2], [[1, 2]], np.zeros((3, 2)), np.zeros((3, 4)), []])
def test_points_of_another_length_are_refused(points):
    img = as_image(np.zeros((2, 3, 4)))
    for function in (img.ngff.index_to_world, img.ngff.world_to_index):
        with pytest.raises(GeometryError, match=r"points have shape .*, expected \(\.\.\., 3\) in x, y, z order"):
            function(points)


def test_extent_reaches_half_a_voxel_beyond_the_centres():
    img = as_image(np.zeros((3, 4)), spacing=(2, -0.5), origin=(10, 1), units="um")
    assert img.ngff.extent == {"y": (9.0, 15.0), "x": (-0.75, 1.25)}
    assert img.transpose().ngff.extent == {"x": (-0.75, 1.25), "y": (9.0, 15.0)}
    assert img[:1, :1].ngff.extent == {"y": (9.0, 11.0), "x": (0.75, 1.25)}


@given(affines())
def test_world_extent_is_that_of_the_voxel_corners(affine):
    img = as_image(np.zeros((2, 3, 4)), affine=affine)
    corners = itertools.product((-0.5, 3.5), (-0.5, 2.5), (-0.5, 1.5))
    points = nib.affines.apply_affine(affine, list(corners))
    found = geometry.world_extent(img)
    np.testing.assert_allclose([found[dim] for dim in "xyz"], np.transpose([points.min(0), points.max(0)]), atol=1e-3)


def test_world_is_in_the_unit_of_x():
    img = as_image(
        np.zeros((2, 3, 4)), spacing=(500, 2, 0.001), origin=(1000, 1, 2), units={"z": "nm", "y": "um", "x": "mm"}
    )
    assert geometry.world_unit(img) == "millimeter"
    np.testing.assert_allclose(
        img.ngff.affine, [[1e-3, 0, 0, 2], [0, 2e-3, 0, 1e-3], [0, 0, 5e-4, 1e-3], [0, 0, 0, 1]], rtol=1e-12
    )
    assert img.ngff.spacing == {"z": 500.0, "y": 2.0, "x": 0.001}  # these stay in the axis's own unit
    assert img.ngff.extent["z"] == (750.0, 1750.0)


def test_without_a_unit_of_x_world_is_in_the_next_one():
    img = as_image(np.zeros((2, 3, 4)), units={"z": "nm", "y": "um", "x": None})
    assert geometry.world_unit(img) == "micrometer"
    np.testing.assert_allclose(np.diag(img.ngff.affine), [1, 1, 1e-3, 1])
    assert geometry.world_unit(as_image(np.zeros((2, 3)))) is None


def test_units_that_do_not_convert_make_no_world():
    img = as_image(np.zeros((3, 4)), units={"y": "pixel-ish", "x": "um"})
    with pytest.raises(GeometryError, match=r"'y': 'pixel-ish'.*no common world.*set_geometry\(units="):
        _ = img.ngff.affine
    assert img.ngff.spacing == {"y": 1.0, "x": 1.0}


def test_a_selected_plane_keeps_its_place():
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.2, 0.1) * [1, 2, 3], [5, 6, 7])
    img = as_image(np.zeros((4, 5, 6)), affine=affine, orientation="RAS")
    plane = img.isel(y=3)
    moved = affine.copy()
    moved[:3, 3] += 3 * affine[:3, 1]
    np.testing.assert_allclose(plane.ngff.affine, moved, rtol=1e-12)
    np.testing.assert_allclose(img.isel(x=0, y=3, z=0).ngff.affine, moved, rtol=1e-12)
    assert plane.ngff.spatial_dims == ("z", "x")


def test_a_projection_of_a_straight_image_is_flat():
    img = as_image(np.zeros((4, 5, 6)), spacing=(1, 2, 3), origin=(7, 8, 9), orientation="LPS")
    np.testing.assert_array_equal(img.max("z").ngff.affine, [[-3, 0, -9], [0, -2, -8], [0, 0, 1]])
    np.testing.assert_array_equal(img.max("y").ngff.affine, [[-3, 0, -9], [0, 1, 7], [0, 0, 1]])
    assert img.max("y").ngff.orientation == "LS"
    np.testing.assert_array_equal(img.max(("x", "y")).ngff.affine, [[1, 7], [0, 1]])


def test_a_projection_of_a_rotated_image_says_what_is_lost():
    img = as_image(np.zeros((4, 5, 6)), affine=nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.2, 0.1)))
    with pytest.raises(GeometryError, match=r"axes x, y span 3 world axes.*isel\(z=0\)"):
        _ = img.max("z").ngff.affine


def test_two_axes_along_one_line_are_refused():
    attrs = {"direction": [1.0, 0.0, 0.0]}
    img = xr.DataArray(np.zeros((2, 2, 2)), coords={"x": [0.0, 1], "y": ("y", [0.0, 1], attrs), "z": [0.0, 1]})
    with pytest.raises(GeometryError, match="axes x, y, z point along the same line"):
        _ = img.ngff.affine


def test_an_array_without_space_has_no_affine():
    with pytest.raises(GeometryError, match=r"dims \('a', 'b'\), none of which is spatial"):
        _ = xr.DataArray(np.zeros((2, 2)), dims=("a", "b")).ngff.affine


@pytest.mark.parametrize("orientation", [None, {"x": "left-to-right"}, {"x": "dorsal-to-ventral", "y": "A", "z": "S"}])
def test_a_world_is_anatomical_only_where_every_axis_is(orientation):
    img = as_image(np.zeros((2, 3, 4)), spacing=(1, 2, 3), orientation=orientation)
    assert img.ngff.orientation is None
    np.testing.assert_array_equal(img.ngff.affine, np.diag([3, 2, 1, 1]))


def test_orientation_follows_the_storage_order():
    img = as_image(np.zeros((2, 3, 4)), orientation="LPI")
    assert img.ngff.orientation == "LPI"
    assert img[:, :, ::-1].ngff.orientation == "RPI"
    assert img[::-1, ::-1].transpose("x", "z", "y").ngff.orientation == "LAS"
    assert img[::-1].isel(z=1).ngff.orientation[:2] == "LP"


def test_an_axis_of_one_voxel_has_a_place_and_a_spacing():
    img = as_image(
        np.zeros((1, 1, 1)), affine=nib.affines.from_matvec(nib.eulerangles.euler2mat(1, 2, 3) * 2, [4, 5, 6])
    )
    np.testing.assert_allclose(
        img.ngff.affine, nib.affines.from_matvec(nib.eulerangles.euler2mat(1, 2, 3) * 2, [4, 5, 6]), atol=1e-12
    )


def test_far_from_zero_voxels_keep_their_place():
    img = as_image(np.zeros((3, 100)), spacing=(1e-4, 1e-4), origin=(1e8, -1e8), units="mm")
    part = img[:, 7::3]
    assert part.ngff.affine[0, 2] == pytest.approx(-1e8 + 7e-4, abs=3e-8)
    assert part.ngff.spacing["x"] == pytest.approx(3e-4, rel=1e-5)
    assert img.ngff.spacing == {"y": 1e-4, "x": 1e-4}
