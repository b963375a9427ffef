"""What is measured: each case makes its data, and its contestants do the same work, the floor or peer first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import converting, opening, reading, writing
from benchmarks.case import Case, Run, nothing
from benchmarks.formats import warmed, warmed_writer, write_small
from benchmarks.volumes import CHUNKS, SHAPE, codec, fresh, volume

# -- plates -----------------------------------------------------------------------------------------------------------

ROWS, COLUMNS, FIELDS, LEVELS = 16, 24, 4, 3


def prepare_plate(folder: Path) -> None:
    """A 384-well plate with 4 fields of 3 levels, metadata only, of Zarr v3."""
    import zarr

    template = zarr.create_array(
        zarr.storage.MemoryStore(), shape=(3, 1, 1), chunks=(1, 1, 1), dtype="uint16", dimension_names=("c", "y", "x")
    ).metadata.to_dict()
    plate = folder / "plate.ome.zarr"
    rows, columns = [chr(65 + i) for i in range(ROWS)], [str(i + 1) for i in range(COLUMNS)]
    wells = [
        {"path": f"{r}/{c}", "rowIndex": i, "columnIndex": j} for i, r in enumerate(rows) for j, c in enumerate(columns)
    ]
    named = {"rows": [{"name": r} for r in rows], "columns": [{"name": c} for c in columns]}
    _group(plate, {"plate": {**named, "wells": wells, "name": "plate"}})
    for well in wells:
        _group(plate / well["path"], {"well": {"images": [{"path": str(field)} for field in range(FIELDS)]}})
        for field in range(FIELDS):
            path = plate / well["path"] / str(field)
            _group(path, _field_metadata())
            for level in range(LEVELS):
                shape = {"shape": (3, 2048 >> level, 2048 >> level)}
                grid = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": (1, 1024, 1024)}}}
                (path / str(level)).mkdir()
                (path / str(level) / "zarr.json").write_text(json.dumps({**template, **shape, **grid}))


def _group(path: Path, ome: dict[str, Any]) -> None:
    path.mkdir(parents=True)
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **ome}}}
    (path / "zarr.json").write_text(json.dumps(document))


def _field_metadata() -> dict[str, Any]:
    axes = [{"name": "c", "type": "channel"}, *({"name": d, "type": "space", "unit": "micrometer"} for d in "yx")]
    datasets = []
    for level in range(LEVELS):
        size, shift = 0.5 * 2**level, 0.25 * (2**level - 1)
        steps = [{"type": "scale", "scale": [1, size, size]}, {"type": "translation", "translation": [0, shift, shift]}]
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    window = {"min": 0, "max": 65535, "start": 0, "end": 4000}
    channels = [{"label": name, "color": "00FF00", "window": window} for name in ("DAPI", "GFP", "RFP")]
    return {"multiscales": [{"name": "field", "axes": axes, "datasets": datasets}], "omero": {"channels": channels}}


def xarray_alone(folder: Path) -> Run:
    """What xarray needs for a tree of as many datasets with the same coordinates, from an engine that reads nothing."""
    import xarray as xr
    from xarray.backends import BackendEntrypoint

    from xarray_ngff.backends.ngff.entrypoint import NgffEntrypoint

    groups = NgffEntrypoint().open_groups_as_dict(folder / "plate.ome.zarr")
    parts = {
        path: ({"image": ds["image"].variable}, {name: coord.variable for name, coord in ds.coords.items()})
        for path, ds in groups.items()
    }

    class Nothing(BackendEntrypoint):
        supports_groups = True

        def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
            return xr.DataTree.from_dict({path: xr.Dataset(data, coords) for path, (data, coords) in parts.items()})

    return lambda: xr.open_datatree("", engine=Nothing)


def ours_plate(folder: Path) -> Run:
    import xarray as xr

    import xarray_ngff  # noqa: F401

    return lambda: xr.open_datatree(folder / "plate.ome.zarr", engine="ngff", create_default_indexes=False)


def ours_plate_default(folder: Path) -> Run:
    import xarray as xr

    import xarray_ngff  # noqa: F401

    return lambda: xr.open_datatree(folder / "plate.ome.zarr", engine="ngff")


# -- NIfTI ------------------------------------------------------------------------------------------------------------


def prepare_nifti(folder: Path) -> None:
    import nibabel

    write_small(folder)
    image = nibabel.Nifti1Image(volume().T, np.diag([0.5, 0.5, 1, 1]))
    nibabel.save(image, folder / "scan.nii")


def slab_loop(folder: Path) -> Run:
    """NIfTI to one level of Zarr, written by hand: slabs of whole chunks from nibabel's memory map."""
    import nibabel
    import zarr

    target = fresh(folder)

    def run() -> None:
        data = nibabel.load(folder / "scan.nii").dataobj
        array = zarr.create_array(target, shape=SHAPE, chunks=CHUNKS, dtype="uint16", compressors=codec())
        for start in range(0, SHAPE[0], CHUNKS[0]):
            array[start : start + CHUNKS[0]] = np.asarray(data[..., start : start + CHUNKS[0]]).T

    return run


def ours_nifti(folder: Path) -> Run:
    return _ours_nifti(folder, levels=1)


def ours_nifti_pyramid(folder: Path) -> Run:
    return _ours_nifti(folder, levels=4)


def _ours_nifti(folder: Path, *, levels: int) -> Run:
    import xarray as xr

    warmed(folder, "nifti")
    warmed_writer(folder, "ngff")
    target = fresh(folder)
    return lambda: xr.open_dataarray(folder / "scan.nii", engine="nifti").ngff.to_ome_zarr(
        target, levels=levels, chunks=CHUNKS
    )


# -- import -----------------------------------------------------------------------------------------------------------


def import_of(module: str) -> Callable[[Path], Run]:
    """Start Python and import a module, in a process of its own."""
    return lambda folder: lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


CASES = {
    **writing.CASES,
    "plate": Case(
        f"open {ROWS * COLUMNS} wells x {FIELDS} fields x {LEVELS} levels as a tree",
        prepare_plate,
        {
            "xarray alone, nothing is read": xarray_alone,
            "xarray-ngff": ours_plate_default,
            "xarray-ngff, create_default_indexes=False": ours_plate,
        },
    ),
    "nifti": Case(
        "512 MiB uint16 from NIfTI to OME-Zarr 0.5",
        prepare_nifti,
        {
            "nibabel and zarr by hand, 1 level": slab_loop,
            "xarray-ngff, 1 level": ours_nifti,
            "xarray-ngff, 4 levels": ours_nifti_pyramid,
        },
    ),
    "import": Case(
        "import, in a new process", nothing, {"xarray": import_of("xarray"), "xarray-ngff": import_of("xarray_ngff")}
    ),
    "read": reading.CASE,
    "open": opening.CASE,
    "convert": converting.CASE,
}
