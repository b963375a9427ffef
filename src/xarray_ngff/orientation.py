"""Anatomical orientation of axes: the values of OME-NGFF RFC-4 and their meaning in RAS+ world space."""

from __future__ import annotations

from collections.abc import Mapping

from xarray_ngff.errors import GeometryError

__all__ = [
    "ORIENTATIONS",
    "code_from_value",
    "direction_vector",
    "frame_signs",
    "opposite",
    "orientation_values",
    "value_from_code",
    "vector_value",
]

# RFC-4: every pair may be read in both directions, which gives its 24 values.
_PAIRS = (
    ("left", "right"),
    ("posterior", "anterior"),
    ("inferior", "superior"),
    ("dorsal", "ventral"),
    ("dorsal", "palmar"),
    ("dorsal", "plantar"),
    ("rostral", "caudal"),
    ("cranial", "caudal"),
    ("proximal", "distal"),
    ("superficial", "deep"),
    ("apical", "basal"),
    ("apex", "base"),
)
ORIENTATIONS = frozenset(f"{a}-to-{b}" for pair in _PAIRS for a, b in (pair, pair[::-1]))

# Only these place an axis in the RAS+ world: code letter, world axis, sign.
_RAS = {
    "left-to-right": ("R", 0, 1),
    "right-to-left": ("L", 0, -1),
    "posterior-to-anterior": ("A", 1, 1),
    "anterior-to-posterior": ("P", 1, -1),
    "inferior-to-superior": ("S", 2, 1),
    "superior-to-inferior": ("I", 2, -1),
}
_VALUES = {code: value for value, (code, _, _) in _RAS.items()}

# World frames by the signs that turn their x, y, z into RAS+.
_FRAMES = {"RAS": (1, 1, 1), "LPS": (-1, -1, 1)}


def opposite(value: str) -> str:
    """The RFC-4 value that points the other way.

    Examples
    --------
    >>> opposite("left-to-right"), opposite("dorsal-to-plantar")
    ('right-to-left', 'plantar-to-dorsal')
    """
    start, end = value.split("-to-")
    return f"{end}-to-{start}"


def value_from_code(code: str) -> str:
    """RFC-4 value of an axis whose increasing coordinate points to `code`.

    Examples
    --------
    >>> value_from_code("R"), value_from_code("P")
    ('left-to-right', 'anterior-to-posterior')
    """
    try:
        return _VALUES[code.upper()]
    except KeyError:
        raise GeometryError(f"{code!r} is no axis code: expected one of {', '.join(sorted(_VALUES))}") from None


def code_from_value(value: str) -> str | None:
    """Letter that an RFC-4 value points to, or None where it does not place the axis in a RAS+ world."""
    return _RAS[value][0] if value in _RAS else None


def direction_vector(value: str | None) -> tuple[float, float, float] | None:
    """Unit vector in RAS+ world (x, y, z) of an RFC-4 value, or None where it has no place there.

    Examples
    --------
    >>> direction_vector("anterior-to-posterior")
    (0.0, -1.0, 0.0)
    >>> direction_vector("dorsal-to-ventral") is None
    True
    """
    if value not in _RAS:
        return None
    _, axis, sign = _RAS[value]
    vector = [0.0, 0.0, 0.0]
    vector[axis] = float(sign)
    return vector[0], vector[1], vector[2]


def vector_value(axis: int, sign: int) -> str:
    """RFC-4 value along world axis 0, 1 or 2 (x, y, z of RAS+), with (1) or against (-1) it."""
    return next(value for value, (_, a, s) in _RAS.items() if (a, s) == (axis, sign))


def frame_signs(frame: str) -> tuple[int, int, int]:
    """Signs that turn the x, y and z of a world frame, ``"RAS"`` or ``"LPS"``, into RAS+."""
    try:
        return _FRAMES[frame.upper()]
    except (KeyError, AttributeError):
        raise GeometryError(
            f"orientation={frame!r} is no frame that an affine can map to: expected one of {', '.join(_FRAMES)}, or "
            "None for a world that is not anatomical"
        ) from None


def orientation_values(orientation: str | Mapping[str, str], dims: tuple[str, ...]) -> dict[str, str]:
    """RFC-4 value for each dim, from axis codes or from a mapping, checked.

    Parameters
    ----------
    orientation
        ``"RAS"``-style codes in x, y, z order (one letter for each of `dims`: where the increasing coordinate points),
        or a mapping by dim to RFC-4 values or single codes.
    dims
        The spatial axes of the image in x, y, z order.

    Examples
    --------
    >>> orientation_values("LP", ("x", "y"))
    {'x': 'right-to-left', 'y': 'anterior-to-posterior'}
    """
    if isinstance(orientation, str):
        if len(orientation) != len(dims):
            raise GeometryError(
                f"orientation={orientation!r} has {len(orientation)} codes for {len(dims)} spatial axes "
                f"({', '.join(dims)}): give one letter for each, in x, y, z order"
            )
        values = {dim: value_from_code(code) for dim, code in zip(dims, orientation, strict=True)}
    elif not isinstance(orientation, Mapping):
        raise GeometryError(f'orientation={orientation!r}: expected codes such as "RAS", or a mapping by dim')
    else:
        unknown = [dim for dim in orientation if dim not in dims]
        if unknown:
            raise GeometryError(f"orientation names {unknown[0]!r}, but the spatial axes are {', '.join(dims)}")
        texts = {dim: str(text).strip() for dim, text in orientation.items()}
        values = {dim: value_from_code(text) if len(text) == 1 else text.lower() for dim, text in texts.items()}
        for dim, value in values.items():
            if value not in ORIENTATIONS:
                raise GeometryError(
                    f"orientation of {dim!r} is {value!r}, which is none of the values of RFC-4: "
                    f"{', '.join(sorted(ORIENTATIONS))}"
                )
    placed = [_RAS[value][1] for value in values.values() if value in _RAS]
    if len(set(placed)) < len(placed):
        raise GeometryError(f"orientation {values} sends two axes along the same line: give each axis its own")
    return values
