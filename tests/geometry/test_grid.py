import re

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff import geometry
from xarray_ngff.errors import GeometryError

steps = st.floats(1e-3, 1e3).flatmap(lambda step: st.sampled_from([step, -step]))
starts = st.floats(-1e5, 1e5)


def line(values, **attrs):
    values = np.asarray(values)
    return xr.DataArray(np.zeros(values.shape), coords={"x": ("x", values, attrs)}, dims="x")


@given(starts, steps, st.integers(1, 60))
def test_a_coordinate_is_read_back_as_it_was_made(start, step, size):
    made = geometry.coordinate("x", size, start=start, step=step, units="micrometer", orientation="left-to-right")
    assert made.dtype == np.float64
    np.testing.assert_array_equal(made.values, [start + step * i for i in range(size)])
    assert geometry.axis(line(made.values, **made.attrs), "x") == geometry.Axis(
        "x", size, start, step, "micrometer", "left-to-right"
    )


def test_a_coordinate_holds_plain_numbers_and_lists_only():
    made = geometry.coordinate("x", 2, step=np.float32(0.5), direction=np.array([0.6, 0.8, 0.0]))
    assert made.attrs == {"spacing": 0.5, "direction": [0.6, 0.8, 0.0]}
    assert type(made.attrs["spacing"]) is float
    assert [type(value) for value in made.attrs["direction"]] == [float] * 3


@pytest.mark.parametrize(("start", "step"), [(0, 0), (np.nan, 1), (0, np.nan), (np.inf, 1), (0, -np.inf)])
def test_what_makes_no_grid_is_refused(start, step):
    with pytest.raises(GeometryError, match=r"axis 'z': spacing .* make no grid"):
        geometry.coordinate("z", 3, start=start, step=step)


def test_a_step_that_rounding_swallows_is_refused():
    with pytest.raises(GeometryError, match=r"axis 'z': spacing 0\.0001 is lost in rounding"):
        geometry.coordinate("z", 3, start=1e13, step=1e-4)


@given(st.integers(-(10**9), 10**9), st.integers(1, 10**4), st.integers(2, 100))
def test_fine_steps_far_from_zero_keep_their_size(start, step, size):
    made = geometry.coordinate("x", size, start=float(start), step=step * 1e-4)
    found = geometry.axis(line(made.values), "x")  # the values alone decide
    assert found.step == pytest.approx(step * 1e-4, rel=4e-3 / (size - 1))
    assert geometry.axis(line(made.values, **made.attrs), "x").step == step * 1e-4  # the decimal as it was given


@pytest.mark.parametrize("nominal", [0.5, -0.5])
def test_the_nominal_spacing_never_overrules_the_values(nominal):
    assert geometry.axis(line([0.0, 1.0, 2.0], spacing=nominal), "x").step == 1.0
    assert geometry.axis(line([2.0, 1.0], spacing=nominal), "x").step == -1.0
    assert geometry.axis(line([7.0], spacing=nominal), "x").step == nominal


def test_an_axis_of_one_voxel_without_a_spacing_has_1():
    assert geometry.axis(line([7.0]), "x") == geometry.Axis("x", 1, 7.0, 1.0)


def test_an_axis_that_was_selected_away_has_one_voxel():
    img = line([0.5, 1.0, 1.5], spacing=0.5).isel(x=1)
    assert geometry.axis(img, "x") == geometry.Axis("x", 1, 1.0, 0.5)


@pytest.mark.parametrize("values", [[1, 2, 3], np.array([1, 2, 3], "u1"), np.array([1, 2, 3], "f4")])
def test_coordinates_of_any_number_type_are_read(values):
    assert geometry.axis(line(values), "x").step == 1.0


