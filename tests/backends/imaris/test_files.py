"""Paths and files that are no Imaris images."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import warnings

import h5py
import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint
from xarray_ngff.errors import FormatError, MissingFileError


def open_it(path):
    return xr.open_dataset(path, engine=ImarisEntrypoint)


def test_no_file(tmp_path):
    with pytest.raises(MissingFileError, match=re.escape(f"{tmp_path / 'none.ims'} does not exist")):
        open_it(tmp_path / "none.ims")


def test_a_folder(tmp_path):
    with pytest.raises(FormatError, match="is not a file"):
        open_it(tmp_path)


@pytest.mark.parametrize("given", [b"a.ims", 3, io.BytesIO(b"data")], ids=["bytes", "number", "stream"])
def test_no_path(given):
    with pytest.raises(FormatError, match=r"read and written by path, but .* was given"):
        ImarisEntrypoint().open_dataset(given)


def test_a_url():
    with pytest.raises(FormatError, match=r"https://host/a\.ims is a URL"):
        open_it("https://host/a.ims")


@pytest.mark.parametrize("content", [b"", b"II*\0rest of a TIFF", bytes(4000)], ids=["empty", "tiff", "zeros"])
def test_no_hdf5(content, tmp_path):
    path = tmp_path / "image.ims"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        open_it(path)
    assert str(caught.value).startswith(f"{path} is no HDF5 file")
    assert f"{len(content)} bytes and starts with {content[:8]!r}" in str(caught.value)


@pytest.mark.parametrize("name", ["data", "DataSet", "DataSet/ResolutionLevel 0"])
def test_no_imaris(name, tmp_path):
    path = tmp_path / "image.ims"
    with h5py.File(path, "w") as file:
        file[name] = np.zeros(3)
    with pytest.raises(FormatError) as caught:
        open_it(path)
    if name.endswith("0"):
        assert "there is no group DataSet/ResolutionLevel 0" in str(caught.value)
    else:
        assert str(caught.value).startswith(f"{path} is HDF5 but no Imaris 5.5 image")
        assert 'engine="h5netcdf"' in str(caught.value)


def test_a_file_that_another_program_writes(make_ims, noise):
    path = make_ims(noise((1, 1, 2, 3, 4)))
    script = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        writer.stdout.readline()
        with pytest.raises(BlockingIOError, match="another program is writing") as caught:
            open_it(path)
        assert caught.value.filename == str(path)
        writer.communicate()
    open_it(path).close()


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated(fraction, make_ims, noise):
    path = make_ims(noise((2, 2, 5, 20, 24)), levels=2, compression="gzip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(FormatError, match=re.escape(str(path))):
        open_it(path).load()


def test_damaged_anywhere(make_ims, noise):
    """Whatever bytes are wrong: the image opens, or there is one error that names the file."""
    path = make_ims(noise((1, 2, 5, 11, 9)), compression="gzip")
    content = path.read_bytes()
    generator = np.random.default_rng(3)
    for _ in range(150):
        broken = bytearray(content)
        for position in generator.integers(0, len(content), 6):
            broken[position] = generator.integers(256)
        path.write_bytes(broken)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            said = what_goes_wrong(path)
        messages = [str(warning.message) for warning in caught] + said
        assert len(caught) <= 1
        assert all(str(path) in message for message in messages)


def what_goes_wrong(path):
    try:
        with open_it(path) as dataset:
            dataset.load()
    except FormatError as error:
        return [str(error)]
    return []
