import itertools

import nibabel as nib
import numpy as np
import pint
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_ngff import Roi, as_image
from xarray_ngff.errors import GeometryError, UnitError

SHAPE = (6, 7, 8)
DATA = np.arange(np.prod(SHAPE)).reshape(SHAPE)
STRAIGHT = [
    np.eye(3),
    np.diag([1, -1, 1]),
    np.diag([-1, -1, -1]),
    np.eye(3)[[1, 0, 2]],
    np.eye(3)[[2, 0, 1]] * [1, -1, 1],
]

steps = st.floats(0.05, 20).map(lambda value: float(f"{value:.3g}"))
starts = st.floats(-100, 100).map(lambda value: round(value, 2))


@pytest.fixture
def img():
    return as_image(DATA, spacing=(2, 0.5, -0.5), origin=(0, 1, 10), units="um")


def centres_in(affine, shape, low, high):
    """Indices (x, y, z) of the voxels whose centres are in the half-open world box: every voxel is looked at."""
    indices = np.array(list(itertools.product(*map(range, shape))))
    world = nib.affines.apply_affine(affine, indices)
    return indices[((world >= low) & (world < high)).all(axis=1)], world


def boxes(draw, world):
    """A world box somewhere about the image; its faces lie between voxel centres, where no rounding decides."""
    sides = []
    for row in world.T:
        centres = np.unique(row.round(6))
        centres = np.concatenate([[centres[0] - 2], centres, [centres[-1] + 2]])
        edges = []
        for place in sorted([draw(st.integers(0, len(centres) - 2)), draw(st.integers(0, len(centres) - 2))]):
            near = centres[max(place - 20, 0) : place + 21]
            widest = int(np.argmax(np.diff(near)))
            edges.append((near[widest] + near[widest + 1]) / 2)
        sides.append(edges)
    return np.transpose(sides)


# -- physical ---------------------------------------------------------------------------------------------------------


@given(steps, starts, st.booleans(), st.floats(-5, 15), st.floats(-5, 15))
def test_a_physical_crop_keeps_the_centres_between_the_bounds(step, start, backwards, low, high):
    img = as_image(DATA, spacing=(1, 1, -step if backwards else step), origin=(0, 0, start))
    low, high = (start + step * place for place in sorted([low, high]))
    centres = img.x.values
    assume(min(np.abs(centres - low).min(), np.abs(centres - high).min()) > 1e-5 * step)
    kept = [place for place, centre in enumerate(centres) if low <= centre < high]
    if not kept:
        with pytest.raises(GeometryError, match="holds no voxel of the image, whose centres run from"):
            img.ngff.crop(x=(low, high))
    else:
        xr.testing.assert_identical(img.ngff.crop(x=(low, high)), img.isel(x=kept))


def test_bounds_are_half_open_whichever_way_the_axis_runs(img):
    assert img.x.values.tolist() == [10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5]
    assert img.ngff.crop(x=(8, 9)).x.values.tolist() == [8.5, 8]
    assert img[..., ::-1].ngff.crop(x=(8, 9)).x.values.tolist() == [8, 8.5]


@given(st.integers(0, 49), st.integers(1, 50), st.sampled_from([0.1, 0.3, 1e-3, 2.54, 1 / 3]), st.booleans())
def test_a_bound_on_a_centre_is_that_centre_however_it_was_computed(first, count, step, backwards):
    last = min(first + count, 50)
    img = as_image(np.zeros((1, 60)), spacing=(1, step), origin=(0, 0.7))
    img = img[:, ::-1] if backwards else img
    low, high = 0.7 + sum([step] * first), 0.7 + sum([step] * last)  # rounds otherwise than 0.7 + step * first
    part = img.ngff.crop(x=(low, high))
    assert sorted(np.rint((part.x.values - 0.7) / step)) == list(range(first, last))


@pytest.mark.parametrize(
    "bounds",
    [
        (8, 9),
        slice(8, 9),
        [8, 9],
        np.array([8, 9]),
        ("8 um", "9 um"),
        ("8e-3 mm", "9000 nm"),
        ("0.008mm", 9),
        (pint.UnitRegistry().Quantity(8, "um"), pint.UnitRegistry().Quantity(9e-6, "m")),
        (np.float32(8), np.int64(9)),
        (xr.DataArray(8.0), xr.DataArray(0.009, attrs={"units": "mm"})),
    ],
)
def test_bounds_may_be_written_in_many_ways(img, bounds):
    assert img.ngff.crop(x=bounds).x.values.tolist() == [8.5, 8]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((None, 7.5), [7, 6.5]),
        ((9, None), [10, 9.5, 9]),
        ((-np.inf, 7.5), [7, 6.5]),
        ((9, np.inf), [10, 9.5, 9]),
        ((9, 1e9), [10, 9.5, 9]),
        ((-1e9, "1 m"), [10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5]),
        ((None, None), [10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5]),
    ],
)
def test_what_reaches_beyond_the_image_is_clipped(img, bounds, expected):
    assert img.ngff.crop(x=bounds).x.values.tolist() == expected


