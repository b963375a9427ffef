"""What each format is and holds: one row for each, which the suites over all formats read.

To add a format, add a row to `FORMATS`.
"""

from __future__ import annotations

import itertools
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from xarray_ngff import as_image

DIMS = ("t", "c", "z", "y", "x")
SIZES = {"t": 2, "c": 3, "z": 4, "y": 32, "x": 48}
SPACING = {"t": 1.5, "z": 2.0, "y": 0.5, "x": 0.25}
ORIGIN = {"t": 0.0, "z": 10.0, "y": -3.0, "x": 100.5}
CHANNELS = (
    {"name": "DAPI", "color": "0000FF", "window": (100, 4000)},
    {"name": "α-tubulin", "color": "00FF00", "window": (0, 900)},
    {"name": "GFP 488", "color": "FF8000", "window": (7, 65535)},
)

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Chunk:
    """Bytes of a file that hold a box of voxels."""

    file: Path
    offset: int
    length: int
    box: Box

    def spoil(self):
        """Overwrite the bytes with some that no codec takes."""
        with self.file.open("r+b") as stream:
            stream.seek(self.offset)
            stream.write(b"\xa5" * self.length)

    def meets(self, box: Box) -> bool:
        return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in zip(self.box, box, strict=True))


@dataclass(frozen=True)
class Format:
    """A format, as the suites need to know it.

    Attributes
    ----------
    name
        Of the row.
    engine, suffix, writer
        Of `xarray.open_dataset`, of a file, and the method of the accessor.
    stored
        Numbers of a level of a file that holds (t, c, z, y, x), as the library of the format reads them.
    options
        Of the writer: small chunks, so that small images have several. A mapping is by dim.
    chunks
        Bytes of each chunk of level 0, found without our reader; None for one stream.
    checked
        Whether a corrupt chunk can be told from a sound one.
    dims
        Dims that come back as they were written.
    fills
        Dims of a file for the dims of an image, where it always has some.
    squeezed
        Whether an axis of length 1 comes back as a scalar coordinate.
    dtypes
        What each dtype comes back as.
    levels
        Whether files have a pyramid, and the engine the option ``level``.
    tolerance
        Of positions, relative to the largest coordinate.
    late_times
        Whether t may begin with another time than 0.
    files
        Suffixes that `guess_can_open` says yes to.
    """

    name: str
    engine: str
    suffix: str
    writer: str
    stored: Callable[[Path, int], np.ndarray]
    chunks: Callable[[Path], Iterable[Chunk]] | None
    dims: tuple[str, ...]
    dtypes: Mapping[str, str]
    files: tuple[str, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    checked: bool = True
    fills: Callable[[tuple[str, ...]], tuple[str, ...]] = tuple
    squeezed: bool = False
    levels: bool = True
    tolerance: float = 0.0
    late_times: bool = True

    def __str__(self) -> str:
        return self.name

    def write(self, img: xr.DataArray, path: str | Path, **options: object) -> None:
        given = {
            key: {dim: n for dim, n in value.items() if dim in img.dims} if isinstance(value, Mapping) else value
            for key, value in {**self.options, **options}.items()
        }
        getattr(img.ngff, self.writer)(path, **given)

    def open(self, path: str | Path, **options: object) -> xr.DataArray:
        return xr.open_dataarray(path, engine=self.engine, **options)

    def path(self, folder: Path, stem: str = "image") -> Path:
        return folder / f"{stem}{self.suffix}"

    def copy(self, path: Path, folder: Path, stem: str = "copy") -> Path:
        target = self.path(folder, stem)
        (shutil.copytree if path.is_dir() else shutil.copyfile)(path, target)
        return target


def numbers(sizes: Mapping[str, int] = SIZES, dtype: str = "uint16") -> np.ndarray:
    """Numbers all over the range of a dtype; few different ones, so that every codec has something to compress."""
    random = np.random.default_rng(7)
    kind = np.dtype(dtype).kind
    if kind == "b":
        few = np.array([False, True])
    elif kind in "fc":
        few = np.array([complex(*random.normal(scale=100, size=2)) for _ in range(16)])
        few = few.astype(dtype) if kind == "c" else few.real.astype(dtype)
    else:
        info = np.iinfo(dtype)
        few = random.integers(info.min, info.max, 16, dtype, endpoint=True)
        few[:2] = info.min, info.max
    return few[random.integers(0, len(few), tuple(sizes.values()))]


def image(sizes: Mapping[str, int] = SIZES, dtype: str = "uint16", **changes: object) -> xr.DataArray:
    """Image of some dims, anisotropic, away from zero, with units and with channels where it has c."""
    units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
    options = {
        "spacing": {dim: SPACING[dim] for dim in sizes if dim in SPACING},
        "origin": {dim: ORIGIN[dim] for dim in sizes if dim in ORIGIN},
        "units": {dim: units[dim] for dim in sizes if dim in units},
        "channels": [CHANNELS[i % 3] | {"name": f"{CHANNELS[i % 3]['name']}{i // 3 or ''}"} for i in range(sizes["c"])]
        if "c" in sizes
        else None,
    }
    return as_image(numbers(sizes, dtype), tuple(sizes), **{**options, **changes})


def sizes_of(dims: Iterable[str]) -> dict[str, int]:
    return {dim: SIZES.get(dim, 2) for dim in dims}


def _grid(shape, chunks):
    """Index of each chunk and its box."""
    for index in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks, strict=True))):
        yield index, tuple(slice(i * c, min(i * c + c, n)) for i, c, n in zip(index, chunks, shape, strict=True))


