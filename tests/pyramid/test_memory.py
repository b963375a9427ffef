"""Memory that a write may take: amounts as a user gives them, and what the system says is free."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_ngff.errors import MemoryLimitError
from xarray_ngff.pyramid import memory
from xarray_ngff.pyramid.memory import available_bytes, byte_count, bytes_text, memory_bytes


class TestAmounts:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1 B", 1),
            ("2kB", 2000),
            ("2 KB", 2000),
            ("2 kib", 2048),
            ("1.5 MiB", 1572864),
            ("100 MB", 100_000_000),
            ("  .5 GiB ", 2**29),
            ("3 TB", 3 * 10**12),
            ("1 TiB", 2**40),
        ],
    )
    def test_with_units(self, text, expected):
        assert byte_count(text) == memory_bytes(text) == expected

    @pytest.mark.parametrize(
        "text",
        ["", "5", "MiB", "5 um", "-5 MiB", "5 MiBs", "5 M", "1e3 MiB", "5 MiB 3", "nan MiB", "\u0665 MiB", "1,5 GiB"],
    )
    def test_that_are_none(self, text):
        assert byte_count(text) is None
        with pytest.raises(MemoryLimitError, match="memory_limit is "):
            memory_bytes(text)

    @pytest.mark.parametrize("limit", [0, -1, True, 2.5, "0 GiB", [1], np.float64(3), "0.1 B"], ids=repr)
    def test_limits_that_are_none(self, limit):
        with pytest.raises(MemoryLimitError, match='expected a number of bytes above zero, or text such as "2 GiB"'):
            memory_bytes(limit)

    def test_whole_numbers_are_bytes(self):
        assert memory_bytes(np.int64(77)) == 77
        assert type(memory_bytes(np.int64(77))) is int

    @given(st.integers(0, 2**60))
    def test_as_text_are_short_and_near(self, count):
        text = bytes_text(count)
        assert len(text) <= len("0.976 MiB") or count >= 999 * 2**40
        assert byte_count(text) == pytest.approx(count, rel=5e-3)

    def test_a_quarter_of_what_is_free_by_default(self, monkeypatch):
        monkeypatch.setattr(memory, "available_bytes", lambda: 4000)
        assert memory_bytes(None) == 1000


class TestAvailable:
    def test_here(self):
        assert 2**20 < available_bytes() < 2**50

    @pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="Linux says it there")
    def test_is_no_more_than_there_is(self):
        assert available_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

    def test_what_the_kernel_says(self, tmp_path):
        file = tmp_path / "meminfo"
        file.write_text("MemTotal:       24683728 kB\nMemFree:  20000000 kB\nMemAvailable:   23841792 kB\n")
        assert memory._linux_available(file) == 23841792 * 1024
        assert memory._linux_available(tmp_path / "none") is None

    def left(self, tmp_path, membership, files):
        (tmp_path / "cgroup").write_text(membership)
        for name, content in files.items():
            file = tmp_path / "mount" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return sorted(memory._left_by_cgroups(tmp_path / "cgroup", tmp_path / "mount"))

    def test_a_job_of_version_2(self, tmp_path):
        """Pages of files that were read count as used, but can be dropped."""
        files = {
            "jobs/7/memory.max": "1000\n",
            "jobs/7/memory.current": "700\n",
            "jobs/7/memory.stat": "anon 300\nfile 400\ninactive_file 250\nactive_file 150\n",
            "jobs/memory.max": "max\n",
            "jobs/memory.current": "900\n",
        }
        assert self.left(tmp_path, "0::/jobs/7\n", files) == [550]

    def test_every_group_above_counts(self, tmp_path):
        files = {
            "jobs/7/memory.max": "1000",
            "jobs/7/memory.current": "100",
            "jobs/memory.max": "5000",
            "jobs/memory.current": "4900",
        }
        assert self.left(tmp_path, "0::/jobs/7\n", files) == [100, 900]

    def test_a_container_of_version_2(self, tmp_path):
        """Its own group is the root of the mount, whatever path the host gives it."""
        files = {"memory.max": "1000", "memory.current": "200"}
        assert self.left(tmp_path, "0::/../docker/abc\n", files) == [800]

    def test_a_container_of_version_1(self, tmp_path):
        files = {
            "memory/memory.limit_in_bytes": "2000\n",
            "memory/memory.usage_in_bytes": "1500\n",
            "memory/memory.stat": "cache 500\ninactive_file 1\ntotal_inactive_file 400\n",
        }
        assert self.left(tmp_path, "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n", files) == [900]

    def test_used_beyond_the_limit(self, tmp_path):
        """As a limit that was lowered leaves it."""
        assert self.left(tmp_path, "0::/\n", {"memory.max": "100", "memory.current": "300"}) == [-200]

    def test_no_groups(self, tmp_path):
        assert self.left(tmp_path, "0::/\n", {}) == []
        assert list(memory._left_by_cgroups(tmp_path / "none", tmp_path)) == []

    def test_the_least_of_all_and_never_below_zero(self, monkeypatch):
        monkeypatch.setattr(memory, "_linux_available", lambda file: 500)
        monkeypatch.setattr(memory, "_left_by_cgroups", lambda *_: iter([300, 900]))
        assert available_bytes() == 300
        monkeypatch.setattr(memory, "_left_by_cgroups", lambda *_: iter([-5]))
        assert available_bytes() == 0

    def test_where_the_system_tells_only_what_it_has(self, monkeypatch):
        told = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
        monkeypatch.setattr(memory, "_linux_available", lambda file: None)
        monkeypatch.setattr(os, "name", "posix")
        monkeypatch.setattr(os, "sysconf", told.__getitem__, raising=False)
        assert available_bytes() == 4096 * 1000 // 2

    @pytest.mark.parametrize("error", [ValueError("unrecognized"), OSError(22, "invalid"), AttributeError("sysconf")])
    def test_where_it_tells_nothing(self, monkeypatch, error):
        def refuse(name):
            raise error

        monkeypatch.setattr(os, "sysconf", refuse, raising=False)
        assert memory._half_of_physical() == 4 * 2**30

    @pytest.mark.skipif(sys.platform != "win32", reason="a call of Windows")
    def test_windows(self):
        assert memory._windows_available() > 2**20
