"""Axes: what is allowed is read as it is, what is usual but wrong with a warning, the rest not at all."""

import pytest

from xarray_ngff.backends.ngff.axes import AxisMeta, axes_by_ndim, canonical_axes, parse_axes
from xarray_ngff.errors import MetadataError, NgffWarning

SPACE = {"type": "space", "unit": "micrometer"}


def one(**axis):
    (found,) = parse_axes([axis], "img: axes")
    return found


class TestAxis:
    def test_all_it_can_say(self):
        assert one(
            name="x", type="space", unit="millimeter", longName="lateral",
            orientation={"type": "anatomical", "value": "left-to-right"},
        ) == AxisMeta("x", "space", "millimeter", "left-to-right", "lateral")  # fmt: skip

    def test_as_little_as_it_must(self):
        assert one(name="angle") == AxisMeta("angle", None)
        assert one(name="f", type="frequency", unit="megahertz") == AxisMeta("f", "frequency", "megahertz")
        assert one(name="c", type="channel", unit=None, orientation=None) == AxisMeta("c", "channel")

    @pytest.mark.parametrize(
        ("axis", "meaning", "message"),
        [
            ({"name": "z", **SPACE, "unit": "um"}, ("z", "space", "micrometer"), "unit is 'um'; it was read as"),
            ({"name": "z", **SPACE, "unit": "micron"}, ("z", "space", "micrometer"), "unit is 'micron'"),
            ({"name": "t", "type": "time", "unit": "seconds"}, ("t", "time", "second"), "unit is 'seconds'"),
            (
                {"name": "z", "type": "space", "units": "meter"},
                ("z", "space", "meter"),
                "'units'; it was read as 'unit'",
            ),
            ({"name": "z", **SPACE, "unit": "pixel"}, ("z", "space", "pixel"), "'pixel', which is not a known unit"),
            (
                {"name": "t", "type": "time", "unit": "meter"},
                ("t", "time", "meter"),
                "not a unit of an axis of type 't",
            ),
            ({"name": "z", **SPACE, "unit": 3}, ("z", "space", None), "unit is 3, which is not a text"),
            ({"name": "Z", **SPACE}, ("z", "space", "micrometer"), "'Z' in upper case; it was read as 'z'"),
            ({"name": "y", "unit": "meter"}, ("y", "space", "meter"), "no type; 'y' was taken to be 'space'"),
            ({"name": "t"}, ("t", "time", None), "no type; 't' was taken to be 'time'"),
        ],
    )
    def test_usual_mistakes(self, axis, meaning, message):
        with pytest.warns(NgffWarning, match=rf"^img: axes\[0\].*{message}") as caught:
            found = one(**axis)
        assert found == AxisMeta(*meaning)
        assert len(caught) == 1

    @pytest.mark.parametrize(
        "orientation",
        [
            {"orientation": {"type": "anatomical", "value": "Inferior-to-Superior"}},
            {"orientation": {"value": "inferior-to-superior"}},
            {"anatomicalOrientation": "inferior-to-superior"},
            {"anatomicalOrientation": {"type": "anatomical", "value": "inferior-to-superior"}},
            {"orientation": None, "anatomicalOrientation": "inferior-to-superior"},
        ],
    )
    def test_spellings_of_an_orientation(self, orientation):
        assert one(name="z", **SPACE, **orientation).orientation == "inferior-to-superior"

    @pytest.mark.parametrize(
        ("axis", "message"),
        [
            ({"name": "z", **SPACE, "orientation": "up"}, r"orientation is 'up', which is not an anatomical"),
            ({"name": "z", **SPACE, "orientation": {"type": "geographic", "value": "left-to-right"}}, "geographic"),
            ({"name": "z", **SPACE, "anatomicalOrientation": 5}, "anatomicalOrientation is 5"),
            ({"name": "c", "type": "channel", "orientation": {"value": "left-to-right"}}, "axis of type 'channel'"),
        ],
    )
    def test_orientation_that_is_none(self, axis, message):
        with pytest.warns(NgffWarning, match=message):
            assert one(**axis).orientation is None

    def test_two_axes_along_one_line(self):
        raw = [
            {"name": n, **SPACE, "orientation": {"value": v}}
            for n, v in (("y", "left-to-right"), ("x", "right-to-left"))
        ]
        with pytest.warns(NgffWarning, match="along the same line"):
            assert [axis.orientation for axis in parse_axes(raw, "img: axes")] == [None, None]

    def test_two_axes_with_values_that_are_no_line_in_ras(self):
        raw = [{"name": n, **SPACE, "orientation": {"value": "dorsal-to-ventral"}} for n in "yx"]
        assert [axis.orientation for axis in parse_axes(raw, "img: axes")] == ["dorsal-to-ventral"] * 2

    def test_plain_names(self):
        found = parse_axes(["t", "c", "y", "x"], "img: axes", names_only=True)
        assert [(axis.name, axis.type) for axis in found] == [
            ("t", "time"), ("c", "channel"), ("y", "space"), ("x", "space"),
        ]  # fmt: skip
        with pytest.warns(NgffWarning, match=r"img: axes\[0\] is the plain name 'y', as in version 0\.3"):
            parse_axes(["y"], "img: axes")
        with pytest.raises(MetadataError, match=r"version is 0\.3 or older"):
            parse_axes([{"name": "y"}], "img: axes", names_only=True)

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            (None, "img: axes is missing"),
            ([], r"img: axes is \[\]"),
            ({"name": "x"}, "expected a non-empty list of axes"),
            ([3], r"img: axes\[0\] is 3, expected an object"),
            ([{"type": "space"}], r"img: axes\[0\]\.name is missing"),
            ([{"name": ""}], r"img: axes\[0\]\.name is ''"),
            ([{"name": "x", "type": 5}], r"img: axes\[0\]\.type is 5"),
            ([{"name": "x", "type": "space"}] * 2, "'x' twice"),
        ],
    )
    def test_no_axes(self, raw, message):
        with pytest.raises(MetadataError, match=message):
            parse_axes(raw, "img: axes")

    def test_names_that_differ_only_in_case(self):
        with pytest.warns(NgffWarning), pytest.raises(MetadataError, match="'x' twice"):
            parse_axes([{"name": "X", **SPACE}, {"name": "x", **SPACE}], "img: axes")


