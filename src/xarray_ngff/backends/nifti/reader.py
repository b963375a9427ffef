"""Voxels of a NIfTI file as a lazy array, and the file as a dataset."""

from __future__ import annotations

import gzip
import itertools
import math
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from xarray_ngff import geometry
from xarray_ngff.backends._lazy import FileKey, LazyArray, image_dataset, take_orthogonal
from xarray_ngff.backends._times import START_TIME
from xarray_ngff.backends.nifti.fields import ENCODING_KEY, encoding_from_header
from xarray_ngff.backends.nifti.header import BEST_COMPRESSION, COLOR_TYPES, NiftiHeader, read_header
from xarray_ngff.backends.nifti.layout import (
    LABEL_INTENT,
    Labels,
    is_labels,
    outer_dims,
    read_labels,
    spatial_names,
)
from xarray_ngff.backends.nifti.placement import sform_to_qform
from xarray_ngff.backends.nifti.scaling import Scaling, scaling_from_header
from xarray_ngff.backends.nifti.units import length_unit, time_unit
from xarray_ngff.channels import Channel, channel_coordinates
from xarray_ngff.errors import FormatError, NgffError, NgffWarning

if TYPE_CHECKING:
    from nibabel.openers import ImageOpener

__all__ = ["NiftiArray", "open_nifti", "preferred_chunks"]

# Uncompressed bytes that are taken from a gzip stream at a time.
_PIECE = 1 << 22
# Bytes that are read from a plain file although only a part of them is wanted.
_ROW = 1 << 16
# Bytes of the chunks that chunks={} gives.
_CHUNK = 1 << 25

_COLORS = {"R": "FF0000", "G": "00FF00", "B": "0000FF"}


def open_nifti(path: object, *, mask_and_scale: bool = True) -> xr.Dataset:
    """Dataset of the image in a NIfTI file; see `NiftiEntrypoint.open_dataset`."""
    header = read_header(path)
    labels = _labels(header)
    names = spatial_names(header.affine)
    intent = int(header.fields["intent_code"])
    outer = outer_dims(header.shape, intent=intent, colors=header.color_type is not None, labels=labels)

    stored = [*(["c"] if header.color_type else []), *names[: len(header.shape)], *outer]
    dims = geometry.canonical_dims(tuple(dim for dim in stored if dim is not None))
    order = [stored.index(str(dim)) for dim in dims]
    scaling = _scaling(header) if mask_and_scale else None
    array = NiftiArray(header, order, scaling)

    coords = _spatial_coordinates(header, names)
    encoding = encoding_from_header(header, names, outer, coords, scaled=scaling is not None)
    if (relation := sform_to_qform(header)) is not None:
        encoding["sform_to_qform"] = relation
    coords |= {dim: coord[0] for dim, coord in coords.items() if dim not in dims}
    selected = () if labels is None else labels.selected
    count = header.shape[3] if "t" in dims else int("t" in selected)
    if count and (time := _time_coordinate(header, count)) is not None:
        coords["t"] = time if "t" in dims else time[0]
        if labels is not None and labels.start_time is not None:
            coords["t"].attrs[START_TIME] = labels.start_time
    named = channel_coordinates(_channels(header, labels))
    coords |= {name: coord[0] for name, coord in named.items()} if "c" in selected else named
    chunks = preferred_chunks(stored, array.file_shape, header.dtype.itemsize)
    return image_dataset(
        "labels" if intent == LABEL_INTENT and array.dtype.kind in "iu" else "image",
        [str(dim) for dim in dims],
        array,
        coords,
        encoding={ENCODING_KEY: encoding, "preferred_chunks": chunks},
        source=str(header.names.header),
        close=array.close,
    )


def _labels(header: NiftiHeader) -> Labels | None:
    content = next((extension[1] for extension in header.extensions if is_labels(extension)), None)
    if content is None:
        return None
    try:
        labels = read_labels(content, header.shape)
        channel_coordinates(labels.channels)
    except NgffError as error:
        warnings.warn(
            f"{header.names.header}: the header extension with channel labels is not used: {error}",
            NgffWarning,
            stacklevel=2,
        )
        return None
    return labels


def _scaling(header: NiftiHeader) -> Scaling | None:
    if header.color_type:
        return None
    scaling = scaling_from_header(float(header.fields["scl_slope"]), float(header.fields["scl_inter"]), header.dtype)
    if scaling is not None and not math.isfinite(scaling.intercept):
        raise FormatError(
            f"{header.names.header}: scl_slope is {scaling.slope:g} but scl_inter is {scaling.intercept}, so there are "
            "no values. Open the stored numbers with mask_and_scale=False"
        )
    return scaling


