"""Plates and wells as trees."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from ome_zarr.format import format_from_version
from ome_zarr.writer import write_plate_metadata, write_well_metadata
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from xarray_ngff.errors import FormatError, LevelError, MetadataError, NgffWarning

WELLS = ["A/1", "A/3", "B/2"]


@pytest.fixture(params=["0.4", "0.5"])
def version(request):
    return request.param


@pytest.fixture
def plate(tmp_path, version, make_image, ramp):
    """Three wells of two fields of two levels; metadata by ome-zarr. Pixels say which field they are of."""
    fmt = format_from_version(version)
    root = zarr.open_group(tmp_path / "plate.ome.zarr", mode="w", zarr_format=fmt.zarr_format)
    write_plate_metadata(root, ["A", "B"], ["1", "2", "3"], WELLS, fmt=fmt, name="test")
    for number, well in enumerate(WELLS):
        group = root.require_group(well)
        write_well_metadata(group, ["0", "1"], fmt=fmt)
        for field in range(2):
            data = ramp(4, 6) + 1000 * number + 100 * field
            make_image(
                root.store, [data, data[::2, ::2]], "yx", path=f"{well}/{field}", version=version, scale=(0.5, 0.25)
            )
    return tmp_path / "plate.ome.zarr"


def paths(tree):
    return {node.path for node in tree.leaves}


def test_the_whole_plate(plate, ramp):
    tree = xr.open_datatree(plate, engine="ngff")
    assert paths(tree) == {f"/{well}/{field}/scale{level}" for well in WELLS for field in "01" for level in "01"}
    np.testing.assert_array_equal(tree["A/3/1/scale0/image"], ramp(4, 6) + 1100)
    np.testing.assert_array_equal(tree["B/2/0/scale1/image"], (ramp(4, 6) + 2000)[::2, ::2])
    assert tree["B/2/0/scale1/image"].ngff.spacing == {"y": 1.0, "x": 0.5}
    assert list(tree.children) == ["A", "B"]


def test_fields_are_arrays_of_their_own(plate, ramp):
    """They share their coordinates when they are opened, and nothing after a change to one of them."""
    tree = xr.open_datatree(plate, engine="ngff")
    one, other = tree["A/1/0/scale0/image"], tree["A/1/1/scale0/image"]
    one["x"] = one.x + 5
    one[0, 0] = 77
    assert other.x.values.tolist() == [0.25 * i for i in range(6)]
    assert other[0, 0] == 100


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"wells": "A/1"}, ["/A/1/0", "/A/1/1"]),
        ({"wells": ["B2", "A/3"], "fields": 1}, ["/B/2/1", "/A/3/1"]),
        ({"fields": "0"}, ["/A/1/0", "/A/3/0", "/B/2/0"]),
        ({"fields": [1, "0"], "wells": ("A1", "A/1")}, ["/A/1/0", "/A/1/1"]),
        ({"fields": np.int64(1), "wells": "B/2"}, ["/B/2/1"]),
    ],
)
def test_a_part(plate, options, expected):
    tree = xr.open_datatree(plate, engine="ngff", **options)
    assert paths(tree) == {f"{path}/scale{level}" for path in expected for level in "01"}


def test_parts_that_are_not_there(plate):
    with pytest.raises(LevelError, match=r"wells names 'C/1', but .*plate\.ome\.zarr has the wells A/1, A/3, B/2"):
        xr.open_datatree(plate, engine="ngff", wells=["A/1", "C/1"])
    with pytest.raises(LevelError, match=r"fields names '7', but .*A/1 has 0, 1"):
        xr.open_datatree(plate, engine="ngff", fields=7)
    with pytest.raises(FormatError, match="is no plate: leave out wells"):
        xr.open_datatree(plate, engine="ngff", group="A/1", wells="A/1")
    with pytest.raises(FormatError, match="is no plate or well: leave out wells= and fields="):
        xr.open_datatree(plate, engine="ngff", group="A/1/0", fields=0)


def test_group_of_a_well_and_of_a_field(plate, ramp):
    tree = xr.open_datatree(plate, engine="ngff", group="A/3")
    assert paths(tree) == {f"/{field}/scale{level}" for field in "01" for level in "01"}
    np.testing.assert_array_equal(tree["1/scale0/image"], ramp(4, 6) + 1100)
    assert paths(xr.open_datatree(plate, engine="ngff", group="A/3", fields=0)) == {"/0/scale0", "/0/scale1"}
    field = xr.open_dataarray(plate, engine="ngff", group="A/3/1", level=1)
    np.testing.assert_array_equal(field, (ramp(4, 6) + 1100)[::2, ::2])
    assert paths(xr.open_datatree(plate, engine="ngff", group="A/3/1")) == {"/scale0", "/scale1"}


def test_a_plate_is_no_single_image(plate):
    with pytest.raises(FormatError, match="no single image but a plate: open one with group='A/1/0', group='A/3/0'"):
        xr.open_dataset(plate, engine="ngff")
    with pytest.raises(FormatError, match="no single image but a well: open one with group='A/1/0', group='A/1/1'"):
        xr.open_dataset(plate, engine="ngff", group="A/1")


def test_absent_wells_and_fields_are_left_out(plate):
    shutil.rmtree(plate / "A/3")
    shutil.rmtree(plate / "B/2/0")
    with pytest.warns(NgffWarning) as caught:
        tree = xr.open_datatree(plate, engine="ngff")
    assert paths(tree) == {f"/{path}/scale{level}" for path in ("A/1/0", "A/1/1", "B/2/1") for level in "01"}
    first, second = (str(warning.message) for warning in caught)
    assert first == f"{plate} lists 1 of 3 wells that are not there; they were left out: A/3"
    assert second == f"{plate} lists 1 of 4 images that are not there; they were left out: B/2/0"
    assert paths(xr.open_datatree(plate, engine="ngff", wells="A1", fields=0)) == {"/A/1/0/scale0", "/A/1/0/scale1"}


def test_a_field_without_its_levels(plate):
    shutil.rmtree(plate / "B/2/0/1")
    with pytest.raises(MetadataError, match=r"B/2/0 lists the level '1', but that array is not there"):
        xr.open_datatree(plate, engine="ngff")


def test_labels_of_a_field(plate, version, make_image, ramp):
    labels = zarr.create_group(plate / "A/1/0/labels", zarr_format=3 if version == "0.5" else 2)
    labels.attrs.update({"ome": {"version": "0.5", "labels": ["cells"]}} if version == "0.5" else {"labels": ["cells"]})
    make_image(labels.store, [ramp(4, 6)], "yx", path="cells", version=version)
    tree = xr.open_datatree(plate, engine="ngff", group="A/1/0")
    assert paths(tree) == {"/scale0", "/scale1", "/labels/cells/scale0"}


def many_wells(store, rows, columns, fields, levels):
    """Documents of a plate of 0.5, without chunks, put into a store by hand."""

    def put(path, document):
        content = default_buffer_prototype().buffer.from_bytes(json.dumps(document).encode())
        store._store_dict[f"{path}/zarr.json".strip("/")] = content

    def group(ome):
        return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5"} | ome}}

    wells = [
        {"path": f"{row}/{column}", "rowIndex": i, "columnIndex": j}
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
    ]
    put("", group({"plate": {
        "rows": [{"name": row} for row in rows], "columns": [{"name": c} for c in columns], "wells": wells,
    }}))  # fmt: skip
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    datasets = [
        {"path": str(k), "coordinateTransformations": [{"type": "scale", "scale": [1, 2**k, 2**k]}]}
        for k in range(levels)
    ]
    array = {
        "zarr_format": 3, "node_type": "array", "data_type": "uint16", "fill_value": 3, "attributes": {},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }  # fmt: skip
    for well in wells:
        put(well["path"], group({"well": {"images": [{"path": str(f)} for f in range(fields)]}}))
        for field in range(fields):
            put(f"{well['path']}/{field}", group({"multiscales": [{"axes": axes, "datasets": datasets}]}))
            for k in range(levels):
                shape = [2, 64 // 2**k, 64 // 2**k]
                grid = {"name": "regular", "configuration": {"chunk_shape": shape}}
                put(f"{well['path']}/{field}/{k}", array | {"shape": shape, "chunk_grid": grid})


def test_384_wells_open_without_pixels():
    """Every document is read once, and nothing else."""
    asked = []

    class Store(MemoryStore):
        async def get(self, key, prototype, byte_range=None):
            asked.append(key)
            return await super().get(key, prototype, byte_range)

    store = Store()
    many_wells(store, "ABCDEFGHIJKLMNOP", [str(n) for n in range(1, 25)], fields=1, levels=2)
    tree = xr.open_datatree(store, engine="ngff")
    assert len(tree.leaves) == 384 * 2
    documents = set(store._store_dict)
    missing = [key for key in asked if key not in documents]
    assert sorted(key for key in asked if key in documents) == sorted(documents)
    assert set(missing) <= {".zgroup", ".zarray", ".zattrs"}
    image = tree["P/24/0/scale1/image"]
    assert image.shape == (2, 32, 32)
    assert (image == 3).all()
    asked.clear()
    part = xr.open_datatree(store, engine="ngff", wells=["A1", "P24"])
    assert len(part.leaves) == 4
    assert len(asked) < 15
