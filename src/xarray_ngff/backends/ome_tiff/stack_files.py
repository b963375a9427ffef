"""Which files make up a stack, and in which order."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xarray_ngff.backends._local_path import existing_file
from xarray_ngff.backends.ome_tiff.plane_names import STACK_DIMS
from xarray_ngff.errors import FormatError, GeometryError, MissingFileError

__all__ = ["StackFiles", "natural_order", "stack_files"]

_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True)
class StackFiles:
    """Files on a grid of one or two dims.

    Attributes
    ----------
    dims
        Dims that the files are joined along, the slowest first.
    shape
        Number of files along each.
    paths
        Files in C order.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    paths: tuple[Path, ...]

    @property
    def places(self) -> list[tuple[int, ...]]:
        """Index of each file along each of the dims."""
        return list(itertools.product(*map(range, self.shape)))


def stack_files(paths: Any, *, dim: str) -> StackFiles:
    """Files that a glob pattern, a list or a nested list names.

    Parameters
    ----------
    paths
        Glob pattern, whose files are put in natural order; list of files in the order of `dim`; or list of such lists,
        one for each channel.
    dim
        Dim that the files of a list follow each other along.

    Raises
    ------
    GeometryError
        For another dim, an empty or a ragged list.
    MissingFileError
        Where no file matches the pattern, or a listed one does not exist.
    FormatError
        Where something else than paths is given.
    """
    if dim not in STACK_DIMS:
        raise GeometryError(f"dim={dim!r}: files are joined along one of {', '.join(STACK_DIMS)}")
    if isinstance(paths, (str, bytes, os.PathLike)):
        found = _matching(os.fspath(paths))
        return StackFiles((dim,), (len(found),), tuple(found))
    if not isinstance(paths, Iterable):
        raise FormatError(f"paths is {paths!r}, expected a glob pattern or a list of files")
    entries = list(paths)
    if not entries:
        raise GeometryError("paths is an empty list: name at least one file")
    rows = [entry for entry in entries if isinstance(entry, Iterable) and not isinstance(entry, (str, bytes))]
    if not rows:
        return StackFiles((dim,), (len(entries),), tuple(existing_file(entry, holder="TIFF") for entry in entries))
    if len(rows) < len(entries):
        raise GeometryError(
            "paths mixes files and lists of files: give one list of files, or one list of files for each channel"
        )
    return _nested([list(row) for row in rows], dim)


def _nested(rows: Sequence[Sequence[Any]], dim: str) -> StackFiles:
    if dim == "c":
        raise GeometryError(
            "paths is a nested list, whose outer lists are channels already, and dim is 'c': give dim='z' or dim='t' "
            "for the inner lists, or one flat list"
        )
    counts = [len(row) for row in rows]
    if len(set(counts)) > 1 or counts[0] == 0:
        raise GeometryError(
            f"paths has lists of {', '.join(map(str, counts))} files along {dim}: each channel needs the same number "
            "of files, one at least"
        )
    paths = [existing_file(path, holder="TIFF") for row in rows for path in row]
    return StackFiles(("c", dim), (len(rows), counts[0]), tuple(paths))


def _matching(pattern: Any) -> list[Path]:
    """Files that match a pattern, in natural order."""
    if not isinstance(pattern, str):
        raise FormatError(f"paths is {pattern!r}, expected text")
    own = os.path.expanduser(pattern)  # noqa: PTH111  # pathlib would drop a trailing separator
    names = [own] if os.path.isfile(own) else glob.glob(own, recursive=True)  # noqa: PTH113, PTH207
    found = [Path(name).absolute() for name in natural_order(names) if os.path.isfile(name)]  # noqa: PTH113
    if not found:
        raise MissingFileError(
            f"no file matches {pattern!r}{_nearest_folder(own)}. Check the pattern: * stands for any characters, ** "
            "for any folders"
        )
    return found


def _nearest_folder(pattern: str) -> str:
    """What is wrong with the folder that a pattern starts with, if it is that."""
    plain = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts[:-1]))
    return "" if plain.is_dir() else f", as there is no folder {plain}"


def natural_order(names: Iterable[str]) -> list[str]:
    """Names sorted with the numbers in them as numbers.

    Examples
    --------
    >>> natural_order(["z10.tif", "z2.tif", "z1.tif"])
    ['z1.tif', 'z2.tif', 'z10.tif']
    """

    def key(name: str) -> tuple[Any, ...]:
        parts = _NUMBER.split(name)
        # text and numbers take turns, so like is compared with like
        return ([part if i % 2 == 0 else int(part) for i, part in enumerate(parts)], name)

    return sorted(names, key=key)
