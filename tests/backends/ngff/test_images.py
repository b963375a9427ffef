"""Images of every version and layout through the engine, and what becomes of their metadata."""

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr.format import format_from_version
from ome_zarr.writer import write_multiscale, write_multiscale_labels
from zarr.storage import MemoryStore

from xarray_ngff.errors import FormatError, MetadataError, NgffWarning

# ways of ome-zarr that are on their way out are those that its first release with Zarr v3 has too
by_ome_zarr = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def opened(store, **options):
    return xr.open_dataarray(store, engine="ngff", **options)


class TestVersions:
    @by_ome_zarr
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_as_ome_zarr_writes_them(self, version, tmp_path, pyramid, placed):
        fmt = format_from_version(version)
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=fmt.zarr_format)
        levels = pyramid(2, 3, 4, 40, 56)
        axes = [{"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"}]
        axes += [{"name": dim, "type": "space", "unit": "micrometer"} for dim in "zyx"]
        steps = [
            placed([3, 1, 2 * f, 0.5 * f, 0.25 * f], [9, 0, f - 1, (f - 1) / 4, (f - 1) / 8]) for f in (1.0, 2.0, 4.0)
        ]
        write_multiscale(levels, group, fmt=fmt, axes=axes, coordinate_transformations=steps, name="brain")
        for level, data in enumerate(levels):
            image = opened(tmp_path / "a.zarr", level=level)
            assert image.dims == ("t", "c", "z", "y", "x")
            np.testing.assert_array_equal(image, data)
            scale, shift = (step[step["type"]] for step in steps[level])
            for dim, step, start in zip(image.dims, scale, shift, strict=True):
                if dim != "c":
                    np.testing.assert_array_equal(image[dim], start + step * np.arange(image.sizes[dim]))
            assert image.ngff.units == {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}

    @pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
    def test_before_there_were_scales(self, version, tmp_path, put_array, ramp):
        """Those that the shapes say hold, with voxels in the middle of their blocks."""
        group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
        shapes = [(2, 3, 4, 21, 36), (2, 3, 4, 10, 18), (2, 3, 4, 5, 9)]
        for index, shape in enumerate(shapes):
            put_array(
                group,
                str(index),
                ramp(*shape),
                chunk_key_encoding={"name": "v2", "separator": "." if version == "0.1" else "/"},
            )
        entry = {"version": version, "datasets": [{"path": str(index)} for index in range(3)]}
        group.attrs["multiscales"] = [entry | ({"axes": list("tczyx")} if version == "0.3" else {})]
        for level, factor in enumerate((1, 2, 4)):
            image = opened(tmp_path / "a.zarr", level=level)
            assert image.dims == ("t", "c", "z", "y", "x")
            np.testing.assert_array_equal(image, ramp(*shapes[level]))
            assert image.ngff.spacing["z"] == 1
            for dim in "yx":
                np.testing.assert_array_equal(image[dim], (factor - 1) / 2 + factor * np.arange(image.sizes[dim]))

    def test_early_files_of_fewer_dims(self, tmp_path, put_array, ramp):
        group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
        put_array(group, "0", ramp(4, 6, 8))
        group.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
        with pytest.warns(NgffWarning, match="has 3 dims instead of 5; they were read as z, y, x"):
            assert opened(tmp_path / "a.zarr").dims == ("z", "y", "x")

    def test_metadata_of_0_4_on_zarr_v3(self, tmp_path, put_array, ramp, axes_of, placed):
        group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
        put_array(group, "0", ramp(6, 8))
        datasets = [{"path": "0", "coordinateTransformations": placed([2, 3])}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes_of("yx"), "datasets": datasets}]
        with pytest.warns(NgffWarning, match='not under "ome" of the attributes'):
            assert opened(tmp_path / "a.zarr").ngff.spacing == {"y": 2.0, "x": 3.0}

    def test_dots_between_chunk_numbers(self, tmp_path, put_array, ramp, axes_of, placed):
        group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
        put_array(group, "0", ramp(6, 8), chunks=(3, 3), chunk_key_encoding={"name": "v2", "separator": "."})
        datasets = [{"path": "0", "coordinateTransformations": placed([2, 3])}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes_of("yx"), "datasets": datasets}]
        assert (tmp_path / "a.zarr/0/1.2").is_file()
        np.testing.assert_array_equal(opened(tmp_path / "a.zarr"), ramp(6, 8))

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("unit", "µm", "it was read as 'micrometer'"),
            ("units", "micrometer", "has 'units'; it was read as 'unit'"),
            ("unit", "micron", "it was read as 'micrometer'"),
        ],
    )
    def test_units_in_the_wild(self, tmp_path, make_image, ramp, axes_of, key, value, message):
        axes = axes_of("yx", x={key: value})
        make_image(tmp_path / "a.zarr", [ramp(6, 8)], "yx", axes=axes)
        with pytest.warns(NgffWarning, match=message) as caught:
            assert opened(tmp_path / "a.zarr").x.attrs["units"] == "micrometer"
        assert str(tmp_path / "a.zarr") in str(caught[0].message)

    def test_unknown_unit_is_kept(self, tmp_path, make_image, ramp, axes_of):
        make_image(tmp_path / "a.zarr", [ramp(6, 8)], "yx", axes=axes_of("yx", x={"unit": "smoot"}))
        with pytest.warns(NgffWarning, match="'smoot', which is not a known unit"):
            assert opened(tmp_path / "a.zarr").ngff.units == {"y": None, "x": "smoot"}


