"""Files as nibabel wrote them, read and compared with what nibabel reads."""

from __future__ import annotations

import gzip
import itertools
import pickle
import threading

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff import geometry
from xarray_ngff.backends.nifti import reader
from xarray_ngff.errors import FormatError, NgffWarning

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16"]
CONTAINERS = ["image.nii", "image.nii.gz", "image.hdr"]


def numbers(shape, dtype, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        ends = np.iinfo(dtype)
        return rng.integers(ends.min, ends.max, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)
    array = rng.normal(size=shape) * 100
    return (array + 1j * rng.normal(size=shape) if dtype.kind == "c" else array).astype(dtype)


def test_shipped_files_read_as_nibabel_reads_them(shipped, nibabel_of, opened):
    truth, image = nibabel_of(shipped), opened(shipped)
    np.testing.assert_allclose(geometry.affine(image), truth.affine, rtol=1e-6, atol=1e-6)
    assert image.shape == truth.values.shape
    np.testing.assert_allclose(image.values, truth.values, rtol=1e-6)
    np.testing.assert_array_equal(opened(shipped, mask_and_scale=False).values, truth.stored)
    assert {image[dim].attrs["units"] for dim in ("x", "y", "z")} == {"millimeter"}


def test_a_time_series_has_times(opened):
    path = nib.testing.data_path / "functional.nii"
    image = opened(path)
    assert image.dims == ("t", "z", "y", "x")
    np.testing.assert_array_equal(image.t.values, 2.0 * np.arange(20))
    assert image.t.attrs["units"] == "second"


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_in_every_container(dtype, name, version, endian, save, opened, nibabel_of):
    path = save(numbers((4, 3, 2), dtype), name=name, version=version, endian=endian)
    image, truth = opened(path, mask_and_scale=False), nibabel_of(path)
    assert truth.header.endianness == endian
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.values, truth.stored)


