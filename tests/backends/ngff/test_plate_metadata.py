"""Plates and wells beyond what the official suites check."""

import pytest
from ome_zarr.format import FormatV04

from xarray_ngff.backends.ngff import metadata
from xarray_ngff.backends.ngff.plate_metadata import Acquisition, PlateWell, WellImage
from xarray_ngff.errors import MetadataError, NgffWarning

ROWS, COLUMNS = ["A", "B"], ["1", "2", "03"]


def plate(wells, **more):
    rows, columns = ([{"name": name} for name in names] for names in (ROWS, COLUMNS))
    return {"plate": {"version": "0.4", "rows": rows, "columns": columns, "wells": wells, **more}}


def test_all_it_can_say():
    run = {"id": 1, "name": "first", "description": "d", "maximumfieldcount": 2, "starttime": 5, "endtime": 6}
    # the reference implementation writes the wells
    wells = [FormatV04().generate_well_dict(path, ROWS, COLUMNS) for path in ("A/1", "B/03")]
    found = metadata.plate(plate(wells, name="p", field_count=2, acquisitions=[run, {"id": 0}]), "p.zarr")
    assert found.wells == (PlateWell("A/1", "A", "1"), PlateWell("B/03", "B", "03"))
    assert found.acquisitions == (Acquisition(1, "first", "d", 2, 5, 6), Acquisition(0))
    assert (found.rows, found.columns) == (tuple(ROWS), tuple(COLUMNS))
    assert (found.name, found.version, found.field_count) == ("p", "0.4", 2)


def test_old_wells_have_a_path_only():
    wells = [{"path": "A/2"}]
    assert metadata.plate(plate(wells, version="0.1"), "p").wells == (PlateWell("A/2", "A", "2"),)
    with pytest.raises(MetadataError, match=r"p: plate\.wells\[0\]\.rowIndex is missing"):
        metadata.plate(plate(wells), "p")


def test_index_that_disagrees_with_the_path():
    with pytest.warns(NgffWarning, match=r"wells\[0\]\.columnIndex is 0, but '2' has index 1; the path was followed"):
        found = metadata.plate(plate([{"path": "A/2", "rowIndex": 0, "columnIndex": 0}]), "p")
    assert found.wells == (PlateWell("A/2", "A", "2"),)


def test_wells_may_be_none():
    assert metadata.plate(plate([]), "p").wells == ()


def test_double_acquisition():
    with pytest.raises(MetadataError, match="acquisitions: id has 1 twice"):
        metadata.plate(plate([], acquisitions=[{"id": 1}, {"id": 1}]), "p")


@pytest.mark.parametrize("attributes", [{"well": {"version": "0.4"}}, {"ome": {"version": "0.5", "well": {}}}])
def test_well_without_images(attributes):
    with pytest.raises(MetadataError, match=r"w: well\.images is missing, expected a non-empty list of images"):
        metadata.well(attributes, "w")


def test_well():
    images = [{"path": "0", "acquisition": 1}, {"path": "field_1/"}]
    found = metadata.well({"ome": {"version": "0.5", "well": {"images": images}}}, "w")
    assert found.version == "0.5"
    assert found.images == (WellImage("0", 1), WellImage("field_1", None))


@pytest.mark.parametrize("path", ["..", "/", "."])
def test_image_that_is_not_in_its_well(path):
    with pytest.raises(MetadataError, match=r"images\[0\]\.path is '.*', expected the name of a group"):
        metadata.well({"well": {"images": [{"path": path}]}}, "w")
