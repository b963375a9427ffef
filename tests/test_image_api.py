"""One suite that every format passes: what an image opened from a file does, whatever the file is.

A format is a row of `formats.FORMATS`; nothing here knows one by name.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from formats import CHANNELS, DIMS, FORMATS, SIZES, image, numbers, sizes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff.errors import (
    FormatError,
    LevelError,
    MissingFileError,
    MissingFolderError,
    NgffError,
    TargetExistsError,
)

TRUTH = numbers()
ENTRYPOINTS = xr.backends.list_engines()


@pytest.fixture(scope="module", params=FORMATS, ids=str)
def fmt(request):
    return request.param


@pytest.fixture(scope="module")
def sample(fmt, tmp_path_factory):
    """A file with `image()`, two levels where it has levels; not to be changed."""
    path = fmt.path(tmp_path_factory.mktemp("sample"))
    fmt.write(image(), path, **({"levels": 2} if fmt.levels else {}))
    return path


@pytest.fixture
def copy(fmt, sample, tmp_path):
    """The same file, to be damaged."""
    return fmt.copy(sample, tmp_path)


def placed(img):
    """Image with coordinates in the unit that it was written in, as a file may hold another one."""
    return img.ngff.to_units("micrometer")


def contents(folder):
    """Every file below a folder, and its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def of_kind(formats, *, chunks=False, levels=False):
    return [f for f in formats if (not chunks or f.chunks) and (not levels or f.levels)]


with_chunks = pytest.mark.parametrize("fmt", of_kind(FORMATS, chunks=True), ids=str, indirect=True, scope="module")
with_levels = pytest.mark.parametrize("fmt", of_kind(FORMATS, levels=True), ids=str, indirect=True, scope="module")


