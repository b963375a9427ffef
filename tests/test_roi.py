import copy
import pickle

import numpy as np
import pytest

from xarray_ngff import Roi
from xarray_ngff.errors import GeometryError


def test_bounds_are_pairs_however_they_are_written():
    roi = Roi({"x": slice(1, 3), "y": ("1 mm", None), "z": [None, 4.5], "t": np.array([0, 2])})
    assert dict(roi.bounds) == {"x": (1, 3), "y": ("1 mm", None), "z": (None, 4.5), "t": (0, 2)}
    assert (roi.space, roi.name) == ("physical", None)


def test_a_roi_does_not_change_with_what_it_was_made_from():
    bounds = {"x": (0, 1)}
    roi = Roi(bounds)
    bounds["x"] = (5, 6)
    assert roi.bounds["x"] == (0, 1)
    with pytest.raises(TypeError):
        roi.bounds["x"] = (5, 6)
    with pytest.raises(AttributeError):
        roi.name = "other"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda roi: pickle.loads(pickle.dumps(roi))])
def test_a_roi_can_be_copied_and_sent(copied):
    roi = Roi({"x": ("1 mm", "3 mm"), "z": slice(0, 4)}, space="world", name="lesion")
    assert copied(roi) == roi
    assert copied(roi) != Roi({"x": ("1 mm", "3 mm")}, space="world", name="lesion")


@pytest.mark.parametrize("bound", [3, (1,), (1, 2, 3), "12", slice(0, 4, 2), None, {1, 2}, np.zeros((2, 2))[:1]])
def test_bounds_that_are_no_pair_are_refused(bound):
    with pytest.raises(GeometryError, match=r"bounds of 'x' are .*: expected a pair \(low, high\)"):
        Roi({"x": bound})


def test_an_unknown_space_lists_the_known_ones():
    with pytest.raises(GeometryError, match="space='pixel': expected one of physical, world, index"):
        Roi({"x": (0, 1)}, space="pixel")
