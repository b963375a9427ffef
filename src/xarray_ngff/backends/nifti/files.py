"""Names of the one or two files that hold a NIfTI image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xarray_ngff.backends._local_path import local_path
from xarray_ngff.errors import FormatError

__all__ = ["SUFFIXES", "FileNames", "file_names", "nifti_suffix"]

#: What a name may end with.
SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")

_PARTNERS = {".hdr": ".img", ".img": ".hdr"}


@dataclass(frozen=True)
class FileNames:
    """Files of one image.

    Attributes
    ----------
    header, data
        File that the header is in, and file that the voxels are in; the same one unless it is a pair.
    compressed
        Whether the file is a gzip stream.
    """

    header: Path
    data: Path
    compressed: bool

    @property
    def is_pair(self) -> bool:
        """Whether header and voxels are in files of their own."""
        return self.header != self.data


def nifti_suffix(name: str) -> str | None:
    """The suffix of `SUFFIXES` that a file name ends with, as it is written there, or None.

    Examples
    --------
    >>> nifti_suffix("T1.NII.gz"), nifti_suffix("T1.mgz")
    ('.NII.gz', None)
    """
    ends = sorted((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), key=len)
    return name[-len(ends[-1]) :] if ends else None


def file_names(path: object) -> FileNames:
    """Files that an image is in, from the name of any of them.

    Raises
    ------
    FormatError
        Where it is not a path on this machine, or its suffix is none that NIfTI has.
    """
    own = local_path(path, holder="NIfTI")
    suffix = nifti_suffix(own.name)
    if suffix is None:
        raise FormatError(f"{own}: a NIfTI file ends with one of {', '.join(SUFFIXES)}. Rename it")
    partner = _PARTNERS.get(suffix.lower())
    if partner is None:
        return FileNames(own, own, suffix.lower().endswith(".gz"))
    other = _partner_path(own, suffix, partner)
    return FileNames(own, other, False) if suffix.lower() == ".hdr" else FileNames(other, own, False)


def _partner_path(path: Path, suffix: str, partner: str) -> Path:
    """The other file of a pair; its suffix is in upper case where that of the given one is."""
    return path.with_name(path.name[: -len(suffix)] + (partner.upper() if suffix.isupper() else partner))
