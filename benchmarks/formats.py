"""The four formats, and one small image in each, so that nothing that is timed is done for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ENGINES", "SUFFIXES", "warmed", "warmed_writer", "write", "write_small"]

ENGINES = {"OME-Zarr": "ngff", "NIfTI": "nifti", "OME-TIFF": "ome-tiff", "Imaris": "imaris"}
SUFFIXES = {"ngff": ".ome.zarr", "nifti": ".nii", "ome-tiff": ".ome.tif", "imaris": ".ims"}
_WRITERS = {"ngff": "to_ome_zarr", "nifti": "to_nifti", "ome-tiff": "to_ome_tiff", "imaris": "to_imaris"}


def write(image: Any, engine: str, path: str | Path, **options: Any) -> None:
    """Write an image in the format of an engine."""
    getattr(image.ngff, _WRITERS[engine])(path, **options)


def write_small(folder: Path) -> None:
    """Write a small image in each format, for `warmed`."""
    import xarray_ngff

    image = xarray_ngff.as_image(np.ones((2, 16, 16), "uint16"), units="um")
    for engine, suffix in SUFFIXES.items():
        write(image, engine, folder / f"small{suffix}")


def warmed(folder: Path, *engines: str) -> None:
    """Import what the engines import when they are used first, by opening and reading a small image with each."""
    import xarray as xr

    import xarray_ngff  # noqa: F401

    for engine in engines:
        for chunks in (None, {}):
            xr.open_dataarray(folder / f"small{SUFFIXES[engine]}", engine=engine, chunks=chunks).compute()


def warmed_writer(folder: Path, engine: str) -> None:
    """Import what a writer imports when it is used first."""
    import xarray_ngff

    image = xarray_ngff.as_image(np.ones((2, 16, 16), "uint16"), units="um").chunk(z=1)
    write(image, engine, folder / f"again{SUFFIXES[engine]}", overwrite=True)
