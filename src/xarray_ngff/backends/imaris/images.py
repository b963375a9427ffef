"""Levels of an Imaris file as datasets."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import xarray as xr

from xarray_ngff.backends._lazy import image_dataset
from xarray_ngff.backends._local_path import existing_file
from xarray_ngff.backends.imaris.array import ImarisArray, preferred_chunks
from xarray_ngff.backends.imaris.display import read_channels
from xarray_ngff.backends.imaris.extents import read_extents, spatial_coordinates
from xarray_ngff.backends.imaris.files import Manager, file_manager, opened
from xarray_ngff.backends.imaris.levels import checked_level, level_count, read_level
from xarray_ngff.backends.imaris.times import counts_from_no_date, read_times, time_coordinate
from xarray_ngff.channels import channel_coordinates
from xarray_ngff.errors import NgffWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    import h5py

__all__ = ["open_image", "open_levels"]

_DIMS = ("t", "c", "z", "y", "x")
# Remarks that one warning shows.
_SHOWN = 8


def open_image(given: object, *, level: int) -> xr.Dataset:
    """Dataset of one level; see `ImarisEntrypoint.open_dataset`."""
    path = str(existing_file(given, holder="Imaris"))
    manager = file_manager(path)
    try:
        with opened(manager, path) as file:
            (dataset,) = _datasets(file, path, manager, [checked_level(file, path, level)])
    finally:
        # reading opens it again: an image that is only looked at keeps no file from being written
        manager.close()
    return dataset


def open_levels(given: object) -> list[xr.Dataset]:
    """Datasets of all levels, the finest first."""
    path = str(existing_file(given, holder="Imaris"))
    manager = file_manager(path)
    try:
        with opened(manager, path) as file:
            datasets = _datasets(file, path, manager, range(level_count(file, path)))
    finally:
        manager.close()
    return datasets


def _datasets(file: h5py.File, path: str, manager: Manager, indices: Sequence[int]) -> list[xr.Dataset]:
    notes: list[str] = []
    levels = [read_level(file, path, index, notes) for index in indices]
    times, channels = levels[0].shape[:2]
    extents = read_extents(file, path, notes)
    read = read_times(file, path, times, notes)
    coords = {"t": time_coordinate(read, times, dated=not counts_from_no_date(file, path, read))}
    coords |= channel_coordinates(read_channels(file, path, channels, notes))
    datasets = []
    for level in levels:
        sizes = dict(zip("zyx", level.shape[2:], strict=True))
        datasets.append(
            image_dataset(
                "image",
                _DIMS,
                ImarisArray(path, level, manager),
                coords | spatial_coordinates(extents, sizes, notes),
                encoding={"preferred_chunks": preferred_chunks(level)},
                source=path,
                close=manager.close,
            )
        )
    if notes:
        unsaid = f"; and {len(notes) - _SHOWN} more" if len(notes) > _SHOWN else ""
        warnings.warn(f"{path}: {'; '.join(notes[:_SHOWN])}{unsaid}", NgffWarning, stacklevel=2)
    return datasets
