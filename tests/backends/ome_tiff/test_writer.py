"""OME-TIFF files that are written, as tifffile and ome_types read them."""

from __future__ import annotations

import collections
import itertools
import json
import re
import subprocess
import sys
import textwrap
import tracemalloc

import dask
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
from xarray_ngff.backends.ome_tiff import source_tiles, writer
from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.backends.ome_tiff.writer import write_ome_tiff
from xarray_ngff.errors import (
    FormatError,
    GeometryError,
    MissingFolderError,
    NgffWarning,
    TargetExistsError,
)

DIMS = ("t", "c", "z", "y", "x")
DTYPES = (
    *("int8", "int16", "int32", "uint8", "uint16", "uint32"),
    *("float32", "float64", "complex64", "complex128"),
)


def image(data, dims=DIMS, **options):
    dims = dims[-data.ndim :]
    measured = [dim for dim in dims if dim != "c"]
    options = {
        "spacing": dict(zip(measured, (2.0, 1.5, 0.5, 0.25)[-len(measured) :], strict=True)),
        "units": {dim: "second" if dim == "t" else "micrometer" for dim in measured},
    } | options
    return as_image(data, dims=dims, **options)


def ramp(*shape, dtype="uint16"):
    return (np.arange(np.prod(shape)) * 7 % 251).reshape(shape).astype(dtype)


def halved(plane):
    """Mean of each 2 x 2 pixels of integers, half to even, of those that are there at odd ends: pixel by pixel."""
    rows, columns = (range(0, size, 2) for size in plane.shape)
    return np.array([[round(plane[i : i + 2, j : j + 2].mean()) for j in columns] for i in rows], plane.dtype)


def levels_of(path):
    with tifffile.TiffFile(path) as file:
        return [level.asarray() for level in file.series[0].levels]


# pixels and pyramid ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_type_comes_back_from_tifffile(tmp_path, dtype, compression):
    data = (ramp(2, 3, 40, 50, dtype="int64") - (0 if dtype.startswith("u") else 100)).astype(dtype)
    if dtype.startswith("complex"):
        data += data * 1j
    write_ome_tiff(image(data), tmp_path / "a.ome.tif", tile=32, compression=compression)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome
        assert not file.is_bigtiff
        assert file.byteorder == "<"
        assert file.series[0].axes == "CZYX"
        assert file.series[0].dtype == dtype
        np.testing.assert_array_equal(file.asarray(), data)
        page = file.pages[0]
        assert (page.photometric, page.samplesperpixel, page.tile) == (tifffile.PHOTOMETRIC.MINISBLACK, 1, (32, 32))


@pytest.mark.parametrize("compression", ["none", "zlib", "deflate", "ZLIB:9", "lzma", "lzw", "zstd", "zstd:1"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_compression_comes_back_from_tifffile(tmp_path, compression, dtype):
    if compression.startswith(("lzw", "zstd")):
        pytest.importorskip("imagecodecs")
    data = np.random.default_rng(0).integers(0, 2**16, (3, 70, 50)).astype(dtype)
    write_ome_tiff(image(data), tmp_path / "a.ome.tif", tile=(16, 32), compression=compression)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), data)


def test_planes_are_in_the_order_that_the_xml_says(tmp_path):
    data = ramp(2, 3, 4, 20, 30)
    shuffled = image(data).transpose("x", "c", "y", "z", "t")
    write_ome_tiff(shuffled, tmp_path / "a.ome.tif", levels=2)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert ome_types.from_xml(file.ome_metadata.encode()).images[0].pixels.dimension_order.value == "XYZCT"
        for page, place in zip(file.pages, itertools.product(range(2), range(3), range(4)), strict=True):
            np.testing.assert_array_equal(page.asarray(), data[place])
            (small,) = page.pages
            assert small.is_reduced
            np.testing.assert_array_equal(small.asarray(), halved(data[place]))


