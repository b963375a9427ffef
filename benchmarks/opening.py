"""Images of a thousand planes opened, without a pixel, by each engine and by the library of its format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Run
from benchmarks.formats import warmed, write_small
from benchmarks.volumes import scaled

__all__ = ["CASE"]

# t, c, z, y, x
SHAPE = (scaled(100), 2, 5, 64, 64)
FILES = {
    "OME-TIFF": "image.ome.tif",
    "OME-TIFF, tiled": "tiled.ome.tif",
    "ImageJ": "imagej.tif",
    "plain TIFF": "plain.tif",
    "stack": "stack",
    "Imaris": "image.ims",
    "OME-Zarr": "image.ome.zarr",
    "NIfTI": "image.nii",
}


def prepare(folder: Path) -> None:
    import tifffile

    import xarray_ngff

    write_small(folder)
    data = np.arange(np.prod(SHAPE), dtype="uint32").astype("uint16").reshape(SHAPE)
    image = xarray_ngff.as_image(data, "tczyx", units={"t": "second", "z": "um", "y": "um", "x": "um"})
    axes = {"axes": "TCZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(folder / FILES["OME-TIFF"], data, metadata=axes, photometric="minisblack")
    image.ngff.to_ome_tiff(folder / FILES["OME-TIFF, tiled"], levels=1, tile=32)
    # the order of the axes of ImageJ
    tifffile.imwrite(folder / FILES["ImageJ"], data.swapaxes(1, 2), imagej=True, metadata={"axes": "TZCYX"})
    planes = data.reshape(-1, *SHAPE[-2:])
    with tifffile.TiffWriter(folder / FILES["plain TIFF"]) as file:
        for plane in planes:
            file.write(plane, contiguous=False, metadata=None)
    (folder / FILES["stack"]).mkdir()
    for index, plane in enumerate(planes):
        tifffile.imwrite(folder / FILES["stack"] / f"z{index:04d}.tif", plane)
    image.ngff.to_imaris(folder / FILES["Imaris"], levels=1)
    image.ngff.to_ome_zarr(folder / FILES["OME-Zarr"], levels=1)
    image.ngff.to_nifti(folder / FILES["NIfTI"])


def tifffile_alone(path: Path) -> Run:
    import tifffile

    def run() -> Any:
        with tifffile.TiffFile(path) as file:
            return [(series.axes, series.shape, series.dtype) for series in file.series]

    return run


def tifffile_of_each(path: Path) -> Run:
    """Shape and type of every file, which tell whether they are a stack."""
    import tifffile

    def run() -> Any:
        found = []
        for each in sorted(path.glob("*.tif")):
            with tifffile.TiffFile(each) as file:
                found.append((file.series[0].shape, file.series[0].dtype))
        return found

    return run


def h5py_alone(path: Path) -> Run:
    """Every dataset listed, with its shape and type."""
    import h5py

    def run() -> Any:
        found = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                found.append((name, item.shape, item.dtype))

        with h5py.File(path) as file:
            file.visititems(visit)
        return found

    return run


def imaris_ims_file_reader_alone(path: Path) -> Run:
    from imaris_ims_file_reader.ims import ims

    return lambda: ims(str(path), squeeze_output=False).shape


def zarr_alone(path: Path) -> Run:
    import zarr

    def run() -> Any:
        group = zarr.open_group(path, mode="r")
        return group.attrs.asdict(), group["0"].shape

    return run


def nibabel_alone(path: Path) -> Run:
    import nibabel

    return lambda: nibabel.load(path).shape


def ours(engine: str, **options: Any) -> Callable[[Path], Run]:
    def contestant(path: Path) -> Run:
        import xarray as xr

        warmed(path.parent, engine)
        return lambda: xr.open_dataarray(path, engine=engine, **options)

    return contestant


def ours_stack(path: Path) -> Run:
    import xarray_ngff

    warmed(path.parent, "ome-tiff")
    return lambda: xarray_ngff.open_tiff_stack(str(path / "*.tif"))


def of_file(name: str, contestant: Callable[[Path], Run]) -> Callable[[Path], Run]:
    return lambda folder: contestant(folder / FILES[name])


_TIFF = {
    "tifffile": tifffile_alone,
    "xarray-ngff": ours("ome-tiff"),
    "xarray-ngff, chunks={}": ours("ome-tiff", chunks={}),
}
_CONTESTANTS: dict[str, dict[str, Callable[[Path], Run]]] = {
    "OME-TIFF": _TIFF,
    "OME-TIFF, tiled": _TIFF,
    "ImageJ": _TIFF,
    "plain TIFF": _TIFF,
    "stack": {"tifffile, file by file": tifffile_of_each, "xarray-ngff": ours_stack},
    "Imaris": {
        "h5py, every dataset": h5py_alone,
        "imaris-ims-file-reader": imaris_ims_file_reader_alone,
        "xarray-ngff": ours("imaris"),
        "xarray-ngff, chunks={}": ours("imaris", chunks={}),
    },
    "OME-Zarr": {"zarr": zarr_alone, "xarray-ngff": ours("ngff")},
    "NIfTI": {"nibabel": nibabel_alone, "xarray-ngff": ours("nifti")},
}

CASE = Case(
    "open 1000 planes (100 times, 2 channels, 5 slices), and a stack of 1000 TIFF files; nothing is read",
    prepare,
    {
        f"{name}: {who}": of_file(name, contestant)
        for name, contestants in _CONTESTANTS.items()
        for who, contestant in contestants.items()
    },
)
