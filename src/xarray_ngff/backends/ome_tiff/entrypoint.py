"""The ``ome-tiff`` engine of `xarray.open_dataset` and `xarray.open_datatree`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from xarray_ngff.backends._lazy import tree_of, without_variables
from xarray_ngff.backends._local_path import is_local_name
from xarray_ngff.backends.ome_tiff.files import SUFFIXES

__all__ = ["OmeTiffEntrypoint"]


class OmeTiffEntrypoint(BackendEntrypoint):
    """Opens OME-TIFF, ImageJ and other TIFF files lazily: pyramids, several series, data sets of many files.

    Examples
    --------
    >>> import numpy as np, tifffile
    >>> planes = np.zeros((2, 3, 64, 80), np.uint16)
    >>> about = {"axes": "CZYX", "PhysicalSizeX": 0.5, "PhysicalSizeZ": 2.0, "Channel": {"Name": ["DAPI", "GFP"]}}
    >>> tifffile.imwrite("cells.ome.tif", planes, metadata=about)
    >>> cells = xr.open_dataarray("cells.ome.tif", engine=OmeTiffEntrypoint)
    >>> dict(cells.sizes), cells.c.values.tolist(), cells.x.attrs
    ({'c': 2, 'z': 3, 'y': 64, 'x': 80}, ['DAPI', 'GFP'], {'units': 'micrometer', 'spacing': 0.5})
    """

    description: ClassVar[str] = "Open OME-TIFF, ImageJ and other TIFF files"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = ("filename_or_obj", "drop_variables", "series", "level")
    supports_groups: ClassVar[bool] = True

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[Any],
        *,
        drop_variables: str | Iterable[str] | None = None,
        series: int | str = 0,
        level: int = 0,
    ) -> xr.Dataset:
        """Open one level of a series as a dataset of one lazy variable, ``image``.

        Its dims are a subsequence of t, c, z, y, x; samples of a pixel are channels, and axes that the data model does
        not know keep a dim of their own, in lower case, before the spatial ones (``q`` or ``i`` for pages that nothing
        is said of). Only metadata is read; a selection decodes the tiles and strips that it meets.

        Parameters
        ----------
        filename_or_obj
            Path of a file; of a data set of many files, any of them.
        drop_variables
            Names of variables to leave out.
        series
            Which image of the file, by number or by name.
        level
            Resolution level, 0 for the finest.

        Returns
        -------
        Dataset
            Coordinates are voxel centres, each in the unit that the file gives its axis: from OME-XML (PhysicalSize,
            positions and times of planes where they agree), ImageJ, Zeiss LSM, MetaMorph, Micro-Manager or Aperio,
            else from resolution tags in pixels per centimetre; otherwise they count voxels. Names, colours and display
            windows of channels are coordinates along ``c``. ``t.attrs["start_time"]`` is when t is 0.

        Raises
        ------
        FormatError
            Where the file is no TIFF file, is truncated or contradicts itself; on reading, where pixels are corrupt.
        MetadataError
            Where its OME-XML is broken.
        MissingFileError
            Where the file, or another one of its data set, does not exist.
        LevelError
            Where it has no such series or level; the message lists those that it has.
        MissingExtraError
            On reading, where a compression needs the extra ``tiff``.
        """
        from xarray_ngff.backends.ome_tiff.images import open_image

        return without_variables(open_image(filename_or_obj, series=series, level=level), drop_variables)

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        **options: Any,
    ) -> xr.DataTree:
        """Open every level of every series as a tree; see `open_groups_as_dict`."""
        return tree_of(self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables, **options))

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
    ) -> dict[str, xr.Dataset]:
        """Open every level of every series: a dataset for each, by path.

        One series gives ``/scale0``, ``/scale1``, ...; several give ``/<name>/scale0``, with a slash in a name
        replaced, and a number added where two have the same.

        Parameters
        ----------
        filename_or_obj, drop_variables
            See `open_dataset`.
        """
        from xarray_ngff.backends.ome_tiff.images import open_tree

        return {
            path: without_variables(dataset, drop_variables) for path, dataset in open_tree(filename_or_obj).items()
        }

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the path of a file on this machine ends like a TIFF file's."""
        return is_local_name(filename_or_obj, SUFFIXES)
