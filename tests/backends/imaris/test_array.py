"""What is read when, by whom, and how much of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import dask
import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xarray_ngff.backends.imaris import array
from xarray_ngff.backends.imaris.array import preferred_chunks
from xarray_ngff.backends.imaris.entrypoint import ImarisEntrypoint
from xarray_ngff.backends.imaris.levels import Level
from xarray_ngff.errors import FormatError, MetadataError, MissingFileError

SHAPE = (3, 2, 9, 13, 18)
STORAGE = {
    "gzip": {"compression": "gzip"},
    "shuffle-gzip": {"compression": "gzip", "shuffle": True},
    "checksum": {"compression": "gzip", "fletcher32": True},
    "plain": {},
    "contiguous": {"chunks": None},
}
DATA = "DataSet/ResolutionLevel 0/TimePoint {}/Channel {}/Data"


def selections(size):
    ends = st.none() | st.integers(-size - 1, size + 1)
    return st.one_of(
        st.integers(-size, size - 1),
        st.builds(slice, ends, ends, st.none() | st.integers(1, 6)),
        st.builds(slice, st.none(), st.none(), st.integers(-4, -1)),
        st.lists(st.integers(-size, size - 1), max_size=5).map(lambda chosen: np.array(chosen, dtype=int)),
    )


@pytest.mark.parametrize("storage", STORAGE)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_selecting_lazily_is_selecting(storage, data, make_ims, noise, tmp_path):
    path = tmp_path / "image.ims"
    if not path.exists():
        make_ims(noise(SHAPE), **STORAGE[storage])
    expected = xr.DataArray(noise(SHAPE), dims=["t", "c", "z", "y", "x"])
    chosen = {dim: data.draw(selections(size)) for dim, size in expected.sizes.items() if data.draw(st.booleans())}
    with xr.open_dataarray(path, engine=ImarisEntrypoint) as image:
        np.testing.assert_array_equal(image.isel(chosen).values, expected.isel(chosen).values)


def test_pointwise_selection(make_ims, noise, opened):
    points = {"z": xr.DataArray([0, 8, 3], dims="p"), "x": xr.DataArray([17, 0, 1], dims="p")}
    expected = xr.DataArray(noise(SHAPE), dims=["t", "c", "z", "y", "x"])
    found = opened(make_ims(noise(SHAPE), compression="gzip")).isel(points)
    np.testing.assert_array_equal(found.values, expected.isel(points).values)


@pytest.fixture
def reads(monkeypatch):
    """Chunks that are taken from HDF5, as (path of the dataset, origin)."""
    seen = []
    take = array.stored_chunk

    def counted(dataset, origin, *rest):
        seen.append((dataset.name.lstrip("/"), origin))
        return take(dataset, origin, *rest)

    monkeypatch.setattr(array, "stored_chunk", counted)
    return seen


class TestReads:
    def test_only_chunks_that_are_met(self, make_ims, noise, opened, reads):
        image = opened(make_ims(noise(SHAPE), compression="gzip"))
        repr(image), image._repr_html_(), image.isel(z=0, x=slice(None, None, -2)), image.nbytes
        pickle.loads(pickle.dumps(image))
        assert reads == []
        image.isel(t=[0, 2], c=1, z=slice(5, 7), y=slice(0, 13, 12), x=0).load()
        expected = [(DATA.format(t, 1), (4, y, 0)) for t in (0, 2) for y in (0, 8)]
        assert reads == expected

    def test_each_chunk_once(self, make_ims, noise, opened, reads):
        opened(make_ims(noise(SHAPE), compression="gzip")).isel(z=slice(None, None, 2), x=[0, 1, 5, 9, 17]).load()
        assert len(reads) == len(set(reads)) == 3 * 2 * 3 * 2 * 3

    def test_nothing_for_nothing(self, make_ims, noise, opened, reads):
        assert opened(make_ims(noise(SHAPE), compression="gzip")).isel(z=slice(3, 3)).values.size == 0
        assert reads == []

    def test_the_padding_of_the_second_level_is_left_out(self, make_ims, noise, opened):
        image = opened(make_ims(noise(SHAPE), levels=2, compression="gzip"), level=1)
        np.testing.assert_array_equal(image.values, noise(SHAPE)[..., :12:2, ::2])


def test_many_threads_decode_what_one_does(make_ims, noise, opened, monkeypatch):
    pixels = noise((1, 2, 40, 200, 210))
    path = make_ims(pixels, chunks=(8, 64, 64), compression="gzip", shuffle=True)
    for threads in (1, 4):
        monkeypatch.setattr(array, "_threads", lambda threads=threads: threads)
        monkeypatch.setattr(array, "_CHUNK", 1 << 18)
        monkeypatch.setattr(array, "_BATCH", 1 << 19)
        monkeypatch.setattr(array, "_TASK", 1 << 17)
        np.testing.assert_array_equal(opened(path).values, pixels)


def test_threads_share_an_image(make_ims, noise, opened):
    pixels = noise(SHAPE)
    image = opened(make_ims(pixels, compression="gzip"))
    boxes = [(t, c, slice(z, z + 4)) for t in range(3) for c in range(2) for z in range(6)] * 4
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda box: image[box].values, boxes))
    for box, values in zip(boxes, found, strict=True):
        np.testing.assert_array_equal(values, pixels[box])


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_dask(scheduler, make_ims, noise):
    pixels = noise(SHAPE)
    with (
        xr.open_dataarray(make_ims(pixels, compression="gzip"), engine=ImarisEntrypoint, chunks={}) as image,
        dask.config.set(scheduler=scheduler, num_workers=2),
    ):
        np.testing.assert_array_equal(image.values, pixels)


def test_pickles_open_the_file_for_themselves(make_ims, noise, tmp_path):
    pixels = noise(SHAPE)
    image = xr.open_dataarray(make_ims(pixels, compression="gzip"), engine=ImarisEntrypoint)
    first = pickle.dumps(image)
    image.isel(t=0).load()
    second = pickle.dumps(image)  # after a read
    image.close()
    for number, dump in enumerate((first, second)):
        copy = pickle.loads(dump)
        np.testing.assert_array_equal(copy.values, pixels)
        copy.close()
        (tmp_path / f"{number}.pickle").write_bytes(dump)
        script = (
            f"import pickle; image = pickle.load(open({str(tmp_path / f'{number}.pickle')!r}, 'rb'));"
            "print(int(image.values.astype('u8').sum()))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert int(done.stdout) == pixels.sum()


class TestTheFile:
    def test_is_open_only_once_it_is_read(self, make_ims, noise):
        path = make_ims(noise(SHAPE), compression="gzip")
        with xr.open_dataset(path, engine=ImarisEntrypoint) as dataset:
            with h5py.File(path, "r+") as file:  # which HDF5 refuses for a file that is open for reading
                file.attrs["touched"] = 1
            dataset["image"].isel(t=0).load()
        with h5py.File(path, "r+") as file:
            file.attrs["touched"] = 2
        # what was closed opens again
        np.testing.assert_array_equal(dataset["image"].isel(t=1).values, noise(SHAPE)[1])
        dataset.close()

    def test_is_closed_with_the_tree(self, make_ims, noise):
        path = make_ims(noise(SHAPE), levels=2, compression="gzip")
        with xr.open_datatree(path, engine=ImarisEntrypoint) as tree:
            tree.load()
            with pytest.raises(OSError, match="already open"):
                h5py.File(path, "r+")
        with h5py.File(path, "r+") as file:
            file.attrs["touched"] = 1

    def test_may_vanish(self, make_ims, noise, opened):
        path = make_ims(noise(SHAPE))
        image = opened(path)
        path.unlink()
        with pytest.raises(MissingFileError, match=r"image\.ims does not exist"):
            image.load()

    def test_may_be_replaced_by_another(self, make_ims, noise, opened):
        image = opened(make_ims(noise(SHAPE)))
        make_ims(noise(SHAPE, "u1"))
        with pytest.raises(MetadataError, match=r"Channel 0/Data has shape .* of uint8, expected .* of uint16"):
            image.load()


class TestCorrupt:
    @pytest.mark.parametrize("harm", ["flipped", "short", "long", "checksum"])
    @pytest.mark.parametrize("shuffle", [False, True])
    def test_a_chunk(self, harm, shuffle, make_ims, noise, opened):
        path = make_ims(noise(SHAPE), compression="gzip", shuffle=shuffle)
        with h5py.File(path, "r+") as file:
            dataset = file[DATA.format(1, 0)]
            mask, raw = dataset.id.read_direct_chunk((4, 8, 0))
            raw = bytearray(raw)
            if harm == "flipped":
                raw[10:40] = bytes(255 - byte for byte in raw[10:40])
            elif harm == "checksum":
                raw[-1] ^= 1
            elif harm == "short":
                raw = raw[: len(raw) // 2]
            else:
                raw = bytearray(len(raw) + 5000)
            dataset.id.write_direct_chunk((4, 8, 0), bytes(raw), mask)
        image = opened(path)
        image.isel(t=0).load()
        image.isel(t=1, c=0, z=0).load()
        with pytest.raises(FormatError, match=r"image\.ims: .*TimePoint 1/Channel 0/Data .*\(4, 8, 0\)"):
            image.load()
        # and again, from an image that was asked before
        with pytest.raises(FormatError, match=r"corrupt|bytes for"):
            image.isel(t=1, c=0, z=4).load()

    def test_a_chunk_that_hdf5_decodes(self, make_ims, noise, opened):
        path = make_ims(noise(SHAPE), fletcher32=True)
        with h5py.File(path, "r+") as file:
            place = file[DATA.format(2, 1)].id.get_chunk_info(3)
            position, length = place.byte_offset, place.size
        content = bytearray(path.read_bytes())
        content[position : position + length] = bytes(length)
        content[position] = 1
        path.write_bytes(content)
        with pytest.raises(FormatError, match=r"image\.ims: .*TimePoint 2/Channel 1/Data is truncated or corrupt"):
            opened(path).load()

    def test_a_truncated_file(self, make_ims, noise):
        path = make_ims(noise(SHAPE), compression="gzip")
        path.write_bytes(path.read_bytes()[:-3000])
        with pytest.raises(FormatError, match=r"image\.ims is HDF5 of \d+ bytes that cannot be opened: .*whole copy"):
            xr.open_dataset(path, engine=ImarisEntrypoint)

    def test_a_file_truncated_after_it_was_opened(self, make_ims, noise, opened):
        path = make_ims(noise(SHAPE), compression="gzip")
        image = opened(path)
        path.write_bytes(path.read_bytes()[:-3000])
        with pytest.raises(FormatError, match=r"image\.ims is HDF5 of"):
            image.load()


def test_chunks_that_were_never_written(make_ims, noise, opened):
    path = make_ims(noise(SHAPE))
    with h5py.File(path, "r+") as file:
        del file[DATA.format(1, 1)]
        sparse = file.create_dataset(
            DATA.format(1, 1), (12, 16, 24), "u2", chunks=(4, 8, 8), compression="gzip", fillvalue=7
        )
        sparse[:4, :8, :8] = 3
    expected = np.full(SHAPE[2:], 7)
    expected[:4, :8, :8] = 3
    np.testing.assert_array_equal(opened(path).isel(t=1, c=1).values, expected)


def test_chunks_without_their_filters(make_ims, noise, opened):
    """HDF5 stores a chunk as it is where a filter does not make it smaller, and marks it."""
    path = make_ims(noise(SHAPE), compression="gzip", shuffle=True)
    block = noise((4, 8, 8), seed=5)
    with h5py.File(path, "r+") as file:
        file[DATA.format(0, 0)].id.write_direct_chunk((0, 0, 0), block.tobytes(), filter_mask=3)
    np.testing.assert_array_equal(opened(path).isel(t=0, c=0, z=slice(4), y=slice(8), x=slice(8)).values, block)


def test_datasets_with_chunks_of_their_own(make_ims, noise, opened):
    path = make_ims(noise(SHAPE), compression="gzip")
    with h5py.File(path, "r+") as file:
        for t, storage in enumerate([{"chunks": (3, 5, 7), "compression": "gzip"}, {}], start=1):
            del file[DATA.format(t, 1)]
            file.create_dataset(DATA.format(t, 1), data=noise(SHAPE)[t, 1], **storage)
    np.testing.assert_array_equal(opened(path).values, noise(SHAPE))


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks", "expected"),
    [
        ((5, 2, 8, 45, 61), "u1", (8, 64, 64), (1, 1, 8, 45, 61)),
        ((1, 1, 400, 4000, 4000), "u2", (16, 128, 128), (1, 1, 32, 256, 512)),
        ((1, 1, 400, 4000, 4000), "u4", (64, 512, 512), (1, 1, 64, 512, 512)),
        ((1, 1, 1000, 64, 64), "u1", (16, 64, 64), (1, 1, 1000, 64, 64)),
    ],
)
def test_preferred_chunks(shape, dtype, chunks, expected):
    found = preferred_chunks(Level(0, shape, np.dtype(dtype), chunks))
    assert found == dict(zip("tczyx", expected, strict=True))
