"""One line for a CDK app in Python: `sys.exit(run(add_stacks))`.

Import this module before `aws_cdk`. It chooses the Node.js for CDK (jsii starts `node` from PATH, which may
be missing or too old), makes CDK record the source line of each construct, and turns garbage collection off
while the modules of CDK are imported, which create many objects and no garbage. `make` turns it on again.
Environment variables that are set already (`JSII_NODE`, `JSII_HOST_STACK_TRACES`) stay as they are.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from compliance.template.host import bundled_node
from compliance.template.synth import AUDITED, TOGETHER

gc.disable()
os.environ.setdefault("JSII_HOST_STACK_TRACES", "1")
if node := bundled_node():
    os.environ.setdefault("JSII_NODE", str(node))

import aws_cdk as cdk  # noqa: E402

# The CDK CLI passes this context. A plain `python app.py` does not have it, and would make another template.
CLI_CONTEXT = {"aws:cdk:enable-path-metadata": True, "aws:cdk:enable-asset-metadata": True}

AddStacks = Callable[[cdk.App], str]
"""Adds an app's stacks, and returns the name of the environment that they are for.

Raises ValueError, with one line, where the context cannot mean a deployment.
"""


def make(
    add_stacks: AddStacks,
    context: Mapping[str, object] | None = None,
    *,
    instead: Mapping[str, object] | None = None,
    outdir: str | None = None,
    validate: bool = True,
) -> cdk.App:
    """An app with its stacks.

    Args:
        add_stacks: adds the stacks.
        context: context besides that of cdk.json. `-c` of the CLI has priority over both.
        instead: context with priority over that of the CLI.
        outdir: the assembly's folder; the default is `CDK_OUTDIR`, which the CLI sets, or `cdk.out`.
        validate: whether CDK's rules, cdk-nag and our rules validate the synth, which takes seconds.
    """
    gc.freeze()
    gc.enable()
    settings = Path(sys.modules[add_stacks.__module__].__file__ or "").with_name("cdk.json")
    known = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    app = cdk.App(
        context={**CLI_CONTEXT, **known.get("context", {}), **(context or {})},
        post_cli_context=dict(instead or {}),
        outdir=outdir or os.environ.get("CDK_OUTDIR", "cdk.out"),
        analytics_reporting=False,
        builtin_cloud_formation_validation=validate,
    )
    environment = add_stacks(app)
    if validate and not app.node.try_get_context(AUDITED):
        _validate(app, environment)
    return app


def _validate(app: cdk.App, environment: str) -> None:
    """Adds our rules and cdk-nag's to each synth, which then fails where the audit would."""
    from compliance.document.requirements import OWN
    from compliance.document.waivers import load
    from compliance.plugins.cdk_plugin import ComplianceChecks
    from compliance.scanners.acknowledge import nag

    cdk.Validations.of(app).add_plugins(ComplianceChecks(environment=environment))
    nag(app, load(OWN.with_name("waivers.yaml")), environment=environment)


def run(add_stacks: AddStacks) -> int:
    """Synthesises the app. Returns the exit code: 0, 1 where a validation fails, 2 for an unusable context.

    Also synthesises the environments that an audit asks for by the context `compliance:together`.
    """
    try:
        app = make(add_stacks)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    try:
        app.synth()
    except RuntimeError as error:  # any error of Node.js, which has printed its report
        if "ValidationFailed" not in str(error):
            raise
        print(f"error: {str(error).partition(': ')[2]}", file=sys.stderr)
        return 1
    _make_others(add_stacks, app)
    return 0


def _make_others(add_stacks: AddStacks, app: cdk.App) -> None:
    """Synthesises further environments.

    Where one fails, its assembly is missing. The audit then runs the app for it alone, and reports the error.
    """
    asked = app.node.try_get_context(TOGETHER)
    for other in asked if isinstance(asked, list) else ():
        try:
            make(add_stacks, instead=other["context"], outdir=other["outdir"]).synth()
        except (ValueError, RuntimeError) as error:
            print(f"error: {other['context']}: {error}", file=sys.stderr)
