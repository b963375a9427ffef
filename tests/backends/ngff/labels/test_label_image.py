"""Labels written into an image that is there."""

import importlib.resources
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dask.array
import jsonschema
import ngff_zarr
import numpy as np
import pandas as pd
import pytest
import referencing
import xarray as xr
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Label, Reader
from zarr.storage import LocalStore, MemoryStore, StorePath

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.labels.label_image import checked_name, write_label
from xarray_ngff.errors import (
    FormatError,
    GeometryError,
    MissingFileError,
    NgffError,
    NgffWarning,
    TargetExistsError,
)

VERSIONS = ["0.4", "0.5"]
FACTORS = [2, {"z": 2, "y": 6, "x": 6}]


@pytest.fixture(scope="module")
def img():
    data = np.random.default_rng(0).integers(0, 900, (2, 9, 37, 41)).astype("u2")
    return as_image(
        data, "czyx", spacing=(2, 0.5, 0.25), origin=(5, -1, 3), units="um", orientation="RAS", channels=["a", "b"]
    )


@pytest.fixture(scope="module")
def labels(img):
    ids = np.random.default_rng(1).integers(0, 5, (3, 8, 9)).repeat(3, 0).repeat(5, 1).repeat(5, 2)
    return img.isel(c=0).copy(data=ids[:, :37, :41].astype("u4"))


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope="module")
def written(img, tmp_path_factory):
    """An image with three levels, in each version."""
    places = {version: tmp_path_factory.mktemp("image") / "a.zarr" for version in VERSIONS}
    for version, place in places.items():
        img.ngff.to_ome_zarr(place, version=version, factors=FACTORS, chunks=16)
    return places


@pytest.fixture
def path(written, version, tmp_path):
    """A copy of the image in each version."""
    return Path(shutil.copytree(written[version], tmp_path / "a.zarr"))


@pytest.fixture
def path5(written, tmp_path):
    """A copy of the image in version 0.5, for what has nothing to do with the version."""
    return Path(shutil.copytree(written["0.5"], tmp_path / "a.zarr"))


def group_of(path, group=""):
    return zarr.open_group(path, path=group, mode="r")


def array_of(path, name):
    return zarr.open_array(path, path=name, mode="r")


def ome_of(group):
    return group.attrs.asdict().get("ome", group.attrs.asdict())


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def mode_of_blocks(data, steps):
    """Most frequent value of each block, the smallest of those that are as frequent."""
    edges = [range(0, size, step) for size, step in zip(data.shape, steps, strict=True)]
    result = np.empty([len(edge) for edge in edges], data.dtype)
    for place in np.ndindex(result.shape):
        block = data[tuple(slice(i * step, (i + 1) * step) for i, step in zip(place, steps, strict=True))]
        values, counts = np.unique(block, return_counts=True)
        result[place] = values[counts == counts.max()].min()
    return result


