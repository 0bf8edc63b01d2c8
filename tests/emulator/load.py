"""`make load`: many orders through the deployed pipeline, each accounted for. Says how long it took."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

sys.path.insert(0, str(Path(__file__).parents[1]))

import click
from patience import until

from compliance.template.scratch import Scratch
from emulator.ministack import Emulator, emulator, why_not
from emulator.pipeline import Pipeline, id_of, key_of

WRITERS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--handlers", default="nodejs")
    chosen = parser.parse_args()
    if reason := why_not():
        click.echo(f"error: {reason}", err=True)
        return 2
    with (
        Scratch("load") as folder,
        emulator(Path(folder)).running() as aws,
    ):
        for done in (aws.bootstrap(), aws.deploy("-c", "env=dev", "-c", f"handlers={chosen.handlers}")):
            if done.returncode:
                click.echo(done.stdout + done.stderr, err=True)
                return 1
        return load(aws, chosen.handlers, chosen.orders)


def load(aws: Emulator, handlers: str, orders: int) -> int:
    """Writes so many orders at once, waits for their objects, and says what became of each."""
    pipeline, ids = Pipeline(aws), [f"load-{number}" for number in range(orders)]
    begun = monotonic()
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(pipeline.write, (ids[start::WRITERS] for start in range(WRITERS))))
    written = monotonic()
    until(lambda: len(pipeline.keys()) >= orders, seconds=60 + orders / 20, what="objects", pause=1)
    stored = monotonic()
    changes = pipeline.changes(set(ids))
    complete = Counter(map(key_of, changes)) == Counter(pipeline.keys())
    complete = complete and Counter(map(id_of, changes)) == Counter(ids)
    waiting = pipeline.messages(pipeline.dlq) + pipeline.messages(pipeline.audit_dlq)
    took = stored - begun
    click.echo(
        f"{handlers}: {orders:,} orders written in {written - begun:.0f} s, all stored after {took:.0f} s,"
    )
    click.echo(f"{orders / took:.0f} a second; {'each' if complete else 'not each'} is one object;")
    click.echo(f"{waiting} failure records wait")
    return 0 if complete and not waiting else 1


if __name__ == "__main__":
    sys.exit(main())
