"""Colours and properties of labels: as people give and get them, and as OME-Zarr's "image-label" holds them.

A label image carries them in ``encoding["image-label"]``, where the engine puts them and the writer takes them from.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xarray as xr

from xarray_ngff.errors import FormatError, MetadataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Color",
    "Colors",
    "Properties",
    "color_entries",
    "label_colors",
    "label_properties",
    "property_entries",
    "with_label_metadata",
]

Color: TypeAlias = str | Sequence[float]
Colors: TypeAlias = Mapping[int, Color]
Properties: TypeAlias = "pd.DataFrame | Mapping[Any, Any]"

_ENCODING_KEY = "image-label"
_VALUE = "label-value"
# Names of the column, or of the index, that holds label values; scikit-image calls it "label".
_VALUE_NAMES = (_VALUE, "label")
_HEX = re.compile(r"#?([0-9a-fA-F]{6})([0-9a-fA-F]{2})?")
_MISSING = object()


def label_colors(img: xr.DataArray) -> dict[int, str]:
    """Colour of each label that has one.

    Returns
    -------
    dict of int to str
        ``"#RRGGBB"``, or ``"#RRGGBBAA"`` where the colour is not opaque. Empty where there are none.

    Examples
    --------
    >>> cells = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), name="labels")
    >>> label_colors(with_label_metadata(cells, colors={1: "#ff0000", 2: (0, 255, 0, 128)}))
    {1: '#FF0000', 2: '#00FF0080'}
    """
    return {value: _hex(entry["rgba"]) for value, entry in _known(img, "colors") if entry.get("rgba") is not None}


def label_properties(img: xr.DataArray) -> pd.DataFrame:
    """Properties of labels: a row for each label that has any, a column for each property.

    Returns
    -------
    pandas.DataFrame
        Its index, called "label", holds label values; what a label does not have is missing (NaN). Without rows where
        there are none.

    Examples
    --------
    >>> cells = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), name="labels")
    >>> label_properties(with_label_metadata(cells, properties={1: {"area": 12}, 2: {"area": 7, "kind": "glia"}}))
           area  kind
    label
    1        12   NaN
    2         7  glia
    """
    import pandas as pd

    known = _known(img, "properties")
    index = pd.Index([value for value, _ in known], name="label", dtype=None if known else "int64")
    return pd.DataFrame([{k: v for k, v in row.items() if k != _VALUE} for _, row in known], index=index)


def _known(img: xr.DataArray, key: str) -> list[tuple[int, Mapping[str, Any]]]:
    """Label values and entries under a key of the encoding."""
    try:
        entries = [(entry[_VALUE], entry) for entry in img.encoding.get(_ENCODING_KEY, {}).get(key, ())]
        # files may hold 1.0 for 1
        return [(int(value) if value == int(value) else value, entry) for value, entry in entries]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise MetadataError(
            f"encoding[{_ENCODING_KEY!r}] holds {key} that are not as OME-Zarr has them, objects with a {_VALUE!r} "
            f"({type(error).__name__}: {error}): delete it"
        ) from error


def with_label_metadata(
    img: xr.DataArray, *, colors: Colors | None = None, properties: Properties | None = None
) -> xr.DataArray:
    """Label image with these colours and properties; what is not given stays.

    Parameters
    ----------
    img
        Label image; its values are not looked at.
    colors
        By label: ``"#RRGGBB"``, ``"#RRGGBBAA"``, or three or four numbers (the fourth is the opacity): whole ones from
        0 to 255, or floats from 0 to 1. An empty mapping takes away those that the image has.
    properties
        Table with a row for each label: a pandas DataFrame whose index, or whose column "label" or "label-value",
        holds the label, a mapping of columns as ``skimage.measure.regionprops_table`` gives it, or a mapping of labels
        to mappings. Values are numbers, text, bool, or lists and mappings of them; missing ones (NaN, None) are left
        out. Empty takes away those that the image has.

    Raises
    ------
    FormatError
        Where a label is no whole number or not one that the image can hold, occurs twice, or a colour or a property is
        nothing that OME-Zarr holds.

    Examples
    --------
    >>> cells = xr.DataArray(np.zeros((4, 4), "uint8"), dims=("y", "x"), name="labels")
    >>> cells = with_label_metadata(cells, properties={"label": [1, 2], "area": [12.5, 7.0]})
    >>> cells.encoding["image-label"]
    {'properties': [{'label-value': 1, 'area': 12.5}, {'label-value': 2, 'area': 7.0}]}
    """
    given = {
        "colors": None if colors is None else color_entries(colors),
        "properties": None if properties is None else property_entries(properties),
    }
    before = img.encoding.get(_ENCODING_KEY, {})
    if not isinstance(before, Mapping):
        raise MetadataError(f"encoding[{_ENCODING_KEY!r}] is {before!r}, expected a mapping: delete it")
    said = dict(before)
    for key, entries in given.items():
        if entries is not None:
            _check_held(key, entries, img.dtype)
            said[key] = entries
    result = img.copy(deep=False)
    # the format has no empty lists
    result.encoding = dict(img.encoding) | {_ENCODING_KEY: {key: value for key, value in said.items() if value}}
    return result


def _check_held(key: str, entries: Sequence[Mapping[str, Any]], dtype: np.dtype[Any]) -> None:
    """Raise where the values of the image cannot be a label that `entries` describe."""
    if dtype.kind not in "biu":
        return
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    for entry in entries:
        if not low <= entry[_VALUE] <= high:
            raise FormatError(
                f"{key} describe the label {entry[_VALUE]}, which an image of {dtype} cannot hold: leave it out, or "
                "convert the image with astype"
            )


def color_entries(colors: Colors) -> list[dict[str, Any]]:
    """The "colors" of OME-Zarr; `colors` is what `with_label_metadata` takes.

    Examples
    --------
    >>> color_entries({3: "00ff00", 5: (1.0, 0.5, 0.0)})
    [{'label-value': 3, 'rgba': [0, 255, 0, 255]}, {'label-value': 5, 'rgba': [255, 128, 0, 255]}]
    """
    if not isinstance(colors, Mapping):
        raise FormatError(f'colors is a {type(colors).__name__}, expected a mapping such as {{1: "#FF0000"}}')
    return _unique(
        "colors",
        [{_VALUE: _label(value, "colors"), "rgba": _rgba(color, value)} for value, color in colors.items()],
    )


def property_entries(properties: Properties) -> list[dict[str, Any]]:
    """The "properties" of OME-Zarr; `properties` is what `with_label_metadata` takes.

    Examples
    --------
    >>> property_entries({7: {"area": np.float32(2.5), "mean": np.nan, "centre": (1, 2)}})
    [{'label-value': 7, 'area': 2.5, 'centre': [1, 2]}]
    """
    import pandas as pd

    if isinstance(properties, Mapping) and any(name in properties for name in _VALUE_NAMES):
        try:
            properties = pd.DataFrame(dict(properties))
        except ValueError as error:
            raise FormatError(f"properties is a mapping of columns that are no table: {error}") from error
    if isinstance(properties, pd.DataFrame):
        return _unique("properties", _rows(properties))
    if not isinstance(properties, Mapping):
        raise FormatError(
            f"properties is a {type(properties).__name__}, expected a pandas DataFrame with a row for each label, or "
            'a mapping such as {1: {"area": 12}}'
        )
    return _unique("properties", [_row(value, said) for value, said in properties.items()])


def _row(value: Any, said: Any) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        raise FormatError(f"properties of label {value!r} are {said!r}, expected a mapping of names to values")
    return _entry(_label(value, "properties"), said.items())


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    column = None if frame.index.name in _VALUE_NAMES else next((n for n in _VALUE_NAMES if n in frame.columns), None)
    names = Counter(map(str, frame.columns))
    if twice := [name for name, count in names.items() if count > 1]:
        raise FormatError(f"properties has the column {twice[0]!r} twice: rename one")
    if column is None and _is_default_index(frame.index):
        raise FormatError(
            "properties has neither a column 'label' nor an index of labels, only row numbers from 0 on: add the "
            "column, or give it the labels as index, properties.set_index(...)"
        )
    values = frame.index.tolist() if column is None else frame[column].tolist()
    columns = {str(name): frame[name].tolist() for name in frame.columns if name != column}
    return [
        _entry(_label(value, "properties"), ((name, cells[row]) for name, cells in columns.items()))
        for row, value in enumerate(values)
    ]


def _is_default_index(index: pd.Index[Any]) -> bool:
    """Whether the index of a table only numbers its rows, so that its 0 would be taken for the background."""
    import pandas as pd

    return isinstance(index, pd.RangeIndex) and index.name is None and index.start == 0 and len(index) > 0


def _entry(label: int, said: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {_VALUE: label}
    for name, value in said:
        # the name under which the label itself is stored
        if str(name) == _VALUE:
            raise FormatError(f"properties of label {label} name {_VALUE!r}, which is the label itself: rename it")
        # most values are JSON already, and tables may be long
        kind = type(value)
        is_plain = kind is int or kind is str or (kind is float and math.isfinite(value))
        plain = value if is_plain else _plain(value, f"property {str(name)!r} of label {label}")
        if plain is not _MISSING:
            entry[str(name)] = plain
    return entry


def _plain(value: Any, place: str) -> Any:
    """A value as JSON holds it; `_MISSING` for one that stands for none."""
    import pandas as pd

    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return _MISSING
    if isinstance(value, float):
        if math.isnan(value):
            return _MISSING
        if math.isinf(value):
            raise FormatError(f"{place} is {value}, which JSON cannot hold: replace it")
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
        # a place in a list cannot be left out
        return [None if item is _MISSING else item for item in items]
    if isinstance(value, Mapping):
        return {str(key): v for key, item in value.items() if (v := _plain(item, f"{place}: {key}")) is not _MISSING}
    raise FormatError(
        f"{place} is {value!r}, a {type(value).__name__}, which JSON cannot hold: give a number, text, bool, or a list "
        "or mapping of them"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _label(value: Any, key: str) -> int:
    if not _is_number(value) or not math.isfinite(value) or value != int(value):
        raise FormatError(f"{key} has the label {value!r}, expected a whole number")
    return int(value)


def _unique(key: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counts = Counter(entry[_VALUE] for entry in entries)
    if twice := [value for value, count in counts.items() if count > 1]:
        raise FormatError(f"{key} has the label {twice[0]} twice, expected each only once")
    return entries


def _rgba(color: Any, label: Any) -> list[int]:
    """Four bytes of a colour."""
    if isinstance(color, str):
        match = _HEX.fullmatch(color)
        if match is not None:
            return list(bytes.fromhex(match[1] + (match[2] or "FF")))
    elif _is_row(color) and len(color) in (3, 4) and all(map(_is_number, color)):
        numbers = np.asarray(color)
        top = 1 if numbers.dtype.kind == "f" else 255
        if bool(((numbers >= 0) & (numbers <= top)).all()):
            scaled = numbers if top == 255 else np.floor(numbers * 255 + 0.5)
            return [int(number) for number in scaled] + [255] * (4 - len(numbers))
    raise FormatError(
        f'colors: that of label {label!r} is {color!r}, expected "#RRGGBB", "#RRGGBBAA", or three or four numbers: '
        "whole ones from 0 to 255, or floats from 0 to 1"
    )


def _is_row(value: Any) -> bool:
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, bytes)


def _hex(rgba: Sequence[int]) -> str:
    text = bytes(rgba).hex().upper()
    return f"#{text[:6] if text.endswith('FF') and len(text) == 8 else text}"
