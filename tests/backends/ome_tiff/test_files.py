"""Files that are no TIFF, or break off."""

import struct

import numpy as np
import pytest
import tifffile

from xarray_ngff.backends._local_path import existing_file
from xarray_ngff.backends.ome_tiff.files import check_directories
from xarray_ngff.backends.ome_tiff.images import open_image
from xarray_ngff.errors import FormatError, MissingFileError


def pages(path, count=4, **options):
    with tifffile.TiffWriter(path, **options) as tif:
        for number in range(count):
            tif.write(np.full((8, 8), number, np.uint8), contiguous=False, metadata=None)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected a TIFF file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is no TIFF file: it starts with b'.x89PNG'"),
        (b"II", "is no TIFF file"),
        (b"II*\0" + struct.pack("<I", 8), "is truncated: page 0 starts at byte 8 of 8"),
        (b"II*\0" + struct.pack("<I", 0), "holds no page"),
        (b"II*\0" + struct.pack("<I", 10**6) + bytes(20), "is truncated: page 0 starts at byte 1000000 of 28"),
        (b"II*\0" + struct.pack("<IH", 8, 60000) + bytes(99), "is corrupt: page 0 has 60000 tags"),
        (b"MM\0+" + bytes(2), "is no TIFF file"),
    ],
    ids=["empty", "png", "short", "cut", "no page", "far", "tags", "big"],
)
def test_what_is_no_tiff_is_named(tmp_path, content, message):
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=rf"odd\.tif {message}"):
        open_image(path)


def test_a_folder_is_named(tmp_path):
    with pytest.raises(FormatError, match="is not a file, and TIFF images are files"):
        existing_file(tmp_path, holder="TIFF")


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert (
        existing_file(str(pages(tmp_path / "a.tif")).replace(str(tmp_path), "~"), holder="TIFF") == tmp_path / "a.tif"
    )
    with pytest.raises(MissingFileError, match=r"b\.tif does not exist"):
        existing_file("~/b.tif", holder="TIFF")


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=["classic", "big", "big-endian"])
def test_sound_chains_pass(tmp_path, options):
    check_directories(pages(tmp_path / "a.tif", **options))


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"byteorder": ">"}], ids=["classic", "big", "big-endian"])
def test_a_file_cut_between_its_pages_is_named(tmp_path, options):
    path = pages(tmp_path / "cut.tif", **options)
    with tifffile.TiffFile(path) as tif:
        end = tif.pages[2].offset
    with path.open("r+b") as file:
        file.truncate(end + 1)
    with pytest.raises(FormatError, match=r"cut\.tif is truncated: page 2 starts at byte"):
        open_image(path)


def test_a_description_beyond_the_end_is_named(tmp_path):
    path = tmp_path / "cut.ome.tif"
    tifffile.imwrite(path, np.zeros((2, 8, 8), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    with tifffile.TiffFile(path) as tif:
        tag = tif.pages[0].tags[270]
        end = tag.valueoffset + tag.count
    assert end == path.stat().st_size or tag.valueoffset > tif.pages[0].offset
    with path.open("r+b") as file:
        file.truncate(max(tag.valueoffset + 10, 0))
    with pytest.raises(FormatError, match=r"cut\.ome\.tif is truncated"):
        open_image(path)


@pytest.mark.parametrize("length", [1, 3, 150])
def test_pages_that_never_end_are_named(tmp_path, length):
    path = pages(tmp_path / "loop.tif", length)
    with tifffile.TiffFile(path) as tif:
        last = tif.pages.next_page_offset
        first = tif.pages[0].offset
    with path.open("r+b") as file:
        file.seek(last)
        file.write(struct.pack("<I", first))
    with pytest.raises(FormatError, match=rf"page {length} is an earlier page again"):
        open_image(path)