class TestOpening:
    def test_it_is_a_dataset_of_one_lazy_variable(self, fmt, sample):
        with xr.open_dataset(sample, engine=fmt.engine) as dataset:
            assert list(dataset.data_vars) == ["image"]
            variable = dataset["image"].variable
            assert variable.dims == DIMS
            assert variable.shape == TRUTH.shape
            assert variable.dtype == TRUTH.dtype
            assert not variable._in_memory
            assert dataset.encoding["source"] == str(sample)
            # what any of these needs is known already
            (dataset["image"].isel(z=0, x=slice(None, None, -2)), repr(dataset), dataset._repr_html_(), dataset.nbytes)
            (repr(dataset["image"].ngff), dataset["image"].ngff.affine, dataset.copy(), dataset.transpose("x", ...))
            assert not variable._in_memory

    def test_numbers_are_those_that_its_own_library_reads(self, fmt, sample):
        np.testing.assert_array_equal(fmt.open(sample), TRUTH)
        np.testing.assert_array_equal(fmt.stored(sample, 0), TRUTH)

    @with_chunks
    def test_opening_reads_no_voxel(self, fmt, sample, copy):
        for chunk in fmt.chunks(copy):
            chunk.spoil()
        found, whole = fmt.open(copy), fmt.open(sample)
        assert found.sizes == whole.sizes
        for name, coordinate in whole.coords.items():
            xr.testing.assert_identical(found.coords[name], coordinate)
        if fmt.checked:
            with pytest.raises(FormatError, match=copy.name):
                found.load()
        else:
            assert not np.array_equal(found, TRUTH)

    @with_chunks
    @pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
    def test_a_crop_reads_only_the_chunks_that_it_meets(self, fmt, copy, chunks):
        random = np.random.default_rng(3)
        crop = (slice(1, 2), slice(2, 3), slice(0, 1), *(slice(*sorted(random.choice(n, 2, False))) for n in (20, 30)))
        others = [chunk for chunk in fmt.chunks(copy) if not chunk.meets(crop)]
        assert others
        for chunk in others:
            chunk.spoil()
        np.testing.assert_array_equal(fmt.open(copy, chunks=chunks)[crop], TRUTH[crop])

    def test_dask_chunks_are_those_that_the_file_prefers(self, fmt, sample):
        lazy = fmt.open(sample)
        chunked = fmt.open(sample, chunks={})
        preferred = lazy.encoding["preferred_chunks"]
        assert {dim: sizes[0] for dim, sizes in chunked.variable.chunksizes.items()} == preferred
        assert lazy.chunks is None
        np.testing.assert_array_equal(chunked, TRUTH)

    @with_chunks
    def test_preferred_chunks_hold_whole_chunks_of_the_file(self, fmt, sample):
        """So that none is decoded twice."""
        lengths = fmt.open(sample).encoding["preferred_chunks"]
        for chunk in fmt.chunks(sample):
            for dim, part in zip(DIMS, chunk.box, strict=True):
                assert part.start // lengths[dim] == (part.stop - 1) // lengths[dim]

    def test_it_is_read_once_where_it_is_cached(self, fmt, copy):
        opened = fmt.open(copy).load()
        for path in copy.rglob("*") if copy.is_dir() else [copy]:
            if path.is_file():
                path.write_bytes(b"")
        np.testing.assert_array_equal(opened, TRUTH)

    @pytest.mark.parametrize("dropped", ["image", ["x", "channel_color"], ["nothing"]], ids=str)
    def test_variables_can_be_dropped(self, fmt, sample, dropped):
        names = {*([dropped] if isinstance(dropped, str) else dropped)}
        whole = xr.open_dataset(sample, engine=fmt.engine)
        found = xr.open_dataset(sample, engine=fmt.engine, drop_variables=dropped)
        assert set(found.variables) == set(whole.variables) - names
        found.close()

    def test_an_option_that_it_does_not_have_is_refused(self, fmt, sample):
        with pytest.raises(TypeError, match="speed"):
            fmt.open(sample, speed=3)

    @pytest.mark.parametrize("stem", ["blank in it", "Größe µ 细胞", "semi;colon#hash%20", "a.b.c"])
    @pytest.mark.parametrize("kind", [str, Path])
    def test_paths(self, fmt, sample, tmp_path, stem, kind):
        path = fmt.copy(sample, tmp_path, stem)
        np.testing.assert_array_equal(fmt.open(kind(path)).isel(t=0, c=0), TRUTH[0, 0])

    def test_relative_paths_and_those_of_home(self, fmt, copy, monkeypatch):
        monkeypatch.chdir(copy.parent)
        monkeypatch.setenv("HOME", str(copy.parent))
        monkeypatch.setenv("USERPROFILE", str(copy.parent))
        lazy = fmt.open(copy.name), fmt.open(f"./{copy.name}"), fmt.open(f"~/{copy.name}")
        monkeypatch.chdir("/")
        for found in lazy:
            np.testing.assert_array_equal(found.isel(t=1, z=0), TRUTH[1, :, 0])

    def test_it_guesses_by_the_names_that_are_its_own(self, fmt):
        can_open = ENTRYPOINTS[fmt.engine].guess_can_open
        for suffix in fmt.files:
            assert can_open(f"folder/image{suffix}"), suffix
            assert can_open(Path(f"image{suffix}")), suffix
        others = {suffix for other in FORMATS if other.engine != fmt.engine for suffix in other.files}
        for suffix in (*sorted(others), ".nc", ".h5", ".zarr", ".png", ""):
            assert not can_open(f"image{suffix}"), suffix
        for thing in (None, 5, b"image", [f"image{fmt.files[0]}"]):
            assert not can_open(thing), thing

    def test_several_files_are_one_along_time(self, fmt, tmp_path):
        whole = image({"t": 4, "c": 2, "z": 3, "y": 8, "x": 9})
        paths = [fmt.path(tmp_path, name) for name in "ab"]
        for path, times in zip(paths, (slice(0, 2), slice(2, 4)), strict=True):
            part = whole.isel(t=times)
            if not fmt.late_times:
                part = part.assign_coords(t=whole.t[:2])
            fmt.write(part, path)
        options = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "join": "exact"}
        with xr.open_mfdataset(
            paths, engine=fmt.engine, combine="nested", concat_dim="t", chunks={}, **options
        ) as found:
            np.testing.assert_array_equal(found["image"], whole)
            if fmt.late_times:
                np.testing.assert_allclose(found.t, whole.t)
            np.testing.assert_allclose(placed(found["image"]).x, whole.x, rtol=1e-6)


# -- reading ----------------------------------------------------------------------------------------------------------


def indexers(size):
    index = st.integers(-size, size - 1)
    ends, backward = st.none() | st.integers(-size - 1, size + 1), st.none() | st.integers(0, size - 1)
    return st.one_of(
        index,
        st.builds(slice, ends, ends, st.none() | st.integers(1, 4)),
        # xarray itself takes slice(-3, None, -1) of a lazy axis of length 2 for all of it
        st.builds(slice, backward, backward, st.integers(-4, -1)),
        st.lists(index, max_size=5).map(lambda chosen: np.array(chosen, dtype=int)),
        st.lists(st.booleans(), min_size=size, max_size=size).map(np.array),
    )


def taken(array, chosen):
    """What orthogonal selection takes, one axis after the other, in NumPy alone."""
    for axis in reversed(range(array.ndim)):
        key = chosen.get(DIMS[axis], slice(None))
        array = array[(slice(None),) * axis + (key,)]
    return array


