"""Text of attributes, as Imaris and other writers put it into HDF5."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.backends.imaris.attributes import decoded, encoded, text_at
from xarray_ngff.errors import MetadataError


@pytest.fixture
def group(tmp_path):
    with h5py.File(tmp_path / "any.h5", "w") as file:
        yield file.create_group("Info")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_text_comes_back(text):
    value = encoded(text)
    assert value.dtype == "S1"
    assert value.ndim == 1
    assert value.tobytes().rstrip(b"\0") == text.encode()
    assert decoded(value) == text


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (np.array([b"u", b"m"]), "um"),
        (np.array([b"a", b" ", b"b"]), "a b"),
        (np.array([b"a", b"\0", b"b"]), "a"),
        (np.array([b"\xb5", b"m"]), "µm"),
        (np.array([b""], "S1"), ""),
        (np.bytes_(b"fixed"), "fixed"),
        (np.array([b"fixed"], "S12"), "fixed"),
        ("variable µm", "variable µm"),
        (np.array(["var"], dtype=h5py.string_dtype()), "var"),
        (np.array(["v", "a", "r"], dtype=h5py.string_dtype()), "var"),
        (np.array(b"\xb5m", dtype=h5py.string_dtype()), "µm"),
        (12, "12"),
        (np.array([7], np.uint32), "7"),
        (np.float32(0.1), "0.1"),
        (np.array([0.5, 1.0], np.float32), "0.5 1.0"),
        (h5py.Empty("S1"), ""),
    ],
    ids=str,
)
def test_what_others_write(group, written, read):
    group.attrs["key"] = written
    assert text_at(group, "key", "a.ims") == read


def test_no_attribute(group):
    assert text_at(group, "key", "a.ims") is None


def test_long_text_is_a_dataset(group):
    """As the vendor's writer has it from 1024 bytes on; a slash in the name is "%s" then, and "%" is "%p"."""
    long = "0.125 " * 300
    group.create_dataset("per%p%scent", data=np.frombuffer(long.encode(), "S1"))
    assert text_at(group, "per%/cent", "a.ims") == long
    group.create_group("Group")
    assert text_at(group, "Group", "a.ims") is None


@pytest.mark.parametrize("how", ["attribute", "dataset"])
def test_absurdly_long(tmp_path, how):
    with h5py.File(tmp_path / "any.h5", "w", libver="latest") as file:
        group = file.create_group("Info")
        if how == "attribute":
            group.attrs["Name"] = np.zeros(2 << 20, "S1")
        else:
            group.create_dataset("Name", (2 << 20,), "S1")
        with pytest.raises(MetadataError, match=r"a\.ims: Name of Info cannot be read: it has 2097152 bytes"):
            text_at(group, "Name", "a.ims")


def test_a_type_that_is_no_text(group):
    space, kind = h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5t.UNIX_D32LE
    h5py.h5a.create(group.id, b"Name", kind, space)
    with pytest.raises(MetadataError, match=r"a\.ims: Name of Info cannot be read"):
        text_at(group, "Name", "a.ims")
