"""The ``imaris`` engine of `xarray.open_dataset` and `xarray.open_datatree`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from xarray_ngff.backends._lazy import tree_of, without_variables
from xarray_ngff.backends._local_path import is_local_name

__all__ = ["ImarisEntrypoint"]


class ImarisEntrypoint(BackendEntrypoint):
    """Opens Imaris 5.5 files lazily: every resolution level, time point and channel.

    Examples
    --------
    >>> import h5py, tempfile
    >>> path = tempfile.mkdtemp() + "/cells.ims"
    >>> with h5py.File(path, "w") as file:
    ...     file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"] = [[[1, 2, 3, 0], [4, 5, 6, 0]]]
    ...     file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0"].attrs.update(ImageSizeX="3", ImageSizeY="2")
    ...     file.create_group("DataSetInfo/Channel 0").attrs["Name"] = "DAPI"
    ...     ends = {f"Ext{end}{axis}": number for axis in range(3) for end, number in (("Min", 0), ("Max", 1.5))}
    ...     file.create_group("DataSetInfo/Image").attrs.update(Unit="um", **ends)
    >>> image = xr.open_dataarray(path, engine=ImarisEntrypoint)
    >>> image.sel(t=0, c="DAPI").values.tolist(), image.x.values
    ([[[1, 2, 3], [4, 5, 6]]], array([0.25, 0.75, 1.25]))
    """

    description: ClassVar[str] = "Open Imaris 5.5 images (.ims)"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = ("filename_or_obj", "drop_variables", "level")
    supports_groups: ClassVar[bool] = True

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[Any],
        *,
        drop_variables: str | Iterable[str] | None = None,
        level: int = 0,
    ) -> xr.Dataset:
        """Open one resolution level as a dataset of one lazy variable.

        The variable is ``image``, with dims t, c, z, y, x always; padding is left out. Coordinates of z, y, x are the
        centres of this level's voxels within the extents of the image, in its unit; t is seconds since the first time
        point, whose date is ``t.attrs["start_time"]``, or counts them where the file does not say when they were.
        Names, colours and colour ranges are coordinates along c. Only metadata are read; a selection decodes the
        chunks that it meets.

        Parameters
        ----------
        filename_or_obj
            Path of the file, whatever it ends with.
        drop_variables
            Names of variables to leave out.
        level
            Resolution level, 0 for the finest.

        Raises
        ------
        FormatError
            Where the file is no Imaris 5.5 image or truncated; on reading, where a chunk is corrupt.
        MetadataError
            Where time points, channels or sizes leave no safe reading, or voxels are in other files.
        LevelError
            Where it has no such level; the message lists those that it has.
        MissingExtraError
            Where it is compressed with LZ4 or another filter that needs hdf5plugin.
        MissingFileError
            Where there is no such file.
        """
        from xarray_ngff.backends.imaris.images import open_image

        return without_variables(open_image(filename_or_obj, level=level), drop_variables)

    def open_datatree(  # type: ignore[override]
        self, filename_or_obj: str | os.PathLike[Any], *, drop_variables: str | Iterable[str] | None = None
    ) -> xr.DataTree:
        """Open all resolution levels as a tree; see `open_groups_as_dict`."""
        return tree_of(self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables))

    def open_groups_as_dict(  # type: ignore[override]
        self, filename_or_obj: str | os.PathLike[Any], *, drop_variables: str | Iterable[str] | None = None
    ) -> dict[str, xr.Dataset]:
        """Open all resolution levels: ``/scale0`` (the finest), ``/scale1``, ...; options as of `open_dataset`."""
        from xarray_ngff.backends.imaris.images import open_levels

        datasets = open_levels(filename_or_obj)
        return {f"/scale{index}": without_variables(dataset, drop_variables) for index, dataset in enumerate(datasets)}

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether a path ends with ``.ims``; nothing is read."""
        return is_local_name(filename_or_obj, (".ims",))
