"""Imaris files made with h5py alone, as the vendor's own writer lays them out, and the genuine ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint

GENUINE = Path(os.environ.get("XARRAY_NGFF_TEST_DATA", Path(__file__).parents[3] / "../shared/data")) / "imaris"
NAMES = ("u8_3c2t_gzip2", "u16_3c2t_gzip2", "u16_1c1t_lz4", "u8_multires_flat")


def text(value):
    """Text as an attribute: an array of strings of length one, and one null character for none."""
    return np.array([bytes([byte]) for byte in str(value).encode()] or [b""], dtype="S1")


def coarser(pixels):
    """The next level: the first of every two voxels along x and y, as a stand-in for their mean."""
    *_, y, x = pixels.shape
    return pixels[..., : y // 2 * 2 : 2, : x // 2 * 2 : 2]


def write_ims(
    path,
    pixels,
    *,
    levels=1,
    chunks=(4, 8, 8),
    extents=None,
    unit="um",
    names=(),
    colors=(),
    ranges=(),
    times=None,
    encode=text,
    flat=False,
    **storage,
):
    """Write pixels (t, c, z, y, x), padded to whole chunks, with what `DataSetInfo` says of them.

    ``extents`` is ((x, y, z) of the lowest corner, (x, y, z) of the highest); ``times`` are one a second where they are
    not given; ``encode`` makes attributes of text; ``flat`` leaves the axis z out of the datasets; ``storage`` goes to
    `h5py.Group.create_dataset`.
    """
    _, _, *full = pixels.shape
    with h5py.File(path, "w") as file:
        for key, value in {"ImarisDataSet": "ImarisDataSet", "ImarisVersion": "5.5.0"}.items():
            file.attrs[key] = encode(value)
        file.attrs["NumberOfDataSets"] = np.array([1], np.uint32)
        for level in range(levels):
            for t, volumes in enumerate(pixels):
                for c, volume in enumerate(volumes):
                    group = file.create_group(f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}")
                    for axis, size in zip("ZYX", volume.shape, strict=True):
                        group.attrs[f"ImageSize{axis}"] = encode(size)
                    padded = volume
                    if chunks is not None:
                        ends = [-size % chunk for size, chunk in zip(volume.shape, chunks, strict=True)]
                        padded = np.pad(volume, [(0, end) for end in ends], constant_values=1)
                    if flat:
                        padded = padded[0]
                    shape = chunks if chunks is None or not flat else chunks[1:]
                    group.create_dataset("Data", data=padded, chunks=shape, **storage)
            pixels = coarser(pixels)
        info = file.create_group("DataSetInfo")
        image = info.create_group("Image")
        low, high = extents or ((0, 0, 0), full[::-1])
        for axis in range(3):
            image.attrs["XYZ"[axis]] = encode(full[2 - axis])
            image.attrs[f"ExtMin{axis}"] = encode(f"{low[axis]:.9f}")
            image.attrs[f"ExtMax{axis}"] = encode(f"{high[axis]:.9f}")
        if unit is not None:
            image.attrs["Unit"] = encode(unit)
        for c in range(len(volumes)):
            channel = info.create_group(f"Channel {c}")
            given = {"Name": names, "Color": colors, "ColorRange": ranges}
            for key, values in given.items():
                if c < len(values):
                    channel.attrs[key] = encode(values[c])
        time_info = info.create_group("TimeInfo")
        time_info.attrs["DatasetTimePoints"] = encode(t + 1)
        if times is None:
            times = [f"2021-03-04 05:{second // 60:02d}:{second % 60:02d}" for second in range(t + 1)]
        for index, time in enumerate(times, start=1):
            time_info.attrs[f"TimePoint{index}"] = encode(time)
    return path


def noise(shape, dtype="u2", seed=0):
    """Numbers that no shift, flip or mixed-up axis leaves the same."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 250, shape).astype(dtype)
        if np.dtype(dtype).kind in "iu"
        else rng.normal(size=shape).astype(dtype)
    )


@pytest.fixture(name="noise")
def _noise():
    return noise


@pytest.fixture
def make_ims(tmp_path):
    """``make_ims(pixels, name="image.ims", **options of write_ims)``."""
    return lambda pixels, name="image.ims", **options: write_ims(tmp_path / name, pixels, **options)


@pytest.fixture
def opened():
    """Open a level with the engine, and close it at the end."""
    datasets = []

    def open_it(path, **options):
        datasets.append(xr.open_dataset(path, engine=ImarisEntrypoint, **options))
        return datasets[-1]["image"]

    yield open_it
    for dataset in datasets:
        dataset.close()


class Genuine:
    """A file of the vendor's writer, and what the writer was given."""

    def __init__(self, name):
        self.path = GENUINE / f"{name}.ims"
        self.pixels = np.load(GENUINE / f"{name}.npy")
        self.said = json.loads((GENUINE / f"{name}.json").read_text())


@pytest.fixture(params=NAMES)
def genuine(request):
    if not GENUINE.is_dir():
        pytest.skip("files of Imaris's own writer are not here: set XARRAY_NGFF_TEST_DATA")
    if "lz4" in request.param:
        pytest.importorskip("hdf5plugin")
    return Genuine(request.param)
