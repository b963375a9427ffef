"""The ``.ngff`` accessor of DataTree: the levels of a pyramid, and writing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from xarray_ngff import display
from xarray_ngff.pyramid.build import level_images

if TYPE_CHECKING:
    from dask.delayed import Delayed

    from xarray_ngff.backends.ngff.writer import Chunks


@xr.register_datatree_accessor("ngff")
class NgffDataTreeAccessor:
    """Levels and files of a pyramid, as ``tree.ngff``: a tree with nodes scale0, scale1, ..."""

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        return "\n".join(display.text(image) for image in self.levels)

    @property
    def levels(self) -> list[xr.DataArray]:
        """Images of the pyramid, finest first."""
        return level_images(self._tree)

    def to_ome_zarr(
        self,
        store: Any,
        *,
        version: str = "0.5",
        chunks: Chunks | None = None,
        overwrite: bool = False,
        compute: bool = True,
        progress: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Delayed | None:
        """Write the pyramid as OME-Zarr, each level as it is; options as in ``img.ngff.to_ome_zarr``.

        Examples
        --------
        >>> import numpy as np
        >>> from xarray_ngff import as_image
        >>> img = as_image(np.zeros((10, 500, 500), "uint8"), spacing=(2, 0.5, 0.5), units="um")
        >>> img.ngff.to_multiscale(levels=3, method="max").ngff.to_ome_zarr("cells.ome.zarr")
        """
        from xarray_ngff.backends.ngff.writer import write_tree

        return write_tree(
            self._tree,
            store,
            version=version,
            chunks=chunks,
            overwrite=overwrite,
            compute=compute,
            progress=progress,
            storage_options=storage_options,
        )