class TestPlacement:
    def test_both_levels_of_transformations(self, tmp_path, make_image, pyramid, axes_of, placed):
        """Dataset first, then multiscale: x = s2 (s1 i + t1) + t2."""
        axes = axes_of("tzyx", z={"unit": "micrometer"}, t={"unit": "second"})
        outer = placed([0.1, 3, 1, 2], [7, 0, 0.5, -1])
        make_image(
            tmp_path / "a.zarr",
            pyramid(2, 4, 8, 8, levels=2),
            "tzyx",
            axes=axes,
            scale=(1, 5, 0.5, 0.25),
            translation=(0, 1, 2, 3),
            coordinateTransformations=outer,
        )
        for level in (0, 1):
            image = opened(tmp_path / "a.zarr", level=level)
            inner = zarr.open_group(tmp_path / "a.zarr").attrs["ome"]["multiscales"][0]["datasets"][level]
            first, second = (step[step["type"]] for step in inner["coordinateTransformations"])
            for i, dim in enumerate("tzyx"):
                index = np.arange(image.sizes[dim])
                truth = outer[0]["scale"][i] * (first[i] * index + second[i]) + outer[1]["translation"][i]
                np.testing.assert_allclose(image[dim], truth, rtol=1e-14)
        assert image.t.attrs["units"] == "second"

    def test_translation_before_scale_is_scaled(self, tmp_path, make_image, ramp):
        group = make_image(tmp_path / "a.zarr", [ramp(6, 8)], "yx", scale=(2, 4), translation=(10, 100))
        ome = group.attrs["ome"]
        ome["multiscales"][0]["datasets"][0]["coordinateTransformations"].reverse()
        group.attrs["ome"] = ome
        with pytest.warns(NgffWarning, match="translation before the scale"):
            assert opened(tmp_path / "a.zarr").ngff.origin == {"y": 20.0, "x": 400.0}

    @given(order=st.permutations("zyx"))
    @settings(max_examples=6)
    def test_axes_in_any_order(self, order, make_image, ramp):
        """A warning, and a transposed view in which every voxel keeps its place and value."""
        store, data = MemoryStore(), ramp(3, 4, 5)
        sizes = dict(zip("zyx", (3, 4, 5), strict=True))
        scale = dict(zip("zyx", (7.0, 0.5, 0.25), strict=True))
        stored = data.transpose(["zyx".index(dim) for dim in order])
        make_image(store, [stored], "".join(order), scale=[scale[dim] for dim in order])
        image = opened(store)
        assert image.dims == ("z", "y", "x")
        np.testing.assert_array_equal(image, data)
        assert dict(image.sizes) == sizes
        assert image.ngff.spacing == scale

    def test_time_after_space(self, tmp_path, make_image, ramp):
        make_image(tmp_path / "a.zarr", [ramp(4, 5, 2)], "yxt")
        with pytest.warns(NgffWarning, match="is in the order y, x, t, expected time, then channel, then space"):
            image = opened(tmp_path / "a.zarr")
        np.testing.assert_array_equal(image, ramp(4, 5, 2).transpose(2, 0, 1))

    def test_other_axes_come_before_space(self, tmp_path, make_image, ramp):
        make_image(tmp_path / "a.zarr", [ramp(2, 3, 4, 5)], ("t", "angle", "y", "x"), scale=(1, 15, 1, 1))
        image = opened(tmp_path / "a.zarr")
        assert image.dims == ("t", "angle", "y", "x")
        np.testing.assert_array_equal(image.angle, [0, 15, 30])


