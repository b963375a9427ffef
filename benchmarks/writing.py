"""Pyramids written: from every kind of source and into every kind of target, with peers and floors beside them."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import floors
from benchmarks.case import Case, Goal, Run, nothing
from benchmarks.peers import FACTORS, PEERS
from benchmarks.volumes import CHUNKS, codec, floats, fresh, labels, scaled_shape, volume

__all__ = ["CASES"]

# From the folder of the sources and the path of the target to what is timed.
Contestant = Callable[[Path, str], Run]


# -- data -------------------------------------------------------------------------------------------------------------


def prepare(make: Callable[[tuple[int, int, int]], Any], shape: tuple[int, int, int], folder: Path) -> None:
    """The image in full and a small one, as OME-Zarr of one level, by zarr alone.

    "source" has been compressed a bit harder than what is written, so that it has to be encoded anew; "same" has been
    compressed as what is written.
    """
    for part, sizes in (("small", (CHUNKS[0], 2 * CHUNKS[1], CHUNKS[2])), ("full", scaled_shape(shape))):
        data = make(sizes)
        for name, harder in (("source", True), ("same", False)):
            write_level(folder / part / f"{name}.ome.zarr", data, harder=harder)


def write_level(path: Path, data: np.ndarray[Any, Any], *, harder: bool) -> None:
    import zarr

    path.mkdir(parents=True)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    datasets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}]
    ome = {"version": "0.5", "multiscales": [{"name": "image", "axes": axes, "datasets": datasets}]}
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    (path / "zarr.json").write_text(json.dumps(document))
    array = zarr.create_array(
        path / "0",
        shape=data.shape,
        chunks=CHUNKS,
        dtype=data.dtype,
        compressors=codec(harder=harder),
        fill_value=0,
        dimension_names=tuple("zyx"),
    )
    floors.in_threads(
        lambda part: array.__setitem__(part, data[part]), [(p,) for p in floors.parts(data.shape, CHUNKS)]
    )


def warmed(contestant: Contestant) -> Callable[[Path], Run]:
    """The contestant after it has written a small image, so that nothing that is timed is done for the first time."""

    def of_folder(folder: Path) -> Run:
        contestant(folder / "small", fresh(folder))()
        return contestant(folder / "full", fresh(folder))

    return of_folder


# -- ours -------------------------------------------------------------------------------------------------------------


def opened(where: Path, name: str = "source") -> Any:
    import xarray as xr

    import xarray_ngff  # noqa: F401

    return xr.open_dataarray(where / f"{name}.ome.zarr", engine="ngff")


def options(method: str) -> dict[str, Any]:
    return {"factors": list(FACTORS), "method": method, "chunks": CHUNKS[0], "compressor": codec()}


def from_zarr(where: Path, target: str, method: str, *, suffix: str = ".ome.zarr", **others: Any) -> Run:
    image = opened(where)
    place = Path(target.replace(".ome.zarr", suffix))
    place.unlink(missing_ok=True)
    return lambda: image.ngff.to_ome_zarr(place, **options(method), **others)


def from_numpy(where: Path, target: str, method: str) -> Run:
    image = opened(where).load()
    return lambda: image.ngff.to_ome_zarr(target, **options(method))


def from_dask(where: Path, target: str, method: str) -> Run:
    import dask.array

    import xarray_ngff

    image = xarray_ngff.as_image(dask.array.from_zarr(where / "source.ome.zarr" / "0"), units="um")
    return lambda: image.ngff.to_ome_zarr(target, **options(method))


def verbatim(where: Path, target: str, method: str) -> Run:
    """The chunk grid, dtype and codecs are those of the target, so the chunks of level 0 can be copied as they are."""
    image = opened(where, "same")
    return lambda: image.ngff.to_ome_zarr(target, **options(method))


def in_place(where: Path, target: str, method: str) -> Run:
    import xarray_ngff

    def copy(path: str, to: str) -> None:
        """Link chunks, which nobody changes in place, and copy documents."""
        shutil.copy2(path, to) if path.endswith(".json") else os.link(path, to)

    shutil.copytree(where / "same.ome.zarr", target, copy_function=copy)
    return lambda: xarray_ngff.build_pyramid(target, factors=list(FACTORS), method=method)


def region(where: Path, target: str, method: str) -> Run:
    """A quarter of an image that is there, and the part of every level that it is in."""
    image = opened(where)
    image.ngff.to_ome_zarr(target, **options(method))
    quarter = image.isel(y=slice(image.sizes["y"] // 4, image.sizes["y"] // 2))
    return lambda: quarter.ngff.to_ome_zarr(target, region="auto")


def piped(contestant: Contestant, *, zarrs: bool) -> Contestant:
    """With zarr's codec pipeline, or with that of zarrs, where it is installed."""

    def with_pipeline(where: Path, target: str) -> Run:
        if zarrs:
            import zarrs as _  # noqa: F401  # tells that it is not there
        else:
            from zarr.registry import get_pipeline_class

            get_pipeline_class()  # loads what is registered, once
            sys.modules["zarrs"] = None  # type: ignore[assignment]  # so that it is not found any more
        return contestant(where, target)

    return with_pipeline


