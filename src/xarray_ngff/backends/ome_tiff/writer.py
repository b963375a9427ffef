"""Images written as OME-TIFF files."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xarray_ngff.backends._atomic import checked_target, replacing_file, scratch_file
from xarray_ngff.backends._dtypes import storable
from xarray_ngff.backends._local_path import local_path
from xarray_ngff.backends._plain_grid import plain_grid
from xarray_ngff.backends.ome_tiff.ome_units import with_ome_units
from xarray_ngff.backends.ome_tiff.pyramid_tiles import STEP, spool_pyramid
from xarray_ngff.backends.ome_tiff.source_tiles import PAGE_DIMS
from xarray_ngff.backends.ome_tiff.tile_codec import check_compression, tile_codec
from xarray_ngff.backends.ome_tiff.tile_spool import TileGrid, TileSpool
from xarray_ngff.backends.ome_tiff.written_xml import PIXEL_TYPES, ome_xml_of
from xarray_ngff.errors import FormatError, GeometryError
from xarray_ngff.pyramid.kernels import block_reduce
from xarray_ngff.spatial.downsample import checked_method

__all__ = ["write_ome_tiff"]

_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf2", ".ome.tf8", ".tif", ".tiff", ".btf")
_HOLDER = "OME-TIFF"
_SOFTWARE = "xarray-ngff"
# Planes are halved until they are no larger.
_SMALLEST_PLANE = 256
# Tiles of a TIFF file have lengths that are multiples of this.
_TILE_UNIT = 16
# A file that could be longer is written as BigTIFF: offsets of a classic one have 32 bits.
_LONGEST_CLASSIC = 2**32 - 2**25
_PLANE = ("y", "x")
# Bytes of a page beside its tiles, and of a tile in its tables.
_PAGE_BYTES = 512
_TILE_ENTRY = 16
# NewSubfileType of a page that is a smaller version of another.
_REDUCED = 1


def write_ome_tiff(
    img: xr.DataArray,
    path: str | os.PathLike[str],
    *,
    levels: int | None = None,
    tile: int | Sequence[int] = (512, 512),
    compression: str | None = "zlib",
    method: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write an image as a tiled OME-TIFF file with a pyramid, block by block.

    Planes are pages in the order XYZCT, one sample per pixel; the smaller levels are in SubIFDs of their pages. Data
    are little-endian, and BigTIFF where the file could pass 4 GiB. The OME-XML (schema 2016-06) holds spacing, place
    and unit of each axis, times, the start time, and name, colour and display window of each channel. The same image
    under the same name gives the same bytes.

    Parameters
    ----------
    img
        Dims y and x, and any of z, c and t, in any order. Scalar coordinates z, t and c are written as the place, time
        and name of an axis of length 1. A dask array is computed block by block, each chunk once, by the scheduler that
        is active; a lazily opened image is read in blocks of about 32 MiB. Written with ascending coordinates.
    path
        Ends with .ome.tif, .ome.tiff, .ome.btf, .ome.tf2, .ome.tf8, .tif, .tiff or .btf. The file appears whole or not
        at all. While it is written, a scratch file beside it needs as much room again.
    levels
        How many levels the pyramid has, level 0 included. Each halves y and x, rounding up; z stays. By default until
        both are at most 256.
    tile
        (height, width) of the tiles, or one number for both, in multiples of 16. A smaller plane has one tile, as small
        as that allows.
    compression
        None or "none", "zlib" ("deflate"), "lzma", or with the extra ``tiff`` "lzw" and "zstd". zlib and zstd take a
        level, as in "zlib:6" (default 1) and "zstd:10" (default 3). Integers are stored as differences along x first
        (the horizontal predictor), so that they compress better.
    method
        How voxels become one of the next level: mean, nearest, mode, min, max or median, see `downsample`. Default:
        mode for an image named "labels" and for bool, else mean.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    FormatError
        For a dim, type or text that OME-TIFF cannot hold, an unknown compression, a tile that is no multiple of 16, or
        another suffix.
    GeometryError
        Where the coordinates are not regular, or the image is too small for `levels`.
    MissingExtraError
        Where the compression needs a package that is not installed.
    TargetExistsError
        Where the target exists and `overwrite` is False.
    MissingFolderError
        Where the folder of the target does not exist.

    Warns
    -----
    NgffWarning
        Where the image has an orientation, a rotation or units that OME-TIFF cannot hold, or is a label image.

    Notes
    -----
    bool is stored as uint8 and float16 as float32; 64-bit integers as the first of uint8, uint16, uint32, int8, int16,
    int32, float32 and float64 that holds all values exactly.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((4, 500, 600), "uint16"), spacing=(2, 0.5, 0.5), units="um")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_ome_tiff(img, f"{folder}/cells.ome.tif")
    ...     with tifffile.TiffFile(f"{folder}/cells.ome.tif") as file:
    ...         [level.shape for level in file.series[0].levels]
    [(4, 500, 600), (4, 250, 300), (4, 125, 150)]
    """
    place = str(local_path(path, holder=_HOLDER))
    name = _image_name(place)
    target = checked_target(place, overwrite=overwrite)
    _check_dims(img, place=place)
    grids = _tile_grids(img, _checked_tile(tile, place=place), levels)
    chosen = checked_method(img, method)
    check_compression(compression, place=place)
    plain = with_ome_units(plain_grid(img, place=place, holder=_HOLDER), place=place)
    # last, as it may have to look at all values
    stored = storable(plain, tuple(PIXEL_TYPES), place=place, holder=_HOLDER)
    _check_reduces(stored.dtype, chosen, grids)
    codec = tile_codec(compression, stored.dtype, place=place)
    xml = ome_xml_of(stored, name=name).encode()
    with (
        replacing_file(target, overwrite=overwrite) as temporary,
        scratch_file(target) as scratch,
        scratch.open("r+b") as stream,
    ):
        spool = TileSpool(stream, grids, codec)
        spool_pyramid(stored, spool, chosen)
        _write_pages(temporary, spool, xml)


