"""Block statistics of data in memory, ours and those of others: python -m benchmarks.kernels.

Slabs of the data are reduced by as many threads as there are processors, as the writer does; tensorstore and dask use
their own threads. The least of a few runs is shown, in milliseconds, and as a multiple of ours.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.floors import THREADS
from benchmarks.volumes import floats, labels, scaled_shape, volume
from xarray_ngff.pyramid.kernels import METHODS, block_reduce

__all__ = ["main"]

Array = np.ndarray[Any, Any]
Counts = tuple[int, ...]
# From an array, factors that divide it, and a method to the work; None where it has no such method.
Contestant = Callable[[Array, Counts, str], Callable[[], object] | None]

SHAPE = scaled_shape((128, 512, 512))
FACTORS = ((2, 2, 2), (1, 2, 2), (3, 3, 3))
DATA = {
    "uint8": lambda: (volume(SHAPE) >> 4).astype("uint8"),
    "uint16": lambda: volume(SHAPE),
    "float32": lambda: floats(SHAPE),
    "labels, uint32": lambda: labels(SHAPE),
}


def by_slabs(reduce: Callable[[Array], object], array: Array, factors: Counts) -> Callable[[], object]:
    """Reduce slabs of whole blocks, about 8 MiB each, in threads."""
    planes = max(1, 2**23 // array[0].nbytes // factors[0]) * factors[0]
    slabs = [array[start : start + planes] for start in range(0, len(array), planes)]

    def run() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in pool.map(reduce, slabs):
                pass

    return run


def ours(array: Array, factors: Counts, method: str) -> Callable[[], object]:
    return by_slabs(lambda slab: block_reduce(slab, factors, method), array, factors)


def numpy_plain(array: Array, factors: Counts, method: str) -> Callable[[], object] | None:
    """The statistic of NumPy over the axes within blocks."""
    if method == "mode":
        return None
    if method == "nearest":
        first = tuple(slice((factor - 1) // 2, None, factor) for factor in factors)
        return by_slabs(lambda slab: slab[first].copy(), array, factors)
    statistic = getattr(np, method)

    def reduce(slab: Array) -> Array:
        split = slab.reshape([n for size, f in zip(slab.shape, factors, strict=True) for n in (size // f, f)])
        found = statistic(split, axis=(1, 3, 5))
        return (np.rint(found) if slab.dtype.kind == "u" else found).astype(slab.dtype)

    return by_slabs(reduce, array, factors)


def numba_loops(array: Array, factors: Counts, method: str) -> Callable[[], object]:
    """A loop over blocks, compiled; rounding half to even, the smallest of several modes."""
    import numba

    def mean(values: Array, count: int) -> Any:
        total = values[0] * 0.0
        for i in range(count):
            total += values[i]
        return round(total / count) if is_integer else total / count

    def median(values: Array, count: int) -> Any:
        for i in range(1, count):
            value, j = values[i], i
            while j > 0 and values[j - 1] > value:
                values[j] = values[j - 1]
                j -= 1
            values[j] = value
        middle = (values[(count - 1) // 2] * 1.0 + values[count // 2]) / 2
        return round(middle) if is_integer else middle

    def mode(values: Array, count: int) -> Any:
        best, most = values[0], 0
        for i in range(count):
            found = 0
            for j in range(count):
                found += values[j] == values[i]
            if found > most or (found == most and values[i] < best):
                best, most = values[i], found
        return best

    def smallest(values: Array, count: int) -> Any:
        best = values[0]
        for i in range(1, count):
            best = min(best, values[i])
        return best

    def largest(values: Array, count: int) -> Any:
        best = values[0]
        for i in range(1, count):
            best = max(best, values[i])
        return best

    def nearest(values: Array, count: int) -> Any:
        return values[place]

    is_integer = array.dtype.kind == "u"
    place = int(np.ravel_multi_index([(factor - 1) // 2 for factor in factors], factors))
    statistics = {"mean": mean, "median": median, "mode": mode, "min": smallest, "max": largest, "nearest": nearest}
    statistic = numba.njit(statistics[method])
    fz, fy, fx = factors

    @numba.njit(nogil=True)
    def reduce(slab: Array, result: Array) -> None:
        values = np.empty(fz * fy * fx, slab.dtype)
        for z in range(result.shape[0]):
            for y in range(result.shape[1]):
                for x in range(result.shape[2]):
                    i = 0
                    for dz in range(fz):
                        for dy in range(fy):
                            for dx in range(fx):
                                values[i] = slab[z * fz + dz, y * fy + dy, x * fx + dx]
                                i += 1
                    result[z, y, x] = statistic(values, len(values))

    def of_slab(slab: Array) -> Array:
        result = np.empty([size // factor for size, factor in zip(slab.shape, factors, strict=True)], slab.dtype)
        reduce(slab, result)
        return result

    of_slab(array[: factors[0]])
    return by_slabs(of_slab, array, factors)


def tensorstore(array: Array, factors: Counts, method: str) -> Callable[[], object]:
    import tensorstore as ts

    context = ts.Context({"data_copy_concurrency": {"limit": THREADS}})
    view = ts.downsample(ts.array(array, context=context), factors, "stride" if method == "nearest" else method)
    return lambda: view.read().result()


def scikit_image(array: Array, factors: Counts, method: str) -> Callable[[], object] | None:
    from skimage.measure import block_reduce as blocks

    if method in ("mode", "nearest"):
        return None
    statistic = getattr(np, method)
    return by_slabs(lambda slab: blocks(slab, factors, statistic), array, factors)


def dask_coarsen(array: Array, factors: Counts, method: str) -> Callable[[], object] | None:
    import dask.array

    if method in ("mode", "nearest"):
        return None
    planes = max(1, 2**23 // array[0].nbytes // factors[0]) * factors[0]
    lazy = dask.array.from_array(array, chunks=(planes, -1, -1))
    coarse = dask.array.coarsen(getattr(np, method), lazy, dict(enumerate(factors))).astype(array.dtype)
    return lambda: coarse.compute(scheduler="threads", num_workers=THREADS)


CONTESTANTS: dict[str, Contestant] = {
    "xarray-ngff": ours,
    "NumPy over axes": numpy_plain,
    "numba loops": numba_loops,
    "tensorstore": tensorstore,
    "scikit-image": scikit_image,
    "dask coarsen": dask_coarsen,
}


def least(works: Sequence[Callable[[], object] | None], runs: int) -> list[float | None]:
    """Seconds of each; they take turns, and one that takes seconds is run once."""
    taken: list[list[float]] = [[] for _ in works]
    for _, (work, seconds) in itertools.product(range(runs), list(zip(works, taken, strict=True))):
        if work is not None and sum(seconds) < 2:
            start = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - start)
    return [min(seconds, default=None) for seconds in taken]


def made(contestant: Contestant, *work: Any) -> Callable[[], object] | None:
    try:
        return contestant(*work)
    except ImportError:
        return None


def rows(
    data: Array, blocks: Sequence[Counts], methods: Sequence[str], runs: int
) -> Iterator[tuple[Counts, str, list[float | None]]]:
    for factors, method in itertools.product(blocks, methods):
        whole = data[tuple(slice(0, size // factor * factor) for size, factor in zip(data.shape, factors, strict=True))]
        array = np.ascontiguousarray(whole)
        works = [made(contestant, array, factors, method) for contestant in CONTESTANTS.values()]
        yield factors, method, least(works, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="*", help=f"default: all of {', '.join(DATA)}")
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--all-blocks", action="store_true", help="blocks of 1 x 2 x 2 and of 3 x 3 x 3 too")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    blocks = FACTORS if options.all_blocks else FACTORS[:1]
    for name in options.data or DATA:
        data = DATA[name]()
        size = math.prod(data.shape) * data.itemsize / 2**20
        print(f"\n## kernels: {size:.0f} MiB of {name} in memory, milliseconds on {THREADS} threads\n")
        print(f"| block | method | {' | '.join(CONTESTANTS)} |\n|---|---|{'---|' * len(CONTESTANTS)}", flush=True)
        for factors, method, seconds in rows(data, blocks, options.methods, options.runs):
            first = seconds[0] or math.nan
            cells = ["" if each is None else f"{1e3 * each:.0f} ({each / first:.1f})" for each in seconds]
            print(f"| {' × '.join(map(str, factors))} | {method} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
