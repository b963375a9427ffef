"""The ``.ngff`` accessor of DataTree: the levels of a pyramid, and writing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from xarray_ngff import display, labels
from xarray_ngff.pyramid.build import level_images
from xarray_ngff.pyramid.grids import Chunks, Shards

if TYPE_CHECKING:
    import pandas as pd
    from dask.delayed import Delayed


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

    @property
    def label_colors(self) -> dict[int, str]:
        """Colour of each label that has one, of a label image; see `xarray_ngff.labels.label_colors`."""
        return labels.label_colors(self.levels[0])

    @property
    def label_properties(self) -> pd.DataFrame:
        """Properties by label, of a label image; see `xarray_ngff.labels.label_properties`."""
        return labels.label_properties(self.levels[0])

    def to_ome_zarr(
        self,
        store: Any,
        *,
        version: str | None = None,
        chunks: Chunks | None = None,
        shards: Shards | None = None,
        compressor: Any = "auto",
        overwrite: bool = False,
        resume: bool = False,
        compute: bool = True,
        progress: bool = False,
        memory_limit: int | str | None = None,
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
            shards=shards,
            compressor=compressor,
            overwrite=overwrite,
            resume=resume,
            compute=compute,
            progress=progress,
            memory_limit=memory_limit,
            storage_options=storage_options,
        )
