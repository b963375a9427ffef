"""Writing block by block: every voxel once, every chunk once, in little memory."""

from __future__ import annotations

import collections
import gzip
import subprocess
import sys
import textwrap
import tracemalloc

import dask.array as da
import nibabel as nib
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xarray_ngff import geometry
from xarray_ngff.backends import _blocks
from xarray_ngff.backends.nifti import streaming, write_nifti
from xarray_ngff.backends.nifti.streaming import write_voxels

DIMS = ("x", "y", "z", "t")


def located(data):
    dims = DIMS[: data.ndim][::-1]
    return xr.DataArray(
        data, dims=dims, coords={d: geometry.coordinate(d, n) for d, n in zip(dims, data.shape, strict=True)}
    )


def chunkings(size):
    cuts = st.sets(st.integers(1, size - 1), max_size=4) if size > 1 else st.just(set())
    return cuts.map(lambda ends: tuple(np.diff([0, *sorted(ends), size]).tolist()))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_chunks_give_the_same_file(data, tmp_path_factory):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=4)))
    array = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    computed = collections.Counter()

    def count(block, block_info=None):
        if block_info:
            computed[tuple(block_info[0]["chunk-location"])] += 1
        return block

    chunks = tuple(data.draw(chunkings(size)) for size in shape)
    image = located(
        da.from_array(array, chunks=chunks).map_blocks(count, dtype="i4", meta=np.empty((0,) * len(shape), "i4"))
    )
    order = data.draw(st.permutations(image.dims))
    path = tmp_path_factory.getbasetemp() / "any.raw"
    path.write_bytes(b"head")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_blocks, "_BLOCK", data.draw(st.sampled_from([1, 64, 500, 10_000])))
        patched.setattr(streaming, "_SHORT_RUN", data.draw(st.sampled_from([0, 30, 10_000])))
        write_voxels(path, 4, image.transpose(*order), image.dims[::-1], np.dtype("<i4"), lambda block: block)
    assert path.read_bytes() == b"head" + array.tobytes()
    assert set(computed.values()) == {1}
    assert len(computed) == np.prod([len(parts) for parts in chunks])


@pytest.mark.parametrize("source", ["image.nii", "image.nii.gz", "dask"])
@pytest.mark.parametrize("target", ["out.nii", "out.nii.gz", "out.hdr"])
@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_memory_stays_far_below_the_image(source, target, slope, save, opened, tmp_path, patch, monkeypatch):
    monkeypatch.setattr(_blocks, "_BLOCK", 1 << 20)
    monkeypatch.setattr(streaming, "_MAP", 1 << 20)
    monkeypatch.setattr(streaming, "_COPY", 1 << 18)
    monkeypatch.setattr("xarray_ngff.backends.nifti.scaling._PIECE", 1 << 15)
    monkeypatch.setattr("xarray_ngff.backends.nifti.reader._CHUNK", 1 << 20)
    monkeypatch.setattr("xarray_ngff.backends.nifti.reader._PIECE", 1 << 18)
    array = np.broadcast_to(np.arange(256, dtype="i2")[:, None, None], (256, 256, 128))
    path = save(array, name="image.nii")
    patch(path, scl_slope=slope, scl_inter=0)
    if source == "image.nii.gz":
        path.with_suffix(".nii.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path = path.with_suffix(".nii.gz")
    image = opened(path, chunks={"z": 8}) if source == "dask" else opened(path)
    write_nifti(image.isel(z=slice(0, 1)), tmp_path / f"first-{target}")  # imports happen here
    tracemalloc.start()
    write_nifti(image, tmp_path / target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < array.nbytes / 2
    np.testing.assert_array_equal(nib.load(tmp_path / target).dataobj[::50, 0, 0], slope * array[::50, 0, 0])


def test_resident_memory_stays_far_below_the_image(tmp_path):
    """The whole process, with the block sizes as they are, and an image of 256 MiB."""
    script = textwrap.dedent(f"""
        import resource
        import dask, dask.array as da, nibabel, xarray as xr
        from xarray_ngff import geometry
        from xarray_ngff.backends.nifti import write_nifti
        dask.config.set(scheduler="threads", num_workers=2)
        shape = (512, 512, 512)
        coords = {{dim: geometry.coordinate(dim, n) for dim, n in zip("zyx", shape)}}
        small = xr.DataArray(da.zeros(shape, dtype="u2", chunks=(16, 256, 512)), coords=coords, dims=tuple("zyx"))
        write_nifti(small.isel(z=slice(0, 1)), {str(tmp_path / "first.nii")!r})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        write_nifti(small, {str(tmp_path / "image.nii")!r})
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < 256 / 2
    assert (tmp_path / "image.nii").stat().st_size == 352 + 2 * 512**3


def test_a_full_disk_is_an_error_before_any_work(tmp_path, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    touched = []
    image = located(
        da.ones((4, 4, 4), chunks=2).map_blocks(
            lambda block: touched.append(1) or block, dtype="f8", meta=np.empty((0, 0, 0))
        )
    )
    with pytest.raises(OSError, match="No space left"):
        write_nifti(image, tmp_path / "image.nii.gz")
    assert touched == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_cannot_reserve_space(tmp_path, monkeypatch):
    def unable(descriptor, start, size):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("os.posix_fallocate", unable)
    write_nifti(located(np.arange(24.0).reshape(2, 3, 4)), tmp_path / "image.nii")
    np.testing.assert_array_equal(nib.load(tmp_path / "image.nii").get_fdata(), np.arange(24.0).reshape(2, 3, 4).T)
