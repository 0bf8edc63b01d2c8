"""Kinds that compare what the same app makes for several environments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from compliance.facts.authorization import policies_on
from compliance.facts.declared import find, stated_names
from compliance.facts.iam import Statement, covers_action, covers_resource, doubt
from compliance.facts.policy import HOLDERS, held_by
from compliance.facts.references import arn_of, denoted
from compliance.facts.wiring import BUCKET, TABLES, Unfilled, Wiring
from compliance.json_data import as_mapping
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, SubjectName, Tally, Undecided, decided, evidence, kind
from compliance.template.assembly import CUSTOM, Assembly, Resource, Stack
from compliance.template.function_forms import FUNCTIONS
from compliance.template.intrinsics import (
    NO_VALUE,
    Pseudo,
    Ref,
    Text,
    Unknown,
    Value,
    is_unknown,
    optional,
    scalars_in,
    show,
    to_bool,
    to_list,
    to_number,
)
from compliance.template.paths import values
from compliance.template.physical_names import name_property

# CDK's ids end in eight digits of a hash over the construct path, versions' in more of another.
HASH = r"[0-9A-Fa-f]{8}(?:[0-9a-f]{32})?$"
ASSET = r"\b[0-9a-f]{64}\b"
RETAIN = ("Retain", "RetainExceptOnCreate")


def other(case: Case, name: str) -> Assembly:
    """The app as synthesised for another environment. Raises Undecided where there is none."""
    if isinstance(case.others, str):
        raise Undecided(case.others, excused=True)
    found = case.others.get(name, f"the app was not synthesised for {name}")
    if isinstance(found, str):
        raise Undecided(found)
    return found


def elsewhere(case: Case, name: str) -> Wiring:
    """The resources that fill the subjects in another environment. Raises Undecided where there is none."""
    names = stated_names(case.document.requirements, name)
    return find(case.document, other(case, name), names, name)


class Parameterised(Check, frozen=True):
    """Synthesised for another environment, every name, tag and output follows, and nothing else changes.

    Only an app can show that: an assembly or a template is one environment's.
    """


@kind("parameterised", Parameterised, about="none", compares=lambda _: True)
def judge_parameterised(check: Parameterised, case: Case) -> Verdict:
    name = case.document.environment.sibling(case.environment)
    if name is None:
        raise Undecided("the document names no second environment of this retention class")
    comparison = Comparison(case.environment, name)
    ours, theirs = case.assembly, other(case, name)
    tally = Tally()
    for left, right in _pairs(ours, theirs, comparison, tally):
        tally.add(False, *comparison.resource(left, right))
    tally.add(False, *comparison.outputs(ours, theirs))
    if not tally.failures:
        wanted = f"names, tags and outputs that follow {case.environment} -> {name}"
        if not comparison.changed:
            tally.add(False, Evidence(f"the same templates for {case.environment} and {name}", wanted))
        else:
            found = f"{comparison.changed} values follow, nothing else changes"
            tally.add(True, Evidence(found, wanted))
    return tally.verdict()


class ReferenceText(str):
    """A text with its references as logical ids; `full` is the same text with physical names."""

    __slots__ = ("_of",)
    _of: tuple[Value, Stack]

    @staticmethod
    def of(value: Value, stack: Stack) -> ReferenceText:
        text = ReferenceText(_neutral_account(show(value), stack))
        text._of = (value, stack)
        return text

    @property
    def full(self) -> str:
        value, stack = self._of
        return _neutral_account(stack.assembly.text(value) or str(self), stack)


def simplified(node: Any, stack: Stack) -> Any:
    """A part of a template with its functions resolved where their whole value is known."""
    if isinstance(node, dict):
        if len(node) == 1 and next(iter(node)) in ("Ref", *FUNCTIONS):
            value = stack.resolver.resolve(node)
            return node if is_unknown(value) else _plain(value, stack)
        return {key: item for key, item in _each(node.items(), stack) if item is not NO_VALUE}
    if isinstance(node, list):
        return [item for _, item in _each(enumerate(node), stack) if item is not NO_VALUE]
    return _plain(node, stack)


def _each(items: Iterable[tuple[Any, Any]], stack: Stack) -> Iterator[tuple[Any, Any]]:
    return ((key, simplified(item, stack)) for key, item in items)


def _plain(value: Value, stack: Stack) -> Any:
    """A resolved value as plain data, with the manifest's account id written as `${AWS::AccountId}`."""
    if isinstance(value, dict):
        return {key: _plain(item, stack) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, stack) for item in value]
    if isinstance(value, str):
        return _neutral_account(value, stack)
    return ReferenceText.of(value, stack) if isinstance(value, Ref | Pseudo | Text) else value


def _full(text: str) -> str:
    return text.full if isinstance(text, ReferenceText) else text


