"""Waivers: findings that may stay, each for a reason and until a date.

A waiver names one scanner, one rule (the whole finding id) and one resource, gives the reason in a sentence,
and expires within a year. A waiver that has expired, is malformed, or matches no finding waives nothing, and
makes the gate red.

A resource may be a glob (`*` and `?`) where one reason holds for several resources. What a glob matches
changes over time, but the reason was given for the resources of that day. So they are listed under `matches`:
a resource that was added later is not waived, and is reported, as is one that is gone. A number instead of a
list would not notice that one resource replaced another, and would not show a reviewer what is waived.
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec
from msgspec.structs import replace

from compliance.json_data import JSON
from compliance.model import SCANNERS, Finding, FindingStatus, InputError
from compliance.template.source import converted, read_text, remembered

WARN_WITHIN = timedelta(days=30)
LEAST_WORDS, LEAST_LENGTH = 5, 30


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A waiver as it stands in the file. All fields are texts, so that a message can show an invalid date."""

    scanner: str
    rule: str
    resource: str
    reason: str
    expires: str
    matches: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()


class Waiver(Written, frozen=True):
    """A waiver with its file and line (`where`).

    `environments` limits it to some environments, by name or pattern (`dev`, `pr*`); empty means all.
    """

    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.scanner} {self.rule} on {self.resource}"

    @property
    def is_glob(self) -> bool:
        """Whether its resource is a pattern."""
        return any(sign in self.resource for sign in "*?")

    def applies_in(self, environment: str | None) -> bool:
        """Whether it is for an environment; None stands for any."""
        wanted = self.environments if environment is not None else ()
        return not wanted or any(fnmatchcase(environment or "", pattern) for pattern in wanted)

    def names_resource(self, names: Sequence[str]) -> bool:
        """Whether its resource, or its glob, matches a resource that has these names."""
        if not self.is_glob:
            return self.resource in names
        pattern = self.resource.replace(
            "[", "[[]"
        )  # a bracket is part of a construct id, not a set of letters
        return any(fnmatchcase(name, pattern) for name in names)

    def lists(self, names: Sequence[str]) -> bool:
        """Whether it was granted for the resource with these names: a glob lists its resources."""
        return not self.is_glob or any(name in self.matches for name in names)

    def is_valid(self, as_of: date) -> bool:
        """Whether it has no fault on a day."""
        return not any(faults(self, as_of))


# Reading


def load(path: Path) -> tuple[Waiver, ...]:
    """Reads the waivers of a file. `apply` reports faults of a single waiver, such as its date or reason.

    Raises: InputError, with the line, where the file is not a list of waivers.
    """
    text = read_text(path)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())  # shorter to read in every report

    def parse() -> list[JSON]:
        from compliance.document.waivers_yaml import parse

        return [msgspec.to_builtins(waiver) for waiver in parse(text, path)]

    return converted(remembered(text, parse, str(path)), tuple[Waiver, ...])


def check(waivers: Sequence[Waiver]) -> None:
    """Raises InputError on the first waiver that is malformed; one that has expired is not."""
    for waiver in waivers:
        for fault in _malformed(waiver):
            raise InputError(f"{waiver}: {fault}")


# Applying

Outcome = tuple[tuple[Finding, ...], tuple[str, ...], tuple[str, ...]]


def apply(
    findings: Sequence[Finding],
    waivers: Sequence[Waiver],
    as_of: date,
    *,
    ran: Sequence[str] = SCANNERS,
    environment: str | None = None,
) -> Outcome:
    """Marks findings as waived. Call it before requirements settle findings.

    Args:
        findings: the findings of all scanners.
        waivers: the waivers.
        as_of: the day of the audit.
        ran: the scanners that ran. Waivers for others are not checked against the findings.
        environment: the environment that is judged. Waivers for others are not checked either.
    Returns: the findings, waived ones marked; problems, each of which makes the gate red; and warnings.
    """
    result = list(findings)
    waived_by: dict[int, Waiver] = {}
    problems: list[str] = []
    warnings: list[str] = []
    hits_of = _index(findings)
    for waiver in waivers:
        wrong = list(faults(waiver, as_of))
        problems += [f"{waiver}: {fault}" for fault in wrong]
        if wrong or waiver.scanner not in ran or not waiver.applies_in(environment):
            continue
        hits = hits_of(waiver)
        problems += [f"{waiver}: {mismatch}" for mismatch in _mismatches(waiver, hits, findings)]
        for index in hits:
            if not waiver.lists(names_of(findings[index])):
                continue
            if index in waived_by:
                other = waived_by[index].where
                problems.append(f"{waiver}: {other} waives this already; keep one of the two")
                break
            waived_by[index] = waiver
            result[index] = _waived(findings[index], waiver)
        left = date.fromisoformat(waiver.expires) - as_of
        if left <= WARN_WITHIN:
            days = "today" if not left.days else f"in {left.days} day{'s' * (left.days != 1)}"
            warnings.append(f"{waiver}: expires {days}, on {waiver.expires}")
    return tuple(result), tuple(problems), tuple(warnings)


