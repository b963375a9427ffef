"""Progress of a long write: the bytes that are written, at what rate, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from xarray_ngff.errors import MissingExtraError

__all__ = ["Bar", "progress_bar"]


class Bar(Protocol):
    """What shows progress."""

    def expect(self, amount: int) -> None:
        """Say how many bytes there are to write."""

    def advance(self, amount: int) -> None:
        """Say that so many more are written."""


class _NoBar:
    def expect(self, amount: int) -> None: ...

    def advance(self, amount: int) -> None: ...


class _TqdmBar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def expect(self, amount: int) -> None:
        self._bar.reset(total=amount)

    def advance(self, amount: int) -> None:
        self._bar.update(amount)


@contextmanager
def progress_bar(shown: bool) -> Iterator[Bar]:
    """A bar of bytes, their rate and the time left: in a notebook a widget, else a line on the error stream.

    Parameters
    ----------
    shown
        False gives a bar that shows nothing.

    Raises
    ------
    MissingExtraError
        Without tqdm.

    Examples
    --------
    >>> with progress_bar(False) as bar:
    ...     bar.expect(100)
    ...     bar.advance(60)
    """
    if not shown:
        yield _NoBar()
        return
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise MissingExtraError(
            "progress=True needs tqdm: install it with  pip install 'xarray-ngff[progress]'"
        ) from error
    with tqdm(desc="writing", unit="B", unit_scale=True, unit_divisor=1024) as bar:
        yield _TqdmBar(bar)
