"""NIfTI to OME-Zarr and back: nibabel finds every voxel, and every header field that matters, as it was."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nibabel.openers import Opener
from nibabel.testing import data_path

from xarray_ngff import as_image
from xarray_ngff.errors import FormatError, MetadataError, NgffWarning

# A matrix of connectivity (CIFTI-2) is no image: it has two axes besides space and time, and OME-Zarr allows one.
MATRIX = Path(data_path) / "row_major.dconn.nii"
SHIPPED = sorted(set(Path(data_path).glob("*.nii*")) - {MATRIX})
VERSIONS = ["0.4", "0.5"]

by_file = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
by_version = pytest.mark.parametrize("version", VERSIONS)


class Seen:
    """A file as nibabel sees it, with its spatial axes in the order x, y, z (closest world axis), as we write it."""

    def __init__(self, path):
        image = nib.load(path)
        with Opener(image.file_map["image"].filename) as stream:
            # as it is in the file: nibabel clears the slope of the header of an image
            self.header = type(image.header).from_fileobj(stream)
        axes = nib.io_orientation(image.affine)[:, 0]
        order = [int(np.flatnonzero(axes == axis)[0]) for axis in range(3)]
        self.affine = image.affine[:, [*order, 3]]
        count = min(3, image.ndim)
        self.order = (*order[:count], *range(count, image.ndim))
        self.stored = np.asarray(image.dataobj.get_unscaled()).transpose(self.order)
        self.values = np.asarray(image.dataobj).transpose(self.order)

    @property
    def zooms(self):
        return self.header["pixdim"][1:][list(self.order)]


def by_way_of(path, store, *, version, level=0, **options):
    """Open a NIfTI file, write it to OME-Zarr, and open a level of that."""
    with xr.open_dataset(path, engine="nifti", **options) as dataset:
        (image,) = dataset.data_vars.values()
        image.ngff.to_ome_zarr(store, version=version, levels=level + 1)
    return xr.open_dataarray(store, engine="ngff", level=level)


@by_file
@by_version
@pytest.mark.parametrize("mask_and_scale", [True, False])
def test_nifti_ome_zarr_nifti(path, version, mask_and_scale, tmp_path):
    image = by_way_of(path, tmp_path / "a.ome.zarr", version=version, mask_and_scale=mask_and_scale)
    copy = tmp_path / path.name
    image.ngff.to_nifti(copy)
    before, after = Seen(path), Seen(copy)

    scale = np.abs(before.affine).max()
    np.testing.assert_allclose(after.affine, before.affine, rtol=1e-5, atol=1e-7 * scale)
    assert after.stored.dtype == before.stored.dtype.newbyteorder("=")
    assert after.stored.shape == before.stored.shape
    np.testing.assert_array_equal(after.stored, before.stored)
    np.testing.assert_array_equal(after.values, before.values)
    assert after.header.get_slope_inter() == before.header.get_slope_inter()
    assert after.header.get_xyzt_units() == before.header.get_xyzt_units()
    np.testing.assert_allclose(after.zooms, before.zooms, rtol=1e-6)
    for key in ("sform_code", "qform_code", "descrip", "aux_file", "intent_code", "cal_min", "cal_max", "toffset"):
        assert after.header[key] == before.header[key], key
    assert after.header.sizeof_hdr == before.header.sizeof_hdr
    assert [(e.get_code(), e.content) for e in after.header.extensions] == [
        (e.get_code(), e.content) for e in before.header.extensions
    ]


@by_file
@by_version
def test_values_are_where_and_what_nibabel_says(path, version, tmp_path):
    image = by_way_of(path, tmp_path / "a.ome.zarr", version=version)
    truth = Seen(path)
    dims = [dim for dim in ("x", "y", "z", "t", "c") if dim in image.dims]
    values = truth.values.reshape([n for i, n in enumerate(truth.values.shape) if n > 1 or i < len(dims)][: len(dims)])
    # scaled values are of the smallest float type that holds every stored integer apart from the next
    np.testing.assert_allclose(image.transpose(*dims), values, rtol=1e-6)
    full = np.eye(4)
    full[:3, :3], full[:3, 3] = image.ngff.affine[:3, :3], image.ngff.affine[:3, 3]
    np.testing.assert_allclose(full, truth.affine, rtol=1e-5, atol=1e-7 * np.abs(truth.affine).max())
    assert image.ngff.orientation == "".join(nib.aff2axcodes(truth.affine))


@by_file
@by_version
def test_a_level_above_is_not_rounded_to_what_the_file_stored(path, version, tmp_path):
    """Slope and intercept made the full resolution fit its integers; a mean of values lies between them."""
    image = by_way_of(path, tmp_path / "a.ome.zarr", version=version, level=1)
    copy = tmp_path / "level1.nii"
    image.ngff.to_nifti(copy)
    after = Seen(copy)
    dims = [dim for dim in ("x", "y", "z", "t", "c") if dim in image.dims]
    found = after.values.reshape([n for i, n in enumerate(after.values.shape) if n > 1 or i < 3])
    np.testing.assert_array_equal(found.reshape(image.transpose(*dims).shape), image.transpose(*dims))
    np.testing.assert_allclose(after.affine[:3], np.asarray(image.ngff.affine)[:3], rtol=1e-5, atol=1e-4)
    # level 1 has the middle of every block of the original
    before = Seen(path)
    corner = np.array([(f - 1) / 2 for f in factors(before, after)])
    np.testing.assert_allclose(after.affine[:3, 3], (before.affine @ [*corner, 1])[:3], rtol=1e-5, atol=1e-4)


@by_version
def test_a_level_above_of_stored_numbers_keeps_their_slope(version, tmp_path):
    path = Path(data_path) / "functional.nii"
    image = by_way_of(path, tmp_path / "a.ome.zarr", version=version, level=1, mask_and_scale=False)
    image.ngff.to_nifti(tmp_path / "level1.nii")
    before, after = Seen(path), Seen(tmp_path / "level1.nii")
    assert after.header.get_slope_inter() == before.header.get_slope_inter() != (1, 0)
    block = tuple(slice(0, factor) for factor in factors(before, after))
    assert after.stored[0, 0, 0, 7] == np.rint(before.stored[(*block, 7)].mean())
    np.testing.assert_allclose(after.values[0, 0, 0, 7], before.values[(*block, 7)].mean(), rtol=1e-3)


def factors(before, after):
    return [round(a / b) for a, b in zip(after.zooms[:3], before.zooms[:3], strict=True)]


@by_version
def test_a_matrix_is_refused_before_anything_is_written(version, tmp_path):
    with pytest.raises(FormatError, match="at most one axis besides t, z, y and x, this image has c, v"):
        by_way_of(MATRIX, tmp_path / "a.ome.zarr", version=version)
    assert not list(tmp_path.iterdir())


@by_version
def test_slope_and_intercept_of_every_type(version, tmp_path):
    """All stored integers of 16 bits, under scalings that single precision can and cannot resolve."""
    stored = np.arange(-(2**15), 2**15, dtype="i2").reshape(16, 64, 64)
    for number, (slope, intercept) in enumerate([(0.1, 0), (1 / 3, 1e6), (-2.5, 7), (1e-3, -32768), (0, 5), (1, 1)]):
        path = tmp_path / f"{number}.nii"
        nib.save(nib.Nifti1Image(stored, np.diag([2, 2, 3, 1])), path)
        raw = bytearray(path.read_bytes())
        header = np.frombuffer(bytes(raw[:348]), nib.Nifti1Header.template_dtype).copy()
        header["scl_slope"], header["scl_inter"] = slope, intercept
        path.write_bytes(header.tobytes() + bytes(raw[348:]))
        for scaled in (True, False):
            name = f"{number}{scaled}"
            image = by_way_of(path, tmp_path / f"{name}.ome.zarr", version=version, mask_and_scale=scaled)
            image.ngff.to_nifti(tmp_path / f"{name}.nii")
            after = Seen(tmp_path / f"{name}.nii")
            np.testing.assert_array_equal(after.stored, stored)
            np.testing.assert_array_equal(after.values, Seen(path).values)


@by_version
def test_a_crop_sits_where_it_sat(version, tmp_path):
    """By way of a pyramid, a crop in world millimetres, and a plane of the oblique scan."""
    path = Path(data_path) / "example4d.nii.gz"
    image = by_way_of(path, tmp_path / "a.ome.zarr", version=version)
    crop = image.isel(x=slice(20, 90), y=slice(11, 60), z=slice(3, 21))
    crop.ngff.to_nifti(tmp_path / "crop.nii")
    truth, after = Seen(path), Seen(tmp_path / "crop.nii")
    np.testing.assert_array_equal(after.stored, truth.stored[20:90, 11:60, 3:21])
    expected = truth.affine @ nib.affines.from_matvec(np.eye(3), [20, 11, 3])
    np.testing.assert_allclose(after.affine, expected, rtol=1e-5, atol=1e-9)

    crop.isel(z=7, t=1).ngff.to_ome_zarr(tmp_path / "plane.ome.zarr", version=version)
    plane = xr.open_dataarray(tmp_path / "plane.ome.zarr", engine="ngff")
    assert plane.dims == ("y", "x")
    np.testing.assert_allclose(plane.t, crop.t[1])
    plane.ngff.to_nifti(tmp_path / "plane.nii")
    after = Seen(tmp_path / "plane.nii")
    np.testing.assert_array_equal(after.stored[..., 0] if after.stored.ndim > 2 else after.stored,
                                  truth.stored[20:90, 11:60, 10, 1])  # fmt: skip
    expected = truth.affine @ nib.affines.from_matvec(np.eye(3), [20, 11, 10])
    np.testing.assert_allclose(after.affine, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("engine", "name"), [("ngff", "a.ome.zarr"), ("nifti", "a.nii.gz")])
def test_the_instant_that_time_counts_from_is_kept(engine, name, tmp_path):
    img = as_image(np.zeros((3, 2, 3, 4), "u1"), "tzyx", spacing={"t": 2.5}, units={"t": "second", "x": "um"})
    img.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
    write = {"ngff": img.ngff.to_ome_zarr, "nifti": img.ngff.to_nifti}[engine]
    write(tmp_path / name)
    found = xr.open_dataarray(tmp_path / name, engine=engine)
    assert found.t.attrs["start_time"] == "2021-03-04T05:06:07.891000"
    assert found.isel(t=slice(1, None)).t.values.tolist() == [2.5, 5.0]


def test_an_instant_that_is_none_is_told(tmp_path):
    img = as_image(np.zeros((3, 2, 3, 4), "u1"), "tzyx", spacing={"t": 2.5}, units={"t": "second", "x": "um"})
    img.t.attrs["start_time"] = "2021-03-04T05:06:07"
    img.ngff.to_ome_zarr(tmp_path / "a.ome.zarr")
    img.ngff.to_nifti(tmp_path / "a.nii")
    for path in (tmp_path / "a.ome.zarr/zarr.json", tmp_path / "a.nii"):
        path.write_bytes(path.read_bytes().replace(b"2021-03-04T05:06:07", b"2021-13-04T05:06:07"))
    with pytest.raises(MetadataError, match=r"xarray_ngff.start_time is '2021-13-04T05:06:07'"):
        xr.open_dataarray(tmp_path / "a.ome.zarr", engine="ngff")
    with pytest.warns(NgffWarning, match="start_time '2021-13-04T05:06:07' is no ISO 8601 time"):
        assert "start_time" not in xr.open_dataarray(tmp_path / "a.nii", engine="nifti").t.attrs
