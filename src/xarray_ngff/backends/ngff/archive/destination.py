"""Single-file OME-Zarr: a ZIP archive as RFC-9 asks, written in one go.

The root `zarr.json` is the first entry, those of the arrays follow, and chunks are added as they are encoded; coarser
levels are made from what was added before. Nothing is compressed by the archive. All of it goes into a hidden file
beside the target, which is renamed when it is whole.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xarray_ngff.backends._atomic import checked_target, replacing_file
from xarray_ngff.backends.ngff.codecs.pipeline import fastest
from xarray_ngff.backends.ngff.stores import METADATA_KEYS, joined
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec, array_documents
from xarray_ngff.errors import FormatError, TargetExistsError
from xarray_ngff.pyramid.stream import Destination

if TYPE_CHECKING:
    import zarr

    from xarray_ngff.backends.ngff.archive.store import ArchiveStore

__all__ = ["archive_destination", "archive_path"]

_SUFFIXES = (".zip", ".ozx")

# RFC-9 is about Zarr v3, which is OME-Zarr 0.5 and later.
_VERSION = "0.5"


def archive_path(
    store: Any,
    *,
    version: str = _VERSION,
    compute: bool = True,
    resume: bool = False,
    region: Any = None,
    label: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Path | None:
    """Path of the archive that is to be written, or None where `store` is something else. Nothing is looked at.

    Parameters
    ----------
    store
        What the user gave as the place to write to. An archive is a local path that ends in ``.ozx`` or ``.zip``.
    version, compute, resume, region, label, storage_options
        The options of `to_ome_zarr` that not every archive, or none, can be written with.

    Raises
    ------
    FormatError
        Where an archive is asked for that cannot be written: on a URL, of another version, or with these options.

    Examples
    --------
    >>> archive_path("scans/brain.ozx").name
    'brain.ozx'
    >>> archive_path("scans/brain.ome.zarr")
    >>> archive_path("s3://lab/brain.ozx")
    Traceback (most recent call last):
    xarray_ngff.errors.FormatError: s3://lab/brain.ozx: an archive is written to a local path only: ...
    """
    if not isinstance(store, str | os.PathLike):
        return None
    name = os.fspath(store)
    if not isinstance(name, str) or not name.rstrip("/").lower().endswith(_SUFFIXES):
        return None
    if name.startswith("file://"):
        name = url2pathname(urlsplit(name).path)
    elif isinstance(store, str) and ("://" in name or "::" in name):
        raise FormatError(
            f"{name}: an archive is written to a local path only: write it there and copy it, or write a folder, under "
            "a name without .zip or .ozx"
        )
    refused = {
        f"version={version!r}": version != _VERSION,
        "compute=False": not compute,
        "resume=True": resume,
        f"region={region!r}": region is not None,
        f"label={label!r}": label is not None,
        "storage_options": bool(storage_options),
    }
    option = next((option for option, is_refused in refused.items() if is_refused), None)
    if option is not None:
        raise FormatError(
            f"{name} is a single-file OME-Zarr, which is of version {_VERSION} and is written whole, at once and by "
            f"this process: leave out {option}, or write a folder, under a name without .zip or .ozx"
        )
    return Path(name).expanduser()


def archive_destination(
    path: Path, specs: Sequence[ArraySpec], attributes: Mapping[str, Any], *, overwrite: bool
) -> Destination:
    """Place of a single-file OME-Zarr (RFC-9), for `xarray_ngff.pyramid.execution.write`; nothing is written yet.

    Only threads of this process can write to its arrays, each chunk (or shard) once.

    Parameters
    ----------
    path
        The file, of any name.
    specs
        The arrays of the levels, finest first.
    attributes
        Of the root group: its OME-Zarr metadata, of version 0.5.
    overwrite
        Whether an OME-Zarr archive that is there may be replaced. It stays until the new one is whole.

    Raises
    ------
    TargetExistsError
        Where something is there and `overwrite` is False, or where it is no Zarr archive.
    MissingFolderError
        Where the folder of the target does not exist.
    """
    target = checked_target(path, overwrite=overwrite)
    if target.is_dir():
        raise TargetExistsError(f"{target} is a folder, and a file is to be written: choose another name")
    if os.path.lexists(target) and not _may_be_replaced(target):
        raise TargetExistsError(
            f"{target} is no Zarr archive, so it is not overwritten: remove it, or choose another name"
        )
    archive = _Archive(target, specs, attributes, overwrite=overwrite)
    return Destination(
        name=str(path),
        arrays=archive.arrays,
        finish=archive.finish,
        discard=archive.discard,
        is_finished=archive.is_finished,
        is_shared=False,
    )


def _may_be_replaced(target: Path) -> bool:
    """Whether a file is an archive with a Zarr in it, or empty."""
    if not target.is_file():
        return False
    if target.stat().st_size == 0:
        return True
    try:
        with zipfile.ZipFile(target) as archive:
            return any(name.rpartition("/")[2] in METADATA_KEYS for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


class _Archive:
    """An archive that is being written: what the functions of its destination share."""

    def __init__(
        self, target: Path, specs: Sequence[ArraySpec], attributes: Mapping[str, Any], *, overwrite: bool
    ) -> None:
        self.target = target
        self.specs = tuple(specs)
        self.attributes = dict(attributes)
        self.overwrite = overwrite
        self._store: ArchiveStore | None = None
        self._unfinished = ExitStack()  # ends well with the archive in place, and by an exception without it
        self._is_finished = False

    def arrays(self) -> list[zarr.Array[Any]]:
        """Begin a hidden file with the documents of all nodes. What an earlier try left is removed first."""
        from xarray_ngff.backends.ngff.archive.store import ArchiveStore

        self.discard()
        with ExitStack() as stack:
            store = ArchiveStore(stack.enter_context(replacing_file(self.target, overwrite=self.overwrite)))
            for key, content in _documents(self.specs, self.attributes).items():
                store.append(key, content)
            arrays = [_opened(store, spec.path) for spec in self.specs]
            self._store, self._unfinished = store, stack.pop_all()
        return arrays

    def finish(self) -> None:
        """Close the archive and give it its name."""
        store, self._store = self._store, None
        with self._unfinished.pop_all():
            if store is None:
                raise FormatError(f"{self.target} was not begun, or was discarded, so it cannot be finished")
            store.seal(comment=_comment(self.attributes))
        self._is_finished = True

    def discard(self) -> None:
        """Remove the hidden file, if there is one."""
        self._store = None
        with suppress(_DiscardedError), self._unfinished.pop_all():
            raise _DiscardedError

    def is_finished(self) -> bool:
        """Whether this archive was closed, and is there."""
        return self._is_finished and self.target.is_file()


class _DiscardedError(Exception):
    """An archive is not to be finished."""


def _documents(specs: Sequence[ArraySpec], attributes: Mapping[str, Any]) -> dict[str, bytes]:
    """The document of every node by its key, breadth first."""
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    documents = {"zarr.json": json.dumps(group, indent=2, allow_nan=False).encode()}
    for spec in sorted(specs, key=lambda spec: spec.path.count("/")):
        for key, content in array_documents(spec, zarr_format=3).items():
            documents[joined(spec.path, key)] = content
    return documents


def _opened(store: ArchiveStore, path: str) -> zarr.Array[Any]:
    import zarr
    from zarr.core.sync import sync
    from zarr.storage import StorePath

    return fastest(zarr.Array(sync(zarr.AsyncArray.open(StorePath(store, path), zarr_format=3))))


def _comment(attributes: Mapping[str, Any]) -> bytes:
    """What tells a reader of the end of the archive that its documents come first."""
    ome = {"version": attributes["ome"]["version"], "zipFile": {"centralDirectory": {"jsonFirst": True}}}
    return json.dumps({"ome": ome}).encode()
