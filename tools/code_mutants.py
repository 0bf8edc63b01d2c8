"""`make mutants-code`: changes the gate's own code, and shows which changes its tests do not notice.

The changes are cosmic-ray's (https://cosmic-ray.readthedocs.io): another operator, another constant, no
decorator. A sample is drawn by seed, for all of them would take days. Each change is tried, in a copy of
the repository, with the tests of its room that run its line. cosmic-ray lives in an environment of its
own (`.mutants`), and so does this; the tests run in `.venv`.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from tools.blocks import TESTS, put

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv" / "bin" / "python"
ACCEPTED = Path(__file__).with_name("accepted_survivors.toml")
# A room's code, and the tests that have to notice a change of it.
ROOMS: Mapping[str, Sequence[str]] = {
    "rules": ["tests/rules"],
    "template": ["tests/template"],
    "facts": ["tests/facts", "tests/rules/test_least_privilege.py", "tests/rules/test_predicates.py"],
    "handlers/sandbox": ["tests/handlers"],
    "release": ["tests/release"],
    "document": [
        "tests/document",
        "tests/test_language.py",
        "tests/commands/test_base.py",
        "tests/commands/test_configured.py",
        "tests/commands/test_language_commands.py",
    ],
}
# `is` for `==` is the same for what Python keeps once, such as short texts.
ALIKE = ("_Eq_Is", "_Is_Eq", "_NotEq_IsNot", "_IsNot_NotEq")
# A change may make an endless loop: what takes so much longer than the tests did is noticed.
TIMES_LONGER, SECONDS_MORE = 10, 60
NOTICED, SURVIVED, NOT_LOADED = "noticed", "survived", "does not load"


@dataclass(frozen=True)
class Change:
    """A change of one file: the lines that went and those that came, and where."""

    file: str
    line: int
    source: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}\n  - {self.was}\n  + {self.now}"


@dataclass(frozen=True)
class RunBy:
    """Which tests run which lines of the package, and how long they take."""

    lines: Mapping[str, Mapping[str, Sequence[str]]]
    seconds: Mapping[str, float]

    def of(self, change: Change) -> list[str]:
        """Those that run the line, else the file: of the module's own name first, then the quickest."""
        by_line = self.lines.get(change.file, {})
        found = set(by_line.get(str(change.line), ()))
        found = found or {test for tests in by_line.values() for test in tests} or set(self.seconds)
        stem = Path(change.file).stem
        return sorted(found, key=lambda test: (stem not in test.partition("::")[0], self.seconds[test]))


# Changes


def sample(room: str, count: int, seed: int, root: Path = ROOT) -> list[Change]:
    """Changes of a room's files, each as likely as its file is long."""
    draw = random.Random(f"{seed} {room}")  # noqa: S311 -- a sample
    files = sorted((root / "compliance" / room).rglob("*.py"))
    sizes = [file.stat().st_size for file in files]
    found: dict[tuple[str, int], Change] = {}
    for _ in range(20 * count):
        if len(found) == count:
            break
        (file,) = draw.choices(files, sizes)
        if change := _drawn(file, draw, root):
            found.setdefault((change.file, change.line), change)
    return list(found.values())


