"""The OME-XML of a file, wherever it lies, and the files that it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xarray_ngff.backends.ome_tiff.files import check_directories
from xarray_ngff.backends.ome_tiff.ome_model import Block, OmeImage, child, children, ome_images, whole_number
from xarray_ngff.backends.ome_tiff.xml_text import parsed_xml
from xarray_ngff.errors import FormatError, MetadataError, MissingFileError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from tifffile import TiffPageSeries

__all__ = ["OmeDocument", "check_planes", "looks_like_ome", "ome_document"]

_TIFF_STARTS = (b"II", b"MM")
# A description that starts so far from its root element is none.
_HEAD = 4096


@dataclass(frozen=True)
class OmeDocument:
    """OME-XML that describes a TIFF file.

    Attributes
    ----------
    path
        TIFF file to read: another than the one that was asked for where that one only names it.
    folder
        Folder that file names are relative to.
    root
        Root element.
    images
        Images in it.
    old_name
        Name that it gives the file, where that was renamed since.
    """

    path: Path
    folder: Path
    root: Element
    images: Sequence[OmeImage]
    old_name: str | None = None

    def is_own(self, block: Block) -> bool:
        """Whether planes are in the file itself."""
        return (
            block.file is None
            or block.file == self.old_name
            or (block.uuid is not None and block.uuid == self.root.get("UUID"))
            or (self.folder / block.file) == self.path
            or (self.folder == self.path.parent and block.file.lower() == self.path.name.lower())
        )

    def other_files(self) -> list[Path]:
        """Other files that hold planes, each once."""
        blocks = (block for image in self.images for block in image.blocks())
        return list(dict.fromkeys(self.folder / (block.file or "") for block in blocks if not self.is_own(block)))

    def for_tifffile(self) -> str:
        """What tifffile needs of the document to find the planes.

        Images are named by their place, so that a series is known for its image although tifffile leaves out images
        that have no planes, and files by their whole path.
        """
        from xml.etree import ElementTree

        root = ElementTree.Element("OME")
        for image in self.images:
            element = ElementTree.SubElement(root, "Image", Name=str(image.index))
            element.extend(children(image.element, "AnnotationRef"))
            pixels = ElementTree.SubElement(element, "Pixels", image.pixels.attrib)
            for channel in children(image.pixels, "Channel"):
                ElementTree.SubElement(pixels, "Channel", channel.attrib)
            for data, block in zip(children(image.pixels, "TiffData"), image.blocks(), strict=True):
                if block.first is None:
                    continue
                kept = ElementTree.SubElement(pixels, "TiffData", _counted(data.attrib, image.planes - block.first))
                if not self.is_own(block):
                    file = str(self.folder / (block.file or ""))
                    ElementTree.SubElement(kept, "UUID", FileName=file).text = file
        root.extend(children(self.root, "StructuredAnnotations"))
        return ElementTree.tostring(root, encoding="unicode")


def _counted(attributes: Mapping[str, str], most: int) -> dict[str, str]:
    """Attributes of TiffData with no more planes than there can be: tifffile makes room for them before it looks."""
    counts = {key: attributes[key] for key in ("PlaneCount", "NumPlanes") if key in attributes}
    return {**attributes, **{key: str(most) for key, text in counts.items() if whole_number(text, 0) > most}}


def looks_like_ome(description: str) -> bool:
    """Whether a description is, or was meant to be, OME-XML.

    Examples
    --------
    >>> looks_like_ome('<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'), looks_like_ome("ImageJ=1.54")
    (True, False)
    """
    head = description[:_HEAD].lstrip("\ufeff \t\r\n")
    return head.startswith("<") and ("<OME" in head or ":OME " in head)


def ome_document(path: Path, description: str) -> OmeDocument:
    """OME-XML of a file from its own description, or from the file that it names.

    Raises
    ------
    MetadataError
        Where the XML is broken or says nothing.
    MissingFileError
        Where a file that it names does not exist.
    """
    root = parsed_xml(description, place=f"{path}: OME-XML")
    folder = path.parent
    if (pointer := child(root, "BinaryOnly")) is not None:
        name = pointer.get("MetadataFile")
        if not name:
            raise MetadataError(f"{path}: OME-XML is in another file, but is not said in which. Open that file instead")
        other = folder / name
        if not _is_file(other):
            raise MissingFileError(f"{path}: its OME-XML is in {other}, which does not exist. Put it back there")
        path, root = _pointed_to(path, other)
        folder = other.parent
    images = ome_images(root, place=f"{path}: OME-XML")
    document = OmeDocument(path, folder, root, images)
    missing = [str(file) for file in document.other_files() if not _is_file(file)]
    named = {block.file for image in images for block in image.blocks()}
    if missing and len(named) == 1 and root.get("UUID") is None:
        document, missing = OmeDocument(path, folder, root, images, named.pop()), []
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise MissingFileError(
            f"{path}: planes are in {shown}, which does not exist. Put the files of the data set into one folder, "
            "under the names that they were written with"
        )
    for file in document.other_files():
        check_directories(file)
    _check_plane_counts(document)
    return document


def _is_file(path: Path) -> bool:
    """Whether there is a file; a name that is too long to be one is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check_plane_counts(document: OmeDocument) -> None:
    """Refuse an image of more planes than its files have bytes, before any memory is claimed for a list of them."""
    size = sum(file.stat().st_size for file in (document.path, *document.other_files()))
    for image in document.images:
        if image.planes > size:
            raise FormatError(
                f"{document.path}: image {image.index} of its OME-XML has sizes {dict(image.sizes)}, {image.planes} "
                f"planes, which are more than {size} bytes of files can hold. Mend its description"
            )


