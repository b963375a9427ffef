"""What a benchmark is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Case", "Run", "nothing"]

Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Contestants that do the same work, the floor or peer first.

    A contestant is called with the folder of the data, imports what it needs, and gives back what to time. One that is
    named "group: who" is compared with the first of its group.
    """

    title: str
    prepare: Callable[[Path], None]
    contestants: dict[str, Callable[[Path], Run]]


def nothing(folder: Path) -> None:
    """Prepare no data."""
