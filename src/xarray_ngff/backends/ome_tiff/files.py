"""TIFF files: their paths, and the checks that they are what they seem before tifffile reads them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from xarray_ngff.errors import FormatError, MissingFileError, NgffError

__all__ = ["SUFFIXES", "check_directories", "tiff_errors"]

#: What the name of a file that this engine reads ends with, in lower case.
SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.tf2", ".ome.tf8", ".tif", ".tiff", ".btf", ".lsm", ".stk")

# Directories of a classic TIFF that is larger than its 32-bit offsets wrap around; tifffile has rules for those.
_WRAPS = 1 << 32
_MOST_TAGS = 4096

# Tags without which a file would seem to be another one: description, places of pixels, further levels, ImageJ.
_NEEDED_TAGS = frozenset((270, 273, 279, 324, 325, 330, 50838, 50839))
# Bytes of one value by the type of a tag.
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@contextmanager
def tiff_errors(path: Path | str) -> Iterator[None]:
    """Turns what tifffile and the system raise on a broken file into errors that name file and fix."""
    import tifffile

    try:
        yield
    except NgffError:
        raise
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} does not exist. Check the path") from error
    except (tifffile.TiffFileError, struct.error, EOFError) as error:
        raise FormatError(f"{path} is a truncated or corrupt TIFF file ({error}). Get a whole copy") from error
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        AssertionError,
        ArithmeticError,
        MemoryError,
    ) as error:
        # what tifffile meets where a file contradicts itself
        raise FormatError(
            f"{path}: its structure contradicts itself ({type(error).__name__}: {error}). Get a whole copy, or write "
            "it anew with the software that made it"
        ) from error


@dataclass(frozen=True)
class _Directories:
    """How the image file directories of one kind of TIFF are packed."""

    count: struct.Struct
    tag: struct.Struct
    offset: struct.Struct
    first: int


def check_directories(path: Path) -> None:
    """Refuse a file that is no TIFF, or whose chain of image file directories breaks off or bites its tail.

    tifffile only logs that, and goes on with the pages that it has found.

    Raises
    ------
    FormatError
        Naming what was found in place of a directory.
    """
    size = path.stat().st_size
    if size == 0:
        raise FormatError(f"{path} is empty, expected a TIFF file. Get a whole copy")
    if path.suffix.lower() == ".ndpi":
        return  # offsets of its own kind, for which tifffile has rules
    with path.open("rb") as file:
        packing = _packing(file, path)
        if packing is None or (packing.offset.size == 4 and size >= _WRAPS):
            return
        file.seek(packing.first)
        offset = _number(file, packing.offset, path, "the offset of the first page")
        if offset == 0:
            raise FormatError(f"{path} holds no page. Get a whole copy, or write it anew")
        seen: set[int] = set()
        while offset:
            page = f"page {len(seen)}"
            if offset in seen:
                raise FormatError(f"{path}: {page} is an earlier page again, so that pages never end. Write it anew")
            if offset + packing.count.size > size:
                raise FormatError(
                    f"{path} is truncated: {page} starts at byte {offset} of {size}. Get a whole copy of the file"
                )
            seen.add(offset)
            file.seek(offset)
            tags = _number(file, packing.count, path, f"the number of tags of {page}")
            if tags > _MOST_TAGS:
                raise FormatError(f"{path} is corrupt: {page} has {tags} tags. Get a whole copy of the file")
            if len(seen) == 1:
                _check_tags(file, packing, tags, size, path)
            else:
                file.seek(tags * packing.tag.size, os.SEEK_CUR)
            offset = _number(file, packing.offset, path, f"the end of {page}")


def _check_tags(file: BinaryIO, packing: _Directories, tags: int, size: int, path: Path) -> None:
    """Refuse a first page whose description, or list of pixels, lies beyond the end: tifffile goes on without it."""
    block = file.read(tags * packing.tag.size)
    if len(block) < tags * packing.tag.size:
        raise FormatError(f"{path} is truncated: it ends within its first page. Get a whole copy of the file")
    for code, kind, count, value in packing.tag.iter_unpack(block):
        length = count * _TYPE_SIZES.get(kind, 0)
        if code in _NEEDED_TAGS and length > packing.offset.size and value + length > size:
            raise FormatError(
                f"{path} is truncated: tag {code} of its first page ends at byte {value + length} of {size}. Get a "
                "whole copy of the file"
            )


def _packing(file: BinaryIO, path: Path) -> _Directories | None:
    """How the directories are packed; None for the raw formats of cameras, which tifffile knows."""
    header = file.read(8)
    order = {b"II": "<", b"MM": ">", b"EP": "<"}.get(header[:2])
    if order is None or len(header) < 8:
        raise FormatError(
            f"{path} is no TIFF file: it starts with {header[:4]!r}, expected b'II*\\x00' or b'MM\\x00*'. Name the "
            "engine of its true format"
        )
    version = struct.unpack(order + "H", header[2:4])[0]
    if version == 42:
        return _Directories(struct.Struct(order + "H"), struct.Struct(order + "HHII"), struct.Struct(order + "I"), 4)
    if version == 43:
        return _Directories(struct.Struct(order + "Q"), struct.Struct(order + "HHQQ"), struct.Struct(order + "Q"), 8)
    return None


def _number(file: BinaryIO, packed: struct.Struct, path: Path, what: str) -> int:
    data = file.read(packed.size)
    if len(data) < packed.size:
        raise FormatError(f"{path} is truncated: it ends before {what}. Get a whole copy of the file")
    return int(packed.unpack(data)[0])
