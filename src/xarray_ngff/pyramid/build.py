"""Lazy pyramids: an image as a tree of levels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.errors import GeometryError
from xarray_ngff.pyramid.plan import Level, plan_levels
from xarray_ngff.spatial.downsample import as_dask, checked_method, downsample
from xarray_ngff.units import conversion_factor

__all__ = ["is_level", "level_images", "planned_levels", "to_multiscale"]

Factors = Sequence[int | Mapping[str, int]]


def planned_levels(
    img: xr.DataArray, *, levels: int | None = None, factors: Factors | None = None
) -> tuple[Level, ...]:
    """Levels of the pyramid of an image; see `xarray_ngff.pyramid.plan.plan_levels`.

    Spacings are compared in the world's unit, so z may be in nanometres and x in micrometres.
    """
    dims = geometry.spatial_dims(img)
    if not dims:
        raise GeometryError(f"the image has dims {tuple(img.dims)}, none of which is spatial: there is no pyramid")
    unit, axes = geometry.world_unit(img), [geometry.axis(img, dim) for dim in dims]
    return plan_levels(
        {axis.dim: axis.size for axis in axes},
        {axis.dim: abs(axis.step) * conversion_factor(axis.units, unit) for axis in axes},
        levels=levels,
        factors=factors,
    )


def to_multiscale(
    img: xr.DataArray, *, levels: int | None = None, factors: Factors | None = None, method: str | None = None
) -> xr.DataTree:
    """Lazy pyramid of an image, as a tree with nodes scale0, scale1, ...

    Each level is made from the nearest finer level that divides it, by whole blocks; nothing is computed.

    Parameters
    ----------
    img
        Image; level 0 is this object itself.
    levels
        Number of levels, counting level 0. Default: until every spatial axis is at most about 256.
    factors
        Cumulative factors from level 0, one entry for each further level: a whole number for all spatial dims or a
        mapping by dim. Default: each level halves the axes whose spacing is within a factor of 2 of the finest.
    method
        See `xarray_ngff.spatial.downsample.downsample`.

    Returns
    -------
    xarray.DataTree
        One dataset with one variable for each level, siblings under an empty root.

    Raises
    ------
    GeometryError
        Where the options do not fit the image.

    Examples
    --------
    >>> import numpy as np
    >>> from xarray_ngff import as_image
    >>> img = as_image(np.zeros((8, 600, 600), "uint8"), spacing=(4, 1, 1), units="um")
    >>> tree = to_multiscale(img)
    >>> [dict(level["image"].sizes) for level in tree.children.values()]
    [{'z': 8, 'y': 600, 'x': 600}, {'z': 8, 'y': 300, 'x': 300}, {'z': 8, 'y': 150, 'x': 150}]
    """
    chosen = checked_method(img, method)
    plan = planned_levels(img, levels=levels, factors=factors)
    name = str(img.name or "image")
    images = [img]
    if len(plan) > 1:
        lazy = img.copy(data=as_dask(img))
        for level in plan[1:]:
            source = lazy if not level.source else images[level.source]
            images.append(downsample(source, level.steps, method=chosen))
    return xr.DataTree.from_dict({f"/scale{index}": image.to_dataset(name=name) for index, image in enumerate(images)})


def is_level(name: str) -> bool:
    """Whether a node of this name is a level of a pyramid.

    Examples
    --------
    >>> is_level("scale0"), is_level("labels")
    (True, False)
    """
    return re.fullmatch(r"scale\d+", name) is not None


def level_images(tree: xr.DataTree) -> list[xr.DataArray]:
    """Images of a pyramid, finest first.

    Parameters
    ----------
    tree
        A tree whose nodes scale0, scale1, ... each hold one image, as `to_multiscale` and ``engine="ngff"`` give it.

    Raises
    ------
    GeometryError
        Where the tree is no such pyramid.
    """
    numbers = sorted(int(name[5:]) for name in tree.children if is_level(name))
    if numbers != list(range(len(numbers))):
        raise GeometryError(f"the tree has levels {numbers}, expected one for each number from 0 on")
    images = []
    for number in numbers:
        node = tree.children[f"scale{number}"]
        variables = list(node.dataset.data_vars.values())
        if len(variables) != 1:
            raise GeometryError(
                f"node {node.path!r} holds {len(variables)} variables, expected one image for each level of a pyramid"
            )
        images.append(variables[0])
    if not images:
        found = ", ".join(tree.children) or "none"
        raise GeometryError(
            f"the tree is no pyramid: expected nodes scale0, scale1, ... directly below it, found {found}. "
            'Go to an image first, for example tree["A/1/0"]'
        )
    return images
