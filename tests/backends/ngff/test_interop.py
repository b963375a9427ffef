"""The same pixels, scale and translation in other software, and from it."""

import warnings

import ngff_zarr
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Multiscales, Reader

from xarray_ngff import Channel, as_image

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)

CHANNELS = [Channel("DAPI", "0000FF", (10, 900)), Channel("GFP", "00FF00", (0, 1200), (0, 4095))]


def random(*shape, dtype="u2"):
    return np.random.default_rng(0).integers(0, 4096, shape).astype(dtype)


IMAGES = {
    "2-D": as_image(random(37, 50), spacing=(0.3, 0.2), origin=(1.1, -7), units="um"),
    "3-D": as_image(random(9, 37, 50), spacing=(2, 0.3, 0.2), origin=(5, 1.1, -7), units="um", orientation="RAS"),
    "5-D": as_image(
        random(2, 2, 11, 37, 50), spacing={"t": 3, "z": 2, "y": 0.3, "x": 0.2}, origin={"x": 4, "t": 1},
        units={"t": "s", "z": "um", "y": "um", "x": "nm"}, channels=CHANNELS,
    ),
    "backwards": as_image(
        random(9, 37, 50), spacing=(2, -0.3, -0.2), origin=(5, 1.1, -7), units="mm", orientation="RAS"
    ),
    "oblique": as_image(
        random(9, 37, 50, dtype="f4"), orientation="RAS", units="mm",
        affine=[[1, 0.2, 0, 5], [-0.2, 1, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]],
    ),
}  # fmt: skip


@pytest.fixture(params=IMAGES, name="img")
def _img(request):
    return IMAGES[request.param]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def written(img, version, tmp_path):
    """The path of the image written with three levels, and what our engine says of each."""
    path = tmp_path / "a.ome.zarr"
    img.ngff.to_ome_zarr(path, version=version, factors=[2, 5], chunks=16)
    return path, [xr.open_dataarray(path, engine="ngff", level=level) for level in range(3)]


def placement(image):
    """Scale and translation by dim, from the coordinates themselves."""
    scale = {dim: float(image[dim][1] - image[dim][0]) for dim in image.dims if dim != "c"}
    return scale, {dim: float(image[dim][0]) for dim in scale}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ome_zarr_reads_it(written):
    path, images = written
    (node,) = [node for node in Reader(parse_url(path))() if any(isinstance(s, Multiscales) for s in node.specs)]
    assert [axis["name"] for axis in node.metadata["axes"]] == list(images[0].dims)
    assert len(node.data) == 3
    for level, image in enumerate(images):
        np.testing.assert_array_equal(node.data[level].compute(), image)
        steps = node.metadata["coordinateTransformations"][level]
        scale, translation = placement(image)
        for i, dim in enumerate(image.dims):
            assert steps[0]["scale"][i] == pytest.approx(scale.get(dim, 1))
            assert steps[1]["translation"][i] == pytest.approx(translation.get(dim, 0))
    if "c" in images[0].dims:
        assert node.metadata["channel_names"] == ["DAPI", "GFP"]
        assert node.metadata["contrast_limits"] == [[10, 900], [0, 1200]]


def test_ngff_zarr_reads_it(written, version):
    path, images = written
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        multiscales = ngff_zarr.from_ngff_zarr(path, validate=True, version=version)
    assert len(multiscales.images) == 3
    for found, image in zip(multiscales.images, images, strict=True):
        assert tuple(found.dims) == image.dims
        np.testing.assert_array_equal(found.data.compute(), image)
        scale, translation = placement(image)
        for dim in scale:
            assert found.scale[dim] == pytest.approx(scale[dim])
            assert found.translation[dim] == pytest.approx(translation[dim])
            assert found.axes_units is None or found.axes_units.get(dim) == image[dim].attrs.get("units")
    if "c" in images[0].dims:
        omero = multiscales.metadata.omero
        assert [(c.label, c.color, c.window.start, c.window.end, c.window.max) for c in omero.channels] == [
            ("DAPI", "0000FF", 10, 900, 65535),
            ("GFP", "00FF00", 0, 1200, 4095),
        ]


def test_ngff_zarr_reads_orientations(tmp_path):
    """RFC-4, on axes of which two run backwards in memory."""
    pytest.importorskip("ngff_zarr", minversion="0.50", reason="older ones do not read the key that RFC-4 settled on")
    IMAGES["backwards"].ngff.to_ome_zarr(tmp_path / "a.ome.zarr", levels=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = ngff_zarr.from_ngff_zarr(tmp_path / "a.ome.zarr").images
    values = {dim: orientation.value.value for dim, orientation in found.axes_orientations.items()}
    assert values == {"x": "right-to-left", "y": "anterior-to-posterior", "z": "inferior-to-superior"}


def test_tensorstore_reads_it(written, version):
    path, images = written
    for level, image in enumerate(images):
        driver = {"0.4": "zarr", "0.5": "zarr3"}[version]
        array = tensorstore.open({"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/{level}"}}).result()
        np.testing.assert_array_equal(array.read().result(), image)
        assert array.dtype.numpy_dtype == image.dtype
        if version == "0.5":
            assert array.domain.labels == image.dims


