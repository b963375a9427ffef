"""Label images: the list of them beside an image, and the colours and properties that each one has.

Spec: "labels" and "image-label" metadata of OME-NGFF 0.1 to 0.6.
"""

from __future__ import annotations

from typing import Any

from xarray_ngff.backends.ngff.validation import integer, number, object_at, shown, text, unique, values
from xarray_ngff.errors import MetadataError

__all__ = ["parse_image_label", "parse_paths"]


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
