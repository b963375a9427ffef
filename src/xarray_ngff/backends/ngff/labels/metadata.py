"""Label images: the list of them beside an image, and the colours and properties that each one has.

Spec: "labels" and "image-label" metadata of OME-NGFF 0.1 to 0.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import xarray as xr

from xarray_ngff.backends.ngff.validation import integer, number, object_at, shown, text, unique, values
from xarray_ngff.errors import MetadataError

__all__ = ["PATH_KEY", "beside_image", "image_label", "parse_image_label", "parse_paths"]

#: Key of the encoding of labels that are about to be written into their image: their path below its group "labels".
PATH_KEY = "image-label-path"


def parse_paths(raw: object, place: str) -> tuple[str, ...]:
    """Paths of groups, without slashes at the ends."""
    paths = values(raw, place, of="paths", empty=True)
    return tuple(text(path, f"{place}[{index}]").strip("/") for index, path in enumerate(paths))


def parse_image_label(raw: object, place: str) -> dict[str, Any] | None:
    """Colours, properties and source of a label image, from the value of "image-label"; None gives None.

    Raises
    ------
    MetadataError
        Where colours or properties are empty, have no or a double label value, or a colour is not four bytes.
    """
    if raw is None:
        return None
    label = object_at(raw, place)
    for key in ("colors", "properties"):
        if key not in label:
            continue
        entries = values(label[key], f"{place}.{key}", of="objects with a label-value")
        ids = []
        for index, entry in enumerate(entries):
            spot = f"{place}.{key}[{index}]"
            number(object_at(entry, spot).get("label-value"), f"{spot}.label-value")
            ids.append(entry["label-value"])
            rgba = entry.get("rgba") if key == "colors" else None
            if rgba is not None:
                bytes_ = [integer(v, f"{spot}.rgba", minimum=0) for v in values(rgba, f"{spot}.rgba", of="bytes")]
                if len(bytes_) != 4 or max(bytes_) > 255:
                    raise MetadataError(f"{spot}.rgba is {shown(rgba)}, expected four integers from 0 to 255")
        if key == "colors":
            unique(ids, f"{place}.{key}: label-value")
    return label


def beside_image(labels: xr.DataArray, path: str) -> xr.DataArray:
    """Labels that are about to be written into their image, at a path below its group "labels"."""
    result = labels.copy(deep=False)
    result.encoding = dict(labels.encoding) | {PATH_KEY: path}
    return result


def image_label(known: Mapping[str, Any], *, version: str, path: str | None = None) -> dict[str, Any]:
    """The value of "image-label", as it is written.

    Parameters
    ----------
    known
        Colours and properties as OME-Zarr has them, and what else the labels were read with. Of that, the source may be
        elsewhere now.
    version
        ``"0.4"`` states it here too.
    path
        Where the labels are below the group "labels" of their image; None where they are an image of their own.

    Raises
    ------
    MetadataError
        Where colours or properties, which may have been set by hand, are nothing that OME-Zarr holds.

    Examples
    --------
    >>> image_label({"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}]}, version="0.4", path="nuclei")
    {'version': '0.4', 'colors': [{'label-value': 1, 'rgba': [255, 0, 0, 255]}], 'source': {'image': '../../'}}
    """
    said = {key: known[key] for key in ("colors", "properties") if key in known}
    parse_image_label(said, "encoding['image-label']")
    stated = {"version": version} if version == "0.4" else {}
    return stated | said | ({} if path is None else {"source": {"image": "../" * (path.count("/") + 2)}})
