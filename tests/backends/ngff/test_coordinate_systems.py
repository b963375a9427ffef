"""Images of version 0.6: from pixels through the coordinate systems to the one that is read."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ngff.metadata import multiscales
from xarray_ngff.errors import MetadataError, NgffWarning

TYPES = {"t": "time", "c": "channel"}


def axes(names):
    return [{"name": name, "type": TYPES.get(name, "space")} for name in names]


def system(name, names):
    return {"name": name, "axes": axes(names)}


def pixels(n):
    return [{"name": f"dim_{i}", "type": "array"} for i in range(n)]


def image(systems, to_intrinsic, onwards=(), *, version="0.6", **options):
    """Read an image with one transformation per level to the system "intrinsic", and some that lead on from it."""
    datasets = [
        {
            "path": f"s{i}",
            "coordinateTransformations": [step | {"input": {"path": f"s{i}"}, "output": {"name": "intrinsic"}}],
        }
        for i, step in enumerate(to_intrinsic)
    ]
    multiscale = {"coordinateSystems": systems, "datasets": datasets}
    if onwards:
        multiscale["coordinateTransformations"] = list(onwards)
    (found,) = multiscales({"ome": {"version": version, "multiscales": [multiscale]}}, "img", **options)
    return found


def lead(step, output, source="intrinsic"):
    return step | {"input": {"name": source}, "output": {"name": output}}


def sequence(scale, translation):
    inner = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]
    return {"type": "sequence", "transformations": inner}


def names(found):
    return "".join(axis.name for axis in found.axes)


class TestIntrinsic:
    def test_scale_identity_and_sequence(self):
        levels = [{"type": "identity"}, {"type": "scale", "scale": [2, 3]}, sequence([4, 6], [0.5, -1])]
        found = image([system("intrinsic", "yx")], levels)
        assert [level.scale for level in found.levels] == [(1, 1), (2, 3), (4, 6)]
        assert [level.translation for level in found.levels] == [(0, 0), (0, 0), (0.5, -1)]
        assert all(level.affine is None for level in found.levels)
        assert (names(found), found.version) == ("yx", "0.6")

    def test_axes_say_all_they_can(self):
        world = system("intrinsic", "yx")
        world["axes"][1] |= {"unit": "um", "longName": "lateral", "orientation": {"value": "right-to-left"}}
        with pytest.warns(NgffWarning, match=r"img: multiscales\[0\]\.coordinateSystems\[0\]\.axes\[1\]\.unit is 'um'"):
            found = image([world], [{"type": "identity"}])
        axis = found.axes[1]
        assert (axis.unit, axis.long_name, axis.orientation) == ("micrometer", "lateral", "right-to-left")

    @pytest.mark.parametrize("version", ["0.6", "0.6rc0", "0.6rc1", "0.6.dev3", "0.6-dev1", "0.6dev2"])
    def test_versions(self, version):
        assert image([system("intrinsic", "yx")], [{"type": "identity"}], version=version).version == "0.6"

    def test_early_drafts(self):
        """Ends as plain names, one transformation without a list around it, and version 0.5 of the first prototypes."""
        step = {"type": "scale", "scale": [2, 3], "input": "s0", "output": "world"}
        multiscale = {
            "coordinateSystems": [system("world", "yx")],
            "datasets": [{"path": "s0", "coordinateTransformations": step}],
        }
        with pytest.warns(NgffWarning, match="is '0.5-dev'; it was read as '0.5'"):
            (found,) = multiscales({"ome": {"version": "0.5-dev", "multiscales": [multiscale]}}, "img")
        assert (found.version, found.levels[0].scale) == ("0.6", (2, 3))

    def test_axes_of_version_0_5(self):
        multiscale = {
            "axes": axes("yx"),
            "datasets": [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [2, 3]}]}],
        }
        with pytest.warns(NgffWarning, match=r"img: multiscales\[0\] has axes instead of coordinateSystems"):
            (found,) = multiscales({"ome": {"version": "0.6", "multiscales": [multiscale]}}, "img")
        assert found.levels[0].scale == (2, 3)

    def test_no_version(self):
        multiscale = {
            "coordinateSystems": [system("world", "yx")],
            "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [2, 3]}]}],
        }
        with pytest.warns(NgffWarning) as caught:
            (found,) = multiscales({"ome": {"multiscales": [multiscale]}}, "img")
        assert [str(w.message) for w in caught] == [
            "img: multiscales[0] states no version; by what it holds it was read as '0.6'",
            "img: multiscales[0].datasets[0].coordinateTransformations names no output; it was taken to be 'world', "
            "the only coordinate system",
        ]
        assert (found.version, found.levels[0].scale) == ("0.6", (2, 3))

    def test_as_ngff_zarr_writes_it(self, tmp_path):
        ngff_zarr = pytest.importorskip("ngff_zarr")
        import zarr

        pixels = np.zeros((4, 8, 16), "u1")
        scale, translation = {"z": 2.5, "y": 0.5, "x": 0.25}, {"z": -3.0, "y": 1.0, "x": 7.0}
        written = ngff_zarr.to_ngff_image(pixels, dims=list("zyx"), scale=scale, translation=translation)
        pyramid = ngff_zarr.to_multiscales(written, scale_factors=[2])
        for version in ("0.4", "0.5", "0.6"):
            path = tmp_path / f"{version}.zarr"
            ngff_zarr.to_ngff_zarr(str(path), pyramid, version=version)
            (found,) = multiscales(dict(zarr.open_group(path, mode="r").attrs), "img")
            assert (found.version, names(found)) == (version, "zyx")
            for level, truth in zip(found.levels, pyramid.images, strict=True):
                assert level.scale == tuple(truth.scale[d] for d in "zyx")
                assert level.translation == tuple(truth.translation[d] for d in "zyx")


class TestOnwards:
    SCALED = lead({"type": "scale", "scale": [10, 10]}, "physical")

    def test_first_system_that_can_be_reached(self):
        """The examples of the specification list the system to prefer first, and the intrinsic one after it."""
        both = [system("physical", "yx"), system("intrinsic", "yx")]
        level = [{"type": "scale", "scale": [1, 2]}]
        assert image(both, level, [self.SCALED]).levels[0].scale == (10, 20)
        assert image(both[::-1], level, [self.SCALED]).levels[0].scale == (1, 2)
        assert image([system("elsewhere", "yx"), *both], level, [self.SCALED]).levels[0].scale == (10, 20)

    def test_system_by_name(self):
        both = [system("physical", "yx"), system("intrinsic", "yx")]
        level = [{"type": "scale", "scale": [1, 2]}]
        assert image(both, level, [self.SCALED], coordinate_system="intrinsic").levels[0].scale == (1, 2)
        with pytest.raises(
            MetadataError, match=r"no coordinate system 'x' that can be reached; it has 'intrinsic', 'ph"
        ):
            image(both, level, [self.SCALED], coordinate_system="x")

    def test_more_than_one_step_in_any_order(self):
        systems = [system(name, "yx") for name in ("world", "stage", "intrinsic")]
        onwards = [
            lead({"type": "translation", "translation": [100, 200]}, "world", "stage"),
            lead({"type": "scale", "scale": [2, 2]}, "stage"),
        ]
        (level,) = image(systems, [sequence([1, 3], [5, 6])], onwards).levels
        assert (level.scale, level.translation) == ((2, 6), (110, 212))

    def test_pixels_as_the_intrinsic_system(self):
        """A file whose intrinsic system is the array, as in an example of the specification."""
        systems = [system("physical", "yx"), {"name": "intrinsic", "axes": pixels(2)}]
        found = image(systems, [{"type": "identity"}], [lead({"type": "scale", "scale": [0.2, 0.3]}, "physical")])
        assert (names(found), found.levels[0].scale) == ("yx", (0.2, 0.3))
        # mapAxis: output y is dim 1 of the array, so dim 0 is x
        step = {"type": "sequence", "transformations": [
            {"type": "mapAxis", "mapAxis": [1, 0]}, {"type": "scale", "scale": [2, 3]},
        ]}  # fmt: skip
        found = image(systems, [{"type": "identity"}], [lead(step, "physical")])
        assert (names(found), found.levels[0].scale, found.levels[0].affine) == ("xy", (3, 2), None)

    def test_pixels_that_lead_nowhere(self):
        with pytest.raises(MetadataError, match="only axes of type 'array'"):
            image([{"name": "intrinsic", "axes": pixels(2)}], [{"type": "identity"}])

    def test_map_axis_that_only_lists_the_axes_in_another_order(self):
        systems = [system("physical", "xyz"), system("intrinsic", "zyx")]
        step = lead({"type": "mapAxis", "mapAxis": [2, 1, 0]}, "physical")
        found = image(systems, [sequence([1, 2, 3], [4, 5, 6])], [step])
        level = found.levels[0]
        assert (names(found), level.scale, level.translation, level.affine) == ("zyx", (1, 2, 3), (4, 5, 6), None)

    @pytest.mark.parametrize("kind", ["displacements", "byDimension", "coordinates"])
    def test_step_that_is_not_read_leaves_the_intrinsic_system(self, kind):
        both = [system("atlas", "yx"), system("intrinsic", "yx")]
        step = {"type": "sequence", "transformations": [{"type": "identity"}, {"type": kind, "path": "d"}]}
        message = rf"coordinateTransformations\[0\] has the type '{kind}', which is not read: 'atlas' was left out"
        for each in (step, step["transformations"][1]):
            with pytest.warns(NgffWarning, match=message):
                found = image(both, [{"type": "scale", "scale": [1, 2]}], [lead(each, "atlas")])
        assert found.levels[0].scale == (1, 2)

    def test_step_to_another_image_is_not_ours(self):
        both = [system("physical", "yx"), system("intrinsic", "yx")]
        step = self.SCALED | {"output": {"name": "physical", "path": "labels/nuclei"}}
        assert image(both, [{"type": "identity"}], [step]).levels[0].scale == (1, 1)


def in_xyz(found):
    return [names(found).index(name) for name in "xyz" if name in names(found)]


class TestAffine:
    @given(
        data=st.data(),
        order=st.sampled_from(["zyx", "xyz", "yzx", "tczyx", "cyx", "yx"]),
        levels=st.integers(1, 3),
    )
    def test_maps_voxels_as_the_file_says(self, data, order, levels):
        n = len(order)
        space = [i for i, name in enumerate(order) if name in "xyz"]
        entries = st.floats(-2, 2).map(lambda v: round(v, 3))
        rows = np.eye(n, n + 1)
        for i, j in itertools.product(space, [*space, n]):
            rows[i, j] = data.draw(entries)
        rows[space, space] += 8
        steps = [sequence([2.0**k + i for i in range(n)], [k / 2 + i for i in range(n)]) for k in range(levels)]
        onwards = [lead({"type": "affine", "affine": rows.tolist()}, "world")]
        found = image([system("world", order), system("intrinsic", order)], steps, onwards)
        index = np.array(data.draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)), float)
        xyz = in_xyz(found)
        for k, level in enumerate(found.levels):
            inner = index * [2.0**k + i for i in range(n)] + [k / 2 + i for i in range(n)]
            world = rows[:, :-1] @ inner + rows[:, -1]
            straight = np.multiply(level.scale, index) + level.translation
            others = [i for i in range(n) if i not in space]
            np.testing.assert_allclose(straight[others], world[others])
            if level.affine is None:
                np.testing.assert_allclose(straight, world, atol=1e-9)
            else:
                np.testing.assert_allclose((level.affine @ [*index[xyz], 1])[:-1], world[xyz], atol=1e-9)
                np.testing.assert_allclose(np.take(level.scale, xyz), np.linalg.norm(level.affine[:-1, :-1], axis=0))

    def test_is_none_where_scale_and_translation_say_it(self):
        affine = {"type": "affine", "affine": [[2, 0, 5], [0, 3, 6]]}
        found = image(
            [system("world", "yx"), system("intrinsic", "yx")], [{"type": "identity"}], [lead(affine, "world")]
        )
        assert (found.levels[0].scale, found.levels[0].translation, found.levels[0].affine) == ((2, 3), (5, 6), None)

    def test_mirror_and_quarter_turn_are_affine(self):
        systems = [system("world", "yx"), system("intrinsic", "yx")]
        mirror = lead({"type": "affine", "affine": [[-1, 0, 0], [0, 1, 0]]}, "world")
        np.testing.assert_array_equal(
            image(systems, [{"type": "identity"}], [mirror]).levels[0].affine, [[1, 0, 0], [0, -1, 0], [0, 0, 1]]
        )
        # world y = i_x, world x = -i_y
        turn = lead({"type": "rotation", "rotation": [[0, 1], [-1, 0]]}, "world")
        np.testing.assert_array_equal(
            image(systems, [{"type": "identity"}], [turn]).levels[0].affine, [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
        )
        # world y = i_x, world x = i_y
        swap = lead({"type": "mapAxis", "mapAxis": [1, 0]}, "world")
        np.testing.assert_array_equal(
            image(systems, [{"type": "identity"}], [swap]).levels[0].affine, [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
        )

    def test_in_an_array(self):
        systems = [system("world", "yx"), system("intrinsic", "yx")]
        step = lead({"type": "affine", "path": "coordinateTransformations/a"}, "world")
        stored = np.array([[1.0, 0.5, 2], [0, 1, 3]])
        read_array = {"coordinateTransformations/a": stored}.__getitem__
        found = image(systems, [{"type": "identity"}], [step], read_array=read_array)
        np.testing.assert_array_equal(found.levels[0].affine, [[1, 0, 3], [0.5, 1, 2], [0, 0, 1]])

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([[1, 0, 0.5, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "mixes axis 'c' with 'x'"),
            ([[1, 0, 0, 0], [0.1, 1, 0, 0], [0, 0, 1, 0]], "mixes axis 'c' with 'y'"),
            ([[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], "scales axis 'c' by -1"),
        ],
    )
    def test_other_axes_stay_apart(self, rows, message):
        systems = [system("world", "cyx"), system("intrinsic", "cyx")]
        with pytest.raises(MetadataError, match=rf"coordinate system 'world' {message}"):
            image(systems, [{"type": "identity"}], [lead({"type": "affine", "affine": rows}, "world")])


class TestErrors:
    @pytest.mark.parametrize(
        ("systems", "steps", "onwards", "message"),
        [
            ([], [{"type": "identity"}], [], r"coordinateSystems is \[\]"),
            (None, [{"type": "identity"}], [], "coordinateSystems is missing"),
            ([{"axes": axes("yx")}], [{"type": "identity"}], [], r"coordinateSystems\[0\]\.name is missing"),
            ([system("intrinsic", "yx")] * 2, [{"type": "identity"}], [], "'intrinsic' twice"),
            (
                [system("other", "yx")],
                [{"type": "identity"}],
                [],
                "leads to 'intrinsic', expected a coordinate system: o",
            ),
            ([system("intrinsic", "yx")], [{"type": "scale", "scale": [1]}], [], "1 numbers, expected 2"),
            ([system("intrinsic", "yx")], [{"type": "scale", "scale": [1, -1]}], [], "above zero"),
            ([system("intrinsic", "yx")], [{"type": "displacements"}], [], "'displacements', which is not read"),
            (
                [system("world", "zyx"), system("intrinsic", "yx")],
                [{"type": "identity"}],
                [lead({"type": "identity"}, "world")],
                r"leads from 2 axes to 3",
            ),
            (
                [system("world", "cyx"), system("intrinsic", "zyx")],
                [{"type": "identity"}],
                [lead({"type": "identity"}, "world")],
                r"has axes c, y, x, but the image has z, y, x",
            ),
        ],
    )
    def test_what_raises(self, systems, steps, onwards, message):
        with pytest.raises(MetadataError, match=message):
            image(systems, steps, onwards)

    def test_step_onwards_that_is_broken(self):
        with pytest.raises(MetadataError, match=r"coordinateTransformations\[0\]\.scale is \[1\] with 1 numbers"):
            image([system("world", "yx"), system("intrinsic", "yx")], [{"type": "identity"}],
                  [lead({"type": "scale", "scale": [1]}, "world")])  # fmt: skip

    def test_levels_that_lead_to_different_systems(self):
        multiscale = {
            "coordinateSystems": [system("a", "yx"), system("b", "yx")],
            "datasets": [
                {"path": p, "coordinateTransformations": [{"type": "identity", "input": p, "output": p}]} for p in "ab"
            ],
        }
        with pytest.raises(MetadataError, match=r"datasets\[1\].* leads to 'b', but datasets before it to 'a'"):
            multiscales({"ome": {"version": "0.6", "multiscales": [multiscale]}}, "img")
