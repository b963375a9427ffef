"""The engine as xarray finds and calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr

from xarray_ngff.backends.nifti import NiftiEntrypoint

SMALL = np.arange(24, dtype="i2").reshape(2, 3, 4)


def test_xarray_finds_it_by_name(save):
    path = save(SMALL)
    assert isinstance(xr.backends.list_engines()["nifti"], NiftiEntrypoint)
    with xr.open_dataset(path, engine="nifti") as dataset:
        assert list(dataset.data_vars) == ["image"]
        assert dataset.encoding["source"] == str(path)
    with xr.open_dataarray(str(path), engine="nifti") as image:
        np.testing.assert_array_equal(image.values, SMALL.T)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.hdr", "image.img"])
def test_xarray_guesses_it(name, save):
    path = save(SMALL, name=name)
    with xr.open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset["image"].values, SMALL.T)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("scan.nii", True),
        (Path("scan.NII.GZ"), True),
        ("scan.gz", False),
        ("scan.mgz", False),
        ("scan.zarr", False),
        ("https://host/scan.nii", False),
        (b"scan.nii", False),
        (3, False),
        ("missing.hdr", False),
    ],
)
def test_what_it_claims(given, expected):
    assert NiftiEntrypoint().guess_can_open(given) is expected


def test_it_leaves_headers_of_other_formats(tmp_path):
    (tmp_path / "envi.hdr").write_text("ENVI\nsamples = 3\n" + " " * 600)
    (tmp_path / "envi.img").write_bytes(bytes(100))
    nib.save(nib.AnalyzeImage(SMALL, np.eye(4)), tmp_path / "old.hdr")
    for name in ("envi.hdr", "envi.img", "old.hdr", "old.img"):
        assert not NiftiEntrypoint().guess_can_open(tmp_path / name)


def test_options_of_xarray(save, patch):
    path = save(SMALL)
    patch(path, scl_slope=0.5, scl_inter=0)
    with xr.open_dataset(path, engine="nifti", decode_cf=False) as dataset:
        assert dataset["image"].dtype == np.int16
    with xr.open_dataset(path, engine="nifti", mask_and_scale=False) as dataset:
        assert dataset["image"].dtype == np.int16
    with xr.open_dataset(path, engine="nifti", drop_variables="image") as dataset:
        assert list(dataset.data_vars) == []
    with xr.open_dataset(path, engine="nifti", drop_variables=["x", "nothing"]) as dataset:
        assert "x" not in dataset.coords
    with xr.open_dataset(path, engine="nifti", chunks={"z": 4}) as dataset:
        assert dataset["image"].chunksizes["z"] == (4,)


def test_a_relative_path_and_a_home(save, monkeypatch):
    path = save(SMALL)
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("HOME", str(path.parent))
    for given in (path.name, f"~/{path.name}", os.curdir + "/" + path.name):
        with xr.open_dataset(given, engine=NiftiEntrypoint) as dataset:
            assert dataset["image"].shape == (4, 3, 2)


def test_many_files_open_as_one(tmp_path):
    for t in range(3):
        nib.save(nib.Nifti1Image(SMALL + t, np.eye(4)), tmp_path / f"{t}.nii")
    paths = sorted(tmp_path.glob("*.nii"))
    with xr.open_mfdataset(paths, engine="nifti", combine="nested", concat_dim="t") as dataset:
        np.testing.assert_array_equal(dataset["image"].values, np.stack([SMALL.T + t for t in range(3)]))


def test_the_module_is_light():
    """Xarray imports every engine when it guesses: nibabel may load only when a NIfTI file is opened."""
    script = (
        "import sys, xarray.backends; before = set(sys.modules); import xarray_ngff.backends.nifti.entrypoint;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(new & {'nibabel', 'scipy', 'zarr', 'pint', 'skimage'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
