"""SRV-08, DAT-05, DAT-06, HRD-17: is the handler there, with its modules; does it end; what does it log."""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from compliance.handlers.sandbox import Outcome
from compliance.handlers.scenarios import Scene, Supplied, written
from compliance.rules.handlers.probes import Finding, Seen, acts, brief, named, probe, said

SDK_V2 = "aws-sdk"
REAL = {
    "processor": ("insert", "modify", "modify-again", "remove", "unicode", "composite", "replay"),
    "audit": ("full", "other"),
}


@probe("found", "processor", "audit")
def found(seen: Seen) -> Iterator[Finding]:
    last, name = seen.observed.last, seen.observed.target.program.handler
    wanted = f"a file and an export for {name}"
    if last.missing:
        yield seen.bad(last.missing, wanted)
    elif last.outcomes:
        yield seen.ok(f"{name} is in the code", wanted)
    else:
        yield seen.open(seen.trouble(None) or "nothing ran", wanted)


@probe("modules", "processor", "audit")
def modules(seen: Seen) -> Iterator[Finding]:
    observed = seen.observed
    runtime, last = observed.target.program.runtime, observed.last
    wanted = "boto3" if runtime.startswith("python") else "clients of AWS SDK v3 (@aws-sdk/*)"
    for lack in observed.supplied:
        if lack.what == "module":
            yield _lacking(seen, lack, wanted)
    asked = {**observed.plain.modules, **last.modules}
    if SDK_V2 in asked and not any(s.name == SDK_V2 for s in observed.supplied):
        yield seen.bad("asks for 'aws-sdk', the SDK's version 2, out of support", wanted)
    if last.load_error:
        yield seen.bad(seen.trouble(None) or "", "code that loads", last.load_error.at)
    elif last.missing or not last.outcomes:
        yield seen.open(seen.trouble(None) or "nothing ran", wanted)
    elif sdk := sorted(n for n, found in asked.items() if found and n.startswith(("@aws-sdk/", "boto"))):
        yield seen.ok(", ".join(sdk), wanted)
    elif not observed.supplied:
        yield seen.open(_unseen(seen), wanted)


def _lacking(seen: Seen, lack: Supplied, wanted: str) -> Finding:
    at = lack.error.at if lack.error else None
    if lack.name == SDK_V2:
        return seen.lack("Cannot find package 'aws-sdk': nodejs18.x and later do not ship it", wanted, at)
    found = f"Cannot find package '{lack.name}': neither the code nor the runtime holds it"
    if seen.observed.target.layers:
        return seen.open(f"{found}; the function's layers were not looked at", wanted, at)
    return seen.lack(found, "only modules that the code or the runtime holds", at)


def _unseen(seen: Seen) -> str:
    if any(written(outcome) for outcome in seen.observed.last.outcomes):
        return "writes to AWS by no module that is known"
    return "asks for no AWS SDK and was not seen to call AWS; an SDK bundled into the code cannot be watched"


@probe("runs", "processor", "audit")
def runs(seen: Seen) -> Iterator[Finding]:
    declared, wanted = "no name is used that is not declared", "runs to the end on a real event"
    for lack in seen.observed.supplied:
        if lack.what == "name" and lack.error:
            yield seen.lack(said(lack.error), declared, lack.error.at)
        elif lack.what == "name":
            yield seen.lack(f"{lack.name} is not declared, and nothing is written without it", declared)
    last = seen.observed.last
    if last.load_error or last.missing:
        yield seen.open(seen.trouble(None) or "", wanted)
        return
    role = "processor" if "insert" in seen.observed.scenes else "audit"
    for scene, outcome in acts(seen, *REAL[role]):
        if trouble := seen.trouble(outcome):
            at = outcome.error.at if outcome and outcome.error else None
            yield seen.bad(f"{scene.name}: {trouble}", wanted, at)
        elif outcome and (failed := named(outcome)):
            log = f"; it logged {brief(outcome.log)}" if outcome.log else ""
            yield seen.bad(f"{scene.name}: reports {failed[0]} as failed{log}", wanted)
        else:
            yield seen.ok("ended without an error", wanted)


@probe("logs", "processor", "audit")
def logs(seen: Seen) -> Iterator[Finding]:
    wanted = "no contents of an order in the log"
    finished = False
    for scene, outcome in seen.observed.acts():
        finished |= outcome.finished
        if leaked := _leaked(scene, outcome):
            text, line = leaked
            yield seen.bad(f"{scene.name}: logged {text!r} of the order: {brief(line)}", wanted)
    if finished:
        yield seen.ok(f"{len(seen.observed.last.outcomes)} events left none of their contents", wanted)
    else:
        yield seen.open(seen.trouble(None) or "it never ended", wanted)


def _leaked(scene: Scene, outcome: Outcome) -> tuple[str, str] | None:
    """A content of the order and the line that tells it. What is thrown is logged by Lambda itself."""
    thrown = outcome.error.message if outcome.error else ""
    for line in f"{outcome.log}\n{thrown}".splitlines():
        readings = list(_readings(line))
        for text in scene.contents:
            if any(form in reading for reading in readings for form in (text, text.lower())):
                return text, line
    whole = list(_readings(outcome.log))  # what was wrapped over lines
    found = next((text for text in scene.contents if any(text in reading for reading in whole)), None)
    return (found, outcome.log) if found else None


def _readings(line: str) -> Iterable[str]:
    """A line as it stands, and as it reads without escapes, percent signs, base64 or hex."""
    yield line
    yield line.lower()
    unescaped = line
    for _ in range(2):
        unescaped = re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"'\\/])", _unescape, unescaped)
        yield unescaped
    if "%" in line:
        yield unquote(line)
    for run in re.findall(r"[A-Za-z0-9+/_-]{12,}={0,2}", line):
        text = run.rstrip("=").replace("-", "+").replace("_", "/")
        for cut in range(4):  # wherever the encoded text began
            yield _decoded(base64.b64decode, text[cut:])
    for run in re.findall(r"(?:[0-9a-fA-F]{2}){8,}", line):
        yield _decoded(binascii.unhexlify, run)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "ux" else code


def _decoded(decode: object, text: str) -> str:
    if decode is base64.b64decode:
        text = text[: len(text) - (len(text) % 4 == 1)]
        text += "=" * (-len(text) % 4)
    try:
        return codecs.decode(decode(text), "utf-8", "replace")  # type: ignore[operator]
    except (binascii.Error, ValueError):
        return ""
