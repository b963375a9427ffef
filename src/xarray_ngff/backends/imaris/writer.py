"""Images written as Imaris 5.5 files."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr
from xarray.backends.locks import HDF5_LOCK

from xarray_ngff import geometry
from xarray_ngff.backends._atomic import replacing_file, scratch_file
from xarray_ngff.backends._dtypes import storable
from xarray_ngff.backends._local_path import local_path
from xarray_ngff.backends._plain_grid import plain_grid
from xarray_ngff.backends.imaris.compression import Compression, compression_named
from xarray_ngff.backends.imaris.dataset_info import (
    Sections,
    channel_colors,
    color_range_text,
    dataset_info,
    write_root,
    write_sections,
    write_text,
)
from xarray_ngff.backends.imaris.decimals import decimal
from xarray_ngff.backends.imaris.extents_written import Box, box_of
from xarray_ngff.backends.imaris.histograms import (
    Bins,
    Counts,
    Range,
    bins_for,
    display_range,
    joined,
    resampled,
    shifted,
)
from xarray_ngff.backends.imaris.level_streams import (
    Target,
    chunks_of,
    group_name,
    write_coarser_level,
    write_finest_level,
)
from xarray_ngff.backends.imaris.resolution_levels import ResolutionLevel, plan_resolution_levels
from xarray_ngff.backends.imaris.thumbnail import colored, projection, thumbnail_level, thumbnail_size
from xarray_ngff.backends.imaris.times_written import time_texts
from xarray_ngff.channels import Channel, channels
from xarray_ngff.errors import FormatError, NgffWarning

if TYPE_CHECKING:
    import h5py

__all__ = ["write_imaris"]

_SUFFIX = ".ims"
_HOLDER = "Imaris"
_DTYPES = ("uint8", "uint16", "uint32", "float32")
_DIMS = ("t", "c", "z", "y", "x")
_THREADS = 8


@dataclass(frozen=True)
class _Plan:
    """All that is to be written, but what follows from the values."""

    levels: Sequence[ResolutionLevel]
    times: int
    channels: Sequence[Channel]
    box: Box
    sections: Sections
    labels: bool


def write_imaris(
    img: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    levels: int | None = None,
    compression: str | None = "gzip",
    overwrite: bool = False,
) -> None:
    """Write an image as an Imaris 5.5 file, block by block.

    Chunks, resolution levels, histograms, display ranges and thumbnail are those of Imaris's own writer library. Each
    chunk of a dask array is computed once; further levels are made from the stored one below, in memory that does not
    grow with the image. The same image in the same chunks gives the same bytes.

    Parameters
    ----------
    img
        Dims any of t, c, z, y, x, in any order, with y and x as dims or scalar coordinates; those that it does not have
        get length 1. uint8, uint16, uint32 or float32; other types are converted where that loses nothing, for which
        all values may be read once before. An image named ``"labels"`` has levels of the most frequent value in place
        of the mean.
    path
        Ends with ``.ims``. The file appears whole or not at all.
    levels
        How many resolution levels, level 0 included; by default until one channel at one time point takes 1 MiB.
    compression
        ``"gzip"`` (level 2, as Imaris writes it), ``"gzip:1"`` to ``"gzip:9"``, ``"lz4"`` (with hdf5plugin), or None.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    FormatError
        For a dim or type that Imaris does not hold, another suffix, or an unknown compression.
    GeometryError
        Where the coordinates are not regular (t need not be), or the image is too small for `levels`.
    UnitError
        Where the unit of t is no time, or that of a spatial axis is one.
    TargetExistsError
        Where the target exists and `overwrite` is False.
    MissingFolderError
        Where the folder of the target does not exist.
    MissingExtraError
        For ``"lz4"`` where hdf5plugin is not installed.

    Warns
    -----
    NgffWarning
        Naming what the file does not hold: orientation, rotation, that the image holds labels, units that are no
        lengths, fractions of a millisecond, where t starts if it has no ``start_time``.

    Notes
    -----
    Lengths are in the unit of x if that is µm, nm, mm or m, else in µm; without any unit the file names none. t = 0 is
    at ``img.t.attrs["start_time"]``, else at midnight of 1 January 2000. Channels without colour are white (one) or
    blue, green, red, white, magenta, cyan, yellow; those without window are shown from the first peak of their
    histogram to beyond its 99.8 % quantile. Format: Imaris 5.5, as ImarisWriter of the vendor writes it.

    Examples
    --------
    >>> import h5py, tempfile
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((2, 40, 30), "uint8"), spacing={"z": 1, "y": 0.5, "x": 0.5}, units="um")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_imaris(img, f"{folder}/image.ims")
    ...     with h5py.File(f"{folder}/image.ims") as file:
    ...         file["DataSet/ResolutionLevel 0/TimePoint 0/Channel 0/Data"].chunks
    (4, 64, 64)
    """
    place = str(local_path(path, holder=_HOLDER))
    if Path(place).suffix.lower() != _SUFFIX:
        raise FormatError(
            f"{place} does not end with {_SUFFIX}, so no reader would take it for an Imaris file: rename it"
        )
    _check_dims(img, place)
    packing = compression_named(compression)
    with replacing_file(place, overwrite=overwrite) as temporary:
        plain = plain_grid(img, place=place, holder=_HOLDER)
        box, no_unit = box_of(plain)
        times, no_time = time_texts(plain)
        described = channels(plain) or (Channel(),) * plain.sizes.get("c", 1)
        z, y, x = (plain.sizes.get(dim, 1) for dim in _DIMS[2:])
        name = Path(place).stem
        sections = dataset_info(name, (z, y, x), box, times, described, place=place)
        if levels is not None:  # before values are looked at
            plan_resolution_levels((z, y, x), 1, levels=levels)
        if no_unit or no_time:
            warnings.warn(
                f"{place}: {_HOLDER} cannot hold {'; nor '.join(no_unit + no_time)}", NgffWarning, stacklevel=2
            )
        plain = storable(plain, _DTYPES, place=place, holder=_HOLDER)
        planned = plan_resolution_levels((z, y, x), plain.dtype.itemsize, times=len(times), levels=levels)
        plan = _Plan(planned, len(times), described, box, sections, labels=img.name == "labels")
        _write(temporary, plain, plan, packing)


def _check_dims(img: xr.DataArray, place: str) -> None:
    others = [dim for dim in img.dims if dim not in _DIMS]
    if others:
        raise FormatError(
            f"{place}: {_HOLDER} has no axis for {others}, only for t, c, z, y, x: select along it, as with "
            f"img.isel({others[0]}=0), rename it, or write OME-Zarr"
        )
    absent = [dim for dim in ("y", "x") if dim not in geometry.spatial_axes(img)]
    if absent:
        raise FormatError(
            f"{place}: the image has dims {tuple(img.dims)}, but {_HOLDER} needs {absent} too: rename its dims"
        )
    empty = [dim for dim, size in img.sizes.items() if size == 0]
    if empty:
        raise FormatError(f"{place}: dims {empty} are empty, so there is nothing to write")


def _write(path: Path, img: xr.DataArray, plan: _Plan, packing: Compression) -> None:
    import h5py
    from dask.system import CPU_COUNT

    threads = min(_THREADS, CPU_COUNT)
    dtype = img.dtype.newbyteorder("<")
    with HDF5_LOCK:
        file = h5py.File(path, "w")
    try:
        with ThreadPoolExecutor(threads) as pool, scratch_file(path) as scratch:
            target = Target(file, plan.levels, dtype, packing, pool, threads)
            with HDF5_LOCK:
                _create(target, plan)
            ranges = write_finest_level(target, img, scratch)
            shown = _write_levels(target, plan, ranges)
            pixels = _thumbnail(target, plan, shown)
        with HDF5_LOCK:
            write_sections(file, plan.sections)
            for channel, limits in enumerate(shown):
                write_text(file[f"DataSetInfo/Channel {channel}"], "ColorRange", color_range_text(limits))
            file.create_dataset("Thumbnail/Data", data=pixels, track_times=False)
    finally:
        with HDF5_LOCK:
            file.close()


def _create(target: Target, plan: _Plan) -> None:
    """Make the groups and datasets of all levels, without voxels."""
    write_root(target.file)
    for index, level in enumerate(plan.levels):
        for time, channel in np.ndindex(plan.times, len(plan.channels)):
            group = target.file.create_group(group_name(index, time, channel))
            for axis, size in zip("ZYX", level.size, strict=True):
                write_text(group, f"ImageSize{axis}", str(size))
            group.create_dataset(
                "Data",
                level.stored_shape,
                target.dtype,
                chunks=level.chunk,
                track_times=False,
                **target.compression.filters,
            )


def _write_levels(target: Target, plan: _Plan, ranges: Mapping[tuple[int, int], Range]) -> list[tuple[float, float]]:
    """Write levels below the finest and all histograms; what comes back is the display range of each channel."""
    shown = []
    for channel, described in enumerate(plan.channels):
        overall = bins_for(target.dtype, joined([ranges[time, channel] for time in range(plan.times)]))
        total: Counts = np.zeros(overall.number, np.int64)
        for time in range(plan.times):
            found = ranges[time, channel]
            for level in range(len(plan.levels)):
                bins = bins_for(target.dtype, found)
                counts, found = write_coarser_level(target, level, time, channel, bins, labels=plan.labels)
                if level == 0:
                    total += shifted(counts, bins, overall)
                with HDF5_LOCK:
                    _write_histogram(target.file[group_name(level, time, channel)], counts, bins)
        window = described.window
        known = window is not None and all(map(math.isfinite, window))
        shown.append(window if window is not None and known else display_range(total, overall))
    return shown


def _write_histogram(group: h5py.Group, counts: Counts, bins: Bins) -> None:
    """Write counts in 256 bins and, where there are more, as they are."""
    for number, suffix in {256: "", len(counts): "" if len(counts) == 256 else "1024"}.items():
        data = resampled(counts, number).astype(np.uint64)
        group.create_dataset(f"Histogram{suffix}", data=data, track_times=False)
        for end, value in (("Min", bins.low), ("Max", bins.high)):
            write_text(group, f"Histogram{end}{suffix}", decimal(value, 3))


def _thumbnail(target: Target, plan: _Plan, shown: Sequence[tuple[float, float]]) -> npt.NDArray[np.uint8]:
    """Bytes of the thumbnail: the largest values along z of the first time point."""
    level = thumbnail_level([level.size for level in plan.levels], target.dtype.itemsize)
    size = plan.levels[level].size
    down, across = (
        (high - low) / length
        for (low, high), length in zip((plan.box.borders[dim] for dim in "yx"), size[1:], strict=True)
    )
    pixels = thumbnail_size(size, (down, across))
    pictures = [projection(chunks_of(target, level, 0, channel), size, pixels) for channel in range(len(plan.channels))]
    return colored(pictures, channel_colors(plan.channels), shown)
