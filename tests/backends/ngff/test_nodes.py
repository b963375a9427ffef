"""Nodes say what zarr itself says of the same groups and arrays."""

import json
import pickle
import warnings

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from xarray_ngff.backends.ngff.nodes import open_array, read_group, read_nodes, suggested_groups
from xarray_ngff.backends.ngff.stores import open_store
from xarray_ngff.errors import FormatError, MetadataError, NgffWarning

COMMON = ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
IMAGE = {"multiscales": [{"version": "0.4"}]}


def read(store, path="a", **known):
    return read_nodes(open_store(store), [path], **known)[path]


class TestArrays:
    @given(
        kind=st.sampled_from([*((dtype, f) for dtype in COMMON for f in (2, 3)), (">u2", 2), (">f4", 2)]),
        shape=st.lists(st.integers(1, 9), min_size=0, max_size=5),
        sharded=st.booleans(),
        named=st.booleans(),
        known=st.booleans(),
    )
    def test_as_zarr_sees_them(self, kind, shape, sharded, named, known):
        dtype, zarr_format = kind
        store = MemoryStore()
        chunks = tuple(-(-size // 2) for size in shape)
        zarr.create_array(
            store,
            name="a",
            shape=tuple(shape),
            chunks=chunks,
            shards=tuple(2 * c for c in chunks) if sharded and zarr_format == 3 and shape else None,
            dtype=dtype,
            zarr_format=zarr_format,
            dimension_names=[f"d{i}" for i in range(len(shape))] if named and zarr_format == 3 else None,
            attributes={"note": [1, 2]},
        )
        truth = zarr.open_array(store, path="a", zarr_format=zarr_format)
        node = read(store, **({"zarr_format": zarr_format, "kind": "array"} if known else {}))
        assert (node.kind, node.zarr_format, node.path) == ("array", zarr_format, "a")
        assert (node.shape, node.chunks, node.shards) == (truth.shape, truth.chunks, truth.shards)
        assert node.dtype == truth.dtype
        assert node.attributes == dict(truth.attrs)
        assert node.dimension_names == getattr(truth.metadata, "dimension_names", None)
        assert pickle.loads(pickle.dumps(node)) == node

    @pytest.mark.parametrize(("dtype", "zarr_format"), [("U3", 2), ("M8[s]", 2), ("S2", 2), ("U3", 3), ("S2", 3)])
    def test_unusual_data_types_are_left_to_zarr(self, dtype, zarr_format):
        store = MemoryStore()
        with warnings.catch_warnings():
            # zarr warns that some of them have no specification yet
            warnings.simplefilter("ignore")
            zarr.create_array(store, name="a", shape=(4,), chunks=(2,), dtype=dtype, zarr_format=zarr_format)
            truth = zarr.open_array(store, path="a", zarr_format=zarr_format)
            node = read(store)
        assert (node.shape, node.dtype, node.chunks) == ((4,), truth.dtype, (2,))

    def test_dimension_names_of_v2(self):
        store = MemoryStore()
        array = zarr.create_array(store, name="a", shape=(2, 2), dtype="u1", zarr_format=2)
        array.attrs["_ARRAY_DIMENSIONS"] = ["y", "x"]
        assert read(store).dimension_names == ("y", "x")

    def test_open_array_reads_the_same_pixels(self):
        for zarr_format in (2, 3):
            store = MemoryStore()
            pixels = np.arange(30).reshape(5, 6)
            zarr.create_array(store, name="g/a", data=pixels, chunks=(2, 2), zarr_format=zarr_format)
            root = open_store(store).child("g")
            array = open_array(root, read_nodes(root, ["a"])["a"])
            np.testing.assert_array_equal(array[1:4, ::2], pixels[1:4, ::2])
            assert array.store is store

    def test_codec_that_zarr_does_not_know(self, tmp_path):
        zarr.create_array(tmp_path / "a", shape=(2,), dtype="u1", zarr_format=3)
        document = json.loads((tmp_path / "a" / "zarr.json").read_text())
        document["codecs"].append({"name": "nosuch", "configuration": {}})
        (tmp_path / "a" / "zarr.json").write_text(json.dumps(document))
        root = open_store(tmp_path)
        node = read_nodes(root, ["a"])["a"]
        assert node.shape == (2,)
        with pytest.raises(FormatError, match=r"zarr cannot open the array 'a'.*nosuch"):
            open_array(root, node)

    def test_data_type_that_zarr_does_not_know(self, tmp_path):
        zarr.create_array(tmp_path / "a", shape=(2,), dtype="u1", zarr_format=3)
        file = tmp_path / "a" / "zarr.json"
        file.write_text(file.read_text().replace('"uint8"', '"int2"'))
        with pytest.raises(FormatError, match="zarr cannot open the array 'a'"):
            read(tmp_path)


class TestGroups:
    @pytest.mark.parametrize("zarr_format", [2, 3])
    @pytest.mark.parametrize("known", [{}, {"kind": "group"}])
    def test_groups_and_gaps(self, zarr_format, known):
        store = MemoryStore()
        zarr.create_group(store, path="plate/A", zarr_format=zarr_format, attributes={"x": 1})
        nodes = read_nodes(open_store(store), ["plate/A", "plate/B", "plate"], **known)
        assert list(nodes) == ["plate/A", "plate/B", "plate"]
        assert nodes["plate/B"] is None
        assert (nodes["plate/A"].kind, nodes["plate/A"].zarr_format) == ("group", zarr_format)
        assert nodes["plate/A"].attributes == {"x": 1}

    @pytest.mark.parametrize(("wrong", "right"), [(2, 3), (3, 2)])
    def test_known_format_asks_for_nothing_else(self, wrong, right):
        store = MemoryStore()
        zarr.create_group(store, path="g", zarr_format=right)
        assert read(store, "g", zarr_format=wrong) is None
        assert read(store, "g", zarr_format=right) is not None

    def test_both_formats_at_one_place(self, tmp_path):
        zarr.create_group(tmp_path, zarr_format=2, attributes={"from": 2})
        zarr.create_group(tmp_path, zarr_format=3, attributes={"from": 3}, overwrite=False)
        with pytest.warns(NgffWarning, match=r"root has the documents of Zarr v3 and of v2; v3 was read"):
            assert read(tmp_path, "").attributes == {"from": 3}

    def test_attributes_alone(self, tmp_path):
        (tmp_path / ".zattrs").write_text(json.dumps(IMAGE))
        with pytest.warns(NgffWarning, match=r"neither \.zgroup nor \.zarray"):
            assert read(tmp_path, "").attributes == IMAGE

    def test_byte_order_mark(self, tmp_path):
        (tmp_path / ".zgroup").write_text('{"zarr_format": 2}')
        (tmp_path / ".zattrs").write_bytes(b"\xef\xbb\xbf" + json.dumps(IMAGE).encode())
        assert read(tmp_path, "").attributes == IMAGE


class TestBrokenDocuments:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("zarr.json", b'{"zarr_format": 3, "node_', r"g/zarr\.json is not JSON"),
            ("zarr.json", b"", r"g/zarr\.json is not JSON"),
            ("zarr.json", b"\xff\xfe\xfa", r"g/zarr\.json is not JSON"),
            ("zarr.json", b"[1]", r"g/zarr\.json is \[1\], expected an object"),
            (
                "zarr.json",
                b'{"zarr_format": 2, "node_type": "group"}',
                "zarr_format 2 and node_type 'group', expected 3",
            ),
            ("zarr.json", b'{"zarr_format": 3, "node_type": "x"}', "node_type 'x', expected 3 and 'group' or 'array'"),
            ("zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": 1}', "attributes is 1, expected"),
            ("zarr.json", b'{"zarr_format": 3, "node_type": "array", "shape": [-1]}', r"shape is \[-1\], expected"),
            (".zattrs", b"{", r"g/\.zattrs is not JSON"),
            (".zarray", b"{}", r"g/\.zarray: shape is missing"),
            (".zarray", b'{"shape": [2, 2], "chunks": [1], "dtype": "|u1"}', r"chunks is \[1\], expected 2 sizes"),
        ],
    )
    def test_say_which_key(self, tmp_path, name, content, message):
        (tmp_path / "g").mkdir()
        (tmp_path / "g" / name).write_bytes(content)
        with pytest.raises(MetadataError, match=message) as caught:
            read(tmp_path, "g")
        assert str(tmp_path) in str(caught.value)