class TestWritten:
    def test_documents_and_voxels(self, path, labels, version):
        before = files(path)
        write_label(labels, path, label="nuclei", colors={1: "#ff8000"}, properties={1: {"area": 3}})
        group = group_of(path, "labels/nuclei")
        ome = ome_of(group)
        assert ome_of(group_of(path, "labels"))["labels"] == ["nuclei"]
        assert ome["image-label"] == {
            "colors": [{"label-value": 1, "rgba": [255, 128, 0, 255]}],
            "properties": [{"label-value": 1, "area": 3}],
            "source": {"image": "../../"},
        } | ({"version": "0.4"} if version == "0.4" else {})
        assert group_of(path, "labels").attrs.asdict() == (
            {"labels": ["nuclei"]} if version == "0.4" else {"ome": {"version": "0.5", "labels": ["nuclei"]}}
        )
        # as the image lies, without its channels
        theirs, own = ome_of(group_of(path))["multiscales"][0], ome["multiscales"][0]
        assert own["axes"] == theirs["axes"][1:]
        for mine, other in zip(own["datasets"], theirs["datasets"], strict=True):
            for step, given in zip(mine["coordinateTransformations"], other["coordinateTransformations"], strict=True):
                assert step[step["type"]] == given[given["type"]][1:]
        assert "omero" not in ome
        assert own["type"] == "mode"
        levels = [labels.values]
        for steps in ((2, 2, 2), (1, 3, 3)):
            levels.append(mode_of_blocks(levels[-1], steps))
        assert {group[str(index)].dtype for index in range(3)} == {np.dtype("u4")}
        for index, level in enumerate(levels):
            np.testing.assert_array_equal(group[str(index)], level)
        # nothing of the image was touched
        after = files(path)
        assert {key: after[key] for key in before} == before
        assert all(key.startswith("labels/") for key in after.keys() - before.keys())

    def test_our_engine_reads_it(self, path, labels):
        frame = pd.DataFrame({"label": [1, 4], "area": [3.5, np.nan], "kind": ["a", "b"]})
        write_label(labels, path, label="nuclei", colors={1: (255, 0, 0), 2: "#00ff0080"}, properties=frame)
        tree = xr.open_datatree(path, engine="ngff")
        assert [node.path for node in tree["labels"].leaves] == [f"/labels/nuclei/scale{i}" for i in range(3)]
        found = tree["labels/nuclei/scale0/labels"]
        np.testing.assert_array_equal(found, labels)
        for dim in labels.dims:
            # to the last bit, so that they align
            np.testing.assert_array_equal(found[dim], tree["scale0/image"][dim])
            assert found[dim].attrs == tree["scale0/image"][dim].attrs
        assert tree["labels/nuclei"].ngff.label_colors == {1: "#FF0000", 2: "#00FF0080"}
        expected = frame.set_index("label")
        pd.testing.assert_frame_equal(tree["labels/nuclei"].ngff.label_properties, expected)
        assert tree.ngff.label_colors == {}
        assert tree.ngff.label_properties.empty

    def test_official_schemas(self, path, labels, version):
        write_label(labels, path, label="nuclei", colors={1: "#ff8000"}, properties={1: {"area": 3}, 2: {}})
        attributes = group_of(path, "labels/nuclei").attrs.asdict()
        for name in ("image", "strict_image", "label", "strict_label"):
            official_schema(version, name).validate(attributes)

    def test_ome_zarr_models(self, path, labels, version):
        pytest.importorskip("ome_zarr_models")
        module = pytest.importorskip(f"ome_zarr_models.v{version.replace('.', '')}")
        write_label(labels, path, label="nuclei", colors={1: "#ff8000"}, properties={1: {"area": 3}})
        (entry,) = module.ImageLabel.from_zarr(group_of(path, "labels/nuclei")).ome_attributes.image_label.colors
        assert (entry.label_value, entry.rgba) == (1, (255, 128, 0, 255))
        assert module.Image.from_zarr(group_of(path)).labels is not None

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_ome_zarr_reads_it(self, path, labels):
        write_label(labels, path, label="nuclei", colors={1: "#ff8000"}, properties={1: {"area": 3}})
        nodes = [node for node in Reader(parse_url(path))() if any(isinstance(spec, Label) for spec in node.specs)]
        assert len(nodes) == 1
        assert nodes[0].metadata["name"] == "nuclei"
        assert nodes[0].metadata["color"] == {1: pytest.approx([1, 128 / 255, 0, 1])}
        assert nodes[0].metadata["properties"] == {1: {"area": 3}}
        assert len(nodes[0].data) == 3
        np.testing.assert_array_equal(nodes[0].data[0].compute(), labels)

    def test_ngff_zarr_reads_it(self, path, labels, version):
        write_label(labels, path, label="nuclei")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = ngff_zarr.from_ngff_zarr(path / "labels/nuclei", validate=True, version=version)
        np.testing.assert_array_equal(found.images[0].data.compute(), labels)
        assert found.images[0].scale == pytest.approx({"z": 2, "y": 0.5, "x": 0.25})

    def test_bool_becomes_uint8(self, path5, img, labels):
        mask = labels > 2
        for name, given in (("a", mask), ("b", mask.chunk(z=4)), ("c", lazily(mask))):
            write_label(given, path5, label=name)
            stored = array_of(path5, f"labels/{name}/0")
            assert stored.dtype == np.uint8
            np.testing.assert_array_equal(stored, mask.values.astype(int))
        assert mask.dtype == bool

    @pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", ">i4", "u4", "i8", "u8"])
    def test_integers_stay_as_they_are(self, path5, labels, dtype):
        write_label(labels.astype(dtype), path5, label="a")
        stored = array_of(path5, "labels/a/0")
        assert stored.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(stored, labels)

    def test_what_was_read_is_kept_when_it_is_written_again(self, path5, labels):
        write_label(labels, path5, label="a", colors={1: "#ff8000"}, properties={3: {"area": 3}})
        again = xr.open_dataarray(path5, engine="ngff", group="labels/a")
        write_label(again, path5, label="b")
        write_label(again, path5, label="c", colors={2: "#000000"})
        write_label(again, path5, label="d", colors={}, properties={})
        first, second, third, last = (ome_of(group_of(path5, f"labels/{name}"))["image-label"] for name in "abcd")
        assert first == second
        assert third["colors"] == [{"label-value": 2, "rgba": [0, 0, 0, 255]}]
        assert third["properties"] == first["properties"]
        assert last.keys() == first.keys() - {"colors", "properties"}
        # elsewhere their image is not two folders up
        again.ngff.to_ome_zarr(path5.parent / "alone.zarr", levels=1)
        assert ome_of(group_of(path5.parent / "alone.zarr"))["image-label"].keys() == {"colors", "properties"}

    def test_options_of_storage(self, img, labels, tmp_path):
        img.ngff.to_ome_zarr(tmp_path / "a.zarr", factors=FACTORS)
        write_label(
            labels, tmp_path / "a.zarr", label="a", chunks=8, shards={"z": 8, "y": 16, "x": 16}, compressor=None,
            method="nearest",
        )  # fmt: skip
        array = array_of(tmp_path / "a.zarr", "labels/a/0")
        assert (array.chunks, array.shards, array.compressors) == ((8, 8, 8), (8, 16, 16), ())
        np.testing.assert_array_equal(array_of(tmp_path / "a.zarr", "labels/a/1"), labels[::2, ::2, ::2])

    def test_group_below_the_store(self, img, labels, tmp_path):
        for field in "01":
            img.ngff.to_ome_zarr(StorePath(LocalStore(tmp_path), f"plate-A-{field}"), factors=FACTORS)
        write_label(labels, tmp_path / "plate-A-1", label="a")
        write_label(labels, zarr.open_group(tmp_path / "plate-A-0", mode="r+"), label="b")
        assert ome_of(group_of(tmp_path / "plate-A-1", "labels"))["labels"] == ["a"]
        assert ome_of(group_of(tmp_path / "plate-A-0", "labels"))["labels"] == ["b"]


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


