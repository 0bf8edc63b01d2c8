"""Findings that the configuration waives as a class, each class with a reason that reports show.

Constructs that CDK itself makes are such a class, since apps cannot edit them:
`compliance.template.cdk_made`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from compliance.document.suggestions import hint
from compliance.document.waivers import LEAST_LENGTH, LEAST_WORDS
from compliance.model import SCANNERS, Finding, FindingStatus, InputError
from compliance.template.cdk_made import made_by_cdk

# The scanner by the form of a rule's id.
RULES = {r"CKV\d*_": "checkov", r"[EWI]\d{4}$": "cfn-lint", r"\w[\w.]*-": "cdk-nag"}


class Classes(msgspec.Struct, frozen=True):
    """The classes of findings that the configuration waives, with their reasons.

    `cdk_made` is the reason why findings on constructs that CDK makes may stay. `ignore` has the scanners and
    rules that do not count, `select` the only ones that count, both by name (`checkov`, `CKV_AWS_117`,
    `AwsSolutions-*`).
    """

    cdk_made: str | None = None
    ignore: Mapping[str, str] = {}
    select: Mapping[str, str] = {}

    def check(self) -> None:
        """Raises InputError where a reason is too short, or a name is of no scanner and no rule."""
        reasons = {f"ignore {name}": why for name, why in self.ignore.items()}
        reasons |= {f"select {name}": why for name, why in self.select.items()}
        if self.cdk_made is not None:
            reasons["waive-cdk-made"] = self.cdk_made
        for name in (*self.ignore, *self.select):
            if name not in SCANNERS and not name.endswith("*") and scanner_of(name) is None:
                raise InputError(f"{name}: no rule has such a name, and no scanner; {hint(name, SCANNERS)}")
        for name, why in reasons.items():
            if len(why) < LEAST_LENGTH or len(why.split()) < LEAST_WORDS:
                raise InputError(
                    f"{name}: the reason {why!r} is no sentence; write at least {LEAST_WORDS} words and "
                    f"{LEAST_LENGTH} characters, so that a reviewer can judge it"
                )

    def resolve_statuses(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """The findings, with those of a class waived for the class's reason."""
        return tuple(map(self._resolved, findings))

    def _resolved(self, finding: Finding) -> Finding:
        finding = replace(finding, made_by_cdk=made_by_cdk(finding.construct_path))
        if finding.status is not FindingStatus.OPEN:
            return finding
        why = self._why(finding)
        return finding if why is None else replace(finding, status=FindingStatus.WAIVED, reason=why)

    def _why(self, finding: Finding) -> str | None:
        if finding.made_by_cdk and self.cdk_made:
            return f"made by CDK: {self.cdk_made}"
        for name, why in self.ignore.items():
            if _is(name, finding):
                return f"ignored ({name}): {why}"
        if self.select and not any(_is(name, finding) for name in self.select):
            return f"not selected: {next(iter(self.select.values()))}"
        return None


def scanner_of(rule: str) -> str | None:
    """The scanner that a rule is of, by the form of its id; None where the form is of none."""
    return next((scanner for form, scanner in RULES.items() if re.match(form, rule)), None)


def notes(findings: Sequence[Finding]) -> Iterator[str]:
    """A note for each class: how many findings it waived, and why."""
    counts = Counter(f.reason for f in findings if f.status is FindingStatus.WAIVED and f.expires is None)
    for why, count in counts.items():
        yield f"{count} finding{'s' * (count != 1)} waived as a class, {why}"


def _is(name: str, finding: Finding) -> bool:
    if name == finding.scanner or name == finding.rule:
        return True
    return name.endswith("*") and finding.rule.startswith(name[:-1])
