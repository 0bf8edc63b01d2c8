"""The layout of the repository: what a newcomer finds where."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_top_of_the_package_is_small() -> None:
    files = [path.name for path in (ROOT / "compliance").iterdir() if path.is_file()]
    assert len(files) <= 12, sorted(files)


def test_every_room_of_the_package_is_described() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "compliance").glob("*/__init__.py")}
    assert not {room for room in rooms if f"`{room}/`" not in page}


def test_every_file_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_0-9]+\.(?:py|yaml|json))`", page)) - {"requirements.yaml"}
    assert len(named) > 20
    places = (ROOT, ROOT / "compliance", ROOT / "compliance/handlers/sandbox", ROOT / "compliance/scanners")
    assert not {name for name in named if not any((place / name).is_file() for place in places)}


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "architecture" / "index.html").is_file()


LONG_FILES = {"template/assembly.py"}  # it says at its top why it is long
# Longer functions. Click wants a parameter for each option of a command.
LONG_FUNCTIONS = {
    "commands/audit.py:audit": "one parameter an option, and the command's help",
    "commands/deploy.py:deploy": "one parameter an option, and the command's help",
    "commands/fleet.py:fleet": "one parameter an option, and the command's help",
    "mutation/__main__.py:main": "one parameter an option, and the command's help",
    "handlers/sandbox/python/jail.py:close": "no handler may reach what a hook of the interpreter uses",
}
MOST_LINES, MOST_OF_A_FUNCTION = 550, 45  # about 500, about 40


def _modules() -> list[Path]:
    return sorted((ROOT / "compliance").rglob("*.py"))


def test_no_file_is_long_without_a_reason() -> None:
    lengths = {
        path.relative_to(ROOT / "compliance").as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in _modules()
    }
    long = {name for name, lines in lengths.items() if lines > MOST_LINES}
    assert long == LONG_FILES
    for name in long:
        top = ast.get_docstring(ast.parse((ROOT / "compliance" / name).read_text(encoding="utf-8")))
        assert "The file is long because" in (top or "")


def test_no_function_is_long() -> None:
    long = {
        f"{path.relative_to(ROOT / 'compliance').as_posix()}:{node.name}"
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_OF_A_FUNCTION
    }
    assert long - set(LONG_FUNCTIONS) == set()
    assert set(LONG_FUNCTIONS) - long == set(), "these are short enough now: take them off the list"