class TestOrientation:
    @pytest.mark.parametrize("key", ["orientation", "anatomicalOrientation"])
    @pytest.mark.parametrize("bare", [True, False])
    def test_rfc_4(self, tmp_path, make_image, ramp, axes_of, key, bare):
        values = {"z": "superior-to-inferior", "y": "anterior-to-posterior", "x": "left-to-right"}
        stated = {
            dim: {key: value if bare else {"type": "anatomical", "value": value}, "unit": "millimeter"}
            for dim, value in values.items()
        }
        make_image(tmp_path / "a.zarr", [ramp(3, 4, 5)], "zyx", axes=axes_of("zyx", **stated), scale=(3, 2, 1))
        image = opened(tmp_path / "a.zarr")
        assert {dim: image[dim].attrs["orientation"] for dim in "zyx"} == values
        assert image.ngff.orientation == "RPI"
        np.testing.assert_array_equal(image.ngff.affine, np.diag([1.0, -2.0, -3.0, 1.0]))

    def test_orientations_that_are_not_of_a_patient_in_a_scanner(self, tmp_path, make_image, ramp, axes_of):
        axes = axes_of("yx", y={"orientation": {"type": "anatomical", "value": "dorsal-to-ventral"}})
        make_image(tmp_path / "a.zarr", [ramp(4, 5)], "yx", axes=axes)
        image = opened(tmp_path / "a.zarr")
        assert image.y.attrs["orientation"] == "dorsal-to-ventral"
        assert image.ngff.orientation is None

    @pytest.mark.parametrize("code", ["RAS", "LPI", "RPI", "LAS"])
    @pytest.mark.parametrize("key", ["xyz_orientation", "orientation"])
    def test_zarrnii(self, tmp_path, make_image, pyramid, code, key):
        """zarrnii's affine: diagonal of signed scales, translation that of the file, on every level the same world."""
        scale, origin = np.array([3.0, 2.0, 0.5]), np.array([-70.0, -100.0, 90.0])  # z, y, x
        stated = {key: code if key == "xyz_orientation" else code[::-1]}
        group = make_image(tmp_path / "a.zarr", pyramid(4, 8, 8, levels=2), "zyx", scale=scale, translation=origin)
        group.attrs.update(stated)
        signs = np.array([1.0 if letter in "RAS" else -1.0 for letter in code])
        truth = np.eye(4)
        truth[:3, :3] = np.diag(signs * scale[::-1])
        truth[:3, 3] = origin[::-1]
        image = opened(tmp_path / "a.zarr")
        np.testing.assert_allclose(image.ngff.affine, truth)
        assert image.ngff.orientation == code
        # a voxel of level 1 is in the middle of the block of level 0 that it stands for
        coarse = opened(tmp_path / "a.zarr", level=1)
        np.testing.assert_allclose(coarse.ngff.index_to_world([1, 2, 1]), image.ngff.index_to_world([2.5, 4.5, 2.5]))


