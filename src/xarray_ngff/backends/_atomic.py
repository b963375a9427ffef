"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from xarray_ngff.errors import MissingFolderError, TargetExistsError

__all__ = [
    "checked_target",
    "exchange",
    "flush",
    "move_to_free_name",
    "partial_path",
    "publish",
    "remove",
    "replacing_directory",
    "replacing_file",
    "scratch_file",
]

# linux/fs.h
_NO_REPLACE = 1
_EXCHANGE = 2
_AT_FDCWD = -100


@contextmanager
def replacing_file(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Path of a temporary file that becomes `path` when the block ends without an exception.

    The temporary file lies beside the target, is flushed to the disk and renamed; after any exception it is removed
    and the target is as it was. A reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path
        The target. Where it is a symbolic link, the file that it points to is replaced.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    TargetExistsError
        At once where the target exists and `overwrite` is False, or where it is a folder.
    MissingFolderError
        Where the folder of the target does not exist.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with replacing_file(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    target = checked_target(path, overwrite=overwrite)
    if target.is_dir():
        raise TargetExistsError(f"{target} is a folder, and a file is to be written: choose another name")
    with scratch_file(target) as temporary:
        yield temporary
        flush(temporary)
        if target.exists():
            shutil.copymode(target, temporary)
        if overwrite:
            temporary.replace(target)
        else:
            move_to_free_name(temporary, target)
        flush(target.parent)


@contextmanager
def scratch_file(target: Path) -> Iterator[Path]:
    """Path of a new empty file beside `target` that is removed when the block ends, if it is still there."""
    temporary = partial_path(target)
    temporary.touch(exist_ok=False)
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_directory(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Path of a temporary folder that becomes `path` when the block ends without an exception.

    On Linux an existing target is exchanged with the new folder in one step (``renameat2``) and then deleted, so a
    reader sees the old folder or the new one, whole. On other systems, and on file systems that cannot exchange, the
    old folder is renamed away first: for that moment the target does not exist, and if the second rename fails the
    first is undone. The files in the folder are not flushed to the disk one by one.

    Parameters
    ----------
    path
        The target. Where it is a symbolic link, the folder that it points to is replaced.
    overwrite
        Whether an existing target may be replaced. It is deleted with all that it holds.

    Raises
    ------
    TargetExistsError
        At once where the target exists and `overwrite` is False.
    MissingFolderError
        Where the folder above the target does not exist.
    """
    target = checked_target(path, overwrite=overwrite)
    temporary = partial_path(target)
    temporary.mkdir()
    try:
        yield temporary
        publish(temporary, target, overwrite=overwrite)
    finally:
        remove(temporary)


def publish(temporary: Path, target: Path, *, overwrite: bool = False) -> None:
    """Give a finished folder its name, and delete the one that it replaces; see `replacing_directory`."""
    if overwrite and os.path.lexists(target):
        exchange(temporary, target)
        remove(temporary)
    else:
        move_to_free_name(temporary, target)


def checked_target(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Real path of a target that may be written, or the error that says why it may not."""
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not overwrite:
        raise TargetExistsError(f"{target} exists: pass overwrite=True to replace it, or choose another name")
    if not target.parent.is_dir():
        raise MissingFolderError(f"cannot write {target}: the folder {target.parent} does not exist. Create it first")
    return target


def partial_path(target: Path) -> Path:
    """A new hidden name beside the target."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def flush(path: Path) -> None:
    """Have the disk hold what was written to a file, or the names in a folder."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder, and keeps names safe on its own
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):  # the second is what some systems say of a folder
        shutil.rmtree(path)


def move_to_free_name(source: Path, target: Path) -> None:
    """Rename to a name that must still be free: something may have appeared there since the first look."""
    try:
        if _renameat2(source, target, _NO_REPLACE):
            return
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
    except FileExistsError as error:
        raise TargetExistsError(
            f"{target} appeared while it was being written, and was left as it is: pass overwrite=True to replace it"
        ) from error


def exchange(new: Path, target: Path) -> None:
    """Put `new` at the place of `target`; afterwards the old one, if it is left, is at the name of `new`."""
    if _renameat2(new, target, _EXCHANGE):
        return
    old = partial_path(target)
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    old.rename(new)


@cache
def _libc_renameat2() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return function


def _renameat2(source: Path, target: Path, flag: int) -> bool:
    """Rename with a flag of Linux; False where the system or the file system does not know it."""
    function = _libc_renameat2()
    if function is None:
        return False
    if function(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flag) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(source), None, str(target))
