"""XML that comes in files, parsed without entities."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

from xarray_ngff.errors import MetadataError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["check_no_entities", "local_name", "parsed_xml"]


def parsed_xml(text: str, *, place: str) -> Element:
    """Root element of an XML document that declares no entities.

    Parameters
    ----------
    text
        The document.
    place
        File, and what of it, for errors.

    Raises
    ------
    MetadataError
        Where it is broken, or has a document type declaration: entities can make a short text endless.

    Examples
    --------
    >>> parsed_xml("<OME><Image Name='a'/></OME>", place="a.ome.tif")[0].attrib
    {'Name': 'a'}
    """
    from xml.etree import ElementTree

    check_no_entities(text, place=place)
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise MetadataError(
            f"{place} is broken XML ({error}). Write the file anew, or mend its description with tifffile.tiffcomment"
        ) from error


def check_no_entities(text: str, *, place: str) -> None:
    """Refuse a text with a document type declaration, the only place where XML can declare entities."""
    if "<!DOCTYPE" not in text:
        return
    parser = expat.ParserCreate()

    def refuse(name: str, *_: object) -> None:
        raise MetadataError(
            f"{place} has a document type declaration (<!DOCTYPE {name}), which is not read: entities could make it "
            "endless. Remove it with tifffile.tiffcomment"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text, True)
    except MetadataError:  # a ValueError too
        raise
    except (expat.ExpatError, ValueError) as error:
        raise MetadataError(f"{place} is broken XML ({error}). Write the file anew") from error


def local_name(element: Element) -> str:
    """Name of an element without its namespace.

    Examples
    --------
    >>> local_name(parsed_xml("<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'/>", place="a"))
    'OME'
    """
    return element.tag.rpartition("}")[2]
