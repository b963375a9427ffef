"""Draw ``geometry.png``: where voxels are in the world, and where those of a pyramid are.

Run ``python docs/pictures/draw_geometry.py``. Every position in the picture is one that the package computed.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from xarray_ngff import as_image

mpl.use("Agg")
import matplotlib.pyplot as plt

PICTURE = Path(__file__).with_name("geometry.png")
TEXT = 10.5
BLUE, ORANGE, GREEN, GREY = "#1f5fa8", "#d9660a", "#2a7d4f", "0.35"
ARROW = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "lw": 1.8}
RULER = {"arrowstyle": "<->", "shrinkA": 0, "shrinkB": 0, "lw": 1.4, "color": GREEN}


def main() -> None:
    """Draw both halves and save them."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13.5, 5.8), layout="constrained", width_ratios=(1.2, 1))
    draw_world(left)
    draw_levels(right)
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})
    plt.close(figure)
    print(f"{PICTURE} ({PICTURE.stat().st_size / 1024:.0f} KiB)")


# -- left: one oblique image in the world -----------------------------------------------------------------------------


def oblique_image() -> xr.DataArray:
    """5 x 7 voxels of 1.5 x 2 mm, turned by 20 degrees."""
    angle = np.deg2rad(20)
    affine = np.eye(3)
    affine[:2, 0] = 2.0 * np.array([np.cos(angle), np.sin(angle)])
    affine[:2, 1] = 1.5 * np.array([-np.sin(angle), np.cos(angle)])
    affine[:2, 2] = 5.2, 3.9
    return as_image(np.zeros((5, 7)), "yx", affine=affine, units="mm")


def centres(img: xr.DataArray) -> np.ndarray:
    """World points of all voxel centres, (n, 2)."""
    rows, columns = np.indices(img.shape)
    return img.ngff.index_to_world(np.stack([columns.ravel(), rows.ravel()], axis=-1))


def outline(img: xr.DataArray) -> np.ndarray:
    """World points of the outer corners, in drawing order."""
    right, top = img.sizes["x"] - 0.5, img.sizes["y"] - 0.5
    return img.ngff.index_to_world([(-0.5, -0.5), (right, -0.5), (right, top), (-0.5, top)])


def draw_world(ax: Axes) -> None:
    img = oblique_image()
    box = {"x": (6.3, 12.6), "y": (8.2, 11.9)}
    crop = img.ngff.crop(**box, space="world")
    width, height = img.sizes["x"], img.sizes["y"]

    for edge in np.arange(width + 1) - 0.5:
        ax.plot(*img.ngff.index_to_world([(edge, -0.5), (edge, height - 0.5)]).T, color=BLUE, lw=0.6, alpha=0.5)
    for edge in np.arange(height + 1) - 0.5:
        ax.plot(*img.ngff.index_to_world([(-0.5, edge), (width - 0.5, edge)]).T, color=BLUE, lw=0.6, alpha=0.5)
    ax.add_patch(plt.Polygon(outline(img), fill=False, ec=BLUE, lw=2.2))

    ax.add_patch(plt.Polygon(outline(crop), fc=ORANGE, alpha=0.2, lw=0))
    ax.add_patch(plt.Polygon(outline(crop), fill=False, ec=ORANGE, lw=2))
    (x0, x1), (y0, y1) = box["x"], box["y"]
    ax.add_patch(plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=ORANGE, lw=2, ls=(0, (4, 2))))
    points = centres(img)
    inside = ((points >= (x0, y0)) & (points < (x1, y1))).all(axis=1)
    ax.plot(*points[~inside].T, "o", color=BLUE, ms=4.5)
    ax.plot(*points[inside].T, "o", color=ORANGE, ms=6.5)

    # the formula: along direction(x) by the coordinate x, then along direction(y) by the coordinate y
    origin = img.ngff.origin
    along = {dim: np.array(img[dim].attrs["direction"][:2]) for dim in "xy"}
    corner = along["x"] * origin["x"]
    voxel = img.ngff.index_to_world([0, 0])
    ax.annotate("", corner, (0, 0), arrowprops=ARROW | {"color": "black"})
    ax.annotate("", voxel, corner, arrowprops=ARROW | {"color": "black"})
    ax.plot(0, 0, "k+", ms=13, mew=1.8)
    ax.plot(*voxel, "o", color="black", ms=7)
    turn = {"rotation": 20, "rotation_mode": "anchor", "ha": "center", "va": "top"}
    note(ax, corner * 0.55 + (0.1, -0.25), f"x = {origin['x']:.1f} mm", **turn)
    note(ax, corner + np.array([0.3, 0]), f"y = {origin['y']:.1f} mm")
    note(ax, (0.2, -0.35), "world zero", va="top")
    ax.annotate("voxel (0, 0)", voxel, (0.2, 3.9), ha="left", va="center", arrowprops=thin("black"))

    for ends, place, name, placed in (
        ([(0.7, -0.9), (width - 1, -0.9)], (width / 2 + 0.5, -1.1), "index i$_x$", turn),
        (
            [(-0.85, 0), (-0.85, height - 1)],
            (-1.0, height / 2),
            "index i$_y$",
            turn | {"rotation": 110, "va": "bottom"},
        ),
    ):
        start, end = img.ngff.index_to_world(ends)
        ax.annotate("", end, start, arrowprops=ARROW | {"color": BLUE})
        note(ax, img.ngff.index_to_world(place), name, color=BLUE, **placed)

    step = img.ngff.spacing
    top, side = height - 0.1, width - 0.15
    for ends, place, text, placed in (
        ([(5, top), (6, top)], (5.4, top + 0.2), f"spacing x {step['x']:g} mm", turn | {"va": "bottom"}),
        ([(side, 2), (side, 3)], (side + 0.2, 2.5), f"spacing y\n{step['y']:g} mm", {"va": "center"}),
    ):
        start, end = img.ngff.index_to_world(ends)
        ax.annotate("", end, start, arrowprops=RULER)
        note(ax, img.ngff.index_to_world(place), text, color=GREEN, **placed)

    said = {"ha": "left", "fontsize": TEXT, "annotation_clip": False}
    edge = img.ngff.index_to_world([width - 0.5, -0.2])
    ax.annotate(
        "extent: the outer edges, half\na voxel beyond the centres",
        *(edge, (13.6, 4.4)), color=BLUE, va="top", arrowprops=thin(BLUE), **said,
    )  # fmt: skip
    ax.annotate(
        "crop in world space: the dashed box\n"
        "gives the filled voxels, the\n"
        "smallest index box that covers it",
        *((x0, y1), (-0.5, 13.4)), color=ORANGE, va="bottom", arrowprops=thin(ORANGE), **said,
    )  # fmt: skip

    ax.set(xlabel="world x [mm]", ylabel="world y [mm]", aspect="equal", xlim=(-1, 21.5), ylim=(-1.2, 15.8))
    ax.set_title("One oblique image:  world = direction(x) · x + direction(y) · y", fontsize=13)
    ax.spines[["top", "right"]].set_visible(False)


