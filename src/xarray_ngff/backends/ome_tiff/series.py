"""Series of a TIFF file, each with its levels and with what the file says of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xarray_ngff.backends._local_path import existing_file
from xarray_ngff.backends.ome_tiff.description import Description
from xarray_ngff.backends.ome_tiff.files import check_directories, tiff_errors
from xarray_ngff.backends.ome_tiff.imagej import imagej_description
from xarray_ngff.backends.ome_tiff.microscopes import microscope_description
from xarray_ngff.backends.ome_tiff.ome_files import OmeDocument, check_planes, looks_like_ome, ome_document
from xarray_ngff.backends.ome_tiff.ome_model import OmeImage
from xarray_ngff.backends.ome_tiff.ome_xml import ome_description
from xarray_ngff.backends.ome_tiff.resolution import resolution_description
from xarray_ngff.backends.ome_tiff.xml_text import check_no_entities
from xarray_ngff.errors import FormatError, LevelError, NgffWarning

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

__all__ = ["SeriesFile", "level_of", "opened_series", "reopened_level"]

# Tags of the first page that hold XML in one format or another: description, XMP, Argos.
_TEXT_TAGS = (270, 700, 65000)


@dataclass
class SeriesFile:
    """An open TIFF file as a list of series.

    Attributes
    ----------
    path
        The file.
    tif
        The file as tifffile reads it.
    series, names
        Series of pages, and a name of its own for each.
    document, images
        Its OME-XML, and for each series the image in it; None where it has none.
    notes
        What was read by a lenient rule, in words.
    """

    path: Path
    tif: TiffFile
    series: Sequence[TiffPageSeries]
    names: Sequence[str] = ()
    document: OmeDocument | None = None
    images: Sequence[OmeImage | None] = ()
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep one thing that a warning is to name."""
        if text not in self.notes:
            self.notes.append(text)

    def warn(self, warn: Callable[[str], None] | None = None) -> None:
        """Say all that was kept in one warning, or to a function that takes its text."""
        if self.notes:
            text = f"{self.path}: {'; '.join(self.notes)}"
            if warn is None:
                warnings.warn(text, NgffWarning, stacklevel=2)
            else:
                warn(text)

    def index_of(self, series: int | str) -> int:
        """Number of the series that is asked for by number or name.

        Raises
        ------
        LevelError
            Where there is none.
        """
        listed = ", ".join(f"{index}: {name!r}" for index, name in enumerate(self.names))
        if isinstance(series, str):
            for name in (series, _tree_name(series)):
                if name in self.names:
                    return list(self.names).index(name)
        elif isinstance(series, int | np.integer) and not isinstance(series, bool) and 0 <= series < len(self.names):
            return int(series)
        raise LevelError(f"{self.path} has no series {series!r}; it has {listed}")

    def description(self, index: int) -> Description:
        """What the file says of a series."""
        series, image = self.series[index], self.images[index]
        if self.document is not None and image is not None:
            return ome_description(image, self.document.root, self.note)
        page = series.keyframe
        axes = dict(zip(series.axes, series.shape, strict=True))
        if series.kind == "imagej":
            return imagej_description(self.tif.imagej_metadata or {}, page, axes, _plane_count(axes))
        if series.kind == "shaped":
            return imagej_description(_shaped_metadata(page), page, axes, _plane_count(axes))
        found = microscope_description(series.kind, self.tif)
        return resolution_description(page) if found is None else found


@contextmanager
def opened_series(path: object) -> Iterator[SeriesFile]:
    """The series of a TIFF file, which stays open in the block.

    Raises
    ------
    FormatError
        Where it is no TIFF file, is truncated or contradicts itself.
    MissingFileError
        Where it, or another file of its data set, does not exist.
    """
    from tifffile import TiffFile

    own = existing_file(path, holder="TIFF")
    check_directories(own)
    with tiff_errors(own):
        tif = TiffFile(own)
    with tif:
        for tag in _TEXT_TAGS:
            check_no_entities(_text(tif.pages.first.tags.valueof(tag)), place=f"{own}: tag {tag}")
        description = tif.pages.first.description
        if not looks_like_ome(description):
            found = SeriesFile(own, tif, _series(tif, own))
            _check_imagej(found)
            _name(found, [series.name for series in found.series])
            yield found
            return
        document = ome_document(own, description)
    with tiff_errors(own):
        tif = TiffFile(document.path, omexml=document.for_tifffile())
    with tif:
        found = SeriesFile(own, tif, _series(tif, own), document=document)
        _match_images(found, document)
        yield found


