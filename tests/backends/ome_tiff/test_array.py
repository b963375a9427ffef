"""Pixels, compared with what tifffile itself decodes."""

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.backends.ome_tiff import segments
from xarray_ngff.backends.ome_tiff.array import TiffArray
from xarray_ngff.backends.ome_tiff.entrypoint import OmeTiffEntrypoint
from xarray_ngff.errors import FormatError, MissingFileError


def open_image(path, **options):
    return xr.open_dataarray(path, engine=OmeTiffEntrypoint, **options)


def write(path, data, **options):
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, data, **options)


def values(shape, dtype="u2"):
    numbers = np.arange(np.prod(shape)) * 7 % 251
    return numbers.reshape(shape).astype(dtype)


LAYOUTS = {
    "strips": {"data": values((3, 40, 50)), "rowsperstrip": 7},
    "strips of pages": {"data": values((3, 40, 50)), "rowsperstrip": 7, "contiguous": False, "metadata": None},
    "tiles": {"data": values((3, 40, 50)), "tile": (16, 32)},
    "zlib tiles": {"data": values((3, 40, 50)), "tile": (16, 32), "compression": "zlib"},
    "zlib predictor": {"data": values((3, 40, 50)), "compression": "zlib", "predictor": True},
    "lzma": {"data": values((40, 50)), "compression": "lzma"},
    "packbits": {"data": values((40, 50), "u1"), "compression": "packbits"},
    "lzw": {"data": values((40, 50)), "compression": "lzw", "rowsperstrip": 9},
    "zstd": {"data": values((40, 50), "f4"), "compression": "zstd", "predictor": True},
    "jpeg": {"data": values((48, 64, 3), "u1"), "compression": "jpeg", "photometric": "rgb", "tile": (16, 16)},
    "big-endian": {"data": values((3, 40, 50)), "byteorder": ">"},
    "big-endian tiles": {"data": values((3, 40, 50), "f8"), "byteorder": ">", "tile": (16, 16)},
    "bigtiff": {"data": values((2, 20, 30)), "bigtiff": True},
    "interleaved": {"data": values((40, 50, 3), "u1"), "photometric": "rgb", "rowsperstrip": 11},
    "interleaved tiles": {"data": values((2, 40, 50, 3), "u1"), "photometric": "rgb", "tile": (16, 16)},
    "planar": {"data": values((3, 40, 50), "u1"), "photometric": "rgb", "planarconfig": "separate"},
    "planar tiles": {
        "data": values((2, 3, 40, 50)), "photometric": "rgb", "planarconfig": "separate", "tile": (16, 16),
        "compression": "zlib",
    },
    "volume tiles": {"data": values((8, 40, 50)), "tile": (4, 16, 16), "volumetric": True, "compression": "zlib"},
    "one pixel": {"data": values((1, 1))},
    "one row": {"data": values((5, 1, 30)), "compression": "zlib"},
    "complex": {"data": values((10, 12), "c8")},
    "half floats": {"data": values((10, 12), "f2"), "compression": "zlib"},
    "64 bits": {"data": values((10, 12), "i8") * 10**15},
    "bits": {"data": values((2, 20, 30), "u1") > 100, "photometric": "minisblack", "compression": "packbits"},
    "imagej": {"data": values((2, 3, 2, 20, 30)), "imagej": True, "photometric": None},
    "imagej pages": {"data": values((2, 3, 2, 20, 30)), "imagej": True, "compression": "zlib", "photometric": None},
    "imagej rgb": {"data": values((2, 3, 1, 20, 30, 3), "u1"), "imagej": True, "photometric": None},
    "five axes": {"data": values((2, 3, 4, 10, 12)), "metadata": {"axes": "QTZYX"}},
}  # fmt: skip


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    options = dict(LAYOUTS[request.param])
    path = tmp_path / "image.tif"
    write(path, options.pop("data"), **options)
    return path


def in_dims(path):
    """The array as tifffile reads it, with its axes moved to where our dims should be."""
    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        array, axes = series.asarray(), series.axes.replace("S", "C").lower()
    assert len(set(axes)) == len(axes)
    order = sorted(range(len(axes)), key=lambda i: "tc?zyx".find(axes[i]) if axes[i] in "tczyx" else 2)
    return array.transpose(order), tuple(axes[i] for i in order)


