"""The engine as xarray calls it, on genuine files and on ones made with h5py."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint


class TestGenuine:
    def test_voxels(self, genuine, opened):
        image = opened(genuine.path)
        assert image.dims == ("t", "c", "z", "y", "x")
        assert image.dtype == genuine.said["dtype"]
        np.testing.assert_array_equal(image.values, genuine.pixels)

    def test_extents(self, genuine, opened):
        image = opened(genuine.path)
        given = genuine.said["extents_minxyz_maxxyz"]
        for index, dim in enumerate("xyz"):
            low, high = given[index], given[index + 3]
            step = (high - low) / image.sizes[dim]
            # the file has single precision
            assert image[dim].values[0] == pytest.approx(low + step / 2, rel=1e-6)
            assert image[dim].values[-1] == pytest.approx(high - step / 2, rel=1e-6)
            assert image[dim].attrs["units"] == "micrometer"

    def test_channels(self, genuine, opened):
        image = opened(genuine.path)
        assert image.c.values.tolist() == genuine.said["channel_names"]
        expected = [[round(255 * part) for part in color[:3]] for color in genuine.said["colors"]]
        assert [list(bytes.fromhex(color)) for color in image.channel_color.values] == expected
        with h5py.File(genuine.path) as file:
            ranges = [file[f"DataSetInfo/Channel {c}"].attrs["ColorRange"].tobytes() for c in range(image.sizes["c"])]
        windows = np.stack([image.window_start, image.window_end], axis=-1)
        assert windows.tolist() == [[float(word) for word in text.split()] for text in ranges]

    def test_times(self, genuine, opened):
        image = opened(genuine.path)
        times = [datetime.fromisoformat(text) for text in genuine.said["time_points"]]
        assert image.t.values.tolist() == [(time - times[0]).total_seconds() for time in times]
        assert image.t.attrs["units"] == "second"
        assert image.t.attrs["start_time"] == times[0].isoformat()

    def test_levels(self, genuine):
        with h5py.File(genuine.path) as file:
            levels = {f"scale{r}": file[f"DataSet/ResolutionLevel {r}"] for r in range(len(file["DataSet"]))}
            stored = {
                name: [[group[f"TimePoint {t}/Channel {c}/Data"][:] for c in range(len(group["TimePoint 0"]))]
                       for t in range(len(group))]
                for name, group in levels.items()
            }  # fmt: skip
        with xr.open_datatree(genuine.path, engine=ImarisEntrypoint) as tree:
            assert list(tree.children) == list(stored)
            finest = tree["scale0"]["image"]
            for name, volumes in stored.items():
                image = tree[name]["image"]
                z, y, x = image.shape[2:]
                np.testing.assert_array_equal(image.values, np.array(volumes)[..., :z, :y, :x])
                for dim in "zyx":
                    # every level fills the same extents
                    step = image[dim].attrs["spacing"]
                    assert step * image.sizes[dim] == pytest.approx(finest[dim].attrs["spacing"] * finest.sizes[dim])
                    edge = finest[dim].values[0] - finest[dim].attrs["spacing"] / 2
                    assert image[dim].values[0] - step / 2 == pytest.approx(edge)

    def test_as_the_common_reader(self, genuine, capsys):
        reader = pytest.importorskip("imaris_ims_file_reader.ims")
        with xr.open_datatree(genuine.path, engine=ImarisEntrypoint) as tree:
            images = [node["image"].load() for node in tree.children.values()]
        # it opens the file in a way that HDF5 allows no one beside
        other = reader.ims(str(genuine.path), squeeze_output=False, resolution_decimal_places=None)
        try:
            assert other.ResolutionLevels == len(images)
            for level, image in enumerate(images):
                found = other[level, :, :, :, :, :].reshape(image.shape)
                np.testing.assert_array_equal(image.values, found)
                spacing = [image[dim].attrs["spacing"] for dim in "zyx"]
                np.testing.assert_allclose(spacing, other.metaData[level, 0, 0, "resolution"], rtol=1e-12)
        finally:
            other.close()
            other.close = lambda: None  # which it calls again, and prints, when it is collected
        capsys.readouterr()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4", ">u2", ">f4", "i2", "f8"])
@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}], ids=str)
def test_types(dtype, storage, make_ims, noise, opened):
    pixels = noise((2, 2, 5, 11, 9), dtype)
    image = opened(make_ims(pixels, **storage))
    assert image.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(image.values, pixels)


@pytest.mark.parametrize("storage", [{}, {"compression": "gzip"}, {"chunks": None}], ids=str)
def test_two_axes(storage, make_ims, noise, opened):
    pixels = noise((2, 3, 1, 11, 9))
    image = opened(make_ims(pixels, flat=True, **{"chunks": (1, 4, 4), **storage}))
    assert image.dims == ("t", "c", "z", "y", "x")
    np.testing.assert_array_equal(image.values, pixels)
    np.testing.assert_array_equal(image.isel(y=slice(None, None, -3), x=[0, 8]), pixels[..., ::-3, [0, 8]])


def test_levels(make_ims, noise):
    pixels = noise((1, 2, 3, 20, 30))
    path = make_ims(pixels, levels=3, extents=((5, 6, 7), (20, 26, 10)), compression="gzip")
    with xr.open_datatree(path, engine=ImarisEntrypoint) as tree:
        assert tree.groups == ("/", "/scale0", "/scale1", "/scale2")
        coarsest = tree["scale2/image"]
        np.testing.assert_array_equal(coarsest, pixels[..., ::4, ::4][..., :5, :7])
        np.testing.assert_allclose(coarsest.x, 5 + (np.arange(7) + 0.5) * 15 / 7)
        np.testing.assert_allclose(coarsest.y, 6 + (np.arange(5) + 0.5) * 20 / 5)
    with xr.open_dataset(path, engine=ImarisEntrypoint, level=2) as dataset:
        xr.testing.assert_identical(dataset["image"], coarsest)
        assert dataset.encoding["source"] == str(path)
    groups = ImarisEntrypoint().open_groups_as_dict(path, drop_variables=["t"])
    assert list(groups) == ["/scale0", "/scale1", "/scale2"]
    assert "t" not in groups["/scale1"].coords


def test_options_of_xarray(make_ims, noise, monkeypatch):
    path = make_ims(noise((3, 1, 4, 8, 8)), names=["DAPI"])
    with xr.open_dataset(path, engine=ImarisEntrypoint, drop_variables=["c", "nothing"]) as dataset:
        assert "c" not in dataset.coords
    with xr.open_dataset(path, engine=ImarisEntrypoint, drop_variables="image") as dataset:
        assert list(dataset.data_vars) == []
    with xr.open_dataarray(str(path), engine=ImarisEntrypoint, chunks={}) as image:
        assert image.chunksizes["t"] == (1, 1, 1)
        np.testing.assert_array_equal(image.values, noise((3, 1, 4, 8, 8)))
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for given in (path.name, f"~/{path.name}", Path(path.name)):
        with xr.open_dataset(given, engine=ImarisEntrypoint) as dataset:
            assert dataset.sizes["t"] == 3


def test_any_name_opens_where_the_engine_is_named(make_ims, noise, opened):
    assert opened(make_ims(noise((1, 1, 2, 3, 4)), name="image.h5")).shape == (1, 1, 2, 3, 4)


def test_many_files_open_as_one(make_ims, noise):
    paths = [make_ims(noise((1, 1, 4, 8, 8), seed=i), name=f"{i}.ims") for i in range(3)]
    with xr.open_mfdataset(paths, engine=ImarisEntrypoint, combine="nested", concat_dim="t") as dataset:
        expected = np.concatenate([noise((1, 1, 4, 8, 8), seed=i) for i in range(3)])
        np.testing.assert_array_equal(dataset["image"].values, expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("cells.ims", True),
        (Path("CELLS.IMS"), True),
        ("cells.ims.h5", False),
        ("cells.h5", False),
        ("https://host/cells.ims", False),
        (b"cells.ims", False),
        (3, False),
    ],
)
def test_what_it_claims(given, expected):
    assert ImarisEntrypoint().guess_can_open(given) is expected


def test_the_module_is_light():
    """Xarray imports every engine when it guesses: h5py may load only when a file is opened."""
    script = (
        "import sys, xarray.backends; before = set(sys.modules); import xarray_ngff.backends.imaris.entrypoint;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'h5py', 'hdf5plugin', 'dask', 'zarr', 'pint', 'scipy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