# -- right: three levels of a pyramid ---------------------------------------------------------------------------------


def draw_levels(ax: Axes) -> None:
    img = as_image(np.zeros(7), "x", spacing=[0.5], units="um")
    levels = img.ngff.to_multiscale(factors=[2, 4]).ngff.levels
    low, high = img.ngff.extent["x"]
    rows = [-1.25 * index for index in range(len(levels))]
    for edge in (low, high):
        ax.plot([edge, edge], [0.75, rows[-1] - 0.75], color=GREY, lw=1, ls=":", zorder=0)
    for row, level, shade in zip(rows, levels, ("#d7e5f5", "#b4cfee", "#8db6e4"), strict=True):
        step = level.ngff.spacing["x"]
        end = level.ngff.extent["x"][1]
        ax.add_patch(plt.Rectangle((low, row - 0.28), high - low, 0.56, fc=shade, lw=0))
        if end > high:
            ax.add_patch(plt.Rectangle((high, row - 0.28), end - high, 0.56, fc="white", ec=BLUE, lw=0, hatch="///"))
        for x in level.x.values:
            ax.add_patch(plt.Rectangle((x - step / 2, row - 0.28), step, 0.56, fill=False, ec=BLUE, lw=1.3))
            note(
                ax,
                (x, row - 0.36),
                f"{x:g}",
                color=GREY,
                ha="center",
                va="top",
                bbox={"fc": "white", "lw": 0, "pad": 0.5},
            )
        ax.plot(level.x.values, np.full(level.sizes["x"], row), "o", color=BLUE, ms=6)
    first = [level.ngff.origin["x"] for level in levels]
    ax.plot(first, rows, "o-", color=ORANGE, ms=7.5, lw=1.8)
    for index, shift in enumerate(np.diff(first)):
        place = (first[index] + first[index + 1]) / 2 + 0.1, rows[index] - 0.62
        note(ax, place, f"+{shift:g} = half a voxel of level {index}", color=ORANGE)
    note(ax, (low, 0.8), "edges of the image", color=GREY, va="bottom")
    note(
        ax,
        (3.95, rows[-1] - 0.8),
        "hatched: beyond the image,\nleft out of the statistic",
        color=GREY,
        ha="right",
        va="top",
    )
    named = [f"level {i}\nspacing {a.ngff.spacing['x']:g}\norigin {a.ngff.origin['x']:g}" for i, a in enumerate(levels)]
    ax.set_yticks(rows, named, fontsize=TEXT)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="x [µm]", xlim=(-0.4, 3.95), ylim=(rows[-1] - 1.25, 1.1))
    ax.set_title("A pyramid: each voxel at the centre of its block", fontsize=13)
    ax.spines[["top", "right", "left"]].set_visible(False)


def note(ax: Axes, place: tuple[float, float] | np.ndarray, text: str, **options: object) -> None:
    ax.text(*place, text, **{"fontsize": TEXT, "ha": "left", "va": "center"} | options)


def thin(color: str) -> dict[str, object]:
    return {"arrowstyle": "-", "color": color, "lw": 0.9, "shrinkA": 2, "shrinkB": 3}


if __name__ == "__main__":
    main()
