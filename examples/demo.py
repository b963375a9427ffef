"""A real brain scan, from NIfTI to a multiscale OME-Zarr and back, without a voxel moving.

The scan is the oblique, left-handed, 4-D one that nibabel ships for its own tests. Run it with ``make demo``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import nibabel
import numpy as np
import xarray as xr

import xarray_ngff  # noqa: F401  # gives arrays their .ngff

mpl.use("Agg")
import matplotlib.pyplot as plt

SCAN = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
# A box around the middle of the head, in world millimetres (RAS+).
BOX = {"x": (-70, 50), "y": (0, 110), "z": (5, 60)}


def main() -> None:
    """Convert, crop, check, and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo-output"), help="folder for the results")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    store, roi, picture = out / "brain.ome.zarr", out / "roi.nii.gz", out / "slices.png"

    print(f"1. Open {SCAN.name} with xarray. Only its header is read.\n")
    scan = xr.open_dataarray(SCAN, engine="nifti")
    print(scan.ngff)

    print("\n2. Write it as a multiscale OME-Zarr 0.5, and open level 1 of that.\n")
    scan.ngff.to_ome_zarr(store, levels=3, overwrite=True)
    level1 = xr.open_dataarray(store, engine="ngff", level=1)
    print(level1.ngff)

    print(f"\n3. Crop in world millimetres, {BOX}, and write that as NIfTI.\n")
    crop = level1.ngff.crop(**BOX, space="world")
    print(crop.ngff)
    crop.ngff.to_nifti(roi, overwrite=True)

    print("\n4. Ask nibabel whether every voxel of the crop is where it was in the original.\n")
    print(check(scan, roi))

    # read back, so that its coordinates are those that NIfTI gives the scan too: RAS+
    draw(scan.isel(t=0), xr.open_dataarray(roi, engine="nifti"), picture)
    print("\nDone. Everything is in:")
    for path in (store, roi, picture):
        print(f"  {path.resolve()}")


def check(scan: xr.DataArray, roi: Path) -> str:
    """Compare voxel centres and values of the crop with the original file, by nibabel alone."""
    original, cut = nibabel.load(SCAN), nibabel.load(roi)
    voxels = np.indices(cut.shape[:3]).reshape(3, -1).T
    world = nibabel.affines.apply_affine(cut.affine, voxels)
    at = nibabel.affines.apply_affine(np.linalg.inv(original.affine), world)
    # level 1 averages 2 x 2 x 2 voxels, so its centres lie half-way between two voxels of the original
    away = np.abs(at - np.floor(at) - 0.5).max() * np.linalg.norm(original.affine[:3, 0])
    corner = np.floor(at).astype(int)
    data = np.asanyarray(original.dataobj)
    blocks = np.stack([data[tuple((corner + step).T)] for step in np.ndindex(2, 2, 2)]).astype(float)
    same = np.array_equal(np.rint(blocks.mean(axis=0)), np.asanyarray(cut.dataobj).reshape(-1, cut.shape[3]))
    if away > 1e-3 or not same:
        raise SystemExit(f"voxels moved: up to {away:g} mm, values {'equal' if same else 'differ'}")
    return (
        f"{len(voxels)} voxels: positions agree to {away:.0e} mm, values are the means of the original's 2x2x2 blocks"
    )


def draw(scan: xr.DataArray, crop: xr.DataArray, path: Path) -> None:
    """Three orthogonal slices through the middle of the crop, in millimetres along the scanner's axes."""
    middle = {dim: float(crop[dim].mean()) for dim in crop.ngff.spatial_dims}
    names = {"x": "x [mm], left to right", "y": "y [mm], back to front", "z": "z [mm], bottom to top"}
    planes = (("z", "x", "y"), ("y", "x", "z"), ("x", "y", "z"))
    widths = [np.ptp(scan.ngff.extent[across]) for _, across, _ in planes]
    shown = {"cmap": "gray", "vmin": 0, "vmax": float(scan.quantile(0.99)), "add_colorbar": False}
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.4), layout="constrained", width_ratios=widths)
    for ax, (normal, across, up) in zip(axes, planes, strict=True):
        scan.sel({normal: middle[normal]}, method="nearest").plot.imshow(x=across, y=up, ax=ax, **shown)
        (left, right), (low, high) = crop.ngff.extent[across], crop.ngff.extent[up]
        ax.add_patch(plt.Rectangle((left, low), right - left, high - low, fill=False, edgecolor="tab:orange", lw=2))
        ax.set(xlabel=names[across], ylabel=names[up], aspect="equal", title=f"{normal} = {middle[normal]:.1f} mm")
    figure.suptitle(f"{SCAN.name}, first volume, along the scanner's axes; the box is the crop")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    main()
