"""How many mutants the requirements see, and how many the scanners: writes detection.md.

    python benchmarks/detection.py [--one-in N] [--generic-one-in N]

The same mutants for everybody: those that are aimed at a requirement, a sample of the generic ones, and the
equivalents, which should be met with silence. A scanner sees a mutant if it reports anything (rule and
resource) that it does not report on the unchanged template, or cannot read it any more; it is quiet about an
equivalent if no rule reports more often than before, for resources have other names in some.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from compliance.document.requirements import OWN  # noqa: E402
from compliance.mutation import Mutant, inputs, run  # noqa: E402
from compliance.mutation.code import load as load_aims  # noqa: E402
from compliance.mutation.ground import Ground, applied  # noqa: E402
from compliance.scanners import PACKS, command, strip  # noqa: E402
from tools.mutants import AIMS, ALL  # noqa: E402

PEERS = ("cdk-nag", "checkov", "cfn-lint")
UNREADABLE = "unreadable"
NAG_BATCH = 50  # templates a process
Found = list[tuple[str, str]]  # rule and logical id
Stacks = Mapping[str, Mapping[str, Any]]  # templates by the name of their stack


@dataclass(frozen=True)
class Case:
    """A changed input: its row in the table, its name, its templates, and whether it changes nothing."""

    row: str
    name: str
    stacks: Stacks
    equivalent: bool = False


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--one-in", type=int, default=1, help="a sample of the aimed mutants")
    arguments.add_argument("--generic-one-in", type=int, default=20, help="a sample of the generic ones")
    arguments.add_argument("--as-of", type=date.fromisoformat, default=date.today())  # noqa: DTZ011
    arguments.add_argument("--output", type=Path, default=HERE / "detection.md")
    given = arguments.parse_args()
    with ExitStack() as stack:
        ground = inputs.read(OWN, as_of=given.as_of, stack=stack)
        templates = [m for m in run.all_mutants(ground) if not m.source]
        aimed = run.sample([m for m in templates if m.breaks], given.one_in)
        generic = run.sample([m for m in templates if not m.breaks], given.generic_one_in)
        handlers = run.all_mutants(ground, templates=False, aims=load_aims(AIMS))
        equals = run.equivalents(ground, ALL)
        ours = run.judge(ground, [*aimed, *generic, *handlers], equals, progress=told("ours"))
        cases = [
            *(Case(row_of(m, ground), m.name, changed(ground, m)) for m in (*aimed, *generic)),
            *(
                Case("Equivalents, quiet", name, stacks_of(units[ground.environment]), equivalent=True)
                for name, units in equals
            ),
        ]
        unchanged = {s.name: s.template for s in ground.assembly.stacks}
        seen: dict[str, list[bool]] = {}
        versions: dict[str, str] = {}
        for peer in PEERS:
            versions[peer], (before, *after) = scan(
                peer, [unchanged, *(c.stacks for c in cases)], given.as_of
            )
            pairs = zip(cases, after, strict=True)
            seen[peer] = [alarmed(before, found, case.equivalent) for case, found in pairs]
    table = Table()
    for mutant, judged in ours.mutants:
        table.add(row_of(mutant, ground), "ours", judged.killed)
    for _, judged in ours.equivalents:
        table.add("Equivalents, quiet", "ours", not judged.killed)
    for peer in PEERS:
        for case, alarm in zip(cases, seen[peer], strict=True):
            table.add(case.row, peer, alarm is not case.equivalent)
    given.output.write_text(page(table, versions, given, ground), encoding="utf-8")
    print(table.text())


def row_of(mutant: Mutant, ground: Ground) -> str:
    if mutant.source:
        return "Handlers, " + ("aimed" if mutant.breaks else "generic")
    if not mutant.breaks:
        return "Templates, generic"
    category = ground.document.by_id[mutant.breaks].category
    return next(c.title for c in ground.document.categories if c.id == category)


def changed(ground: Ground, mutant: Mutant) -> Stacks:
    unchanged = {stack.name: stack.template for stack in ground.assembly.stacks}
    return {**unchanged, **applied(ground.assembly, mutant.edits)}


def stacks_of(units: Sequence[Any]) -> Stacks:
    return {unit.name: unit.template for unit in units}


def alarmed(before: Found, after: Found, equivalent: bool) -> bool:
    if not equivalent:
        return bool(set(after) - set(before))
    counts = (Counter(rule.partition("[")[0] for rule, _ in found) for found in (before, after))
    first, second = counts
    return bool(second - first)


def told(what: str) -> Callable[[int, int], None]:
    """Says how far it is, where somebody watches."""

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done == total else ""
            print(f"\r{what}: {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)

    return tell


# The scanners, many templates a process


def scan(peer: str, inputs_: Sequence[Stacks], as_of: date) -> tuple[str, list[Found]]:
    """What a scanner finds in each input, and its version."""
    tell = told(peer)
    found: list[Found] = []
    if peer == "cdk-nag":
        batches = [inputs_[start : start + NAG_BATCH] for start in range(0, len(inputs_), NAG_BATCH)]
        with ProcessPoolExecutor() as pool:
            for batch in pool.map(nagged, batches):
                found += batch
                tell(len(found), len(inputs_))
        return version("cdk-nag"), found
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(mp_context=context, initializer=loaded, initargs=(peer, str(as_of))) as pool:
        for one in pool.map(scanned, inputs_, chunksize=10):
            found.append(one)
            tell(len(found), len(inputs_))
    return version(peer), found


def nagged(batch: Sequence[Stacks]) -> list[Found]:
    with tempfile.TemporaryDirectory(prefix="detection-") as folder:
        files = []
        for index, stacks in enumerate(batch):
            for name, body in stacks.items():
                path = Path(folder, f"{len(files)}.json")
                path.write_text(json.dumps(strip(body)), encoding="utf-8")
                files.append({"stack": f"{index}/{name}", "path": str(path)})
        request = json.dumps({"templates": files, "as_of": "", "packs": PACKS})
        answer = subprocess.run(
            command("cdk-nag"), input=request + "\n", capture_output=True, text=True, cwd=folder, check=True
        )
    found: list[Found] = [[] for _ in batch]
    for template in json.loads(answer.stdout)["templates"]:
        index, _, _ = template["stack"].partition("/")
        found[int(index)] += [(each["rule"], each["logical_id"] or "") for each in template["findings"]]
    return found


SCAN: Any
AS_OF: str


def loaded(peer: str, as_of: str) -> None:
    global SCAN, AS_OF
    from importlib import import_module

    module = {"checkov": "checkov_scanner", "cfn-lint": "cfn_lint"}[peer]
    _, SCAN = import_module(f"compliance.scanners.{module}").load()
    AS_OF = as_of


def scanned(stacks: Stacks) -> Found:
    from compliance.scanners.worker import File

    with tempfile.TemporaryDirectory(prefix="detection-") as folder:
        found: Found = []
        for index, (name, body) in enumerate(stacks.items()):
            path = Path(folder, f"{index}.json")
            path.write_text(json.dumps(strip(body)), encoding="utf-8")
            try:
                _, findings = SCAN(File(name, str(path)), {"as_of": AS_OF, "packs": []})
                found += [(f.rule, f.logical_id or "") for f in findings]
            except (SystemExit, Exception):  # it says that it cannot read it, or breaks on it
                found.append((UNREADABLE, name))
        return found


# The table


class Table:
    """Killed (or quiet) and all, by row and column."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[str, Counter[bool]]] = {}

    def add(self, row: str, column: str, right: bool) -> None:
        self._counts.setdefault(row, {}).setdefault(column, Counter())[right] += 1

    def rows(self) -> Iterator[tuple[str, list[str]]]:
        for row, columns in self._counts.items():
            total = next(iter(columns.values())).total()
            yield row, [f"{columns[c][True]}/{total}" if c in columns else f"0/{total}" for c in COLUMNS]

    def text(self) -> str:
        lines = ["| mutants | ours | cdk-nag | checkov | cfn-lint |", "| --- | ---: | ---: | ---: | ---: |"]
        lines += [f"| {row} | {' | '.join(cells)} |" for row, cells in self.rows()]
        return "\n".join(lines)


