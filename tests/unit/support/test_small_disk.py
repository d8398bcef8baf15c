"""tests/support/small_disk: what a killed test leaves mounted is in nobody's way, and goes with the next one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.small_disk import MOUNTS, small_disk

HOLD = """
import sys
from pathlib import Path
from tests.support.small_disk import small_disk
with small_disk("1m", Path(sys.argv[1])) as disk:
    print(disk, flush=True)
    sys.stdin.read()
"""


def left_by_a_killed_process(mounts: Path) -> Path:
    """The disk of a process that was killed while it held it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(mounts)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    said = holder.stdout.readline().strip()
    holder.kill()
    holder.communicate()
    if said == "None":
        pytest.skip("mounting a small file system needs root")
    return Path(said)


def test_it_is_small_and_gone_afterwards(tmp_path: Path):
    with small_disk("1m", tmp_path) as disk:
        if disk is None:
            pytest.skip("mounting a small file system needs root")
        size = os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize

    assert size == 2**20
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_mounted_goes_with_the_next_one(tmp_path: Path):
    left = left_by_a_killed_process(tmp_path)
    was_mounted = left.is_mount()

    with small_disk("1m", tmp_path) as disk:
        assert disk is not None
        found = {path for path in tmp_path.glob("*/*")}

    assert was_mounted
    assert found == {disk}


def test_what_a_living_process_holds_stays(tmp_path: Path):
    with small_disk("1m", tmp_path) as first:
        if first is None:
            pytest.skip("mounting a small file system needs root")
        with small_disk("1m", tmp_path) as second:
            assert second is not None
            assert first.is_mount()
            assert second != first
        assert first.is_mount()


def test_no_folder_of_pytest_holds_a_mount(tmp_path_factory: pytest.TempPathFactory):
    base = tmp_path_factory.getbasetemp()

    assert base not in MOUNTS.parents