class TestVersion06:
    """Coordinate systems of RFC-5, with arrays that tensorstore or anybody else could have made."""

    AXES = ("z", "y", "x")

    def made(self, path, array, dataset_steps, *, outer=(), systems=("intrinsic",), arrays=(), **axes):
        group = zarr.create_group(path, zarr_format=3)
        for index, level in enumerate([array] if isinstance(array, np.ndarray) else array):
            zarr.create_array(group.store_path, name=str(index), data=level)
        for name, values in dict(arrays).items():
            zarr.create_array(group.store_path, name=name, data=np.asarray(values, float))
        described = [{"name": dim, "type": "space", "unit": "millimeter"} | axes.get(dim, {}) for dim in self.AXES]
        steps = [
            step | {"input": {"path": str(i)}, "output": {"name": "intrinsic"}} for i, step in enumerate(dataset_steps)
        ]
        datasets = [{"path": str(i), "coordinateTransformations": [step]} for i, step in enumerate(steps)]
        entry = {
            "coordinateSystems": [{"name": name, "axes": described} for name in systems],
            "datasets": datasets,
            "coordinateTransformations": list(outer),
        }
        group.attrs["ome"] = {"version": "0.6", "multiscales": [entry]}
        return path

    def test_scale_and_translation(self, tmp_path, ramp):
        step = {
            "type": "sequence",
            "transformations": [
                {"type": "scale", "scale": [3, 2, 1]},
                {"type": "translation", "translation": [5, 6, 7]},
            ],
        }
        image = opened(self.made(tmp_path / "a.zarr", ramp(3, 4, 5), [step]))
        assert image.ngff.spacing == {"z": 3.0, "y": 2.0, "x": 1.0}
        assert image.ngff.origin == {"z": 5.0, "y": 6.0, "x": 7.0}
        np.testing.assert_array_equal(image, ramp(3, 4, 5))

    @given(seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=25)
    def test_affine(self, seed, ramp):
        """The place of every voxel is the matrix of the file times its index, however the file says it."""
        random = np.random.default_rng(seed)
        rows = random.normal(size=(3, 4)) + np.hstack([np.diag([2.0, -3.0, 1.5]), np.zeros((3, 1))])
        if abs(np.linalg.det(rows[:, :3])) < 0.1:
            return
        image = opened(self.made(MemoryStore(), ramp(3, 4, 5), [{"type": "affine", "affine": rows.tolist()}]))
        index = random.integers(0, 3, size=(10, 3))  # z, y, x
        truth = (rows[:, :3] @ index.T).T + rows[:, 3]
        np.testing.assert_allclose(image.ngff.index_to_world(index[:, ::-1]), truth[:, ::-1], atol=1e-9)
        part = image.isel(z=slice(1, None), y=slice(None, None, -2), x=2)
        np.testing.assert_allclose(
            part.ngff.index_to_world([0, 1, 1]), (rows[:, :3] @ [2, 1, 2] + rows[:, 3])[::-1], atol=1e-9
        )

    def test_affine_in_an_anatomical_world(self, tmp_path, ramp):
        """The axes of the world are stated as LPS: world is RAS+, so x and y change their sign."""
        named = {"z": "inferior-to-superior", "y": "anterior-to-posterior", "x": "right-to-left"}
        axes = {dim: {"orientation": {"type": "anatomical", "value": value}} for dim, value in named.items()}
        turn = np.array([[1, 0.1, 0, 3], [-0.1, 1, 0.2, 4], [0, 0.2, 2, 5.0]])
        image = opened(
            self.made(tmp_path / "a.zarr", ramp(3, 4, 5), [{"type": "affine", "affine": turn.tolist()}], **axes)
        )
        z, y, x = turn[:, :3] @ [2, 1, 3] + turn[:, 3]
        np.testing.assert_allclose(image.ngff.index_to_world([3, 1, 2]), [-x, -y, z])

    def test_rotation_map_axis_and_sequence(self, tmp_path, ramp):
        angle = np.deg2rad(30)
        turn = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
        steps = [
            {"type": "scale", "scale": [4, 2, 1]},
            {"type": "rotation", "rotation": turn},
            {"type": "mapAxis", "mapAxis": [1, 0, 2]},
            {"type": "translation", "translation": [10, 20, 30]},
        ]
        image = opened(self.made(tmp_path / "a.zarr", ramp(3, 4, 5), [{"type": "sequence", "transformations": steps}]))
        index = np.array([2, 3, 4])
        moved = np.array(turn) @ (np.array([4, 2, 1]) * index)
        truth = moved[[1, 0, 2]] + [10, 20, 30]
        np.testing.assert_allclose(image.ngff.index_to_world(index[::-1]), truth[::-1])
        assert image[2, 3, 4] == ramp(3, 4, 5)[2, 3, 4]

    def test_on_to_another_system(self, tmp_path, ramp):
        """The system listed first is read in, where transformations lead there."""
        outer = [{
            "type": "affine", "input": {"name": "intrinsic"}, "output": {"name": "world"},
            "affine": [[0, 1, 0, 9], [-1, 0, 0, 8], [0, 0, 1, 7]],
        }]  # fmt: skip
        step = {"type": "scale", "scale": [3, 2, 1]}
        path = self.made(tmp_path / "a.zarr", ramp(3, 4, 5), [step], outer=outer, systems=("world", "intrinsic"))
        image = opened(path)
        np.testing.assert_allclose(image.ngff.index_to_world([4, 3, 2]), [4 + 7, -6 + 8, 6 + 9])
        levels = [ramp(4, 4, 4), ramp(2, 2, 2)]
        steps = [step, {"type": "sequence", "transformations": [
            {"type": "scale", "scale": [6, 4, 2]}, {"type": "translation", "translation": [1.5, 1, 0.5]}]}]  # fmt: skip
        path = self.made(tmp_path / "b.zarr", levels, steps, outer=outer, systems=("world", "intrinsic"))
        fine, coarse = opened(path), opened(path, level=1)
        np.testing.assert_allclose(coarse.ngff.index_to_world([1, 0, 1]), fine.ngff.index_to_world([2.5, 0.5, 2.5]))

    def test_parameters_in_an_array(self, tmp_path, ramp):
        rows = np.array([[1, 0.5, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3.0]])
        path = self.made(
            tmp_path / "a.zarr", ramp(3, 4, 5), [{"type": "affine", "path": "matrix"}], arrays={"matrix": rows}
        )
        truth = rows[:, :3] @ [2, 1, 3] + rows[:, 3]
        np.testing.assert_allclose(opened(path).ngff.index_to_world([3, 1, 2]), truth[::-1])
        path = self.made(tmp_path / "b.zarr", ramp(3, 4, 5), [{"type": "affine", "path": "gone"}])
        with pytest.raises(MetadataError, match="the array 'gone' of a transformation is not there"):
            opened(path)

    def test_what_is_not_linear(self, tmp_path, ramp):
        path = self.made(tmp_path / "a.zarr", ramp(3, 4, 5), [{"type": "displacements", "path": "d"}])
        with pytest.raises(MetadataError, match="'displacements', which is not read by this version"):
            opened(path)