def contestants(method: str, *, all_of_ours: bool = False, peers: bool = True) -> dict[str, Callable[[Path], Run]]:
    ours: dict[str, Contestant] = {
        "xarray-ngff, from Zarr": from_zarr,
        "xarray-ngff, from NumPy": from_numpy,
        "xarray-ngff, from dask": from_dask,
        "xarray-ngff, from Zarr, chunks copied as they are": verbatim,
        "xarray-ngff, levels added in place": in_place,
        "xarray-ngff, sharded": partial(from_zarr, shards=floors.SHARDS[0]),
        'xarray-ngff, shards="auto"': partial(from_zarr, shards="auto"),
        "xarray-ngff, into a zip archive": partial(from_zarr, suffix=".ozx"),
        "xarray-ngff, a quarter of an image updated": region,
    }
    if not all_of_ours:
        ours = {name: ours[name] for name in list(ours)[:2]}
    named: dict[str, Contestant] = {"codec alone": floors.codec_alone}
    if all_of_ours:
        named |= {
            "zarr in a loop, as it comes": floors.zarr_loop,
            "codec alone, from memory": floors.codec_from_memory,
            "codec alone, sharded": floors.codec_sharded,
            "codec alone, without zarr": floors.by_hand,
            "decoding alone": floors.decoding,
        }
    named["tensorstore, copy and downsample"] = partial(floors.tensorstore, method=method)
    named |= {name: piped(partial(who, method=method), zarrs=False) for name, who in ours.items()}
    named["xarray-ngff, from Zarr, with zarrs"] = piped(partial(from_zarr, method=method), zarrs=True)
    if peers:
        named |= {name: partial(peer, method=method) for name, peer in PEERS.items()}
    return {name: warmed(contestant) for name, contestant in named.items()}


GOALS: Mapping[str, Goal] = {
    "xarray-ngff, from Zarr": Goal(time=1.15, peak=400),
    "xarray-ngff, from NumPy": Goal(time=1.15, peak=400),
    "xarray-ngff, from dask": Goal(peak=400),
    "xarray-ngff, from Zarr, chunks copied as they are": Goal(time=0.4, peak=400),
    "xarray-ngff, levels added in place": Goal(time=0.3, peak=400),
    "xarray-ngff, sharded": Goal(time=1.2, peak=400),
}


# -- size -------------------------------------------------------------------------------------------------------------

# Name of a size, and how many times a quarter of a GiB it is.
SIZES = {"0.25 GiB": 1, "0.5 GiB": 2, "1 GiB": 4, "2 GiB": 8, "4 GiB": 16}