def lazily(img):
    """The image as a file gives it: not in memory, not of dask."""
    store = MemoryStore()
    img.ngff.to_ome_zarr(store, levels=1)
    opened = xr.open_dataarray(store, engine="ngff")
    assert opened.chunks is None
    return opened


class TestOtherStores:
    def places(self):
        return {
            "memory": MemoryStore(),
            "url": "memory://test-label-image/a.zarr",
            "inside": StorePath(MemoryStore(), "b"),
        }

    @pytest.mark.parametrize("kind", ["memory", "url", "inside"])
    def test_take_the_same_code(self, img, labels, version, kind):
        place = self.places()[kind]
        options = {"storage_options": {}} if kind == "url" else {}
        img.ngff.to_ome_zarr(place, version=version, factors=FACTORS, overwrite=kind == "url", **options)
        write_label(labels, place, label="a", colors={1: "#ff8000"}, **options)
        write_label(labels + 1, place, label="b", **options)
        write_label(labels + 2, place, label="a", overwrite=True, **options)
        with pytest.raises(TargetExistsError, match="exists: pass overwrite=True"):
            write_label(labels, place, label="a", **options)
        tree = xr.open_datatree(place, engine="ngff", **options)
        assert list(tree["labels"].children) == ["a", "b"]
        np.testing.assert_array_equal(tree["labels/a/scale0/labels"], labels + 2)
        np.testing.assert_array_equal(tree["labels/b/scale0/labels"], labels + 1)
        np.testing.assert_array_equal(tree["scale0/image"], img)

    @pytest.mark.filterwarnings("ignore::UserWarning")  # consolidated metadata are no part of the specification of v3
    @pytest.mark.parametrize("inner", ["", "labels"])
    def test_consolidated_metadata_take_up_the_labels(self, path, labels, inner):
        write_label(labels, path, label="a")
        zarr.consolidate_metadata(path / inner)
        write_label(labels, path, label="b")
        group = zarr.open_consolidated(path / inner, mode="r")
        found = group if inner else group["labels"]
        np.testing.assert_array_equal(found["b/0"], labels)
        assert ome_of(found)["labels"] == ["a", "b"]
        assert set(found.keys()) == {"a", "b"}
        assert ome_of(found["b"])["image-label"]["source"] == {"image": "../../"}

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_consolidated_metadata_of_an_image_without_labels(self, path, labels):
        zarr.consolidate_metadata(path)
        write_label(labels, path, label="a")
        group = zarr.open_consolidated(path, mode="r")
        assert set(group.keys()) == {"0", "1", "2", "labels"}
        np.testing.assert_array_equal(group["labels/a/1"], labels_level(labels))


