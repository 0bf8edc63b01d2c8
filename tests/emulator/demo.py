"""`make demo`: the pipeline deployed to an emulator of AWS, one order through it, and one that fails."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from time import monotonic
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

import click
from patience import until

from compliance.commands.common import say
from compliance.template.scratch import Scratch
from emulator.ministack import ADDRESS, Emulator, emulator, why_not
from emulator.pipeline import Pipeline, key_of

SHOWN = ("auditId", "timestamp", "failureType", "condition", "approximateInvokeCount", "functionArn")
SHOWN += ("startSequenceNumber", "endSequenceNumber", "batchSize")


def main() -> int:
    signal.signal(signal.SIGTERM, _end)
    # Commands are ended by it; what runs in the background of a shell would have them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if reason := why_not():
        click.echo(f"error: {reason}", err=True)
        return 2
    start = monotonic()
    with Scratch("demo") as folder:
        _step("An emulator of AWS starts, on the loopback, with IAM enforced")
        with emulator(Path(folder)).running() as aws:
            if not _deployed(aws):
                return 1
            pipeline = Pipeline(aws)
            an_order(pipeline)
            a_failure(pipeline)
            _step("The emulator stops; nothing of it is kept")
    _line(f"{monotonic() - start:.0f} s in all. What it can't show of AWS: docs/emulator.md")
    return 0


def _deployed(aws: Emulator) -> bool:
    _step(
        "cdk bootstrap, then compliance deploy: the audit, and cdk deploy of the audited bytes if it is green"
    )
    _line(f"$ compliance deploy -c env=dev -- --require-approval never {' '.join(ADDRESS)}")
    for done in (aws.bootstrap(), aws.deploy("-c", "env=dev")):
        if done.returncode:
            click.echo(done.stdout + done.stderr, err=True)
            return False
    for line in done.stderr.splitlines():
        if line.split(maxsplit=1)[0] in ("judged", "assembly", "deploys"):
            _line(line.strip())
    return True


def an_order(pipeline: Pipeline) -> None:
    _step(f"An order is written to {pipeline.orders_table}")
    pipeline.write(["order-1"], customer="ada")
    (change,) = pipeline.stored(["order-1"], 1)
    _line(f"s3://{pipeline.bucket}/{key_of(change)}")
    _line(json.dumps(pipeline.object(key_of(change)), indent=2))


def a_failure(pipeline: Pipeline) -> None:
    _step("s3:PutObject is taken from the processor's role, and another order is written")
    with pipeline.polled() as poller:
        with pipeline.without("ProcessingProcessorRole", "WriteObjects"):
            pipeline.write(["order-2"], customer="grace")
            poller.drain()
        _line(f"{len(poller.tries)} tries, then a failure record on the dead-letter queue")
        (sent,) = poller.sent
        request = sent["requestContext"]["requestId"]
        record = until(lambda: pipeline.audit_record(request), what="the audit record")
        _line(f"{pipeline.audit_table}:")
        _line(json.dumps({name: record[name] for name in SHOWN if name in record}, indent=2))
        _step("The permission is back, and the stream is read again from before the failure")
    (change,) = pipeline.stored(["order-2"], 1)
    _line(f"s3://{pipeline.bucket}/{key_of(change)}")


def _step(text: str) -> None:
    click.echo()
    say(text)


def _line(text: str) -> None:
    click.echo("".join(f"  {line}\n" for line in text.splitlines()), nl=False)


def _end(*_: object) -> NoReturn:
    raise SystemExit(143)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
