"""What drafts of `compliance init` see: writes drafts.md.

    python benchmarks/drafts.py [--one-in N]

A draft is made for the corrected stack of each document in examples/documents, and judges one in N (20) of
the stack's generic mutants. Most of those that it does not kill change what a draft leaves out on purpose,
such as tags' values, descriptions and code, or make a bound stricter.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
DAY = date(2026, 11, 29)

from compliance.auditing import Options  # noqa: E402
from compliance.drafting.draft import read  # noqa: E402
from compliance.mutation import inputs, run  # noqa: E402
from compliance.template.loading import load_assembly, load_template  # noqa: E402
from tools import generality  # noqa: E402


def given(path: Path) -> dict[str, Path | None]:
    """The input of an audit: an assembly's folder, or a template."""
    return {"assembly": path, "template": None} if path.is_dir() else {"assembly": None, "template": path}


def drafted(path: Path) -> str:
    """The draft for a stack."""
    return read(Options(as_of=DAY, **given(path)))


def measured(path: Path, folder: Path, one_in: int) -> tuple[int, int, int, int]:
    """The number of resources, of requirements, of mutants that the draft kills, and of all mutants."""
    document = folder / "requirements.yaml"
    document.write_text(drafted(path), encoding="utf-8")
    assembly = load_assembly(path) if path.is_dir() else load_template(path)
    more = {"app": None, "context": {}, "environment": None, "confined": False, "handlers": False}
    with ExitStack() as stack:
        ground = inputs.read(document, as_of=DAY, stack=stack, **given(path), **more)
        mutants = run.sample((m for m in run.all_mutants(ground) if not m.breaks), one_in)
        results = run.judge(ground, mutants)
    killed = len(mutants) - len(results.alive)
    return len(list(assembly.resources())), len(ground.document.requirements), killed, len(mutants)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--one-in", type=int, default=20)
    one_in = parser.parse_args().one_in
    lines = [
        "# What drafts see\n",
        "Written by `python benchmarks/drafts.py`, which says how.\n",
        f"One in {one_in} of the generic mutants.\n",
        "| stack | resources | requirements | mutants killed | of | share |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    total = [0, 0, 0, 0]
    for folder in generality.folders():
        with TemporaryDirectory() as scratch:
            row = measured(generality.stack(folder, "corrected"), Path(scratch), one_in)
        total = [a + b for a, b in zip(total, row, strict=True)]
        lines.append(f"| {folder.name} | {' | '.join(map(str, row))} | {row[2] / row[3]:.0%} |")
        print(lines[-1], file=sys.stderr)
    lines.append(f"| **all** | {' | '.join(map(str, total))} | {total[2] / total[3]:.0%} |")
    (ROOT / "benchmarks" / "drafts.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