def labels_level(labels):
    return mode_of_blocks(labels.values, (2, 2, 2))


class TestList:
    def test_grows_and_has_nothing_twice(self, path, labels):
        for name in ("b", "a", "c"):
            write_label(labels, path, label=name)
        write_label(labels + 1, path, label="a", overwrite=True)
        assert ome_of(group_of(path, "labels"))["labels"] == ["b", "a", "c"]
        np.testing.assert_array_equal(array_of(path, "labels/a/0"), labels + 1)
        np.testing.assert_array_equal(array_of(path, "labels/b/0"), labels)

    def test_what_else_its_document_says_is_kept(self, path, labels, version):
        group = zarr.open_group(path, mode="a").create_group("labels")
        said = {"labels": ["gone", "old/0"], "schema_url": "x"}
        group.attrs.update({"mine": [1]} | (said if version == "0.4" else {"ome": {"version": "0.5.1"} | said}))
        write_label(labels, path, label="a")
        attributes = group_of(path, "labels").attrs.asdict()
        assert attributes["mine"] == [1]
        assert ome_of(group_of(path, "labels")) == ({"mine": [1]} if version == "0.4" else {"version": "0.5.1"}) | {
            "labels": ["gone", "old/0", "a"],
            "schema_url": "x",
        }

    def test_group_that_lists_nothing(self, path, labels):
        zarr.open_group(path, mode="a").create_group("labels", attributes={"mine": 1})
        write_label(labels, path, label="a")
        assert ome_of(group_of(path, "labels"))["labels"] == ["a"]
        assert group_of(path, "labels").attrs["mine"] == 1

    def test_labels_that_are_listed_but_not_there(self, path5, labels):
        write_label(labels, path5, label="a")
        (path5 / "labels/a").rename(path5 / "gone")
        write_label(labels, path5, label="a")
        assert ome_of(group_of(path5, "labels"))["labels"] == ["a"]

    def test_many_at_once(self, path, labels, version):
        """Delayed writes that are computed together keep all names."""
        tasks = [write_label(labels[:, ::1], path, label=f"l{i}", compute=False) for i in range(6)]
        assert list((path / "labels").iterdir()) == []
        dask.compute(*tasks, scheduler="threads", num_workers=6)
        assert sorted(ome_of(group_of(path, "labels"))["labels"]) == [f"l{i}" for i in range(6)]
        assert len(list((path / "labels").glob("l*"))) == 6

    def test_two_processes(self, img, labels, tmp_path):
        path = tmp_path / "a.zarr"
        img.ngff.to_ome_zarr(path, levels=1)
        labels.to_netcdf(tmp_path / "labels.nc", engine="h5netcdf")
        code = (
            "import sys, xarray as xr\n"
            "from xarray_ngff.backends.ngff.labels.label_image import write_label\n"
            "labels = xr.load_dataarray(sys.argv[2], engine='h5netcdf')\n"
            "for i in range(4):\n"
            "    write_label(labels, sys.argv[1], label=f'{sys.argv[3]}{i}')\n"
        )
        arguments = [sys.executable, "-c", code, path, tmp_path / "labels.nc"]
        running = [subprocess.Popen([*arguments, name]) for name in "ab"]
        assert [process.wait(timeout=60) for process in running] == [0, 0]
        listed = ome_of(group_of(path, "labels"))["labels"]
        assert sorted(listed) == [f"{name}{i}" for name in "ab" for i in range(4)]


