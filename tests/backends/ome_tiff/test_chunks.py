"""Chunks follow tiles, and are neither tiny nor huge."""

import numpy as np
import pytest
import tifffile

from xarray_ngff.backends.ome_tiff.images import described_image


def chunks(path, shape, **options):
    """Chunks of an image that is written as tiles without pixels, however large."""
    options = {"photometric": "minisblack"} | options
    if "data" not in options:
        options |= {"shape": shape, "dtype": options.get("dtype", np.uint16)}
    tifffile.imwrite(path, **options)
    return described_image(path).encoding["preferred_chunks"]


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((2, 5, 100, 120), {"metadata": {"axes": "CZYX"}}, {"c": 1, "z": 5, "y": 100, "x": 120}),
        ((2, 40, 1024, 1024), {"metadata": {"axes": "TZYX"}}, {"t": 1, "z": 2, "y": 1024, "x": 1024}),
        ((5000, 6000), {"tile": (256, 256)}, {"y": 1280, "x": 1280}),
        ((3, 300, 6000), {"tile": (512, 512), "metadata": {"axes": "ZYX"}}, {"z": 3, "y": 300, "x": 1024}),
        ((9000, 9000), {}, {"y": 1864, "x": 9000}),
        (
            (4000, 9000),
            {"compression": "zlib", "rowsperstrip": 500, "data": np.zeros((4000, 9000), np.uint16)},
            {"y": 1500, "x": 9000},
        ),
        ((50, 60, 3), {"photometric": "rgb", "dtype": np.uint8}, {"c": 3, "y": 50, "x": 60}),
        (
            (3, 50, 60),
            {"photometric": "rgb", "planarconfig": "separate", "dtype": np.uint8},
            {"c": 1, "y": 50, "x": 60},
        ),
    ],
    ids=["small", "z", "tiles", "flat", "large plane", "large strips", "interleaved", "planar"],
)
def test_chunks(tmp_path, shape, options, expected):
    assert chunks(tmp_path / "a.tif", shape, **options) == expected
