"""Open and write real files with the installed wheel alone; run in an empty folder, away from the checkout."""

import sys
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import nibabel
import numpy as np
import xarray as xr

import xarray_ngff

package = Path(xarray_ngff.__file__).resolve()
assert package.is_relative_to(Path(sys.prefix).resolve()), f"imported the checkout, not the wheel: {package}"
assert xarray_ngff.__version__ == version("xarray-ngff")
assert files("xarray_ngff").joinpath("py.typed").is_file(), "the wheel ships no py.typed"

scan = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
truth = nibabel.load(scan)

image = xr.open_dataarray(scan, engine="nifti")
assert image.dims == ("t", "z", "y", "x"), image.dims
np.testing.assert_array_equal(image.transpose("x", "y", "z", "t").values, np.asarray(truth.dataobj))
np.testing.assert_allclose(image.ngff.affine, truth.affine, rtol=1e-5, atol=1e-5)

image.ngff.to_ome_zarr("scan.ome.zarr")
again = xr.open_dataarray("scan.ome.zarr", engine="ngff", chunks={})
np.testing.assert_array_equal(again.values, image.values)
np.testing.assert_allclose(again.ngff.affine, truth.affine, rtol=1e-5, atol=1e-5)

cells = xarray_ngff.as_image(
    np.arange(2 * 3 * 300 * 300, dtype="uint16").reshape(2, 3, 300, 300),
    "czyx",
    spacing=(2, 0.5, 0.5),
    origin=(10, -4, 7),
    units="um",
    channels=["DAPI", "GFP"],
)
cells.ngff.to_ome_tiff("cells.ome.tif")
xr.open_dataarray("cells.ome.tif", engine="ome-tiff", chunks={}).ngff.to_imaris("cells.ims")
for path, engine in (("cells.ome.tif", "ome-tiff"), ("cells.ims", "imaris")):
    again = xr.open_dataarray(path, engine=engine).squeeze()
    np.testing.assert_array_equal(again.values, cells.values)
    np.testing.assert_allclose(again.ngff.affine, cells.ngff.affine)
    assert again.c.values.tolist() == ["DAPI", "GFP"]

print(f"xarray-ngff {version('xarray-ngff')}, installed without extras, opened and wrote every format")