def test_dims_that_are_not_named_stay_whole(img):
    part = img.ngff.crop(x=(8, 9), z=slice("4 um", 7))
    assert part.sizes == {"z": 2, "y": 7, "x": 2}
    xr.testing.assert_identical(part, img.isel(z=slice(2, 4), x=slice(3, 5)))
    xr.testing.assert_identical(img.ngff.crop(), img)


def test_time_is_cropped_in_its_own_unit():
    img = as_image(np.zeros((5, 2, 2)), "tyx", spacing={"t": 0.5}, units={"t": "s"})
    assert img.ngff.crop(t=("500 ms", "1.5 s")).t.values.tolist() == [0.5, 1.0]


def test_a_box_smaller_than_a_voxel_holds_its_centre_or_nothing(img):
    assert img.ngff.crop(x=(8.99, 9.01)).x.values.tolist() == [9.0]
    with pytest.raises(GeometryError, match=r"the box 9\.1 to 9\.2 µm along 'x' holds no voxel .* from 6\.5 to 10 µm"):
        img.ngff.crop(x=(9.1, 9.2))
    with pytest.raises(GeometryError, match="holds no voxel"):
        img.ngff.crop(x=(9, 9))


@pytest.mark.parametrize("bounds", [(11, 20), (-5, 0), (10.1, None), (None, 6.5), (9, 8), (np.inf, None)])
def test_a_box_that_misses_the_image_names_both_extents(img, bounds):
    with pytest.raises(GeometryError, match=r"the box .* along 'x' holds no voxel of the image.* from 6\.5 to 10 µm"):
        img.ngff.crop(x=bounds)


def test_a_selection_that_is_not_regular_can_be_cropped(img):
    assert img.isel(x=[0, 1, 5, 7]).ngff.crop(x=(7, 9.9)).x.values.tolist() == [9.5, 7.5]


@pytest.mark.parametrize("places", [[0, 5, 1], [2, 2]])
def test_coordinates_in_no_order_cannot_be_cropped(img, places):
    with pytest.raises(GeometryError, match=r"'x' neither ascends nor descends.*set_geometry\(spacing={'x'"):
        img.isel(x=places).ngff.crop(x=(7, 9.9))


def test_coordinates_that_a_pad_left_empty_cannot_be_cropped(img):
    with pytest.raises(GeometryError, match=r"'x' neither ascends nor descends.*fill what a pad left empty"):
        img.pad(x=1).ngff.crop(x=(7, 9.9))


# -- index ------------------------------------------------------------------------------------------------------------


@given(st.integers(-3, 12), st.integers(-3, 12))
def test_an_index_crop_is_a_range_of_voxels(low, high):
    img = as_image(DATA)
    kept = [place for place in range(8) if low <= place < high]
    if kept:
        xr.testing.assert_identical(img.ngff.crop(x=(low, high), space="index"), img.isel(x=kept))
    else:
        with pytest.raises(GeometryError, match=rf"the box {low} to {high} along 'x' misses .* indices 0 to 8"):
            img.ngff.crop(x=(low, high), space="index")


def test_an_index_crop_takes_any_dim():
    img = as_image(np.zeros((3, 4, 5)), "cyx", channels=["a", "b", "c"])
    assert img.ngff.crop(c=(1, None), space="index").c.values.tolist() == ["b", "c"]
    bare = xr.DataArray(np.zeros((3, 4)), dims=("angle", "x"))
    assert bare.ngff.crop(angle=(None, 2), x=(np.int64(1), 3), space="index").shape == (2, 2)


@pytest.mark.parametrize("bound", [1.0, "1", "1 um", np.float64(1)])
def test_indices_are_whole_numbers(img, bound):
    with pytest.raises(GeometryError, match=r"bound of 'x' is .*: in index space bounds are whole numbers"):
        img.ngff.crop(x=(bound, 5), space="index")


# -- world ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRAIGHT), st.tuples(steps, steps, steps), st.data())
def test_a_world_crop_of_a_straight_image_is_every_voxel_in_the_box(part, sizes, data):
    affine = nib.affines.from_matvec(part * sizes, [1, 2, 3])
    img = as_image(DATA, affine=affine, orientation=data.draw(st.sampled_from([None, "RAS"])))
    low, high = boxes(data.draw, centres_in(affine, SHAPE[::-1], 0, 0)[1])
    compare(img, affine, low, high)