@pytest.mark.parametrize(
    ("img", "message"),
    [
        (xr.DataArray(np.zeros(3), dims="x"), r"dim 'x' has no coordinate.*set_geometry\(spacing={'x'"),
        (line([0.0, 1.0, 3.0]), r"'x' is not regular \(0, 1, 3\).*slice instead of a list.*set_geometry\(spacing={'x'"),
        (line([0.0, 1.0, 2.0]).pad(x=1), r"'x' is not regular \(nan, 0, 1, 2, \.\.\.\).*what a pad left empty"),
        (line([0.0, 1.0, 2.0]).pad(x=1, mode="edge"), "'x' is not regular"),
        (line([1.0, 1.0]), "'x' is not regular"),
        (line(["a", "b"]), "coordinate 'x' has dims .* and dtype <U1, expected numbers along 'x'"),
        (line(np.array(["2020-01-01", "2020-01-02"], "M8[ns]")), "dtype datetime64"),
        (line([0.0, 1.0]).isel(x=slice(0)), "dim 'x' is empty"),
        (line([0.0, 1.0], direction=[1.0, 0.0]), "'direction' of coordinate 'x'"),
        (line([0.0, 1.0], direction=[0.0, 0.0, 0.0]), "'direction' of coordinate 'x'"),
        (line([0.0, 1.0], direction=[np.nan, 0.0, 1.0]), "'direction' of coordinate 'x'"),
    ],
)
def test_an_axis_that_is_no_grid_is_named_with_the_cure(img, message):
    with pytest.raises(GeometryError, match=message):
        geometry.axis(img, "x")


def test_a_coordinate_along_other_dims_is_no_axis():
    img = xr.DataArray(np.zeros((2, 2)), coords={"x": (("a", "b"), np.zeros((2, 2)))}, dims=("a", "b"))
    with pytest.raises(GeometryError, match="expected numbers along 'x'"):
        geometry.axis(img, "x")


@pytest.mark.parametrize(
    "needs_a_grid",
    [
        lambda img: img.ngff.affine,
        lambda img: img.ngff.spacing,
        lambda img: img.ngff.origin,
        lambda img: img.ngff.extent,
        lambda img: img.ngff.orientation,
        lambda img: img.ngff.index_to_world([0, 0]),
        lambda img: img.ngff.world_to_index([0, 0]),
        lambda img: img.ngff.crop(x=(0, 1), space="world"),
        lambda img: img.ngff.downsample(2),
        lambda img: img.ngff.to_multiscale(),
    ],
)
def test_what_needs_a_grid_raises_without_one(needs_a_grid):
    img = xr.DataArray(np.zeros((2, 3)), coords={"y": [0.0, 1.0], "x": [0.0, 1.0, 5.0]}, dims=("y", "x"))
    with pytest.raises(GeometryError, match="'x' is not regular"):
        needs_a_grid(img)


def test_what_needs_no_grid_works_without_one():
    img = xr.DataArray(np.zeros((2, 3)), coords={"y": [0.0, 1.0], "x": ("x", [0.0, 1.0, 5.0], {"units": "um"})})
    assert img.ngff.units == {"y": None, "x": "micrometer"}
    assert img.ngff.spatial_dims == ("y", "x")
    assert img.ngff.to_units({"x": "nm"})["x"].values.tolist() == [0, 1000, 5000]
    assert img.ngff.crop(x=(1, 6)).sizes["x"] == 2
    assert img.ngff.crop(x=(1, 2), space="index").sizes["x"] == 1
    assert img.ngff.downsample(y=2, x=1).sizes["y"] == 1
    assert img.ngff.set_geometry(spacing={"x": 2.0}).ngff.spacing == {"y": 1.0, "x": 2.0}
    assert "not regular" in repr(img.ngff)


@given(st.permutations(["t", "c", "angle", "phase", "z", "y", "x"]), st.integers(1, 7))
def test_canonical_order_keeps_other_dims_before_space(dims, count):
    dims = tuple(dims[:count])
    known = [dim for dim in ("t", "c") if dim in dims]
    others = [dim for dim in dims if dim in ("angle", "phase")]
    assert geometry.canonical_dims(dims) == (*known, *others, *(dim for dim in ("z", "y", "x") if dim in dims))


