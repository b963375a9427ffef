"""Every format into every other: what all can hold comes through, and what one cannot hold is said."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr
from formats import CHANNELS, FORMATS, image, numbers

from xarray_ngff import as_image
from xarray_ngff.errors import NgffError, NgffWarning

ENGINES = {fmt.engine: fmt for fmt in reversed(FORMATS)}
NAMES = ("ngff", "nifti", "ome-tiff", "imaris")
PAIRS = [(source, target) for source in NAMES for target in NAMES if source != target]
# Engines whose images have an orientation, as their format has none but an anatomical world, and those that hold one.
ANATOMICAL = ("nifti",)
HOLD_ORIENTATION = ("ngff", "nifti")
# Relative to the largest coordinate: NIfTI-1 places voxels in single precision.
TOLERANCE = {"nifti": 1e-6}


def test_every_format_is_here():
    assert set(NAMES) == set(ENGINES) == {fmt.engine for fmt in FORMATS}
    assert len(PAIRS) == 12


# -- what all formats hold --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda name: name)
def test_conversions(source, target, chunks, tmp_path):
    img = image()
    img.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
    first, second = ENGINES[source], ENGINES[target]
    given, made = first.path(tmp_path, "given"), second.path(tmp_path, "made")
    first.write(img, given)

    opened = first.open(given, chunks=chunks)
    if source in ANATOMICAL and target not in HOLD_ORIENTATION:
        with pytest.warns(NgffWarning, match=r"orientation .*left-to-right"):
            second.write(opened, made)
    else:
        second.write(opened, made)
    found = second.open(made).ngff.to_units("micrometer")

    np.testing.assert_array_equal(second.stored(made, 0), numbers())
    np.testing.assert_array_equal(found, numbers())
    assert found.dtype == np.uint16
    assert found.dims == ("t", "c", "z", "y", "x")
    tolerance = 200 * max(TOLERANCE.get(name, 1e-9) for name in (source, target))
    for dim in ("z", "y", "x"):
        np.testing.assert_allclose(found[dim], img[dim], rtol=0, atol=tolerance)
        np.testing.assert_allclose(found.ngff.spacing[dim], img.ngff.spacing[dim], rtol=1e-6)
    np.testing.assert_allclose(found.ngff.affine, img.ngff.affine, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.t, [0, 1.5], rtol=1e-6)
    assert found.t.attrs["units"] == "second"
    assert found.t.attrs["start_time"] == "2021-03-04T05:06:07.891000"
    assert found.c.values.tolist() == [channel["name"] for channel in CHANNELS]
    assert found.channel_color.values.tolist() == [channel["color"] for channel in CHANNELS]
    np.testing.assert_allclose(found.window_start, [channel["window"][0] for channel in CHANNELS])
    np.testing.assert_allclose(found.window_end, [channel["window"][1] for channel in CHANNELS])


def test_all_the_way_round(tmp_path):
    """By way of every format and back to the first one."""
    img, path = image(), tmp_path / "0.ome.zarr"
    img.ngff.to_ome_zarr(path)
    for step, name in enumerate(("imaris", "ome-tiff", "nifti", "ngff"), start=1):
        opened = xr.open_dataarray(path, engine=("ngff", "imaris", "ome-tiff", "nifti")[step - 1])
        path = ENGINES[name].path(tmp_path, str(step))
        ENGINES[name].write(opened, path)
    found = xr.open_dataarray(path, engine="ngff").ngff.to_units("micrometer")
    np.testing.assert_array_equal(found, img)
    for dim in ("t", "z", "y", "x"):
        np.testing.assert_allclose(found[dim], img[dim], rtol=1e-6, atol=2e-4)
    assert [channel.name for channel in found.ngff.channels] == [channel["name"] for channel in CHANNELS]
    assert [channel.color for channel in found.ngff.channels] == [channel["color"] for channel in CHANNELS]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda name: name)
def test_a_coarser_level_is_converted_where_it_lies(source, target, tmp_path):
    first, second = ENGINES[source], ENGINES[target]
    if not first.levels:
        pytest.skip(f"{source} has no levels")
    first.write(image(), first.path(tmp_path, "given"), levels=2)
    level = first.open(first.path(tmp_path, "given"), level=1)
    second.write(level, second.path(tmp_path, "made"))
    found = second.open(second.path(tmp_path, "made")).ngff.to_units("micrometer")
    np.testing.assert_array_equal(found, first.stored(first.path(tmp_path, "given"), 1))
    for dim in ("z", "y", "x"):
        np.testing.assert_allclose(found.ngff.extent[dim], image().ngff.extent[dim], rtol=1e-5)


# -- what some formats cannot hold ------------------------------------------------------------------------------------


def plain(**changes):
    return image({"t": 3, "c": 2, "z": 3, "y": 6, "x": 5}, "uint8", **changes)


def space(dims="zyx", **options):
    sizes = {"z": 3, "y": 6, "x": 5}
    return as_image(numbers({dim: sizes.get(dim, 2) for dim in dims}, "uint8"), dims, **options)


def with_times(*times, **attrs):
    units = {"units": "second"} | attrs
    return plain().assign_coords(t=xr.Variable("t", np.array(times, float), units))


def rotated():
    angle = 0.3
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, :3] *= [0.5, 0.5, 2.0]
    matrix[:3, 3] = 10, -20, 30
    return space(affine=matrix, units="mm", orientation="RAS")


def sheared():
    matrix = np.array([[0.5, 0.1, 0, 3], [0, 0.5, 0, 4], [0, 0, 2.0, 5], [0, 0, 0, 1]])
    return space(affine=matrix, units="um")


def world(img):
    """World point (in µm where there is a unit) and value of each voxel, in an order that storage does not decide."""
    units = {dim: "micrometer" for dim in ("z", "y", "x") if dim in img.coords and img[dim].attrs.get("units")}
    img = img.ngff.to_units(units) if units else img
    dims = [dim for dim in ("t", "c", "x", "y", "z") if dim in img.dims]
    array = np.asarray(img.transpose(*dims)).reshape(-1, *(img.sizes[dim] for dim in "xyz"))
    index = np.stack(np.meshgrid(*(np.arange(n) for n in array.shape[1:]), indexing="ij"), -1)
    points = img.ngff.index_to_world(index).reshape(-1, 3)
    order = np.lexsort(np.round(points, 3).T)
    return points[order], array.reshape(len(array), -1)[:, order]


def same_world(found, img):
    for one, other in zip(world(found), world(img), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


def same_orientation(found, img):
    same_world(found, img)
    assert found.ngff.orientation == img.ngff.orientation


def same_codes(found, img):
    for dim in "zyx":
        assert found[dim].attrs.get("orientation") == img[dim].attrs.get("orientation")


def same_times(found, img):
    np.testing.assert_allclose(np.atleast_1d(found.t), np.atleast_1d(img.t), rtol=1e-6)
    assert found.t.attrs.get("units") == img.t.attrs.get("units")


def no_times(found, img):
    np.testing.assert_array_equal(found, img)
    assert "t" not in found.coords or "units" not in found.t.attrs


def same_instants(found, img):
    """Each frame at its time, whatever the order."""
    pairs = zip(found.sortby("t"), img.sortby("t"), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one.t, other.t, rtol=1e-6)


def same_channels(*fields):
    def same(found, img):
        for one, other in zip(found.ngff.channels, img.ngff.channels, strict=True):
            for field in fields:
                assert getattr(one, field) == getattr(other, field)

    return same


def same_name(found, img):
    assert found.name == img.name
    np.testing.assert_array_equal(found.squeeze(), img)


def same_dims(found, img):
    assert found.dims == img.dims
    np.testing.assert_array_equal(found, img)


def same_scalar(dim):
    def same(found, img):
        if dim in "zyx":
            found, img = (each.ngff.to_units("micrometer") for each in (found, img))
        (value,) = np.atleast_1d(found[dim].values)
        assert value == img[dim].item() or value == pytest.approx(img[dim].item(), rel=1e-6)

    return same


def same_units(found, img):
    assert found.ngff.units == img.ngff.units


KEPT = "kept"


@dataclass(frozen=True)
class Warned:
    """The file is written, and an NgffWarning says what it does not hold."""

    text: str


@dataclass(frozen=True)
class Unsaid:
    """Left out without a word, for a reason."""

    reason: str


@dataclass(frozen=True)
class Refused:
    """Nothing is written, and an error says why."""

    text: str


Verdict = str | Warned | Refused | Unsaid


@dataclass(frozen=True)
class Thing:
    """Something that an image can have.

    Attributes
    ----------
    make
        The image.
    same
        Raises where what was opened does not have it.
    verdicts
        What becomes of it, in the order of `NAMES`.
    """

    name: str
    make: Callable[[], xr.DataArray]
    same: Callable[[xr.DataArray, xr.DataArray], None]
    verdicts: tuple[Verdict, Verdict, Verdict, Verdict]


IRREGULAR = Refused("'x' is not regular")
OBLIQUE = Warned("rotation or shear")
OTHER = Warned("coordinates temperature")
THINGS = (
    Thing(
        "a coordinate that places nothing",
        lambda: plain().assign_coords(temperature=("x", np.arange(plain().sizes["x"]))),
        lambda found, img: np.testing.assert_array_equal(found["temperature"], img["temperature"]),
        (OTHER,) * 4,
    ),
    Thing("rotation", rotated, same_orientation, (KEPT, KEPT, OBLIQUE, OBLIQUE)),
    Thing("shear", sheared, same_world, (KEPT, KEPT, OBLIQUE, OBLIQUE)),
    Thing(
        "orientation",
        lambda: space(spacing=(2, 0.5, 0.5), units="mm", orientation="LPS"),
        same_orientation,
        (KEPT, KEPT, Warned("orientation"), Warned("orientation")),
    ),
    Thing(
        "orientation that is not of a human body",
        lambda: space(orientation={"y": "dorsal-to-ventral"}, units="mm"),
        same_codes,
        (KEPT, Warned("dorsal-to-ventral"), Warned("dorsal-to-ventral"), Warned("dorsal-to-ventral")),
    ),
    Thing(
        "axes that run backwards",
        lambda: space(spacing=(2, -0.5, 0.5), origin=(0, 7, 0), units="um").isel(x=slice(None, None, -1)),
        same_world,
        (KEPT,) * 4,
    ),
    Thing("irregular x", lambda: plain().isel(x=[0, 1, 3]), same_world, (IRREGULAR,) * 4),
    Thing(
        "nan in x",
        lambda: plain().assign_coords(x=plain().x.where(plain().x > 101)),
        same_world,
        (IRREGULAR,) * 4,
    ),
    Thing(
        "units of each axis",
        lambda: space(spacing=(500, 0.5, 0.25), units=("nm", "um", "um")),
        same_world,
        (KEPT,) * 4,
    ),
    Thing("inches", lambda: space(spacing=(1, 2, 2), units="inch"), same_world, (KEPT,) * 4),
    Thing(
        "a spatial unit that is no length",
        lambda: space(spacing=(1, 2, 2), units="degree"),
        same_units,
        (KEPT, Refused("degree"), Warned("degree"), Warned("degree")),
    ),
    Thing(
        "irregular times",
        lambda: with_times(0, 1.5, 7),
        same_times,
        (Refused("'t' is not regular"), Refused("'t' is not regular"), KEPT, KEPT),
    ),
    Thing(
        "times that start late",
        lambda: with_times(3, 4.5, 6),
        same_times,
        (KEPT, KEPT, KEPT, Warned("t starts at 3 s")),
    ),
    Thing(
        "times that start late, on a day",
        lambda: with_times(3, 4.5, 6, start_time="2021-03-04T05:06:07"),
        lambda found, img: np.testing.assert_array_equal(instants(found), instants(img)),
        (KEPT,) * 4,
    ),
    Thing(
        "times that run backwards",
        lambda: with_times(6, 3, 0),
        same_instants,
        (KEPT, Refused("t runs backwards"), KEPT, KEPT),
    ),
    Thing(
        "fractions of a millisecond",
        lambda: with_times(0, 0.0012345, 0.002469),
        same_times,
        (KEPT, KEPT, KEPT, Warned("fractions of a millisecond")),
    ),
    Thing(
        "times in minutes",
        lambda: with_times(0, 2, 4, units="minute"),
        lambda found, img: np.testing.assert_allclose(found.ngff.to_units({"t": "minute"}).t, img.t, rtol=1e-6),
        (KEPT,) * 4,
    ),
    Thing(
        "times without a unit",
        lambda: with_times(0, 2, 4, units=None),
        same_times,
        (KEPT, Unsaid("a NIfTI file without a unit of time is in seconds"), Warned("unit"), Warned("unit")),
    ),
    Thing(
        "t in hertz",
        lambda: with_times(0, 2, 4, units="hertz"),
        same_times,
        (KEPT, KEPT, Warned("hertz"), Refused("hertz")),
    ),
    Thing(
        "frames without times",
        lambda: plain().drop_vars("t"),
        no_times,
        (KEPT, KEPT, KEPT, Warned("t has no coordinate")),
    ),
    Thing("names, colours and windows", plain, same_channels("name", "color", "window"), (KEPT,) * 4),
    Thing(
        "limits of windows",
        lambda: plain(channels=[{"name": "a", "window": (3, 9), "limits": (1, 200)}, "b"]),
        lambda found, img: np.testing.assert_array_equal(found.ngff.channels[0].limits, (1, 200)),
        (KEPT, KEPT, KEPT, Unsaid("the ends of a slider say nothing about the image")),
    ),
    Thing(
        "the window of one channel only",
        lambda: plain(channels=[{"name": "a", "window": (3, 9)}, "b"]),
        lambda found, img: np.testing.assert_array_equal(found.ngff.channels[0].window, (3, 9)),
        (KEPT,) * 4,
    ),
    Thing(
        "two channels of one name",
        lambda: plain(channels=["a", "a"]),
        same_channels("name"),
        (KEPT,) * 4,
    ),
    Thing(
        "names of any characters",
        lambda: plain(channels=['<&"µ\n 细胞', " blank "]),
        same_channels("name"),
        (KEPT,) * 4,
    ),
    Thing(
        "a label image",
        lambda: space(units="um", name="labels"),
        same_name,
        (KEPT, KEPT, Warned("label image"), Warned("label image")),
    ),
    Thing(
        "another axis",
        lambda: space(("angle", "z", "y", "x"), units="um"),
        same_dims,
        (KEPT, Refused("'angle'"), Refused("'angle'"), Refused("'angle'")),
    ),
    Thing(
        "two other axes",
        lambda: space(("angle", "phase", "z", "y", "x"), units="um"),
        same_dims,
        (Refused("angle, phase"), Refused("'angle'"), Refused("'angle'"), Refused("'angle'")),
    ),
    Thing("the place of a plane", lambda: plain().isel(z=2), same_scalar("z"), (KEPT,) * 4),
    Thing(
        "the place of a row",
        lambda: plain().isel(y=2),
        same_scalar("y"),
        (KEPT, KEPT, Refused("needs y and x"), KEPT),
    ),
    Thing(
        "the time of a frame",
        lambda: plain().isel(t=2),
        same_scalar("t"),
        (KEPT, KEPT, KEPT, Warned("t starts at 3 s")),
    ),
    Thing("the name of a channel", lambda: plain().isel(c=1), same_scalar("c"), (KEPT,) * 4),
    Thing(
        "the colour of a channel",
        lambda: plain().isel(c=1),
        same_channels("name", "color", "window"),
        (KEPT,) * 4,
    ),
)


def instants(img):
    return np.datetime64(img.t.attrs["start_time"]) + (img.t.values * 1e6).astype("timedelta64[us]")


@pytest.mark.parametrize("engine", NAMES)
@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)
def test_what_a_format_cannot_hold_is_said(thing, engine, tmp_path):
    """Kept, or an error or warning that names it: never dropped in silence."""
    fmt, img = ENGINES[engine], thing.make()
    verdict, path = thing.verdicts[NAMES.index(engine)], fmt.path(tmp_path)
    write = getattr(img.ngff, fmt.writer)
    if isinstance(verdict, Refused):
        with pytest.raises(NgffError, match=re.escape(verdict.text)):
            write(path)
        assert not list(tmp_path.iterdir())
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write(path)
    said = [str(warning.message) for warning in caught if warning.category is NgffWarning]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NgffWarning)  # what writing did not say may be said now
        found = xr.open_dataarray(path, engine=engine)
    if isinstance(verdict, Warned):
        (text,) = said
        assert verdict.text in text
        assert path.name in text
        np.testing.assert_array_equal(found.squeeze().shape, img.squeeze().shape)
        # a warning for what is kept would be noise
        with pytest.raises((AssertionError, KeyError)):
            thing.same(found, img)
        return
    assert said == []
    if verdict == KEPT:
        thing.same(found, img)
