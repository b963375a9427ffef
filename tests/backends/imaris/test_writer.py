"""Images written, and read by h5py, imaris-ims-file-reader and, for the genuine files, compared with Imaris's own."""

from __future__ import annotations

import contextlib
import io
import itertools
import sys
from datetime import datetime
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

from xarray_ngff import as_image, geometry
from xarray_ngff.backends.imaris import chunk_assembly, level_streams
from xarray_ngff.backends.imaris.writer import write_imaris
from xarray_ngff.channels import channel_coordinates
from xarray_ngff.errors import (
    FormatError,
    GeometryError,
    MissingExtraError,
    MissingFolderError,
    NgffWarning,
    TargetExistsError,
    UnitError,
)


def image_of(data, dims, **options):
    options.setdefault("spacing", {dim: 0.5 for dim in dims if dim in "tzyx"})
    options.setdefault("units", {dim: "second" if dim == "t" else "micrometer" for dim in dims if dim in "tzyx"})
    return as_image(data, dims, **options)


def text_of(group, name):
    """Text of an attribute, spelt out from its bytes."""
    return b"".join(part or b"\0" for part in group.attrs[name].tolist()).decode()


def texts_of(group):
    return {name: text_of(group, name) for name in group.attrs if group.attrs[name].dtype.kind == "S"}


def everything(file):
    """Names of all groups, datasets and attributes of a file."""
    found = {f"@{name}" for name in file.attrs}

    def add(name, item):
        found.update({name, *(f"{name}@{key}" for key in item.attrs)})

    file.visititems(add)
    return found


def stored(file, level=0, time=0, channel=0):
    """Voxels of a volume, cut by what ImageSize says."""
    group = file[f"DataSet/ResolutionLevel {level}/TimePoint {time}/Channel {channel}"]
    z, y, x = (int(text_of(group, f"ImageSize{axis}")) for axis in "ZYX")
    return group["Data"][:z, :y, :x]


def whole(path, level=0):
    """All voxels of a level along t, c, z, y, x."""
    with h5py.File(path) as file:
        times = file[f"DataSet/ResolutionLevel {level}"]
        return np.array(
            [[stored(file, level, t, c) for c in range(len(times["TimePoint 0"]))] for t in range(len(times))]
        )


