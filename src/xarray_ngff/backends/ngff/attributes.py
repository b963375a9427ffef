"""What an OME-Zarr says of an image: its attributes, made from coordinates.

The reference implementation, ome-zarr, writes and checks the multiscales and omero metadata. What it leaves out is
added here: the downsampling method, and under the vendor key ``xarray_ngff`` what the format has no place for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version as package_version
from typing import Any

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._times import START_TIME, start_time
from xarray_ngff.backends.ngff.image_metadata import VENDOR_KEY
from xarray_ngff.backends.ngff.labels.metadata import PATH_KEY, image_label
from xarray_ngff.channels import Channel, channels
from xarray_ngff.errors import FormatError
from xarray_ngff.geometry import Axis
from xarray_ngff.orientation import ORIENTATIONS, direction_vector, opposite
from xarray_ngff.units import unit_name

__all__ = ["ascending", "image_attributes", "selected_coordinates", "written_dims"]

_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_DEFAULT_COLORS = ("FFFFFF",), ("FF00FF", "00FF00"), ("FF0000", "00FF00", "0000FF")


def written_dims(img: xr.DataArray) -> tuple[str, ...]:
    """Dims of an image in the order in which OME-Zarr allows them, or `FormatError` where it does not.

    Raises
    ------
    FormatError
        With more than five axes, fewer than two spatial ones, or more than one axis besides t, z, y and x.
    """
    dims = tuple(map(str, geometry.canonical_dims(img.dims)))
    spatial = [dim for dim in dims if _TYPES.get(dim) == "space"]
    others = [dim for dim in dims if dim not in spatial and dim != "t"]
    if len(spatial) < 2:
        raise FormatError(
            f"OME-Zarr holds images with two or three spatial axes, this one has dims {dims}: "
            'give it another axis, for example img.expand_dims("y")'
        )
    if len(others) > 1:
        raise FormatError(
            f"OME-Zarr holds at most one axis besides t, z, y and x, this image has {', '.join(others)}: "
            "select along one of them, or write one image for each of its indices"
        )
    return dims


def ascending(img: xr.DataArray) -> xr.DataArray:
    """Image whose coordinates ascend, as the positive scales of OME-Zarr ask, with every voxel where it was.

    A spatial axis that descends keeps its storage order and takes the opposite orientation, its coordinates negated;
    in a world that is not anatomical it is flipped, and so is any other axis.
    """
    axes = {dim: geometry.axis(img, dim) for dim in map(str, img.dims) if dim != "c" and dim in img.coords}
    # of all that place the image, also those that were selected away
    spatial = [geometry.axis(img, dim) for dim in geometry.spatial_axes(img)]
    anatomical = all(direction_vector(along.orientation) is not None for along in spatial)
    for dim, along in axes.items():
        if along.step > 0:
            continue
        if dim not in geometry.SPATIAL_DIMS or not anatomical or along.orientation is None:
            img = img.isel({dim: slice(None, None, -1)})
            if along.size == 1:
                img = img.assign_coords({dim: _coordinate(along, start=along.start, step=-along.step)})
        else:
            negated = _coordinate(along, start=-along.start, step=-along.step)
            negated.attrs["orientation"] = opposite(along.orientation)
            if along.direction is not None:
                negated.attrs["direction"] = [-component for component in along.direction]
            img = img.assign_coords({dim: negated})
    return img


def _coordinate(along: Axis, *, start: float, step: float) -> xr.Variable:
    return geometry.coordinate(
        along.dim,
        along.size,
        start=start,
        step=step,
        units=along.units,
        orientation=along.orientation,
        direction=along.direction,
    )


def image_attributes(
    levels: Sequence[xr.DataArray], paths: Sequence[str], *, version: str, method: str
) -> dict[str, Any]:
    """Attributes of the group of an image.

    Parameters
    ----------
    levels
        Images of the levels, finest first, with ascending coordinates and dims as `written_dims` orders them; only
        their coordinates and dtype are looked at.
    paths
        Path of the array of each level, from the group.
    version
        ``"0.4"`` or ``"0.5"``.
    method
        How the levels were made.

    Returns
    -------
    dict
        As Zarr stores them: in 0.5 the OME metadata are under ``"ome"``.
    """
    import zarr
    from ome_zarr.format import format_from_version
    from ome_zarr.writer import write_multiscales_metadata

    finest = levels[0]
    fmt = format_from_version(version)
    scratch = zarr.create_group(zarr.storage.MemoryStore(), zarr_format=fmt.zarr_format)
    omero = _omero(finest)
    write_multiscales_metadata(
        scratch,
        [
            {"path": path, "coordinateTransformations": _transformations(level)}
            for level, path in zip(levels, paths, strict=True)
        ],
        fmt=fmt,
        axes=[_axis(finest, str(dim)) for dim in finest.dims],
        name=str(finest.name or "image"),
        **({} if omero is None else {"metadata": {"omero": omero}}),
    )
    attributes: dict[str, Any] = scratch.attrs.asdict()
    ome = attributes.get("ome", attributes)
    if len(levels) > 1:
        ome["multiscales"][0] |= {"type": method, "metadata": _downsampling(method)}
    if finest.name == "labels":
        known = _plain(finest.encoding.get("image-label", {}), "image-label")
        path = finest.encoding.get(PATH_KEY)
        ome["image-label"] = image_label(known, version=version, path=path)
        # viewers show this name
        ome["multiscales"][0] |= {} if path is None else {"name": path.rpartition("/")[2]}
    vendor = _vendor(finest)
    return attributes | ({VENDOR_KEY: vendor} if vendor else {})


def _downsampling(method: str) -> dict[str, str]:
    by = {"method": "xarray_ngff.to_ome_zarr", "version": package_version("xarray-ngff")}
    said = "levels were given" if method == "custom" else f"{method} of blocks of the voxels that exist"
    return {"description": said} | by


def _plain(value: Any, key: str) -> Any:
    """The mapping under a key of the encoding as JSON holds it, or `FormatError` where it cannot."""
    if not isinstance(value, Mapping):
        raise FormatError(f"encoding[{key!r}] is {value!r}, expected a mapping: delete it")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise FormatError(f"encoding[{key!r}] holds something that is no JSON ({error}): delete it") from error


def _axis(img: xr.DataArray, dim: str) -> dict[str, Any]:
    attrs = img.coords[dim].attrs if dim in img.coords else {}
    unit, orientation = unit_name(attrs.get("units")), attrs.get("orientation")
    # without a type the official schema would count it as spatial
    said = {"name": dim, "type": _TYPES.get(dim, "custom"), "unit": None if dim == "c" else unit}
    axis: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    if orientation:
        if orientation not in ORIENTATIONS:
            raise FormatError(
                f"axis {dim!r} has the orientation {orientation!r}, which is none of RFC-4, such as 'left-to-right': "
                "set it with img.ngff.set_geometry(orientation=...)"
            )
        axis["orientation"] = {"type": "anatomical", "value": orientation}
    return axis


def _transformations(img: xr.DataArray) -> list[dict[str, Any]]:
    measured = [dim for dim in map(str, img.dims) if dim != "c" and dim in img.coords]
    axes = {dim: geometry.axis(img, dim) for dim in measured}
    scale = [axes[str(dim)].step if dim in axes else 1.0 for dim in img.dims]
    translation = [axes[str(dim)].start if dim in axes else 0.0 for dim in img.dims]
    return [{"type": "scale", "scale": scale}, {"type": "translation", "translation": translation}]


def _omero(img: xr.DataArray) -> dict[str, Any] | None:
    known = channels(img)
    if not any(channel != Channel() for channel in known):
        return None
    colors = _DEFAULT_COLORS[min(len(known), 3) - 1]
    return {
        "channels": [
            {
                "label": channel.name or str(index),
                "color": channel.color or colors[index % len(colors)],
                "window": _window(channel, img.dtype),
                "active": True,
            }
            for index, channel in enumerate(known)
        ]
    }


def _window(channel: Channel, dtype: np.dtype[Any]) -> dict[str, float]:
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        widest = float(info.min), float(info.max)
    else:
        widest = 0.0, 1.0
    limits = channel.limits or (
        widest if channel.window is None else (min(widest[0], channel.window[0]), max(widest[1], channel.window[1]))
    )
    start, end = channel.window or limits
    return {"min": limits[0], "max": limits[1], "start": start, "end": end}


def _vendor(img: xr.DataArray) -> dict[str, Any]:
    """What OME-Zarr cannot say.

    Directions of oblique axes, axes that were selected away, the instant at which t is 0, fields of a NIfTI header.
    """
    axes = {dim: geometry.axis(img, dim) for dim in geometry.spatial_axes(img)}
    selected = {
        dim: {key: value for key, value in asdict(along).items() if value is not None and key not in ("dim", "size")}
        for dim, along in axes.items()
        if dim not in img.dims
    }
    if "t" in img.coords and "t" not in img.dims:
        along = geometry.axis(img, "t")
        selected["t"] = {"start": along.start, "step": along.step} | ({"units": along.units} if along.units else {})
    started = start_time(img)
    said = {
        "direction": {dim: list(a.direction) for dim, a in axes.items() if a.direction and dim in img.dims},
        "selected": selected,
        START_TIME: None if started is None else started.isoformat(),
        "nifti": _plain(img.encoding.get("nifti", {}), "nifti"),
    }
    return {key: value for key, value in said.items() if value}


def selected_coordinates(vendor: Mapping[str, Any]) -> dict[str, xr.Variable]:
    """Scalar coordinates of the axes that an image was selected along before it was written."""
    coords = {}
    for dim, said in vendor.get("selected", {}).items():
        direction = said.get("direction")
        coords[dim] = geometry.coordinate(
            dim,
            1,
            start=said["start"],
            step=said["step"],
            units=said.get("units"),
            orientation=said.get("orientation"),
            direction=None if direction is None else tuple(direction),
        )[0]
    return coords
