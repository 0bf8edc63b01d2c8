"""`compliance deploy`: audits the app or verifies an attestation, then runs `cdk deploy` on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compliance.commands.audit import write
from compliance.commands.common import check_input, document_of, progress, say_aside
from compliance.commands.configured import Configured, agreed
from compliance.commands.options import (
    APP,
    APP_MAY,
    CONTEXT,
    EXISTING,
    PACK,
    QUIET,
    REQUIRE_CONFINEMENT,
    REQUIREMENTS,
    TRUST_CONFIG,
    WAIVERS,
    class_options,
)

if TYPE_CHECKING:
    from compliance.document.requirements import Document
    from compliance.release.attestation import Statement, Trust
    from compliance.release.signing import Signer
    from compliance.release.snapshot import Seal

PlanLines = list[tuple[str, str]]  # label and text of a line


@click.command(
    cls=Configured, own=("assembly",), short_help="Audit, then cdk deploy of the audited assembly."
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- CDK ARGS]")
@APP
@APP_MAY
@REQUIRE_CONFINEMENT
@CONTEXT
@click.option("--env", "environment", metavar="NAME", help="Environment to deploy.")
@REQUIREMENTS
@WAIVERS
@PACK
@class_options
@click.option("--baseline", type=EXISTING, metavar="FILE", help="A file of known failures, as for the audit.")
@click.option(
    "--allow-baseline",
    is_flag=True,
    help="Deploy also where the gate, or the attestation, is green only by a baseline.",
)
@click.option(
    "--attestation",
    type=EXISTING,
    metavar="FILE",
    help="Deploy what `compliance audit --attest` audited before, without a synth and an audit.",
)
@click.option("--assembly", type=EXISTING, metavar="DIR", help="The attested assembly (`audit --keep`).")
@click.option(
    "--public-key", type=EXISTING, metavar="FILE", help="The key that must have signed the attestation."
)
@click.option(
    "--cert-identity", metavar="ID", help="Who must have signed it keyless: a workflow's URL, an address."
)
@click.option("--cert-oidc-issuer", metavar="URL", help="The issuer of --cert-identity, such as GitHub's.")
@TRUST_CONFIG
@click.option(
    "--max-age",
    type=click.IntRange(0),
    metavar="DAYS",
    help="Greatest age of an attestation in UTC days; 0: only today's [default: 1].",
)
@click.option(
    "--allow-versions",
    is_flag=True,
    help="Accept an attestation by other versions of this tool or its scanners than those here.",
)
@click.option(
    "--allow-dirty",
    is_flag=True,
    help="Accept one that names no commit, or a working tree with changes.",
)
@click.option(
    "--allow-any-target",
    is_flag=True,
    help="Accept one that does not name the account and region of the deployment.",
)
@click.option(
    "--allow-endpoint",
    is_flag=True,
    help="Let AWS_ENDPOINT_URL* reach the CLI: for an emulator of AWS.",
)
@click.option(
    "--cdk", "cli", metavar="CMD", help="The CDK CLI [default: the one in node_modules here, or on PATH]."
)
@QUIET
@click.option("-v", "--verbose", is_flag=True, help="Show how long each phase took.")
def deploy(
    arguments: tuple[str, ...],
    app: str | None,
    app_may: tuple[str, ...],
    context: dict[str, str],
    environment: str | None,
    requirements: Path | None,
    waivers: Path | None,
    packs: tuple[str, ...],
    baseline: Path | None,
    allow_baseline: bool,
    attestation: Path | None,
    assembly: Path | None,
    allow_endpoint: bool,
    cli: str | None,
    quiet: bool,
    verbose: bool,
    **others: Any,
) -> None:
    """Audit the app; if it is green, hand the audited assembly, and nothing else, to
    `cdk deploy` with the arguments after `--`. Or deploy what an attestation says was
    audited before, once every byte is verified.

    Exits as cdk does; 1 where it was not started because the gate is red or the
    attestation does not hold; 2 on bad input; 3 when a checker broke, or when the
    assembly was changed while cdk ran.

    \b
    compliance deploy -c env=staging -- --require-approval never
    compliance audit --attest audit.json --sign key.pem --keep audited
    compliance deploy --attestation audit.json --public-key key.pub \\
        --assembly audited
    """
    from compliance.document.requirements import load
    from compliance.release import deploy as cdk
    from compliance.release import deploy_plan, target
    from compliance.release.attestation import Trust, check_targets
    from compliance.release.signing import RefusedError

    check_input(app, None, None, context, environment)
    stated, baseline = baseline, allowed_baseline(baseline, allow_baseline)
    audits = {"app": app, "app-may": app_may, "context": context, "waivers": waivers, "pack": packs}
    trusted = {name: others.pop(name) for name in TRUSTED}
    _check_usage(attestation, assembly, trusted, **audits)
    signer = _signer(trusted)
    requirements = document_of(requirements)
    environment, context = agreed(environment, context, requirements)
    folder = Path.cwd()
    cdk.arguments(arguments, folder)  # reports errors before the work begins
    command = cdk.find_cli(cli, folder)
    cdk.check_settings(Path.home())
    document = load(requirements)
    from compliance.template.scratch import Scratch

    with Scratch("deploy") as private:
        copy, empty = Path(private, "assembly"), Path(private, "empty")
        empty.mkdir()
        try:
            found: Statement | None = None
            if attestation is not None and assembly is not None:
                trust = Trust(
                    1 if trusted["max_age"] is None else trusted["max_age"],
                    document,
                    environment,
                    allow_baseline,
                    trusted["allow_versions"],
                    trusted["allow_dirty"],
                )
                plan, seal, found = _attested(attestation, assembly, signer, trust, copy)
            else:
                with progress(quiet, verbose) as tell:
                    plan, seal = _audited(
                        copy,
                        tell,
                        document,
                        app=app,
                        app_may=app_may,
                        requirements=requirements,
                        waivers=waivers,
                        context=context,
                        environment=environment,
                        packs=packs,
                        baseline=baseline,
                        **others,
                    )
            stacks = deploy_plan.stacks(copy, seal, document.allowed_elsewhere)
            passed = [*cdk.judged_parameters(stacks), *cdk.arguments(arguments, folder, stacks)]
            if found and not trusted["allow_any_target"]:
                profile = cdk.profile(arguments)
                of_credentials = cache(
                    lambda: target.of_credentials(profile, os.environ, Path.home(), endpoints=allow_endpoint)
                )
                check_targets(found, stacks, of_credentials)
        except RefusedError as error:
            aside = f"; {stated} does not count without --allow-baseline" if stated and not baseline else ""
            say_aside(f"refused: {error}{aside}")
            sys.exit(1)
        for label, text in (*plan, *cdk.plan(stacks, passed)):
            say_aside(text, f"{label:>8} ")
        cdk.check_settings(Path.home())  # again, since the app may have written to it
        sys.exit(cdk.run(command, copy, seal, passed, empty, endpoints=allow_endpoint))


def allowed_baseline(baseline: Path | None, allowed: bool) -> Path | None:
    """The baseline to deploy by, which --allow-baseline must permit. One of the table is dropped without it.

    Raises click.UsageError for one on the command line without it.
    """
    if allowed or baseline is None:
        return baseline
    if "baseline" in click.get_current_context().meta.get("compliance.from_table", ()):
        return None
    raise click.UsageError("--baseline allows failures; --allow-baseline deploys with them")


# The options that say which attestations to trust.
TRUSTED = (
    *("public_key", "cert_identity", "cert_oidc_issuer", "trust_config", "max_age"),
    *("allow_versions", "allow_dirty", "allow_any_target"),
)


def _check_usage(
    attestation: Path | None, assembly: Path | None, trusted: Mapping[str, Any], **audits: Any
) -> None:
    if attestation is None:
        if assembly is not None:
            raise click.UsageError(
                "--assembly is for --attestation: alone it shows one environment, and some is not assessed"
            )
        for name, value in trusted.items():
            if value not in (None, False):
                raise click.UsageError(f"--{name.replace('_', '-')} is for --attestation")
        return
    if assembly is None:
        raise click.UsageError("--attestation wants --assembly, the folder that was audited")
    for name, value in audits.items():
        if value:
            raise click.UsageError(f"--{name} is for the audit, which --attestation takes the place of")


def _signer(trusted: Mapping[str, Any]) -> Signer:
    """The signer whose signature an attestation must have. Raises click.UsageError."""
    from compliance.release.signing import Signer

    key, identity, issuer = (trusted[name] for name in ("public_key", "cert_identity", "cert_oidc_issuer"))
    if (identity is None) is not (issuer is None):
        raise click.UsageError("--cert-identity and --cert-oidc-issuer want each other: many may vouch")
    if key and identity:
        raise click.UsageError("--public-key and --cert-identity exclude each other")
    if trusted["trust_config"] and not identity:
        raise click.UsageError("--trust-config is for --cert-identity")
    return Signer(key, identity is not None, identity, issuer, trusted["trust_config"])


def _audited(
    copy: Path, tell: Callable[[str], None], document: Document, **options: Any
) -> tuple[PlanLines, Seal]:
    """Audits the app on a private copy of its assembly. Raises RefusedError unless everything is green.

    The cache is off, since others may have written to it.
    """
    from compliance.auditing import Options, audit
    from compliance.release.attestation import check_attestable, today
    from compliance.release.snapshot import Snapshot
    from compliance.reports.text import known, totals
    from compliance.rules import bind

    snapshot = Snapshot(copy)
    wanted = Options(as_of=today(), snapshot_into=snapshot.take, **options)
    card = audit(wanted, tell, load_document=lambda _: (document, bind(document)))
    if not card.green:
        write(card, "terminal", None, False)
    check_attestable(card)
    kept = known(card)
    by = f"environment {card.subject.environment}, as of {card.as_of}"
    judged = f"GREEN {totals(card)}{f' ({kept})' if kept else ''}, {by}"
    return [("judged", judged), _files(snapshot.seal)], snapshot.seal


def _attested(
    attestation: Path, assembly: Path, signer: Signer, trust: Trust, copy: Path
) -> tuple[PlanLines, Seal, Statement]:
    """Copies an assembly and verifies its attestation. Raises RefusedError where it does not hold."""
    from compliance.release import snapshot
    from compliance.release.attestation import check, check_bytes, load

    found = load(attestation, signer)
    check(found, trust)
    seal = snapshot.copy(assembly, copy, found.seal.executables)
    check_bytes(found, seal)
    predicate, score = found.predicate, found.predicate.score
    judged = ", ".join(
        f"{total.met}/{total.total} {name}"
        for name, total in (("requirements", score.requirements), ("hardening", score.hardening))
        if total.total
    )
    plan = [
        ("judged", f"GREEN {judged}, environment {predicate.environment}, as of {predicate.as_of}"),
        ("attested", f"{attestation}, {signer}"),
        _files(seal),
    ]
    return plan, seal, found


def _files(seal: Seal) -> tuple[str, str]:
    return "assembly", f"{len(seal.digests)} files, sha256 {seal.digest}"