class TestReading:
    @settings(max_examples=15, deadline=None)
    @given(data=st.data())
    def test_selecting_is_what_numpy_does(self, fmt, sample, data):
        lazy = fmt.open(sample, chunks=data.draw(st.sampled_from([None, {}])))
        chosen = {dim: data.draw(indexers(n), dim) for dim, n in SIZES.items() if data.draw(st.booleans())}
        found = lazy.isel(chosen)
        expected = taken(TRUTH, chosen)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)

    def test_points(self, fmt, sample):
        random = np.random.default_rng(5)
        points = {dim: xr.DataArray(random.integers(0, n, 20), dims="point") for dim, n in SIZES.items()}
        expected = TRUTH[tuple(indices.values for indices in points.values())]
        np.testing.assert_array_equal(fmt.open(sample).isel(points), expected)
        two = {dim: points[dim] for dim in ("z", "x")}
        expected = np.stack([TRUTH[:, :, z, :, x] for z, x in zip(two["z"].values, two["x"].values, strict=True)])
        np.testing.assert_array_equal(fmt.open(sample).isel(two).transpose("point", ...), expected)

    def test_labels_select_as_indices_do(self, fmt, sample):
        lazy = placed(fmt.open(sample))
        part = lazy.sel(c="GFP 488", x=slice(101.9, 104.1)).sel(z=14.2, method="nearest")
        expected = TRUTH[:, 2, 2][..., 6:15]
        np.testing.assert_array_equal(part, expected)

    @pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
    def test_pickles(self, fmt, sample, chunks):
        with xr.open_dataset(sample, engine=fmt.engine, chunks=chunks) as dataset:
            part = dataset["image"].isel(t=1, x=slice(None, None, -3))
            expected = TRUTH[1, ..., ::-3]
            for read in (False, True):
                for protocol in (2, pickle.HIGHEST_PROTOCOL):
                    copied = pickle.loads(pickle.dumps(dataset, protocol))
                    np.testing.assert_array_equal(copied["image"], TRUTH)
                    xr.testing.assert_identical(copied.coords.to_dataset(), dataset.coords.to_dataset())
                    np.testing.assert_array_equal(pickle.loads(pickle.dumps(part, protocol)), expected)
                if not read:
                    np.testing.assert_array_equal(dataset["image"].isel(c=0), TRUTH[:, 0])
            if chunks is None:
                small = len(pickle.dumps(dataset["image"].isel(t=0)))
                assert small < TRUTH.nbytes

    def test_another_process_reads_it(self, fmt, sample, tmp_path):
        part = fmt.open(sample).isel(t=1, z=slice(1, 3))
        part[0, 0, 0, 0].load()  # whatever is open now stays here
        (tmp_path / "part.pickle").write_bytes(pickle.dumps(part))
        code = (
            "import pickle, sys, numpy; part = pickle.load(open('part.pickle', 'rb')); "
            "assert not part.variable._in_memory; numpy.save('part.npy', part.values)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
        np.testing.assert_array_equal(np.load(tmp_path / "part.npy"), TRUTH[1, :, 1:3])

    @pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
    def test_eight_threads_share_one(self, fmt, sample, chunks):
        lazy = xr.open_dataset(sample, engine=fmt.engine, chunks=chunks, cache=False)["image"]
        random = np.random.default_rng(1)
        boxes = [tuple(slice(*sorted(random.integers(0, n + 1, 2))) for n in TRUTH.shape) for _ in range(60)]

        def agrees(box):
            return np.array_equal(lazy[box].values, TRUTH[box])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(agrees, boxes))

    def test_a_closed_dataset_is_read_again(self, fmt, sample):
        dataset = xr.open_dataset(sample, engine=fmt.engine, cache=False)
        lazy = dataset["image"].isel(t=0)
        for _ in range(2):
            np.testing.assert_array_equal(lazy.isel(c=1), TRUTH[0, 1])
            dataset.close()

    def test_it_can_be_read_asynchronously(self, fmt, sample):
        async def loaded():
            lazy = fmt.open(sample)
            return await asyncio.gather(*(lazy.isel(c=c).load_async() for c in range(3)))

        np.testing.assert_array_equal(np.stack(asyncio.run(loaded()), axis=1), TRUTH)


