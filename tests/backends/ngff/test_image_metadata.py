"""Multiscale images of every version, and what is found in the wild."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ngff.metadata import fit_shapes, multiscales
from xarray_ngff.errors import MetadataError, NgffWarning

AXES = [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space", "unit": "micrometer"}]
CHANNEL = {"label": "GFP", "color": "00FF00", "window": {"start": 0, "end": 9, "min": 0, "max": 255}}


def scale(*factors):
    return {"type": "scale", "scale": list(factors)}


def translation(*shifts):
    return {"type": "translation", "translation": list(shifts)}


def dataset(path, *steps):
    return {"path": path, "coordinateTransformations": list(steps)}


def attributes(version="0.4", **changes):
    """Attributes of an image of version 0.4 or 0.5; None takes a key out."""
    multiscale = {"version": version, "axes": AXES, "datasets": [dataset("0", scale(0.5, 0.25))]} | changes
    metadata = {"multiscales": [{key: value for key, value in multiscale.items() if value is not None}]}
    if version != "0.5":
        return metadata
    del metadata["multiscales"][0]["version"]
    return {"ome": metadata | {"version": version}}


def read(found, **options):
    (image,) = multiscales(found, "img", **options)
    return image


class TestVersions:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_all_it_can_say(self, version):
        downsampling = {"type": "gaussian", "metadata": {"method": "m", "version": "1"}}
        found = attributes(version, name="brain", **downsampling)
        inner = found.get("ome", found)
        inner["omero"] = {"channels": [CHANNEL]}
        inner["image-label"] = {"colors": [{"label-value": 1}]}
        found["xarray_ngff"] = {"direction": {"x": [1.0, 0.0, 0.0]}}
        image = read(found, zarr_format={"0.4": 2, "0.5": 3}[version])
        assert (image.name, image.version, image.method) == ("brain", version, downsampling)
        assert [(axis.name, axis.type, axis.unit) for axis in image.axes] == [
            ("y", "space", "micrometer"), ("x", "space", "micrometer"),
        ]  # fmt: skip
        assert image.channels == (CHANNEL,)
        assert image.image_label == {"colors": [{"label-value": 1}]}
        assert image.vendor == {"direction": {"x": [1.0, 0.0, 0.0]}}
        (level,) = image.levels
        assert (level.path, level.scale, level.translation, level.affine) == ("0", (0.5, 0.25), (0, 0), None)
        assert pickle.loads(pickle.dumps(image)).axes == image.axes

    def test_0_3(self):
        found = {"multiscales": [{"version": "0.3", "axes": list("cyx"), "datasets": [{"path": "a"}, {"path": "b"}]}]}
        image = read(found, shapes={"a": (2, 100, 101), "b": (2, 50, 25)})
        assert [(axis.name, axis.type) for axis in image.axes] == [("c", "channel"), ("y", "space"), ("x", "space")]
        assert [level.scale for level in image.levels] == [(1, 1, 1), (1, 2, 4)]
        assert [level.translation for level in image.levels] == [(0, 0, 0), (0, 0.5, 1.5)]

    @pytest.mark.parametrize("version", ["0.1", "0.2"])
    def test_0_1_and_0_2(self, version):
        found = {"multiscales": [{"version": version, "datasets": [{"path": "0"}, {"path": "1"}]}]}
        image = read(found)
        assert "".join(axis.name for axis in image.axes) == "tczyx"
        assert image.scales_from_shapes
        fitted = fit_shapes(image, {"0": (3, 1, 8, 64, 64), "1": (3, 1, 4, 16, 32)}, "img")
        assert fitted.levels[1].scale == (1, 1, 2, 4, 2)
        with pytest.warns(NgffWarning, match="has 3 dims instead of 5; they were read as z, y, x"):
            fitted = fit_shapes(image, {"0": (8, 64, 64), "1": (8, 32, 32)}, "img")
        assert "".join(axis.name for axis in fitted.axes) == "zyx"
        assert fitted.levels[1].scale == (1, 2, 2)

    def test_0_3_that_has_scales_already(self):
        image = read({"multiscales": [{"version": "0.3", "axes": ["y", "x"], "datasets": [dataset("0", scale(2, 3))]}]})
        assert (image.levels[0].scale, image.scales_from_shapes) == ((2, 3), False)

    @pytest.mark.parametrize(
        ("multiscale", "version"),
        [
            ({"datasets": [{"path": "0"}]}, "0.1"),
            ({"datasets": [{"path": "0"}], "axes": ["y", "x"]}, "0.3"),
            ({"datasets": [dataset("0", scale(1, 1))], "axes": AXES}, "0.4"),
        ],
    )
    def test_no_version(self, multiscale, version):
        with pytest.warns(NgffWarning, match=rf"img: multiscales\[0\] states no version; .* read as '{version}'"):
            assert read({"multiscales": [multiscale]}).version == version

    def test_no_version_under_ome(self):
        found = attributes("0.5")
        del found["ome"]["version"]
        with pytest.warns(NgffWarning, match="read as '0.5'"):
            assert read(found).version == "0.5"

    def test_metadata_of_the_other_zarr_format(self):
        with pytest.warns(
            NgffWarning, match='img: has its metadata not under "ome" of the attributes, as a group of Zarr v3'
        ):
            assert read(attributes("0.4"), zarr_format=3).version == "0.4"
        with pytest.warns(
            NgffWarning, match="img: has its metadata not at the top of the attributes, as a group of Zarr v2"
        ):
            assert read(attributes("0.5"), zarr_format=2).version == "0.5"

    def test_several_images(self):
        found = attributes()
        found["multiscales"].append(found["multiscales"][0] | {"name": "second"})
        assert [image.name for image in multiscales(found, "img")] == [None, "second"]


class TestPlacement:
    NUMBERS = st.floats(-1e4, 1e4).map(lambda v: round(v, 4))
    FACTORS = st.floats(0.01, 100).map(lambda v: round(v, 4))

    @given(data=st.data())
    def test_dataset_then_multiscale(self, data):
        def draw(elements):
            return data.draw(st.lists(elements, min_size=2, max_size=2))

        s1, t1, s2, t2, index = (draw(e) for e in (self.FACTORS, self.NUMBERS) * 2 + (self.NUMBERS,))
        found = attributes(
            datasets=[dataset("0", scale(*s1), translation(*t1))],
            coordinateTransformations=[scale(*s2), translation(*t2)],
        )
        (level,) = read(found).levels
        # each step of the file on a point, in the order of the specification
        point = np.add(np.multiply(np.add(np.multiply(index, s1), t1), s2), t2)
        np.testing.assert_allclose(
            np.add(np.multiply(level.scale, index), level.translation), point, rtol=1e-9, atol=1e-6
        )

    def test_as_the_reference_models_read_it(self):
        models = pytest.importorskip("ome_zarr_models.v04.multiscales")
        found = attributes(
            datasets=[dataset("0", scale(2, 3), translation(4, 5)), dataset("1", scale(4, 6))],
            coordinateTransformations=[scale(10, 100)],
        )
        model = models.Multiscale(**found["multiscales"][0])
        image = read(found)
        assert [axis.name for axis in image.axes] == [axis.name for axis in model.axes]
        outer = model.coordinateTransformations[0].scale
        for level, truth in zip(image.levels, model.datasets, strict=True):
            steps = truth.coordinateTransformations
            shift = steps[1].translation if len(steps) > 1 else (0, 0)
            assert level.path == truth.path
            assert level.scale == tuple(np.multiply(steps[0].scale, outer))
            assert level.translation == tuple(np.multiply(shift, outer))

    def test_multiscale_with_a_translation_alone(self):
        with pytest.warns(
            NgffWarning, match=r"multiscales\[0\]\.coordinateTransformations has no transformation of type 's"
        ):
            (level,) = read(attributes(coordinateTransformations=[translation(1, 2)])).levels
        assert (level.scale, level.translation) == ((0.5, 0.25), (1, 2))

    def test_multiscale_with_none(self):
        assert read(attributes(coordinateTransformations=[])).levels[0].scale == (0.5, 0.25)

    def test_parameters_in_an_array(self):
        found = attributes(datasets=[dataset("0", {"type": "scale", "path": "s"})])
        assert read(found, read_array={"s": [2, 3]}.__getitem__).levels[0].scale == (2, 3)
        with pytest.raises(MetadataError, match="in the array 's'"):
            read(found)


class TestWild:
    def test_all_at_once(self):
        """Everything that a reader meets outside of the specification, with one warning for each."""
        found = {
            "multiscales": [
                {
                    "axes": [
                        {"name": "T", "type": "time", "unit": "seconds"},
                        {"name": "c"},
                        {"name": "y", "type": "space", "units": "um"},
                        {"name": "x", "type": "space", "unit": "px"},
                    ],
                    "datasets": [dataset("/0/", translation(0, 0, 1, 1), scale(1, 1, 2, 2))],
                }
            ],
            "omero": {"channels": [{"label": 1, "color": "#ff00ff"}]},
            "xarray_ngff": 3,
        }
        with pytest.warns(NgffWarning) as caught:
            image = read(found, zarr_format=3)
        assert sorted(str(w.message).split(";")[0] for w in caught) == [
            'img: has its metadata not under "ome" of the attributes, as a group of Zarr v3 should',
            "img: multiscales[0] states no version",
            "img: multiscales[0].axes[0].name is 'T' in upper case",
            "img: multiscales[0].axes[0].unit is 'seconds'",
            "img: multiscales[0].axes[1] has no type",
            "img: multiscales[0].axes[2] has 'units'",
            "img: multiscales[0].axes[2].units is 'um'",
            "img: multiscales[0].axes[3].unit is 'px', which is not a known unit",
            "img: multiscales[0].datasets[0].coordinateTransformations has the translation before the scale",
            "img: omero.channels has no window for channel 0",
            "img: omero.channels[0].color is '#ff00ff', expected six hex digits",
            "img: omero.channels[0].label is 1, expected a text",
            "img: xarray_ngff is 3, expected an object",
        ]
        assert [axis.unit for axis in image.axes] == ["second", None, "micrometer", "px"]
        assert (image.levels[0].path, image.levels[0].translation) == ("0", (0, 0, 2, 2))
        assert image.channels == ({"label": "1", "color": "FF00FF"},)
        assert image.vendor == {}

    def test_one_name_for_many_groups_gives_one_warning(self, recwarn):
        import warnings

        warnings.simplefilter("default")
        for _ in range(5):
            read(attributes(axes=[{"name": n, "type": "space", "unit": "um"} for n in "yx"]))
        assert len(recwarn) == 2

    def test_name_that_is_no_text(self):
        assert read(attributes(name={"a": 1})).name is None

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"axes": None}, r"img: multiscales\[0\]\.axes is missing"),
            ({"datasets": None}, r"multiscales\[0\]\.datasets is missing"),
            ({"datasets": ["0"]}, r"datasets\[0\] is '0', expected an object"),
            ({"datasets": [{"coordinateTransformations": []}]}, r"datasets\[0\]\.path is missing"),
            ({"datasets": [dataset("0", scale(1, 1))] * 2}, r"datasets: path has '0' twice"),
            ({"datasets": [dataset("0", scale(1, 1, 1))]}, r"scale is \[1, 1, 1\] with 3 numbers, expected 2"),
            ({"datasets": [dataset("0", scale(0, 1))]}, r"scale\[0\] is 0, expected a number above zero"),
            ({"coordinateTransformations": [scale(1, -2)]}, r"\[0\]\.coordinateTransformations\[0\]\.scale\[1\] is -2"),
            ({"version": "0.7"}, r"img: multiscales\[0\]\.version is '0\.7', expected one of the versions"),
            ({"version": "0.3"}, r"axes\[0\] is .*, but the version is 0\.3 or older"),
        ],
    )
    def test_what_raises(self, changes, message):
        with pytest.raises(MetadataError, match=message):
            read(attributes(**changes))

    @pytest.mark.parametrize(
        "found", [{"multiscales": {}}, {"multiscales": [3]}, {"ome": 3}, {"ome": {"version": "0.5"}}]
    )
    def test_no_image(self, found):
        with pytest.raises(MetadataError, match=r"^img: (multiscales|ome)"):
            multiscales(found, "img")


class TestShapes:
    def test_number_of_dims(self):
        image = read(attributes())
        assert fit_shapes(image, {"0": (5, 6)}, "img") == image
        assert fit_shapes(image, {}, "img") is image
        with pytest.raises(MetadataError, match=r"img: array '0' has 3 dims \(1, 5, 6\), but the axes are y, x \(2\)"):
            fit_shapes(image, {"0": (1, 5, 6)}, "img")

    @pytest.mark.parametrize(
        ("names", "shape", "fits"), [("cyx", (1, 5, 6), True), ("cyx", (2, 5, 6), False), ("yx", (5, 6), True)]
    )
    def test_number_of_channels(self, names, shape, fits):
        kinds = {"c": "channel"}
        axes = [{"name": name, "type": kinds.get(name, "space")} for name in names]
        found = attributes(axes=axes, datasets=[dataset("0", scale(*[1] * len(names)))]) | {
            "omero": {"channels": [CHANNEL]}
        }
        image = read(found)
        if fits:
            assert fit_shapes(image, {"0": shape}, "img").channels == (CHANNEL,)
        else:
            with pytest.warns(NgffWarning, match="img describes 1 channels, but the image has 2; they were ignored"):
                assert fit_shapes(image, {"0": shape}, "img").channels == ()

    def test_empty_level(self):
        found = {"multiscales": [{"version": "0.3", "axes": ["y", "x"], "datasets": [{"path": "0"}, {"path": "1"}]}]}
        assert read(found, shapes={"0": (4, 4), "1": (0, 2)}).levels[1].scale == (1, 2)

    @given(full=st.integers(1, 5000), factor=st.integers(1, 9), up=st.booleans())
    def test_factor_of_a_level_without_scale(self, full, factor, up):
        """The factor that made a level is found from its size, rounded up or down, from 32 pixels on."""
        reduced = -(-full // factor) if up else full // factor
        if reduced < 32:
            return
        found = {"multiscales": [{"version": "0.3", "axes": ["y", "x"], "datasets": [{"path": "0"}, {"path": "1"}]}]}
        level = read(found, shapes={"0": (full, full), "1": (reduced, full)}).levels[1]
        assert level.scale == (factor, 1)
        assert level.translation == ((factor - 1) / 2, 0)
