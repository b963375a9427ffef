"""An OME-Zarr image that is there already, with all its levels: for changing it, or for making another like it.

Spec: "multiscales" metadata of OME-NGFF 0.4 and 0.5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends.ngff import images
from xarray_ngff.backends.ngff.image_metadata import LevelMeta, MultiscaleImage, fit_shapes
from xarray_ngff.backends.ngff.nodes import Node, open_array, read_group
from xarray_ngff.backends.ngff.stores import StoreRoot, open_store
from xarray_ngff.errors import FormatError, GeometryError
from xarray_ngff.pyramid.kernels import METHODS

if TYPE_CHECKING:
    import zarr

__all__ = ["ExistingPyramid", "existing_pyramid"]

_VERSIONS = ("0.4", "0.5")

# Scales are often rounded to a few digits in files; whole factors are not nearer to each other than this.
_RATIO_TOLERANCE = 1e-3
# Of a voxel of level 0: less than half of one, which is what a wrong convention is off by.
_SHIFT_TOLERANCE = 0.05


@dataclass(frozen=True, eq=False)
class ExistingPyramid:
    """An image of a store, with its levels. It pickles when its store does.

    Attributes
    ----------
    root
        The group of the image.
    version
        Version of OME-Zarr, ``"0.4"`` or ``"0.5"``.
    zarr_format
        2 or 3.
    attributes
        All attributes of the group, as they are stored.
    levels
        Array and placement of every level, from the finest on.
    nodes
        The arrays' own metadata, level by level.
    dims
        Names of the axes, in the order of the arrays.
    image
        Level 0, opened lazily.
    method
        How the levels were made, where the file names one of `xarray_ngff.pyramid.kernels.METHODS`; else None.
    """

    root: StoreRoot
    version: str
    zarr_format: int
    attributes: Mapping[str, Any]
    levels: tuple[LevelMeta, ...]
    nodes: tuple[Node, ...]
    dims: tuple[str, ...]
    image: xr.DataArray
    method: str | None

    @property
    def paths(self) -> tuple[str, ...]:
        """Path of the array of each level, from the group."""
        return tuple(level.path for level in self.levels)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of each level."""
        return tuple(node.shape or () for node in self.nodes)

    @property
    def arrays(self) -> tuple[zarr.Array[Any], ...]:
        """The zarr arrays of the levels, opened now."""
        return tuple(open_array(self.root, node) for node in self.nodes)

    @property
    def factors(self) -> tuple[dict[str, int], ...]:
        """Voxels of level 0 in one voxel of each level, by spatial dim.

        Raises
        ------
        GeometryError
            Where a level was not made of whole blocks of level 0, each at its block's centre, the last ones cut off by
            the end of the image.
        """
        return tuple(self._factors(level) for level in range(len(self.levels)))

    def _factors(self, level: int) -> dict[str, int]:
        finest, coarser = self.levels[0], self.levels[level]
        factors = {}
        for axis, dim in enumerate(self.dims):
            full, size = self.shapes[0][axis], self.shapes[level][axis]
            ratio = coarser.scale[axis] / finest.scale[axis]
            shift = (coarser.translation[axis] - finest.translation[axis]) / finest.scale[axis]
            factor = max(round(ratio), 1)
            wrong = _no_whole_blocks(factor, full, size, ratio, shift)
            if wrong is None and factor > 1 and dim not in geometry.SPATIAL_DIMS:
                wrong = f"is {factor} times coarser"
            if wrong is not None:
                raise GeometryError(
                    f"{self.root.name}: level {level} ({coarser.path!r}) {wrong}, along {dim!r}: it is not made of "
                    "whole blocks of level 0 along the spatial axes, as levels are here. Build the levels anew with "
                    "xarray_ngff.build_pyramid(..., overwrite=True)"
                )
            if dim in geometry.SPATIAL_DIMS:
                factors[dim] = factor
        return factors


