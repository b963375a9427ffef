import array_api_strict
import dask.array
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_ngff import Channel, as_image
from xarray_ngff.errors import GeometryError, NgffError

DATA = np.arange(24, dtype="uint16").reshape(2, 3, 4)
TILT = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, 0.2, 0.1) * [1, 2, 3], [5, 6, 7])


class Unreadable(BackendArray):
    """Array of a file that must not be read."""

    shape, dtype = (2, 3, 4), np.dtype("uint16")

    def __getitem__(self, key):
        raise AssertionError("the data were read")


def unreadable(**coords):
    return xr.DataArray(indexing.LazilyIndexedArray(Unreadable()), dims=("z", "y", "x"), coords=coords, name="scan")


# -- geometry ---------------------------------------------------------------------------------------------------------


def test_without_options_spacing_is_1_and_origin_0():
    img = as_image(DATA)
    assert (img.name, img.dims, img.dtype) == ("image", ("z", "y", "x"), np.uint16)
    assert img.ngff.spacing == {"z": 1.0, "y": 1.0, "x": 1.0}
    assert img.ngff.origin == {"z": 0.0, "y": 0.0, "x": 0.0}
    assert img.ngff.units == {"z": None, "y": None, "x": None}
    assert img.ngff.orientation is None
    np.testing.assert_array_equal(img.ngff.affine, np.eye(4))


@pytest.mark.parametrize(("ndim", "dims"), [(2, "yx"), (3, "zyx"), (5, "tczyx")])
def test_dims_by_number_of_axes(ndim, dims):
    assert as_image(np.zeros((1,) * ndim)).dims == tuple(dims)


@pytest.mark.parametrize(
    ("spacing", "origin", "units"),
    [
        ((0.5, 3.0, 2.0, 1.0), (7.0, 6.0, 5.0, 4.0), ("s", "mm", "um", "nm")),
        (
            {"t": 0.5, "z": 3.0, "y": 2.0, "x": 1.0},
            {"t": 7.0, "z": 6.0, "y": 5.0, "x": 4.0},
            {"t": "seconds", "z": "Millimetre", "y": "micron", "x": "nm"},
        ),
        (np.array([0.5, 3, 2, 1]), [7, 6, 5, 4], ["s", "mm", "µm", "nm"]),
    ],
)
def test_options_by_dim_and_in_order(spacing, origin, units):
    img = as_image(np.zeros((2, 2, 2, 2)), "tzyx", spacing=spacing, origin=origin, units=units)
    assert img.ngff.spacing == {"t": 0.5, "z": 3.0, "y": 2.0, "x": 1.0}
    assert img.ngff.origin == {"t": 7.0, "z": 6.0, "y": 5.0, "x": 4.0}
    assert img.ngff.units == {"t": "second", "z": "millimeter", "y": "micrometer", "x": "nanometer"}
    assert img.t.values.tolist() == [7.0, 7.5]


def test_a_sequence_may_be_for_the_spatial_dims_alone_or_for_all():
    for spacing in [(3.0, 2.0, 1.0), (0.25, None, 3.0, 2.0, 1.0)]:
        img = as_image(np.zeros((2, 2, 2, 2, 2)), spacing=spacing, units="um")
        assert [img.ngff.spacing[dim] for dim in "zyx"] == [3.0, 2.0, 1.0]
        assert img.ngff.units == {"t": None, "z": "micrometer", "y": "micrometer", "x": "micrometer"}
        assert "c" not in img.coords


def test_options_follow_the_order_of_the_given_dims():
    img = as_image(DATA.transpose(2, 1, 0), "xyz", spacing=(1, 2, 3), origin=(4, 5, 6))
    assert img.dims == ("z", "y", "x")
    assert img.ngff.spacing == {"z": 3.0, "y": 2.0, "x": 1.0}
    assert img.ngff.origin == {"z": 6.0, "y": 5.0, "x": 4.0}
    np.testing.assert_array_equal(img.values, DATA)