def _pointed_to(path: Path, other: Path) -> tuple[Path, Element]:
    """The TIFF file to read and its OME-XML, where a file names another for its metadata."""
    with other.open("rb") as file:
        start = file.read(2)
    if start not in _TIFF_STARTS:
        return path, parsed_xml(other.read_text("utf-8-sig", "replace"), place=str(other))
    from tifffile import TiffFile

    from xarray_ngff.backends.ome_tiff.files import tiff_errors

    check_directories(other)
    with tiff_errors(other), TiffFile(other) as tif:
        description = tif.pages.first.description
    root = parsed_xml(description, place=f"{other}: OME-XML")
    if child(root, "BinaryOnly") is not None:
        raise MetadataError(f"{path}: its OME-XML is said to be in {other}, which has none either. Write it anew")
    return other, root


def check_planes(document: OmeDocument, image: OmeImage, series: TiffPageSeries, warn: Callable[[str], None]) -> None:
    """Compare the planes that a document lists with those that were found.

    Raises
    ------
    FormatError
        Where planes that it lists are not in the files.
    """
    shape = image.outer_shape
    total = int(np.prod(shape))
    listed = np.zeros(total, np.bool_)
    holders: dict[int, Path] = {}
    outside = 0
    for block in image.blocks():
        if block.first is None:
            outside += 1
            continue
        # without a count it is all that the file has, however much that is
        stop = block.first + (block.count or 0)
        outside += stop > total
        listed[block.first : stop] = True
        holders[block.first] = document.path if document.is_own(block) else document.folder / (block.file or "")
    pages = list(series)
    found = np.zeros(total, np.bool_)
    found[: len(pages)] = [page is not None for page in pages][:total]
    lost = np.flatnonzero(listed & ~found)
    name = f"image {image.index}"
    if len(lost):
        before = max((first for first in holders if first <= lost[0]), default=0)
        raise FormatError(
            f"{holders.get(before, document.path)} is truncated: {len(lost)} of {total} planes that OME-XML lists for "
            f"{name} are not there, the first is {_where(image, int(lost[0]))}. Get a whole copy"
        )
    if outside:
        warn(f"OME-XML lists planes outside of {name} with sizes {dict(image.sizes)}; they are not read")
    absent = np.flatnonzero(~found)
    if len(absent):
        warn(f"{len(absent)} of {total} planes of {name} are in no file and read as 0, from {_where(image, absent[0])}")


def _where(image: OmeImage, plane: int) -> str:
    indices = np.unravel_index(plane, image.outer_shape)
    return ", ".join(f"{axis.lower()}={index}" for axis, index in zip(image.outer_axes, indices, strict=True))
