"""Errors and warnings of the package.

Every error says which file, dim or key it is about, what was found, what was expected and how to fix it. All of them
are `NgffError`; each also is the built-in error that a caller who does not know this package would catch.
"""

from __future__ import annotations

__all__ = [
    "FormatError",
    "GeometryError",
    "LevelError",
    "MemoryLimitError",
    "MetadataError",
    "MissingExtraError",
    "MissingFileError",
    "MissingFolderError",
    "NgffError",
    "NgffWarning",
    "TargetExistsError",
    "UnitError",
]


class NgffError(Exception):
    """Base of every error that xarray-ngff raises on purpose."""


class GeometryError(NgffError, ValueError):
    """A grid is missing, irregular or inconsistent, or a request does not fit it."""


class UnitError(NgffError, ValueError):
    """A unit cannot be understood, or has the wrong dimension (a length where a time is needed, say)."""


class FormatError(NgffError, ValueError):
    """A file is not what the engine reads, is truncated or corrupt, or cannot hold what it was asked to hold."""


class MetadataError(FormatError):
    """The metadata of a file breaks the specification in a way that leaves no safe reading."""


class LevelError(NgffError, IndexError):
    """A resolution level, multiscale or group that was asked for is not in the file."""


class MemoryLimitError(NgffError, ValueError):
    """A memory limit is no amount of memory, or less than the smallest piece of the work needs."""


class TargetExistsError(NgffError, FileExistsError):
    """The target of a write exists and overwriting was not asked for."""


class MissingExtraError(NgffError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class MissingFileError(FormatError, FileNotFoundError):
    """The file or folder that is to be opened does not exist."""


class MissingFolderError(NgffError, FileNotFoundError):
    """The folder that a file is to be written into does not exist."""


class NgffWarning(UserWarning):
    """Something in a file was read by a lenient rule; the message names the place."""