def test_other_dims_stay_before_space():
    img = as_image(np.zeros((2, 3, 4, 5)), ("x", "angle", "y", "c"))
    assert img.dims == ("c", "angle", "y", "x")
    assert set(img.coords) == {"y", "x"}
    assert as_image(np.zeros((2, 3)), ("angle", "x"), spacing={"angle": 15}).angle.values.tolist() == [0, 15]


def test_a_negative_spacing_stores_the_axis_backwards():
    img = as_image(DATA, spacing=(1, 1, -2), origin=(0, 0, 10), orientation="RAS")
    assert img.x.values.tolist() == [10, 8, 6, 4]
    assert img.ngff.spacing["x"] == 2.0
    assert img.ngff.orientation == "LAS"


def test_orientation_by_codes_and_by_values():
    img = as_image(DATA, orientation="LPS")
    assert img.x.attrs["orientation"] == "right-to-left"
    np.testing.assert_array_equal(img.ngff.affine, np.diag([-1, -1, 1, 1]))
    xr.testing.assert_identical(
        img, as_image(DATA, orientation={"x": "right-to-left", "y": "Anterior-to-Posterior", "z": "S"})
    )


@pytest.mark.parametrize(("frame", "signs"), [(None, (1, 1)), ("RAS", (1, 1)), ("LPS", (-1, -1)), ("lps", (-1, -1))])
def test_an_affine_is_what_nibabel_has(frame, signs):
    img = as_image(DATA, affine=TILT, orientation=frame, units="mm")
    np.testing.assert_allclose(img.ngff.affine, np.diag([*signs, 1, 1]) @ TILT, rtol=1e-12)
    assert img.ngff.units == dict.fromkeys("zyx", "millimeter")
    assert (img.ngff.orientation is None) is (frame is None)


def test_an_affine_of_a_plane_is_in_the_world_of_its_dims():
    matrix = [[2, 0, 10], [0, 3, 20], [0, 0, 1]]
    img = as_image(np.zeros((2, 2)), ("z", "x"), affine=matrix, orientation="LPS")
    np.testing.assert_array_equal(img.ngff.affine, [[-2, 0, -10], [0, 3, 20], [0, 0, 1]])
    assert img.ngff.orientation == "LS"


def test_time_has_its_spacing_beside_an_affine():
    img = as_image(DATA, "tyx", affine=np.diag([2, 3, 1]), spacing={"t": 1.5}, units={"t": "s", "y": "mm", "x": "mm"})
    assert img.ngff.spacing == {"t": 1.5, "y": 3.0, "x": 2.0}
    assert img.ngff.units == {"t": "second", "y": "millimeter", "x": "millimeter"}


# -- data -------------------------------------------------------------------------------------------------------------


def test_numpy_is_taken_as_it_is():
    assert np.shares_memory(as_image(DATA).values, DATA)
    assert np.shares_memory(as_image(DATA, "xyz").values, DATA)  # transposed as a view


def test_dask_stays_lazy():
    def fail(block):
        raise AssertionError("the data were read")

    lazy = dask.array.ones((4, 5, 6), chunks=2).map_blocks(fail, dtype=float, meta=np.empty((0, 0, 0)))
    img = as_image(lazy, "xyz", spacing=(1, 2, 3), units="um", orientation="RAS")
    assert img.name == "image"
    assert img.chunks == ((2, 2, 2), (2, 2, 1), (2, 2))
    assert "RAS" in repr(img.ngff)


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_is_read_lazily_and_knows_its_dims(version, tmp_path):
    names = ["t", "y", "x"] if version == 3 else None
    stored = zarr.create_array(
        tmp_path / "a.zarr", data=DATA, chunks=(1, 2, 2), zarr_format=version, dimension_names=names
    )
    img = as_image(stored)
    assert img.dims == (tuple(names) if names else ("z", "y", "x"))
    assert img.name == "image"
    assert img.chunks == ((1, 1), (2, 1), (2, 2))
    np.testing.assert_array_equal(img.values, DATA)
    assert as_image(stored, "xyz").dims == ("z", "y", "x")


