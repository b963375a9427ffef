"""Names of the files of a stack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.ome_tiff.plane_names import plane_paths
from xarray_ngff.errors import FormatError, MissingFolderError


@given(sizes=st.fixed_dictionaries({dim: st.integers(1, 12) for dim in "tcz"}), width=st.integers(1, 4))
def test_each_plane_has_its_indices_in_its_name(sizes, width):
    paths = plane_paths(f"c{{c}}-{{z:0{width}d}}_T{{t:x}}.TIFF", sizes)
    expected = [
        f"c{c}-{str(z).rjust(width, '0')}_T{'0123456789ab'[t]}.TIFF"
        for t in range(sizes["t"])
        for c in range(sizes["c"])
        for z in range(sizes["z"])
    ]
    assert [path.name for path in paths] == expected


def test_fields_of_single_entries_may_be_left_out_or_be_there(tmp_path):
    assert plane_paths(tmp_path / "a.tif", {"z": 1}) == [tmp_path / "a.tif"]
    assert plane_paths(tmp_path / "{t}{{x}}{c}{z}.ome.tif", {}) == [tmp_path / "0{x}00.ome.tif"]


def test_fields_in_folders_and_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for c in range(2):
        (tmp_path / f"ch{c}").mkdir()
    paths = plane_paths("~/ch{c}/z{z}.tif", {"c": 2, "z": 2})
    assert paths == [tmp_path / f"ch{c}" / f"z{z}.tif" for c in range(2) for z in range(2)]


@pytest.mark.parametrize(
    ("pattern", "sizes", "proposed"),
    [
        ("z.tif", {"z": 12}, "z_z{z:02d}.tif"),
        ("{z}.ome.tiff", {"z": 2, "c": 3, "t": 1001}, "{z}_t{t:04d}_c{c:01d}.ome.tiff"),
        ("stack", {"z": 11}, "stack_z{z:02d}.tif"),
    ],
)
def test_a_missing_field_is_named_with_a_pattern_that_would_do(pattern, sizes, proposed, tmp_path):
    missing = [dim for dim in ("t", "c", "z") if f"{{{dim}:0" in proposed]
    with pytest.raises(FormatError) as caught:
        plane_paths(tmp_path / pattern, sizes)
    message = str(caught.value)
    for dim in missing:
        assert f"{{{dim}}}" in message
        assert f"{sizes[dim]} along {dim}" in message
    assert repr(str(tmp_path / proposed)) in message
    assert len(set(plane_paths(tmp_path / proposed, sizes))) == sizes.get("z", 1) * sizes.get("c", 1) * sizes.get(
        "t", 1
    )


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{z}{y}.tif", "a field {y}: the fields are {z}, {c} and {t}"),
        ("{}.tif", "a field {}: the fields"),
        ("{0}.tif", "a field {0}: the fields"),
        ("{z.real}.tif", "a field {z.real}: the fields"),
        ("{z", "is no format string"),
        ("z}.tif", "is no format string"),
        ("{z:q}.tif", "cannot be filled in for t=0, c=0, z=0 (Unknown format code 'q'"),
        ("{z!x}.tif", "cannot be filled in"),
        ("{z:{c}d}.tif", "has fields in its format"),
        ("{z:c}.tif", "a name that no file can have for t=0, c=0, z=0"),
        ("{z}.png", "does not end with .tif or .tiff"),
        (3, "pattern is 3, expected a text"),
        (b"{z}.tif", "expected a text"),
    ],
)
def test_patterns_that_name_no_files(pattern, said):
    with pytest.raises(FormatError, match=re.escape(said)):
        plane_paths(pattern, {"z": 3})


@pytest.mark.parametrize(
    ("pattern", "sizes"),
    [
        ("{z:.0e}.tif", {"z": 20}),
        ("{z}{c}.tif", {"z": 12, "c": 12}),
        ("{t}{z:.0f}{c}.tif", {"z": 2, "c": 20, "t": 11}),
        ("{z:b}{c:x}.tif", {"z": 4, "c": 17}),
    ],
)
def test_two_planes_of_one_name(pattern, sizes):
    names = {}
    for t in range(sizes.get("t", 1)):
        for c in range(sizes.get("c", 1)):
            for z in range(sizes["z"]):
                names.setdefault(pattern.format(t=t, c=c, z=z), []).append(f"t={t}, c={c}, z={z}")
    with pytest.raises(FormatError, match="the same file") as caught:
        plane_paths(pattern, sizes)
    said = re.search(r"the planes (.*) and (.*) the same file '(.*)' \(", str(caught.value))
    assert names[said[3]][:2] == [said[1], said[2]]


def test_two_names_that_differ_in_case_alone():
    pattern, sizes = "{z:x}{c:X}.tif", {"z": 27, "c": 172}
    names = [pattern.format(z=z, c=c) for z in range(27) for c in range(172) if (z, c) in {(26, 11), (1, 171)}]
    assert names == ["1AB.tif", "1aB.tif"]
    with pytest.raises(FormatError, match="the same file"):
        plane_paths(pattern, sizes)


def test_two_names_of_one_file(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "1").symlink_to("0")
    with pytest.raises(FormatError, match=r"t=0, c=0, z=0 and t=0, c=1, z=0 the same file 'A\.tif'"):
        plane_paths(tmp_path / "{c}" / "A.tif", {"c": 2})


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(MissingFolderError, match=r"there is no folder .*0, .*1, .*2 and 2 more\. Create it first"):
        plane_paths(tmp_path / "{z}" / "a.tif", {"z": 5})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingFolderError, match="no folder"):
        plane_paths(Path(tmp_path) / "file" / "a.tif", {})
