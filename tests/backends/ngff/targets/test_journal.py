"""What is known of an unfinished write: read back from where it is kept, and no block taken for another."""

import copy
import json
import os
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import FsspecStore, LocalStore, MemoryStore, WrapperStore

from xarray_ngff.backends.ngff.codecs.compressors import codecs
from xarray_ngff.backends.ngff.stores import StoreRoot
from xarray_ngff.backends.ngff.targets.array_documents import ArraySpec
from xarray_ngff.backends.ngff.targets.journal import (
    BlockJournal,
    beginning,
    described,
    first_difference,
    holder,
    journal_of,
)
from xarray_ngff.backends.ngff.targets.place import Target
from xarray_ngff.pyramid.stream import block_key

SPEC = ArraySpec("0", (4, 6), (2, 3), "<u2", ("y", "x"))
GZIP = codecs("gzip", zarr_format=3, dtype="u2")
PASSES = ((0, 1), (2,), (3, 4))
KEYS = [block_key(level, (slice(0, 64), slice(start, start + 8))) for level in (0, 2, 3) for start in (0, 8)]


@pytest.fixture(params=["folder", "memory", "fsspec", "wrapper", "inside"])
def place(request, tmp_path):
    stores = {
        "folder": lambda: LocalStore(tmp_path / "hidden"),
        "memory": MemoryStore,
        "fsspec": lambda: FsspecStore.from_url(f"memory://test_journal/{tmp_path.name}", read_only=False),
        "wrapper": lambda: WrapperStore(MemoryStore()),
        "inside": MemoryStore,
    }
    path = "scans/first/.unfinished" if request.param == "inside" else ".unfinished"
    return StoreRoot(stores[request.param](), path, "here")


class TestBlocks:
    def test_what_was_noted_is_found(self, place):
        assert BlockJournal(place, PASSES, True).done() == frozenset()
        noting = BlockJournal(place, PASSES, False)
        for key in KEYS:
            noting.record(key)
            noting.record(key)
        assert BlockJournal(place, PASSES, True).done() == set(KEYS)

    def test_a_new_write_begins_with_nothing(self, place):
        BlockJournal(place, PASSES, False).record(KEYS[0])
        assert BlockJournal(place, PASSES, False).done() == frozenset()

    def test_a_block_that_made_other_levels_is_another_block(self, place):
        """The same region, read in passes that make more levels of it, or fewer."""
        for key in KEYS:
            BlockJournal(place, PASSES, False).record(key)
        of_two = {key for key in KEYS if key.startswith("2/")}
        assert BlockJournal(place, ((0,), (1,), (2,), (3,), (4,)), True).done() == of_two
        assert BlockJournal(place, ((0, 1, 2, 3, 4),), True).done() == frozenset()
        assert BlockJournal(place, ((0, 2), (1,), (3, 4)), True).done() == {k for k in KEYS if k.startswith("3/")}

    def test_it_pickles(self, tmp_path):
        there = StoreRoot(LocalStore(tmp_path / "hidden"), ".unfinished", "here")
        pickle.loads(pickle.dumps(BlockJournal(there, PASSES, False))).record(KEYS[0])
        assert pickle.loads(pickle.dumps(BlockJournal(there, PASSES, True))).done() == {KEYS[0]}

    def test_the_last_minutes_before_a_restart_do_not_count(self, tmp_path):
        """A machine that goes down loses what its disks did not have yet."""
        journal = BlockJournal(StoreRoot(LocalStore(tmp_path), ".unfinished", "here"), PASSES, True)
        for key in KEYS:
            journal.record(key)
        (run,) = (tmp_path / ".unfinished/done").iterdir()
        run.rename(run.with_name("of-another-run"))
        assert journal.done() == frozenset()
        now = time.time()
        ages = dict(
            zip(sorted(p for p in tmp_path.rglob("*") if p.is_file()), (0, 30, 119, 121, 600, 9e5), strict=True)
        )
        for path, age in ages.items():
            os.utime(path, (now - age, now - age))
        kept = [path for path, age in ages.items() if age > 120]
        names = {f"{path.parent.name.split('+')[0]}/{path.name}" for path in kept}
        assert journal.done() == names
        assert len(names) == 3
        # and what is noted in this run counts at once
        journal.record(KEYS[0])
        assert journal.done() == names | {KEYS[0]}

    def test_none_is_kept_of_what_is_not_described(self, tmp_path):
        target = Target(StoreRoot(LocalStore(tmp_path), "", "here"), "", tmp_path, False)
        assert journal_of(target, PASSES) is None


