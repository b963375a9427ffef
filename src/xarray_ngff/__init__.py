"""Bioimages as ordinary labeled xarray objects that know where every voxel is."""

from __future__ import annotations

from importlib import import_module as _import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from xarray_ngff import accessor as _accessor
from xarray_ngff import tree as _tree
from xarray_ngff.channels import Channel
from xarray_ngff.errors import (
    FormatError,
    GeometryError,
    LevelError,
    MemoryLimitError,
    MetadataError,
    MissingExtraError,
    MissingFileError,
    MissingFolderError,
    NgffError,
    NgffWarning,
    TargetExistsError,
    UnitError,
)
from xarray_ngff.image import as_image
from xarray_ngff.roi import Roi

if _TYPE_CHECKING:
    from xarray_ngff.backends.ngff.changes.in_place import build_pyramid
    from xarray_ngff.backends.ome_tiff.stack import open_tiff_stack

__all__ = [
    "Channel",
    "FormatError",
    "GeometryError",
    "LevelError",
    "MemoryLimitError",
    "MetadataError",
    "MissingExtraError",
    "MissingFileError",
    "MissingFolderError",
    "NgffError",
    "NgffWarning",
    "Roi",
    "TargetExistsError",
    "UnitError",
    "as_image",
    "build_pyramid",
    "open_tiff_stack",
]

del _accessor, _tree

__version__ = _version("xarray-ngff")


# A format is imported when it is used, so that importing the package stays quick.
_LATE = {
    "build_pyramid": "xarray_ngff.backends.ngff.changes.in_place",
    "open_tiff_stack": "xarray_ngff.backends.ome_tiff.stack",
}


def __getattr__(name: str) -> _Any:
    if name in _LATE:
        return getattr(_import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
