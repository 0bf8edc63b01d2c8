"""Limits of time for other programs. They end what hangs; a slow machine can be given more."""

from __future__ import annotations

import math
import os

from compliance.model import InputError

SCANNER, SYNTH = "COMPLIANCE_SCANNER_SECONDS", "COMPLIANCE_SYNTH_SECONDS"
# A machine under load takes minutes for what a quiet one does in seconds.
USUAL = {SCANNER: 900.0, SYNTH: 600.0}


def seconds(variable: str) -> float:
    """How long a program may take: what the environment variable says, else the usual limit.

    Raises InputError where the variable holds no number of seconds above zero.
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


def exceeded(what: str, limit: float, variable: str) -> str:
    """The message for what was ended: it names the limit, and where to set it."""
    return f"{what} did not finish within {limit:g} s; set {variable} to allow more"
