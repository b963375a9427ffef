"""Stacks of TIFF files as one image."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._lazy import image_dataset
from xarray_ngff.backends.ome_tiff.images import OpenedImage, described_image
from xarray_ngff.backends.ome_tiff.stack_array import Member, StackArray
from xarray_ngff.backends.ome_tiff.stack_coordinates import stack_coordinates
from xarray_ngff.backends.ome_tiff.stack_files import StackFiles, stack_files
from xarray_ngff.channels import Channel
from xarray_ngff.errors import FormatError, NgffWarning
from xarray_ngff.image import ByDim, as_image

__all__ = ["open_tiff_stack"]

# Files that an error names one by one, and things that a warning does.
_NAMED = 20

_Path = str | os.PathLike[str]


def open_tiff_stack(
    paths: _Path | Iterable[_Path] | Iterable[Iterable[_Path]],
    *,
    dim: str = "z",
    spacing: ByDim[float] | None = None,
    units: str | ByDim[str | None] | None = None,
    channels: Sequence[Channel | str | Mapping[str, Any]] | None = None,
) -> xr.DataArray:
    """Open many TIFF files of equal shape as one lazy image.

    Only the metadata of each file is read; pixels are read when they are indexed, from those files alone that a
    selection meets. Threads may share the image, and it pickles.

    Parameters
    ----------
    paths
        A glob pattern (``~`` is the home folder, ``**`` any folders), whose files are sorted with the numbers in their
        names as numbers; a list of files in the order of `dim`; or a list of such lists, one for each channel:
        ``[[c0z0, c0z1], [c1z0, c1z1]]``.
    dim
        ``"z"``, ``"c"`` or ``"t"``. Files that have this dim are joined along it, with as many planes each as they
        have; for others it is a new one.
    spacing
        Distance between voxel centres, in the unit of each axis: by dim, or a sequence for all dims or for the spatial
        ones. Overrides what the files say, as do the next two.
    units
        Unit by dim, likewise, or one text for all spatial axes.
    channels
        For each channel its name, a `Channel`, or a mapping with the keys of `Channel`.

    Returns
    -------
    xarray.DataArray
        Named "image", with dims in the order t, c, others, z, y, x and the type of the files. Its encoding has
        ``preferred_chunks``, a file each: ``img.chunk(img.encoding["preferred_chunks"])`` makes it a dask array.

    Raises
    ------
    GeometryError
        For an empty or a ragged list, another dim, or options that do not fit the image.
    FormatError
        Where files have other dims, shapes or types than the first (all are named), or one is no TIFF file.
    MissingFileError
        Where no file matches the pattern, or a listed one does not exist.

    Warns
    -----
    NgffWarning
        Once, naming all that is not used of what the files say.

    Notes
    -----
    Of a file with several series the first is opened, at full resolution.

    Geometry is that of the first file. Along `dim`, planes are where their files say, as `write_tiff_stack` writes it,
    in the order of the list, ascending or not. Where all say the same place, they follow each other at the spacing
    that the files state. Where files say nothing, the spacing is 1 without a unit. Places along z that are not regular
    are kept as they are, with a warning, as are times, without one; times that count from different dates are counted
    from the first. Other things that should be the same in all files and are not, such as the place along x or a time
    in a z-stack, are taken from the first file where they have a dim, and else left out, with a warning.

    Examples
    --------
    >>> import tempfile, numpy as np, tifffile, xarray_ngff
    >>> folder = tempfile.TemporaryDirectory()
    >>> for z in range(12):
    ...     tifffile.imwrite(f"{folder.name}/z{z}.tif", np.full((4, 5), z, "uint16"))
    >>> img = open_tiff_stack(f"{folder.name}/z*.tif", spacing=(2, 0.5, 0.5), units="um")
    >>> img.sizes, img.ngff.spacing, img.sel(z=20.0).values.max()
    (Frozen({'z': 12, 'y': 4, 'x': 5}), {'z': 2.0, 'y': 0.5, 'x': 0.5}, np.uint16(10))

    xarray's own function does the same with dask, where the order of the files and the spacing are yours to give:

    >>> from pathlib import Path
    >>> paths = sorted(Path(folder.name).glob("*.tif"), key=lambda path: int(path.stem[1:]))
    >>> stack = xr.open_mfdataset(paths, engine="ome-tiff", combine="nested", concat_dim="z")
    >>> same = stack.image.ngff.set_geometry(spacing=(2, 0.5, 0.5), units="um")
    >>> same.identical(img)
    True
    >>> folder.cleanup()
    """
    files = stack_files(paths, dim=dim)
    messages: list[str] = []
    found = [_first_series(path, messages) for path in files.paths]
    lengths = _lengths(found, files)
    _check_alike(found, files, lengths)
    _check_no_set(found)

    dims = [str(name) for name in geometry.canonical_dims((*found[0].dims, *files.dims))]
    sizes = dict(zip(found[0].dims, found[0].array.shape, strict=True))
    array = StackArray([Member(tuple(one.dims), one.array) for one in found], dims, sizes, lengths)
    coords = stack_coordinates(
        [one.coords for one in found],
        files,
        lengths,
        replaced={*_replaced(spacing, dim), *(() if channels is None else ("c",))},
        warn=messages.append,
    )
    if messages:
        _warn_once(files, messages)
    chunks = {name: _chunk(lengths.get(name, (sizes.get(name, 1),))) for name in dims}
    encoding = {"preferred_chunks": chunks}
    img = image_dataset("image", dims, array, coords, encoding=encoding)["image"]
    located = as_image(img, spacing=spacing, units=units, channels=channels)
    located.encoding = dict(img.encoding)
    return located


def _first_series(path: Path, messages: list[str]) -> OpenedImage:
    """Image in a file; what was read by a lenient rule is added to the messages, in the same words for every file."""
    return described_image(path, warn=lambda text: messages.append(text.removeprefix(f"{path}: ")))


def _replaced(spacing: ByDim[float] | None, dim: str) -> Iterable[str]:
    """Dims whose coordinates an option replaces."""
    if spacing is None:
        return ()
    return map(str, spacing) if isinstance(spacing, Mapping) else (*geometry.SPATIAL_DIMS, dim)


def _sizes(one: OpenedImage) -> dict[str, int]:
    return dict(zip(one.dims, one.array.shape, strict=True))


def _lengths(found: Sequence[OpenedImage], files: StackFiles) -> dict[str, tuple[int, ...]]:
    """Length along each joined dim of the files that come first along the others."""
    return {
        dim: tuple(
            _sizes(found[i]).get(dim, 1)
            for i, place in enumerate(files.places)
            if not any(place[:axis]) and not any(place[axis + 1 :])
        )
        for axis, dim in enumerate(files.dims)
    }


def _check_alike(found: Sequence[OpenedImage], files: StackFiles, lengths: Mapping[str, Sequence[int]]) -> None:
    """Raise `FormatError` naming all files that have other dims, lengths or types than the first."""
    first = _sizes(found[0])
    odd = []
    for one, path, place in zip(found, files.paths, files.places, strict=True):
        own = _sizes(one)
        along = {dim: lengths[dim][i] for dim, i in zip(files.dims, place, strict=True)}
        expected = {dim: n for dim, n in first.items() if dim not in along}
        others = {dim: n for dim, n in own.items() if dim not in along}
        alike = all(own.get(dim, 1) == n for dim, n in along.items())
        if others != expected or one.array.dtype != found[0].array.dtype or not alike:
            odd.append(f"{path} has {_described(one)}")
    if odd:
        listed = "; ".join(odd[:_NAMED]) + (f"; and {len(odd) - _NAMED} more" if len(odd) > _NAMED else "")
        raise FormatError(
            f"{len(odd)} of {len(found)} files do not fit with the first, {files.paths[0]}, which has "
            f"{_described(found[0])}: {listed}. Leave them out, or convert them"
        )


def _check_no_set(found: Sequence[OpenedImage]) -> None:
    """Refuse files of one data set, of which each opens as the whole."""
    sources: dict[str, str | None] = {}
    for one in found:
        stored = one.array.storage.files
        for file in stored:
            other = sources.setdefault(file, one.source)
            if other != one.source:
                raise FormatError(
                    f"{one.source} and {other} belong to one data set of {len(stored)} files, which each of them opens "
                    f'whole: use xarray.open_dataarray("{other}", engine="ome-tiff")'
                )


def _described(one: OpenedImage) -> str:
    return f"{one.array.dtype} with {', '.join(f'{dim} {size}' for dim, size in _sizes(one).items())}"


def _chunk(lengths: Sequence[int]) -> int | tuple[int, ...]:
    """Chunks of one file each."""
    return lengths[0] if len(set(lengths)) == 1 else tuple(lengths)


def _warn_once(files: StackFiles, messages: Sequence[str]) -> None:
    """One warning for all that was not used."""
    counts = dict.fromkeys(messages, 0)
    for message in messages:
        counts[message] += 1
    said = [message if count == 1 else f"{message} ({count} files)" for message, count in counts.items()]
    if len(said) > _NAMED:
        said[_NAMED:] = [f"and {len(said) - _NAMED} more"]
    warnings.warn(
        f"stack of {len(files.paths)} files from {files.paths[0]}: {'; '.join(said)}", NgffWarning, stacklevel=3
    )
