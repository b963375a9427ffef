"""Headers that are wrong, hostile or of another format."""

from __future__ import annotations

import gzip
import struct
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Extension

from xarray_ngff import geometry
from xarray_ngff.backends.nifti import write_nifti
from xarray_ngff.backends.nifti.header import read_header
from xarray_ngff.errors import FormatError, MissingFileError, NgffError, NgffWarning

SMALL = np.arange(24, dtype="i2").reshape(2, 3, 4)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": [3, -2, 3, 4, 1, 1, 1, 1]}, r"dim\[1\] is -2, expected at least 1"),
        ({"dim": [3, 2, 0, 4, 1, 1, 1, 1]}, r"dim\[2\] is 0, expected at least 1"),
        ({"dim": [0, 2, 3, 4, 1, 1, 1, 1]}, r"dim\[0\], the number of axes, is 0"),
        ({"dim": [8, 2, 3, 4, 1, 1, 1, 1]}, r"dim\[0\], the number of axes, is 8"),
        ({"datatype": 999}, r"datatype is 999, which is no NIfTI type"),
        ({"datatype": 1}, r"datatype is 1, which is no NIfTI type"),
        ({"srow_x": np.nan}, r"sform is not finite"),
        ({"srow_x": 0}, r"sform is singular"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, r"qform is not finite"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 9}, r"qform makes no affine"),
        ({"vox_offset": 100_000}, r"voxels start at byte 100000 \(vox_offset\), but the file has \d+ bytes"),
        ({"vox_offset": -8}, r"vox_offset is -8.*, expected the byte where the voxels start"),
        ({"sizeof_hdr": 77}, r"sizeof_hdr is 77, expected (348|540)"),
    ],
)
def test_what_cannot_be_true_is_an_error(version, fields, message, save, patch, opened):
    path = save(SMALL, version=version)
    patch(path, **fields)
    with pytest.raises(FormatError, match=rf"image\.nii.*{message}"):
        opened(path)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf])
def test_an_offset_that_is_no_number(offset, save, patch, opened):
    path = save(SMALL)
    patch(path, vox_offset=offset)
    with pytest.raises(FormatError, match=r"vox_offset"):
        opened(path)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.hdr"])
@pytest.mark.parametrize("version", [1, 2])
def test_huge_dims_claim_no_memory(name, version, save, patch, opened):
    plain = save(SMALL, name=name.removesuffix(".gz"), version=version)
    opened(plain).load()  # what is imported on first use is no matter here
    patch(plain, dim=[7, *[32767] * 7])
    if name.endswith(".gz"):
        plain.with_name(name).write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    tracemalloc.start()
    image = opened(plain.with_name(name))
    for selected in (image, image.isel(x=0), image.isel(z=0, y=0, t=0, c=0, v=0, w=0)):
        with pytest.raises(FormatError, match=r"truncated or corrupt|the header promises"):
            selected.load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # the coordinates are real, and have an index each


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.hdr"])
def test_an_axis_longer_than_the_file_is_refused_at_once(name, save, patch, opened):
    plain = save(SMALL, name=name.removesuffix(".gz"), version=2)
    patch(plain, dim=[3, 2, 2**40, 2, 1, 1, 1, 1])
    if name.endswith(".gz"):
        plain.with_name(name).write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    with pytest.raises(FormatError, match=r"dim\[2\] is 1099511627776, more than the bytes of the file"):
        opened(plain.with_name(name))


SPECIAL = [
    *(struct.pack("<f", value) for value in (np.nan, np.inf, -1.0, 0.0, 1e38, 1e-38)),
    *(struct.pack("<d", value) for value in (np.nan, 1e300, 1e-300)),
    *(struct.pack("<h", value) for value in (-1, 0, 32767, 2, 128, 1536)),
    struct.pack("<q", 2**62),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([1, 2]), st.lists(st.tuples(st.integers(4, 450), st.sampled_from(SPECIAL)), max_size=3))