class TestDelayed:
    def test_nothing_is_there_before_it_is_computed(self, path, labels):
        task = write_label(labels.chunk(z=4), path, label="a", compute=False)
        assert not (path / "labels/zarr.json").exists()
        assert set(xr.open_datatree(path, engine="ngff").children) == {"scale0", "scale1", "scale2"}
        task.compute(scheduler="threads")
        np.testing.assert_array_equal(xr.open_datatree(path, engine="ngff")["labels/a/scale0/labels"], labels)

    def test_travels(self, path5, labels):
        import cloudpickle

        task = cloudpickle.loads(cloudpickle.dumps(write_label(labels, path5, label="a", compute=False)))
        task.compute(scheduler="threads")
        assert ome_of(group_of(path5, "labels"))["labels"] == ["a"]


def failing(block):
    raise ZeroDivisionError("no more labels")


class TestFailures:
    def check_as_before(self, path, before, img):
        assert files(path) == before
        assert not list(path.rglob("*.partial"))
        np.testing.assert_array_equal(xr.open_dataarray(path, engine="ngff"), img)

    @pytest.mark.parametrize("others", [False, True])
    def test_labels_that_cannot_be_made(self, path, img, labels, others):
        if others:
            write_label(labels, path, label="other")
        before = files(path)
        broken = labels.copy(
            data=dask.array.map_blocks(failing, labels.chunk(z=3).data, dtype="u4", meta=np.zeros((), "u4"))
        )
        with pytest.raises(ZeroDivisionError):
            write_label(broken, path, label="a")
        self.check_as_before(path, before, img)
        assert (path / "labels").exists() == others

    @pytest.mark.parametrize(
        "options", [{"chunks": 0}, {"compressor": "nonsense"}, {"method": "worst"}, {"chunks": {"q": 1}}]
    )
    def test_options_that_are_none(self, path5, img, labels, options):
        before = files(path5)
        with pytest.raises(NgffError):
            write_label(labels, path5, label="a", **options)
        self.check_as_before(path5, before, img)
        assert not (path5 / "labels").exists()

    def test_a_list_that_cannot_be_written(self, img, labels, version):
        class Full(MemoryStore):
            broken = False

            async def set(self, key, value, byte_range=None):
                if self.broken and key in ("labels/zarr.json", "labels/.zattrs"):
                    raise OSError("disk full")
                await super().set(key, value)

        store = Full()
        img.ngff.to_ome_zarr(store, version=version, factors=FACTORS)
        write_label(labels, store, label="a")
        store.broken = True
        for name, overwrite in (("b", False), ("a", True)):
            # what is listed already needs no list
            if name == "a":
                write_label(labels + 1, store, label=name, overwrite=overwrite)
            else:
                with pytest.raises(FormatError, match="cannot be written to: OSError: disk full"):
                    write_label(labels, store, label=name)
        assert not [key for key in store._store_dict if key.startswith("labels/b")]
        tree = xr.open_datatree(store, engine="ngff")
        assert list(tree["labels"].children) == ["a"]
        np.testing.assert_array_equal(tree["labels/a/scale0/labels"], labels + 1)

    def test_gone_on_with(self, path, labels):
        def until(block, block_info=None):
            if block_info[0]["chunk-location"][0] == 0:
                return block
            while not list(path.rglob("begun")):
                time.sleep(0.01)
            return failing(block)

        half = dask.array.map_blocks(until, labels.chunk(z=3).data, dtype="u4", meta=np.zeros((0, 0, 0), "u4"))
        with pytest.raises(ZeroDivisionError):
            write_label(labels.copy(data=half), path, label="a", chunks=(3, 64, 64), resume=True)
        assert [entry.name[:3] for entry in (path / "labels").iterdir()] == [".a."]
        assert set(xr.open_datatree(path, engine="ngff").children) == {"scale0", "scale1", "scale2"}
        write_label(labels.chunk(z=3), path, label="a", chunks=(3, 64, 64), resume=True)
        assert ome_of(group_of(path, "labels"))["labels"] == ["a"]
        np.testing.assert_array_equal(xr.open_datatree(path, engine="ngff")["labels/a/scale0/labels"], labels)
        assert not list(path.rglob("*.partial"))

    def test_killed(self, img, labels, tmp_path):
        path = tmp_path / "a.zarr"
        img.ngff.to_ome_zarr(path, levels=1)
        write_label(labels, path, label="other")
        before = files(path)
        code = (
            "import sys, os, numpy as np, xarray as xr, dask.array\n"
            "from xarray_ngff.backends.ngff.labels.label_image import write_label\n"
            "def dying(block, block_info=None):\n"
            "    if block_info and block_info[0]['chunk-location'][0] == 2: os._exit(9)\n"
            "    return block.astype('u1')\n"
            "img = xr.open_dataarray(sys.argv[1], engine='ngff', chunks={'z': 3}).isel(c=0)\n"
            "made = img.copy(data=dask.array.map_blocks(dying, img.data, dtype='u1'))\n"
            "write_label(made, sys.argv[1], label=sys.argv[2], overwrite=True, chunks=(3, 64, 64))\n"
        )
        running = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("a", "other")]
        assert [process.wait(timeout=60) for process in running] == [9, 9]
        after = files(path)
        assert {key: after[key] for key in before} == before
        assert all(key.startswith(("labels/.a.", "labels/.other.")) for key in after.keys() - before.keys())
        tree = xr.open_datatree(path, engine="ngff")
        assert list(tree["labels"].children) == ["other"]
        np.testing.assert_array_equal(tree["labels/other/scale0/labels"], labels)
        write_label(labels, path, label="a")
        assert ome_of(group_of(path, "labels"))["labels"] == ["other", "a"]


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", ".", "..", "a/b", "/a", "a\\b", ".hidden", "__a", "a ", " a", "a.", "zarr.json", ".zattrs", "a\n"),
        *("\ud800", "a" * 201, "é" * 101, "con", "NUL.txt", "a:b", "a*", 5, None, ("a",)),
    ],
    ids=ascii,
)
def test_names_that_are_refused(name):
    with pytest.raises(FormatError, match="label="):
        checked_name(name)


