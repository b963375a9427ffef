"""Images written, and read by nibabel."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from nibabel.nifti1 import Nifti1Extension

from xarray_ngff import as_image, geometry
from xarray_ngff.backends.nifti import write_nifti
from xarray_ngff.errors import FormatError, GeometryError, MissingFolderError, TargetExistsError, UnitError

CONTAINERS = ["image.nii", "image.nii.gz", "image.hdr", "image.img"]


def image_of(shape, dims, dtype="i2", **options):
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    options.setdefault("spacing", {dim: 0.5 for dim in dims if dim in "xyz"})
    options.setdefault("units", {dim: "millimeter" for dim in dims if dim in "xyz"})
    return as_image(data, dims, **options).transpose(*dims)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out.nii"


def test_shipped_files_come_back(shipped, nibabel_of, opened, tmp_path):
    before = nibabel_of(shipped)
    path = tmp_path / shipped.name
    write_nifti(opened(shipped), path)
    after = nibabel_of(path)
    assert after.image.shape == before.image.shape
    assert after.header.get_data_dtype() == before.header.get_data_dtype().newbyteorder("=")
    np.testing.assert_allclose(after.image.affine, before.image.affine, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(after.stored, before.stored)
    np.testing.assert_allclose(after.values, before.values, rtol=1e-7)
    assert after.header.get_xyzt_units() == before.header.get_xyzt_units()
    assert after.header.get_slope_inter() == before.header.get_slope_inter()
    n = len(before.image.shape)
    np.testing.assert_allclose(after.header["pixdim"][1 : n + 1], before.header["pixdim"][1 : n + 1], rtol=1e-6)
    if before.header["qform_code"]:
        np.testing.assert_allclose(after.header.get_qform(), before.header.get_qform(), rtol=1e-5, atol=1e-5)
    kept = ["descrip", "aux_file", "intent_code", "intent_name", "cal_min", "cal_max", "toffset", "dim_info"]
    kept += ["slice_start", "slice_end", "slice_code", "slice_duration", "sform_code", "qform_code", "sizeof_hdr"]
    for key in kept:
        assert after.header[key] == before.header[key], key
    assert [(e.get_code(), e.content) for e in after.header.extensions] == [
        (e.get_code(), e.content) for e in before.header.extensions
    ]


@pytest.mark.parametrize("stored", ["RAS", "LPS", "sagittal", "coronal", "oblique", "sagittal-oblique", "sheared"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_every_storage_comes_back_in_place(stored, name, affines, save, opened, nibabel_of, tmp_path):
    source = save(np.arange(240, dtype=">i2").reshape(4, 5, 6, 2), affines[stored], endian=">")
    path = tmp_path / "out" / name
    path.parent.mkdir()
    write_nifti(opened(source), path)
    before, after = nibabel_of(source), nibabel_of(path)
    assert after.columns == [0, 1, 2]
    np.testing.assert_allclose(after.image.affine, before.affine, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(after.stored, before.stored)
    # a crop, a flip and a stride keep every voxel where it was
    part = opened(source).isel(x=slice(None, None, -2), y=slice(1, 4), z=2, t=1)
    write_nifti(part, path, overwrite=True)
    cropped = nib.load(path)
    points = {}
    for i, j in np.ndindex(part.sizes["x"], part.sizes["y"]):
        world = (cropped.affine @ [i, j, 0, 1])[:3]
        points[tuple(np.round(world, 3) + 0.0)] = float(cropped.dataobj[i, j])
    whole = before.image.get_fdata()
    for world, value in points.items():
        index = np.rint(np.linalg.inv(before.image.affine) @ [*world, 1])[:3].astype(int)
        assert whole[(*index, 1)] == value


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("bool", "u1"),
        ("f2", "f4"),
        *((name, name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16", ">i2")),
    ],
)
def test_types(given, stored, version, target, opened):
    image = image_of((3, 4, 5), "zyx", given)
    write_nifti(image, target, version=version)
    written = nib.load(target)
    assert written.get_data_dtype() == np.dtype(stored).newbyteorder("<")
    assert int(written.header["sizeof_hdr"]) == {1: 348, 2: 540}[version]
    np.testing.assert_array_equal(np.asarray(written.dataobj.get_unscaled()), image.values.T)


@pytest.mark.parametrize("dtype", ["M8[ns]", "U3", "O"])
def test_types_that_nifti_lacks(dtype, target):
    image = image_of((2, 2, 2), "zyx").copy(data=np.zeros((2, 2, 2), dtype))
    with pytest.raises(FormatError, match=r"NIfTI has no type for .*img\.astype"):
        write_nifti(image, target)
    assert not target.exists()


def test_long_double_where_numpy_has_no_ieee_type(target):
    from nibabel.casting import have_binary128

    image = image_of((2, 2, 2), "zyx", np.longdouble)
    if have_binary128() or np.dtype(np.longdouble).itemsize == 8:
        write_nifti(image, target)
        assert nib.load(target).get_data_dtype() == np.longdouble
    else:
        with pytest.raises(FormatError, match=f"no type for {np.dtype(np.longdouble)}"):
            write_nifti(image, target)


@pytest.mark.parametrize(
    ("dims", "sizes", "expected"),
    [
        ("yx", (4, 5), (5, 4)),
        ("xy", (5, 4), (5, 4)),
        ("zyx", (1, 4, 5), (5, 4, 1)),
        ("zy", (3, 4), (1, 4, 3)),
        ("x", (5,), (5,)),
        ("tyx", (2, 4, 5), (5, 4, 1, 2)),
        ("tzyx", (1, 3, 4, 5), (5, 4, 3, 1)),
        ("czyx", (2, 3, 4, 5), (5, 4, 3, 1, 2)),
        ("czyx", (1, 3, 4, 5), (5, 4, 3, 1, 1)),
        ("tczyx", (2, 3, 3, 4, 5), (5, 4, 3, 2, 3)),
        ("tczyx", (1, 1, 3, 4, 5), (5, 4, 3, 1, 1)),
        ("zxcyt", (3, 5, 2, 4, 6), (5, 4, 3, 6, 2)),
        ("tcvwzyx", (2, 3, 4, 5, 2, 1, 1), (1, 1, 2, 2, 3, 4, 5)),
    ],
)
def test_dims(dims, sizes, expected, target, opened):
    image = image_of(sizes, tuple(dims))
    write_nifti(image, target)
    written = nib.load(target)
    assert written.shape == expected
    back = opened(target)
    assert set(image.dims) <= set(back.dims) | set(back.coords)
    np.testing.assert_array_equal(back.squeeze(set(back.dims) - set(dims)).transpose(*dims).values, image.values)


def test_a_plane_keeps_its_place(affines, save, opened, target):
    volume = opened(save(np.arange(60, dtype="i2").reshape(3, 4, 5), affines["oblique"]))
    for chosen in ({"z": 2}, {"y": 1}, {"x": -1}, {"z": 1, "y": 2}):
        write_nifti(volume.isel(chosen), target, overwrite=True)
        corner = [chosen.get(dim, 0) % volume.sizes[dim] for dim in "xyz"]
        expected = geometry.affine(volume) @ np.array([*corner, 1])
        np.testing.assert_allclose(nib.load(target).affine[:, 3], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("angle", "y", "x"), r"dim 'angle' has no place in a NIfTI file.*img\.isel\(angle=0\)"),
        (("u", "y", "x"), "dim 'u' has no place"),
    ],
)
def test_dims_that_nifti_lacks(dims, message, target):
    with pytest.raises(FormatError, match=message):
        write_nifti(image_of((2, 3, 4), ("z", "y", "x")).rename(z=dims[0]), target)


def test_an_empty_dim(target):
    with pytest.raises(FormatError, match="dim 'y' is empty"):
        write_nifti(image_of((2, 3, 4), ("z", "y", "x")).isel(y=slice(0, 0)), target)


def test_units_become_millimetres(target):
    image = image_of((2, 3, 4), ("z", "y", "x"), units="micrometer", spacing=[2.0, 0.5, 0.25], origin=[10, 20, 30])
    write_nifti(image, target)
    header = nib.load(target).header
    np.testing.assert_allclose(
        header.get_best_affine()[:3], [[2.5e-4, 0, 0, 0.03], [0, 5e-4, 0, 0.02], [0, 0, 2e-3, 0.01]]
    )
    assert header.get_xyzt_units() == ("mm", "unknown")


def test_units_may_differ_between_axes(target):
    image = image_of(
        (2, 3, 4),
        ("z", "y", "x"),
        units={"z": "nanometer", "y": "micrometer", "x": "um"},
        spacing=[500.0, 500.0, 500.0],
    )
    write_nifti(image, target)
    np.testing.assert_allclose(nib.load(target).header.get_zooms(), [0.5, 0.5, 5e-4])


def test_without_units_numbers_stay(target):
    write_nifti(image_of((2, 3, 4), ("z", "y", "x"), units=None), target)
    header = nib.load(target).header
    assert header.get_xyzt_units()[0] == "unknown"
    np.testing.assert_allclose(header.get_zooms(), 0.5)


def test_units_that_are_no_lengths(target):
    with pytest.raises(UnitError, match="second"):
        write_nifti(image_of((2, 3, 4), ("z", "y", "x"), units="second"), target)


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_the_unit_of_the_file_it_came_from(code, save, opened, target):
    image = opened(save(np.zeros((2, 3, 4), "i2"), xyzt_units=code + 8))
    write_nifti(image, target)
    before, after = nib.load(image.encoding["source"]), nib.load(target)
    assert int(after.header["xyzt_units"]) == code + 8
    np.testing.assert_allclose(after.affine, before.affine)


def test_a_unit_that_was_converted_is_not_the_one_it_came_from(save, opened, target):
    source = save(np.zeros((2, 3, 4), "i2"), xyzt_units=3)
    image = geometry.to_units(opened(source), "meter")
    write_nifti(image, target)
    after = nib.load(target)
    assert after.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(after.affine[:3], nib.load(source).affine[:3] * 1e-3, rtol=1e-6)


@pytest.mark.parametrize(
    ("unit", "step", "code", "expected"),
    [
        ("second", 2.5, 8, 2.5),
        ("millisecond", 40.0, 8, 0.04),
        ("minute", 1.0, 8, 60.0),
        (None, 3.0, 0, 3.0),
        ("hertz", 2, 32, 2),
    ],
)
def test_times(unit, step, code, expected, target):
    image = image_of((3, 2, 2, 2), ("t", "z", "y", "x"))
    image = image.assign_coords(t=geometry.coordinate("t", 3, start=step, step=step, units=unit))
    write_nifti(image, target)
    header = nib.load(target).header
    assert int(header["xyzt_units"]) & 56 == code
    assert header["pixdim"][4] == np.float32(expected)
    assert header["toffset"] == np.float32(expected)


@pytest.mark.parametrize("code", [0, 8, 16, 24])
def test_the_time_unit_of_the_file_it_came_from(code, save, opened, target):
    source = save(np.zeros((2, 3, 4, 5), "i2"), xyzt_units=2 + code, pixdim=[1, 1, 1, 1, 1500, 1, 1, 1], toffset=300)
    write_nifti(opened(source).isel(t=slice(1, None, 2)), target)
    header = nib.load(target).header
    assert int(header["xyzt_units"]) == 2 + code
    assert (header["pixdim"][4], header["toffset"]) == (3000, 1800)
    write_nifti(opened(source).isel(t=2), target, overwrite=True)
    assert nib.load(target).header["toffset"] == 3300


def test_frames_without_times(target, opened):
    image = image_of((3, 2, 2, 2), ("t", "z", "y", "x")).drop_vars("t", errors="ignore")
    write_nifti(image, target)
    assert nib.load(target).header["pixdim"][4] == 0
    assert "t" not in opened(target).coords


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [([0.0, 1.0, 5.0], GeometryError, "'t' is not regular"), ([2.0, 1.0, 0.0], FormatError, "t runs backwards")],
)
def test_times_that_nifti_cannot_say(times, error, message, target):
    image = image_of((3, 2, 2, 2), ("t", "z", "y", "x")).assign_coords(t=times)
    with pytest.raises(error, match=message):
        write_nifti(image, target)


def test_coordinates_that_are_not_regular(target):
    with pytest.raises(GeometryError, match="'y'"):
        write_nifti(image_of((2, 5, 4), ("z", "y", "x")).isel(y=[0, 1, 4]), target)
    with pytest.raises(GeometryError, match="has no coordinate"):
        write_nifti(xr.DataArray(np.zeros((2, 2, 2)), dims=("z", "y", "x")), target)
    assert not target.exists()


def test_channels_come_back(target, opened):
    described = [{"name": "DAPI", "color": "0000FF", "window": (0, 900)}, {"name": "µ-tubulin", "limits": (0, 4095)}]
    for shape, dims in (((2, 3, 4, 5), "czyx"), ((2, 2, 3, 4, 5), "tczyx"), ((2, 4, 5), "cyx")):
        image = image_of(shape, tuple(dims), channels=described)
        write_nifti(image, target, overwrite=True)
        back = opened(target)
        for name in ("c", "channel_color", "window_start", "window_end", "window_min", "window_max"):
            np.testing.assert_array_equal(back.coords[name], image.coords[name])
        (extension,) = nib.load(target).header.extensions
        assert extension.get_code() == 6
        assert [channel["name"] for channel in json.loads(extension.content)["xarray_ngff"]["channels"]] == [
            "DAPI",
            "µ-tubulin",
        ]


def test_channels_alone_need_no_extension(target, opened):
    write_nifti(image_of((3, 2, 4, 5), ("c", "z", "y", "x")), target)
    assert list(nib.load(target).header.extensions) == []
    assert opened(target).dims == ("c", "z", "y", "x")


def test_selecting_channels_selects_their_labels(target, opened):
    image = image_of((3, 2, 4, 5), ("c", "z", "y", "x"), channels=["a", "b", "c"])
    write_nifti(image, target)
    write_nifti(opened(target).isel(c=[2, 0]), target, overwrite=True)
    assert opened(target).c.values.tolist() == ["c", "a"]
    write_nifti(opened(target).sel(c="a"), target, overwrite=True)
    assert nib.load(target).shape == (5, 4, 2)


@pytest.mark.parametrize("shape", [(4, 3, 2, 3), (4, 3, 2, 1, 3), (4, 3, 2, 2, 3), (4, 3, 2, 5, 1), (4, 3, 2, 1, 1)])
@pytest.mark.parametrize("intent", [0, 1007, 2006])
def test_outer_axes_come_back_where_they_were(shape, intent, save, opened, target):
    source = save(np.arange(np.prod(shape), dtype="i2").reshape(shape), intent_code=intent)
    write_nifti(opened(source), target)
    after = nib.load(target)
    assert after.shape == shape
    assert int(after.header["intent_code"]) == intent
    assert list(after.header.extensions) == []
    np.testing.assert_array_equal(after.dataobj.get_unscaled(), nib.load(source).dataobj.get_unscaled())


@pytest.mark.parametrize("parts", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_colours_come_back(parts, name, save, opened, tmp_path):
    colours = np.zeros((4, 3, 2, 5), dtype=[(part, "u1") for part in parts])
    for i, part in enumerate(parts):
        colours[part] = np.arange(120).reshape(4, 3, 2, 5) + i
    image = opened(save(colours))
    path = tmp_path / "out" / name
    path.parent.mkdir()
    write_nifti(image, path)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), colours)
    # what is no longer a colour is written as channels
    write_nifti(image.isel(c=slice(0, 2)), path, overwrite=True)
    assert nib.load(path).shape == (4, 3, 2, 5, 2)
    assert opened(path).c.values.tolist() == ["R", "G"]


@pytest.mark.parametrize("version", [None, 1, 2])
def test_the_version_of_the_file_it_came_from(version, save, opened, target):
    for given in (1, 2):
        write_nifti(opened(save(np.zeros((2, 2, 2)), version=given)), target, version=version, overwrite=True)
        assert nib.load(target).header["sizeof_hdr"] == {1: 348, 2: 540}[version or given]


def test_long_axes_need_version_2(target):
    image = image_of((1, 2, 40_000), ("z", "y", "x"), "u1")
    with pytest.raises(FormatError, match=r"40000 long, and NIfTI-1 holds at most 32767: write version=2"):
        write_nifti(image, target, version=1)
    write_nifti(image, target)
    assert nib.load(target).shape == (40_000, 2, 1)
    with pytest.raises(FormatError, match="NIfTI has the versions 1 and 2"):
        write_nifti(image, target, version=3, overwrite=True)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4"])
@pytest.mark.parametrize(("slope", "intercept"), [(0.0754, 2304.3), (-3.5, 0.1), (1e-5, 0.0), (1.0, 7.0)])
def test_stored_integers_come_back(dtype, slope, intercept, save, opened, patch, nibabel_of, target):
    ends = np.iinfo(dtype)
    source = save(np.linspace(ends.min, ends.max, 60).astype(dtype).reshape(3, 4, 5))
    patch(source, scl_slope=slope, scl_inter=intercept)
    before = nibabel_of(source)
    for scaled in (True, False):
        write_nifti(opened(source, mask_and_scale=scaled), target, overwrite=True)
        after = nibabel_of(target)
        np.testing.assert_array_equal(after.stored, before.stored)
        assert after.header.get_data_dtype() == np.dtype(dtype)
        assert after.header.get_slope_inter() == before.header.get_slope_inter()


def test_values_that_the_stored_type_cannot_hold(save, opened, patch, target):
    source = save(np.zeros((2, 2, 2), "i2"))
    patch(source, scl_slope=0.5, scl_inter=0)
    image = opened(source).load()
    for value in (np.nan, 1e6):
        changed = image.copy(data=np.full(image.shape, value, "f4"))
        with pytest.raises(FormatError, match=r'stored as int16 with slope 0\.5.*del img\.encoding\["nifti"\]'):
            write_nifti(changed, target)
    assert not target.exists()
    del changed.encoding["nifti"]
    write_nifti(changed, target)
    np.testing.assert_array_equal(nib.load(target).get_fdata(), 1e6)


def test_a_file_without_scaling_says_so(save, opened, patch, target):
    source = save(np.arange(8, dtype="i2").reshape(2, 2, 2))
    for slope, intercept in ((0.0, 4.0), (np.nan, np.nan), (np.inf, 2.0), (1.0, 0.0)):
        patch(source, scl_slope=slope, scl_inter=intercept)
        write_nifti(opened(source), target, overwrite=True)
        np.testing.assert_array_equal(nib.load(target).dataobj, nib.load(source).dataobj)


@pytest.mark.parametrize(
    ("codes", "stored", "expected"),
    [
        ((1, 1), "oblique", (1, 1)),
        ((2, 4), "oblique", (2, 4)),
        ((0, 3), "oblique", (0, 3)),
        ((4, 0), "oblique", (4, 0)),
        ((2, 1), "sheared", (2, 1)),
        ((0, 0), "RAS", (1, 1)),
    ],
)
def test_codes(codes, stored, expected, affines, save, opened, target):
    source = save(np.zeros((2, 3, 4), "i2"), affines[stored], codes=codes)
    image = opened(source).isel(x=slice(1, None))
    write_nifti(image, target)
    header = nib.load(target).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == expected
    np.testing.assert_allclose(header.get_best_affine(), geometry.affine(image), rtol=1e-6, atol=1e-6)


def test_a_file_without_codes_stays_one_while_its_affine_says_the_same(save, opened, target):
    source = save(np.zeros((3, 4, 5), "i2"), codes=(0, 0))
    write_nifti(opened(source), target)
    header = nib.load(target).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    np.testing.assert_allclose(nib.load(target).affine, nib.load(source).affine)


def test_codes_of_an_image_that_came_from_elsewhere(target, affines):
    def codes(image):
        write_nifti(image, target, overwrite=True)
        return tuple(int(nib.load(target).header[f"{kind}form_code"]) for kind in "sq")

    data = np.zeros((2, 3, 4), "u1")
    assert codes(as_image(data, "zyx", affine=affines["oblique"], orientation="RAS", units="mm")) == (1, 1)
    assert codes(as_image(data, "zyx", affine=affines["sheared"], orientation="RAS", units="mm")) == (1, 0)
    assert codes(as_image(data, "zyx", spacing=[1.0, 1.0, 1.0])) == (2, 2)


def test_a_qform_elsewhere_moves_along(affines, save, opened, patch, target):
    """sform and qform may map to two worlds; after a crop each voxel is where it was in both."""
    source = save(np.zeros((6, 5, 4), "i2"), affines["oblique"], codes=(4, 1))
    patch(source, qoffset_x=55.0, qoffset_z=-3.0)
    before = nib.load(source)
    for unit in ("millimeter", "micrometer"):
        image = geometry.to_units(opened(source).isel(x=slice(2, None), y=slice(None, None, -1)), unit)
        write_nifti(image, target, overwrite=True)
        after = nib.load(target)
        assert (int(after.header["sform_code"]), int(after.header["qform_code"])) == (4, 1)
        first = np.array([2, 4, 0, 1])  # of the crop in the original, whose second axis is stored backwards already
        for form in ("get_sform", "get_qform"):
            np.testing.assert_allclose(
                getattr(after, form)()[:, 3], getattr(before, form)() @ first, rtol=1e-5, atol=1e-4
            )


def test_header_fields_come_back(save, opened, target):
    fields = {
        "descrip": "made by hand, µ".encode("latin-1"),
        "aux_file": b"other.txt",
        "intent_code": 3,
        "intent_name": b"t-map",
        "intent_p1": 11.0,
        "cal_min": -4.0,
        "cal_max": 9.0,
        "dim_info": 1 + (2 << 2) + (3 << 4),
        "slice_start": 0,
        "slice_end": 3,
        "slice_code": 4,
        "slice_duration": 0.05,
    }
    extensions = [Nifti1Extension(4, b"<afni/>"), Nifti1Extension(77, bytes(range(256)))]
    source = save(np.zeros((2, 3, 4), "i2"), extensions=extensions, **fields)
    write_nifti(opened(source), target)
    before, after = nib.load(source).header, nib.load(target).header
    for key in fields:
        assert after[key] == before[key], key
    assert [(e.get_code(), e.content) for e in after.extensions] == [
        (e.get_code(), e.content) for e in before.extensions
    ]


def test_dim_info_follows_the_axes(affines, save, opened, target):
    source = save(
        np.zeros((2, 3, 4), "i2"), affines["sagittal"], dim_info=1 + (2 << 2) + (3 << 4), slice_code=1, slice_end=3
    )
    image = opened(source)
    assert image.encoding["nifti"]["dim_info"] == {"frequency": "y", "phase": "z", "slice": "x"}
    write_nifti(image, target)
    header = nib.load(target).header
    assert header.get_dim_info() == (1, 2, 0)
    assert (int(header["slice_code"]), int(header["slice_end"])) == (1, 3)
    for changed in (image.isel(x=slice(1, None)), image.isel(x=slice(None, None, -1))):
        write_nifti(changed, target, overwrite=True)
        header = nib.load(target).header
        assert header.get_dim_info() == (1, 2, 0)
        assert (int(header["slice_code"]), int(header["slice_end"])) == (0, 0)


def test_labels_carry_their_intent(target, opened):
    write_nifti(image_of((2, 3, 4), ("z", "y", "x"), "u2", name="labels"), target)
    assert nib.load(target).header.get_intent()[0] == "label"
    assert opened(target).name == "labels"


@pytest.mark.parametrize("name", CONTAINERS)
def test_an_existing_target(name, tmp_path):
    path = tmp_path / name
    write_nifti(image_of((2, 2, 2), "zyx"), path)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(TargetExistsError, match="overwrite=True"):
        write_nifti(image_of((3, 3, 3), "zyx"), path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files
    write_nifti(image_of((3, 3, 3), "zyx"), path, overwrite=True)
    assert nib.load(path).shape == (3, 3, 3)
    assert len(list(tmp_path.iterdir())) == len(files)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_failure_on_the_way_leaves_what_was_there(name, tmp_path):
    import dask.array as da

    def fail(block):
        raise RuntimeError("no more")

    path = tmp_path / name
    good = image_of((6, 5, 4), "zyx")
    bad = good.copy(
        data=da.concatenate(
            [da.ones((3, 5, 4), chunks=3, dtype="i2"), da.ones((3, 5, 4), chunks=3).map_blocks(fail, dtype="i2")]
        )
    )
    with pytest.raises(RuntimeError, match="no more"):
        write_nifti(bad, path)
    assert list(tmp_path.iterdir()) == []
    write_nifti(good, path)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(RuntimeError, match="no more"):
        write_nifti(bad, path, overwrite=True)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("image.mgz", FormatError, r"ends with one of \.nii, \.nii\.gz, \.hdr, \.img"),
        ("image", FormatError, "ends with one of"),
        ("no/image.nii", MissingFolderError, "does not exist"),
    ],
)
def test_bad_targets(name, error, message, tmp_path):
    with pytest.raises(error, match=message):
        write_nifti(image_of((2, 2, 2), "zyx"), tmp_path / name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("extensions", [[6, "not base64!"]]),
        ("extensions", [6]),
        ("sform_code", "one"),
        ("sform_to_qform", [[1]]),
        ("intent", 3),
        ("slices", {"grid": "all"}),
    ],
)
def test_a_damaged_encoding(key, value, target):
    image = image_of((2, 2, 2), "zyx")
    image.encoding["nifti"] = {"dim_info": {"slice": "z"}, key: value}
    with pytest.raises(FormatError, match=rf'encoding\["nifti"\]\["{key}"\].*Delete it'):
        write_nifti(image, target)


def test_an_encoding_of_another_kind(target):
    image = image_of((2, 2, 2), "zyx")
    image.encoding["nifti"] = "yes"
    with pytest.raises(FormatError, match="expected a mapping of header fields"):
        write_nifti(image, target)
    image.encoding["nifti"] = {"outer": ["q", None, None, None, None], "slices": {"grid": [1, 0, 0]}}
    write_nifti(image, target)
    assert nib.load(target).shape == (2, 2, 2)
    image.encoding["nifti"] = {"scaled": True, "dtype": "never", "scl_slope": 2.0}
    with pytest.raises(FormatError, match=r"is 'never', which is no type"):
        write_nifti(image, target, overwrite=True)


def test_the_same_image_gives_the_same_bytes(tmp_path):
    image = image_of((4, 5, 6), "zyx", "f4")
    for name in ("a.nii.gz", "b.nii.gz"):
        write_nifti(image, tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_labels_extension_that_does_not_fit_is_not_used(target, opened, tmp_path):
    from xarray_ngff.errors import NgffWarning

    write_nifti(image_of((2, 3, 4, 5), ("c", "z", "y", "x"), channels=["a", "b"]), target)
    content = nib.load(target).header.extensions[0].content
    for broken, message in (
        (content.replace(b'"c"', b'"q"'), "names the axes"),
        (content.replace(b'{"name": "b"}', b'{"name": ""}').replace(b', {"name": ""}', b""), "names 1 channels"),
        (content[:-4], "cannot be understood"),
        (content.replace(b'"name": "b"', b'"window": [1]'), "cannot be understood"),
        (content.replace(b'"name": "b"', b'"color": "red"'), "color 'red'"),
    ):
        image = nib.Nifti1Image(np.zeros((5, 4, 3, 1, 2), "i2"), np.eye(4))
        image.header.extensions.append(Nifti1Extension(6, broken))
        path = tmp_path / "broken.nii"
        nib.save(image, path)
        with pytest.warns(
            NgffWarning, match=rf"broken\.nii: the header extension with channel labels is not used: .*{message}"
        ):
            found = opened(path)
        assert found.dims == ("c", "z", "y", "x")
        assert "c" not in found.coords
