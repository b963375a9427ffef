"""Run one contestant of one case and print what it took, as JSON. Imports are not part of it."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.cases import CASES


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    name, contestant, folder = sys.argv[1:]
    case = CASES[name]
    if contestant == "prepare":
        case.prepare(Path(folder))
        return
    run = case.contestants[contestant](Path(folder))
    before, wall, cpu = peak_mib(), time.perf_counter(), time.process_time()
    run()
    taken = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": peak_mib() - before}
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
