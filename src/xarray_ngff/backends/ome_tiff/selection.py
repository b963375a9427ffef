"""Which planes of a series, and which places in each, a selection of pixels meets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.ome_tiff.storage import Storage

__all__ = ["Indices", "as_slice", "parts_of_selection", "plane_numbers", "planes_of"]

Indices = npt.NDArray[np.intp]


def as_slice(indices: Indices) -> slice | None:
    """Slice that selects the same ascending indices, or None where they have no common step.

    Examples
    --------
    >>> as_slice(np.array([2, 4, 6])), as_slice(np.array([7])), as_slice(np.array([0, 1, 5]))
    (slice(2, 7, 2), slice(7, 8, 1), None)
    """
    step = int(indices[1] - indices[0]) if len(indices) > 1 else 1
    if step < 1 or (np.diff(indices) != step).any():
        return None
    return slice(int(indices[0]), int(indices[-1]) + 1, step)


def parts_of_selection(
    found: npt.NDArray[Any], wanted: Sequence[Indices], sources: Sequence[tuple[int, ...]], shape: Sequence[int]
) -> Iterator[tuple[npt.NDArray[Any], list[Indices]]]:
    """Views of an array in the axes of a series, each with the indices along every axis that belong there.

    One part holds all, unless channels are made of two axes, channel and sample: then there is one for each channel.

    Parameters
    ----------
    found
        Array to fill, in the order of the dims.
    wanted
        Ascending indices along each dim.
    sources
        For each dim the places of the axes of the series that it is made of.
    shape
        Lengths of the axes of the series.
    """
    merged = next((dim for dim, places in enumerate(sources) if len(places) == 2), None)
    single = [(dim, places[0]) for dim, places in enumerate(sources) if dim != merged]
    indices: list[Indices] = [np.zeros(1, np.intp)] * len(shape)
    for dim, place in single:
        indices[place] = wanted[dim]
    if merged is None:
        order = [dim for dim, _ in sorted(single, key=lambda pair: pair[1])]
        yield found.transpose(order), indices
        return
    channel, sample = sources[merged]
    order = [dim for dim, _ in sorted([*single, (merged, sample)], key=lambda pair: pair[1])]
    groups = wanted[merged] // shape[sample]
    for group in np.unique(groups):
        start, stop = np.searchsorted(groups, [group, group + 1])
        along = tuple(slice(start, stop) if dim == merged else slice(None) for dim in range(len(sources)))
        indices[channel] = np.array([group], np.intp)
        indices[sample] = wanted[merged][start:stop] % shape[sample]
        yield np.expand_dims(found[along].transpose(order), channel), list(indices)


def plane_numbers(storage: Storage, indices: Sequence[Indices]) -> npt.NDArray[np.intp]:
    """Numbers of the planes that a selection meets, in the shape of the axes that count planes."""
    outer = storage.outer
    if not outer:
        return np.zeros((), np.intp)
    numbers: npt.NDArray[np.intp] = np.asarray(
        np.ravel_multi_index(np.ix_(*indices[:outer]), storage.shape[:outer]), np.intp
    )
    return numbers


def planes_of(
    target: npt.NDArray[Any], storage: Storage, indices: Sequence[Indices]
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Number of each plane that a selection meets, with the view of the target that it fills."""
    numbers = plane_numbers(storage, indices)
    for place in np.ndindex(numbers.shape):
        yield int(numbers[place]), target[place]
