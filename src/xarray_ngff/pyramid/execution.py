"""How the blocks of a pyramid are worked off: by threads of this process, as a dask graph, or on a cluster.

An image in memory or in a file is read block by block by a plain pool of threads, without a task graph. A dask image,
an active dask client, another scheduler that was set, and ``compute=False`` take a graph with one task for each block
(beside those that make the image). What is held is bounded, whatever the size of the image:

- of an image without chunks: what `xarray_ngff.pyramid.stream` says, for each thread;
- of a dask image: the chunks of the source that meet the blocks being written. Where these are the planes of a stack,
  they are as many planes as one or two chunks of the target are deep, whatever the number of threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_ngff.errors import FormatError
from xarray_ngff.pyramid.passes import PART_BYTES, Pass
from xarray_ngff.pyramid.progress import Bar, progress_bar
from xarray_ngff.pyramid.stream import (
    Destination,
    Filling,
    Region,
    block_key,
    block_shape,
    regions,
    store_block,
    written_bytes,
)
from xarray_ngff.spatial.downsample import aligned_chunks

if TYPE_CHECKING:
    import dask.array
    import xarray as xr
    from dask.delayed import Delayed

__all__ = ["stored_chunks", "write"]

# Keeps dask from rechunking by way of larger chunks, which saves it tasks and costs memory.
_NO_DETOUR = 10**9

Block = tuple[Region, Any]  # where it is in the first level of its pass, and what it is made from


def write(filling: Filling, destination: Destination, *, compute: bool, progress: bool) -> Delayed | None:
    """Fill the arrays of a pyramid, and finish it.

    Parameters
    ----------
    filling
        What is written.
    destination
        Where. After an error or an interrupt it is discarded, when nothing writes to it any more.
    compute
        False returns a `dask.delayed.Delayed` that does all of it when it is computed.
    progress
        Show a progress bar of the bytes written, on the error stream or in the notebook.

    Returns
    -------
    None, or dask.delayed.Delayed with ``compute=False``

    Raises
    ------
    FormatError
        Where the destination can only be written to by this process, with ``compute=False``; or where it was written by
        processes that do not share it with this one.
    """
    if not compute and not destination.is_shared:
        raise FormatError(
            f"{destination.name} can be written by this process only, and at once: leave out compute=False, or write "
            "a folder"
        )
    if not compute:
        return _graph(filling, destination, _done(filling), guarded=True)[0]
    with progress_bar(progress) as bar, destination.held():
        done = _done(filling)
        try:
            if any(image.chunks is not None for image in filling.given.values()) or (
                destination.is_shared and not _runs_on_plain_threads()
            ):
                _compute_graph(filling, destination, done, bar)
            else:
                _work_in_threads(filling, destination, done, bar)
        except BaseException as error:
            _discard_after(error, destination)
            raise
    if not destination.is_finished():
        raise FormatError(
            f"{destination.name} was written by processes whose memory or disks this one does not share: write to a "
            "path or URL that all of them share, or compute in threads"
        )
    return None


def _done(filling: Filling) -> frozenset[str]:
    return frozenset() if filling.journal is None else filling.journal.done()


def _discard_after(error: BaseException, destination: Destination) -> None:
    if isinstance(error, OSError):
        # the system says what is wrong with a file, or with the disk, but not whose
        error.add_note(f"while {destination.name} was written")
    try:
        destination.discard()
    except Exception as second:  # noqa: BLE001  # what went wrong first is what the user must see
        error.add_note(f"what was written of {destination.name} could not be removed: {second}")


# -- threads ----------------------------------------------------------------------------------------------------------


def _work_in_threads(filling: Filling, destination: Destination, done: frozenset[str], bar: Bar) -> None:
    """Work off the passes one after another; come back only when no thread writes any more, after an error too."""
    from concurrent.futures import ThreadPoolExecutor, as_completed

    targets = destination.arrays()
    blocks = [
        [region for region in _grid(filling, stage) if block_key(stage.levels[0], region) not in done]
        for stage in filling.passes
    ]
    bar.expect(sum(_bytes(filling, *each) for each in zip(filling.passes, blocks, strict=True)))
    with ThreadPoolExecutor(filling.threads) as pool:
        for stage, left in zip(filling.passes, blocks, strict=True):
            store = _storing(filling, stage)
            image = _read_image(filling, stage)
            waiting = {pool.submit(_store_from, image, targets, region, filling, store): region for region in left}
            try:
                for future in as_completed(waiting):
                    future.result()
                    bar.advance(_bytes(filling, stage, [waiting[future]]))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
    destination.finish()


def _store_from(
    image: xr.Variable | None, targets: Any, region: Region, filling: Filling, store: Callable[..., None]
) -> None:
    store(None if image is None else _voxels(image, _inside_image(region, filling)), targets, region)


def _read_image(filling: Filling, stage: Pass) -> xr.Variable | None:
    """The image that a pass reads; None where it reads a stored level, or copies stored chunks."""
    first = stage.levels[0]
    return None if filling.verbatim is not None and first == 0 else filling.given.get(first)


def _voxels(image: xr.Variable, region: Region) -> np.ndarray[Any, Any]:
    return np.asarray(image[region].values)


def _inside_image(region: Region, filling: Filling) -> Region:
    """A region of a level, counted from where the given image begins."""
    if filling.limits is None:
        return region
    return tuple(slice(p.start - o.start, p.stop - o.start) for p, o in zip(region, filling.limits[0], strict=True))


def _storing(filling: Filling, stage: Pass) -> Callable[..., None]:
    return functools.partial(
        store_block,
        stage=stage,
        method=filling.method,
        kept=filling.kept,
        limits=filling.limits,
        verbatim=filling.verbatim,
        journal=filling.journal,
    )


def _grid(filling: Filling, stage: Pass) -> Iterator[Region]:
    """Blocks of a pass, of an image that does not come in chunks or of a stored level."""
    first = stage.levels[0]
    shape, block = filling.shapes[first], stage.unit
    image = filling.given.get(first)
    if image is not None:
        preferred = image.encoding.get("preferred_chunks", {})
        of_file = [preferred.get(dim, 1) for dim in image.dims]
        block = block_shape(shape, block, image.dtype.itemsize, of_file, block_bytes=filling.block_bytes)
    limit = None if filling.limits is None else filling.limits[first]
    if limit is None or image is not None:
        return regions(shape, block, limit)
    # of a stored level whole blocks are read
    outward = [
        (part.start // step * step, min(-(-part.stop // step) * step, size))
        for part, step, size in zip(limit, block, shape, strict=True)
    ]
    return regions(shape, block, tuple(slice(*edges) for edges in outward))


# -- graphs -----------------------------------------------------------------------------------------------------------


def _graph(
    filling: Filling, destination: Destination, done: frozenset[str], *, guarded: bool
) -> tuple[Delayed, dict[Delayed, int]]:
    """One delayed object that creates the arrays, fills them pass by pass and finishes; and the bytes of each block.

    The bytes are by the tasks that store the blocks. A guarded one discards what it wrote where finishing fails.
    """
    from dask.delayed import delayed

    arrays = delayed(destination.arrays, pure=False, traverse=False)()
    stores: dict[Delayed, int] = {}
    ends: dict[int, Any] = {}
    for stage in filling.passes:
        # a task of our own and not dask.array.store: the latter's optimisation would run a delayed target twice
        store = delayed(_store_after, pure=False, traverse=False)
        bound = _storing(filling, stage)
        after = None if stage.source is None or stage.source not in ends else ends[stage.source]
        tasks = []
        for region, block in _blocks(filling, stage):
            if block_key(stage.levels[0], region) not in done:
                tasks.append(store(block, arrays, region, bound, after))
                stores[tasks[-1]] = _bytes(filling, stage, [region])
        ends |= dict.fromkeys(stage.levels, delayed(_all_done, pure=False)([arrays, *tasks]))
    finish = delayed(_finished, pure=False, traverse=False)
    finished: Delayed = finish(delayed(_all_done, pure=False)(list(ends.values())), destination, guarded)
    return finished, stores


def _blocks(filling: Filling, stage: Pass) -> Iterator[Block]:
    """Blocks of a pass, each with the task that makes it; None where it is made from a stored level."""
    from dask.delayed import delayed

    image = _read_image(filling, stage)
    if image is None:
        yield from ((region, None) for region in _grid(filling, stage))
    elif image.chunks is not None:
        start = [0] * image.ndim if filling.limits is None else [part.start for part in filling.limits[0]]
        yield from _dask_blocks(image.data, stage, start)
    else:
        # one key for a file, so that it travels to a worker once; of an array in memory only the block
        source = None if image._in_memory else delayed(image, pure=False, traverse=False)
        for region in _grid(filling, stage):
            part = _inside_image(region, filling)
            read = delayed(_voxels, pure=False, traverse=False)
            yield region, delayed(_voxels(image, part), pure=False) if source is None else read(source, part)


def _dask_blocks(source: dask.array.Array, stage: Pass, start: Sequence[int]) -> Iterator[Block]:
    """Blocks of a dask array, rechunked where its chunks straddle the units of the pass.

    So each chunk of every level is written by one task only. `start` is where the array begins in its level.
    """
    aligned = source.rechunk(
        stored_chunks(source.chunks, stage.unit, source.dtype.itemsize, start), threshold=_NO_DETOUR
    )
    blocks = aligned.to_delayed()
    edges = [np.cumsum((first, *sizes)) for first, sizes in zip(start, aligned.chunks, strict=True)]
    for place in np.ndindex(blocks.shape):
        region = tuple(slice(int(e[i]), int(e[i + 1])) for e, i in zip(edges, place, strict=True))
        yield region, blocks[place]


def stored_chunks(
    given: Sequence[tuple[int, ...]], unit: Sequence[int], itemsize: int, start: Sequence[int]
) -> tuple[tuple[int, ...], ...]:
    """Sizes of blocks that hold whole units of the target, as near to the chunks of the source as that allows.

    Chunks of the source that are merged make large blocks, such as the planes that a cube meets; these are split, so
    that what is merged is copied in parts.
    """
    # as if the source began where a unit does
    ahead = [first % length for first, length in zip(start, unit, strict=True)]
    padded = [(extra + sizes[0], *sizes[1:]) for extra, sizes in zip(ahead, given, strict=True)]
    aligned = [aligned_chunks(sizes, length) for sizes, length in zip(padded, unit, strict=True)]
    if aligned != padded:
        longest = [max(sizes) for sizes in aligned]
        for axis, length in enumerate(unit):
            while longest[axis] > length and math.prod(longest) * itemsize > PART_BYTES:
                longest[axis] = max(longest[axis] // 2 // length, 1) * length
        aligned = [
            tuple(min(long, size - begin) for size in sizes for begin in range(0, size, long))
            for sizes, long in zip(aligned, longest, strict=True)
        ]
    return tuple((sizes[0] - extra, *sizes[1:]) for extra, sizes in zip(ahead, aligned, strict=True))


def _store_after(block: Any, targets: Any, region: Region, store: Callable[..., None], after: Any) -> None:
    """Store a block; `after` is there for the graph only: it is what must be done before."""
    store(block, targets, region)


def _all_done(tasks: Sequence[Any]) -> bool:
    return True


def _finished(done: Any, destination: Destination, guarded: bool) -> None:
    try:
        destination.finish()
    except BaseException as error:
        if guarded:
            _discard_after(error, destination)
        raise


def _runs_on_plain_threads() -> bool:
    """Whether dask would use its threads: no client is active, and no other scheduler was set."""
    import dask.threaded
    from dask.base import get_scheduler

    return get_scheduler() in (None, dask.threaded.get)


def _compute_graph(filling: Filling, destination: Destination, done: frozenset[str], bar: Bar) -> None:
    """Compute a graph, and come back only when nothing of it runs any more, after an error too.

    dask's own threads go on with what they have begun when a task fails or the user interrupts, and would write to what
    is then removed. So they are threads of a pool that is waited for, unless another scheduler or pool is set.
    """
    from concurrent.futures import ThreadPoolExecutor

    import dask
    from dask.callbacks import Callback

    end, stores = _graph(filling, destination, done, guarded=False)
    bar.expect(sum(stores.values()))
    client = None if _runs_on_plain_threads() or not destination.is_shared else _active_client()
    if client is not None:
        _compute_on_cluster(client, end, stores, bar)
        return

    amounts = {task.key: amount for task, amount in stores.items()}

    def advance(key: Any, *_: Any) -> None:
        if key in amounts:
            bar.advance(amounts[key])

    with Callback(posttask=advance):
        if destination.is_shared and not _runs_on_plain_threads():
            end.compute()
        elif dask.config.get("pool", None) is not None:
            end.compute(scheduler="threads")
        else:
            with ThreadPoolExecutor(filling.threads) as pool:
                end.compute(scheduler="threads", pool=pool)


def _active_client() -> Any:
    """The client of dask.distributed that computes what is not told otherwise, or None."""
    from dask.base import get_scheduler

    owner = getattr(get_scheduler(), "__self__", None)
    return owner if type(owner).__module__.partition(".")[0] == "distributed" else None


def _compute_on_cluster(client: Any, end: Delayed, stores: Mapping[Delayed, int], bar: Bar) -> None:
    """Compute on the workers of a client; the bar follows the blocks as they become whole."""
    from distributed import as_completed

    futures = client.compute([end, *stores])
    amounts = dict(zip(futures, [0, *stores.values()], strict=True))
    try:
        for future in as_completed(futures):
            if future.status != "finished":
                future.result()
            bar.advance(amounts[future])
    except BaseException:
        client.cancel(futures)
        raise


def _bytes(filling: Filling, stage: Pass, blocks: Sequence[Region]) -> int:
    return sum(written_bytes(region, stage, filling.itemsize, filling.kept) for region in blocks)
