"""Written pyramids against NumPy, one block at a time; and what happens when writing fails."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

import xarray_ngff
from xarray_ngff import as_image
from xarray_ngff.errors import (
    FormatError,
    GeometryError,
    MissingExtraError,
    NgffError,
    NgffWarning,
    TargetExistsError,
)

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)
SPATIAL = "zyx"
TYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">u2", ">f4"]


# -- the truth, in plain NumPy ----------------------------------------------------------------------------------------


def mean(block):
    if block.dtype.kind in "fc":
        return block.mean(dtype=np.result_type(block.dtype, "f8"))
    return np.rint(block.mean(dtype="f8"))


def mode(block):
    values, counts = np.unique(block, return_counts=True)
    return values[counts.argmax()]


def median(block):
    return np.rint(np.median(block)) if block.dtype.kind in "iu" else np.median(block)


STATISTICS = {"mean": mean, "mode": mode, "median": median, "min": np.min, "max": np.max}


def reduced(array, factors, method):
    if method == "nearest":
        for axis, factor in enumerate(factors):
            n = array.shape[axis]
            array = array.take([min(i + (factor - 1) // 2, n - 1) for i in range(0, n, factor)], axis=axis)
        return array
    result = np.empty([-(-n // f) for n, f in zip(array.shape, factors, strict=True)], array.dtype)
    for place in np.ndindex(result.shape):
        block = array[tuple(slice(i * f, (i + 1) * f) for i, f in zip(place, factors, strict=True))]
        result[place] = STATISTICS[method](block)
    return result


def expected_levels(array, dims, factors, method):
    """Levels of an array for cumulative factors by dim; each from the nearest one before that divides it."""
    done = [(dict.fromkeys(dims, 1), array)]
    for wanted in factors:
        own = {dim: min(wanted.get(dim, 1), n) for dim, n in zip(dims, array.shape, strict=True)}
        source, values = next(
            (made, data)
            for made, data in [*reversed(done[1:]), done[0]]
            if all(own[dim] % made[dim] == 0 for dim in dims)
        )
        done.append((own, reduced(values, [own[dim] // source[dim] for dim in dims], method)))
    return done


def check(store, img, factors, method, version):
    """Everything that the store says about every level, read with zarr and json alone."""
    group = zarr.open_group(store, mode="r", zarr_format=2 if version == "0.4" else 3)
    attributes = group.attrs.asdict()
    ome = attributes if version == "0.4" else attributes["ome"]
    (multiscale,) = ome["multiscales"]
    assert (multiscale if version == "0.4" else ome)["version"] == version
    assert [axis["name"] for axis in multiscale["axes"]] == list(img.dims)
    levels = expected_levels(img.values, img.dims, factors, method)
    assert len(multiscale["datasets"]) == len(levels)
    for dataset, (factor, values) in zip(multiscale["datasets"], levels, strict=True):
        array = group[dataset["path"]]
        np.testing.assert_array_equal(array[...], values)
        assert array.dtype == img.dtype
        if version == "0.5":
            assert array.metadata.dimension_names == img.dims
        spacing, origin = img.ngff.spacing, img.ngff.origin
        scale, translation = (step[step["type"]] for step in dataset["coordinateTransformations"])
        for i, dim in enumerate(img.dims):
            step, start = spacing.get(dim, 1.0), origin.get(dim, 0.0)
            assert scale[i] == pytest.approx(step * factor[dim], rel=1e-15)
            assert translation[i] == pytest.approx(start + step * (factor[dim] - 1) / 2, rel=1e-14)
    if len(levels) > 1:
        assert multiscale["type"] == method
    return group


def by_dim(factors, dims):
    return [
        {dim: entry if dim in SPATIAL else 1 for dim in dims} if isinstance(entry, int) else entry for entry in factors
    ]


class TestPyramid:
    @by_version
    @pytest.mark.parametrize(
        "factors",
        [
            [],
            [2],
            [2, 4, 8],
            [2, 3],
            [2, 3, 6, 12],
            [3, 5, 15],
            [{"y": 2}, {"z": 3, "y": 2, "x": 5}, {"z": 3, "y": 4, "x": 20}],
            [{"x": 7}],
            [99],
        ],
    )
    def test_factors(self, version, factors, ramp):
        img = as_image(ramp(7, 13, 21) * 7 % 1000, spacing=(3, 0.5, 0.25), origin=(-1, 2.5, 100), units="um")
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, factors=factors, version=version, chunks=(3, 4, 8))
        check(store, img, by_dim(factors, img.dims), "mean", version)

    @pytest.mark.parametrize("method", ["mean", "nearest", "mode", "min", "max", "median"])
    @pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "i8", "?"])
    def test_methods(self, method, dtype):
        values = np.random.default_rng(3).integers(0, 6, (5, 9, 11))
        img = as_image((values % 2 if dtype == "?" else values).astype(dtype))
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, factors=[2, 4, 6], method=method, chunks=3)
        if dtype == "?" and method == "median":
            # True or False, where the truth above says 0.5
            assert zarr.open_group(store)["1"].dtype == bool
        else:
            check(store, img, by_dim([2, 4, 6], img.dims), method, "0.5")

    @given(data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_any_image(self, data):
        """2-D to 5-D, any size, spacing, chunks of source and target, and factors that grow."""
        dims = data.draw(st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tzyx", "tczyx"]))
        shape = [data.draw(st.integers(1, 3 if dim in "tc" else 12)) for dim in dims]
        values = np.random.default_rng(data.draw(st.integers(0, 9))).integers(0, 2**16, shape).astype("u2")
        steps = {dim: data.draw(st.sampled_from([0.1, 0.3, 1, 2.5])) for dim in dims if dim != "c"}
        starts = {dim: data.draw(st.sampled_from([-7.1, 0, 1e3])) for dim in steps}
        img = as_image(values, dims, spacing=steps, origin=starts)
        factors, last = [], dict.fromkeys(dims, 1)
        for _ in range(data.draw(st.integers(0, 3))):
            entry = {dim: last[dim] + data.draw(st.integers(0, 4)) for dim in dims if dim in SPATIAL}
            if any(min(entry[dim], img.sizes[dim]) > min(last[dim], img.sizes[dim]) for dim in entry):
                factors.append(entry)
                last = entry
        method = data.draw(st.sampled_from(["mean", "nearest", "max"]))
        version = data.draw(st.sampled_from(VERSIONS))
        chunks = tuple(data.draw(st.integers(1, 6)) for _ in dims)
        source = img.chunk(dict.fromkeys(dims, data.draw(st.integers(1, 5)))) if data.draw(st.booleans()) else img
        store = MemoryStore()
        source.ngff.to_ome_zarr(store, factors=factors, method=method, version=version, chunks=chunks)
        group = check(store, img, factors, method, version)
        assert group["0"].chunks == tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
        again = xr.open_dataarray(store, engine="ngff")
        np.testing.assert_array_equal(again, img)
        np.testing.assert_allclose(again.ngff.affine, img.ngff.affine, rtol=1e-14)

    def test_default_levels_make_voxels_isotropic(self):
        """z is four times as coarse: x and y are halved twice before z is."""
        img = as_image(np.zeros((50, 900, 1100), "u1"), spacing=(2, 0.5, 0.5), units="um")
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, levels=4)
        shapes = [zarr.open_group(store)[str(level)].shape for level in range(4)]
        assert shapes == [(50, 900, 1100), (50, 450, 550), (50, 225, 275), (25, 113, 138)]
        store = MemoryStore()
        img.ngff.to_ome_zarr(store)
        # x has 275 voxels at level 2, more than 256
        assert len(list(zarr.open_group(store).arrays())) == 4

    def test_default_of_a_small_image_is_one_level(self):
        store = MemoryStore()
        as_image(np.zeros((256, 256), "u1")).ngff.to_ome_zarr(store)
        assert len(list(zarr.open_group(store).arrays())) == 1

    def test_levels(self):
        img = as_image(np.arange(35.0).reshape(5, 7))
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, levels=3)
        check(store, img, by_dim([2, 4], img.dims), "mean", "0.5")

    @pytest.mark.parametrize(
        ("name", "dtype", "method"), [("labels", "u4", "mode"), ("image", "?", "mode"), ("image", "u4", "mean")]
    )
    def test_default_method(self, name, dtype, method):
        values = np.random.default_rng(0).integers(0, 4, (9, 9))
        img = as_image((values % 2 if dtype == "?" else values * 1000).astype(dtype), name=name)
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, factors=[3])
        check(store, img, by_dim([3], img.dims), method, "0.5")
        if method == "mode":
            assert set(np.unique(zarr.open_group(store)["1"])) <= set(np.unique(img))

    def test_zeros_of_either_sign_and_nan_survive(self):
        values = np.array([[0.0, -0.0, np.nan, np.inf], [-0.0, 1.0, -np.inf, -0.0]])
        for version in VERSIONS:
            store = MemoryStore()
            as_image(values).ngff.to_ome_zarr(store, version=version, levels=1, chunks=2)
            found = xr.open_dataarray(store, engine="ngff").values
            assert found.tobytes() == values.tobytes()

    @by_version
    @pytest.mark.parametrize("dtype", TYPES)
    def test_every_type(self, version, dtype):
        values = (np.arange(30).reshape(5, 6) % (2 if dtype == "?" else 99)).astype(dtype)
        store = MemoryStore()
        as_image(values).ngff.to_ome_zarr(store, version=version, levels=2)
        again = xr.open_dataarray(store, engine="ngff")
        assert again.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(again, values)


class TestLayout:
    def test_files_of_0_4(self, tmp_path):
        as_image(np.ones((2, 4, 6), "u2"), "cyx", spacing=(1, 1)).ngff.to_ome_zarr(
            tmp_path / "a.zarr", version="0.4", chunks=(1, 2, 3), levels=1
        )
        names = {path.relative_to(tmp_path / "a.zarr").as_posix() for path in (tmp_path / "a.zarr").rglob("*.*")}
        assert names == {".zgroup", ".zattrs", "0/.zarray", "0/.zattrs"}
        assert (tmp_path / "a.zarr/0/1/1/1").is_file()
        array = json.loads((tmp_path / "a.zarr/0/.zarray").read_text())
        assert (array["dimension_separator"], array["order"], array["filters"]) == ("/", "C", None)

    def test_files_of_0_5(self, tmp_path):
        as_image(np.ones((2, 4, 6), "u2"), "cyx").ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=(1, 2, 3), levels=1)
        assert (tmp_path / "a.zarr/0/c/1/1/1").is_file()
        array = json.loads((tmp_path / "a.zarr/0/zarr.json").read_text())
        assert array["dimension_names"] == ["c", "y", "x"]
        assert array["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}

    @pytest.mark.parametrize(
        ("chunks", "expected"),
        [
            (None, (1, 1, 2, 128, 128)),
            (64, (1, 1, 2, 64, 64)),
            (np.int32(32), (1, 1, 2, 32, 32)),
            ({"z": 1, "c": 2}, (1, 2, 1, 128, 128)),
            ((2, 2, 1, 20, 999), (2, 2, 1, 20, 130)),
            ([1, 1, 1, 40, 40], (1, 1, 1, 40, 40)),
        ],
    )
    def test_chunks(self, chunks, expected):
        store = MemoryStore()
        img = as_image(np.zeros((2, 2, 2, 130, 130), "u1"))
        img.ngff.to_ome_zarr(store, chunks=chunks, levels=1)
        assert zarr.open_group(store)["0"].chunks == expected

    def test_dims_of_the_array_are_put_in_order(self):
        img = as_image(np.arange(24).reshape(2, 3, 4), spacing=(3, 2, 1)).transpose("x", "z", "y")
        store = MemoryStore()
        img.ngff.to_ome_zarr(store, factors=[2])
        check(store, img.transpose("z", "y", "x"), by_dim([2], "zyx"), "mean", "0.5")


class TestTree:
    @by_version
    def test_levels_are_written_as_they_are(self, version):
        img = as_image(np.random.default_rng(0).integers(0, 99, (5, 20, 21)).astype("u1"), spacing=(2, 0.5, 0.5))
        store, direct = MemoryStore(), MemoryStore()
        img.ngff.to_multiscale(factors=[2, 4], method="median").ngff.to_ome_zarr(store, version=version, chunks=6)
        img.ngff.to_ome_zarr(direct, version=version, chunks=6, factors=[2, 4], method="median")
        for level in range(3):
            one, other = (xr.open_dataarray(place, engine="ngff", level=level) for place in (store, direct))
            xr.testing.assert_identical(one, other)
            assert one.ngff.spacing == other.ngff.spacing
        tree = xr.open_datatree(store, engine="ngff")
        again = MemoryStore()
        tree.ngff.to_ome_zarr(again, version=version)
        for level in range(3):
            xr.testing.assert_identical(
                xr.open_dataarray(again, engine="ngff", level=level),
                xr.open_dataarray(store, engine="ngff", level=level),
            )

    def test_levels_of_another_maker(self):
        """Not halves, and not centred: each level is placed as it says."""
        rng = np.random.default_rng(1)
        fine = as_image(rng.random((10, 12)), spacing=(1, 1), origin=(5, 5))
        coarse = as_image(rng.random((4, 5)), spacing=(2.7, 2.6), origin=(5.9, 5.2))
        levels = {f"/scale{i}": img.to_dataset(name="image") for i, img in enumerate((fine, coarse))}
        tree = xr.DataTree.from_dict(levels)
        store = MemoryStore()
        tree.ngff.to_ome_zarr(store)
        for level, img in enumerate((fine, coarse)):
            found = xr.open_dataarray(store, engine="ngff", level=level)
            np.testing.assert_array_equal(found, img)
            assert found.ngff.spacing == img.ngff.spacing
            assert found.ngff.origin == img.ngff.origin

    def test_backwards_axes_of_levels(self):
        img = as_image(np.arange(80).reshape(8, 10), spacing=(1, -2.0), origin=(0, 18), orientation="RA")
        store = MemoryStore()
        img.ngff.to_multiscale(levels=3).ngff.to_ome_zarr(store)
        for level in range(3):
            found = xr.open_dataarray(store, engine="ngff", level=level)
            truth = img.ngff.to_multiscale(levels=3)[f"scale{level}/image"]
            np.testing.assert_array_equal(found, truth)
            np.testing.assert_allclose(found.ngff.affine, truth.ngff.affine)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda img: img.astype("f8"), "level 1 has dims .* and dtype float64"),
            (lambda img: img.expand_dims("t"), "level 1 has dims"),
            (lambda img: xr.concat([img] * 9, "x").ngff.set_geometry(spacing={"x": 1}), "level 1 is longer along 'x'"),
            (
                lambda img: img.ngff.set_geometry(units="mm"),
                "level 1 has units 'millimeter' along 'y', level 0 has None",
            ),
            (lambda img: img.ngff.set_geometry(orientation="RA"), "level 1 has orientation"),
        ],
    )
    def test_levels_that_are_not_one_image(self, change, message, tmp_path):
        img = as_image(np.zeros((8, 8), "u1"))
        levels = [img, change(img.ngff.downsample(2))]
        tree = xr.DataTree.from_dict({f"/scale{i}": level.to_dataset(name="image") for i, level in enumerate(levels)})
        with pytest.raises(GeometryError, match=message):
            tree.ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert not list(tmp_path.iterdir())

    def test_what_else_a_tree_holds_is_left_out_aloud(self):
        img, store = as_image(np.arange(16.0).reshape(4, 4)), MemoryStore()
        tree = img.ngff.to_multiscale(levels=2)
        tree["labels/cells"] = img.astype("u1").rename("labels").ngff.to_multiscale(levels=2)
        tree["tables/cells"] = xr.Dataset({"area": ("cell", [1.0])})
        with pytest.warns(NgffWarning, match="the tree holds tables beside its levels and labels; that was not"):
            tree.ngff.to_ome_zarr(store)
        assert set(xr.open_datatree(store, engine="ngff").children) == {"scale0", "scale1", "labels"}

    def test_trees_that_are_no_pyramid(self, tmp_path):
        with pytest.raises(GeometryError, match="no pyramid"):
            xr.DataTree.from_dict({"/a": xr.Dataset()}).ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert not list(tmp_path.iterdir())


class TestRefused:
    """One clear error, and nothing is written."""

    GOOD = as_image(np.zeros((6, 8), "u2"))

    @pytest.mark.parametrize(
        ("img", "options", "error", "message"),
        [
            (GOOD.isel(x=[0, 1, 5]), {}, GeometryError, "coordinate 'x' is not regular"),
            (GOOD.drop_vars("x"), {}, GeometryError, "dim 'x' has no coordinate"),
            (GOOD.isel(x=0), {}, FormatError, "two or three spatial axes, this one has dims \\('y',\\)"),
            (
                as_image(np.zeros((1,) * 6), ("t", "c", "angle", "z", "y", "x")),
                {},
                FormatError,
                "at most one axis besides t, z, y and x, this image has c, angle",
            ),
            (GOOD.astype(object), {}, FormatError, "dtype object, which OME-Zarr cannot hold"),
            (GOOD.astype("U1"), {}, FormatError, "dtype <U1, which OME-Zarr cannot hold"),
            (GOOD.astype("M8[s]"), {}, FormatError, "dtype datetime64"),
            (GOOD.isel(x=slice(0, 0)), {}, FormatError, r"the image is empty \(.*'x': 0"),
            (as_image(np.zeros((0, 3, 3)), "cyx"), {}, FormatError, r"the image is empty \(.*'c': 0"),
            (GOOD, {"version": "0.6"}, FormatError, "version='0.6' is not written: expected one of 0.4, 0.5"),
            (GOOD, {"version": 0.5}, FormatError, "version=0.5 is not written"),
            (GOOD, {"version": "0.3"}, FormatError, "version='0.3' is not written"),
            (GOOD, {"method": "gaussian"}, GeometryError, "method='gaussian': expected one of mean, nearest"),
            (GOOD.astype("c8"), {"method": "median", "levels": 2}, GeometryError, "'median' is not defined for dtype"),
            (GOOD, {"factors": [0]}, GeometryError, "factor of level 1 is 0"),
            (GOOD, {"factors": [1]}, GeometryError, "make the same level"),
            (GOOD, {"factors": [4, 2]}, GeometryError, "cannot shrink"),
            (GOOD, {"factors": [2.5]}, GeometryError, "is 2.5: expected an integer"),
            (GOOD, {"factors": [{"q": 2}]}, GeometryError, r"name \['q'\]"),
            (GOOD, {"factors": 2}, GeometryError, "factors is 2: expected one entry per level"),
            (GOOD, {"factors": [2], "levels": 4}, GeometryError, "needs 3 factors, but 1 were given"),
            (GOOD, {"levels": 0}, GeometryError, "levels .* is 0"),
            (GOOD, {"levels": 40}, GeometryError, "levels=40 is too many"),
            (GOOD, {"chunks": 0}, GeometryError, "chunk length of 'y' is 0"),
            (GOOD, {"chunks": 2.5}, GeometryError, "chunk length of 'y' is 2.5"),
            (GOOD, {"chunks": "auto"}, GeometryError, "chunk length of 'y' is 'auto'"),
            (GOOD, {"chunks": (4,)}, GeometryError, r"chunks=\(4,\) has 1 entries for the dims y, x"),
            (GOOD, {"chunks": {"z": 4}}, GeometryError, "chunks names dim 'z', but the image has dims y, x"),
            (GOOD, {"chunks": {"x": True}}, GeometryError, "chunk length of 'x' is True"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("compute", [True, False])
    def test_bad_input(self, img, options, error, message, compute, tmp_path):
        with pytest.raises(error, match=message) as caught:
            img.ngff.to_ome_zarr(tmp_path / "a.zarr", compute=compute, **options)
        assert isinstance(caught.value, NgffError)
        assert not list(tmp_path.iterdir())
        store = MemoryStore()
        with pytest.raises(error):
            img.ngff.to_ome_zarr(store, compute=compute, **options)
        assert store._store_dict == {}


class TestProgress:
    def test_shows_every_task(self, capsys):
        as_image(np.zeros((40, 40))).ngff.to_ome_zarr(MemoryStore(), chunks=10, levels=2, progress=True)
        shown = capsys.readouterr().err
        assert "writing" in shown
        assert "100%" in shown

    def test_without_tqdm(self, monkeypatch, tmp_path):
        for name in ("tqdm", "tqdm.auto"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match=r"progress=True needs tqdm: .*xarray-ngff\[progress\]"):
            as_image(np.zeros((4, 4))).ngff.to_ome_zarr(tmp_path / "a.zarr", progress=True)
        assert not list(tmp_path.iterdir())
        as_image(np.zeros((4, 4))).ngff.to_ome_zarr(tmp_path / "a.zarr")


class TestLater:
    def test_delayed(self, tmp_path):
        from dask.delayed import Delayed

        img = as_image(np.arange(48.0).reshape(6, 8))
        task = img.ngff.to_ome_zarr(tmp_path / "a.zarr", compute=False, factors=[2])
        assert isinstance(task, Delayed)
        assert not list(tmp_path.iterdir())
        assert task.compute() is None
        check(tmp_path / "a.zarr", img, by_dim([2], img.dims), "mean", "0.5")
        assert img.ngff.to_multiscale(levels=2).ngff.to_ome_zarr(tmp_path / "b.zarr", compute=False).compute() is None

    def test_several_at_once(self, tmp_path):
        images = [as_image(np.full((6, 8), number), spacing=(number + 1, 1)) for number in range(4)]
        tasks = [img.ngff.to_ome_zarr(tmp_path / f"{i}.zarr", compute=False) for i, img in enumerate(images)]
        dask.compute(*tasks)
        for number in range(4):
            found = xr.open_dataarray(tmp_path / f"{number}.zarr", engine="ngff")
            assert (found == number).all()
            assert found.ngff.spacing["y"] == number + 1

    @pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
    def test_schedulers(self, scheduler, tmp_path):
        img = as_image(np.arange(400).reshape(20, 20))
        with dask.config.set(scheduler=scheduler, num_workers=2):
            img.ngff.to_ome_zarr(tmp_path / "a.zarr", factors=[2, 4], chunks=7)
        check(tmp_path / "a.zarr", img, by_dim([2, 4], img.dims), "mean", "0.5")


def virtual(shape, chunks, block, dtype="u2"):
    """Dask image whose blocks a function of their place makes."""
    made = da.map_blocks(
        lambda block_info: block(tuple(block_info[None]["chunk-location"]), block_info[None]["chunk-shape"]),
        chunks=da.core.normalize_chunks(chunks, shape, dtype=dtype),
        dtype=dtype,
        meta=np.empty((0,) * len(shape), dtype),
    )
    return as_image(made)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFailure:
    @pytest.fixture(params=[None, *VERSIONS])
    def before(self, request, tmp_path):
        """Nothing, or an image of either version at the target."""
        if request.param is not None:
            as_image(np.full((8, 8), 3)).ngff.to_ome_zarr(tmp_path / "a.zarr", version=request.param, levels=2)
        return files(tmp_path)

    @by_version
    def test_a_source_that_breaks_midway(self, before, version, tmp_path):
        def block(place, shape):
            if place == (2, 1):
                raise RuntimeError("the disk of the source is gone")
            time.sleep(0.002)
            return np.ones(shape, "u2")

        img = virtual((40, 40), 10, block)
        for store in (img.ngff, img.ngff.to_multiscale(levels=2).ngff):
            with pytest.raises(RuntimeError, match="the disk of the source is gone"):
                store.to_ome_zarr(tmp_path / "a.zarr", version=version, chunks=5, overwrite=bool(before))
            assert files(tmp_path) == before
            assert [path.name for path in tmp_path.iterdir()] == (["a.zarr"] if before else [])

    def test_what_other_threads_are_writing_does_not_stay(self, before, tmp_path):
        """A thread that is in the middle of a block when another one fails does not make the hidden folder again."""
        started = threading.Barrier(4)

        def block(place, shape):
            started.wait(10)
            if place == (0, 0):
                raise RuntimeError("broken")
            time.sleep(0.1)
            return np.ones(shape, "u2")

        with dask.config.set(num_workers=4), pytest.raises(RuntimeError, match="broken"):
            virtual((20, 20), 10, block).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=10, overwrite=bool(before))
        time.sleep(0.2)
        assert files(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == (["a.zarr"] if before else [])

    @pytest.mark.parametrize("step", range(0, 40, 3))
    def test_an_interrupt_at_any_chunk(self, before, step, tmp_path, monkeypatch):
        count = itertools.count()
        write = zarr.Array.__setitem__

        def interrupted(array, region, values):
            if next(count) == step:
                raise KeyboardInterrupt
            write(array, region, values)

        img = as_image(np.arange(400).reshape(20, 20))
        with monkeypatch.context() as patch:
            patch.setattr(zarr.Array, "__setitem__", interrupted)
            try:
                img.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=5, factors=[2, 4], overwrite=bool(before))
            except KeyboardInterrupt:
                assert files(tmp_path) == before
                assert [path.name for path in tmp_path.iterdir()] == (["a.zarr"] if before else [])
            else:
                assert next(count) <= step + 1
        if bool(before) and files(tmp_path) == before:
            assert (xr.open_dataarray(tmp_path / "a.zarr", engine="ngff") == 3).all()

    def test_interrupting_the_process(self, tmp_path):
        """Ctrl-C in the middle of a write, with threads at work."""
        as_image(np.full((8, 8), 3)).ngff.to_ome_zarr(tmp_path / "a.zarr")
        before = files(tmp_path)
        code = (
            "import sys, time, dask, dask.array as da, numpy as np\n"
            "from xarray_ngff import as_image\n"
            "def block(x):\n"
            "    print('at work\\n', end='', flush=True)\n"
            "    time.sleep(0.05)\n"
            "    return x + 1\n"
            "lazy = da.map_blocks(block, da.zeros((4000, 40), chunks=(10, 40)), meta=np.empty((0, 0)))\n"
            "with dask.config.set(num_workers=4):\n"
            "    as_image(lazy).ngff.to_ome_zarr(sys.argv[1], chunks=(10, 40), overwrite=True)\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "a.zarr")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for _ in range(20):
                process.stdout.readline()
            assert len([path for path in tmp_path.iterdir() if path.suffix != ".lock"]) == 2
            process.send_signal(signal.SIGINT)
            _, message = process.communicate(timeout=30)
        assert "KeyboardInterrupt" in message
        assert process.returncode != 0
        assert files(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

    def test_a_corrupt_source_says_which_chunk(self, tmp_path):
        as_image(np.random.default_rng(0).integers(0, 99, (20, 20))).ngff.to_ome_zarr(tmp_path / "src.zarr", chunks=10)
        chunk = tmp_path / "src.zarr/0/c/1/0"
        chunk.write_bytes(chunk.read_bytes()[:20])
        with pytest.raises(FormatError, match=r"src\.zarr: cannot read .* of array '0': a chunk is corrupt"):
            xr.open_dataarray(tmp_path / "src.zarr", engine="ngff").ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert [path.name for path in tmp_path.iterdir()] == ["src.zarr"]

    def test_what_cannot_be_cleaned_up_does_not_hide_what_went_wrong(self, tmp_path, monkeypatch):
        def stubborn(path):
            raise OSError("the disk is read-only now")

        def block(place, shape):
            monkeypatch.setattr("xarray_ngff.backends.ngff.targets.folder.remove", stubborn)
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken") as caught:
            virtual((4, 4), 4, block).ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert caught.value.__notes__ == [
            f"what was written of {tmp_path}/a.zarr could not be removed: the disk is read-only now"
        ]


class TestOverwrite:
    @by_version
    @pytest.mark.parametrize("before", VERSIONS)
    def test_nothing_of_the_old_stays(self, version, before, tmp_path):
        as_image(np.ones((9, 64, 64))).ngff.to_ome_zarr(tmp_path / "a.zarr", version=before, levels=4, chunks=8)
        img = as_image(np.arange(30).reshape(5, 6))
        img.ngff.to_ome_zarr(tmp_path / "a.zarr", version=version, overwrite=True)
        img.ngff.to_ome_zarr(tmp_path / "b.zarr", version=version)
        assert files(tmp_path / "a.zarr") == files(tmp_path / "b.zarr")

    def test_without_it_nothing_happens(self, tmp_path):
        img = as_image(np.arange(30).reshape(5, 6))
        img.ngff.to_ome_zarr(tmp_path / "a.zarr")
        before = files(tmp_path)
        with pytest.raises(TargetExistsError):
            (img + 1).ngff.to_ome_zarr(tmp_path / "a.zarr")
        assert files(tmp_path) == before

    @pytest.mark.parametrize("place", ["folder", "memory"])
    def test_an_image_over_itself(self, place, tmp_path):
        """The source is read from what is being replaced."""
        store = tmp_path / "a.zarr" if place == "folder" else MemoryStore()
        img = as_image(np.arange(900).reshape(30, 30), spacing=(1, 2))
        img.ngff.to_ome_zarr(store, chunks=7)
        lazy = xr.open_dataarray(store, engine="ngff", chunks={})
        (lazy + 1).isel(x=slice(3, None)).ngff.to_ome_zarr(store, chunks=8, overwrite=True, levels=3)
        found = xr.open_dataarray(store, engine="ngff")
        np.testing.assert_array_equal(found, (img + 1).isel(x=slice(3, None)))
        assert found.ngff.origin == {"y": 0.0, "x": 6.0}

    def test_a_reader_that_looks_all_the_time(self, tmp_path):
        """It finds one image or the next, whole; a read across the very moment of a change may get some of both."""
        path, changes = tmp_path / "a.zarr", 12
        images = [as_image(np.full((24, 24), number, "u1"), spacing=(1, 1 + number)) for number in range(changes + 1)]
        images[0].ngff.to_ome_zarr(path, chunks=8, levels=2)
        seen, errors, stop = [], [], threading.Event()

        def look():
            while not stop.is_set():
                try:
                    img = xr.open_dataarray(path, engine="ngff").load()
                except (NgffError, OSError) as error:
                    errors.append(error)
                else:
                    seen.append((int(img.ngff.spacing["x"]) - 1, *np.unique(img).tolist()))

        reader = threading.Thread(target=look)
        reader.start()
        for img in images[1:]:
            img.ngff.to_ome_zarr(path, chunks=8, levels=2, overwrite=True)
        time.sleep(0.1)
        stop.set()
        reader.join()
        assert not errors
        mixed = [found for found in seen if len(set(found)) > 1]
        assert len(mixed) <= changes
        assert all(max(found) - min(found) == 1 for found in mixed)
        assert len(seen) - len(mixed) > changes
        assert seen[-1] == (changes, changes)


MEMORY = """
import sys, tempfile
from pathlib import Path
import dask, dask.array as da, numpy as np, xarray as xr
from xarray_ngff import as_image

