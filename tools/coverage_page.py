"""`make coverage`: the lines and branches that the tests ran, by room, into docs/tests.md.

Reads coverage's JSON from standard input; the arguments are those that pytest had.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.blocks import TESTS, put

COUNTS = ("covered_lines", "num_statements", "covered_branches", "num_branches")


def table(report: Mapping[str, Any], arguments: Sequence[str]) -> str:
    """The table of the rooms, and the total."""
    rooms: dict[str, list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    for file, data in report["files"].items():
        parts = Path(file).parts
        room = f"`{parts[1]}/`" if len(parts) > 2 else "the files beside the rooms"
        for number, name in enumerate(COUNTS):
            rooms[room][number] += data["summary"][name]
    rows = [row(room, counts) for room, counts in sorted(rooms.items())]
    total = [sum(column) for column in zip(*rooms.values(), strict=True)]
    ran = f"the tests of {' '.join(arguments)}" if arguments else "the whole suite"
    heading = ["| room | lines | branches | both |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([f"Of {ran}:", "", *heading, *rows, row("**all**", total)])


def row(name: str, counts: Sequence[int]) -> str:
    lines, statements, branches, all_branches = counts
    both = percent(lines + branches, statements + all_branches)
    return f"| {name} | {percent(lines, statements)} | {percent(branches, all_branches)} | {both} |"


def percent(some: int, every: int) -> str:
    return f"{100 * some / every:.1f} %" if every else "-"


if __name__ == "__main__":
    put(TESTS, "make coverage", "Coverage", table(json.load(sys.stdin), sys.argv[1:]))