def _spatial_coordinates(header: NiftiHeader, names: Sequence[str]) -> dict[str, xr.Variable]:
    shape = (*header.shape, 1, 1)[:3]
    columns = [*(names.index(dim) for dim in geometry.SPATIAL_DIMS), 3]
    sizes = dict(zip(names, shape, strict=True))
    unit = length_unit(header)
    return geometry.coordinates_from_affine(sizes, header.affine[:, columns], units=unit, frame="RAS")


def _time_coordinate(header: NiftiHeader, count: int) -> xr.Variable | None:
    """Coordinate of t in seconds, or None where the file gives no step, so that frames are only counted."""
    unit, factor = time_unit(header)
    step, start = float(header.fields["pixdim"][4]), float(header.fields["toffset"])
    if not (math.isfinite(step) and step > 0):
        return None
    start = start if math.isfinite(start) else 0.0
    return geometry.coordinate("t", count, start=start * factor, step=step * factor, units=unit)


def _channels(header: NiftiHeader, labels: Labels | None) -> tuple[Channel, ...]:
    if header.color_type:
        parts = COLOR_TYPES[header.color_type]
        colors = _COLORS if header.color_type == "RGB24" else {}
        return tuple(Channel(part, colors.get(part)) for part in parts)
    return labels.channels if labels is not None else ()


