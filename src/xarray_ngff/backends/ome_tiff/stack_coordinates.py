"""Where the planes of a stack are, from what each of its files says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import geometry, units
from xarray_ngff.affine import is_regular
from xarray_ngff.backends._times import START_TIME, parse_time
from xarray_ngff.backends.ome_tiff.stack_files import StackFiles
from xarray_ngff.channels import Channel, channel_coordinates, channels

__all__ = ["stack_coordinates"]

Coords = Mapping[str, xr.Variable]
Warn = Callable[[str], None]

# Files agree on a place within this part of the spacing.
_SAME_PLACE = 1e-6
# Planes are on the grid of their spacing within this part of it: stages are read out to so many digits.
_OFF_GRID = {"z": 1e-2, "t": 1e-6}


def stack_coordinates(
    coords: Sequence[Coords],
    files: StackFiles,
    lengths: Mapping[str, Sequence[int]],
    *,
    replaced: Collection[str],
    warn: Warn,
) -> dict[str, xr.Variable]:
    """Coordinates of a stack.

    Parameters
    ----------
    coords
        Of each file.
    files
        The files, on the grid of joined dims.
    lengths
        For each joined dim, the length along it of each file.
    replaced
        Dims whose spacing (of c: whose channels) will be replaced, so that nothing needs to be said about it.
    warn
        Takes what files say that is not used, in words.
    """
    found: dict[str, xr.Variable] = {}
    for axis, dim in enumerate(files.dims):
        leading = [i for i, place in enumerate(files.places) if not any(place[:axis]) and not any(place[axis + 1 :])]
        own = [coords[i] for i in leading]
        if dim == "c":
            found |= channel_coordinates(_joined_channels(own, lengths[dim]))
        else:
            tell: Warn = _nothing if dim in replaced else warn
            paths = [files.paths[i] for i in leading]
            found[dim] = _joined_places(dim, [entry.get(dim) for entry in own], lengths[dim], paths, tell)
    for name in dict.fromkeys(name for own in coords for name in own):
        along = [dim for dim in files.dims if _belongs(name, dim)]
        groups = _groups(files, along)
        odd = [i for group in groups for i in group if not _agree(coords[group[0]].get(name), coords[i].get(name))]
        first = coords[0].get(name)
        if not along and first is not None and (first.ndim or not odd):
            found[name] = first
        if odd and not ("c" in replaced and _belongs(name, "c")) and name not in replaced:
            kept = "the first is used" if along or (first is not None and first.ndim) else "it is left out"
            warn(f"{_some(odd, files.paths)} state another {name!r} than the first ({kept})")
    return found


def _nothing(message: str) -> None:
    """Say nothing."""


def _belongs(name: str, dim: str) -> bool:
    """Whether a coordinate of a file tells its place along a dim."""
    return name == dim or (dim == "c" and name.startswith(("channel_", "window_")))


def _groups(files: StackFiles, along: Collection[str]) -> list[list[int]]:
    """Files that should say the same: those at one place along some dims, or all."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, place in enumerate(files.places):
        key = tuple(index for dim, index in zip(files.dims, place, strict=True) if dim in along)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _agree(first: xr.Variable | None, other: xr.Variable | None) -> bool:
    if first is None or other is None:
        return first is other
    if first is other:
        return True
    if first.dims != other.dims or first.shape != other.shape:
        return False
    if first.dtype.kind != "f" or other.dtype.kind != "f":
        return bool((first.values == other.values).all())
    if any(first.attrs.get(key) != other.attrs.get(key) for key in ("units", START_TIME)):
        return False
    if np.array_equal(first.values, other.values, equal_nan=True):
        return True
    slack = _SAME_PLACE * abs(first.attrs.get("spacing", 1.0))
    return bool(np.allclose(first.values, other.values, rtol=1e-12, atol=slack, equal_nan=True))


def _joined_channels(coords: Sequence[Coords], lengths: Sequence[int]) -> list[Channel]:
    described: list[Channel] = []
    for own, length in zip(coords, lengths, strict=True):
        names = {name: variable for name, variable in own.items() if _belongs(name, "c")}
        along = any(variable.dims == ("c",) for variable in names.values())
        img = xr.DataArray(np.empty((length,) if along else ()), dims=("c",) if along else (), coords=names)
        described += channels(img) or [Channel()] * length
    return described


