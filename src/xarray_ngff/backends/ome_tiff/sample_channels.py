"""Channels of images whose pixels hold several samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xarray_ngff.channels import Channel

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

__all__ = ["channels_with_samples"]

_COLORS = (Channel("R", "FF0000"), Channel("G", "00FF00"), Channel("B", "0000FF"), Channel("A"))
# Photometric interpretations of pixels that are colours once decoded: RGB, YCbCr.
_COLORED = (2, 6)


def channels_with_samples(described: Sequence[Channel], series: TiffPageSeries, count: int) -> list[Channel]:
    """One channel for each index along c, where each described one may hold several samples.

    Parameters
    ----------
    described
        What the file says, of channels or of all samples one by one.
    series
        The series, for its samples per pixel and what they mean.
    count
        Length of c.
    """
    axes = dict(zip(series.axes, series.shape, strict=True))
    samples = axes.get("S", 1)
    if samples > 1 and len(described) < count:
        groups = count // samples
        given = [*described, *[Channel()] * groups][:groups]
        colored = samples in (3, 4) and int(series.keyframe.photometric) in _COLORED
        return [
            _sample(channel, group if groups > 1 else None, sample, colored)
            for group, channel in enumerate(given)
            for sample in range(samples)
        ]
    return [*described, *[Channel()] * count][:count]


def _sample(channel: Channel, group: int | None, sample: int, colored: bool) -> Channel:
    """One sample of a channel; its name tells groups of samples apart where there are several."""
    own = _COLORS[sample] if colored else Channel(str(sample) if channel.name else None)
    if own.name is None:
        return Channel(None, own.color, channel.window, channel.limits)
    prefix = channel.name if channel.name is not None else None if group is None else str(group)
    name = own.name if prefix is None else f"{prefix} {own.name}"
    return Channel(name, own.color, channel.window, channel.limits)
