"""What no writer can do without: the codec alone, and what tensorstore takes, which is made of C++."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.case import Run
from benchmarks.volumes import CHUNKS, CODEC, codec

__all__ = [
    "THREADS",
    "by_hand",
    "codec_alone",
    "codec_from_memory",
    "codec_sharded",
    "decoding",
    "parts",
    "tensorstore",
    "zarr_loop",
]

THREADS = os.cpu_count() or 1
LEVELS = 4
SHARDS = tuple(2 * chunk for chunk in CHUNKS)

Part = tuple[slice, ...]


def parts(shape: Sequence[int], lengths: Sequence[int]) -> Iterator[Part]:
    """Regions of a grid, in C order."""
    starts = [range(0, size, length) for size, length in zip(shape, lengths, strict=True)]
    for corner in itertools.product(*starts):
        yield tuple(
            slice(start, min(start + length, size)) for start, length, size in zip(corner, lengths, shape, strict=True)
        )


def in_threads(work: Callable[..., object], places: Iterable[Any]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(work, *place) for place in places]:
            done.result()


def level_shapes(shape: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(-(-size // 2**level) for size in shape) for level in range(LEVELS)]


def created(target: str, shape: Sequence[int], dtype: Any, *, looks: bool = False, **options: Any) -> list[Any]:
    """The arrays of all levels; zarr does not look for empty chunks, unless told to: it takes as long as the codec."""
    import zarr

    return [
        zarr.create_array(
            f"{target}/{level}",
            shape=sizes,
            chunks=CHUNKS,
            dtype=dtype,
            compressors=codec(),
            fill_value=0,
            config={"write_empty_chunks": not looks},
            **options,
        )
        for level, sizes in enumerate(level_shapes(shape))
    ]


def copied(source: Any, target: str, lengths: Sequence[int], **options: Any) -> None:
    """Write every chunk of all levels once, with data of the source as it is: nothing is reduced."""
    arrays = created(target, source.shape, source.dtype, **options)

    def copy(array: Any, part: Part) -> None:
        array[part] = source[part]

    in_threads(copy, [(array, part) for array in arrays for part in parts(array.shape, lengths)])


def codec_alone(where: Path, target: str) -> Run:
    """Decode and encode every chunk of all levels once, with zarr."""
    import zarr

    source = zarr.open_array(where / "source.ome.zarr" / "0", mode="r")
    return lambda: copied(source, target, CHUNKS)


def zarr_loop(where: Path, target: str) -> Run:
    """The same as most people write it, with zarr as it comes, which looks whether chunks are empty."""
    import zarr

    source = zarr.open_array(where / "source.ome.zarr" / "0", mode="r")
    return lambda: copied(source, target, CHUNKS, looks=True)


def codec_from_memory(where: Path, target: str) -> Run:
    """Encode every chunk of all levels once, with zarr."""
    import zarr

    source = zarr.open_array(where / "source.ome.zarr" / "0", mode="r")[...]
    return lambda: copied(source, target, CHUNKS)


def codec_sharded(where: Path, target: str) -> Run:
    """Decode and encode every chunk of all levels once, with zarr, a shard at a time."""
    import zarr

    source = zarr.open_array(where / "source.ome.zarr" / "0", mode="r")
    return lambda: copied(source, target, SHARDS, shards=SHARDS)


def decoding(where: Path, target: str) -> Run:
    """Decode every chunk of level 0, with zarr: what making levels of a stored image begins with."""
    import zarr

    source = zarr.open_array(where / "source.ome.zarr" / "0", mode="r")
    return lambda: in_threads(source.__getitem__, [(part,) for part in parts(source.shape, CHUNKS)])


def by_hand(where: Path, target: str) -> Run:
    """Decode and encode every chunk of all levels once, with the codec and files alone, without zarr."""
    import numcodecs
    import numpy as np
    import zarr

    root = where / "source.ome.zarr" / "0"
    source = zarr.open_array(root, mode="r")
    name, level, shuffle = CODEC
    shuffles = {"shuffle": numcodecs.Blosc.SHUFFLE, "bitshuffle": numcodecs.Blosc.BITSHUFFLE}
    blosc = numcodecs.Blosc(name, clevel=int(level), shuffle=shuffles[shuffle])

    def copy(level: int, place: tuple[int, ...]) -> None:
        chunk = np.frombuffer(blosc.decode(root.joinpath("c", *map(str, place)).read_bytes()), source.dtype)
        path = Path(target, str(level), "c", *map(str, place))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blosc.encode(chunk))

    def run() -> None:
        places = []
        for level, shape in enumerate(level_shapes(source.shape)):
            counts = [-(-size // chunk) for size, chunk in zip(shape, CHUNKS, strict=True)]
            places += [(level, place) for place in np.ndindex(*counts)]
        in_threads(copy, places)

    return run


def tensorstore(where: Path, target: str, method: str) -> Run:
    """Copy level 0, and make each level from the stored one before it."""
    import tensorstore as ts
    import zarr

    context = ts.Context({"data_copy_concurrency": {"limit": THREADS}, "file_io_sync": False})

    def opened(path: Path | str) -> Any:
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}
        return ts.open(spec, context=context, open=True).result()

    path = where / "source.ome.zarr" / "0"
    array = zarr.open_array(path, mode="r")

    def run() -> None:
        created(target, array.shape, array.dtype)
        levels = [opened(f"{target}/{level}") for level in range(LEVELS)]
        levels[0].write(opened(path)).result()
        for finer, coarser in itertools.pairwise(levels):
            coarser.write(ts.downsample(finer, [2] * array.ndim, method)).result()

    return run
