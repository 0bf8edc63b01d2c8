"""Hands waivers to cdk-nag as acknowledgements, so that `cdk synth` and the audit agree.

For an app that runs cdk-nag natively:

    app = App()
    ShopStack(app, "Shop")
    nag(app, load(Path("compliance/waivers.yaml")), environment=env)
    app.synth()

cdk-nag 3 is a validation plugin: `Validations.of(app).add_plugins(AwsSolutionsChecks(app))`. It runs
at the end of a synth, on the construct tree, and reports into `cdk.out/validation-report.json`. On a
finding, warning or error, `app.synth()` prints it and raises (in Python a RuntimeError,
"ValidationFailed"), so that `python app.py`, `cdk synth` and `cdk deploy` exit 1; cdk.out is complete
by then. The context value `@aws-cdk/core:failSynthOnValidationErrors: false` keeps the report and
drops the failure: do not set it. The packs look into every stack of the app, those in stages too.

An acknowledgement needs the plugin's name before the rule (`AwsSolutions::AwsSolutions-SQS3`): then
the report lists the finding as suppressed, with the reason. Without it the finding just vanishes.
IAM4 and IAM5 findings need the whole id, with what stands in brackets. An acknowledgement holds for
everything below its construct, so it is given to the resource itself and to nothing above.

A waiver is for all rules that state the same fact (facts.yaml): one for a checkov check acknowledges
cdk-nag's rule too, as it waives it in the audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import cdk_nag
from aws_cdk import Acknowledgment, App, Validations
from constructs import IConstruct

from compliance.document.waivers import Waiver
from compliance.scanners import facts

PACKS = {"AwsSolutions": cdk_nag.AwsSolutionsChecks, "Serverless": cdk_nag.ServerlessChecks}


def nag(app: App, waivers: Sequence[Waiver], *, environment: str | None = None) -> None:
    """Runs cdk-nag's two packs with every synth of the app, as the audit does. Call it before `synth`."""
    Validations.of(app).add_plugins(*(pack(app) for pack in PACKS.values()))
    acknowledge(app, waivers, environment=environment)


def acknowledge(
    app: IConstruct,
    waivers: Sequence[Waiver],
    *,
    as_of: date | None = None,
    environment: str | None = None,
) -> None:
    """Acknowledges the findings of cdk-nag that valid waivers waive, in all stacks that the app has by now.

    A waiver that is expired, malformed or names no construct acknowledges nothing; the audit reports it.
    """
    today = as_of or date.today()  # noqa: DTZ011 -- the user's own calendar
    for waiver in waivers:
        rules = list(_rules(waiver))
        if not rules or not waiver.applies_in(environment) or not waiver.is_valid(today):
            continue
        for construct in _constructs(app, waiver):
            for rule in rules:
                Validations.of(construct).acknowledge(Acknowledgment(id=rule, reason=waiver.reason))


def _rules(waiver: Waiver) -> Iterator[str]:
    """The qualified ids of cdk-nag's rules that a waiver is for."""
    for rule in facts.load().same(waiver.rule):
        yield from (f"{pack}::{rule}" for pack in PACKS if rule.startswith(f"{pack}-"))


def _constructs(app: IConstruct, waiver: Waiver) -> Iterator[IConstruct]:
    """The constructs that a waiver names, found by their paths, since listing the whole tree is slow."""
    paths = waiver.matches if waiver.is_glob else (waiver.resource,)
    for path in paths:
        construct: IConstruct | None = app
        for step in path.split("/"):
            construct = construct.node.try_find_child(step) if construct is not None else None
        if construct is not None and waiver.names_resource((path,)):
            yield construct
