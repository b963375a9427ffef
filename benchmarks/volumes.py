"""Data that the cases share, and the places of what they write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CHUNKS", "SCALE", "SHAPE", "codec", "fresh", "scaled", "volume"]

SHAPE, CHUNKS = (512, 1024, 512), (128, 128, 128)
# Part of the data that formats are measured with; see the option --scale.
SCALE = float(os.environ.get("BENCHMARK_SCALE", "1"))


def scaled(count: int) -> int:
    """Number of planes or files, times the scale that was asked for; at least 2."""
    return max(2, round(count * SCALE))


def volume(shape: tuple[int, int, int] = SHAPE) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """(z, y, x), 512 MiB by default: a smooth background, blobs, and noise, as a light-sheet microscope gives."""
    rng = np.random.default_rng(0)
    z, y, x = (np.linspace(0, 6, size, dtype=np.float32) for size in shape)
    image = np.empty(shape, dtype=np.uint16)
    for index in range(shape[0]):
        plane = 400 + 200 * np.sin(z[index]) * np.sin(y)[:, None] * np.sin(x)
        plane += 1500 * (np.sin(9 * y)[:, None] * np.sin(9 * x) * np.sin(9 * z[index])) ** 8
        image[index] = plane + rng.integers(0, 40, shape[1:], dtype=np.uint16)
    return image


def codec() -> Any:
    """What all writers of Zarr compress with."""
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle")


def fresh(folder: Path, name: str = "target.ome.zarr") -> str:
    """Path of a target that is not there any more."""
    target = folder / name
    if target.is_dir():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    return str(target)
