"""The engine as xarray calls it."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr

from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.errors import FormatError, LevelError, MissingFileError


@pytest.fixture
def three_series(tmp_path):
    path = tmp_path / "three.ome.tif"
    with tifffile.TiffWriter(path) as tif:
        for number, name in enumerate(["cells", "cells", "a/b"]):
            data = np.full((2, 32, 48), number, np.uint8)
            about = {"axes": "ZYX", "Name": name, "PhysicalSizeX": number + 1.0, "Channel": {"Name": f"dye {number}"}}
            options = {"photometric": "minisblack", "tile": (16, 16)}
            tif.write(data, metadata=about, subifds=1, **options)
            tif.write(data[:, ::2, ::2], subfiletype=1, **options)
    return path


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("a.ome.tif", True), ("a.OME.TIFF", True), ("a.ome.btf", True), ("a.ome.tf2", True), ("a.ome.tf8", True),
        ("a.tif", True), ("a.tiff", True), ("a.btf", True), ("a.lsm", True), ("a.stk", True), (Path("b/a.tif"), True),
        ("a.tif.gz", False), ("tif", False), ("a.nii", False), ("https://example.org/a.tif", False), (b"a.tif", False),
        (3, False), ("s3://bucket/a.ome.tif", False),
    ],
)  # fmt: skip
def test_guess_goes_by_the_name(name, answer):
    assert OmeTiffEntrypoint().guess_can_open(name) is answer


def test_dataset_has_one_lazy_variable(three_series):
    with xr.open_dataset(three_series, engine=OmeTiffEntrypoint) as dataset:
        assert list(dataset.data_vars) == ["image"]
        assert dataset.encoding["source"] == dataset.image.encoding["source"] == str(three_series)
        assert not dataset.image.variable._in_memory
        assert dataset.image.encoding["preferred_chunks"] == {"z": 2, "y": 32, "x": 48}


def test_drop_variables(three_series):
    dataset = xr.open_dataset(three_series, engine=OmeTiffEntrypoint, drop_variables=["z", "absent"])
    assert "z" not in dataset.coords
    assert "image" not in xr.open_dataset(three_series, engine=OmeTiffEntrypoint, drop_variables="image")


@pytest.mark.parametrize(("series", "value"), [(0, 0), (2, 2), ("cells", 0), ("cells_1", 1), ("a_b", 2), ("a/b", 2)])
def test_series_by_number_or_name(three_series, series, value):
    image = xr.open_dataarray(three_series, engine=OmeTiffEntrypoint, series=series)
    assert (image == value).all()
    # each with the metadata of its own image
    assert image.x.attrs == {"units": "micrometer", "spacing": value + 1.0}
    assert image.c.item() == f"dye {value}"


@pytest.mark.parametrize("series", [3, -1, True, None, "absent"])
def test_series_that_is_not_there(three_series, series):
    with pytest.raises(LevelError, match=r"no series .*; it has 0: 'cells', 1: 'cells_1', 2: 'a_b'"):
        xr.open_dataset(three_series, engine=OmeTiffEntrypoint, series=series)


@pytest.mark.parametrize("level", [2, -1, "fine", True, 0.0])
def test_level_that_is_not_there(three_series, level):
    with pytest.raises(LevelError, match=r"series 'cells' has no level .*; it has levels 0, 1"):
        xr.open_dataset(three_series, engine=OmeTiffEntrypoint, level=level)


def test_tree_of_several_series(three_series):
    tree = xr.open_datatree(three_series, engine=OmeTiffEntrypoint)
    assert [path for path in tree.groups if path.endswith(("0", "1")) and "scale" in path] == [
        f"/{name}/scale{level}" for name in ("cells", "cells_1", "a_b") for level in (0, 1)
    ]
    assert (tree["a_b/scale1/image"] == 2).all()
    assert tree["cells_1/scale1"].x.attrs["spacing"] == 4.0
    assert not tree["cells/scale0"].image.variable._in_memory


def test_tree_of_one_series(real):
    path = real("bf_pyramid_subifd_tiled_zlib.ome.tiff")
    groups = xr.open_groups(path, engine=OmeTiffEntrypoint)
    assert list(groups) == ["/", "/scale0", "/scale1", "/scale2", "/scale3"] or list(groups) == [
        "/scale0", "/scale1", "/scale2", "/scale3",
    ]  # fmt: skip
    with tifffile.TiffFile(path) as tif:
        for level, truth in enumerate(tif.series[0].levels):
            dataset = groups[f"/scale{level}"]
            np.testing.assert_array_equal(dataset.image, truth.asarray())
            # blocks of 2 ** level pixels of 0.3 µm, at whose centre the pixel is
            factor = 2**level
            np.testing.assert_allclose(dataset.x[0], 0.3 * (factor - 1) / 2)
            assert dataset.x.attrs["spacing"] == pytest.approx(0.3 * factor)


REAL = [
    "artificial_XYCTZ.ome.tiff", "artificial_XYZTC.ome.tiff", "bf_bigtiff.ome.tiff",
    "bf_pyramid_subifd_tiled_zlib.ome.tiff", "bf_series3.ome.tiff", "bf_units_mixed.ome.tiff",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_pixels_of_bio_formats(real, name):
    with tifffile.TiffFile(real(name)) as tif:
        for number, series in enumerate(tif.series):
            image = xr.open_dataarray(real(name), engine=OmeTiffEntrypoint, series=number)
            order = [series.axes.lower().index(dim) for dim in image.dims]
            assert "".join(image.dims) == "".join(dim for dim in "tczyx" if dim in image.dims)
            np.testing.assert_array_equal(image, series.asarray().transpose(order))
            np.testing.assert_array_equal(pickle.loads(pickle.dumps(image)), image)


def test_rgb_of_bio_formats(real):
    image = xr.open_dataarray(real("bf_rgb_2x3.ome.tiff"), engine=OmeTiffEntrypoint)
    truth = tifffile.imread(real("bf_rgb_2x3.ome.tiff"))  # z, c, samples, y, x
    np.testing.assert_array_equal(image, truth.reshape(2, 6, 50, 70).swapaxes(0, 1))
    assert image.channel_color.values.tolist() == ["FF0000", "00FF00", "0000FF"] * 2


def test_units_of_bio_formats(real):
    image = xr.open_dataarray(real("bf_units_mixed.ome.tiff"), engine=OmeTiffEntrypoint)
    assert [(image[dim].attrs["spacing"], image[dim].attrs["units"]) for dim in "xyz"] == [
        (300.0, "nanometer"), (pytest.approx(0.0004), "millimeter"), (1.5, "millimeter"),
    ]  # fmt: skip


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingFileError, match=r"absent\.tif does not exist"):
        xr.open_dataset(tmp_path / "absent.tif", engine=OmeTiffEntrypoint)


@pytest.mark.parametrize("given", ["https://example.org/a.tif", 7, b"a.tif"])
def test_what_is_no_path(given):
    with pytest.raises(FormatError, match=r"is a URL|are read and written by path"):
        OmeTiffEntrypoint().open_dataset(given)


def test_nothing_of_logging_or_tifffile_changes(three_series):
    logger = logging.getLogger("tifffile")
    before = (logger.level, list(logger.handlers), logger.disabled, logger.propagate)
    xr.open_dataset(three_series, engine=OmeTiffEntrypoint).load()
    assert (logger.level, list(logger.handlers), logger.disabled, logger.propagate) == before
