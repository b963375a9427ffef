import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import regionprops_table

from xarray_ngff.errors import FormatError, MetadataError
from xarray_ngff.labels import (
    color_entries,
    label_colors,
    label_properties,
    property_entries,
    with_label_metadata,
)


@pytest.fixture
def img():
    return xr.DataArray(np.zeros((4, 5), "uint16"), dims=("y", "x"), name="labels")


class TestColors:
    @pytest.mark.parametrize(
        ("color", "rgba"),
        [
            ("#ff8000", [255, 128, 0, 255]),
            ("FF8000", [255, 128, 0, 255]),
            ("#Ff800010", [255, 128, 0, 16]),
            ((255, 128, 0), [255, 128, 0, 255]),
            ([0, 1, 2, 3], [0, 1, 2, 3]),
            (np.array([9, 8, 7], "uint8"), [9, 8, 7, 255]),
            ((1.0, 0.5, 0.0), [255, 128, 0, 255]),
            ((1, 0.5, 0, 0.25), [255, 128, 0, 64]),
            (np.array([0.1, 0.2, 0.3, 1.0]), [26, 51, 77, 255]),
            ((1, 1, 1), [1, 1, 1, 255]),
        ],
        ids=repr,
    )
    def test_forms(self, color, rgba):
        assert color_entries({7: color}) == [{"label-value": 7, "rgba": rgba}]

    @pytest.mark.parametrize(
        "color",
        [
            *("red", "#ff80", "#ff80000", "ff8000 ", "", None, 5, True, b"abc"),
            *(
                (256, 0, 0),
                (-1, 0, 0),
                (0, 0),
                (0, 0, 0, 0, 0),
                (255, 128, 0, 0.5),
                (1.5, 0.0, 0.0),
                (np.nan, 0.0, 0.0),
            ),
            *(
                (True, False, True),
                ("1", "2", "3"),
                (10**30, 0, 0),
                {1: 2, 3: 4, 5: 6},
                [[[1], [2, 3]], 0, 0],
                [[0], [0, 0], 0],
                [[0], [0], [0]],
            ),
        ],
        ids=repr,
    )
    def test_what_is_none(self, color):
        with pytest.raises(FormatError, match=r"colors: that of label 7 is .* expected \"#RRGGBB\""):
            color_entries({7: color})

    @pytest.mark.parametrize("label", [1.5, "1", True, None, np.nan, np.inf], ids=repr)
    def test_labels_that_are_no_whole_numbers(self, label):
        with pytest.raises(FormatError, match=r"colors has the label .* expected a whole number"):
            color_entries({label: "#000000"})

    def test_other_whole_numbers(self):
        entries = color_entries({np.uint8(1): "#000000", 2.0: "#000000", np.float32(3): "#000000"})
        assert [entry["label-value"] for entry in entries] == [1, 2, 3]
        assert all(type(entry["label-value"]) is int for entry in entries)

    def test_no_mapping(self):
        with pytest.raises(FormatError, match="colors is a list, expected a mapping"):
            color_entries(["#000000"])

    @given(st.dictionaries(st.integers(0, 2**16 - 1), st.binary(min_size=4, max_size=4)))
    def test_come_back(self, colors):
        given = {label: f"#{rgba.hex().upper()}" for label, rgba in colors.items()}
        img = xr.DataArray(np.zeros((2, 2), "uint16"), dims=("y", "x"))
        found = label_colors(with_label_metadata(img, colors=given))
        # an opaque colour is told without its opacity
        assert {label: (text + "FF")[:9] for label, text in found.items()} == given
        assert all(len(text) == 7 for text in found.values() if text + "FF" in given.values())
        assert list(found) == list(given)


