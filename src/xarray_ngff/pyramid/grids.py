"""Grids in which the levels of a pyramid are stored: chunks, and shards of whole chunks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.memory import byte_count
from xarray_ngff.pyramid.plan import default_chunks

__all__ = [
    "SHARD_BYTES",
    "Chunks",
    "LevelGrid",
    "Shards",
    "chunk_lengths",
    "level_grids",
    "pyramid_grids",
    "shard_lengths",
]

#: Uncompressed bytes of a shard at most, with ``shards="auto"``.
SHARD_BYTES = 64 * 2**20

Shape: TypeAlias = tuple[int, ...]
Chunks: TypeAlias = int | Sequence[int] | Mapping[str, int]
Shards: TypeAlias = int | str | Sequence[int] | Mapping[str, int]


@dataclass(frozen=True)
class LevelGrid:
    """How the array of a level is cut.

    Attributes
    ----------
    shape : tuple of int
        Voxels along every axis.
    chunks : tuple of int
        Chunk length along every axis, at most that of the axis.
    shards : tuple of int or None
        Shard length along every axis, whole chunks, and no more of them than the axis needs; None without shards.
    """

    shape: Shape
    chunks: Shape
    shards: Shape | None = None

    @property
    def unit(self) -> Shape:
        """What one writer must write at once: a shard, or a chunk where there are no shards."""
        return self.shards or self.chunks


def chunk_lengths(img: xr.DataArray, chunks: Chunks | None) -> dict[str, int]:
    """Chunk length along every dim of an image.

    Parameters
    ----------
    img
        Image, its dims in the order in which a sequence of chunks is given.
    chunks
        Length for all spatial dims, or one for each dim in their order, or by dim. Default, and for dims that are left
        out: `xarray_ngff.pyramid.plan.default_chunks`.

    Raises
    ------
    GeometryError
        For an unknown dim, a wrong number of lengths, or one that is not a whole number of at least 1.

    Examples
    --------
    >>> img = xr.DataArray(np.zeros((3, 500, 600), "uint8"), dims=("c", "y", "x"))
    >>> chunk_lengths(img, None), chunk_lengths(img, 256)
    ({'c': 1, 'y': 500, 'x': 600}, {'c': 1, 'y': 256, 'x': 256})
    """
    lengths = default_chunks({str(dim): size for dim, size in img.sizes.items()})
    return lengths | ({} if chunks is None else _by_dim(img, chunks, "chunk"))


def shard_lengths(img: xr.DataArray, shards: Shards | None, chunks: Mapping[str, int]) -> dict[str, int] | None:
    """Shard length along every dim of an image, in whole chunks; None without shards.

    Parameters
    ----------
    img
        Image, its dims in the order in which a sequence of lengths is given.
    shards
        Length for all spatial dims, or one for each dim in their order, or by dim; a dim that is left out has one chunk
        in a shard. Or the uncompressed bytes that a shard has at most, such as ``"256 MiB"``, and ``"auto"`` for
        64 MiB: it grows from one chunk by doubling, the shortest spatial axis first, so that it stays near a cube, and
        only where it holds the spatial image whole along the other axes, the last of them first.
    chunks
        Chunk length by dim, as `chunk_lengths` gives it.

    Raises
    ------
    GeometryError
        Where a length is no multiple of the chunk length and does not cover the axis either, or for what is none of the
        above.

    Examples
    --------
    >>> img = xr.DataArray(np.zeros((512, 1024, 1024), "uint16"), dims=("z", "y", "x"))
    >>> shard_lengths(img, "auto", dict.fromkeys("zyx", 128))
    {'z': 256, 'y': 256, 'x': 512}
    >>> shard_lengths(img, {"x": 1024}, dict.fromkeys("zyx", 128))
    {'z': 128, 'y': 128, 'x': 1024}
    """
    if shards is None:
        return None
    if isinstance(shards, str):
        limit = SHARD_BYTES if shards == "auto" else byte_count(shards)
        if not limit:
            raise GeometryError(
                f'shards is {shards!r}: expected "auto", a size such as "256 MiB", or lengths: one for all spatial '
                "dims, one for each dim, or by dim"
            )
        return _grown(img, chunks, limit)
    lengths = dict(chunks) | _by_dim(img, shards, "shard")
    return {dim: _whole_chunks(dim, length, chunks[dim], img.sizes[dim]) for dim, length in lengths.items()}


def level_grids(
    dims: Sequence[str],
    shapes: Sequence[Shape],
    chunks: Mapping[str, int],
    shards: Mapping[str, int] | None,
    *,
    shrink: bool = False,
) -> tuple[LevelGrid, ...]:
    """Grid of every level of a pyramid.

    A chunk is never longer than its level, and a shard never longer than the whole chunks that its level needs.

    Parameters
    ----------
    dims
        Names of the axes of the arrays.
    shapes
        Shape of each level, the full resolution first.
    chunks, shards
        Length by dim, as `chunk_lengths` and `shard_lengths` give it.
    shrink
        Whether a shard of a coarser level holds about the part of the image that one of level 0 holds, one chunk at
        least, so that a block of level 0 holds whole shards of the next levels too. Otherwise it is as large as one of
        level 0, where the level is.

    Examples
    --------
    >>> level_grids(("x",), [(1000,), (500,), (250,)], {"x": 100}, {"x": 400}, shrink=True)[1:]
    (LevelGrid(shape=(500,), chunks=(100,), shards=(200,)), LevelGrid(shape=(250,), chunks=(100,), shards=(100,)))
    """
    return tuple(_level_grid(dims, shape, shapes[0], chunks, shards, shrink) for shape in shapes)


def pyramid_grids(
    img: xr.DataArray, shapes: Sequence[Shape], chunks: Chunks | None, shards: Shards | None
) -> tuple[LevelGrid, ...]:
    """Grid of every level of the pyramid of an image, from the options that a user gives.

    Shards whose size is given, or chosen, shrink with the levels; those whose lengths are given do not. See
    `chunk_lengths`, `shard_lengths` and `level_grids`.
    """
    lengths = chunk_lengths(img, chunks)
    return level_grids(
        tuple(map(str, img.dims)),
        shapes,
        lengths,
        shard_lengths(img, shards, lengths),
        shrink=isinstance(shards, str),
    )


def _by_dim(img: xr.DataArray, given: Chunks, what: str) -> dict[str, int]:
    """Lengths by dim of the option that is named like `what`, in the plural, each at least 1."""
    sizes = {str(dim): size for dim, size in img.sizes.items()}
    by_dim: dict[str, object]
    if isinstance(given, Mapping):
        unknown = [dim for dim in given if dim not in sizes]
        if unknown:
            raise GeometryError(f"{what}s names dim {unknown[0]!r}, but the image has dims {', '.join(sizes)}")
        by_dim = dict(given)
    elif isinstance(given, Sequence | np.ndarray) and not isinstance(given, str | bytes):
        if len(given) != len(sizes):
            raise GeometryError(f"{what}s={tuple(given)} has {len(given)} entries for the dims {', '.join(sizes)}")
        by_dim = dict(zip(sizes, given, strict=True))
    else:
        by_dim = dict.fromkeys(geometry.spatial_dims(img), given)
    return {dim: _checked_length(length, dim, what) for dim, length in by_dim.items()}


def _checked_length(length: object, dim: str, what: str) -> int:
    if isinstance(length, bool) or not isinstance(length, int | np.integer) or length < 1:
        raise GeometryError(f"{what} length of {dim!r} is {length!r}, expected a whole number of at least 1")
    return int(length)


def _whole_chunks(dim: str, length: int, chunk: int, size: int) -> int:
    """A shard length that is whole chunks; one that covers an axis of a single chunk is that chunk."""
    if size <= chunk and length >= size:
        return chunk
    if length % chunk:
        below, above = length // chunk * chunk, (length // chunk + 1) * chunk
        nearest = f"{below} or {above}" if below else f"{above}"
        raise GeometryError(
            f"shard length of {dim!r} is {length}, which is no multiple of the chunk length {chunk}: the nearest "
            f"that are: {nearest}"
        )
    return length


def _grown(img: xr.DataArray, chunks: Mapping[str, int], limit: int) -> dict[str, int]:
    """Shard lengths of about a number of bytes."""
    sizes = {str(dim): size for dim, size in img.sizes.items()}
    shard = {dim: min(chunks[dim], size) for dim, size in sizes.items()}
    whole = {dim: -(-size // shard[dim]) * shard[dim] for dim, size in sizes.items()}
    spatial = geometry.spatial_dims(img)
    others = [dim for dim in reversed(sizes) if dim not in spatial]
    for group in (spatial, *((dim,) for dim in others)):
        # of equal lengths the last one first, whose chunks lie side by side in memory
        while open_dims := [dim for dim in reversed(group) if shard[dim] < whole[dim]]:
            dim = min(open_dims, key=shard.__getitem__)
            longer = shard | {dim: min(2 * shard[dim], whole[dim])}
            if math.prod(longer.values()) * img.dtype.itemsize > limit:
                break
            shard = longer
        if any(shard[dim] < whole[dim] for dim in group):
            break
    return {dim: -(-length // chunks[dim]) * chunks[dim] for dim, length in shard.items()}


def _level_grid(
    dims: Sequence[str],
    shape: Shape,
    finest: Shape,
    chunks: Mapping[str, int],
    shards: Mapping[str, int] | None,
    shrink: bool,
) -> LevelGrid:
    own = tuple(min(chunks[dim], size) for dim, size in zip(dims, shape, strict=True))
    if shards is None:
        return LevelGrid(shape, own)
    counts = [shards[dim] // chunks[dim] for dim in dims]
    if shrink:
        counts = [max(n * small // large, 1) for n, small, large in zip(counts, shape, finest, strict=True)]
    needed = [-(-size // chunk) for size, chunk in zip(shape, own, strict=True)]
    return LevelGrid(shape, own, tuple(c * min(n, most) for c, n, most in zip(own, counts, needed, strict=True)))
