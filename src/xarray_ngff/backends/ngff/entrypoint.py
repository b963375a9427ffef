"""The ``ngff`` engine of `xarray.open_dataset` and `xarray.open_datatree`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from xarray_ngff.backends._lazy import tree_of, without_variables

__all__ = ["NgffEntrypoint"]

# Names that only an OME-Zarr has; a plain ".zarr" may be anything.
_SUFFIXES = (".ome.zarr", ".ozx", ".ome.zarr.zip")


class NgffEntrypoint(BackendEntrypoint):
    """Opens OME-Zarr 0.1 to 0.6 lazily: images, labels, series, wells and plates.

    Examples
    --------
    >>> import numpy as np, xarray_ngff, zarr
    >>> store = zarr.storage.MemoryStore()
    >>> xarray_ngff.as_image(np.ones((64, 80)), spacing=0.5 * np.ones(2), units="um").ngff.to_ome_zarr(store, levels=2)
    >>> xr.open_dataarray(store, engine="ngff", level=1).ngff.spacing
    {'y': 1.0, 'x': 1.0}
    """

    description: ClassVar[str] = "Open OME-Zarr (NGFF) images, labels and plates"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "group",
        "level",
        "multiscale",
        "storage_options",
    )
    supports_groups: ClassVar[bool] = True

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        level: int = 0,
        multiscale: int = 0,
        storage_options: Mapping[str, Any] | None = None,
    ) -> xr.Dataset:
        """Open one level of an image as a dataset of one lazy variable.

        The variable is ``image``, or ``labels`` for a label image. Its dims are a subsequence of t, c, z, y, x (other
        axes are kept before the spatial ones), its coordinates the scale and translation of the file. Only metadata is
        read; a selection reads the chunks that it meets.

        Parameters
        ----------
        filename_or_obj
            Folder, ``.zip`` or ``.ozx`` file, fsspec URL, zarr store, store path or group.
        drop_variables
            Names of variables to leave out.
        group
            Path of the image's group in the store, such as ``"labels/nuclei"``, ``"A/1/0"`` or ``"0"``.
        level
            Resolution level, 0 for the finest.
        multiscale
            Which image of the group, where it has several.
        storage_options
            Options of the fsspec file system, for URLs.

        Raises
        ------
        FormatError
            Where there is no OME-Zarr image, or (on reading) a chunk is corrupt.
        MetadataError
            Where its metadata leave no safe reading.
        LevelError
            Where it has no such level; the message lists those that it has.
        """
        from xarray_ngff.backends.ngff.images import open_image
        from xarray_ngff.backends.ngff.stores import open_store

        root = open_store(filename_or_obj, storage_options=storage_options)
        dataset = open_image(root, (group or "").strip("/"), level=level, multiscale=multiscale)
        return without_variables(dataset, drop_variables)

    def open_datatree(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None, **options: Any
    ) -> xr.DataTree:
        """Open everything below a group as a tree; see `open_groups_as_dict`."""
        return tree_of(self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables, **options))

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        multiscale: int = 0,
        wells: str | Iterable[str] | None = None,
        fields: int | str | Iterable[int | str] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open everything below a group: a dataset for each level, by path.

        An image gives ``/scale0``, ``/scale1``, ... and ``/labels/<name>/scale0``; a bioformats2raw series
        ``/<image>/scale0``; a well ``/<field>/scale0``; a plate ``/<row>/<column>/<field>/scale0`` (open one field for
        its labels). Metadata of all groups are fetched together; no voxel is read.

        Parameters
        ----------
        filename_or_obj, drop_variables, group, multiscale, storage_options
            See `open_dataset`.
        wells
            Wells of a plate to open, such as ``["A/1", "B3"]``; default all. Listed wells that are absent are left out
            with a warning.
        fields
            Fields of each well to open; default all.
        """
        from xarray_ngff.backends.ngff.images import open_tree
        from xarray_ngff.backends.ngff.stores import open_store

        root = open_store(filename_or_obj, storage_options=storage_options)
        found = open_tree(root, (group or "").strip("/"), multiscale=multiscale, wells=wells, fields=fields)
        return {path: without_variables(dataset, drop_variables) for path, dataset in found.items()}

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a path or URL has one of the names that only OME-Zarr uses."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        name = os.fspath(filename_or_obj)
        return isinstance(name, str) and name.rstrip("/").lower().endswith(_SUFFIXES)