def _neutral_account(text: str, stack: Stack) -> str:
    return text.replace(stack.account, "${AWS::AccountId}") if stack.account else text


class Comparison:
    """Compares templates of environment `a` with those of `b`, value by value.

    Functions are resolved first, so that it does not matter whether a name comes from a literal, a
    parameter's default or a mapping.
    """

    def __init__(self, a: str, b: str) -> None:
        self.a, self.b, self.changed = a, b, 0
        self.ids: dict[str, str] = {}  # logical ids of `a` as they are called in `b`
        self.names: list[str] = []  # physical names of `a`, which nothing else may repeat literally
        forms = {a: b, a.upper(): b.upper(), a.capitalize(): b.capitalize()}
        self._forms = forms
        # The environment's name as a whole word, or as a word within a name in CamelCase.
        self._token = (
            rf"(?<![A-Za-z0-9])(?:{re.escape(a)}(?![a-z0-9])|{re.escape(a.upper())}(?![A-Za-z0-9]))"
            rf"|(?<![A-Z]){re.escape(a.capitalize())}(?![a-z0-9])"
        )

    def follows(self, text: str) -> str:
        """A text of `a` with the environment's name replaced, as it should be in `b`."""
        return re.sub(self._token, lambda match: self._forms[match[0]], text)

    def carries(self, text: str) -> bool:
        """Whether a text contains the name of environment `a`."""
        return re.search(self._token, text) is not None

    def neutral(self, logical_id: str) -> str:
        """A logical id without the environment's name and the hash of its path."""
        return re.sub("(?i)" + "|".join(map(re.escape, (self.a, self.b))), "", re.sub(HASH, "", logical_id))

    def resource(self, left: Resource, right: Resource) -> Iterator[Evidence]:
        ours, theirs = (
            simplified({key: item for key, item in r.raw.items() if key != "Metadata"}, r.stack)
            for r in (left, right)
        )
        for path, found, wanted in self._values(ours, theirs, ""):
            yield evidence(left, found, wanted, path.removeprefix("Properties."))

    def outputs(self, ours: Assembly, theirs: Assembly) -> Iterator[Evidence]:
        left, right = ({self.neutral(k): (k, v) for k, v in _outputs(a)} for a in (ours, theirs))
        for place in sorted(left.keys() ^ right.keys()):
            key, _ = (left.get(place) or right.get(place)) or (place, None)
            where = self.a if place in left else self.b
            yield Evidence(f"is there for {where} alone", "the same outputs in both", key)
        for place in left.keys() & right.keys():
            key, value = left[place]
            for path, found, wanted in self._values(value, right[place][1], "Outputs"):
                yield Evidence(found, wanted, key, property=path)

    def _values(self, left: Any, right: Any, path: str) -> Iterator[tuple[str, str, str]]:
        """Path, found and wanted of each unexpected difference, and of each expected one that is missing."""
        if isinstance(left, dict) and isinstance(right, dict):
            keys = {self.follows(key): key for key in left}
            if set(keys) != set(right):
                lacking, added = sorted(set(keys) - set(right)), sorted(set(right) - set(keys))
                yield (
                    path,
                    f"{self.b} has {added or 'no more'}, lacks {lacking or 'nothing'}",
                    "the same keys",
                )
                return
            for key, left_key in keys.items():
                yield from self._values(
                    left[left_key], right[key], f"{path}.{left_key}" if path else left_key
                )
        elif isinstance(left, list) and isinstance(right, list):
            if path == "DependsOn":  # its order follows the ids
                left, right = sorted(left, key=self._renamed), sorted(right)
            if len(left) != len(right):
                yield path, f"{len(left)} items, {len(right)} in {self.b}", "the same number"
                return
            for index, pair in enumerate(zip(left, right, strict=True)):
                yield from self._values(*pair, f"{path}.{index}")
        elif isinstance(left, str) and isinstance(right, str):
            yield from self._texts(left, right, path)
        elif left != right or isinstance(left, bool) is not isinstance(right, bool):
            yield path, f"{show(left)}, {show(right)} in {self.b}", "the same in both"

    def _texts(self, left: str, right: str, path: str) -> Iterator[tuple[str, str, str]]:
        if left == right and not self.carries(left):
            return
        if self._same(left, right):
            self.changed += left != right and self.carries(left)
        elif re.sub(ASSET, "", self._renamed(left)) == re.sub(ASSET, "", right):
            if self._must_follow(path) or any(name in left for name in self.names):
                yield path, f"{left!r} in {self.b} too", f"{self.follows(left)!r} in {self.b}"
        elif not self._same(_full(left), _full(right)):
            wanted = self.follows(self._renamed(left))
            yield path, f"{left!r}, {right!r} in {self.b}", f"{wanted!r} in {self.b}"

    def _same(self, left: str, right: str) -> bool:
        """Whether `right` is what `left` should be in `b`. Logical ids may contain the environment's name."""
        wanted = self.follows(self._renamed(left)), self._renamed(self.follows(left))
        return re.sub(ASSET, "", right) in [re.sub(ASSET, "", text) for text in wanted]

    def _renamed(self, text: str) -> str:
        if text in self.ids:
            return self.ids[text]
        # Sub and dotted GetAtt hold logical ids within a text.
        return re.sub(
            r"(?<![A-Za-z0-9])[A-Za-z0-9]+(?![A-Za-z0-9])", lambda m: self.ids.get(m[0], m[0]), text
        )

    @staticmethod
    def _must_follow(path: str) -> bool:
        steps = path.split(".")
        return steps[0] == "Outputs" or "Tags" in steps or any(s.endswith("Name") for s in steps[-3:])


