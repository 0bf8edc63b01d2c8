"""Placeholder until the code side is there."""
from compliance.rules import Case, Check, Undecided, kind
from compliance.model import Verdict
class LeastPrivilege(Check, frozen=True):
    """x"""
@kind("least_privilege", LeastPrivilege)
def judge(check: LeastPrivilege, case: Case) -> Verdict:
    raise Undecided("TODO")
