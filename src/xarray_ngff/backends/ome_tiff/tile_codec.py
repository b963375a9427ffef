"""Tiles as the bytes that a TIFF file holds, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xarray_ngff.errors import FormatError, MissingExtraError

__all__ = ["COMPRESSIONS", "TileCodec", "check_compression", "tile_codec"]

#: Lossless compressions by name, with the value of the Compression tag.
COMPRESSIONS = {"none": 1, "lzw": 5, "zlib": 8, "deflate": 8, "lzma": 34925, "zstd": 50000}

# Range of the level that may follow the name, and its default. After the predictor, levels above 1 of zlib make
# micrographs 1 to 10 % smaller and take 2 to 5 times as long.
_LEVELS = {"zlib": (1, 9, 1), "deflate": (1, 9, 1), "zstd": (1, 22, 3)}
_LONGEST_PREDICTED = 4


@dataclass(frozen=True)
class TileCodec:
    """How the tiles of a file are encoded.

    Attributes
    ----------
    compression
        Value of the Compression tag.
    level
        Of the compression, or None where it has none.
    dtype
        Type of the values, little-endian.
    """

    compression: int
    level: int | None
    dtype: np.dtype[Any]

    @property
    def predictor(self) -> bool:
        """Whether each value is stored as the difference to the one on its left, which integers compress better by."""
        return self.compression != 1 and self.dtype.kind in "iu" and self.dtype.itemsize <= _LONGEST_PREDICTED

    def encode(self, values: npt.NDArray[Any], tile: tuple[int, int]) -> bytes:
        """Bytes of a tile; values that end before it are padded with zeros."""
        padded = np.zeros(tile, self.dtype)
        rows, columns = values.shape
        padded[:rows, :columns] = values
        if self.predictor:
            # from the right, so that nothing is overwritten that is still needed
            np.subtract(padded[:, 1:], padded[:, :-1].copy(), out=padded[:, 1:])
        if self.compression == 1:
            return padded.tobytes()
        compress = _codecs(encode=True)[self.compression]
        return bytes(compress(padded) if self.level is None else compress(padded, self.level))

    def decode(self, data: bytes, tile: tuple[int, int]) -> npt.NDArray[Any]:
        """Values of a whole tile."""
        plain = data
        if self.compression != 1:
            plain = _codecs(encode=False)[self.compression](data, out=tile[0] * tile[1] * self.dtype.itemsize)
        values = np.frombuffer(plain, self.dtype).reshape(tile)
        if not self.predictor:
            return values
        # added up in the type itself, where sums wrap around as the differences did
        summed: npt.NDArray[Any] = np.cumsum(values, axis=1, dtype=self.dtype)
        return summed


def tile_codec(compression: str | None, dtype: np.dtype[Any], *, place: str) -> TileCodec:
    """How tiles are encoded; see `check_compression`.

    Examples
    --------
    >>> codec = tile_codec("zlib", np.dtype("uint16"), place="a.ome.tif")
    >>> codec.decode(codec.encode(np.array([[3, 1]]), (16, 16)), (16, 16))[0, :3]
    array([3, 1, 0], dtype=uint16)
    """
    name, level = check_compression(compression, place=place)
    return TileCodec(COMPRESSIONS[name], level, dtype.newbyteorder("<"))


def check_compression(compression: object, *, place: str) -> tuple[str, int | None]:
    """Name and level of a compression such as ``"zlib"`` or ``"zlib:6"``; None is none.

    Raises
    ------
    FormatError
        For a name or level that is not known.
    MissingExtraError
        Where the compression needs imagecodecs.

    Examples
    --------
    >>> check_compression("zlib", place="a.ome.tif"), check_compression(None, place="a.ome.tif")
    (('zlib', 1), ('none', None))
    """
    name, level = _name_and_level(compression, place=place)
    code = COMPRESSIONS[name]
    if not all(code in _codecs(encode=encode) for encode in (True, False)):
        raise MissingExtraError(
            f"{place}: compression {name!r} needs imagecodecs: pip install 'xarray-ngff[tiff]', or choose 'zlib'"
        )
    return name, level


def _name_and_level(compression: object, *, place: str) -> tuple[str, int | None]:
    text = "none" if compression is None else compression
    name, colon, level = text.lower().partition(":") if isinstance(text, str) else ("", "", "")
    if name in COMPRESSIONS:
        low, high, default = _LEVELS.get(name, (0, -1, None))
        if not colon:
            return name, default
        if level.isascii() and level.isdigit() and low <= int(level) <= high:
            return name, int(level)
    levels = ", ".join(f"{name}:{low} to {name}:{high}" for name, (low, high, _) in _LEVELS.items())
    raise FormatError(
        f"{place}: compression={compression!r} is not known: expected one of {', '.join(COMPRESSIONS)}, or with a "
        f"level {levels}"
    )


def _codecs(*, encode: bool) -> Any:
    """Compressing or decompressing function by the value of the Compression tag, as far as they are installed."""
    from tifffile import TIFF

    return TIFF.COMPRESSORS if encode else TIFF.DECOMPRESSORS
