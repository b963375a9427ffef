"""Which images are nothing but stored chunks, and that these are copied."""

import numpy as np
import pytest
import xarray as xr
import zarr

import xarray_ngff
from xarray_ngff.backends.ngff.stored_source import stored_part
from xarray_ngff.pyramid import verbatim

VALUES = np.random.default_rng(0).integers(1, 999, (3, 20, 50, 60)).astype("u2")
CHUNKS = {"c": 1, "z": 8, "y": 16, "x": 16}


@pytest.fixture
def path(tmp_path):
    img = xarray_ngff.as_image(VALUES, "czyx", spacing=(2, 1, 1), units="um", channels=["a", "b", "d"])
    img.ngff.to_ome_zarr(tmp_path / "source.zarr", chunks=CHUNKS, factors=[2])
    return tmp_path / "source.zarr"


@pytest.fixture
def image(path):
    return xr.open_dataarray(path, engine="ngff")


@pytest.fixture
def copied(monkeypatch):
    """Regions of which the chunks were copied."""
    regions = []
    original = verbatim.copied_chunks

    def noting(source, target, region, *, decoded):
        regions.append(region)
        return original(source, target, region, decoded=decoded)

    monkeypatch.setattr("xarray_ngff.pyramid.stream.copied_chunks", noting)
    return regions


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and "/c/" in str(p)}


class TestStoredPart:
    def test_of_an_image_that_was_opened(self, image):
        part = stored_part(image.variable)
        assert part.array.shape == VALUES.shape
        assert part.start == (0, 0, 0, 0)

    @pytest.mark.parametrize(
        ("selection", "start"),
        [
            ({"c": slice(1, 2)}, (1, 0, 0, 0)),
            ({"z": slice(8, None)}, (0, 8, 0, 0)),
            ({"z": slice(0, 16), "x": slice(16, 48)}, (0, 0, 0, 16)),
            ({"y": slice(32, 50)}, (0, 0, 32, 0)),
        ],
    )
    def test_of_whole_chunks(self, image, selection, start):
        assert stored_part(image.isel(selection).variable).start == start

    @pytest.mark.parametrize(
        "change",
        [
            lambda img: img.isel(z=slice(1, None)),
            lambda img: img.isel(z=slice(0, 7)),
            lambda img: img.isel(x=slice(None, None, -1)),
            lambda img: img.isel(z=slice(None, None, 8)),
            lambda img: img.isel(c=1),
            lambda img: img.isel(c=[0, 1]),
            lambda img: img.transpose("c", "z", "x", "y"),
            lambda img: img.chunk({}),
            lambda img: img + 1,
            lambda img: img.load(),
            lambda img: img.isel(z=slice(0, 0)),
        ],
    )
    def test_of_others(self, image, change):
        assert stored_part(change(image).variable) is None

    def test_of_another_format(self, tmp_path):
        xarray_ngff.as_image(VALUES[0], units="mm").ngff.to_nifti(tmp_path / "a.nii")
        assert stored_part(xr.open_dataarray(tmp_path / "a.nii", engine="nifti").variable) is None


class TestCopied:
    @pytest.mark.parametrize("factors", [[], [2]])
    def test_equal_encoding(self, image, path, tmp_path, copied, factors):
        image.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=CHUNKS, factors=factors)
        assert copied
        assert files(tmp_path / "a.zarr") == {
            name: content for name, content in files(path).items() if factors or name.startswith("0/")
        }

    def test_of_a_part(self, image, tmp_path, copied):
        image.isel(c=slice(1, 3), z=slice(8, 20)).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=CHUNKS, factors=[2])
        assert copied
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[:], VALUES[1:3, 8:20])
        part = VALUES[1:3, 8:20].astype("u4").reshape(2, 6, 2, 25, 2, 30, 2).sum((2, 4, 6))
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr/1", mode="r")[:], np.rint(part / 8))

    def test_like_another(self, tmp_path, copied):
        """What the other has and what this one would be by default need not agree."""
        img = xarray_ngff.as_image(VALUES[0], units="um")
        img.ngff.to_ome_zarr(tmp_path / "b.zarr", chunks=10, compressor="zstd:5", levels=1)
        again = xr.open_dataarray(tmp_path / "b.zarr", engine="ngff")
        again.ngff.to_ome_zarr(tmp_path / "c.zarr", like=tmp_path / "b.zarr")
        assert copied
        assert files(tmp_path / "c.zarr") == files(tmp_path / "b.zarr")

    @pytest.mark.parametrize(
        "options",
        [{"chunks": 10}, {"compressor": "zstd:3"}, {"compressor": None}, {"shards": {"c": 3}, "chunks": CHUNKS}],
    )
    def test_another_encoding_is_encoded(self, image, tmp_path, copied, options):
        image.ngff.to_ome_zarr(tmp_path / "a.zarr", **{"chunks": CHUNKS} | options)
        assert not copied
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[:], VALUES)

    def test_what_was_changed_is_not_copied(self, image, tmp_path, copied):
        (image + 1).ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=CHUNKS)
        image.astype("u4").ngff.to_ome_zarr(tmp_path / "b.zarr", chunks=CHUNKS)
        assert not copied
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[:], VALUES + 1)
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "b.zarr/0", mode="r")[:], VALUES)

    def test_the_other_format(self, image, tmp_path, copied):
        image.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=CHUNKS, version="0.4")
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.zarr/0", mode="r")[:], VALUES)

    def test_a_chunk_that_is_cut_short_is_not_passed_on(self, image, path, tmp_path):
        chunk = path / "0/c/1/1/1/1"
        chunk.write_bytes(chunk.read_bytes()[:-5])
        with pytest.raises(xarray_ngff.FormatError, match="cut short"):
            image.ngff.to_ome_zarr(tmp_path / "a.zarr", chunks=CHUNKS)
        assert [found.name for found in tmp_path.iterdir()] == ["source.zarr"]
