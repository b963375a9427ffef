"""`import xarray_ngff` adds next to nothing to `import xarray`: what reads formats loads when it is used."""

import subprocess
import sys

import pytest

import xarray_ngff

HEAVY = {
    "aiohttp", "dask", "distributed", "fsspec", "h5netcdf", "h5py", "hdf5plugin", "imagecodecs", "matplotlib",
    "netCDF4", "nibabel", "numcodecs", "ome_zarr", "pint", "scipy", "skimage", "tifffile", "tqdm", "zarr",
}  # fmt: skip


def modules_after(code):
    """Names of the modules that a new interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def xarray_alone():
    return modules_after("import xarray")


def added(code, before):
    return {name.partition(".")[0] for name in modules_after(code) - before}


def test_importing_loads_no_format_library(xarray_alone):
    new = added("import xarray_ngff", xarray_alone)
    assert "xarray_ngff" in new
    assert new & HEAVY == set()
    assert new - {"xarray_ngff"} <= sys.stdlib_module_names


def test_geometry_in_memory_loads_no_format_library():
    # xarray itself asks on the first array whether it is one of dask's or pint's
    before = modules_after("import numpy, xarray; xarray.DataArray(numpy.zeros(2), {'x': [0.0, 1.0]}).isel(x=0)")
    code = """
import numpy, xarray_ngff
img = xarray_ngff.as_image(numpy.zeros((4, 5, 6)), spacing=(2, 1, 1), units="um", orientation="RAS")
img.ngff.affine, img.ngff.crop(x=(1, 3)).ngff.extent, img.ngff.downsample(2), repr(img.ngff)
"""
    assert added(code, before) & HEAVY == set()


def test_public_names_are_there():
    assert sorted(xarray_ngff.__all__) == xarray_ngff.__all__
    for name in xarray_ngff.__all__:
        assert getattr(xarray_ngff, name) is not None


def test_names_that_load_late_show_up_and_others_do_not():
    assert set(xarray_ngff.__all__) < set(dir(xarray_ngff))
    assert not hasattr(xarray_ngff, "open_stack")
