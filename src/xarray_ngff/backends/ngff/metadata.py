"""What the attributes of an OME-Zarr group say: an image, a plate, a well, a list of labels or of images.

Spec: OME-NGFF 0.1 to 0.6. The names here take all attributes of a group; the modules beside this one read the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from xarray_ngff.backends.ngff.axes import AxisMeta
from xarray_ngff.backends.ngff.image_metadata import VENDOR_KEY, LevelMeta, MultiscaleImage, fit_shapes, multiscales
from xarray_ngff.backends.ngff.labels.metadata import parse_image_label, parse_paths
from xarray_ngff.backends.ngff.plate_metadata import (
    Acquisition,
    Plate,
    PlateWell,
    Well,
    WellImage,
    parse_plate,
    parse_well,
)
from xarray_ngff.backends.ngff.transforms import ArrayReader
from xarray_ngff.backends.ngff.validation import shown, warn
from xarray_ngff.backends.ngff.versions import ome_metadata, version_of

__all__ = [
    "VENDOR_KEY",
    "Acquisition",
    "AxisMeta",
    "GroupKind",
    "LabelsList",
    "LevelMeta",
    "MultiscaleImage",
    "Plate",
    "PlateWell",
    "Series",
    "Well",
    "WellImage",
    "fit_shapes",
    "group_kind",
    "image_label",
    "labels",
    "multiscales",
    "parse_group",
    "plate",
    "series",
    "version_of",
    "well",
]

GroupKind = Literal["image", "plate", "well", "labels", "series"]

# What a group is, by the key it has; earlier ones decide, and the spec has a plate go before bioformats2raw.
_KINDS: dict[str, GroupKind] = {
    "multiscales": "image",
    "plate": "plate",
    "well": "well",
    "labels": "labels",
    "bioformats2raw.layout": "series",
}


@dataclass(frozen=True)
class LabelsList:
    """Paths of the label images of a "labels" group, counted from it."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """Root of a bioformats2raw layout.

    `paths` is None where the root does not list its images: then "series" of its group OME does, or they are 0, 1, ...
    """

    paths: tuple[str, ...] | None


def parse_group(
    attributes: Mapping[str, Any],
    where: str,
    *,
    zarr_format: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    read_array: ArrayReader | None = None,
) -> tuple[MultiscaleImage, ...] | Plate | Well | LabelsList | Series | None:
    """What a group is and says, or None where its attributes hold nothing of OME-Zarr that is read here.

    Parameters are those of `multiscales`.
    """
    match group_kind(attributes, where):
        case "image":
            return multiscales(attributes, where, zarr_format=zarr_format, shapes=shapes, read_array=read_array)
        case "plate":
            return plate(attributes, where)
        case "well":
            return well(attributes, where)
        case "labels":
            return LabelsList(labels(attributes, where))
        case "series":
            return Series(series(attributes, where))
        case None:
            return None


def group_kind(attributes: Mapping[str, Any], where: str) -> GroupKind | None:
    """What a group is, by its attributes; None where they hold nothing of OME-Zarr that is read here.

    Examples
    --------
    >>> group_kind({"ome": {"version": "0.5", "labels": ["nuclei"]}}, "img.zarr/labels")
    'labels'
    """
    metadata = ome_metadata(attributes, where)
    return next((kind for key, kind in _KINDS.items() if key in metadata), None)


def plate(attributes: Mapping[str, Any], where: str) -> Plate:
    """Plate of a group; see `parse_plate`."""
    raw = ome_metadata(attributes, where).get("plate")
    return parse_plate(raw, f"{where}: plate", version=version_of(attributes, where))


def well(attributes: Mapping[str, Any], where: str) -> Well:
    """Well of a group; see `parse_well`."""
    raw = ome_metadata(attributes, where).get("well")
    return parse_well(raw, f"{where}: well", version=version_of(attributes, where))


def labels(attributes: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Paths of the label images that a "labels" group lists. Whether they are there is the caller's to see."""
    return parse_paths(ome_metadata(attributes, where).get("labels"), f"{where}: labels")


def series(attributes: Mapping[str, Any], where: str) -> tuple[str, ...] | None:
    """Paths of the images of a bioformats2raw layout, where these attributes (those of the group "OME") list them."""
    metadata = ome_metadata(attributes, where)
    layout = metadata.get("bioformats2raw.layout", 3)
    if layout != 3:
        warn(f"{where}: bioformats2raw.layout", f"is {shown(layout)}, expected 3")
    raw = metadata.get("series")
    return None if raw is None else parse_paths(raw, f"{where}: series")


def image_label(attributes: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """Colours, properties and source of a label image; None where the group has no "image-label"."""
    return parse_image_label(ome_metadata(attributes, where).get("image-label"), f"{where}: image-label")
