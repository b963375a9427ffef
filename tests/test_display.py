from html.parser import HTMLParser

import dask.array
import numpy as np
import pytest
import xarray as xr

from xarray_ngff import Channel, as_image


@pytest.fixture
def img():
    return as_image(
        dask.array.zeros((2, 3, 4, 50, 60), chunks=(1, 1, 4, 20, 60), dtype="uint16"),
        spacing={"t": 0.5, "z": 2, "y": 0.65, "x": -0.65},
        units={"t": "s", "z": "um", "y": "um", "x": "um"},
        orientation="RAS",
        channels=[Channel("DAPI", "0000FF", (0, 900)), "GFP", Channel(color="FF0000")],
    )


def test_one_screen_says_it_all(img):
    assert repr(img.ngff).splitlines() == [
        "xarray-ngff image (t: 2, c: 3, z: 4, y: 50, x: 60) uint16, 140.6 KiB",
        "  spacing      t 0.5 s, z 2 µm, y 0.65 µm, x 0.65 µm",
        "  orientation  LAS",
        "  world extent x -38.675 to 0.325 µm, y -0.325 to 32.175 µm, z -1 to 7 µm",
        "  channels     DAPI (#0000FF, 0 to 900), GFP, (#FF0000)",
        "  chunks       18 of at most (t: 1, c: 1, z: 4, y: 20, x: 60)",
    ]


def test_a_plain_image_needs_few_lines():
    assert repr(as_image(np.zeros((2, 3)), name="labels").ngff).splitlines() == [
        "xarray-ngff labels (y: 2, x: 3) float64, 48 B",
        "  spacing      y 1, x 1",
        "  world extent x -0.5 to 2.5, y -0.5 to 1.5",
        "  chunks       not chunked",
    ]


@pytest.mark.parametrize(("count", "more"), [(8, False), (9, True)])
def test_eight_channels_are_shown(count, more):
    img = as_image(np.zeros((count, 2, 2)), "cyx", channels=[f"channel {i}" for i in range(count)])
    for shown in (repr(img.ngff), img.ngff._repr_html_()):
        assert "channel 7" in shown
        assert ("and 1 more" in shown) is more
        assert ("more" in shown) is more


def test_many_channels_are_cut_short():
    img = as_image(np.zeros((40, 2, 2)), "cyx", channels=[f"channel {i}" for i in range(40)])
    assert "channel 7 and 32 more" in repr(img.ngff)
    assert "channel 8" not in repr(img.ngff)
    assert "and 32 more" in img.ngff._repr_html_()


@pytest.mark.parametrize(
    ("img", "reason"),
    [
        (xr.DataArray(np.zeros((2, 3)), dims=("y", "x")), "has no coordinate"),
        (xr.DataArray(np.zeros((2, 3)), dims=("a", "b")), "none of which is spatial"),
        (as_image(np.zeros((2, 5))).isel(x=[0, 1, 4]), "'x' is not regular"),
        (as_image(np.zeros((0, 5))), "is empty"),
        (as_image(np.zeros((2, 5)), units=("um", "parsnip")), "no common world"),
    ],
)
def test_a_geometry_that_cannot_be_told_says_why(img, reason):
    for shown in (repr(img.ngff), img.ngff._repr_html_().replace("&#x27;", "'")):
        assert reason in shown
        assert "not chunked" in shown
    assert len(repr(img.ngff).splitlines()) <= 5


def test_an_irregular_time_axis_hides_nothing_of_space(img):
    shown = repr(img.isel(t=[0, 1, 1]).ngff)
    assert "t irregular, z 2 µm" in shown
    assert "orientation  LAS" in shown


def test_a_plane_shows_where_it_is():
    img = as_image(np.zeros((4, 5, 6)), spacing=(2, 1, 1), origin=(10, 0, 0), units="mm").isel(z=3)
    assert "z 15 to 17 mm" in repr(img.ngff)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((1,), "1 B"), ((1024,), "1 KiB"), ((2000,), "1.953 KiB"), ((3 * 2**30,), "3 GiB"), ((2**52,), "4096 TiB")],
)
def test_memory_is_told_in_readable_units(shape, size):
    img = as_image(dask.array.zeros((*shape, 1), chunks=2**50, dtype="u1"), ("angle", "x"))
    assert repr(img.ngff).splitlines()[0].endswith(f"uint8, {size}")


class Cells(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.cells = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"th", "td"} & set(self.open):
            self.cells[-1] += data


def test_the_html_table_says_the_same(img):
    cells = Cells(img.ngff._repr_html_()).cells
    rows = dict(zip(cells[::2], cells[1::2], strict=True))
    assert list(rows) == ["spacing", "orientation", "world extent", "channels", "chunks"]
    for line in repr(img.ngff).splitlines()[1:]:
        label, value = line[2:15].strip(), line[15:]
        if label != "channels":
            assert rows[label] == value
    assert "DAPI" in rows["channels"]
    assert "color:#0000FF" in img.ngff._repr_html_()


def test_names_cannot_break_the_html():
    img = as_image(np.zeros((1, 2, 2)), "cyx", channels=["<script>alert(1)</script>"], name="<b>image")
    img = img.assign_coords(channel_color=("c", ["'><script>"]))
    text = img.ngff._repr_html_()
    Cells(text)
    assert "<script>" not in text
    assert "<b>" not in text


def test_showing_an_image_reads_nothing():
    def refuse(block):
        raise AssertionError("the data were read")

    img = as_image(dask.array.zeros((4, 4), chunks=2).map_blocks(refuse, dtype=float, meta=np.empty((0, 0))))
    assert repr(img.ngff)
    assert img.ngff._repr_html_()