def test_zarr_with_unnamed_dims_needs_them():
    stored = zarr.create_array({}, shape=(2, 3), dtype="u1", dimension_names=["y", None])
    assert as_image(stored).dims == ("y", "x")
    with pytest.raises(GeometryError, match=r"an array of 1 axes"):
        as_image(zarr.create_array({}, shape=(2,), dtype="u1"))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "complex64", "bool"])
def test_an_array_of_the_standard_is_shared(dtype):
    strict = array_api_strict.asarray(DATA.astype(dtype))
    img = as_image(strict, "xyz")
    assert img.dtype == dtype
    np.testing.assert_array_equal(img.transpose("x", "y", "z").values, DATA.astype(dtype))
    assert np.shares_memory(img.values, np.from_dlpack(strict))


def test_a_tensor_is_shared():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    tensor = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    img = as_image(tensor, spacing=(1, 2, 3))
    tensor[0, 0, 0] = 99
    assert img.values[0, 0, 0] == 99
    with pytest.raises(NgffError, match="detach it from any gradient"):
        as_image(tensor.requires_grad_())


def test_an_array_that_cannot_be_shared_says_why():
    class OnDevice:
        def __dlpack__(self, **options):
            raise BufferError("data are on device 2")

        def __dlpack_device__(self):
            return (2, 0)

    with pytest.raises(NgffError, match=r"OnDevice array could not be shared with NumPy.*Move it to the CPU"):
        as_image(OnDevice())


def test_lists_are_arrays():
    img = as_image([[1, 2], [3, 4]])
    np.testing.assert_array_equal(img.values, [[1, 2], [3, 4]])


@pytest.mark.parametrize("data", [None, {1, 2}, [[1], [2, 3]], "abc", object(), xr.Dataset(), [["a", "b"]]])
def test_what_is_no_array_is_refused(data):
    with pytest.raises(GeometryError, match=r"data of type .* is no array"):
        as_image(data)


# -- DataArray --------------------------------------------------------------------------------------------------------


def test_a_data_array_keeps_what_it_knows():
    source = xr.DataArray(
        DATA,
        dims=("c", "y", "x"),
        coords={
            "c": ["DAPI", "GFP"],
            "y": ("y", [1, 3, 5]),
            "x": ("x", [4.0, 3.5, 3.0, 2.5], {"units": "millimeter", "orientation": "left-to-right"}),
            "exposure": ("c", [0.1, 0.2]),
        },
        name="scan",
        attrs={"stain": "Nissl"},
    )
    img = as_image(source)
    xr.testing.assert_identical(img, source)
    np.testing.assert_array_equal(img.ngff.affine, [[-0.5, 0, 4], [0, 2, 1], [0, 0, 1]])
    assert img.ngff.channels == (Channel("DAPI"), Channel("GFP"))


def test_a_data_array_without_coordinates_gets_them():
    img = as_image(xr.DataArray(DATA, dims=("z", "y", "x")), spacing=(1, 2, 3), name="labels")
    assert (img.name, img.ngff.spacing) == ("labels", {"z": 1.0, "y": 2.0, "x": 3.0})
    with pytest.raises(GeometryError, match=r"dims=\('dim_0', 'dim_1'\) has no spatial axis"):
        as_image(xr.DataArray(DATA[0]))


def test_options_replace_what_a_data_array_knows():
    source = as_image(DATA, "cyx", spacing=(2, 3), units="um", channels=[Channel("a", "FF0000"), "b"])
    img = as_image(source, spacing={"x": 5.0}, origin={"x": 1.0}, units={"x": "nm"}, channels=["d", "e"])
    assert img.ngff.spacing == {"y": 2.0, "x": 5.0}
    assert img.ngff.origin == {"y": 0.0, "x": 1.0}
    assert img.ngff.units == {"y": "micrometer", "x": "nanometer"}
    assert img.ngff.channels == (Channel("d"), Channel("e"))
    assert source.ngff.channels[0].color == "FF0000"