class TestDimsAndDtypes:
    def test_every_dtype(self, fmt, tmp_path):
        for given_as, comes_back in fmt.dtypes.items():
            sizes = {"z": 3, "y": 17, "x": 19}
            path = fmt.path(tmp_path, given_as)
            fmt.write(image(sizes, given_as), path)
            found = fmt.open(path)
            assert found.dtype == comes_back
            assert found.dtype.isnative
            assert found.values.dtype.isnative
            np.testing.assert_array_equal(found.squeeze(), numbers(sizes, given_as), given_as)

    def test_a_dtype_that_it_does_not_hold_is_refused_or_kept_exactly(self, fmt, tmp_path):
        """Numbers are never rounded, clipped or wrapped."""
        every = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
        every += ("float16", "float32", "float64", "complex64", "complex128")
        for dtype in [name for name in every if name not in fmt.dtypes]:
            sizes, path = {"z": 3, "y": 17, "x": 19}, fmt.path(tmp_path, dtype)
            try:
                fmt.write(image(sizes, dtype), path)
            except FormatError as error:
                assert dtype in str(error) or "range" in str(error), error  # noqa: PT017
                assert not list(tmp_path.iterdir())
            else:
                np.testing.assert_array_equal(fmt.open(path).squeeze(), numbers(sizes, dtype))
                path.unlink()

    def test_big_endian_images_are_written(self, fmt, tmp_path):
        big = image().astype(">u2")
        fmt.write(big, fmt.path(tmp_path))
        found = fmt.open(fmt.path(tmp_path))
        assert found.dtype == np.dtype("=u2")
        np.testing.assert_array_equal(found, TRUTH)

    def test_every_set_of_dims(self, fmt, tmp_path):
        for dims in fmt.dims:
            sizes = {dim: SIZES[dim] for dim in DIMS if dim in dims}
            img, path = image(sizes), fmt.path(tmp_path, dims)
            fmt.write(img, path)
            found = fmt.open(path)
            assert found.dims == fmt.fills(img.dims)
            np.testing.assert_array_equal(found.squeeze(), numbers(sizes))
            found = placed(found)
            for dim in sizes:
                if dim != "c":
                    np.testing.assert_allclose(found[dim], img[dim], rtol=0, atol=fmt.tolerance * 200 + 1e-12)
            if "c" in dims:
                assert found.c.values.tolist() == [channel["name"] for channel in CHANNELS]

    def test_dims_in_any_order_are_written(self, fmt, tmp_path):
        fmt.write(image().transpose("x", "c", "z", "t", "y"), fmt.path(tmp_path))
        found = fmt.open(fmt.path(tmp_path))
        assert found.dims == DIMS
        np.testing.assert_array_equal(found, TRUTH)

    def test_axes_of_length_one(self, fmt, tmp_path):
        sizes = {"t": 1, "c": 1, "z": 1, "y": 5, "x": 1}
        img = image(sizes)
        fmt.write(img, fmt.path(tmp_path))
        found = fmt.open(fmt.path(tmp_path))
        # y and x are always there
        kept = ("y", "x") if fmt.squeezed else DIMS
        assert found.dims == kept
        np.testing.assert_array_equal(found.squeeze(), numbers(sizes).squeeze())
        found = placed(found)
        for dim in ("z", "y", "x"):
            np.testing.assert_allclose(np.atleast_1d(found[dim]), img[dim], rtol=fmt.tolerance)
        assert np.atleast_1d(found.c).tolist() == ["DAPI"]
        for dim in ("y", "x"):
            np.testing.assert_allclose(found.ngff.spacing[dim], img.ngff.spacing[dim], rtol=1e-6)

    def test_a_plane_that_was_selected_keeps_its_place(self, fmt, tmp_path):
        fmt.write(image().isel(z=2, t=0), fmt.path(tmp_path))
        found = fmt.open(fmt.path(tmp_path))
        np.testing.assert_array_equal(found.squeeze(), TRUTH[0, :, 2])
        np.testing.assert_allclose(placed(found).z.item(), 14.0, rtol=fmt.tolerance)


# -- geometry ---------------------------------------------------------------------------------------------------------