@pytest.mark.parametrize("name", ["Nuclei 2", "a.b-c_d", "κύτταρα", "1", "a" * 200, "labels", "consul"], ids=ascii)
def test_names_that_are_fine(path5, labels, name):
    write_label(labels, path5, label=name)
    assert list(xr.open_datatree(path5, engine="ngff")["labels"].children) == [name]


class TestRefused:
    @pytest.fixture
    def refused(self, path5):
        before = files(path5)

        def check(error, message, given, place=path5, *, label="a", **options):
            with pytest.raises(error, match=message):
                write_label(given, place, label=label, **options)
            assert files(path5) == before
            assert not (path5 / "labels").exists()

        return check

    @pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "c8", "M8[s]"])
    def test_what_is_no_integer(self, refused, labels, dtype):
        message = rf"a\.zarr: labels 'a' are {np.dtype(dtype)}, expected whole numbers or bool: convert them"
        refused(FormatError, message.replace("[", r"\["), labels.astype(dtype))

    def test_name(self, refused, labels):
        refused(FormatError, "label='a/b' has '/': give a plain name", labels, label="a/b")

    def test_labels_that_are_there(self, path, labels):
        write_label(labels, path, label="a")
        document = next(file for file in ("labels/zarr.json", "labels/.zattrs") if (path / file).exists())
        listed = (path / document).read_text()
        before = files(path)
        for text in (listed, listed.replace('"a"', '"b"')):
            (path / document).write_text(text)
            with pytest.raises(TargetExistsError, match=r"labels/a exists: pass overwrite=True"):
                write_label(labels, path, label="a")
        (path / document).write_text(listed)
        assert files(path) == before

    def test_folder_in_the_way(self, path5, labels):
        (path5 / "labels/a").mkdir(parents=True)
        (path5 / "labels/a/precious.txt").touch()
        for overwrite in (False, True):
            with pytest.raises(TargetExistsError, match=r"exists: pass overwrite|is no Zarr, so it is not"):
                write_label(labels, path5, label="a", overwrite=overwrite)
        assert (path5 / "labels/a/precious.txt").exists()

    def test_another_thing_called_labels(self, path, labels, version):
        other = 3 if version == "0.4" else 2
        zarr.create_group(path / "labels", zarr_format=other)
        before = files(path)
        with pytest.raises(FormatError, match=rf"labels is a Zarr v{other} group, expected a Zarr v{5 - other} group"):
            write_label(labels, path, label="a")
        assert files(path) == before

    def test_list_that_is_none(self, path, labels, version):
        group = zarr.open_group(path, mode="a").create_group("labels")
        group.attrs.update({"labels": "a"} if version == "0.4" else {"ome": {"labels": "a"}})
        before = files(path)
        with pytest.raises(FormatError, match=r"labels: labels is 'a', expected a list of paths"):
            write_label(labels, path, label="b")
        assert files(path) == before

    def test_numbers_of_levels(self, refused, labels):
        refused(
            GeometryError, "would have 2 levels, but the image has 3, and OME-Zarr asks for as many", labels, levels=2
        )
        refused(GeometryError, "would have 2 levels, but the image has 3", labels, factors=[2])
        refused(GeometryError, "the factor of level 1 is 0", labels, factors=[0, 2])
        refused(GeometryError, r"levels .* is 0", labels, levels=0)

    def test_factors_of_their_own(self, path5, labels):
        write_label(labels, path5, label="a", factors=[3, 9], levels=3)
        assert [group_of(path5, "labels/a")[str(i)].shape for i in range(3)] == [(9, 37, 41), (3, 13, 14), (1, 5, 5)]

    def test_descriptions(self, refused, labels):
        refused(FormatError, "colors: that of label 1", labels, colors={1: "red"})
        refused(FormatError, "which JSON cannot hold", labels, properties={1: {"a": np.inf}})
        refused(FormatError, "cannot hold: leave it out", labels.astype("u1"), properties={256: {}})
        refused(FormatError, "describe the label 300, which an image of uint8", labels > 1, colors={300: "#000000"})

    def test_places_without_an_image(self, refused, path5, img, labels, tmp_path):
        refused(MissingFileError, "does not exist", labels, tmp_path / "b.zarr")
        refused(FormatError, "is a Zarr array, not a group", labels, path5 / "0")
        refused(FormatError, "read-only", labels, LocalStore(path5, read_only=True))
        img.ngff.to_ome_zarr(tmp_path / "c.ozx")
        refused(FormatError, "a zip archive cannot be changed in place", labels, tmp_path / "c.ozx")

    def test_metadata_and_zarr_of_different_times(self, labels, make_image, ramp):
        store = MemoryStore()
        attributes = make_image(MemoryStore(), [ramp(9, 37, 41)], "zyx", version="0.4").attrs.asdict()
        zarr.create_group(store, attributes=attributes).create_array("0", data=ramp(9, 37, 41))
        with (
            pytest.warns(NgffWarning, match="has its metadata not under"),
            pytest.raises(FormatError, match=r"is OME-Zarr 0\.4 in Zarr v3, which the specification does not have"),
        ):
            write_label(labels.astype("u1"), store, label="a")

    def test_other_versions(self, labels, make_image, ramp):
        store = MemoryStore()
        make_image(store, [ramp(1, 1, 9, 37, 41)], "tczyx", version="0.3", axes=list("tczyx"))
        with pytest.raises(FormatError, match=r"is OME-Zarr 0\.3, expected 0\.4 or 0\.5"):
            write_label(labels, store, label="a")


