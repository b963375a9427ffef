"""OME-Zarr: where its bytes come from, what its metadata says, and images read from and written to it."""