def test_pixels_are_those_of_tifffile(layout):
    truth, dims = in_dims(layout)
    image = open_image(layout)
    assert image.dims == dims
    assert image.dtype == truth.dtype
    assert image.dtype.isnative
    np.testing.assert_array_equal(image.values, truth)


@settings(max_examples=12)
@given(data=st.data())
def test_selections_are_those_of_numpy(tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(LAYOUTS)))
    options = dict(LAYOUTS[name])
    path = tmp_path_factory.mktemp("selection") / "image.tif"
    write(path, options.pop("data"), **options)
    truth, _ = in_dims(path)
    array = xr.DataArray(truth)
    image = open_image(path).drop_vars(list("tczyx"), errors="ignore")
    array = array.rename(dict(zip(array.dims, image.dims, strict=True)))
    for _ in range(12):
        key = {}
        for dim, size in image.sizes.items():
            indexer = data.draw(
                st.one_of(
                    st.just(slice(None)),
                    st.integers(-size, size - 1),
                    st.slices(size),
                    st.lists(st.integers(-size, size - 1), max_size=4),
                )
            )
            key[dim] = indexer
        np.testing.assert_array_equal(image.isel(key).values, array.isel(key).values)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_channels_of_samples_are_one_dim(tmp_path, planar):
    shape = (2, 4, 20, 30, 3) if planar == "contig" else (2, 4, 3, 20, 30)
    data = values(shape)
    axes = "ZCYXS" if planar == "contig" else "ZCSYX"
    path = tmp_path / "samples.ome.tif"
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, metadata={"axes": axes}, tile=(16, 16))
    truth = np.moveaxis(data, -1, 2) if planar == "contig" else data
    truth = truth.reshape(2, 12, 20, 30).swapaxes(0, 1)
    image = open_image(path)
    assert image.dims == ("c", "z", "y", "x")
    np.testing.assert_array_equal(image.values, truth)
    np.testing.assert_array_equal(
        image.isel(c=[1, 4, 5, 11], y=slice(3, 19, 4), x=7), truth[[1, 4, 5, 11], :, 3:19:4, 7]
    )
    np.testing.assert_array_equal(image.isel(c=7, z=1), truth[7, 1])


@pytest.fixture
def pyramid(tmp_path):
    path = tmp_path / "pyramid.ome.tif"
    base = np.random.default_rng(0).integers(0, 4000, (2, 3, 128, 192), dtype=np.uint16)
    options = {"tile": (32, 32), "compression": "zlib"}
    with tifffile.TiffWriter(path) as tif:
        tif.write(base, subifds=2, metadata={"axes": "CZYX"}, **options)
        tif.write(base[..., ::2, ::2], subfiletype=1, **options)
        tif.write(base[..., ::4, ::4], subfiletype=1, **options)
    return path, base


@pytest.fixture
def decoded(monkeypatch):
    """Segments that are decoded, counted."""
    counted = []
    original = segments._decoded

    def count(storage, task, data, page):
        counted.append((task.plane, task.cell.segment))
        return original(storage, task, data, page)

    monkeypatch.setattr(segments, "_decoded", count)
    return counted


def test_opening_decodes_nothing_and_a_crop_only_its_tiles(pyramid, decoded):
    path, base = pyramid
    image = open_image(path)
    assert decoded == []
    crop = image.isel(c=1, z=2, y=slice(40, 70), x=slice(64, 96))
    assert decoded == []
    np.testing.assert_array_equal(crop.values, base[1, 2, 40:70, 64:96])
    # rows 40 to 69 are in tile rows 1 and 2 of 6 columns; columns 64 to 95 are tile column 2; plane 5 is the last
    assert sorted(decoded) == [(5, 1 * 6 + 2), (5, 2 * 6 + 2)]


def test_levels_are_read_from_their_own_pages(pyramid, decoded):
    path, base = pyramid
    image = open_image(path, level=2)
    np.testing.assert_array_equal(image.values, base[..., ::4, ::4])
    assert len(decoded) == 6 * 1 * 2


