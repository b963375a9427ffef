"""NIfTI-1 and NIfTI-2: ``.nii``, ``.nii.gz`` and ``.hdr``/``.img`` pairs.

`header` reads and checks the fixed part of a file, `layout` says which axis is which dim, `fields` carries the other
header fields through ``encoding``, `scaling` turns stored numbers into values and back, `reader` and `entrypoint` open
files, `writer` plans a file and `streaming` fills it.
"""

from __future__ import annotations

from xarray_ngff.backends.nifti.entrypoint import NiftiEntrypoint
from xarray_ngff.backends.nifti.writer import write_nifti

__all__ = ["NiftiEntrypoint", "write_nifti"]
