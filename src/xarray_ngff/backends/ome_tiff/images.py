"""Images of TIFF files as datasets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._lazy import image_dataset
from xarray_ngff.backends.ome_tiff.array import TiffArray
from xarray_ngff.backends.ome_tiff.chunks import preferred_chunks
from xarray_ngff.backends.ome_tiff.description import Description, described_coordinates
from xarray_ngff.backends.ome_tiff.file_bytes import FileBytes
from xarray_ngff.backends.ome_tiff.files import tiff_errors
from xarray_ngff.backends.ome_tiff.levels import level_factors
from xarray_ngff.backends.ome_tiff.sample_channels import channels_with_samples
from xarray_ngff.backends.ome_tiff.segments import check_extents, check_growth
from xarray_ngff.backends.ome_tiff.series import SeriesFile, level_of, opened_series, reopened_level
from xarray_ngff.backends.ome_tiff.storage import storage_of

if TYPE_CHECKING:
    pass

__all__ = ["OpenedImage", "described_image", "open_image", "open_tree"]

_DIMS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x"}


@dataclass(frozen=True)
class OpenedImage:
    """One level of a series, before it is a dataset.

    Attributes
    ----------
    dims
        Dims in the order of the data model.
    array
        Pixels in that order; nothing of them is read yet.
    coords
        Coordinates by name.
    encoding
        Of the variable.
    source
        The file.
    """

    dims: tuple[str, ...]
    array: TiffArray
    coords: Mapping[str, xr.Variable]
    encoding: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None

    def dataset(self) -> xr.Dataset:
        """Dataset of one lazy variable, ``image``."""
        return image_dataset(
            "image",
            self.dims,
            self.array,
            self.coords,
            encoding=self.encoding,
            source=self.source,
            close=self.array.close,
        )


def described_image(
    path: object, series: int | str = 0, level: int = 0, *, warn: Callable[[str], None] | None = None
) -> OpenedImage:
    """One level of a series; see `OmeTiffEntrypoint.open_dataset`.

    Parameters
    ----------
    path, series, level
        See there.
    warn
        Takes, in place of a warning, one text that names the file and all that was read by a lenient rule.
    """
    with opened_series(path) as found:
        opened = _opened(found, found.index_of(series), level)
    found.warn(warn)
    return opened


def open_image(path: object, *, series: int | str = 0, level: int = 0) -> xr.Dataset:
    """Dataset of one level of a series; see `OmeTiffEntrypoint.open_dataset`."""
    return described_image(path, series, level).dataset()


def open_tree(path: object) -> dict[str, xr.Dataset]:
    """Dataset of every level of every series by its path; see `OmeTiffEntrypoint.open_groups_as_dict`."""
    datasets = {}
    with opened_series(path) as found:
        for index, name in enumerate(found.names):
            folder = f"/{name}" if len(found.names) > 1 else ""
            for level in range(len(found.series[index].levels)):
                datasets[f"{folder}/scale{level}"] = _opened(found, index, level).dataset()
    found.warn()
    return datasets


def _opened(found: SeriesFile, index: int, level: int) -> OpenedImage:
    chosen, finest = level_of(found, index, level), found.series[index]
    place = f"{found.path}, series {found.names[index]!r}"
    with tiff_errors(found.path):
        storage = storage_of(chosen, place=place)
        if storage.grid is not None:
            chosen.keyframe.decode  # noqa: B018  # made while the file is open
    check_growth(storage)
    if storage.grid is None:
        with FileBytes(storage.files) as files:
            check_extents(files, storage, np.arange(len(storage.file_of)), np.zeros(1, np.intp))
    sources = _sources(storage.axes)
    dims = tuple(str(dim) for dim in geometry.canonical_dims(tuple(sources)))
    array = TiffArray(
        storage,
        [sources[dim] for dim in dims],
        reopen=functools.partial(reopened_level, str(found.path), index, level),
        series=chosen,
        dtype=None if chosen.transform is None else chosen.dtype,
    )
    sizes = dict(zip(dims, array.shape, strict=True))
    whole = {dim: _product(finest.shape, places) for dim, places in _sources(finest.axes).items()}
    with tiff_errors(found.path):
        described = _within(found, index, found.description(index), dims)
        channels = channels_with_samples(described.channels, finest, sizes.get("c", 1))
    factors = level_factors({dim: whole.get(dim, size) for dim, size in sizes.items()}, sizes)
    coords = described_coordinates(described, sizes, factors, channels)
    encoding = {"preferred_chunks": preferred_chunks(storage, dims, array.sources, array.shape)}
    return OpenedImage(dims, array, coords, encoding, str(found.path))


def _sources(axes: str) -> dict[str, tuple[int, ...]]:
    """For each dim the places of the axes that it is made of: samples are channels, or parts of them.

    Examples
    --------
    >>> _sources("QTCYXS"), _sources("QQYX")
    ({'q': (0,), 't': (1,), 'c': (2, 5), 'y': (3,), 'x': (4,)}, {'q': (0,), 'q1': (1,), 'y': (2,), 'x': (3,)})
    """
    sources: dict[str, tuple[int, ...]] = {}
    for place, axis in enumerate(axes):
        dim = _DIMS.get(axis, axis.lower())
        if axis == "S":
            continue
        name, number = dim, 0
        while name in sources:
            number += 1
            name = f"{dim}{number}"
        sources[name] = (place,)
    if "S" in axes:
        sources["c"] = (*sources.get("c", ()), axes.index("S"))
    return sources


def _product(shape: Sequence[int], places: Sequence[int]) -> int:
    product = 1
    for place in places:
        product *= shape[place]
    return product


def _within(found: SeriesFile, index: int, described: Description, dims: Sequence[str]) -> Description:
    """Description without those axes that other dims (modulo axes) have taken over."""
    image = found.images[index]
    if image is None:
        return described
    taken = [dim for dim in described.axes if dim not in dims and image.sizes[dim.upper()] > 1]
    axes = {dim: grid for dim, grid in described.axes.items() if dim not in taken}
    return Description(axes, described.channels, described.times, described.start_time)
