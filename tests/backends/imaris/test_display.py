"""Names, colours and windows of channels."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint
from xarray_ngff.errors import NgffWarning

PLACE = "DataSetInfo/Channel 1"


@pytest.fixture
def path(make_ims, noise):
    return make_ims(
        noise((1, 2, 2, 3, 4)),
        names=["DAPI", "GFP"],
        colors=["0.000 0.000 1.000", "0.200 0.400 1.000"],
        ranges=["0.000 255.000", "-1.5 40000"],
    )


def test_what_is_said(path, opened):
    image = opened(path)
    assert image.c.values.tolist() == ["DAPI", "GFP"]
    assert image.channel_color.values.tolist() == ["0000FF", "3366FF"]
    assert image.window_start.values.tolist() == [0.0, -1.5]
    assert image.window_end.values.tolist() == [255.0, 40000.0]


def test_nothing_is_said(make_ims, noise, opened):
    assert set(opened(make_ims(noise((1, 2, 2, 3, 4)))).coords) == {"t", "z", "y", "x"}


def test_names_that_were_not_given(make_ims, noise, opened):
    image = opened(make_ims(noise((1, 3, 2, 3, 4)), names=["(name not specified)", "a/b", ""]))
    assert image.c.values.tolist() == ["", "a/b", ""]


# blue at the bottom, yellow at the top
TABLE = np.linspace([0, 0, 1], [1, 1, 0], 256, dtype=np.float32)


@pytest.mark.parametrize("kind", ["text", "text dataset", "numbers", "numbers dataset"])
def test_colour_tables(kind, path, opened):
    words = " ".join(f"{number:.3f}" for number in TABLE.ravel()) + " "
    with h5py.File(path, "r+", libver="latest") as file:
        group = file[PLACE]
        group.attrs["ColorMode"] = np.frombuffer(b"TableColor", "S1")
        if kind == "text":
            group.attrs["ColorTable"] = np.frombuffer(words.encode(), "S1")
        elif kind == "text dataset":  # as the vendor's writer has it
            group["ColorTable"] = np.frombuffer(words.encode(), "S1")
        elif kind == "numbers":
            group.attrs["ColorTable"] = TABLE
        else:
            group["ColorTable"] = TABLE
    assert opened(path).channel_color.values.tolist() == ["0000FF", "FFFF00"]


@pytest.mark.parametrize(
    ("table", "color"),
    [("1 0.4 0 0.2 0.2 0 0 0 0", "FF6600"), ("0 0 0 0 0 1 1 0 0", "FF0000"), ("0 0 0 1 1 0 0 0 1", "FFFF00")],
    ids=["from bright to dark", "the last of two", "bright in the middle"],
)
def test_colour_tables_are_as_bright_as_they_get(table, color, path, opened):
    with h5py.File(path, "r+") as file:
        file[PLACE].attrs.update(ColorMode="TableColor", ColorTable=table)
    assert opened(path).channel_color.values.tolist() == ["0000FF", color]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Color", "1 0"),
        ("Color", "red"),
        ("Color", "255 0 0"),
        ("Color", "nan 0 0"),
        ("Color", "0 0 -1"),
        ("Color", "0 0 0 0 0 0"),
        ("ColorRange", "5"),
        ("ColorRange", "5 1"),
        ("ColorRange", "0 inf"),
        ("ColorRange", "low high"),
        ("ColorRange", ""),
    ],
)
def test_numbers_that_are_wrong(name, value, path):
    with h5py.File(path, "r+") as file:
        file[PLACE].attrs[name] = value
    with pytest.warns(
        NgffWarning, match=rf"image\.ims: {name} of {PLACE} is '{value}', expected .*; it was left out"
    ) as caught:
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert len(caught) == 1
    assert dataset.c.values.tolist() == ["DAPI", "GFP"]
    if name == "Color":
        assert dataset.channel_color.values.tolist() == ["0000FF", ""]
    else:
        np.testing.assert_array_equal(dataset.window_start, [0.0, np.nan])


def test_a_table_that_is_wrong(path):
    with h5py.File(path, "r+") as file:
        file[PLACE].attrs["ColorMode"] = "TableColor"
        file[PLACE].attrs["ColorTable"] = "0.5 " * 400
    with pytest.warns(NgffWarning, match=rf"ColorTable of {PLACE} is '0\.5 .* \.\.\. .*', expected"):
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert dataset.channel_color.values.tolist() == ["0000FF", ""]


def test_a_table_that_is_missing(path, opened):
    with h5py.File(path, "r+") as file:
        file[PLACE].attrs["ColorMode"] = "TableColor"
    assert opened(path).channel_color.values.tolist() == ["0000FF", "3366FF"]


def test_a_channel_that_is_missing(path):
    with h5py.File(path, "r+") as file:
        del file[PLACE]
    with pytest.warns(NgffWarning, match="there is no DataSetInfo/Channel 1, so these"):
        dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
    assert dataset.c.values.tolist() == ["DAPI", ""]


def test_many_things_that_are_wrong_make_one_warning(make_ims, noise):
    path = make_ims(noise((3, 12, 2, 3, 4)), colors=["blue"] * 12, ranges=["none"] * 12, unit="parsnip", times=[])
    with pytest.warns(NgffWarning, match="and 18 more") as caught:
        xr.open_datatree(path, engine=ImarisEntrypoint)
    assert len(caught) == 1


def test_thousands_of_attributes(path, opened):
    with h5py.File(path, "r+", libver="latest") as file:
        for index in range(3000):
            file[PLACE].attrs[f"extra {index}"] = "x"
    assert opened(path).c.values.tolist() == ["DAPI", "GFP"]
