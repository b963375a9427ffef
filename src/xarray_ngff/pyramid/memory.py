"""How much memory a write may take: what the user says, or a part of what is free."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from numbers import Integral
from pathlib import Path

from xarray_ngff.errors import MemoryLimitError

__all__ = ["available_bytes", "byte_count", "bytes_text", "memory_bytes"]

#: Part of the free memory that a write takes where no limit is given.
_DEFAULT_PART = 4
#: What counts as available where the system tells nothing.
_UNKNOWN = 4 * 2**30

_UNITS = {"b": 1} | {
    f"{prefix}{kind}": base**power
    for power, prefix in enumerate("kmgt", start=1)
    for kind, base in (("b", 1000), ("ib", 1024))
}
_AMOUNT = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]+)\s*", re.IGNORECASE | re.ASCII)

# File of the limit, file of what is used, and the key in memory.stat of the file pages that can be dropped, by the name
# of the controller that /proc/self/cgroup gives: "" for version 2, "memory" for version 1.
_CGROUPS = {
    "": ("", "memory.max", "memory.current", "inactive_file"),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def memory_bytes(limit: int | str | None) -> int:
    """Bytes that a write may take beyond what the process holds already.

    Parameters
    ----------
    limit
        Number of bytes, or text such as ``"2 GiB"`` or ``"500 MB"``. Default: a quarter of `available_bytes`.

    Raises
    ------
    MemoryLimitError
        Where it is neither, or not above zero.

    Examples
    --------
    >>> memory_bytes("1.5 KiB"), memory_bytes(4096)
    (1536, 4096)
    """
    if limit is None:
        return available_bytes() // _DEFAULT_PART
    if isinstance(limit, str):
        count = byte_count(limit)
    else:
        count = int(limit) if isinstance(limit, Integral) and not isinstance(limit, bool) else None
    if count is None or count < 1:
        raise MemoryLimitError(
            f'memory_limit is {limit!r}: expected a number of bytes above zero, or text such as "2 GiB" or "500 MB"'
        )
    return count


def byte_count(text: str) -> int | None:
    """Bytes that a text such as "64 MiB" means, None where it means no number of bytes.

    Units are B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024), in any case.

    Examples
    --------
    >>> byte_count("64 MiB"), byte_count("1.5kb"), byte_count("2 um")
    (67108864, 1500, None)
    """
    found = _AMOUNT.fullmatch(text)
    if found is None or found[2].lower() not in _UNITS:
        return None
    return int(float(found[1]) * _UNITS[found[2].lower()])


def bytes_text(count: int) -> str:
    """Bytes for people to read.

    Examples
    --------
    >>> bytes_text(900), bytes_text(64 * 2**20), bytes_text(1500 * 2**20)
    ('900 B', '64 MiB', '1.46 GiB')
    """
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 999.5 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.3g} {unit}" if value < 999.5 else f"{value:.0f} {unit}"


def available_bytes() -> int:
    """Bytes of memory that can be taken without swapping.

    On Linux what the kernel calls available, or what the limits of the control groups (version 1 or 2) that the process
    is in leave of it: a container, or a batch system's job. On Windows the free physical memory. Elsewhere half of the
    physical memory, as those systems do not tell what is free without further packages; 4 GiB where not even that is
    told.
    """
    free = _linux_available(Path("/proc/meminfo"))
    if free is None:
        return _windows_available() if os.name == "nt" else _half_of_physical()
    return max(min([free, *_left_by_cgroups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]), 0)


def _linux_available(meminfo: Path) -> int | None:
    """What the kernel says can be taken; None where there is no such kernel."""
    for line in _text(meminfo).splitlines():
        key, _, value = line.partition(":")
        if key == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None


def _left_by_cgroups(membership: Path, mount: Path) -> Iterator[int]:
    """Bytes that the limit of each control group above the process leaves, where it has one."""
    for line in _text(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in set(controllers.split(",")) & set(_CGROUPS):
            folder, limit, used, droppable = _CGROUPS[controller]
            parts = [part for part in path.split("/") if part]
            # in a container the mount is the group itself, whatever its path on the host
            for depth in range(len(parts) + 1):
                group = mount.joinpath(folder, *parts[:depth])
                most, now = _text(group / limit).strip(), _text(group / used).strip()
                if most.isdigit() and now.isdigit():
                    yield int(most) - max(int(now) - _statistic(group / "memory.stat", droppable), 0)


def _statistic(file: Path, key: str) -> int:
    values = dict(line.split(maxsplit=1) for line in _text(file).splitlines())
    return int(values.get(key, "0"))


def _text(file: Path) -> str:
    """Content of a file of the kernel, empty where there is none."""
    try:
        return file.read_text()
    except OSError:
        return ""


def _windows_available() -> int:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)]
            + [(name, ctypes.c_ulonglong) for name in ("total", "available")]
            + [(f"other{index}", ctypes.c_ulonglong) for index in range(5)]
        )

    status = Status()
    status.length = ctypes.sizeof(Status)
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.available)


def _half_of_physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (ValueError, OSError, AttributeError):
        return _UNKNOWN