# -- OME-Zarr ---------------------------------------------------------------------------------------------------------


def ngff_stored(path, level):
    import zarr

    return zarr.open_array(path / str(level), mode="r")[...]


def ngff_chunks(path):
    import zarr

    array = zarr.open_array(path / "0", mode="r")
    for index, box in _grid(array.shape, array.chunks):
        file = path / "0" / array.metadata.encode_chunk_key(index)
        yield Chunk(file, 0, file.stat().st_size, box)


# -- NIfTI ------------------------------------------------------------------------------------------------------------


def nifti_stored(path, level):
    import nibabel

    return np.asarray(nibabel.load(path).dataobj).T.swapaxes(0, 1)


def nifti_chunks(path):
    """One for each volume: what lies in one piece in the file."""
    import nibabel

    proxy = nibabel.load(path).dataobj
    length = math.prod(proxy.shape[:3]) * proxy.dtype.itemsize
    spatial = tuple(slice(0, n) for n in proxy.shape[2::-1])
    for number, (c, t) in enumerate(np.ndindex(proxy.shape[:2:-1])):
        box = (slice(t, t + 1), slice(c, c + 1), *spatial)
        yield Chunk(Path(path), proxy.offset + number * length, length, box)


def nifti_fills(dims):
    """Axes 4 and 5 of a file are t and c, so the three of space come before them."""
    return tuple(dim for dim in DIMS if dim in dims or (dim in "zyx" and {"t", "c"} & set(dims)))


# -- OME-TIFF ---------------------------------------------------------------------------------------------------------


def tiff_stored(path, level):
    import tifffile

    with tifffile.TiffFile(path) as file:
        found = file.series[0].levels[level]
        array, axes = found.asarray(), found.axes
    return array.transpose([axes.index(axis) for axis in "TCZYX"])


def tiff_chunks(path):
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        outer = {axis: series.shape[i] for i, axis in enumerate(series.axes[:-2])}
        places = itertools.product(*(range(n) for n in outer.values()))
        for place, page in zip(places, series.pages, strict=True):
            at = dict(zip(outer, place, strict=True))
            front = tuple(slice(at[axis], at[axis] + 1) for axis in "TCZ")
            key = series.keyframe
            tiles = _grid((key.imagelength, key.imagewidth), (key.tilelength, key.tilewidth))
            for (_, box), offset, count in zip(tiles, page.dataoffsets, page.databytecounts, strict=True):
                yield Chunk(Path(path), offset, count, front + box)


# -- Imaris -----------------------------------------------------------------------------------------------------------


def _imaris_datasets(path, level):
    import h5py

    with h5py.File(path) as file:
        top = file[f"DataSet/ResolutionLevel {level}"]
        for t, c in np.ndindex(len(top), len(top["TimePoint 0"])):
            channel = top[f"TimePoint {t}/Channel {c}"]
            size = tuple(int(b"".join(channel.attrs[f"ImageSize{axis}"])) for axis in "ZYX")
            yield t, c, channel["Data"], size