def canonical(*named):
    return [axis.name for axis in canonical_axes([AxisMeta(*pair) for pair in named], "img: axes")]


class TestSet:
    @pytest.mark.parametrize("names", ["tczyx", "zyx", "yx", "cyx", "tyx", "xyz"])
    def test_usual_names_stay(self, names):
        kinds = {"t": "time", "c": "channel"}
        assert "".join(canonical(*((name, kinds.get(name, "space")) for name in names))) == names

    @pytest.mark.parametrize(
        ("named", "names"),
        [
            ([("depth", "space"), ("row", "space"), ("col", "space")], "zyx"),
            ([("row", "space"), ("col", "space")], "yx"),
            ([("depth", "space"), ("y", "space"), ("x", "space")], "zyx"),
            ([("row", "space"), ("x", "space")], "yx"),
            ([("time", "time"), ("channel", "channel"), ("y", "space"), ("x", "space")], "tcyx"),
        ],
    )
    def test_other_names_of_the_same_axes(self, named, names):
        with pytest.warns(NgffWarning, match="renamed"):
            assert "".join(canonical(*named)) == names
        with pytest.warns(NgffWarning):
            assert canonical_axes([AxisMeta(*pair) for pair in named], "img")[0].long_name == named[0][0]

    def test_other_axes_keep_their_names(self):
        assert canonical(("angle", None), ("y", "space"), ("x", "space")) == ["angle", "y", "x"]

    def test_order(self):
        with pytest.warns(NgffWarning, match="in the order y, x, c, expected time, then channel, then space"):
            assert canonical(("y", "space"), ("x", "space"), ("c", "channel")) == ["y", "x", "c"]

    @pytest.mark.parametrize(
        ("named", "message"),
        [
            ([("x", "space")], "1 axes, expected 2 to 5"),
            ([(str(i), None) for i in range(6)], "6 axes, expected 2 to 5"),
            ([("t", "time"), ("x", "space")], "1 axes of type 'space', expected 2 or 3; it has t: time, x: space"),
            ([(n, "space") for n in "wzyx"], "4 axes of type 'space'"),
        ],
    )
    def test_number_of_axes(self, named, message):
        with pytest.raises(MetadataError, match=message):
            canonical(*named)


def test_axes_by_number_of_dims():
    assert [axis.name for axis in axes_by_ndim(5, "img")] == list("tczyx")
    for ndim, names in ((2, "yx"), (3, "zyx"), (4, "czyx")):
        with pytest.warns(NgffWarning, match=f"has {ndim} dims instead of 5"):
            assert [axis.name for axis in axes_by_ndim(ndim, "img")] == list(names)
    with pytest.raises(MetadataError, match="6 dims"):
        axes_by_ndim(6, "img")
