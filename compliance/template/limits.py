"""Time limits for other programs, which environment variables can raise on a slow machine."""

from __future__ import annotations

import math
import os

from compliance.model import InputError

SCANNER, SYNTH, GIT = "COMPLIANCE_SCANNER_SECONDS", "COMPLIANCE_SYNTH_SECONDS", "COMPLIANCE_GIT_SECONDS"
HANDLER, SCHEDULER = "COMPLIANCE_HANDLER_SECONDS", "COMPLIANCE_SCHEDULER_SECONDS"
# Far more than usual: a machine under load takes minutes for what a quiet one does in seconds.
USUAL = {SCANNER: 900.0, SYNTH: 600.0, GIT: 600.0, HANDLER: 10.0, SCHEDULER: 10.0}


def seconds(variable: str) -> float:
    """How many seconds a program may take.

    Args:
        variable: SCANNER, SYNTH, GIT, HANDLER or SCHEDULER: the environment variable for another limit.
    Raises: InputError where the variable is not a number of seconds above zero.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return USUAL[variable]
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise InputError(f"{variable} is {text!r}; write a number of seconds, such as {USUAL[variable]:g}")
    return found


def times_usual(variable: str) -> float:
    """How many times as long as usual a program may take."""
    return seconds(variable) / USUAL[variable]


def seconds_to_end() -> float:
    """How many seconds the processes of an app have to end, once they are killed."""
    return 10 * times_usual(SYNTH)


def exceeded(what: str, limit: float, variable: str) -> str:
    """The message for a program that was ended: it names the limit, and the variable that raises it."""
    return f"{what} did not finish {within(limit, variable)}"


def within(limit: float, variable: str) -> str:
    """The words for a limit in a message: how long it is, and the variable that raises it."""
    return f"within {limit:g} s; {knob(variable)}"


def knob(variable: str) -> str:
    return f"set {variable} to allow more"