class TestReadGroup:
    def test_array_instead_of_group(self, tmp_path):
        zarr.create_array(tmp_path / "img.zarr" / "0", shape=(2, 2), dtype="u1")
        with pytest.raises(FormatError, match=r"img\.zarr/0 is a Zarr array, not a group.*Give the folder above"):
            read_group(open_store(tmp_path / "img.zarr" / "0"))
        with pytest.raises(FormatError, match=r"img\.zarr: 0 is a Zarr array, not a group.*Give ''"):
            read_group(open_store(tmp_path / "img.zarr"), "0")

    def test_folder_that_is_no_zarr(self, tmp_path):
        with pytest.raises(
            FormatError, match=rf"{tmp_path} holds no Zarr group: neither zarr\.json .* nor \.zgroup .*; check the path"
        ):
            read_group(open_store(tmp_path))

    @pytest.mark.parametrize("attributes", [IMAGE, {"ome": IMAGE | {"version": "0.5"}}])
    def test_images_right_below(self, tmp_path, attributes):
        for name in ("b.zarr", "a.zarr", "other"):
            zarr.create_group(tmp_path / name, attributes=attributes if name != "other" else {"ome": "x"})
        (tmp_path / "notes").mkdir()
        with pytest.raises(FormatError, match=r"did you mean group='a\.zarr' or group='b\.zarr'\?"):
            read_group(open_store(tmp_path))

    def test_hint_does_not_fail_on_a_broken_neighbour(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "zarr.json").write_text("{")
        with pytest.raises(FormatError, match="check the path"):
            read_group(open_store(tmp_path))

    def test_suggestions_in_a_store_that_is_not_listed(self):
        zarr.create_group("memory://test_nodes/bare.zarr/0", attributes=IMAGE)
        assert suggested_groups(open_store("memory://test_nodes/bare.zarr")) == ("0",)
        assert suggested_groups(open_store("memory://test_nodes/nothing")) == ()

    def test_group_further_down(self, tmp_path):
        zarr.create_group(tmp_path / "p" / "A" / "1", attributes={"x": 1})
        assert read_group(open_store(tmp_path), "p/A/1").attributes == {"x": 1}
        assert read_group(open_store(tmp_path).child("p"), "A/1").path == "A/1"