def preferred_chunks(stored: Sequence[str | None], shape: Sequence[int], itemsize: int) -> dict[str, int]:
    """Chunks by dim that are contiguous in the file, whole along its fast axes, and of about 32 MiB.

    Examples
    --------
    >>> preferred_chunks(["x", "y", "z", "t"], (256, 256, 200, 100), 2)
    {'x': 256, 'y': 256, 'z': 200, 't': 1}
    """
    chunks, size = {}, itemsize
    for dim, length in zip(stored, shape, strict=True):
        if dim is not None:
            chunks[dim] = max(1, min(length, _CHUNK // size))
            size *= chunks[dim]
    return chunks


class NiftiArray(LazyArray):
    """Voxels of a NIfTI file.

    Of an uncompressed file the runs of bytes are read that hold what is asked for. A gzip stream is read forward in
    pieces; with indexed_gzip (through nibabel) going back is cheap too, without it the stream starts anew. Threads take
    turns on a stream. Pickled copies open the file for themselves.

    Parameters
    ----------
    header
        Header of the file.
    order
        For each dim, the axis of the stored numbers that it is.
    scaling
        What to apply to stored numbers, or None.
    """

    def __init__(self, header: NiftiHeader, order: Sequence[int], scaling: Scaling | None) -> None:
        dtype = header.dtype if scaling is None else scaling.value_dtype(header.dtype)
        super().__init__(header.stored_shape, dtype, order)
        self.path = str(header.names.data)
        self.compressed = header.names.compressed
        self.offset = header.offset
        self.stored_dtype = header.dtype
        self.scaling = scaling
        self._lock = threading.Lock()
        self._stream: ImageOpener | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_lock", "_stream")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._lock, self._stream = threading.Lock(), None

    def __del__(self) -> None:
        if getattr(self, "_stream", None) is not None:
            self.close()

    def close(self) -> None:
        """Close the stream. A later read opens it again."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def read(self, key: FileKey) -> npt.NDArray[Any]:
        """Selected voxels, in the axis order of the file."""
        self._check_size()
        stored = self._read_stream(key) if self.compressed else self._read_file(key)
        return stored if self.scaling is None else self.scaling.decode(stored)

    @property
    def _data_end(self) -> int:
        return self.offset + math.prod(self.file_shape) * self.stored_dtype.itemsize

    def _check_size(self) -> None:
        """Refuse a file that is too short before any memory is claimed for what its header promises."""
        size = Path(self.path).stat().st_size
        if not self.compressed and size < self._data_end:
            raise self._truncated(size)
        if self.compressed and size * BEST_COMPRESSION < self._data_end:
            raise FormatError(
                f"{self.path}: the header promises {self._data_end} bytes, more than a gzip file of {size} bytes can "
                "hold: the header is corrupt or the file truncated. Get a whole copy"
            )

    def _truncated(self, found: int, cause: str = "") -> FormatError:
        return FormatError(
            f"{self.path} is truncated or corrupt: expected {self._data_end} bytes for shape {self.file_shape} of "
            f"{self.stored_dtype} after {self.offset} bytes of header, found {found}{cause}. Get a whole copy"
        )

    def _read_file(self, key: FileKey) -> npt.NDArray[Any]:
        # not through a memory map: pages around what is read would count as memory of the process
        wanted = [_indices(part, length) for part, length in zip(key, self.file_shape, strict=True)]
        found = np.empty([len(indices) for indices in wanted], self.stored_dtype, order="F")
        if found.size:
            with Path(self.path).open("rb", buffering=0) as stream:
                self._fill(found, wanted, stream, most=_ROW)
        return _without_integers(found, key)

    def _read_stream(self, key: FileKey) -> npt.NDArray[Any]:
        wanted = [_indices(part, length) for part, length in zip(key, self.file_shape, strict=True)]
        found = np.empty([len(indices) for indices in wanted], self.stored_dtype, order="F")
        if found.size:
            with self._lock:
                try:
                    # a pass over most of the file needs no index, without which it is twice as fast
                    if 2 * found.nbytes > self._data_end - self.offset:
                        with gzip.open(self.path) as stream:
                            self._fill(found, wanted, stream, most=_PIECE)
                    else:
                        self._fill(found, wanted, self._kept_stream(), most=_PIECE)
                except (EOFError, zlib.error, ValueError, OSError) as error:
                    self.close()
                    if isinstance(error, OSError) and error.errno is not None:
                        raise  # the disk's trouble, not the file's
                    raise self._truncated(self._bytes_found(), f" ({error})") from error
        return _without_integers(found, key)

    def _kept_stream(self) -> Any:
        """Stream that stays open for the next read, with an index for going back where indexed_gzip is installed."""
        if self._stream is None:
            from nibabel.openers import ImageOpener

            self._stream = ImageOpener(self.path)
        return self._stream

    def _fill(self, found: npt.NDArray[Any], wanted: Sequence[npt.NDArray[np.intp]], stream: Any, *, most: int) -> None:
        """Read the pieces that hold the wanted voxels, in the order of the file.

        The fastest axes are read whole where they are wanted whole, or have no more than `most` bytes, the next one in
        spans, and the others index by index.
        """
        split, unit = 0, self.stored_dtype.itemsize
        while split < len(self.file_shape) - 1:
            longer = unit * self.file_shape[split]
            if longer > (_PIECE if len(wanted[split]) == self.file_shape[split] else most):
                break
            unit, split = longer, split + 1
        inner = self.file_shape[:split]
        strides = np.cumprod([unit, *self.file_shape[split:-1]], dtype=object)
        within = [_as_slice(indices) for indices in wanted[:split]]
        outer = [list(enumerate(indices)) for indices in wanted[split + 1 :]]
        for combination in itertools.product(*reversed(outer)):
            places = combination[::-1]
            base = self.offset + sum(int(i) * stride for (_, i), stride in zip(places, strides[1:], strict=True))
            for part in _spans(wanted[split], max(1, _PIECE // unit)):
                span = wanted[split][part]
                low, high = int(span[0]), int(span[-1]) + 1
                raw = _bytes_at(stream, base + low * unit, (high - low) * unit)
                piece = np.frombuffer(raw, self.stored_dtype).reshape((*inner, high - low), order="F")
                target = found[(..., part, *(position for position, _ in places))]
                target[...] = take_orthogonal(piece, (*within, _as_slice(span - low)))

    def _bytes_found(self) -> int:
        """Bytes that can be had from the stream before it ends or breaks."""
        found = 0
        try:
            with gzip.open(self.path) as stream:
                while part := stream.read1(_PIECE):  # read() would lose what comes before the break
                    found += len(part)
        except (EOFError, OSError, zlib.error):
            return found
        return found


def _without_integers(found: npt.NDArray[Any], key: FileKey) -> npt.NDArray[Any]:
    """What was read, without the axes that an integer selects along."""
    return found[tuple(slice(None) if isinstance(part, (slice, np.ndarray)) else 0 for part in key)]


def _bytes_at(stream: Any, position: int, count: int) -> bytes:
    stream.seek(position)
    parts = []
    while count > 0:
        part = stream.read(count)
        if not part:
            raise EOFError("the stream ends early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _as_slice(indices: npt.NDArray[np.intp]) -> slice | npt.NDArray[np.intp]:
    """Sorted indices as a slice, which is selected without a copy, where none is left out or there twice."""
    return slice(int(indices[0]), int(indices[-1]) + 1) if (np.diff(indices) == 1).all() else indices


def _indices(part: int | slice | npt.NDArray[Any], length: int) -> npt.NDArray[np.intp]:
    if isinstance(part, slice):
        return np.arange(length)[part]
    return np.atleast_1d(np.asarray(part, dtype=np.intp))


def _spans(indices: npt.NDArray[np.intp], limit: int) -> Iterator[slice]:
    """Slices of sorted indices so that each covers at most `limit` places."""
    start = 0
    while start < len(indices):
        stop = int(np.searchsorted(indices, indices[start] + limit))
        yield slice(start, stop)
        start = stop