@pytest.mark.parametrize(
    ("shape", "tile", "levels", "expected", "tiles"),
    [
        ((300, 700), (512, 512), None, [(300, 700), (150, 350), (75, 175)], [(304, 512), (160, 352), (80, 176)]),
        ((256, 256), (512, 512), None, [(256, 256)], [(256, 256)]),
        ((257, 1), 64, None, [(257, 1), (129, 1)], [(64, 16), (64, 16)]),
        ((1, 1), 64, 1, [(1, 1)], [(16, 16)]),
        ((5, 3), (16, 32), 4, [(5, 3), (3, 2), (2, 1), (1, 1)], [(16, 16)] * 4),
        ((40, 40), [16, 32], 2, [(40, 40), (20, 20)], [(16, 32), (16, 32)]),
        ((600, 600), 256, np.int64(1), [(600, 600)], [(256, 256)]),
    ],
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_levels_halve_planes_and_tiles_fit_them(tmp_path, shape, tile, levels, expected, tiles, compression):
    data = ramp(2, *shape, dtype="uint8")
    write_ome_tiff(image(data), tmp_path / "a.ome.tif", tile=tile, levels=levels, compression=compression)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        found = file.series[0].levels
        assert [level.shape[-2:] for level in found] == expected
        assert [level.keyframe.tile for level in found] == tiles
        assert len(file.pages[0].subifds or ()) == len(expected) - 1
        wanted = data
        for level in found:
            np.testing.assert_array_equal(level.asarray(), wanted.reshape(level.shape))
            wanted = np.stack([halved(plane) for plane in wanted])


@pytest.mark.parametrize("method", ["nearest", "mode", "min", "max", "median"])
def test_the_method_makes_the_levels(tmp_path, method):
    data = np.array([[1, 1, 9, 5], [7, 3, 5, 5]], "uint8")
    write_ome_tiff(image(data), tmp_path / "a.ome.tif", levels=2, method=method)
    expected = {"nearest": [1, 9], "mode": [1, 5], "min": [1, 5], "max": [7, 9], "median": [2, 5]}
    np.testing.assert_array_equal(levels_of(tmp_path / "a.ome.tif")[1], [expected[method]])


def test_labels_and_masks_are_reduced_by_mode(tmp_path):
    ids = np.array([[2, 2, 7, 8], [2, 9, 7, 7]])
    with pytest.warns(NgffWarning, match="label image"):
        write_ome_tiff(image(ids.astype("uint16")).rename("labels"), tmp_path / "a.ome.tif", levels=2)
    np.testing.assert_array_equal(levels_of(tmp_path / "a.ome.tif")[1], [[2, 7]])
    write_ome_tiff(image(ids > 5), tmp_path / "b.ome.tif", levels=2)
    first, second = levels_of(tmp_path / "b.ome.tif")
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, ids > 5)
    np.testing.assert_array_equal(second, [[0, 1]])


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (np.array([[0, 1], [1, 0]], bool), "uint8"),
        (np.array([[0, 0.5]], "float16"), "float32"),
        (np.array([[0, 70_000]], "int64"), "uint32"),
        (np.array([[-1, 200]], "int64"), "int16"),
        (np.array([[1, 2]], ">u2"), "uint16"),
    ],
)
def test_other_types_are_stored_in_one_that_holds_them(tmp_path, data, dtype):
    write_ome_tiff(image(data), tmp_path / "a.ome.tif")
    stored = tifffile.imread(tmp_path / "a.ome.tif")
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, data)


def test_large_numbers_are_refused_with_their_range(tmp_path):
    with pytest.raises(FormatError, match=str(2**60 + 1)):
        write_ome_tiff(image(np.array([[0, 2**60 + 1]])), tmp_path / "a.ome.tif")
    assert not list(tmp_path.iterdir())


def test_bigtiff_where_the_file_could_pass_4_gib(tmp_path, monkeypatch):
    data = np.zeros((2, 300, 300), "uint16")
    plain = (300 * 300 + 150 * 150) * 2 * 2
    for limit, expected in ((plain - 1, True), (plain + 20_000, False)):
        monkeypatch.setattr(writer, "_LONGEST_CLASSIC", limit)
        write_ome_tiff(image(data), tmp_path / "a.ome.tif", overwrite=True)
        with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
            assert file.is_bigtiff is expected
            assert [level.shape for level in file.series[0].levels] == [(2, 300, 300), (2, 150, 150)]


