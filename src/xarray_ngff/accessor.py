"""The ``.ngff`` accessor of DataArray: it checks, calls a function, and returns. It stores only the array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import channels as _channels
from xarray_ngff import display, geometry, image, labels
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.build import Factors, to_multiscale
from xarray_ngff.pyramid.grids import Chunks, Shards
from xarray_ngff.pyramid.writing_plan import PyramidPlan, plan_pyramid
from xarray_ngff.roi import Bounds, Roi, Space
from xarray_ngff.spatial.crop import crop
from xarray_ngff.spatial.downsample import downsample

if TYPE_CHECKING:
    import os

    import pandas as pd
    from dask.delayed import Delayed


@xr.register_dataarray_accessor("ngff")
class NgffDataArrayAccessor:
    """Geometry, space and files of an image, as ``img.ngff``.

    Everything is derived from the coordinates on each call; nothing is cached and nothing changes in place.
    """

    def __init__(self, obj: xr.DataArray) -> None:
        self._obj = obj

    def __repr__(self) -> str:
        return display.text(self._obj)

    def _repr_html_(self) -> str:
        return display.html(self._obj)

    # -- geometry -----------------------------------------------------------------------------------------------------

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """(n+1, n+1) matrix from voxel index ``(i_x, i_y, i_z, 1)`` to world, in x, y, z order."""
        return geometry.affine(self._obj)

    @property
    def spacing(self) -> dict[str, float]:
        """Distance between voxel centres by dim, each in its own unit."""
        return geometry.spacing(self._obj)

    @property
    def origin(self) -> dict[str, float]:
        """Coordinate of the first voxel's centre by dim, each in its own unit."""
        return geometry.origin(self._obj)

    @property
    def units(self) -> dict[str, str | None]:
        """Unit by dim, or None."""
        return geometry.units(self._obj)

    @property
    def extent(self) -> dict[str, tuple[float, float]]:
        """Outer voxel edges (low, high) by spatial dim, in coordinates."""
        return geometry.extent(self._obj)

    @property
    def orientation(self) -> str | None:
        """Axis codes of the array as stored, in x, y, z order (``"RAS"``); None in a world that is not anatomical."""
        return geometry.orientation(self._obj)

    @property
    def spatial_dims(self) -> tuple[str, ...]:
        """Spatial dims, in the array's order."""
        return geometry.spatial_dims(self._obj)

    @property
    def channels(self) -> tuple[_channels.Channel, ...]:
        """Name, colour and display window of each channel."""
        return _channels.channels(self._obj)

    def index_to_world(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World points of voxel indices; both (..., n) in x, y, z order."""
        return geometry.index_to_world(self._obj, points)

    def world_to_index(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices of world points; both (..., n) in x, y, z order."""
        return geometry.world_to_index(self._obj, points)

    def to_units(self, units: str | Mapping[str, str]) -> xr.DataArray:
        """Image with coordinates in another unit, at the same place; see `xarray_ngff.geometry.to_units`."""
        return geometry.to_units(self._obj, units)

    def set_geometry(
        self,
        *,
        spacing: Mapping[str, float] | Sequence[float] | None = None,
        origin: Mapping[str, float] | Sequence[float] | None = None,
        units: str | Mapping[str, str | None] | Sequence[str | None] | None = None,
        orientation: str | Mapping[str, str] | None = None,
        affine: npt.ArrayLike | None = None,
    ) -> xr.DataArray:
        """Image with another geometry; what is not given stays. See `xarray_ngff.image.set_geometry`."""
        return image.set_geometry(
            self._obj, spacing=spacing, origin=origin, units=units, orientation=orientation, affine=affine
        )

    def set_channels(
        self,
        *,
        names: Sequence[str | None] | None = None,
        colors: Sequence[str | None] | None = None,
        windows: Sequence[tuple[float, float] | None] | None = None,
    ) -> xr.DataArray:
        """Image with other channel names, colours or windows. See `xarray_ngff.channels.set_channels`."""
        return _channels.set_channels(self._obj, names=names, colors=colors, windows=windows)

    def snap(self, like: xr.DataArray) -> xr.DataArray:
        """Image with the exact coordinate values of `like` where both mean the same voxels."""
        return geometry.snap(self._obj, like)

    # -- space --------------------------------------------------------------------------------------------------------

    @overload
    def crop(self, roi: Sequence[Roi]) -> list[xr.DataArray]: ...
    @overload
    def crop(self, roi: Roi | None = None, *, space: Space = "physical", **bounds: Bounds) -> xr.DataArray: ...
    def crop(
        self, roi: Roi | Sequence[Roi] | None = None, *, space: Space = "physical", **bounds: Bounds
    ) -> xr.DataArray | list[xr.DataArray]:
        """Part of the image whose voxel centres lie in a half-open box, clipped to the image. Lazy.

        Parameters
        ----------
        roi
            A `Roi`, or a sequence of them (the result is then a list); or give `bounds` by dim.
        space
            ``"physical"``: coordinates; ``"world"``: by world axis x, y, z; ``"index"``: voxels from 0.
        **bounds
            (low, high) or ``slice(low, high)`` by dim: numbers in the unit of the axis, text with a unit ("1 mm"),
            pint quantities, or None for an open side.

        Raises
        ------
        GeometryError
            For an unknown dim, or a box that holds no voxel.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> img = as_image(np.zeros((4, 10)), spacing=(1, 0.5), units="mm")
        >>> img.ngff.crop(x=("1000 um", "3 mm"), y=slice(0, 2)).sizes["x"]
        4
        """
        if roi is not None and bounds:
            raise GeometryError("crop takes either a Roi or bounds by dim, not both")
        if isinstance(roi, Sequence):
            return [crop(self._obj, each) for each in roi]
        return crop(self._obj, Roi(bounds, space) if roi is None else roi)

    def downsample(self, factor: int | None = None, *, method: str | None = None, **factors: int) -> xr.DataArray:
        """Image with each block of voxels reduced to one, at the block's exact centre. As lazy as the image.

        Parameters
        ----------
        factor
            Whole number for all spatial dims; or give `factors` by dim.
        method
            mean (integers round half to even), nearest, mode, min, max or median; by default mode for labels and
            bool, else mean.
        **factors
            Factor by dim.

        See Also
        --------
        xarray_ngff.spatial.downsample.downsample

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> img = as_image(np.ones((4, 10)), spacing=(1, 0.5))
        >>> img.ngff.downsample(y=1, x=2).ngff.spacing
        {'y': 1.0, 'x': 1.0}
        """
        if (factor is None) == (not factors):
            raise GeometryError("downsample takes one factor for all spatial dims, or factors by dim: give one of both")
        return downsample(self._obj, factors if factor is None else factor, method=method)

    def to_multiscale(
        self, *, levels: int | None = None, factors: Factors | None = None, method: str | None = None
    ) -> xr.DataTree:
        """Lazy pyramid of the image; see `xarray_ngff.pyramid.build.to_multiscale`."""
        return to_multiscale(self._obj, levels=levels, factors=factors, method=method)

    # -- labels -------------------------------------------------------------------------------------------------------

    @property
    def label_colors(self) -> dict[int, str]:
        """Colour of each label that has one, of a label image; see `xarray_ngff.labels.label_colors`."""
        return labels.label_colors(self._obj)

    @property
    def label_properties(self) -> pd.DataFrame:
        """Properties by label, of a label image; see `xarray_ngff.labels.label_properties`."""
        return labels.label_properties(self._obj)

    # -- files --------------------------------------------------------------------------------------------------------

    def plan_pyramid(
        self,
        *,
        levels: int | None = None,
        factors: Factors | None = None,
        chunks: Chunks | None = None,
        shards: Shards | None = None,
        memory_limit: int | str | None = None,
    ) -> PyramidPlan:
        """How `to_ome_zarr` would write the image; see `xarray_ngff.pyramid.writing_plan.plan_pyramid`.

        Parameters
        ----------
        levels, factors, chunks, shards, memory_limit
            As in `to_ome_zarr`.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> plan = as_image(np.zeros((300, 500, 500), "uint16"), units="um").ngff.plan_pyramid()
        >>> plan.levels[1].shape, plan.levels[1].chunks
        ((150, 250, 250), (128, 128, 128))
        """
        return plan_pyramid(
            self._obj, levels=levels, factors=factors, chunks=chunks, shards=shards, memory_limit=memory_limit
        )

    def to_ome_zarr(
        self,
        store: Any,
        *,
        levels: int | None = None,
        factors: Factors | None = None,
        method: str | None = None,
        version: str | None = None,
        chunks: Chunks | None = None,
        shards: Shards | None = None,
        compressor: Any = "auto",
        like: Any = None,
        region: Any = None,
        label: str | None = None,
        colors: Mapping[int, Any] | None = None,
        properties: Any = None,
        overwrite: bool = False,
        resume: bool = False,
        compute: bool = True,
        progress: bool = False,
        memory_limit: int | str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Delayed | None:
        """Write the image as a multiscale OME-Zarr; see `xarray_ngff.backends.ngff.writer.write_image`.

        Parameters
        ----------
        store
            Folder, ``.ozx`` file, fsspec URL, zarr store, store path or group.
        levels
            Number of levels, counting level 0. Default: until every spatial axis is at most about 256.
        factors
            Cumulative factors of the further levels, such as ``[2, 4, 8]`` or mappings by dim.
        method
            How levels are made: mean (default for images), mode (for labels), nearest, min, max or median.
        version
            ``"0.5"`` (Zarr v3, the default) or ``"0.4"`` (Zarr v2).
        chunks
            Chunk length by dim, for all spatial dims, or for each dim.
        shards
            Shard length in the same forms, in whole chunks; ``"auto"``, or a size such as ``"256 MiB"``.
        compressor
            Such as ``"zstd:3"``, ``"blosc-lz4"``, a codec of numcodecs or zarr, or None.
        like
            Another OME-Zarr, whose levels, chunks, shards and codecs are taken.
        region
            ``"auto"``, or slices by dim: write to a part of the image at `store`, and rebuild that part of its levels.
        label, colors, properties
            Write a label image of this name beside the image at `store`, with colours by label value, and properties as
            a DataFrame.
        overwrite
            Whether what is at the target may be replaced; it stays whole until the new image is.
        resume
            Whether to go on where an earlier try was stopped.
        compute
            False returns a dask object that writes when it is computed.
        progress
            Show a progress bar.
        memory_limit
            Bytes, or a size such as ``"2 GiB"``. Default: a quarter of what is free.
        storage_options
            Options of the fsspec file system, for URLs.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> img = as_image(np.zeros((10, 500, 500), "uint8"), spacing=(2, 0.5, 0.5), units="um")
        >>> img.ngff.to_ome_zarr("cells.ome.zarr", levels=3)
        """
        from xarray_ngff.backends.ngff.writer import write_image

        return write_image(
            self._obj,
            store,
            levels=levels,
            factors=factors,
            method=method,
            version=version,
            chunks=chunks,
            shards=shards,
            compressor=compressor,
            like=like,
            region=region,
            label=label,
            colors=colors,
            properties=properties,
            overwrite=overwrite,
            resume=resume,
            compute=compute,
            progress=progress,
            memory_limit=memory_limit,
            storage_options=storage_options,
        )

    def to_nifti(self, path: str | os.PathLike[str], *, version: int | None = None, overwrite: bool = False) -> None:
        """Write the image as NIfTI; see `xarray_ngff.backends.nifti.writer.write_nifti`.

        Parameters
        ----------
        path
            ``.nii``, ``.nii.gz``, or ``.hdr`` or ``.img`` for a pair.
        version
            1 or 2. Default: that of the file it came from, and 2 where an axis is longer than 32767.
        overwrite
            Whether an existing file may be replaced.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> as_image(np.zeros((4, 5, 6), "uint8"), spacing=(2, 1, 1), units="mm").ngff.to_nifti("scan.nii.gz")
        """
        from xarray_ngff.backends.nifti.writer import write_nifti

        write_nifti(self._obj, path, version=version, overwrite=overwrite)

    def to_ome_tiff(
        self,
        path: str | os.PathLike[str],
        *,
        levels: int | None = None,
        tile: int | tuple[int, int] = (512, 512),
        compression: str | None = "zlib",
        method: str | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the image as a tiled, pyramidal OME-TIFF; see `xarray_ngff.backends.ome_tiff.writer.write_ome_tiff`.

        Parameters
        ----------
        path
            ``.ome.tif``, ``.ome.tiff`` or another suffix of TIFF.
        levels
            Number of levels, counting level 0. Default: until y and x are at most 256; only these shrink.
        tile
            Height and width of a tile, multiples of 16, or one number for both.
        compression
            ``"zlib"``, another codec without loss, or None.
        method
            How levels are made: mean (default for images), mode (for labels), nearest, min, max or median.
        overwrite
            Whether an existing file may be replaced.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> img = as_image(np.zeros((4, 500, 600), "uint16"), spacing=(2, 0.5, 0.5), units="um")
        >>> img.ngff.to_ome_tiff("cells.ome.tif")
        >>> xr.open_dataarray("cells.ome.tif", engine="ome-tiff", level=1).ngff.spacing
        {'z': 2.0, 'y': 1.0, 'x': 1.0}
        """
        from xarray_ngff.backends.ome_tiff.writer import write_ome_tiff

        write_ome_tiff(
            self._obj,
            path,
            levels=levels,
            tile=tile,
            compression=compression,
            method=method,
            overwrite=overwrite,
        )

    def to_tiff_stack(
        self, pattern: str, *, dtype: npt.DTypeLike | None = None, rescale: bool = False, overwrite: bool = False
    ) -> None:
        """Write one TIFF file for each plane; see `xarray_ngff.backends.ome_tiff.plane_files.write_tiff_stack`.

        Parameters
        ----------
        pattern
            Path with a field for the index along each of z, c and t that the image has more than one of.
        dtype
            Type of the numbers in the files; values are clipped to its range.
        rescale
            Whether the smallest and largest value of the image are mapped to the ends of that range.
        overwrite
            Whether existing files may be replaced.

        Examples
        --------
        >>> import numpy as np, xarray_ngff
        >>> img = xarray_ngff.as_image(np.ones((3, 40, 50), "uint16"), spacing=(2, 0.5, 0.5), units="um")
        >>> img.ngff.to_tiff_stack("plane{z:03d}.tif", dtype="uint8")
        >>> xarray_ngff.open_tiff_stack("plane*.tif").ngff.spacing
        {'z': 2.0, 'y': 0.5, 'x': 0.5}
        """
        from xarray_ngff.backends.ome_tiff.plane_files import write_tiff_stack

        write_tiff_stack(self._obj, pattern, dtype=dtype, rescale=rescale, overwrite=overwrite)

    def to_imaris(
        self,
        path: str | os.PathLike[str],
        *,
        levels: int | None = None,
        compression: str | None = "gzip",
        overwrite: bool = False,
    ) -> None:
        """Write the image as Imaris 5.5 with a pyramid; see `xarray_ngff.backends.imaris.writer.write_imaris`.

        Parameters
        ----------
        path
            Ends with ``.ims``.
        levels
            Number of levels, counting level 0. Default: as Imaris does.
        compression
            ``"gzip"``, ``"lz4"`` (extra ``imaris``) or None.
        overwrite
            Whether an existing file may be replaced.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> img = as_image(np.zeros((4, 50, 60), "uint16"), spacing=(2, 0.5, 0.5), origin=(10, 0, 0), units="um")
        >>> img.ngff.to_imaris("cells.ims")
        >>> xr.open_dataarray("cells.ims", engine="imaris").ngff.origin
        {'t': 0.0, 'z': 10.0, 'y': 0.0, 'x': 0.0}
        """
        from xarray_ngff.backends.imaris.writer import write_imaris

        write_imaris(self._obj, path, levels=levels, compression=compression, overwrite=overwrite)
