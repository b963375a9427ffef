"""Where a group keeps its OME-Zarr metadata, and which version they are.

Spec: up to 0.4 the metadata are at the top of a group's attributes, from 0.5 under "ome".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from xarray_ngff.backends.ngff.validation import object_at, shown, warn
from xarray_ngff.errors import MetadataError

__all__ = ["assumed_version", "ome_metadata", "version_of"]

_VERSION = re.compile(r"(0\.[1-6])(?:\.\d+)?(?:[.-]?(?:dev|rc|a|b)[\w.-]*)?")


def ome_metadata(attributes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The attributes that are OME-Zarr's: those under "ome", or all of them."""
    if "ome" in attributes:
        return object_at(attributes["ome"], f"{where}: ome")
    return dict(attributes)


def version_of(attributes: Mapping[str, Any], where: str) -> str | None:
    """OME-Zarr version that the attributes state, "0.1" to "0.6", or None.

    Raises
    ------
    MetadataError
        For a version that is not known.

    Examples
    --------
    >>> version_of({"ome": {"version": "0.6rc1"}}, "img.zarr")
    '0.6'
    """
    metadata = ome_metadata(attributes, where)
    holders: list[tuple[str, object]] = [("ome", attributes.get("ome"))]
    entries = metadata.get("multiscales")
    if isinstance(entries, list) and entries:
        holders.append(("multiscales[0]", entries[0]))
    holders += [(key, metadata.get(key)) for key in ("plate", "well", "image-label")]
    for key, holder in holders:
        if isinstance(holder, dict) and holder.get("version") is not None:
            return _version(holder["version"], f"{where}: {key}.version")
    return None


def _version(raw: object, place: str) -> str:
    match = _VERSION.fullmatch(str(raw)) if isinstance(raw, str | float) else None
    if match is None:
        raise MetadataError(f"{place} is {shown(raw)}, expected one of the versions that are read, '0.1' to '0.6'")
    # drafts have numbers of their own, but 0.4 and 0.5 go by two
    if match[1] != raw and match[1] != "0.6":
        warn(place, f"is {shown(raw)}; it was read as {match[1]!r}")
    return match[1]


def assumed_version(multiscale: dict[str, Any], place: str, *, namespaced: bool) -> str:
    """Version of an entry of "multiscales" that states none, by what it holds, with a warning."""
    axes = multiscale.get("axes")
    datasets = multiscale.get("datasets")
    if "coordinateSystems" in multiscale:
        version = "0.6"
    elif namespaced:
        version = "0.5"
    elif isinstance(axes, list) and axes and all(isinstance(axis, str) for axis in axes):
        version = "0.3"
    elif axes is None and "coordinateTransformations" not in str(datasets):
        version = "0.1"
    else:
        version = "0.4"
    warn(place, f"states no version; by what it holds it was read as {version!r}")
    return version
