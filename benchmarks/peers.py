"""How each peer writes the same pyramid: by its own call, at its best, with the chunks and the codec of all others.

Each is called with the folder of the sources, the path of the target, and "mean" or "mode"; it imports what it needs
and gives back what to time. All read the same Zarr array, by dask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.case import Run
from benchmarks.volumes import CHUNKS, codec

__all__ = ["PEERS"]

FACTORS = (2, 4, 8)


def lazy(where: Path) -> Any:
    import dask.array

    return dask.array.from_zarr(where / "source.ome.zarr" / "0")


def ome_zarr(where: Path, target: str, method: str) -> Run:
    from ome_zarr.scale import Methods
    from ome_zarr.writer import write_image

    image = lazy(where)
    # it has no mode: nearest, which is less work
    chosen = Methods.RESIZE if method == "mean" else Methods.NEAREST
    return lambda: write_image(
        image,
        target,
        axes="zyx",
        scale_factors=[dict.fromkeys("zyx", factor) for factor in FACTORS],
        method=chosen,
        storage_options={"chunks": CHUNKS, "compressors": codec()},
    )


def ngff_zarr(where: Path, target: str, method: str) -> Run:
    import ngff_zarr
    from ngff_zarr import Methods

    image = ngff_zarr.to_ngff_image(lazy(where), dims=["z", "y", "x"])
    chosen = Methods.DASK_BIN_SHRINK if method == "mean" else Methods.DASK_IMAGE_MODE

    def run() -> None:
        multiscales = ngff_zarr.to_multiscales(image, scale_factors=list(FACTORS), chunks=CHUNKS[0], method=chosen)
        ngff_zarr.to_ome_zarr(target, multiscales, version="0.5", compressors=codec())

    return run


def zarrnii(where: Path, target: str, method: str) -> Run:
    import zarrnii

    # it has no mode: nearest, which is less work
    chosen = "local_mean" if method == "mean" else "nearest"
    image = zarrnii.ZarrNii.from_darr(lazy(where)[None])
    return lambda: image.to_ome_zarr(
        target,
        max_layer=1 + len(FACTORS),
        scale_factors=[dict.fromkeys("zyx", factor) for factor in FACTORS],
        scaling_method=chosen,
        storage_options={"chunks": (1, *CHUNKS), "compressors": codec()},
    )


def ngio(where: Path, target: str, method: str) -> Run:
    import ngio

    image = lazy(where)
    order = "linear" if method == "mean" else "nearest"  # linear at half of the size is the mean of 2 x 2 x 2

    def run() -> None:
        container = ngio.create_empty_ome_zarr(
            target,
            shape=image.shape,
            pixelsize=1.0,
            scaling_factors=(2.0, 2.0, 2.0),
            levels=1 + len(FACTORS),
            axes_names=("z", "y", "x"),
            chunks=CHUNKS,
            dtype=str(image.dtype),
            ngff_version="0.5",
            compressors=codec(),
        )
        finest = container.get_image()
        finest.set_array(image)
        finest.consolidate(order=order, mode="dask")

    return run


def iohub(where: Path, target: str, method: str) -> Run:
    """Its axes are t, c, z, y, x; its codec, blosc-zstd 1 with bit shuffle, cannot be chosen."""
    import dask.array
    from iohub.ngff import TransformationMeta, open_ome_zarr

    image = lazy(where)[None, None]

    def run() -> None:
        with open_ome_zarr(target, layout="fov", mode="w-", channel_names=["image"], version="0.5") as position:
            for level, factor in enumerate((1, *FACTORS)):
                shape = (1, 1, *(-(-size // factor) for size in image.shape[2:]))
                scale = TransformationMeta(type="scale", scale=[1, 1, factor, factor, factor])
                position.create_zeros(str(level), shape, image.dtype, chunks=(1, 1, *CHUNKS), transform=[scale])
            dask.array.store(image, position["0"], lock=False)
            position.compute_pyramid(method=method)

    return run


PEERS = {
    "ome-zarr": ome_zarr,
    "ngff-zarr": ngff_zarr,
    "zarrnii": zarrnii,
    "ngio": ngio,
    "iohub (its own codec)": iohub,
}