def _series(tif: TiffFile, path: Path) -> list[TiffPageSeries]:
    with tiff_errors(path):
        return list(tif.series)


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value if isinstance(value, str) else ""


def _match_images(found: SeriesFile, document: OmeDocument) -> None:
    """Find the image of each series, which tifffile names by its place in what it was given."""
    if document.old_name is not None:
        found.note(
            f"OME-XML names {document.old_name}, which does not exist, as the only file; this one is read for it"
        )
    if all(series.kind == "ome" for series in found.series):
        found.images = [document.images[int(series.name)] for series in found.series]
    else:
        found.images = [next((i for i in document.images if _fits(series, i)), None) for series in found.series]
    read = {image.index for image in found.images if image is not None}
    unread = [str(image.index) for image in document.images if image.index not in read]
    if unread:
        found.note(
            f"images {', '.join(unread)} of its OME-XML have sizes that no pages fit, or no pages"
            + ("" if read else "; the pages are read without it")
        )
    given = zip(found.series, found.images, strict=True)
    _name(found, [series.name if image is None else image.name for series, image in given])


def _fits(series: TiffPageSeries, image: OmeImage) -> bool:
    """Whether a series that tifffile found by other means has the sizes of an image."""
    sizes = dict(zip(series.axes, series.shape, strict=True))
    return all(sizes.get(axis, 1) == size for axis, size in image.sizes.items())


def _name(found: SeriesFile, names: Sequence[str | None]) -> None:
    """Give each series a name of its own that can be one in a tree."""
    if not found.series:
        raise FormatError(f"{found.path} holds no image. Get a whole copy, or write it anew")
    given: list[str] = []
    for index, name in enumerate(names):
        plain = _tree_name(name or "")
        unique = plain if plain not in ("", ".", "..") else f"series{index}"
        while unique in given or (unique != plain and unique in names):
            unique = f"{unique}_{index}"
        given.append(unique)
    found.names = given
    found.images = found.images or [None] * len(given)


def _tree_name(name: str) -> str:
    return name.replace("/", "_").strip()


def _check_imagej(found: SeriesFile) -> None:
    """Refuse a hyperstack that is cut off: tifffile goes on with the one page that describes it."""
    if not found.tif.is_imagej or any(series.kind == "imagej" for series in found.series):
        return
    metadata = found.tif.imagej_metadata or {}
    sizes = {key: metadata.get(key, 1) for key in ("frames", "slices", "channels")}
    planes = 1
    for size in sizes.values():
        planes *= size if isinstance(size, int) else 1
    if planes > sum(len(series) for series in found.series):
        raise FormatError(
            f"{found.path} is truncated: ImageJ says {planes} planes ({sizes}), which are more than the file can hold. "
            "Get a whole copy"
        )


def _plane_count(axes: dict[str, int]) -> int:
    count = 1
    for axis, size in axes.items():
        count *= 1 if axis in "YXS" else size
    return count


def _shaped_metadata(page: TiffPage) -> dict[str, Any]:
    """What tifffile wrote of an image, in JSON; its older descriptions hold a shape alone."""
    try:
        metadata = json.loads(page.shaped_description or "")
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def level_of(found: SeriesFile, index: int, level: int) -> TiffPageSeries:
    """One level of a series.

    Raises
    ------
    LevelError
        Where it has no such level.
    FormatError
        Where planes of the level are missing that the series has, or OME-XML lists.
    """
    series = found.series[index]
    levels = series.levels
    if isinstance(level, bool) or not isinstance(level, int | np.integer) or not 0 <= level < len(levels):
        raise LevelError(
            f"{found.path}: series {found.names[index]!r} has no level {level!r}; it has levels "
            f"{', '.join(map(str, range(len(levels))))}"
        )
    image = found.images[index]
    if found.document is not None and image is not None and series.kind == "ome":
        check_planes(found.document, image, series, found.note)
    if level:
        lost = sum(coarse is None and fine is not None for fine, coarse in zip(series, levels[level], strict=False))
        if lost:
            raise FormatError(
                f"{found.path}: level {level} of series {found.names[index]!r} misses {lost} of {len(series)} planes. "
                "Open level 0, or write the file anew"
            )
    return levels[level]


def reopened_level(path: str, index: int, level: int) -> TiffPageSeries:
    """A level of a series for another process, ready to decode; its file is closed."""
    with opened_series(path) as found:
        chosen = found.series[index].levels[level]
        chosen.keyframe.decode  # noqa: B018  # made while the file is open
        return chosen
