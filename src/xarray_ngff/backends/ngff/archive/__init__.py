"""Single-file OME-Zarr: ZIP archives, written and read."""
