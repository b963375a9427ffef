"""Label images beyond what the official suites check."""

import pytest

from xarray_ngff.backends.ngff import metadata
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
