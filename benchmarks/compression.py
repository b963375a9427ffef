"""How small and how fast the codecs of OME-Zarr are, on images of many kinds: `python -m benchmarks.compression`.

One thread, chunk by chunk. For each kind of data the table has the size in parts of the size in memory, and how many
MiB of voxels are encoded and decoded in a second of the processor: geometric means over the images. The real ones are
small, so each is coded many times over.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.volumes import volume

__all__ = ["CODECS", "KINDS", "Result", "main", "measured"]

Array = np.ndarray[Any, Any]
CHUNK = 128


# -- codecs -----------------------------------------------------------------------------------------------------------


def _blosc(cname: str, level: int, shuffle: int, blocksize: int = 0) -> Any:
    import numcodecs

    return numcodecs.Blosc(cname=cname, clevel=level, shuffle=shuffle, blocksize=blocksize)


def _names(dtype: np.dtype[Any]) -> dict[str, Any]:
    """What may be asked for by name."""
    import numcodecs

    from xarray_ngff.backends.ngff.codecs.compressors import codecs

    levels = {"blosc-zstd": (1, 2, 3, 5), "blosc-lz4": (1, 5, 9), "blosc-zlib": (5,), "zstd": (1, 3, 5), "gzip": (1, 6)}
    names = [f"{name}:{level}" for name, of_name in levels.items() for level in of_name]
    return {name: numcodecs.get_codec(dict(codecs(name, zarr_format=2, dtype=dtype).compressors[0])) for name in names}


SHUFFLES = {"none": 0, "byte": 1, "bit": 2}


def _shuffles(dtype: np.dtype[Any]) -> dict[str, Any]:
    """Blosc with blocks of 512 KiB and as it chooses them, and what it shuffles."""
    return {
        f"blosc-{cname}:{level} {name} {length}": _blosc(cname, level, shuffle, block)
        for cname, level in [("lz4", 5), ("zstd", 1), ("zstd", 3), ("zstd", 5)]
        for name, shuffle in SHUFFLES.items()
        for length, block in {"auto": 0, "512 KiB": 2**19}.items()
    }


def _blocksizes(dtype: np.dtype[Any]) -> dict[str, Any]:
    """The default with blocks of many lengths; "auto" is what Blosc chooses."""
    lengths = {"auto": 0} | {f"{kib} KiB": kib * 1024 for kib in (128, 256, 512, 1024, 4096)}
    return {
        f"blosc-zstd:1 {name} {length}": _blosc("zstd", 1, shuffle, block)
        for (name, shuffle), (length, block) in itertools.product(SHUFFLES.items(), lengths.items())
    }


CODECS: Mapping[str, Callable[[np.dtype[Any]], dict[str, Any]]] = {
    "names": _names,
    "shuffles": _shuffles,
    "blocksizes": _blocksizes,
}


# -- images -----------------------------------------------------------------------------------------------------------


@functools.cache
def _light_sheet() -> Array:
    """Background, blobs and noise."""
    return volume((CHUNK, 2 * CHUNK, 2 * CHUNK))


@functools.cache
def _cells() -> Array:
    """Ids of some hundred roundish objects on an empty background."""
    from scipy.spatial import KDTree

    rng = np.random.default_rng(0)
    shape = (CHUNK, 2 * CHUNK, 2 * CHUNK)
    seeds = rng.uniform(0, shape, (400, 3))
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    distance, nearest = KDTree(seeds).query(places, distance_upper_bound=18)
    return np.where(np.isfinite(distance), 1 + nearest, 0).reshape(shape)


def _bundled(name: str) -> Array:
    """An image that scikit-image brings along; of a colour image the channels, one after the other."""
    import skimage
    from skimage.io import imread

    image = imread(Path(skimage.__file__).parent / "data" / name)
    return image if image.ndim == 2 else np.moveaxis(image, -1, 0)


def _scan(name: str) -> Array:
    """The numbers that a scan of nibabel's test data stores, (z, y, x) or (t, z, y, x)."""
    import nibabel

    image = nibabel.load(Path(nibabel.__file__).parent / "tests" / "data" / name)
    stored = image.dataobj.get_unscaled()
    return stored.astype(stored.dtype.newbyteorder("=")).T


def _slice_of_a_head() -> Array:
    """The slice of an MRI scan that Matplotlib brings along."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "s1045.ima.gz"
    return np.frombuffer(gzip.decompress(path.read_bytes()), "uint16").reshape(256, 256)


def _camera(photons: float) -> Array:
    """The light sheet as a scientific CMOS camera gives it: offset 100, shot noise, and read noise of 1.6 electrons."""
    rng = np.random.default_rng(1)
    signal = _light_sheet().astype("float32")
    electrons = rng.poisson(signal * np.float32(photons / signal.mean())) + rng.normal(0, 1.6, signal.shape)
    return (100 + electrons / 0.46).clip(0, 65535).round().astype("uint16")


def _filtered(image: Array) -> Array:
    """A smoothed image in float32, all bits of which are used."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype("float32"), 1.0)


def _rescaled(image: Array) -> Array:
    """Whole numbers times a slope, in float32, as calibrated scans are."""
    return (image.astype("float32") * np.float32(0.0372)).astype("float32")


