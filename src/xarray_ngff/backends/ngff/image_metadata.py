"""Multiscale images: axes, levels, channels and the rest of what the attributes of their group say.

Spec: "multiscales" metadata of OME-NGFF 0.1 to 0.6. What the specification's own test suites call invalid raises
`MetadataError`; what writers do wrong but can be understood is read with an `NgffWarning` that names the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.ngff.axes import AxisMeta, axes_by_ndim, canonical_axes, parse_axes
from xarray_ngff.backends.ngff.coordinate_systems import placements
from xarray_ngff.backends.ngff.labels.metadata import parse_image_label
from xarray_ngff.backends.ngff.omero import parse_channels
from xarray_ngff.backends.ngff.transforms import ArrayReader, scale_and_translation
from xarray_ngff.backends.ngff.validation import object_at, shown, text, unique, values, warn
from xarray_ngff.backends.ngff.versions import assumed_version, ome_metadata, version_of
from xarray_ngff.backends.ngff.zarrnii import ras_translation, zarrnii_orientations
from xarray_ngff.errors import MetadataError

__all__ = ["VENDOR_KEY", "LevelMeta", "MultiscaleImage", "fit_shapes", "multiscales"]

# What this package writes beside the standard's metadata, at the top of the attributes of an image's group.
VENDOR_KEY = "xarray_ngff"


@dataclass(frozen=True, eq=False)
class LevelMeta:
    """One resolution level: its array, and where its pixel centres lie.

    Attributes
    ----------
    path
        Path of the array from the group.
    scale, translation
        Pixel size and position of pixel 0, one number per axis in array order, all transformations composed.
    affine
        None where scale and translation say all. Else (version 0.6) the (n+1, n+1) matrix from voxel index
        ``(i_x, i_y, i_z, 1)`` to world for the spatial axes, whose scale and translation then are only its voxel sizes
        and offset.
    """

    path: str
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    affine: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True)
class MultiscaleImage:
    """A multiscale image as its group describes it.

    Attributes
    ----------
    name
        The file's name for it, or None.
    version
        "0.1" to "0.6"; drafts and patch releases count as what they are drafts of.
    axes
        In the order of the arrays.
    levels
        From the largest on.
    channels
        See `parse_channels`; empty where the file has none.
    image_label
        Colours, properties and source of a label image; None where the group has no "image-label".
    method
        "type" and "metadata" of the multiscale: how it was downsampled.
    vendor
        What this package wrote beside the standard's metadata.
    scales_from_shapes
        Whether the file has no scales (before 0.4), so that `fit_shapes` must find them.
    """

    name: str | None
    version: str
    axes: tuple[AxisMeta, ...]
    levels: tuple[LevelMeta, ...]
    channels: tuple[dict[str, Any], ...] = ()
    image_label: dict[str, Any] | None = None
    method: dict[str, Any] = field(default_factory=dict)
    vendor: dict[str, Any] = field(default_factory=dict)
    scales_from_shapes: bool = False


def multiscales(
    attributes: Mapping[str, Any],
    where: str,
    *,
    zarr_format: int | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    read_array: ArrayReader | None = None,
    coordinate_system: str | None = None,
) -> tuple[MultiscaleImage, ...]:
    """Images of a group, in the file's order; nearly always one.

    Parameters
    ----------
    attributes
        All attributes of the group.
    where
        What to call the group in messages. Where many groups are alike, one name for all of them keeps their warnings
        to one.
    zarr_format
        2 or 3, to say where the metadata are for the other one.
    shapes
        Shapes of the arrays by path, for `fit_shapes`.
    read_array
        Reads a small array by its path from the group, for transformations stored so.
    coordinate_system
        Version 0.6: name of the system to read in; None for the default (see `coordinate_systems`).

    Raises
    ------
    MetadataError
        Where the metadata leave no safe reading.

    Examples
    --------
    >>> axes = [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    >>> level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.25]}]}
    >>> attributes = {"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}}
    >>> image, = multiscales(attributes, "img.zarr")
    >>> [axis.name for axis in image.axes], image.levels[0].scale
    (['y', 'x'], (0.5, 0.25))
    """
    metadata = ome_metadata(attributes, where)
    entries = values(metadata.get("multiscales"), f"{where}: multiscales", of="images")
    stated = version_of(attributes, where)
    if zarr_format is not None and ("ome" in attributes) != (zarr_format == 3):
        home = 'under "ome"' if zarr_format == 3 else "at the top"
        warn(f"{where}:", f"has its metadata not {home} of the attributes, as a group of Zarr v{zarr_format} should")
    vendor = attributes.get(VENDOR_KEY, {})
    if not isinstance(vendor, dict):
        warn(f"{where}: {VENDOR_KEY}", f"is {shown(vendor)}, expected an object; it was ignored")
        vendor = {}
    channels = parse_channels(metadata.get("omero"), f"{where}: omero")
    label = parse_image_label(metadata.get("image-label"), f"{where}: image-label")
    images = []
    for index, entry in enumerate(entries):
        place = f"{where}: multiscales[{index}]"
        multiscale = object_at(entry, place)
        version = stated or assumed_version(multiscale, place, namespaced="ome" in attributes)
        # drafts of 0.6 went by other versions
        version = "0.6" if "coordinateSystems" in multiscale else version
        axes, levels, unscaled = _axes_and_levels(multiscale, place, version, read_array, coordinate_system)
        if version != "0.6":
            axes, levels = _with_zarrnii(axes, levels, attributes, where)
        name = multiscale.get("name")
        image = MultiscaleImage(
            name=name if isinstance(name, str) else None,
            version=version,
            axes=axes,
            levels=levels,
            channels=channels,
            image_label=label,
            method={key: multiscale[key] for key in ("type", "metadata") if multiscale.get(key) is not None},
            vendor=vendor,
            scales_from_shapes=unscaled,
        )
        images.append(image if shapes is None else fit_shapes(image, shapes, place))
    return tuple(images)


def _axes_and_levels(
    multiscale: dict[str, Any], place: str, version: str, read_array: ArrayReader | None, system: str | None
) -> tuple[tuple[AxisMeta, ...], tuple[LevelMeta, ...], bool]:
    entries = values(multiscale.get("datasets"), f"{place}.datasets", of="datasets")
    datasets = [object_at(entry, f"{place}.datasets[{index}]") for index, entry in enumerate(entries)]
    paths = [text(dataset.get("path"), f"{place}.datasets[{i}].path").strip("/") for i, dataset in enumerate(datasets)]
    unique(paths, f"{place}.datasets: path")
    if version == "0.6" and "axes" in multiscale:
        warn(place, "has axes instead of coordinateSystems; it was read as version '0.5'")
    elif version == "0.6":
        axes, found = placements(multiscale, datasets, place, system=system, read_array=read_array)
        levels = [LevelMeta(p, at.scale, at.translation, at.affine) for p, at in zip(paths, found, strict=True)]
        return axes, tuple(levels), False
    old = version in ("0.1", "0.2", "0.3")
    if old and multiscale.get("axes") is None:
        axes = axes_by_ndim(5, place)
    else:
        axes = canonical_axes(parse_axes(multiscale.get("axes"), f"{place}.axes", names_only=old), f"{place}.axes")
    ndim = len(axes)
    if old and not any(dataset.get("coordinateTransformations") for dataset in datasets):
        return axes, tuple(LevelMeta(path, (1.0,) * ndim, (0.0,) * ndim) for path in paths), True
    key = "coordinateTransformations"
    outer = ((1.0,) * ndim, (0.0,) * ndim)
    if multiscale.get(key):
        outer = scale_and_translation(
            multiscale[key], f"{place}.{key}", ndim, read_array=read_array, scale_required=False
        )
    levels = []
    for index, (path, dataset) in enumerate(zip(paths, datasets, strict=True)):
        inner = scale_and_translation(dataset.get(key), f"{place}.datasets[{index}].{key}", ndim, read_array=read_array)
        scale = tuple(s * factor for s, factor in zip(inner[0], outer[0], strict=True))
        translation = tuple(t * factor + shift for t, factor, shift in zip(inner[1], *outer, strict=True))
        levels.append(LevelMeta(path, scale, translation))
    return axes, tuple(levels), False


def _with_zarrnii(
    axes: tuple[AxisMeta, ...], levels: tuple[LevelMeta, ...], attributes: Mapping[str, Any], where: str
) -> tuple[tuple[AxisMeta, ...], tuple[LevelMeta, ...]]:
    found = zarrnii_orientations(attributes, where)
    stated = {axis.name: axis.orientation for axis in axes if axis.orientation is not None}
    if not found:
        return axes, levels
    if stated:
        other = ", ".join(name for name, value in stated.items() if found.get(name) != value)
        if other:
            message = (
                f"has another orientation of {other} on the axes than in zarrnii's attribute; the axes were followed"
            )
            warn(f"{where}:", message)
        return axes, levels
    axes = tuple(replace(axis, orientation=found.get(axis.name)) for axis in axes)
    first = levels[0].translation
    return axes, tuple(replace(level, translation=ras_translation(axes, first, level.translation)) for level in levels)


def fit_shapes(image: MultiscaleImage, shapes: Mapping[str, Sequence[int]], where: str) -> MultiscaleImage:
    """The image, checked against its arrays, with what only they can tell.

    The number of dims must be that of the axes; versions 0.1 and 0.2 get their axes by it. Versions before 0.4 have no
    scales: a pixel of level 0 has size 1, and a level's pixels are centred on the blocks that their number implies.
    Channels that are not as many as the image has are left out with a warning.

    Parameters
    ----------
    image
        As `multiscales` gives it.
    shapes
        Shape of each array by its path; levels that are not in it are not checked.
    where
        What to call the image in messages.

    Raises
    ------
    MetadataError
        Where dims and axes differ in number.
    """
    known = [(level, tuple(shapes[level.path])) for level in image.levels if level.path in shapes]
    if not known:
        return image
    axes = image.axes
    if image.version in ("0.1", "0.2") and image.scales_from_shapes and len(known[0][1]) != len(axes) == 5:
        axes = axes_by_ndim(len(known[0][1]), where)
    for level, shape in known:
        if len(shape) != len(axes):
            raise MetadataError(
                f"{where}: array {level.path!r} has {len(shape)} dims {shape}, but the axes are "
                f"{', '.join(axis.name for axis in axes)} ({len(axes)})"
            )
    levels = image.levels
    if image.scales_from_shapes:
        full = known[0][1]
        by_path = {level.path: _centred(level.path, full, shape) for level, shape in known}
        levels = tuple(by_path.get(level.path, level) for level in levels)
    sizes = dict(zip((axis.name for axis in axes), known[0][1], strict=True))
    channels = image.channels
    if channels and len(channels) != sizes.get("c", 1):
        warn(where, f"describes {len(channels)} channels, but the image has {sizes.get('c', 1)}; they were ignored")
        channels = ()
    return replace(image, axes=axes, levels=levels, channels=channels)


def _centred(path: str, full: Sequence[int], shape: Sequence[int]) -> LevelMeta:
    factors = [_factor(large, small) for large, small in zip(full, shape, strict=True)]
    return LevelMeta(path, tuple(factors), tuple((factor - 1) / 2 for factor in factors))


def _factor(full: int, reduced: int) -> float:
    """Factor between two sizes: a whole number where one explains them, rounded up or down."""
    if not reduced:
        return 1.0
    whole = round(full / reduced)
    return float(whole) if whole and reduced in (full // whole, -(-full // whole)) else full / reduced
