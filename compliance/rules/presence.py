"""The kind that looks at whether something is there at all."""

from __future__ import annotations

from compliance.facts.wiring import Unfilled
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, evidence, kind


class Present(Check, frozen=True):
    """Every subject is there: wired as its selectors say, one resource (of a group, at least one).

    Elsewhere a subject that nothing fills is not assessed; here it fails.
    Example, about `dlq`: `{kind: present}`
    """


@kind("present", Present)
def judge_present(check: Present, case: Case) -> Verdict:
    tally = Tally()
    for name in case.requirement.subjects:
        wanted = f"the {name.replace('_', ' ')}, wired so"
        with tally.doubting():
            try:
                for resource in map(case.certain, case.wiring.all(name)):
                    tally.add(True, evidence(resource, resource.type, wanted))
            except Unfilled as error:
                if error.doubt:
                    raise Undecided(str(error)) from None
                tally.add(False, Evidence(str(error), wanted))
    return tally.verdict()
