"""ImageJ's calibration, written by tifffile as ImageJ does."""

import numpy as np
import pytest
import tifffile
import xarray as xr

from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.channels import channels
from xarray_ngff.errors import FormatError

RAMP = np.arange(256, dtype=np.uint8)
NOTHING = np.zeros(256, np.uint8)


def hyperstack(path, shape=(2, 3, 2, 8, 10), *, resolution=(4, 2), **metadata):
    """Hyperstack in ImageJ's order t, z, c, y, x."""
    data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(path, data, imagej=True, resolution=resolution, metadata={"axes": "TZCYX"} | metadata)
    return data


def open_image(path):
    return xr.open_dataarray(path, engine=OmeTiffEntrypoint)


def test_hyperstack(tmp_path):
    path = tmp_path / "stack.tif"
    data = hyperstack(path, unit="micron", spacing=1.5, finterval=0.25)
    image = open_image(path)
    assert image.dims == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(image, data.swapaxes(1, 2))
    assert {dim: (image[dim].attrs["spacing"], image[dim].attrs["units"]) for dim in "tzyx"} == {
        "t": (0.25, "second"), "z": (1.5, "micrometer"), "y": (0.5, "micrometer"), "x": (0.25, "micrometer"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("unit", "name"),
    [(r"\u00B5m", "micrometer"), ("um", "micrometer"), ("mm", "millimeter"), ("pixel", None), ("furlong", "furlong")],
)
def test_units(tmp_path, unit, name):
    path = tmp_path / "stack.tif"
    hyperstack(path, unit=unit)
    assert open_image(path).x.attrs.get("units") == name


def test_axes_may_have_units_of_their_own(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, unit="um", zunit="nm", spacing=300.0)
    image = open_image(path)
    assert image.z.attrs == {"units": "nanometer", "spacing": 300.0}
    assert image.x.attrs["units"] == "micrometer"


def test_origin_is_the_voxel_at_zero(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, unit="um", spacing=2.0, xorigin=3, zorigin=-1.5)
    image = open_image(path)
    assert image.x.values[:4].tolist() == [-0.75, -0.5, -0.25, 0.0]
    assert image.z.values.tolist() == [3.0, 5.0, 7.0]


def test_a_negative_spacing_is_a_distance(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, unit="um", spacing=-2.0)
    assert open_image(path).z.attrs["spacing"] == 2.0


def test_channels_have_labels_ranges_and_colours(tmp_path):
    path = tmp_path / "stack.tif"
    labels = ["DAPI", "GFP"] * 6
    tables = [np.stack([NOTHING, NOTHING, RAMP]), np.stack([RAMP, RAMP[::-1], RAMP])]
    hyperstack(path, mode="composite", Labels=labels, Ranges=(0.0, 900.0, 50.0, 800.0), LUTs=tables)
    found = channels(open_image(path))
    assert [channel.name for channel in found] == ["DAPI", "GFP"]
    assert [channel.window for channel in found] == [(0.0, 900.0), (50.0, 800.0)]
    assert [channel.color for channel in found] == ["0000FF", None]


def test_labels_of_planes_are_no_channels(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, Labels=[f"plane {i}" for i in range(12)])
    assert "c" not in open_image(path).coords


def test_one_channel_has_min_and_max(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, (1, 3, 1, 8, 10), min=10.0, max=200.0)
    image = open_image(path)
    assert (image.window_start.item(), image.window_end.item()) == (10.0, 200.0)


def test_rgb(tmp_path):
    path = tmp_path / "rgb.tif"
    data = np.arange(2 * 8 * 10 * 3, dtype=np.uint8).reshape(2, 8, 10, 3)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYXS"})
    image = open_image(path)
    np.testing.assert_array_equal(image, np.moveaxis(data, -1, 0))
    assert image.c.values.tolist() == ["R", "G", "B"]
    assert image.channel_color.values.tolist() == ["FF0000", "00FF00", "0000FF"]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}], ids=["contiguous", "pages"])
def test_a_hyperstack_that_is_cut_off_is_named(tmp_path, options):
    path = tmp_path / "cut.tif"
    data = np.random.default_rng(0).integers(0, 999, (20, 16, 16), dtype=np.uint16)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX"}, **options)
    with path.open("r+b") as file:
        file.truncate(int(path.stat().st_size * 0.7))
    with pytest.raises(FormatError, match=r"cut\.tif is truncated"):
        open_image(path).values  # noqa: B018


def test_a_hyperstack_of_one_page_that_is_cut_off_is_named(tmp_path):
    path = tmp_path / "cut.tif"
    data = np.random.default_rng(0).integers(0, 999, (20, 16, 16), dtype=np.uint16)
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[0]
    with path.open("r+b") as file:
        # ImageJ describes a large stack on one page, after which no other comes
        file.seek(page.offset + 2 + 12 * len(page.tags))
        file.write(bytes(4))
        file.truncate(page.dataoffsets[0] + 7 * page.nbytes)
    with pytest.raises(FormatError, match=r"cut\.tif is truncated: ImageJ says 20 planes"):
        open_image(path)


def test_tifffile_own_description(tmp_path):
    path = tmp_path / "own.tif"
    about = {"axes": "TZYX", "spacing": 2.0, "unit": "um", "finterval": 5.0}
    tifffile.imwrite(path, np.zeros((2, 5, 8, 10), np.uint8), resolution=(2, 2), metadata=about)
    image = open_image(path)
    assert {dim: (image[dim].attrs["spacing"], image[dim].attrs["units"]) for dim in "tzyx"} == {
        "t": (5.0, "second"), "z": (2.0, "micrometer"), "y": (0.5, "micrometer"), "x": (0.5, "micrometer"),
    }  # fmt: skip


def test_a_depth_of_one_unit_is_not_written_but_meant(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, unit="micron", zorigin=2)
    z = open_image(path).z
    assert (z.attrs, z.values.tolist()) == ({"spacing": 1.0, "units": "micrometer"}, [-2.0, -1.0, 0.0])


def test_one_slice_has_no_depth(tmp_path):
    path = tmp_path / "stack.tif"
    hyperstack(path, (2, 1, 2, 8, 10), unit="micron")
    assert "z" not in open_image(path).coords
