"""Where a new OME-Zarr is written, so that a reader finds the old one or the new one, whole."""
