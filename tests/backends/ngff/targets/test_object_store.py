"""Object stores: a server of S3 on loopback takes what a folder takes, by the same code and in few requests."""

import re
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from xarray_ngff import as_image, build_pyramid
from xarray_ngff.errors import FormatError, NgffError, TargetExistsError

moto_server = pytest.importorskip("moto.server", reason="a server of S3 comes with moto[server]")
pytest.importorskip("s3fs", reason="URLs of S3 are read with s3fs")

TRUTH = np.random.default_rng(0).integers(0, 900, (4, 24, 32), dtype="u2")
OPTIONS = {"levels": 2, "chunks": 16}
# of a plane: 2 by 2 chunks of level 0, one of level 1
CHUNKS = 4 * (4 + 1)
BUCKET = "scans"


class Server:
    """A server of S3, what to tell s3fs about it, and the requests that it got."""

    def __init__(self, port, requests):
        self.url = f"http://127.0.0.1:{port}"
        self.options = {
            "key": "a",
            "secret": "b",
            "client_kwargs": {"endpoint_url": self.url, "region_name": "us-east-1"},
        }
        self.requests = requests

    def __call__(self, name):
        return f"s3://{BUCKET}/{name}"

    def files(self, name):
        """Every key below a name with its content, as another client has them."""
        import boto3

        client = boto3.client(
            "s3", aws_access_key_id="a", aws_secret_access_key="b", endpoint_url=self.url, region_name="us-east-1"
        )
        keys = [
            entry["Key"]
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{name}/")
            for entry in page.get("Contents", ())
        ]
        found = {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}
        client.close()
        return {key.removeprefix(f"{name}/"): content for key, content in found.items()}

    def counted(self, name):
        """How many requests there were below a name, by method and kind of key."""
        kinds = Counter()
        for method, path in self.requests:
            if name not in path:
                continue
            kind = (
                "note" if "/.unfinished/done/" in path else "chunk" if re.search(r"/\d+(/c)?(/\d+)+$", path) else "rest"
            )
            kinds[method, kind] += 1
        return kinds


@pytest.fixture(scope="module")
def server():
    import boto3

    requests = []
    patch = pytest.MonkeyPatch()
    answer = moto_server.DomainDispatcherApplication.__call__

    def noted(self, environment, start):
        if "moto-api" not in environment["PATH_INFO"]:
            requests.append((environment["REQUEST_METHOD"], environment["PATH_INFO"]))
        return answer(self, environment, start)

    patch.setattr(moto_server.DomainDispatcherApplication, "__call__", noted)
    running = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    made = Server(running.get_host_and_port()[1], requests)
    client = boto3.client(
        "s3", aws_access_key_id="a", aws_secret_access_key="b", endpoint_url=made.url, region_name="us-east-1"
    )
    client.create_bucket(Bucket=BUCKET)
    client.close()
    yield made
    running.stop()
    patch.undo()


@pytest.fixture
def s3(server):
    server.requests.clear()
    return server


def image(values=TRUTH):
    return as_image(values, "tyx", spacing=(2, 2), units="um")


class Planes(BackendArray):
    """A series of planes that come from somewhere, until one does not."""

    shape, dtype = TRUTH.shape, TRUTH.dtype

    def __init__(self, fails_at):
        self.fails_at, self.made = fails_at, []

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._get)

    def _get(self, key):
        times = list(range(4)[key[0]])
        if self.fails_at is not None and times[-1] >= self.fails_at:
            raise RuntimeError("the network is gone")
        self.made += times
        return TRUTH[key]


def lazily(planes):
    lazy = xr.Variable(tuple("tyx"), indexing.LazilyIndexedArray(planes))
    described = image()
    return xr.DataArray(lazy, coords=described.coords, name=described.name)


def in_a_folder(tmp_path, **options):
    """The files that the same write makes in a folder."""
    path = tmp_path / "truth.zarr"
    image().ngff.to_ome_zarr(path, **OPTIONS | options)
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def opened(s3, name, **options):
    return xr.open_dataarray(s3(name), engine="ngff", storage_options=s3.options, **options)


