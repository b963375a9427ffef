"""Metadata as they are written: against the official schemas, ome-zarr-models, and by hand."""

import importlib.resources
import json

import jsonschema
import numpy as np
import pytest
import referencing
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr.format import format_from_version
from ome_zarr.writer import write_multiscales_metadata
from zarr.storage import MemoryStore

import xarray_ngff
from xarray_ngff import Channel, as_image
from xarray_ngff.backends.ngff.attributes import VENDOR_KEY, ascending, image_attributes, written_dims
from xarray_ngff.errors import FormatError, GeometryError
from xarray_ngff.orientation import ORIENTATIONS

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)


def official_schema(version, name):
    """A validator of the specification's own schemas, which ngff-zarr ships."""
    folder = importlib.resources.files("ngff_zarr") / "spec" / version / "schemas"
    found = [json.loads(file.read_text()) for file in folder.iterdir() if file.name.endswith(".schema")]
    resources = [
        (schema["$id"], referencing.Resource.from_contents(schema, referencing.jsonschema.DRAFT202012))
        for schema in found
    ]
    (schema,) = [schema for schema in found if schema["$id"].endswith(f"/{name}.schema")]
    return jsonschema.Draft202012Validator(schema, registry=referencing.Registry().with_resources(resources))


def ome_of(attributes):
    return attributes.get("ome", attributes)


def image(shape, dims, dtype="u2", **options):
    return as_image(np.zeros(shape, dtype), dims, **options)


def attributes_of(img, *, version="0.5", levels=1, method="mean"):
    """What a written store says."""
    store = MemoryStore()
    img.ngff.to_ome_zarr(store, version=version, levels=levels, method=method)
    return zarr.open_group(store, mode="r").attrs.asdict()


IMAGES = {
    "yx": image((8, 9), "yx"),
    "zyx": image((8, 9, 7), "zyx", "f4", spacing=(2, 0.5, 0.25), origin=(1, 2, 3), units="um"),
    "tczyx": image(
        (2, 3, 4, 5, 6), "tczyx", spacing={"t": 0.5}, units={"t": "s"}, channels=["a", "b", Channel(color="00FF00")]
    ),
    "tyx": image((3, 5, 6), "tyx", "i1"),
    "angle": image((3, 4, 5, 6), ("angle", "z", "y", "x"), spacing={"angle": 15}, units={"angle": "degree"}),
    "t, angle": image((2, 3, 5, 6), ("t", "angle", "y", "x")),
    "lifetime": image((4, 5, 6), ("lifetime", "y", "x"), spacing={"lifetime": 0.2}, units={"lifetime": "ns"}),
    "oriented": image((5, 6, 7), "zyx", orientation="LPS", units="mm"),
    "oblique": image(
        (5, 6, 7), "zyx", affine=[[1, 0.2, 0, 5], [-0.2, 1, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]], orientation="RAS",
        units="mm",
    ),
    "labels": image((8, 9), "yx", "u4", name="labels"),
    "bool": image((8, 9), "yx", "?"),
    "complex": image((8, 9), "yx", "c8"),
    "plane": image((8, 9, 7), "zyx", spacing=(2, 1, 1)).isel(z=3),
    "one channel": image((2, 8, 9), "cyx", channels=["DAPI", "GFP"]).isel(c=1),
}  # fmt: skip
by_image = pytest.mark.parametrize("img", IMAGES.values(), ids=IMAGES.keys())


