"""The part of the OME model that an image needs, as it stands in OME-XML of any version."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xarray_ngff.backends.ome_tiff.xml_text import local_name
from xarray_ngff.errors import MetadataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["WINDOW_NAMESPACE", "Block", "OmeImage", "child", "children", "number", "ome_images", "whole_number"]

#: Namespace of the annotation that holds start, end, min and max of a channel's display window.
WINDOW_NAMESPACE = "xarray_ngff/display-window"


@dataclass(frozen=True)
class Block:
    """One TiffData element: consecutive planes of an image, and where they are.

    Attributes
    ----------
    first
        Number of its first plane in the order of `OmeImage.outer_axes`, or None where the indices are out of range.
    count
        Number of planes, or None for all pages of the file.
    uuid, file
        Which file they are in, where it says so.
    """

    first: int | None
    count: int | None
    uuid: str | None
    file: str | None


@dataclass(frozen=True)
class OmeImage:
    """One Image element.

    Attributes
    ----------
    index, name
        Place in the document, and name or None.
    order
        DimensionOrder, fastest axis first.
    sizes
        Lengths by letter, of X, Y, Z, C, T; C counts the samples of every channel.
    samples
        Samples per pixel of the first channel.
    element, pixels
        The elements Image and Pixels.
    """

    index: int
    name: str | None
    order: str
    sizes: Mapping[str, int]
    samples: int
    element: Element
    pixels: Element

    @property
    def outer_shape(self) -> tuple[int, ...]:
        """Lengths of the axes that count planes, slowest first."""
        sizes = dict(self.sizes, C=max(1, self.sizes["C"] // self.samples))
        return tuple(sizes[axis] for axis in self.outer_axes)

    @property
    def planes(self) -> int:
        """Number of planes."""
        return math.prod(self.outer_shape)

    @property
    def outer_axes(self) -> str:
        """Letters of the axes that count planes, slowest first."""
        return self.order[:1:-1]

    def blocks(self) -> Iterator[Block]:
        """Its TiffData elements, in order."""
        for data in children(self.pixels, "TiffData"):
            indices = [whole_number(data.get(f"First{axis}"), 0) for axis in self.outer_axes]
            inside = all(0 <= index < size for index, size in zip(indices, self.outer_shape, strict=True))
            first = 0
            for index, size in zip(indices, self.outer_shape, strict=True):
                first = first * size + index
            count = whole_number(data.get("PlaneCount", data.get("NumPlanes")), 1 if "IFD" in data.attrib else 0)
            uuid = child(data, "UUID")
            yield Block(
                first if inside else None,
                count or None,
                None if uuid is None else uuid.text,
                None if uuid is None else uuid.get("FileName"),
            )


def children(element: Element, name: str) -> Iterator[Element]:
    """Children of one name, in whatever namespace."""
    return (found for found in element if local_name(found) == name)


def child(element: Element, name: str) -> Element | None:
    """First child of one name, or None."""
    return next(children(element, name), None)


def ome_images(root: Element, *, place: str) -> list[OmeImage]:
    """Images of an OME-XML document.

    Raises
    ------
    MetadataError
        Where an image lacks its sizes or order of dimensions.
    """
    images = []
    for index, element in enumerate(children(root, "Image")):
        pixels = child(element, "Pixels")
        where = f"{place}, image {index}"
        if pixels is None:
            raise MetadataError(f"{where} has no Pixels. Write the file anew")
        order = pixels.get("DimensionOrder", "")
        if sorted(order) != list("CTXYZ") or order[:2] != "XY":
            raise MetadataError(
                f"{where} has DimensionOrder {order!r}, expected XY and then Z, C, T in any order. Mend its description"
            )
        sizes = {axis: whole_number(pixels.get(f"Size{axis}"), 0) for axis in order}
        if min(sizes.values()) < 1:
            raise MetadataError(f"{where} has sizes {sizes}, expected whole numbers above 0. Mend its description")
        first = child(pixels, "Channel")
        samples = 1 if first is None else max(1, whole_number(first.get("SamplesPerPixel"), 1))
        images.append(OmeImage(index, element.get("Name"), order, sizes, samples, element, pixels))
    return images


def whole_number(text: str | None, default: int) -> int:
    """Whole number that a text is, a default where there is none, or -1 where it is something else."""
    try:
        return default if text is None else int(text)
    except ValueError:
        return -1


def number(text: str | None) -> float | None:
    """Finite number that a text is, or None."""
    try:
        value = math.nan if text is None else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
