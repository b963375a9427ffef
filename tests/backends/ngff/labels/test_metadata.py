"""Label images beyond what the official suites check."""

import posixpath

import pytest
import xarray as xr

from xarray_ngff.backends.ngff import metadata
from xarray_ngff.backends.ngff.labels.metadata import PATH_KEY, beside_image, image_label
from xarray_ngff.errors import MetadataError


def test_list_of_label_images():
    assert metadata.labels({"labels": ["nuclei/", "original/0"]}, "img") == ("nuclei", "original/0")
    assert metadata.labels({"ome": {"version": "0.5", "labels": []}}, "img") == ()
    for raw in (None, "nuclei", [1], [""]):
        with pytest.raises(MetadataError, match="img: labels"):
            metadata.labels({"labels": raw}, "img")


def test_image_label_is_passed_on_whole():
    label = {
        "version": "0.4",
        "colors": [{"label-value": 1, "rgba": [1, 2, 3, 255]}, {"label-value": 2.5}],
        "properties": [{"label-value": 1, "class": "a"}, {"label-value": 1, "area": 3}],
        "source": {"image": "../../"},
    }
    assert metadata.image_label({"image-label": label}, "img") == label
    assert metadata.image_label({"multiscales": []}, "img") is None


@pytest.mark.parametrize("rgba", [[0, 0, 0, -1], [0.5, 0, 0, 0], [], "red", [0] * 5])
def test_color_that_is_none(rgba):
    with pytest.raises(MetadataError, match=r"img: image-label\.colors\[0\]\.rgba is"):
        metadata.image_label({"image-label": {"colors": [{"label-value": 1, "rgba": rgba}]}}, "img")


class TestMade:
    KNOWN = {  # noqa: RUF012
        "version": "0.1",
        "colors": [{"label-value": 1, "rgba": [1, 2, 3, 255], "mine": 5}],
        "properties": [{"label-value": 2, "area": 3.5}],
        "source": {"image": "elsewhere"},
    }

    @pytest.mark.parametrize(("path", "source"), [("nuclei", "../../"), ("a/b", "../../../")])
    def test_beside_an_image(self, path, source):
        said = {key: self.KNOWN[key] for key in ("colors", "properties")} | {"source": {"image": source}}
        assert image_label(self.KNOWN, version="0.5", path=path) == said
        assert image_label(self.KNOWN, version="0.4", path=path) == {"version": "0.4"} | said
        assert posixpath.normpath(posixpath.join("img/labels", path, source)) == "img"

    def test_alone(self):
        assert image_label({}, version="0.5") == {}
        assert "source" not in image_label(self.KNOWN, version="0.5")

    @pytest.mark.parametrize("key", ["colors", "properties"])
    @pytest.mark.parametrize("entries", [[], 5, [{}], [{"label-value": "a"}]], ids=repr)
    def test_what_was_set_by_hand(self, key, entries):
        with pytest.raises(MetadataError, match=rf"encoding\['image-label'\]\.{key}"):
            image_label({key: entries}, version="0.5")

    def test_labels_are_not_changed(self):
        img = xr.DataArray([1])
        assert beside_image(img, "a").encoding[PATH_KEY] == "a"
        assert PATH_KEY not in img.encoding