def _no_whole_blocks(factor: int, full: int, size: int, ratio: float, shift: float) -> str | None:
    """What is wrong with a level whose voxels should be blocks of `factor` voxels of level 0; None where it is one.

    `full` and `size` are the numbers of voxels, `ratio` the scale, `shift` the place of voxel 0, both of level 0's.
    """
    if abs(ratio - factor) > _RATIO_TOLERANCE * factor:
        return f"has {ratio:g} times the scale of level 0, which is no whole number"
    if size != -(-full // factor):
        return f"has {size} voxels, where level 0 has {full} in {-(-full // factor)} blocks of {factor}"
    if abs(shift - (factor - 1) / 2) > _SHIFT_TOLERANCE:
        return f"begins {shift:g} voxels after level 0, expected {(factor - 1) / 2:g}, the centre of a block"
    return None


def existing_pyramid(
    store: Any, *, group: str | None = None, writable: bool = False, storage_options: Mapping[str, Any] | None = None
) -> ExistingPyramid:
    """The image of an OME-Zarr 0.4 or 0.5, with its levels. Only metadata are read; nothing is changed.

    Parameters
    ----------
    store
        Folder, zip file, URL, zarr store, store path or group, as `xarray.open_dataset` takes it.
    group
        Path of the image below it, such as ``"labels/nuclei"``.
    writable
        Whether the arrays are to be written to. A zip file then is refused, and so is a store opened for reading.
    storage_options
        Options of the fsspec file system, for URLs.

    Returns
    -------
    ExistingPyramid
        The first of the images that the group lists.

    Raises
    ------
    FormatError
        Where there is no image, one of another version, or one that cannot be written to.

    Examples
    --------
    >>> import numpy as np, xarray_ngff, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> img = xarray_ngff.as_image(np.zeros((5, 64, 80), "uint8"), spacing=(4, 1, 1))
    >>> img.ngff.to_ome_zarr(store, factors=[{"y": 2, "x": 2}])
    >>> found = existing_pyramid(store)
    >>> found.shapes, found.factors[1], found.method
    (((5, 64, 80), (5, 32, 40)), {'z': 1, 'y': 2, 'x': 2}, 'mean')
    """
    root = _writable_root(store, storage_options) if writable else open_store(store, storage_options=storage_options)
    node = images.image_group(root, read_group(root, group or ""))
    image = images.multiscale_image(root, node, 0)
    place = images.place_of(root, node.path)
    if image.version not in _VERSIONS:
        raise FormatError(
            f"{place} is OME-Zarr {image.version}, expected {' or '.join(_VERSIONS)}: open it with xarray and write it "
            "anew with to_ome_zarr"
        )
    arrays = images.level_nodes(root, node, image.levels)
    nodes = tuple(arrays[level.path] for level in image.levels)
    fitted = fit_shapes(image, images.array_shapes(arrays), place)
    dataset = images.image_level(root, node, nodes[0], fitted, 0)
    inner = root.child(node.path)
    return ExistingPyramid(
        inner,
        fitted.version,
        node.zarr_format,
        node.attributes,
        fitted.levels,
        tuple(replace(each, path=level.path) for each, level in zip(nodes, fitted.levels, strict=True)),
        tuple(axis.name for axis in fitted.axes),
        next(iter(dataset.data_vars.values())),
        _recorded_method(fitted),
    )


def _recorded_method(image: MultiscaleImage) -> str | None:
    said = image.method.get("type")
    return said if isinstance(said, str) and said in METHODS else None


def _writable_root(store: Any, storage_options: Mapping[str, Any] | None) -> StoreRoot:
    """Root of a store that is there, opened for writing."""
    from zarr.storage import FsspecStore, LocalStore, ZipStore

    root = open_store(store, storage_options=storage_options)
    opened = root.store
    url = isinstance(store, str) and store.split("?", 1)[0].lower()
    if isinstance(opened, ZipStore) or (url and (url.endswith((".zip", ".ozx")) or url.startswith("zip://"))):
        raise FormatError(f"{root.name}: a zip archive cannot be changed in place: unpack it, or write a new one")
    if isinstance(store, str | os.PathLike):
        # opened here, for reading
        if isinstance(opened, LocalStore):
            return replace(root, store=LocalStore(opened.root))
        if isinstance(opened, FsspecStore):
            again = FsspecStore(opened.fs, path=opened.path, allowed_exceptions=opened.allowed_exceptions)
            return replace(root, store=again)
    if opened.read_only:
        raise FormatError(f"{root.name} is read-only: open it for writing")
    return root
