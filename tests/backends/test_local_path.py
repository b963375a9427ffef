"""Names of files on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from xarray_ngff.backends._local_path import existing_file, is_local_name, local_path
from xarray_ngff.errors import FormatError, MissingFileError


@pytest.mark.parametrize("given", [b"a.ims", 5, None], ids=repr)
def test_what_is_no_path_is_told(given):
    with pytest.raises(FormatError, match="Imaris files are read and written by path, but"):
        local_path(given, holder="Imaris")


def test_a_url_is_told():
    with pytest.raises(FormatError, match=r"s3://a/b\.ims is a URL"):
        local_path("s3://a/b.ims", holder="Imaris")


def test_names_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert local_path("a.ims", holder="Imaris") == tmp_path / "a.ims"
    assert local_path(Path("~/a.ims"), holder="Imaris") == tmp_path / "home/a.ims"


def test_a_file_must_be_there(tmp_path):
    with pytest.raises(MissingFileError, match=r"a\.ims does not exist"):
        existing_file(tmp_path / "a.ims", holder="Imaris")
    with pytest.raises(FormatError, match="is not a file"):
        existing_file(tmp_path, holder="Imaris")


@pytest.mark.parametrize(
    ("given", "answer"),
    [("a.ims", True), (Path("a.IMS"), True), ("a.tif", False), ("s3://a/b.ims", False), (b"a.ims", False), (5, False)],
    ids=repr,
)
def test_suffixes(given, answer):
    assert is_local_name(given, (".ims",)) is answer
