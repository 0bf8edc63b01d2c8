"""Laws about the code of any function: its handler exists, its modules exist, and it runs to the end."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.handlers.lacking import Supplied
from compliance.handlers.laws.bench import Bench, bad, brief, error_text, good, unknown
from compliance.handlers.runs import Finding, Ran, Task

SDK_V2 = "aws-sdk"
ENDS = "runs to the end on a real event"


def failure_reason(ran: Ran) -> str | None:
    """Why the code has no outcomes; None where it has."""
    return unloaded(ran) or (f"stopped: {ran.last.stopped}" if ran.last.stopped else None)


def unloaded(ran: Ran) -> str | None:
    """Why the code was not called; None where it was."""
    last = ran.last
    return last.missing or (f"not loaded: {error_text(last.load_error)}" if last.load_error else None)


def found(ran: Ran) -> Iterator[Finding]:
    """The law `found`: the handler's file and export exist."""
    name = ran.target.program.handler
    wanted = f"a file and an export for {name}"
    if ran.last.missing:
        yield bad(ran.last.missing, wanted)
    elif why := failure_reason(ran):
        yield unknown(why, wanted)
    else:
        yield good(f"{name} is in the code", wanted)


def modules(ran: Ran) -> Iterator[Finding]:
    """The law `modules`: the code or the runtime contains all modules, and the SDK is one in support."""
    runtime, last = ran.target.program.runtime, ran.last
    wanted = "boto3" if runtime.startswith("python") else "clients of AWS SDK v3 (@aws-sdk/*)"
    for supplied in ran.supplied:
        if supplied.what == "module":
            yield _missing_module(ran, supplied, wanted)
    imported = {**ran.plain.modules, **last.modules}
    if SDK_V2 in imported and not any(s.name == SDK_V2 for s in ran.supplied):
        yield bad("asks for 'aws-sdk', the SDK's version 2, out of support", wanted)
    if last.load_error:
        yield bad(failure_reason(ran) or "", "code that loads", last.load_error.at)
    elif why := failure_reason(ran):
        yield unknown(why, wanted)
    elif sdk := sorted(n for n, there in imported.items() if there and n.startswith(("@aws-sdk/", "boto"))):
        yield good(", ".join(sdk), wanted)
    elif not ran.supplied:
        yield unknown(_why_no_sdk(ran), wanted)


def _missing_module(ran: Ran, supplied: Supplied, wanted: str) -> Finding:
    at = supplied.error.at if supplied.error else None
    if supplied.name == SDK_V2:
        return bad("Cannot find package 'aws-sdk': nodejs18.x and later do not ship it", wanted, at)
    missing = f"Cannot find package '{supplied.name}': neither the code nor the runtime holds it"
    if ran.target.layers:
        return unknown(f"{missing}; the function's layers were not looked at", wanted, at)
    return bad(missing, "only modules that the code or the runtime holds", at)


def _why_no_sdk(ran: Ran) -> str:
    if any(call.writes for outcome in ran.outcomes() for call in outcome.calls):
        return "writes to AWS by no module that is known"
    return "asks for no AWS SDK and was not seen to call AWS; an SDK bundled into the code cannot be watched"


def undeclared(ran: Ran) -> Iterator[Finding]:
    """A finding for each name that the code uses and does not declare, which was supplied to go on."""
    wanted = "no name is used that is not declared"
    for supplied in ran.supplied:
        if supplied.what == "name" and supplied.error:
            yield bad(error_text(supplied.error), wanted, supplied.error.at)
        elif supplied.what == "name":
            yield bad(f"{supplied.name} is not declared, and nothing is written without it", wanted)


def runs(bench: Bench) -> Task:
    """The law `runs`: records of every kind, each alone and all together."""
    plays = [*(bench.singles[kind] for kind in bench.maker.ordinary), bench.together]
    batches = [batch for batch, _ in plays]
    outcomes = yield [play for _, play in plays]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    findings = []
    for batch, [outcome] in zip(batches, outcomes, strict=True):
        name = f"{len(batch.records)} record{'s'[: len(batch.records) > 1]}"
        if outcome is None:
            findings.append(unknown(bench.failure_reason(outcome) or "", ENDS))
        elif why := bench.failure_reason(outcome):
            at = outcome.error.at if outcome.error else None
            log = f"; it logged {brief(outcome.log)}" if outcome.log and not outcome.error else ""
            findings.append(bad(f"{name}: {why}{log}", ENDS, at))
    return list({(f.at, f.found): f for f in findings}.values())[:3] or [good("ended without an error", ENDS)]
