"""Draw docs/pictures/one_pass.png: how one block of an image becomes a part of every level."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import ConnectionPatch, Rectangle

SIZE, CHUNK, BLOCK = 16, 2, 8
BLUE, PALE, ORANGE = "#2b6cb0", "#e6eef7", "#dd6b20"


def grid(axes, size, *, step, place, side, title):
    """A level: its chunks, and those of one block."""
    axes.add_patch(Rectangle((0, 0), size, size, facecolor=PALE, edgecolor=BLUE, linewidth=1.5))
    axes.add_patch(Rectangle(place, side, side, facecolor=ORANGE, alpha=0.55, linewidth=0))
    for line in range(0, size + 1, step):
        axes.plot([line, line], [0, size], color=BLUE, linewidth=0.7)
        axes.plot([0, size], [line, line], color=BLUE, linewidth=0.7)
    axes.set_title(title, fontsize=10)
    axes.set_xlim(-0.5, SIZE + 0.5)
    axes.set_ylim(SIZE + 0.5, -0.5)
    axes.set_aspect("equal")
    axes.axis("off")


def main() -> None:
    figure, panels = plt.subplots(1, 4, figsize=(11, 3.4), constrained_layout=True)
    titles = [
        "the image is read once,\na block at a time",
        "level 0: whole chunks\nof the block",
        "level 1: made from the block\nin memory, whole chunks",
        "level 2: the same\nagain",
    ]
    for index, (axes, title) in enumerate(zip(panels, titles, strict=True)):
        shrink = 2 ** max(index - 1, 0)
        size, side = SIZE // shrink, BLOCK // shrink
        place = (side, 0)
        step = BLOCK if index == 0 else CHUNK
        grid(axes, size, step=step, place=place, side=side, title=title)
    for index in range(3):
        start, end = BLOCK // 2 ** max(index - 1, 0), BLOCK // 2**index
        figure.add_artist(
            ConnectionPatch(
                (2 * start, start / 2),
                (end, end / 2),
                "data",
                "data",
                axesA=panels[index],
                axesB=panels[index + 1],
                arrowstyle="-|>",
                mutation_scale=14,
                color=ORANGE,
                linewidth=1.8,
                connectionstyle="arc3,rad=-0.15",
            )
        )
    figure.savefig(Path(__file__).with_name("one_pass.png"), dpi=110)


if __name__ == "__main__":
    main()
