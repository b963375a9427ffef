"""Run one contestant of one case and print what it took, as JSON. Imports are not part of it."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases import CASES

_STATUS = Path("/proc/self/status")


def memory_mib(key: str) -> float:
    """What the process holds (VmRSS), or the most that it held (VmHWM); of the latter only, where there is no /proc."""
    if _STATUS.exists():
        found = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{key}:"))
        return int(found.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def forget_peak() -> None:
    """Start the peak anew, where the system can, so that what the data took to make is not part of it."""
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def written(folder: Path) -> Iterator[Path]:
    for target in folder.glob("target*"):
        yield from [target] if target.is_file() else (path for path in target.rglob("*") if path.is_file())


def main() -> None:
    name, contestant, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    case = CASES[name]
    if contestant == "prepare":
        case.prepare(folder)
        return
    try:
        run = case.contestants[contestant](folder)
    except ImportError as error:
        print(json.dumps({"missing": str(error.name or error)}))
        return
    forget_peak()
    before, wall, cpu = memory_mib("VmRSS"), time.perf_counter(), time.process_time()
    result = run()
    taken = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": memory_mib("VmHWM")}
    del result
    sizes = [path.stat().st_size for path in written(folder)]
    print(json.dumps(taken | {"added": taken["peak"] - before, "bytes": sum(sizes), "files": len(sizes)}))
    for target in folder.glob("target*"):
        shutil.rmtree(target) if target.is_dir() else target.unlink()


if __name__ == "__main__":
    main()
