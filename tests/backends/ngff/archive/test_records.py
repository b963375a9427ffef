"""The records of a ZIP file, as the standard library and the format's own document have them."""

import struct
import zipfile
import zlib

import pytest

from xarray_ngff.backends.ngff.archive.records import Entry, central_directory, local_header

GIB = 2**30


def written(path, entries, contents, comment=b""):
    """A file with these entries where they say they are, and with nothing, which takes no disk, in between."""
    with path.open("wb") as file:
        for entry, content in zip(entries, contents, strict=True):
            if file.tell() != entry.offset:
                file.seek(entry.offset)
            file.write(local_header(entry))
            assert file.tell() == entry.start
            if content is not None:
                file.write(content)
        end = max(entry.end for entry in entries)
        file.seek(end)
        file.writelines(central_directory(entries, end, comment))
    return path


def entry(name, offset, content):
    return Entry(name, offset, len(content), zlib.crc32(content))


@pytest.mark.parametrize("offset", [0, 2 * GIB - 1, 2 * GIB, 4 * GIB - 2, 4 * GIB - 1, 4 * GIB, 9 * GIB], ids=str)
def test_offsets_of_any_size(tmp_path, offset):
    contents = [b"first", b"second" * 99]
    entries = [entry("a", 0, contents[0])]
    entries.append(entry("b/é", max(offset, entries[0].end), contents[1]))
    with zipfile.ZipFile(written(tmp_path / "a.zip", entries, contents)) as archive:
        assert archive.testzip() is None
        assert [archive.read(name) for name in ("a", "b/é")] == contents
        assert archive.getinfo("b/é").header_offset == entries[1].offset


@pytest.mark.parametrize("size", [4 * GIB - 1, 4 * GIB, 5 * GIB], ids=str)
def test_entry_of_any_size(tmp_path, size):
    entries = [Entry("large", 0, size, 0)]
    entries.append(entry("last", entries[0].end, b"there"))
    with zipfile.ZipFile(written(tmp_path / "a.zip", entries, [None, b"there"])) as archive:
        large = archive.getinfo("large")
        assert (large.file_size, large.compress_size, large.CRC) == (size, size, 0)
        assert archive.read("last") == b"there"
        with archive.open("large") as file:
            assert file.read(3) == b"\0\0\0"


def test_more_entries_than_16_bits_count(tmp_path):
    entries, contents = [], []
    for index in range(66_000):
        contents.append(b"%d" % index)
        entries.append(entry(f"c/{index}", entries[-1].end if entries else 0, contents[-1]))
    with zipfile.ZipFile(written(tmp_path / "a.zip", entries, contents)) as archive:
        assert archive.namelist() == [f"c/{index}" for index in range(66_000)]
        assert archive.read("c/65999") == b"65999"


def test_every_record_has_its_zip64_form(tmp_path):
    """Read with offsets from APPNOTE 4.3 to 4.5, not with the code that writes them."""
    contents = [b"first", b"second"]
    entries = [entry("a", 0, contents[0])]
    entries.append(entry("bc", entries[0].end, contents[1]))
    comment = b"a comment"
    data = written(tmp_path / "a.zip", entries, contents, comment).read_bytes()

    end = len(data) - 22 - len(comment)
    assert data[end : end + 4] == b"PK\5\6"
    assert struct.unpack("<4H2IH", data[end + 4 : end + 22]) == (0, 0, *(0xFFFF,) * 2, *(0xFFFFFFFF,) * 2, len(comment))
    assert data[end + 22 :] == comment
    locator = end - 20
    assert data[locator : locator + 4] == b"PK\6\7"
    disk, end64, disks = struct.unpack("<IQI", data[locator + 4 : end])
    assert (disk, disks, end64) == (0, 1, locator - 56)
    assert data[end64 : end64 + 4] == b"PK\6\6"
    size, _, needed, *disks, here, total, length, start = struct.unpack("<QHHIIQQQQ", data[end64 + 4 : locator])
    assert (size, needed, disks, here, total, start + length) == (44, 45, [0, 0], 2, 2, end64)

    at = start
    for each in entries:
        assert data[at : at + 4] == b"PK\1\2"
        assert struct.unpack("<2I", data[at + 20 : at + 28]) == (0xFFFFFFFF,) * 2
        name, extra = struct.unpack("<2H", data[at + 28 : at + 32])
        field = data[at + 46 + name : at + 46 + name + extra]
        assert struct.unpack("<2H3Q", field) == (1, 24, each.size, each.size, each.offset)
        at += 46 + name + extra

        local = each.offset
        assert data[local : local + 4] == b"PK\3\4"
        assert struct.unpack("<2I", data[local + 18 : local + 26]) == (0xFFFFFFFF,) * 2
        name, extra = struct.unpack("<2H", data[local + 26 : local + 30])
        assert struct.unpack("<2H2Q", data[local + 30 + name : local + 30 + name + extra]) == (1, 16, *(each.size,) * 2)
    assert at == end64


def test_files_that_are_unpacked_can_be_read(tmp_path):
    path = written(tmp_path / "a.zip", [entry("a", 0, b"x")], [b"x"])
    with zipfile.ZipFile(path) as archive:
        (info,) = archive.infolist()
    assert info.external_attr >> 16 == 0o100644
    assert (info.create_system, info.compress_type, info.date_time) == (3, zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
