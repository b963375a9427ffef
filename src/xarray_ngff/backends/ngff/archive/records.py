"""The records of a ZIP file whose entries are stored as they are.

They always have their ZIP64 form, as RFC-9 asks, so an archive of any size takes the same code: where a field of the
first ZIP has 16 or 32 bits, it says that the ZIP64 field holds the value. Times are fixed, so that equal contents give
equal bytes. The layout is that of PKWARE's APPNOTE 6.3.10, sections 4.3 to 4.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["Entry", "central_directory", "local_header"]

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_LOCAL_SIZES = struct.Struct("<2H2Q")
_DIRECTORY_HEADER = struct.Struct("<4s6H3I5H2I")
_DIRECTORY_SIZES = struct.Struct("<2H3Q")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_END_64_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")

# Say that a value is in the ZIP64 field.
_IN_ZIP64_H = 0xFFFF
_IN_ZIP64_I = 0xFFFFFFFF

_ZIP64_FIELD = 1
_READER = 45  # version 4.5 of the format has ZIP64
_WRITER = 3 << 8 | _READER  # on Unix, so that the mode of a file is understood
_NAMES_IN_UTF8 = 1 << 11
_STORED = 0
_TIME = 0
_DATE = 1 << 5 | 1  # 1980-01-01, the first day
_MODE = 0o100644 << 16  # a regular file that its owner may write


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive.

    Attributes
    ----------
    name
        Path inside the archive.
    offset
        Place of its local header, in bytes from the start of the archive.
    size
        Bytes of its content, which follows the header.
    crc
        CRC-32 of the content.
    """

    name: str
    offset: int
    size: int
    crc: int

    @property
    def start(self) -> int:
        """Place of the first byte of the content."""
        return self.offset + _LOCAL_HEADER.size + len(self.name.encode()) + _LOCAL_SIZES.size

    @property
    def end(self) -> int:
        """Place of the first byte after the content."""
        return self.start + self.size


def local_header(entry: Entry) -> bytes:
    """What precedes the content of an entry."""
    name = entry.name.encode()
    fixed = _LOCAL_HEADER.pack(
        b"PK\3\4",
        *(_READER, _NAMES_IN_UTF8, _STORED, _TIME, _DATE),
        *(entry.crc, _IN_ZIP64_I, _IN_ZIP64_I),
        *(len(name), _LOCAL_SIZES.size),
    )
    return fixed + name + _LOCAL_SIZES.pack(_ZIP64_FIELD, _LOCAL_SIZES.size - 4, entry.size, entry.size)


def central_directory(entries: Iterable[Entry], start: int, comment: bytes) -> Iterator[bytes]:
    """What follows the last entry: the header of each, and the records of the end with the comment of the archive.

    Parameters
    ----------
    entries
        In the order in which the directory lists them.
    start
        Place of the first byte of the directory.
    comment
        Text of less than 64 KiB, without control characters: some of them look like a record.
    """
    count, length = 0, 0
    for entry in entries:
        header = _directory_header(entry)
        count, length = count + 1, length + len(header)
        yield header
    yield _END_64.pack(
        b"PK\6\6",
        *(_END_64.size - 12, _WRITER, _READER),
        *(0, 0),  # this disk, and that of the directory
        *(count, count, length, start),
    )
    yield _END_64_LOCATOR.pack(b"PK\6\7", 0, start + length, 1)
    yield _END.pack(b"PK\5\6", 0, 0, *(_IN_ZIP64_H,) * 2, *(_IN_ZIP64_I,) * 2, len(comment)) + comment


def _directory_header(entry: Entry) -> bytes:
    name = entry.name.encode()
    fixed = _DIRECTORY_HEADER.pack(
        b"PK\1\2",
        *(_WRITER, _READER, _NAMES_IN_UTF8, _STORED, _TIME, _DATE),
        *(entry.crc, _IN_ZIP64_I, _IN_ZIP64_I),
        *(len(name), _DIRECTORY_SIZES.size, 0, 0, 0),  # no comment, the first disk, no internal attributes
        *(_MODE, _IN_ZIP64_I),
    )
    sizes = _DIRECTORY_SIZES.pack(_ZIP64_FIELD, _DIRECTORY_SIZES.size - 4, entry.size, entry.size, entry.offset)
    return fixed + name + sizes
