"""Files of formats that are read and written on this machine alone."""

from __future__ import annotations

import os
from pathlib import Path

from xarray_ngff.errors import FormatError, MissingFileError

__all__ = ["existing_file", "is_local_name", "local_path"]


def local_path(given: object, *, holder: str) -> Path:
    """Absolute path of a file that a user names, whether it exists or not.

    Parameters
    ----------
    given
        What the user gave; ``~`` is the home folder.
    holder
        Name of the format, for messages.

    Raises
    ------
    FormatError
        Where it is no path on this machine.
    """
    if not isinstance(given, (str, os.PathLike)) or isinstance(os.fspath(given), bytes):
        raise FormatError(
            f"{holder} files are read and written by path, but {type(given).__name__} was given: {given!r}. Save it to "
            "a file and give its name"
        )
    text = str(os.fspath(given))
    if "://" in text:
        raise FormatError(
            f"{text} is a URL, and {holder} files are read and written on this machine alone. Copy it first, for "
            "example with fsspec.filesystem(...).get(url, path)"
        )
    return Path(text).expanduser().absolute()


def existing_file(given: object, *, holder: str) -> Path:
    """Absolute path of a file that is there.

    Raises
    ------
    FormatError
        Where it is no path on this machine, or a folder.
    MissingFileError
        Where there is no such file.
    """
    path = local_path(given, holder=holder)
    if not path.exists():
        raise MissingFileError(f"{path} does not exist. Check the path")
    if not path.is_file():
        raise FormatError(f"{path} is not a file, and {holder} images are files. Name a file in it")
    return path


def is_local_name(given: object, suffixes: tuple[str, ...]) -> bool:
    """Whether something is the name of a local file that ends so, in upper or lower case; nothing is read.

    Examples
    --------
    >>> is_local_name("A.IMS", (".ims",)), is_local_name("https://a/b.ims", (".ims",))
    (True, False)
    """
    if not isinstance(given, (str, os.PathLike)):
        return False
    name = os.fspath(given)
    return isinstance(name, str) and "://" not in name and name.lower().endswith(suffixes)
