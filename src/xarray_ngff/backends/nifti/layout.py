"""Which axis of a NIfTI file is which dim, and the header extension that says so where the header cannot."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.affine import closest_axes, linear
from xarray_ngff.backends._times import START_TIME, parse_time
from xarray_ngff.channels import Channel
from xarray_ngff.errors import NgffError
from xarray_ngff.geometry import SPATIAL_DIMS

__all__ = [
    "COLOR_OUTER_DIMS",
    "EXTENSION_CODE",
    "LABEL_INTENT",
    "OUTER_DIMS",
    "Labels",
    "is_labels",
    "labels_content",
    "outer_dims",
    "read_labels",
    "spatial_names",
]

#: Dims of the 4th to 7th axis of a file, where nothing else is said; without c where voxels are colours.
OUTER_DIMS = ("t", "c", "v", "w")
COLOR_OUTER_DIMS = ("t", "v", "w", "u")

#: NIFTI_INTENT_LABEL: the numbers are ids of objects.
LABEL_INTENT = 1002

# Intents whose numbers are components of something at each voxel: matrices, displacements, vectors, points, triangles,
# quaternions, colours (nifti1.h), and the displacement and coefficient fields of FSL.
_COMPONENT_INTENTS = frozenset({*range(1004, 1011), 2003, 2004, *range(2006, 2010)})

#: ecode of a comment: plain text, which any reader may show or skip.
EXTENSION_CODE = 6
_EXTENSION_KEY = "xarray_ngff"


@dataclass(frozen=True)
class Labels:
    """What our header extension says.

    Attributes
    ----------
    dims
        Dim of the 4th and each later axis of the file; None for an axis of length 1 that only fills a place.
    channels
        Channels, or nothing where they have no names, colours or windows.
    start_time
        ISO 8601 time at which t is 0, or None.
    selected
        Those of t and c that the image was selected along: the header holds its one time, `channels` its one channel.
    """

    dims: tuple[str | None, ...]
    channels: tuple[Channel, ...] = field(default=())
    start_time: str | None = None
    selected: tuple[str, ...] = ()


def spatial_names(affine: npt.ArrayLike) -> tuple[str, ...]:
    """Dim of each of the first three axes of a file: the world axis that it runs closest to.

    Examples
    --------
    >>> spatial_names([[0, 0, -1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    ('y', 'z', 'x')
    """
    axes, _ = closest_axes(linear(affine))
    return tuple(SPATIAL_DIMS[axis] for axis in axes)


def outer_dims(
    shape: Sequence[int], *, intent: int, colors: bool = False, labels: Labels | None = None
) -> tuple[str | None, ...]:
    """Dim of the 4th and each later axis of a file; None for an axis that is dropped.

    The 4th axis is ``t``, or ``c`` in a 4-D file whose intent says that each voxel has components; the 5th is ``c``,
    then ``v`` and ``w``. An axis of length 1 is dropped, except the 4th of a 4-D file. Labels overrule all of it.

    Examples
    --------
    >>> outer_dims((9, 9, 9, 1), intent=0), outer_dims((9, 9, 9, 1, 3), intent=0), outer_dims((9, 9, 9, 3), intent=1007)
    (('t',), (None, 'c'), ('c',))
    """
    outer = tuple(shape[3:])
    if labels is not None:
        return labels.dims
    if len(outer) == 1:
        return ("c",) if intent in _COMPONENT_INTENTS and not colors else ("t",)
    names = COLOR_OUTER_DIMS if colors else OUTER_DIMS
    return tuple(dim if length > 1 else None for dim, length in zip(names, outer, strict=False))


def labels_content(labels: Labels) -> bytes:
    """Content of the header extension that holds labels: JSON, padded as NIfTI wants it."""
    channels = [
        {key: value for key, value in vars(channel).items() if value is not None} for channel in labels.channels
    ]
    document: dict[str, Any] = {"dims": list(labels.dims)} | ({"channels": channels} if channels else {})
    document |= {START_TIME: labels.start_time} if labels.start_time else {}
    document |= {"selected": list(labels.selected)} if labels.selected else {}
    content = json.dumps({_EXTENSION_KEY: document}, ensure_ascii=False).encode()
    return content + b"\0" * (-(len(content) + 8) % 16)


def is_labels(extension: tuple[int, bytes]) -> bool:
    """Whether a header extension is one that `labels_content` wrote."""
    code, content = extension
    return code == EXTENSION_CODE and content.startswith(b'{"%s"' % _EXTENSION_KEY.encode())


def read_labels(content: bytes, shape: Sequence[int]) -> Labels:
    """Labels of a file of this shape from the content of our header extension.

    Raises
    ------
    NgffError
        Where the content is damaged or belongs to an image of another shape.
    """
    outer = tuple(shape[3:])
    try:
        document = json.loads(content.rstrip(b"\0"))[_EXTENSION_KEY]
        dims = tuple(document["dims"])
        channels = tuple(_channel(entry) for entry in document.get("channels", ()))
        start_time = document.get(START_TIME)
        if start_time is not None and parse_time(start_time) is None:
            raise ValueError(f"{START_TIME} {start_time!r} is no ISO 8601 time")
        selected = tuple(document.get("selected", ()))
        if not set(selected) <= {"t", "c"} - set(dims):
            raise ValueError(f"selected {list(selected)} beside the axes {list(dims)}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NgffError(f"it cannot be understood ({error})") from error
    sizes = {dim: length for dim, length in zip(dims, outer, strict=False) if dim is not None}
    filled = math.prod(length for dim, length in zip(dims, outer, strict=False) if dim is None)
    fits = len(dims) == len(outer) and set(sizes) <= set(OUTER_DIMS) and filled == 1
    if not fits or len(sizes) + dims.count(None) != len(dims):
        raise NgffError(f"it names the axes {list(dims)}, but after the third the file has {list(outer)}")
    count = sizes.get("c", int("c" in selected))
    if channels and len(channels) != count:
        raise NgffError(f"it names {len(channels)} channels, but the file has {count}")
    return Labels(dims, channels, start_time, selected)


def _channel(entry: Mapping[str, Any]) -> Channel:
    pairs = {key: tuple(float(end) for end in entry[key]) for key in ("window", "limits") if key in entry}
    texts = {key: str(entry[key]) for key in ("name", "color") if key in entry}
    for key, pair in pairs.items():
        if len(pair) != 2 or not np.isfinite(pair).all():
            raise ValueError(f"{key} {entry[key]!r} is no pair of numbers")
    return Channel(**texts, **pairs)  # type: ignore[arg-type]
