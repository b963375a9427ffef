"""The whole image read into memory, by each engine and by the library of its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Run
from benchmarks.formats import warmed, write_small
from benchmarks.volumes import CHUNKS, scaled, volume

__all__ = ["CASE"]

TILE = (512, 512)
FILES = {
    "OME-Zarr": "image.ome.zarr",
    "NIfTI": "image.nii",
    "NIfTI, gzip": "image.nii.gz",
    "OME-TIFF": "plain.ome.tif",
    "OME-TIFF, zlib": "zlib.ome.tif",
    "Imaris, gzip": "image.ims",
}


def prepare(folder: Path) -> None:
    """256 MiB of uint16 in every format, made by the library of the format where that can."""
    import nibabel
    import tifffile

    import xarray_ngff

    write_small(folder)
    data = volume((scaled(128), 1024, 1024))
    image = xarray_ngff.as_image(data, spacing=(2, 0.5, 0.5), units="um")
    image.ngff.to_ome_zarr(folder / FILES["OME-Zarr"], levels=1, chunks=CHUNKS)
    for name in ("NIfTI", "NIfTI, gzip"):
        nibabel.save(nibabel.Nifti1Image(data.T, np.diag([0.5, 0.5, 2, 1])), folder / FILES[name])
    for name, options in (("OME-TIFF", {}), ("OME-TIFF, zlib", {"tile": TILE, "compression": "zlib", "maxworkers": 2})):
        tifffile.imwrite(folder / FILES[name], data, metadata={"axes": "ZYX"}, photometric="minisblack", **options)
    image.ngff.to_imaris(folder / FILES["Imaris, gzip"], levels=1)


def zarr_alone(path: Path) -> Run:
    import zarr

    return lambda: zarr.open_array(path / "0", mode="r")[...]


def nibabel_alone(path: Path) -> Run:
    import nibabel

    return lambda: np.array(nibabel.load(path).dataobj)


def tifffile_alone(path: Path) -> Run:
    import tifffile

    return lambda: tifffile.imread(path)


def h5py_alone(path: Path) -> Run:
    import h5py

    def run() -> Any:
        with h5py.File(path) as file:
            return file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"][...]

    return run


def imaris_ims_file_reader_alone(path: Path) -> Run:
    from imaris_ims_file_reader.ims import ims

    def run() -> Any:
        file = ims(str(path), squeeze_output=False)
        return file[0, 0, :, :, :]

    return run


def ours(engine: str, **options: Any) -> Callable[[Path], Run]:
    def contestant(path: Path) -> Run:
        import xarray as xr

        warmed(path.parent, engine)
        return lambda: xr.open_dataarray(path, engine=engine, **options).load()

    return contestant


def of_file(name: str, contestant: Callable[[Path], Run]) -> Callable[[Path], Run]:
    return lambda folder: contestant(folder / FILES[name])


_PEERS: dict[str, tuple[str, dict[str, Callable[[Path], Run]]]] = {
    "OME-Zarr": ("ngff", {"zarr": zarr_alone}),
    "NIfTI": ("nifti", {"nibabel": nibabel_alone}),
    "NIfTI, gzip": ("nifti", {"nibabel": nibabel_alone}),
    "OME-TIFF": ("ome-tiff", {"tifffile": tifffile_alone}),
    "OME-TIFF, zlib": ("ome-tiff", {"tifffile": tifffile_alone}),
    "Imaris, gzip": (
        "imaris",
        {"h5py": h5py_alone, "imaris-ims-file-reader": imaris_ims_file_reader_alone},
    ),
}

CASE = Case(
    "256 MiB uint16 (128 x 1024 x 1024) from each format into memory; time ratio to the library of the format",
    prepare,
    {
        f"{name}: {who}": of_file(name, contestant)
        for name, (engine, peers) in _PEERS.items()
        for who, contestant in {
            **peers,
            "xarray-ngff": ours(engine),
            "xarray-ngff, chunks={}": ours(engine, chunks={}),
        }.items()
    },
)
