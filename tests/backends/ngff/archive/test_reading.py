"""Archives that others made: those with one safe reading are read, and of the rest is said what is wrong."""

import contextlib
import warnings
import zipfile

import numpy as np
import pytest
import xarray as xr

from xarray_ngff.errors import FormatError, NgffWarning


@pytest.fixture
def folder(tmp_path, make_image, ramp):
    make_image(tmp_path / "a.ome.zarr", [ramp(4, 6)], "yx")
    return tmp_path / "a.ome.zarr"


@pytest.fixture
def zipped(folder, tmp_path):
    """The path of an archive of the folder, its names as they are told to be."""

    def made(renamed=str, *, method=zipfile.ZIP_STORED, extra=()):
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name in extra:
                archive.writestr(name, b"{}")
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    info = zipfile.ZipInfo("any")
                    info.filename = renamed(file.relative_to(folder).as_posix())
                    info.compress_type = method
                    archive.writestr(info, file.read_bytes())
        return path

    return made


def opened(path):
    return xr.open_dataarray(path, engine="ngff")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed(zipped, ramp, method):
    np.testing.assert_array_equal(opened(zipped(method=method)), ramp(4, 6))


def test_folders_have_entries(zipped, ramp):
    np.testing.assert_array_equal(opened(zipped(extra=["0/", "0/c/"])), ramp(4, 6))


def test_the_last_of_two_equal_names_counts(zipped, ramp):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zipped(extra=["zarr.json"])
    np.testing.assert_array_equal(opened(path), ramp(4, 6))


def test_bytes_before_the_archive(zipped, ramp):
    path = zipped()
    path.write_bytes(b"#!/bin/sh\n" * 9 + path.read_bytes())
    np.testing.assert_array_equal(opened(path), ramp(4, 6))


@pytest.mark.parametrize(
    ("above", "extra"),
    [
        ("a.ome.zarr", ()),
        ("a.ome.zarr", ("notes/plan.txt", "README", "__MACOSX/a.ome.zarr/._zarr.json")),
        ("data/2024/a.ome.zarr", ("data/table.csv",)),
    ],
    ids=["one", "among others", "deep"],
)
def test_the_only_zarr_is_found(zipped, ramp, above, extra):
    path = zipped(lambda name: f"{above}/{name}", extra=extra)
    with pytest.warns(NgffWarning, match=rf"a\.zip: has its Zarr in the folder '{above}' instead of at the top"):
        np.testing.assert_array_equal(opened(path), ramp(4, 6))


@pytest.mark.parametrize("extra", [("b.zarr/zarr.json",), ()], ids=["two", "none"])
def test_no_zarr_is_chosen_of_several(zipped, extra):
    path = zipped((lambda name: f"a.zarr/{name}") if extra else (lambda name: f"{name}.txt"), extra=extra)
    with pytest.raises(FormatError, match="holds no Zarr group"):
        opened(path)


@pytest.mark.parametrize(
    "renamed",
    [
        lambda name: name.replace("/", "\\"),
        lambda name: "a.zarr\\" + name.replace("/", "\\"),
        lambda name: f"./{name}",
        lambda name: f"/{name}",
        lambda name: f"../{name}",
    ],
    ids=["backslashes", "backslashes in a folder", "from here", "from the root", "out of the archive"],
)
def test_names_that_no_key_has(zipped, renamed):
    path = zipped(renamed)
    with pytest.raises(FormatError, match=r"a\.zip has a document under the name .*zarr\.json', where no Zarr reader"):
        opened(path)


def test_other_names_may_be_odd(zipped, ramp):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(opened(zipped(extra=["./README", "C:\\notes.txt"])), ramp(4, 6))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("flags", 1, "is encrypted"), ("method", 9, "compression method is not supported")],
    ids=["encrypted", "method"],
)
def test_what_cannot_be_unpacked(zipped, field, value, message):
    path = zipped()
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.find(signature)
        while at >= 0:
            data[at + offset + 2 * (field == "method")] = value
            at = data.find(signature, at + 4)
    path.write_bytes(data)
    with pytest.raises(FormatError, match=rf"a\.zip.*{message}"):
        opened(path)


def test_damaged_chunk(zipped):
    path = zipped()
    data = bytearray(path.read_bytes())
    data[data.find(b"0/c/0/0") + 12] ^= 0xFF
    path.write_bytes(data)
    image = opened(path)
    with pytest.raises(FormatError, match="Bad CRC-32"):
        image.load()


@pytest.mark.parametrize("kept", [0.2, 0.6, 0.9, 0.99], ids=str)
def test_truncated(zipped, kept):
    path = zipped()
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(FormatError, match=r"a\.zip"):
        opened(path)


def test_any_byte_may_be_wrong(zipped, ramp):
    """What is read is right, or an error of ours says that it is not."""
    path = zipped()
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data), 150):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(FormatError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert opened(path).shape == (4, 6)