def prepare_sizes(folder: Path) -> None:
    data = volume(scaled_shape(_HALF))
    write_level(folder / "small" / "source.ome.zarr", data[: CHUNKS[0], : 2 * CHUNKS[1], : CHUNKS[2]], harder=True)
    for name, times in SIZES.items():
        write_level(folder / name / "source.ome.zarr", data, harder=True)
        lengthen(folder / name / "source.ome.zarr" / "0", times)


def lengthen(path: Path, times: int) -> None:
    """Make an array that many times as long, by links to the chunks that are there."""
    document = json.loads((path / "zarr.json").read_text())
    length = document["shape"][0]
    document["shape"][0] = length * times
    (path / "zarr.json").write_text(json.dumps(document))
    rows = length // CHUNKS[0]
    for row in range(rows, rows * times):
        shutil.copytree(path / "c" / str(row % rows), path / "c" / str(row), copy_function=os.link)


def of_size(name: str) -> Callable[[Path], Run]:
    contestant = piped(partial(from_zarr, method="mean"), zarrs=False)

    def of_folder(folder: Path) -> Run:
        contestant(folder / "small", fresh(folder))()
        return contestant(folder / name, fresh(folder))

    return of_folder


def computed(slabs: int) -> Callable[[Path], Run]:
    """An image that is computed chunk by chunk, 128 MiB in each slab, so that only what the writer holds is held."""

    def of_folder(folder: Path) -> Run:
        import dask.array

        import xarray_ngff

        chunks = ((128,) * slabs, (128,) * 8, (128,) * 4)
        flat = dask.array.zeros([sum(sizes) for sizes in chunks], chunks=chunks, dtype="uint16")
        lazy = flat.map_blocks(ramp, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
        target = fresh(folder)
        xarray_ngff.as_image(lazy[:128], units="um").ngff.to_ome_zarr(target)
        return lambda: xarray_ngff.as_image(lazy, units="um").ngff.to_ome_zarr(target, overwrite=True)

    return of_folder


def ramp(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return block + np.arange(block.shape[-1], dtype=block.dtype)


# ---------------------------------------------------------------------------------------------------------------------

_LEVELS = "to OME-Zarr 0.5, 4 levels, 128^3 chunks"
_WORK = f"{_LEVELS}, blosc-zstd 1"
_FULL, _HALF = (512, 1024, 512), (256, 1024, 512)

CASES = {
    "pyramid": Case(
        f"512 MiB uint16 {_WORK}", partial(prepare, volume, _FULL), contestants("mean", all_of_ours=True), GOALS
    ),
    "pyramid-zstd5": Case(
        f"512 MiB uint16 {_LEVELS}, blosc-zstd 5: a codec that takes its time",
        partial(prepare, volume, _FULL),
        contestants("mean", all_of_ours=True, peers=False),
        GOALS,
        {"BENCHMARK_CODEC": "zstd:5:shuffle"},
    ),
    "pyramid-floats": Case(f"512 MiB float32 {_WORK}", partial(prepare, floats, _HALF), contestants("mean"), GOALS),
    "pyramid-labels": Case(
        f"512 MiB uint32, numbered balls, {_WORK}, the mode of each block",
        partial(prepare, labels, _HALF),
        contestants("mode"),
        {name: Goal(peak=400) for name in GOALS},
    ),
    "size": Case(
        f"images of any size in time that grows as they do, in the same memory: uint16 {_WORK}, from Zarr",
        prepare_sizes,
        {name: of_size(name) for name in SIZES},
        {name: Goal(time=1.1 * times, peak=400) for name, times in SIZES.items()},
    ),
    "memory": Case(
        "images that are computed as they are written, by dask, in the same memory; beyond what 128 MiB took",
        nothing,
        {"0.5 GiB": computed(4), "1 GiB": computed(8), "4 GiB": computed(32)},
        {"0.5 GiB": Goal(peak=400), "1 GiB": Goal(time=2.2, peak=400), "4 GiB": Goal(time=8.8, peak=400)},
    ),
}
