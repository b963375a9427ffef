"""Transformations as numbers, compared with moving points one step at a time."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ngff.transforms import matrix, scale_and_translation
from xarray_ngff.errors import MetadataError, NgffWarning

NUMBERS = st.floats(-1e3, 1e3).map(lambda v: round(v, 6))
FACTORS = st.floats(1e-3, 1e3)


def vectors(elements, n):
    return st.lists(elements, min_size=n, max_size=n)


def move(step, point):
    """One transformation of the specification on one point, by its definition there."""
    match step["type"]:
        case "identity":
            return list(point)
        case "scale":
            return [a * b for a, b in zip(point, step["scale"], strict=True)]
        case "translation":
            return [a + b for a, b in zip(point, step["translation"], strict=True)]
        case "affine":
            return [sum(a * b for a, b in zip(row, [*point, 1], strict=True)) for row in step["affine"]]
        case "rotation":
            return [sum(a * b for a, b in zip(row, point, strict=True)) for row in step["rotation"]]
        case "mapAxis":
            return [point[i] for i in step["mapAxis"]]
        case "sequence":
            for inner in step["transformations"]:
                point = move(inner, point)
            return point


def rotations(n):
    def turned(angle, axes):
        i, j = axes
        rows = np.eye(n)
        rows[[i, j], [i, j]] = np.cos(angle)
        rows[i, j], rows[j, i] = -np.sin(angle), np.sin(angle)
        return {"type": "rotation", "rotation": rows.tolist()}

    return st.builds(turned, st.floats(0, 6.3), st.permutations(range(n)).map(lambda p: p[:2]))


def steps(n):
    simple = st.one_of(
        st.just({"type": "identity"}),
        vectors(FACTORS, n).map(lambda v: {"type": "scale", "scale": v}),
        vectors(NUMBERS, n).map(lambda v: {"type": "translation", "translation": v}),
        vectors(vectors(st.floats(-0.1, 0.1), n + 1), n).map(
            lambda rows: {"type": "affine", "affine": (np.eye(n, n + 1) + rows).tolist()}
        ),
        rotations(n),
        st.permutations(range(n)).map(lambda p: {"type": "mapAxis", "mapAxis": list(p)}),
    )
    return st.recursive(
        simple,
        lambda inner: st.lists(inner, min_size=1, max_size=4).map(
            lambda found: {"type": "sequence", "transformations": found}
        ),
        max_leaves=5,
    )


class TestMatrix:
    @given(data=st.data(), n=st.integers(2, 5))
    def test_moves_points_as_the_steps_do(self, data, n):
        step = data.draw(steps(n))
        point = data.draw(vectors(NUMBERS, n))
        found = matrix(step, "img", n)
        np.testing.assert_allclose((found @ [*point, 1])[:-1], move(step, point), rtol=1e-6, atol=1e-3)
        np.testing.assert_array_equal(found[-1], [0] * n + [1])

    def test_flat_lists_of_early_drafts(self):
        affine = [[1.0, 0.5, 3.0], [0.0, 2.0, 4.0]]
        flat = {"type": "affine", "affine": [*affine[0], *affine[1]]}
        np.testing.assert_array_equal(matrix(flat, "img", 2), matrix({"type": "affine", "affine": affine}, "img", 2))
        turn = {"type": "rotation", "rotation": [0, -1, 1, 0]}
        np.testing.assert_array_equal(matrix(turn, "img", 2)[:2, :2], [[0, -1], [1, 0]])

    def test_map_axis_by_names_of_early_drafts(self):
        step = {"type": "mapAxis", "mapAxis": {"x": "i", "y": "j"}}
        found = matrix(step, "img", 2, axes=(["i", "j"], ["y", "x"]))
        np.testing.assert_array_equal(found @ [10, 20, 1], [20, 10, 1])

    @pytest.mark.parametrize(
        ("step", "stored"),
        [
            ({"type": "affine"}, [[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]]),
            ({"type": "rotation"}, [[0.0, -1.0], [1.0, 0.0]]),
            ({"type": "scale"}, [2.0, 3.0]),
            ({"type": "translation"}, [2.0, -3.0]),
        ],
    )
    def test_parameters_in_an_array(self, step, stored):
        asked = []

        def read_array(path):
            asked.append(path)
            return np.array(stored)

        found = matrix(step | {"path": "ct/a"}, "img", 2, read_array=read_array)
        np.testing.assert_array_equal(found, matrix(step | {step["type"]: stored}, "img", 2))
        assert asked == ["ct/a"]
        with pytest.raises(MetadataError, match=r"in the array 'ct/a'; give read_array"):
            matrix(step | {"path": "ct/a"}, "img", 2)

    @pytest.mark.parametrize(
        "kind", ["displacements", "coordinates", "byDimension", "bijection", "projectAxis", "inverseOf"]
    )
    def test_types_that_are_not_read(self, kind):
        step = {"type": "sequence", "transformations": [{"type": "identity"}, {"type": kind, "path": "d"}]}
        with pytest.raises(
            MetadataError, match=rf"transformations\[1\]\.type is '{kind}', which is not read by this ver"
        ):
            matrix(step, "img", 2)

    @pytest.mark.parametrize(
        ("step", "message"),
        [
            ({}, "img.type is missing"),
            ({"type": "warp"}, "'warp', which is no transformation"),
            ({"type": "scale", "scale": [1]}, r"\[1\] with 1 numbers, expected 2"),
            ({"type": "scale", "scale": [1, 0]}, r"img\.scale\[1\] is 0, expected a number above zero"),
            ({"type": "affine", "affine": [[1, 0, 0]]}, "1 rows, expected 2"),
            ({"type": "affine", "affine": [[1, 0], [0, 1]]}, r"affine\[0\] is \[1, 0\] with 2 numbers, expected 3"),
            ({"type": "affine", "affine": [[1, 1, 0], [1, 1, 0]]}, "its matrix has no inverse"),
            ({"type": "affine", "affine": [[0, 1, 0], [0, 1, 0]]}, "its matrix has no inverse"),
            ({"type": "affine", "affine": 3}, "affine is 3"),
            ({"type": "mapAxis", "mapAxis": [0, 0]}, "each of the 2 axes of the input once"),
            ({"type": "mapAxis", "mapAxis": [0, 2]}, "each of the 2 axes"),
            ({"type": "mapAxis", "mapAxis": {"y": "y"}}, "expected a non-empty list"),
            ({"type": "sequence", "transformations": []}, r"transformations is \[\]"),
        ],
    )
    def test_what_does_not_fit(self, step, message):
        with pytest.raises(MetadataError, match=message):
            matrix(step, "img", 2)

    def test_rotation_that_is_none(self):
        with pytest.warns(NgffWarning, match="img.rotation is not a rotation matrix"):
            found = matrix({"type": "rotation", "rotation": [[2, 0], [0, 1]]}, "img", 2)
        np.testing.assert_array_equal(found[:2, :2], [[2, 0], [0, 1]])


class TestScaleAndTranslation:
    @given(data=st.data(), n=st.integers(2, 5), kinds=st.permutations(["scale", "translation", "identity"]))
    def test_steps_apply_in_their_order(self, data, n, kinds):
        drawn = {"scale": vectors(FACTORS, n), "translation": vectors(NUMBERS, n), "identity": st.just([])}
        listed = [{"type": kind, kind: data.draw(drawn[kind])} for kind in kinds]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NgffWarning)
            scale, translation = scale_and_translation(listed, "img", n)
        point = data.draw(vectors(NUMBERS, n))
        moved = move({"type": "sequence", "transformations": listed}, point)
        np.testing.assert_allclose(np.multiply(scale, point) + translation, moved, rtol=1e-9, atol=1e-6)

    def test_translation_before_scale_warns(self):
        listed = [{"type": "translation", "translation": [1, 1]}, {"type": "scale", "scale": [2, 3]}]
        with pytest.warns(NgffWarning, match="img has the translation before the scale"):
            assert scale_and_translation(listed, "img", 2) == ((2.0, 3.0), (2.0, 3.0))

    def test_identity_alone(self):
        with pytest.warns(NgffWarning, match="the scale was taken to be 1"):
            assert scale_and_translation([{"type": "identity"}], "img", 2) == ((1.0, 1.0), (0.0, 0.0))

    def test_one_that_is_not_in_a_list(self):
        assert scale_and_translation({"type": "scale", "scale": [2, 3]}, "img", 2)[0] == (2.0, 3.0)

    def test_scale_in_an_array(self):
        listed = [{"type": "scale", "path": "s"}]
        assert scale_and_translation(listed, "img", 2, read_array=lambda path: np.array([2, 3]))[0] == (2.0, 3.0)
        with pytest.raises(MetadataError, match=r"img\[0\] keeps its parameters in the array 's'"):
            scale_and_translation(listed, "img", 2)

    @pytest.mark.parametrize(
        ("listed", "message"),
        [
            (None, "img is missing, expected a non-empty list"),
            ([], r"img is \[\]"),
            ([5], r"img\[0\] is 5, expected an object"),
            ([{"scale": [1, 1]}], r"img\[0\]\.type is missing"),
            ([{"type": "scale", "scale": [1, 1]}] * 2, "two transformations of type 'scale'"),
            ([{"type": "translation", "translation": [1, 1]}], "no transformation of type 'scale'"),
            ([{"type": "affine", "affine": []}], r"img\[0\]\.type is 'affine', expected 'scale' or 'translation'"),
            ([{"type": "scale", "scale": [1, 0]}], r"scale\[1\] is 0, expected a number above zero"),
            ([{"type": "scale", "scale": [-1, 1]}], r"scale\[0\] is -1, expected a number above zero"),
            ([{"type": "scale", "scale": [1, float("nan")]}], r"scale\[1\] is nan, expected a finite number"),
            ([{"type": "scale", "scale": [1, float("inf")]}], r"scale\[1\] is inf, expected a finite number"),
            ([{"type": "scale", "scale": [1, "2"]}], r"scale\[1\] is '2', expected a finite number"),
            ([{"type": "scale", "scale": [1, True]}], r"scale\[1\] is True, expected a finite number"),
            ([{"type": "scale", "scale": [1, 1, 1]}], "3 numbers, expected 2"),
            ([{"type": "scale", "scale": 1}], "expected a list of 2 numbers"),
        ],
    )
    def test_what_raises(self, listed, message):
        with pytest.raises(MetadataError, match=message):
            scale_and_translation(listed, "img", 2)
