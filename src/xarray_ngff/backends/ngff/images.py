"""Images of an OME-Zarr found and opened: one level, or everything below a group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from xarray_ngff.backends.ngff import metadata
from xarray_ngff.backends.ngff.datasets import level_dataset
from xarray_ngff.backends.ngff.metadata import MultiscaleImage, fit_shapes, group_kind, multiscales
from xarray_ngff.backends.ngff.nodes import Node, open_array, read_group, read_nodes, suggested_groups
from xarray_ngff.backends.ngff.plate_metadata import Plate
from xarray_ngff.backends.ngff.stores import StoreRoot, joined
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError, LevelError, MetadataError

__all__ = [
    "array_shapes",
    "image_group",
    "image_level",
    "level_nodes",
    "multiscale_image",
    "open_image",
    "open_tree",
    "place_of",
]


def open_image(root: StoreRoot, group: str, *, level: int, multiscale: int) -> xr.Dataset:
    """Dataset of one level of the image in a group."""
    node = image_group(root, read_group(root, group))
    image = multiscale_image(root, node, multiscale)
    if isinstance(level, bool) or not isinstance(level, int | np.integer) or not 0 <= level < len(image.levels):
        paths = ", ".join(f"{index} ({entry.path})" for index, entry in enumerate(image.levels))
        raise LevelError(f"level={level!r} is not in {place_of(root, node.path)}, which has the levels {paths}")
    wanted = image.levels[level]
    needed = {wanted.path, image.levels[0].path} if image.scales_from_shapes else {wanted.path}
    arrays = level_nodes(root, node, [entry for entry in image.levels if entry.path in needed])
    fitted = fit_shapes(image, array_shapes(arrays), place_of(root, node.path))
    return image_level(root, node, arrays[wanted.path], fitted, level)


def open_tree(
    root: StoreRoot,
    group: str,
    *,
    multiscale: int,
    wells: str | Iterable[str] | None,
    fields: int | str | Iterable[int | str] | None,
) -> dict[str, xr.Dataset]:
    """Datasets of everything below a group, by path: levels of an image and its labels, a series, a well or a plate."""
    node = read_group(root, group)
    kind = group_kind(node.attributes, place_of(root, node.path))
    if (wells is not None and kind != "plate") or (fields is not None and kind not in ("plate", "well")):
        raise FormatError(
            f"{place_of(root, node.path)} is no {'plate' if wells is not None else 'plate or well'}: leave out wells= "
            "and fields=, which open a part of one"
        )
    match kind:
        case "image":
            return _image_tree(root, node, multiscale) | _labels_tree(root, joined(node.path, "labels"), "/labels")
        case "labels":
            return _labels_tree(root, node.path, "", node)
        case "series":
            paths = {joined(node.path, path): path for path in _series_paths(root, node)}
            trees = _images_trees(root, list(paths), multiscale, node.zarr_format)
            return {f"/{paths[full]}{inner}": ds for full, tree in trees.items() for inner, ds in tree.items()}
        case "well":
            return _wells_trees(root, {"": node}, fields, multiscale)
        case "plate":
            return _plate_tree(root, node, wells, fields, multiscale)
        case None:
            raise _nothing_here(root, node)


def place_of(root: StoreRoot, path: str) -> str:
    """What messages call a group."""
    return f"{root.name}: {path}" if path else root.name


def _nothing_here(root: StoreRoot, node: Node) -> FormatError:
    meant = suggested_groups(root, node.path)
    hint = (
        f"did you mean {' or '.join(f'group={path!r}' for path in meant)}?" if meant else "it is another kind of Zarr"
    )
    return FormatError(
        f"{place_of(root, node.path)} is a Zarr group without OME-Zarr metadata (none of multiscales, plate, well, "
        f"labels in its attributes); {hint}"
    )


def image_group(root: StoreRoot, node: Node) -> Node:
    """The group of an image, or of the only image of a series; an error that says what else a group is."""
    place = place_of(root, node.path)
    kind = group_kind(node.attributes, place)
    if kind == "image":
        return node
    if kind is None:
        raise _nothing_here(root, node)
    if kind == "series":
        paths = _series_paths(root, node)
        if len(paths) == 1:
            return read_group(root, joined(node.path, paths[0]), zarr_format=node.zarr_format)
    elif kind == "labels":
        paths = metadata.labels(node.attributes, place)
    elif kind == "well":
        paths = tuple(image.path for image in metadata.well(node.attributes, place).images)
    else:
        paths = tuple(f"{well.path}/0" for well in metadata.plate(node.attributes, place).wells)
    shown = ", ".join(f"group={joined(node.path, path)!r}" for path in paths[:6]) + (", ..." if len(paths) > 6 else "")
    raise FormatError(
        f"{place} is no single image but {_KIND_NAMES[kind]}: open one with {shown or 'group='}, or all of it with "
        "xarray.open_datatree"
    )


_KIND_NAMES = {"series": "a series of images", "labels": "a list of labels", "well": "a well", "plate": "a plate"}


def multiscale_image(root: StoreRoot, node: Node, index: int) -> MultiscaleImage:
    """What a group says of one of its images."""
    place = place_of(root, node.path)
    child = root.child(node.path)

    def read_array(path: str) -> Any:
        array = read_nodes(child, [path], zarr_format=node.zarr_format)[path]
        if array is None or array.kind != "array":
            raise MetadataError(f"{place}: the array {path!r} of a transformation is not there")
        return np.asarray(open_array(child, array)[...])

    images = multiscales(node.attributes, place, zarr_format=node.zarr_format, read_array=read_array)
    if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < len(images):
        names = ", ".join(f"{i} ({image.name})" for i, image in enumerate(images))
        raise LevelError(f"multiscale={index!r} is not in {place}, which has {names}")
    return images[index]


def level_nodes(root: StoreRoot, node: Node, levels: Sequence[metadata.LevelMeta]) -> dict[str, Node]:
    """Arrays of levels, by the path that the group gives them."""
    paths = {level.path: joined(node.path, level.path) for level in levels}
    found = read_nodes(root, list(paths.values()), zarr_format=node.zarr_format, kind="array")
    return {path: _array(root, node, path, found[full]) for path, full in paths.items()}


def _array(root: StoreRoot, group: Node, path: str, node: Node | None) -> Node:
    if node is None or node.kind != "array":
        what = "is not there" if node is None else "is a group"
        raise MetadataError(
            f"{place_of(root, group.path)} lists the level {path!r}, but that array {what}: the store is incomplete"
        )
    return node


def array_shapes(arrays: Mapping[str, Node]) -> dict[str, tuple[int, ...]]:
    """Shapes of arrays, by path."""
    return {path: array.shape for path, array in arrays.items() if array.shape is not None}


def image_level(
    root: StoreRoot,
    node: Node,
    array: Node,
    image: MultiscaleImage,
    level: int,
    known: dict[Hashable, xr.Coordinates] | None = None,
) -> xr.Dataset:
    """Dataset of one level of an image, lazily read; `known` holds coordinates that were made before."""
    labels = image.image_label is not None or "labels" in joined(root.path, node.path).split("/")[:-1]
    return level_dataset(root, node.path, array, image, image.levels[level], labels=labels, known=known)


def _image_tree(root: StoreRoot, node: Node, multiscale: int) -> dict[str, xr.Dataset]:
    image = multiscale_image(root, node, multiscale)
    return _levels_tree(root, node, image, level_nodes(root, node, image.levels))


def _levels_tree(
    root: StoreRoot,
    node: Node,
    image: MultiscaleImage,
    arrays: Mapping[str, Node],
    known: dict[Hashable, xr.Coordinates] | None = None,
) -> dict[str, xr.Dataset]:
    fitted = fit_shapes(image, array_shapes(arrays), place_of(root, node.path))
    return {
        f"/scale{index}": image_level(root, node, arrays[level.path], fitted, index, known)
        for index, level in enumerate(fitted.levels)
    }


def _images_trees(
    root: StoreRoot, paths: Sequence[str], multiscale: int, zarr_format: int
) -> dict[str, dict[str, xr.Dataset]]:
    """Levels of many images by path, their groups and then their arrays read together. Absent ones are left out."""
    groups = read_nodes(root, paths, zarr_format=zarr_format, kind="group")
    nodes = {path: node for path, node in groups.items() if node is not None}
    _warn_of_absent(root.name, "images", [path for path in paths if path not in nodes], len(paths))
    images = {path: multiscale_image(root, node, multiscale) for path, node in nodes.items()}
    wanted = [joined(path, level.path) for path, image in images.items() for level in image.levels]
    arrays = read_nodes(root, wanted, zarr_format=zarr_format, kind="array")
    known: dict[Hashable, xr.Coordinates] = {}
    return {
        path: _levels_tree(
            root,
            nodes[path],
            image,
            {
                level.path: _array(root, nodes[path], level.path, arrays[joined(path, level.path)])
                for level in image.levels
            },
            known,
        )
        for path, image in images.items()
    }


def _warn_of_absent(place: str, what: str, absent: Sequence[str], total: int) -> None:
    if absent:
        shown = ", ".join(absent[:8]) + (", ..." if len(absent) > 8 else "")
        warn(place, f"lists {len(absent)} of {total} {what} that are not there; they were left out: {shown}")


def _labels_tree(root: StoreRoot, path: str, prefix: str, node: Node | None = None) -> dict[str, xr.Dataset]:
    node = node or read_nodes(root, [path])[path]
    if node is None:
        return {}
    place = place_of(root, path)
    if group_kind(node.attributes, place) != "labels":
        warn(place, "is a group of labels that lists none; it was left out")
        return {}
    names = {joined(path, name): name for name in metadata.labels(node.attributes, place)}
    trees = _images_trees(root, list(names), 0, node.zarr_format)
    return {f"{prefix}/{names[full]}{inner}": ds for full, tree in trees.items() for inner, ds in tree.items()}


def _series_paths(root: StoreRoot, node: Node) -> tuple[str, ...]:
    """Paths of the images of a bioformats2raw layout, from its root."""
    described = joined(node.path, "OME")
    found = read_nodes(root, [described], zarr_format=node.zarr_format, kind="group")[described]
    listed = None if found is None else metadata.series(found.attributes, place_of(root, described))
    if listed is not None:
        return listed
    paths: list[str] = []
    while True:
        # numbered from 0 without gaps: ask for more at a time the more there are
        batch = [str(index) for index in range(len(paths), 2 * len(paths) + 4)]
        groups = read_nodes(root, [joined(node.path, p) for p in batch], zarr_format=node.zarr_format, kind="group")
        present = [path for path in batch if groups[joined(node.path, path)] is not None]
        paths += present
        if len(present) < len(batch):
            return tuple(paths)


def _plate_tree(
    root: StoreRoot,
    node: Node,
    wells: str | Iterable[str] | None,
    fields: int | str | Iterable[int | str] | None,
    multiscale: int,
) -> dict[str, xr.Dataset]:
    place = place_of(root, node.path)
    plate = metadata.plate(node.attributes, place)
    chosen = _chosen_wells(plate, wells, place)
    groups = read_nodes(root, [joined(node.path, path) for path in chosen], zarr_format=node.zarr_format, kind="group")
    present = {path: group for path in chosen if (group := groups[joined(node.path, path)]) is not None}
    _warn_of_absent(place, "wells", [path for path in chosen if path not in present], len(chosen))
    return _wells_trees(root, present, fields, multiscale)


def _chosen_wells(plate: Plate, wells: str | Iterable[str] | None, place: str) -> list[str]:
    listed = [well.path for well in plate.wells]
    if wells is None:
        return listed
    # "A1" means the well "A/1"
    names = {f"{well.row}{well.column}": well.path for well in plate.wells} | {path: path for path in listed}
    asked = _asked(wells)
    for name in asked:
        if name not in names:
            shown = ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
            raise LevelError(f"wells names {name!r}, but {place} has the wells {shown}")
    return list(dict.fromkeys(names[name] for name in asked))


def _asked(names: str | int | Iterable[int | str]) -> list[str]:
    """What an option names, one or many, as paths are."""
    return [str(name) for name in (names if isinstance(names, Iterable) and not isinstance(names, str) else [names])]


def _wells_trees(
    root: StoreRoot, wells: Mapping[str, Node], fields: int | str | Iterable[int | str] | None, multiscale: int
) -> dict[str, xr.Dataset]:
    asked = None if fields is None else _asked(fields)
    images: dict[str, str] = {}
    for path, node in wells.items():
        listed = [image.path for image in metadata.well(node.attributes, place_of(root, node.path)).images]
        for field in listed if asked is None else asked:
            if field not in listed:
                raise LevelError(f"fields names {field!r}, but {place_of(root, node.path)} has {', '.join(listed)}")
            images[joined(node.path, field)] = f"{path}/{field}".strip("/")
    if not images:
        return {}
    zarr_format = next(iter(wells.values())).zarr_format
    trees = _images_trees(root, list(images), multiscale, zarr_format)
    return {f"/{images[full]}{inner}": ds for full, tree in trees.items() for inner, ds in tree.items()}