class TestGeometry:
    def test_it_lies_where_it_was_written(self, fmt, sample):
        found, img = placed(fmt.open(sample)), image()
        np.testing.assert_allclose(found.ngff.affine, img.ngff.affine, rtol=0, atol=fmt.tolerance * 200 + 1e-12)
        assert found.ngff.units == img.ngff.units
        for dim in ("t", "z", "y", "x"):
            assert found[dim].dtype == np.float64
            np.testing.assert_allclose(found[dim], img[dim], rtol=0, atol=fmt.tolerance * 200 + 1e-12)

    @given(data=st.data())
    @settings(max_examples=10, deadline=None)
    def test_the_affine_of_a_crop_is_that_of_its_indices(self, fmt, sample, data):
        """A voxel of the crop is where the voxel of the whole is that it came from."""
        whole = placed(fmt.open(sample))
        ranges, chosen = {}, {}
        for dim in "xyz":
            n = SIZES[dim]
            start, stop = data.draw(st.integers(0, n - 2), dim), data.draw(st.integers(2, n), dim)
            step = data.draw(st.integers(1, 3)) * data.draw(st.sampled_from([1, -1]))
            chosen[dim] = slice(start, stop, step) if step > 0 else slice(stop, start or None, step)
            ranges[dim] = range(n)[chosen[dim]]
        if not all(ranges.values()):
            return
        crop = whole.isel(chosen)
        corners = np.array(np.meshgrid(*((0, len(r) - 1) for r in ranges.values()))).reshape(3, -1).T
        came_from = np.array([[r[i] for r, i in zip(ranges.values(), corner, strict=True)] for corner in corners])
        world = came_from * [0.25, 0.5, 2.0] + [100.5, -3.0, 10.0]
        np.testing.assert_allclose(crop.ngff.index_to_world(corners), world, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(crop.ngff.world_to_index(world), corners, atol=1e-3)

    def test_a_crop_is_written_where_it_was(self, fmt, sample, tmp_path):
        crop = fmt.open(sample).isel(t=slice(1, None), z=slice(1, 3), y=slice(3, 20), x=slice(5, None, 2))
        if not fmt.late_times:
            crop = crop.assign_coords(t=crop.t - crop.t[0])
        fmt.write(crop, fmt.path(tmp_path))
        found = placed(fmt.open(fmt.path(tmp_path)))
        np.testing.assert_array_equal(found.squeeze(), TRUTH[1, :, 1:3, 3:20, 5::2])
        np.testing.assert_allclose(found.z, [12, 14], rtol=fmt.tolerance)
        np.testing.assert_allclose(found.y, np.arange(3, 20) * 0.5 - 3, rtol=fmt.tolerance, atol=1e-6)
        np.testing.assert_allclose(found.x, np.arange(5, 48, 2) * 0.25 + 100.5, rtol=fmt.tolerance)

    def test_axes_that_run_backwards_keep_every_voxel_in_its_place(self, fmt, tmp_path):
        img = image().isel(z=slice(None, None, -1), x=slice(None, None, -1))
        fmt.write(img, fmt.path(tmp_path))
        found = placed(fmt.open(fmt.path(tmp_path))).sortby(["z", "x"])
        np.testing.assert_array_equal(found, TRUTH)
        np.testing.assert_allclose(found.x, image().x, rtol=fmt.tolerance)

    def test_it_survives_netcdf_and_zarr(self, fmt, sample, tmp_path):
        dataset = xr.open_dataset(sample, engine=fmt.engine)
        dataset.to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
        dataset.to_zarr(tmp_path / "a.zarr", zarr_format=2)  # strings of fixed length are in no specification of v3 yet
        for path, engine in (("a.nc", "h5netcdf"), ("a.zarr", "zarr")):
            with xr.open_dataset(tmp_path / path, engine=engine, decode_times=False) as again:
                np.testing.assert_array_equal(again["image"], TRUTH)
                np.testing.assert_array_equal(again["image"].ngff.affine, dataset["image"].ngff.affine)
                assert again["image"].ngff.channels == dataset["image"].ngff.channels
                assert again["image"].ngff.units == dataset["image"].ngff.units


# -- levels -----------------------------------------------------------------------------------------------------------


def block_means(array, factors):
    """Mean of each whole block, in floating point."""
    shape = [part for n, f in zip(array.shape, factors, strict=True) for part in (n // f, f)]
    whole = array[tuple(slice(n // f * f) for n, f in zip(array.shape, factors, strict=True))].astype(float)
    return whole.reshape(shape).mean(axis=tuple(range(1, 2 * array.ndim, 2)))


@with_levels
class TestLevels:
    def test_a_level_covers_the_same_box(self, fmt, sample):
        whole, level = fmt.open(sample), fmt.open(sample, level=1)
        factors = [round(n / m) for n, m in zip(whole.shape, level.shape, strict=True)]
        assert max(factors) == 2
        assert level.dims == whole.dims
        assert level.shape == tuple(n // f for n, f in zip(whole.shape, factors, strict=True))
        for dim, factor in zip(DIMS[2:], factors[2:], strict=True):
            spacing = whole.ngff.spacing[dim] * factor
            # the centre of the block of voxels that the first one was made from
            origin = whole.ngff.origin[dim] + (spacing - whole.ngff.spacing[dim]) / 2
            np.testing.assert_allclose(level.ngff.spacing[dim], spacing, rtol=1e-6)
            np.testing.assert_allclose(level.ngff.origin[dim], origin, rtol=1e-6)
            np.testing.assert_allclose(level.ngff.extent[dim], whole.ngff.extent[dim], rtol=1e-6)
        xr.testing.assert_identical(level.t.reset_coords(drop=True), whole.t.reset_coords(drop=True))
        assert level.ngff.channels == whole.ngff.channels

    def test_its_voxels_are_means_of_blocks(self, fmt, sample):
        level = fmt.open(sample, level=1)
        factors = [n // m for n, m in zip(TRUTH.shape, level.shape, strict=True)]
        assert np.abs(level.astype(float) - block_means(TRUTH, factors)).max() < 1
        np.testing.assert_array_equal(level, fmt.stored(sample, 1))

    def test_the_tree_has_the_same_levels(self, fmt, sample):
        tree = xr.open_datatree(sample, engine=fmt.engine)
        assert list(tree.children) == ["scale0", "scale1"]
        for index in (0, 1):
            xr.testing.assert_identical(tree[f"scale{index}/image"], fmt.open(sample, level=index))
        assert [level.sizes for level in tree.ngff.levels] == [fmt.open(sample, level=i).sizes for i in (0, 1)]
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(tree))["scale0/image"], TRUTH)
        tree.close()

    def test_a_level_is_an_integer_of_numpy_too(self, fmt, sample):
        assert fmt.open(sample, level=np.int64(1)).sizes == fmt.open(sample, level=1).sizes

    @pytest.mark.parametrize("level", [2, 99, -1, True, "1", 0.5, None], ids=repr)
    def test_a_level_that_is_none_is_refused(self, fmt, sample, level):
        with pytest.raises(LevelError, match="level") as caught:
            fmt.open(sample, level=level)
        assert repr(level) in str(caught.value)

    @pytest.mark.parametrize("levels", [1, 3])
    def test_as_many_levels_are_written_as_were_asked_for(self, fmt, tmp_path, levels):
        path = fmt.path(tmp_path)
        fmt.write(image({"z": 8, "y": 64, "x": 64}, spacing={"z": 1, "y": 1, "x": 1}), path, levels=levels)
        assert len(xr.open_datatree(path, engine=fmt.engine).children) == levels


# -- errors -----------------------------------------------------------------------------------------------------------


NONSENSE = {
    "empty": b"",
    "zeros": bytes(4000),
    "random": np.random.default_rng(0).bytes(5000),
    "start of a TIFF": b"II*\0",
    "start of a BigTIFF": b"II+\0\x08\0\0\0" + b"\xff" * 8,
    "start of an HDF5": b"\x89HDF\r\n\x1a\n",
    "start of a gzip": b"\x1f\x8b\x08\0\0\0\0\0",
    "JSON": b"{}",
}


def opened_and_read(fmt, path):
    return fmt.open(path).load()


class TestErrors:
    def test_a_file_that_does_not_exist(self, fmt, tmp_path):
        path = fmt.path(tmp_path, "nowhere")
        for given_as in (path, str(path)):
            with pytest.raises(MissingFileError, match="nowhere") as caught:
                fmt.open(given_as)
            assert isinstance(caught.value, FileNotFoundError)
            assert isinstance(caught.value, NgffError)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("name", NONSENSE)
    def test_a_file_of_something_else(self, fmt, tmp_path, name):
        path = fmt.path(tmp_path)
        path.write_bytes(NONSENSE[name])
        with pytest.raises(FormatError, match=path.name):
            opened_and_read(fmt, path)

    def test_an_empty_folder(self, fmt, tmp_path):
        path = fmt.path(tmp_path)
        path.mkdir()
        with pytest.raises(FormatError, match=path.name):
            opened_and_read(fmt, path)

    def test_files_of_the_other_formats(self, fmt, tmp_path):
        for other in FORMATS:
            if other.engine != fmt.engine:
                path = other.path(tmp_path, other.name)
                other.write(image({"y": 8, "x": 8}), path)
                named = path.rename(tmp_path / f"{other.name}{fmt.suffix}")
                with pytest.raises(FormatError, match=named.name):
                    opened_and_read(fmt, named)

    def test_a_truncated_file_is_never_read_as_another_image(self, fmt, sample, tmp_path):
        files = sorted(p.relative_to(sample) for p in sample.rglob("*") if p.is_file()) if sample.is_dir() else [None]
        refused = 0
        for inner in files[:: max(1, len(files) // 4)]:
            for part in (0.0, 0.02, 0.3, 0.7, 0.98):
                path = fmt.copy(sample, tmp_path, f"cut{part}{len(list(tmp_path.iterdir()))}")
                file = path if inner is None else path / inner
                size = file.stat().st_size
                os.truncate(file, int(part * size))
                try:
                    found = opened_and_read(fmt, path)
                except FormatError as error:
                    assert path.name in str(error)  # noqa: PT017
                    refused += 1
                else:
                    np.testing.assert_array_equal(found, TRUTH, f"{inner} cut to {part}")
        assert refused >= 4

    @with_chunks
    def test_a_corrupt_chunk_is_named_and_the_others_are_read(self, fmt, copy):
        if not fmt.checked:
            pytest.skip("numbers lie there as they are, so that nothing tells a corrupt one")
        chunk = next(iter(fmt.chunks(copy)))
        chunk.spoil()
        for chunks in (None, {}):
            lazy = fmt.open(copy, chunks=chunks)
            for _ in range(2):
                with pytest.raises(FormatError, match=copy.name):
                    lazy[chunk.box].compute()
                np.testing.assert_array_equal(lazy[-1, -1], TRUTH[-1, -1])

    def test_a_file_that_vanishes_before_it_is_read(self, fmt, copy):
        lazy = fmt.open(copy)
        copy.rename(copy.with_name("elsewhere"))
        with pytest.raises((FormatError, FileNotFoundError), match=copy.name):
            lazy.load()


# -- writing ----------------------------------------------------------------------------------------------------------


def failing_image():
    """An image whose last chunks cannot be computed."""
    import dask.array

    def block(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 1:
            raise RuntimeError("the microscope is off")
        return block

    lazy = dask.array.from_array(TRUTH, chunks=(1, 1, -1, -1, -1))
    return image().copy(data=lazy.map_blocks(block, dtype=TRUTH.dtype, meta=np.empty((0,) * 5, TRUTH.dtype)))


class TestWriting:
    def test_a_round_trip_keeps_all(self, fmt, sample):
        found, img = fmt.open(sample), image()
        np.testing.assert_array_equal(found, img)
        assert found.c.values.tolist() == [channel["name"] for channel in CHANNELS]
        assert found.channel_color.values.tolist() == [channel["color"] for channel in CHANNELS]
        np.testing.assert_allclose(found.window_start, [channel["window"][0] for channel in CHANNELS])
        np.testing.assert_allclose(found.window_end, [channel["window"][1] for channel in CHANNELS])
        np.testing.assert_allclose(found.t, [0, 1.5])
        assert found.t.attrs["units"] == "second"

    def test_it_reads_what_it_wrote_and_writes_what_it_read(self, fmt, sample, tmp_path):
        """The second time around nothing changes any more."""
        first = fmt.open(sample)
        fmt.write(first, fmt.path(tmp_path), **({"levels": 2} if fmt.levels else {}))
        second = fmt.open(fmt.path(tmp_path))
        xr.testing.assert_identical(second, first)

    def test_the_instant_that_time_counts_from(self, fmt, tmp_path):
        img = image()
        img.t.attrs["start_time"] = "2021-03-04T05:06:07.891000"
        fmt.write(img, fmt.path(tmp_path))
        found = fmt.open(fmt.path(tmp_path))
        assert found.t.attrs["start_time"] == "2021-03-04T05:06:07.891000"
        np.testing.assert_allclose(found.t, [0, 1.5])

    @pytest.mark.parametrize("chunks", [{"x": 7}, {"t": 1, "z": 1}, {"c": 1, "y": 9, "x": 48}], ids=str)
    def test_any_chunks_of_dask(self, fmt, tmp_path, chunks):
        fmt.write(image().chunk(chunks), fmt.path(tmp_path))
        np.testing.assert_array_equal(fmt.open(fmt.path(tmp_path)), TRUTH)

    @pytest.mark.parametrize("chunks", [None, {}], ids=["lazy", "dask"])
    def test_a_file_may_replace_itself(self, fmt, copy, chunks):
        before = fmt.open(copy)
        fmt.write(fmt.open(copy, chunks=chunks).isel(z=slice(1, None)), copy, overwrite=True)
        found = fmt.open(copy)
        np.testing.assert_array_equal(found, TRUTH[:, :, 1:])
        np.testing.assert_allclose(found.z, before.z[1:], rtol=fmt.tolerance)

    def test_the_same_image_gives_the_same_file(self, fmt, tmp_path):
        found = []
        for name in "ab":
            (tmp_path / name).mkdir()
            fmt.write(image().chunk(c=1), fmt.path(tmp_path / name))
            found.append(contents(tmp_path / name))
        assert found[0] == found[1]

    def test_an_existing_file_is_left_unless_it_may_be_replaced(self, fmt, copy):
        before = contents(copy.parent)
        with pytest.raises(TargetExistsError, match="overwrite=True") as caught:
            fmt.write(image({"y": 4, "x": 5}), copy)
        assert isinstance(caught.value, FileExistsError)
        assert contents(copy.parent) == before
        fmt.write(image({"y": 4, "x": 5}), copy, overwrite=True)
        np.testing.assert_array_equal(fmt.open(copy).squeeze(), numbers({"y": 4, "x": 5}))

    @pytest.mark.parametrize("exists", [False, True])
    def test_a_source_that_fails_leaves_everything_as_it_was(self, fmt, copy, exists):
        if not exists:
            copy = fmt.path(copy.parent, "new")
        before = contents(copy.parent)
        with pytest.raises(RuntimeError, match="the microscope is off"):
            fmt.write(failing_image(), copy, overwrite=exists)
        assert contents(copy.parent) == before
        assert [p.name for p in copy.parent.iterdir()] == sorted({name.split("/")[0] for name in before})

    def test_a_folder_that_does_not_exist(self, fmt, tmp_path):
        with pytest.raises(MissingFolderError, match="nowhere"):
            fmt.write(image({"y": 4, "x": 5}), fmt.path(tmp_path / "nowhere"))
        assert not list(tmp_path.iterdir())

    def test_what_cannot_be_written_is_refused_before_anything_is(self, fmt, tmp_path):
        empty = image().isel(y=slice(0, 0))
        irregular = image().isel(x=[0, 1, 5, 9])
        words = image({"y": 4, "x": 5}).astype(str)
        for img in (empty, irregular, words):
            with pytest.raises(NgffError):
                fmt.write(img, fmt.path(tmp_path))
            assert not list(tmp_path.iterdir())

    def test_the_image_stays_as_it_is(self, fmt, sample, tmp_path):
        for img in (image(), image().chunk(z=2), fmt.open(sample), fmt.open(sample, chunks={})):
            lazy = img.variable._in_memory
            before, encoding, attrs = img.copy(), dict(img.encoding), {k: dict(v.attrs) for k, v in img.coords.items()}
            fmt.write(img, fmt.path(tmp_path), overwrite=True)
            assert img.variable._in_memory == lazy
            assert img.encoding == encoding
            assert {k: v.attrs for k, v in img.coords.items()} == attrs
            xr.testing.assert_identical(img.coords.to_dataset(), before.coords.to_dataset())


# -- everything else --------------------------------------------------------------------------------------------------


def world():
    """What a library has no business to change."""
    loggers = {
        name: (logger.level, list(logger.handlers), logger.disabled)
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger)
    }
    return {
        "warnings": list(warnings.filters),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "logging": (logging.root.level, list(logging.root.handlers), logging.root.manager.disable, loggers),
        "numpy": (np.geterr(), np.get_printoptions()),
        "xarray": dict(xr.core.options.OPTIONS),
        "excepthook": sys.excepthook,
    }


def open_files():
    gc.collect()
    return sorted(str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if os.path.lexists(link))


class TestNothingElseChanges:
    def use(self, fmt, sample, folder):
        with xr.open_dataset(sample, engine=fmt.engine, chunks={}) as dataset:
            dataset["image"].isel(t=0).compute()
        with xr.open_dataset(sample, engine=fmt.engine) as dataset:
            dataset["image"].isel(z=1).load()
            fmt.write(dataset["image"], fmt.path(folder), overwrite=True)
        with pytest.raises(NgffError):
            fmt.open(folder)

    def test_in_the_process(self, fmt, sample, tmp_path):
        self.use(fmt, sample, tmp_path)  # imports what it needs
        before = world()
        self.use(fmt, sample, tmp_path)
        assert world() == before

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are listed by Linux")
    def test_no_file_stays_open(self, fmt, copy, tmp_path):
        folder = tmp_path / "written"
        folder.mkdir()
        self.use(fmt, copy, folder)
        before = Counter(open_files())
        for _ in range(3):
            self.use(fmt, copy, folder)
        after = Counter(open_files())
        assert not after - before
        assert not [path for path in after if str(tmp_path) in path]

    def test_the_file_is_not_touched_by_reading(self, fmt, copy):
        before = contents(copy.parent)
        times = [p.stat().st_mtime_ns for p in sorted(copy.parent.rglob("*"))]
        with xr.open_dataset(copy, engine=fmt.engine) as dataset:
            dataset.load()
        assert contents(copy.parent) == before
        assert [p.stat().st_mtime_ns for p in sorted(copy.parent.rglob("*"))] == times

    def test_a_file_that_may_only_be_read(self, fmt, copy):
        for path in [copy, *copy.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        copy.parent.chmod(0o555)
        try:
            np.testing.assert_array_equal(fmt.open(copy), TRUTH)
        finally:
            copy.parent.chmod(0o755)
            for path in [copy, *copy.rglob("*")]:
                path.chmod(0o755)


def test_sizes_are_small():
    """So that the suite stays quick."""
    assert TRUTH.nbytes < 2**17
    assert sizes_of(DIMS) == SIZES
