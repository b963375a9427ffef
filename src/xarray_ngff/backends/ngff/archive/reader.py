"""A zarr store that reads a ZIP file: threads at the same time, and of a stored entry the bytes that are asked for."""

from __future__ import annotations

import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from zarr.storage import ZipStore  # noqa: TID253  # loaded only where an archive is opened

from xarray_ngff.backends.ngff.archive.keys import ArchiveKeys, limits

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest

__all__ = ["ArchiveReader"]

_ENCRYPTED = 1
_LOCAL_HEADER_SIZE = 30


class ArchiveReader(ArchiveKeys, ZipStore):
    """Zarr store of the entries of a ZIP file, for reading. It pickles: a copy opens the file again.

    zarr's own reads one key at a time, and before Python 3.12 an entry from its start to get at a part of it, such as a
    chunk in a shard. What this one does not do itself, such as refusing to write, is as there.

    Parameters
    ----------
    path
        The file. It is opened at once and stays open, so that one that replaces it later is not mixed with it.

    Raises
    ------
    zipfile.BadZipFile, OSError
        Where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # absolute for copies that are opened after a change of the working folder
        ZipStore.__init__(self, path.absolute(), mode="r")
        self._archive = zipfile.ZipFile(self.path)
        self._infos = {info.filename: info for info in self._archive.infolist() if not info.is_dir()}
        self._lock = threading.RLock()
        self._is_open = True

    def __reduce__(self) -> tuple[type[ArchiveReader], tuple[Path]]:
        return type(self), (self.path,)

    def close(self) -> None:
        """Close the file."""
        self._is_open = False
        self._archive.close()

    def keys(self) -> Collection[str]:
        """Names of the files in it."""
        return self._infos.keys()

    def size(self, key: str) -> int:
        """Bytes of a file, unpacked."""
        return self._infos[key].file_size

    def content(self, key: str, byte_range: ByteRequest | None = None) -> bytes:
        """Bytes of a file, checked against their sum; or a part of them, unchecked where it is stored as it is."""
        info = self._infos[key]
        start, stop = limits(byte_range, info.file_size)
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & _ENCRYPTED and hasattr(os, "pread"):
            content = self._read(self._place(info) + start, stop - start)
            if byte_range is None and zlib.crc32(content) != info.CRC:
                raise zipfile.BadZipFile(f"Bad CRC-32 for file {key!r}")
            return content
        with self._lock, self._archive.open(info) as file:
            file.seek(start)
            return file.read(stop - start)

    def _place(self, info: zipfile.ZipInfo) -> int:
        """Of the first byte of a file, which only its own header in front of it says."""
        header = self._read(info.header_offset, _LOCAL_HEADER_SIZE)
        if header[:4] != b"PK\3\4":
            raise zipfile.BadZipFile(f"no entry begins where that of {info.filename!r} should")
        name, extra = struct.unpack("<2H", header[26:])
        return info.header_offset + _LOCAL_HEADER_SIZE + int(name) + int(extra)

    def _read(self, place: int, count: int) -> bytes:
        if self._archive.fp is None:
            raise ValueError(f"{self.path} was closed")
        file = self._archive.fp.fileno()
        # before memory is taken for it
        if place + count > os.fstat(file).st_size:
            raise zipfile.BadZipFile(f"{self.path} ends before byte {place + count}")
        parts = []
        while count > 0:
            # the system gives 2 GiB at most at once
            parts.append(os.pread(file, count, place))
            place, count = place + len(parts[-1]), count - len(parts[-1])
        return b"".join(parts)