def _outputs(assembly: Assembly) -> Iterator[tuple[str, Any]]:
    for stack in assembly.stacks:
        for key, raw in as_mapping(stack.template.get("Outputs")).items():
            output = as_mapping(raw)
            stated = {name: output[name] for name in ("Value", "Export") if name in output}
            yield key, simplified(stated, stack)


def _pairs(
    ours: Assembly, theirs: Assembly, comparison: Comparison, tally: Tally
) -> list[tuple[Resource, Resource]]:
    """The resources of both assemblies, matched by stack and logical id without the environment's name."""
    left, right = _by_place(ours, comparison), _by_place(theirs, comparison)
    pairs: list[tuple[Resource, Resource]] = []
    for place in dict.fromkeys((*left, *right)):
        in_a, in_b = left.get(place, []), right.get(place, [])
        pairs += zip(in_a, in_b, strict=False)
        for resource in (*in_a[len(in_b) :], *in_b[len(in_a) :]):
            where = comparison.a if resource in in_a else comparison.b
            tally.add(False, evidence(resource, f"is there for {where} alone", "the same resources in both"))
    for resource, counterpart in pairs:
        comparison.ids[resource.logical_id] = counterpart.logical_id
        path = name_property(resource.type)
        name = resource.get(path) if path else None
        if isinstance(name, str) and comparison.carries(name):
            comparison.names.append(name)
    return pairs


def _by_place(assembly: Assembly, comparison: Comparison) -> Mapping[tuple[str, str, str], list[Resource]]:
    found: dict[tuple[str, str, str], list[Resource]] = {}
    for resource in assembly.resources():
        stack = "/".join(map(comparison.neutral, resource.stack.name.split("/")))
        place = (stack, resource.type, comparison.neutral(resource.logical_id))
        found.setdefault(place, []).append(resource)
    return found


class Retained(Check, frozen=True):
    """In an environment that keeps its data, the subjects outlive their stack, and nothing empties them.

    Judged on a synth of such an environment. Source:
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    """

    of: tuple[SubjectName, ...]

    def __post_init__(self) -> None:
        """Refuses a check of nothing, which could not fail."""
        if not self.of:
            raise ValueError("`of` names nothing")


@kind("retained", Retained, about="none", compares=lambda _: True)
def judge_retained(check: Retained, case: Case) -> Verdict:
    environment = case.document.environment
    wiring = case.wiring
    if not environment.keeps_data(case.environment):
        if not environment.all_retained:
            raise Undecided("the document names no environment that keeps its data")
        wiring = elsewhere(case, environment.all_retained[0])
    tally = Tally()
    for name in check.of:
        try:
            resources = wiring.all(name)
        except Unfilled as error:
            raise Undecided(str(error)) from None
        for resource in resources:
            with tally.doubting(resource):
                for holds, item in _kept(resource):
                    tally.add(holds, item)
            if resource.type == BUCKET:
                _judge_emptied(resource, wiring, case, tally)
    return tally.verdict()


def _kept(resource: Resource) -> Iterator[tuple[bool, Evidence]]:
    policy = decided(resource.attribute("DeletionPolicy"))
    yield policy in RETAIN, evidence(resource, policy, "Retain", "DeletionPolicy")
    replaced = decided(resource.attribute("UpdateReplacePolicy"))
    yield replaced in RETAIN, evidence(resource, replaced, "Retain", "UpdateReplacePolicy")
    expires = decided(resource.get("TimeToLiveSpecification.Enabled")) if resource.type in TABLES else False
    if to_bool(expires) is True:
        yield False, evidence(resource, expires, "no time to live", "TimeToLiveSpecification.Enabled")


