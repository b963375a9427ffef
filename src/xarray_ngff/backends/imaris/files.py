"""Imaris files as HDF5: opened with clear errors, shared by threads, and walked through without leaving the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xarray.backends import CachingFileManager
from xarray.backends.locks import HDF5_LOCK

from xarray_ngff.errors import FormatError, MetadataError, MissingExtraError, MissingFileError, NgffError

if TYPE_CHECKING:
    import h5py

__all__ = [
    "Manager",
    "check_filters",
    "file_manager",
    "group_at",
    "item_name",
    "member",
    "open_hdf5",
    "opened",
]

Manager = CachingFileManager[Any]

_WHOLE = "Get a whole copy"
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def open_hdf5(path: str, mode: str = "r") -> h5py.File:
    """The file, open for reading; `HDF5_LOCK` must be held.

    Raises
    ------
    FormatError
        Where it is not HDF5, or truncated.
    MissingFileError
        Where it is gone.
    BlockingIOError
        Where another program is writing to it.
    """
    import h5py

    try:
        return h5py.File(path, mode)
    except FileNotFoundError:
        raise MissingFileError(f"{path} does not exist (any more)") from None
    except BlockingIOError as error:
        raise BlockingIOError(error.errno, "another program is writing to the file. Close it there", path) from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's trouble, not the file's
        size = Path(path).stat().st_size
        if h5py.is_hdf5(path):
            raise FormatError(
                f"{path} is HDF5 of {size} bytes that cannot be opened: {error}. If it is truncated, {_WHOLE.lower()}"
            ) from error
        with Path(path).open("rb") as stream:
            start = stream.read(8)
        raise FormatError(
            f"{path} is no HDF5 file, so no Imaris 5.5 image: it has {size} bytes and starts with {start!r}, expected "
            f"{_SIGNATURE!r}. Older Imaris files must be saved anew by Imaris"
        ) from error


def file_manager(path: str) -> Manager:
    """What opens the file when it is needed and closes it; pickled copies open it for themselves."""
    # without a mode, xarray's manager would not open the file again after it was pickled
    return CachingFileManager(open_hdf5, path, mode="r", lock=HDF5_LOCK)


@contextmanager
def opened(manager: Manager, path: str) -> Iterator[h5py.File]:
    """The open file, for this thread alone.

    Raises
    ------
    FormatError
        Where something in the file is corrupt.
    """
    with HDF5_LOCK, manager.acquire_context(needs_lock=False) as file, clear_errors(path):
        yield file


@contextmanager
def clear_errors(place: str) -> Iterator[None]:
    """Turn what HDF5 says of a corrupt file into an error that names the place.

    Raises
    ------
    FormatError
        For an error of HDF5.
    """
    try:
        yield
    except (OSError, RuntimeError, KeyError) as error:
        if isinstance(error, NgffError) or getattr(error, "errno", None) is not None:
            raise  # the last is the disk's trouble, not the file's
        why = error.args[0] if error.args else error
        raise FormatError(f"{place} is truncated or corrupt: {why}. {_WHOLE}") from error


def member(parent: h5py.Group, name: str, path: str) -> h5py.Group | h5py.Dataset | None:
    """A group or dataset that is stored in a group, or None where there is none of that name.

    Raises
    ------
    MetadataError
        Where it is a link: what it points to could be any file of the machine.
    """
    import h5py

    raw = name.encode()
    links = parent.id.links
    if not links.exists(raw):
        return None
    if links.get_info(raw).type != h5py.h5l.TYPE_HARD:
        target = parent.get(name, getlink=True)
        there = f"{target.filename}:{target.path}" if isinstance(target, h5py.ExternalLink) else target.path
        place = f"{item_name(parent)}/{name}".lstrip("/")
        raise MetadataError(
            f"{path}: {place} is a link to {there}, expected the data themselves; links are not "
            "followed. Copy the file with what it links to, with h5py.Group.copy(..., expand_external=True, "
            "expand_soft=True)"
        )
    found = h5py.h5o.open(parent.id, raw)
    return (
        h5py.Dataset(found)
        if isinstance(found, h5py.h5d.DatasetID)
        else h5py.Group(found)
        if isinstance(found, h5py.h5g.GroupID)
        else None
    )


def group_at(parent: h5py.Group, name: str, path: str) -> h5py.Group | None:
    """A group in a group, or None where there is none of that name, or where it is something else."""
    import h5py

    found = member(parent, name, path)
    return found if isinstance(found, h5py.Group) else None


def item_name(item: h5py.Group | h5py.Dataset) -> str:
    """Path of a group or dataset in the file, for messages."""
    return str(item.name).strip("/") or "/"


def check_filters(dataset: h5py.Dataset, path: str) -> None:
    """Make sure that HDF5 can decode the chunks of a dataset, with hdf5plugin where it cannot by itself.

    Raises
    ------
    MissingExtraError
        Where hdf5plugin is needed and not installed.
    FormatError
        Where it does not know the filter either.
    """
    import h5py

    created = dataset.id.get_create_plist()
    filters = [created.get_filter(index) for index in range(created.get_nfilters())]
    for code, _, _, label in filters:
        if h5py.h5z.filter_avail(code):
            continue
        name = label.decode(errors="replace")
        about = f"{path}: {item_name(dataset)} is compressed with HDF5 filter {code} ({name})"
        try:
            import hdf5plugin  # noqa: F401  # registers its filters with HDF5
        except ImportError as error:
            raise MissingExtraError(
                f"{about}, which h5py does not have. Install it: pip install 'xarray-ngff[imaris]'"
            ) from error
        if not h5py.h5z.filter_avail(code):
            raise FormatError(
                f"{about}, which neither h5py nor hdf5plugin has. Install the filter's plugin for HDF5, or convert the "
                "file where it can be read, with h5repack -f GZIP=2"
            )
