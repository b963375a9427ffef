import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff import as_image
from xarray_ngff.errors import GeometryError, UnitError

LENGTHS = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "m": 1.0, "inch": 0.0254, "angstrom": 1e-10}
units = st.sampled_from(list(LENGTHS))


@given(units, units, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.booleans())
def test_another_unit_moves_nothing(source, target, step, start, backwards):
    step = -step if backwards else step
    img = as_image(np.zeros((3, 4)), spacing=(1, step), origin=(0, start), units=source, orientation="LP")
    other = img.ngff.to_units(target)
    factor = LENGTHS[source] / LENGTHS[target]
    np.testing.assert_allclose(other.x, img.x * factor, rtol=1e-12)
    assert other.ngff.units == dict.fromkeys("yx", other.x.attrs["units"])
    np.testing.assert_allclose(other.ngff.affine[:2], img.ngff.affine[:2] * factor, rtol=1e-9, atol=1e-9 * factor)
    assert other.ngff.orientation == img.ngff.orientation
    assert other.x.attrs["spacing"] == pytest.approx(step * factor, rel=1e-12)


def test_the_unit_of_one_axis_changes_alone_and_the_world_not_at_all():
    img = as_image(np.zeros((2, 3, 4)), affine=np.triu(np.ones((4, 4))), units="um")
    other = img.ngff.to_units({"z": "nm"})
    assert other.ngff.units == {"z": "nanometer", "y": "micrometer", "x": "micrometer"}
    np.testing.assert_allclose(other.ngff.affine, img.ngff.affine, rtol=1e-12, atol=1e-12)
    xr.testing.assert_identical(other.x, img.x)


def test_time_has_its_own_unit():
    img = as_image(np.zeros((3, 2, 2)), "tyx", spacing={"t": 0.5}, units={"t": "s", "y": "um", "x": "um"})
    assert img.ngff.to_units({"t": "ms"}).t.values.tolist() == [0, 500, 1000]
    xr.testing.assert_identical(img.ngff.to_units("nm").t, img.t)


def test_an_axis_that_was_selected_away_converts_too():
    img = as_image(np.zeros((3, 2, 2)), spacing=(5, 1, 1), units="um").isel(z=2).ngff.to_units("nm")
    assert (img.z.item(), img.z.attrs["units"], img.z.attrs["spacing"]) == (10_000.0, "nanometer", 5000.0)


def test_decimals_stay_decimals():
    img = as_image(np.zeros((3, 4)), spacing=(9, 7), units="nm").ngff.to_units("um")
    assert img.ngff.spacing == {"y": 0.009, "x": 0.007}
    assert img.y.values.tolist() == [0.0, 0.009, 0.018]


def test_nothing_is_read_and_nothing_changes_in_place():
    dask = pytest.importorskip("dask.array")
    img = as_image(dask.zeros((2, 2)), units="um")
    before = img.copy()
    assert img.ngff.to_units("mm").chunks == img.chunks
    xr.testing.assert_identical(img, before)


@pytest.mark.parametrize(
    ("given_units", "target", "error", "message"),
    [
        ("um", "s", UnitError, "axis 'x': cannot convert 'micrometer' to 'second'"),
        ("um", "parsnip", UnitError, "axis 'x': cannot convert 'micrometer' to 'parsnip'"),
        (None, "um", UnitError, r"axis 'x' has no unit to convert from.*set_geometry\(units={'x'"),
        ("um", {"q": "mm"}, GeometryError, "units name 'q', but the image has coordinates y, x"),
    ],
)
def test_conversions_that_are_none_are_refused(given_units, target, error, message):
    img = as_image(np.zeros((2, 2)), units=given_units)
    with pytest.raises(error, match=message):
        img.ngff.to_units(target)