def _write_pages(path: Path, spool: TileSpool, xml: bytes) -> None:
    """Write the file from its encoded tiles: the pages, and then each level of their SubIFDs."""
    import tifffile

    codec = spool.codec
    with tifffile.TiffWriter(path, bigtiff=_needs_bigtiff(spool, xml), byteorder="<", ome=False, shaped=False) as file:
        for level, grid in enumerate(spool.grids):
            only_once: dict[str, Any] = {
                "description": xml,
                "software": _SOFTWARE,
                "subifds": len(spool.grids) - 1,
            }
            file.write(
                spool.encoded_tiles(level),
                shape=(grid.pages, *grid.shape),
                dtype=codec.dtype,
                tile=grid.tile,
                photometric="minisblack",
                compression=codec.compression,
                predictor=codec.predictor,
                metadata=None,
                **(only_once if level == 0 else {"software": False, "subfiletype": _REDUCED}),
            )


def _needs_bigtiff(spool: TileSpool, xml: bytes) -> bool:
    """Whether the file is, or with other values could be, longer than a classic TIFF may be."""
    plain = sum(grid.pages * math.prod(grid.shape) for grid in spool.grids) * spool.codec.dtype.itemsize
    tables = sum(grid.pages * _PAGE_BYTES + math.prod(grid.tiles) * _TILE_ENTRY for grid in spool.grids)
    return max(plain, spool.encoded_bytes()) + tables + len(xml) > _LONGEST_CLASSIC


def _image_name(path: str) -> str:
    """Name of the file without what says that it is a TIFF file."""
    name = Path(path).name
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    raise FormatError(f"{path}: the name of an OME-TIFF file ends with one of {', '.join(_SUFFIXES)}")


def _check_dims(img: xr.DataArray, *, place: str) -> None:
    known = (*PAGE_DIMS, *_PLANE)
    for dim in img.dims:
        if dim not in known:
            raise FormatError(
                f"{place}: dim {dim!r} has no place in an OME-TIFF file, which has {', '.join(known)}. Select one of "
                f"it (img.isel({dim}=0)) or rename it"
            )
        if img.sizes[dim] == 0:
            raise FormatError(f"{place}: dim {dim!r} is empty, and a file has at least one pixel: select at least one")
    for dim in _PLANE:
        if dim not in img.dims:
            raise FormatError(
                f"{place}: the image has dims {tuple(img.dims)}, and OME-TIFF needs y and x: add the missing one with "
                f"img.expand_dims({dim!r})"
            )


def _checked_tile(tile: object, *, place: str) -> tuple[int, int]:
    """Height and width of tiles."""
    lengths = (tile, tile) if isinstance(tile, Integral) else tile
    if (
        not isinstance(lengths, Sequence)
        or len(lengths) != 2
        or any(isinstance(n, bool) or not isinstance(n, Integral) or n < 1 or n % _TILE_UNIT for n in lengths)
    ):
        raise FormatError(
            f"{place}: tile={tile!r}: expected (height, width), or one number for both, in multiples of {_TILE_UNIT}"
        )
    return int(lengths[0]), int(lengths[1])


def _tile_grids(img: xr.DataArray, tile: tuple[int, int], levels: int | None) -> list[TileGrid]:
    """Tiles of each level of the pyramid."""
    pages = math.prod(img.sizes.get(dim, 1) for dim in PAGE_DIMS)
    grids = []
    for height, width in _plane_shapes((img.sizes["y"], img.sizes["x"]), levels):
        lengths = [min(most, -(-n // _TILE_UNIT) * _TILE_UNIT) for most, n in zip(tile, (height, width), strict=True)]
        grids.append(TileGrid(pages, (height, width), (lengths[0], lengths[1])))
    return grids


def _plane_shapes(shape: tuple[int, int], levels: int | None) -> list[tuple[int, int]]:
    """Height and width of each level, the full one first.

    Examples
    --------
    >>> _plane_shapes((1000, 300), None), _plane_shapes((5, 1), 4)
    ([(1000, 300), (500, 150), (250, 75)], [(5, 1), (3, 1), (2, 1), (1, 1)])
    """
    if levels is not None and (isinstance(levels, bool) or not isinstance(levels, Integral) or levels < 1):
        raise GeometryError(f"levels (level 0 included) is {levels!r}: expected an integer >= 1")
    shapes = [shape]
    while max(shapes[-1]) > (_SMALLEST_PLANE if levels is None else 1) and len(shapes) != levels:
        height, width = shapes[-1]
        shapes.append((-(-height // STEP), -(-width // STEP)))
    if levels is not None and len(shapes) < levels:
        raise GeometryError(
            f"levels={levels} is too many for planes of {shape[0]} x {shape[1]} pixels: with level 0 there are at most "
            f"{len(shapes)}, the last of one pixel"
        )
    return shapes


def _check_reduces(dtype: np.dtype[Any], method: str, grids: Sequence[TileGrid]) -> None:
    """Have `block_reduce` refuse a method that is not for this type, before any work."""
    if len(grids) > 1:
        block_reduce(np.zeros((STEP, STEP), dtype), (STEP, STEP), method)
