import numpy as np
import pytest
import xarray as xr

from xarray_ngff import Channel, as_image
from xarray_ngff.channels import channel_coordinates, channels
from xarray_ngff.errors import GeometryError

STAINS = [
    Channel("DAPI", "0000FF", (0, 900), (0, 65535)),
    Channel("GFP", "00FF00", (100, 900), (0, 65535)),
    Channel("brightfield"),
]


@pytest.fixture
def img():
    return as_image(np.arange(3 * 4 * 5).reshape(3, 4, 5), "cyx", channels=STAINS)


def test_channels_are_read_back_as_they_were_given(img):
    assert img.ngff.channels == tuple(STAINS)


def test_channels_are_plain_coordinates(img):
    assert img.c.values.tolist() == ["DAPI", "GFP", "brightfield"]
    assert img.channel_color.values.tolist() == ["0000FF", "00FF00", ""]
    np.testing.assert_array_equal(img.window_start, [0, 100, np.nan])
    np.testing.assert_array_equal(img.window_end, [900, 900, np.nan])
    np.testing.assert_array_equal(img.window_min, [0, 0, np.nan])
    np.testing.assert_array_equal(img.window_max, [65535, 65535, np.nan])
    assert img.sel(c="GFP").window_start == 100


def test_only_what_a_channel_has_becomes_a_coordinate():
    assert set(channel_coordinates(["a", "b"])) == {"c"}
    assert set(channel_coordinates([{"color": "ff0000"}, {}])) == {"channel_color"}
    assert set(channel_coordinates([Channel(window=(0, 1))])) == {"window_start", "window_end"}
    assert channel_coordinates([Channel(), {}]) == {}


def test_names_mappings_and_channels_mix():
    coords = channel_coordinates(["a", {"name": "b", "color": "#00ff7f", "window": [0, 9]}, Channel("c")])
    assert coords["c"].values.tolist() == ["a", "b", "c"]
    assert coords["channel_color"].values.tolist() == ["", "00FF7F", ""]


def test_channels_follow_the_selection(img):
    assert img.isel(c=[2, 0]).ngff.channels == (STAINS[2], STAINS[0])
    assert img.sel(c="GFP").ngff.channels == (STAINS[1],)
    assert img.sel(c=["GFP"]).ngff.channels == (STAINS[1],)
    assert img[::-1].ngff.channels == tuple(STAINS[::-1])
    assert img.mean("c").ngff.channels == ()


@pytest.mark.parametrize("places", [(0, 1), (1, 0), (0, 2), (2, 1), (0, 0)])
def test_channels_that_are_joined_again_are_still_known(img, places):
    joined = xr.concat([img.isel(c=place) for place in places], "c", coords="different", compat="equals")
    assert joined.ngff.channels == tuple(STAINS[place] for place in places)
    assert "channels" in repr(joined.ngff)


def test_a_channel_that_became_an_axis_again_is_still_known(img):
    assert img.isel(c=1).expand_dims("c").ngff.channels == (STAINS[1],)


def test_an_image_without_channels_has_none():
    assert as_image(np.zeros((2, 2))).ngff.channels == ()


def test_channels_that_nobody_described_are_empty():
    assert as_image(np.zeros((2, 2, 2)), "cyx").ngff.channels == (Channel(), Channel())


def test_coordinates_along_other_dims_describe_no_channel():
    img = xr.DataArray(np.zeros((2, 2)), coords={"y": [0.0, 1], "channel_color": ("y", ["a", "b"])}, dims=("y", "x"))
    assert channels(img) == ()
    stacked = as_image(np.zeros((2, 2, 2)), "cyx", channels=["a", "b"]).stack(pixel=("c", "x"))
    assert channels(stacked) == ()


def test_channels_without_names_count_from_0():
    img = xr.DataArray(np.zeros((2, 2)), coords={"c": [0, 1]}, dims=("c", "x"))
    assert [channel.name for channel in channels(img)] == ["0", "1"]


def test_set_channels_changes_what_is_given_and_keeps_the_rest(img):
    changed = img.ngff.set_channels(names=["a", "b", None], windows=[(1, 2), None, (3, 4)])
    assert changed.ngff.channels == (
        Channel("a", "0000FF", (1, 2), (0, 65535)),
        Channel("b", "00FF00", None, (0, 65535)),
        Channel(None, None, (3, 4), None),
    )
    assert img.ngff.channels == tuple(STAINS)
    bare = img.ngff.set_channels(names=[None] * 3, colors=[None] * 3, windows=[None] * 3)
    assert set(bare.coords) == {"y", "x", "window_min", "window_max"}
    np.testing.assert_array_equal(bare.values, img.values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["a", "b"]}, r"names=\['a', 'b'\] does not have one entry for each of the 3 channels"),
        ({"names": "abc"}, "names='abc' does not have one entry"),
        ({"colors": []}, r"colors=\[\] does not have"),
        ({"windows": [(0, 1)] * 4}, "windows=.* does not have"),
        ({"colors": ["red", None, None]}, "channel 0: color 'red' is not six hex digits like \"00FF00\""),
        ({"colors": [None, 255, None]}, "channel 1: color 255 is not six hex digits"),
        ({"windows": [None, None, (5, 1)]}, r"channel 2: window \(5, 1\) is not a pair"),
        ({"windows": [None, (0, np.nan), None]}, "channel 1: window .* is not a pair"),
        ({"windows": [(1, 2, 3), None, None]}, "channel 0: window .* is not a pair"),
        ({"windows": [("0", "9"), None, None]}, "channel 0: window .* is not a pair"),
    ],
)
def test_descriptions_that_do_not_fit_are_refused(img, options, message):
    with pytest.raises(GeometryError, match=message):
        img.ngff.set_channels(**options)


def test_an_image_without_channel_axis_takes_no_channels():
    with pytest.raises(GeometryError, match="no channel dim 'c' to describe"):
        as_image(np.zeros((2, 2))).ngff.set_channels(names=["a", "b"])


def test_an_unknown_key_is_named():
    with pytest.raises(GeometryError, match=r"channel 1 has keys \['colour', 'name'\], expected some of name, color"):
        channel_coordinates(["a", {"name": "b", "colour": "00FF00"}])


def test_what_is_no_channel_is_refused():
    with pytest.raises(GeometryError, match="channel 0 is 5, expected a name, a Channel or a mapping"):
        channel_coordinates([5])


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        ({"channel_color": ("c", ["red", ""])}, "channel 0: color 'red' is not six hex digits"),
        ({"channel_color": ("c", ["", "FF000080"])}, "channel 1: color 'FF000080' is not six hex digits"),
        (
            {"window_start": ("c", [0.0, 9.0]), "window_end": ("c", [1.0, 2.0])},
            r"channel 1: window \(9.0, 2.0\) is not",
        ),
        ({"window_min": ("c", [0.0, 0.0]), "window_max": ("c", [1.0, np.inf])}, "channel 1: limits .* finite"),
    ],
    ids=["word", "eight digits", "backwards", "infinite"],
)
def test_coordinates_that_were_set_by_hand_are_checked(coords, message):
    img = xr.DataArray(np.zeros((2, 3)), dims=("c", "x")).assign_coords(coords)
    with pytest.raises(GeometryError, match=message):
        channels(img)
    assert "channel error" in repr(img.ngff)
    assert "channel error" in img.ngff._repr_html_()
