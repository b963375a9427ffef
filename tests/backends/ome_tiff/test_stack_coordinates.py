"""Where the planes of a stack are, from coordinates given by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff import geometry
from xarray_ngff.backends.ome_tiff.stack_coordinates import stack_coordinates
from xarray_ngff.backends.ome_tiff.stack_files import StackFiles


def located(coords, *, dims=("z",), shape=None, lengths=None, replaced=()):
    """Coordinates of a stack of files with these, and what was said."""
    shape = shape or (len(coords),)
    files = StackFiles(dims, shape, tuple(Path(f"{i}.tif") for i in range(len(coords))))
    lengths = lengths or {dim: (1,) * count for dim, count in zip(dims, shape, strict=True)}
    said = []
    return stack_coordinates(coords, files, lengths, replaced=replaced, warn=said.append), said


def at(value, *, dim="z", **attrs):
    return {dim: xr.Variable((), float(value), {"units": "micrometer"} | attrs)}


@given(
    start=st.floats(-1e6, 1e6),
    step=st.floats(1e-3, 1e3),
    sign=st.sampled_from([1, -1]),
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=6),
)
def test_regular_places_come_back(start, step, sign, counts):
    edges = np.cumsum((0, *counts))
    values = start + sign * step * np.arange(edges[-1])
    coords = []
    for i, count in enumerate(counts):
        part = xr.Variable(("z",), values[edges[i] : edges[i + 1]], {"units": "micrometer", "spacing": sign * step})
        coords.append({"z": part[0] if count == 1 else part})
    found, said = located(coords, lengths={"z": tuple(counts)})
    expected = geometry.coordinate("z", int(edges[-1]), start=float(values[0]), step=sign * step, units="micrometer")
    np.testing.assert_array_equal(found["z"], expected)
    assert found["z"].attrs == expected.attrs
    assert not said


def test_a_stage_that_is_read_out_to_few_digits():
    # 0.3 µm a plane, with the last digit of the readout
    values = np.round(0.3004 * np.arange(20) + 0.0004, 3)
    found, said = located([at(value, spacing=0.3) for value in values])
    assert found["z"].attrs["spacing"] == pytest.approx(0.3004, abs=1e-4)
    np.testing.assert_allclose(found["z"], values, atol=3e-3)
    assert not said
    # where the nominal spacing fits all places, it is that
    found, said = located([at(value + 1e-4, spacing=0.3) for value in 0.3 * np.arange(5)])
    assert found["z"].attrs["spacing"] == 0.3
    assert not said


def test_one_place_with_different_spacings():
    found, said = located([at(5, spacing=1.0), at(5, spacing=2.0)])
    assert found["z"].values.tolist() == [0, 1]
    assert said == ["all files state that 'z' is 5 and no common spacing (it counts planes)"]


def test_one_file():
    found, said = located([at(5, spacing=2.0)])
    assert (found["z"].dims, found["z"].values.tolist(), found["z"].attrs["spacing"]) == (("z",), [5.0], 2.0)
    found, _ = located([at(5)])
    assert found["z"].attrs == {"units": "micrometer", "spacing": 1.0}
    assert not said


def test_nothing_is_said_of_what_is_replaced():
    for coords in ([at(0), at(1), at(7)], [at(0), {}], [at(5), at(5)]):
        assert located(coords)[1]
        assert located(coords, replaced=("z",))[1] == []


def test_rows_that_are_elsewhere():
    coords = [at(0), at(2), at(0), at(3)]
    found, said = located(coords, dims=("c", "z"), shape=(2, 2))
    assert found["z"].values.tolist() == [0, 2]
    assert said == ["1 of 4 files, such as 3.tif, state another 'z' than the first (the first is used)"]


def test_coordinates_that_only_later_files_have():
    found, said = located([at(0), at(1) | {"t": xr.Variable((), 3.0)}])
    assert set(found) == {"z"}
    assert said == ["1 of 2 files, such as 1.tif, state another 't' than the first (it is left out)"]
    along = {"t": xr.Variable(("t",), [0.0, 1.0])}
    found, said = located([at(0) | along, at(1) | {"t": xr.Variable(("t",), [0.0, 1.0, 2.0])}])
    assert found["t"].values.tolist() == [0, 1]
    assert len(said) == 1


def test_rounding_is_no_disagreement():
    coords = [
        at(i) | {"x": geometry.coordinate("x", 4, start=shift, step=0.25)} for i, shift in enumerate((0.1, 0.1 + 1e-12))
    ]
    found, said = located(coords)
    assert found["x"].values[0] == 0.1
    assert not said
