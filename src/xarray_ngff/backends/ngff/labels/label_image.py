"""Label images, written into the image that they belong to.

Spec: "labels" metadata of OME-NGFF 0.4 and 0.5. A label image lies in the group "labels" of its image, on the grid of
the image's level 0, and has as many levels.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xarray_ngff.backends.ngff.existing import ExistingPyramid, existing_pyramid
from xarray_ngff.backends.ngff.labels.grid import on_grid
from xarray_ngff.backends.ngff.labels.listing import FOLDER, list_label, listed_labels, local_folder
from xarray_ngff.backends.ngff.labels.metadata import beside_image
from xarray_ngff.backends.ngff.new_image import Storage, write_new
from xarray_ngff.backends.ngff.nodes import read_nodes
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot, joined
from xarray_ngff.backends.ngff.validation import warn
from xarray_ngff.errors import FormatError, GeometryError
from xarray_ngff.geometry import SPATIAL_DIMS
from xarray_ngff.labels import Colors, Properties, with_label_metadata
from xarray_ngff.pyramid.build import Factors, planned_levels
from xarray_ngff.pyramid.grids import Chunks, Shards
from xarray_ngff.spatial.downsample import as_dask

if TYPE_CHECKING:
    from dask.delayed import Delayed
    from zarr.storage import StorePath

__all__ = ["checked_name", "integer_labels", "write_label", "writing_label"]

_ZARR_FORMATS = {"0.4": 2, "0.5": 3}

# Characters and names that one system or another keeps for itself.
_FORBIDDEN = re.compile(r'[/\\<>:"|?*]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# File systems hold 255 bytes, and a hidden name beside the label is longer than it.
_LONGEST_NAME = 200


def write_label(
    img: xr.DataArray,
    store: Any,
    *,
    label: str,
    colors: Colors | None = None,
    properties: Properties | None = None,
    levels: int | None = None,
    factors: Factors | None = None,
    method: str | None = None,
    chunks: Chunks | None = None,
    shards: Shards | None = None,
    compressor: Any = "auto",
    like: Any = None,
    overwrite: bool = False,
    resume: bool = False,
    compute: bool = True,
    progress: bool = False,
    memory_limit: int | str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Delayed | None:
    """Write labels beside an image that is there, as ``labels/NAME``, and list them.

    The labels take the version of the image, its coordinates and, level by level, its factors. Everything is checked
    before anything is written; the name is listed when the labels are whole. The image and its other labels stay as
    they are, and readable, whatever happens.

    Parameters
    ----------
    img
        Labels: integers, or bool, which is written as uint8. They lie on the grid of level 0 of the image, in any unit
        and order of dims; c and other axes that are not spatial nor t may be absent, or of length 1. A coordinate that
        is absent is that of the image.
    store
        Where the image is: folder, fsspec URL, zarr store, store path or group.
    label
        Name of the labels, without slashes.
    colors, properties
        Colours by label, and properties of labels; see `xarray_ngff.labels.with_label_metadata`. Default: those that
        the labels have from the file that they were opened from.
    levels, factors
        As in `xarray_ngff.backends.ngff.writer.write_image`; there must be as many levels as the image has. Default:
        the factors of the image.
    method
        How levels are made. Default: mode, which invents no label; "nearest" is quicker and invents none either.
    chunks, shards, compressor, like, resume, compute, progress, memory_limit, storage_options
        As in `xarray_ngff.backends.ngff.writer.write_image`.
    overwrite
        Whether labels of this name may be replaced; all else stays.

    Returns
    -------
    None, or dask.delayed.Delayed with ``compute=False``

    Raises
    ------
    TargetExistsError
        Where the image has labels of this name, listed or not, and `overwrite` is False.
    GeometryError
        Where the labels are not on the grid of the image, or would have another number of levels.
    FormatError
        Where they are no integers, the name or what describes them is nothing that OME-Zarr holds, or there is no image
        at `store` that can be written to.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> from xarray_ngff import as_image
    >>> store = zarr.storage.MemoryStore()
    >>> img = as_image(np.arange(64 * 80).reshape(64, 80), spacing=(0.5, 0.5), units="um")
    >>> img.ngff.to_ome_zarr(store, levels=2)
    >>> write_label(img > 3000, store, label="bright", colors={1: "#FF8800"})
    >>> tree = xr.open_datatree(store, engine="ngff")
    >>> [node.path for node in tree["labels"].leaves]
    ['/labels/bright/scale0', '/labels/bright/scale1']
    """
    name = checked_name(label)
    image = existing_pyramid(store, writable=True, storage_options=storage_options)
    place = f"{image.root.name}: labels {name!r}"
    if image.zarr_format != _ZARR_FORMATS[image.version]:
        raise FormatError(
            f"{image.root.name} is OME-Zarr {image.version} in Zarr v{image.zarr_format}, which the specification does "
            "not have: write the image anew before labels are added"
        )
    labels = on_grid(integer_labels(img, place), image.image, place).rename("labels")
    labels = beside_image(with_label_metadata(labels, colors=colors, properties=properties), name)
    steps = _factors(labels, image, levels, factors, place)
    storage = Storage(
        version=image.version,
        compressor=compressor,
        like=like,
        overwrite=overwrite,
        resume=resume,
        compute=compute,
        progress=progress,
        memory_limit=memory_limit,
    )
    with writing_label(image, name) as (target, then):
        return write_new(
            labels, target, replace(storage, then=then), factors=steps, method=method, chunks=chunks, shards=shards
        )


@contextlib.contextmanager
def writing_label(image: ExistingPyramid, path: str) -> Iterator[tuple[StorePath, Callable[[], None]]]:
    """Place of a label image, and what lists it when it is whole.

    In a folder, the group "labels" is made as an empty folder where it is not there, and removed again where nothing
    comes of it.

    Parameters
    ----------
    image
        The image.
    path
        Path of the label image, from its group "labels".

    Raises
    ------
    FormatError
        Where the list of labels that is there cannot be read.
    """
    from zarr.storage import StorePath

    listed_labels(image.root, image.zarr_format)
    full = joined(FOLDER, path)
    is_new = read_nodes(image.root, [full])[full] is None
    then = functools.partial(
        list_label, image.root, path, version=image.version, zarr_format=image.zarr_format, is_new=is_new
    )
    with _folder_above(image.root, full):
        yield StorePath(image.root.store, joined(image.root.path, full)), then


@contextlib.contextmanager
def _folder_above(image: StoreRoot, path: str) -> Iterator[None]:
    folder = local_folder(image, path.rpartition("/")[0])
    if folder is None or folder.is_dir():
        yield
        return
    made = [above for above in (folder, *folder.parents) if not above.exists()]
    folder.mkdir(parents=True)
    try:
        yield
    except BaseException:
        # they are not empty where another one has written labels meanwhile
        with contextlib.suppress(OSError):
            for empty in made:
                empty.rmdir()
        raise


def checked_name(label: object) -> str:
    """Name of labels, as Zarr and all file systems hold it."""
    if not isinstance(label, str):
        raise FormatError(f"label={label!r} is a {type(label).__name__}, expected the name of the labels")
    wrong = (
        "is empty" if not label.strip() else
        f"has {found[0]!r}" if (found := _FORBIDDEN.search(label)) else
        "has characters that cannot be printed" if not label.isprintable() else
        "is kept by Windows for itself" if _RESERVED.fullmatch(label) else
        "is hidden" if label.startswith(".") else
        "begins with __, which Zarr keeps for itself" if label.startswith("__") else
        "ends with a dot or space, or begins with a space" if label != label.strip().rstrip(".") else
        "is a name of Zarr's own documents" if label in METADATA_KEYS else
        "is too long" if len(label.encode()) > _LONGEST_NAME else
        None
    )  # fmt: skip
    if wrong is not None:
        raise FormatError(f"label={label!r} {wrong}: give a plain name such as 'nuclei'")
    return label


def integer_labels(img: xr.DataArray, place: str) -> xr.DataArray:
    """Labels as integers; bool becomes uint8 as lazily as it came."""
    if img.dtype == np.bool_:
        lazy = img.chunks is not None or not img.variable._in_memory
        return img.copy(data=as_dask(img).astype(np.uint8) if lazy else img.values.view(np.uint8))
    if img.dtype.kind not in "iu":
        raise FormatError(
            f"{place} are {img.dtype}, expected whole numbers or bool: convert them, for example "
            'img.astype("uint32"), where they hold nothing else'
        )
    return img


def _factors(
    labels: xr.DataArray, image: ExistingPyramid, levels: int | None, factors: Factors | None, place: str
) -> Factors:
    """Factors of the labels' levels, as many as the image has."""
    count = len(image.levels)
    if factors is None and levels in (None, count):
        return _image_factors(image)
    found = len(planned_levels(labels, levels=levels, factors=factors))
    if found != count or factors is None:
        raise GeometryError(
            f"{place} would have {found} levels, but the image has {count}, and OME-Zarr asks for as many: leave out "
            "levels and factors"
        )
    return factors


def _image_factors(image: ExistingPyramid) -> list[dict[str, int]]:
    try:
        return list(image.factors[1:])
    except GeometryError as error:
        warn(f"{image.root.name}:", f"labels get the nearest levels that are whole blocks of voxels, because {error}")
    full = image.shapes[0]
    return [
        {
            dim: max(round(size / shape[axis]), 1)
            for axis, (dim, size) in enumerate(zip(image.dims, full, strict=True))
            if dim in SPATIAL_DIMS
        }
        for shape in image.shapes[1:]
    ]
