"""Bioimages as ordinary labeled xarray objects that know where every voxel is."""

from __future__ import annotations

from importlib.metadata import version as _version

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
]

del _accessor, _tree

__version__ = _version("xarray-ngff")