@pytest.mark.parametrize("stored", ["RAS", "LPS", "sagittal", "coronal", "oblique", "sagittal-oblique", "sheared"])
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_axes_are_named_by_the_world_axis_that_they_run_along(stored, name, affines, save, opened, nibabel_of):
    path = save(numbers((4, 5, 6, 2), "i2"), affines[stored], name=name)
    image, truth = opened(path), nibabel_of(path)
    assert image.dims == ("t", "z", "y", "x")
    np.testing.assert_allclose(geometry.affine(image), truth.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(image.values, truth.values)
    part = {"z": slice(None, None, -2), "x": 1, "y": [0, 2]}
    np.testing.assert_array_equal(image.isel(part).values, image.load().isel(part).values)


@pytest.mark.parametrize("codes", [(1, 1), (0, 3), (4, 0), (0, 0)])
def test_the_best_affine_is_that_of_nibabel(codes, save, opened, nibabel_of):
    path = save(numbers((4, 5, 6), "u1"), codes=codes)
    truth = nibabel_of(path)
    np.testing.assert_allclose(geometry.affine(opened(path)), truth.affine, rtol=1e-6)
    assert (int(truth.header["sform_code"]), int(truth.header["qform_code"])) == codes


def test_sform_and_qform_that_differ(save, opened, patch):
    path = save(numbers((4, 5, 6), "u1"), codes=(2, 1))
    patch(path, qoffset_x=99.0)
    np.testing.assert_allclose(geometry.affine(opened(path)), nib.load(path).get_sform())


@pytest.mark.parametrize(("code", "unit"), [(1, "meter"), (2, "millimeter"), (3, "micrometer"), (0, "millimeter")])
def test_coordinates_keep_the_unit_of_the_file(code, unit, save, opened, nibabel_of):
    path = save(numbers((4, 5, 6), "u1"), xyzt_units=code)
    image = opened(path)
    assert image.x.attrs["units"] == unit
    np.testing.assert_allclose(geometry.affine(image), nibabel_of(path).affine)


@pytest.mark.parametrize(("code", "factor"), [(8, 1), (16, 1e-3), (24, 1e-6), (0, 1)])
def test_times_are_in_seconds(code, factor, save, opened):
    path = save(numbers((2, 2, 2, 3), "u1"), xyzt_units=2 + code, pixdim=[1, 1, 1, 1, 1500, 1, 1, 1], toffset=500)
    time = opened(path).t
    np.testing.assert_allclose(time.values, factor * np.array([500, 2000, 3500]))
    assert time.attrs["units"] == "second"


def test_a_spectral_axis_keeps_its_unit(save, opened):
    path = save(numbers((2, 2, 2, 3), "u1"), xyzt_units=2 + 40, pixdim=[1, 1, 1, 1, 0.5, 1, 1, 1])
    assert opened(path).t.attrs["units"] == "ppm"


@pytest.mark.parametrize("step", [0, np.nan, np.inf])
def test_frames_without_a_repetition_time_are_only_counted(step, save, opened, patch):
    path = save(numbers((2, 2, 2, 3), "u1"))
    patch(path, pixdim=[1, 1, 1, 1, step, 1, 1, 1])
    image = opened(path)
    assert image.dims == ("t", "z", "y", "x")
    assert "t" not in image.coords


def test_a_unit_code_that_does_not_exist_warns(save, opened):
    path = save(numbers((2, 2, 2, 3), "u1"), xyzt_units=5 + 56)
    with pytest.warns(NgffWarning) as found:
        image = opened(path)
    assert [str(warning.message).split(": ")[1] for warning in found] == [
        "xyzt_units holds the code 5, which is no unit; read as millimeter",
        "xyzt_units holds the code 56, which is no unit; read as second",
    ]
    assert image.x.attrs["units"] == "millimeter"


@pytest.mark.parametrize(
    ("shape", "intent", "dims"),
    [
        ((4, 3, 2), 0, "zyx"),
        ((4, 3, 1), 0, "zyx"),
        ((4, 3, 2, 1), 0, "tzyx"),
        ((4, 3, 2, 5), 2001, "tzyx"),
        ((4, 3, 2, 5), 1007, "czyx"),
        ((4, 3, 2, 3), 2006, "czyx"),
        ((4, 3, 2, 1, 3), 1007, "czyx"),
        ((4, 3, 2, 1, 3), 0, "czyx"),
        ((4, 3, 2, 5, 3), 0, "tczyx"),
        ((4, 3, 2, 5, 1), 0, "tzyx"),
        ((4, 3, 2, 1, 1, 2), 0, "vzyx"),
        ((4, 3, 2, 2, 3, 2, 3), 0, "tcvwzyx"),
    ],
)
def test_outer_axes(shape, intent, dims, save, opened, nibabel_of):
    path = save(numbers(shape, "i2"), intent_code=intent)
    image = opened(path)
    assert "".join(image.dims) == dims
    np.testing.assert_array_equal(image.values, nibabel_of(path).values)


def test_a_flat_file_keeps_its_place(affines, save, opened):
    path = save(numbers((5, 4), "i2"), affines["oblique"])
    image = opened(path)
    assert image.dims == ("y", "x")
    assert image.z.ndim == 0
    np.testing.assert_allclose(geometry.affine(image), nib.load(path).affine, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(image.values, nib.load(path).get_fdata().T)


def test_a_flat_file_across_another_axis(affines, save, opened):
    path = save(numbers((5, 4), "i2"), affines["sagittal"])
    image = opened(path)
    assert image.dims == ("z", "y")
    assert image.x.ndim == 0
    np.testing.assert_allclose(geometry.affine(image), nib.load(path).affine[:, [2, 0, 1, 3]], rtol=1e-6, atol=1e-6)


def test_a_single_line(save, opened):
    image = opened(save(numbers((5,), "i2")))
    assert image.dims == ("x",)
    assert geometry.affine(image).shape == (4, 4)


@pytest.mark.parametrize("parts", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_colours_become_channels(parts, name, save, opened):
    colours = np.zeros((4, 3, 2), dtype=[(part, "u1") for part in parts])
    for part in parts:
        colours[part] = numbers((4, 3, 2), "u1", seed=ord(part))
    image = opened(save(colours, name=name))
    assert image.dims == ("c", "z", "y", "x")
    assert image.dtype == np.uint8
    assert image.c.values.tolist() == list(parts)
    for part in parts:
        np.testing.assert_array_equal(image.sel(c=part).values, colours[part].T)


def test_colours_over_time(save, opened):
    colours = np.zeros((4, 3, 2, 5, 2), dtype=[(part, "u1") for part in "RGB"])
    colours["G"] = numbers(colours.shape, "u1")
    image = opened(save(colours))
    assert image.dims == ("t", "c", "v", "z", "y", "x")
    np.testing.assert_array_equal(image.sel(c="G").values, colours["G"].transpose(3, 4, 2, 1, 0))


def test_a_label_image_is_called_labels(save, opened):
    assert opened(save(numbers((2, 2, 2), "u2"), intent_code=1002)).name == "labels"
    assert opened(save(numbers((2, 2, 2), "f4"), intent_code=1002)).name == "image"


@pytest.mark.parametrize(
    ("dtype", "slope", "intercept", "expected"),
    [
        ("i2", 0.0754, 2304.3, "f4"),
        ("u1", 2.0, -3.0, "f4"),
        ("i2", 1e-4, 1000.0, "f8"),
        ("i4", 2.0, 0.0, "f8"),
        ("f4", 3.0, 1.0, "f8"),
        ("i2", 1.0, 0.0, "i2"),
        ("i2", 0.0, 5.0, "i2"),
        ("i2", np.nan, np.nan, "i2"),
        ("c8", 2.0, 1.0, "c8"),
    ],
)
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_slope_and_intercept(dtype, slope, intercept, expected, name, save, opened, patch, nibabel_of):
    path = save(numbers((4, 3, 2), dtype))
    patch(path, scl_slope=slope, scl_inter=intercept)
    if name.endswith(".gz"):
        path.with_suffix(".nii.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_suffix(".nii.gz")
    image, truth = opened(path), nibabel_of(path)
    assert image.dtype == np.dtype(expected)
    if dtype != "c8":  # nibabel scales complex numbers, which the standard forbids
        np.testing.assert_allclose(image.values, truth.values, rtol=2e-7, atol=2e-7 * np.nan_to_num(abs(intercept)))
    else:
        np.testing.assert_array_equal(image.values, truth.stored)
    raw = opened(path, mask_and_scale=False)
    np.testing.assert_array_equal(raw.values, truth.stored)
    for variant in (image, raw):
        kept = variant.encoding["nifti"]["scl_slope"]
        assert kept is None if np.isnan(slope) else kept == np.float32(slope)


def test_a_slope_without_a_finite_intercept(save, opened, patch):
    path = save(numbers((4, 3, 2), "i2"))
    patch(path, scl_slope=2.0, scl_inter=np.inf)
    with pytest.raises(FormatError, match=r"image\.nii: scl_slope is 2 but scl_inter is inf.*mask_and_scale=False"):
        opened(path)
    assert opened(path, mask_and_scale=False).dtype == np.int16


def test_opening_reads_the_header_alone(save, opened):
    whole = save(numbers((40, 30, 20), "i2"))
    raw = whole.read_bytes()
    for name, content in (("short.nii", raw[:400]), ("short.nii.gz", gzip.compress(raw)[:600])):
        path = whole.with_name(name)
        path.write_bytes(content)
        image = opened(path)
        assert image.shape == (20, 30, 40)
        with pytest.raises(FormatError, match=rf"{name} is truncated or corrupt: expected 48352 bytes .* found \d+"):
            image.load()


def test_a_truncated_stream_gives_what_it_has(save, opened):
    path = save(numbers((64, 64, 64), "i2"), name="image.nii.gz")
    whole = opened(path).isel(z=slice(0, 2)).values
    path.write_bytes(path.read_bytes()[:-20_000])
    image = opened(path)
    np.testing.assert_array_equal(image.isel(z=slice(0, 2)).values, whole)
    with pytest.raises(FormatError, match=r"expected 524640 bytes .*, found 5\d{5} \("):
        image.load()
    np.testing.assert_array_equal(image.isel(z=slice(0, 2)).values, whole)


def test_a_file_that_is_gone_or_shrank(save, opened):
    path = save(numbers((4, 4, 4), "i2"), name="image.nii.gz")
    image = opened(path)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="the header promises 480 bytes, more than a gzip file of 0 bytes can hold"):
        image.load()
    path.unlink()
    with pytest.raises(FileNotFoundError):
        image.load()


def test_trouble_of_the_disk_is_not_called_corruption(save, opened, monkeypatch):
    image = opened(save(numbers((4, 4, 4), "i2"), name="image.nii.gz"))

    def broken(stream, position, count):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reader, "_bytes_at", broken)
    with pytest.raises(OSError, match="Input/output error"):
        image.load()


def test_a_corrupt_stream(save, opened):
    path = save(np.zeros((64, 64, 64), "i2"), name="image.nii.gz")
    raw = bytearray(path.read_bytes())
    raw[600:700] = b"\xff" * 100
    path.write_bytes(bytes(raw))
    with pytest.raises(FormatError, match="truncated or corrupt"):
        opened(path).load()


def test_a_selection_reads_only_what_it_needs(save, opened, monkeypatch):
    image = opened(save(numbers((50, 40, 30), "i2"), name="image.nii.gz"))
    read = []
    original = reader._bytes_at
    monkeypatch.setattr(reader, "_bytes_at", lambda stream, at, n: read.append((at, n)) or original(stream, at, n))
    image.isel(z=slice(3, 5)).load()
    assert read == [(352 + 3 * 50 * 40 * 2, 2 * 50 * 40 * 2)]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_stream_is_indexed_like_an_array(data, tmp_path_factory):
    shape = (7, 5, 6, 3)
    array = np.arange(np.prod(shape), dtype="i2").reshape(shape)
    path = tmp_path_factory.getbasetemp() / "indexed.nii.gz"
    if not path.exists():
        nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    with pytest.MonkeyPatch.context() as patched:
        # pieces so small that every way to split is taken
        patched.setattr("xarray_ngff.backends.nifti.reader._PIECE", data.draw(st.sampled_from([2, 6, 30, 100, 500])))
        with xr.open_dataset(path, engine="nifti") as dataset:
            image, expected = dataset["image"], xr.DataArray(array.T, dims=("t", "z", "y", "x"))
            chosen = {}
            for dim, size in expected.sizes.items():
                index = st.integers(-size, size - 1)
                chosen[dim] = data.draw(
                    index
                    | st.builds(slice, index, st.integers(-size, size + 1), st.integers(1, 3))
                    | st.lists(index, max_size=4).map(lambda i: np.array(i, dtype=int))
                )
            np.testing.assert_array_equal(image.isel(chosen).values, expected.isel(chosen).values)


@pytest.mark.parametrize("name", CONTAINERS)
def test_it_pickles_before_and_after_reading(name, save, opened):
    image = opened(save(numbers((6, 5, 4), "i2"), name=name))
    lazy = pickle.loads(pickle.dumps(image.isel(z=1)))
    expected = image.values
    np.testing.assert_array_equal(lazy.values, expected[1])
    fresh = opened(image.encoding["source"])
    fresh.isel(x=0).load()
    again = pickle.loads(pickle.dumps(fresh))
    np.testing.assert_array_equal(again.values, expected)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_threads_share_it(name, save, opened):
    array = numbers((32, 32, 32), "i2")
    image = opened(save(array, name=name))
    wrong = []

    def check(offset):
        planes = itertools.chain(range(offset, 32, 4), range(offset, 32, 5))
        wrong.extend(z for z in planes if not np.array_equal(image.isel(z=z).values, array[:, :, z].T))

    threads = [threading.Thread(target=check, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_dask_reads_the_chunks_that_the_file_prefers(save, monkeypatch):
    array = numbers((8, 8, 8, 6), "i2")
    path = save(array, name="image.nii.gz")
    monkeypatch.setattr("xarray_ngff.backends.nifti.reader._CHUNK", 8 * 8 * 8 * 2 * 4)
    with xr.open_dataset(path, engine="nifti", chunks={}) as dataset:
        image = dataset["image"]
        assert image.chunksizes == {"t": (4, 2), "z": (8,), "y": (8,), "x": (8,)}
        np.testing.assert_array_equal(image.values, array.T)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_nothing_stays_open(name, save):
    import psutil

    path = save(numbers((6, 5, 4), "i2"), name=name)
    dataset = xr.open_dataset(path, engine="nifti")
    values = dataset["image"].values
    dataset.close()
    process = psutil.Process()
    assert str(path) not in {file.path for file in process.open_files()}
    assert str(path) not in {mapped.path for mapped in process.memory_maps()}
    assert values.shape == (4, 5, 6)


def test_without_indexed_gzip_slabs_are_read_forward(save, opened, monkeypatch):
    """Python's gzip starts anew when it goes back: reading in order must not."""
    from nibabel import openers
    from nibabel._compression import DeterministicGzipFile

    rewinds = []

    class Counted(DeterministicGzipFile):
        def rewind(self):
            rewinds.append(self.tell())
            return super().rewind()

    monkeypatch.setitem(
        openers.ImageOpener.compress_ext_map, ".gz", (lambda path, mode="rb", **_: Counted(path, mode), ("mode",))
    )
    array = numbers((16, 16, 16), "i2")
    image = opened(save(array, name="image.nii.gz"))
    for z in range(16):
        np.testing.assert_array_equal(image.isel(z=z).values, array[:, :, z].T)
    assert rewinds == []


def test_a_voxel_that_is_asked_for_twice(save, opened):
    image = opened(save(numbers((3, 4, 5), "i2"), name="image.nii.gz"))
    whole = image.values
    np.testing.assert_array_equal(opened(image.encoding["source"]).isel(z=[0, 0, 2]).values, whole[[0, 0, 2]])
    np.testing.assert_array_equal(opened(image.encoding["source"]).isel(x=[1, 1, 2]).values, whole[:, :, [1, 1, 2]])
