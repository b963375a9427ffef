"""OME-TIFF, ImageJ and other TIFF files: the ``ome-tiff`` engine, stacks of files, and their writers."""
