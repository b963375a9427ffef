"""What is known of an unfinished write: what it is to become, whose it is, and which blocks are whole.

It is kept below the group that holds the arrays, until that is published:

=================  =====================================================================================
``begun``          JSON: when it was begun, and the description of what is written
``holder``         token of the try that writes: who finds another one there has been overtaken
``done/B/L/R``     an empty key for each whole block: R is its region of the finest of the levels L that
                   were made from it, so a block of another size or with other levels is another block
=================  =====================================================================================

B is the run of the machine that noted the block. A process that is killed loses nothing that it wrote, but a machine
that goes down loses what its disks did not have yet. So of what another run noted in a folder, the last two minutes do
not count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xarray_ngff.backends.ngff.stores import StoreRoot, joined, read_documents
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec, array_documents
from xarray_ngff.backends.ngff.targets.place import Target
from xarray_ngff.backends.ngff.targets.store_changes import encoded, forget_listings, put

__all__ = [
    "Beginning",
    "BlockJournal",
    "beginning",
    "described",
    "first_difference",
    "holder",
    "journal_of",
    "note_begun",
]

_VERSION = 1

# Linux hands what was written to the disk after half a minute, and disks need some time.
_UNSAFE_SECONDS = 120.0


def described(specs: Sequence[ArraySpec], attributes: Mapping[str, Any], *, zarr_format: int, method: str) -> str:
    """Description of what is written, as JSON: two writes with equal ones differ in the voxels of level 0 at most.

    Parameters
    ----------
    specs
        The arrays of all levels.
    attributes
        Those of the group, with the paths of `specs`.
    zarr_format
        2 or 3.
    method
        Block statistic of the levels.
    """
    arrays = {
        spec.path: {key: json.loads(content) for key, content in array_documents(spec, zarr_format=zarr_format).items()}
        for spec in specs
    }
    dims = list(specs[0].dims)
    said = {"journal": _VERSION, "dims": dims, "method": method, "arrays": arrays, "attributes": attributes}
    return encoded(said).decode()


def first_difference(there: Any, here: Any, place: str = "description") -> tuple[str, Any, Any] | None:
    """Where two JSON values differ first, and what each has; None where they are equal.

    Examples
    --------
    >>> first_difference({"dims": ["y", "x"], "n": 1}, {"dims": ["z", "x"], "n": 2})
    ('dims[0]', 'y', 'z')
    """
    if isinstance(there, dict) and isinstance(here, dict):
        inner = "" if place == "description" else f"{place}."
        pairs = [(f"{inner}{key}", there.get(key), here.get(key)) for key in {**there, **here}]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        pairs = [(f"{place}[{index}]", *values) for index, values in enumerate(zip(there, here, strict=True))]
    else:
        return None if there == here and type(there) is type(here) else (place, there, here)
    found = (first_difference(one, other, name) for name, one, other in pairs)
    return next((difference for difference in found if difference is not None), None)


@dataclass(frozen=True)
class Beginning:
    """When an unfinished write was begun, in seconds since 1970, and the description of what it writes."""

    started: float
    description: str


def beginning(journal: StoreRoot) -> Beginning | None:
    """Beginning of the unfinished write that keeps a journal; None where there is none, or none that can be read."""
    content = read_documents(journal, ["begun"])["begun"]
    try:
        said = json.loads(content) if content is not None else None
        return None if said is None else Beginning(float(said["started"]), encoded(said["description"]).decode())
    except (ValueError, TypeError, KeyError):
        # killed while it was written, and nothing else was
        return None


def holder(journal: StoreRoot) -> str | None:
    """Token of the try that writes; None where there is none."""
    content = read_documents(journal, ["holder"])["holder"]
    return None if content is None else content.decode(errors="replace")


def note_begun(target: Target) -> None:
    """Note that all arrays of a target are there, and that it is this try that writes."""
    put(target.journal, "holder", target.token.encode())
    if not target.continues and target.description is not None:
        description = json.loads(target.description)
        put(target.journal, "begun", encoded({"started": time.time(), "description": description}))


def journal_of(target: Target, levels: Sequence[Sequence[int]]) -> BlockJournal | None:
    """Journal of the blocks of a target, for `xarray_ngff.pyramid.stream.Filling`; None where none is kept.

    Parameters
    ----------
    target
        What `xarray_ngff.backends.ngff.targets.target.begin` gave.
    levels
        The levels that each pass writes.
    """
    if target.description is None:
        return None
    return BlockJournal(target.journal, tuple(map(tuple, levels)), target.continues)


@dataclass(frozen=True)
class BlockJournal:
    """Which blocks are whole; it pickles, and any process that can write to the arrays can note blocks.

    Attributes
    ----------
    root
        Where it is kept.
    levels
        The levels that each pass writes.
    continues
        Whether blocks of an earlier try count.
    """

    root: StoreRoot
    levels: tuple[tuple[int, ...], ...]
    continues: bool

    def done(self) -> frozenset[str]:
        """Keys of the blocks that are whole."""
        if not self.continues:
            return frozenset()
        first = {"+".join(map(str, levels)): levels[0] for levels in self.levels}
        parts = [name.split("/") for name in _noted(self.root)]
        return frozenset(f"{first[levels]}/{region}" for levels, region in parts if levels in first)

    def record(self, key: str) -> None:
        """Note that a block is whole."""
        level, _, region = key.partition("/")
        levels = next(levels for levels in self.levels if levels[0] == int(level))
        put(self.root, f"done/{_run_of_machine()}/{'+'.join(map(str, levels))}/{region}", b"")


def _noted(journal: StoreRoot) -> Iterator[str]:
    """Names of the blocks that count, each after the levels that were made from it."""
    from zarr.core.sync import sync
    from zarr.storage import LocalStore

    if type(journal.store) is LocalStore:
        yield from _noted_in_folder(Path(journal.store.root) / journal.path / "done")
        return
    start = joined(journal.path, "done") + "/"

    async def keys() -> list[str]:
        return [key async for key in journal.store.list_prefix(start)]

    forget_listings(journal)
    for key in sync(keys()):
        # some stores count from the prefix, some from their top
        _, _, name = key.removeprefix(start).partition("/")
        if name.count("/") == 1:
            yield name


def _noted_in_folder(folder: Path) -> Iterator[str]:
    for run in folder.glob("*"):
        noted = {path: path.stat().st_mtime for path in run.glob("*/*")}
        limit = float("inf") if run.name == _run_of_machine() else max(noted.values(), default=0.0) - _UNSAFE_SECONDS
        yield from (f"{path.parent.name}/{path.name}" for path, when in noted.items() if when <= limit)


def _run_of_machine() -> str:
    """What tells the time since this machine was started from every other, where the system says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() or "run"
    except OSError:
        return "run"