class TestBeginning:
    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"{}", b"null", b"3", b'{"started": "x", "description": {}}']
    )
    def test_what_was_torn_is_none(self, place, content):
        from xarray_ngff.backends.ngff.targets.store_changes import put

        assert beginning(place) is None
        put(place, "begun", content)
        assert beginning(place) is None

    def test_no_holder(self, place):
        assert holder(place) is None


def description(spec=SPEC, attributes=None, zarr_format=3, method="mean"):
    return json.loads(described([spec], attributes or {"ome": {}}, zarr_format=zarr_format, method=method))


class TestDescription:
    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_of_equal_writes_is_equal(self, zarr_format):
        assert first_difference(description(zarr_format=zarr_format), description(zarr_format=zarr_format)) is None

    @pytest.mark.parametrize(
        ("changed", "place"),
        [
            ({"spec": ArraySpec("0", (4, 7), (2, 3), "<u2", ("y", "x"))}, "arrays.0.zarr.json.shape[1]"),
            ({"spec": ArraySpec("0", (4, 6), (2, 6), "<u2", ("y", "x"))}, "arrays.0.zarr.json.chunk_grid"),
            ({"spec": ArraySpec("0", (4, 6), (2, 3), "<i2", ("y", "x"))}, "arrays.0.zarr.json.data_type"),
            ({"spec": ArraySpec("0", (4, 6), (2, 3), "<u2", ("z", "x"))}, "dims[0]"),
            ({"spec": ArraySpec("0", (4, 6), (2, 3), "<u2", ("y", "x"), (4, 6))}, "arrays.0.zarr.json.chunk_grid"),
            (
                {"spec": ArraySpec("0", (4, 6), (2, 3), "<u2", ("y", "x"), None, GZIP)},
                "arrays.0.zarr.json.codecs",
            ),
            ({"attributes": {"ome": {"version": "0.5"}}}, "attributes.ome.version"),
            ({"zarr_format": 2}, "arrays.0.zarr.json"),
            ({"method": "mode"}, "method"),
        ],
        ids=["shape", "chunks", "dtype", "dims", "shards", "codecs", "attributes", "format", "method"],
    )  # fmt: skip
    def test_the_first_difference_is_named(self, changed, place):
        found = first_difference(description(), description(**changed))
        assert found[0].startswith(place)


NUMBERS = st.integers(-3, 3) | st.floats(-2, 2) | st.booleans() | st.none() | st.sampled_from(["a", "b"])
DOCUMENTS = st.recursive(
    NUMBERS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


class TestFirstDifference:
    @given(DOCUMENTS)
    def test_equal_documents_have_none(self, document):
        assert first_difference(document, copy.deepcopy(document)) is None

    @given(DOCUMENTS, DOCUMENTS)
    def test_documents_whose_text_differs_have_one(self, one, other):
        """But for a key that is missing in one and None in the other."""

        def text(value):
            if isinstance(value, dict):
                return {key: text(inner) for key, inner in sorted(value.items()) if inner is not None}
            return [text(inner) for inner in value] if isinstance(value, list) else value

        same = json.dumps(text(one)) == json.dumps(text(other))
        found = first_difference(one, other)
        if found is None:
            # -0.0 is 0.0, and whether an empty mapping is there makes no write another one
            assert same or text(one) == text(other)
        else:
            assert not same
            assert found[1] != found[2] or type(found[1]) is not type(found[2])

    def test_names(self):
        assert first_difference({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}) == ("a[1].b", 2, 3)
        assert first_difference([1], [1, 2]) == ("description", [1], [1, 2])
        assert first_difference({"a": 1}, {}) == ("a", 1, None)
