"""The labels of a tree, written with its image."""

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.labels.label_image import write_label
from xarray_ngff.backends.ngff.labels.tree_labels import tree_labels, write_tree_labels
from xarray_ngff.backends.ngff.new_image import Storage, write_levels
from xarray_ngff.errors import FormatError, GeometryError

VERSIONS = ["0.4", "0.5"]


@pytest.fixture
def img():
    data = np.random.default_rng(0).integers(0, 900, (2, 33, 41)).astype("u2")
    return as_image(data, "cyx", spacing=(0.5, 0.25), origin=(-1, 3), units="um", channels=["a", "b"])


@pytest.fixture
def tree(img):
    """An image with two label images, as the engine opens it."""
    store = MemoryStore()
    img.ngff.to_ome_zarr(store, levels=3)
    write_label(img.isel(c=0) // 300, store, label="cells", colors={1: "#ff0000"}, properties={1: {"area": 7}})
    write_label(img > 300, store, label="mask")
    return xr.open_datatree(store, engine="ngff")


def write(tree, store, *, chunks=None, shards=None, **options):
    """What ``tree.ngff.to_ome_zarr`` does."""
    storage = Storage(**options)
    images = tree.ngff.levels
    labels = tree_labels(tree, images, store, storage)
    write_levels(images, store, storage, chunks=chunks, shards=shards)
    write_tree_labels(labels, store, storage, chunks=chunks, shards=shards)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("local", [False, True])
def test_all_of_it_is_written(tree, version, local, tmp_path):
    store = tmp_path / "a.zarr" if local else MemoryStore()
    write(tree, store, version=version)
    again = xr.open_datatree(store, engine="ngff")
    assert again.groups == tree.groups
    for node in tree.leaves:
        (name,) = node.data_vars
        xr.testing.assert_identical(again[node.path][name], node[name])
    assert again["labels/cells"].ngff.label_colors == {1: "#FF0000"}
    assert again["labels/cells"].ngff.label_properties["area"].to_dict() == {1: 7}
    group = zarr.open_group(store, mode="r")
    attributes = group["labels/cells"].attrs.asdict()
    ome = attributes.get("ome", attributes)
    assert ome["image-label"]["source"] == {"image": "../../"}
    assert ome["multiscales"][0]["name"] == "cells"
    assert ome["multiscales"][0]["type"] == "custom"


def test_overwriting_replaces_labels_too(tree, tmp_path):
    write(tree, tmp_path / "a.zarr")
    write_label(tree["labels/mask/scale0/labels"], tmp_path / "a.zarr", label="other")
    write(tree, tmp_path / "a.zarr", overwrite=True)
    assert list(xr.open_datatree(tmp_path / "a.zarr", engine="ngff")["labels"].children) == ["cells", "mask"]


@pytest.mark.parametrize(
    ("chunks", "shards"), [(8, None), ((1, 8, 16), None), ({"c": 1, "y": 8, "x": 16}, {"c": 2, "y": 16, "x": 16})]
)
def test_chunks_and_shards(tree, chunks, shards):
    store = MemoryStore()
    write(tree, store, chunks=chunks, shards=shards)
    group = zarr.open_group(store, mode="r")
    x = 8 if chunks == 8 else 16
    assert group["0"].chunks == (1, 8, x)
    assert group["labels/cells/0"].chunks == (8, x)
    assert group["labels/mask/0"].chunks == (1, 8, x)
    assert group["labels/cells/0"].shards == (None if shards is None else (16, 16))


def test_made_by_hand(img, tmp_path):
    tree = img.ngff.to_multiscale(levels=2)
    tree["labels/deep/one"] = (img.isel(c=0) > 300).rename("what").ngff.to_multiscale(levels=2)
    write(tree, tmp_path / "a.zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group["labels"].attrs["ome"]["labels"] == ["deep/one"]
    assert group["labels/deep"].attrs.asdict() == {}
    assert group["labels/deep/one"].attrs["ome"]["image-label"]["source"] == {"image": "../../../"}
    assert group["labels/deep/one/1"].dtype == np.uint8
    again = xr.open_datatree(tmp_path / "a.zarr", engine="ngff")
    np.testing.assert_array_equal(again["labels/deep/one/scale0/labels"], img.isel(c=0) > 300)


def test_descending_coordinates():
    img = as_image(np.arange(20).reshape(4, 5), spacing=(-1, 0.5), origin=(9, 0), units="um", orientation="LA")
    tree = img.ngff.to_multiscale(levels=2)
    tree["labels/a"] = (img % 3).ngff.to_multiscale(levels=2, method="mode")
    store = MemoryStore()
    write(tree, store)
    again = xr.open_datatree(store, engine="ngff")
    for level in ("scale0", "scale1"):
        image, labels = again[level]["image"], again[f"labels/a/{level}"]["labels"]
        assert (image.x.identical(labels.x), image.y.identical(labels.y)) == (True, True)
    np.testing.assert_array_equal(again["labels/a/scale0/labels"], again["scale0/image"] % 3)


def test_tree_without_labels(img):
    store = MemoryStore()
    write(img.ngff.to_multiscale(levels=2), store)
    assert "labels" not in zarr.open_group(store, mode="r")


class TestRefused:
    def check(self, tree, error, message, tmp_path, name="a.zarr", **options):
        with pytest.raises(error, match=message):
            write(tree, tmp_path / name, **options)
        assert not list(tmp_path.iterdir())

    def test_what_is_no_integer(self, tree, tmp_path):
        tree["labels/mask"] = tree["labels/mask"].map_over_datasets(lambda ds: ds.astype("f4"))
        self.check(tree, FormatError, "the tree: labels 'mask' are float32, expected whole numbers", tmp_path)

    def test_other_grids(self, tree, tmp_path):
        tree["labels/mask"] = tree["labels/mask/scale0/labels"].isel(x=slice(9)).ngff.to_multiscale(levels=3)
        self.check(tree, GeometryError, "labels 'mask': 9 voxels along 'x', but the image has 41", tmp_path)

    def test_numbers_of_levels(self, tree, tmp_path):
        tree["labels/mask"] = tree["labels/mask"].drop_nodes("scale2")
        self.check(
            tree, GeometryError, r"'mask' have 2 levels, but the image has 3.*drop_nodes\('labels/mask'\)", tmp_path
        )

    def test_names(self, tree, tmp_path):
        tree["labels/.mask"] = tree["labels/mask"]
        self.check(tree, FormatError, "label='.mask' is hidden", tmp_path)

    def test_places_and_options(self, tree, tmp_path):
        self.check(tree, FormatError, r"is a single-file OME-Zarr, into which the labels", tmp_path, "a.ozx")
        self.check(tree, FormatError, "leave out compute=False", tmp_path, compute=False)
