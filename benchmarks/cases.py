"""What is measured: each case makes its data, and its contestants do the same work, the floor or peer first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import converting, opening, reading
from benchmarks.case import Case, Run, nothing
from benchmarks.formats import warmed, warmed_writer, write_small
from benchmarks.volumes import CHUNKS, SHAPE, codec, fresh, volume
from xarray_ngff.pyramid.stream import regions

# -- pyramids ---------------------------------------------------------------------------------------------------------

FACTORS = [2, 4, 8]


def prepare_volume(folder: Path) -> None:
    import zarr

    array = zarr.create_array(folder / "source.zarr", shape=SHAPE, chunks=CHUNKS, dtype="uint16", compressors=codec())
    array[...] = volume()


def source(folder: Path) -> Any:
    import dask.array

    return dask.array.from_zarr(folder / "source.zarr")


def codec_alone(folder: Path) -> Run:
    """Decode and encode every chunk of all levels once: what no writer can do without."""
    import dask
    import zarr

    array = zarr.open_array(folder / "source.zarr", mode="r")
    target = fresh(folder)

    def run() -> None:
        arrays, places = [], []
        for level in range(1 + len(FACTORS)):
            shape = [size >> level for size in SHAPE]
            arrays.append(
                zarr.create_array(f"{target}/{level}", shape=shape, chunks=CHUNKS, dtype="uint16", compressors=codec())
            )
            places += [(level, part) for part in regions(shape, CHUNKS)]

        def copy(level: int, part: tuple[slice, ...]) -> None:
            arrays[level][part] = array[part]

        dask.compute([dask.delayed(copy)(*place) for place in places])

    return run


def ours_pyramid(folder: Path) -> Run:
    import ome_zarr.writer  # noqa: F401  # writing imports it, once in a session

    import xarray_ngff

    image = xarray_ngff.as_image(source(folder), units="um")
    target = fresh(folder)
    return lambda: image.ngff.to_ome_zarr(target, factors=FACTORS, chunks=CHUNKS)


def ngff_zarr_pyramid(folder: Path) -> Run:
    import ngff_zarr

    image = ngff_zarr.to_ngff_image(source(folder), dims=["z", "y", "x"])
    target = fresh(folder)

    def run() -> None:
        multiscales = ngff_zarr.to_multiscales(
            image, scale_factors=FACTORS, chunks=128, method=ngff_zarr.Methods.ITKWASM_BIN_SHRINK
        )
        ngff_zarr.to_ngff_zarr(target, multiscales, version="0.5")

    return run


def ome_zarr_pyramid(folder: Path) -> Run:
    from ome_zarr.writer import write_image

    image = source(folder)
    target = fresh(folder)
    return lambda: write_image(
        image,
        target,
        axes="zyx",
        scale_factors=[dict.fromkeys("zyx", f) for f in FACTORS],
        storage_options={"chunks": CHUNKS, "compressors": codec()},
    )


def ours_virtual(slabs: int) -> Callable[[Path], Run]:
    """An image that is computed chunk by chunk, 128 MiB in each slab, so that only what the writer holds is held."""

    def contestant(folder: Path) -> Run:
        import dask.array
        import ome_zarr.writer  # noqa: F401

        import xarray_ngff

        chunks = ((128,) * slabs, (128,) * 8, (128,) * 4)
        flat = dask.array.zeros([sum(sizes) for sizes in chunks], chunks=chunks, dtype="uint16")
        lazy = flat.map_blocks(ramp, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
        target = fresh(folder)
        xarray_ngff.as_image(lazy[:128], units="um").ngff.to_ome_zarr(target)
        return lambda: xarray_ngff.as_image(lazy, units="um").ngff.to_ome_zarr(target, overwrite=True)

    return contestant


def ramp(block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return block + np.arange(block.shape[-1], dtype=block.dtype)


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
    "pyramid": Case(
        "512 MiB uint16 from Zarr to OME-Zarr 0.5, 4 levels, 128^3 chunks, blosc-zstd 1 with bit shuffle",
        prepare_volume,
        {
            "codec alone": codec_alone,
            "xarray-ngff": ours_pyramid,
            "ome-zarr": ome_zarr_pyramid,
            "ngff-zarr (its own codec)": ngff_zarr_pyramid,
        },
    ),
    "memory": Case(
        "write images of any size in the same memory, beyond what 128 MiB took",
        nothing,
        {"0.5 GiB": ours_virtual(4), "1 GiB": ours_virtual(8), "4 GiB": ours_virtual(32)},
    ),
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
