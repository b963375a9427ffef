"""One file for each plane, read back by tifffile and described for ome_types."""

from __future__ import annotations

import itertools
import math
import re
import tracemalloc
import warnings

import dask.array as da
import numpy as np
import ome_types
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff import as_image
from xarray_ngff.backends import _blocks
from xarray_ngff.backends.ome_tiff import file_set, plane_files
from xarray_ngff.backends.ome_tiff.plane_files import write_tiff_stack
from xarray_ngff.errors import FormatError, GeometryError, MissingFolderError, NgffWarning, TargetExistsError

SPACING = {"t": 2.0, "z": 3.0, "y": 0.5, "x": 0.25}
UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}


def image_of(shape, dims, dtype="uint16", *, data=None, **options):
    values = np.arange(math.prod(shape)).reshape(shape).astype(dtype) if data is None else data
    options.setdefault("spacing", {dim: SPACING[dim] for dim in dims if dim in SPACING})
    options.setdefault("units", {dim: UNITS[dim] for dim in dims if dim in UNITS})
    return as_image(values, dims, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def pixels_of(path):
    """The one Pixels element of a file."""
    (image,) = ome_types.from_tiff(path).images
    return image.pixels


@pytest.mark.parametrize("order", ["tczyx", "xyzct", "ytxcz"])
def test_every_plane_is_in_its_file(order, tmp_path):
    image = image_of((2, 3, 4, 5, 6), "tczyx")
    write_tiff_stack(image.transpose(*order), tmp_path / "t{t}c{c}z{z:03d}.tif")
    assert len(names(tmp_path)) == 24
    for t, c, z in np.ndindex(2, 3, 4):
        found = tifffile.imread(tmp_path / f"t{t}c{c}z{z:03d}.tif")
        assert found.dtype == "uint16"
        np.testing.assert_array_equal(found, image.values[t, c, z])


@pytest.mark.parametrize("dims", ["yx", "zyx", "cyx", "tyx", "tzyx", "czyx", "tcyx"])
def test_dims(dims, tmp_path):
    image = image_of(range(2, 2 + len(dims)), dims)
    pattern = "_".join(["a", *(f"{{{dim}}}" for dim in dims[:-2])]) + ".tif"
    write_tiff_stack(image, tmp_path / pattern)
    sizes = {dim: range(image.sizes[dim]) for dim in dims[:-2]}
    for place in itertools.product(*sizes.values()):
        name = pattern.format(**dict(zip(sizes, place, strict=True)))
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), image.values[place])
    assert len(names(tmp_path)) == math.prod(map(len, sizes.values()))


@st.composite
def chunkings(draw, size):
    cuts = draw(st.sets(st.integers(1, size - 1), max_size=3)) if size > 1 else set()
    return tuple(np.diff([0, *sorted(cuts), size]).tolist())


@settings(max_examples=30)
@given(data=st.data())
def test_any_chunks_give_the_same_files_and_each_is_computed_once(data, tmp_path_factory):
    dims = data.draw(st.sampled_from(["yx", "zyx", "tczyx"]))
    shape = tuple(data.draw(st.integers(1, 3 if dim in "tcz" else 7)) for dim in dims)
    array = np.arange(math.prod(shape), dtype="i4").reshape(shape)
    seen = []

    def count(block, block_info=None):
        if block_info:
            seen.append(tuple(block_info[0]["chunk-location"]))
        return block

    chunks = tuple(data.draw(chunkings(size)) for size in shape)
    lazy = da.from_array(array, chunks=chunks).map_blocks(count, dtype="i4", meta=np.empty((0,) * len(shape), "i4"))
    image = image_of(shape, dims, data=lazy).transpose(*data.draw(st.permutations(dims)))
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_blocks, "_BLOCK", data.draw(st.sampled_from([1, 64, 500, 10_000])))
        write_tiff_stack(image, folder / "{t}-{c}-{z}.tif")
    whole = array.reshape((1,) * (5 - len(shape)) + shape)
    for t, c, z in np.ndindex(whole.shape[:3]):
        np.testing.assert_array_equal(tifffile.imread(folder / f"{t}-{c}-{z}.tif"), whole[t, c, z])
    assert len(names(folder)) == math.prod(whole.shape[:3])
    assert sorted(seen) == sorted(np.ndindex(*map(len, chunks)))