def concern(waivers: Sequence[Waiver], stacks: Collection[str]) -> bool:
    """Whether any waiver is for a resource of these stacks."""
    firsts = (waiver.resource.partition("/")[0] for waiver in waivers)
    return any(fnmatchcase(stack, first) for first in firsts for stack in stacks)


def names_of(finding: Finding) -> tuple[str, ...]:
    """The names of a finding's resource in a waiver: its construct path, and its stack and logical id.

    For a finding about a whole template that is the stack's name.
    """
    by_id = "/".join(filter(None, (finding.stack, finding.logical_id)))
    return tuple(filter(None, (finding.construct_path, by_id)))


def _index(findings: Sequence[Finding]) -> Callable[[Waiver], Sequence[int]]:
    """Makes a function that returns the indexes of the findings that a waiver matches."""
    by_rule: dict[tuple[str, str], list[int]] = {}
    by_name: dict[tuple[str, str, str], list[int]] = {}
    for index, finding in enumerate(findings):
        by_rule.setdefault((finding.scanner, finding.rule), []).append(index)
        for name in dict.fromkeys(names_of(finding)):
            by_name.setdefault((finding.scanner, finding.rule, name), []).append(index)

    def hits(waiver: Waiver) -> Sequence[int]:
        if not waiver.is_glob:
            return by_name.get((waiver.scanner, waiver.rule, waiver.resource), ())
        of_rule = by_rule.get((waiver.scanner, waiver.rule), ())
        return [index for index in of_rule if waiver.names_resource(names_of(findings[index]))]

    return hits


def _waived(finding: Finding, waiver: Waiver) -> Finding:
    return replace(finding, status=FindingStatus.WAIVED, reason=waiver.reason, expires=waiver.expires)


def faults(waiver: Waiver, as_of: date) -> Iterator[str]:
    """What is wrong with a waiver on a day, whatever the findings are, and what to do about it."""
    yield from _malformed(waiver)
    yield from _date_faults(waiver.expires, as_of)


def _malformed(waiver: Waiver) -> Iterator[str]:
    """What is wrong with a waiver on any day."""
    if waiver.scanner not in SCANNERS:
        yield f"there is no scanner {waiver.scanner!r}; write one of {', '.join(SCANNERS)}"
    if len(waiver.reason) < LEAST_LENGTH or len(waiver.reason.split()) < LEAST_WORDS:
        yield (
            f"the reason is no sentence; say why this finding may stay, in at least {LEAST_WORDS} words and "
            f"{LEAST_LENGTH} characters, so that a reviewer can judge it"
        )
    for field in ("rule", "resource"):
        if not getattr(waiver, field).strip():
            yield f"it has no {field}; write the one that the finding has"
    if waiver.is_glob and not waiver.matches:
        yield "a glob has to list under `matches` the resources that it is granted for"
    if waiver.matches and not waiver.is_glob:
        yield "`matches` is for globs; an exact resource needs none, so take it out"
    if _day(waiver.expires) is None:
        yield f"expires is {waiver.expires!r}; write a date as YYYY-MM-DD"


def _date_faults(expires: str, as_of: date) -> Iterator[str]:
    if (day := _day(expires)) is None:
        return
    if day < as_of:
        yield f"expired on {expires}; fix the finding, or argue it anew with a later date"
    if day > _a_year_after(as_of):
        yield f"expires on {expires}, more than a year from {as_of}; choose an earlier date"


def _day(text: str) -> date | None:
    # fromisoformat also reads other forms (20260131, 2026-W05), which are harder to review.
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        return None


def _a_year_after(day: date) -> date:
    if day.year == date.max.year:
        return date.max
    try:
        return day.replace(year=day.year + 1)
    except ValueError:  # 29 February
        return day.replace(year=day.year + 1, day=28)


def _mismatches(waiver: Waiver, hits: Sequence[int], findings: Sequence[Finding]) -> Iterator[str]:
    """How a waiver differs from the findings: it matches none, or other resources than it lists."""
    if not hits:
        others = (names_of(f)[0] for f in findings if (f.scanner, f.rule) == (waiver.scanner, waiver.rule))
        elsewhere = ", ".join(sorted(set(others)))
        yield "matches no finding; " + (
            f"the rule is broken elsewhere: {elsewhere}" if elsewhere else "take it out, or correct its rule"
        )
        return
    found = [names_of(findings[index]) for index in hits]
    new = sorted({names[0] for names in found if not waiver.lists(names)})
    if new:
        yield (
            f"also matches {', '.join(new)}, which it was not granted for; "
            "list it under `matches` if the reason holds for it too, else fix it or narrow the glob"
        )
    gone = [name for name in waiver.matches if not any(name in names for names in found)]
    if gone:
        yield f"no longer matches {', '.join(gone)}; take it out of `matches`"
