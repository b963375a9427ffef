"""The OME-XML that is written, as ome_types reads it: it knows the schema."""

from __future__ import annotations

import datetime
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import ome_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ome_types.model import PixelType

from xarray_ngff import as_image
from xarray_ngff.backends.ome_tiff.ome_model import WINDOW_NAMESPACE
from xarray_ngff.backends.ome_tiff.written_xml import PIXEL_TYPES, ome_xml_of
from xarray_ngff.errors import FormatError, GeometryError

SCHEMA = Path(ome_types.__file__).parent / "ome-2016-06.xsd"
NAMES = {"xsd": "http://www.w3.org/2001/XMLSchema"}


def image(*shape, dims="tczyx", dtype="uint8", **options):
    return as_image(np.zeros(shape, dtype), dims=dims[-len(shape) :], **options)


def parsed(img, name="cells"):
    found = ome_types.from_xml(ome_xml_of(img, name=name).encode())
    return found, found.images[0].pixels


def located():
    return image(
        2,
        3,
        4,
        5,
        6,
        spacing={"t": 2.5, "z": 3, "y": 0.5, "x": 0.25},
        origin={"t": 10, "z": 7, "y": -1, "x": 2},
        units={"t": "ms", "z": "nm", "y": "mm", "x": "um"},
    )


def test_sizes_and_order():
    _, pixels = parsed(located())
    assert pixels.dimension_order.value == "XYZCT"
    assert [getattr(pixels, f"size_{axis}") for axis in "xyzct"] == [6, 5, 4, 3, 2]
    assert [(data.ifd, data.plane_count) for data in pixels.tiff_data_blocks] == [(0, 24)]
    assert [channel.samples_per_pixel for channel in pixels.channels] == [1, 1, 1]


@pytest.mark.parametrize("dtype", PIXEL_TYPES)
def test_types_are_those_of_the_schema(dtype):
    _, pixels = parsed(image(2, 3, dtype=dtype))
    assert pixels.type in set(PixelType)
    names = {"float": "float32", "double": "float64", "complex": "complex64", "double-complex": "complex128"}
    assert names.get(pixels.type.value, pixels.type.value) == dtype


def test_each_axis_has_its_own_spacing_place_and_unit():
    _, pixels = parsed(located())
    found = {
        a: (getattr(pixels, f"physical_size_{a}"), getattr(pixels, f"physical_size_{a}_unit").value) for a in "xyz"
    }
    assert found == {"x": (0.25, "µm"), "y": (0.5, "mm"), "z": (3.0, "nm")}
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (2.5, "ms")
    places = {(p.the_t, p.the_c, p.the_z): (p.delta_t, p.position_z, p.position_y, p.position_x) for p in pixels.planes}
    assert places == {
        (t, c, z): (10 + 2.5 * t, 7 + 3.0 * z, -1.0, 2.0) for t in range(2) for c in range(3) for z in range(4)
    }
    assert list(places) == sorted(places)
    units = {
        (p.delta_t_unit.value, p.position_z_unit.value, p.position_y_unit.value, p.position_x_unit.value)
        for p in pixels.planes
    }
    assert units == {("ms", "nm", "mm", "µm")}


def test_scalar_coordinates_are_axes_of_length_1():
    img = located().assign_coords(c=["a", "b", "last"]).isel(t=1, c=2, z=3)
    _, pixels = parsed(img)
    assert [getattr(pixels, f"size_{axis}") for axis in "xyzct"] == [6, 5, 1, 1, 1]
    assert pixels.channels[0].name == "last"
    assert (pixels.physical_size_z, pixels.time_increment) == (3.0, 2.5)
    (plane,) = pixels.planes
    assert (plane.delta_t, plane.position_z) == (12.5, 16.0)


def test_irregular_times_are_delta_t_alone():
    img = located().isel(t=[0, 1, 1]).assign_coords(t=("t", [0.0, 1.5, 9.0], {"units": "second"}))
    _, pixels = parsed(img)
    assert pixels.time_increment is None
    assert {plane.the_t: plane.delta_t for plane in pixels.planes} == {0: 0.0, 1: 1.5, 2: 9.0}


def test_voxels_that_are_only_counted_are_left_out():
    found, pixels = parsed(image(2, 3, 4, dims="tyx"))
    assert (pixels.physical_size_x, pixels.physical_size_y, pixels.time_increment) == (None, None, None)
    assert not pixels.planes
    assert not found.structured_annotations.map_annotations


@pytest.mark.parametrize("unit", [None, "hertz", "pixel"])
def test_lengths_without_a_unit_of_length_are_pixels(unit):
    _, pixels = parsed(image(3, 4, spacing=(2, 3), units=unit))
    assert (pixels.physical_size_y, pixels.physical_size_y_unit.value) == (2.0, "pixel")
    assert (pixels.physical_size_x, pixels.physical_size_x_unit.value) == (3.0, "pixel")
    assert {plane.position_x_unit.value for plane in pixels.planes} == {"pixel"}