def test_snap_gives_back_what_the_inner_join_of_xarray_drops():
    whole = as_image(np.ones(1000)[None], spacing=(1, 0.1), origin=(0, 0.3))
    part = whole[:, 7:]
    again = as_image(np.ones(993)[None], spacing=(1, 0.1), origin=(0, 0.3 + 7 * 0.1))
    np.testing.assert_allclose(part.x, again.x, rtol=1e-12)
    assert (part + again).sizes["x"] < 993  # without a word
    assert (part + again.ngff.snap(part)).sizes["x"] == 993
    assert (part.ngff.snap(again) + again).sizes["x"] == 993


@settings(max_examples=50)
@given(st.integers(1, 40), st.floats(-1e4, 1e4), st.floats(1e-2, 1e2), st.floats(-4e-4, 4e-4), st.booleans(), st.data())
def test_snapped_coordinates_are_exactly_those_of_the_other(size, start, step, error, backwards, data):
    like = as_image(np.zeros((1, size)), spacing=(1, -step if backwards else step), origin=(0, start), units="um")
    part = data.draw(st.slices(size).filter(lambda part: len(range(size)[part]) > 0))
    img = like.isel(x=part)
    moved = img.assign_coords(x=img.x + error * step)
    xr.testing.assert_identical(moved.ngff.snap(like).x, img.x)


def test_an_irregular_selection_snaps_too():
    like = as_image(np.zeros((1, 10)), spacing=(1, 0.1))
    img = like.isel(x=[0, 3, 4, 9])
    moved = img.assign_coords(x=img.x + 1e-9)
    np.testing.assert_array_equal(moved.ngff.snap(like).x, img.x)


def test_rotated_images_of_one_grid_snap():
    turn = [[0.8, -0.6, 1], [0.6, 0.8, 2], [0, 0, 1]]
    like = as_image(np.zeros((20, 30)), affine=turn, orientation="RAS")
    img = like[3:9, ::-1].assign_coords(x=like.x[::-1] + 1e-9)
    img.x.attrs["direction"] = np.array(img.x.attrs["direction"])  # as netCDF gives it back
    snapped = img.ngff.snap(like)
    np.testing.assert_array_equal(snapped.x, like.x[::-1])
    np.testing.assert_array_equal(snapped.y, like.y[3:9])
    img.x.attrs["direction"] = [0.8001, 0.5999, 0.0]
    with pytest.raises(GeometryError, match="cannot snap 'x': its direction is"):
        img.ngff.snap(like)


def test_dims_that_the_other_does_not_have_stay():
    img = as_image(np.zeros((2, 3, 4)), spacing=(1, 0.1, 0.1))
    xr.testing.assert_identical(img.ngff.snap(img.max("z")), img)
    xr.testing.assert_identical(img.ngff.snap(img.max("z").drop_vars("x")), img)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": {"x": "nm"}}, r"cannot snap 'x': its units is 'micrometer'.*to_units"),
        ({"orientation": "LA"}, "cannot snap 'x': its orientation is 'left-to-right', .* 'right-to-left'"),
        ({"origin": {"x": 0.3}}, r"cannot snap 'x': its coordinates are up to 0\.3 away .* \(0\.001\)"),
        ({"spacing": {"x": 2.0}}, "cannot snap 'x': its coordinates are up to 1 away"),
        (
            {"affine": [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]},
            r"cannot snap 'y': its direction is None, .* \[-0\.6\d*, 0\.8",
        ),
    ],
)
def test_coordinates_of_other_places_do_not_snap(change, message):
    img = as_image(np.zeros((3, 4)), units="um", orientation="RA")
    with pytest.raises(GeometryError, match=message):
        img.ngff.snap(img.ngff.set_geometry(**change))


def test_one_spelling_of_a_unit_is_as_good_as_another():
    img = as_image(np.zeros((3, 4)), units="um")
    like = img.copy()
    like.x.attrs["units"] = "um"
    assert img.ngff.snap(like).x.attrs["units"] == "micrometer"
