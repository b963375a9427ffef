"""Imaris 5.5 files (``.ims``), which are HDF5.

`attributes` turns text into what Imaris keeps in attributes and back, `files` opens HDF5 and walks through it safely,
`extents`, `times` and `display` read what `DataSetInfo` says, `levels` what `DataSet` holds, `chunks` and `array` read
voxels, `images` and `entrypoint` make datasets of them.
"""