def _drawn(file: Path, draw: random.Random, root: Path) -> Change | None:
    from cosmic_ray import mutating, plugins  # not where the tests run

    places = _places(file)
    if not places:
        return None
    place = draw.choice(sorted(places))
    operator, occurrence = draw.choice(places[place])
    before = file.read_text(encoding="utf-8")
    after = mutating.mutate_code(before, plugins.get_operator(operator)(), occurrence)
    if after is None:
        return None
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    was, now = ("\n".join(line[2:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return Change(file.relative_to(root).as_posix(), place[0], after, was, now)


@cache
def _places(file: Path) -> Mapping[tuple[int, int], list[tuple[str, int]]]:
    """Where a file can be changed: by line and column the operators, each with its number there."""
    from cosmic_ray import plugins
    from cosmic_ray.ast import ast_nodes, get_ast

    text = file.read_text(encoding="utf-8")
    nodes, spared = list(ast_nodes(get_ast(text))), _spared(ast.parse(text))
    places: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for name in plugins.operator_names():
        operator = plugins.get_operator(name)
        if operator.arguments() or name.endswith(ALIKE):
            continue
        made = operator()
        positions = [begin for node in nodes for begin, _ in made.mutation_positions(node)]
        for number, begin in enumerate(positions):
            if not any(start <= begin <= end for start, end in spared):
                places.setdefault(tuple(begin), []).append((name, number))
    return places


def _spared(module: ast.Module) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """What changes nothing that runs: types, imports for the type checker, and what is frozen."""
    nodes: list[ast.AST | None] = []
    for node in ast.walk(module):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                nodes.append(node.returns)
            case ast.arg() | ast.AnnAssign():
                nodes.append(node.annotation)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.keyword(arg="frozen"):
                nodes.append(node)
    return [
        ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        for node in nodes
        if isinstance(node, ast.expr | ast.stmt | ast.keyword)
    ]


# Trials


def copy(folder: Path) -> Path:
    """The working tree, but for what git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def loads(change: Change, folder: Path) -> bool:
    """Whether the module can still be imported."""
    module = ".".join(Path(change.file).with_suffix("").parts)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [str(PYTHON), "-c", f"import {module}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def pytest(folder: Path, *arguments: str, seconds: float | None = None) -> int:
    """Its exit code; that of a failed test where it takes longer."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "HYPOTHESIS_STORAGE_DIRECTORY": str(folder)}
    command = [str(PYTHON), "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


def tests_of(room: str, folder: Path) -> RunBy:
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch, "lines.json")
        pytest(folder, "-p", "tools.tests_by_line", "--lines-to", str(output), *ROOMS[room])
        return RunBy(**json.loads(output.read_text(encoding="utf-8")))


def tried(change: Change, room: str, tests: RunBy, folder: Path) -> str:
    """Whether the tests notice the change: those that run its line, and then all of its room.

    Of several tests that share something, such as an app, the first alone runs the lines that make it.
    """
    chosen, file = tests.of(change), folder / change.file
    names = folder / "chosen-tests"
    names.write_text("\n".join(chosen), encoding="utf-8")
    before = file.read_text(encoding="utf-8")
    compiled = Path(importlib.util.cache_from_source(str(file)))
    try:
        compiled.unlink(missing_ok=True)
        file.write_text(change.source, encoding="utf-8")
        if not loads(change, folder):
            return NOT_LOADED
        for arguments, ran in (([f"@{names}"], chosen), (ROOMS[room], list(tests.seconds))):
            limit = SECONDS_MORE + TIMES_LONGER * sum(tests.seconds[test] for test in ran)
            if pytest(folder, "-x", *arguments, seconds=limit):
                return NOTICED
        return SURVIVED
    finally:
        file.write_text(before, encoding="utf-8")
        compiled.unlink(missing_ok=True)


def trials(room: str, changes: Sequence[Change], folders: Sequence[Path]) -> Iterator[tuple[Change, str]]:
    tests = tests_of(room, folders[0])
    free: SimpleQueue[Path] = SimpleQueue()
    for folder in folders:
        free.put(folder)

    def one(change: Change) -> tuple[Change, str]:
        folder = free.get()
        try:
            return change, tried(change, room, tests, folder)
        finally:
            free.put(folder)

    with ThreadPoolExecutor(len(folders)) as pool:
        yield from pool.map(one, changes)


# The report


def accepted() -> dict[tuple[str, str, str], str]:
    """Changes that may survive, each with the reason: by file, the line that was, and what it became."""
    entries = tomllib.loads(ACCEPTED.read_text(encoding="utf-8"))["survivor"]
    return {(entry["file"], entry["was"], entry["now"]): entry["why"] for entry in entries}


def rate(outcomes: Sequence[str]) -> float:
    """How many of those that load are noticed, in percent."""
    counted = [outcome for outcome in outcomes if outcome != NOT_LOADED]
    return 100 * counted.count(NOTICED) / len(counted) if counted else 100.0


def report(results: Mapping[str, Sequence[tuple[Change, str]]], per_room: int, seed: int) -> str:
    """The rooms with their rates, and the reasons of what is accepted."""
    known, rows = accepted(), []
    for room, tried_ones in results.items():
        outcomes = [outcome for _, outcome in tried_ones]
        survivors = [change for change, outcome in tried_ones if outcome == SURVIVED]
        argued = sum((change.file, change.was, change.now) in known for change in survivors)
        counts = (outcomes.count(NOTICED), argued, len(survivors) - argued)
        rows.append(
            f"| `{room}/` | {sum(counts)} | {' | '.join(map(str, counts))} | {rate(outcomes):.0f} % |"
        )
    every = [outcome for tried_ones in results.values() for _, outcome in tried_ones]
    reasons = [
        f"- `{file}`: `{was.strip()}` {f'became `{now}`' if now else 'went'}. {why}"
        for (file, was, now), why in known.items()
    ]
    return "\n".join(
        [
            "| room | changes | noticed | survived, argued below | survived | rate |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *rows,
            "",
            f"**{rate(every):.0f} %** of the changes are noticed (`--per-room {per_room} --seed {seed}`).",
            *(["", "Accepted survivors:", "", *reasons] if reasons else []),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", default=list(ROOMS), help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--per-room", type=int, default=10, help="how many changes of each room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="how many are tried side by side")
    parser.add_argument("--floor", type=float, default=0.0, help="fails where fewer percent are noticed")
    parser.add_argument("--write", action="store_true", help="writes docs/tests.md")
    given = parser.parse_args()
    results: dict[str, list[tuple[Change, str]]] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-code-") as scratch:
        folders = [copy(Path(scratch, str(number))) for number in range(given.jobs)]
        for room in given.rooms:
            results[room] = []
            changes = sample(room, given.per_room, given.seed, folders[0])
            for change, outcome in trials(room, changes, folders):
                results[room].append((change, outcome))
                print(f"{outcome}: {change}", flush=True)
    text = report(results, given.per_room, given.seed)
    if given.write:
        put(TESTS, "make mutants-code", "Changes", text)
    print(text)
    return int(rate([outcome for tried_ones in results.values() for _, outcome in tried_ones]) < given.floor)


if __name__ == "__main__":
    sys.exit(main())
