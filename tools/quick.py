"""`make quick`: runs the tests that touch what differs from main, in this tree or in its commits.

A changed file of tests runs itself; a changed module has the tests of its room that carry its name or import
it, else all of its room. What is marked `slow`, and what has not begun after 25 seconds, is left to
`make test`: that is said.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALWAYS = ("tests/test_house.py", "tests/test_the_tests.py")
SECONDS, LEFT = 25, "left to `make test`"
_begin = time.monotonic()


def main() -> int:
    tests = sorted({*ALWAYS, *chosen(changed("main"))})
    print("   " + " ".join(tests), file=sys.stderr)
    options = ["-q", "-p", "tools.quick", "-m", "not slow", "--maxfail=5"]
    command = [sys.executable, "-m", "pytest", *options, *tests, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quickest files first, so that most of them are begun: `make test` begins with the longest."""
    places = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: -places[item.path])


def pytest_runtest_setup() -> None:
    if time.monotonic() - _begin > SECONDS:
        pytest.skip(LEFT)


def changed(base: str) -> list[str]:
    """The files that differ from where this branch left the base; from the last commit, if there is none."""
    fork = _git("merge-base", "HEAD", base) or ["HEAD"]
    return [*_git("diff", "--name-only", fork[0]), *_git("ls-files", "--others", "--exclude-standard")]


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1]


def chosen(files: list[str], root: Path = ROOT) -> Iterator[str]:
    """The tests that touch some files.

    Args:
        files: paths in the repository.
        root: where the repository lies.
    Returns: files and folders of tests.
    """
    texts = {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((root / "tests").rglob("test_*.py"))
    }
    for file in map(Path, files):
        if file.as_posix() in texts:
            yield file.as_posix()
        elif file.parts[0] in ("compliance", "tools", "stacks", "tests") and file.suffix == ".py":
            yield from _touching(file, texts) or _room(file, root)


def _touching(file: Path, texts: dict[str, str]) -> list[str]:
    """Tests of the module's room that carry its name or import it."""
    parts = file.with_suffix("").parts
    package, name = ".".join(parts[:-1]), parts[-1]
    if name == "__init__":
        return []
    imported = rf"from {re.escape(package)} import [^\n]*\b{name}\b|{re.escape(package)}\.{name}\b"
    if parts[0] == "tests":
        imported = rf"^(from|import) ({re.escape(package)}\.)?{name}\b"
    room = "/".join(("tests", *parts[1:2])) if len(parts) > 2 else "tests"
    near = {test: text for test, text in texts.items() if Path(test).parent.as_posix() == room}
    own = re.compile(rf"test_{name}(_\w+)?\.py")
    return [
        test
        for test, text in near.items()
        if own.fullmatch(Path(test).name) or re.search(imported, text, re.MULTILINE)
    ]


def _room(file: Path, root: Path) -> list[str]:
    if file.parts[0] == "stacks":
        return ["tests/order_pipeline"]
    room = Path("tests", *file.parts[1:2])
    return [room.as_posix()] if len(file.parts) > 2 and (root / room).is_dir() else []


if __name__ == "__main__":
    sys.exit(main())