class TestChannels:
    OMERO = {  # noqa: RUF012
        "channels": [
            {"label": "DAPI", "color": "0000ff", "window": {"start": 5, "end": 900, "min": 0, "max": 4095}},
            {"label": "GFP", "color": "00FF00", "window": {"start": 1, "end": 2, "min": 0, "max": 3}, "active": False},
        ]
    }

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_become_coordinates(self, tmp_path, make_image, ramp, version):
        make_image(tmp_path / "a.zarr", [ramp(2, 4, 5)], "cyx", version=version, attributes={"omero": self.OMERO})
        image = opened(tmp_path / "a.zarr")
        assert image.c.values.tolist() == ["DAPI", "GFP"]
        assert image.channel_color.values.tolist() == ["0000FF", "00FF00"]
        assert image.window_start.values.tolist() == [5, 1]
        assert image.window_end.values.tolist() == [900, 2]
        assert image.window_max.values.tolist() == [4095, 3]
        np.testing.assert_array_equal(image.sel(c="GFP"), ramp(2, 4, 5)[1])
        assert image.sel(c="GFP").ngff.channels[0].window == (1, 2)

    def test_of_an_image_without_a_channel_axis(self, tmp_path, make_image, ramp):
        omero = {"channels": self.OMERO["channels"][:1]}
        make_image(tmp_path / "a.zarr", [ramp(4, 5)], "yx", attributes={"omero": omero})
        image = opened(tmp_path / "a.zarr")
        assert image.c.item() == "DAPI"
        assert image.ngff.channels[0].color == "0000FF"

    def test_of_another_number_are_left_out(self, tmp_path, make_image, ramp):
        make_image(tmp_path / "a.zarr", [ramp(3, 4, 5)], "cyx", attributes={"omero": self.OMERO})
        with pytest.warns(NgffWarning, match="describes 2 channels, but the image has 3; they were ignored"):
            assert "c" not in opened(tmp_path / "a.zarr").coords

    def test_without_windows(self, tmp_path, make_image, ramp):
        omero = {"channels": [{"label": "a", "color": "FF0000"}, {"label": "b", "color": "00FF00"}]}
        make_image(tmp_path / "a.zarr", [ramp(2, 4, 5)], "cyx", attributes={"omero": omero})
        with pytest.warns(NgffWarning, match="no window for channel 0, 1"):
            image = opened(tmp_path / "a.zarr")
        assert image.c.values.tolist() == ["a", "b"]
        assert image.ngff.channels[1].window is None


