"""`compliance waive`: writes a waiver for a finding, or lists waivers that expire soon."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import click

from compliance.commands.common import check_output, document_of, say, say_aside
from compliance.commands.configured import Configured
from compliance.commands.options import AS_OF, REQUIREMENTS, WAIVERS
from compliance.document import waivers as known
from compliance.document.classes import scanner_of
from compliance.model import SCANNERS, InputError

SOON = 30  # days


@click.command(cls=Configured, short_help="Waive a finding, with a reason and an end.")
@click.argument("rule", required=False)
@click.argument("resource", required=False)
@click.option("--reason", help="Why the finding may stay: a sentence that a reviewer can judge.")
@click.option("--expires", metavar="YYYY-MM-DD", help="Its last day, at most a year ahead.")
@click.option("--scanner", type=click.Choice(SCANNERS), help="[default: by the rule]")
@click.option(
    "--list-expiring",
    type=click.IntRange(0),
    is_flag=False,
    flag_value=SOON,
    metavar="[DAYS]",
    help=f"List the waivers that end within so many days [default: {SOON}], and those that have.",
)
@WAIVERS
@REQUIREMENTS
@AS_OF
def waive(
    rule: str | None,
    resource: str | None,
    reason: str | None,
    expires: str | None,
    scanner: str | None,
    list_expiring: int | None,
    waivers: Path | None,
    requirements: Path | None,
    as_of: date,
) -> None:
    """Write a waiver for one rule on one resource into waivers.yaml, as a report names
    them. It has a reason and an end; without either, or malformed, nothing is written.

    \b
    compliance waive AwsSolutions-SQS3 Stack/Dlq/Resource \\
        --reason "It is the dead-letter queue of the orders, and ends there." \\
        --expires 2027-06-01
    compliance waive --list-expiring 60
    """
    path = waivers or document_of(requirements).with_name("waivers.yaml")
    if list_expiring is not None:
        _list(path, as_of, list_expiring)
        return
    for name, value in (("RULE", rule), ("RESOURCE", resource), ("--reason", reason), ("--expires", expires)):
        if not value:
            raise click.UsageError(f"{name} is missing: a waiver has a rule, a resource, a reason and an end")
    found = scanner or scanner_of(str(rule))
    if found is None:
        raise click.UsageError(f"{rule}: whose rule it is does not show; add --scanner")
    values = {"scanner": found, "rule": rule, "resource": resource, "reason": reason, "expires": expires}
    waiver = known.Waiver(found, str(rule), str(resource), str(reason), str(expires), where=str(path))
    for fault in known.faults(waiver, as_of):
        raise InputError(f"{rule} on {resource}: {fault}")
    check_output(path)
    _append(path, {key: str(value) for key, value in values.items()})
    say_aside(f"{path}: {found} {rule} on {resource} is waived until {expires}")


def _append(path: Path, values: dict[str, str]) -> None:
    """Adds an entry at the end of a file. The rest of the file, with its comments, stays as it is."""
    from compliance.template.source import write_atomically

    existing = known.load(path) if path.exists() else ()
    same = [w for w in existing if (w.scanner, w.rule, w.resource) == tuple(values.values())[:3]]
    if same:
        raise InputError(f"{same[0].where}: waives this already; edit its reason or its date there")
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if not existing and (lines := [line for line in text.splitlines() if line.strip() and line[0] != "#"]):
        text = text.replace(lines[0], "", 1) if lines == ["[]"] else text  # an empty list
    first, *rest = (f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    entry = "\n".join((f"- {first}", *(f"  {line}" for line in rest)))
    gap = "" if not text or text.endswith("\n") else "\n"
    write_atomically(path, f"{text}{gap}{entry}\n")


def _list(path: Path, as_of: date, days: int) -> None:
    waivers = known.load(path) if path.exists() else ()
    known.check(waivers)
    ends = sorted((w for w in waivers), key=lambda w: w.expires)
    soon = [w for w in ends if date.fromisoformat(w.expires) <= as_of + timedelta(days=days)]
    for waiver in soon:
        left = (date.fromisoformat(waiver.expires) - as_of).days
        when = f"expired {-left} days ago" if left < 0 else f"expires in {left} days"
        say(waiver.expires, f"  {when}  {waiver}")
    if not soon:
        say("", f"none of {len(waivers)} waivers in {path} expires within {days} days")
