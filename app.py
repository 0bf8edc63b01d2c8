"""The CDK app: `cdk synth -c env=staging`, or `python app.py` alone."""

import gc
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# CDK's modules are objects by the hundred thousand, and none is garbage: to look through them again
# and again while they come would take a fifth of a synth.
gc.disable()

import stacks  # noqa: F401  before aws_cdk: it picks the Node.js that CDK runs on

# isort: split
import aws_cdk as cdk

from compliance.template.synth import AUDITED, TOGETHER
from stacks.order_pipeline import OrderPipeline
from stacks.settings import ConfigurationError, Settings

gc.freeze()
gc.enable()

ROOT = Path(__file__).resolve().parent

# What the CDK CLI passes in by itself, and wants to see in no cdk.json.
CLI_CONTEXT = {"aws:cdk:enable-path-metadata": True, "aws:cdk:enable-asset-metadata": True}


def build(
    context: Mapping[str, object] | None = None,
    *,
    instead: Mapping[str, object] | None = None,
    outdir: str | None = None,
    validate: bool = True,
) -> cdk.App:
    """The app with its one stack.

    A plain `python app.py` lacks what the CDK CLI passes in, so it is set here: both make one template.

    Args:
        context: choices beside those of cdk.json; `-c` of the CLI goes before either.
        instead: choices that go before those of the CLI.
        outdir: where the assembly goes; without it, where `CDK_OUTDIR` says (as the CLI does), or `cdk.out`.
        validate: whether to validate what is synthesised, by CDK's own rules, cdk-nag and ours (seconds).
    """
    cdk_json = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))
    app = cdk.App(
        context={**CLI_CONTEXT, **cdk_json["context"], **(context or {})},
        post_cli_context=dict(instead or {}),
        outdir=outdir or os.environ.get("CDK_OUTDIR", "cdk.out"),
        analytics_reporting=False,
        builtin_cloud_formation_validation=validate,
    )
    settings = Settings.from_context(app.node)
    OrderPipeline(app, "OrderPipeline", settings=settings)
    if validate and not app.node.try_get_context(AUDITED):
        gate(app, settings.environment)
    return app


def gate(app: cdk.App, environment: str) -> None:
    """Makes every synth red that the audit would find red by the template: by our rules, or by cdk-nag's."""
    from compliance.cdk_plugin import ComplianceChecks
    from compliance.document.waivers import load
    from compliance.scanners.acknowledge import nag

    cdk.Validations.of(app).add_plugins(ComplianceChecks(environment=environment))
    nag(app, load(ROOT / "compliance" / "waivers.yaml"), environment=environment)


def main() -> int:
    """Synthesise; what the context can't mean, or a gate does not let pass, is said in one line."""
    try:
        app = build()
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        app.synth()
    except RuntimeError as error:  # whatever Node.js throws; its report is printed by then
        if "ValidationFailed" not in str(error):
            raise
        print(f"error: {str(error).partition(': ')[2]}", file=sys.stderr)
        return 1
    make_others(app)
    return 0


def make_others(app: cdk.App) -> None:
    """The assemblies of further environments, which an audit asks for by `compliance:together`.

    One that can't be made is missing then: the audit runs the app for it alone, to see why.
    """
    asked = app.node.try_get_context(TOGETHER)
    for other in asked if isinstance(asked, list) else ():
        try:
            build(instead=other["context"], outdir=other["outdir"]).synth()
        except (ConfigurationError, RuntimeError) as error:
            print(f"error: {other['context']}: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
