"""Bioimages as ordinary labeled xarray objects that know where every voxel is."""

from __future__ import annotations

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
    from xarray_ngff.backends.ome_tiff.stack import open_tiff_stack

__all__ = [
    "Channel",
    "FormatError",
    "GeometryError",
    "LevelError",
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
    "open_tiff_stack",
]

del _accessor, _tree

__version__ = _version("xarray-ngff")


def __getattr__(name: str) -> _Any:
    # a format is imported when it is used, so that importing the package stays quick
    if name == "open_tiff_stack":
        from xarray_ngff.backends.ome_tiff.stack import open_tiff_stack

        return open_tiff_stack
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
