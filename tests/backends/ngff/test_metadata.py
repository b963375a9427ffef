"""What a group is, and which version it is of."""

import pytest

from xarray_ngff.backends.ngff.metadata import (
    LabelsList,
    MultiscaleImage,
    Plate,
    Series,
    Well,
    group_kind,
    parse_group,
    series,
    version_of,
)
from xarray_ngff.errors import MetadataError, NgffWarning

IMAGE = [
    {
        "version": "0.4",
        "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1]}]}],
    }
]
PLATE = {"rows": [{"name": "A"}], "columns": [{"name": "1"}], "wells": []}
WELL = {"images": [{"path": "0"}]}


@pytest.mark.parametrize(
    ("metadata", "kind", "meaning"),
    [
        ({"multiscales": IMAGE}, "image", tuple),
        ({"multiscales": IMAGE, "image-label": {}}, "image", tuple),
        ({"plate": PLATE}, "plate", Plate),
        ({"plate": PLATE, "bioformats2raw.layout": 3}, "plate", Plate),
        ({"well": WELL}, "well", Well),
        ({"labels": ["a"]}, "labels", LabelsList),
        ({"bioformats2raw.layout": 3}, "series", Series),
        ({"series": ["0"]}, None, type(None)),
        ({"scene": {}}, None, type(None)),
        ({}, None, type(None)),
    ],
)
def test_kinds(metadata, kind, meaning):
    for attributes in (metadata, {"ome": metadata | {"version": "0.5"}}):
        assert group_kind(attributes, "g") == kind
        assert isinstance(parse_group(attributes, "g"), meaning)


def test_image_passes_its_options_on():
    (image,) = parse_group({"multiscales": IMAGE}, "g", zarr_format=2, shapes={"0": (3, 4)})
    assert isinstance(image, MultiscaleImage)
    with pytest.raises(MetadataError, match="3 dims"):
        parse_group({"multiscales": IMAGE}, "g", shapes={"0": (3, 4, 5)})


class TestSeries:
    def test_root_and_its_list(self):
        assert parse_group({"bioformats2raw.layout": 3}, "g") == Series(None)
        assert series({"series": ["0", "img/1/"]}, "g/OME") == ("0", "img/1")
        assert series({"ome": {"version": "0.5", "series": []}}, "g/OME") == ()

    def test_other_layout(self):
        with pytest.warns(NgffWarning, match=r"g: bioformats2raw\.layout is '3', expected 3"):
            assert series({"bioformats2raw.layout": "3"}, "g") is None

    @pytest.mark.parametrize("raw", [3, [3], {"0": "0"}])
    def test_list_that_is_none(self, raw):
        with pytest.raises(MetadataError, match="g: series"):
            series({"series": raw}, "g")


class TestVersionOf:
    @pytest.mark.parametrize(
        ("attributes", "version"),
        [
            ({"multiscales": [{"version": "0.2"}]}, "0.2"),
            ({"plate": {"version": "0.4"}}, "0.4"),
            ({"well": {"version": "0.1"}}, "0.1"),
            ({"image-label": {"version": "0.3"}}, "0.3"),
            ({"ome": {"version": "0.5", "multiscales": [{}]}}, "0.5"),
            ({"ome": {"version": "0.6.dev4"}}, "0.6"),
            ({"multiscales": [{}]}, None),
            ({"multiscales": [3], "plate": 3}, None),
            ({"labels": ["a"]}, None),
            ({}, None),
        ],
    )
    def test_where_it_may_be(self, attributes, version):
        assert version_of(attributes, "g") == version

    @pytest.mark.parametrize("raw", [0.4, "0.4.1", "0.4-dev", "0.4.dev1", "0.4rc1"])
    def test_spellings(self, raw):
        with pytest.warns(NgffWarning, match=rf"g: plate\.version is {raw!r}; it was read as '0\.4'"):
            assert version_of({"plate": {"version": raw}}, "g") == "0.4"

    @pytest.mark.parametrize("raw", ["0.7", "1.0", "latest", "", 5, [], "0.40"])
    def test_unknown(self, raw):
        with pytest.raises(MetadataError, match=r"g: ome\.version is .*, expected one of the versions"):
            version_of({"ome": {"version": raw}}, "g")
