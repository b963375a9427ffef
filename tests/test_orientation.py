import nibabel as nib
import numpy as np
import pytest
from ngff_zarr import rfc4

from xarray_ngff import orientation
from xarray_ngff.errors import GeometryError

VALUES = sorted(value.value for value in rfc4.AnatomicalOrientationValues)  # as another reader of the format has them
CODES = {
    "R": "left-to-right",
    "L": "right-to-left",
    "A": "posterior-to-anterior",
    "P": "anterior-to-posterior",
    "S": "inferior-to-superior",
    "I": "superior-to-inferior",
}


def test_the_values_are_the_24_of_rfc_4():
    assert sorted(orientation.ORIENTATIONS) == VALUES
    assert len(VALUES) == 24


@pytest.mark.parametrize("value", VALUES)
def test_the_opposite_swaps_the_ends(value):
    start, _, end = value.partition("-to-")
    assert orientation.opposite(value) == f"{end}-to-{start}"
    assert orientation.opposite(value) in VALUES


@pytest.mark.parametrize(("code", "value"), CODES.items())
def test_codes_name_where_an_axis_points(code, value):
    assert orientation.value_from_code(code) == orientation.value_from_code(code.lower()) == value
    assert orientation.code_from_value(value) == code
    ((axis, sign),) = nib.orientations.axcodes2ornt([code]).astype(int)
    np.testing.assert_array_equal(orientation.direction_vector(value), sign * np.eye(3)[axis])
    assert orientation.vector_value(axis, sign) == value


@pytest.mark.parametrize("value", [*sorted(set(VALUES) - set(CODES.values())), None, "upwards"])
def test_other_values_have_no_place_in_a_ras_world(value):
    assert orientation.direction_vector(value) is None
    assert value is None or orientation.code_from_value(value) is None


def test_an_unknown_code_lists_the_known_ones():
    with pytest.raises(GeometryError, match="'X' is no axis code: expected one of A, I, L, P, R, S"):
        orientation.value_from_code("X")


def test_lps_differs_from_ras_in_x_and_y():
    assert orientation.frame_signs("RAS") == (1, 1, 1)
    assert orientation.frame_signs("lps") == (-1, -1, 1)


@pytest.mark.parametrize("frame", ["LAS", "RA", "", 3])
def test_other_frames_are_refused(frame):
    with pytest.raises(GeometryError, match="expected one of RAS, LPS"):
        orientation.frame_signs(frame)


def test_orientations_by_codes_and_by_mapping():
    named = orientation.orientation_values("lpS", ("x", "y", "z"))
    assert named == {"x": "right-to-left", "y": "anterior-to-posterior", "z": "inferior-to-superior"}
    assert orientation.orientation_values({"z": " Dorsal-to-Ventral ", "x": "R"}, ("x", "y", "z")) == {
        "z": "dorsal-to-ventral",
        "x": "left-to-right",
    }


@pytest.mark.parametrize("value", VALUES)
def test_every_value_is_accepted(value):
    assert orientation.orientation_values({"x": value}, ("x",)) == {"x": value}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("RA", "'RA' has 2 codes for 3 spatial axes"),
        ("RAX", "'X' is no axis code"),
        ("RLS", "two axes along the same line"),
        ({"x": "R", "y": "left-to-right"}, "two axes along the same line"),
        ({"t": "R"}, "names 't', but the spatial axes are x, y, z"),
        ({"x": "upwards"}, "none of the values of RFC-4"),
        ({"x": None}, "none of the values of RFC-4"),
        (("R", "A", "S"), 'expected codes such as "RAS"'),
        (3, 'expected codes such as "RAS"'),
    ],
)
def test_orientations_that_make_no_sense_are_refused(given, message):
    with pytest.raises(GeometryError, match=message):
        orientation.orientation_values(given, ("x", "y", "z"))
