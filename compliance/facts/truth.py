"""Three-valued logic: true, false, or unknown with the reason.

It is Kleene's (https://en.wikipedia.org/wiki/Three-valued_logic): a result is unknown only if the known
operands do not decide it.
"""

from __future__ import annotations

from collections.abc import Iterable

from compliance.template.intrinsics import Unknown

Truth = bool | Unknown


def every(truths: Iterable[Truth]) -> Truth:
    """Whether all of them hold. Stops at the first that does not."""
    doubt: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if isinstance(truth, Unknown) and doubt is True:
            doubt = truth
    return doubt


def some(truths: Iterable[Truth]) -> Truth:
    """Whether one of them holds. Stops at the first that does."""
    doubt: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if isinstance(truth, Unknown) and doubt is False:
            doubt = truth
    return doubt


def negated(truth: Truth) -> Truth:
    """The opposite; unknown stays unknown."""
    return truth if isinstance(truth, Unknown) else not truth


def either(one: Truth, other: Truth, why: str) -> Truth:
    """The common result of two cases of which one applies; unknown, for the reason `why`, if they differ."""
    return one if one is other else Unknown(why)
