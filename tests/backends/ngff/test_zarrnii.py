"""Orientation of zarrnii's stores: every voxel lies where zarrnii says, with coordinates that increase."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import axcodes2ornt

from xarray_ngff.backends.ngff.metadata import multiscales
from xarray_ngff.backends.ngff.zarrnii import zarrnii_orientations
from xarray_ngff.errors import NgffWarning
from xarray_ngff.orientation import direction_vector

CODES = ["".join(code) for order in itertools.permutations(["RL", "AP", "SI"]) for code in itertools.product(*order)]
NUMBERS = st.floats(-100, 100).map(lambda v: round(v, 3))
SPACINGS = st.floats(0.1, 9).map(lambda v: round(v, 3))


def level(path, scale, translation):
    steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
    return {"path": path, "coordinateTransformations": steps}


def attributes(levels, *, code=None, legacy=None, orientations=None, version="0.4"):
    axes = [{"name": name, "type": "space", "unit": "millimeter"} for name in "zyx"]
    for axis in axes:
        if orientations and axis["name"] in orientations:
            axis["orientation"] = {"type": "anatomical", "value": orientations[axis["name"]]}
    metadata = {"multiscales": [{"version": version, "axes": axes, "datasets": levels}]}
    whole = metadata if version == "0.4" else {"ome": metadata | {"version": version}}
    return whole | {k: v for k, v in (("xyz_orientation", code), ("orientation", legacy)) if v is not None}


def zarrnii_affine(code, scale, translation):
    """The matrix from (x, y, z) index to RAS that zarrnii makes of scale and translation in z, y, x order."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for column, (row, sign) in enumerate(axcodes2ornt(tuple(code))):
        matrix[int(row), column] = sign * scale[2 - column]
        matrix[int(row), 3] = translation[2 - column]
    return matrix


def world(image, index, k=0):
    """World position of a voxel (x, y, z index) as this package has it: directions times coordinates."""
    position = np.zeros(3)
    for axis, scale, start in zip(image.axes, image.levels[k].scale, image.levels[k].translation, strict=True):
        position += np.multiply(direction_vector(axis.orientation), start + scale * index["xyz".index(axis.name)])
    return position


@pytest.mark.parametrize("code", CODES)
@settings(max_examples=5)
@given(
    scale=st.lists(SPACINGS, min_size=3, max_size=3),
    translation=st.lists(NUMBERS, min_size=3, max_size=3),
    index=st.lists(st.integers(0, 50), min_size=3, max_size=3),
    version=st.sampled_from(["0.4", "0.5"]),
    legacy=st.booleans(),
)
def test_voxels_lie_where_zarrnii_says(code, scale, translation, index, version, legacy):
    given_code = {"legacy": code[::-1]} if legacy else {"code": code}
    (image,) = multiscales(attributes([level("0", scale, translation)], version=version, **given_code), "img")
    expected = (zarrnii_affine(code, scale, translation) @ [*index, 1])[:3]
    np.testing.assert_allclose(world(image, index), expected, atol=1e-9)
    assert all(value > 0 for value in image.levels[0].scale)


@pytest.mark.parametrize("code", ["RAS", "LPI", "PIR", "LAS"])
def test_levels_agree(code):
    """Blocks of a level are centred on the pixels of level 0 that they were made of."""
    scale, translation = [2.0, 1.0, 0.5], [-7.0, 30.0, 11.0]
    levels = [
        level(str(k), [s * f for s in scale], [t + s * (f - 1) / 2 for s, t in zip(scale, translation, strict=True)])
        for k, f in enumerate((1, 2, 4))
    ]
    (image,) = multiscales(attributes(levels, code=code), "img")
    for k, factor in enumerate((1, 2, 4)):
        centre = np.add(np.multiply([3, 1, 2], factor), (factor - 1) / 2)
        np.testing.assert_allclose(world(image, [3, 1, 2], k), world(image, centre))


def test_orientation_of_the_axes_goes_first():
    stated = {"x": "right-to-left", "y": "posterior-to-anterior", "z": "inferior-to-superior"}
    plain = attributes([level("0", [1, 1, 1], [5, 6, 7])], orientations=stated)
    # they agree: the axes say it in the terms of OME-Zarr, so the translation is what it is for everybody
    (image,) = multiscales(plain | {"xyz_orientation": "LAS"}, "img")
    assert image.levels[0].translation == (5, 6, 7)
    with pytest.warns(NgffWarning, match=r"img: has another orientation of x on the axes than in zarrnii's attribute"):
        (image,) = multiscales(plain | {"xyz_orientation": "RAS"}, "img")
    assert {axis.name: axis.orientation for axis in image.axes} == stated
    assert image.levels[0].translation == (5, 6, 7)


def test_new_attribute_goes_before_the_old_one():
    found = zarrnii_orientations({"xyz_orientation": "LAS", "orientation": "SAR"}, "img")
    assert found["x"] == "right-to-left"


def test_fewer_axes():
    metadata = attributes([level("0", [1, 1], [5, 6])], code="LPS")
    del metadata["multiscales"][0]["axes"][0]
    (image,) = multiscales(metadata, "img")
    assert [axis.orientation for axis in image.axes] == ["anterior-to-posterior", "right-to-left"]
    assert image.levels[0].translation == (-5, -6)


@pytest.mark.parametrize("orientation", ["portrait", "abc", "RAR", 3, {"x": 1}, "RA"])
def test_orientation_that_is_not_zarrnii_s(orientation):
    (image,) = multiscales(attributes([level("0", [1, 1, 1], [5, 6, 7])], legacy=orientation), "img")
    assert {axis.orientation for axis in image.axes} == {None}
    assert image.levels[0].translation == (5, 6, 7)


@pytest.mark.parametrize("code", ["portrait", "RAR", 3])
def test_code_that_is_none(code):
    with pytest.warns(NgffWarning, match="img: xyz_orientation is .*; it was ignored"):
        (image,) = multiscales(attributes([level("0", [1, 1, 1], [5, 6, 7])], code=code), "img")
    assert image.levels[0].translation == (5, 6, 7)
