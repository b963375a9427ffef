"""Dims and coordinates of files that say little of themselves."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile
import xarray as xr

from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.backends.ome_tiff.images import described_image
from xarray_ngff.errors import FormatError


def open_image(path, **options):
    return xr.open_dataarray(path, engine=OmeTiffEntrypoint, **options)


def save(path, shape, **options):
    data = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    tifffile.imwrite(path, data, **({"photometric": "minisblack"} | options))
    return data


@pytest.mark.parametrize(
    ("shape", "axes", "dims"),
    [
        ((4, 5, 6), "ZYX", "zyx"), ((4, 5, 6), "TYX", "tyx"), ((4, 5, 6), "CYX", "cyx"), ((4, 5, 6), "QYX", "qyx"),
        ((2, 4, 5, 6), "ZCYX", "czyx"), ((2, 3, 5, 6), "AHYX", "ahyx"), ((3, 2, 5, 6), "HTYX", "thyx"),
        ((5, 6), "YX", "yx"),
    ],
)  # fmt: skip
def test_axes_become_dims(tmp_path, shape, axes, dims):
    data = save(tmp_path / "a.tif", shape, metadata={"axes": axes})
    image = open_image(tmp_path / "a.tif")
    assert "".join(map(str, image.dims)) == dims
    np.testing.assert_array_equal(image, data.transpose([axes.lower().index(dim) for dim in dims]))


def test_pages_of_which_nothing_is_said_are_i(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for number in range(5):
            tif.write(np.full((4, 6), number, np.uint8), contiguous=False, metadata=None)
    image = open_image(tmp_path / "a.tif")
    assert dict(image.sizes) == {"i": 5, "y": 4, "x": 6}
    assert image.isel(y=0, x=0).values.tolist() == [0, 1, 2, 3, 4]
    assert "i" not in image.coords


def test_axes_of_one_letter_are_told_apart(tmp_path):
    data = save(tmp_path / "a.tif", (2, 3, 4, 5, 6))
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("q", "q1", "q2", "y", "x")
    np.testing.assert_array_equal(image, data)


def test_pages_of_different_shape_are_series(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for size in (8, 5, 8):
            tif.write(np.full((size, 6), size, np.uint8), contiguous=False, metadata=None, photometric="minisblack")
    assert dict(open_image(tmp_path / "a.tif").sizes) == {"i": 2, "y": 8, "x": 6}
    assert dict(open_image(tmp_path / "a.tif", series=1).sizes) == {"y": 5, "x": 6}
    assert dict(open_image(tmp_path / "a.tif", series="series1").sizes) == {"y": 5, "x": 6}


@pytest.mark.parametrize(
    ("unit", "spacing", "units"),
    [("CENTIMETER", (0.0005, 0.00025), "centimeter"), ("INCH", (1.0, 1.0), None), ("NONE", (1.0, 1.0), None)],
)
def test_resolution_counts_only_in_centimeters(tmp_path, unit, spacing, units):
    save(tmp_path / "a.tif", (5, 6), resolution=(4000, 2000), resolutionunit=unit, metadata=None)
    image = open_image(tmp_path / "a.tif")
    assert (image.y.attrs["spacing"], image.x.attrs["spacing"]) == spacing
    assert image.x.attrs.get("units") == units


@pytest.mark.parametrize("samples", [2, 3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_are_channels(tmp_path, samples, planar):
    shape = (5, 6, samples) if planar == "contig" else (samples, 5, 6)
    photometric = "rgb" if samples > 2 else "minisblack"
    data = save(tmp_path / "a.tif", shape, photometric=photometric, planarconfig=planar, metadata=None)
    image = open_image(tmp_path / "a.tif")
    assert image.dims == ("c", "y", "x")
    np.testing.assert_array_equal(image, np.moveaxis(data, -1, 0) if planar == "contig" else data)
    if samples == 2:
        assert "c" not in image.coords
    else:
        assert image.c.values.tolist() == list("RGBA"[:samples])
        assert image.channel_color.values.tolist() == ["FF0000", "00FF00", "0000FF", ""][:samples]


def test_samples_of_channels_have_both_names(tmp_path):
    about = {"axes": "CYXS", "Channel": {"Name": ["left", "right"]}}
    save(tmp_path / "a.ome.tif", (2, 5, 6, 3), photometric="rgb", metadata=about)
    image = open_image(tmp_path / "a.ome.tif")
    assert image.c.values.tolist() == [f"{eye} {color}" for eye in ("left", "right") for color in "RGB"]


def test_palettes_stay_indices(tmp_path):
    table = np.zeros((3, 256), np.uint16)
    table[0] = np.arange(256) * 257
    data = save(tmp_path / "a.tif", (5, 6), photometric="palette", colormap=table)
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif"), data)


def test_description_is_there_before_the_dataset(tmp_path):
    save(tmp_path / "a.tif", (4, 5, 6), metadata={"axes": "ZYX"})
    found = described_image(tmp_path / "a.tif")
    assert found.dims == ("z", "y", "x")
    assert found.array.shape == (4, 5, 6)
    assert found.array.dtype == np.uint8
    assert set(found.coords) == {"z", "y", "x"}
    assert found.source == str(tmp_path / "a.tif")


def test_a_warning_can_be_taken_as_text(ome_file):
    texts = []
    described_image(ome_file(pixels='PhysicalSizeX="0" PhysicalSizeY="-1"'), warn=texts.append)
    assert len(texts) == 1
    assert "image.ome.tif: " in texts[0]
    assert "PhysicalSizeY '-1'" in texts[0]


def test_many_planes_open_without_reading_pixels(tmp_path, monkeypatch):
    path = tmp_path / "many.ome.tif"
    data = np.random.default_rng(0).integers(0, 255, (1000, 16, 16), dtype=np.uint8)
    tifffile.imwrite(path, data, photometric="minisblack", compression="zlib", metadata={"axes": "TYX"})
    with tifffile.TiffFile(path) as tif:
        offsets = {page.dataoffsets[0] for page in tif.pages}
    read = []
    original = tifffile.FileHandle.seek
    monkeypatch.setattr(
        tifffile.FileHandle, "seek", lambda self, offset, *args: read.append(offset) or original(self, offset, *args)
    )
    image = open_image(path)
    assert image.sizes["t"] == 1000
    assert read
    assert not offsets.intersection(read)
    np.testing.assert_array_equal(image.isel(t=[3, 999]), data[[3, 999]])


WITHOUT_CODECS = """
import sys
sys.modules["imagecodecs"] = None
import xarray as xr
from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
for path in sys.argv[1:]:
    try:
        print(int(xr.open_dataarray(path, engine=OmeTiffEntrypoint).sum()))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_codecs_that_are_not_installed_are_named(tmp_path):
    names = ["zlib", "lzma", "packbits", "none", "zstd", "lzw"]
    for name in names:
        save(tmp_path / f"{name}.tif", (10, 20), compression=name if name != "none" else None)
    paths = [str(tmp_path / f"{name}.tif") for name in names]
    lines = subprocess.run(
        [sys.executable, "-c", WITHOUT_CODECS, *paths], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert lines[:4] == [str(sum(range(200)))] * 4
    for name, line in zip(names[4:], lines[4:], strict=True):
        assert line.startswith(f"MissingExtraError {tmp_path / name}.tif is compressed")
        assert line.endswith("pip install 'xarray-ngff[tiff]'")


def test_a_tag_of_several_values_where_there_is_one_is_named(tmp_path):
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, np.zeros((8, 10, 3), "u1"), photometric="rgb", byteorder="<", metadata=None)
    with tifffile.TiffFile(path) as tif:
        photometric = tif.pages[0].tags[262].offset
    with path.open("r+b") as file:
        file.seek(photometric + 4)
        file.write((2).to_bytes(4, "little"))  # its count
    with pytest.raises(FormatError, match=r"odd\.tif: its structure contradicts itself \(TypeError"):
        open_image(path)