def test_levels_that_are_no_whole_blocks(make_image, labels, ramp):
    """Other writers cut off what does not fill a block: the labels get as many levels all the same."""
    store = MemoryStore()
    make_image(store, [ramp(9, 37, 41), ramp(4, 18, 20), ramp(2, 9, 10)], "zyx")
    given = as_image(labels.values)
    with pytest.warns(NgffWarning, match="labels get the nearest levels that are whole blocks of voxels, because"):
        write_label(given, store, label="a")
    shapes = [zarr.open_group(store, mode="r")[f"labels/a/{i}"].shape for i in range(3)]
    assert shapes == [(9, 37, 41), (5, 19, 21), (3, 10, 11)]


class TestWhatOmeZarrLeavesToUs:
    """Pins what the reference implementation does not check or write, and this package does itself."""

    def group(self, version):
        from ome_zarr.format import format_from_version

        fmt = format_from_version(version)
        group = zarr.create_group(MemoryStore(), zarr_format=fmt.zarr_format)
        group.create_group("a")
        return group, fmt

    def test_lists_names_twice(self, version):
        from ome_zarr.writer import write_label_metadata

        group, fmt = self.group(version)
        for _ in range(2):
            write_label_metadata(group, "a", fmt=fmt)
        assert ome_of(group)["labels"] == ["a", "a"]

    def test_writes_what_is_no_colour(self, version):
        from ome_zarr.writer import write_label_metadata

        group, fmt = self.group(version)
        write_label_metadata(group, "a", colors=[{"rgba": "red"}], properties=[], fmt=fmt)
        assert ome_of(group["a"])["image-label"] == {"colors": [{"rgba": "red"}], "properties": [], "version": version}
