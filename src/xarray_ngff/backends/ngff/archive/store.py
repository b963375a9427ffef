"""A zarr store that is a ZIP file being written: keys are added to its end, and can be read at once."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from xarray_ngff.backends.ngff.archive.keys import ArchiveKeys, limits
from xarray_ngff.backends.ngff.archive.records import Entry, central_directory, local_header
from xarray_ngff.errors import FormatError

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer

__all__ = ["ArchiveStore"]


class ArchiveStore(ArchiveKeys):
    """Zarr store of the threads of one process that makes a ZIP file, each key written once.

    A key gets its place in the file under a lock; its bytes are checked and written outside of it, so threads do not
    wait for each other. What has been written can be read before the archive is closed. Nothing can be deleted or
    written again. It does not pickle: a copy would not know what the others add.

    Parameters
    ----------
    path
        An empty file.

    Examples
    --------
    >>> import tempfile, zipfile
    >>> path = Path(tempfile.mkdtemp()) / "a.zip"
    >>> path.touch()
    >>> store = ArchiveStore(path)
    >>> store.append("a/b", b"first")
    >>> store.append("c", b"second")
    >>> store.content("a/b")
    b'first'
    >>> store.seal(comment=b"two letters")
    >>> zipfile.ZipFile(path).namelist()
    ['a/b', 'c']
    """

    supports_writes: bool = True

    def __init__(self, path: Path) -> None:
        super().__init__(read_only=False)
        self.path = path
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}  # whole
        self._taken: set[str] = set()  # whole, or being written
        self._end = 0
        self._is_sealed = False

    def __eq__(self, other: object) -> bool:
        return self is other

    def __str__(self) -> str:
        return f"zip://{self.path}"

    def __repr__(self) -> str:
        return f"ArchiveStore('{self.path}')"

    def __reduce__(self) -> NoReturn:
        raise FormatError(
            f"{self.path} is a zip archive that is being written, which only threads of one process can do: compute in "
            "threads, or write a folder"
        )

    # -- the archive --------------------------------------------------------------------------------------------------

    def append(self, key: str, content: bytes | memoryview) -> None:
        """Add a key to the end of the archive.

        Raises
        ------
        FormatError
            Where the key is there already, or the archive is closed.
        OSError
            Where it cannot be written; the archive can then not be closed.
        """
        content = memoryview(content)
        crc = zlib.crc32(content)
        with self._lock:
            if self._is_sealed:
                raise FormatError(f"{self.path}: {key!r} comes after the archive was closed")
            if key in self._taken:
                raise FormatError(f"{self.path}: {key!r} is written a second time, and an archive only grows")
            self._taken.add(key)
            entry = Entry(key, self._end, content.nbytes, crc)
            self._end = entry.end
        # opened anew each time: a shared file would have one position, and no thread could know when to close it
        with self.path.open("r+b") as file:
            file.seek(entry.offset)
            file.write(local_header(entry))
            file.write(content)
        self._entries[key] = entry

    def keys(self) -> Collection[str]:
        """Keys that are written whole."""
        return self._entries.keys()

    def size(self, key: str) -> int:
        """Bytes of a key."""
        return self._entries[key].size

    def content(self, key: str, byte_range: ByteRequest | None = None) -> bytes:
        """Bytes of a key, or a part of them."""
        entry = self._entries[key]
        start, stop = limits(byte_range, entry.size)
        with self.path.open("rb") as file:
            file.seek(entry.start + start)
            return file.read(stop - start)

    def seal(self, *, comment: bytes) -> None:
        """Make the file a whole ZIP archive, by the directory at its end. Nothing can be added after that.

        Raises
        ------
        FormatError
            Where not all that was begun has been written.
        """
        with self._lock:
            missing = self._taken.difference(self._entries)
            if missing:
                raise FormatError(f"{self.path} cannot be closed: {min(missing)!r} was not written whole")
            self._is_sealed = True
        with self.path.open("r+b") as file:
            file.seek(self._end)
            in_file = sorted(self._entries.values(), key=lambda entry: entry.offset)
            file.writelines(central_directory(in_file, self._end, comment))

    # -- what zarr asks for -------------------------------------------------------------------------------------------

    async def set(self, key: str, value: Buffer) -> None:
        """Add a key."""
        await asyncio.to_thread(self.append, key, value.as_numpy_array().data)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Add a key, unless it is there."""
        if key not in self._taken:
            await self.set(key, value)

    async def set_partial_values(self, key_start_values: Iterable[tuple[str, int, bytes | memoryview]]) -> None:
        """Raise, as keys are written whole; the first releases of zarr 3 want it to be there."""
        for key, _, _ in key_start_values:
            raise FormatError(f"{self.path}: a part of {key!r} cannot be written, as an archive only grows")

    async def delete(self, key: str) -> None:
        """Do nothing where a key is not there, as zarr deletes chunks that hold the fill value only."""
        if key in self._taken:
            raise FormatError(f"{self.path}: {key!r} cannot be deleted, as an archive only grows")

    async def delete_dir(self, prefix: str) -> None:
        """Do nothing where no key begins so."""
        async for key in self.list_prefix(f"{prefix.rstrip('/')}/" if prefix else ""):
            await self.delete(key)