class TestWrites:
    @pytest.mark.parametrize("options", [{}, {"version": "0.4"}, {"shards": 32}], ids=str)
    def test_the_same_as_in_a_folder(self, options, s3, tmp_path):
        name = f"same-{len(str(options))}/a.zarr"
        image().ngff.to_ome_zarr(s3(name), storage_options=s3.options, **OPTIONS | options)
        assert s3.files(name) == in_a_folder(tmp_path, **options)

    def test_one_request_for_each_chunk_and_few_beside_them(self, s3):
        rest = []
        for name, count in (("less/a.zarr", 1), ("more/a.zarr", 4)):
            image(TRUTH[:count]).ngff.to_ome_zarr(s3(name), storage_options=s3.options, **OPTIONS)
            found = s3.counted(name)
            assert found.pop(("PUT", "chunk")) == count * 5
            assert found.pop(("PUT", "note")) == 1  # both images are one block
            assert {kind for _, kind in found} == {"rest"}
            rest.append(sum(found.values()))
        # documents of a group and two arrays, what is asked before they are written, and the journal
        assert rest[0] == rest[1] < 40

    def test_existing(self, s3):
        image().ngff.to_ome_zarr(s3("existing/a.zarr"), storage_options=s3.options, **OPTIONS)
        before = s3.files("existing")
        with pytest.raises(TargetExistsError, match=r"existing/a\.zarr exists: pass overwrite=True"):
            image().ngff.to_ome_zarr(s3("existing/a.zarr"), storage_options=s3.options)
        assert s3.files("existing") == before

    def test_overwrite(self, s3):
        old = as_image(np.full((6, 8), 3, "u1"), spacing=(3, 3))
        old.ngff.to_ome_zarr(s3("over/a.zarr"), storage_options=s3.options, levels=2)
        image().ngff.to_ome_zarr(s3("over/a.zarr"), storage_options=s3.options, overwrite=True, **OPTIONS)
        np.testing.assert_array_equal(opened(s3, "over/a.zarr"), TRUTH)
        prefixes = {key.partition("/")[0] for key in s3.files("over/a.zarr")}
        assert len(prefixes) == 2
        assert "zarr.json" in prefixes

    @pytest.mark.parametrize("resume", [False, True])
    def test_a_failure_leaves_the_old(self, resume, s3):
        name = f"failure-{resume}/a.zarr"
        old = as_image(np.full((6, 8), 3, "u1"), spacing=(3, 3))
        old.ngff.to_ome_zarr(s3(name), storage_options=s3.options, levels=2)
        before = s3.files(name)
        with pytest.raises(RuntimeError, match="the network is gone"):
            lazily(Planes(2)).ngff.to_ome_zarr(
                s3(name), storage_options=s3.options, overwrite=True, resume=resume, **OPTIONS
            )
        after = s3.files(name)
        assert before.items() <= after.items()
        assert (after == before) != resume
        np.testing.assert_array_equal(opened(s3, name), 3)

    def test_bucket_that_is_not_there(self, s3):
        with pytest.raises((NgffError, OSError), match=r"(?i)bucket"):
            image().ngff.to_ome_zarr("s3://nowhere/a.zarr", storage_options=s3.options, **OPTIONS)

    def test_later(self, s3, tmp_path):
        task = image().ngff.to_ome_zarr(s3("later/a.zarr"), storage_options=s3.options, compute=False, **OPTIONS)
        assert s3.files("later") == {}
        task.compute()
        assert s3.files("later/a.zarr") == in_a_folder(tmp_path)