def shared_corners(affine, shape, low, high):
    """Corners, in index space, of what a world box and an image share: every three of their planes are looked at."""
    part, shift = nib.affines.to_matvec(affine)
    planes = np.concatenate([part, -part, np.eye(3), -np.eye(3)])
    limits = np.concatenate([high - shift, shift - low, np.array(shape) - 0.5, np.full(3, 0.5)])
    lengths = np.linalg.norm(planes, axis=1)
    planes, limits = planes / lengths[:, None], limits / lengths
    corners = []
    for three in itertools.combinations(range(12), 3):
        if abs(np.linalg.det(planes[list(three)])) > 1e-9:
            point = np.linalg.solve(planes[list(three)], limits[list(three)])
            if (planes @ point <= limits + 1e-7).all():
                corners.append(point)
    return np.array(corners)


@settings(max_examples=100, deadline=None)
@given(
    st.tuples(*[st.integers(-30, 30).map(lambda turn: turn / 10)] * 3),
    st.tuples(steps, steps, steps),
    st.sampled_from([0, 0.3, -0.7]),
    st.data(),
)
def test_a_world_crop_of_an_oblique_image_is_the_smallest_that_covers_the_box(turn, sizes, shear, data):
    tilted = nib.eulerangles.euler2mat(*turn) @ (np.eye(3) + shear * np.eye(3, k=1))
    affine = nib.affines.from_matvec(tilted * sizes * data.draw(st.sampled_from([1, -1])), [1, 2, 3])
    assume(np.count_nonzero(affine[:3, :3]) > 3)
    img = as_image(DATA, affine=affine, orientation=data.draw(st.sampled_from([None, "RAS"])))
    low, high = boxes(data.draw, centres_in(affine, SHAPE[::-1], 0, 0)[1])
    bounds = {dim: (low[i], high[i]) for i, dim in enumerate("xyz")}
    corners = shared_corners(affine, SHAPE[::-1], low, high)
    if len(corners) == 0 or (low >= high).any():
        with pytest.raises(GeometryError, match="misses the image"):
            img.ngff.crop(**bounds, space="world")
        return
    edges = np.array([corners.min(axis=0), corners.max(axis=0)])
    at_border = np.isclose(edges, [np.full(3, -0.5), np.array(SHAPE[::-1]) - 0.5])
    assume((at_border | (abs(edges % 1 - 0.5) > 1e-4)).all())  # elsewhere rounding decides
    assume((np.ptp(corners, axis=0) > 1e-3).all())
    first = np.floor(edges[0] + 0.5 + 1e-5).astype(int)
    last = np.ceil(edges[1] - 0.5 - 1e-5).astype(int)
    expected = img.isel({dim: slice(first[i], last[i] + 1) for i, dim in enumerate("xyz")})
    part = img.ngff.crop(**bounds, space="world")
    xr.testing.assert_identical(part, expected)
    inside, _ = centres_in(affine, SHAPE[::-1], low, high)
    assert set(DATA.transpose()[tuple(inside.T)]) <= set(part.values.ravel())


def compare(img, affine, low, high):
    inside, _ = centres_in(affine, SHAPE[::-1], low, high)
    bounds = {dim: (low[i], high[i]) for i, dim in enumerate("xyz")}
    if len(inside) == 0:
        with pytest.raises(GeometryError, match="holds no voxel of the image"):
            img.ngff.crop(**bounds, space="world")
    else:
        first, last = inside.min(axis=0), inside.max(axis=0)
        expected = img.isel({dim: slice(first[i], last[i] + 1) for i, dim in enumerate("xyz")})
        xr.testing.assert_identical(img.ngff.crop(**bounds, space="world"), expected)


@pytest.mark.parametrize("bounds", [{}, {"x": (0, 3)}, {"y": (None, 2)}, {"x": (-np.inf, 2), "z": (0, np.inf)}])
def test_open_sides_of_an_oblique_world_box_reach_to_the_end(bounds):
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.5, 0.4, 0.3), [0, 0, 0])
    img = as_image(DATA, affine=affine)
    pairs = [bounds.get(dim, (None, None)) for dim in "xyz"]
    low = np.array([-1e3 if pair[0] in (None, -np.inf) else pair[0] for pair in pairs], dtype=float)
    high = np.array([1e3 if pair[1] in (None, np.inf) else pair[1] for pair in pairs], dtype=float)
    corners = shared_corners(affine, SHAPE[::-1], low, high)
    first = np.floor(corners.min(axis=0) + 0.5 + 1e-5).astype(int)
    last = np.ceil(corners.max(axis=0) - 0.5 - 1e-5).astype(int)
    expected = img.isel({dim: slice(first[i], last[i] + 1) for i, dim in enumerate("xyz")})
    xr.testing.assert_identical(img.ngff.crop(**bounds, space="world"), expected)


