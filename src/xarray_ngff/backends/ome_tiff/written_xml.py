"""The OME-XML that describes an image in the files that are written."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.affine import is_regular
from xarray_ngff.backends._times import start_time
from xarray_ngff.backends.ome_tiff.ome_model import WINDOW_NAMESPACE
from xarray_ngff.backends.ome_tiff.ome_units import PIXEL, ome_length, ome_time_of
from xarray_ngff.channels import Channel, channels
from xarray_ngff.errors import FormatError, GeometryError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["PIXEL_TYPES", "ome_xml_of"]

#: Types that OME-XML has, by the names of NumPy.
PIXEL_TYPES = {
    **{name: name for name in ("uint8", "uint16", "uint32", "int8", "int16", "int32")},
    "float32": "float",
    "float64": "double",
    "complex64": "complex",
    "complex128": "double-complex",
}

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_ROOT = {
    "xmlns": _SCHEMA,
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "xsi:schemaLocation": f"{_SCHEMA} {_SCHEMA}/ome.xsd",
    "Creator": "xarray-ngff",
}
# Axis of OME-XML, in the order that the planes of a file are counted: the fastest first.
_ORDER = {"x": "X", "y": "Y", "z": "Z", "c": "C", "t": "T"}
# https://www.w3.org/TR/xml/#charsets
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OPAQUE = b"\xff"


def ome_xml_of(img: xr.DataArray, *, name: str) -> str:
    """OME-XML of an image whose planes are the pages of a TIFF file, in the order ``XYZCT``.

    Parameters
    ----------
    img
        Dims y, x and any of z, c, t, of a type in `PIXEL_TYPES`, with ascending coordinates as `plain_grid` makes them.
        A scalar coordinate z, t or c is the place, time or name of an axis of length 1. `with_ome_units` comes before,
        and warns of units that OME-XML cannot hold: lengths in them are written as pixels, times are left out.
    name
        Of the image.

    Returns
    -------
    str
        Schema 2016-06; to be stored as UTF-8. It depends on nothing but the image and the name.

    Raises
    ------
    FormatError
        Where a name holds a character that XML cannot hold.
    GeometryError
        Where spatial coordinates are not regular, or a time is not a finite number.

    Notes
    -----
    Positions are centres of voxels; that of z is of each plane. Without a unit, an axis that counts voxels from 0 is
    left out, and another one is written in pixels. Times that are not regular are DeltaT of their planes alone. Display
    windows, which OME-XML has no place for, are a MapAnnotation of their channel, with the keys start, end, min, max.

    Examples
    --------
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((2, 3), "uint8"), spacing=[0.5, 0.25], units="um")
    >>> print(ome_xml_of(img, name="cells"))
    <?xml version="1.0" encoding="UTF-8"?><OME ...><Image ID="Image:0" Name="cells"><Pixels ID="Pixels:0"
    DimensionOrder="XYZCT" Type="uint8" SizeX="3" SizeY="2" SizeZ="1" SizeC="1" SizeT="1" BigEndian="false"
    PhysicalSizeX="0.25" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" PhysicalSizeYUnit="µm">...</OME>
    """
    from xml.etree.ElementTree import Element, SubElement, tostring

    root = Element("OME", _ROOT)
    image = SubElement(root, "Image", {"ID": "Image:0", "Name": _xml_text(name, "the name of the image")})
    start = start_time(img)
    if start is not None:
        SubElement(image, "AcquisitionDate").text = start.isoformat()

    sizes = {dim: img.sizes.get(dim, 1) for dim in _ORDER}
    steps, positions = _grid(img)
    times, interval = _times(img)
    pixels = SubElement(
        image,
        "Pixels",
        {
            "ID": "Pixels:0",
            "DimensionOrder": "".join(_ORDER.values()),
            "Type": PIXEL_TYPES[img.dtype.name],
            **{f"Size{_ORDER[dim]}": str(size) for dim, size in sizes.items()},
            "BigEndian": "false",
            **steps,
            **interval,
        },
    )
    described = channels(img) or (Channel(),) * sizes["c"]
    windows = _add_channels(pixels, described)
    SubElement(pixels, "TiffData", {"IFD": "0", "PlaneCount": str(sizes["t"] * sizes["c"] * sizes["z"])})
    _add_planes(pixels, sizes, positions, times)
    if len(windows):
        root.append(windows)
    return '<?xml version="1.0" encoding="UTF-8"?>' + tostring(root, encoding="unicode")


def _grid(img: xr.DataArray) -> tuple[dict[str, str], dict[str, list[dict[str, str]]]]:
    """Attributes of Pixels that are the spacing, and by dim those of Plane that are the place of each voxel."""
    steps: dict[str, str] = {}
    positions = {}
    for dim in geometry.spatial_axes(img):
        axis, letter = geometry.axis(img, dim), _ORDER[dim]
        if axis.units is None and (axis.start, axis.step) == (0.0, 1.0):
            continue
        unit = ome_length(axis.units) or PIXEL
        steps |= {f"PhysicalSize{letter}": repr(axis.step), f"PhysicalSize{letter}Unit": unit}
        # along z each plane has its own; along x and y it is that of the first voxel
        centres = np.atleast_1d(img.coords[dim].values).tolist() if dim == "z" else [axis.start]
        positions[dim] = [
            {f"Position{letter}": repr(float(centre)), f"Position{letter}Unit": unit} for centre in centres
        ]
    return steps, positions


def _times(img: xr.DataArray) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Attributes of Plane that are the time of each entry of t, and those of Pixels that are the interval."""
    unit = ome_time_of(img)
    if unit is None:
        return [{}], {}
    values = np.atleast_1d(img.coords["t"].values)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise GeometryError(
            f"coordinate 't' holds {values.dtype} values, expected finite numbers in {unit}. Give times as numbers"
        )
    known = len(values) > 1 or "spacing" in img.coords["t"].attrs
    interval = {}
    if known and is_regular(values):
        interval = {"TimeIncrement": repr(abs(geometry.axis(img, "t").step)), "TimeIncrementUnit": unit}
    return [{"DeltaT": repr(float(value)), "DeltaTUnit": unit} for value in values], interval


