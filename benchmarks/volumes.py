"""Data that the cases share, and the places of what they write."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CHUNKS", "SCALE", "SHAPE", "codec", "floats", "fresh", "labels", "scaled", "scaled_shape", "volume"]

CHUNKS = (128, 128, 128)
# Part of the data that is measured with; see the option --scale.
SCALE = float(os.environ.get("BENCHMARK_SCALE", "1"))

Volume = np.ndarray[Any, Any]
# Codec of Blosc, its level, and what it shuffles.
CODEC = os.environ.get("BENCHMARK_CODEC", "zstd:1:shuffle").split(":")


def scaled(count: int) -> int:
    """Number of planes or files, times the scale that was asked for; at least 2."""
    return max(2, round(count * SCALE))


def scaled_shape(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """A shape, halved along its longest axis until it is about the part that was asked for; whole chunks stay whole."""
    sizes = list(shape)
    while math.prod(sizes) > 1.5 * SCALE * math.prod(shape) and max(sizes) > CHUNKS[0]:
        longest = sizes.index(max(sizes))
        sizes[longest] //= 2
    return sizes[0], sizes[1], sizes[2]


SHAPE = scaled_shape((512, 1024, 512))


def volume(shape: tuple[int, int, int] = SHAPE) -> Volume:
    """(z, y, x) of uint16, 512 MiB by default: a smooth background, blobs, and noise, as in light-sheet data."""
    image = np.empty(shape, dtype=np.uint16)
    for index, plane in enumerate(_planes(shape)):
        image[index] = plane
    return image


def floats(shape: tuple[int, int, int]) -> Volume:
    """The same image as float32, as it is after a background was subtracted and a gain divided by."""
    image = np.empty(shape, dtype=np.float32)
    for index, plane in enumerate(_planes(shape)):
        image[index] = (plane - 400) / np.float32(7.3)
    return image


def _planes(shape: tuple[int, int, int]) -> Any:
    """Planes one after another, of integers in float32."""
    rng = np.random.default_rng(0)
    angles = [np.linspace(0, 6, size, dtype=np.float32) for size in shape]
    background = 200 * np.sin(angles[1])[:, None] * np.sin(angles[2])
    blobs = 1500 * (np.sin(9 * angles[1])[:, None] * np.sin(9 * angles[2])) ** 8
    for z in angles[0]:
        noise = rng.integers(0, 40, shape[1:], dtype=np.uint16)
        yield np.floor(400 + np.sin(z) * background + np.sin(9 * z) ** 8 * blobs) + noise


def labels(shape: tuple[int, int, int]) -> Volume:
    """(z, y, x) of uint32: numbered balls, as nuclei are segmented, on a background of 0."""
    rng = np.random.default_rng(0)
    cell = (32, 48, 48)
    counts = [-(-size // edge) for size, edge in zip(shape, cell, strict=True)]
    numbers = (1 + np.arange(math.prod(counts), dtype=np.uint32)).reshape(counts)
    centres = [edge * rng.uniform(0.35, 0.65, counts).astype(np.float32) for edge in cell]
    radii = rng.uniform(8, 15, counts).astype(np.float32)
    rows, columns = (np.arange(size) // edge for size, edge in zip(shape[1:], cell[1:], strict=True))
    y, x = (np.arange(size, dtype=np.float32) % edge for size, edge in zip(shape[1:], cell[1:], strict=True))
    image = np.empty(shape, dtype=np.uint32)
    for layer in range(counts[0]):
        place = np.ix_([layer], rows, columns)
        number, squares, at_z = numbers[place][0], radii[place][0] ** 2, centres[0][place][0]
        squares -= (y[:, None] - centres[1][place][0]) ** 2 + (x - centres[2][place][0]) ** 2
        for z in range(min(cell[0], shape[0] - layer * cell[0])):
            image[layer * cell[0] + z] = number * ((z - at_z) ** 2 < squares)
    return image


def codec(*, harder: bool = False) -> Any:
    """What all writers of Zarr compress with, or the same with one level more."""
    from zarr.codecs import BloscCodec

    name, level, shuffle = CODEC
    return BloscCodec(cname=name, clevel=int(level) + harder, shuffle=shuffle)


def fresh(folder: Path, name: str = "target.ome.zarr") -> str:
    """Path of a target that is not there any more."""
    target = folder / name
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    return str(target)
