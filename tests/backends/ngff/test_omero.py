"""Channels of "omero"."""

import pytest

from xarray_ngff.backends.ngff.omero import parse_channels
from xarray_ngff.channels import channel_coordinates
from xarray_ngff.errors import MetadataError, NgffWarning

WINDOW = {"start": 1, "end": 9, "min": 0, "max": 255.5}


def parse(*channels):
    return parse_channels({"channels": list(channels)}, "img: omero")


def test_as_the_specification_has_them():
    given = {"active": True, "color": "00FF00", "label": "GFP", "window": WINDOW, "family": "linear"}
    assert parse(given) == (given,)
    assert given["window"] is WINDOW
    assert parse_channels(None, "img: omero") == ()


@pytest.mark.parametrize(
    ("raw", "color", "message"),
    [
        ("00ff7f", "00FF7F", None),
        ("#00ff7f", "00FF7F", "'#00ff7f', expected six hex digits"),
        ("00FF7F80", "00FF7F", "'00FF7F80', expected six hex digits"),
        ("green", None, "the colour was ignored"),
        (None, None, None),
    ],
)
def test_colors(raw, color, message):
    channel = {"window": WINDOW, "color": raw}
    if message is None:
        (found,) = parse(channel)
    else:
        with pytest.warns(NgffWarning, match=rf"img: omero\.channels\[0\]\.color.*{message}"):
            (found,) = parse(channel)
    assert found.get("color") == color
    channel_coordinates([{"color": found.get("color")}])


@pytest.mark.parametrize(
    ("raw", "window", "message"),
    [
        (None, None, "no window for channel 0"),
        ({}, None, "no window"),
        ({"min": 0, "max": 9}, {"min": 0.0, "max": 9.0}, None),
        ({"start": 0, "end": None}, None, "'start' up to 'end'"),
        ({"start": 9, "end": 0, "min": 0, "max": 9}, {"min": 0.0, "max": 9.0}, "'start' up to 'end'"),
    ],
)
def test_windows(raw, window, message):
    if message is None:
        assert parse({"window": raw})[0]["window"] == window
    else:
        with pytest.warns(NgffWarning, match=message):
            assert parse({"window": raw})[0].get("window") == window


def test_label_that_is_a_number():
    with pytest.warns(NgffWarning, match=r"channels\[0\]\.label is 488, expected a text"):
        assert parse({"label": 488, "window": WINDOW})[0]["label"] == "488"


def test_channels_that_are_no_list():
    with pytest.warns(NgffWarning, match="img: omero.channels is missing, expected a list"):
        assert parse_channels({"id": 1}, "img: omero") == ()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (3, "img: omero is 3, expected an object"),
        ({"channels": ["GFP"]}, r"channels\[0\] is 'GFP', expected an object"),
        ({"channels": [{"color": 255}]}, r"channels\[0\]\.color is 255, expected six hex digits"),
        ({"channels": [{"window": {"start": "1"}}]}, r"channels\[0\]\.window\.start is '1', expected a finite number"),
        ({"channels": [{"window": [0, 1]}]}, r"window is \[0, 1\], expected an object"),
    ],
)
def test_what_raises(raw, message):
    with pytest.raises(MetadataError, match=message):
        parse_channels(raw, "img: omero")
