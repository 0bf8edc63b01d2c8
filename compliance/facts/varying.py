"""Refuses a condition that is the same for all inputs when a document is read: it tests nothing."""

from __future__ import annotations

from compliance import cel
from compliance.cel.fixed import Known, fixed, fixed_part, reads, why
from compliance.cel.values import STANDARD
from compliance.facts.literals import in_words
from compliance.model import Undecided


def check_varies(root: cel.Node, range_of: Known = lambda _: None, *, may_be_false: bool = False) -> None:
    """Raises SyntaxProblem where a condition or a part of it is the same for all inputs.

    Args:
        root: the condition.
        range_of: which numbers a value in it may be.
        may_be_false: whether `false` is meant: it fails for all that is left.
    """
    if not reads(root):
        try:
            holds = cel.Expression("", root, STANDARD).holds({})
        except (cel.Failed, Undecided) as error:
            raise cel.SyntaxProblem(str(error), root.at) from None
        if holds or not may_be_false:
            raise cel.SyntaxProblem("it reads nothing, so it cannot fail", root.at)
    elif part := fixed_part(root):
        raise cel.SyntaxProblem(why(*part), part[0].at)
    elif (result := fixed(root, range_of)) is not None:
        known = next(filter(None, map(in_words, map(range_of, root.walk()))), "")
        which = "true" if result else "false"
        hint = "; has(...) asks whether a property is set" if known and result else ""
        raise cel.SyntaxProblem(f"it is always {which}, whatever it reads{known}{hint}", root.at)