def test_noise_that_compression_makes_longer_counts_too(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (10, 256, 256)).astype("uint8")
    monkeypatch.setattr(writer, "_LONGEST_CLASSIC", noise.size + 20_000)
    write_ome_tiff(image(noise), tmp_path / "zlib.tif")
    write_ome_tiff(image(noise), tmp_path / "lzw.tif", compression="lzw")
    with tifffile.TiffFile(tmp_path / "zlib.tif") as zlib, tifffile.TiffFile(tmp_path / "lzw.tif") as lzw:
        assert (zlib.is_bigtiff, lzw.is_bigtiff) == (False, True)


# chunks ---------------------------------------------------------------------------------------------------------------


def chunkings(size):
    cuts = st.sets(st.integers(1, size - 1), max_size=4) if size > 1 else st.just(set())
    return cuts.map(lambda ends: tuple(np.diff([0, *sorted(ends), size]).tolist()))


@settings(max_examples=40)
@given(data=st.data())
def test_any_chunks_give_the_same_pixels_and_each_is_computed_once(data, tmp_path_factory):
    shape = (*data.draw(st.lists(st.integers(1, 4), max_size=3)), *(data.draw(st.integers(1, 70)) for _ in "yx"))
    array = ramp(*shape)
    computed = collections.Counter()

    def count(block, block_info=None):
        if block_info:
            computed[tuple(block_info[0]["chunk-location"])] += 1
        return block

    chunks = tuple(data.draw(chunkings(size)) for size in shape)
    lazy = da.from_array(array, chunks=chunks).map_blocks(count, dtype=array.dtype, meta=np.empty((0,) * array.ndim))
    img = image(array).copy(data=lazy.astype("uint16"))
    img = img.transpose(*data.draw(st.permutations(img.dims)))
    path = tmp_path_factory.getbasetemp() / "any.ome.tif"
    tile = (data.draw(st.sampled_from([16, 32])), data.draw(st.sampled_from([16, 48])))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_blocks, "_BLOCK", data.draw(st.sampled_from([1, 500, 10_000])))
        patched.setattr(source_tiles, "_MERGED", data.draw(st.sampled_from([1, 3000, 10**6])))
        write_ome_tiff(img, path, tile=tile, levels=2 if max(shape[-2:]) > 1 else 1, overwrite=True)
    assert set(computed.values()) == {1}
    assert len(computed) == np.prod([len(sizes) for sizes in chunks])
    with tifffile.TiffFile(path) as file:
        pages = np.stack([page.asarray() for page in file.pages])
        smaller = [page.pages[0].asarray() for page in file.pages if page.subifds]
    np.testing.assert_array_equal(pages.reshape(shape), array)
    for small, plane in zip(smaller, pages, strict=False):
        np.testing.assert_array_equal(small, halved(plane))


