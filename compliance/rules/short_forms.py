"""Kinds that are short forms of predicates: each is expanded into predicates when a document is read."""

import re
from collections.abc import Iterator, Mapping
from math import lcm
from typing import TYPE_CHECKING, Annotated

import msgspec

from compliance.cel import did_you_mean
from compliance.document.requirements import NonEmpty, Requirement
from compliance.facts.property_tests import Test, literal
from compliance.facts.wiring import TABLES, word
from compliance.rules import Check, PredicateData, SubjectName, short_form
from compliance.template.paths import steps
from compliance.template.physical_names import name_property
from compliance.template.schemas import takes_tags

if TYPE_CHECKING:
    from fractions import Fraction


class Present(Check, frozen=True):
    """Every subject is there, as its selectors describe it: one resource (of a group, at least one).

    Other kinds report a subject that nothing fills as not assessed; this kind fails.
    """


@short_form("present", Present)
def present(check: Present, requirement: Requirement) -> Iterator[PredicateData]:
    for name in requirement.subjects:
        yield {"some": name, "wanted": f"{word(name)}, as its subject describes it"}


class Property(Check, frozen=True):
    """Every subject's properties pass all tests of `all`, and at least one of `any`."""

    all: tuple[Test, ...] = ()
    any: tuple[Test, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a check without a test, which could not fail. A subclass may check something else."""
        if type(self) is Property and not self.all and not self.any:
            raise ValueError("`all` or `any` is wanted: the tests of the properties")


@short_form("property", Property)
def property_(check: Property, requirement: Requirement) -> Iterator[PredicateData]:
    each = {"each": list(requirement.subjects)}
    for test in check.all:
        yield each | {"that": test.expression, "wanted": test.wanted()}
    if check.any:
        wanted = " or ".join(f"{test.path} {test.wanted()}" for test in check.any)
        yield each | {"that": " || ".join(test.expression for test in check.any), "wanted": wanted}


# Times in milliseconds, sizes in bytes.
UNITS: Mapping[str, Mapping[str, int]] = {
    "time": {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000},
    "size": {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
}


class Ratio(Check, frozen=True):
    """One number is at least so many times another; service defaults count.

    `plus` is added to the right side. Where the sides count in different units, both are named:
    `left_unit: ms, of_unit: s` (`plus` is in the unit of `of`).
    """

    left: str
    at_least: Annotated[float, msgspec.Meta(gt=0)]
    of: str
    plus: str | None = None
    left_unit: str | None = None
    of_unit: str | None = None

    def __post_init__(self) -> None:
        """Refuses units that are not two of the same dimension. Raises ValueError."""
        if self.left == self.of and not self.plus:
            raise ValueError(f"left and of are both {self.left}: name two numbers")
        units = {self.left_unit, self.of_unit}
        if units != {None} and not any(units <= set(known) for known in UNITS.values()):
            known = "; ".join(", ".join(of_one) for of_one in UNITS.values())
            raise ValueError(f"left_unit and of_unit must both be given, from one of these: {known}")

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        for field in ("left", "of", "plus"):
            if place := getattr(self, field):
                yield field, place.partition(".")[0]

    @property
    def factor(self) -> "Fraction | int":
        """By what to multiply the right side to have it in the unit of the left."""
        sizes = {unit: size for known in UNITS.values() for unit, size in known.items()}
        if self.of_unit is None or self.left_unit is None:
            return 1
        return _fraction(sizes[self.of_unit], sizes[self.left_unit])


@short_form("ratio", Ratio, about="none")
def ratio(check: Ratio, requirement: Requirement) -> Iterator[PredicateData]:
    subject, _, path = check.left.partition(".")
    whole = float(check.at_least).is_integer()
    times = check.factor * (int(check.at_least) if whole else _fraction(check.at_least).limit_denominator())
    scale = lcm(times.denominator, check.factor.denominator)  # both sides times this are whole numbers
    right = _times(times * scale, check.of)
    words = f"at least {check.at_least:g} x {check.of}"
    if check.plus:
        right += " + " + _times(check.factor * scale, check.plus)
        words += f" + {check.plus}"
    if check.left_unit:
        words += f" ({check.left} in {check.left_unit}, {check.of} in {check.of_unit})"
    yield {"each": subject, "that": f"{_times(scale, f'self.{path}')} >= {right}", "wanted": words}


def _fraction(*numbers: float) -> "Fraction":
    from fractions import Fraction  # takes long to load, and most ratios are of whole numbers

    return Fraction(*numbers)


def _times(factor: "Fraction | int", place: str) -> str:
    """An expression for a subject's property times a whole number."""
    subject, _, path = place.partition(".")
    selected = "".join(f"[{s}]" if s.isdecimal() else f"[{literal(s)}]" for s in steps(path))
    return f"{factor} * {subject}{selected}"


class Name(Check, frozen=True):
    """Every subject's physical name is exactly `pattern`.

    `{env}` stands for the environment's name, `{account}` for the account by reference, or the literal
    one that the manifest binds the stack to. S3's account-regional form
    (`prefix-accountId-region-an`) is another name, and rejected on purpose.
    """

    pattern: str

    def __post_init__(self) -> None:
        _check_placeholders(self.pattern, "{env}", "{account}")


def _check_placeholders(pattern: str, *known: str) -> None:
    """Raises ValueError for another placeholder. `${AWS::Region}` is none: a name is compared as written."""
    for found in re.findall(r"(?<!\$){.*?}", pattern):
        if found not in known:
            raise ValueError(f"pattern: {found} is none of {', '.join(known)}{did_you_mean(found, known)}")


def _is_named(type_: str) -> bool:
    return name_property(type_) is not None


@short_form("name", Name, selects=_is_named)
def name(check: Name, requirement: Requirement) -> Iterator[PredicateData]:
    placeholders = {"{env}": "env.name", "{account}": "self.account"}
    parts = filter(None, re.split(r"(\{env\}|\{account\})", check.pattern))
    wanted = " + ".join(placeholders.get(part) or literal(part) for part in parts) or literal("")
    that = f"self.name == {wanted}"
    if "{account}" in check.pattern:  # an account written out may be the right one, but is not the reference
        as_written = wanted.replace("self.account", "written(self.account)")
        that = f"!(self.name != {wanted} || written(self.name) != {as_written})"  # one failure, not two
    yield {"each": list(requirement.subjects), "that": that, "wanted": check.pattern}


class Names(Check, frozen=True):
    """Every subject that has a physical name has one of the form `pattern`.

    `{env}` is the environment's name, `{resource}` is any text. A prefix up to the last `/`, and the suffix
    `.fifo` that SQS and SNS require, do not count.
    """

    pattern: str

    def __post_init__(self) -> None:
        """Refuses a pattern that every name has, or none."""
        _check_placeholders(self.pattern, "{env}", "{resource}", "{account}")
        if not self.pattern.replace("{resource}", "").strip("*-/"):
            raise ValueError(
                f"pattern: every name is of the form {self.pattern!r}; write what all begin with"
            )


@short_form("names", Names, selects=_is_named)
def names(check: Names, requirement: Requirement) -> Iterator[PredicateData]:
    form = re.escape(check.pattern).replace(r"\{resource\}", "[^/\n]+").replace(r"\{account\}", "[^/\n]+")
    form = literal(f"^(.*/)?{form}([.]fifo)?$").replace(r"\\{env\\}", "' + env.name.replace('.', '[.]') + '")
    yield {
        "each": list(requirement.subjects),
        "when": "has(self.name)",
        "that": f"self.name.matches({form})",
        "wanted": check.pattern,
    }


class Tags(Check, frozen=True):
    """Every taggable subject has these tags, each with a value. cfn-lint's schemas say what takes tags."""

    keys: Annotated[tuple[NonEmpty, ...], msgspec.Meta(min_length=1)]


@short_form("tags", Tags, selects=takes_tags)
def tags(check: Tags, requirement: Requirement) -> Iterator[PredicateData]:
    tags = {literal(key): f"self.tags[{literal(key)}]" for key in check.keys}
    tagged = (f"{key} in self.tags && {tag} != '' && {tag} != null" for key, tag in tags.items())
    yield {
        "each": list(requirement.subjects),
        "when": "self.takes_tags",
        "that": " && ".join(tagged),
        "wanted": "tags " + ", ".join(check.keys),
    }


class Keys(Check, frozen=True):
    """A table's key attributes, or those of an index of it.

    `range` where there is one, `index` for a global secondary index, `projection` for what it holds.
    Attributes are strings unless `type` says otherwise.
    """

    hash: NonEmpty
    range: NonEmpty | None = None
    index: NonEmpty | None = None
    projection: str | None = None
    type: str = "S"

    def __post_init__(self) -> None:
        """Refuses keys that no table has, and a projection of nothing."""
        if self.hash == self.range:
            raise ValueError(f"hash and range: a key has two attributes, not {self.hash!r} twice")
        if self.projection and not self.index:
            raise ValueError("projection goes with `index`: it says what an index holds")


@short_form("keys", Keys, types=TABLES)
def keys(check: Keys, requirement: Requirement) -> Iterator[PredicateData]:
    index = (
        f"self.GlobalSecondaryIndexes.exists(i, i.IndexName == {literal(check.index)} && "
        if check.index
        else ""
    )
    holder, end = ("i", ")") if check.index else ("self", "")
    of = f", of an index {check.index}" if check.index else ""

    def each(that: str, wanted: str) -> PredicateData:
        return {"each": list(requirement.subjects), "that": that, "wanted": wanted + of}

    for role, name in (("HASH", check.hash), ("RANGE", check.range)):
        if name is not None:
            key = f"{holder}.KeySchema.exists(k, k.KeyType == '{role}' && k.AttributeName == {literal(name)})"
            typed = f"a.AttributeName == {literal(name)} && a.AttributeType == {literal(check.type)}"
            that = f"{index}{key}{end} && self.AttributeDefinitions.exists(a, {typed})"
            yield each(that, f"{name} ({check.type}) as {role} key")
    if check.projection and check.index:
        yield each(f"{index}i.Projection.ProjectionType == {literal(check.projection)})", check.projection)


class Outputs(Check, frozen=True):
    """The stacks put out the name or ARN of each of `of`, and the URL of each of `url_of`."""

    of: tuple[SubjectName, ...] = ()
    url_of: tuple[SubjectName, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a check of no output, which could not fail."""
        if not self.of and not self.url_of:
            raise ValueError("`of` or `url_of` is wanted: the subjects whose outputs are checked")


@short_form("outputs", Outputs, about="none")
def outputs(check: Outputs, requirement: Requirement) -> Iterator[PredicateData]:
    for names, what, attribute in (
        (check.of, "name or ARN", "attribute(o.Value) != 'StreamArn'"),
        (check.url_of, "URL", "attribute(o.Value) in ['', 'QueueUrl']"),
    ):
        for name in names:
            that = f"outputs.exists(o, o.Value == self && {attribute})"
            yield {"each": name, "that": that, "wanted": f"an output with the {what} of it"}
