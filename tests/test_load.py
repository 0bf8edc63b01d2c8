"""Audits under load: many at once, each with handler threads that meet everything for the first time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# Every child is a fork of a process that has imported all, and knows no words of a handler yet. In each,
# threads that switch as often as Python lets them meet a remembered run at the same time: those of a whole
# audit, or threads that do nothing else.
AUDITS = """
import os, sys, threading
from datetime import date
from pathlib import Path
from compliance import auditing
import compliance.handlers.scenarios, compliance.handlers.sandbox.run
from compliance.handlers.sandbox import Execution
from compliance.template import cache
folder = Path({folder!r})
options = auditing.Options(
    assembly=Path({assembly!r}), skip_scanners=True, cache=folder, as_of=date(2026, 6, 1)
)
loaded = auditing.load_document(options.requirements)

def audit():
    card = auditing.audit(options, load_document=lambda _: loaded)
    return any(note.startswith({note!r}) for note in card.notes)

def read():
    kept = [file for file in folder.glob("*.json") if b'"outcomes"' in file.read_bytes()]
    runs = [file.stem for file in kept]
    found = []
    threads = [
        threading.Thread(target=lambda run=run: found.append(cache.load(folder, run, Execution)))
        for run in runs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(found) == len(runs) > 1 and all(found)

def start(work):
    child = os.fork()
    if child:
        return
    code = 9
    try:
        sys.setswitchinterval(1e-5)
        code = 0 if work() else 8
    finally:
        os._exit(code)

start(audit)
os.wait()  # the first one remembers
ends, alive = dict(), 0
left = [audit] * {audits} + [read] * {reads}
while left or alive:
    while left and alive < {abreast}:
        start(left.pop())
        alive += 1
    end = os.waitstatus_to_exitcode(os.wait()[1])
    ends[end] = ends.get(end, 0) + 1
    alive -= 1
print(ends)
"""


def test_audits_side_by_side_never_die(tmp_path: Path) -> None:
    """One in ten died of a signal while msgspec learned the words of an execution in two threads.

    Should that come back, seventy see it but for one time in ten thousand: without the lock of
    `compliance.template.source`, one in seven of those that only read dies.
    """
    code = AUDITS.format(
        assembly=str(ROOT / "tests/fixtures/typescript/assembly"),
        folder=str(tmp_path),
        note="handlers: the same code was run before",
        audits=10,
        reads=60,
        abreast=4,
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False
    )
    assert run.stdout.strip() == "{0: 70}", run.stderr


def test_types_are_learned_in_one_place() -> None:
    """`converted` and `decoded` hold a lock; who goes past them brings the crash back."""
    learns = re.compile(r"msgspec\.convert\(|\.decode\([^)]*type=|msgspec\.(json|yaml|toml)\.Decoder\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "compliance").rglob("*.py")
        if learns.search(path.read_text("utf-8"))
    }
    # A warden is a process of one thread, and imports as little as it can.
    wardens = {"compliance/handlers/sandbox/messages.py", "compliance/handlers/sandbox/warden.py"}
    assert found == {"compliance/template/source.py", *wardens}