COLUMNS = ("ours", *PEERS)


def page(table: Table, versions: Mapping[str, str], given: argparse.Namespace, ground: Ground) -> str:
    sampled = f"every {given.generic_one_in}th" if given.generic_one_in > 1 else "every"
    aimed = "Every aimed mutant" if given.one_in == 1 else f"One in {given.one_in} of the aimed mutants"
    scanners = ", ".join(f"{name} {number}" for name, number in versions.items())
    options = f" --one-in {given.one_in}" if given.one_in > 1 else ""
    options += f" --generic-one-in {given.generic_one_in}" if given.generic_one_in != 20 else ""
    return f"""# Detection

`python benchmarks/detection.py{options}`, judged as of {given.as_of}, with
{scanners}, aws-cdk-lib {version("aws-cdk-lib")}.

Mutants of this repository's app, killed of all. {aimed} is judged, and {sampled} generic one
(by a hash of its name). The scanners run with their usual rules: cdk-nag with AwsSolutions and Serverless.
They do not look at handlers' code, so that a handler's mutant is the same template to them.

{table.text()}

A mutant is killed by a scanner if it reports anything (rule and resource) that it does not report on the
unchanged template, or cannot read it. A generic mutant need not break any requirement: those that survive
ours are each in a class with a reason, in `tools/mutants/survivors.yaml`; a scanner that reports one
may be right about something that the document does not ask for. An equivalent changes nothing but the
spelling, or adds what does not concern the pipeline; a scanner that cannot read it is not quiet. The
unrelated resources among them have flaws of their own, which a scanner rightly reports.

What is aimed at the environment as a parameter (SEC-06) takes two synths to see; a scanner has one template.
"""


if __name__ == "__main__":
    main()
