"""What a person sees of a plan."""

from __future__ import annotations

import re

import dask
import numpy as np

import xarray_ngff
from xarray_ngff.pyramid.plan_tables import html, text
from xarray_ngff.pyramid.writing_plan import plan_pyramid


def plan():
    data = np.broadcast_to(np.uint16(0), (256, 512, 512))
    img = xarray_ngff.as_image(data, "zyx", spacing=(1, 1, 1), units="um")
    with dask.config.set(num_workers=2):
        return plan_pyramid(img, levels=2, shards="auto", memory_limit="2 GiB")


class TestTables:
    def test_text(self):
        assert repr(plan()) == text(plan())
        lines = text(plan()).splitlines()
        assert lines[0].startswith("pyramid (z, y, x) uint16: 2 levels in 1 pass, 2 threads, memory up to ")
        assert lines[0].endswith("MiB (limit 2 GiB)")
        assert [line.split("  ")[1] for line in lines[1:4]] == ["level", "0", "1"]
        assert "2 x 2 x 2" in lines[3]
        assert "128 x 128 x 256" in lines[3]
        assert lines[3].endswith("level 0")
        assert lines[4].split()[:2] == ["pass", "reads"]
        assert re.split(r"  +", lines[5].strip()) == ["1", "the image", "0, 1", "256 x 256 x 512", "64 MiB", "2"]
        assert max(map(len, lines)) <= 120
        assert all(line == line.rstrip() for line in lines)

    def test_html(self):
        page = html(plan())
        assert page == plan()._repr_html_()
        assert page.count("<table>") == page.count("</table>") == 2
        assert page.count("<tr>") == 1 + 2 + 1 + 1
        assert "<td>256 x 512 x 512</td>" in page
        assert "<td>128 x 128 x 256</td>" in page
