"""NIfTI files made by nibabel, and the arrays that nibabel reads from them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nibabel.openers import Opener
from nibabel.testing import data_path

SHIPPED = sorted(path for path in Path(data_path).glob("*.nii*"))

# One affine for each way that a file can be stored.
AFFINES = {
    "RAS": nib.affines.from_matvec(np.diag([2.0, 3.0, 4.0]), [-10, 20, 30]),
    "LPS": nib.affines.from_matvec(np.diag([-2.0, -3.0, 4.0]), [10, 20, -30]),
    "sagittal": nib.affines.from_matvec([[0, 0, 1.2], [-1, 0, 0], [0, -1, 0]], [-90, 100, 110]),
    "coronal": nib.affines.from_matvec([[-1.5, 0, 0], [0, 0, 2], [0, 1.25, 0]], [90, -120, -70]),
    "oblique": nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.3, -0.2, 0.4) @ np.diag([1.0, -2.0, 3.0]), [-12.5, 44, 7]
    ),
    "sagittal-oblique": nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.1, 0.15, -0.2) @ np.array([[0, 0, -1.1], [0.9, 0, 0], [0, 0.8, 0]]), [80, -99, -60]
    ),
    "sheared": nib.affines.from_matvec([[2, 0.3, 0], [0, 2, 0.5], [0.1, 0, 3]], [1, 2, 3]),
}

IMAGES = {
    (1, False): nib.Nifti1Image,
    (1, True): nib.Nifti1Pair,
    (2, False): nib.Nifti2Image,
    (2, True): nib.Nifti2Pair,
}


class Nibabel:
    """What nibabel says about a file, with the axes in the order of ours."""

    def __init__(self, path):
        self.path = path
        # a .dconn.nii is CIFTI-2, which nibabel would open as a surface
        self.image = nib.Nifti2Image.load(path) if ".dconn." in str(path) else nib.load(path)
        with Opener(self.image.file_map.get("header", self.image.file_map["image"]).filename) as stream:
            self.header = type(self.image.header).from_fileobj(stream)

    @property
    def columns(self):
        """Axis of the file that runs closest to x, y and z."""
        ornt = nib.io_orientation(self.image.affine)
        return [int(np.flatnonzero(ornt[:, 0] == axis)[0]) for axis in range(3)]

    @property
    def affine(self):
        return self.image.affine[:, [*self.columns, 3]]

    def in_our_order(self, array):
        """An array of the file as (..., z, y, x), without the axes of length 1 after the third of a file with five."""
        order = self.columns[::-1] if array.ndim > 2 else [1, 0]
        moved = array.transpose([*range(3, array.ndim), *order])
        if array.ndim > 4:
            moved = moved.reshape([n for n in moved.shape[:-3] if n > 1] + list(moved.shape[-3:]))
        return moved

    @property
    def stored(self):
        return self.in_our_order(np.asarray(self.image.dataobj.get_unscaled()))

    @property
    def values(self):
        return self.in_our_order(np.asarray(self.image.dataobj))


@pytest.fixture(params=SHIPPED, ids=lambda path: path.name)
def shipped(request):
    return request.param


@pytest.fixture
def nibabel_of():
    return Nibabel


@pytest.fixture
def affines():
    return AFFINES


@pytest.fixture
def save(tmp_path):
    """Write an array with nibabel, exactly as it is: ``save(array, affine, name=, version=, endian=, **fields)``."""

    def saved(
        array, affine=AFFINES["RAS"], *, name="image.nii", version=1, endian="<", extensions=(), codes=None, **fields
    ):
        kind = IMAGES[version, name.endswith((".hdr", ".img"))]
        header = kind.header_class(endianness=endian)
        header.set_data_dtype(array.dtype)
        header.set_data_shape(array.shape)
        image = kind(array, affine, header)
        if codes is not None:
            image.set_sform(affine, codes[0])
            image.set_qform(affine, codes[1])
        for key, value in fields.items():
            image.header[key] = value
        image.header.extensions[:] = list(extensions)
        path = tmp_path / name
        nib.save(image, path)
        if "scl_slope" in fields:
            patch(path, image, scl_slope=fields["scl_slope"], scl_inter=fields.get("scl_inter", 0.0))
        return path

    return saved


def patch(path, image=None, **fields):
    """Overwrite header fields of an uncompressed file, however absurd."""
    path = Path(path).with_suffix(".hdr") if Path(path).suffix == ".img" else Path(path)
    raw = bytearray(path.read_bytes())
    kind = nib.Nifti2Header if raw[:4] in (b"\x1c\2\0\0", b"\0\0\2\x1c") else nib.Nifti1Header
    size = kind.template_dtype.itemsize
    order = "<" if int.from_bytes(raw[:4], "little") == kind.sizeof_hdr else ">"
    header = np.frombuffer(bytes(raw[:size]), kind.template_dtype.newbyteorder(order)).copy()
    for key, value in fields.items():
        header[key] = value
    raw[:size] = header.tobytes()
    path.write_bytes(bytes(raw))


@pytest.fixture(name="patch")
def _patch():
    return patch


@pytest.fixture
def opened():
    """Open a file and close it at the end."""
    datasets = []

    def open_it(path, **options):
        from xarray_ngff.backends.nifti import NiftiEntrypoint

        datasets.append(xr.open_dataset(path, engine=NiftiEntrypoint, **options))
        (name,) = datasets[-1].data_vars
        return datasets[-1][name]

    yield open_it
    for dataset in datasets:
        dataset.close()
