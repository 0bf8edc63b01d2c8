"""Temporary folders: gone with their process, by the next one where it was killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from compliance.template import scratch
from compliance.template.scratch import PREFIX, Scratch, sweep

HOLDS = """
import sys, time
from pathlib import Path
from compliance.template.scratch import Scratch
kept = Scratch("held", Path(sys.argv[1]))
print("made", flush=True)
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
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline()
        (folder,) = tmp_path.iterdir()
        aged(folder)
        sweep(tmp_path)
        assert folder.exists(), "its process runs"
        process.send_signal(signal.SIGKILL)
        process.wait()
        sweep(tmp_path)
        assert not folder.exists()
    finally:
        process.kill()
        process.communicate()


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


def test_the_gate_makes_its_temporary_folders_here_alone() -> None:
    """What is made otherwise stays where its process is killed."""
    compliance = Path(scratch.__file__).parents[1]
    made = re.compile(r"mkdtemp[(]|TemporaryDirectory|NamedTemporaryFile")
    places = {
        path.relative_to(compliance).as_posix()
        for path in compliance.rglob("*.py")
        if made.search(path.read_text(encoding="utf-8"))
    }
    assert places == {"template/scratch.py"}
