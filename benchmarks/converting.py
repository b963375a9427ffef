"""Every format into every other: time, and the memory that it takes beyond what is there before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case import Case, Run
from benchmarks.formats import ENGINES, SUFFIXES, warmed, warmed_writer, write, write_small
from benchmarks.volumes import codec, fresh, scaled, volume

__all__ = ["CASE"]


def prepare(folder: Path) -> None:
    """512 MiB of uint16, (2, 2, 64, 1024, 1024), in every format, written volume by volume."""
    import dask.array

    import xarray_ngff

    write_small(folder)
    shape = (scaled(64), 1024, 1024)
    np.save(folder / "volume.npy", volume(shape))
    one = np.load(folder / "volume.npy", mmap_mode="r")
    lazy = dask.array.from_array(one, chunks=(16, -1, -1))[None, None].repeat(2, axis=0).repeat(2, axis=1)
    image = xarray_ngff.as_image(
        lazy,
        "tczyx",
        spacing={"t": 1.5, "z": 2, "y": 0.5, "x": 0.5},
        units={"t": "second", "z": "um", "y": "um", "x": "um"},
        channels=[{"name": "DAPI", "color": "0000FF"}, {"name": "GFP", "color": "00FF00"}],
    )
    for engine, suffix in SUFFIXES.items():
        write(image, engine, folder / f"source{suffix}")


def in_memory(folder: Path) -> Any:
    return np.broadcast_to(np.load(folder / "volume.npy"), (2, 2, *np.load(folder / "volume.npy", mmap_mode="r").shape))


def zarr_alone(folder: Path) -> Run:
    """The finest level from memory, by zarr, in the chunks that ours has."""
    import zarr

    data = in_memory(folder)
    target = fresh(folder)
    chunks = tuple(min(*lengths) for lengths in zip(data.shape, (1, 1, 128, 128, 128), strict=True))

    def run() -> None:
        array = zarr.create_array(target, shape=data.shape, chunks=chunks, dtype="uint16", compressors=codec())
        array[...] = data

    return run


def nibabel_alone(folder: Path) -> Run:
    import nibabel

    data = in_memory(folder)
    target = fresh(folder, "target.nii")
    return lambda: nibabel.save(nibabel.Nifti1Image(data.transpose(4, 3, 2, 0, 1), np.eye(4)), target)


def tifffile_alone(folder: Path) -> Run:
    """The full resolution from memory, by tifffile, in the tiles and with the codec that ours has."""
    import tifffile

    data = in_memory(folder)
    target = fresh(folder, "target.ome.tif")
    return lambda: tifffile.imwrite(
        target,
        data,
        tile=(512, 512),
        compression="zlib",
        compressionargs={"level": 1},
        predictor=True,
        photometric="minisblack",
        metadata={"axes": "TCZYX"},
    )


def h5py_alone(folder: Path) -> Run:
    """The finest level from memory, by h5py, in the chunks and with the filter that ours has."""
    import h5py

    data = in_memory(folder)
    target = fresh(folder, "target.ims")
    with h5py.File(folder / "source.ims") as file:
        chunks = file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"].chunks

    def run() -> None:
        with h5py.File(target, "w") as file:
            for index in np.ndindex(data.shape[:2]):
                file.create_dataset(f"{index}", data=data[index], chunks=chunks, compression="gzip", compression_opts=2)

    return run


def ours(source: str, target: str) -> Callable[[Path], Run]:
    def contestant(folder: Path) -> Run:
        import xarray as xr

        warmed(folder, source, target)
        warmed_writer(folder, target)
        path = fresh(folder, f"target{SUFFIXES[target]}")

        def run() -> None:
            image = xr.open_dataarray(folder / f"source{SUFFIXES[source]}", engine=source, chunks={})
            write(image, target, path)

        return run

    return contestant


_FLOORS = {
    "OME-Zarr": ("zarr", zarr_alone),
    "NIfTI": ("nibabel", nibabel_alone),
    "OME-TIFF": ("tifffile", tifffile_alone),
    "Imaris": ("h5py", h5py_alone),
}

_CONTESTANTS: dict[str, Callable[[Path], Run]] = {}
for _target, (_who, _floor) in _FLOORS.items():
    _CONTESTANTS[f"to {_target}: {_who}, from memory, one level"] = _floor
    for _source in ENGINES:
        if _source != _target:
            _CONTESTANTS[f"to {_target}: from {_source}"] = ours(ENGINES[_source], ENGINES[_target])

CASE = Case(
    "512 MiB uint16 (2, 2, 64, 1024, 1024), chunks={}, from every format into every other with its pyramid; time ratio "
    "to what writing one level from memory takes the library of the target",
    prepare,
    _CONTESTANTS,
)
