"""Spacing, times and channels as the file formats of microscopes that build on TIFF hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_ngff.backends.ome_tiff.description import AxisGrid, Description
from xarray_ngff.backends.ome_tiff.resolution import resolution_description
from xarray_ngff.channels import Channel
from xarray_ngff.units import unit_name

if TYPE_CHECKING:
    from tifffile import TiffFile

__all__ = ["microscope_description"]


def microscope_description(kind: str, tif: TiffFile) -> Description | None:
    """What a format of a microscope says of its images, or None for a kind without rules here.

    Parameters
    ----------
    kind
        Kind of series, as tifffile names it.
    tif
        The open file.
    """
    rule = _RULES.get(kind)
    return None if rule is None else rule(tif)


def _lsm(tif: TiffFile) -> Description:
    """Zeiss LSM: lengths in metres."""
    metadata = tif.lsm_metadata or {}
    axes = {}
    for dim in ("z", "y", "x"):
        size = _number(metadata.get(f"VoxelSize{dim.upper()}"))
        if size is not None and size > 0:
            start = _number(metadata.get(f"Origin{dim.upper()}")) or 0.0
            axes[dim] = AxisGrid(_micrometers(size), _micrometers(start), "micrometer")
    step = _number(metadata.get("TimeIntervall") or metadata.get("TimeInterval"))
    stamps = np.asarray(metadata.get("TimeStamps", ()), dtype=np.float64)
    times: tuple[float, ...] = ()
    if stamps.ndim == 1 and len(stamps) > 1 and (np.diff(stamps) > 0).all():
        times = tuple(map(float, stamps - stamps[0]))
    elif step is not None and step > 0:
        axes["t"] = AxisGrid(step, 0.0, "second")
    return Description(axes, _lsm_channels(metadata.get("ChannelColors") or {}), times)


def _lsm_channels(found: Mapping[str, Any]) -> tuple[Channel, ...]:
    names, colors = found.get("ColorNames") or (), found.get("Colors") or ()
    channels = []
    for index in range(max(len(names), len(colors))):
        parts = colors[index][:3] if index < len(colors) else ()
        color = "".join(f"{int(part):02X}" for part in parts) if len(parts) == 3 else None
        channels.append(Channel((names[index] or None) if index < len(names) else None, color))
    return tuple(channels)


def _stk(tif: TiffFile) -> Description:
    """MetaMorph STK: one calibration, and a distance between planes."""
    metadata = tif.stk_metadata or {}
    unit = unit_name(str(metadata.get("CalibrationUnits") or "").strip("\0 ")) or None
    axes = {}
    for dim in ("y", "x"):
        size = _number(metadata.get(f"{dim.upper()}Calibration"))
        if size is not None and size > 0 and unit is not None:
            axes[dim] = AxisGrid(size, 0.0, unit)
    steps = np.atleast_1d(np.asarray(metadata.get("ZDistance", ()), dtype=np.float64))
    if len(steps) and steps[0] > 0 and (steps == steps[0]).all():
        axes["z"] = AxisGrid(float(steps[0]), 0.0, unit or "micrometer")
    return Description(axes)


def _micromanager(tif: TiffFile) -> Description:
    """Micro-Manager's own multi-dimensional file."""
    summary = (tif.micromanager_metadata or {}).get("Summary") or {}
    axes: dict[str, AxisGrid] = {}
    size, step = _number(summary.get("PixelSize_um")), _number(summary.get("z-step_um"))
    interval = _number(summary.get("Interval_ms"))
    if size is not None and size > 0:
        axes |= {"y": AxisGrid(size, 0.0, "micrometer"), "x": AxisGrid(size, 0.0, "micrometer")}
    if step:
        axes["z"] = AxisGrid(abs(step), 0.0, "micrometer")
    if interval is not None and interval > 0:
        axes["t"] = AxisGrid(interval / 1000, 0.0, "second")
    names = summary.get("ChNames") or ()
    return Description(axes, tuple(Channel(str(name)) for name in names) if isinstance(names, list) else ())


def _aperio(tif: TiffFile) -> Description:
    """Aperio SVS: micrometres per pixel in its description."""
    for part in tif.pages.first.description.split("|"):
        key, _, value = part.partition("=")
        size = _number(value) if key.strip() == "MPP" else None
        if size is not None and size > 0:
            return Description({dim: AxisGrid(size, 0.0, "micrometer") for dim in ("y", "x")})
    return resolution_description(tif.pages.first)


_RULES: Mapping[str, Callable[[TiffFile], Description]] = {
    "lsm": _lsm,
    "stk": _stk,
    "mmstack": _micromanager,
    "svs": _aperio,
}


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _micrometers(meters: float) -> float:
    # 15 digits drop the noise of the multiplication, not information
    return float(f"{meters * 1e6:.15g}")
