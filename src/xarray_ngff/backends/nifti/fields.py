"""Header fields that are no geometry, as one nested JSON mapping in ``encoding["nifti"]``, and back."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends.nifti.header import NiftiHeader
from xarray_ngff.backends.nifti.layout import LABEL_INTENT, is_labels
from xarray_ngff.errors import FormatError

__all__ = ["ENCODING_KEY", "encoding_from_header", "set_fields", "stored_encoding", "stored_extensions"]

#: Where the fields are in the encoding of an image.
ENCODING_KEY = "nifti"

_TEXTS = ("descrip", "aux_file")
_NUMBERS = ("cal_min", "cal_max")
_DIM_ROLES = ("frequency", "phase", "slice")

# Keys of the mapping and the types that their values have.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "version": int,
    "dtype": str,
    "scl_slope": (int, float, type(None)),
    "scl_inter": (int, float, type(None)),
    "scaled": bool,
    "outer": list,
    "sform_code": int,
    "qform_code": int,
    "sform_to_qform": list,
    "xyzt_units": int,
    "toffset": (int, float, type(None)),
    "intent": Mapping,
    "dim_info": Mapping,
    "slices": Mapping,
    "extensions": list,
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(_NUMBERS, (int, float, type(None))),
}


def encoding_from_header(
    header: NiftiHeader,
    dims: Sequence[str],
    outer: Sequence[str | None],
    coords: Mapping[str, xr.Variable],
    *,
    scaled: bool,
) -> dict[str, Any]:
    """Plain JSON mapping of the header fields that coordinates do not hold.

    Parameters
    ----------
    header
        The header.
    dims
        Dim of each of the first three axes of the file: axes are kept by name, so that they survive a transposition.
    outer
        Dim of each later axis, None for one that was dropped.
    coords
        Coordinates of the first three dims.
    scaled
        Whether slope and intercept are applied to the values of the image.
    """
    fields = header.fields
    encoding: dict[str, Any] = {
        "version": header.version,
        "dtype": header.color_type or header.dtype.str,
        "scl_slope": _finite(fields["scl_slope"]),
        "scl_inter": _finite(fields["scl_inter"]),
        "scaled": scaled,
        "outer": list(outer),
        "sform_code": int(fields["sform_code"]),
        "qform_code": int(fields["qform_code"]),
        "xyzt_units": int(fields["xyzt_units"]),
        "toffset": _finite(fields["toffset"]),
    }
    encoding |= {name: _text(fields[name]) for name in _TEXTS}
    encoding |= {name: _finite(fields[name]) for name in _NUMBERS}
    encoding["intent"] = {
        "code": int(fields["intent_code"]),
        "parameters": [_finite(fields[f"intent_p{i}"]) for i in (1, 2, 3)],
        "name": _text(fields["intent_name"]),
    }
    roles = zip(_DIM_ROLES, fields.get_dim_info(), strict=True)
    encoding["dim_info"] = {role: dims[axis] for role, axis in roles if axis is not None}
    if slices := _slices(fields, encoding["dim_info"].get("slice"), coords):
        encoding["slices"] = slices
    others = [extension for extension in header.extensions if not is_labels(extension)]
    encoding["extensions"] = [[code, base64.b64encode(content).decode("ascii")] for code, content in others]
    return encoding


def _finite(number: Any) -> float | None:
    return float(number) if math.isfinite(number) else None


def _text(stored: Any) -> str:
    return cast(bytes, stored.item()).decode("latin-1")


def _slices(fields: Any, dim: str | None, coords: Mapping[str, xr.Variable]) -> dict[str, Any]:
    """Timing of slices, with the grid that its numbers count on."""
    numbers = {name: int(fields[f"slice_{name}"]) for name in ("start", "end", "code")}
    duration = _finite(fields["slice_duration"])
    if dim is None or not (any(numbers.values()) or duration):
        return {}
    return {**numbers, "duration": duration, "grid": _grid(coords[dim])}


def _grid(coordinate: xr.Variable) -> list[float]:
    values = np.atleast_1d(coordinate.values)
    return [len(values), float(values[0]), float(values[-1])]


def stored_encoding(img: xr.DataArray) -> Mapping[str, Any]:
    """The header fields that an image carries, checked; empty where it carries none.

    Raises
    ------
    FormatError
        Where a field is not of its type.
    """
    encoding = img.encoding.get(ENCODING_KEY, {})
    if not isinstance(encoding, Mapping):
        raise FormatError(f'encoding["{ENCODING_KEY}"] is {encoding!r}, expected a mapping of header fields. Delete it')
    for key, kind in _KINDS.items():
        if key in encoding and not isinstance(encoding[key], kind):
            raise FormatError(
                f'encoding["{ENCODING_KEY}"]["{key}"] is {encoding[key]!r}, which is no value of that header field. '
                "Delete it"
            )
    return encoding


def stored_extensions(encoding: Mapping[str, Any]) -> list[tuple[int, bytes]]:
    """Header extensions of an encoding, as bytes."""
    extensions = []
    for entry in encoding.get("extensions", ()):
        try:
            code, text = entry
            extensions.append((int(code), base64.b64decode(text, validate=True)))
        except (ValueError, TypeError, binascii.Error) as error:
            raise FormatError(
                f'encoding["{ENCODING_KEY}"]["extensions"] holds {entry!r}, expected [code, base64 text]. Delete it'
            ) from error
    return extensions


def set_fields(fields: Any, img: xr.DataArray, encoding: Mapping[str, Any]) -> None:
    """Write the header fields of an encoding, as far as they still say something true about the image.

    Parameters
    ----------
    fields
        Header of nibabel, with the shape of the file set; its first three axes are x, y, z.
    """
    for name in _TEXTS:
        fields[name] = encoding.get(name, "").encode("latin-1", "replace")
    for name in _NUMBERS:
        fields[name] = _number(encoding.get(name, 0.0))
    intent = encoding.get("intent", {})
    fields["intent_code"] = intent.get("code", 0) or (LABEL_INTENT if _is_labels_image(img) else 0)
    fields["intent_name"] = str(intent.get("name", "")).encode("latin-1", "replace")
    for i, parameter in enumerate([*intent.get("parameters", ())][:3], start=1):
        fields[f"intent_p{i}"] = _number(parameter)
    roles = encoding.get("dim_info", {})
    axes = [_axis(roles.get(role)) for role in _DIM_ROLES]
    fields.set_dim_info(*axes)
    slices = encoding.get("slices", {})
    if slices and _same_grid(img, roles.get("slice"), slices.get("grid")):
        for name in ("start", "end", "code"):
            fields[f"slice_{name}"] = slices.get(name, 0)
        fields["slice_duration"] = _number(slices.get("duration"))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _is_labels_image(img: xr.DataArray) -> bool:
    return img.name == "labels" and img.dtype.kind in "iu"


def _axis(dim: object) -> int | None:
    return geometry.SPATIAL_DIMS.index(dim) if isinstance(dim, str) and dim in geometry.SPATIAL_DIMS else None


def _same_grid(img: xr.DataArray, dim: object, grid: Any) -> bool:
    """Whether the slices of an image are those that the numbers count: all of them, in the same order."""
    if not isinstance(dim, str) or dim not in img.coords:
        return False
    try:
        expected = np.asarray(grid, dtype=np.float64)
        found = np.asarray(_grid(img.coords[dim].variable))
        return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-6, atol=1e-6))
    except (TypeError, ValueError) as error:
        raise FormatError(
            f'encoding["{ENCODING_KEY}"]["slices"]["grid"] is {grid!r}, expected three numbers. Delete it'
        ) from error
