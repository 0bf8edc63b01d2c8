"""Findings that are settled as a class, by a line of the configuration with its reason: never silently.

CDK itself makes constructs that nobody can edit in an app (the function that empties a bucket, the
handler of bucket notifications, log retention, provider frameworks). They are told by the construct ids
that CDK gives them, constants in its source: https://github.com/aws/aws-cdk/tree/main/packages/aws-cdk-lib.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from compliance.document.waivers import LEAST_LENGTH, LEAST_WORDS
from compliance.model import Finding, FindingStatus, InputError

# By the id of the construct, wherever it stands in the path: what CDK makes there.
MADE_BY_CDK: Mapping[str, str] = {
    r"Custom::S3AutoDeleteObjectsCustomResourceProvider": "the handler that empties buckets",
    r"Custom::ECRAutoDeleteImagesCustomResourceProvider": "the handler that empties repositories",
    r"Custom::CrossRegion(String)?(Export|SsmParameter)\w*": "the handler of references across regions",
    r"Custom::CDKBucketDeployment[0-9A-F]{32}": "the handler of bucket deployments",
    r"Custom::\w+CustomResourceProvider": "the handler of a custom resource of CDK",
    r"BucketNotificationsHandler050a0587b7544547bf325f094a3db834": "the handler of bucket notifications",
    r"LogRetentionaae0aa3c5b4d4f87b02d85b201efdd8a": "the handler of log retention",
    r"AWS679f53fac002430cb0da5b7982bd2287": "the handler of AWS custom resources",
    r"AWSCDK\.\w+CustomResourceProvider": "the handler of a custom resource of CDK",
    r"framework-(onEvent|isComplete|onTimeout)": "a provider framework",
    r"waiter-state-machine": "a provider framework",
}
KINDS = {re.compile(id_): what for id_, what in MADE_BY_CDK.items()}


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
        """Raises InputError where a reason is no sentence."""
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


def made_by_cdk(construct_path: str | None) -> str | None:
    """What of CDK's own a construct is, or belongs to; None for what an app makes itself."""
    for part in (construct_path or "").split("/"):
        for pattern, what in KINDS.items():
            if pattern.fullmatch(part):
                return what
    return None


def _is(name: str, finding: Finding) -> bool:
    if name == finding.scanner or name == finding.rule:
        return True
    return name.endswith("*") and finding.rule.startswith(name[:-1])
