"""Parts written into images that are there, against plain NumPy, with level arrays made by hand."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
import zarr
from block_statistics import in_blocks_of, pyramid_of, with_part
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.storage import LocalStore, MemoryStore, WrapperStore

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.changes.in_place import build_pyramid
from xarray_ngff.backends.ngff.changes.region import write_region
from xarray_ngff.errors import FormatError, GeometryError, MemoryLimitError

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)
SPATIAL = "zyx"
METHODS = ["mean", "mode", "median", "min", "max", "nearest"]


def by_hand(store, levels, factors, dims, *, version="0.5", method="mean", chunks=None, shards=None, spacing=None,
            origin=None, channels=None, path="", units=None, **more):  # fmt: skip
    """An image whose levels are these arrays, whatever they hold; no code of the package takes part."""
    zarr_format = 2 if version == "0.4" else 3
    spacing, origin = spacing or [1.0] * len(dims), origin or [0.0] * len(dims)
    group = zarr.create_group(store, path=path, zarr_format=zarr_format)
    datasets = []
    for index, (values, own) in enumerate(zip(levels, factors, strict=True)):
        array = group.create_array(
            str(index),
            shape=values.shape,
            dtype=values.dtype,
            chunks=chunks or values.shape,
            shards=shards,
            chunk_key_encoding={"name": "v2" if zarr_format == 2 else "default", "separator": "/"},
        )
        array[...] = values
        scale = [s * f for s, f in zip(spacing, own, strict=True)]
        shift = [o + s * (f - 1) / 2 for o, s, f in zip(origin, spacing, own, strict=True)]
        steps = [{"type": "scale", "scale": scale}, {"type": "translation", "translation": shift}]
        datasets.append({"path": str(index), "coordinateTransformations": steps})
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": dim, "type": kinds.get(dim, "space")} for dim in dims]
    for axis in axes:
        if units and axis["name"] in units:
            axis["unit"] = units[axis["name"]]
    entry = {"axes": axes, "datasets": datasets} | ({"type": method} if method else {})
    window = {"min": 0, "max": 255, "start": 0, "end": 255}
    described = [{"label": name, "color": "FFFFFF", "window": window} for name in channels or ()]
    said = {"omero": {"channels": described}} if channels else {}
    said |= more
    if version == "0.4":
        group.attrs.update({"multiscales": [entry | {"version": "0.4"}]} | said)
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [entry]} | said
    return group


def stored(store, path=""):
    """Levels of an image, as its metadata name them."""
    group = zarr.open_group(store, path=path, mode="r")
    attributes = group.attrs.asdict()
    datasets = attributes.get("ome", attributes)["multiscales"][0]["datasets"]
    return [group[dataset["path"]][...] for dataset in datasets]


def assert_levels(found, expected):
    assert len(found) == len(expected)
    for index, (mine, truth) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_array_equal(mine, truth, err_msg=f"level {index}", strict=True)


@st.composite
def cases(draw):
    dims = draw(st.sampled_from(["yx", "zyx", "cyx", "tyx", "czyx", "tczyx"]))
    shape = [draw(st.integers(1, 14 if dim in SPATIAL else 3)) for dim in dims]
    steps = draw(st.lists(st.sampled_from([(2, 2, 2), (3, 3, 3), (1, 2, 2), (2, 3, 1)]), max_size=3))
    if draw(st.booleans()):
        cumulative = [tuple(np.prod(steps[: i + 1], axis=0).tolist()) for i in range(len(steps))]
    else:
        cumulative = sorted({tuple(map(int, np.maximum.reduce(steps[: i + 1]))) for i in range(len(steps))})
    factors = [(1,) * len(dims)]
    for own in cumulative:
        by_dim = dict(zip(SPATIAL, own, strict=True))
        clipped = tuple(min(by_dim.get(dim, 1), n) for dim, n in zip(dims, shape, strict=True))
        if clipped != factors[-1] and all(a >= b for a, b in zip(clipped, factors[-1], strict=True)):
            factors.append(clipped)
    part = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        part.append(slice(start, draw(st.integers(start + 1, n))))
    chunks = tuple(draw(st.integers(1, 7)) for _ in dims)
    version = draw(st.sampled_from(VERSIONS))
    shards = None
    if version == "0.5" and draw(st.booleans()):
        shards = tuple(c * draw(st.integers(1, 3)) for c in chunks)
    return {
        "dims": dims,
        "shape": shape,
        "factors": factors,
        "part": tuple(part),
        "chunks": chunks,
        "shards": shards,
        "version": version,
        "method": draw(st.sampled_from(METHODS)),
        "dtype": draw(st.sampled_from(["u1", "i2", "u2", "f4", "?"])),
        "seed": draw(st.integers(0, 99)),
        "splits": [draw(st.integers(1, 6)) for _ in dims],
    }


def random_levels(case):
    rng = np.random.default_rng(case["seed"])

    def values(shape):
        drawn = rng.integers(0, 2 if case["dtype"] == "?" else 120, shape)
        return drawn.astype(case["dtype"])

    shapes = [[-(-n // f) for n, f in zip(case["shape"], own, strict=True)] for own in case["factors"]]
    new = values([p.stop - p.start for p in case["part"]])
    return [values(shape) for shape in shapes], new


def image_of(values, case, kind):
    """The part as an image with coordinates, in one of the forms in which images come."""
    coords = {
        dim: np.arange(p.start, p.stop, dtype=float)
        for dim, p in zip(case["dims"], case["part"], strict=True)
        if dim != "c"
    }
    img = xr.DataArray(values, dims=tuple(case["dims"]), coords=coords)
    if kind == "dask":
        return img.chunk(dict(zip(case["dims"], case["splits"], strict=True)))
    if kind == "lazy":
        store = MemoryStore()
        by_hand(store, [values], [(1,) * values.ndim], case["dims"], chunks=tuple(case["splits"]))
        lazy = xr.open_dataarray(store, engine="ngff")
        return lazy.assign_coords(coords)
    return img


class TestAgainstNumpy:
    """All levels hold noise: whatever is not touched must stay, and what is touched must follow from what is stored."""

    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(
        case=cases(),
        kind=st.sampled_from(["numpy", "dask", "lazy"]),
        threads=st.integers(1, 4),
        block_bytes=st.sampled_from([2**26, 300, 30]),
    )
    def test_any_part(self, case, kind, threads, block_bytes):
        levels, new = random_levels(case)
        store = MemoryStore()
        options = {key: case[key] for key in ("version", "method", "chunks", "shards")}
        by_hand(store, levels, case["factors"], case["dims"], **options)
        img = image_of(new, case, kind)
        region = dict.fromkeys(case["dims"], "auto")
        if "c" in case["dims"]:
            region["c"] = case["part"][case["dims"].index("c")]
        with dask.config.set(num_workers=threads), in_blocks_of(block_bytes):
            write_region(img, store, region=region)
        expected = with_part(levels, case["factors"], case["method"], case["part"], new)
        assert_levels(stored(store), expected)

    @settings(max_examples=8)
    @given(case=cases())
    def test_whole_pyramid_is_that_of_the_changed_image(self, case):
        levels, new = random_levels(case)
        whole = levels[0]
        store = MemoryStore()
        options = {key: case[key] for key in ("version", "method", "chunks", "shards")}
        by_hand(store, pyramid_of(whole, case["factors"], case["method"]), case["factors"], case["dims"], **options)
        write_region(
            xr.DataArray(new, dims=tuple(case["dims"])),
            store,
            region=dict(zip(case["dims"], case["part"], strict=True)),
        )
        whole[case["part"]] = new
        assert_levels(stored(store), pyramid_of(whole, case["factors"], case["method"]))


FACTORS = [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
LEVELS = pyramid_of(np.random.default_rng(1).integers(0, 250, (3, 20, 30)).astype("u1"), FACTORS, "mean")


def place(version="0.5", **options):
    """An image of three channels with its store."""
    store = MemoryStore()
    options = {"chunks": (1, 8, 8), "channels": ["DAPI", "GFP", "RFP"], "spacing": [1, 0.5, 0.25]} | options
    options |= {"origin": [0, 10, -3], "units": {"y": "micrometer", "x": "micrometer"}}
    by_hand(store, LEVELS, FACTORS, "cyx", version=version, **options)
    return store, xr.open_dataarray(store, engine="ngff").load()


def changed(part, values):
    whole = LEVELS[0].copy()
    whole[part] = values
    return pyramid_of(whole, FACTORS, "mean")


class TestFoundByCoordinates:
    @by_version
    @pytest.mark.parametrize(
        ("part", "select"),
        [
            ((slice(None), slice(None), slice(None)), lambda img: img),
            ((slice(0, 3), slice(3, 9), slice(5, 6)), lambda img: img.isel(y=slice(3, 9), x=slice(5, 6))),
            ((slice(1, 2), slice(0, 20), slice(0, 30)), lambda img: img.sel(c="GFP")),
            ((slice(1, 3), slice(0, 20), slice(29, 30)), lambda img: img.sel(c=["GFP", "RFP"]).isel(x=29)),
            ((slice(0, 1), slice(7, 8), slice(2, 30)), lambda img: img.isel(c=0, y=7, x=slice(2, None))),
            ((slice(2, 3), slice(19, 20), slice(4, 5)), lambda img: img.isel(c=2, y=19, x=4)),
        ],
        ids=["whole", "box", "channel", "column", "row", "voxel"],
    )
    def test_selections(self, version, part, select):
        store, img = place(version)
        selected = select(img)
        new = selected.copy(data=np.random.default_rng(3).integers(0, 250, selected.shape).astype("u1"))
        write_region(new, store, region="auto")
        shape = LEVELS[0][part].shape
        assert_levels(stored(store), changed(part, new.values.reshape(shape)))

    @pytest.mark.parametrize("kind", ["numpy", "dask", "lazy"])
    @pytest.mark.parametrize(
        "arranged",
        [
            lambda img: img.transpose("x", "c", "y"),
            lambda img: img.isel(x=slice(None, None, -1)),
            lambda img: img.isel(y=slice(None, None, -1)).transpose("y", "x", "c"),
            lambda img: img.isel(c=[2, 0, 1]),
            lambda img: img.isel(c=[1], y=slice(4, 9)).transpose("x", "y", "c").isel(c=0),
            lambda img: img.ngff.to_units("nm"),
            lambda img: img.assign_coords(x=img.x + 0.002, y=img.y.astype("f4")),
        ],
        ids=["transposed", "flipped", "both", "reordered", "selected", "other-unit", "rounded"],
    )
    def test_arrangements(self, kind, arranged):
        store, img = place()
        truth = 250 - LEVELS[0]
        if kind == "numpy":
            img = img.copy(data=truth)
        else:
            other, _ = place()
            zarr.open_array(other, path="0", mode="r+")[...] = truth
            img = xr.open_dataarray(other, engine="ngff")
            img = img.chunk(x=7) if kind == "dask" else img
        new = arranged(img)
        part = (slice(1, 2), slice(4, 9)) if new.sizes.get("y") == 5 else (slice(None),)
        write_region(new, store, region="auto")
        assert_levels(stored(store), changed(part, truth[part]))

    def test_lazy_images_stay_lazy(self):
        store, _ = place()
        other, _ = place()
        read = []

        class Watched(WrapperStore):
            async def get(self, key, *args, **kwargs):
                read.append(key)
                return await super().get(key, *args, **kwargs)

        img = xr.open_dataarray(Watched(other), engine="ngff").isel(c=0).transpose("x", "y").isel(x=slice(8, 16))
        read.clear()
        write_region(img, store, region="auto")
        chunks = sorted(key for key in read if "/c/" in key)
        assert chunks == ["0/c/0/0/1", "0/c/0/1/1", "0/c/0/2/1"]

    def test_orientations(self):
        """The same voxels, counted the other way along the same anatomical line."""
        store = MemoryStore()
        levels = [np.arange(12, dtype="u1").reshape(3, 4)]
        group = by_hand(store, levels, [(1, 1)], "yx", units={"y": "millimeter", "x": "millimeter"})
        ome = group.attrs["ome"]
        for axis, value in zip(ome["multiscales"][0]["axes"], ["posterior-to-anterior", "right-to-left"], strict=True):
            axis["orientation"] = {"type": "anatomical", "value": value}
        group.attrs["ome"] = ome
        img = xr.open_dataarray(store, engine="ngff").load()
        negated = img.assign_coords(x=("x", -img.x.values, img.x.attrs | {"orientation": "left-to-right"}))
        write_region(negated.isel(x=[0, 1], y=[2]) + np.uint8(100), store, region="auto")
        levels[0][2, :2] += 100
        assert_levels(stored(store), levels)
        away = img.assign_coords(x=img.x.assign_attrs(orientation="superior-to-inferior"))
        with pytest.raises(GeometryError, match=r"runs superior-to-inferior along 'x', but .* right-to-left"):
            write_region(away, store, region="auto")

    def test_time_points(self):
        store = MemoryStore()
        levels = [np.zeros((4, 6, 8), "u2")]
        by_hand(store, levels, [(1, 1, 1)], "tyx", spacing=[1.5, 1, 1], origin=[3, 0, 0], units={"t": "second"})
        img = xr.open_dataarray(store, engine="ngff").isel(t=2)
        new = xr.full_like(img.load(), 5)
        write_region(
            new.assign_coords(t=new.t.copy(data=6000.0).assign_attrs(units="millisecond")), store, region="auto"
        )
        levels[0][2] = 5
        assert_levels(stored(store), levels)

    def test_axis_without_coordinate_in_full_length(self):
        store = MemoryStore()
        by_hand(store, [np.zeros((2, 4, 6), "u1")], [(1, 1, 1)], "cyx")
        img = xr.open_dataarray(store, engine="ngff").load()
        assert "c" not in img.coords
        write_region(img.isel(y=slice(1, 3)) + np.uint8(7), store, region="auto")
        assert stored(store)[0].sum() == 2 * 2 * 6 * 7
        with pytest.raises(GeometryError, match="does not say where along 'c' it lies"):
            write_region(img.isel(c=1), store, region="auto")

    def test_selected_plane_that_both_name(self, tmp_path):
        whole = as_image(np.zeros((4, 5, 6), "u1"), spacing=(2, 1, 1), units="um")
        whole.isel(z=1).ngff.to_ome_zarr(tmp_path / "plane.zarr")
        write_region(whole.isel(z=1) + np.uint8(3), tmp_path / "plane.zarr", region="auto")
        assert (stored(LocalStore(tmp_path / "plane.zarr"))[0] == 3).all()
        with pytest.raises(GeometryError, match=r"lies at z = 4, but .* at 2: they are different places"):
            write_region(whole.isel(z=2), tmp_path / "plane.zarr", region="auto")


class TestGivenAsSlices:
    @pytest.mark.parametrize(
        ("region", "part"),
        [
            ({"c": slice(1, 2), "y": slice(2, 5), "x": slice(0, 4)}, (slice(1, 2), slice(2, 5), slice(0, 4))),
            ({"c": slice(-1, None), "y": slice(None), "x": slice(-3, -1)}, (slice(2, 3), slice(0, 20), slice(27, 29))),
            ({"c": slice(0, 1)}, (slice(0, 1), slice(0, 20), slice(0, 30))),
            ({}, (slice(0, 3), slice(0, 20), slice(0, 30))),
        ],
        ids=["all", "negative", "left-out", "empty"],
    )
    def test_slices(self, region, part):
        store, _ = place()
        new = 250 - LEVELS[0][part]
        write_region(xr.DataArray(new, dims=("c", "y", "x")), store, region=region)
        assert_levels(stored(store), changed(part, new))

    def test_mixed_with_auto(self):
        store, img = place()
        new = img.isel(c=1, y=slice(3, 5), x=slice(7, 9), drop=True)
        write_region(
            xr.full_like(new, 3).drop_vars("y"), store, region={"c": slice(0, 1), "y": slice(5, 7), "x": "auto"}
        )
        assert_levels(stored(store), changed((0, slice(5, 7), slice(7, 9)), 3))


class TestRefused:
    """Before anything is written."""

    def refused(self, img, store, message, error=GeometryError, **options):
        before = {key: value.to_bytes() for key, value in store._store_dict.items()}
        with pytest.raises(error, match=message) as caught:
            write_region(img, store, **{"region": "auto"} | options)
        assert {key: value.to_bytes() for key, value in store._store_dict.items()} == before
        return str(caught.value)

    @pytest.mark.parametrize(
        ("made", "message"),
        [
            (lambda img: img.assign_coords(x=img.x + 7.5), "voxels 30 to 59 along 'x', but .* has 30"),
            (lambda img: img.assign_coords(y=img.y - 0.5), "voxels -1 to 18 along 'y', but .* has 20"),
            (lambda img: img.isel(x=slice(0, 9)).assign_coords(x=img.x[:9] + 0.05), "off the grid .* along 'x' by 0.2"),
            (lambda img: img.isel(x=slice(0, 9, 2)), "spacing of 0.5 along 'x', but .* one of 0.25"),
            (lambda img: img.isel(x=[0, 1, 5]), "coordinate 'x' is not regular"),
            (lambda img: img.astype("u2"), 'dtype uint16, but .* has uint8: convert it with astype\\("uint8"\\)'),
            (lambda img: img.assign_coords(x=img.x.assign_attrs(units="second")), "cannot be placed .* along 'x'"),
            (lambda img: img.assign_coords(x=img.x.assign_attrs(direction=[0.6, 0.8, 0])), "turned against each other"),
            (lambda img: img.assign_coords(c=["DAPI", "GFP", "Cy5"]), "channel 'Cy5', but .* has none of that name"),
            (lambda img: img.isel(c=[0, 2]), "DAPI, RFP do not lie side by side"),
            (lambda img: img.isel(c=[0, 0]), "channel 'DAPI', but .* several of that name"),
            (lambda img: img.isel(c=0, drop=True), "does not say where along 'c' it lies"),
            (lambda img: img.drop_vars("x").isel(x=slice(0, 3)), "does not say where along 'x' it lies"),
            (lambda img: img.expand_dims("z"), "has the dim 'z', but .* has c, y, x"),
            (lambda img: img.isel(x=slice(0, 0)), "is empty"),
        ],
        ids=["beyond", "before", "off", "strided", "irregular", "dtype", "unit", "direction", "channel", "apart",
             "twice", "no-channel", "no-coordinate", "more-dims", "empty"],
    )  # fmt: skip
    def test_images(self, made, message):
        store, img = place()
        assert "memory://" in self.refused(made(img), store, message) or made(img).size == 0 or "regular" in message

    @pytest.mark.parametrize(
        ("region", "message"),
        [
            ("all", "region='all': expected \"auto\", or a mapping"),
            (None, "region=None: expected"),
            ({"z": slice(0, 1)}, "region names dim 'z', but .* has the dims c, y, x"),
            ({"x": 3}, r"region\['x'\] is 3: expected a slice of voxels"),
            ({"x": slice(0.0, 30.0)}, "expected whole numbers of voxels"),
            ({"x": slice(0, 60, 2)}, "expected a slice without a step"),
            ({"x": slice(1, 31)}, r"region\['x'\] is slice\(1, 31, None\), but .* has 30 along 'x'"),
            ({"x": slice(-31, -1)}, "has 30 along 'x'"),
            ({"x": slice(9, 3)}, "has 30 along 'x'"),
            ({"x": slice(0, 29)}, "the image has 30 along 'x', but its region .* 29 of 30"),
        ],
        ids=["text", "none", "dim", "index", "floats", "step", "beyond", "before", "backwards", "length"],
    )
    def test_regions(self, region, message):
        store, img = place()
        self.refused(img, store, message, region=region)

    def test_part_for_the_whole_axis(self):
        store, img = place()
        message = self.refused(img.isel(x=slice(0, 5)), store, "its region .* is the whole axis, 30 of 30", region={})
        assert '"auto" to go by coordinates' in message

    def test_method(self):
        store, img = place()
        self.refused(img, store, "made by 'mean': leave it out", method="max")
        self.refused(img, store, "expected one of mean", method="average")
        store, img = place(method=None)
        self.refused(img, store, "does not say how its levels were made: pass method=")
        write_region(250 - img, store, region="auto", method="mean")
        assert_levels(stored(store), pyramid_of(250 - LEVELS[0], FACTORS, "mean"))

    def test_method_for_a_dtype_that_has_none(self):
        store = MemoryStore()
        by_hand(store, [np.zeros((4, 4), "c8"), np.zeros((2, 2), "c8")], [(1, 1), (2, 2)], "yx", method="median")
        img = xr.open_dataarray(store, engine="ngff").load()
        self.refused(img, store, "'median' is not defined for dtype complex64")

    def test_levels_of_other_blocks(self):
        store = MemoryStore()
        by_hand(store, [np.zeros((5, 5), "u1"), np.ones((2, 2), "u1")], [(1, 1), (2, 2)], "yx")
        img = xr.open_dataarray(store, engine="ngff").load() + np.uint8(4)
        self.refused(img, store, r"build_pyramid\(..., overwrite=True\)")
        build_pyramid(store, overwrite=True, factors=[2])
        write_region(img, store, region="auto")
        assert_levels(stored(store), [np.full((5, 5), 4, "u1"), np.full((3, 3), 4, "u1")])

    def test_level_of_another_dtype(self):
        store = MemoryStore()
        by_hand(store, [np.zeros((4, 4), "u1"), np.zeros((2, 2), "f4")], [(1, 1), (2, 2)], "yx")
        self.refused(xr.open_dataarray(store, engine="ngff").load(), store, "level '1' has dtype float32")

    def test_read_only(self, tmp_path):
        by_hand(tmp_path / "a.zarr", [np.zeros((4, 4), "u1")], [(1, 1)], "yx")
        img = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff").load()
        with pytest.raises(FormatError, match="is read-only"):
            write_region(img, LocalStore(tmp_path / "a.zarr", read_only=True), region="auto")

    def test_memory_limit(self):
        store, img = place()
        self.refused(img, store, "memory_limit", error=MemoryLimitError, memory_limit="1 kB")


class TestPlaces:
    @by_version
    @pytest.mark.parametrize("way", ["group", "path", "url"])
    def test_labels(self, version, way, tmp_path):
        image = tmp_path / "a.zarr"
        by_hand(image, [np.zeros((8, 8), "u1")], [(1, 1)], "yx", version=version)
        levels = pyramid_of(np.arange(64, dtype="u2").reshape(8, 8), [(1, 1), (2, 2)], "mode")
        by_hand(image, levels, [(1, 1), (2, 2)], "yx", version=version, method="mode", path="labels/nuclei")
        labels = xr.open_dataarray(image, engine="ngff", group="labels/nuclei").load()
        part = labels.isel(y=slice(2, 5), x=slice(3, 7)) * np.uint16(3)
        store, options = {
            "group": (image, {"group": "labels/nuclei"}),
            "path": (image / "labels" / "nuclei", {}),
            "url": ((image / "labels" / "nuclei").as_uri(), {}),
        }[way]
        write_region(part, store, region="auto", **options)
        levels[0][2:5, 3:7] *= 3
        assert_levels(stored(image, "labels/nuclei"), pyramid_of(levels[0], [(1, 1), (2, 2)], "mode"))
        assert not stored(image)[0].any()

    def test_metadata_stay(self):
        store, img = place(extra={"kept": [1, None]})
        before = {key: value.to_bytes() for key, value in store._store_dict.items() if "/c/" not in key}
        write_region(img + np.uint8(1), store, region="auto")
        assert {key: value.to_bytes() for key, value in store._store_dict.items() if "/c/" not in key} == before

    def test_axes_in_another_order(self):
        """As some files have them: x first."""
        store = MemoryStore()
        factors = [(1, 1, 1), (2, 2, 1), (4, 4, 1)]
        levels = pyramid_of(np.random.default_rng(2).integers(0, 99, (9, 8, 5)).astype("u2"), factors, "mean")
        by_hand(store, levels, factors, "xyz", chunks=(4, 3, 2))
        img = xr.open_dataarray(store, engine="ngff")
        assert img.dims == ("z", "y", "x")
        part = img.isel(z=slice(1, 4), y=slice(2, 7), x=slice(3, 9)).load() + np.uint16(100)
        write_region(part, store, region="auto")
        place = (slice(3, 9), slice(2, 7), slice(1, 4))
        changed = with_part(levels, factors, "mean", place, part.transpose("x", "y", "z").values)
        assert_levels(stored(store), changed)
        build_pyramid(store, overwrite=True)
        assert_levels(stored(store), changed)

    def test_big_endian(self):
        store = MemoryStore()
        levels = [np.arange(24, dtype=">u2").reshape(4, 6), np.zeros((2, 3), ">u2")]
        by_hand(store, levels, [(1, 1), (2, 2)], "yx", version="0.4", chunks=(3, 3), method="max")
        write_region(xr.DataArray(np.full((1, 2), 500, "u2"), dims=("y", "x")), store,
                     region={"y": slice(1, 2), "x": slice(3, 5)})  # fmt: skip
        expected = with_part(levels, [(1, 1), (2, 2)], "max", (slice(1, 2), slice(3, 5)), 500)
        for mine, truth in zip(stored(store), expected, strict=True):
            np.testing.assert_array_equal(mine, truth)


class TestHowItIsWorkedOff:
    def test_later(self, tmp_path):
        store = tmp_path / "a.zarr"
        by_hand(store, LEVELS, FACTORS, "cyx", chunks=(1, 8, 8))
        part = (slice(0, 2), slice(3, 12), slice(5, 30))
        img = xr.DataArray(250 - LEVELS[0][part], dims=("c", "y", "x"))
        task = write_region(img, store, region=dict(zip("cyx", part, strict=True)), compute=False)
        assert_levels(stored(store), LEVELS)
        task.compute()
        assert_levels(stored(store), changed(part, img.values))

    def test_only_touched_chunks_are_written(self):
        store, img = place()
        written = []

        class Watched(WrapperStore):
            async def set(self, key, *args, **kwargs):
                written.append(key)
                return await super().set(key, *args, **kwargs)

        write_region(img.isel(c=1, y=slice(0, 8), x=slice(8, 16)) + np.uint8(1), Watched(store), region="auto")
        assert sorted(written) == ["0/c/1/0/1", "1/c/1/0/0", "2/c/1/0/0"]

    @pytest.mark.parametrize("shards", [None, (1, 16, 16)], ids=["chunks", "shards"])
    @pytest.mark.parametrize("kind", ["numpy", "dask"])
    def test_one_writer_for_a_chunk(self, shards, kind):
        store, img = place(shards=shards)
        written = []

        class Watched(WrapperStore):
            async def set(self, key, *args, **kwargs):
                written.append(key)
                return await super().set(key, *args, **kwargs)

        new = img.isel(y=slice(1, 19), x=slice(3, 29)) + np.uint8(1)
        with dask.config.set(num_workers=4):
            write_region(new.chunk(y=5, x=7) if kind == "dask" else new, Watched(store), region="auto")
        assert len(written) == len(set(written))
        assert_levels(stored(store), changed((slice(None), slice(1, 19), slice(3, 29)), new.values))

    def test_an_error_in_the_source(self):
        store, img = place()

        def fail(block):
            raise OSError("the detector is on fire")

        broken = img.copy(
            data=da.from_array(img.values, chunks=(1, 8, 8)).map_blocks(fail, dtype="u1", meta=np.empty(0))
        )
        with pytest.raises(OSError, match="on fire"):
            write_region(broken, store, region="auto")
        assert_levels(stored(store), LEVELS)

    def test_disjoint_writers_at_once(self, tmp_path):
        """Parts that share no chunk at any level, from threads that know nothing of each other."""
        from concurrent.futures import ThreadPoolExecutor

        rng = np.random.default_rng(5)
        levels = pyramid_of(np.zeros((64, 64), "u2"), [(1, 1), (2, 2)], "mean")
        by_hand(tmp_path / "a.zarr", levels, [(1, 1), (2, 2)], "yx", chunks=(8, 8))
        truth = rng.integers(0, 9999, (64, 64)).astype("u2")

        def one(corner):
            y, x = corner
            part = xr.DataArray(truth[y : y + 16, x : x + 16], dims=("y", "x"))
            write_region(part, tmp_path / "a.zarr", region={"y": slice(y, y + 16), "x": slice(x, x + 16)})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, [(y, x) for y in range(0, 64, 16) for x in range(0, 64, 16)]))
        assert_levels(stored(tmp_path / "a.zarr"), pyramid_of(truth, [(1, 1), (2, 2)], "mean"))


@pytest.fixture(scope="module")
def cluster():
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": None}
    with (
        dask.config.set({"distributed.admin.log-length": 0}),
        LocalCluster(processes=True, **options) as cluster,
        Client(cluster),
    ):
        yield


@pytest.mark.filterwarnings("default", "ignore:Call to deprecated class Scaler:DeprecationWarning")
@pytest.mark.usefixtures("cluster")
class TestCluster:
    @pytest.mark.parametrize("kind", ["dask", "lazy"])
    def test_two_processes(self, kind, tmp_path):
        rng = np.random.default_rng(7)
        factors = [(1, 1, 1), (1, 2, 2), (2, 6, 6)]
        levels = pyramid_of(rng.integers(0, 999, (6, 33, 41)).astype("u2"), factors, "median")
        by_hand(tmp_path / "a.zarr", levels, factors, "zyx", chunks=(2, 4, 4), shards=(4, 8, 8), method="median")
        part = (slice(1, 6), slice(5, 30), slice(2, 41))
        img = xr.open_dataarray(tmp_path / "a.zarr", engine="ngff").load()[part]
        img = img.copy(data=rng.integers(0, 999, img.shape).astype("u2"))
        if kind == "dask":
            img = img.chunk(z=3, y=7, x=11)
        if kind == "lazy":
            img.ngff.to_ome_zarr(tmp_path / "source.zarr", chunks=(2, 9, 9), levels=1)
            img = xr.open_dataarray(tmp_path / "source.zarr", engine="ngff")
        write_region(img, tmp_path / "a.zarr", region="auto")
        assert_levels(stored(tmp_path / "a.zarr"), with_part(levels, factors, "median", part, img.values))

    def test_memory_of_this_process(self):
        store, img = place()
        write_region(250 - img, store, region="auto")
        assert_levels(stored(store), pyramid_of(250 - LEVELS[0], FACTORS, "mean"))