def test_times_without_a_unit_of_time_are_left_out():
    _, pixels = parsed(image(2, 3, 4, dims="tyx", spacing={"t": 2, "y": 1, "x": 1}, units={"y": "um", "x": "um"}))
    assert pixels.time_increment is None
    assert {plane.delta_t for plane in pixels.planes} == {None}


def test_start_time_is_the_acquisition_date():
    img = located()
    img.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
    found, _ = parsed(img)
    assert found.images[0].acquisition_date == datetime.datetime(2021, 3, 4, 5, 6, 7, 891000)
    img.t.attrs["start_time"] = "yesterday"
    with pytest.raises(GeometryError, match="yesterday"):
        ome_xml_of(img, name="cells")


def test_channels_have_names_colours_and_windows():
    given = [
        {"name": "DAPI µ", "color": "0000FF", "window": (1, 2.5), "limits": (0, 65535)},
        {"color": "FF8000"},
        {"name": "c", "limits": (-1.5, 9)},
        {},
    ]
    found, pixels = parsed(image(4, 2, 3, dims="cyx", channels=given))
    assert [channel.name for channel in pixels.channels] == ["DAPI µ", None, "c", None]
    colors = [channel.color.as_rgb_tuple() for channel in pixels.channels[:2]]
    assert colors == [(0, 0, 255), (255, 128, 0)]
    raw = re.findall(r'Color="(-?\d+)"', ome_xml_of(image(4, 2, 3, dims="cyx", channels=given), name="a"))
    assert raw == [str(0x0000FFFF), str(0xFF8000FF - 2**32)]
    windows = {note.id: note for note in found.structured_annotations.map_annotations}
    assert {note.namespace for note in windows.values()} == {WINDOW_NAMESPACE}
    held = [
        {m.k: float(m.value) for ref in channel.annotation_refs for m in windows[ref.id].value.ms}
        for channel in pixels.channels
    ]
    assert held == [{"start": 1, "end": 2.5, "min": 0, "max": 65535}, {}, {"min": -1.5, "max": 9}, {}]


def test_one_selected_channel_keeps_what_it_says():
    img = image(2, 3, 4, dims="cyx", channels=["a", {"name": "b", "color": "00FF00", "window": (0, 1)}]).isel(c=1)
    found, pixels = parsed(img)
    assert (pixels.size_c, pixels.channels[0].name, pixels.channels[0].color.as_hex()) == (1, "b", "#0f0")
    assert len(found.structured_annotations.map_annotations) == 1


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cc", "Cs", "Cn"])))
def test_any_text_comes_back(text):
    img = image(1, 2, 3, dims="cyx", channels=[{"name": text, "color": "00FF00"}])
    found, pixels = parsed(img, name=text)
    assert found.images[0].name == text
    # an empty name is none
    assert (pixels.channels[0].name or "") == img.c.values[0] if text else pixels.channels[0].name is None


@given(char=st.characters())
def test_only_characters_that_xml_holds_are_written(char):
    try:
        ET.fromstring(f"<a>{char if char not in '<&' else ''}</a>".encode())
    except (ET.ParseError, UnicodeEncodeError):
        with pytest.raises(FormatError, match=re.escape(f"U+{ord(char):04X}")):
            ome_xml_of(image(2, 3), name=char)
    else:
        assert ET.fromstring(ome_xml_of(image(2, 3), name=char).encode())[0].get("Name") == char


def test_elements_and_attributes_are_in_the_order_of_the_schema():
    """What ome_types does not mind: xsd:sequence fixes the order of children."""
    schema = ET.parse(SCHEMA)
    img = located().assign_coords(c=["a", "b", "c"])
    img = img.assign_coords(window_start=("c", [0.0] * 3), window_end=("c", [1.0] * 3))
    img.t.attrs["start_time"] = "2021-03-04T05:06:07"
    root = ET.fromstring(ome_xml_of(img, name="a").encode())
    for element in root.iter():
        name = element.tag.rpartition("}")[2]
        declared = schema.find(f".//xsd:element[@name='{name}']", NAMES)
        if name in {"Value", "M", "AcquisitionDate"}:
            continue
        order = [found.get("ref") or found.get("name") for found in declared.iter(f"{{{NAMES['xsd']}}}element")]
        places = [order.index(child.tag.rpartition("}")[2]) for child in element]
        assert places == sorted(places), name
        known = {found.get("name") for found in declared.iter(f"{{{NAMES['xsd']}}}attribute")}
        inherited = {"ID", "Namespace", "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"}
        assert set(element.attrib) <= known | inherited, name


def test_nothing_but_the_image_and_its_name_is_in_it():
    first, second = (ome_xml_of(located(), name="a") for _ in range(2))
    assert first == second
    assert "UUID" not in first


@pytest.mark.parametrize("values", [[0.0, np.nan], [0.0, np.inf], ["a", "b"]])
def test_times_that_are_no_numbers_are_refused(values):
    img = located().assign_coords(t=("t", values, {"units": "second"}))
    with pytest.raises(GeometryError, match="finite numbers"):
        ome_xml_of(img, name="a")
