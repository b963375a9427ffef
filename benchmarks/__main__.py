"""Run every case, each contestant in a process of its own, and print ratios to the first one, the floor or peer.

A contestant "group: who" is compared with the first of its group.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.cases import CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"default: all of {', '.join(CASES)}")
    parser.add_argument("--runs", type=int, default=3, help="runs of each contestant; the medians are shown")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="part of the data of read, open and convert, for a quick look"
    )
    options = parser.parse_args()
    os.environ["BENCHMARK_SCALE"] = str(options.scale)
    for name in options.cases or CASES:
        case = CASES[name]
        print(f"\n## {name}: {case.title}\n")
        print("| contestant | seconds | CPU seconds | added peak MiB | time ratio |")
        print("|---|---|---|---|---|", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(_command(name, "prepare", folder), check=True)
            # contestants take turns, so that a machine that slows down slows all of them
            results: dict[str, list[dict[str, float]]] = {contestant: [] for contestant in case.contestants}
            for _ in range(options.runs):
                for contestant in case.contestants:
                    results[contestant].append(_measured(_command(name, contestant, folder)))
        floors: dict[str, float] = {}
        for contestant, runs in results.items():
            median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            group = contestant.partition(": ")[0] if ": " in contestant else ""
            floor = floors.setdefault(group, median["seconds"])
            digits = 2 if median["seconds"] >= 1 else 3
            taken = " | ".join(f"{median[key]:.{digits}f}" for key in ("seconds", "cpu"))
            print(f"| {contestant} | {taken} | {median['peak']:.0f} | {median['seconds'] / floor:.2f} |", flush=True)


def _command(case: str, contestant: str, folder: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.one", case, contestant, folder]


def _measured(command: list[str]) -> dict[str, float]:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment, cwd=Path.cwd())
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
