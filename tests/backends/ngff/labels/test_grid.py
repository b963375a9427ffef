"""Whether labels lie on the grid of an image."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.attributes import ascending
from xarray_ngff.backends.ngff.labels.grid import on_grid
from xarray_ngff.errors import GeometryError, UnitError


def image(shape=(2, 3, 4, 5, 6), dims="tczyx", **options):
    options = {
        "spacing": {"t": 3, "z": 2, "y": 0.5, "x": 0.25},
        "origin": {"t": 1, "z": 5, "y": -1, "x": 3},
        "units": {"t": "s", "z": "um", "y": "um", "x": "um"},
        "orientation": "RAS",
    } | options
    for key in ("spacing", "origin", "units"):
        options[key] = {dim: value for dim, value in options[key].items() if dim in dims}
    return as_image(np.arange(np.prod(shape)).reshape(shape), dims, **options)


IMAGE = image(channels=["a", "b", "c"])


def fits(labels, img=IMAGE):
    found = on_grid(labels, img, "these labels")
    assert found.dims == tuple(dim for dim in img.dims if dim in labels.dims)
    for dim in found.dims:
        if dim != "c":
            assert found[dim].variable.identical(img[dim].variable), dim
    return found


class TestOnGrid:
    def test_the_image_itself(self):
        assert fits(IMAGE).identical(IMAGE)

    @pytest.mark.parametrize(
        "labels",
        [
            IMAGE.isel(c=1),
            IMAGE.isel(c=1, drop=True),
            IMAGE.isel(c=[2]),
            IMAGE.transpose(..., "z"),
            IMAGE.ngff.to_units("nm"),
            IMAGE.ngff.to_units({"t": "ms", "x": "mm"}),
            IMAGE.drop_vars(["x", "t", "c"]),
            xr.DataArray(IMAGE.values, dims=IMAGE.dims),
            xr.DataArray(IMAGE.values[:, 0], dims=tuple("tzyx")),
            image(units={}),
            image(orientation=None),
            IMAGE.assign_coords(x=IMAGE.x + 0.001, y=IMAGE.y * (1 + 1e-6)),
            IMAGE.assign_coords(x=IMAGE.x.astype("f4")),
        ],
        ids=["a channel", "no channel", "one of c", "other order", "nm", "ms, mm", "some coordinates", "no coordinates",
             "no coordinates, no c", "no units", "no orientation", "rounded", "single precision"],
    )  # fmt: skip
    def test_what_is_on_it(self, labels):
        found = fits(labels)
        np.testing.assert_array_equal(found, labels.transpose(*found.dims))

    def test_channels(self):
        assert "c" not in fits(IMAGE.isel(c=1)).coords
        assert fits(IMAGE).c.values.tolist() == ["a", "b", "c"]
        assert fits(IMAGE.isel(c=[2])).c.values.tolist() == ["c"]
        assert "c" not in fits(image()).coords

    @pytest.mark.parametrize("orientation", ["RAS", "LPI", None])
    def test_descending_coordinates(self, orientation):
        """As the image is written, so are the labels that were made from it."""
        img = image(
            (4, 5, 6), "zyx", spacing={"z": -2, "y": 0.5, "x": -0.25}, origin={"z": 1, "y": 2, "x": 3},
            orientation=orientation,
        )  # fmt: skip
        found = fits(img + 0, ascending(img))
        assert found.identical(ascending(img))

    def test_oblique(self):
        affine = [[1, 0.2, 0, 5], [-0.2, 1, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]]
        img = as_image(np.zeros((4, 5, 6), int), "zyx", affine=affine, orientation="RAS", units="mm")
        assert fits(img, img).identical(img)
        straight = img.copy()
        del straight.x.attrs["direction"]
        assert fits(straight, img).ngff.affine.tolist() == img.ngff.affine.tolist()
        other = img.copy()
        other.x.attrs["direction"] = [1.0, 0.1, 0.0]
        with pytest.raises(GeometryError, match="these labels have direction"):
            on_grid(other, img, "these labels")

    def test_plane_that_was_selected(self):
        plane = IMAGE.isel(z=2)
        assert fits(plane.isel(c=0), plane).z == plane.z
        assert fits(plane.isel(c=0).drop_vars("z"), plane).z.variable.identical(plane.z.variable)
        assert "z" not in fits(plane, plane.drop_vars("z")).coords
        with pytest.raises(GeometryError, match="these labels begin at 7 along 'z'"):
            on_grid(IMAGE.isel(z=1), plane, "these labels")

    def test_other_axes(self):
        img = as_image(np.zeros((3, 4, 5)), ("angle", "y", "x"), spacing={"angle": 10}, units={"angle": "degree"})
        for labels in (img, img.isel(angle=0), img.isel(angle=[1])):
            assert on_grid(labels, img, "these labels").sizes == labels.sizes
        with pytest.raises(GeometryError, match="2 voxels along 'angle', but the image has 3"):
            on_grid(img.isel(angle=slice(2)), img, "these labels")
        with pytest.raises(GeometryError, match="begin at 10 along 'angle'"):
            on_grid(img.assign_coords(angle=img.angle + 10), img, "these labels")

    @given(st.floats(-0.5, 0.5), st.sampled_from("tzyx"))
    def test_how_far_off(self, shift, dim):
        """A hundredth of a voxel."""
        spacing = float(IMAGE[dim][1] - IMAGE[dim][0])
        labels = IMAGE.assign_coords({dim: IMAGE[dim] + shift * spacing})
        if abs(shift) < 0.0099:
            fits(labels)
        elif abs(shift) > 0.0101:
            with pytest.raises(GeometryError, match=f"these labels begin at .* along '{dim}'"):
                on_grid(labels, IMAGE, "these labels")


class TestOffGrid:
    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (IMAGE.isel(x=slice(5)), "these labels: 5 voxels along 'x', but the image has 6: labels lie on the grid"),
            (IMAGE.isel(t=[0]), "1 voxels along 't', but the image has 2"),
            (IMAGE.isel(c=slice(2)), "2 voxels along 'c', but the image has 3"),
            (IMAGE.ngff.downsample(2), "2 voxels along 'z', but the image has 4"),
            (IMAGE.isel(t=0), "lack the dim 't', but the image has dims t, c, z, y, x: add it"),
            (IMAGE.isel(z=0), r"lack the dim 'z', .* labels\.expand_dims\('z'\)"),
            (IMAGE.rename(c="angle"), r"have the dim 'angle', .*: select along it, labels\.isel\(angle=0\)"),
            (IMAGE.assign_coords(x=IMAGE.x + 0.125), "begin at 3.125 along 'x' in steps of 0.25, the image at 3"),
            (IMAGE.assign_coords(x=IMAGE.x * 1.01), "begin at 3.03 along 'x' in steps of 0.2525"),
            (image(spacing={"z": 2, "y": 0.5, "x": 0.25, "t": 4}), "begin at 1 along 't' in steps of 4"),
            (image(orientation="LAS"), "have orientation 'right-to-left' along 'x'"),
            (IMAGE.ngff.set_geometry(units={"x": "mm"}), "begin at 3000 along 'x' in steps of 250, the image at 3"),
            (IMAGE.isel(y=[0, 1, 2, 4, 3]), "coordinate 'y' is not regular"),
        ],
    )  # fmt: skip
    def test_is_refused(self, labels, message):
        with pytest.raises(GeometryError, match=message):
            on_grid(labels, IMAGE, "these labels")

    def test_units_that_do_not_convert(self):
        labels = IMAGE.copy()
        labels.x.attrs["units"] = "second"
        with pytest.raises(UnitError, match="these labels, axis 'x': cannot convert 'second' to 'micrometer'"):
            on_grid(labels, IMAGE, "these labels")
