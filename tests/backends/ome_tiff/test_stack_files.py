"""Which files make up a stack."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ome_tiff.stack_files import natural_order, stack_files
from xarray_ngff.errors import FormatError, GeometryError, MissingFileError


@pytest.fixture
def touch(tmp_path):
    def touched(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return [tmp_path / name for name in names]

    return touched


@given(st.lists(st.integers(0, 10**12), unique=True), st.sampled_from(["z{}.tif", "a1/b-{}_c02.tif", "{}"]))
def test_numbers_are_sorted_as_numbers(numbers, name):
    assert natural_order(name.format(n) for n in numbers) == [name.format(n) for n in sorted(numbers)]


def test_several_numbers_and_ties():
    names = ["t2_z1", "t1_z10", "t1_z9", "t1_z09", "t10_z1", "t1", "1", "a²"]
    assert natural_order(names) == ["1", "a²", "t1", "t1_z09", "t1_z9", "t1_z10", "t2_z1", "t10_z1"]


def test_a_pattern_is_in_natural_order(touch, tmp_path):
    files = touch(*(f"z{n}.tif" for n in (1, 2, 10, 11)), "z3.txt", ".z4.tif.0a1b.partial")
    (tmp_path / "z5.tif").mkdir()
    found = stack_files(f"{tmp_path}/z*.tif", dim="z")
    assert (found.dims, found.shape, found.paths) == (("z",), (4,), tuple(files[:4]))
    assert stack_files(tmp_path / "z[12].tif", dim="t").paths == tuple(files[:2])


def test_home_folders_and_names_with_brackets(touch, tmp_path, monkeypatch):
    files = touch("c1/t2/a.tif", "c1/t10/a.tif", "c2/t1/a.tif")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert stack_files("~/**/a.tif", dim="t").paths == tuple(files)
    (odd,) = touch("a[1].tif")
    assert stack_files(str(odd), dim="z").paths == (odd,)
    monkeypatch.chdir(tmp_path / "c1")
    assert stack_files("*/a.tif", dim="z").paths == tuple(files[:2])


def test_lists_keep_their_order(touch, tmp_path):
    b, a = touch("b.tif", "a.tif")
    assert stack_files([b, str(a)], dim="c").paths == (b, a)
    assert stack_files((path for path in (a, b)), dim="t").paths == (a, b)
    assert stack_files(np.array([str(a), str(b)]), dim="t").paths == (a, b)
    nested = stack_files([[a, b], (b, a), iter([a, a])], dim="z")
    assert (nested.dims, nested.shape) == (("c", "z"), (3, 2))
    assert nested.paths == (a, b, b, a, a, a)
    assert nested.places == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("paths", "dim", "kind", "said"),
    [
        ([], "z", GeometryError, "paths is an empty list"),
        ([[]], "z", GeometryError, "lists of 0 files"),
        ([["a.tif", "a.tif"], ["a.tif"]], "t", GeometryError, "lists of 2, 1 files along t"),
        ([["a.tif"], "a.tif"], "z", GeometryError, "mixes files and lists"),
        ([["a.tif"]], "c", GeometryError, "outer lists are channels already"),
        (["a.tif"], "x", GeometryError, "dim='x': files are joined along one of t, c, z"),
        (["a.tif"], None, GeometryError, "dim=None: files"),
        (["a.tif", "gone.tif"], "z", MissingFileError, "gone.tif does not exist"),
        (["a.tif", 3], "z", FormatError, "int was given"),
        ([b"a.tif"], "z", FormatError, "bytes was given"),
        (b"a.tif", "z", FormatError, "paths is b'a.tif', expected text"),
        (3, "z", FormatError, "paths is 3, expected a glob pattern or a list"),
        ("q*.tif", "z", MissingFileError, "no file matches 'q*.tif'. Check"),
        ("gone/*.tif", "z", MissingFileError, "no file matches 'gone/*.tif', as there is no folder gone. Check"),
        ("", "z", MissingFileError, "no file matches ''"),
        (["."], "z", FormatError, "is not a file, and TIFF images are files"),
    ],
)
def test_what_is_no_stack(paths, dim, kind, said, touch, tmp_path, monkeypatch):
    touch("a.tif")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=re.escape(said)):
        stack_files(paths, dim=dim)


def test_paths_are_absolute(touch, tmp_path, monkeypatch):
    touch("a.tif")
    monkeypatch.chdir(tmp_path)
    for paths in ("a.tif", "*.tif", ["a.tif"], Path("a.tif")):
        assert stack_files(paths, dim="z").paths == (tmp_path / "a.tif",)
