"""What a person sees of an image: one screen of text, or an HTML table for notebooks."""

from __future__ import annotations

import html as _html
from collections.abc import Iterator

import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.channels import Channel, channels
from xarray_ngff.errors import GeometryError
from xarray_ngff.units import symbol

__all__ = ["html", "text"]

_SHOWN_CHANNELS = 8


def text(img: xr.DataArray) -> str:
    """Summary of an image in at most one screen of text.

    Examples
    --------
    >>> import numpy as np
    >>> from xarray_ngff import as_image
    >>> print(text(as_image(np.zeros((2, 4, 6), "uint16"), spacing=(2, 0.5, 0.5), units="um")))
    xarray-ngff image (z: 2, y: 4, x: 6) uint16, 96 B
      spacing      z 2 µm, y 0.5 µm, x 0.5 µm
      world extent x -0.25 to 2.75 µm, y -0.25 to 1.75 µm, z -1 to 3 µm
      chunks       not chunked
    """
    rows = list(_rows(img))
    width = max(len(label) for label, _ in rows)
    return "\n".join([_title(img), *(f"  {label:<{width}} {value}" for label, value in rows)])


def html(img: xr.DataArray) -> str:
    """Summary of an image as an HTML table."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{_html.escape(label)}</th>"
        f"<td style='text-align:left'>{_swatches(img) if label == 'channels' else _html.escape(value)}</td></tr>"
        for label, value in _rows(img)
    )
    return f"<div><strong>{_html.escape(_title(img))}</strong><table>{cells}</table></div>"


def _title(img: xr.DataArray) -> str:
    sizes = ", ".join(f"{dim}: {size}" for dim, size in img.sizes.items())
    return f"xarray-ngff {img.name or 'image'} ({sizes}) {img.dtype}, {_memory(img.nbytes)}"


def _rows(img: xr.DataArray) -> Iterator[tuple[str, str]]:
    """Label and value of each line; a geometry that cannot be told is a line that says why."""
    try:
        if geometry.measured_dims(img):
            yield "spacing", _spacing(img)
        codes = geometry.orientation(img)
        if codes is not None:
            yield "orientation", codes
        unit = symbol(geometry.world_unit(img))
        ranges = (
            f"{d} {low:.6g} to {high:.6g} {unit}".rstrip() for d, (low, high) in geometry.world_extent(img).items()
        )
        yield "world extent", ", ".join(ranges)
    except GeometryError as error:
        yield "geometry", str(error)
    try:
        known = [_channel(channel) for channel in channels(img)]
        if any(known):
            more = len(known) - _SHOWN_CHANNELS
            yield "channels", ", ".join(known[:_SHOWN_CHANNELS]) + (f" and {more} more" if more > 0 else "")
    except GeometryError as error:
        yield "channel error", str(error)
    yield "chunks", _chunks(img)


def _spacing(img: xr.DataArray) -> str:
    return ", ".join(_step(img, dim) for dim in geometry.measured_dims(img))


def _step(img: xr.DataArray, dim: str) -> str:
    try:
        along = geometry.axis(img, dim)
    except GeometryError:  # the other axes still have theirs
        return f"{dim} irregular" if dim in img.coords else f"{dim} unknown"
    return f"{dim} {abs(along.step):.6g} {symbol(along.units)}".rstrip()


def _channel(channel: Channel) -> str:
    details = [channel.color and f"#{channel.color}", channel.window and "{:g} to {:g}".format(*channel.window)]
    shown = ", ".join(filter(None, details))
    name = channel.name or ""
    return f"{name} ({shown})".strip() if shown else name


def _swatches(img: xr.DataArray) -> str:
    parts = []
    for channel in channels(img)[:_SHOWN_CHANNELS]:
        color = f"<span style='color:#{_html.escape(channel.color)}'>&#9632;</span> " if channel.color else ""
        parts.append(color + _html.escape(_channel(channel)))
    more = img.sizes.get("c", 1) - _SHOWN_CHANNELS
    return "<br>".join(parts) + (f"<br>and {more} more" if more > 0 else "")


def _chunks(img: xr.DataArray) -> str:
    if img.chunks is None:
        return "not chunked"
    largest = ", ".join(f"{dim}: {max(sizes)}" for dim, sizes in zip(img.dims, img.chunks, strict=True))
    count = 1
    for sizes in img.chunks:
        count *= len(sizes)
    return f"{count} of at most ({largest})"


def _memory(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.4g} {unit}"
