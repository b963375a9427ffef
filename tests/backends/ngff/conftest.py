"""OME-Zarr stores made by hand, with zarr alone."""

import numpy as np
import pytest
import zarr

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}


def axes_of(dims, **more):
    """Axes metadata of versions 0.4 and 0.5: `more` gives keys by name of an axis."""
    return [{"name": dim} | ({"type": TYPES[dim]} if dim in TYPES else {}) | more.get(dim, {}) for dim in dims]


def placed(scale, translation=None):
    """The coordinateTransformations of a dataset."""
    steps = [{"type": "scale", "scale": list(scale)}]
    return steps + ([] if translation is None else [{"type": "translation", "translation": list(translation)}])


def put_array(group, name, data, **options):
    """Write an array into a group."""
    data = np.asarray(data)
    array = group.create_array(name, shape=data.shape, dtype=data.dtype, **options)
    # not given as data=, which the first releases of zarr 3 do not take, or write wrongly where there are shards
    array[...] = data
    return array


def make_image(store, arrays, dims, *, version="0.5", path="", scale=None, translation=None, axes=None, chunks=None,
               shards=None, attributes=None, **multiscale):  # fmt: skip
    """Write arrays as the levels of an image, each with twice the scale of the one before and block-centred.

    `multiscale` are further keys of the entry in "multiscales", `attributes` further ones beside it.
    """
    zarr_format = 3 if version >= "0.5" else 2
    arrays = [np.asarray(array) for array in arrays]
    scale = np.ones(len(dims)) if scale is None else np.asarray(scale, float)
    translation = np.zeros(len(dims)) if translation is None else np.asarray(translation, float)
    group = zarr.create_group(store, path=path, zarr_format=zarr_format, overwrite=False)
    spatial = np.array([TYPES.get(dim) == "space" for dim in dims])
    datasets = []
    for index, array in enumerate(arrays):
        separated = {"name": "default" if zarr_format == 3 else "v2", "separator": "/"}
        put_array(group, str(index), array, chunks=chunks or array.shape, shards=shards, chunk_key_encoding=separated)
        factor = np.where(spatial, 2.0**index, 1.0)
        datasets.append({
            "path": str(index),
            "coordinateTransformations": placed(scale * factor, translation + scale * (factor - 1) / 2),
        })  # fmt: skip
    entry = {"axes": axes or axes_of(dims), "datasets": datasets} | multiscale
    if version == "0.5":
        ome = {"version": "0.5", "multiscales": [entry]} | (attributes or {})
        group.attrs["ome"] = ome
    else:
        group.attrs.update({"multiscales": [entry | {"version": version}]} | (attributes or {}))
    return group


@pytest.fixture(scope="session", name="make_image")
def _make_image():
    return make_image


@pytest.fixture(scope="session", name="put_array")
def _put_array():
    return put_array


@pytest.fixture(scope="session", name="axes_of")
def _axes_of():
    return axes_of


@pytest.fixture(scope="session", name="placed")
def _placed():
    return placed


@pytest.fixture(scope="session")
def ramp():
    """Array in which every voxel has a value of its own."""

    def made(*shape, dtype="u2"):
        return np.arange(np.prod(shape)).reshape(shape).astype(dtype)

    return made


@pytest.fixture(scope="session")
def pyramid(ramp):
    """Levels 0 to n - 1 of a ramp, each with every second voxel along the spatial axes of the last two (or three)."""

    def made(*shape, levels=3, spatial=3):
        first = ramp(*shape)
        step = (...,) + (slice(None, None, 2),) * min(spatial, len(shape))
        arrays = [first]
        for _ in range(levels - 1):
            arrays.append(arrays[-1][step])
        return arrays

    return made