class TestProperties:
    def test_table_of_scikit_image(self):
        labels = np.zeros((6, 6), int)
        labels[:2, :3], labels[4:, 4:] = 3, 8
        table = regionprops_table(labels, properties=("label", "area", "centroid"))
        expected = [
            {"label-value": 3, "area": 6.0, "centroid-0": 0.5, "centroid-1": 1.0},
            {"label-value": 8, "area": 4.0, "centroid-0": 4.5, "centroid-1": 4.5},
        ]
        assert property_entries(table) == expected
        assert property_entries(pd.DataFrame(table)) == expected
        assert property_entries(pd.DataFrame(table).set_index("label")) == expected
        assert property_entries(pd.DataFrame(table).rename(columns={"label": "label-value"})) == expected
        assert property_entries({row["label-value"]: _without_label(row) for row in expected}) == expected

    def test_index_that_is_called_label_goes_before_a_column(self):
        frame = pd.DataFrame({"label": ["a", "b"]}, index=pd.Index([4, 5], name="label"))
        assert property_entries(frame) == [{"label-value": 4, "label": "a"}, {"label-value": 5, "label": "b"}]

    def test_any_index_of_whole_numbers(self):
        assert property_entries(pd.DataFrame({"a": [1]}, index=[9])) == [{"label-value": 9, "a": 1}]
        assert property_entries(pd.DataFrame({"a": [1]}, index=pd.RangeIndex(1, 2))) == [{"label-value": 1, "a": 1}]
        assert property_entries(pd.DataFrame({"a": [1]}, index=[9.0])) == [{"label-value": 9, "a": 1}]

    def test_row_numbers_are_no_labels(self):
        with pytest.raises(FormatError, match="only row numbers from 0 on"):
            property_entries(pd.DataFrame({"area": [1, 2]}))
        with pytest.raises(FormatError, match="expected a whole number"):
            property_entries(pd.DataFrame({"area": [1, 2]}, index=["a", "b"]))
        with pytest.raises(FormatError, match="expected a whole number"):
            property_entries(pd.DataFrame({"area": [1]}, index=pd.MultiIndex.from_tuples([(1, 2)])))

    def test_nothing(self):
        assert property_entries({}) == property_entries(pd.DataFrame()) == []
        assert property_entries({4: {}}) == [{"label-value": 4}]

    def test_values_become_json(self):
        row = {
            "int": np.int64(3), "float": np.float32(0.5), "bool": np.True_, "text": np.str_("a"), "none": None,
            "nan": np.nan, "nat": pd.NaT, "na": pd.NA, "array": np.arange(3), "tuple": (1, np.nan),
            "inner": {"a": (1,)}, 5: "number as name",
        }  # fmt: skip
        (entry,) = property_entries({1: row})
        expected = {
            "label-value": 1, "int": 3, "float": 0.5, "bool": True, "text": "a", "array": [0, 1, 2], "tuple": [1, None],
            "inner": {"a": [1]}, "5": "number as name",
        }  # fmt: skip
        assert entry == expected
        assert json.loads(json.dumps(entry, allow_nan=False)) == expected
        (entry,) = property_entries(pd.DataFrame([row], index=[1]))
        assert entry == expected

    def test_columns_keep_their_types(self):
        frame = pd.DataFrame(
            {
                "i": np.array([1, 2], "uint8"),
                "f": np.array([0.5, np.nan], "float32"),
                "n": pd.array([1, None], dtype="Int64"),
                "c": pd.Categorical(["x", "y"]),
                "b": [True, False],
            },
            index=[1, 2],
        )
        first, second = property_entries(frame)
        assert first == {"label-value": 1, "i": 1, "f": 0.5, "n": 1, "c": "x", "b": True}
        assert second == {"label-value": 2, "i": 2, "c": "y", "b": False}
        assert [type(value) for value in first.values()] == [int, int, float, int, str, bool]

    @pytest.mark.parametrize(
        "value",
        [
            np.inf,
            1j,
            b"a",
            pd.Timestamp("2020-01-01"),
            {1, 2},
            object,
            [np.inf],
            {"a": b""},
            np.datetime64("2020", "s"),
        ],
        ids=["inf", "complex", "bytes", "time", "set", "type", "list", "mapping", "numpy time"],
    )
    def test_values_that_are_no_json(self, value):
        for table in ({7: {"p": value}}, pd.DataFrame({"p": [value]}, index=[7])):
            with pytest.raises(FormatError, match=r"property 'p' of label 7.* which JSON cannot hold"):
                property_entries(table)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ([{"label": 1}], "properties is a list, expected a pandas DataFrame"),
            ({1: 5}, "properties of label 1 are 5, expected a mapping"),
            ({"a": {}}, "properties has the label 'a', expected a whole number"),
            ({1: {"label-value": 2}}, "properties of label 1 name 'label-value', which is the label itself"),
            ({1: {}, 1.5: {}}, "properties has the label 1.5, expected a whole number"),
            ({"label": [1, 1]}, "properties has the label 1 twice"),
            ({"label": [1, 2], "area": [1]}, "properties is a mapping of columns that are no table"),
            (pd.DataFrame([[1, 2, 3]], columns=["label", "a", "a"]), "properties has the column 'a' twice"),
            (pd.DataFrame([[1, 2, 3]], columns=["label", 5, "5"]), "properties has the column '5' twice"),
        ],
    )
    def test_what_is_no_table(self, given, message):
        with pytest.raises(FormatError, match=message):
            property_entries(given)