def _joined_places(
    dim: str, stated: Sequence[xr.Variable | None], lengths: Sequence[int], paths: Sequence[Path], warn: Warn
) -> xr.Variable:
    """Coordinate along a joined dim."""
    counted = geometry.coordinate(dim, sum(lengths))
    known = [variable for variable in stated if variable is not None and not _counts_voxels(variable)]
    if not known:
        return counted
    if len(known) < len(stated):
        silent = [i for i, variable in enumerate(stated) if variable is None or _counts_voxels(variable)]
        warn(f"{_some(silent, paths)} do not state {dim!r} (it counts planes)")
        return counted
    unit = known[0].attrs.get("units")
    if any(variable.attrs.get("units") != unit for variable in known):
        named = sorted({str(variable.attrs.get("units")) for variable in known})
        warn(f"{dim!r} is in {' and '.join(named)} (it counts planes)")
        return counted
    starts = [start for variable in known if (start := _start(variable)) is not None]
    # dates with and without a time zone cannot be compared
    comparable = len(starts) == len(known) and len({start.tzinfo is None for start in starts}) == 1
    if starts and not comparable:
        warn(f"not all files say, or in one way, when {dim!r} is 0 (it is left out)")
    elif len(set(starts)) > 1:
        known, unit = _since_the_first(known, starts, unit)
    found = _placed(dim, known, unit, counted, warn)
    if comparable:
        found.attrs[START_TIME] = starts[0].isoformat()
    return found


def _counts_voxels(variable: xr.Variable) -> bool:
    """Whether a coordinate is what an axis has that a file says nothing of."""
    plain = {"spacing": 1.0}.items() >= variable.attrs.items()
    return plain and bool((np.atleast_1d(variable.values) == np.arange(max(variable.size, 1))).all())


def _start(variable: xr.Variable) -> datetime | None:
    text = variable.attrs.get(START_TIME)
    return parse_time(text) if isinstance(text, str) else None


def _since_the_first(
    stated: Sequence[xr.Variable], starts: Sequence[datetime], unit: str | None
) -> tuple[list[xr.Variable], str]:
    """Times that each count from a start of their own, as times since the start of the first."""
    unit = unit or "second"
    shifts = [units.converted((start - starts[0]).total_seconds(), "second", unit) for start in starts]
    return [
        xr.Variable(variable.dims, variable.values + shift, variable.attrs)
        for variable, shift in zip(stated, shifts, strict=True)
    ], unit


def _placed(dim: str, known: Sequence[xr.Variable], unit: str | None, counted: xr.Variable, warn: Warn) -> xr.Variable:
    parts = [np.atleast_1d(variable.values).astype(np.float64) for variable in known]
    values = np.concatenate(parts)
    steps = {variable.attrs.get("spacing") for variable in known}
    step = steps.pop() if len(steps) == 1 else None
    if len(parts) > 1 and len({float(part[0]) for part in parts}) == 1:
        # none says where it is among the others, so they follow each other
        if step is not None:
            return geometry.coordinate(dim, values.size, start=float(values[0]), step=step, units=unit)
        warn(f"all files state that {dim!r} is {values[0]:g} and no common spacing (it counts planes)")
        return counted
    if is_regular(values, rtol=_OFF_GRID[dim]):
        return geometry.coordinate(dim, values.size, start=float(values[0]), step=_step(dim, values, step), units=unit)
    if dim != "t":
        warn(
            f"places along {dim!r} are not regular ({_shown(values)}): give spacing={{{dim!r}: ...}} if they should be"
        )
    return xr.Variable((dim,), values, {} if unit is None else {"units": unit})


def _step(dim: str, values: npt.NDArray[np.float64], nominal: float | None) -> float:
    """Spacing of regular values: the one that files state, where the values agree with it."""
    if len(values) == 1:
        return 1.0 if nominal is None else nominal
    found = float(values[-1] - values[0]) / (len(values) - 1)
    if nominal is None:
        return found
    signed = float(np.copysign(nominal, found))
    off = np.abs(values - (values[0] + signed * np.arange(len(values)))).max()
    return signed if off <= max(_OFF_GRID[dim] * abs(signed), 8 * np.spacing(np.abs(values).max())) else found


def _some(indices: Sequence[int], paths: Sequence[Path]) -> str:
    return f"{len(indices)} of {len(paths)} files, such as {paths[indices[0]].name},"


def _shown(values: npt.NDArray[Any]) -> str:
    return ", ".join(f"{value:g}" for value in values[:4]) + (", ..." if len(values) > 4 else "")
