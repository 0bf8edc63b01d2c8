"""Fuzzes the reading of templates and the resolving of intrinsic functions, guided by coverage.

    python benchmarks/fuzz.py [--seconds 60]

atheris, which is no dependency of anything here, goes into a temporary virtual environment. A template is
drawn from the fuzzer's bytes; it has to be refused with InputError, or every property of it resolves, twice
to the same. The first other exception, or an input that takes more than ten seconds, ends the run with the
input that did it, and exit 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ATHERIS = "atheris==3.0.0"
INSIDE = "COMPLIANCE_FUZZ"
TEXTS = (
    "",
    "x",
    "${",
    "${A}",
    "${B.Arn}",
    "${!A}",
    "${ P }",
    "{{resolve:ssm:x}}",
    ",",
    "true",
    "1e999",
    "名",
)
NAMES = ("A", "B", "P", "L", "Yes", "M", "AWS::Region", "AWS::NoValue", "Nobody")
MAX_DEPTH = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="how long to fuzz [60]")
    seconds = parser.parse_args().seconds
    with TemporaryDirectory(prefix="fuzz-") as scratch:
        venv.create(scratch, with_pip=True)
        python = Path(scratch, "bin", "python")
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([str(python), "-m", "pip", "install", *quiet, ATHERIS], check=True)
        own = [path for path in sys.path if path.endswith("site-packages")]
        environment = {**os.environ, INSIDE: "1", "PYTHONPATH": os.pathsep.join((str(ROOT), *own))}
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-max_len=2048", "-rss_limit_mb=2048"]
        done = subprocess.run([str(python), __file__, *limits], cwd=scratch, env=environment)
    return 1 if done.returncode else 0


def fuzz() -> None:
    """Within the environment that has atheris. Does not return."""
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["compliance"]):
        from compliance.model import InputError
        from compliance.template.assembly import Assembly, Stack
        from compliance.template.intrinsics import FUNCTIONS, refs_in, show

    functions = ("Ref", "Condition", *sorted(FUNCTIONS))
    here = Path("t.json")

    def node(data: Any, depth: int = 0) -> Any:
        kind = data.ConsumeIntInRange(0, 11 if depth < MAX_DEPTH else 4)
        match kind:
            case 0:
                return NAMES[data.ConsumeIntInRange(0, len(NAMES) - 1)]
            case 1:
                return TEXTS[data.ConsumeIntInRange(0, len(TEXTS) - 1)]
            case 2:
                return data.ConsumeUnicodeNoSurrogates(8)
            case 3:
                return data.ConsumeInt(2)
            case 4:
                return (None, True, False, 0.5, 10**400)[data.ConsumeIntInRange(0, 4)]
            case 5 | 6:
                return [node(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 3))]
            case 7:
                return {node_key(data): node(data, depth + 1) for _ in range(data.ConsumeIntInRange(0, 2))}
        name = functions[data.ConsumeIntInRange(0, len(functions) - 1)]
        if kind == 8:
            return {name: node(data, depth + 1)}
        count = data.ConsumeIntInRange(2, 3)
        first = NAMES[data.ConsumeIntInRange(0, len(NAMES) - 1)]
        return {name: [first, *(node(data, depth + 1) for _ in range(count - 1))]}

    def node_key(data: Any) -> str:
        return data.ConsumeUnicodeNoSurrogates(4) or "k"

    def one(content: bytes) -> None:
        data = atheris.FuzzedDataProvider(content)
        queue, table = ({"Type": f"AWS::{kind}"} for kind in ("SQS::Queue", "DynamoDB::Table"))
        template = {
            "Parameters": {
                "P": {"Type": "String", "Default": node(data, MAX_DEPTH)},
                "L": {"Type": "CommaDelimitedList", "Default": "a,b"},
            },
            "Mappings": {"M": {"a": {"b": node(data)}}},
            "Conditions": {"Yes": node(data), "X": node(data)},
            "Resources": {
                "A": {**queue, "Properties": {"QueueName": node(data), "Tags": node(data)}},
                "B": {**table, "Properties": {"TableName": node(data)}, "DeletionPolicy": node(data)},
            },
            "Outputs": {"O": {"Value": node(data)}},
        }
        assembly = Assembly("template", here)
        try:
            assembly.add(Stack(assembly, "S", here, template))
        except InputError:
            return
        for resource in assembly.resources():
            for value in (resource.properties, resource.attribute("DeletionPolicy")):
                assert repr(resource.stack.resolver.resolve(value)) == repr(value)
                show(value)
                for ref in refs_in(value):
                    assembly.text(ref)
            for value in resource.properties.values():
                assembly.text(value)
        assert assembly.stacks[0].outputs is not None

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    if INSIDE in os.environ:
        fuzz()
    else:
        sys.exit(main())