class TestResume:
    def test_what_is_whole_is_not_made_again(self, s3, tmp_path, monkeypatch):
        monkeypatch.setattr("xarray_ngff.pyramid.writing_plan.BLOCK_BYTES", 24 * 32 * 2)
        monkeypatch.setattr("xarray_ngff.pyramid.writing_plan._SMALLEST_BLOCK", 1)
        monkeypatch.setattr("xarray_ngff.pyramid.writing_plan._threads", lambda: 1)
        options = {"storage_options": s3.options, "resume": True, **OPTIONS}
        with pytest.raises(RuntimeError, match="the network is gone"):
            lazily(Planes(2)).ngff.to_ome_zarr(s3("resume/a.zarr"), **options)
        with pytest.raises(FormatError):
            opened(s3, "resume/a.zarr")
        with pytest.raises(FormatError, match="unfinished write of something else"):
            lazily(Planes(None)).ngff.to_ome_zarr(s3("resume/a.zarr"), **options | {"chunks": 20})
        s3.requests.clear()
        planes = Planes(None)
        lazily(planes).ngff.to_ome_zarr(s3("resume/a.zarr"), **options)
        assert planes.made == [2, 3]
        assert s3.counted("resume")["PUT", "chunk"] == CHUNKS // 2
        assert s3.files("resume/a.zarr") == in_a_folder(tmp_path)

    def test_a_process_that_is_killed(self, s3, tmp_path):
        """Which was not told that it may be continued."""
        script = (
            "import sys, time, numpy as np, dask, dask.array as da\n"
            "from xarray_ngff import as_image\n"
            "url, options = sys.argv[1], eval(sys.argv[2])\n"
            "values = np.random.default_rng(0).integers(0, 900, (4, 24, 32), dtype='u2')\n"
            "def plane(values, block_info=None):\n"
            "    if block_info[0]['chunk-location'][0] == 2:\n"
            "        time.sleep(60)\n"
            "    return values\n"
            "planes = da.from_array(values, chunks=(1, -1, -1))\n"
            "lazy = da.map_blocks(plane, planes, dtype='u2', meta=values[:0, :0, :0])\n"
            "img = as_image(lazy, 'tyx', spacing=(2, 2), units='um')\n"
            "with dask.config.set(num_workers=2):\n"
            "    img.ngff.to_ome_zarr(url, storage_options=options, levels=2, chunks=16)\n"
        )
        with subprocess.Popen([sys.executable, "-c", script, s3("killed/a.zarr"), repr(s3.options)]) as process:
            while s3.counted("killed")["PUT", "note"] < 2 and process.poll() is None:
                pass
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        with pytest.raises(FormatError):
            opened(s3, "killed/a.zarr")
        with pytest.raises(TargetExistsError, match="holds an unfinished write: pass resume=True"):
            image().ngff.to_ome_zarr(s3("killed/a.zarr"), storage_options=s3.options, **OPTIONS)
        s3.requests.clear()
        image().chunk(t=1).ngff.to_ome_zarr(s3("killed/a.zarr"), storage_options=s3.options, resume=True, **OPTIONS)
        assert s3.counted("killed")["PUT", "chunk"] <= 2 * 5
        assert s3.files("killed/a.zarr") == in_a_folder(tmp_path)


class TestReads:
    def test_a_crop_reads_what_it_meets(self, s3):
        image().ngff.to_ome_zarr(s3("crop/a.zarr"), storage_options=s3.options, **OPTIONS)
        s3.requests.clear()
        lazy = opened(s3, "crop/a.zarr", chunks={})
        assert ("GET", "chunk") not in s3.counted("crop")
        np.testing.assert_array_equal(lazy[2, 5:20, 3:9], TRUTH[2, 5:20, 3:9])
        assert s3.counted("crop")["GET", "chunk"] == 2

    def test_from_one_place_to_another(self, s3, tmp_path):
        image().ngff.to_ome_zarr(s3("from/a.zarr"), storage_options=s3.options, **OPTIONS)
        opened(s3, "from/a.zarr").ngff.to_ome_zarr(s3("to/b.zarr"), storage_options=s3.options, **OPTIONS)
        opened(s3, "from/a.zarr").ngff.to_ome_zarr(tmp_path / "b.zarr", **OPTIONS)
        assert s3.files("to/b.zarr") == in_a_folder(tmp_path)
        np.testing.assert_array_equal(xr.open_dataarray(tmp_path / "b.zarr", engine="ngff"), TRUTH)