class LazyFile(xr.backends.BackendArray):
    """Array that notes how much is read at a time."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.read = data, data.shape, data.dtype, []

    def __getitem__(self, key):
        basic = xr.core.indexing.IndexingSupport.BASIC
        return xr.core.indexing.explicit_indexing_adapter(key, self.shape, basic, self.take)

    def take(self, key):
        self.read.append(self.data[key].size)
        return self.data[key]


def opened(file, preferred):
    """Image that is read from a file when it is indexed."""
    img = image(file.data)
    array = xr.core.indexing.LazilyIndexedArray(file)
    img = xr.DataArray(xr.Variable(img.dims, array), coords=img.coords)
    img.encoding["preferred_chunks"] = preferred
    return img


@pytest.mark.parametrize("preferred", [None, {"y": 20, "x": 24, "z": 2}, {"y": 16, "x": 70, "z": 1}, {"z": 5}])
def test_a_lazily_opened_image_is_read_part_by_part(tmp_path, monkeypatch, preferred):
    file = LazyFile(ramp(5, 60, 70))
    img = opened(file, preferred)
    monkeypatch.setattr(_blocks, "_BLOCK", 4000)
    monkeypatch.setattr(source_tiles, "_MERGED", 20_000)
    write_ome_tiff(img, tmp_path / "a.ome.tif", tile=(16, 32), levels=2)
    assert sum(file.read) == file.data.size
    assert max(file.read) <= 10_000
    np.testing.assert_array_equal(levels_of(tmp_path / "a.ome.tif")[0], file.data)
    assert not img.variable._in_memory


def test_a_lazily_opened_image_of_another_type_is_not_loaded_whole(tmp_path, monkeypatch):
    file = LazyFile(ramp(8, 64, 64) % 2 == 0)
    monkeypatch.setattr(_blocks, "_BLOCK", 4096)
    write_ome_tiff(opened(file, {"z": 1, "y": 64, "x": 64}), tmp_path / "a.ome.tif")
    assert sum(file.read) == file.data.size
    assert max(file.read) == 64 * 64
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), file.data)


@pytest.mark.parametrize("chunks", [(8, 32, 64), (1, 128, 128), (16, 40, 50)])
def test_memory_does_not_grow_with_the_image(tmp_path, monkeypatch, chunks):
    monkeypatch.setattr(_blocks, "_BLOCK", 1 << 16)
    monkeypatch.setattr(source_tiles, "_MERGED", 1 << 16)
    peaks = []
    for length in (32, 192):
        lazy = da.zeros((length, 128, 128), dtype="uint16", chunks=chunks)
        img = image(np.zeros((1, 128, 128), "uint16")).isel(z=[0] * length)
        img = img.assign_coords(z=np.arange(length)).copy(data=lazy)
        with dask.config.set(scheduler="synchronous"):
            tracemalloc.start()
            write_ome_tiff(img, tmp_path / f"{length}.ome.tif", tile=64, levels=2)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    # the large image is 6 MiB
    assert peaks[1] < 2.5 * 2**20
    assert peaks[1] < peaks[0] + 2**20


def test_computed_by_the_scheduler_that_is_active(tmp_path):
    distributed = pytest.importorskip("distributed")
    data = ramp(4, 60, 70)
    with (
        dask.config.set({"distributed.admin.log-length": 0}),
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        write_ome_tiff(image(data).chunk(z=1, y=20, x=70), tmp_path / "a.ome.tif", tile=16)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), data)


# metadata -------------------------------------------------------------------------------------------------------------


def test_ome_types_reads_the_description(tmp_path):
    img = image(ramp(2, 2, 20, 30), ("c", "z", "y", "x"), origin={"z": 7, "y": -3, "x": 11})
    write_ome_tiff(img, tmp_path / "cells µ.ome.tif")
    found = ome_types.from_tiff(tmp_path / "cells µ.ome.tif").images[0]
    assert found.name == "cells µ"
    assert (found.pixels.physical_size_x, found.pixels.physical_size_x_unit.value) == (0.25, "µm")
    assert [plane.position_z for plane in found.pixels.planes] == [7.0, 8.5, 7.0, 8.5]
    with tifffile.TiffFile(tmp_path / "cells µ.ome.tif") as file:
        assert 'PhysicalSizeXUnit="µm"' in file.ome_metadata
        assert [page.description for page in file.pages[1:]] == [""] * 3
        assert file.pages[0].software == "xarray-ngff"


def test_our_engine_reads_back_everything(tmp_path):
    img = image(
        ramp(2, 3, 4, 300, 530),
        origin={"t": 10, "z": 7, "y": -3, "x": 11},
        units={"t": "millisecond", "z": "nanometer", "y": "micrometer", "x": "millimeter"},
        channels=[{"name": "DAPI", "color": "0000FF", "window": (1, 2.5)}, {"name": "b", "limits": (0, 9)}, "c"],
    )
    img.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
    write_ome_tiff(img, tmp_path / "a.ome.tif")
    found = xr.open_dataarray(tmp_path / "a.ome.tif", engine=OmeTiffEntrypoint)
    assert found.dims == img.dims
    np.testing.assert_array_equal(found, img)
    for name in img.coords:
        xr.testing.assert_identical(found.coords[name].variable, img.coords[name].variable)


def test_descending_axes_are_flipped_and_orientation_is_named(tmp_path):
    data = ramp(4, 5, dtype="uint8")
    img = image(data, orientation={"y": "posterior-to-anterior", "x": "right-to-left"})
    with pytest.warns(NgffWarning, match="orientation") as caught:
        write_ome_tiff(img, tmp_path / "a.ome.tif")
    assert len(caught) == 1
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), data[:, ::-1])
    pixels = ome_types.from_tiff(tmp_path / "a.ome.tif").images[0].pixels
    assert pixels.planes[0].position_x == -1.0


def test_a_unit_that_ome_lacks_is_named_once(tmp_path):
    img = image(ramp(3, 4, 5), units={"z": "hertz", "y": "nautical_mile", "x": "micrometer"})
    with pytest.warns(NgffWarning, match="'hertz' of z") as caught:
        write_ome_tiff(img, tmp_path / "a.ome.tif")
    assert len(caught) == 1
    assert str(tmp_path / "a.ome.tif") in str(caught[0].message)
    pixels = ome_types.from_tiff(tmp_path / "a.ome.tif").images[0].pixels
    assert (pixels.physical_size_z, pixels.physical_size_z_unit.value) == (1.5, "pixel")
    assert (pixels.physical_size_y, pixels.physical_size_y_unit.value) == (0.5 * 1852e6, "µm")


def test_the_same_image_gives_the_same_bytes(tmp_path):
    img = image(ramp(2, 3, 4, 60, 70)).chunk(z=1, y=20, x=70)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_ome_tiff(img, tmp_path / folder / "same.ome.tif", tile=16, levels=3)
    assert (tmp_path / "a/same.ome.tif").read_bytes() == (tmp_path / "b/same.ome.tif").read_bytes()


# what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tile": (500, 512)}, FormatError, "multiples of 16"),
        ({"tile": 0}, FormatError, "multiples of 16"),
        ({"tile": True}, FormatError, "multiples of 16"),
        ({"tile": (16, 16, 16)}, FormatError, "multiples of 16"),
        ({"tile": "512"}, FormatError, "multiples of 16"),
        ({"compression": "jpeg"}, FormatError, "none, lzw, zlib"),
        ({"compression": "zlib:0"}, FormatError, "zlib:1 to zlib:9"),
        ({"compression": "zlib:"}, FormatError, "zlib:1 to zlib:9"),
        ({"compression": "lzw:3"}, FormatError, "zlib:1 to zlib:9"),
        ({"compression": 6}, FormatError, "compression=6"),
        ({"levels": 0}, GeometryError, "integer >= 1"),
        ({"levels": 2.0}, GeometryError, "integer >= 1"),
        ({"levels": True}, GeometryError, "integer >= 1"),
        ({"levels": 9}, GeometryError, "at most 6"),
        ({"method": "average"}, GeometryError, "mean"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_work(tmp_path, options, error, message):
    def fail(block):
        raise AssertionError("computed")

    lazy = da.zeros((20, 30), chunks=10, dtype="uint8").map_blocks(fail, dtype="uint8", meta=np.empty((0, 0), "uint8"))
    with pytest.raises(error, match=message):
        write_ome_tiff(image(np.zeros((20, 30))).copy(data=lazy), tmp_path / "a.ome.tif", **options)
    assert not list(tmp_path.iterdir())


def test_a_method_that_is_not_for_the_type_is_refused_before_any_work(tmp_path):
    img = image(np.zeros((20, 30), "complex64"))
    with pytest.raises(GeometryError, match="median"):
        write_ome_tiff(img, tmp_path / "a.ome.tif", levels=2, method="median")
    write_ome_tiff(img, tmp_path / "a.ome.tif", levels=1, method="median")
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda img: img.rename(z="angle"), FormatError, r"img.isel\(angle=0\)"),
        (lambda img: img.isel(y=0), FormatError, "expand_dims\\('y'\\)"),
        (lambda img: img.isel(z=slice(0)), FormatError, "'z' is empty"),
        (lambda img: img.drop_vars("x"), GeometryError, "'x' has no coordinate"),
        (lambda img: img.isel(x=[0, 1, 4]), GeometryError, "not regular"),
        (lambda img: img.astype(str), FormatError, "numbers"),
    ],
)
def test_images_that_cannot_be_are_refused(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        write_ome_tiff(change(image(ramp(2, 3, 5))), tmp_path / "a.ome.tif")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.ome.zarr", "a.png", "a", ".tif", "a.tif.gz"])
def test_other_suffixes_are_refused(tmp_path, name):
    with pytest.raises(FormatError, match=re.escape(".ome.tif")):
        write_ome_tiff(image(ramp(3, 5)), tmp_path / name)


@pytest.mark.parametrize("name", ["a.ome.tiff", "A.OME.TIF", "a.ome.btf", "a.ome.tf2", "a.ome.tf8", "a.tif", "a.tiff"])
def test_suffixes_of_tiff_are_written(tmp_path, name):
    write_ome_tiff(image(ramp(3, 5)), str(tmp_path / name))
    with tifffile.TiffFile(tmp_path / name) as file:
        assert file.is_ome
        assert 'Name="a"' in file.ome_metadata.replace('"A"', '"a"')


def test_a_text_that_xml_cannot_hold_is_named(tmp_path):
    img = image(ramp(2, 3, 5), ("c", "y", "x"), channels=["fine", "bad\x01name"])
    with pytest.raises(FormatError, match=r"name of channel 1, 'bad\\x01name', holds the character U\+0001"):
        write_ome_tiff(img, tmp_path / "a.ome.tif")
    assert not list(tmp_path.iterdir())


# the file as a whole --------------------------------------------------------------------------------------------------


def test_an_existing_file_is_replaced_only_on_request(tmp_path):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"old")
    with pytest.raises(TargetExistsError, match="overwrite=True"):
        write_ome_tiff(image(ramp(3, 5)), path)
    assert path.read_bytes() == b"old"
    write_ome_tiff(image(ramp(3, 5)), path, overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(path), ramp(3, 5))
    with pytest.raises(MissingFolderError, match="does not exist"):
        write_ome_tiff(image(ramp(3, 5)), tmp_path / "none" / "a.ome.tif")
    assert [found.name for found in tmp_path.iterdir()] == ["a.ome.tif"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_an_error_while_computing_leaves_the_old_file_alone(tmp_path, error, scheduler):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"old")
    steps = []

    def fail(block, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 2:
            steps.append(sorted(found.name for found in tmp_path.iterdir()))
            raise error("no more")
        return block

    lazy = da.zeros((4, 3000, 3000), chunks=(1, 3000, 3000), dtype="uint16")
    lazy = lazy.map_blocks(fail, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    img = image(np.zeros((4, 1, 1), "uint16")).isel(y=[0] * 3000, x=[0] * 3000)
    img = img.assign_coords(y=np.arange(3000.0), x=np.arange(3000.0)).copy(data=lazy)
    with dask.config.set(scheduler=scheduler), pytest.raises(error):
        write_ome_tiff(img, path, overwrite=True)
    assert len(steps[0]) == 3
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"a.ome.tif": b"old"}


def test_an_error_while_encoding_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.TileSpool, "append", full)
    with pytest.raises(OSError, match="No space left"):
        write_ome_tiff(image(ramp(100, 70, 80)), path, tile=16, overwrite=True)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"a.ome.tif": b"old"}


def test_works_without_imagecodecs(tmp_path):
    code = """
        import json, sys, warnings
        warnings.simplefilter("error")
        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "imagecodecs":
                    raise ImportError(name)
        sys.meta_path.insert(0, Blocked())
        import numpy as np, tifffile
        from xarray_ngff import as_image
        from xarray_ngff.errors import MissingExtraError
        from xarray_ngff.backends.ome_tiff.writer import write_ome_tiff
        result = {}
        for dtype in ("uint8", "int16", "uint32", "float32"):
            data = np.arange(3 * 70 * 80).reshape(3, 70, 80).astype(dtype)
            img = as_image(data, spacing=(1, 1, 1), units="um")
            for compression in (None, "zlib", "zlib:6", "lzma"):
                write_ome_tiff(img, sys.argv[1], tile=32, compression=compression, levels=2, overwrite=True)
                with tifffile.TiffFile(sys.argv[1]) as file:
                    level0, level1 = (level.asarray() for level in file.series[0].levels)
                result[f"{dtype} {compression}"] = bool((level0 == data).all()) and level1.shape == (3, 35, 40)
        try:
            write_ome_tiff(img, sys.argv[1], compression="lzw", overwrite=True)
        except MissingExtraError as error:
            result["error"] = str(error)
        print(json.dumps(result))
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "a.ome.tif")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert "xarray-ngff[tiff]" in result.pop("error")
    assert len(result) == 16
    assert all(result.values())
