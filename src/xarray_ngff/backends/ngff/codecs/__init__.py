"""How chunks are encoded: the option, the codecs of both Zarr formats, and the pipeline that applies them."""