class TestLabels:
    @by_ome_zarr
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_as_ome_zarr_writes_them(self, tmp_path, ramp, version):
        fmt = format_from_version(version)
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=fmt.zarr_format)
        steps = [[{"type": "scale", "scale": [1, f, f]}] for f in (1, 2)]
        image = ramp(8, 16, 16)
        write_multiscale([image, image[:, ::2, ::2]], group, fmt=fmt, axes="zyx", coordinate_transformations=steps)
        ids = ramp(8, 16, 16, dtype="u4") // 100
        for name in ("nuclei", "cells"):
            write_multiscale_labels(
                [ids, ids[:, ::2, ::2]],
                group,
                name,
                fmt=fmt,
                axes="zyx",
                coordinate_transformations=steps,
                label_metadata={"colors": [{"label-value": 1, "rgba": [255, 0, 0, 255]}]},
            )
        tree = xr.open_datatree(tmp_path / "a.zarr", engine="ngff")
        assert {node.path for node in tree.leaves} == {
            "/scale0", "/scale1",
            "/labels/nuclei/scale0", "/labels/nuclei/scale1", "/labels/cells/scale0", "/labels/cells/scale1",
        }  # fmt: skip
        np.testing.assert_array_equal(tree["labels/cells/scale0/labels"], ids)
        image = opened(tmp_path / "a.zarr", group="labels/nuclei", level=1)
        assert image.name == "labels"
        assert image.encoding["image-label"]["colors"] == [{"label-value": 1, "rgba": [255, 0, 0, 255]}]
        np.testing.assert_array_equal(image, ids[:, ::2, ::2])
        with pytest.raises(FormatError, match="a list of labels: open one with group='labels/nuclei'"):
            opened(tmp_path / "a.zarr", group="labels")
        assert set(xr.open_datatree(tmp_path / "a.zarr", engine="ngff", group="labels").children) == {"nuclei", "cells"}

    def test_by_place_or_by_metadata(self, tmp_path, make_image, ramp):
        store = zarr.create_group(tmp_path / "a.zarr").store
        make_image(store, [ramp(4, 4)], "yx", path="labels/plain")
        make_image(store, [ramp(4, 4)], "yx", path="other", attributes={"image-label": {}})
        make_image(store, [ramp(4, 4)], "yx", path="neither")
        assert opened(tmp_path / "a.zarr", group="labels/plain").name == "labels"
        assert opened(tmp_path / "a.zarr", group="other").name == "labels"
        assert opened(tmp_path / "a.zarr", group="neither").name == "image"

    def test_listed_but_absent(self, tmp_path, make_image, ramp):
        group = make_image(tmp_path / "a.zarr", [ramp(4, 4)], "yx")
        make_image(group.store, [ramp(4, 4)], "yx", path="labels/here")
        labels = zarr.open_group(tmp_path / "a.zarr/labels", mode="a")
        labels.attrs["ome"] = {"version": "0.5", "labels": ["here", "gone"]}
        with pytest.warns(NgffWarning, match="lists 1 of 2 images that are not there; they were left out: labels/gone"):
            tree = xr.open_datatree(tmp_path / "a.zarr", engine="ngff")
        assert {node.path for node in tree.leaves} == {"/scale0", "/labels/here/scale0"}

    def test_a_folder_of_labels_that_lists_none(self, tmp_path, make_image, ramp):
        group = make_image(tmp_path / "a.zarr", [ramp(4, 4)], "yx")
        group.create_group("labels")
        with pytest.warns(NgffWarning, match=r"a\.zarr: labels is a group of labels that lists none"):
            tree = xr.open_datatree(tmp_path / "a.zarr", engine="ngff")
        assert set(tree.children) == {"scale0"}


