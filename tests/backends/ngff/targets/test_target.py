"""Where an OME-Zarr may be written, and that a reader finds the old one or the new one at any moment."""

import contextlib
import importlib
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import FsspecStore, LocalStore, MemoryStore, StorePath, WrapperStore, ZipStore

from xarray_ngff import as_image
from xarray_ngff.backends.ngff.targets.target import ArraySpec, create_arrays, discard, finish, is_finished, open_target
from xarray_ngff.errors import FormatError, MissingFolderError, NgffWarning, TargetExistsError

VERSIONS = ["0.4", "0.5"]
by_version = pytest.mark.parametrize("version", VERSIONS)
OLD = as_image(np.full((6, 8), 3, "u1"), spacing=(3, 3), name="image")
NEW = as_image(np.full((9, 5), 7, "u2"), spacing=(7, 7), name="image")


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def content(store):
    return {key: value.to_bytes() for key, value in store._store_dict.items()}


def agrees(image, truth):
    return image.ngff.spacing == truth.ngff.spacing and np.array_equal(image, truth)


class TestRefused:
    """All of it before anything is written."""

    def refused(self, store, error, message, *, tmp_path, **options):
        before = files(tmp_path), sorted(tmp_path.rglob("*"))
        with pytest.raises(error, match=message):
            NEW.ngff.to_ome_zarr(store, **options)
        assert (files(tmp_path), sorted(tmp_path.rglob("*"))) == before

    def test_existing(self, tmp_path):
        path = tmp_path / "a.zarr"
        OLD.ngff.to_ome_zarr(path)
        stores = [LocalStore(path), zarr.open_group(path), StorePath(LocalStore(tmp_path), "a.zarr")]
        for store in (path, str(path), path.as_uri(), *stores):
            self.refused(store, TargetExistsError, r"a\.zarr exists: pass overwrite=True", tmp_path=tmp_path)

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_folder_that_is_no_zarr(self, tmp_path, overwrite):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "thesis.txt").write_text("years of work")
        message = "is no Zarr, so it is not overwritten" if overwrite else "exists: pass overwrite=True"
        self.refused(tmp_path / "data", TargetExistsError, message, tmp_path=tmp_path, overwrite=overwrite)

    @pytest.mark.parametrize("overwrite", [True, False])
    def test_file(self, tmp_path, overwrite):
        (tmp_path / "data").write_text("years of work")
        message = "is no Zarr, so it is not overwritten" if overwrite else "exists: pass overwrite=True"
        self.refused(tmp_path / "data", TargetExistsError, message, tmp_path=tmp_path, overwrite=overwrite)

    def test_missing_parent(self, tmp_path):
        self.refused(
            tmp_path / "no/where/a.zarr",
            MissingFolderError,
            rf"the folder {tmp_path}/no/where does not exist",
            tmp_path=tmp_path,
        )

    @pytest.mark.parametrize(
        "name", ["a.zip", "a.ozx", "a.ome.zarr.ZIP", "file:///a.zip", "memory://test_target/a.ozx"]
    )
    def test_zip(self, name):
        """Archives are written elsewhere."""
        with pytest.raises(FormatError, match="is written as a folder, not into a zip archive"):
            open_target(name, overwrite=False, storage_options=None)

    def test_zip_store(self, tmp_path):
        store = ZipStore(tmp_path / "a.zip", mode="w")
        store._sync_open()
        self.refused(store, FormatError, "a zip archive cannot be written in any order", tmp_path=tmp_path)
        store.close()

    def test_read_only(self, tmp_path):
        OLD.ngff.to_ome_zarr(tmp_path / "a.zarr")
        stores = [
            MemoryStore(read_only=True),
            LocalStore(tmp_path / "a.zarr", read_only=True),
            zarr.open_group(tmp_path / "a.zarr", mode="r"),
            FsspecStore.from_url("memory://test_target/ro", read_only=True),
        ]
        for store in stores:
            self.refused(store, FormatError, "read-only: open it for writing", tmp_path=tmp_path, overwrite=True)

    @pytest.mark.parametrize("store", [None, 3, {}, np.zeros(3), b"a.zarr"])
    def test_what_is_no_place(self, tmp_path, store, monkeypatch):
        monkeypatch.chdir(tmp_path)
        self.refused(store, FormatError, "is not a place that an OME-Zarr can be written to", tmp_path=tmp_path)

    def test_unknown_protocol(self, tmp_path):
        self.refused(
            "nosuch://a.zarr", FormatError, r"nosuch://a\.zarr cannot be opened for writing", tmp_path=tmp_path
        )

    def test_storage_options_of_a_path(self, tmp_path):
        options = {"storage_options": {"anon": True}, "tmp_path": tmp_path}
        self.refused(tmp_path / "a.zarr", FormatError, "storage_options are for URLs", **options)
        self.refused(MemoryStore(), FormatError, "storage_options are for URLs", **options)

    def test_folder_that_may_not_be_written(self, tmp_path, monkeypatch):
        if os.geteuid() == 0:
            # nothing is forbidden to root: say so as the system would
            def forbidden(self, *args, **kwargs):
                raise PermissionError(13, "Permission denied", str(self))

            monkeypatch.setattr(Path, "mkdir", forbidden)
        else:
            tmp_path.chmod(0o500)
        message = r"a\.zarr cannot be written to: PermissionError"
        self.refused(tmp_path / "a.zarr", FormatError, message, tmp_path=tmp_path)
        tmp_path.chmod(0o700)

    def test_neighbours_in_a_store(self):
        """An image at the top of a store that holds other things would be mixed up with them."""
        store = MemoryStore()
        zarr.create_array(store, name="counts", data=np.arange(3), zarr_format=2)
        for key in (".zgroup", ".zattrs"):
            store._store_dict.pop(key, None)
        before = content(store)
        for overwrite in (False, True):
            with pytest.raises(TargetExistsError, match=r"is no Zarr but holds 'counts'.*path inside it"):
                NEW.ngff.to_ome_zarr(store, overwrite=overwrite)
        assert content(store) == before
        NEW.ngff.to_ome_zarr(StorePath(store, "image"))
        assert before.items() <= content(store).items()

    def test_store_that_cannot_delete(self):
        class Archive(MemoryStore):
            supports_deletes = False

        store = Archive()
        OLD.ngff.to_ome_zarr(store)
        with pytest.raises(FormatError, match="a Archive cannot delete what would be replaced"):
            NEW.ngff.to_ome_zarr(store, overwrite=True)
        assert agrees(xr.open_dataarray(store, engine="ngff"), OLD)


