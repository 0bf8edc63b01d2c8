"""What every test keeps: it asserts something, knows public names alone, and leaves no folder behind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
OURS = ("compliance", "tools", "foreign")  # the last is benchmarks/foreign.py
# What asserts in pytest, and in aws_cdk.assertions
ASSERTING = {"raises", "fail", "warns", "assert_outcomes"}
ASSERTING |= {"has_parameter", "has_resource_properties", "all_resources_properties"}
BY_TABLE = {"test_template_meets"}  # the assertions stand in a table


@cache
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(HERE.rglob("*.py"))}


def called(node: ast.AST) -> set[str]:
    """The names of the functions and methods that are called anywhere inside."""
    calls = (call.func for call in ast.walk(node) if isinstance(call, ast.Call))
    names = (func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls)
    return set(names)


def within_reach(path: Path, parsed: dict[Path, ast.Module]) -> set[Path]:
    """The file itself, and the files of tests/ that it imports, or they do."""
    by_name = {other.stem: other for other in parsed}
    found, rest = {path}, [path]
    while rest:
        for node in ast.walk(parsed[rest.pop()]):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            new = {by_name[last] for name in names if (last := name.rpartition(".")[2]) in by_name} - found
            found |= new
            rest += new
    return found


def silent(parsed: dict[Path, ast.Module]) -> set[str]:
    """Tests that can only fail by an exception: nothing in them, nor in a helper of theirs, asserts."""
    functions = [
        (path, node)
        for path, module in parsed.items()
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    reach = {path: within_reach(path, parsed) for path in parsed}
    calls = {node: called(node) for _, node in functions}
    asserting: set[ast.AST] = {
        node
        for _, node in functions
        if calls[node] & ASSERTING or any(isinstance(inner, ast.Assert) for inner in ast.walk(node))
    }
    before = -1
    while len(asserting) != before:
        before = len(asserting)
        names = {
            path: {n.name for of, n in functions if n in asserting and of in reach[path]} for path in parsed
        }
        asserting |= {node for path, node in functions if calls[node] & names[path]}
    return {
        f"{path.name}:{node.lineno} {node.name}"
        for path, node in functions
        if node.name.startswith("test_") and node not in asserting and node.name not in BY_TABLE
    }


def private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


def reached(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Private names of the product that a file of tests imports, reads or replaces."""
    ours: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            ours |= {alias.asname or alias.name for alias in node.names}
            yield from ((node.lineno, alias.name) for alias in node.names if private(alias.name))
        elif isinstance(node, ast.Import):
            ours |= {alias.asname or alias.name for alias in node.names if alias.name.split(".")[0] in OURS}
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and private(node.attr) and ast.unparse(node.value) in ours:
            yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            names = [text.rpartition(".") for text in texts if isinstance(text, str)]
            of_ours = ast.unparse(node.args[0]) in ours
            yield from (
                (node.lineno, name)
                for place, _, name in names
                if private(name) and (of_ours or place.split(".")[0] in OURS)
            )


def test_every_test_asserts_something() -> None:
    assert silent(modules()) == set()


def test_a_test_that_asserts_nothing_is_found() -> None:
    source = """
def helper(x): assert x
def through(x): helper(x)
def test_good(): through(1)
def test_raises():
    with pytest.raises(ValueError): int("x")
def test_silent(): int("1")
"""
    other = "def test_of_the_same_name(): helper(1)\ndef test_imports(): through(1)\n"
    parsed = {Path("test_x.py"): ast.parse(source), Path("test_y.py"): ast.parse(other)}
    assert silent(parsed) == {
        "test_x.py:7 test_silent",
        "test_y.py:1 test_of_the_same_name",
        "test_y.py:2 test_imports",
    }
    parsed[Path("test_y.py")] = ast.parse("from test_x import helper, through\n" + other)
    assert silent(parsed) == {"test_x.py:7 test_silent"}


def test_tests_know_the_product_by_its_public_names() -> None:
    found = {
        f"{path.relative_to(HERE)}:{line} {name}"
        for path, module in modules().items()
        for line, name in reached(module)
    }
    assert found == set()


def test_a_private_name_is_found() -> None:
    source = """
from compliance.scanners import nag, _hidden
import foreign
nag._unpacked()
nag.__name__
foreign._call()
monkeypatch.setattr(nag, "_bundles", dict)
monkeypatch.setattr("compliance.x._y", 1)
monkeypatch.setattr(os, "_exit", 1)
self._own = 1
"""
    names = [name for _, name in reached(ast.parse(source))]
    assert sorted(names) == ["_bundles", "_hidden", "_y", "foreign._call", "nag._unpacked"]


def test_no_folder_is_left_behind() -> None:
    """Pytest cleans `tmp_path` up, and Python what `TemporaryDirectory` made; what `mkdtemp` made stays."""
    left = {
        f"{path.relative_to(HERE)}:{node.lineno}"
        for path, module in modules().items()
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(("mkdtemp", "mkstemp"))
        and "dir" not in {keyword.arg for keyword in node.keywords}
    }
    assert left == set()
