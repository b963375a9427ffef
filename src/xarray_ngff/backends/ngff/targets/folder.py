"""A local target: a hidden folder beside it that is moved into place when it is whole."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from xarray_ngff.backends._atomic import checked_target, partial_path, publish, remove
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, StoreRoot
from xarray_ngff.backends.ngff.targets.journal import beginning
from xarray_ngff.backends.ngff.targets.place import JOURNAL, Target
from xarray_ngff.backends.ngff.targets.store_changes import put
from xarray_ngff.errors import FormatError, TargetExistsError

try:
    import fcntl
except ImportError:  # Windows
    _CAN_LOCK = False
else:
    _CAN_LOCK = True

__all__ = [
    "check_folder",
    "discard_folder",
    "earlier_folders",
    "finish_folder",
    "folder_target",
    "held_folder",
    "hidden_folder",
    "holding_process",
    "remove_torn_files",
]

# What zarr writes before it has the name of its chunk or document.
_TORN = re.compile(r"\.[0-9a-f]{32}\.partial$")


def folder_target(path: Path, *, overwrite: bool, resume: bool) -> Target:
    """Target of a path; nothing is created."""
    target = checked_target(path, overwrite=overwrite)
    exists = os.path.lexists(target)
    if exists and not (target.is_dir() and any((target / key).is_file() for key in METADATA_KEYS)):
        raise TargetExistsError(f"{target} is no Zarr, so it is not overwritten: remove it, or choose another name")
    root = _root(partial_path(target), target)
    return Target(root, "", target, exists, resume=resume, before=_documents_there(target))


def _root(hidden: Path, final: Path) -> StoreRoot:
    from zarr.storage import LocalStore

    return StoreRoot(LocalStore(hidden), "", str(final))


def _documents_there(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Size and time of each document of a folder, which tell it from the one that replaces it."""
    found = []
    for key in METADATA_KEYS:
        with suppress(FileNotFoundError, NotADirectoryError):
            status = (folder / key).stat()
            found.append((key, status.st_size, status.st_mtime_ns))
    return tuple(found)


def hidden_folder(target: Target) -> Path:
    """Folder that is written."""
    return Path(target.root.store.root)  # type: ignore[attr-defined]  # a LocalStore


def _final(target: Target) -> Path:
    assert target.final is not None
    return target.final


def earlier_folders(target: Target) -> list[Target]:
    """Places of unfinished writes to the same target that can be continued."""
    final = _final(target)
    name = re.compile(rf"\.{re.escape(final.name)}\.[0-9a-f]{{8}}\.partial")
    hidden = [path for path in final.parent.iterdir() if name.fullmatch(path.name)]
    places = [replace(target, root=_root(path, final)) for path in hidden]
    return [place for place in places if beginning(place.journal) is not None]


# -- one process at a time --------------------------------------------------------------------------------------------


@contextmanager
def held_folder(target: Target) -> Iterator[None]:
    """Keep other processes from continuing a write while the block runs, on systems that can lock files."""
    if not _CAN_LOCK:
        yield
        return
    lock = _lock_file(target)
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise FormatError(f"{target.root.name} cannot be written to: {type(error).__name__}: {error}") from error
    try:
        mine = _locked(descriptor)
        if not mine:
            raise _held_by(target, descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(descriptor)
        if mine:
            lock.unlink(missing_ok=True)


def holding_process(target: Target) -> FormatError | None:
    """Error that names the process which writes to a hidden folder; None where none does that this one can know of."""
    try:
        descriptor = os.open(_lock_file(target), os.O_RDWR)
    except OSError:
        return None
    try:
        return None if _locked(descriptor) else _held_by(target, descriptor)
    finally:
        os.close(descriptor)


def _lock_file(target: Target) -> Path:
    """File beside the hidden folder."""
    return hidden_folder(target).with_suffix(".lock")


def _held_by(target: Target, descriptor: int) -> FormatError:
    process = os.read(descriptor, 1000).decode(errors="replace")
    return FormatError(
        f"{target.root.name} is being written by {process or 'another process'}: wait until it is done, or end it and "
        "try again"
    )


def _locked(descriptor: int) -> bool:
    """Lock a file until it is closed; False where another one has it, True also where files cannot be locked."""
    if not _CAN_LOCK:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return True
    return True


# -- steps ------------------------------------------------------------------------------------------------------------


def check_folder(target: Target) -> None:
    """Raise where what is to be replaced has been replaced since the write was planned."""
    if target.replaces and _documents_there(_final(target)) not in (target.before, ()):
        raise TargetExistsError(f"{target.final} was written since this write was planned, and was left as it is")


def finish_folder(target: Target, documents: Mapping[str, bytes]) -> None:
    """Give the group its documents, and the folder its name."""
    for key, content in documents.items():
        put(target.root, key, content)
    hidden = hidden_folder(target)
    remove_torn_files(target)
    # in this order, so that a write that is killed here can be continued as long as it can be
    for name in ("done", "begun"):
        remove(hidden / JOURNAL / name)
    remove(hidden / JOURNAL)
    publish(hidden, _final(target), overwrite=target.replaces)


def discard_folder(target: Target) -> None:
    """Remove the hidden folder."""
    remove(hidden_folder(target))


def remove_torn_files(target: Target) -> None:
    """Remove what processes that were killed left of single chunks and documents."""
    for folder, _, names in os.walk(hidden_folder(target)):
        for name in names:
            if _TORN.search(name):
                (Path(folder) / name).unlink(missing_ok=True)
