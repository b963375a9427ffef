"""Plates and wells of high-content screening, as their groups describe them.

Spec: "plate" and "well" metadata of OME-NGFF 0.1 to 0.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from xarray_ngff.backends.ngff.validation import integer, object_at, shown, text, unique, values, warn
from xarray_ngff.errors import MetadataError

__all__ = ["Acquisition", "Plate", "PlateWell", "Well", "WellImage", "parse_plate", "parse_well"]

_T = TypeVar("_T")

_ALPHANUMERIC = re.compile(r"[A-Za-z0-9]+")
# Wells of these versions have a path only.
_WITHOUT_INDICES = ("0.1", "0.2", "0.3")


@dataclass(frozen=True)
class Acquisition:
    """One run over a plate."""

    id: int
    name: str | None = None
    description: str | None = None
    maximum_field_count: int | None = None
    start_time: int | None = None
    end_time: int | None = None


@dataclass(frozen=True)
class PlateWell:
    """A well that a plate lists: its path from the plate, and names of its row and column."""

    path: str
    row: str
    column: str


@dataclass(frozen=True)
class Plate:
    """A plate: all rows and columns it has, and the wells that hold images."""

    name: str | None
    version: str | None
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    wells: tuple[PlateWell, ...]
    acquisitions: tuple[Acquisition, ...]
    field_count: int | None


@dataclass(frozen=True)
class WellImage:
    """A field of view: its path from the well, and the id of its acquisition."""

    path: str
    acquisition: int | None


@dataclass(frozen=True)
class Well:
    """A well and its fields of view."""

    version: str | None
    images: tuple[WellImage, ...]


def parse_plate(raw: object, place: str, *, version: str | None) -> Plate:
    """Plate from the value of "plate".

    Raises
    ------
    MetadataError
        Where rows, columns or wells are missing, double, or do not fit together.
    """
    plate = object_at(raw, place)
    rows = _names(plate.get("rows"), f"{place}.rows")
    columns = _names(plate.get("columns"), f"{place}.columns")
    wells = tuple(
        _well(entry, f"{place}.wells[{index}]", rows, columns, with_indices=version not in _WITHOUT_INDICES)
        for index, entry in enumerate(values(plate.get("wells"), f"{place}.wells", of="wells", empty=True))
    )
    unique((well.path for well in wells), f"{place}.wells: path")
    runs = values(plate.get("acquisitions") or [], f"{place}.acquisitions", of="acquisitions", empty=True)
    acquisitions = tuple(_acquisition(entry, f"{place}.acquisitions[{index}]") for index, entry in enumerate(runs))
    unique((run.id for run in acquisitions), f"{place}.acquisitions: id")
    return Plate(
        _optional(plate, "name", place, text),
        version,
        rows,
        columns,
        wells,
        acquisitions,
        _optional(plate, "field_count", place, _count),
    )


def _names(raw: object, place: str) -> tuple[str, ...]:
    names = []
    for index, entry in enumerate(values(raw, place, of="objects with a name")):
        where = f"{place}[{index}].name"
        name = text(object_at(entry, f"{place}[{index}]").get("name"), where)
        if not _ALPHANUMERIC.fullmatch(name):
            raise MetadataError(f"{where} is {name!r}, expected letters and digits only")
        names.append(name)
    unique(names, f"{place}: name")
    return tuple(names)


def _well(raw: object, place: str, rows: tuple[str, ...], columns: tuple[str, ...], *, with_indices: bool) -> PlateWell:
    well = object_at(raw, place)
    path = text(well.get("path"), f"{place}.path")
    row, _, column = path.strip("/").partition("/")
    if row not in rows or column not in columns:
        raise MetadataError(
            f"{place}.path is {path!r}, expected the name of a row, '/' and the name of a column: rows are "
            f"{', '.join(rows)}, columns {', '.join(columns)}"
        )
    for key, names, name in (("rowIndex", rows, row), ("columnIndex", columns, column)):
        if key not in well and not with_indices:
            continue
        index = integer(well.get(key), f"{place}.{key}", minimum=0)
        if index != names.index(name):
            warn(f"{place}.{key}", f"is {index}, but {name!r} has index {names.index(name)}; the path was followed")
    return PlateWell(f"{row}/{column}", row, column)


def _acquisition(raw: object, place: str) -> Acquisition:
    run = object_at(raw, place)
    return Acquisition(
        integer(run.get("id"), f"{place}.id", minimum=0),
        _optional(run, "name", place, text),
        _optional(run, "description", place, text),
        _optional(run, "maximumfieldcount", place, _count),
        _optional(run, "starttime", place, _not_negative),
        _optional(run, "endtime", place, _not_negative),
    )


def _count(value: object, place: str) -> int:
    return integer(value, place, minimum=1)


def _not_negative(value: object, place: str) -> int:
    return integer(value, place, minimum=0)


def _optional(parent: dict[str, Any], key: str, place: str, parse: Callable[[object, str], _T]) -> _T | None:
    value = parent.get(key)
    return None if value is None or value == "" else parse(value, f"{place}.{key}")


def parse_well(raw: object, place: str, *, version: str | None) -> Well:
    """Well from the value of "well".

    Raises
    ------
    MetadataError
        Where it has no images, one of them twice, or paths that do not go down from the well.
    """
    entries = values(object_at(raw, place).get("images"), f"{place}.images", of="images")
    images = []
    for index, entry in enumerate(entries):
        where = f"{place}.images[{index}]"
        image = object_at(entry, where)
        path = text(image.get("path"), f"{where}.path").strip("/")
        if path in ("", ".", ".."):
            raise MetadataError(f"{where}.path is {shown(image['path'])}, expected the name of a group in the well")
        images.append(WellImage(path, _optional(image, "acquisition", where, integer)))
    unique((image.path for image in images), f"{place}.images: path")
    return Well(version, tuple(images))
