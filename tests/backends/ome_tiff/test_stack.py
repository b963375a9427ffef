"""Stacks of files as one image: truth from tifffile and NumPy, and from images written as planes."""

from __future__ import annotations

import collections
import pickle
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile
import xarray as xr

from xarray_ngff import as_image
from xarray_ngff.backends.ome_tiff.array import TiffArray
from xarray_ngff.backends.ome_tiff.plane_files import write_tiff_stack
from xarray_ngff.backends.ome_tiff.stack import open_tiff_stack
from xarray_ngff.channels import Channel
from xarray_ngff.errors import FormatError, GeometryError, MissingFileError, NgffWarning


@pytest.fixture
def save(tmp_path):
    """Write arrays with tifffile: ``save({"name": array}, **options)`` gives their paths."""

    def saved(arrays, **options):
        for name, array in arrays.items():
            tifffile.imwrite(tmp_path / name, array, **options)
        return [tmp_path / name for name in arrays]

    return saved


@pytest.fixture
def save_ome(tmp_path):
    """Write arrays with tifffile as OME-TIFF: ``save_ome({"name": (array, metadata)})`` gives their paths."""

    def saved(files):
        for name, (array, metadata) in files.items():
            tifffile.imwrite(tmp_path / name, array, ome=True, metadata=metadata)
        return [tmp_path / name for name in files]

    return saved


@pytest.fixture
def reads(monkeypatch):
    """Files that pixels were read of, and how often."""
    counter = collections.Counter()
    read = TiffArray.read

    def counted(self, key):
        counter.update(file.rpartition("/")[2] for file in self.storage.files)
        return read(self, key)

    monkeypatch.setattr(TiffArray, "read", counted)
    return counter


def planes(count, shape=(5, 6), dtype="uint16", first=0):
    size = int(np.prod(shape))
    return [np.arange(first + i * size, first + (i + 1) * size).reshape(shape).astype(dtype) for i in range(count)]