class TestSchemas:
    @by_version
    @by_image
    def test_official(self, img, version):
        attributes = attributes_of(img, version=version, levels=2, method="nearest")
        official_schema(version, "image").validate(attributes)
        # the strict ones treat what a writer should do as a must
        official_schema(version, "strict_image").validate(attributes)
        if img.name == "labels":
            official_schema(version, "label").validate(attributes)

    @by_version
    @by_image
    def test_ome_zarr_models(self, img, version):
        models = pytest.importorskip("ome_zarr_models")
        module = pytest.importorskip(f"ome_zarr_models.v{version.replace('.', '')}")
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, version=version, levels=2, method="nearest")
        group = zarr.open_group(store, mode="r")
        kind = module.ImageLabel if img.name == "labels" else module.Image
        assert kind.from_zarr(group).ome_attributes is not None
        assert type(models.open_ome_zarr(group)).__module__.startswith(module.__name__)

    def test_the_validator_does_refuse(self):
        attributes = attributes_of(IMAGES["yx"])
        attributes["ome"]["multiscales"][0]["axes"].pop()
        with pytest.raises(jsonschema.ValidationError):
            official_schema("0.5", "image").validate(attributes)

    def test_rfc_4(self):
        """Values are those of the schema of the RFC, and each is written as it has them."""
        schema = json.loads((importlib.resources.files("ngff_zarr") / "spec/rfc/4/orientation.schema.json").read_text())
        assert set(schema["$defs"]["AnatomicalOrientationValues"]["enum"]) == ORIENTATIONS
        for value in ORIENTATIONS:
            axes = ome_of(attributes_of(image((4, 4), "yx", orientation={"x": value})))["multiscales"][0]["axes"]
            assert axes[1]["orientation"] == {"type": "anatomical", "value": value}
            jsonschema.validate(axes[1]["orientation"], schema["$defs"]["AnatomicalOrientation"])