def test_a_pickled_image_reads_without_the_first(pyramid):
    path, base = pyramid
    image = open_image(path, level=1)
    before = pickle.dumps(image)
    image.load()
    for stored in (before, pickle.dumps(open_image(path, level=1))):
        copy = pickle.loads(stored)
        np.testing.assert_array_equal(copy.isel(x=slice(10, 50)), base[..., ::2, ::2][..., 10:50])


def test_pickled_size_does_not_hold_pixels(pyramid):
    path, base = pyramid
    assert len(pickle.dumps(open_image(path))) < base.nbytes / 10


def test_threads_share_an_image(pyramid):
    path, base = pyramid
    image = open_image(path)
    start = threading.Barrier(6)

    def read(number):
        start.wait()
        return [image.isel(c=i % 2, z=i % 3, y=slice(i, 90)).values for i in range(number, number + 8)]

    with ThreadPoolExecutor(6) as pool:
        for number, found in enumerate(pool.map(read, range(6))):
            for i, part in enumerate(found, number):
                np.testing.assert_array_equal(part, base[i % 2, i % 3, i:90])


def test_dask_reads_chunks_that_tiles_fill(pyramid):
    path, base = pyramid
    image = open_image(path, chunks={})
    assert image.chunks is not None
    np.testing.assert_array_equal(image.compute(), base)


def test_tiles_that_are_not_stored_read_as_zero(tmp_path):
    path = tmp_path / "sparse.tif"
    tile = np.full((16, 16), 5, np.uint8)
    tiles = [tile, None, None, tile]
    tifffile.imwrite(path, iter(tiles), shape=(32, 32), dtype=np.uint8, tile=(16, 16), compression="zlib")
    truth = np.kron(np.array([[5, 0], [0, 5]], np.uint8), np.ones((16, 16), np.uint8))
    np.testing.assert_array_equal(open_image(path).values, truth)


def test_no_file_is_open_between_reads(pyramid, tmp_path):
    path, base = pyramid
    image = open_image(path)
    image.isel(c=0, z=0).load()
    moved = tmp_path / "moved.tif"
    path.rename(moved)
    with pytest.raises(MissingFileError, match=r"pyramid\.ome\.tif"):
        image.isel(c=1).values  # noqa: B018
    moved.rename(path)
    np.testing.assert_array_equal(image.isel(c=1), base[1])


def test_a_corrupt_tile_is_named_and_the_others_read(pyramid):
    path, base = pyramid
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[1]
        offset, count = page.dataoffsets[3], page.databytecounts[3]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)
    image = open_image(path)
    with pytest.raises(
        FormatError, match=rf"pyramid\.ome\.tif is corrupt: tile or strip 3 of plane 1, .* at byte {offset}"
    ):
        image.values  # noqa: B018
    np.testing.assert_array_equal(image.isel(c=0, z=1, x=slice(0, 96)), base[0, 1, :, :96])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (16, 16)}], ids=["plain", "tiles"])
def test_pixels_cut_off_are_named(tmp_path, options):
    # plain pixels at opening, others where they are read: what is whole of those can still be had
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), **options)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 500)
    with pytest.raises(FormatError, match=r"cut\.tif is truncated: pixels are promised up to byte \d+, but it ends at"):
        open_image(path).values  # noqa: B018


@pytest.mark.parametrize("compression", [8, 50000])
def test_a_promise_that_bytes_cannot_keep_claims_no_memory(tmp_path, compression):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", rowsperstrip=64)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for tag, value in (("ImageWidth", 1 << 20), ("ImageLength", 1 << 22), ("RowsPerStrip", 1 << 22)):
            tif.pages[0].tags[tag].overwrite(value, dtype="I")
        tif.pages[0].tags["Compression"].overwrite(compression)
        tif.pages[0].tags["ImageDescription"].overwrite("none")
    with pytest.raises(FormatError, match=r"bomb\.tif is corrupt: a tile or strip of 4398046511104 bytes is promised"):
        open_image(path)


