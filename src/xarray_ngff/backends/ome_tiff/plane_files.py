"""Images written as one TIFF file for each plane."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._blocks import Block, blocks
from xarray_ngff.backends._dtypes import storable
from xarray_ngff.backends._plain_grid import plain_grid
from xarray_ngff.backends.ome_tiff.file_set import checked_targets, replacing_files
from xarray_ngff.backends.ome_tiff.ome_units import with_ome_units
from xarray_ngff.backends.ome_tiff.pixel_values import clipped, finite_range, stretched
from xarray_ngff.backends.ome_tiff.plane_names import STACK_DIMS, plane_paths
from xarray_ngff.backends.ome_tiff.written_xml import PIXEL_TYPES, ome_xml_of
from xarray_ngff.errors import FormatError
from xarray_ngff.geometry import Axis

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = ["write_tiff_stack"]

_HOLDER = "a stack of TIFF files"
_PLANE = ("y", "x")
# What resolution tags are written for; pint would take long to say so.
_PER_CENTIMETER = {"nanometer": 1e7, "micrometer": 1e4, "millimeter": 10.0, "centimeter": 1.0, "meter": 0.01}
_REAL = tuple(name for name in PIXEL_TYPES if np.dtype(name).kind in "iuf")


@dataclass(frozen=True)
class _PlaneFile:
    """File whose header is written, and where in it the pixels go."""

    path: Path
    offset: int


def write_tiff_stack(
    img: xr.DataArray,
    pattern: str | os.PathLike[str],
    *,
    dtype: DTypeLike | None = None,
    rescale: bool = False,
    overwrite: bool = False,
) -> None:
    """Write one TIFF file for each (y, x) plane of an image.

    Each file is one uncompressed strip, which any program reads, and describes itself as OME-TIFF: pixel sizes with
    their units, the place of the plane along x, y, z and t, name and colour of its channel. So `open_tiff_stack` puts
    the files together again.

    Parameters
    ----------
    img
        Dims y and x, and any of z, c and t, in any order. Written with ascending coordinates.
    pattern
        Path with a field for the index along each of z, c and t that has more than one entry, as
        ``"out/z{z:04d}_c{c}.tif"``. Indices count from 0 in the order of ascending coordinates; ``{c}`` is the index of
        the channel too, not its name. The folders must exist.
    dtype
        Integers of 8, 16 or 32 bits, or float32 or float64. Values beyond the range of the type are written as its
        ends, floats are rounded half to even, and NaN is an error where the type is an integer. Default: the type of
        the image; where OME-TIFF does not hold that, the first type that holds all its values.
    rescale
        Whether to map min..max of the whole image linearly to the range of the type, or to 0..1 for floats. All values
        of a constant image go to the lower end. NaN and infinities do not count for min and max.
    overwrite
        Whether existing files may be replaced. Other files in the folder, such as further planes of a longer stack
        that was there before, are left alone.

    Raises
    ------
    FormatError
        For a pattern that does not give each plane a name of its own, for other dims, and for types or values that
        cannot be written.
    GeometryError
        Where spatial coordinates are missing or not regular.
    TargetExistsError
        Before any work, where a file exists and `overwrite` is False.
    MissingFolderError
        Where a folder does not exist.

    Warns
    -----
    NgffWarning
        Once for all files, naming what they cannot hold: an orientation, a rotation, that the image holds labels.

    Notes
    -----
    Blocks of whole chunks of the image, about 32 MiB or one chunk if that is larger, go straight to their places in the
    files, so that each chunk is computed once (twice with `rescale`) however planes are cut up, and memory does not
    grow with the image or with its planes.

    The files appear together: they get their names when all are finished and on the disk, and after any error or
    interrupt none is left and what was there before is as it was.

    Examples
    --------
    >>> import tempfile, tifffile
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.arange(24).reshape(2, 3, 4), "zyx", spacing=(2, 0.5, 0.5), units="um")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tiff_stack(img, f"{folder}/z{{z:04d}}.tif", dtype="uint8", rescale=True)
    ...     sorted(os.listdir(folder)), tifffile.imread(f"{folder}/z0001.tif")[-1]
    (['z0000.tif', 'z0001.tif'], array([222, 233, 244, 255], dtype=uint8))
    """
    _check_dims(img)
    targets = checked_targets(plane_paths(pattern, {str(dim): n for dim, n in img.sizes.items()}), overwrite=overwrite)
    place = os.fspath(pattern)
    wanted = None if dtype is None else _checked_dtype(dtype)
    # warns of what is lost in the name of our caller
    plain = with_ome_units(plain_grid(img, place=place, holder=_HOLDER), place=place)
    plain, stored, convert = _conversion(plain, wanted, rescale=rescale, place=place)
    with replacing_files(targets, overwrite=overwrite) as partials:
        files = _headers(plain, stored, partials, [target.name for target in targets])
        for block in blocks(plain, _fastest_first(plain), max(plain.dtype.itemsize, stored.itemsize)):
            # loaded before it is transposed: xarray's lazy transpose turns slices into an index for each pixel
            values = convert(plain.isel(block).to_numpy()).astype(stored, copy=False)
            axes = [plain.dims.index(dim) for dim in (*STACK_DIMS, *_PLANE) if dim in plain.dims]
            _write_block(files, plain, block, values.transpose(axes))


def _check_dims(img: xr.DataArray) -> None:
    for dim in img.dims:
        if dim not in (*STACK_DIMS, *_PLANE):
            raise FormatError(
                f"dim {dim!r} has no place in a stack of planes, which has t, c, z, y, x. Select one of it "
                f"(img.isel({dim}=0)) or rename it"
            )
        if img.sizes[dim] == 0:
            raise FormatError(f"dim {dim!r} is empty, and a file has at least one pixel: select at least one")
    missing = [dim for dim in _PLANE if dim not in img.dims]
    if missing:
        raise FormatError(
            f"the image has dims {', '.join(map(str, img.dims))}, and a plane has y and x: add what is missing, with "
            f"img.expand_dims({missing!r})"
        )


def _checked_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype).newbyteorder("=")
    except TypeError as error:
        raise FormatError(f"dtype={dtype!r} is no type of numbers: give one of {', '.join(_REAL)}") from error
    if found.name not in _REAL:
        raise FormatError(f"dtype={found.name!r}: OME-TIFF holds real numbers as {', '.join(_REAL)}")
    return found


def _conversion(
    img: xr.DataArray, wanted: np.dtype[Any] | None, *, rescale: bool, place: str
) -> tuple[xr.DataArray, np.dtype[Any], Callable[[npt.NDArray[Any]], npt.NDArray[Any]]]:
    """The image to read, the type in the files, and what turns values of the one into the other."""
    if wanted is None:
        img = storable(img, tuple(PIXEL_TYPES), place=place, holder="OME-TIFF")
        wanted = img.dtype.newbyteorder("=")
        if not rescale:
            return img, wanted.newbyteorder("<"), np.asarray
    if img.dtype.kind not in "biuf":
        raise FormatError(
            f"{place}: {img.dtype} values have no order, so they cannot be converted or rescaled: write a real part, "
            "such as abs(img)"
        )
    if not rescale:
        return img, wanted.newbyteorder("<"), np.asarray if img.dtype == wanted else clipped(wanted, place=place)
    low, high = finite_range(img, place=place)
    return img, wanted.newbyteorder("<"), stretched(low, high, wanted, place=place)


def _fastest_first(img: xr.DataArray) -> list[str]:
    return [dim for dim in ("x", "y", "z", "c", "t") if dim in img.dims]


def _headers(img: xr.DataArray, dtype: np.dtype[Any], paths: Sequence[Path], names: Sequence[str]) -> list[_PlaneFile]:
    """Files with all but their pixels, in C order of t, c, z."""
    import tifffile

    # coordinates alone: selecting a plane from a dask image takes long
    grid = img.copy(data=np.broadcast_to(np.zeros((), dtype), img.shape))
    if "z" in grid.dims and _counts_planes(geometry.axis(grid, "z")):
        grid = grid.drop_vars("z")
    resolution = _resolution(grid)
    counted = [dim for dim in STACK_DIMS if dim in img.dims]
    files = []
    for index, path, name in zip(np.ndindex(*(img.sizes[dim] for dim in counted)), paths, names, strict=True):
        plane = grid.isel(dict(zip(counted, index, strict=True))).transpose(*_PLANE)
        written = tifffile.imwrite(
            path,
            shape=plane.shape,
            dtype=dtype,
            byteorder="<",
            photometric="minisblack",
            description=ome_xml_of(plane, name=name).encode(),
            metadata=None,
            ome=False,
            returnoffset=True,
            **resolution,
        )
        files.append(_PlaneFile(path, cast(tuple[int, int], written)[0]))
    return files


def _counts_planes(axis: Axis) -> bool:
    """Whether an axis says nothing but the number of each plane, which is no place."""
    return axis.units is None and (axis.start, axis.step) == (0.0, 1.0)


def _resolution(img: xr.DataArray) -> dict[str, Any]:
    """TIFF tags for pixels per centimeter, which programs look at that do not read OME-XML."""
    axes = [geometry.axis(img, dim) for dim in ("x", "y")]
    if not all(axis.units in _PER_CENTIMETER for axis in axes):
        return {}
    densities = tuple(_PER_CENTIMETER[str(axis.units)] / abs(axis.step) for axis in axes)
    # the tags hold fractions of 32-bit numbers
    if not all(1e-6 < density < 1e9 for density in densities):
        return {}
    return {"resolution": densities, "resolutionunit": "CENTIMETER"}


def _write_block(files: Sequence[_PlaneFile], img: xr.DataArray, block: Block, values: npt.NDArray[Any]) -> None:
    """Write a block with axes (t, c, z), y, x to its places in the files."""
    sizes = [img.sizes.get(dim, 1) for dim in STACK_DIMS]
    counted = [range(size)[block.get(dim, slice(1))] for dim, size in zip(STACK_DIMS, sizes, strict=True)]
    width, (rows, columns) = img.sizes["x"], (block["y"], block["x"])
    parts = values.reshape(-1, *values.shape[-2:])
    for place, part in zip(itertools.product(*counted), parts, strict=True):
        file = files[int(np.ravel_multi_index(place, sizes))]
        part = np.ascontiguousarray(part)
        runs = [part] if part.shape[1] == width else part
        with file.path.open("r+b") as stream:
            for row, run in enumerate(runs):
                stream.seek(file.offset + ((rows.start + row) * width + columns.start) * part.itemsize)
                stream.write(run.data)