class TestInPlace:
    def test_region(self, s3):
        image().ngff.to_ome_zarr(s3("region/a.zarr"), storage_options=s3.options, **OPTIONS)
        part = image(TRUTH + 1).isel(t=slice(2, 4), y=slice(16, 24))
        part.ngff.to_ome_zarr(s3("region/a.zarr"), storage_options=s3.options, region="auto")
        expected = TRUTH.copy()
        expected[2:4, 16:24] += 1
        np.testing.assert_array_equal(opened(s3, "region/a.zarr"), expected)

    def test_labels(self, s3):
        image().ngff.to_ome_zarr(s3("labels/a.zarr"), storage_options=s3.options, **OPTIONS)
        labels = (image() > 450).astype("u1").rename("labels")
        labels.ngff.to_ome_zarr(s3("labels/a.zarr"), storage_options=s3.options, label="nuclei")
        found = opened(s3, "labels/a.zarr", group="labels/nuclei")
        np.testing.assert_array_equal(found, TRUTH > 450)
        tree = xr.open_datatree(s3("labels/a.zarr"), engine="ngff", storage_options=s3.options)
        assert list(tree["labels"].children) == ["nuclei"]

    def test_levels(self, s3, tmp_path):
        image().ngff.to_ome_zarr(s3("levels/a.zarr"), storage_options=s3.options, levels=1, chunks=16)
        build_pyramid(s3("levels/a.zarr"), levels=2, storage_options=s3.options)
        np.testing.assert_array_equal(
            opened(s3, "levels/a.zarr", level=1),
            zarr.open_array(tmp_path / "truth.zarr/1") if in_a_folder(tmp_path) else None,
        )


class TestCluster:
    """Two processes that share nothing but the store."""

    pytestmark = pytest.mark.filterwarnings("default", "ignore:Call to deprecated class Scaler:DeprecationWarning")

    def test_read_and_write(self, s3, tmp_path):
        import dask
        from distributed import Client, LocalCluster

        with (
            dask.config.set({"distributed.admin.log-length": 0}),
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
            ) as cluster,
            Client(cluster),
        ):
            image().ngff.to_ome_zarr(s3("cluster/a.zarr"), storage_options=s3.options, **OPTIONS)
            lazy = opened(s3, "cluster/a.zarr", chunks={})
            np.testing.assert_array_equal((lazy + 1).compute(), TRUTH + 1)
            (lazy + 1).ngff.to_ome_zarr(s3("cluster/b.zarr"), storage_options=s3.options, **OPTIONS)
            np.testing.assert_array_equal(opened(s3, "cluster/b.zarr"), TRUTH + 1)
            part = image(TRUTH + 1)[1:3].chunk(t=1)
            part.ngff.to_ome_zarr(s3("cluster/a.zarr"), storage_options=s3.options, region="auto")
        expected = TRUTH.copy()
        expected[1:3] += 1
        np.testing.assert_array_equal(opened(s3, "cluster/a.zarr"), expected)


class TestObstore:
    """The other client that zarr has."""

    @pytest.fixture
    def store(self, s3):
        obstore_s3 = pytest.importorskip("obstore.store", reason="zarr's ObjectStore needs obstore").S3Store
        from zarr.storage import ObjectStore

        def made(name):
            client = obstore_s3(
                BUCKET, prefix=name, endpoint=s3.url, access_key_id="a", secret_access_key="b", region="us-east-1",
                client_options={"allow_http": True}, virtual_hosted_style_request=False,
            )  # fmt: skip
            return ObjectStore(client)

        return made

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_write_overwrite_and_resume(self, store, s3, tmp_path):
        store = store("obstore/a.zarr")
        image().ngff.to_ome_zarr(store, **OPTIONS)
        assert s3.files("obstore/a.zarr") == in_a_folder(tmp_path)
        options = {"overwrite": True, "resume": True, **OPTIONS}
        with pytest.raises(RuntimeError, match="the network is gone"):
            lazily(Planes(2)).ngff.to_ome_zarr(store, **options)
        lazily(Planes(None)).ngff.to_ome_zarr(store, **options)
        np.testing.assert_array_equal(xr.open_dataarray(store, engine="ngff"), TRUTH)
        assert len({key.partition("/")[0] for key in s3.files("obstore/a.zarr")}) == 2
