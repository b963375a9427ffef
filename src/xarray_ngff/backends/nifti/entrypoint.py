"""The ``nifti`` engine of `xarray.open_dataset`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from xarray_ngff.backends._lazy import without_variables
from xarray_ngff.backends._local_path import is_local_name

__all__ = ["NiftiEntrypoint"]


class NiftiEntrypoint(BackendEntrypoint):
    """Opens NIfTI-1 and NIfTI-2 images lazily, placed in RAS+ world coordinates.

    Examples
    --------
    >>> from importlib.resources import files
    >>> path = files("nibabel") / "tests/data/example4d.nii.gz"
    >>> scan = xr.open_dataarray(path, engine=NiftiEntrypoint)
    >>> dict(scan.sizes), scan.x.attrs["units"], scan.t.values.tolist()
    ({'t': 2, 'z': 24, 'y': 96, 'x': 128}, 'millimeter', [0.0, 2000.0])
    """

    description: ClassVar[str] = "Open NIfTI-1 and NIfTI-2 images (.nii, .nii.gz, .hdr/.img)"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = ("filename_or_obj", "drop_variables", "mask_and_scale")

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[Any],
        *,
        drop_variables: str | Iterable[str] | None = None,
        mask_and_scale: bool = True,
    ) -> xr.Dataset:
        """Open the image of a NIfTI file as a dataset of one lazy variable.

        The variable is ``image``, or ``labels`` where the intent of the file is a label image. Its dims are a
        subsequence of t, c, z, y, x, each named for the world axis that it runs closest to; nothing is copied for that.
        Only the header is read.

        Parameters
        ----------
        filename_or_obj
            Path of a ``.nii`` or ``.nii.gz`` file, or of either file of a ``.hdr``/``.img`` pair.
        drop_variables
            Names of variables to leave out.
        mask_and_scale
            Whether to apply slope and intercept: floats of the smallest type from which every stored integer can be
            had back. Otherwise the stored numbers are given. Complex numbers and colours are never scaled.

        Returns
        -------
        Dataset
            Coordinates are those of the sform, else of the qform, else of the voxel sizes (nibabel's best affine), in
            the length unit of the file (millimetres where it names none) and in seconds. The other header fields are in
            ``encoding["nifti"]`` of the variable.

        Raises
        ------
        FormatError
            Where the file is no NIfTI file or breaks the format; on reading, where voxels are missing.
        MissingFileError
            Where the file, or the other file of a pair, does not exist.
        """
        from xarray_ngff.backends.nifti.reader import open_nifti

        return without_variables(open_nifti(filename_or_obj, mask_and_scale=mask_and_scale), drop_variables)

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a path ends like a NIfTI file; a header that other formats use too must have NIfTI's magic."""
        if is_local_name(filename_or_obj, (".nii", ".nii.gz")):
            return True
        if not is_local_name(filename_or_obj, (".hdr", ".img")):
            return False
        from xarray_ngff.backends.nifti.header import has_nifti_magic

        return has_nifti_magic(os.fspath(filename_or_obj))