class TestSeries:
    """Roots as bioformats2raw makes them."""

    def made(self, path, make_image, ramp, *, count=2, listed=None, version="0.4"):
        root = zarr.create_group(path, zarr_format=3 if version == "0.5" else 2)
        layout = {"bioformats2raw.layout": 3}
        root.attrs.update({"ome": layout | {"version": "0.5"}} if version == "0.5" else layout)
        for index in range(count):
            make_image(root.store, [ramp(4 + index, 6)], "yx", path=str(index), version=version)
        if listed is not None:
            ome = root.create_group("OME")
            ome.attrs.update({"ome": {"version": "0.5", "series": listed}} if version == "0.5" else {"series": listed})
        return path

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    @pytest.mark.parametrize("listed", [None, ["0", "1"]])
    def test_of_several_images(self, tmp_path, make_image, ramp, version, listed):
        path = self.made(tmp_path / "a.zarr", make_image, ramp, listed=listed, version=version)
        with pytest.raises(FormatError, match="a series of images: open one with group='0', group='1', or all of it"):
            opened(path)
        np.testing.assert_array_equal(opened(path, group="1"), ramp(5, 6))
        tree = xr.open_datatree(path, engine="ngff")
        assert {node.path for node in tree.leaves} == {"/0/scale0", "/1/scale0"}
        assert tree["1/scale0/image"].shape == (5, 6)

    def test_of_one_image_opens_it(self, tmp_path, make_image, ramp):
        path = self.made(tmp_path / "a.zarr", make_image, ramp, count=1)
        np.testing.assert_array_equal(opened(path), ramp(4, 6))
        assert {node.path for node in xr.open_datatree(path, engine="ngff").leaves} == {"/0/scale0"}

    def test_of_many_images_without_a_list(self, tmp_path, make_image, ramp):
        path = self.made(tmp_path / "a.zarr", make_image, ramp, count=13)
        assert set(xr.open_datatree(path, engine="ngff").children) == {str(index) for index in range(13)}

    def test_with_an_absent_image(self, tmp_path, make_image, ramp):
        path = self.made(tmp_path / "a.zarr", make_image, ramp, listed=["0", "5", "1"])
        with pytest.warns(NgffWarning, match="lists 1 of 3 images that are not there; they were left out: 5"):
            assert set(xr.open_datatree(path, engine="ngff").children) == {"0", "1"}


class TestVendorKey:
    @pytest.mark.parametrize(
        "vendor",
        [
            {"direction": [1, 2, 3]},
            {"direction": {"x": 3}},
            {"direction": {"x": [1, 2]}},
            {"direction": {"x": ["a", "b", "c"]}},
            {"selected": ["z"]},
            {"selected": {"z": 3}},
            {"selected": {"z": {"start": 1.0}}},
            {"selected": {"z": {"start": "far", "step": 1.0}}},
            {"selected": {"z": {"start": 1.0, "step": 0.0}}},
        ],
    )
    def test_that_is_not_as_we_write_it(self, tmp_path, make_image, ramp, vendor):
        group = make_image(tmp_path / "a.zarr", [ramp(4, 4)], "yx")
        group.attrs["xarray_ngff"] = vendor
        with pytest.raises(MetadataError, match=r"a\.zarr: root: attribute xarray_ngff\.(direction|selected)"):
            opened(tmp_path / "a.zarr")

    def test_that_is_no_object_is_ignored(self, tmp_path, make_image, ramp):
        group = make_image(tmp_path / "a.zarr", [ramp(4, 4)], "yx")
        group.attrs["xarray_ngff"] = "1.0"
        with pytest.warns(NgffWarning, match="xarray_ngff is '1.0', expected an object; it was ignored"):
            assert opened(tmp_path / "a.zarr").shape == (4, 4)

    def test_of_an_axis_that_is_there_again(self, tmp_path, make_image, ramp):
        group = make_image(tmp_path / "a.zarr", [ramp(2, 4, 4)], "zyx", scale=(5, 1, 1))
        group.attrs["xarray_ngff"] = {"selected": {"z": {"start": 100.0, "step": 1.0}}}
        assert opened(tmp_path / "a.zarr").z.values.tolist() == [0, 5]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_selection_is_that_of_the_array(data, put_array, ramp):
    """Slices with any step, integers, and lists of indices, on chunked and sharded arrays in either dim order."""
    stored = ramp(2, 5, 7, 9)
    store = MemoryStore()
    group = zarr.create_group(store)
    sharded = data.draw(st.booleans())
    put_array(group, "0", stored, chunks=(1, 2, 3, 2), shards=(2, 4, 3, 6) if sharded else None)
    order = data.draw(st.sampled_from([("c", "z", "y", "x"), ("c", "x", "y", "z")]))
    axes = [{"name": dim, "type": "channel" if dim == "c" else "space"} for dim in order]
    entry = {
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1] * 4}]}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]}
    truth = stored if order[1] == "z" else stored.transpose(0, 3, 2, 1)
    image = opened(store)
    indexers, plain = {}, truth
    for axis, dim in reversed(list(enumerate(image.dims))):
        n = truth.shape[axis]
        index = data.draw(
            st.one_of(
                st.integers(-n, n - 1),
                st.slices(n),
                st.lists(st.integers(-n, n - 1), max_size=4).map(lambda chosen: np.array(chosen, dtype=int)),
            )
        )
        indexers[dim] = index
        plain = (
            plain.take(index, axis=axis) if not isinstance(index, slice) else plain[(slice(None),) * axis + (index,)]
        )
    part = image.isel(indexers)
    np.testing.assert_array_equal(part, plain)
    assert part.dtype == stored.dtype


