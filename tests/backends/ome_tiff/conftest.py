"""OME-TIFF files with a given description, and the files of Bio-Formats where they are at hand."""

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

REAL = Path(os.environ.get("XARRAY_NGFF_TEST_DATA", Path(__file__).parents[3] / "../shared/data")) / "ome-tiff"

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def described(
    data, *, pixels="", inside="", image="", after="", order="XYZCT", sizes=None, namespace=NAMESPACE, root=""
):
    """OME-XML for planes of which `data` has one for each T, C, Z in its first axes."""
    t, c, z, height, width = data.shape
    found = {"X": width, "Y": height, "Z": z, "C": c, "T": t} | (sizes or {})
    lengths = " ".join(f'Size{axis}="{size}"' for axis, size in found.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{namespace}" {root}><Image ID="Image:0" Name="cells">'
        f'{image}<Pixels ID="Pixels:0" DimensionOrder="{order}" Type="{data.dtype}" {lengths} {pixels}>'
        f"{inside}</Pixels></Image>{after}</OME>"
    )


@pytest.fixture
def ome_file(tmp_path):
    """Function that writes an OME-TIFF of shape t, c, z, y, x with parts of its XML given, and returns its path."""

    def write(shape=(1, 1, 1, 8, 10), *, name="image.ome.tif", xml=None, data=None, order="XYZCT", **parts):
        if data is None:
            data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
        if "TiffData" not in parts.get("inside", ""):
            parts["inside"] = parts.get("inside", "") + "<TiffData/>"
        path = tmp_path / name
        axes = ["TCZ".index(axis) for axis in order[:1:-1]]
        planes = data.transpose(*axes, 3, 4).reshape(-1, *data.shape[3:])
        text = described(data, order=order, **parts) if xml is None else xml
        with tifffile.TiffWriter(path) as tif:
            for index, plane in enumerate(planes):
                tif.write(
                    plane, description=text.encode() if index == 0 else None, metadata=None, contiguous=False,
                    photometric="minisblack",
                )  # fmt: skip
        return path

    return write


@pytest.fixture
def real():
    """Function that gives the path of a file written by Bio-Formats, or skips where it is not at hand."""

    def path(name):
        if not (REAL / name).exists():
            pytest.skip(f"{name} is not in {REAL}: set XARRAY_NGFF_TEST_DATA")
        return REAL / name

    return path