def test_dims_rename_those_of_a_data_array():
    source = xr.DataArray(DATA, dims=("a", "b", "y"), coords={"a": [5.0, 7.0]})
    img = as_image(source, "zyx")
    assert img.dims == ("z", "y", "x")
    assert img.z.values.tolist() == [5, 7]
    np.testing.assert_array_equal(img.values, DATA)


def test_dims_in_another_order_are_those_that_the_data_array_has():
    img = as_image(xr.DataArray(DATA, dims=("x", "y", "z")), "zyx", spacing=(1, 2, 3))
    assert img.sizes == {"z": 4, "y": 3, "x": 2}
    assert img.ngff.spacing == {"z": 1.0, "y": 2.0, "x": 3.0}


def test_dates_stay_dates():
    days = np.array(["2020-01-01", "2020-01-05"], "M8[ns]")
    img = as_image(xr.DataArray(DATA, dims=("t", "y", "x"), coords={"t": days}))
    np.testing.assert_array_equal(img.t.values, days)


@pytest.mark.parametrize("options", [{}, {"spacing": (1, 2, 3)}, {"affine": TILT}, {"dims": "zyx"}, {"dims": "tcx"}])
def test_a_lazily_opened_data_array_stays_lazy(options):
    img = as_image(unreadable(z=[1.0, 2.0]), **options)
    assert isinstance(img.variable._data, indexing.LazilyIndexedArray)
    assert not img.variable._in_memory
    with pytest.raises(AssertionError, match="the data were read"):
        img.load()


