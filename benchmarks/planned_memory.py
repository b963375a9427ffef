"""What `plan_pyramid` predicts that a write takes at most, and what it takes: python -m benchmarks.planned_memory.

Each write runs in a process of its own, after a small one of the same kind that imports what it needs. The data are
noise, which compresses to nothing less, so that the prediction is put to its hardest test.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.one import forget_peak, memory_mib
from benchmarks.volumes import fresh

__all__: list[str] = []

# Chunks of the files that are read, by the name of the source.
FILES = {"cubes": (128, 128, 128), "small cubes": (32, 32, 32), "large cubes": (256, 256, 256), "planes": (1, 512, 512)}

PLANES = {"chunks": {"z": 16}}
# Where the image comes from, the options of the write, and the levels that are made.
WRITES: list[tuple[str, dict[str, Any]]] = [
    *[("numpy", options) for options in ({}, {"chunks": 64}, {"chunks": 256}, {"shards": "auto"})],
    *[("numpy", options) for options in ({"memory_limit": "128 MiB"}, {"shards": 256, "chunks": 64}, PLANES)],
    *[("file of cubes", options) for options in ({}, {"chunks": 64}, {"chunks": 256}, {"shards": "auto"})],
    *[("file of cubes", options) for options in ({"memory_limit": "128 MiB"}, {"shards": 256, "chunks": 64}, PLANES)],
    *[("file of cubes", options) for options in ({"memory_limit": "256 MiB", "shards": "16 MiB"}, {"levels": 6})],
    *[(f"file of {kind}", {}) for kind in ("small cubes", "large cubes", "planes")],
    *[(f"dask of {kind}", {}) for kind in ("cubes", "small cubes", "large cubes", "planes")],
    *[("dask of cubes", options) for options in ({"chunks": 100}, {"shards": "auto"}, {"chunks": 64}, {"chunks": 256})],
    *[("dask of planes", options) for options in (PLANES, {"chunks": 64})],
]


def prepare(folder: Path, edge: int) -> None:
    """Noise of uint16, as a NumPy file and as OME-Zarr in the chunks of `FILES`; and a small one of each."""
    import xarray_ngff

    for name, size in (("", edge), ("tiny ", 32)):
        data = np.random.default_rng(0).integers(0, 2**16, (size,) * 3, dtype=np.uint16)
        np.save(folder / f"{name}numpy.npy", data)
        image = xarray_ngff.as_image(data, "zyx", spacing=(1, 1, 1), units="um")
        for kind, chunks in FILES.items():
            image.ngff.to_ome_zarr(folder / f"{name}{kind}", levels=1, chunks=chunks)


def source(folder: Path, kind: str, name: str) -> Any:
    import xarray as xr

    import xarray_ngff

    how, _, of = kind.partition(" of ")
    if how == "numpy":
        return xarray_ngff.as_image(np.load(folder / f"{name}numpy.npy"), "zyx", spacing=(1, 1, 1), units="um")
    lazy = {"chunks": {}} if how == "dask" else {}
    return xr.open_dataarray(folder / f"{name}{of}", engine="ngff", **lazy)


def one(folder: Path, kind: str, options: dict[str, Any]) -> None:
    """Print what a write takes, and what was predicted, as JSON."""
    from xarray_ngff.pyramid.writing_plan import plan_pyramid

    # another codec than the files have, or stored chunks would be copied as they are
    options = {"levels": 3} | options
    small = {key: value for key, value in options.items() if key in ("chunks", "shards")}
    if isinstance(small.get("shards"), int):
        small["chunks"] = small["shards"] = 16
    source(folder, kind, "tiny ").ngff.to_ome_zarr(fresh(folder), compressor="zstd:1", **small)
    image = source(folder, kind, "")
    plan = plan_pyramid(image, **options)
    target = fresh(folder)
    forget_peak()
    before = memory_mib("VmRSS")
    image.ngff.to_ome_zarr(target, compressor="zstd:1", **options)
    taken = {"predicted": plan.peak_bytes / 2**20, "measured": memory_mib("VmHWM") - before}
    print(json.dumps(taken | {"threads": plan.threads, "passes": len(plan.passes)}))


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1].startswith("/"):
        one(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=int, default=512, help="voxels along each axis")
    parser.add_argument("--only", default="", help="sources whose name holds this")
    parser.add_argument("--runs", type=int, default=1, help="runs of each write; the largest peak is shown")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), asked.edge)
        print("| image | options | threads | passes | predicted MiB | measured MiB | predicted / measured |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for kind, options in WRITES:
            if asked.only in kind:
                command = [sys.executable, "-m", "benchmarks.planned_memory", folder, kind, json.dumps(options)]
                runs = [_taken(command) for _ in range(asked.runs)]
                worst = max(runs, key=lambda run: run["measured"])
                shown = ", ".join(f"{key} {value}" for key, value in options.items()) or "defaults"
                print(
                    f"| {kind} | {shown} | {worst['threads']} | {worst['passes']} | {worst['predicted']:.0f} | "
                    f"{worst['measured']:.0f} | {worst['predicted'] / worst['measured']:.2f} |",
                    flush=True,
                )


def _taken(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    taken: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return taken


if __name__ == "__main__":
    main()
