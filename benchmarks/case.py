"""What a benchmark is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Case", "Goal", "Run", "nothing"]

Run = Callable[[], object]


@dataclass(frozen=True)
class Goal:
    """What a contestant should stay within.

    Attributes
    ----------
    time
        Seconds as a multiple of those of the first contestant of its group.
    peak
        MiB that its process holds at most beyond what it held before.
    """

    time: float | None = None
    peak: float | None = None


@dataclass(frozen=True)
class Case:
    """Contestants that do the same work, the floor or peer first.

    A contestant is called with the folder of the data, imports what it needs, and gives back what to time. One that is
    named "group: who" is compared with the first of its group. What it writes has a name that begins with "target", is
    counted, and is removed. A contestant whose library is not installed raises `ImportError`, and is told as missing.
    `environment` is set while the case runs.
    """

    title: str
    prepare: Callable[[Path], None]
    contestants: dict[str, Callable[[Path], Run]]
    goals: Mapping[str, Goal] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def nothing(folder: Path) -> None:
    """Prepare no data."""
