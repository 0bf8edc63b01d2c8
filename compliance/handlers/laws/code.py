"""Laws about the code of any function: is the handler there, are its modules, does it run to the end."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.handlers.laws.bench import Bench, bad, brief, error_text, good, unknown
from compliance.handlers.runs import Finding, Ran, Supplied, Task

SDK_V2 = "aws-sdk"
ENDS = "runs to the end on a real event"


def failure_reason(ran: Ran) -> str | None:
    """Why nothing came of the code."""
    return unloaded(ran) or (f"stopped: {ran.last.stopped}" if ran.last.stopped else None)


def unloaded(ran: Ran) -> str | None:
    """Why the code was never called."""
    last = ran.last
    return last.missing or (f"not loaded: {error_text(last.load_error)}" if last.load_error else None)


def found(ran: Ran) -> Iterator[Finding]:
    name = ran.target.program.handler
    wanted = f"a file and an export for {name}"
    if ran.last.missing:
        yield bad(ran.last.missing, wanted)
    elif why := failure_reason(ran):
        yield unknown(why, wanted)
    else:
        yield good(f"{name} is in the code", wanted)


def modules(ran: Ran) -> Iterator[Finding]:
    runtime, last = ran.target.program.runtime, ran.last
    wanted = "boto3" if runtime.startswith("python") else "clients of AWS SDK v3 (@aws-sdk/*)"
    for lack in ran.supplied:
        if lack.what == "module":
            yield _lacking(ran, lack, wanted)
    asked = {**ran.plain.modules, **last.modules}
    if SDK_V2 in asked and not any(s.name == SDK_V2 for s in ran.supplied):
        yield bad("asks for 'aws-sdk', the SDK's version 2, out of support", wanted)
    if last.load_error:
        yield bad(failure_reason(ran) or "", "code that loads", last.load_error.at)
    elif why := failure_reason(ran):
        yield unknown(why, wanted)
    elif sdk := sorted(n for n, there in asked.items() if there and n.startswith(("@aws-sdk/", "boto"))):
        yield good(", ".join(sdk), wanted)
    elif not ran.supplied:
        yield unknown(_unseen(ran), wanted)


def _lacking(ran: Ran, lack: Supplied, wanted: str) -> Finding:
    at = lack.error.at if lack.error else None
    if lack.name == SDK_V2:
        return bad("Cannot find package 'aws-sdk': nodejs18.x and later do not ship it", wanted, at)
    missing = f"Cannot find package '{lack.name}': neither the code nor the runtime holds it"
    if ran.target.layers:
        return unknown(f"{missing}; the function's layers were not looked at", wanted, at)
    return bad(missing, "only modules that the code or the runtime holds", at)


def _unseen(ran: Ran) -> str:
    if any(call.writes for outcome in ran.outcomes() for call in outcome.calls):
        return "writes to AWS by no module that is known"
    return "asks for no AWS SDK and was not seen to call AWS; an SDK bundled into the code cannot be watched"


def undeclared(ran: Ran) -> Iterator[Finding]:
    """The names that the code uses and does not declare, as the errors told before they were supplied."""
    declared = "no name is used that is not declared"
    for lack in ran.supplied:
        if lack.what == "name" and lack.error:
            yield bad(error_text(lack.error), declared, lack.error.at)
        elif lack.what == "name":
            yield bad(f"{lack.name} is not declared, and nothing is written without it", declared)


def runs(bench: Bench) -> Task:
    """Records of every kind, each alone and all together."""
    asked = [*(bench.singles[kind] for kind in bench.maker.ordinary), bench.together]
    batches = [batch for batch, _ in asked]
    outcomes = yield [play for _, play in asked]
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
