"""Names of the files of a stack, one for each plane, from a pattern."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter

from xarray_ngff.errors import FormatError, MissingFolderError

__all__ = ["STACK_DIMS", "plane_paths"]

#: Dims that planes are counted along, the slowest first, and fields that a pattern may have.
STACK_DIMS = ("t", "c", "z")

_SUFFIX = re.compile(r"(\.ome)?\.tiff?", re.IGNORECASE)


def plane_paths(pattern: str | os.PathLike[str], sizes: Mapping[str, int]) -> list[Path]:
    """Real path of the file of each plane, in C order of t, c, z.

    Parameters
    ----------
    pattern
        Format string with a field for the index along each of z, c and t that has several entries.
    sizes
        Length of each dim; those that are missing have one entry.

    Raises
    ------
    FormatError
        Where the pattern does not give each plane a name of its own that ends with .tif or .tiff.
    MissingFolderError
        Where a folder of a name does not exist.

    Examples
    --------
    >>> [path.name for path in plane_paths("z{z:02d}_c{c}.tif", {"z": 2, "c": 2})]
    ['z00_c0.tif', 'z01_c0.tif', 'z00_c1.tif', 'z01_c1.tif']
    """
    text = _text(pattern)
    _check_fields(text, sizes)
    names = {}
    for place in itertools.product(*(range(sizes.get(dim, 1)) for dim in STACK_DIMS)):
        indices = dict(zip(STACK_DIMS, place, strict=True))
        names[tuple(indices.items())] = _name(text, indices)
    paths = {place: Path(os.path.realpath(Path(name).expanduser())) for place, name in names.items()}
    _check_distinct(text, paths)
    missing = list(dict.fromkeys(path.parent for path in paths.values() if not path.parent.is_dir()))
    if missing:
        folders = ", ".join(map(str, missing[:3])) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise MissingFolderError(f"cannot write {text}: there is no folder {folders}. Create it first")
    return list(paths.values())


def _text(pattern: object) -> str:
    text = os.fspath(pattern) if isinstance(pattern, (str, os.PathLike)) else pattern
    if not isinstance(text, str):
        raise FormatError(f"pattern is {pattern!r}, expected a text such as 'planes/z{{z:04d}}.tif'")
    return text


def _check_fields(text: str, sizes: Mapping[str, int]) -> None:
    """Refuse a pattern that names other things than z, c and t, or not all that are needed."""
    try:
        fields = [(name, spec) for _, name, spec, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise FormatError(
            f"pattern {text!r} is no format string ({error}): write fields as {{z:04d}}, and a brace itself as {{{{ or "
            "}}"
        ) from error
    for name, spec in fields:
        if name not in STACK_DIMS:
            raise FormatError(f"pattern {text!r} has a field {{{name}}}: the fields are {{z}}, {{c}} and {{t}}")
        if "{" in (spec or ""):
            raise FormatError(
                f"pattern {text!r}: field {{{name}}} has fields in its format, expected one as in {{z:04d}}"
            )
    named = {name for name, _ in fields}
    missing = [dim for dim in STACK_DIMS if sizes.get(dim, 1) > 1 and dim not in named]
    suffix = re.search(rf"{_SUFFIX.pattern}$", text, _SUFFIX.flags)
    stem, end = (text, ".tif") if suffix is None else (text[: suffix.start()], suffix[0])
    proposed = "".join([stem, *(f"_{dim}{{{dim}:0{len(str(sizes[dim] - 1))}d}}" for dim in missing), end])
    if missing:
        counts = " and ".join(f"{sizes[dim]} along {dim}" for dim in missing)
        raise FormatError(
            f"pattern {text!r} has no field {', '.join(f'{{{dim}}}' for dim in missing)}, but the image has {counts}: "
            f"each plane needs a name of its own, as {proposed!r} would give it"
        )
    if suffix is None:
        raise FormatError(f"pattern {text!r} does not end with .tif or .tiff: write for example {proposed!r}")


def _name(text: str, indices: Mapping[str, int]) -> str:
    place = ", ".join(f"{dim}={index}" for dim, index in indices.items())
    try:
        name = text.format(**indices)
    except (ValueError, OverflowError) as error:
        raise FormatError(
            f"pattern {text!r} cannot be filled in for {place} ({error}): use formats as {{z:04d}}"
        ) from error
    if "\0" in name:
        raise FormatError(f"pattern {text!r} gives a name that no file can have for {place}: use formats as {{z:04d}}")
    return name


def _check_distinct(text: str, paths: Mapping[tuple[tuple[str, int], ...], Path]) -> None:
    # names that differ in case alone are one file on many systems
    seen: dict[str, tuple[tuple[str, int], ...]] = {}
    for place, path in paths.items():
        other = seen.setdefault(str(path).casefold(), place)
        if other is not place:
            first, second = (", ".join(f"{dim}={index}" for dim, index in entry) for entry in (other, place))
            raise FormatError(
                f"pattern {text!r} gives the planes {first} and {second} the same file {path.name!r} (upper and lower "
                "case do not tell files apart everywhere): use formats as {z:04d}"
            )
