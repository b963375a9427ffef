"""Changes to an OME-Zarr that is there: its levels, a part of it, its documents."""