class TestPlaces:
    @by_version
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_every_kind_of_folder(self, tmp_path, version, overwrite, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        spaced = tmp_path / "a scan, µm.ome.zarr"
        places = [
            (tmp_path / "a.zarr", tmp_path / "a.zarr"),
            (str(tmp_path / "b.zarr"), tmp_path / "b.zarr"),
            (f"{tmp_path}/c.zarr/", tmp_path / "c.zarr"),
            ("d.zarr", tmp_path / "d.zarr"),
            ("~/e.zarr", tmp_path / "e.zarr"),
            (spaced.as_uri(), spaced),
            (f"local://{tmp_path}/h.zarr", tmp_path / "h.zarr"),
            (LocalStore(tmp_path / "f.zarr"), tmp_path / "f.zarr"),
            (StorePath(LocalStore(tmp_path), "g.zarr"), tmp_path / "g.zarr"),
        ]
        for place, path in places:
            if overwrite:
                OLD.ngff.to_ome_zarr(path, version="0.4")
            NEW.ngff.to_ome_zarr(place, version=version, overwrite=overwrite)
            assert agrees(xr.open_dataarray(path, engine="ngff"), NEW)
        assert sorted(tmp_path.iterdir()) == sorted(path for _, path in places)

    def test_symbolic_link(self, tmp_path):
        OLD.ngff.to_ome_zarr(tmp_path / "real.zarr")
        (tmp_path / "link.zarr").symlink_to("real.zarr")
        NEW.ngff.to_ome_zarr(tmp_path / "link.zarr", overwrite=True)
        assert (tmp_path / "link.zarr").is_symlink()
        assert agrees(xr.open_dataarray(tmp_path / "real.zarr", engine="ngff"), NEW)

    @by_version
    @pytest.mark.parametrize("before", [None, *VERSIONS])
    @pytest.mark.parametrize("kind", ["memory", "fsspec", "fsspec-url", "wrapper", "inside"])
    def test_every_kind_of_store(self, version, before, kind):
        memory = MemoryStore()
        name = f"memory://test_target/{version}{before}{kind}/a.zarr"
        store = {
            "memory": memory,
            "fsspec": FsspecStore.from_url(name),
            "fsspec-url": name,
            "wrapper": WrapperStore(memory),
            "inside": StorePath(memory, "scans/first"),
        }[kind]
        if before is not None:
            OLD.ngff.to_ome_zarr(store, version=before, levels=3)
        NEW.ngff.to_ome_zarr(store, version=version, overwrite=before is not None, levels=2)
        assert agrees(xr.open_dataarray(store, engine="ngff"), NEW)
        assert len(xr.open_datatree(store, engine="ngff").children) == 2
        # and zarr alone sees a group with two arrays, and nothing of what was replaced
        group = zarr.open_group(name if kind.startswith("fsspec") else store, mode="r")
        assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
        ome = group.attrs.asdict().get("ome", group.attrs.asdict())
        paths = [dataset["path"] for dataset in ome["multiscales"][0]["datasets"]]
        assert [group[path].shape for path in paths] == [(9, 5), (5, 3)]
        documents = sum(1 for _, node in group.members(max_depth=None) if isinstance(node, zarr.Array))
        assert documents == 2

    def test_nothing_is_made_until_it_is_computed(self, tmp_path):
        NEW.ngff.to_ome_zarr(tmp_path / "a.zarr", compute=False)
        assert not list(tmp_path.iterdir())
        store = MemoryStore()
        NEW.ngff.to_ome_zarr(store, compute=False)
        assert content(store) == {}


class TestNeighbourhood:
    @by_version
    def test_groups_above_are_made_where_there_are_none(self, version):
        store = MemoryStore()
        NEW.ngff.to_ome_zarr(StorePath(store, "scans/first"), version=version)
        root = zarr.open_group(store, mode="r")
        assert root.metadata.zarr_format == (3 if version == "0.5" else 2)
        assert list(root) == ["scans"]
        assert list(root["scans"]) == ["first"]

    @by_version
    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_groups_above_are_left_as_they_are(self, version, zarr_format):
        """Also where they are of the other Zarr format: a second document would hide what they say."""
        store = MemoryStore()
        root = zarr.create_group(store, zarr_format=zarr_format, attributes={"study": "first"})
        root.create_group("scans", attributes={"n": 1})
        before = content(store)
        NEW.ngff.to_ome_zarr(StorePath(store, "scans/first"), version=version)
        NEW.ngff.to_ome_zarr(StorePath(store, "scans/first"), version=version, overwrite=True)
        after = content(store)
        assert before.items() <= after.items()
        assert not [key for key in set(after) - set(before) if not key.startswith("scans/first/")]

    @by_version
    def test_what_lies_beside_is_left_alone_by_failures(self, version):
        store = MemoryStore()
        OLD.ngff.to_ome_zarr(StorePath(store, "a"))
        before = content(store)
        for place in ("b", "a/labels/cells"):
            with pytest.raises(RuntimeError):
                broken().ngff.to_ome_zarr(StorePath(store, place), version=version)
            assert content(store) == before


def broken(shape=(40, 40), fails_at=(1, 1)):
    """An image of four blocks of which one cannot be computed."""
    import dask.array as da

    def block(block_info):
        if tuple(block_info[None]["chunk-location"]) == fails_at:
            raise RuntimeError("the microscope is on fire")
        return np.ones(block_info[None]["chunk-shape"], "u1")

    chunks = tuple((n // 2, n - n // 2) for n in shape)
    return as_image(da.map_blocks(block, chunks=chunks, dtype="u1", meta=np.empty((0, 0), "u1")))


class Failing(MemoryStore):
    """Memory that fails at its n-th change, and takes a picture of itself after every one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.changes = 0
        self.fail_at = None
        self.pictures = []

    def _change(self):
        self.changes += 1
        if self.changes == self.fail_at:
            raise OSError("no space left on device")

    async def set(self, key, value, byte_range=None):
        self._change()
        await super().set(key, value, byte_range)
        self.pictures.append(dict(self._store_dict))

    async def delete(self, key):
        await super().delete(key)
        self.pictures.append(dict(self._store_dict))


def opened(picture):
    with warnings.catch_warnings():
        # for a moment there may be the documents of both formats
        warnings.simplefilter("ignore", NgffWarning)
        return xr.open_dataarray(MemoryStore(dict(picture)), engine="ngff").load()


def holds_nothing(picture):
    with contextlib.suppress(FormatError):
        return opened(picture) is None
    return True


class TestAtAnyMoment:
    @by_version
    @pytest.mark.parametrize("before", VERSIONS)
    def test_a_reader_finds_the_old_or_the_new(self, version, before):
        store = Failing()
        OLD.ngff.to_ome_zarr(store, version=before, levels=2)
        store.pictures.clear()
        NEW.ngff.to_ome_zarr(store, version=version, levels=2, overwrite=True)
        found = [
            "old" if agrees(image, OLD) else "new" if agrees(image, NEW) else "part"
            for image in map(opened, store.pictures)
        ]
        assert set(found) == {"old", "new"}
        assert found == sorted(found, reverse=True)

    @by_version
    def test_a_reader_finds_nothing_or_the_whole(self, version):
        store = Failing()
        NEW.ngff.to_ome_zarr(store, version=version, levels=2)
        found = [None if holds_nothing(picture) else agrees(opened(picture), NEW) for picture in store.pictures]
        assert set(found) == {None, True}
        assert found == sorted(found, key=lambda image: image is not None)
        assert not [key for key in store.pictures[-1] if ".unfinished" in key]

    @by_version
    @pytest.mark.parametrize("before", [None, *VERSIONS])
    def test_a_failure_at_any_change_leaves_what_was_there(self, version, before):
        for number in range(1, 99):
            store = Failing()
            if before is not None:
                OLD.ngff.to_ome_zarr(store, version=before, levels=2)
            truth = content(store)
            store.changes, store.fail_at = 0, number
            try:
                NEW.ngff.to_ome_zarr(store, version=version, levels=2, overwrite=before is not None)
            except (OSError, FormatError):
                assert content(store) == truth
            else:
                break
        assert number > 5
        assert agrees(xr.open_dataarray(store, engine="ngff"), NEW)

    @by_version
    @pytest.mark.parametrize("before", [None, *VERSIONS])
    @pytest.mark.parametrize("place", ["memory", "folder"])
    def test_an_interrupt_at_any_step_leaves_what_was_there(self, version, before, place, tmp_path, monkeypatch):
        """Before it and right after it. Interrupts come to the thread that waits, so steps are taken in it."""
        monkeypatch.setattr("dask.config.config", {"scheduler": "synchronous"})
        steps = [
            *("targets.target.put", "targets.store.put", "targets.store.delete"),
            *("targets.folder.put", "targets.folder.publish"),
            *("new_image.create_arrays", "new_image.finish"),
        ]
        outcomes = set()
        for number in range(1, 99):
            store = MemoryStore() if place == "memory" else tmp_path / f"{number}" / "a.zarr"
            if place == "folder":
                store.parent.mkdir()
            if before is not None:
                OLD.ngff.to_ome_zarr(store, version=before)
            truth = content(store) if place == "memory" else files(store.parent)
            with pytest.MonkeyPatch.context() as patch:
                counter = interrupt_at(number, patch, steps)
                try:
                    NEW.ngff.to_ome_zarr(store, version=version, levels=2, overwrite=before is not None)
                except KeyboardInterrupt:
                    pass
                else:
                    break
            assert counter
            found = content(store) if place == "memory" else files(store.parent)
            if found == truth:
                outcomes.add("old")
            else:  # the document is there, so it is whole
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", NgffWarning)
                    assert agrees(xr.open_dataarray(store, engine="ngff"), NEW)
                outcomes.add("new")
            if place == "folder":
                assert [path.name for path in store.parent.iterdir()] in ([], ["a.zarr"])
        assert number > 10
        assert "old" in outcomes

    @by_version
    @pytest.mark.parametrize("before", VERSIONS)
    def test_what_cannot_be_deleted_is_no_reason_to_lose_the_new(self, version, before):
        class Stubborn(MemoryStore):
            stubborn = False

            async def delete(self, key):
                if self.stubborn and not key.startswith((".z", "zarr.json")):
                    raise PermissionError("you may not delete")
                await super().delete(key)

        store = Stubborn()
        OLD.ngff.to_ome_zarr(store, version=before)
        store.stubborn = True
        with pytest.warns(NgffWarning, match="was replaced, but not all of what it replaces could be deleted: you may"):
            NEW.ngff.to_ome_zarr(store, version=version, overwrite=True)
        assert agrees(xr.open_dataarray(store, engine="ngff"), NEW)

    def test_an_interrupt_while_deleting_is_no_reason_to_lose_the_new(self):
        class Interrupted(MemoryStore):
            armed = False

        store = Interrupted()
        OLD.ngff.to_ome_zarr(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dask.config.config", {"scheduler": "synchronous"})
            patch.setattr("xarray_ngff.backends.ngff.targets.store._delete_replaced", interrupt)
            with pytest.raises(KeyboardInterrupt):
                NEW.ngff.to_ome_zarr(store, overwrite=True)
        assert agrees(xr.open_dataarray(store, engine="ngff"), NEW)

    @pytest.mark.parametrize("before", [None, "0.4", "0.5"])
    def test_a_folder(self, tmp_path, before):
        if before is not None:
            OLD.ngff.to_ome_zarr(tmp_path / "a.zarr", version=before)
        truth = files(tmp_path)
        for stage in ("create_arrays", "finish", "publish"):
            with pytest.MonkeyPatch.context() as patch:
                place = "targets.folder.publish" if stage == "publish" else f"new_image.{stage}"
                patch.setattr(f"xarray_ngff.backends.ngff.{place}", interrupt)
                with pytest.raises(KeyboardInterrupt):
                    NEW.ngff.to_ome_zarr(tmp_path / "a.zarr", overwrite=before is not None)
            assert files(tmp_path) == truth
            assert [path.name for path in tmp_path.iterdir()] == (["a.zarr"] if before else [])

    def test_a_folder_that_appears_meanwhile(self, tmp_path):
        task = NEW.ngff.to_ome_zarr(tmp_path / "a.zarr", compute=False)
        OLD.ngff.to_ome_zarr(tmp_path / "a.zarr")
        with pytest.raises(TargetExistsError, match="appeared while it was being written"):
            task.compute()
        assert agrees(xr.open_dataarray(tmp_path / "a.zarr", engine="ngff"), OLD)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

    def test_a_group_that_appears_meanwhile(self):
        store = MemoryStore()
        task = NEW.ngff.to_ome_zarr(store, compute=False)
        OLD.ngff.to_ome_zarr(store)
        with pytest.raises(TargetExistsError, match="was written since this write was planned"):
            task.compute()
        assert agrees(xr.open_dataarray(store, engine="ngff"), OLD)


def interrupt(*args, **kwargs):
    raise KeyboardInterrupt


def interrupt_at(number, patch, steps):
    """Have a `KeyboardInterrupt` come at the n-th moment before or after a call of these functions."""
    moments = []

    def pause():
        moments.append(None)
        if len(moments) == number:
            raise KeyboardInterrupt

    def interruptible(function):
        def stepped(*args, **kwargs):
            pause()
            result = function(*args, **kwargs)
            pause()
            return result

        return stepped

    for step in steps:
        module, _, name = step.rpartition(".")
        module = importlib.import_module(f"xarray_ngff.backends.ngff.{module}")
        patch.setattr(module, name, interruptible(getattr(module, name)))
    return moments


class TestLater:
    """compute=False."""

    def test_computing_twice(self, tmp_path):
        task = NEW.ngff.to_ome_zarr(tmp_path / "a.zarr", compute=False)
        task.compute()
        with pytest.raises(TargetExistsError):
            task.compute()
        assert agrees(xr.open_dataarray(tmp_path / "a.zarr", engine="ngff"), NEW)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]

    def test_computing_anew_after_a_failure(self, tmp_path):
        import dask.array as da

        fails = [True]

        def block(x):
            if fails.pop() if fails else False:
                raise RuntimeError("once")
            return x + 7

        lazy = da.map_blocks(block, da.zeros((9, 5), "u2"), dtype="u2", meta=np.empty((0, 0), "u2"))
        img = as_image(lazy, spacing=(7, 7))
        for store in (tmp_path / "a.zarr", MemoryStore()):
            fails[:] = [True]
            task = img.ngff.to_ome_zarr(store, compute=False)
            with pytest.raises(RuntimeError, match="once"):
                # threads of dask's own may still be at work when it comes back
                task.compute(scheduler="synchronous")
            with pytest.raises(FormatError):
                xr.open_dataarray(store, engine="ngff")
            task.compute()
            assert agrees(xr.open_dataarray(store, engine="ngff"), NEW)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


class TestSteps:
    SPECS = (ArraySpec("0", (4, 6), (2, 3), "<u2", ("y", "x")), ArraySpec("1", (2, 3), (2, 3), "<u2", ("y", "x")))

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_from_open_to_finish(self, tmp_path, zarr_format):
        target = open_target(tmp_path / "a.zarr", overwrite=False, storage_options=None)
        assert not list(tmp_path.iterdir())
        arrays = create_arrays(target, self.SPECS, zarr_format=zarr_format)
        arrays[0][:] = 5
        assert not is_finished(target)
        finish(target, {"note": "done"}, zarr_format=zarr_format)
        assert is_finished(target)
        group = zarr.open_group(tmp_path / "a.zarr", mode="r")
        assert group.attrs.asdict() == {"note": "done"}
        for spec in self.SPECS:
            array = group[spec.path]
            assert (array.shape, array.chunks, array.dtype, array.fill_value) == (spec.shape, spec.chunks, np.uint16, 0)
            if zarr_format == 3:
                assert array.metadata.dimension_names == ("y", "x")
        separator = "0/c/1/1" if zarr_format == 3 else "0/1/1"
        assert (tmp_path / "a.zarr" / separator).is_file()
        document = json.loads((tmp_path / "a.zarr/0" / ("zarr.json" if zarr_format == 3 else ".zarray")).read_text())
        assert zarr_format == 3 or document["dimension_separator"] == "/"

    def test_discard(self, tmp_path):
        target = open_target(tmp_path / "a.zarr", overwrite=False, storage_options=None)
        create_arrays(target, self.SPECS, zarr_format=3)
        assert [path.name.endswith(".partial") for path in tmp_path.iterdir()] == [True]
        discard(target, self.SPECS)
        assert not list(tmp_path.iterdir())
        discard(target, self.SPECS)