def _without_label(row):
    return {key: value for key, value in row.items() if key != "label-value"}


class TestImage:
    def test_come_back(self, img):
        frame = pd.DataFrame({"area": [3, 5], "kind": ["a", "b"]}, index=pd.Index([2, 9], name="label"))
        found = label_properties(with_label_metadata(img, properties=frame))
        pd.testing.assert_frame_equal(found, frame)

    def test_what_is_missing_comes_back_missing(self, img):
        found = label_properties(with_label_metadata(img, properties={1: {"a": 1}, 5: {"b": "x"}}))
        assert found.index.name == "label"
        assert found.isna().to_numpy().tolist() == [[False, True], [True, False]]

    def test_image_without(self, img):
        assert label_colors(img) == {}
        assert label_properties(img).shape == (0, 0)
        assert label_properties(img).index.name == "label"
        assert label_properties(img).index.dtype == "int64"

    def test_the_image_given_stays_as_it_is(self, img):
        first = with_label_metadata(img, colors={1: "#000000"})
        with_label_metadata(first, colors={2: "#000000"}, properties={1: {}})
        assert "image-label" not in img.encoding
        assert label_colors(first) == {1: "#000000"}

    def test_what_is_not_given_stays_and_empty_takes_away(self, img):
        first = with_label_metadata(img, colors={1: "#000000"}, properties={1: {"a": 1}})
        assert label_colors(with_label_metadata(first, properties={2: {}})) == {1: "#000000"}
        assert with_label_metadata(first, colors={}).encoding["image-label"] == {
            "properties": [{"label-value": 1, "a": 1}]
        }
        assert with_label_metadata(first, properties=pd.DataFrame()).encoding["image-label"] == {
            "colors": [{"label-value": 1, "rgba": [0, 0, 0, 255]}]
        }

    @pytest.mark.parametrize(("dtype", "label"), [("uint8", 256), ("int8", -129), ("bool", 2), ("uint16", -1)])
    def test_labels_that_the_image_cannot_hold(self, img, dtype, label):
        for options in ({"colors": {label: "#000000"}}, {"properties": {label: {}}}):
            with pytest.raises(FormatError, match=f"describe the label {label}, which an image of {dtype} cannot hold"):
                with_label_metadata(img.astype(dtype), **options)

    def test_what_files_hold(self, img):
        colors = [{"label-value": 1.0, "rgba": [1, 2, 3, 255]}, {"label-value": 2}, {"label-value": 2.5, "rgba": None}]
        properties = [{"label-value": 1, "a": 1}, {"label-value": 1, "a": 2}]
        img.encoding["image-label"] = {"colors": colors, "properties": properties}
        assert label_colors(img) == {1: "#010203"}
        assert label_properties(img).index.tolist() == [1, 1]
        assert label_properties(img)["a"].tolist() == [1, 2]

    @pytest.mark.parametrize(
        "said", [5, {"colors": [1]}, {"colors": [{}]}, {"colors": 5}, {"colors": [{"label-value": "a"}]}], ids=repr
    )
    def test_what_was_set_by_hand(self, img, said):
        img.encoding["image-label"] = said
        with pytest.raises(MetadataError, match=r"encoding\['image-label'\] holds colors that are not as OME-Zarr has"):
            label_colors(img)

    def test_what_was_set_by_hand_and_is_no_mapping(self, img):
        img.encoding["image-label"] = [1]
        with pytest.raises(MetadataError, match=r"encoding\['image-label'\] is \[1\], expected a mapping: delete it"):
            with_label_metadata(img, colors={1: "#000000"})