def test_damage_anywhere_is_one_of_our_errors_or_an_image(version, damage):
    image = {1: nib.Nifti1Image, 2: nib.Nifti2Image}[version](SMALL, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.set_qform(image.affine, 1)
    image.header.extensions.append(Nifti1Extension(6, b'{"xarray_ngff": {"dims": []}}'))
    raw = bytearray(image.to_bytes())
    for place, value in damage:
        start = place // len(value) * len(value)
        raw[start : start + len(value)] = value
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", NgffWarning)
        path = Path(folder) / "damaged.nii"
        path.write_bytes(bytes(raw))
        try:
            with xr.open_dataset(path, engine="nifti") as dataset:
                (found,) = dataset.data_vars.values()
                found.load()
            write_nifti(found, path, overwrite=True)
        except NgffError:
            return
        with xr.open_dataset(path, engine="nifti") as dataset:
            (again,) = dataset.data_vars.values()
            np.testing.assert_array_equal(again.values, found.values)


def test_line_ends_that_a_transfer_changed(save, patch, opened):
    path = save(SMALL, version=2)
    patch(path, eol_check=[13, 13, 10, 26])
    with pytest.raises(FormatError, match=r"image\.nii: the header is not valid: EOL check"):
        opened(path)


def test_a_long_vector_as_freesurfer_stores_it(save, patch, opened):
    path = save(np.arange(40, dtype="i2").reshape(40, 1, 1))
    patch(path, dim=[3, -1, 1, 1, 1, 1, 1, 1], glmin=40)
    assert opened(path).shape == (1, 1, 40)
    patch(path, glmin=0)
    with pytest.raises(FormatError, match=r"dim is \[3, -1, 1, 1.*glmin"):
        opened(path)


def test_a_stated_offset_that_is_too_small_is_read_as_the_least(save, patch, opened):
    path = save(SMALL)
    for offset in (0, 16):
        patch(path, vox_offset=offset)
        with pytest.warns(NgffWarning, match=rf"image\.nii: vox_offset is {offset}, read as 352"):
            image = opened(path)
        np.testing.assert_array_equal(image.values, SMALL.T)


def test_voxels_may_start_later(save, opened, patch):
    path = save(SMALL)
    raw = path.read_bytes()
    path.write_bytes(raw[:352] + bytes(100) + raw[352:])
    patch(path, vox_offset=452)
    image = opened(path)
    np.testing.assert_array_equal(image.values, SMALL.T)


def test_repairs_that_change_nothing_are_silent_and_others_warn(save, patch, opened):
    path = save(SMALL, codes=(0, 0))
    patch(path, pixdim=[0, 2, 2, 2, 1, 1, 1, 1], bitpix=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened(path)
    patch(path, pixdim=[0, -2, 2, 2, 1, 1, 1, 1], sform_code=77)
    with pytest.warns(NgffWarning) as found:
        image = opened(path)
    assert [str(warning.message).split(": ", 1)[1] for warning in found] == [
        "sform_code is 77, which is not valid; read as 0",
        "pixdim is [-2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0], which is not valid; read as "
        "[2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]",
    ]
    np.testing.assert_allclose(geometry.affine(image), nib.load(path).affine)


@pytest.mark.parametrize("codes", [(0, 0), (0, 1)])
def test_a_flat_axis_without_a_size_gets_one(codes, save, patch, opened):
    path = save(SMALL[:, :, 0], codes=codes)
    patch(path, pixdim=[1, 2, 3, 0, 0, 0, 0, 0])
    with pytest.warns(NgffWarning, match=r"pixdim is \[2.0, 3.0, 0.0, .*read as \[2.0, 3.0, 1.0"):
        image = opened(path)
    expected = nib.load(path).affine
    np.testing.assert_allclose(geometry.affine(image)[:, [0, 1, 3]], expected[:, [0, 1, 3]])


def test_a_flat_axis_without_a_direction_gets_one(affines, save, patch, opened):
    path = save(SMALL[:, :, :1], affines["oblique"])
    expected = nib.load(path).affine
    patch(path, **{f"srow_{row}": [*expected[i, :2], 0, expected[i, 3]] for i, row in enumerate("xyz")})
    with pytest.warns(NgffWarning, match="axis 3 is flat and its voxel size is 0; read as 1"):
        image = opened(path)
    found = geometry.affine(image)
    np.testing.assert_allclose(found[:, [0, 1, 3]], expected[:, [0, 1, 3]], rtol=1e-6)
    np.testing.assert_allclose(np.abs(found[:3, 2]), np.abs(expected[:3, 2]) / 3, rtol=1e-5)


def test_analyze_is_named(tmp_path, opened):
    path = tmp_path / "old.hdr"
    nib.save(nib.AnalyzeImage(SMALL, np.eye(4)), path)
    for name in ("old.hdr", "old.img"):
        with pytest.raises(FormatError, match=r"old\.hdr is an Analyze 7\.5.*Nifti1Image\.from_image"):
            opened(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, and a NIfTI header takes 348"),
        (b"hello" * 200, "is no NIfTI file: it has no magic"),
        (bytes(600), "is no NIfTI file"),
        (
            gzip.compress(bytes(600), mtime=0),
            r"is gzip-compressed, which its name does not say: rename it to \.nii\.gz",
        ),
    ],
)
def test_what_is_no_nifti(content, message, tmp_path, opened):
    path = tmp_path / "image.nii"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message):
        opened(path)