class TestMultiscales:
    def test_whole(self):
        img = image(
            (2, 5, 6), "cyx", spacing={"y": 0.5, "x": 0.25}, origin={"y": 10, "x": 20}, units="um", name="cells"
        )
        found = attributes_of(img, levels=2)
        version = found["ome"]["multiscales"][0]["metadata"].pop("version")
        assert found == {
            "ome": {
                "version": "0.5",
                "multiscales": [
                    {
                        "name": "cells",
                        "type": "mean",
                        "metadata": {
                            "description": "mean of blocks of the voxels that exist",
                            "method": "xarray_ngff.to_ome_zarr",
                        },
                        "axes": [
                            {"name": "c", "type": "channel"},
                            {"name": "y", "type": "space", "unit": "micrometer"},
                            {"name": "x", "type": "space", "unit": "micrometer"},
                        ],
                        "datasets": [
                            {
                                "path": "0",
                                "coordinateTransformations": [
                                    {"type": "scale", "scale": [1.0, 0.5, 0.25]},
                                    {"type": "translation", "translation": [0.0, 10.0, 20.0]},
                                ],
                            },
                            {
                                "path": "1",
                                "coordinateTransformations": [
                                    {"type": "scale", "scale": [1.0, 0.5, 0.5]},
                                    {"type": "translation", "translation": [0.0, 10.0, 20.125]},
                                ],
                            },
                        ],
                    }
                ],
            }
        }
        assert version == xarray_ngff.__version__
        old = attributes_of(img, levels=2, version="0.4")
        old["multiscales"][0]["metadata"].pop("version")
        assert old == {"multiscales": [found["ome"]["multiscales"][0] | {"version": "0.4"}]}

    def test_units_are_written_by_their_full_name(self):
        img = image((4, 4), "yx")
        img.x.attrs["units"] = "µm"
        axes = ome_of(attributes_of(img))["multiscales"][0]["axes"]
        assert [axis.get("unit") for axis in axes] == [None, "micrometer"]

    def test_nominal_spacing_of_a_single_slice(self):
        img = image((1, 4, 4), "zyx", spacing=(2.5, 1, 1), origin=(7, 0, 0))
        steps = ome_of(attributes_of(img))["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        assert steps[0]["scale"] == [2.5, 1, 1]
        assert steps[1]["translation"] == [7, 0, 0]

    def test_what_selecting_left_is_written(self):
        """Not the spacing that the image once had."""
        img = image((20, 30), "yx", spacing=(0.5, 0.5)).isel(x=slice(10, None, 2), y=slice(3, 11))
        steps = ome_of(attributes_of(img))["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        assert steps[0]["scale"] == [0.5, 1.0]
        assert steps[1]["translation"] == [1.5, 5.0]

    @pytest.mark.parametrize("dim", ["angle", "lifetime"])
    def test_other_axes_keep_name_and_unit(self, dim):
        img, store = IMAGES[dim], MemoryStore()
        img.ngff.to_ome_zarr(store)
        again = xr.open_dataarray(store, engine="ngff")
        assert again.dims == img.dims
        np.testing.assert_array_equal(again[dim], img[dim])
        assert again[dim].attrs["units"] == img[dim].attrs["units"]


class TestOmero:
    @pytest.mark.parametrize(
        ("dtype", "limits"),
        [
            ("u1", (0, 255)),
            ("i2", (-32768, 32767)),
            ("u2", (0, 65535)),
            ("u4", (0, 2**32 - 1)),
            ("f4", (0, 1)),
            ("?", (0, 1)),
        ],
    )
    def test_window_of_the_type_where_none_is_given(self, dtype, limits):
        img = image((2, 4, 4), "cyx", dtype, channels=["a", "b"])
        for channel in ome_of(attributes_of(img))["omero"]["channels"]:
            low, high = limits
            assert channel["window"] == {"min": low, "max": high, "start": low, "end": high}

    def test_given_windows(self):
        channels = [
            Channel("a", "0000FF", (10, 20)),
            Channel("b", None, (10, 20), (0, 100)),
            Channel("c", None, None, (0, 100)),
            Channel("d", None, (-5, 70000)),
        ]
        windows = [
            channel["window"]
            for channel in ome_of(attributes_of(image((4, 4, 4), "cyx", channels=channels)))["omero"]["channels"]
        ]
        assert windows == [
            {"min": 0, "max": 65535, "start": 10, "end": 20},
            {"min": 0, "max": 100, "start": 10, "end": 20},
            {"min": 0, "max": 100, "start": 0, "end": 100},
            {"min": -5, "max": 70000, "start": -5, "end": 70000},
        ]

    def test_names_and_colours(self):
        channels = ["DAPI", Channel(color="123456"), Channel("x")]
        found = ome_of(attributes_of(image((3, 4, 4), "cyx", channels=channels)))["omero"]["channels"]
        assert [channel["label"] for channel in found] == ["DAPI", "1", "x"]
        assert [channel["color"] for channel in found] == ["FF0000", "123456", "0000FF"]
        assert all(channel["active"] for channel in found)

    def test_none_where_nothing_is_known(self):
        assert "omero" not in ome_of(attributes_of(image((3, 4, 4), "cyx")))

    @pytest.mark.parametrize("window", [(0, np.inf), (-np.inf, 0)])
    def test_windows_without_end(self, window, tmp_path):
        img = image((1, 4, 4), "cyx").assign_coords(
            window_start=("c", [float(window[0])]), window_end=("c", [float(window[1])])
        )
        with pytest.raises(GeometryError, match=r"channel 0: window .*inf.* is not a pair of finite numbers"):
            img.ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert not list(tmp_path.iterdir())

    @by_version
    def test_round_trip(self, version):
        channels = (Channel("a", "0000FF", (1, 2), (0, 3)), Channel("b", "00FF00", (4, 5), (0, 6)))
        store = MemoryStore()
        image((2, 4, 4), "cyx", channels=channels).ngff.to_ome_zarr(store, version=version)
        again = xr.open_dataarray(store, engine="ngff")
        assert again.ngff.channels == channels
        store = MemoryStore()
        again.sel(c="b").ngff.to_ome_zarr(store, version=version)
        one = xr.open_dataarray(store, engine="ngff")
        assert one.dims == ("y", "x")
        assert one.ngff.channels == channels[1:]


class TestLabels:
    @by_version
    def test_colours_survive(self, version):
        img = IMAGES["labels"].copy()
        img.encoding["image-label"] = {
            "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}],
            "properties": [{"label-value": 1, "area": 7}],
            "source": {"image": "../../"},
            "version": "0.1",
        }
        label = ome_of(attributes_of(img, version=version))["image-label"]
        assert label == {
            "colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}],
            "properties": [{"label-value": 1, "area": 7}],
        } | ({"version": "0.4"} if version == "0.4" else {})

    @by_version
    def test_come_back_as_labels(self, version):
        store = MemoryStore()
        IMAGES["labels"].ngff.to_ome_zarr(store, version=version)
        assert xr.open_dataarray(store, engine="ngff").name == "labels"


class TestVendorKey:
    def test_is_there_only_where_it_says_something(self):
        for name in ("yx", "zyx", "tczyx", "oriented", "labels", "angle"):
            assert VENDOR_KEY not in attributes_of(IMAGES[name])

    @by_version
    def test_directions_of_an_oblique_image(self, version):
        img, store = IMAGES["oblique"], MemoryStore()
        img.ngff.to_ome_zarr(store, version=version, factors=[2])
        found = zarr.open_group(store, mode="r").attrs.asdict()
        directions = {dim: img[dim].attrs["direction"] for dim in "xy"}
        assert found[VENDOR_KEY] == {"direction": directions}
        length = np.hypot(1, 0.2)
        np.testing.assert_allclose(directions["x"], [1 / length, -0.2 / length, 0])
        # beside it, the orientation of the closest axes
        orientations = [axis["orientation"]["value"] for axis in ome_of(found)["multiscales"][0]["axes"]]
        assert orientations == ["inferior-to-superior", "posterior-to-anterior", "left-to-right"]
        again = xr.open_dataarray(store, engine="ngff")
        np.testing.assert_allclose(again.ngff.affine, [[1, 0.2, 0, 5], [-0.2, 1, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])
        coarse = xr.open_dataarray(store, engine="ngff", level=1)
        np.testing.assert_allclose(
            coarse.ngff.index_to_world([1, 0, 1]), again.ngff.index_to_world([2.5, 0.5, 2.5]), atol=1e-12
        )

    @by_version
    @pytest.mark.parametrize("name", ["zyx", "oblique", "oriented"])
    def test_a_selected_plane_stays_located(self, version, name):
        img, store = IMAGES[name].isel(z=4, x=slice(1, None)), MemoryStore()
        truth = IMAGES[name].ngff.index_to_world([[1, 0, 4], [3, 5, 4]])
        img.ngff.to_ome_zarr(store, version=version)
        again = xr.open_dataarray(store, engine="ngff")
        assert again.dims == ("y", "x")
        np.testing.assert_allclose(again.ngff.index_to_world([[0, 0, 0], [2, 5, 0]]), truth)
        assert again.z.attrs == img.z.attrs
        # and so does one that runs the other way
        store = MemoryStore()
        IMAGES[name].isel(y=slice(None, None, -1)).isel(z=4).ngff.to_ome_zarr(store, version=version)
        again = xr.open_dataarray(store, engine="ngff")
        row = 0 if name != "zyx" else 5
        np.testing.assert_allclose(again.ngff.index_to_world([2, row, 0]), IMAGES[name].ngff.index_to_world([2, 5, 4]))

    @by_version
    def test_a_selected_time(self, version):
        store = MemoryStore()
        IMAGES["tczyx"].isel(t=1, z=2).ngff.to_ome_zarr(store, version=version)
        again = xr.open_dataarray(store, engine="ngff")
        assert again.t.item() == 0.5
        assert again.t.attrs["units"] == "second"
        assert again.z.item() == 2

    @pytest.mark.parametrize("key", ["nifti", "image-label"])
    @pytest.mark.parametrize("value", [{"a": np.nan}, {"a": np.int64(3)}, {"a": {1, 2}}, [1], "text"])
    def test_encodings_that_are_no_json(self, key, value, tmp_path):
        img = IMAGES["labels"].copy()
        img.encoding[key] = value
        with pytest.raises(FormatError, match=rf"encoding\['{key}'\] .*: delete it"):
            img.ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert not list(tmp_path.iterdir())


class TestWrittenDims:
    @pytest.mark.parametrize(
        ("dims", "expected"),
        [
            ("xyzct", "tczyx"),
            ("yx", "yx"),
            ("xcy", "cyx"),
            (("x", "angle", "y", "t"), ("t", "angle", "y", "x")),
        ],
    )
    def test_order(self, dims, expected):
        assert written_dims(xr.DataArray(np.zeros((1,) * len(dims)), dims=list(dims))) == tuple(expected)

    @pytest.mark.parametrize(
        ("dims", "message"),
        [
            ("x", "two or three spatial axes, this one has dims \\('x',\\)"),
            ("tcx", "two or three spatial axes"),
            ("tc", "two or three spatial axes"),
            (("t", "c", "a", "z", "y", "x"), "at most one axis besides t, z, y and x, this image has c, a"),
            (("a", "b", "y", "x"), "at most one axis besides t, z, y and x, this image has a, b"),
        ],
    )
    def test_what_does_not_fit(self, dims, message):
        with pytest.raises(FormatError, match=message):
            written_dims(xr.DataArray(np.zeros((1,) * len(dims)), dims=list(dims)))


class TestAscending:
    @given(data=st.data())
    @settings(deadline=None)
    def test_no_voxel_moves_in_the_world(self, data):
        """For axes in any direction, in an anatomical world and in none, also where a plane was selected."""
        values = np.arange(60).reshape(3, 4, 5)
        signs = {dim: data.draw(st.sampled_from([-1, 1])) for dim in "zyx"}
        spacing = {dim: signs[dim] * size for dim, size in zip("zyx", (3.0, 2.0, 0.5), strict=True)}
        partly = {"x": "right-to-left", "y": "anterior-to-posterior"}
        orientation = data.draw(st.sampled_from([None, "RAS", "LPI", partly]))
        img = as_image(values, spacing=spacing, origin=(1, 20, 300), orientation=orientation)
        if data.draw(st.booleans()):
            img = img.isel({data.draw(st.sampled_from("zyx")): 1})
        place = dict(zip(img.values.ravel(), world_points(img), strict=True))
        result = ascending(img)
        for value, point in zip(result.values.ravel(), world_points(result), strict=True):
            np.testing.assert_allclose(point, place[value])
        for dim in result.dims:
            assert (np.diff(result[dim]) > 0).all()
        if orientation in ("RAS", "LPI"):
            np.testing.assert_array_equal(result, img)  # not moved in memory

    def test_opposite_orientation(self):
        img = as_image(np.arange(4).reshape(1, 4), spacing=(1, -2), origin=(0, 6), orientation="RA")
        result = ascending(img)
        assert result.x.values.tolist() == [-6, -4, -2, 0]
        assert result.x.attrs["orientation"] == "right-to-left"
        assert result.ngff.orientation == img.ngff.orientation == "LA"

    def test_time_and_other_axes_are_flipped(self):
        img = as_image(np.arange(3).reshape(3, 1, 1), "tyx", spacing={"t": -2.0}, origin={"t": 4.0})
        assert ascending(img).t.values.tolist() == [0, 2, 4]
        assert ascending(img).values.ravel().tolist() == [2, 1, 0]
        img = as_image(np.arange(3).reshape(3, 1, 1), ("angle", "y", "x"), spacing={"angle": -10.0})
        assert ascending(img).angle.values.tolist() == [-20, -10, 0]
        assert ascending(img).values.ravel().tolist() == [2, 1, 0]

    def test_single_slice_that_runs_backwards(self):
        img = as_image(np.zeros((1, 2, 2)), spacing=(-3.0, 1, 1), origin=(5, 0, 0))
        result = ascending(img)
        assert result.ngff.origin["z"] == 5
        assert result.z.attrs["spacing"] == 3

    def test_what_ascends_is_left_alone(self):
        img = IMAGES["zyx"]
        assert ascending(img) is img


def world_points(img):
    """World point of every voxel by the definition: the sum of direction times coordinate."""
    axes = [dim for dim in "xyz" if dim in img.coords]
    anatomical = all(img[dim].attrs.get("orientation") for dim in axes)
    grids = np.meshgrid(*[np.atleast_1d(img[dim]) for dim in img.dims], indexing="ij")
    coordinates = dict(zip(img.dims, grids, strict=True))
    points = []
    for dim in axes:
        toward = img[dim].attrs["orientation"] if anatomical else ""
        sign = -1 if toward in ("right-to-left", "anterior-to-posterior", "superior-to-inferior") else 1
        points.append(sign * np.broadcast_to(coordinates.get(dim, img[dim].values), img.shape).ravel())
    return np.transpose(points)


class TestErrors:
    def test_orientation_that_is_none(self):
        img = image((4, 4), "yx")
        img.x.attrs["orientation"] = "leftwards"
        with pytest.raises(FormatError, match=r"axis 'x' has the orientation 'leftwards', which is none of RFC-4"):
            attributes_of(img)

    def test_irregular_axis(self):
        with pytest.raises(GeometryError, match="coordinate 'x' is not regular"):
            attributes_of(image((4, 6), "yx").isel(x=[0, 1, 3]))
        with pytest.raises(GeometryError, match="coordinate 'angle' is not regular"):
            attributes_of(image((4, 4, 6), ("angle", "y", "x"), spacing={"angle": 5}).isel(angle=[0, 1, 3]))


class TestWhatOmeZarrLeavesToUs:
    """Pins what the reference implementation does not check or write, and this package does itself."""

    def written(self, axes, transformations, version="0.5", **metadata):
        fmt = format_from_version(version)
        group = zarr.create_group(MemoryStore(), zarr_format=fmt.zarr_format)
        datasets = [{"path": "0", "coordinateTransformations": transformations}]
        write_multiscales_metadata(group, datasets, fmt=fmt, axes=axes, name="image", **metadata)
        return ome_of(group.attrs.asdict())

    AXES = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]  # noqa: RUF012
    SCALE = [{"type": "scale", "scale": [1.0, 1.0]}]  # noqa: RUF012

    def test_scales_that_are_not_positive(self):
        for scale in ([-1.0, 1.0], [0.0, 1.0]):
            found = self.written(self.AXES, [{"type": "scale", "scale": scale}])
            assert found["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == scale

    def test_numbers_and_names_of_axes(self):
        one = self.written(self.AXES[1:], [{"type": "scale", "scale": [1.0]}])
        assert len(one["multiscales"][0]["axes"]) == 1
        twice = self.written([self.AXES[1], self.AXES[1]], self.SCALE)
        assert [axis["name"] for axis in twice["multiscales"][0]["axes"]] == ["x", "x"]

    def test_orientations(self):
        axes = [self.AXES[0], self.AXES[1] | {"orientation": {"type": "anatomical", "value": "leftwards"}}]
        assert self.written(axes, self.SCALE)["multiscales"][0]["axes"] == axes

    def test_units(self):
        axes = [self.AXES[0], self.AXES[1] | {"unit": "µm"}]
        assert self.written(axes, self.SCALE)["multiscales"][0]["axes"] == axes

    def test_method_of_downsampling(self):
        found = self.written(self.AXES, self.SCALE)
        assert not {"type", "metadata"} & set(found["multiscales"][0])

    def test_colours_and_windows(self):
        channel = {"color": "zzzzzz", "window": {"min": 5, "max": 0, "start": 3, "end": 1}}
        found = self.written(self.AXES, self.SCALE, metadata={"omero": {"channels": [channel]}})
        assert found["omero"]["channels"] == [channel]

    def test_but_it_does_see_to_the_rest(self):
        """What this package leaves to it."""
        with pytest.raises(ValueError, match="time"):
            self.written([self.AXES[0], {"name": "t", "type": "time"}], self.SCALE)
        with pytest.raises(ValueError, match="must match"):
            self.written(self.AXES, [{"type": "scale", "scale": [1.0]}])
        with pytest.raises(TypeError, match="color"):
            self.written(self.AXES, self.SCALE, metadata={"omero": {"channels": [{"color": "F"}]}})
        with pytest.raises(KeyError, match="start"):
            self.written(self.AXES, self.SCALE, metadata={"omero": {"channels": [{"window": {"min": 0, "max": 1}}]}})


def test_levels_may_lie_anywhere():
    """Each level says its own scale and translation."""
    levels = [
        as_image(np.zeros((8, 8)), spacing=(1, 1)),
        as_image(np.zeros((3, 4)), spacing=(2.75, 2), origin=(0.9, 0.5)),
    ]
    found = image_attributes(levels, ["a/0", "a/1"], version="0.5", method="custom")["ome"]["multiscales"][0]
    assert [dataset["path"] for dataset in found["datasets"]] == ["a/0", "a/1"]
    assert found["datasets"][1]["coordinateTransformations"] == [
        {"type": "scale", "scale": [2.75, 2.0]},
        {"type": "translation", "translation": [0.9, 0.5]},
    ]
    assert found["metadata"]["description"] == "levels were given"
