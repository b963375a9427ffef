import itertools

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xarray_ngff import affine as matrices

numbers = st.floats(-100, 100)


@st.composite
def affines(draw, count=None):
    count = count or draw(st.integers(1, 3))
    part = draw(hnp.arrays(float, (count, count), elements=numbers))
    lengths = np.linalg.norm(part, axis=0)
    assume((lengths > 1e-3).all())
    assume(abs(np.linalg.det(part / lengths)) > 1e-2)
    return nib.affines.from_matvec(part, draw(hnp.arrays(float, count, elements=numbers)))


@given(affines())
def test_a_matrix_is_put_together_and_taken_apart_as_nibabel_does(affine):
    part, shift = nib.affines.to_matvec(affine)
    np.testing.assert_array_equal(matrices.compose(part, shift), affine)
    np.testing.assert_array_equal(matrices.linear(affine), part)
    np.testing.assert_array_equal(matrices.offset(affine), shift)
    np.testing.assert_allclose(matrices.voxel_sizes(affine), nib.affines.voxel_sizes(affine))


@given(affines(3), hnp.arrays(float, hnp.array_shapes(max_dims=3).map(lambda shape: (*shape, 3)), elements=numbers))
def test_points_map_as_nibabel_maps_them_and_back(affine, points):
    mapped = matrices.apply(affine, points)
    np.testing.assert_allclose(mapped, nib.affines.apply_affine(affine, points), atol=1e-9)
    np.testing.assert_allclose(matrices.apply(matrices.invert(affine), mapped), points, atol=1e-6)


def test_a_singular_matrix_has_no_inverse():
    with pytest.raises(np.linalg.LinAlgError):
        matrices.invert([[1, 1, 0], [1, 1, 0], [0, 0, 1]])


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4))
def test_corners_are_every_choice_of_sides(sides):
    found = matrices.corners(*zip(*sides, strict=True))
    np.testing.assert_array_equal(found, list(itertools.product(*sides)))


@given(affines(3))
def test_closest_axes_are_those_of_nibabel(affine):
    axes, signs = matrices.closest_axes(matrices.linear(affine))
    expected = nib.orientations.io_orientation(affine)
    np.testing.assert_array_equal(np.column_stack([axes, signs]), expected)


def test_an_axis_of_no_length_takes_what_is_left():
    axes, _ = matrices.closest_axes([[0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    assert axes[1:] == (0, 1)
    assert axes[0] == 2


@pytest.mark.parametrize(
    ("values", "regular"),
    [
        ([5.0], True),
        ([5.0, 4.0], True),
        ([5.0, 5.0], False),
        ([0.0, 1.0, 2.0], True),
        ([2.0, 1.0, 0.0], True),
        ([0.0, 1.0, 3.0], False),
        ([0.0, 1.0, 0.0], False),
        ([1.0, 1.0, 1.0], False),
        ([0.0, np.nan, 2.0], False),
        ([np.nan], False),
        ([0.0, np.inf], False),
        (np.float32(0.1) * np.arange(500, dtype="f4"), True),
        (1e9 + 1e-4 * np.arange(500), True),
    ],
)
def test_regular_values_are_told_from_others(values, regular):
    assert matrices.is_regular(np.asarray(values)) is regular


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.integers(3, 50), st.integers(1, 48), st.floats(0.01, 1))
def test_one_value_out_of_place_is_seen(start, step, size, place, amount):
    values = start + step * np.arange(size)
    assert matrices.is_regular(values)
    values[min(place, size - 2)] += amount * step
    assert not matrices.is_regular(values)
