"""The kind that finds what is open to another account, or to everybody."""

from __future__ import annotations

from compliance.facts.exposure import openings
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, evidence, kind
from compliance.template.intrinsics import Unknown


class Confined(Check, frozen=True):
    """Nothing of the subjects is open to another account or to everybody by its policies, or leads there.

    A replica, an inventory, a notification, a subscription or a destination of another account leads there.

    The account's own principals, and AWS services on conditions that bind them to the account
    (aws:SourceAccount, aws:SourceArn), are no opening. Source:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies-cross-account-resource-access.html
    """


@kind("confined", Confined)
def judge_confined(check: Confined, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        for holder, path, found, sure in openings(case.assembly, resource):
            item = evidence(holder, found, f"{resource.logical_id} for this account alone", path)
            with tally.doubting():
                if isinstance(sure, Unknown):
                    raise Undecided(sure.why, item)
                tally.add(False, item)
    if not tally.failures:
        tally.add(True, Evidence("for this account alone", "nothing open to others"))
    return tally.verdict()