def placed(z, *, axes="YX", size=0.5, **more):
    """Metadata of a plane at a place along z, for tifffile."""
    plane = {"PositionZ": z, "PositionZUnit": "µm"} | more.pop("plane", {})
    stated = {"PhysicalSizeZ": size, "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    return {"axes": axes, **stated, "Plane": {key: [value] for key, value in plane.items()}} | more


@pytest.mark.parametrize("dim", ["z", "c", "t"])
def test_flat_list_of_planes(dim, save):
    arrays = planes(4)
    paths = save({f"p{i}.tif": array for i, array in enumerate(arrays)})
    image = open_tiff_stack(paths, dim=dim)
    assert (image.name, image.dims, image.dtype) == ("image", (dim, "y", "x"), np.dtype("uint16"))
    np.testing.assert_array_equal(image, np.stack(arrays))
    assert set(image.coords) == {"z", "t", "y", "x"} & {dim, "y", "x"}
    if dim != "c":
        assert image[dim].values.tolist() == [0, 1, 2, 3]
        assert image[dim].attrs == {"spacing": 1.0}


def test_a_pattern_is_sorted_naturally(save, tmp_path):
    arrays = planes(12)
    save({f"z{i}.tif": array for i, array in enumerate(arrays)})
    np.testing.assert_array_equal(open_tiff_stack(f"{tmp_path}/z*.tif"), np.stack(arrays))
    np.testing.assert_array_equal(open_tiff_stack(tmp_path / "**" / "z1?.tif"), np.stack(arrays[10:]))


def test_nested_lists_are_channels(save):
    arrays = planes(6)
    paths = save({f"p{i}.tif": array for i, array in enumerate(arrays)})
    for dim in ("z", "t"):
        image = open_tiff_stack([paths[:3], paths[3:]], dim=dim, channels=["A", {"name": "B", "color": "00ff00"}])
        assert set(image.dims) == {"c", dim, "y", "x"}
        np.testing.assert_array_equal(image.transpose("c", ...), np.stack(arrays).reshape(2, 3, 5, 6))
        assert image.dims[:2] == {"z": ("c", "z"), "t": ("t", "c")}[dim]
        assert image.c.values.tolist() == ["A", "B"]
        assert image.channel_color.values.tolist() == ["", "00FF00"]


@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int16", "float32", ">f8", "complex64", "bool"])
def test_types(dtype, save):
    arrays = [array % 2 == 0 if dtype == "bool" else array.astype(dtype) for array in planes(3)]
    image = open_tiff_stack(save({f"p{i}.tif": array for i, array in enumerate(arrays)}))
    assert image.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(image, np.stack(arrays))


@pytest.mark.parametrize(
    "options", [{"compression": "zlib"}, {"tile": (16, 16)}, {"bigtiff": True}, {"rowsperstrip": 2}]
)
def test_how_planes_are_stored(options, save):
    arrays = planes(3, (40, 50))
    image = open_tiff_stack(save({f"p{i}.tif": array for i, array in enumerate(arrays)}, **options))
    np.testing.assert_array_equal(image[1:, 5:20, ::-7], np.stack(arrays)[1:, 5:20, ::-7])


def test_volumes_are_joined_along_their_dim_or_a_new_one(save):
    volumes = planes(3, (4, 5, 6))
    paths = save({f"p{i}.tif": volume for i, volume in enumerate(volumes)}, imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_tiff_stack(paths), np.concatenate(volumes))
    image = open_tiff_stack(paths, dim="t")
    assert image.dims == ("t", "z", "y", "x")
    np.testing.assert_array_equal(image, np.stack(volumes))
    nested = open_tiff_stack([paths[:2], paths[1:]], dim="z")
    np.testing.assert_array_equal(nested, [np.concatenate(volumes[:2]), np.concatenate(volumes[1:])])


def test_volumes_of_different_length(save):
    whole = np.arange(10 * 30).reshape(10, 5, 6).astype("u2")
    options = {"imagej": True, "metadata": {"axes": "ZYX"}}
    paths = [*save({"a.tif": whole[:4]}, **options), *save({"b.tif": whole[4]}), *save({"c.tif": whole[5:]}, **options)]
    image = open_tiff_stack(paths)
    np.testing.assert_array_equal(image, whole)
    np.testing.assert_array_equal(image.isel(z=[9, 4, 0, -7]), whole[[9, 4, 0, -7]])
    assert image.encoding["preferred_chunks"] == {"z": (4, 1, 5), "y": 5, "x": 6}
    assert image.chunk(image.encoding["preferred_chunks"]).chunks == ((4, 1, 5), (5,), (6,))


def test_rgb_files(save):
    arrays = planes(4, (5, 6, 3), "uint8")
    paths = save({f"p{i}.tif": array for i, array in enumerate(arrays)}, photometric="rgb")
    image = open_tiff_stack(paths)
    assert image.dims == ("c", "z", "y", "x")
    np.testing.assert_array_equal(image.transpose("z", "y", "x", "c"), np.stack(arrays))
    joined = open_tiff_stack(paths, dim="c")
    assert joined.sizes["c"] == 12
    np.testing.assert_array_equal(
        joined.transpose("c", "y", "x"), np.concatenate([a.transpose(2, 0, 1) for a in arrays])
    )


def test_the_first_series_is_opened(tmp_path):
    for i, array in enumerate(planes(2)):
        with tifffile.TiffWriter(tmp_path / f"{i}.tif") as writer:
            writer.write(array)
            writer.write(np.zeros((9, 9, 9), "u1"))
    np.testing.assert_array_equal(open_tiff_stack(f"{tmp_path}/*.tif"), np.stack(planes(2)))


# --- only what is needed is read ------------------------------------------------------------------------------------


def test_opening_reads_no_pixels_and_a_selection_only_the_files_that_it_meets(save, reads):
    arrays = planes(12)
    paths = save({f"z{i}.tif": array for i, array in enumerate(arrays)})
    image = open_tiff_stack([paths[:6], paths[6:]])
    repr(image)
    part = image.isel(c=1, z=slice(1, 5, 2), y=0)
    assert not reads
    np.testing.assert_array_equal(part, [arrays[7][0], arrays[9][0]])
    assert reads == {"z7.tif": 1, "z9.tif": 1}
    reads.clear()
    chunked = image.chunk(image.encoding["preferred_chunks"])
    assert chunked.chunks == ((1,) * 2, (1,) * 6, (5,), (6,))
    np.testing.assert_array_equal(chunked.isel(z=slice(2, 4)), np.stack(arrays).reshape(2, 6, 5, 6)[:, 2:4])
    assert reads == dict.fromkeys(["z2.tif", "z3.tif", "z8.tif", "z9.tif"], 1)


def test_the_whole_is_read_file_by_file_once(save, reads):
    arrays = planes(5, (4, 5, 6))
    paths = save({f"z{i}.tif": array for i, array in enumerate(arrays)}, imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(open_tiff_stack(paths), np.concatenate(arrays))
    assert set(reads.values()) == {1}


def test_no_file_stays_open_and_pixels_that_change_are_read_anew(save):
    paths = save({f"z{i}.tif": array for i, array in enumerate(planes(3))})
    image = open_tiff_stack(paths)
    image.isel(z=0).load()
    tifffile.memmap(paths[2])[:] = 7
    assert (image.isel(z=2) == 7).all()
    paths[1].unlink()
    assert (image.isel(z=2) == 7).all()
    with pytest.raises(MissingFileError, match=r"z1\.tif"):
        image.load()


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_threads_and_pickles(options, save):
    arrays = planes(8, (30, 40))
    image = open_tiff_stack(save({f"z{i}.tif": array for i, array in enumerate(arrays)}, **options))
    image.isel(z=0).load()
    again = pickle.loads(pickle.dumps(image))
    start = threading.Barrier(4)

    def read(shift):
        start.wait()
        return [(again if i % 2 else image).isel(z=(i + shift) % 8, y=slice(3, 20)).values for i in range(16)]

    with ThreadPoolExecutor(4) as pool:
        for shift, found in enumerate(pool.map(read, range(4))):
            for i, part in enumerate(found):
                np.testing.assert_array_equal(part, arrays[(i + shift) % 8][3:20])


# --- geometry -------------------------------------------------------------------------------------------------------


def test_options_override_what_files_say(save):
    paths = save({f"z{i}.tif": array for i, array in enumerate(planes(3))})
    image = open_tiff_stack(paths, spacing=(2, 0.5, 0.25), units="um")
    assert image.ngff.spacing == {"z": 2.0, "y": 0.5, "x": 0.25}
    assert image.ngff.units == dict.fromkeys("zyx", "micrometer")
    image = open_tiff_stack(paths, dim="t", spacing={"t": 3}, units={"t": "s"})
    assert (image.t.values.tolist(), image.t.attrs["units"]) == ([0, 3, 6], "second")
    image = open_tiff_stack(paths, dim="c", channels=["A", Channel("B", "FF0000"), {"name": "C"}])
    assert image.c.values.tolist() == ["A", "B", "C"]
    for options in ({"spacing": (1, 2, 3, 4)}, {"spacing": {"q": 1}}, {"channels": ["A"]}):
        with pytest.raises(GeometryError):
            open_tiff_stack(paths, dim="c", **options)


@pytest.mark.parametrize("order", [1, -1])
def test_places_of_planes_in_the_order_of_the_list(order, save_ome):
    arrays = planes(4)
    files = {f"z{i}.ome.tif": (array, placed(10 + 1.5 * i, size=1.5)) for i, array in enumerate(arrays)}
    image = open_tiff_stack(save_ome(files)[::order])
    np.testing.assert_array_equal(image, np.stack(arrays[::order]))
    assert image.z.values.tolist() == [10, 11.5, 13, 14.5][::order]
    assert image.z.attrs == {"units": "micrometer", "spacing": 1.5 * order}
    assert image.ngff.spacing == {"z": 1.5, "y": 0.25, "x": 0.25}


def test_places_say_the_spacing_where_planes_were_left_out(save_ome):
    files = {f"z{i}.ome.tif": (array, placed(0.5 * i)) for i, array in enumerate(planes(6))}
    image = open_tiff_stack(save_ome(files)[1::2])
    assert image.z.values.tolist() == [0.5, 1.5, 2.5]
    assert image.ngff.spacing["z"] == 1.0


def test_files_that_all_state_one_place_follow_each_other_at_their_spacing(save_ome):
    about = {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeZ": 0.75}
    image = open_tiff_stack(save_ome({f"z{i}.ome.tif": (array, about) for i, array in enumerate(planes(4))}))
    assert image.z.values.tolist() == [0, 0.75, 1.5, 2.25]
    assert image.z.attrs["units"] == "micrometer"
    volumes = {f"v{i}.ome.tif": (array, placed(7, axes="ZYX")) for i, array in enumerate(planes(2, (1, 5, 6)))}
    for name, (array, metadata) in list(volumes.items()):
        several = {key: value * 3 for key, value in metadata["Plane"].items()}
        several["PositionZ"] = [7.0, 7.5, 8.0]
        volumes[name] = np.repeat(array, 3, axis=0), metadata | {"Plane": several}
    image = open_tiff_stack(save_ome(volumes))
    assert image.z.values.tolist() == [7, 7.5, 8, 8.5, 9, 9.5]


def test_irregular_places_are_kept_with_one_warning(save_ome):
    places = [0, 1, 2, 10]
    paths = save_ome({f"z{i}.ome.tif": (array, placed(places[i])) for i, array in enumerate(planes(4))})
    with pytest.warns(
        NgffWarning, match=r"4 files from .*z0.*: places along 'z' are not regular \(0, 1, 2, 10\)"
    ) as caught:
        image = open_tiff_stack(paths)
    assert len(caught) == 1
    assert image.z.values.tolist() == places
    assert image.z.attrs == {"units": "micrometer"}
    regular = open_tiff_stack(paths, spacing={"z": 2})
    assert regular.z.values.tolist() == [0, 2, 4, 6]
    assert regular.z.attrs["units"] == "micrometer"


def test_places_that_only_some_files_state(save, save_ome):
    paths = [*save_ome({"z0.ome.tif": (planes(1)[0], placed(5))}), *save({"z1.tif": planes(1)[0]})]
    with pytest.warns(
        NgffWarning, match=r"1 of 2 files, such as z1\.tif, do not state 'z' \(it counts planes\)"
    ) as caught:
        image = open_tiff_stack(paths)
    assert len(caught) == 1
    assert (image.z.values.tolist(), image.z.attrs) == ([0, 1], {"spacing": 1.0})


def test_places_in_different_units(save_ome):
    units = ["µm", "nm"]
    paths = save_ome(
        {f"z{i}.ome.tif": (planes(1)[0], placed(i) | {"PhysicalSizeZUnit": unit}) for i, unit in enumerate(units)}
    )
    with pytest.warns(NgffWarning, match="'z' is in micrometer and nanometer"):
        image = open_tiff_stack(paths)
    assert image.z.values.tolist() == [0, 1]


def test_times(save_ome):
    def at(seconds):
        return {"axes": "YX", "Plane": {"DeltaT": [seconds], "DeltaTUnit": ["s"]}}

    regular = save_ome({f"a{i}.ome.tif": (array, at(4 + 2.5 * i)) for i, array in enumerate(planes(3))})
    image = open_tiff_stack(regular, dim="t")
    assert image.t.values.tolist() == [4, 6.5, 9]
    assert image.t.attrs == {"units": "second", "spacing": 2.5}
    irregular = save_ome({f"b{i}.ome.tif": (array, at([0, 1, 5][i])) for i, array in enumerate(planes(3))})
    image = open_tiff_stack(irregular, dim="t")
    assert image.t.values.tolist() == [0, 1, 5]
    assert image.t.attrs == {"units": "second"}
    with pytest.warns(
        NgffWarning, match=r"2 of 3 files, such as a1\.ome\.tif, state another 't' than the first .*left out"
    ):
        assert set(open_tiff_stack(regular).coords) == {"z", "y", "x"}


def test_times_that_count_from_different_dates(save_ome):
    dates = ["2021-03-04T05:06:07", "2021-03-04T05:06:17", "2021-03-04T05:06:27"]
    paths = save_ome(
        {f"t{i}.ome.tif": (array, {"axes": "YX", "AcquisitionDate": dates[i]}) for i, array in enumerate(planes(3))}
    )
    image = open_tiff_stack(paths, dim="t")
    assert image.t.values.tolist() == [0, 10, 20]
    assert image.t.attrs == {"units": "second", "spacing": 10.0, "start_time": dates[0]}


def test_times_that_cannot_be_compared(save_ome):
    dates = ["2021-03-04T05:06:07", "2021-03-04T05:06:17Z"]
    paths = save_ome(
        {f"t{i}.ome.tif": (array, {"axes": "YX", "AcquisitionDate": dates[i]}) for i, array in enumerate(planes(2))}
    )
    with pytest.warns(NgffWarning, match=r"not all files say, or in one way, when 't' is 0 \(it is left out\)"):
        image = open_tiff_stack(paths, dim="t")
    assert (image.t.values.tolist(), image.t.attrs) == ([0, 1], {"spacing": 1.0})


def test_pages_that_nothing_is_said_of_keep_their_dim(tmp_path):
    volumes = planes(2, (3, 5, 6))
    for i, volume in enumerate(volumes):
        with tifffile.TiffWriter(tmp_path / f"{i}.tif") as writer:
            for page in volume:
                writer.write(page, contiguous=False, metadata=None)
    image = open_tiff_stack(f"{tmp_path}/*.tif")
    (pages,) = set(image.dims) - {"z", "y", "x"}
    np.testing.assert_array_equal(image.transpose("z", pages, "y", "x"), np.stack(volumes))


def test_channels_that_files_name(save_ome):
    def named(name, color):
        return {"axes": "YX", "Channel": {"Name": [name], "Color": [color]}}

    colors = {"DAPI": (0x0000FFFF, "0000FF"), "GFP": (0x00FF00FF, "00FF00")}
    files = {
        f"{name}{z}.ome.tif": (planes(1)[0], named(name, number))
        for name, (number, _) in colors.items()
        for z in range(2)
    }
    paths = save_ome(files)
    image = open_tiff_stack([paths[:2], paths[2:]])
    assert image.c.values.tolist() == ["DAPI", "GFP"]
    assert image.channel_color.values.tolist() == ["0000FF", "00FF00"]
    assert open_tiff_stack(paths[::2], dim="c").c.values.tolist() == ["DAPI", "GFP"]
    # along z, where all agree it is known still
    assert open_tiff_stack(paths[:2]).c.item() == "DAPI"
    with pytest.warns(
        NgffWarning, match=r"2 of 4 files, such as GFP0\.ome\.tif, state another 'c' than the first"
    ) as caught:
        mixed = open_tiff_stack([paths[::2], paths[1::2]])
    assert len(caught) == 1
    assert mixed.c.values.tolist() == ["DAPI", "DAPI"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_tiff_stack([paths[::2], paths[1::2]], channels=["A", "B"])


def test_planes_that_lie_beside_each_other(save_ome):
    def at(x, size):
        return placed(0, plane={"PositionX": x, "PositionXUnit": "µm"}) | {"PhysicalSizeX": size}

    paths = save_ome({f"z{i}.ome.tif": (array, at(100 * i, 0.5)) for i, array in enumerate(planes(3))})
    with pytest.warns(
        NgffWarning, match=r"2 of 3 files, such as z1\.ome\.tif, state another 'x' than the first"
    ) as caught:
        image = open_tiff_stack(paths)
    assert len(caught) == 1
    assert image.x.values.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


# --- what does not fit ----------------------------------------------------------------------------------------------


def test_every_odd_file_is_named_with_what_it_has(save):
    files = {f"z{i}.tif": array for i, array in enumerate(planes(6))}
    files["z2.tif"] = np.zeros((5, 6), "uint8")
    files["z3.tif"] = np.zeros((5, 7), "uint16")
    files["z5.tif"] = np.zeros((5, 6, 3), "uint8")
    paths = save(files)
    with pytest.raises(FormatError) as caught:
        open_tiff_stack(paths)
    message = str(caught.value)
    assert f"3 of 6 files do not fit with the first, {paths[0]}, which has uint16 with y 5, x 6:" in message
    assert f"{paths[2]} has uint8 with y 5, x 6;" in message
    assert f"{paths[3]} has uint16 with y 5, x 7;" in message
    assert f"{paths[5]} has uint8 with c 3, y 5, x 6." in message
    assert "z1.tif" not in message


def test_volumes_of_a_nested_list_must_be_of_one_length_for_each_place(save):
    arrays = {"a.tif": np.zeros((3, 5, 6), "u2"), "b.tif": np.zeros((2, 5, 6), "u2")}
    a, b = save(arrays, imagej=True, metadata={"axes": "ZYX"})
    assert open_tiff_stack([[a, b], [a, b]]).sizes["z"] == 5
    with pytest.raises(FormatError, match=r"2 of 4 files do not fit"):
        open_tiff_stack([[a, b], [b, a]])


def test_a_file_that_is_no_tiff_is_named(save, tmp_path):
    paths = save({f"z{i}.tif": array for i, array in enumerate(planes(3))})
    paths[1].write_bytes(b"\x89PNG" * 10)
    with pytest.raises(FormatError, match=r"z1\.tif is no TIFF file"):
        open_tiff_stack(paths)
    paths[1].write_bytes(b"")
    with pytest.raises(FormatError, match=r"z1\.tif is empty"):
        open_tiff_stack(paths)


@pytest.mark.parametrize(
    ("paths", "dim", "error", "said"),
    [
        ([], "z", GeometryError, "empty list"),
        ([["a", "b"], ["c"]], "z", GeometryError, "lists of 2, 1 files"),
        ("a", "x", GeometryError, "dim='x': files are joined along one of"),
        ("nothing*.tif", "z", MissingFileError, "no file matches 'nothing*.tif'"),
    ],
)
def test_what_is_no_stack(paths, dim, error, said):
    with pytest.raises(error, match=re.escape(said)):
        open_tiff_stack(paths, dim=dim)


def test_files_of_one_data_set(tmp_path):
    name = "a.ome.tif"
    data = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{own}.ome.tif">urn:uuid:{own}</UUID></TiffData>'
        for z, own in enumerate("ab")
    )
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="5" SizeZ="2" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )
    for own, array in zip("ab", planes(2), strict=True):
        tifffile.imwrite(tmp_path / f"{own}.ome.tif", array, ome=False, metadata=None, description=xml.format(own=own))
    one = open_tiff_stack(tmp_path / name)
    np.testing.assert_array_equal(one, np.stack(planes(2)))
    with pytest.raises(FormatError, match=r"b\.ome\.tif and .*a\.ome\.tif belong to one data set of 2 files"):
        open_tiff_stack(f"{tmp_path}/*.ome.tif")


def test_lenient_reading_warns_once(save_ome):
    about = {"axes": "YX", "PhysicalSizeX": -1.0}
    paths = save_ome({f"z{i}.ome.tif": (array, about) for i, array in enumerate(planes(5))})
    with pytest.warns(NgffWarning, match=r"stack of 5 files from .*PhysicalSizeX '-1.0'.* \(5 files\)") as caught:
        open_tiff_stack(paths)
    assert len(caught) == 1


def test_a_warning_names_only_so_much(save_ome):
    paths = save_ome({f"z{i}.ome.tif": (planes(1)[0], {"axes": "YX", "PhysicalSizeX": -1.0 - i}) for i in range(24)})
    with pytest.warns(NgffWarning, match=r"PhysicalSizeX '-20.0' .*; and 4 more") as caught:
        open_tiff_stack(paths)
    assert len(caught) == 1


# --- with what is written --------------------------------------------------------------------------------------------


def written(shape, dims, **options):
    options.setdefault("spacing", {"t": 1.5, "z": 3.0, "y": 0.5, "x": 0.25})
    options.setdefault("origin", {"t": 6.0, "z": -7.0, "y": 100.0, "x": 0.125})
    options.setdefault("units", {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"})
    named = {"spacing", "origin", "units"}
    kept = {k: {d: v for d, v in options[k].items() if d in dims} if k in named else options[k] for k in options}
    return as_image(np.arange(np.prod(shape)).reshape(shape).astype("u2"), dims, **kept)


@pytest.mark.parametrize("dims", ["zyx", "tyx"])
def test_round_trip_of_a_stack(dims, tmp_path):
    image = written((11, 5, 6), dims)
    write_tiff_stack(image, f"{tmp_path}/{{{dims[0]}}}.tif")
    xr.testing.assert_identical(open_tiff_stack(f"{tmp_path}/*.tif", dim=dims[0]), image)


@pytest.mark.parametrize("dim", ["z", "t"])
def test_round_trip_with_channels(dim, tmp_path):
    channels = [Channel("DAPI", "0000FF", (0, 900), (0, 4095)), Channel("GFP µ", "00FF00"), Channel(None, "FF00FF")]
    image = written((3, 4, 5, 6), ("c", dim, "y", "x"), channels=channels)
    write_tiff_stack(image, f"{tmp_path}/{{c}}_{{{dim}:03d}}.tif")
    paths = [[tmp_path / f"{c}_{i:03d}.tif" for i in range(4)] for c in range(3)]
    xr.testing.assert_identical(open_tiff_stack(paths, dim=dim), image)
    back = open_tiff_stack([row[2] for row in paths], dim="c")
    xr.testing.assert_identical(back, image.isel({dim: 2}))


def test_round_trip_without_units(tmp_path):
    image = as_image(np.arange(90).reshape(3, 5, 6).astype("u1"))
    write_tiff_stack(image, tmp_path / "{z}.tif")
    xr.testing.assert_identical(open_tiff_stack(f"{tmp_path}/*.tif"), image)


def test_round_trip_of_irregular_times(tmp_path):
    image = written((4, 5, 6), "tyx")
    image = image.assign_coords(t=xr.Variable("t", [0.0, 1.0, 2.5, 9.0], {"units": "second"}))
    write_tiff_stack(image, tmp_path / "{t}.tif")
    xr.testing.assert_identical(open_tiff_stack(f"{tmp_path}/*.tif", dim="t"), image)


def test_round_trip_keeps_the_start_of_the_experiment(tmp_path):
    image = written((4, 5, 6), "tyx")
    image.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
    write_tiff_stack(image, tmp_path / "{t}.tif")
    xr.testing.assert_identical(open_tiff_stack(f"{tmp_path}/*.tif", dim="t"), image)


def test_a_stack_overwrites_the_files_that_it_is_read_from(tmp_path):
    image = written((6, 5, 6), "zyx")
    write_tiff_stack(image, tmp_path / "{z}.tif")
    turned = open_tiff_stack(f"{tmp_path}/*.tif").isel(y=slice(None, None, 2)) + 1
    lazily = open_tiff_stack(f"{tmp_path}/*.tif").isel(y=slice(None, None, 2))
    write_tiff_stack(lazily, tmp_path / "{z}.tif", overwrite=True)
    np.testing.assert_array_equal(open_tiff_stack(f"{tmp_path}/*.tif") + 1, turned)


def test_open_mfdataset_does_the_same(tmp_path):
    image = written((4, 5, 6), "zyx")
    write_tiff_stack(image, tmp_path / "{z}.tif")
    paths = [tmp_path / f"{z}.tif" for z in range(4)]
    with xr.open_mfdataset(paths, engine="ome-tiff", combine="nested", concat_dim="z") as stack:
        xr.testing.assert_equal(stack.image.load(), open_tiff_stack(paths))