def test_files_are_plain_strips_that_any_program_reads(tmp_path):
    write_tiff_stack(image_of((2, 5, 6), "zyx"), tmp_path / "{z}.tif")
    for z in range(2):
        with tifffile.TiffFile(tmp_path / f"{z}.tif") as file:
            (page,) = file.pages
            assert (file.byteorder, page.compression, page.photometric, page.rowsperstrip) == ("<", 1, 1, 5)
            assert page.is_contiguous
            assert not page.is_tiled
            # pixels per centimeter
            assert page.resolutionunit == 3
            assert page.resolution == (40_000, 20_000)


@pytest.mark.parametrize("unit", ["parsec", "second", "nanometer"])
def test_spacing_that_resolution_tags_cannot_hold_is_in_the_description_alone(unit, tmp_path):
    steps, units_ = dict.fromkeys("yx", 1e-4), dict.fromkeys("yx", unit)
    image = image_of((5, 6), "yx", spacing=steps, units=units_)
    if unit == "second":
        with pytest.warns(NgffWarning, match="is no length"):
            write_tiff_stack(image, tmp_path / "a.tif")
    else:
        write_tiff_stack(image, tmp_path / "a.tif")
        assert pixels_of(tmp_path / "a.tif").physical_size_x == 1e-4
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].resolutionunit == 1


def test_what_each_file_says(tmp_path):
    image = image_of(
        (2, 2, 3, 5, 6),
        "tczyx",
        origin={"t": 10.0, "z": -6.0, "y": 1.5, "x": 100.0},
        units={"t": "minute", "z": "nanometer", "y": "millimeter", "x": "micrometer"},
        channels=[{"name": "DAPI µ", "color": "0000FF"}, {"name": "GFP", "color": "00FF00", "window": (1, 5)}],
    )
    write_tiff_stack(image, tmp_path / "{t}{c}{z}.ome.tif")
    for t, c, z in np.ndindex(2, 2, 3):
        found = pixels_of(tmp_path / f"{t}{c}{z}.ome.tif")
        assert (found.size_t, found.size_c, found.size_z, found.size_y, found.size_x) == (1, 1, 1, 5, 6)
        sizes = [(getattr(found, f"physical_size_{d}"), getattr(found, f"physical_size_{d}_unit").value) for d in "zyx"]
        assert sizes == [(3.0, "nm"), (0.5, "mm"), (0.25, "µm")]
        (plane,) = found.planes
        places = [(getattr(plane, f"position_{d}"), getattr(plane, f"position_{d}_unit").value) for d in "zyx"]
        assert places == [(-6.0 + 3 * z, "nm"), (1.5, "mm"), (100.0, "µm")]
        assert (plane.delta_t, plane.delta_t_unit.value) == (10.0 + 2 * t, "min")
        (channel,) = found.channels
        assert channel.name == ["DAPI µ", "GFP"][c]
        assert channel.color.as_hex() == ["#00f", "#0f0"][c]


def test_planes_that_are_only_counted_state_no_place(tmp_path):
    write_tiff_stack(as_image(np.zeros((3, 4, 5), "u1")), tmp_path / "{z}.tif")
    for z in range(3):
        found = pixels_of(tmp_path / f"{z}.tif")
        assert found.physical_size_z is None
        assert not found.planes
        with tifffile.TiffFile(tmp_path / f"{z}.tif") as file:
            assert file.pages[0].resolutionunit == 1


def test_descending_axes_are_written_ascending(tmp_path):
    image = image_of((3, 4, 5), "zyx")
    write_tiff_stack(image.isel(z=slice(None, None, -1), x=slice(None, None, -1)), tmp_path / "{z}.tif")
    for z in range(3):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{z}.tif"), image.values[z])


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        *((name, name) for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")),
        ("complex64", "complex64"),
        ("complex128", "complex128"),
        ("bool", "uint8"),
        ("float16", "float32"),
        (">u2", "uint16"),
        ("int64", "uint8"),
    ],
)
def test_types_as_they_are(given, stored, tmp_path):
    image = image_of((2, 3, 4), "zyx", given)
    write_tiff_stack(image, tmp_path / "{z}.tif")
    for z in range(2):
        found = tifffile.imread(tmp_path / f"{z}.tif")
        assert found.dtype == stored
        np.testing.assert_array_equal(found, image.values[z])
        assert pixels_of(tmp_path / f"{z}.tif").type.numpy_dtype == stored