KINDS: Mapping[str, Mapping[str, Callable[[], Array]]] = {
    "uint8 intensities": {
        "light sheet, 8 bit": lambda: (_light_sheet() >> 3).clip(0, 255).astype("uint8"),
        "camera, 8 bit": lambda: (_camera(10) - 90).clip(0, 255).astype("uint8"),
        "cell, phase contrast": lambda: _bundled("cell.png"),
        "histology, immunostained": lambda: _bundled("ihc.png"),
        "retina": lambda: _bundled("retina.jpg"),
    },
    "16-bit intensities": {
        "light sheet": _light_sheet,
        "camera, dim": lambda: _camera(10),
        "camera, bright": lambda: _camera(1000),
        "MRI, 4-D": lambda: _scan("example4d.nii.gz"),
        "MRI, anatomical": lambda: _scan("anatomical.nii"),
        "MRI, functional": lambda: _scan("example_nifti2.nii.gz"),
        "MRI, EPI of a phantom": lambda: _scan("phantom_EPI_asc_CLEAR_2_1.PAR"),
        "MRI, head": _slice_of_a_head,
    },
    "float32 intensities": {
        "light sheet, smoothed": lambda: _filtered(_light_sheet()),
        "light sheet, rescaled": lambda: _rescaled(_light_sheet()),
        "MRI, 4-D, rescaled": lambda: _rescaled(_scan("example4d.nii.gz")),
        "MRI, 4-D, smoothed": lambda: _filtered(_scan("example4d.nii.gz")),
        "MRI, anatomical, resampled": lambda: _scan("reoriented_anat_moved.nii"),
    },
    "float64 intensities": {
        "light sheet, smoothed": lambda: _filtered(_light_sheet()).astype("float64") * 1.1,
        "MRI, 4-D, rescaled": lambda: _scan("example4d.nii.gz") * 0.0372,
    },
    "labels": {
        "mask, uint8": lambda: (_cells() > 0).astype("uint8"),
        "cells, uint16": lambda: _cells().astype("uint16"),
        "cells, uint32": lambda: _cells().astype("uint32"),
        "cells, int64": lambda: _cells().astype("int64"),
    },
}


def chunks(image: Array) -> list[Array]:
    """Chunks of an image, at most 128 long along each of the last three axes, or 1024 along each of two."""
    lengths = [1] * max(0, image.ndim - 3) + ([CHUNK] * 3 if image.ndim >= 3 and image.shape[-3] > 3 else [1024] * 2)
    lengths = [1] * (image.ndim - len(lengths)) + lengths
    starts = [range(0, size, length) for size, length in zip(image.shape, lengths, strict=True)]
    return [
        np.ascontiguousarray(image[tuple(slice(i, i + n) for i, n in zip(corner, lengths, strict=True))])
        for corner in itertools.product(*starts)
    ]


# -- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Of one codec on one image: parts of the size in memory, and MiB of voxels in a second."""

    size: float
    encode: float
    decode: float


def _seconds(run: Callable[[], object], least: float) -> float:
    """CPU seconds of one run: the least of as many as take `least` seconds, and at least three."""
    taken: list[float] = []
    while sum(taken) < least or len(taken) < 3:
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def measured(codec: Any, parts: Sequence[Array], *, least: float = 0.1) -> Result:
    """Size and speeds of a codec on chunks."""
    encoded = [bytes(codec.encode(part)) for part in parts]
    for part, stored in zip(parts, encoded, strict=True):
        if not np.array_equal(
            np.frombuffer(codec.decode(stored), part.dtype), part.ravel(), equal_nan=part.dtype.kind == "f"
        ):
            raise ValueError(f"{codec} does not give back what it was given")
    nbytes = sum(part.nbytes for part in parts)
    mebibytes = nbytes / 2**20
    return Result(
        sum(map(len, encoded)) / nbytes,
        mebibytes / _seconds(lambda: [codec.encode(part) for part in parts], least),
        mebibytes / _seconds(lambda: [codec.decode(stored) for stored in encoded], least),
    )


def _middle(results: Sequence[Result]) -> Result:
    """Geometric means over images."""
    return Result(
        *(statistics.geometric_mean([getattr(r, key) for r in results]) for key in ("size", "encode", "decode"))
    )


def _rows(table: Mapping[str, Result]) -> Iterator[str]:
    yield "| codec | size | encode MiB/s | decode MiB/s |"
    yield "|---|---|---|---|"
    for name, result in table.items():
        yield f"| {name} | {100 * result.size:.1f} % | {result.encode:.0f} | {result.decode:.0f} |"


def main() -> None:
    from numcodecs import blosc

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"default: all of {', '.join(KINDS)}")
    parser.add_argument("--codecs", choices=CODECS, default="names")
    parser.add_argument("--images", action="store_true", help="a table for each image as well")
    parser.add_argument("--least", type=float, default=0.1, help="seconds that each measurement takes at least")
    options = parser.parse_args()
    blosc.use_threads = False
    for kind in options.kinds or KINDS:
        results = {
            name: {
                codec: measured(made, parts, least=options.least)
                for codec, made in CODECS[options.codecs](parts[0].dtype).items()
            }
            for name, parts in ((name, chunks(make())) for name, make in KINDS[kind].items())
        }
        if options.images:
            for name, table in results.items():
                print(f"\n### {name}\n", *_rows(table), sep="\n")
        means = {codec: _middle([table[codec] for table in results.values()]) for codec in next(iter(results.values()))}
        print(f"\n## {kind}\n", *_rows(means), sep="\n", flush=True)


if __name__ == "__main__":
    main()