@given(st.integers(1, 30), st.integers(1, 30), starts, steps)
def test_block_coordinates_are_the_centres_of_whole_blocks(size, factor, start, step):
    made = geometry.coordinate("x", size, start=start, step=step, units="micrometer")
    blocks = geometry.block_coordinates(line(made.values, **made.attrs), {"x": factor})["x"]
    whole = size // factor
    centres = made.values[: whole * factor].reshape(whole, factor).mean(axis=1)
    np.testing.assert_allclose(blocks.values[:whole], centres, rtol=1e-12, atol=1e-9)
    assert len(blocks) == -(-size // factor)
    if len(blocks) > 1:  # the last block lies on the same grid, even if it is partial
        np.testing.assert_allclose(np.diff(blocks.values), step * factor, rtol=1e-6)
    assert blocks.attrs == {"units": "micrometer", "spacing": step * factor}


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(4), r"shape \(4, 4\), expected \(3, 3\) for the spatial dims x, y"),
        (np.zeros((2, 3)), r"shape \(2, 3\), expected \(3, 3\)"),
        ([[1, 0, 0], [0, 1, 0], [0, 1, 1]], "last row of affine"),
        ([[1, 0, np.nan], [0, 1, 0], [0, 0, 1]], "not finite"),
        ([[1, 2, 0], [2, 4, 0], [0, 0, 1]], "singular"),
        ([[1, 0, 0], [0, 0, 0], [0, 0, 1]], "singular"),
        ("affine", "no matrix of numbers"),
        ([[1, 0], [0, 1, 0], [0, 0, 1]], "no matrix of numbers"),
    ],
)
def test_what_is_no_affine_is_refused(matrix, message):
    with pytest.raises(GeometryError, match=message):
        geometry.coordinates_from_affine({"x": 2, "y": 2}, matrix)


def test_a_matrix_that_is_nearly_straight_gives_world_coordinates():
    tilt = 5e-7  # what single precision leaves of a zero
    coords = geometry.coordinates_from_affine(
        {"x": 4, "y": 4}, [[-2, 3 * tilt, 90], [2 * tilt, 3, -126], [0, 0, 1]], units="millimeter", frame="RAS"
    )
    assert "direction" not in coords["x"].attrs
    assert "direction" not in coords["y"].attrs
    np.testing.assert_array_equal(coords["x"].values, [90, 88, 86, 84])
    np.testing.assert_array_equal(coords["y"].values, [-126, -123, -120, -117])


def test_a_direction_is_stated_only_where_the_name_does_not_say_it():
    coords = geometry.coordinates_from_affine({"x": 2, "y": 2}, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])
    assert {dim: coords[dim].attrs["direction"] for dim in "xy"} == {"x": [0.0, 1.0, 0.0], "y": [1.0, 0.0, 0.0]}
    coords = geometry.coordinates_from_affine({"x": 2, "y": 2}, [[0, 1, 0], [1, 0, 0], [0, 0, 1]], frame="RAS")
    assert {dim: coords[dim].attrs for dim in "xy"} == {
        "x": {"orientation": "posterior-to-anterior", "spacing": 1.0},
        "y": {"orientation": "left-to-right", "spacing": 1.0},
    }


def test_dims_with_a_spacing_are_the_spatial_ones_and_time():
    img = xr.DataArray(np.zeros((1, 2, 3, 4)), dims=("t", "c", "y", "x"))
    assert geometry.measured_dims(img) == ["y", "x"]
    assert geometry.measured_dims(img.assign_coords(t=[0.0])) == ["t", "y", "x"]


def test_units_are_told_by_their_names_in_the_format():
    img = xr.DataArray(np.zeros(2), coords={"x": ("x", [0.0, 1.0], {"units": "um"})}, dims="x")
    assert img.ngff.units == {"x": "micrometer"}
    assert geometry.axis(img, "x").units == "micrometer"
    assert geometry.world_unit(img) == "micrometer"


def test_errors_are_printed_on_one_line():
    with pytest.raises(GeometryError) as caught:
        geometry.axis(line(np.r_[0.0, np.arange(2.0, 900.0)]), "x")
    assert re.fullmatch(r"[^\n]{1,400}", str(caught.value))
