"""Chunks compressed in threads are what HDF5's own filters read and write."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from xarray_ngff.backends.imaris.compression import compression_named

NAMES = [None, "gzip", "gzip:1", "gzip:9", "lz4"]


@pytest.mark.parametrize("name", NAMES)
def test_chunks(name, noise, tmp_path):
    if name == "lz4":
        pytest.importorskip("hdf5plugin")
    compression = compression_named(name)
    pixels = noise((4, 8, 8))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("data", (4, 16, 8), "<u2", chunks=(4, 8, 8), **compression.filters)
        compression.write(dataset, (0, 8, 0), compression.encode(pixels))
        dataset[:, :8] = pixels + np.uint16(1)
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["data"][:, 8:], pixels)
        for start, expected in (((0, 8, 0), pixels), ((0, 0, 0), pixels + np.uint16(1))):
            chunk = compression.decode(compression.read(file["data"], start), np.dtype("<u2"), (4, 8, 8))
            np.testing.assert_array_equal(chunk, expected)
