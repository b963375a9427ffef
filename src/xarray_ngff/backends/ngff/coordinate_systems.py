"""From the pixels of each level to the coordinate system that an image of OME-Zarr 0.6 is read in.

Each dataset maps its array to the one *intrinsic* system; "coordinateTransformations" of the multiscale lead on from
there. The spec (0.6, "multiscales" metadata) says to use the intrinsic system unless there is reason not to, and its
examples list the system that a reader should prefer first. So the rule here: **the first system of "coordinateSystems"
that can be reached from the intrinsic one** through transformations that this package reads. A writer that lists the
intrinsic system first, as most do, gets exactly that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff import affine as maps
from xarray_ngff.backends.ngff.axes import AxisMeta, canonical_axes, parse_axes
from xarray_ngff.backends.ngff.transforms import ArrayReader, listed, matrix, unread_types
from xarray_ngff.backends.ngff.validation import object_at, text, unique, values, warn
from xarray_ngff.errors import MetadataError

__all__ = ["Placement", "placements"]

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """Where one level lies: scale and translation in array order, or an affine for the spatial axes.

    Attributes
    ----------
    scale, translation
        One number per axis in array order. Where there is an `affine` they are its voxel sizes and offset on the
        spatial axes.
    affine
        (n+1, n+1) matrix from voxel index ``(i_x, i_y, i_z, 1)`` to world, or None where scale and translation say all.
    """

    scale: tuple[float, ...]
    translation: tuple[float, ...]
    affine: Matrix | None


def placements(
    multiscale: dict[str, Any],
    datasets: Sequence[dict[str, Any]],
    place: str,
    *,
    system: str | None = None,
    read_array: ArrayReader | None = None,
) -> tuple[tuple[AxisMeta, ...], tuple[Placement, ...]]:
    """Axes of an image in array order and, for each dataset, where it lies.

    Parameters
    ----------
    multiscale
        One entry of "multiscales".
    datasets
        Its datasets.
    place
        Where the entry is, for messages.
    system
        Name of the coordinate system to read in; None for the rule of this module.
    read_array
        Reads parameters that are stored as arrays.

    Raises
    ------
    MetadataError
        Where systems and transformations do not fit together, or one that is needed mixes spatial axes with others.
    """
    systems = _systems(multiscale.get("coordinateSystems"), f"{place}.coordinateSystems")
    intrinsic, pixels = _to_intrinsic(datasets, place, systems, read_array)
    reached = _reachable(multiscale.get("coordinateTransformations"), place, systems, intrinsic, read_array)
    if system is not None and system not in reached:
        raise MetadataError(
            f"{place} has no coordinate system {system!r} that can be reached; it has {', '.join(map(repr, reached))}"
        )
    target = system if system is not None else next(name for name in systems if name in reached)
    where = f"{place}: coordinate system {target!r}"
    world = reached[target]
    if all(axis.type == "array" for axis in systems[target]):
        raise MetadataError(f"{where} has only axes of type 'array' (pixels), and none in space can be reached")
    outputs = canonical_axes(systems[target], where)
    axes = outputs if target == intrinsic else _array_axes(systems[intrinsic], outputs, world, where)
    return axes, tuple(_placement(world @ pixel, axes, outputs, where) for pixel in pixels)


def _systems(raw: object, place: str) -> dict[str, tuple[AxisMeta, ...]]:
    entries = [object_at(entry, f"{place}[{i}]") for i, entry in enumerate(values(raw, place, of="coordinate systems"))]
    names = [text(entry.get("name"), f"{place}[{i}].name") for i, entry in enumerate(entries)]
    unique(names, f"{place}: name")
    return {
        name: parse_axes(entry.get("axes"), f"{place}[{i}].axes")
        for i, (name, entry) in enumerate(zip(names, entries, strict=True))
    }


def _end(step: dict[str, Any], key: str) -> tuple[str | None, str | None]:
    """Name and path that an "input" or "output" gives: a text in early drafts, an object since."""
    end = step.get(key)
    if isinstance(end, dict):
        return end.get("name"), end.get("path")
    return (end, None) if isinstance(end, str) else (None, None)


def _to_intrinsic(
    datasets: Sequence[dict[str, Any]],
    place: str,
    systems: dict[str, tuple[AxisMeta, ...]],
    read_array: ArrayReader | None,
) -> tuple[str, list[Matrix]]:
    intrinsic: list[str] = []
    pixels = []
    for index, dataset in enumerate(datasets):
        where = f"{place}.datasets[{index}].coordinateTransformations"
        steps = listed(dataset.get("coordinateTransformations"), where)
        output = _end(steps[-1], "output")[0]
        if output is None and len(systems) == 1:
            output = next(iter(systems))
            warn(where, f"names no output; it was taken to be {output!r}, the only coordinate system")
        if output not in systems:
            raise MetadataError(f"{where} leads to {output!r}, expected a coordinate system: {', '.join(systems)}")
        if intrinsic and output != intrinsic[0]:
            raise MetadataError(f"{where} leads to {output!r}, but datasets before it to {intrinsic[0]!r}")
        intrinsic.append(output)
        names = [axis.name for axis in systems[output]]
        result = np.eye(len(names) + 1)
        for i, step in enumerate(steps):
            result = matrix(step, f"{where}[{i}]", len(names), read_array=read_array, axes=(names, names)) @ result
        pixels.append(result)
    return intrinsic[0], pixels


def _reachable(
    raw: object,
    place: str,
    systems: dict[str, tuple[AxisMeta, ...]],
    intrinsic: str,
    read_array: ArrayReader | None,
) -> dict[str, Matrix]:
    """Matrix from the intrinsic system to each one that can be reached, itself first."""
    where = f"{place}.coordinateTransformations"
    steps = [] if raw is None or raw == [] else listed(raw, where)
    reached = {intrinsic: np.eye(len(systems[intrinsic]) + 1)}
    waiting = list(enumerate(steps))
    progress = True
    while progress:
        progress = False
        for index, step in list(waiting):
            (source, _), (output, path) = _end(step, "input"), _end(step, "output")
            if source not in reached:
                continue
            waiting.remove((index, step))
            # an output with a path is a system of another image, such as a label image
            if output in systems and path is None and output not in reached:
                names = [axis.name for axis in systems[source]], [axis.name for axis in systems[output]]
                unread = unread_types(step)
                if unread:
                    # the spec asks readers to say so and go on: the intrinsic system is complete without it
                    warn(f"{where}[{index}]", f"has the type {unread[0]!r}, which is not read: {output!r} was left out")
                    continue
                if len(names[0]) != len(names[1]):
                    raise MetadataError(f"{where}[{index}] leads from {len(names[0])} axes to {len(names[1])}")
                part = matrix(step, f"{where}[{index}]", len(names[0]), read_array=read_array, axes=names)
                reached[output] = part @ reached[source]
                progress = True
    return reached


def _array_axes(
    intrinsic: tuple[AxisMeta, ...], outputs: tuple[AxisMeta, ...], world: Matrix, place: str
) -> tuple[AxisMeta, ...]:
    """Axes in the order of the array, described as the world describes the axes of the same name."""
    if all(axis.type == "array" for axis in intrinsic):
        # dims of an array have no meaning of their own: each is the axis that it runs closest to
        closest, _ = maps.closest_axes(maps.linear(world))
        return tuple(outputs[index] for index in closest)
    names = [axis.name for axis in canonical_axes(intrinsic, place)]
    by_name = {axis.name: axis for axis in outputs}
    if set(names) != set(by_name):
        raise MetadataError(f"{place} has axes {', '.join(by_name)}, but the image has {', '.join(names)}")
    return tuple(by_name[name] for name in names)


def _placement(total: Matrix, axes: tuple[AxisMeta, ...], outputs: tuple[AxisMeta, ...], place: str) -> Placement:
    # rows in the order of the array's axes, so that row and column of one axis have the same index
    order = [outputs.index(axis) for axis in axes]
    part, shift = maps.linear(total)[order], maps.offset(total)[order]
    spatial = [i for i, axis in enumerate(axes) if axis.type == "space"]
    others = [i for i, axis in enumerate(axes) if axis.type != "space"]
    sizes = np.sqrt((part**2).sum(axis=0))
    stray = np.abs(part - np.diag(np.diag(part))) > 1e-12 * sizes
    for i in others:
        mixed = np.flatnonzero(stray[i] | stray[:, i])
        if mixed.size:
            raise MetadataError(
                f"{place} mixes axis {axes[i].name!r} with {axes[mixed[0]].name!r}: only spatial axes may be mixed"
            )
        if part[i, i] <= 0:
            raise MetadataError(f"{place} scales axis {axes[i].name!r} by {part[i, i]:g}, expected a number above zero")
    if not stray.any() and (np.diag(part) > 0).all():
        return Placement(tuple(np.diag(part).tolist()), tuple(shift.tolist()), None)
    # x, y, z is the reverse of the canonical order, whatever the order in the array
    xyz = sorted(spatial, key=lambda i: axes[i].name)
    oblique = maps.compose(part[np.ix_(xyz, xyz)], shift[xyz])
    return Placement(tuple(sizes.tolist()), tuple(shift.tolist()), oblique)
