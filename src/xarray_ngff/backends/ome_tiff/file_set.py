"""Several files that appear together, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xarray_ngff.backends._atomic import checked_target, exchange, flush, move_to_free_name, partial_path
from xarray_ngff.errors import TargetExistsError

__all__ = ["checked_targets", "replacing_files"]


def checked_targets(paths: Sequence[Path], *, overwrite: bool) -> list[Path]:
    """Real paths of files that may be written, or the error that says why one may not."""
    targets = [checked_target(path, overwrite=overwrite) for path in paths]
    for target in targets:
        if target.is_dir():
            raise TargetExistsError(f"{target} is a folder, and a file is to be written: choose another name")
    return targets


@contextmanager
def replacing_files(paths: Sequence[Path], *, overwrite: bool = False) -> Iterator[list[Path]]:
    """Paths of temporary files that become `paths` when the block, which writes them all, ends without an exception.

    The temporary files lie beside their targets under hidden names. They are flushed to the disk and given their names
    one right after the other, when all are finished. Any exception, also while names are given, removes them all and
    leaves every target as it was. A reader that looks while names are given may see some old files and some new ones,
    each whole.

    Raises
    ------
    TargetExistsError
        At once where a target exists and `overwrite` is False, or where it is a folder.
    MissingFolderError
        Where the folder of a target does not exist.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing_files([folder / "a.txt", folder / "b.txt"]) as (first, second):
    ...     _ = first.write_text("A"), second.write_text("B")
    >>> sorted(path.name for path in folder.iterdir())
    ['a.txt', 'b.txt']
    """
    targets = checked_targets(paths, overwrite=overwrite)
    partials = [partial_path(target) for target in targets]
    try:
        yield partials
        for partial in partials:
            flush(partial)
        _give_names(partials, targets, overwrite=overwrite)
    finally:
        # of files that were replaced, these are the old ones by now
        for partial in partials:
            partial.unlink(missing_ok=True)


def _give_names(partials: Sequence[Path], targets: Sequence[Path], *, overwrite: bool) -> None:
    """Rename every file to its target; files that are replaced go to the temporary names."""
    begun: list[tuple[Path, Path, os.stat_result, bool]] = []
    try:
        for partial, target in zip(partials, targets, strict=True):
            replaces = overwrite and os.path.lexists(target)
            if replaces:
                shutil.copymode(target, partial)
            begun.append((partial, target, partial.stat(), replaces))
            if replaces:
                exchange(partial, target)
            else:
                move_to_free_name(partial, target)
        for folder in dict.fromkeys(target.parent for target in targets):
            flush(folder)
    except BaseException:
        for partial, target, new, replaced in reversed(begun):
            # the last one may or may not have been renamed when the exception came
            if not os.path.lexists(target) or not os.path.samestat(target.stat(), new):
                continue
            if replaced:
                exchange(partial, target)
            else:
                target.rename(partial)
        raise
