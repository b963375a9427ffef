"""Targets that appear whole or not at all."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from xarray_ngff.backends import _atomic
from xarray_ngff.backends._atomic import replacing_directory, replacing_file
from xarray_ngff.errors import MissingFolderError, TargetExistsError


def fill_file(path, text):
    path.write_text(text)


def fill_directory(path, text):
    (path / "inner").mkdir()
    (path / "inner" / "part").write_text(text)


def text_of(target):
    return target.read_text() if target.is_file() else (target / "inner" / "part").read_text()


@pytest.fixture(params=[(replacing_file, fill_file), (replacing_directory, fill_directory)], ids=["file", "directory"])
def kind(request):
    return request.param


@pytest.fixture
def target(tmp_path):
    return tmp_path / "target"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_target_appears_at_the_end(kind, target):
    replacing, fill = kind
    with replacing(target) as temporary:
        fill(temporary, "new")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert text_of(target) == "new"
    assert names(target.parent) == ["target"]


def test_an_existing_target_is_refused_before_any_work(kind, target):
    replacing, fill = kind
    with replacing(target) as temporary:
        fill(temporary, "old")
    with pytest.raises(TargetExistsError, match="overwrite=True"), replacing(target):
        pytest.fail("the block ran")
    assert text_of(target) == "old"
    assert names(target.parent) == ["target"]


def test_overwriting_replaces(kind, target):
    replacing, fill = kind
    for text in ("old", "new"):
        with replacing(target, overwrite=True) as temporary:
            fill(temporary, text)
    assert text_of(target) == "new"
    assert names(target.parent) == ["target"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(kind, target, error):
    replacing, fill = kind

    def fill_and_fail(**options):
        with replacing(target, **options) as temporary:
            fill(temporary, "half")
            raise error

    with pytest.raises(error):
        fill_and_fail()
    assert names(target.parent) == []
    with replacing(target) as temporary:
        fill(temporary, "old")
    with pytest.raises(error):
        fill_and_fail(overwrite=True)
    assert text_of(target) == "old"
    assert names(target.parent) == ["target"]


def test_missing_folder(kind, tmp_path):
    with pytest.raises(MissingFolderError, match="does not exist"), kind[0](tmp_path / "no" / "target"):
        pytest.fail("the block ran")


@pytest.mark.parametrize("without_renameat2", [False, True])
def test_a_target_that_appears_meanwhile_is_not_replaced(kind, target, monkeypatch, without_renameat2):
    if without_renameat2:
        monkeypatch.setattr(_atomic, "_libc_renameat2", lambda: None)
    replacing, fill = kind

    def fill_both():
        with replacing(target) as temporary:
            fill(temporary, "mine")
            target.write_text("theirs")

    with pytest.raises(TargetExistsError, match="appeared"):
        fill_both()
    assert target.read_text() == "theirs"
    assert names(target.parent) == ["target"]


def test_without_exchange_a_directory_is_replaced_by_two_renames(target, monkeypatch):
    monkeypatch.setattr(_atomic, "_libc_renameat2", lambda: None)
    for text in ("old", "new"):
        with replacing_directory(target, overwrite=True) as temporary:
            fill_directory(temporary, text)
    assert text_of(target) == "new"
    assert names(target.parent) == ["target"]


def test_without_exchange_a_failed_rename_is_undone(target, monkeypatch):
    monkeypatch.setattr(_atomic, "_libc_renameat2", lambda: None)
    with replacing_directory(target) as temporary:
        fill_directory(temporary, "old")

    with pytest.raises(FileNotFoundError), replacing_directory(target, overwrite=True) as temporary:
        temporary.rmdir()
    assert text_of(target) == "old"
    assert names(target.parent) == ["target"]


@pytest.mark.skipif(_atomic._libc_renameat2() is None, reason="needs renameat2 of Linux")
def test_a_reader_always_sees_a_whole_directory(target):
    with replacing_directory(target) as temporary:
        fill_directory(temporary, "0")
    seen, done = set(), threading.Event()

    def look():
        while not done.is_set():
            seen.add(os.path.lexists(target))

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(50):
        with replacing_directory(target, overwrite=True) as temporary:
            fill_directory(temporary, str(i))
    done.set()
    reader.join()
    assert seen == {True}


def test_a_link_keeps_pointing_to_what_is_replaced(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    link.symlink_to(real)
    with replacing_file(link, overwrite=True) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert real.read_text() == "new"


def test_permissions_are_those_of_a_file_made_here_or_of_the_old_one(tmp_path):
    plain, target = tmp_path / "plain", tmp_path / "target"
    plain.touch()
    for mode in (stat.S_IMODE(plain.stat().st_mode), 0o600):
        if target.exists():
            target.chmod(mode)
        with replacing_file(target, overwrite=True):
            pass
        assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_folder_is_no_target_for_a_file(tmp_path):
    with pytest.raises(TargetExistsError, match="is a folder"), replacing_file(tmp_path, overwrite=True):
        pytest.fail("the block ran")