def test_byte_order_and_types(tmp_path, put_array, axes_of, placed):
    for dtype in (">u2", "<f4", ">f8", "|b1", "<c8", "<f2", ">i8"):
        data = (np.arange(12).reshape(3, 4) % 2).astype(dtype)
        group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
        put_array(group, "0", data)
        datasets = [{"path": "0", "coordinateTransformations": placed([1, 1])}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes_of("yx"), "datasets": datasets}]
        image = opened(tmp_path / "a.zarr")
        assert image.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(image, data)


def test_chunks_that_are_not_stored_hold_the_fill_value(tmp_path, axes_of, placed):
    group = zarr.create_group(tmp_path / "a.zarr")
    array = group.create_array("0", shape=(4, 4), chunks=(2, 2), dtype="i2", fill_value=-7)
    array[:2, :2] = 5
    datasets = [{"path": "0", "coordinateTransformations": placed([1, 1])}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes_of("yx"), "datasets": datasets}]}
    truth = np.full((4, 4), -7)
    truth[:2, :2] = 5
    np.testing.assert_array_equal(opened(tmp_path / "a.zarr"), truth)


def test_number_of_dims_and_of_axes(tmp_path, make_image, ramp, axes_of):
    make_image(tmp_path / "a.zarr", [ramp(3, 4, 5)], "yx", axes=axes_of("yx"), scale=(1, 1))
    with pytest.raises(MetadataError, match=r"array '0' has 3 dims \(3, 4, 5\), but the axes are y, x \(2\)"):
        opened(tmp_path / "a.zarr")


def test_the_opened_image_goes_through_xarrays_own_files(tmp_path, make_image, pyramid):
    """What the engine gives serialises: to netCDF and to plain Zarr."""
    make_image(tmp_path / "a.zarr", pyramid(4, 8, 8), "zyx", scale=(3, 0.5, 0.25), translation=(1, 2, 3))
    image = opened(tmp_path / "a.zarr", level=1)
    image.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    image.to_dataset().drop_encoding().to_zarr(tmp_path / "plain.zarr", consolidated=False)
    for copy in (
        xr.open_dataarray(tmp_path / "a.nc", engine="h5netcdf"),
        xr.open_dataarray(tmp_path / "plain.zarr", engine="zarr", consolidated=False),
    ):
        np.testing.assert_array_equal(copy, image)
        np.testing.assert_array_equal(copy.ngff.affine, image.ngff.affine)


def test_the_store_is_not_changed_by_reading(tmp_path, make_image, pyramid):
    make_image(tmp_path / "a.zarr", pyramid(4, 8, 8), "zyx")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    opened(tmp_path / "a.zarr").load()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