def imaris_stored(path, level):
    planes = {(t, c): data[...][tuple(map(slice, size))] for t, c, data, size in _imaris_datasets(path, level)}
    times, channels = (1 + max(key[i] for key in planes) for i in (0, 1))
    return np.array([[planes[t, c] for c in range(channels)] for t in range(times)])


def imaris_chunks(path):
    for t, c, data, size in _imaris_datasets(path, 0):
        front = (slice(t, t + 1), slice(c, c + 1))
        for number in range(data.id.get_num_chunks()):
            info = data.id.get_chunk_info(number)
            box = (
                slice(start, min(start + length, n))
                for start, length, n in zip(info.chunk_offset, data.chunks, size, strict=True)
            )
            yield Chunk(Path(path), info.byte_offset, info.size, (*front, *box))


# -- all of them ------------------------------------------------------------------------------------------------------

_SPATIAL = ("yx", "zyx")
_USUAL = (*_SPATIAL, "tyx", "cyx", "tzyx", "czyx", "tcyx", "tczyx")
_REAL = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


def _same(*dtypes: str) -> dict[str, str]:
    return {dtype: dtype for dtype in dtypes}


_NGFF_DTYPES = _same("bool", *_REAL, "int64", "uint64", "float16", "complex64", "complex128")
_NIFTI_DTYPES = _same(*_REAL, "int64", "uint64", "complex64", "complex128") | {"bool": "uint8", "float16": "float32"}

FORMATS = (
    Format(
        name="ngff-0.5",
        engine="ngff",
        suffix=".ome.zarr",
        writer="to_ome_zarr",
        options={"chunks": {"z": 2, "y": 16, "x": 16}, "version": "0.5"},
        stored=ngff_stored,
        chunks=ngff_chunks,
        dims=_USUAL,
        dtypes=_NGFF_DTYPES,
        files=(".ome.zarr", ".ozx", ".ome.zarr.zip"),
    ),
    Format(
        name="ngff-0.4",
        engine="ngff",
        suffix=".ome.zarr",
        writer="to_ome_zarr",
        options={"chunks": {"z": 2, "y": 16, "x": 16}, "version": "0.4"},
        stored=ngff_stored,
        chunks=ngff_chunks,
        dims=_USUAL,
        dtypes=_NGFF_DTYPES,
        files=(".ome.zarr", ".ozx", ".ome.zarr.zip"),
    ),
    Format(
        name="nifti",
        engine="nifti",
        suffix=".nii",
        writer="to_nifti",
        stored=nifti_stored,
        chunks=nifti_chunks,
        checked=False,
        dims=("x", *_USUAL),
        dtypes=_NIFTI_DTYPES,
        files=(".nii", ".nii.gz", ".NII"),
        fills=nifti_fills,
        levels=False,
        tolerance=1e-6,
    ),
    Format(
        name="nifti-gz",
        engine="nifti",
        suffix=".nii.gz",
        writer="to_nifti",
        options={"version": 2},
        stored=nifti_stored,
        chunks=None,
        dims=("x", *_USUAL),
        dtypes=_NIFTI_DTYPES,
        files=(".nii", ".nii.gz", ".NII.GZ"),
        fills=nifti_fills,
        levels=False,
        tolerance=1e-12,
    ),
    Format(
        name="ome-tiff",
        engine="ome-tiff",
        suffix=".ome.tif",
        writer="to_ome_tiff",
        options={"tile": 16},
        stored=tiff_stored,
        chunks=tiff_chunks,
        dims=_USUAL,
        dtypes=_same(*_REAL, "complex64", "complex128") | {"bool": "uint8"},
        files=(".ome.tif", ".ome.tiff", ".tif", ".tiff", ".TIF"),
        squeezed=True,
    ),
    Format(
        name="imaris",
        engine="imaris",
        suffix=".ims",
        writer="to_imaris",
        stored=imaris_stored,
        chunks=imaris_chunks,
        dims=_USUAL,
        dtypes=_same("uint8", "uint16", "uint32", "float32") | {"bool": "uint8"},
        files=(".ims", ".IMS"),
        fills=lambda dims: DIMS,
        late_times=False,
        tolerance=1e-6,
    ),
)