def peak():
    # ru_maxrss would be that of the process that started this one, where it was larger
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

def image(shape, chunks):
    def block(block_info):
        place = block_info[None]
        return np.random.default_rng(list(place["chunk-location"])).integers(0, 4096, place["chunk-shape"], dtype="u2")
    chunks = da.core.normalize_chunks(chunks, shape, dtype="u2")
    return as_image(da.map_blocks(block, chunks=chunks, dtype="u2", meta=np.empty((0, 0, 0), "u2")))

with tempfile.TemporaryDirectory() as folder, dask.config.set(num_workers=2):
    image((64, 64, 64), 64).ngff.to_ome_zarr(f"{folder}/small.zarr")
    xr.open_dataarray(f"{folder}/small.zarr", engine="ngff").ngff.to_ome_zarr(f"{folder}/copy.zarr")
    before = peak()
    image(eval(sys.argv[1]), eval(sys.argv[2])).ngff.to_ome_zarr(f"{folder}/a.zarr")
    print(peak() - before)
    if sys.argv[3] == "read":
        xr.open_dataarray(f"{folder}/a.zarr", engine="ngff").ngff.to_ome_zarr(f"{folder}/b.zarr")
        print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(
    ("shape", "chunks", "then", "limit"),
    [
        # made block by block by dask, and then read lazily from the file that was written
        ((512, 512, 1024), (128, 256, 256), "read", 0.7),
        # the planes of a stack, of which a chunk of the target meets 128: 64 MiB
        ((1024, 512, 512), (1, 512, 512), "end", 0.6),
    ],
)
def test_memory_stays_far_below_the_image(shape, chunks, then, limit):
    """512 MiB that nobody holds."""
    command = [sys.executable, "-W", "ignore", "-c", MEMORY, str(shape), str(chunks), then]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    grown = list(map(float, done.stdout.split()))
    print(f"peak grew by {', '.join(f'{mib:.0f}' for mib in grown)} MiB while 512 MiB were written")
    assert len(grown) == 1 + (then == "read")
    assert max(grown) < limit * 512


def test_version_is_stated():
    store = MemoryStore()
    as_image(np.zeros((4, 4))).ngff.to_ome_zarr(store, levels=2)
    assert zarr.open_group(store).attrs["ome"]["multiscales"][0]["metadata"]["version"] == xarray_ngff.__version__