def test_a_corner_of_a_rotated_image_is_cut_out_small():
    turn = nib.eulerangles.euler2mat(np.pi / 4)
    img = as_image(np.zeros((1, 100, 100)), affine=nib.affines.from_matvec(turn, [0, 0, 0]))
    # the line x + y = 7.2 * sqrt(2) = 10.18 leaves the image at its edge, x = -0.5, where y is 10.68
    corner = img.ngff.crop(y=(None, 7.2), space="world")
    assert corner.sizes == {"z": 1, "y": 12, "x": 12}


def test_a_plane_of_an_oblique_image_is_cropped_in_the_world():
    affine = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.5, 0.4, 0.3), [0, 0, 0])
    whole = as_image(DATA, affine=affine)
    img = whole.isel(z=2)
    part = img.ngff.crop(x=(0, 4), y=(0, 4), z=(0, 4), space="world")
    assert part.dims == ("y", "x")
    inside = [index for index in centres_in(affine, SHAPE[::-1], (0, 0, 0), (4, 4, 4))[0] if index[2] == 2]
    assert set(DATA[2].transpose()[tuple(np.array(inside)[:, :2].T)]) <= set(part.values.ravel())
    with pytest.raises(GeometryError, match=r"the world box .*z 50 to 60 misses the image, which spans"):
        img.ngff.crop(z=(50, 60), space="world")


def test_world_bounds_are_in_the_unit_of_the_world_and_of_its_axes():
    img = as_image(DATA, spacing=(1000, 2, 1), units={"z": "nm", "y": "um", "x": "um"}, orientation="LPS")
    part = img.ngff.crop(x=(-3, 1), z=(1, "0.003 mm"), space="world")
    assert part.x.values.tolist() == [0, 1, 2, 3]  # x runs to the left: world is minus the coordinate
    assert part.z.values.tolist() == [1000, 2000]


def test_a_world_axis_that_the_image_does_not_have_is_named():
    with pytest.raises(GeometryError, match="crop names 'z', but in world space the image has x, y"):
        as_image(DATA[0]).ngff.crop(z=(0, 1), space="world")


# -- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["physical", "world", "index"])
def test_an_unknown_dim_is_named(img, space):
    with pytest.raises(GeometryError, match=rf"crop names 'q', but in {space} space the image has"):
        img.ngff.crop(q=(0, 1), space=space)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        (("1 s", 3), "bound of 'x': cannot convert 'second' to 'micrometer'"),
        (("1 parsnip", 3), "bound of 'x': cannot convert 'parsnip'"),
        (("one", 3), "bound of 'x': 'one' is not a number with a unit"),
        ((np.nan, 3), "bound of 'x': nan is not finite"),
        (([1], 3), r"bound of 'x': \[1\] is neither a number"),
    ],
)
@pytest.mark.parametrize("space", ["physical", "world"])
def test_a_bound_that_cannot_be_read_is_named(img, bounds, message, space):
    with pytest.raises(UnitError, match=message):
        img.ngff.crop(x=bounds, space=space)


def test_a_unit_needs_an_axis_with_one():
    with pytest.raises(UnitError, match=r"bound of 'x': '1 um' carries a unit but the axis has none"):
        as_image(DATA).ngff.crop(x=("1 um", None))


def test_a_channel_is_no_place():
    img = as_image(np.zeros((2, 3, 4)), "cyx", channels=["a", "b"])
    with pytest.raises(GeometryError, match="crop names 'c', but in physical space the image has y, x"):
        img.ngff.crop(c=("a", "b"))


def test_regions_say_their_space_themselves(img):
    regions = [Roi({"x": (8, 9)}), Roi({"x": (3, 5)}, space="index"), Roi({"x": ("8 um", "9 um")}, space="world")]
    parts = img.ngff.crop(regions)
    assert [part.x.values.tolist() for part in parts] == [[8.5, 8]] * 3
    xr.testing.assert_identical(img.ngff.crop(regions[0]), parts[0])
    assert img.ngff.crop([]) == []


def test_a_region_and_bounds_are_not_both_taken(img):
    with pytest.raises(GeometryError, match="either a Roi or bounds by dim, not both"):
        img.ngff.crop(Roi({"x": (8, 9)}), y=(0, 1))


@pytest.mark.parametrize("space", ["physical", "world", "index"])
def test_nothing_is_read(space):
    class Unreadable(BackendArray):
        shape, dtype = SHAPE, np.dtype("f4")

        def __getitem__(self, key):
            raise AssertionError("the data were read")

    bare = xr.DataArray(indexing.LazilyIndexedArray(Unreadable()), dims=("z", "y", "x"))
    part = as_image(bare).ngff.crop(x=(2, 5), z=(1, 3), space=space)
    assert part.sizes == {"z": 2, "y": 7, "x": 3}
    assert not part.variable._in_memory
