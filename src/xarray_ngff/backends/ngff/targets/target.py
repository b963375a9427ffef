"""Where an OME-Zarr is written so that a reader finds the old one or the new one, whole, and never a part.

A local target is written into a hidden folder beside it and moved into place at the end. In any other store the arrays
are written first, under a prefix of their own where something is to be replaced, and the one document that makes the
group an OME-Zarr is written last; only then is what it replaces deleted. A reader that is in the middle of a read at
the very moment of the change may get chunks of both, as with any file that is replaced.

A write is `open_target`, `begin`, then, `held` by the process that waits for it, `create_arrays`, the blocks, which
the journal of `xarray_ngff.backends.ngff.targets.journal` notes, and `finish` or `discard`. All but the first may
happen in other processes, and more than once: a cluster does again what a lost worker had done.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xarray_ngff.backends.ngff.codecs.pipeline import fastest
from xarray_ngff.backends.ngff.stores import joined, read_documents
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec, array_documents
from xarray_ngff.backends.ngff.targets.folder import (
    check_folder,
    discard_folder,
    earlier_folders,
    finish_folder,
    folder_target,
    held_folder,
    hidden_folder,
    holding_process,
    remove_torn_files,
)
from xarray_ngff.backends.ngff.targets.journal import beginning, first_difference, holder, note_begun
from xarray_ngff.backends.ngff.targets.place import Target
from xarray_ngff.backends.ngff.targets.store import (
    discard_prefix,
    earlier_prefixes,
    empty_prefix,
    finish_store,
    is_published,
    put_prefix,
    store_target,
    writable_root,
)
from xarray_ngff.backends.ngff.targets.store_changes import can_delete, group_documents, put
from xarray_ngff.errors import FormatError, TargetExistsError

if TYPE_CHECKING:
    import zarr

__all__ = [
    "ArraySpec",
    "Target",
    "array_documents",
    "begin",
    "create_arrays",
    "discard",
    "finish",
    "held",
    "is_finished",
    "open_target",
]


def open_target(
    store: Any, *, overwrite: bool, storage_options: Mapping[str, Any] | None, resume: bool = False
) -> Target:
    """Place to write to, checked; nothing is written or created.

    Parameters
    ----------
    store
        Path of a folder, fsspec URL, zarr store, store path or group.
    overwrite
        Whether what is there may be replaced.
    storage_options
        Options of the fsspec file system, for URLs.
    resume
        Whether an unfinished write to this place may be continued, and this one later, should it fail.

    Raises
    ------
    TargetExistsError
        Where something is there and `overwrite` is False, or where it is no Zarr.
    FormatError
        Where the place cannot be written to.
    """
    from zarr.storage import LocalStore

    if isinstance(store, str) and store.startswith(("file://", "local://")):
        store = url2pathname(urlsplit(store).path)
    is_url = isinstance(store, str) and ("://" in store or "::" in store)
    if storage_options and not is_url:
        raise FormatError(f"{store}: storage_options are for URLs, and this is not one: leave them out")
    if isinstance(store, str | os.PathLike) and os.fspath(store).rstrip("/").lower().endswith((".zip", ".ozx")):
        raise FormatError(f"{store}: OME-Zarr is written as a folder, not into a zip archive: leave out the suffix")
    if isinstance(store, str | os.PathLike) and not is_url:
        return folder_target(Path(store).expanduser(), overwrite=overwrite, resume=resume)
    root = writable_root(store, storage_options)
    if type(root.store) is LocalStore:
        return folder_target(Path(root.store.root) / root.path, overwrite=overwrite, resume=resume)
    return store_target(root, overwrite=overwrite, resume=resume)


def begin(target: Target, description: str) -> Target:
    """The target with what is written to it; where it may, the place of an unfinished write of the same.

    Parameters
    ----------
    target
        What `open_target` gave.
    description
        See `xarray_ngff.backends.ngff.targets.journal.described`.

    Raises
    ------
    FormatError
        Where there are unfinished writes, but none of this description; or where a process is still writing it.
    """
    if target.final is None and not can_delete(target.root):
        return target
    target = replace(target, description=description)
    if not target.resume:
        return target
    places = earlier_folders(target) if target.final is not None else earlier_prefixes(target)
    begun = [(found, place) for place in places if (found := beginning(place.journal)) is not None]
    begun.sort(key=lambda each: each[0].started, reverse=True)
    wanted = json.loads(description)
    differences = [(first_difference(json.loads(found.description), wanted), place) for found, place in begun]
    fitting = next((place for difference, place in differences if difference is None), None)
    if fitting is not None:
        if (busy := _busy(fitting)) is not None:
            raise busy
        return replace(fitting, continues=True)
    for difference, place in differences:
        # what another process is writing now is its own business
        if difference is not None and _busy(place) is None:
            where, there, here = difference
            raise FormatError(
                f"{target.root.name} has an unfinished write of something else, in {_place_name(place)}: its {where} "
                f"is {_shown(there)}, and {_shown(here)} is to be written. Write the same with the same options to go "
                f"on; to begin anew, {_anew(target)}"
            )
    return target


def _busy(target: Target) -> FormatError | None:
    """Error that names the process which writes to a target, where this one can know of it."""
    return None if target.final is None else holding_process(target)


def _place_name(target: Target) -> str:
    return str(hidden_folder(target)) if target.final is not None else target.root.child(target.prefix).name


def _anew(target: Target) -> str:
    """How to begin anew beside an unfinished write."""
    return "leave out resume=True" if target.final is not None or target.replaces else "delete it first"


def _shown(value: Any) -> str:
    text = "missing" if value is None else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def held(target: Target) -> AbstractContextManager[None]:
    """Keep other processes from continuing a write to a folder while the block runs.

    Stores cannot be held, so there a write that another one overtakes fails when it is to be finished.

    Raises
    ------
    FormatError
        Where another process holds it, or the folder cannot be made.
    """
    return held_folder(target) if target.final is not None and target.description is not None else nullcontext()


def create_arrays(target: Target, specs: Sequence[ArraySpec], *, zarr_format: int) -> list[zarr.Array[Any]]:
    """Arrays of the levels, at the target: empty, or those of the write that is continued.

    The group is not an OME-Zarr yet. What an earlier computation left is removed first. Where this happens again in the
    middle of a computation, because a cluster lost a worker, everything stays.
    """
    if target.final is not None:
        check_folder(target)
    elif is_published(target):
        raise TargetExistsError(f"{target.root.name} was written since this write was planned, and was left as it is")
    if target.description is not None and (begun := beginning(target.journal)) is not None:
        if target.continues:
            _check_same(target, begun.description)
        if holder(target.journal) == target.token:
            return [_opened(target, spec, zarr_format) for spec in specs]
    elif target.continues:
        raise _gone(target)
    if not target.continues:
        if target.final is not None:
            discard_folder(target)
        else:
            empty_prefix(target, specs)
            put_prefix(target, zarr_format)
        for spec in specs:
            for key, content in array_documents(spec, zarr_format=zarr_format).items():
                put(target.root, joined(target.array_path(spec.path), key), content)
    elif target.final is not None:
        remove_torn_files(target)
    if target.description is not None:
        note_begun(target)
    return [_opened(target, spec, zarr_format) for spec in specs]


def _check_same(target: Target, description: str) -> None:
    if first_difference(json.loads(description), json.loads(target.description or "null")) is not None:
        raise _gone(target)


def _gone(target: Target) -> FormatError:
    return FormatError(
        f"the unfinished write of {target.root.name} that was to be continued is gone: it was finished or removed "
        "since this write was planned. Write again"
    )


def _opened(target: Target, spec: ArraySpec, zarr_format: int) -> zarr.Array[Any]:
    import zarr
    from zarr.core.sync import sync
    from zarr.storage import StorePath

    path = joined(target.root.path, target.array_path(spec.path))
    place = StorePath(target.root.store, path)
    array = zarr.Array(sync(zarr.AsyncArray.open(place, zarr_format=2 if zarr_format == 2 else 3)))
    return fastest(array)


def finish(target: Target, attributes: Mapping[str, Any], *, zarr_format: int) -> None:
    """Make the group an OME-Zarr in one step, then delete what it replaces.

    Nothing happens where that was done already, by a worker that was lost right after it.

    Raises
    ------
    FormatError
        Where another process went on with the write meanwhile.
    """
    documents = group_documents(zarr_format, attributes)
    if target.description is not None:
        found = holder(target.journal)
        if found is None and _holds(target, documents):
            return
        if found is None:
            raise FormatError(
                f"{target.root.name} was not finished: what was written is not there. Another process has removed it, "
                "or it was written by processes whose memory or disks this one does not share: write to a path or URL "
                "that all of them share, or compute in threads"
            )
        if found != target.token:
            raise FormatError(
                f"{target.root.name} was not finished: another process has gone on with this write. "
                "Have one process at a time write to a place"
            )
    if target.final is not None:
        finish_folder(target, documents)
    else:
        finish_store(target, documents, zarr_format)


def _holds(target: Target, documents: Mapping[str, bytes]) -> bool:
    """Whether the documents of the finished group are where readers find them."""
    if target.final is not None:
        found = {key: path.read_bytes() for key in documents if (path := target.final / key).is_file()}
        return found == documents
    return read_documents(target.root, list(documents)) == documents


def discard(target: Target, specs: Sequence[ArraySpec]) -> None:
    """Remove what was written of an unfinished group; what was there before, and a finished group, stay as they are.

    With ``resume=True`` what was begun is kept for the next try. What another process went on with is never touched.
    """
    if target.description is not None:
        found = holder(target.journal)
        if found not in (None, target.token) or (target.resume and beginning(target.journal) is not None):
            return
    if target.final is not None:
        discard_folder(target)
    else:
        discard_prefix(target, specs)


def is_finished(target: Target) -> bool:
    """Whether the group is where this process would read it."""
    return target.final.is_dir() if target.final is not None else is_published(target)
