"""Findings that are settled as a class, by a line of the configuration with its reason: never silently.

What CDK itself makes is such a class: nobody can edit it in an app. See `compliance.template.cdk_made`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from compliance.document.waivers import LEAST_LENGTH, LEAST_WORDS
from compliance.model import Finding, FindingStatus, InputError
from compliance.template.cdk_made import made_by_cdk


class Classes(msgspec.Struct, frozen=True):
    """What the configuration settles as a class, each with its reason.

    `cdk_made` is the reason for which findings on constructs that CDK makes may stay. `ignore` holds
    scanners and rules that do not count, `select` those that alone do; both by name (`checkov`,
    `CKV_AWS_117`, `AwsSolutions-*`).
    """

    cdk_made: str | None = None
    ignore: Mapping[str, str] = {}
    select: Mapping[str, str] = {}

    def check(self) -> None:
        """Raises InputError if a reason is too short to be one."""
        given = {**{f"ignore {name}": why for name, why in self.ignore.items()}}
        given |= {f"select {name}": why for name, why in self.select.items()}
        if self.cdk_made is not None:
            given["waive-cdk-made"] = self.cdk_made
        for name, why in given.items():
            if len(why) < LEAST_LENGTH or len(why.split()) < LEAST_WORDS:
                raise InputError(
                    f"{name}: the reason {why!r} is no sentence; write at least {LEAST_WORDS} words and "
                    f"{LEAST_LENGTH} characters, so that a reviewer can judge it"
                )

    def resolve_statuses(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """The findings, those of a class waived with the class's reason."""
        return tuple(map(self._settled, findings))

    def _settled(self, finding: Finding) -> Finding:
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


def notes(findings: Sequence[Finding]) -> Iterator[str]:
    """What was settled as a class: how many findings, and why."""
    counts = Counter(f.reason for f in findings if f.status is FindingStatus.WAIVED and f.expires is None)
    for why, count in counts.items():
        yield f"{count} finding{'s' * (count != 1)} waived as a class, {why}"


def _is(name: str, finding: Finding) -> bool:
    if name == finding.scanner or name == finding.rule:
        return True
    return name.endswith("*") and finding.rule.startswith(name[:-1])
