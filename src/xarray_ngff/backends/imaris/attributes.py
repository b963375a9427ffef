"""Text as Imaris keeps it in HDF5 attributes: one byte of it after another, as an array of strings of length one.

Imaris's own writer puts text of more than 1024 bytes into a dataset beside the attributes instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.backends.imaris.files import item_name, member
from xarray_ngff.errors import MetadataError

if TYPE_CHECKING:
    import h5py

__all__ = ["decoded", "encoded", "text_at"]

# Bytes that no text of a file needs.
_TOO_LONG = 1 << 20


def encoded(text: str) -> npt.NDArray[np.bytes_]:
    """Text as the attribute value that Imaris expects: its UTF-8 bytes, each a string of length one.

    Empty text is one null character, as Imaris's own writer has it, because HDF5 attributes of no length are rare
    enough to trouble readers.

    Examples
    --------
    >>> encoded("um"), encoded("")
    (array([b'u', b'm'], dtype='|S1'), array([b''], dtype='|S1'))
    """
    return np.frombuffer(bytearray(text.encode() or b"\0"), dtype="S1")


def decoded(attribute: Any) -> str:
    """Text of an attribute, whatever it was written as.

    Arrays of one-character strings are Imaris's own; other writers give plain strings of fixed or variable length, or
    numbers, which come out as their decimals with blanks between them. Text ends at the first null character; its
    bytes are UTF-8, or Latin-1 where that fails.

    Parameters
    ----------
    attribute
        The value as h5py reads it.

    Examples
    --------
    >>> decoded(encoded("Cy5 (µm)")), decoded(b"um"), decoded("um"), decoded(np.float32([0.1, 1]))
    ('Cy5 (µm)', 'um', 'um', '0.1 1.0')
    """
    if isinstance(attribute, str):
        # h5py marks bytes of a string that are not UTF-8 with surrogates
        return _text(attribute.encode("utf-8", "surrogateescape"))
    if isinstance(attribute, bytes):
        return _text(attribute)
    values = np.asarray(attribute)
    if values.dtype.kind == "S":
        return _text(values.tobytes() if values.dtype.itemsize == 1 else b"".join(values.ravel().tolist()))
    if values.dtype.kind in "OU":
        return "".join(decoded(part) for part in values.ravel().tolist() if isinstance(part, (str, bytes)))
    return " ".join(str(number) for number in values.ravel())


def _text(raw: bytes) -> str:
    content = raw.partition(b"\0")[0]
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def text_at(group: h5py.Group, name: str, path: str) -> str | None:
    """Text of an attribute, or of the dataset that takes its place; None where there is neither.

    Parameters
    ----------
    group
        Group that has the attribute.
    name
        Name of the attribute.
    path
        The file, for messages.

    Raises
    ------
    MetadataError
        Where it is no text or number, or absurdly long.
    """
    import h5py

    raw = name.encode()
    if h5py.h5a.exists(group.id, raw):
        attribute = h5py.h5a.open(group.id, raw)
        kind, space = attribute.get_type(), attribute.get_space()
        if (size := kind.get_size() * space.get_simple_extent_npoints()) > _TOO_LONG:
            raise _unreadable(group, name, path, f"it has {size} bytes")
        try:
            if space.get_simple_extent_type() == h5py.h5s.SIMPLE and kind.equal(h5py.h5t.C_S1):
                # a file may have thousands, and looking one up by name takes long
                value = np.empty(attribute.shape, attribute.dtype)
                attribute.read(value)
                return decoded(value)
            return decoded(group.attrs[name])
        except (OSError, TypeError, ValueError, RuntimeError) as error:
            raise _unreadable(group, name, path, error) from error
    # in the names of datasets, Imaris writes a slash as "%s"
    dataset = member(group, name.replace("%", "%p").replace("/", "%s"), path)
    if not isinstance(dataset, h5py.Dataset):
        return None
    if dataset.nbytes > _TOO_LONG:
        raise _unreadable(group, name, path, f"it has {dataset.nbytes} bytes")
    try:
        return decoded(dataset[()])
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise _unreadable(group, name, path, error) from error


def _unreadable(group: h5py.Group, name: str, path: str, why: object) -> MetadataError:
    return MetadataError(f"{path}: {name} of {item_name(group)} cannot be read: {why}")