def _add_channels(pixels: Element, described: tuple[Channel, ...]) -> Element:
    """Add the channels of an image; what comes back is the annotations that they refer to."""
    from xml.etree.ElementTree import Element, SubElement

    annotations = Element("StructuredAnnotations")
    for index, channel in enumerate(described):
        stated = {"ID": f"Channel:0:{index}", "SamplesPerPixel": "1"}
        if channel.name is not None:
            stated["Name"] = _xml_text(channel.name, f"the name of channel {index}")
        if channel.color is not None:
            stated["Color"] = str(int.from_bytes(bytes.fromhex(channel.color) + _OPAQUE, "big", signed=True))
        element = SubElement(pixels, "Channel", stated)
        window = _window(channel)
        if window:
            name = f"Annotation:{len(annotations)}"
            SubElement(element, "AnnotationRef", {"ID": name})
            annotation = SubElement(annotations, "MapAnnotation", {"ID": name, "Namespace": WINDOW_NAMESPACE})
            value = SubElement(annotation, "Value")
            for key, number in window.items():
                SubElement(value, "M", {"K": key}).text = repr(number)
    return annotations


def _window(channel: Channel) -> dict[str, float]:
    """Display window of a channel, and the limits of that, as far as it has them."""
    keys = ("start", "end", "min", "max")
    numbers = (*(channel.window or (None, None)), *(channel.limits or (None, None)))
    return {key: number for key, number in zip(keys, numbers, strict=True) if number is not None}


def _add_planes(
    pixels: Element,
    sizes: Mapping[str, int],
    positions: Mapping[str, list[dict[str, str]]],
    times: list[dict[str, str]],
) -> None:
    """Add place and time of each plane, if any of it is known."""
    from xml.etree.ElementTree import SubElement

    if not positions and times == [{}]:
        return
    across = {key: text for dim in ("x", "y") for key, text in positions.get(dim, [{}])[0].items()}
    depths = positions.get("z", [{}])
    for t, c, z in itertools.product(range(sizes["t"]), range(sizes["c"]), range(sizes["z"])):
        stated = {"TheZ": str(z), "TheC": str(c), "TheT": str(t)}
        SubElement(pixels, "Plane", stated | times[t % len(times)] | across | depths[z % len(depths)])


def _xml_text(text: str, what: str) -> str:
    """The text, where XML can hold it."""
    found = _NOT_XML.search(text)
    if found is not None:
        raise FormatError(
            f"{what}, {text!r}, holds the character U+{ord(found[0]):04X}, which XML cannot hold: rename it"
        )
    return text