def test_a_plain_strip_that_is_far_too_short_claims_no_memory(tmp_path):
    path = tmp_path / "wide.tif"
    tifffile.imwrite(path, np.zeros((64, 80, 3), np.uint8), photometric="rgb", rowsperstrip=8, metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(1 << 31, dtype="I")
    with pytest.raises(FormatError, match=r"wide\.tif is corrupt: a tile or strip of 51539607552 bytes is promised"):
        open_image(path)


def test_large_reads_leave_plain_files_as_they_are(tmp_path):
    path = tmp_path / "plain.tif"
    data = values((4, 300, 400))
    write(path, data, metadata={"axes": "ZYX"})
    image = open_image(path)
    part = image.isel(z=2).values
    part[:] = 0
    np.testing.assert_array_equal(image.isel(z=2), data[2])


def test_array_knows_its_files(pyramid):
    path, _ = pyramid
    array = xr.open_dataset(path, engine=OmeTiffEntrypoint)["image"].variable._data
    while not isinstance(array, TiffArray):
        array = array.array
    assert array.storage.files == (str(path),)


def test_strips_in_another_order_than_the_first_page_has(tmp_path):
    path = tmp_path / "order.tif"
    data = values((2, 40, 30), "u1")
    with tifffile.TiffWriter(path) as tif:
        for plane in data:
            tif.write(plane, contiguous=False, metadata=None, rowsperstrip=10)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[1].tags["StripOffsets"]
        tag.overwrite(tag.value[::-1])
    turned = data[1].reshape(4, 10, 30)[::-1].reshape(40, 30)
    np.testing.assert_array_equal(open_image(path), [data[0], turned])


def test_too_few_tiles_are_named(tmp_path):
    path = tmp_path / "few.tif"
    write(path, values((64, 64)), tile=(16, 16), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in ("TileOffsets", "TileByteCounts"):
            tag = tif.pages[0].tags[name]
            tag.overwrite(tag.value[:9])
    with pytest.raises(FormatError, match=r"few\.tif.* plane 0 should have 16 tiles or strips but has 9"):
        open_image(path)


def test_numbers_of_an_unknown_kind_are_named(tmp_path):
    path = tmp_path / "odd.tif"
    write(path, values((16, 16)), metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["BitsPerSample"].overwrite(77)
    with pytest.raises(FormatError, match=r"odd\.tif.* 77 bits of sample format 1, which cannot be read"):
        open_image(path)


def test_a_file_that_shrinks_after_opening_is_named(tmp_path):
    path = tmp_path / "plain.tif"
    write(path, values((64, 64)), metadata=None)
    image = open_image(path)
    with path.open("r+b") as file:
        file.truncate(4000)
    with pytest.raises(FormatError, match=r"plain\.tif is truncated"):
        image.values  # noqa: B018


def test_closing_a_dataset_leaves_it_readable(pyramid):
    path, base = pyramid
    dataset = xr.open_dataset(path, engine=OmeTiffEntrypoint)
    dataset.close()
    np.testing.assert_array_equal(dataset.image.isel(c=0, z=0), base[0, 0])


def test_a_data_set_may_have_more_files_than_are_open_at_a_time(ome_file, tmp_path):
    count = 20
    blocks = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="z{z}.ome.tif">urn:uuid:{z}</UUID></TiffData>'
        for z in range(count)
    )
    for z in range(count):
        data = np.full((1, 1, 1, 8, 10), z, np.uint16)
        ome_file(data=data, name=f"z{z}.ome.tif", sizes={"Z": count}, inside=blocks, root=f'UUID="urn:uuid:{z}"')
    image = open_image(tmp_path / "z7.ome.tif")
    np.testing.assert_array_equal(image.isel(y=3, x=4), np.arange(count))


@pytest.mark.parametrize("places", [[0, 0, 0], [0, 0, 2], [0, 2, 2]])
@pytest.mark.parametrize("dim", ["z", "y", "x"])
def test_as_many_indices_as_an_axis_has_need_not_be_all_of_it(tmp_path, dim, places):
    path = tmp_path / "plain.tif"
    data = values((3, 3, 3))
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_image(path).isel({dim: places}), np.take(data, places, axis="zyx".index(dim)))
