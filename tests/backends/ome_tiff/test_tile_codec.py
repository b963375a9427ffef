"""Tiles as bytes of a TIFF file: zlib and lzma of Python, and tifffile, are the truth."""

from __future__ import annotations

import lzma
import zlib

import numpy as np
import pytest
import tifffile

from xarray_ngff.backends.ome_tiff import tile_codec as module
from xarray_ngff.backends.ome_tiff.tile_codec import COMPRESSIONS, check_compression, tile_codec
from xarray_ngff.errors import FormatError, MissingExtraError

DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", "complex64", "complex128"]


def noise(shape, dtype):
    return np.random.default_rng(0).integers(-(2**31), 2**31, shape).astype(dtype)


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_come_back_with_padding(name, dtype):
    if name in {"lzw", "zstd"}:
        pytest.importorskip("imagecodecs")
    codec = tile_codec(name, np.dtype(dtype), place="a.tif")
    values = noise((13, 29), dtype)
    for given in (values, values.astype(np.dtype(dtype).newbyteorder(">")), np.asfortranarray(values)):
        tile = codec.decode(codec.encode(given, (16, 32)), (16, 32))
        assert tile.dtype == dtype
        np.testing.assert_array_equal(tile[:13, :29], values)
        assert not tile[13:].any()
        assert not tile[:, 29:].any()


@pytest.mark.parametrize(
    ("name", "plain"),
    [("none", bytes), ("zlib", zlib.decompress), ("deflate:9", zlib.decompress), ("lzma", lzma.decompress)],
)
def test_the_bytes_are_those_of_the_compression(name, plain):
    values = noise((16, 16), "float32")
    data = tile_codec(name, values.dtype, place="a.tif").encode(values, (16, 16))
    assert plain(data) == values.astype("<f4").tobytes()


def test_integers_are_differences_along_x():
    values = np.array([[5, 7, 4]], "uint8")
    data = tile_codec("zlib", values.dtype, place="a.tif").encode(values, (16, 16))
    first = np.frombuffer(zlib.decompress(data), "uint8").reshape(16, 16)[0]
    assert first.tolist() == [5, 2, 253, 252] + [0] * 12
    assert not tile_codec("none", values.dtype, place="a.tif").predictor


def test_the_values_are_not_changed():
    values = noise((16, 16), "int16")
    before = values.copy()
    tile_codec("zlib", values.dtype, place="a.tif").encode(values, (16, 16))
    np.testing.assert_array_equal(values, before)


def test_values_of_compression_tags_are_those_of_tifffile():
    assert {
        "none": tifffile.COMPRESSION.NONE,
        "lzw": tifffile.COMPRESSION.LZW,
        "zlib": tifffile.COMPRESSION.ADOBE_DEFLATE,
        "deflate": tifffile.COMPRESSION.ADOBE_DEFLATE,
        "lzma": tifffile.COMPRESSION.LZMA,
        "zstd": tifffile.COMPRESSION.ZSTD,
    } == COMPRESSIONS


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, ("none", None)),
        ("NONE", ("none", None)),
        ("zlib", ("zlib", 1)),
        ("Zlib:9", ("zlib", 9)),
        ("lzma", ("lzma", None)),
    ],
)
def test_names_and_levels(given, expected):
    assert check_compression(given, place="a.tif") == expected


@pytest.mark.parametrize(
    "given", ["jpeg", "", "zlib:10", "zlib:-1", "zlib:¹", "zstd:23", "none:1", ":3", 8, True, b"zlib"]
)
def test_unknown_compressions_are_named_with_the_known(given):
    with pytest.raises(FormatError, match=r"a\.tif: compression=.*none, lzw, zlib, deflate, lzma, zstd"):
        check_compression(given, place="a.tif")


def test_a_missing_codec_names_the_extra(monkeypatch):
    monkeypatch.setattr(module, "_codecs", lambda *, encode: {1: bytes})
    with pytest.raises(MissingExtraError, match=r"xarray-ngff\[tiff\]"):
        check_compression("lzw", place="a.tif")
