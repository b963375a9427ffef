"""Resolution pyramids: which levels an image gets, and the block statistics that make them."""

from __future__ import annotations

from xarray_ngff.pyramid.kernels import METHODS, block_reduce
from xarray_ngff.pyramid.plan import Level, default_chunks, plan_levels

__all__ = ["METHODS", "Level", "block_reduce", "default_chunks", "plan_levels"]