def test_conversion_clips_and_rounds(tmp_path):
    values = np.array([[[-3.0, 0.5, 1.5], [254.5, 255.5, np.inf]]])
    write_tiff_stack(image_of(values.shape, "zyx", data=values), tmp_path / "a.tif", dtype="u1")
    assert tifffile.imread(tmp_path / "a.tif").tolist() == [[0, 0, 2], [254, 255, 255]]
    write_tiff_stack(image_of(values.shape, "zyx", data=values), tmp_path / "b.tif", dtype=np.float32)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), values[0].astype("f4"))


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        ("int16", "uint8", (0, 255)),
        ("int16", "int8", (-128, 127)),
        ("int16", None, (-(2**15), 2**15 - 1)),
        ("float64", "uint16", (0, 65535)),
        ("float64", None, (0, 1)),
        ("uint8", "float32", (0, 1)),
    ],
)
def test_rescaling_is_over_the_whole_image(given, dtype, expected, chunked, tmp_path):
    values = np.linspace(20, 100, 36).reshape(3, 3, 4).astype(given)
    data = da.from_array(values, chunks=(1, 2, 4)) if chunked else values
    write_tiff_stack(image_of(values.shape, "zyx", data=data), tmp_path / "{z}.tif", dtype=dtype, rescale=True)
    found = np.stack([tifffile.imread(tmp_path / f"{z}.tif") for z in range(3)])
    assert found.dtype == np.dtype(dtype or given)
    low, high = values.min(), values.max()
    ideal = (values - float(low)) / (float(high) - float(low)) * (expected[1] - expected[0]) + expected[0]
    np.testing.assert_allclose(found, ideal, atol=0.5 if found.dtype.kind in "iu" else 1e-6)
    assert (found.min(), found.max()) == expected


def test_a_constant_image_goes_to_the_lowest_value(tmp_path):
    for name, lowest in (("uint8", 0), ("int16", -(2**15)), ("float32", 0)):
        write_tiff_stack(
            image_of((3, 4), "yx", data=np.full((3, 4), 7)), tmp_path / f"{name}.tif", dtype=name, rescale=True
        )
        assert (tifffile.imread(tmp_path / f"{name}.tif") == lowest).all()


@pytest.mark.parametrize("rescale", [False, True])
def test_nan_has_no_integer(rescale, tmp_path):
    values = np.array([[[1.0, 2.0]], [[3.0, np.nan]]])
    with pytest.raises(FormatError, match=r"\{z\}\.tif: the image holds NaN, for which uint8 has no number: .*fillna"):
        write_tiff_stack(
            image_of(values.shape, "zyx", data=values), tmp_path / "{z}.tif", dtype="uint8", rescale=rescale
        )
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("dtype", "said"),
    [
        ("int64", "dtype='int64': OME-TIFF holds real numbers as uint8,"),
        ("complex64", "dtype='complex64': OME-TIFF holds real"),
        ("bool", "dtype='bool': OME"),
        ("u99", "dtype='u99' is no type of numbers"),
    ],
)
def test_types_that_cannot_be_asked_for(dtype, said, tmp_path):
    with pytest.raises(FormatError, match=re.escape(said)):
        write_tiff_stack(image_of((3, 4), "yx"), tmp_path / "a.tif", dtype=dtype)
    assert names(tmp_path) == []


@pytest.mark.parametrize("options", [{"dtype": "uint8"}, {"rescale": True}])
def test_complex_numbers_have_no_order(options, tmp_path):
    with pytest.raises(FormatError, match=r"a\.tif: complex64 values have no order"):
        write_tiff_stack(image_of((3, 4), "yx", "complex64"), tmp_path / "a.tif", **options)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("image", "error", "said"),
    [
        (image_of((2, 3, 4), ("angle", "y", "x")), FormatError, "dim 'angle' has no place in a stack of planes"),
        (image_of((0, 3, 4), "zyx"), FormatError, "dim 'z' is empty"),
        (image_of((3, 4), "zx"), FormatError, "dims z, x, and a plane has y and x: .*expand_dims.*'y'"),
        (image_of((5, 3, 4), "zyx").isel(z=[0, 1, 4]), GeometryError, "coordinate 'z' is not regular"),
        (xr.DataArray(np.zeros((2, 3)), dims=("y", "x")), GeometryError, "has no coordinate"),
        (image_of((3, 4), "yx", "M8[ns]"), FormatError, "not datetime64"),
    ],
    ids=["dim", "empty", "no y", "irregular", "no coordinates", "dates"],
)
def test_images_that_are_no_stack(image, error, said, tmp_path):
    with pytest.raises(error, match=said):
        write_tiff_stack(image, tmp_path / "{z}.tif")
    assert names(tmp_path) == []


