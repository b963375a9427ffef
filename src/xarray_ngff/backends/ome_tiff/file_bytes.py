"""Bytes of files that are opened when they are first needed, for threads to share."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from io import FileIO
from types import TracebackType
from typing import Any

from xarray_ngff.errors import FormatError, MissingFileError

__all__ = ["FileBytes"]

# Files that are open at a time during one read.
_OPEN = 16


class FileBytes:
    """Bytes of several files; a context manager that closes them.

    Parameters
    ----------
    files
        Paths.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.files = files
        self._lock = threading.Lock()
        self._opened: OrderedDict[int, FileIO] = OrderedDict()

    def __enter__(self) -> FileBytes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            while self._opened:
                self._opened.popitem()[1].close()

    def size(self, file: int) -> int:
        """Length of a file in bytes."""
        with self._lock:
            return os.fstat(self._handle(file).fileno()).st_size

    def fill(self, file: int, offset: int, target: Any) -> None:
        """Fill a writable buffer with the bytes of a file from an offset on.

        Raises
        ------
        FormatError
            Where the file ends before the buffer is full.
        """
        view = memoryview(target).cast("B")
        done = 0
        with self._lock:
            handle = self._handle(file)
            handle.seek(offset)
            while done < len(view):  # one call reads 2 GiB at most
                count = handle.readinto(view[done:])
                if not count:
                    raise FormatError(
                        f"{self.files[file]} is truncated: pixels are promised up to byte {offset + len(view)}, but it "
                        f"ends at {offset + done}. Get a whole copy"
                    )
                done += count

    def _handle(self, file: int) -> FileIO:
        found = self._opened.get(file)
        if found is not None:
            self._opened.move_to_end(file)
            return found
        path = self.files[file]
        if len(self._opened) >= _OPEN:
            self._opened.popitem(last=False)[1].close()
        try:
            self._opened[file] = opened = FileIO(path)
        except FileNotFoundError as error:
            raise MissingFileError(f"{path} is gone since the image was opened. Put it back, or open anew") from error
        return opened
