"""Temporary folders: gone with their process, by the next one where it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from patience import until

from compliance.template.scratch import PREFIX, Scratch, sweep

HOLDS = """
import sys, time
from pathlib import Path
from compliance.template.scratch import Scratch
kept = Scratch("held", Path(sys.argv[1]))
time.sleep(600)
"""


def aged(folder: Path) -> Path:
    before = time.time() - 3600
    os.utime(folder, (before, before))
    return folder


def test_a_folder_is_gone_when_it_is_left(tmp_path: Path) -> None:
    with Scratch("some", tmp_path) as folder:
        Path(folder, "file").touch()
        assert Path(folder).name.startswith(f"{PREFIX}some-")
        sweep(tmp_path)
        assert Path(folder, "file").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_used_is_not(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path])
    try:
        until(lambda: any(tmp_path.iterdir()))
        (folder,) = tmp_path.iterdir()
        time.sleep(0.2)  # it locks what it has made
        aged(folder)
        sweep(tmp_path)
        assert folder.exists(), "its process runs"
        process.send_signal(signal.SIGKILL)
        process.wait()
        sweep(tmp_path)
        assert not folder.exists()
    finally:
        process.kill()
        process.wait()


def test_what_is_not_the_gates_own_stays(tmp_path: Path) -> None:
    for name in ("other", f"x-{PREFIX}", f"{PREFIX}new-1"):
        (tmp_path / name).mkdir()
    aged(tmp_path / "other")
    outside = tmp_path / "other" / "inside"
    outside.mkdir()
    (tmp_path / f"{PREFIX}link-1").symlink_to(tmp_path / "other")
    (tmp_path / f"{PREFIX}file-1").touch()
    before = sorted(tmp_path.iterdir())
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert outside.exists()
