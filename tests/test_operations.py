"""Whatever xarray does to an image, every voxel that is left stays where it was in the world.

The truth is bookkeeping with NumPy: for each axis the indices, in the first image, of the voxels that are left
(fractions where blocks were averaged), put through the matrix that the first image was made with. The values of the
image are a linear function of the index, so they tell whether the bookkeeping itself is right.
"""

import pickle
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xarray_ngff

VECTORS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
METERS = {"nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3}
SPELLINGS = {"nm": "nanometer", "um": "micrometer", "µm": "micrometer", "mm": "millimeter", "Millimetre": "millimeter"}

steps = st.floats(1e-3, 1e3).map(lambda value: float(f"{value:.4g}"))
starts = st.floats(-1e4, 1e4).map(lambda value: float(f"{value:.6g}"))
angles = st.integers(-180, 180).map(np.deg2rad)


@dataclass(frozen=True)
class Tracked:
    """An image, and for each axis of the first image the indices there of the voxels that are left."""

    img: xr.DataArray
    matrix: np.ndarray  # of the first image: columns are its spatial axes in x, y, z order
    weights: dict  # what one index along each axis added to the values of the first image
    indices: dict

    def change(self, img, **indices):
        return replace(self, img=img, indices=self.indices | indices)


@st.composite
def aligned_geometries(draw, axes):
    """Options of `as_image` for axes along the world's, and the matrix that they mean."""
    spacing = {dim: draw(steps) * draw(st.sampled_from([1, -1])) for dim in axes}
    origin = {dim: draw(starts) for dim in axes}
    spelled = {dim: draw(st.sampled_from([*SPELLINGS, None])) for dim in axes}
    if draw(st.booleans()):
        lines = draw(st.permutations(["RL", "AP", "SI"]))[: len(axes)]
        codes = "".join(draw(st.sampled_from(line)) for line in lines)
    else:
        codes = None
    named = [SPELLINGS[unit] for unit in spelled.values() if unit is not None]
    matrix = np.zeros((3, len(axes) + 1))
    for column, dim in enumerate(axes):
        vector = np.array(VECTORS["RAS"["xyz".index(dim)] if codes is None else codes[column]], dtype=float)
        factor = 1.0 if spelled[dim] is None else METERS[SPELLINGS[spelled[dim]]] / METERS[named[0]]
        matrix[:, column] = vector * factor * spacing[dim]
        matrix[:, -1] += vector * factor * origin[dim]
    rows = matrix[:, :-1].any(axis=1)
    options = {"spacing": spacing, "origin": origin, "units": spelled, "orientation": codes}
    return options, np.vstack([matrix[rows], np.eye(len(axes) + 1)[-1]])


@st.composite
def oblique_geometries(draw, axes):
    """Options of `as_image` for a rotated, sheared or mirrored affine, and the matrix that it means in RAS."""
    count = len(axes)
    part = np.eye(count)
    for first, second in [(0, 1), (0, 2), (1, 2)][: 1 if count == 2 else 3]:
        angle, turn = draw(angles), np.eye(count)
        turn[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        part = part @ turn
    if draw(st.booleans()):
        part = part @ (np.eye(count) + np.triu(np.full((count, count), draw(st.sampled_from([-0.5, 0.1, 0.3]))), 1))
    part = part * [draw(steps) * draw(st.sampled_from([1, -1])) for _ in axes]
    matrix = np.eye(count + 1)
    matrix[:-1] = np.column_stack([part, [draw(starts) for _ in axes]])
    frame = draw(st.sampled_from([None, "RAS", "LPS"]))
    options = {"affine": matrix, "orientation": frame, "units": draw(st.sampled_from([None, "um", "mm"]))}
    signs = [-1.0 if frame == "LPS" and dim in "xy" else 1.0 for dim in axes]
    return options, np.diag([*signs, 1.0]) @ matrix


@st.composite
def tracked_images(draw):
    dims = draw(st.sampled_from(["yx", "zx", "xy", "zyx", "xyz", "tyx", "cyx", "czyx", "tzyx", "yxzt", "tczyx"]))
    shape = [draw(st.integers(1, 3 if dim in "tc" else 7)) for dim in dims]
    axes = [dim for dim in "xyz" if dim in dims]
    options, matrix = draw(st.one_of(aligned_geometries(axes), oblique_geometries(axes)))
    data = np.arange(np.prod(shape), dtype=draw(st.sampled_from(["u2", "i4", "f4", "f8"]))).reshape(shape)
    weights = {dim: stride // data.itemsize for dim, stride in zip(dims, data.strides, strict=True)}
    if draw(st.booleans()):
        import dask.array

        data = dask.array.from_array(data, chunks=draw(st.integers(1, 4)))
    channels = None
    if "c" in dims:
        window = draw(st.sampled_from([None, (0, 9)]))
        channels = [{"name": name, "window": window} for name in ["DAPI", "GFP", "RFP"][: shape[dims.index("c")]]]
    img = xarray_ngff.as_image(data, dims, channels=channels, **options)
    if "t" in dims:
        img = img.ngff.set_geometry(spacing={"t": draw(steps)}, units={"t": draw(st.sampled_from(["s", "min", None]))})
    units = options["units"]
    if isinstance(units, str) and draw(st.booleans()):  # world is in the unit of x still
        img = img.ngff.to_units({axes[-1]: "nm"})
    return Tracked(img, matrix, weights, {dim: np.arange(size) for dim, size in zip(dims, shape, strict=True)})


def check(tracked):
    """Compare the affine with the matrix by hand, and the values with those of the voxels that should be left."""
    img, axes = tracked.img, [dim for dim in "xyz" if dim in tracked.indices]
    affine = img.ngff.affine
    part, shift = tracked.matrix[:-1, :-1], tracked.matrix[:-1, -1]
    first = np.array([tracked.indices[dim][0] for dim in axes])
    tolerance = 1e-9 * (np.abs(part).max() * 10 + np.abs(shift).max())
    assert affine.shape == tracked.matrix.shape
    np.testing.assert_allclose(affine[:-1, -1], part @ first + shift, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(affine[-1], tracked.matrix[-1])
    for column, dim in enumerate(axes):
        left = tracked.indices[dim]
        assert img.sizes.get(dim, 1) == len(left)
        if len(left) > 1:
            step = left[1] - left[0]
            np.testing.assert_allclose(affine[:-1, column], part[:, column] * step, rtol=0, atol=tolerance)
    expected = sum(
        tracked.weights[dim] * xr.DataArray(left, dims=dim).squeeze(dim if dim not in img.dims else [])
        for dim, left in tracked.indices.items()
    )
    values = np.asarray(img.values, dtype=np.float64)
    np.testing.assert_allclose(values, expected.transpose(*img.dims).values, rtol=1e-5, atol=1e-5)


OPERATIONS = []

# xarray stores text of fixed length, which Zarr 3 has not specified yet
pytestmark = pytest.mark.filterwarnings("ignore:The data type.*Zarr V3 specification")


def operation(function):
    OPERATIONS.append(function)
    return function


def choose(draw, dims):
    return draw(st.sampled_from([str(dim) for dim in dims]))


def measured(img):
    return [dim for dim in img.dims if dim != "c"]


def long(img, among="tczyx"):
    return [dim for dim in img.dims if dim in among and img.sizes[dim] > 1]


@operation
def slice_by_index(tracked, draw):
    dim = choose(draw, tracked.img.dims)
    size = tracked.img.sizes[dim]
    part = draw(st.slices(size).filter(lambda part: len(range(size)[part]) > 0))
    return tracked.change(tracked.img.isel({dim: part}), **{dim: tracked.indices[dim][part]})


@operation
def select_one_by_index(tracked, draw):
    dim = choose(draw, tracked.img.dims)
    place = draw(st.integers(-tracked.img.sizes[dim], tracked.img.sizes[dim] - 1))
    return tracked.change(tracked.img.isel({dim: place}), **{dim: tracked.indices[dim][[place]]})


@operation
def flip(tracked, draw):
    dim = choose(draw, tracked.img.dims)
    return tracked.change(tracked.img.isel({dim: slice(None, None, -1)}), **{dim: tracked.indices[dim][::-1]})


@operation
def transpose(tracked, draw):
    return tracked.change(tracked.img.transpose(*draw(st.permutations(tracked.img.dims))))


@operation
def slice_by_coordinate(tracked, draw):
    dim = choose(draw, measured(tracked.img) or tracked.img.dims)
    size = tracked.img.sizes[dim]
    low, high = sorted([draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1))])
    values = tracked.img[dim].values
    part = tracked.img.sel({dim: slice(values[low], values[high])})
    return tracked.change(part, **{dim: tracked.indices[dim][low : high + 1]})


@operation
def select_nearest(tracked, draw):
    if not long(tracked.img, "tzyx"):
        return tracked
    dim = choose(draw, long(tracked.img, "tzyx"))
    place = draw(st.integers(0, tracked.img.sizes[dim] - 2))
    values = tracked.img[dim].values
    near = tracked.img.sel({dim: 0.8 * values[place] + 0.2 * values[place + 1]}, method="nearest")
    return tracked.change(near, **{dim: tracked.indices[dim][[place]]})


@operation
def coarsen(tracked, draw):
    dims = measured(tracked.img)
    if not dims:
        return tracked
    dim = choose(draw, dims)
    factor = draw(st.integers(1, tracked.img.sizes[dim]))
    blocks = tracked.img.sizes[dim] // factor
    centres = tracked.indices[dim][: blocks * factor].reshape(blocks, factor).mean(axis=1)
    return tracked.change(tracked.img.coarsen({dim: factor}, boundary="trim").mean(), **{dim: centres})


@operation
def concat_pieces(tracked, draw):
    if not long(tracked.img):
        return tracked
    dim = choose(draw, long(tracked.img))
    cut = draw(st.integers(1, tracked.img.sizes[dim] - 1))
    pieces = [tracked.img.isel({dim: slice(0, cut)}), tracked.img.isel({dim: slice(cut, None)})]
    return tracked.change(xr.concat(pieces, dim))


@operation
def concat_planes(tracked, draw):
    dim = choose(draw, tracked.img.dims)
    return tracked.change(xr.concat([tracked.img.isel({dim: i}) for i in range(tracked.img.sizes[dim])], dim))


@operation
def bring_back_an_axis(tracked, draw):
    gone = [dim for dim in tracked.indices if dim not in tracked.img.dims and dim in tracked.img.coords]
    return tracked.change(tracked.img.expand_dims(choose(draw, gone))) if gone else tracked


@operation
def average_with_itself(tracked, draw):
    return tracked.change((tracked.img + tracked.img.copy()) / 2)


@operation
def subtract_nothing_of_a_plane(tracked, draw):
    plane = tracked.img.isel({choose(draw, tracked.img.dims): 0})
    return tracked.change(tracked.img - 0 * plane)


@operation
def where_method(tracked, draw):
    return tracked.change(tracked.img.where(tracked.img >= 0))


@operation
def where_function(tracked, draw):
    return tracked.change(xr.where(tracked.img >= 0, tracked.img, -1))


@operation
def astype(tracked, draw):
    return tracked.change(tracked.img.astype(draw(st.sampled_from(["f4", "f8"]))))


@operation
def numpy_function(tracked, draw):
    return tracked.change(np.positive(tracked.img))


@operation
def apply_ufunc(tracked, draw):
    img = tracked.img
    return tracked.change(xr.apply_ufunc(np.positive, img, dask="parallelized", output_dtypes=[img.dtype]))


@operation
def apply_ufunc_along_a_dim(tracked, draw):
    core = [[choose(draw, tracked.img.dims)]]
    return tracked.change(
        xr.apply_ufunc(np.positive, tracked.img, input_core_dims=core, output_core_dims=core, dask="allowed")
    )


@operation
def reduce_time_or_channels(tracked, draw):
    dims = [dim for dim in tracked.img.dims if dim in "tc"]
    if not dims:
        return tracked
    dim = choose(draw, dims)
    return tracked.change(tracked.img.mean(dim), **{dim: tracked.indices[dim].mean(keepdims=True)})


@operation
def name_and_attributes(tracked, draw):
    return tracked.change(tracked.img.assign_attrs(stain="Nissl").rename("section"))


@operation
def stack_and_unstack(tracked, draw):
    dims = [dim for dim in tracked.img.dims if dim in tracked.img.coords]
    if len(dims) < 2:
        return tracked
    dims = draw(st.permutations(dims))[:2]
    return tracked.change(tracked.img.stack(pixel=dims).unstack("pixel"))


@operation
def group_by_channel(tracked, draw):
    if "c" not in tracked.img.dims:
        return tracked
    names = tracked.img["c"].values.tolist()
    grouped = tracked.img.groupby("c").mean()
    return tracked.change(grouped, c=tracked.indices["c"][[names.index(name) for name in grouped["c"].values]])


@operation
def interpolate_midpoints(tracked, draw):
    if not long(tracked.img, "tzyx"):
        return tracked
    dim = choose(draw, long(tracked.img, "tzyx"))
    values, left = tracked.img[dim].values, tracked.indices[dim]
    between = tracked.img.compute().interp({dim: (values[1:] + values[:-1]) / 2})
    return tracked.change(between, **{dim: (left[1:] + left[:-1]) / 2})


@operation
def reindex_backwards(tracked, draw):
    dim = choose(draw, tracked.img.dims)
    return tracked.change(
        tracked.img.reindex({dim: tracked.img[dim].values[::-1]}), **{dim: tracked.indices[dim][::-1]}
    )


@operation
def sort(tracked, draw):
    dim = choose(draw, tracked.img.dims)
    order = np.argsort(tracked.img[dim].values)
    return tracked.change(tracked.img.sortby(dim), **{dim: tracked.indices[dim][order]})


@operation
def map_blocks(tracked, draw):
    return tracked.change(tracked.img.chunk(2).map_blocks(lambda block: block).persist())


@operation
def through_a_dataset(tracked, draw):
    mask = (tracked.img > 0).rename("mask")
    return tracked.change(xr.merge([tracked.img.rename("image"), mask], compat="no_conflicts")["image"])


@operation
def copy(tracked, draw):
    return tracked.change(tracked.img.copy(deep=draw(st.booleans())))


@operation
def through_pickle(tracked, draw):
    return tracked.change(pickle.loads(pickle.dumps(tracked.img)))


@operation
def through_netcdf(tracked, draw):
    engine = draw(st.sampled_from(["netcdf4", "h5netcdf"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nc"
        tracked.img.drop_encoding().to_netcdf(path, engine=engine)
        return tracked.change(xr.load_dataarray(path, engine=engine))


@operation
def through_zarr(tracked, draw):
    store = zarr.storage.MemoryStore()
    version = draw(st.sampled_from([2, 3]))
    tracked.img.drop_encoding().chunk(-1).to_zarr(store, zarr_format=version, consolidated=False)
    return tracked.change(xr.open_dataarray(store, engine="zarr", zarr_format=version, consolidated=False))


@pytest.mark.parametrize("step", OPERATIONS, ids=lambda function: function.__name__)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(tracked=tracked_images(), data=st.data())
def test_one_operation_moves_no_voxel(step, tracked, data):
    check(tracked)
    check(step(tracked, data.draw))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(tracked=tracked_images(), data=st.data())
def test_a_chain_of_operations_moves_no_voxel(tracked, data):
    for _ in range(data.draw(st.integers(2, 5))):
        step = data.draw(st.sampled_from(OPERATIONS))
        if tracked.img.ndim == 0 and step is not bring_back_an_axis:
            continue
        tracked = step(tracked, data.draw)
        check(tracked)