def test_gz_that_is_not_compressed(save, opened):
    path = save(SMALL)
    path = path.rename(path.with_suffix(".nii.gz"))
    with pytest.raises(FormatError, match=r"is not gzip-compressed as its name says"):
        opened(path)


@pytest.mark.parametrize("keep", [0.05, 0.3, 0.7])
def test_gz_that_breaks_in_the_header(keep, save, opened):
    path = save(np.zeros((2, 2, 2)), name="image.nii.gz", descrip=b"some text to fill it 0123456789")
    path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
    with pytest.raises(FormatError, match=r"image\.nii\.gz.*(breaks in the header|truncated)"):
        opened(path).load()


def test_either_name_of_a_pair_opens_it(save, opened):
    path = save(SMALL, name="image.hdr")
    np.testing.assert_array_equal(opened(path).values, SMALL.T)
    np.testing.assert_array_equal(opened(path.with_suffix(".img")).values, SMALL.T)


@pytest.mark.parametrize("gone", [".img", ".hdr"])
@pytest.mark.parametrize("asked", [".img", ".hdr"])
def test_a_missing_partner_is_named(gone, asked, save, opened):
    path = save(SMALL, name="image.hdr")
    path.with_suffix(gone).unlink()
    left = {".img": "image.hdr", ".hdr": "image.img"}[gone]
    with pytest.raises(MissingFileError, match=rf"image\{gone} does not exist \({left} is one of a pair"):
        opened(path.with_suffix(asked))


def test_a_missing_file(tmp_path, opened):
    with pytest.raises(MissingFileError, match=r"nothing\.nii does not exist"):
        opened(tmp_path / "nothing.nii")


@pytest.mark.parametrize("given", ["s3://bucket/a.nii.gz", "https://host/a.nii"])
def test_urls_are_refused(given, opened):
    with pytest.raises(FormatError, match=r"is a URL.*Copy it first"):
        opened(given)


def test_file_objects_are_refused(save, opened):
    with save(SMALL).open("rb") as stream, pytest.raises(FormatError, match="BufferedReader was given"):
        read_header(stream)


def test_other_suffixes_are_refused(opened):
    with pytest.raises(FormatError, match=r"ends with one of \.nii, \.nii\.gz, \.hdr, \.img"):
        opened("scan.mgz")


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz", "image.hdr"])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_extensions_are_read_as_nibabel_reads_them(name, endian, save):
    extensions = [
        Nifti1Extension(6, b"some text"),
        Nifti1Extension(44, b'{"a": 1}'),
        Nifti1Extension(40, bytes(range(200))),
    ]
    header = read_header(save(SMALL, name=name, endian=endian, extensions=extensions))
    assert [(code, content.rstrip(b"\0")) for code, content in header.extensions] == [
        (6, b"some text"),
        (44, b'{"a": 1}'),
        (40, bytes(range(200))),
    ]


@pytest.mark.parametrize("size", [0, -16, 2**31 - 16, 64])
def test_broken_extensions_are_left_out(size, save, opened):
    path = save(SMALL, extensions=[Nifti1Extension(6, b"first"), Nifti1Extension(6, b"second")])
    raw = bytearray(path.read_bytes())
    raw[368:372] = struct.pack("<i", size)
    path.write_bytes(bytes(raw))
    with pytest.warns(
        NgffWarning, match=rf"header extension 1 says it has {size} bytes; it and any after it are left out"
    ):
        image = opened(path)
    assert len(image.encoding["nifti"]["extensions"]) == 1
    np.testing.assert_array_equal(image.values, SMALL.T)
