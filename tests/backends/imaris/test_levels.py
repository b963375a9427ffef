"""What `DataSet` must be, and the errors that say what it is instead."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint
from xarray_ngff.errors import FormatError, LevelError, MetadataError, MissingExtraError, NgffWarning

LEVEL = "DataSet/ResolutionLevel 0"
CHANNEL = f"{LEVEL}/TimePoint 0/Channel 1"


@pytest.fixture
def path(make_ims, noise):
    """Three time points, two channels, two levels."""
    return make_ims(noise((3, 2, 5, 20, 24)), levels=2, compression="gzip")


@pytest.fixture
def change(path):
    """The file, to be changed."""

    def changed():
        return h5py.File(path, "r+")

    return changed


def error_of(path, **options):
    with pytest.raises(FormatError) as caught:
        xr.open_dataset(path, engine=ImarisEntrypoint, **options)
    assert str(caught.value).startswith(str(path))
    return caught.value


@pytest.mark.parametrize("level", [2, -1, 0.5, "0", True, None])
def test_levels_that_there_are_not(level, path):
    listed = r"which has the levels 0 \(z 5, y 20, x 24\), 1 \(z 5, y 10, x 12\)"
    with pytest.raises(LevelError, match=rf"level={level!r} is not in .*image\.ims, {listed}"):
        xr.open_dataset(path, engine=ImarisEntrypoint, level=level)


def test_a_level_by_a_number_of_numpy(path):
    with xr.open_dataset(path, engine=ImarisEntrypoint, level=np.int64(1)) as dataset:
        assert dataset.sizes["x"] == 12


class TestMissing:
    @pytest.mark.parametrize(
        ("gone", "named"),
        [
            (f"{LEVEL}/TimePoint 1", f"{LEVEL}/TimePoint 1"),
            (f"{LEVEL}/TimePoint 0/Channel 0", f"{LEVEL}/TimePoint 0/Channel 0"),
            (f"{CHANNEL}/Data", f"{CHANNEL}/Data"),
        ],
    )
    def test_at_opening(self, gone, named, change, path):
        with change() as file:
            del file[gone]
        error = error_of(path)
        assert isinstance(error, MetadataError)
        assert named in str(error)

    def test_a_level_between(self, make_ims, noise):
        path = make_ims(noise((1, 1, 5, 40, 40)), levels=3)
        with h5py.File(path, "r+") as file:
            del file["DataSet/ResolutionLevel 1"]
        assert "there is no group DataSet/ResolutionLevel 1, but ResolutionLevel 2" in str(error_of(path))

    def test_all_time_points(self, change, path):
        with change() as file:
            del file[LEVEL]
            file.create_group(LEVEL)
        assert f"there is no group {LEVEL}/TimePoint 0" in str(error_of(path))

    def test_all_channels(self, change, path):
        with change() as file:
            del file[f"{LEVEL}/TimePoint 0"]
            file.create_group(f"{LEVEL}/TimePoint 0")
        assert f"there is no group {LEVEL}/TimePoint 0/Channel 0" in str(error_of(path))

    @pytest.mark.parametrize("gone", ["TimePoint 2/Channel 1", "TimePoint 2/Channel 1/Data"])
    def test_later_when_it_is_read(self, gone, change, path, opened):
        with change() as file:
            del file[f"{LEVEL}/{gone}"]
        image = opened(path)
        image.isel(t=slice(2)).load()
        with pytest.raises(MetadataError, match=re.escape(f"{path}: there is no ") + rf".*{LEVEL}/{gone}"):
            image.load()

    def test_a_time_point_of_a_coarser_level(self, change, path):
        with change() as file:
            del file["DataSet/ResolutionLevel 1/TimePoint 2"]
        assert "DataSet/ResolutionLevel 1 has 2 time points, but ResolutionLevel 0 has 3" in str(
            error_of(path, level=1)
        )


class TestSizes:
    @pytest.mark.parametrize("size", ["0", "-3", "25", "99999999999999999999", "many", "1e3", "", "24.0"])
    def test_that_cannot_be(self, size, change, path):
        with change() as file:
            file[CHANNEL].attrs["ImageSizeX"] = size
        error = error_of(path)
        assert isinstance(error, MetadataError)
        assert f"ImageSizeX of {CHANNEL} is {size!r}, expected 1 to 24" in str(error)

    def test_that_differ(self, change, path):
        with change() as file:
            file[CHANNEL].attrs["ImageSizeY"] = "19"
        assert re.search(rf"{CHANNEL} has size .*\(5, 19, 24\).*Channel 0 has \(5, 20, 24\)", str(error_of(path)))

    def test_that_are_missing(self, change, path):
        with change() as file:
            for channel in range(2):
                del file[f"{LEVEL}/TimePoint 0/Channel {channel}"].attrs["ImageSizeZ"]
        with pytest.warns(NgffWarning, match="Channel 0 has no ImageSizeZ; all 8 voxels .*Channel 1 has no") as caught:
            dataset = xr.open_dataset(path, engine=ImarisEntrypoint)
        assert len(caught) == 1
        assert dataset.sizes["z"] == 8

    def test_types_that_differ(self, change, path):
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            file[f"{CHANNEL}/Data"] = np.zeros((5, 20, 24), "u1")
        assert f"{CHANNEL} has size" in str(error_of(path))


class TestData:
    @pytest.mark.parametrize(
        "data",
        [
            np.zeros(4),
            np.zeros((1, 5, 20, 24)),
            np.zeros((5, 20, 24), "c8"),
            np.zeros((5, 20, 24), "S3"),
            np.zeros((0, 3, 3)),
            h5py.Empty("u2"),
        ],
        ids=["one axis", "four axes", "complex", "text", "nothing", "no value"],
    )
    def test_that_is_no_image(self, data, change, path):
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            file[f"{CHANNEL}/Data"] = data
        assert f"{CHANNEL}/Data has shape {data.shape or ()} of {data.dtype}, expected integers or floats" in str(
            error_of(path)
        )

    def test_of_a_type_that_numpy_has_not(self, change, path):
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            space = h5py.h5s.create_simple((5, 20, 24))
            h5py.h5d.create(file[CHANNEL].id, b"Data", h5py.h5t.UNIX_D32LE, space)
        assert f"{CHANNEL}/Data holds no numbers" in str(error_of(path))

    def test_a_group_in_its_place(self, change, path):
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            file.create_group(f"{CHANNEL}/Data")
        assert f"there is no dataset {CHANNEL}/Data" in str(error_of(path))

    def test_a_dataset_in_place_of_a_group(self, change, path):
        with change() as file:
            del file[CHANNEL]
            file[CHANNEL] = np.zeros(3)
        assert f"there is no group {CHANNEL}" in str(error_of(path))


class TestElsewhere:
    """Nothing that a file points to is opened."""

    @pytest.mark.parametrize("place", ["DataSet", LEVEL, f"{LEVEL}/TimePoint 0", CHANNEL, f"{CHANNEL}/Data"])
    def test_external_links(self, place, change, path, tmp_path):
        with change() as file:
            file.move(place, "moved")
            file[place] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/somewhere")
        error = error_of(path)
        assert isinstance(error, MetadataError)
        assert f"{place} is a link to {tmp_path / 'other.h5'}:/somewhere" in str(error)

    def test_external_links_to_what_says_how_to_show_it(self, change, path):
        with change() as file:
            file["DataSetInfo"].move("Image", "Old")
            file["DataSetInfo/Image"] = h5py.ExternalLink("other.h5", "/Image")
        assert "DataSetInfo/Image is a link to other.h5:/Image" in str(error_of(path))

    def test_soft_links(self, change, path):
        with change() as file:
            file.move(CHANNEL, "moved")
            file[CHANNEL] = h5py.SoftLink("/moved")
        assert f"{CHANNEL} is a link to /moved" in str(error_of(path))

    def test_at_the_top(self, change, path):
        with change() as file:
            file.move("DataSet", "moved")
            file["DataSet"] = h5py.SoftLink("/moved")
        assert f"{path}: DataSet is a link to /moved" in str(error_of(path))

    def test_later_time_points(self, change, path, opened):
        with change() as file:
            file.move(f"{LEVEL}/TimePoint 2", "moved")
            file[f"{LEVEL}/TimePoint 2"] = h5py.ExternalLink("other.h5", "/moved")
        image = opened(path)
        with pytest.raises(MetadataError, match=f"{LEVEL}/TimePoint 2 is a link to other.h5:/moved"):
            image.load()

    def test_external_storage(self, change, path, tmp_path):
        (tmp_path / "raw").write_bytes(bytes(5 * 20 * 24 * 2))
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            file.create_dataset(f"{CHANNEL}/Data", (5, 20, 24), "u2", external=[(str(tmp_path / "raw"), 0, 4800)])
        assert f"voxels of {CHANNEL}/Data are in other files" in str(error_of(path))

    def test_virtual_datasets(self, change, path):
        layout = h5py.VirtualLayout((5, 20, 24), "u2")
        layout[:] = h5py.VirtualSource("other.h5", "data", (5, 20, 24))
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            file.create_virtual_dataset(f"{CHANNEL}/Data", layout)
        assert f"voxels of {CHANNEL}/Data are in other files" in str(error_of(path))


class TestFilters:
    def test_lz4_with_the_extra(self, make_ims, noise, opened):
        hdf5plugin = pytest.importorskip("hdf5plugin")
        pixels = noise((2, 1, 5, 11, 9))
        image = opened(make_ims(pixels, **hdf5plugin.LZ4()))
        np.testing.assert_array_equal(image.values, pixels)
        np.testing.assert_array_equal(image.isel(z=[0, 4], x=slice(None, None, 3)), pixels[:, :, [0, 4], :, ::3])

    def test_lz4_without_the_extra(self, make_ims, noise):
        """In a process of its own, as the plugin stays in HDF5 once it was loaded."""
        hdf5plugin = pytest.importorskip("hdf5plugin")
        path = make_ims(noise((1, 1, 5, 11, 9)), **hdf5plugin.LZ4())
        script = (
            "import sys; sys.modules['hdf5plugin'] = None\n"
            "import xarray as xr\n"
            "from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint\n"
            "from xarray_ngff.errors import MissingExtraError\n"
            "try: xr.open_dataset(sys.argv[1], engine=ImarisEntrypoint)\n"
            "except MissingExtraError as error: print(error)"
        )
        plain = {key: value for key, value in os.environ.items() if key != "HDF5_PLUGIN_PATH"}
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
        place = f"{path}: {LEVEL}/TimePoint 0/Channel 0/Data"
        assert re.match(re.escape(f"{place} is compressed with HDF5 filter 32004 ("), done.stdout)
        assert "pip install 'xarray-ngff[imaris]'" in done.stdout

    def test_the_plugin_is_left_alone_where_h5py_suffices(self, path):
        script = (
            "import sys, xarray as xr\n"
            "from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint\n"
            "xr.open_dataset(sys.argv[1], engine=ImarisEntrypoint).load()\n"
            "print('hdf5plugin' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"

    def test_a_filter_that_no_one_has(self, path, change, monkeypatch):
        with change() as file:
            del file[f"{CHANNEL}/Data"]
            created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            created.set_chunk((5, 20, 24))
            created.set_filter(299, h5py.h5z.FLAG_OPTIONAL, ())
            space = h5py.h5s.create_simple((5, 20, 24))
            h5py.h5d.create(file[CHANNEL].id, b"Data", h5py.h5t.STD_U16LE, space, created)
        pytest.importorskip("hdf5plugin")
        assert f"{CHANNEL}/Data is compressed with HDF5 filter 299" in str(error_of(path))
        monkeypatch.setitem(sys.modules, "hdf5plugin", None)
        with pytest.raises(MissingExtraError, match=r"filter 299 .*xarray-ngff\[imaris\]"):
            xr.open_dataset(path, engine=ImarisEntrypoint)
