"""Run every case, each contestant in a process of its own, and print ratios to the first one, the floor or peer.

A contestant "group: who" is compared with the first of its group. Peers that are not installed are told as missing; the
extra ``bench`` has them (``pip install -e '.[bench]'``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.case import Goal
from benchmarks.cases import CASES

Result = dict[str, float]

# column: (key of the result, how a value is shown); with each its ratio to that of the first contestant
_COLUMNS = {
    "seconds": ("seconds", "{:.3g}"),
    "CPU seconds": ("cpu", "{:.3g}"),
    "peak MiB": ("peak", "{:.0f}"),
    "added MiB": ("added", "{:.0f}"),
    "MiB written": ("bytes", "{:.0f}"),
    "files": ("files", "{:.0f}"),
}

# Modules that print tables of their own; all but the first are left out unless they are named.
TABLES = ("kernels", "compression", "planned_memory")


class ContestantError(Exception):
    """A contestant that stopped with an error."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "cases", nargs="*", help=f"default: {', '.join([*CASES, TABLES[0]])}; or {', '.join(TABLES[1:])}"
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each contestant; the fastest is shown")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the data that is used, for a quick look")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="contestants whose name has this in it")
    parser.add_argument("--folder", help="where the data is made, and removed; default: where temporary files go")
    options = parser.parse_args()
    os.environ["BENCHMARK_SCALE"] = str(options.scale)
    failures = 0
    for name in options.cases or [*CASES, *TABLES[:1]]:
        if name in TABLES:
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
            continue
        case = CASES[name]
        os.environ |= case.environment
        print(f"\n## {name}: {case.title}\n")
        print(f"| contestant | {' | '.join(_COLUMNS)} | goal |")
        print(f"|---{'|---' * len(_COLUMNS)}|---|", flush=True)
        floors = {_group(contestant): contestant for contestant in reversed(case.contestants)}
        chosen = [who for who in case.contestants if any(text in who for text in options.only)]
        chosen = [who for who in case.contestants if who in chosen or who in {floors[_group(c)] for c in chosen}]
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            subprocess.run(_command(name, "prepare", folder), check=True)
            results = _taken_in_turns(name, chosen, folder, options.runs)
        for variable in case.environment:
            del os.environ[variable]
        for contestant, result in results.items():
            floor = results[floors[_group(contestant)]]
            if isinstance(result, str):
                cells = [result, *[""] * len(_COLUMNS)]
                failures += result.startswith("failed")
            else:
                goal = case.goals.get(contestant, Goal())
                cells = [_cell(result, floor, *column) for column in _COLUMNS.values()]
                cells.append(_verdict(result, floor, goal))
            print(f"| {contestant} | {' | '.join(cells)} |", flush=True)
    return min(failures, 1)


def _taken_in_turns(case: str, contestants: Sequence[str], folder: str, runs: int) -> dict[str, Result | str]:
    """What each contestant took, or why there is nothing; they take turns, so that a slow moment slows all of them."""
    taken: dict[str, list[Result]] = {contestant: [] for contestant in contestants}
    without: dict[str, str] = {}
    for turn in range(runs):
        for contestant in contestants:
            if contestant in without:
                continue
            print(f"\r\033[K{case}, run {turn + 1} of {runs}: {contestant}", end="", file=sys.stderr, flush=True)
            try:
                result = _measured(_command(case, contestant, folder))
            except ContestantError as error:
                without[contestant] = f"failed: {error}"
                continue
            if "missing" in result:
                without[contestant] = f"not installed ({result['missing']})"
            else:
                taken[contestant].append(result)
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    return {
        contestant: without[contestant]
        if contestant in without
        else {key: _summary(key, [run[key] for run in results]) for key in results[0]}
        for contestant, results in taken.items()
    }


def _summary(key: str, values: Sequence[float]) -> float:
    """The least of what takes time, as whatever else the machine does only adds to it; of other things the median."""
    return min(values) if key in ("seconds", "cpu") else statistics.median(values)


def _command(case: str, contestant: str, folder: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.one", case, contestant, folder]


def _measured(command: list[str]) -> Result:
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path.cwd())
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ContestantError(last[:120].replace("|", "/"))
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def _group(contestant: str) -> str:
    return contestant.partition(": ")[0] if ": " in contestant else ""


def _cell(result: Result, floor: Result | str, key: str, form: str) -> str:
    value = result[key] / 2**20 if key == "bytes" else result[key]
    if not value:
        return ""
    ratio = "" if isinstance(floor, str) or not floor[key] else f" ({result[key] / floor[key]:.2f})"
    return form.format(value) + ratio


def _verdict(result: Result, floor: Result | str, goal: Goal) -> str:
    """The goals, and whether they were met."""
    found = []
    if goal.time is not None and not isinstance(floor, str):
        met = result["seconds"] <= goal.time * floor["seconds"]
        found.append(f"time ≤ {goal.time} × {'met' if met else '**missed**'}")
    if goal.peak is not None:
        found.append(f"added ≤ {goal.peak:.0f} MiB {'met' if result['added'] <= goal.peak else '**missed**'}")
    return ", ".join(found)


if __name__ == "__main__":
    sys.exit(main())
