"""Several files that appear together or not at all."""

from __future__ import annotations

import stat

import pytest

from xarray_ngff.backends.ome_tiff import file_set
from xarray_ngff.backends.ome_tiff.file_set import replacing_files
from xarray_ngff.errors import MissingFolderError, TargetExistsError


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def write(paths, *, overwrite=False, text="new", fail=None):
    with replacing_files(paths, overwrite=overwrite) as partials:
        for partial in partials:
            partial.write_text(text)
        if fail is not None:
            raise fail


@pytest.fixture
def targets(tmp_path):
    return [tmp_path / f"{name}.txt" for name in "abc"]


def test_new_files_appear_at_the_end(targets, tmp_path):
    with replacing_files(targets) as partials:
        assert all(path.name.startswith(".") and path.parent == tmp_path for path in partials)
        assert not any(path.exists() for path in targets)
        for partial in partials:
            partial.write_text("new")
    assert contents(tmp_path) == dict.fromkeys(["a.txt", "b.txt", "c.txt"], "new")


def test_files_are_replaced_and_others_left(targets, tmp_path):
    targets[1].write_text("old")
    targets[1].chmod(0o640)
    (tmp_path / "z.txt").write_text("old")
    write(targets, overwrite=True)
    assert contents(tmp_path) == dict.fromkeys(["a.txt", "b.txt", "c.txt"], "new") | {"z.txt": "old"}
    assert stat.S_IMODE(targets[1].stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failure_leaves_everything_as_it_was(targets, tmp_path, error):
    targets[2].write_text("old")
    with pytest.raises(type(error)):
        write(targets, overwrite=True, fail=error)
    assert contents(tmp_path) == {"c.txt": "old"}


@pytest.mark.parametrize("after", [False, True], ids=["before the rename", "after the rename"])
@pytest.mark.parametrize("failing", [0, 1, 2])
@pytest.mark.parametrize("old", [(), (0, 2), (0, 1, 2)])
def test_a_failure_while_names_are_given(targets, tmp_path, monkeypatch, failing, old, after):
    for index in old:
        targets[index].write_text("old")
    before = contents(tmp_path)

    def fails(rename):
        def renamed(source, target):
            late = target == targets[failing] and "new" in source.read_text()
            if late and not after:
                raise KeyboardInterrupt
            rename(source, target)
            if late:
                raise KeyboardInterrupt

        return renamed

    for name in ("exchange", "move_to_free_name"):
        monkeypatch.setattr(file_set, name, fails(getattr(file_set, name)))
    with pytest.raises(KeyboardInterrupt):
        write(targets, overwrite=True)
    assert contents(tmp_path) == before


def test_a_file_that_appears_in_the_meantime(targets, tmp_path):
    def write_with_a_rival():
        with replacing_files(targets) as partials:
            for path in (*partials, targets[1]):
                path.write_text("other")

    with pytest.raises(TargetExistsError, match=r"b\.txt appeared while"):
        write_with_a_rival()
    assert contents(tmp_path) == {"b.txt": "other"}


def test_targets_that_may_not_be_written(targets, tmp_path):
    targets[1].write_text("old")
    with pytest.raises(TargetExistsError, match=r"b\.txt exists: pass overwrite=True"):
        write(targets)
    targets[2].mkdir()
    with pytest.raises(TargetExistsError, match=r"c\.txt is a folder"):
        write(targets, overwrite=True)
    with pytest.raises(MissingFolderError, match="gone does not exist"):
        write([targets[0], tmp_path / "gone" / "a.txt"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "c.txt"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write([tmp_path / "link.txt"], overwrite=True)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