def test_a_lazily_opened_data_array_in_another_order_stays_lazy():
    img = as_image(unreadable().transpose("x", "y", "z"), spacing=(1, 2, 3))
    assert (img.dims, img.variable._in_memory) == (("z", "y", "x"), False)


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": "yx"}, r"dims=\('y', 'x'\) does not give each of the 3 axes a name"),
        ({"dims": "zzx"}, "does not give each of the 3 axes a name of its own"),
        ({"dims": ("z", "", "x")}, "does not give each of the 3 axes a name"),
        ({"dims": "tca"}, r"no spatial axis: name them, at least one of x, y, z, with dims="),
        ({"dims": 3}, 'dims=3: expected the name of each axis, for example "zyx"'),
        ({"spacing": (1, 2)}, "spacing has 2 entries, expected 3 for dims z, y, x"),
        ({"spacing": 2}, "spacing=2: expected a mapping by dim, or a sequence for dims z, y, x"),
        ({"spacing": {"t": 2}}, "spacing names dim 't', but the image has dims z, y, x"),
        ({"spacing": ("a", 1, 1)}, "spacing of dim 'z' is 'a', expected a number"),
        ({"spacing": (None, 1, 1)}, "spacing of dim 'z' is None, expected a number"),
        ({"spacing": (0, 1, 1)}, "axis 'z': spacing 0.0 and origin 0.0 make no grid"),
        ({"spacing": (1, np.nan, 1)}, "axis 'y': spacing nan"),
        ({"origin": {"y": "far"}}, "origin of dim 'y' is 'far', expected a number"),
        ({"origin": (0, 0, np.inf)}, "axis 'x': spacing 1.0 and origin inf make no grid"),
        ({"units": 5}, "units=5: expected a mapping by dim"),
        ({"units": ("um", "um")}, "units has 2 entries"),
        ({"units": (" ", "um", "um")}, "unit of dim 'z' is ' ', expected a name such as 'micrometer'"),
        ({"units": {"x": 5}}, "unit of dim 'x' is 5, expected a name"),
        ({"orientation": "RA"}, "has 2 codes for 3 spatial axes"),
        ({"orientation": {"t": "R"}}, "orientation names 't'"),
        ({"affine": np.eye(3)}, r"affine has shape \(3, 3\), expected \(4, 4\) for the spatial dims x, y, z"),
        ({"affine": np.eye(4), "spacing": (1, 1, 1)}, "either as spacing and origin or as an affine, not both"),
        ({"affine": np.eye(4), "origin": {"x": 1}}, "either as spacing and origin or as an affine, not both"),
        ({"affine": np.eye(4), "orientation": "LAS"}, "expected one of RAS, LPS, or None"),
        ({"affine": np.eye(4), "orientation": {"x": "R"}}, "orientation names the frame it maps to"),
        ({"affine": np.eye(4), "units": ("um", "um", "nm")}, "one world, in one unit"),
        ({"channels": ["a", "b"]}, "channels describes 2 channels, but the array has"),
        ({"dims": "cyx", "channels": ["a"]}, "channels describes 1 channels, but the array has"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(GeometryError, match=message):
        as_image(DATA, **options)


@pytest.mark.parametrize("shape", [(), (2,), (2, 2, 2, 2), (1,) * 6])
def test_dims_that_cannot_be_guessed_are_asked_for(shape):
    with pytest.raises(GeometryError, match=f'an array of {len(shape)} axes does not say which is which.*"czyx"'):
        as_image(np.zeros(shape))


# -- set_geometry -----------------------------------------------------------------------------------------------------


@pytest.fixture
def img():
    return as_image(
        DATA, spacing=(3, 2, -1), origin=(30, 20, 10), units="um", orientation="RAS", channels=None
    ).assign_attrs(stain="Nissl")


def test_what_is_not_given_stays(img):
    xr.testing.assert_identical(img.ngff.set_geometry(), img)
    moved = img.ngff.set_geometry(origin={"x": 0.0})
    assert moved.x.values.tolist() == [0, -1, -2, -3]
    assert moved.x.attrs == img.x.attrs
    xr.testing.assert_identical(moved.drop_vars("x"), img.drop_vars("x"))
    assert img.x.values.tolist() == [10, 9, 8, 7]


def test_another_spacing_turns_no_axis_around(img):
    xr.testing.assert_identical(img.ngff.set_geometry(spacing=img.ngff.spacing), img)
    finer = img.ngff.set_geometry(spacing={"x": 0.5})
    assert finer.x.values.tolist() == [10, 9.5, 9, 8.5]
    assert finer.isel(x=[0]).ngff.set_geometry(spacing={"x": 2}).x.attrs["spacing"] == -2.0
    assert img.ngff.set_geometry(spacing={"x": 0.5}, origin={"x": 0}).x.values.tolist() == [0, 0.5, 1, 1.5]


def test_units_are_named_not_converted(img):
    named = img.ngff.set_geometry(units={"x": "mm", "z": None})
    assert named.ngff.units == {"z": None, "y": "micrometer", "x": "millimeter"}
    np.testing.assert_array_equal(named.x.values, img.x.values)
    assert "units" not in named.z.attrs


def test_names_alone_change_no_digit_of_the_coordinates():
    img = as_image(np.zeros((2, 100)), spacing=(1, 0.1), origin=(0, 0.3))[:, 7::3]
    named = img.ngff.set_geometry(units="mm", orientation="LP")
    np.testing.assert_array_equal(named.x.values, img.x.values)
    irregular = img.isel(x=[0, 1, 5]).ngff.set_geometry(units="mm")
    np.testing.assert_array_equal(irregular.x.values, img.x.values[[0, 1, 5]])


def test_an_irregular_axis_is_set_anew(img):
    irregular = img.isel(x=[0, 1, 3])
    assert irregular.ngff.set_geometry(spacing={"x": 4.0}).x.values.tolist() == [10, 6, 2]
    with pytest.raises(GeometryError, match="'x' is not regular"):
        irregular.ngff.set_geometry(origin={"x": 4.0})
    names = xr.DataArray(DATA[0], coords={"x": list("abcd")}, dims=("y", "x"))
    assert names.ngff.set_geometry(spacing={"x": 4.0}).x.values.tolist() == [0, 4, 8, 12]


def test_an_axis_without_coordinate_gets_one():
    bare = xr.DataArray(DATA, dims=("z", "y", "x"))
    made = bare.ngff.set_geometry(spacing={"x": 0.5}, origin={"y": 3.0}, units={"z": "um"}, orientation="LPI")
    assert made.ngff.spacing == {"z": 1.0, "y": 1.0, "x": 0.5}
    assert made.ngff.origin == {"z": 0.0, "y": 3.0, "x": 0.0}
    assert made.ngff.orientation == "LPI"


def test_orientation_replaces_a_direction():
    img = as_image(DATA, affine=TILT, orientation="RAS").ngff.set_geometry(orientation="LAS")
    assert not any("direction" in img[dim].attrs for dim in "xyz")
    assert img.ngff.orientation == "LAS"


def test_one_orientation_must_fit_the_others(img):
    with pytest.raises(GeometryError, match="two axes along the same line"):
        img.ngff.set_geometry(orientation={"x": "anterior-to-posterior"})
    turned = img.ngff.set_geometry(orientation={"x": "right-to-left"})
    assert [turned[dim].attrs["orientation"] for dim in "xy"] == ["right-to-left", "posterior-to-anterior"]


@settings(max_examples=30)
@given(
    st.sampled_from([np.diag([1, 2, -3, 1.0]), TILT, np.diag([-1, 1, 1, 1]) @ TILT]),
    st.sampled_from([None, "RAS", "LPS"]),
    st.sampled_from([{}, {"z": 1}, {"x": 0, "y": 2}, {"x": slice(None, None, -2)}]),
)
def test_an_image_put_where_it_is_stays_there(affine, frame, selection):
    img = as_image(DATA, affine=affine, orientation=frame, units="mm").isel(selection)
    again = img.ngff.set_geometry(affine=img.ngff.affine)
    np.testing.assert_allclose(again.ngff.affine, img.ngff.affine, rtol=1e-12, atol=1e-12)
    assert again.ngff.orientation == img.ngff.orientation
    assert again.ngff.units == img.ngff.units
    assert again.dims == img.dims


def test_an_affine_in_lps_becomes_ras(img):
    placed = img.ngff.set_geometry(affine=TILT, orientation="LPS", units="mm")
    np.testing.assert_allclose(placed.ngff.affine, np.diag([-1, -1, 1, 1]) @ TILT, rtol=1e-12)
    assert placed.ngff.units == dict.fromkeys("zyx", "millimeter")
    assert placed.attrs == img.attrs


def test_a_selected_plane_is_set_like_any_axis(img):
    plane = img.isel(z=1)
    named = plane.ngff.set_geometry(units="mm")
    assert [named[dim].attrs["units"] for dim in "xyz"] == ["millimeter"] * 3
    moved = plane.ngff.set_geometry(origin={"z": 7.0}, spacing={"z": 4.0})
    assert (moved.z.item(), moved.z.attrs["spacing"], moved.z.ndim) == (7.0, 4.0, 0)


def test_units_that_differ_must_be_named_with_an_affine():
    img = as_image(DATA, units={"z": "nm", "y": "um", "x": "um"})
    with pytest.raises(GeometryError, match=r"one world, in one unit.*give units="):
        img.ngff.set_geometry(affine=TILT)
    assert img.ngff.set_geometry(affine=TILT, units="mm").ngff.units == dict.fromkeys("zyx", "millimeter")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"affine": np.eye(4), "spacing": (1, 1, 1)}, "not both"),
        ({"affine": np.eye(3)}, r"shape \(3, 3\), expected \(4, 4\)"),
        ({"spacing": {"t": 1}}, "spacing names dim 't', but the image has dims z, y, x"),
        ({"spacing": {"x": 0}}, "make no grid"),
        ({"orientation": {"q": "R"}}, "orientation names 'q'"),
        ({"units": {"q": "um"}}, "units names dim 'q'"),
    ],
)
def test_a_geometry_that_does_not_fit_is_refused(img, options, message):
    with pytest.raises(GeometryError, match=message):
        img.ngff.set_geometry(**options)


def test_set_geometry_reads_nothing():
    img = unreadable(z=[1.0, 2.0]).ngff.set_geometry(spacing=(1, 2, 3), units="um", orientation="RAS")
    assert not img.ngff.set_geometry(affine=TILT).ngff.to_units("mm").variable._in_memory
