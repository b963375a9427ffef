"""What a person sees of the plan of a pyramid: two small tables, as text or HTML."""

from __future__ import annotations

import html as _html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xarray_ngff.pyramid.memory import bytes_text

if TYPE_CHECKING:
    from xarray_ngff.pyramid.writing_plan import PyramidPlan

__all__ = ["by_axis", "html", "text"]

Rows = list[list[str]]


def text(plan: PyramidPlan) -> str:
    """Plan as lines of text."""
    parts = [_title(plan), *map(_lines, (_levels(plan), _passes(plan)))]
    return "\n".join(parts)


def html(plan: PyramidPlan) -> str:
    """Plan as HTML tables."""
    tables = "".join(map(_table, (_levels(plan), _passes(plan))))
    return f"<div><strong>{_html.escape(_title(plan))}</strong>{tables}</div>"


def by_axis(dims: Sequence[str], lengths: Sequence[int]) -> str:
    """Lengths with the names of their axes.

    Examples
    --------
    >>> by_axis(("y", "x"), (128, 256))
    'y 128, x 256'
    """
    return ", ".join(f"{dim} {length}" for dim, length in zip(dims, lengths, strict=True))


def _title(plan: PyramidPlan) -> str:
    count, passes = len(plan.levels), len(plan.passes)
    return (
        f"pyramid ({', '.join(plan.dims)}) {plan.dtype}: {count} level{'s' * (count > 1)} in {passes} "
        f"pass{'es' * (passes > 1)}, {plan.threads} thread{'s' * (plan.threads > 1)}, "
        f"memory up to {bytes_text(plan.peak_bytes)} (limit {bytes_text(plan.memory_limit)})"
    )


def _levels(plan: PyramidPlan) -> Rows:
    rows = [["level", "factors", "shape", "chunks", "shards", "made from"]]
    for level in plan.levels:
        factors = [level.factors.get(dim, 1) for dim in plan.dims]
        shapes = (_shape(each) if each else "none" for each in (factors, level.shape, level.chunks, level.shards))
        rows.append([str(level.index), *shapes, "the image" if level.source is None else f"level {level.source}"])
    return rows


def _passes(plan: PyramidPlan) -> Rows:
    rows = [["pass", "reads", "writes levels", "block", "bytes", "blocks"]]
    for index, (stage, block) in enumerate(zip(plan.passes, plan.blocks, strict=True), start=1):
        shape = plan.levels[stage.levels[0]].shape
        count = math.prod(-(-n // length) for n, length in zip(shape, block, strict=True))
        size = bytes_text(math.prod(block) * plan.dtype.itemsize)
        reads = "the image" if stage.source is None else f"level {stage.source}"
        rows.append([str(index), reads, ", ".join(map(str, stage.levels)), _shape(block), size, str(count)])
    return rows


def _shape(lengths: Sequence[int]) -> str:
    return " x ".join(map(str, lengths))


def _lines(rows: Rows) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in padded)


def _table(rows: Rows) -> str:
    head, *body = ([_html.escape(cell) for cell in row] for row in rows)
    cells = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in body)
    return f"<table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{cells}</table>"