def _judge_emptied(bucket: Resource, wiring: Wiring, case: Case, tally: Tally) -> None:
    """What deletes a bucket's objects: CDK's custom resource, its tag on the bucket, a lifecycle rule."""
    wanted = "nothing that empties the bucket"
    for custom in wiring.assembly.resources():
        if custom.type.startswith(CUSTOM) and any(
            wiring.identify(value, BUCKET) is bucket for value in scalars_in(custom.properties)
        ):
            with tally.doubting(custom):
                found = f"the custom resource {custom.type}"
                tally.add(False, evidence(case.certain(custom), found, wanted))
    for tag in values(bucket.properties, "Tags.*"):
        if isinstance(tag, dict) and tag.get("Key") == "aws-cdk:auto-delete-objects":
            tally.add(False, evidence(bucket, "the tag aws-cdk:auto-delete-objects", wanted))
    for rule in to_list(bucket.get("LifecycleConfiguration.Rules")):
        with tally.doubting(bucket):
            rule = decided(rule) if isinstance(rule, Unknown) else rule
            if isinstance(rule, dict) and rule.get("Status") != "Disabled":
                tally.add(False, *(evidence(bucket, w, wanted) for w in _expired(rule, bucket, wiring)))


def _expired(rule: dict[str, Value], bucket: Resource, wiring: Wiring) -> Iterator[str]:
    """What a lifecycle rule deletes of a bucket's data. Noncurrent versions do not count as data."""
    stated = [rule[key] for key in ("ExpirationInDays", "ExpirationDate") if key in rule]
    if not stated:
        return
    prefix, size = rule.get("Prefix", ""), rule.get("ObjectSizeLessThan", math.inf)
    if all(optional([value]) for value in stated):
        decided(stated)  # whether any is there at all; which day it is does not matter
    for value in (prefix, size, rule.get("Status"), rule.get("TagFilters")):
        decided(value)
    least = to_number(size)
    if rule.get("TagFilters") or (least is not None and least <= 1):  # of some objects, or only empty ones
        return
    places = list(written_below(bucket, wiring.assembly)) or [""]
    known = [place for place in places if isinstance(place, str)]
    if any(place.startswith(str(prefix)) or str(prefix).startswith(place) for place in known):
        below = f" below {prefix}" if prefix else ""
        yield f"a lifecycle rule that expires objects{below}"
    elif unknown := next((place for place in places if isinstance(place, Unknown)), None):
        raise Undecided(f"whether objects are written below {prefix}: {unknown.why}")


# What writes logs to a bucket without a statement in the template: the properties with bucket and prefix.
LOGS: Mapping[str, tuple[str, str]] = {
    BUCKET: ("LoggingConfiguration.DestinationBucketName", "LoggingConfiguration.LogFilePrefix"),
    "AWS::CloudFront::Distribution": (
        "DistributionConfig.Logging.Bucket",
        "DistributionConfig.Logging.Prefix",
    ),
    "AWS::EC2::FlowLog": ("LogDestination", ""),
}


def written_below(bucket: Resource, assembly: Assembly) -> Iterator[str | Unknown]:
    """The prefixes under which objects may be written to a bucket; Unknown for an open one."""
    objects = f"{assembly.text(arn_of(bucket))}/"
    for statement in policies_on(assembly, bucket):
        yield from _written_by(statement, objects)
    for holder in assembly.resources(*HOLDERS):
        for statement in held_by(assembly, holder):
            yield from _written_by(statement, objects)
    for source in assembly.resources(*LOGS):
        path, prefix = LOGS[source.type]
        target = assembly.text(source.get(path)) or ""
        if target.startswith(objects):
            yield target.removeprefix(objects)
        elif denoted(assembly, source.get(path), BUCKET) is bucket:
            below = source.get(prefix) if prefix else "AWSLogs/"
            text = "" if below is NO_VALUE else assembly.text(below)
            yield Unknown(f"the prefix of {source.logical_id}") if text is None else text


def _written_by(statement: Statement, objects: str) -> Iterator[str | Unknown]:
    """The prefixes under which a statement lets objects be written to a bucket.

    Args:
        statement: of a role's policies or of the bucket's.
        objects: the bucket's ARN and a slash.
    """
    open_ = statement.open & {"Effect", "Action", "NotAction"}
    listed = statement.actions or statement.not_actions
    covered = any(covers_action(pattern, "s3:PutObject") for pattern in listed)
    if not open_ and (not statement.allow or covered is bool(statement.not_actions)):
        return
    unknown = Unknown(doubt(statement) or "a part of a statement is not known")
    if statement.open & {"Resource", "NotResource"}:
        yield unknown
    if statement.not_resources:
        yield unknown if open_ else ""
    for pattern in statement.resources:
        if pattern.startswith(objects):
            below = re.split(r"[*?]|\$\{aws:", pattern.removeprefix(objects), maxsplit=1)[0]
            yield unknown if open_ else below
        elif covers_resource(pattern, f"{objects}*"):
            yield unknown if open_ else ""
