"""What `compliance audit --attest` adds to an audit: a private copy to judge, and its attestation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from compliance.commands.common import check_output, say_aside
from compliance.model import CheckerError, InputError, Scorecard
from compliance.template.source import check_no_way_out

if TYPE_CHECKING:
    from compliance.auditing import Options
    from compliance.release.signing import Signer


def check_usage(ctx: click.Context, file: Path, keep: Path | None, **signs: Any) -> Signer:
    """The signer of the attestation. Raises click.UsageError or InputError where the options do not fit."""
    from compliance.release import attestation
    from compliance.release.signing import Signer

    key = signs["sign"]
    if key and signs["keyless"]:
        raise click.UsageError("--sign and --keyless exclude each other")
    if signs["trust-config"] and not signs["keyless"]:
        raise click.UsageError("--trust-config is for --keyless")
    _check_whole(ctx.params)
    given = ctx.params
    now = attestation.today()
    if ctx.get_parameter_source("as_of") is not ParameterSource.DEFAULT and given["as_of"] != now:
        raise click.UsageError(f"--attest is for today, {now} (UTC), not for --as-of {given['as_of']}")
    check_output(file, given["requirements"], given["waivers"], key)
    if file.resolve() in [other.resolve() for other in (*given["outputs"], given["history"]) if other]:
        raise click.UsageError(f"--attest {file}: something else would be written to it")
    signer = Signer(key, signs["keyless"], trust_config=signs["trust-config"])
    signer.check()
    if keep:
        _check_keep(file, keep)
    return signer


def _check_whole(given: dict[str, Any]) -> None:
    """What is attested is the whole of the app, and meets every requirement."""
    for name in ("assembly", "template", "deployed"):
        if given.get(name):
            raise click.UsageError(f"--attest wants the app: by --{name} alone, some is not assessed")
    for name in ("skip_scanners", "skip_handlers"):
        if given[name]:
            raise click.UsageError(f"--attest wants a whole audit, without --{name.replace('_', '-')}")
    for name, default in (("write_baseline", None), ("fail_on", "low")):
        if given[name] != default:
            option = name.replace("_", "-")
            raise click.UsageError(
                f"--attest and --{option} exclude each other: what is attested meets all requirements"
            )
    if given["baseline"] and not given["allow_baseline"]:
        raise click.UsageError(
            "--attest with a --baseline needs --allow-baseline: the attestation says what it lets pass"
        )


def _check_keep(file: Path, keep: Path) -> None:
    check_no_way_out(keep)
    if file.resolve().is_relative_to(keep.resolve()):
        raise click.UsageError("--attest FILE is in --keep DIR, which is for the assembly alone")
    if keep.exists() and not (keep.is_dir() and not any(keep.iterdir())):
        raise InputError(f"{keep}: is there already; --keep wants a new folder")


@contextmanager
def attesting(
    file: Path, signer: Signer, keep: Path | None, target: tuple[str, str | None] | None
) -> Iterator[tuple[dict[str, Any], Callable[[Scorecard, Options], None]]]:
    """Gives the audit options that an attestation needs, and the function that attests the scorecard.

    The cache is off, since others may have written to it. Where not everything is green, nothing is written
    and the command exits with 1.
    """
    from compliance.document.requirements import load
    from compliance.release import attestation, deploy_plan, signing, snapshot
    from compliance.template.scratch import Scratch
    from compliance.template.source import write_atomically

    with Scratch("attest") as private:
        copy = Path(private, "assembly")
        copied = snapshot.Snapshot(copy)
        commit = attestation.commit_of(Path.cwd())

        def attest(card: Scorecard, options: Options) -> None:
            try:
                attestation.check_attestable(card)
                document = load(options.requirements)
                if card.document is None or document.sha256 != card.document.digest:
                    raise CheckerError(f"{options.requirements}: changed while it was judged by")
                found = attestation.statement(
                    card,
                    copied.seal,
                    context=options.context,
                    commit=commit,
                    stacks=deploy_plan.stacks(copy, copied.seal, document.allowed_elsewhere),
                    target=target,
                )
            except signing.RefusedError as error:
                say_aside(f"not attested: {error}")
                sys.exit(1)
            if changes := list(snapshot.differences(copied.seal, snapshot.measure(copy))):
                raise CheckerError(f"the copy that was judged is not what it was: {changes[0]}")
            text = attestation.render(found, signer)
            if keep:
                snapshot.copy(copy, keep)
            write_atomically(file, text)

        yield {"as_of": attestation.today(), "cache": None, "snapshot_into": copied.take}, attest