def halved(volume, axes, how):
    """The next level of a volume of even lengths, said with reshape instead of slices."""
    shape = []
    for axis, size in enumerate(volume.shape):
        shape += [size // 2, 2] if axis in axes else [size, 1]
    split = volume[tuple(slice(0, shape[2 * i] * shape[2 * i + 1]) for i in range(3))].reshape(shape)
    return how(split, (1, 3, 5))


def floor_mean(split, axes):
    return split.sum(axes, dtype=np.uint64) // np.prod([split.shape[axis] for axis in axes])


@contextlib.contextmanager
def ims_reader(path):
    """The file opened by imaris-ims-file-reader, which prints."""
    from imaris_ims_file_reader.ims import ims

    with contextlib.redirect_stdout(io.StringIO()):
        reader = ims(str(path), squeeze_output=False, resolution_decimal_places=None)
        yield reader
        reader.close()
        del reader


def as_given(genuine):
    """The image that the vendor's writer was given for a genuine file."""
    said = genuine.said
    low, high = said["extents_minxyz_maxxyz"][:3], said["extents_minxyz_maxxyz"][3:]
    coords = {}
    for index, dim in enumerate("xyz"):
        size = genuine.pixels.shape[4 - index]
        step = (high[index] - low[index]) / size
        coords[dim] = geometry.coordinate(dim, size, start=low[index] + step / 2, step=step, units=said["unit"])
    times = [datetime.fromisoformat(time) for time in said["time_points"]]
    seconds = [(time - times[0]).total_seconds() for time in times]
    coords["t"] = xr.Variable(("t",), seconds, {"units": "second", "start_time": times[0].isoformat()})
    colors = ["".join(f"{round(255 * part):02X}" for part in color[:3]) for color in said["colors"]]
    channels = [{"name": name, "color": color} for name, color in zip(said["channel_names"], colors, strict=True)]
    coords |= channel_coordinates(channels)
    return xr.DataArray(genuine.pixels, coords=coords, dims=("t", "c", "z", "y", "x"), name="image")


# What our files say differently, on purpose: nobody gives us descriptions and wavelengths, opacity is the vendor's
# default of 1, names are ours, extents are float64 where the vendor's are float32, colours are of 8 bits, and the
# display range of several time points is of their histograms together, which the vendor merges more roughly.
OTHER_TEXTS = {"Description", "Creator", "Version", "ColorOpacity", "Name", "Color", "ColorRange"}


def test_genuine_files_are_written_again(genuine, tmp_path):
    path = tmp_path / "image.ims"
    write_imaris(as_given(genuine), path)
    with h5py.File(path) as ours, h5py.File(genuine.path) as theirs:
        only_theirs = {f"DataSetInfo/Channel {c}@LSMEmissionWavelength" for c in range(genuine.pixels.shape[1])}
        assert everything(ours) == everything(theirs) - only_theirs
        np.testing.assert_array_equal(ours.attrs["NumberOfDataSets"], theirs.attrs["NumberOfDataSets"])
        assert ours.attrs["NumberOfDataSets"].dtype == theirs.attrs["NumberOfDataSets"].dtype
        assert texts_of(ours) == texts_of(theirs)
        for name in everything(theirs) - only_theirs:
            if "@" in name or not isinstance(theirs[name], h5py.Dataset) or name == "Thumbnail/Data":
                continue
            assert (ours[name].shape, ours[name].dtype, ours[name].chunks) == (
                theirs[name].shape,
                theirs[name].dtype,
                theirs[name].chunks,
            )
            np.testing.assert_array_equal(ours[name][()], theirs[name][()])  # padding and histograms too
            assert texts_of(ours[name].parent) == texts_of(theirs[name].parent)
        for section in theirs["DataSetInfo"]:
            own, other = texts_of(ours["DataSetInfo"][section]), texts_of(theirs["DataSetInfo"][section])
            for name in own.keys() - OTHER_TEXTS:
                if name.startswith("Ext"):
                    assert float(own[name]) == pytest.approx(float(other[name]), rel=1e-7)
                else:
                    assert own[name] == other[name]
            if section.startswith("Channel"):
                assert own["Name"] == other["Name"]
                colors = ([float(part) for part in texts["Color"].split()] for texts in (own, other))
                np.testing.assert_allclose(*colors, atol=1 / 255)
                ranges = [[float(part) for part in texts["ColorRange"].split()] for texts in (own, other)]
                exact = len(genuine.pixels) == 1
                np.testing.assert_allclose(*ranges, rtol=0 if exact else 0.02, atol=1e-3)
        picture, other = ours["Thumbnail/Data"], theirs["Thumbnail/Data"]
        assert (picture.shape, picture.dtype, picture.chunks) == (other.shape, other.dtype, other.chunks)


def test_thumbnails_are_those_of_genuine_files_for_the_same_colours(genuine, tmp_path):
    with h5py.File(genuine.path) as theirs:
        said = [texts_of(theirs[f"DataSetInfo/Channel {c}"]) for c in range(genuine.pixels.shape[1])]
        picture = theirs["Thumbnail/Data"][()].astype(int)
    windows = [tuple(map(float, texts["ColorRange"].split())) for texts in said]
    channels = [
        {"name": channel, "color": color, "window": window}
        for channel, color, window in zip(
            genuine.said["channel_names"], as_given(genuine).channel_color.values.tolist(), windows, strict=True
        )
    ]
    img = as_given(genuine).drop_vars(["c", "channel_color"]).assign_coords(channel_coordinates(channels))
    write_imaris(img, tmp_path / "image.ims")
    with h5py.File(tmp_path / "image.ims") as ours:
        assert np.abs(ours["Thumbnail/Data"][()] - picture).max() <= 1  # a colour of 8 bits
        for c, texts in enumerate(said):
            assert text_of(ours[f"DataSetInfo/Channel {c}"], "ColorRange") == texts["ColorRange"]


def test_attributes_are_of_the_genuine_type(genuine, tmp_path):
    write_imaris(as_given(genuine), tmp_path / "image.ims")
    with h5py.File(tmp_path / "image.ims") as ours, h5py.File(genuine.path) as theirs:
        for file in (ours, theirs):
            kind = h5py.h5a.open(file["DataSetInfo/Image"].id, b"Unit").get_type()
            assert (kind.get_class(), kind.get_size(), kind.get_strpad(), kind.get_cset()) == (
                h5py.h5t.STRING,
                1,
                h5py.h5t.STR_NULLTERM,
                h5py.h5t.CSET_ASCII,
            )


def test_superblock_is_one_that_every_reader_knows(tmp_path):
    write_imaris(image_of(np.zeros((4, 5), "u1"), "yx"), tmp_path / "image.ims")
    assert (tmp_path / "image.ims").read_bytes()[8] < 3


@pytest.mark.parametrize("compression", [None, "gzip", "gzip:9", "lz4"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_levels_channels_and_times_in_another_reader(dtype, compression, noise, tmp_path):
    if compression == "lz4":
        pytest.importorskip("hdf5plugin")
    data = noise((2, 3, 5, 70, 51), dtype)
    path = tmp_path / "image.ims"
    img = image_of(data, "tczyx", spacing={"t": 2, "z": 3, "y": 0.25, "x": 0.1}, origin={"z": -7, "y": 4, "x": 1e4})
    write_imaris(img, path, levels=3, compression=compression)
    expected = [data]
    for axes in [(1, 2), (0, 1, 2)]:
        how = floor_mean if data.dtype.kind == "u" else lambda split, axes: split.mean(axes, dtype=np.float64)
        expected.append(np.array([[halved(v, axes, how).astype(dtype) for v in volumes] for volumes in expected[-1]]))
    with ims_reader(path) as reader:
        assert (reader.ResolutionLevels, reader.TimePoints, reader.Channels) == (3, 2, 3)
        for level, pixels in enumerate(expected):
            np.testing.assert_array_equal(reader[level, :, :, :, :, :], pixels)
            scale = [old / new for old, new in zip(data.shape[2:], pixels.shape[2:], strict=True)]
            np.testing.assert_allclose(
                reader.metaData[level, 0, 0, "resolution"], np.multiply(scale, [3, 0.25, 0.1]), rtol=1e-9
            )
    with h5py.File(path) as file:
        info = texts_of(file["DataSetInfo/Image"])
        filters = file["DataSet/ResolutionLevel 1/TimePoint 1/Channel 2/Data"].id.get_create_plist()
        names = [filters.get_filter(index)[0] for index in range(filters.get_nfilters())]
    assert names == {None: [], "lz4": [32004]}.get(compression, [h5py.h5z.FILTER_DEFLATE])
    for index, (start, step, size) in enumerate([(1e4, 0.1, 51), (4, 0.25, 70), (-7, 3, 5)]):
        low, high = float(info[f"ExtMin{index}"]), float(info[f"ExtMax{index}"])
        assert low == pytest.approx(start - step / 2, rel=1e-15)
        assert (high - low) / size == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f4"])
def test_histograms_count_what_the_levels_hold(dtype, noise, tmp_path):
    data = noise((2, 2, 3, 65, 70), dtype)
    if dtype == "u4":
        data = data * np.uint32(17_000_000)
    if dtype == "f4":
        data[0, 0, 0, :3, 0] = np.nan, np.inf, -np.inf
    path = tmp_path / "image.ims"
    write_imaris(image_of(data, "tczyx"), path, levels=2)
    with h5py.File(path) as file:
        for level, time, channel in itertools.product(range(2), range(2), range(2)):
            values = stored(file, level, time, channel)
            values = values[np.isfinite(values)].astype(np.float64)
            group = file[f"DataSet/ResolutionLevel {level}/TimePoint {time}/Channel {channel}"]
            assert group["Histogram"].shape == (256,)
            assert group["Histogram"][()].sum() == values.size
            low, high = float(text_of(group, "HistogramMin")), float(text_of(group, "HistogramMax"))
            if dtype == "u1":
                assert (low, high, "Histogram1024" in group) == (0, 255, False)
                np.testing.assert_array_equal(group["Histogram"], np.histogram(values, 256, (0, 256))[0])
                continue
            assert (low, high) == ((values.min(), values.max()) if dtype == "f4" else (0, max(256, values.max())))
            fine = group["Histogram1024"][()]
            edges = np.linspace(low, high + (dtype != "f4"), len(fine) + 1)
            np.testing.assert_array_equal(fine, np.histogram(values, edges)[0])
            assert [text_of(group, f"Histogram{end}1024") for end in ("Min", "Max")] == [
                text_of(group, f"Histogram{end}") for end in ("Min", "Max")
            ]


@pytest.mark.parametrize("dims", ["yx", "zyx", "cyx", "tyx", "tczyx", "xyzct", "yxc"], ids=lambda dims: dims)
def test_any_dims_in_any_order(dims, noise, tmp_path):
    sizes = {"t": 2, "c": 3, "z": 4, "y": 20, "x": 30}
    data = noise(tuple(sizes[dim] for dim in dims))
    img = image_of(data, dims).transpose(*dims)
    write_imaris(img, tmp_path / "image.ims")
    expected = img.expand_dims([dim for dim in "tczyx" if dim not in dims]).transpose(*"tczyx").values
    np.testing.assert_array_equal(whole(tmp_path / "image.ims"), expected)


def test_scalar_coordinates_keep_their_place(noise, tmp_path):
    img = image_of(noise((2, 2, 4, 20, 30)), "tczyx", channels=["a", "b"], origin={"z": 10.0})
    img.t.attrs["start_time"] = "2020-02-03T04:05:06"
    write_imaris(img.isel(t=1, c=1, z=2, y=3), tmp_path / "image.ims")
    np.testing.assert_array_equal(whole(tmp_path / "image.ims"), img.values[1:2, 1:2, 2:3, 3:4])
    with h5py.File(tmp_path / "image.ims") as file:
        info = file["DataSetInfo"]
        assert text_of(info["Channel 0"], "Name") == "b"
        assert text_of(info["TimeInfo"], "TimePoint1") == "2020-02-03 04:05:06.500"
        assert [text_of(info["Image"], f"{end}2") for end in ("ExtMin", "ExtMax")] == ["10.750000000", "11.250000000"]
        assert text_of(info["Image"], "ExtMin1") == "1.250000000"


@pytest.mark.parametrize(
    ("given", "dtype"),
    [("bool", "u1"), ("i8", "u1"), ("u8", "u4"), ("f2", "f4"), ("f8", "f4"), (">u2", "u2"), (">f4", "f4")],
)
def test_types_that_convert_without_loss(given, dtype, tmp_path):
    data = np.array([[0, 1], [1, 0]]).astype(given)
    if given == "u8":
        data[0, 0] = 2**32 - 1
    write_imaris(image_of(data, "yx"), tmp_path / "image.ims")
    result = whole(tmp_path / "image.ims")
    assert result.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(result[0, 0, 0], data)


@pytest.mark.parametrize(("dtype", "value"), [("i4", -(2**24) - 1), ("u8", 2**40 + 1), ("f8", 0.1), ("c8", 1j)])
def test_types_that_would_lose_name_their_range(dtype, value, tmp_path):
    with pytest.raises(FormatError, match=r"holds uint8, uint16, uint32, float32.*range from"):
        write_imaris(image_of(np.full((3, 4), value, dtype), "yx"), tmp_path / "image.ims")
    assert list(tmp_path.iterdir()) == []


def test_labels_stay_labels_at_every_level(tmp_path):
    random = np.random.default_rng(3)
    data = random.choice(np.array([0, 7, 4_000_000_000], "u4"), (6, 40, 40))
    img = image_of(data, "zyx").rename("labels")
    with pytest.warns(NgffWarning, match="label image"):
        write_imaris(img, tmp_path / "labels.ims", levels=3)
    for level in (1, 2):
        assert set(np.unique(whole(tmp_path / "labels.ims", level))) <= {0, 7, 4_000_000_000}


@pytest.mark.parametrize(("dtype", "name"), [("u2", "image"), ("f4", "image"), ("u2", "labels")])
def test_voxels_left_over_are_counted_but_not_reduced(dtype, name, tmp_path):
    # along x a chunk of one voxel follows those that the next level is made from
    data = np.zeros((40 if dtype == "u2" else 20, 320, 257), dtype)
    data[..., 256] = 500
    path = tmp_path / "image.ims"
    with pytest.warns(NgffWarning, match="label") if name == "labels" else contextlib.nullcontext():
        write_imaris(image_of(data, "zyx").rename(name), path, levels=2)
    assert whole(path, 1).shape[-1] == 128
    assert not whole(path, 1).any()
    with h5py.File(path) as file:
        group = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"]
        assert group["Data"].shape[-1] == 3 * group["Data"].chunks[-1]
        assert text_of(group, "HistogramMax") == "500.000"
        assert group["Histogram"][-1] == data[..., 256].size


CHUNKS = {
    "planes": (1, 1, 1, 70, 100),
    "cubes": (1, 1, 4, 32, 32),
    "uneven": (1, 1, (2, 5, 3), (1, 69), (99, 1)),
    "columns": (1, 1, 10, 7, 9),
    "interleaved": (2, 3, 1, 33, 100),
}


@pytest.mark.parametrize("held", [0, 2**20, 2**27], ids=["on disk", "partly on disk", "in memory"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS.keys())
def test_every_source_chunk_is_computed_once_whatever_its_shape(chunks, held, noise, tmp_path, monkeypatch):
    monkeypatch.setattr(chunk_assembly, "_HELD", held)
    data = noise((2, 3, 10, 70, 100))
    computed = []

    def block(block_info=None):
        place = tuple(slice(*ends) for ends in block_info[None]["array-location"])
        computed.append(place)
        return data[place]

    chunks = da.core.normalize_chunks(chunks, data.shape)
    lazy = da.map_blocks(block, chunks=chunks, dtype=data.dtype, meta=data[:0])
    computed.clear()  # dask may have tried the function
    img = image_of(data, "tczyx").copy(data=lazy)
    write_imaris(img, tmp_path / "image.ims", levels=2)
    np.testing.assert_array_equal(whole(tmp_path / "image.ims"), data)
    assert len(computed) == len(set(map(str, computed))) == np.prod([len(parts) for parts in chunks])
    assert [path.name for path in tmp_path.iterdir()] == ["image.ims"]


def test_the_same_image_gives_the_same_bytes(noise, tmp_path, monkeypatch):
    img = image_of(noise((2, 2, 5, 200, 100)), "tczyx").chunk(z=2, y=64)
    for name, threads in (("a", 1), ("b", 7)):
        monkeypatch.setattr("dask.system.CPU_COUNT", threads)
        (tmp_path / name).mkdir()
        write_imaris(img, tmp_path / name / "image.ims", levels=3)
    assert (tmp_path / "a/image.ims").read_bytes() == (tmp_path / "b/image.ims").read_bytes()

    with h5py.File(tmp_path / "a/image.ims") as file:
        times = []
        file.visititems(lambda _, item: times.append(h5py.h5g.get_objinfo(item.id).mtime))
    assert set(times) == {0}


def test_channels(tmp_path):
    channels = [{"name": "α (µm)", "color": "33FF80", "window": (7, 90.125)}, {"window": (0, 1e-4)}, "Cy5", {}]
    img = image_of(np.full((4, 5, 6), 8, "f4"), "cyx", channels=channels)
    write_imaris(img, tmp_path / "image.ims")
    with h5py.File(tmp_path / "image.ims") as file:
        said = [texts_of(file[f"DataSetInfo/Channel {c}"]) for c in range(4)]
    assert [texts["Name"] for texts in said] == ["α (µm)", "(name not specified)", "Cy5", "(name not specified)"]
    assert [texts["Color"] for texts in said] == [
        "0.200 1.000 0.502",
        "0.000 1.000 0.000",
        "1.000 0.000 0.000",
        "1.000 1.000 1.000",
    ]
    assert [texts["ColorRange"] for texts in said[:2]] == ["7.000 90.125", "0.000 0.0001"]
    low, high = map(float, said[2]["ColorRange"].split())
    assert low < high
    assert {texts["ColorMode"] for texts in said} == {"BaseColor"}


def test_a_single_channel_without_colour_is_white(tmp_path):
    write_imaris(image_of(np.zeros((5, 6), "u1"), "yx"), tmp_path / "image.ims")
    with h5py.File(tmp_path / "image.ims") as file:
        assert text_of(file["DataSetInfo/Channel 0"], "Color") == "1.000 1.000 1.000"


def test_what_is_lost_is_said_in_one_warning(tmp_path):
    img = image_of(np.zeros((2, 5, 6), "u1"), "tyx", origin={"t": 3.00049}, units={"t": "second"})
    with pytest.warns(NgffWarning) as caught:
        write_imaris(img, tmp_path / "image.ims")
    assert len(caught) == 1
    message = str(caught[0].message)
    for part in (
        "image.ims: Imaris cannot hold",
        "no unit of length (x: none, y: none)",
        "t starts at 3",
        "millisecond",
    ):
        assert part in message
    with h5py.File(tmp_path / "image.ims") as file:
        assert "Unit" not in file["DataSetInfo/Image"].attrs


def test_descending_axes_and_orientation(tmp_path):
    img = as_image(
        np.arange(6, dtype="u1").reshape(2, 3),
        "yx",
        spacing={"y": 1, "x": 2},
        units="mm",
        orientation={"y": "anterior-to-posterior", "x": "left-to-right"},
    )
    with pytest.warns(NgffWarning, match="orientation"):
        write_imaris(img.isel(x=slice(None, None, -1)), tmp_path / "image.ims")
    np.testing.assert_array_equal(whole(tmp_path / "image.ims")[0, 0, 0], [[3, 4, 5], [0, 1, 2]])
    with h5py.File(tmp_path / "image.ims") as file:
        assert [text_of(file["DataSetInfo/Image"], key) for key in ("ExtMin0", "ExtMin1", "Unit")] == [
            "-1.000000000",
            "-1.500000000",
            "mm",
        ]


def test_round_trip_through_the_engine(noise, opened, tmp_path):
    channels = [{"name": "a", "color": "33FF80", "window": (7, 90)}, {"name": "b", "color": "FF0000", "window": (0, 1)}]
    img = image_of(
        noise((2, 2, 4, 50, 60)),
        "tczyx",
        spacing={"t": 1.5, "z": 3, "y": 0.1, "x": 1 / 3},
        origin={"z": -7, "y": 0.05, "x": 12345},
        channels=channels,
    )
    img.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
    write_imaris(img, tmp_path / "image.ims")
    back = opened(tmp_path / "image.ims")
    np.testing.assert_array_equal(back.values, img.values)
    for dim in "tzyx":
        np.testing.assert_allclose(back[dim].values, img[dim].values, rtol=1e-12)
        assert back[dim].attrs["units"] == img[dim].attrs["units"]
    assert back.t.attrs["start_time"] == img.t.attrs["start_time"]
    for name in ("c", "channel_color", "window_start", "window_end"):
        np.testing.assert_array_equal(back[name], img[name])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"levels": 0}, GeometryError, "levels .*expected an integer"),
        ({"levels": True}, GeometryError, "expected an integer"),
        ({"levels": 2.0}, GeometryError, "expected an integer"),
        ({"levels": 99}, GeometryError, "levels=99 is too many .* at most 6"),
        ({"compression": "zip"}, FormatError, "compression='zip': expected None"),
        ({"compression": "gzip:0"}, FormatError, "expected None"),
        ({"compression": 2}, FormatError, "expected None"),
        ({"path": "image.h5"}, FormatError, r"does not end with \.ims"),
        ({"path": "no/image.ims"}, MissingFolderError, "folder"),
        ({"img": ("rename", {"z": "angle"})}, FormatError, r"no axis for \['angle'\].*isel\(angle=0\)"),
        ({"img": ("drop_vars", ["x"])}, FormatError, r"needs \['x'\]"),
        ({"img": ("isel", {"z": slice(0, 0)})}, FormatError, r"\['z'\] are empty"),
        ({"img": ("isel", {"x": [0, 1, 5]})}, GeometryError, "not regular"),
        ({"img": ("assign_coords", {"x": ("x", range(33), {"units": "second"})})}, UnitError, "'x' is in 'second'"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, dict) else None,
)
def test_errors_come_before_any_work(change, error, message, tmp_path):
    def fail(block_info=None):
        raise AssertionError("voxels were computed")

    lazy = da.map_blocks(fail, chunks=((4,), (20,), (33,)), dtype="f8", meta=np.empty((0, 0, 0)))
    img = image_of(np.zeros((4, 20, 33)), "zyx").copy(data=lazy)
    options = dict(change)
    path = tmp_path / options.pop("path", "image.ims")
    if "img" in options:
        method, argument = options.pop("img")
        img = getattr(img, method)(argument)
        if method == "drop_vars":
            img = img.rename(x="width")
            img = img.isel(width=0)
    with pytest.raises(error, match=message):
        write_imaris(img, path, **options)
    assert list(tmp_path.iterdir()) == []


def test_names_that_imaris_cannot_hold(tmp_path):
    for name in ("long" * 20_000, "nu\0ll"):
        img = image_of(np.zeros((2, 5, 6), "u1"), "cyx", channels=["a", name])
        with pytest.raises(FormatError, match="name of channel 1"):
            write_imaris(img, tmp_path / "image.ims")
    assert list(tmp_path.iterdir()) == []


def test_lz4_without_its_plugin(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(MissingExtraError, match=r"xarray-ngff\[imaris\]"):
        write_imaris(image_of(np.zeros((5, 6), "u1"), "yx"), tmp_path / "image.ims", compression="lz4")
    assert list(tmp_path.iterdir()) == []


def test_existing_files(tmp_path):
    path = tmp_path / "image.ims"
    img = image_of(np.zeros((5, 6), "u1"), "yx")
    write_imaris(img, path)
    before = path.read_bytes()
    with pytest.raises(TargetExistsError, match="overwrite=True"):
        write_imaris(img + np.uint8(1), path)
    assert path.read_bytes() == before
    write_imaris(img + np.uint8(1), path, overwrite=True)
    assert (whole(path) == 1).all()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["source", "coarser level", "thumbnail"])
def test_the_old_file_stays_when_writing_fails(where, error, noise, tmp_path, monkeypatch):
    path = tmp_path / "image.ims"
    path.write_bytes(b"old")

    def fail(*args, **options):
        raise error("on purpose")

    data = noise((20, 100, 100))
    img = image_of(data, "zyx")
    if where == "source":
        lazy = da.concatenate(
            [da.from_array(data[:19]), da.map_blocks(fail, chunks=((1,), (100,), (100,)), dtype="u2", meta=data[:0])]
        )
        img = img.copy(data=lazy)
    elif where == "coarser level":
        monkeypatch.setattr(level_streams, "reduced", fail)
    else:
        monkeypatch.setattr("xarray_ngff.backends.imaris.writer.colored", fail)
    with pytest.raises(error, match="on purpose"):
        write_imaris(img, path, levels=2, overwrite=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_written_from_itself(noise, opened, tmp_path):
    path = tmp_path / "image.ims"
    data = noise((3, 40, 50))
    write_imaris(image_of(data, "zyx"), path)
    write_imaris(opened(path), path, overwrite=True)
    np.testing.assert_array_equal(whole(path)[0, 0], data)


def test_thumbnail_shows_the_brightest_voxels_in_channel_colours(tmp_path):
    data = np.zeros((2, 3, 10, 20), "u1")
    data[0, 1, :5] = 100
    data[1, 2, :, 10:] = 50
    channels = [{"color": "FF0000", "window": (0, 100)}, {"color": "00FF00", "window": (0, 100)}]
    write_imaris(image_of(data, "czyx", channels=channels), tmp_path / "image.ims")
    with h5py.File(tmp_path / "image.ims") as file:
        picture = file["Thumbnail/Data"][()].reshape(128, 256, 4)
    assert (picture[:64, :, 0] == 255).all()
    assert not picture[64:, :, 0].any()
    assert (picture[:, 128:, 1] == 127).all()
    assert not picture[..., 2].any()
    assert (picture[..., 3] == 255).all()


def test_paths_of_any_kind(tmp_path):
    img = image_of(np.zeros((5, 6), "u1"), "yx")
    for path in (str(tmp_path / "text.ims"), Path(tmp_path / "UPPER.IMS")):
        write_imaris(img, path)
        assert whole(path).shape == (1, 1, 1, 5, 6)


def test_the_date_that_stands_for_none_is_not_told(tmp_path):
    img = as_image(np.zeros((3, 4, 5), "u1"), "tyx", spacing={"t": 2.5}, units={"t": "second", "y": "um", "x": "um"})
    img.ngff.to_imaris(tmp_path / "a.ims")
    found = xr.open_dataarray(tmp_path / "a.ims", engine="imaris")
    assert found.t.values.tolist() == [0, 2.5, 5]
    assert "start_time" not in found.t.attrs
