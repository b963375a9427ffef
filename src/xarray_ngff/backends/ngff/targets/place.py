"""A place that an OME-Zarr is being written to."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from xarray_ngff.backends.ngff.stores import StoreRoot, joined

__all__ = ["JOURNAL", "Target"]

# Where what is known of an unfinished write is kept, below the group that holds its arrays.
JOURNAL = ".unfinished"


@dataclass(frozen=True)
class Target:
    """A place that is being written.

    Attributes
    ----------
    root
        Where the group is written: for a local target the hidden folder.
    prefix
        Path below it under which the arrays go, "" where nothing is in their way.
    final
        Folder that the hidden one becomes; None for a store.
    replaces
        Whether something is there that the finished group replaces.
    resume
        Whether an earlier try may be continued, and this one, where it fails.
    description
        What is written, as JSON; None where no journal is kept.
    continues
        Whether this is the place of an earlier try.
    before
        What tells the folder that is replaced from every other one.
    token
        Tells this try from all others.
    """

    root: StoreRoot
    prefix: str
    final: Path | None
    replaces: bool
    resume: bool = False
    description: str | None = None
    continues: bool = False
    before: tuple[tuple[str, int, int], ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(8))

    def array_path(self, path: str) -> str:
        """Path of an array from the group."""
        return joined(self.prefix, path)

    @property
    def journal(self) -> StoreRoot:
        """Where what is known of the unfinished write is kept."""
        return self.root.child(self.array_path(JOURNAL))
