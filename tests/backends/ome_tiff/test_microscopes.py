"""Metadata of microscopes, in the form in which tifffile hands them on."""

from types import SimpleNamespace

import numpy as np
import pytest

from xarray_ngff.backends.ome_tiff.description import AxisGrid
from xarray_ngff.backends.ome_tiff.microscopes import microscope_description


def described(kind, **attributes):
    return microscope_description(kind, SimpleNamespace(**attributes))


def test_zeiss_lengths_are_meters():
    found = described(
        "lsm",
        lsm_metadata={
            "VoxelSizeX": 2.5e-7, "VoxelSizeY": 2.5e-7, "VoxelSizeZ": 1e-6, "OriginX": 0.0, "OriginZ": -3e-6,
            "TimeIntervall": 2.0, "TimeStamps": np.array([10.0, 12.5, 13.0]),
            "ChannelColors": {"ColorNames": ["Ch1", "Ch2"], "Colors": [[255, 0, 0, 0], [0, 128, 255, 0]]},
        },
    )  # fmt: skip
    assert found.axes == {
        "z": AxisGrid(1.0, -3.0, "micrometer"),
        "y": AxisGrid(0.25, 0.0, "micrometer"),
        "x": AxisGrid(0.25, 0.0, "micrometer"),
    }
    assert found.times == (0.0, 2.5, 3.0)
    assert [(channel.name, channel.color) for channel in found.channels] == [("Ch1", "FF0000"), ("Ch2", "0080FF")]


def test_zeiss_without_stamps_has_an_interval():
    assert described("lsm", lsm_metadata={"TimeIntervall": 2.0}).axes == {"t": AxisGrid(2.0, 0.0, "second")}


def test_metamorph():
    metadata = {
        "XCalibration": 0.5, "YCalibration": 0.25, "CalibrationUnits": "um", "ZDistance": np.array([2.0, 2.0]),
    }  # fmt: skip
    assert described("stk", stk_metadata=metadata).axes == {
        "z": AxisGrid(2.0, 0.0, "micrometer"),
        "y": AxisGrid(0.25, 0.0, "micrometer"),
        "x": AxisGrid(0.5, 0.0, "micrometer"),
    }


def test_metamorph_without_calibration_says_nothing():
    metadata = {"XCalibration": 0.5, "CalibrationUnits": "", "ZDistance": np.array([0.0, 0.0])}
    assert described("stk", stk_metadata=metadata).axes == {}


def test_micro_manager():
    summary = {"PixelSize_um": 0.1, "z-step_um": -0.5, "Interval_ms": 250, "ChNames": ["DAPI", "FITC"]}
    found = described("mmstack", micromanager_metadata={"Summary": summary})
    assert found.axes["x"] == found.axes["y"] == AxisGrid(0.1, 0.0, "micrometer")
    assert found.axes["z"] == AxisGrid(0.5, 0.0, "micrometer")
    assert found.axes["t"] == AxisGrid(0.25, 0.0, "second")
    assert [channel.name for channel in found.channels] == ["DAPI", "FITC"]


def test_aperio():
    page = SimpleNamespace(description="Aperio Image Library v11\n46000x32914 |AppMag = 20|MPP = 0.4990|Left = 25")
    found = described("svs", pages=SimpleNamespace(first=page))
    assert found.axes == {dim: AxisGrid(0.499, 0.0, "micrometer") for dim in ("y", "x")}


@pytest.mark.parametrize("kind", ["ome", "uniform", "ndpi"])
def test_kinds_without_rules(kind):
    assert described(kind) is None


@pytest.mark.parametrize("kind", ["lsm", "stk", "mmstack"])
def test_empty_metadata_say_nothing(kind):
    empty = {"lsm_metadata": None, "stk_metadata": None, "micromanager_metadata": None}
    assert described(kind, **empty).axes == {}
