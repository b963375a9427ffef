"""Processes that are killed in the middle of a write: what was there stays, and the write can go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xarray_ngff import as_image
from xarray_ngff.errors import FormatError, TargetExistsError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

OLD = as_image(np.full((6, 8), 3, "u1"), spacing=(3, 3), name="image")

# Each child writes the image, and is killed by the system right before its n-th change of a file.
SCRIPT = '''
import os, resource, signal, sys
import numpy as np, zarr.storage
import xarray_ngff.pyramid.writing_plan as writing_plan
from xarray_ngff import as_image

CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.chmod", "shutil.rmtree"}

# so that there is a block for each time point
writing_plan.BLOCK_BYTES = 20 * 24 * 2
writing_plan._SMALLEST_BLOCK = 1

def write(path, **options):
    values = np.random.default_rng(0).integers(0, 900, (4, 20, 24), dtype="u2")
    as_image(values, "tyx", spacing=(2, 2), units="um").ngff.to_ome_zarr(path, levels=2, chunks=16, **options)

def changes_below(folder, act):
    def hook(event, arguments):
        paths = [os.fspath(a) for a in arguments if isinstance(a, (str, os.PathLike))] if event in CHANGES else []
        if any(path.startswith(folder) for path in paths):
            act()
    sys.addaudithook(hook)

def child(folder, moment, options):
    seen = [0]
    def act():
        seen[0] += 1
        if seen[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
    changes_below(folder, act)
    write(os.path.join(folder, "a.zarr"), **options)
    return seen[0]

if __name__ == "__main__":
    write(zarr.storage.MemoryStore())  # what this imports, no child has to
    for line in sys.stdin:
        folder, moment, limit, options = eval(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                said = repr(child(folder, moment, options))
            except BaseException as error:
                said = repr((type(error).__name__, str(error)))
            os.write(writing, said.encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(pid, 0)
        print(repr((os.WTERMSIG(status), said)), flush=True)
'''  # fmt: skip


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    """Have a child of a process write; gives the signal that ended it and what it said."""
    script = tmp_path_factory.mktemp("script") / "writes.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def write(folder, *, moment=0, limit=0, **options):
            print(repr((str(folder), moment, limit, options)), file=process.stdin, flush=True)
            ended_by, said = eval(process.stdout.readline())
            return ended_by, eval(said) if said else None

        yield write


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def left(folder):
    return sorted(path for path in folder.iterdir() if path.name != "a.zarr")


@pytest.fixture(scope="module")
def truth(children, tmp_path_factory):
    """The files of a write in one go, and the changes of files that it takes."""
    folder = tmp_path_factory.mktemp("truth")
    ended_by, steps = children(folder, moment=0)
    assert ended_by == 0
    return files(folder / "a.zarr"), steps


@pytest.mark.parametrize(("before", "first_resumes"), [(None, False), ("0.5", True)])
def test_at_any_moment(before, first_resumes, children, truth, tmp_path):
    """Also where the first write was not told that it may be continued."""
    whole, steps = truth
    outcomes = set()
    rng = np.random.default_rng(7)
    moments = {3, *rng.integers(1, steps, 5).tolist(), *range(steps - 6, steps + 12, 4)}
    for moment in sorted(moments):
        folder = tmp_path / str(moment)
        folder.mkdir()
        if before is not None:
            OLD.ngff.to_ome_zarr(folder / "a.zarr", version=before)
        old = files(folder / "a.zarr")
        options = {"overwrite": before is not None}
        ended_by, said = children(folder, moment=moment, resume=first_resumes, **options)
        if ended_by == 0:
            assert isinstance(said, int)  # it was whole before
            break
        assert ended_by == signal.SIGKILL
        found = files(folder / "a.zarr")
        if found == whole:
            outcomes.add("new")
            assert not any((path / ".unfinished/begun").exists() for path in left(folder))
            continue
        assert found == old
        if before is None:
            with pytest.raises(FormatError):
                xr.open_dataarray(folder / "a.zarr", engine="ngff")
        begun = [path for path in left(folder) if (path / ".unfinished/begun").exists()]
        outcomes.add("continued" if begun else "begun anew")
        ended_by, said = children(folder, resume=True, **options)
        assert (ended_by, type(said)) == (0, int)
        assert files(folder / "a.zarr") == whole
        assert not set(begun) & set(left(folder))
    assert {"continued", "begun anew"} <= outcomes


def test_again_and_again(children, truth, tmp_path):
    """Killed at one moment after another until nothing is left to do."""
    whole, steps = truth
    rng = np.random.default_rng(3)
    for last in range(steps // 2, 3 * steps, steps // 6):
        ended_by, said = children(tmp_path, moment=int(rng.integers(steps // 4, last)), resume=True)
        if ended_by == 0:
            break
    assert isinstance(said, int)
    assert files(tmp_path / "a.zarr") == whole
    ended_by, said = children(tmp_path, resume=True)
    assert said[0] == TargetExistsError.__name__


@pytest.mark.parametrize("before", [None, "0.5"])
def test_a_system_that_writes_no_more(before, children, truth, tmp_path):
    """Files may have no more than so many bytes: the system refuses the rest of a chunk."""
    whole, _ = truth
    if before is not None:
        OLD.ngff.to_ome_zarr(tmp_path / "a.zarr")
    old = files(tmp_path)
    for resume in (False, True):
        ended_by, said = children(tmp_path, limit=500, resume=resume, overwrite=before is not None)
        assert ended_by == 0
        assert "File too large" in said[1]
        if not resume:
            assert files(tmp_path) == old
    ended_by, said = children(tmp_path, resume=True, overwrite=before is not None)
    assert files(tmp_path / "a.zarr") == whole
    assert left(tmp_path) == []


class TestLostWorker:
    """Of two processes of dask.distributed one is killed while it makes a block."""

    pytestmark = pytest.mark.filterwarnings("default", "ignore:Call to deprecated class Scaler:DeprecationWarning")

    SHAPE = (12, 40, 50)

    @pytest.fixture
    def client(self):
        import dask
        from distributed import Client, LocalCluster

        settings = {"distributed.admin.log-length": 0, "distributed.scheduler.allowed-failures": 1}
        with (
            dask.config.set(settings),
            LocalCluster(
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client

    def image(self, tmp_path, deadly):
        """An image one plane of which kills the process that makes it, as often as there are files that say so."""
        import dask.array as da

        for number in range(deadly):
            (tmp_path / f"deadly{number}").touch()
        values = np.random.default_rng(0).integers(0, 900, self.SHAPE, dtype="u2")

        def plane(values, block_info=None):
            import os
            import signal
            from pathlib import Path

            if block_info[0]["chunk-location"][0] == 7:
                for path in sorted(Path(tmp_path).glob("deadly*")):
                    path.unlink()
                    os.kill(os.getpid(), signal.SIGKILL)
            return values

        lazy = da.map_blocks(plane, da.from_array(values, chunks=(1, -1, -1)), dtype="u2", meta=values[:0, :0, :0])
        return as_image(lazy, "tyx", spacing=(2, 2), units="um")

    def whole(self, tmp_path):
        import dask

        path = tmp_path / "whole.zarr"
        with dask.config.set(scheduler="threads"):
            self.image(tmp_path, 0).ngff.to_ome_zarr(path, levels=2, chunks=16)
        return files(path)

    @pytest.mark.usefixtures("client")
    def test_another_worker_does_it_again(self, tmp_path):
        img = self.image(tmp_path, 1)
        (tmp_path / "out").mkdir()
        img.ngff.to_ome_zarr(tmp_path / "out/a.zarr", levels=2, chunks=16)
        assert not list(tmp_path.glob("deadly*"))
        assert files(tmp_path / "out/a.zarr") == self.whole(tmp_path)
        assert left(tmp_path / "out") == []

    @pytest.mark.usefixtures("client")
    def test_a_block_that_kills_every_worker(self, tmp_path):
        import dask
        from distributed import KilledWorker

        OLD.ngff.to_ome_zarr(tmp_path / "a.zarr")
        old = files(tmp_path / "a.zarr")
        img = self.image(tmp_path, 2)
        options = {"levels": 2, "chunks": 16, "overwrite": True, "resume": True}
        with pytest.raises(KilledWorker):
            img.ngff.to_ome_zarr(tmp_path / "a.zarr", **options)
        assert files(tmp_path / "a.zarr") == old
        assert len(list(tmp_path.glob(".a.zarr.*"))) == 1
        for path in tmp_path.glob("deadly*"):
            path.unlink()
        with dask.config.set(scheduler="threads"):
            img.ngff.to_ome_zarr(tmp_path / "a.zarr", **options)
        assert files(tmp_path / "a.zarr") == self.whole(tmp_path)
        assert list(tmp_path.glob(".a.zarr.*")) == []
