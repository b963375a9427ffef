"""The header in the encoding: plain JSON that disturbs nothing."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nibabel.nifti1 import Nifti1Extension

from xarray_ngff.backends.nifti import write_nifti

FIELDS = {
    "scl_slope": 0.5,
    "scl_inter": 3.0,
    "descrip": b"text",
    "intent_code": 1001,
    "cal_max": math.nan,
    "intent_p1": math.inf,
    "dim_info": 1 + (2 << 2) + (3 << 4),
    "slice_duration": 0.1,
    "qoffset_x": 7.0,
}


@pytest.fixture
def source(save, patch, affines):
    path = save(
        np.arange(24, dtype="i2").reshape(2, 3, 4),
        affines["LPS"],
        codes=(2, 1),
        extensions=[Nifti1Extension(6, b"note")],
    )
    patch(path, **FIELDS)
    return path


def test_it_is_plain_json(shipped, source, opened):
    for path in (shipped, source):
        encoding = opened(path).encoding["nifti"]
        assert json.loads(json.dumps(encoding, allow_nan=False)) == encoding


def test_through_json_it_writes_the_same_file(source, opened, tmp_path):
    image = opened(source)
    write_nifti(image, tmp_path / "direct.nii")
    image.encoding["nifti"] = json.loads(json.dumps(image.encoding["nifti"]))
    write_nifti(image, tmp_path / "json.nii")
    assert (tmp_path / "direct.nii").read_bytes() == (tmp_path / "json.nii").read_bytes()
    before, after = nib.load(source), nib.load(tmp_path / "json.nii")
    np.testing.assert_array_equal(after.dataobj.get_unscaled(), before.dataobj.get_unscaled())
    np.testing.assert_allclose(after.get_qform(), before.get_qform(), atol=1e-5)
    assert math.isnan(after.header["cal_max"])


@pytest.mark.parametrize("engine", ["netcdf4", "h5netcdf", "zarr"])
def test_it_does_not_disturb_xarrays_own_formats(engine, source, opened, tmp_path):
    image = opened(source)
    path = tmp_path / "stored"
    if engine == "zarr":
        image.to_dataset().to_zarr(path, consolidated=False)
    else:
        image.to_netcdf(path, engine=engine)
    with xr.open_dataset(path, engine=engine, **({"consolidated": False} if engine == "zarr" else {})) as dataset:
        np.testing.assert_array_equal(dataset["image"].values, image.values)
        assert dataset["image"].dtype == image.dtype
        assert dataset["image"].x.attrs == image.x.attrs


def test_it_survives_selection(source, opened):
    image = opened(source)
    assert image.isel(x=0, y=slice(0, 2)).encoding["nifti"] == image.encoding["nifti"]


def test_only_forms_that_differ_are_related(save, opened, affines, patch):
    path = save(np.zeros((2, 3, 4), "i2"), affines["oblique"], codes=(1, 1))
    assert "sform_to_qform" not in opened(path).encoding["nifti"]
    patch(path, qoffset_y=1.0)
    relation = np.array(opened(path).encoding["nifti"]["sform_to_qform"])
    image = nib.load(path)
    np.testing.assert_allclose(relation @ image.get_sform(), image.get_qform(), atol=1e-5)
    patch(path, quatern_b=9.0)  # no rotation at all, and not needed
    assert "sform_to_qform" not in opened(path).encoding["nifti"]