def test_zarr_and_xarray_read_it(written, version):
    path, images = written
    group = zarr.open_group(path, mode="r")
    for level, image in enumerate(images):
        np.testing.assert_array_equal(group[str(level)], image)
    if version == "0.5":
        options = {"consolidated": False, "mask_and_scale": False, "drop_variables": ["1", "2"]}
        plain = xr.open_dataset(path, engine="zarr", **options)
        assert plain["0"].dims == images[0].dims
        np.testing.assert_array_equal(plain["0"], images[0])


class TestFromNgffZarr:
    @pytest.mark.parametrize("version", ["0.4", "0.5", "0.6"])
    @pytest.mark.parametrize("dims", ["yx", "zyx", "czyx", "tczyx"])
    def test_images(self, version, dims, tmp_path):
        shape = [{"t": 2, "c": 2}.get(dim, 24) for dim in dims]
        scale = {dim: {"t": 3.0, "z": 2.0}.get(dim, 0.25) for dim in dims if dim != "c"}
        translation = {dim: 10.0 * (i + 1) for i, dim in enumerate(scale)}
        image = ngff_zarr.to_ngff_image(
            random(*shape), dims=list(dims), scale=scale, translation=translation, name="im",
            axes_units={dim: "second" if dim == "t" else "micrometer" for dim in scale},
        )  # fmt: skip
        method = ngff_zarr.Methods.ITKWASM_BIN_SHRINK
        multiscales = ngff_zarr.to_multiscales(image, scale_factors=[2], method=method, chunks=16)
        ngff_zarr.to_ngff_zarr(tmp_path / "a.ome.zarr", multiscales, version=version)
        for level, truth in enumerate(multiscales.images):
            found = xr.open_dataarray(tmp_path / "a.ome.zarr", engine="ngff", level=level)
            assert found.dims == tuple(dims)
            np.testing.assert_array_equal(found, truth.data.compute())
            assert placement(found) == (pytest.approx(truth.scale), pytest.approx(truth.translation))
            for dim in scale:
                assert found[dim].attrs["units"] == ("second" if dim == "t" else "micrometer")

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_there_and_back(self, version, tmp_path):
        """Through our engine and writer nothing changes."""
        image = ngff_zarr.to_ngff_image(
            random(8, 24, 24), dims=list("zyx"), scale={"z": 2.0, "y": 0.5, "x": 0.25},
            translation={"z": 1, "y": 2, "x": 3},
        )  # fmt: skip
        multiscales = ngff_zarr.to_multiscales(image, scale_factors=[2], method=ngff_zarr.Methods.ITKWASM_BIN_SHRINK)
        ngff_zarr.to_ngff_zarr(tmp_path / "a.zarr", multiscales, version=version)
        xr.open_datatree(tmp_path / "a.zarr", engine="ngff").ngff.to_ome_zarr(tmp_path / "b.zarr", version=version)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            again = ngff_zarr.from_ngff_zarr(tmp_path / "b.zarr", version=version)
        for found, truth in zip(again.images, multiscales.images, strict=True):
            np.testing.assert_array_equal(found.data.compute(), truth.data.compute())
            assert (found.scale, found.translation) == (pytest.approx(truth.scale), pytest.approx(truth.translation))


class TestFromTensorstore:
    """Arrays of other makers, with metadata of 0.6 beside them."""

    @pytest.mark.parametrize("sharded", [False, True])
    def test_affine(self, tmp_path, sharded):
        data = random(6, 8, 10)
        inner = [{"name": "bytes", "configuration": {"endian": "big"}}, {"name": "gzip", "configuration": {"level": 1}}]
        codecs = [{"name": "sharding_indexed", "configuration": {"chunk_shape": [3, 4, 5], "codecs": inner}}]
        zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"version": "0.6", "multiscales": [{
            "coordinateSystems": [
                {"name": "physical", "axes": [{"name": d, "type": "space", "unit": "micrometer"} for d in "zyx"]}
            ],
            "datasets": [{"path": "full", "coordinateTransformations": [{
                "type": "affine", "input": {"path": "full"}, "output": {"name": "physical"},
                "affine": [[2, 0, 0.5, 7], [0, 1, 0, 8], [0, -0.5, 1, 9]],
            }]}],
        }]}})  # fmt: skip
        array = tensorstore.open(
            {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": str(tmp_path / "a.zarr/full")},
                "metadata": {
                    "shape": [6, 8, 10],
                    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [6, 8, 5]}},
                    "data_type": "uint16",
                    "codecs": codecs if sharded else inner,
                },
                "create": True,
            }
        ).result()
        array.write(data).result()
        image = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff")
        np.testing.assert_array_equal(image, data)
        np.testing.assert_array_equal(image[1:, ::3, 2], data[1:, ::3, 2])
        # in z, y, x: 2 z + 0.5 x + 7, and so on
        np.testing.assert_allclose(image.ngff.index_to_world([4, 3, 2]), [4 - 1.5 + 9, 3 + 8, 4 + 2 + 7])
        assert image.ngff.units == {"z": "micrometer", "y": "micrometer", "x": "micrometer"}
        assert image.encoding["preferred_chunks"] == ({"z": 3, "y": 4, "x": 5} if sharded else {"z": 6, "y": 8, "x": 5})
