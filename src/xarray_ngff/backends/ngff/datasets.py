"""Levels of an OME-Zarr image as xarray datasets: lazy voxels, and coordinates from the metadata."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._lazy import FileKey, LazyArray, image_dataset
from xarray_ngff.backends._times import START_TIME, parse_time
from xarray_ngff.backends.ngff.attributes import selected_coordinates
from xarray_ngff.backends.ngff.metadata import LevelMeta, MultiscaleImage
from xarray_ngff.backends.ngff.nodes import Node, open_array
from xarray_ngff.backends.ngff.stores import StoreRoot
from xarray_ngff.channels import Channel, channel_coordinates
from xarray_ngff.errors import FormatError, MetadataError
from xarray_ngff.orientation import direction_vector

if TYPE_CHECKING:
    import zarr

__all__ = ["ZarrLevel", "level_dataset"]

# That values are stored integers under a slope is true of the full resolution only: their means lie between.
_FULL_RESOLUTION_ONLY = ("dtype", "scaled", "scl_slope", "scl_inter")


class ZarrLevel(LazyArray):
    """Zarr array of one level, opened when its voxels are first asked for. It pickles when its store does."""

    def __init__(self, root: StoreRoot, node: Node, order: Sequence[int]) -> None:
        if node.shape is None or node.dtype is None:
            raise MetadataError(f"{root.name}: {node.path!r} is a group, expected the array of a level")
        super().__init__(node.shape, node.dtype, order)
        self._root = root
        self._node = node
        self._array: Any = None

    def opened(self) -> zarr.Array[Any]:
        """The zarr array, opened for reading; nothing of it is read."""
        if self._array is None:
            self._array = open_array(self._root, self._node)
        array: zarr.Array[Any] = self._array
        return array

    def read(self, key: FileKey) -> npt.ArrayLike:
        """Selected voxels, in the axis order of the file."""
        array: Any = self.opened()
        try:
            if not any(isinstance(part, np.ndarray) for part in key):
                values: npt.ArrayLike = array[key]
            else:
                # integers beside vectors fail on the shards of zarr 3.0, so they are slices first
                sliced = tuple(part if isinstance(part, slice | np.ndarray) else slice(part, part + 1) for part in key)
                kept = tuple(slice(None) if isinstance(part, slice | np.ndarray) else 0 for part in key)
                values = array.oindex[sliced][kept]
        except Exception as error:
            # zarr's codecs and stores raise whatever their libraries do
            raise FormatError(
                f"{self._root.name}: cannot read {_shown(key)} of array {self._node.path!r}: a chunk is corrupt, or "
                f"its store cannot be reached ({type(error).__name__}: {error})"
            ) from error
        return values

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}


def _shown(key: FileKey) -> str:
    parts = (
        f"{part.start}:{part.stop}" if isinstance(part, slice) else "..." if isinstance(part, np.ndarray) else str(part)
        for part in key
    )
    return f"[{', '.join(parts)}]"


def level_dataset(
    root: StoreRoot,
    group: str,
    node: Node,
    image: MultiscaleImage,
    level: LevelMeta,
    *,
    labels: bool,
    known: dict[Hashable, xr.Coordinates] | None = None,
) -> xr.Dataset:
    """Dataset of one level of an image.

    Parameters
    ----------
    root, group
        The store, and the path of the image's group in it.
    node
        Array of the level.
    image, level
        What the group says, fitted to the shapes of its arrays.
    labels
        Whether it is a label image.
    known
        Coordinates made so far, added to here: the fields of a plate mostly have the same ones, and an index that is
        shared costs a third of one that is made.
    """
    names = tuple(axis.name for axis in image.axes)
    dims = tuple(map(str, geometry.canonical_dims(names)))
    array = ZarrLevel(root, node, [names.index(dim) for dim in dims])
    sizes = dict(zip(dims, array.shape, strict=True))
    finest = level is image.levels[0]
    place = f"{root.name}: {group or 'root'}"
    chunks = dict(zip(names, node.chunks or (), strict=True))
    encoding: dict[str, Any] = {"preferred_chunks": {dim: max(chunks[dim], 1) for dim in dims}}
    nifti = image.vendor.get("nifti")
    if isinstance(nifti, Mapping):
        dropped = () if finest or not nifti.get("scaled") else _FULL_RESOLUTION_ONLY
        encoding["nifti"] = {key: value for key, value in nifti.items() if key not in dropped}
    if image.image_label:
        encoding["image-label"] = image.image_label
    return image_dataset(
        "labels" if labels else "image",
        dims,
        array,
        _coordinates(image, level, sizes, place) if known is None else _shared(image, level, sizes, place, known),
        encoding=encoding,
        source=f"{root.name.rstrip('/')}/{group}".rstrip("/"),
    )


def _shared(
    image: MultiscaleImage,
    level: LevelMeta,
    sizes: Mapping[str, int],
    place: str,
    known: dict[Hashable, xr.Coordinates],
) -> xr.Coordinates:
    said = (level.affine, image.channels, image.vendor)
    key = (image.axes, level.scale, level.translation, tuple(sizes.items()), repr(said))
    if key not in known:
        known[key] = xr.Dataset(coords=_coordinates(image, level, sizes, place)).coords
        for name in set(known[key]) - set(known[key].xindexes):
            # as those of an index are: a change in one field must not show in another
            known[key][name].values.flags.writeable = False
    return known[key]


def _coordinates(
    image: MultiscaleImage, level: LevelMeta, sizes: Mapping[str, int], place: str
) -> dict[str, xr.Variable]:
    directions = _directions(image.vendor, place)
    coords = _affine_coordinates(image, level.affine, sizes) if level.affine is not None else {}
    for axis, scale, translation in zip(image.axes, level.scale, level.translation, strict=True):
        if axis.name == "c" or axis.name in coords:
            continue
        coords[axis.name] = geometry.coordinate(
            axis.name,
            sizes[axis.name],
            start=translation,
            step=scale,
            units=axis.unit,
            orientation=axis.orientation,
            direction=directions.get(axis.name),
        )
    try:
        selected = selected_coordinates(image.vendor)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MetadataError(f"{place}: attribute xarray_ngff.selected is not as this package writes it") from error
    # an axis that the image has is no longer selected away
    coords |= {dim: coord for dim, coord in selected.items() if dim not in sizes}
    if "t" in coords and START_TIME in image.vendor:
        coords["t"].attrs[START_TIME] = _start_time(image.vendor[START_TIME], place)
    return coords | _channel_coordinates(image, sizes)


def _directions(vendor: Mapping[str, Any], place: str) -> dict[str, tuple[float, float, float]]:
    try:
        directions = {dim: tuple(map(float, vector)) for dim, vector in vendor.get("direction", {}).items()}
    except (TypeError, AttributeError, ValueError) as error:
        raise MetadataError(f"{place}: attribute xarray_ngff.direction is not as this package writes it") from error
    for dim, vector in directions.items():
        if len(vector) != 3:
            raise MetadataError(f"{place}: attribute xarray_ngff.direction[{dim!r}] is {vector}, expected (x, y, z)")
    return directions  # type: ignore[return-value]  # three each, as checked


def _start_time(said: object, place: str) -> str:
    if not isinstance(said, str) or parse_time(said) is None:
        raise MetadataError(f"{place}: attribute xarray_ngff.{START_TIME} is {said!r}, expected an ISO 8601 time")
    return said


def _affine_coordinates(
    image: MultiscaleImage, affine: npt.NDArray[np.float64], sizes: Mapping[str, int]
) -> dict[str, xr.Variable]:
    axes = {axis.name: axis for axis in image.axes if axis.name in geometry.SPATIAL_DIMS}
    ordered = [axes[dim] for dim in geometry.SPATIAL_DIMS if dim in axes]
    vectors = [direction_vector(axis.orientation) for axis in ordered]
    frame, matrix = None, affine
    if all(vector is not None for vector in vectors):
        # the file's world axes point along these vectors of RAS+
        rows = [geometry.SPATIAL_DIMS.index(axis.name) for axis in ordered]
        turn = np.array(vectors, dtype=np.float64).T[rows]
        frame, matrix = "RAS", affine.copy()
        matrix[:-1] = turn @ affine[:-1]
    unit = next((axis.unit for axis in ordered if axis.unit is not None), None)
    spatial = {axis.name: sizes[axis.name] for axis in ordered}
    return geometry.coordinates_from_affine(spatial, matrix, units=unit, frame=frame)


def _channel_coordinates(image: MultiscaleImage, sizes: Mapping[str, int]) -> dict[str, xr.Variable]:
    if not image.channels:
        return {}
    coords = channel_coordinates([_channel(channel) for channel in image.channels])
    return coords if "c" in sizes else {name: values[0] for name, values in coords.items()}


def _channel(said: Mapping[str, Any]) -> Channel:
    window = said.get("window", {})
    return Channel(said.get("label"), said.get("color"), _pair(window, "start", "end"), _pair(window, "min", "max"))


def _pair(window: Mapping[str, Any], low: str, high: str) -> tuple[float, float] | None:
    return (window[low], window[high]) if low in window and high in window else None