def test_errors_come_before_anything_is_computed(tmp_path):
    def never(block):
        raise AssertionError("computed")

    image = image_of((3, 4, 5), "zyx", data=da.zeros((3, 4, 5), chunks=2).map_blocks(never, meta=np.empty((0, 0, 0))))
    (tmp_path / "2.tif").write_text("old")
    for pattern, options, error in [
        ("a.tif", {}, FormatError),
        ("{q}.tif", {}, FormatError),
        ("{z}.tif", {}, TargetExistsError),
        ("{z}.tif", {"dtype": "i8", "overwrite": True}, FormatError),
        ("gone/{z}.tif", {}, MissingFolderError),
    ]:
        with pytest.raises(error):
            write_tiff_stack(image, tmp_path / pattern, rescale=True, **options)
    assert names(tmp_path) == ["2.tif"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_after_a_failure_everything_is_as_it_was(error, overwrite, tmp_path, monkeypatch):
    def fails(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 2:
            raise error
        return block

    data = da.zeros((4, 4, 5), chunks=(1, 4, 5)).map_blocks(fails, dtype="f8", meta=np.empty((0, 0, 0)))
    if overwrite:
        (tmp_path / "0.tif").write_text("old")
    (tmp_path / "other.tif").write_text("other")
    before = {name: (tmp_path / name).read_text() for name in names(tmp_path)}
    monkeypatch.setattr(_blocks, "_BLOCK", 1)
    with pytest.raises(type(error)):
        write_tiff_stack(image_of(data.shape, "zyx", data=data), tmp_path / "{z}.tif", overwrite=overwrite)
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == before


def test_a_full_disk_leaves_everything_as_it_was(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    (tmp_path / "1.tif").write_text("old")
    monkeypatch.setattr(file_set, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        write_tiff_stack(image_of((3, 4, 5), "zyx"), tmp_path / "{z}.tif", overwrite=True)
    assert names(tmp_path) == ["1.tif"]
    assert (tmp_path / "1.tif").read_text() == "old"


def test_overwriting_leaves_further_planes_of_a_longer_stack(tmp_path):
    write_tiff_stack(image_of((4, 3, 4), "zyx"), tmp_path / "{z}.tif")
    with pytest.raises(TargetExistsError, match=r"0\.tif exists: pass overwrite=True"):
        write_tiff_stack(image_of((2, 3, 4), "zyx"), tmp_path / "{z}.tif")
    write_tiff_stack(image_of((2, 5, 6), "zyx"), tmp_path / "{z}.tif", overwrite=True)
    shapes = [tifffile.imread(tmp_path / f"{z}.tif").shape for z in range(4)]
    assert shapes == [(5, 6), (5, 6), (3, 4), (3, 4)]


def test_what_is_lost_is_said_once(tmp_path):
    image = image_of((9, 3, 4), "zyx", orientation="LPS", name="labels")
    with pytest.warns(NgffWarning, match=r"\{z\}\.tif: a stack of TIFF files cannot hold the orientation") as caught:
        write_tiff_stack(image, tmp_path / "{z}.tif")
    assert len(caught) == 1
    with pytest.warns(NgffWarning, match="unit 'furlongs'|which is no length") as caught:
        write_tiff_stack(image_of((9, 3, 4), "zyx", units={"z": "volt"}), tmp_path / "b{z}.tif")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_tiff_stack(image_of((9, 3, 4), "zyx"), tmp_path / "c{z}.tif")


@pytest.mark.parametrize("options", [{}, {"dtype": "uint8", "rescale": True}], ids=["as it is", "rescaled"])
def test_memory_does_not_grow_with_planes(options, tmp_path, monkeypatch):
    """Chunks as deep as the image, so that whole planes of them would be all of it."""
    monkeypatch.setattr(_blocks, "_BLOCK", 1 << 20)
    data = da.ones((8, 256, 8192), dtype="u2", chunks=(8, 128, 512))
    image = image_of(data.shape, "zyx", data=data)
    write_tiff_stack(image.isel(y=slice(1), x=slice(1)), tmp_path / "first{z}.tif")  # imports happen here
    tracemalloc.start()
    write_tiff_stack(image, tmp_path / "z{z}.tif", **options)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < data.nbytes / 4
    assert (tifffile.imread(tmp_path / "z7.tif") == (0 if options else 1)).all()


def test_planes_are_selected_from_coordinates_alone(tmp_path, monkeypatch):
    described = []
    monkeypatch.setattr(
        plane_files, "ome_xml_of", lambda plane, name: described.append((type(plane.data), name)) or "<OME/>"
    )
    write_tiff_stack(image_of((3, 4, 5), "zyx", data=da.zeros((3, 4, 5))), tmp_path / "{z}.tif")
    assert described == [(np.ndarray, f"{z}.tif") for z in range(3)]
