"""What a resource states today, as tests and expressions that hold of it.

A value is pinned where it is a decision of the team: a number, a switch, a word, an item of a list. Left out
are physical names, descriptions, code, policies (see `permissions`), and texts that are generated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from compliance.drafting.subjects import HASHED
from compliance.facts.property_tests import literal
from compliance.facts.wiring import ALARM
from compliance.template import schemas
from compliance.template.assembly import Resource, Stack
from compliance.template.defaults import default
from compliance.template.intrinsics import Ref, Text, Value
from compliance.template.json_text import from_json
from compliance.template.paths import dotted
from compliance.template.physical_names import name_places

# Steps of paths that are no decision, or that other requirements are about; `*` stands for any type.
_PASSED_OVER: Mapping[str, re.Pattern[str]] = {
    "*": re.compile(
        r"Tags|TagSpecifications|Metadata|\w*PolicyDocument|RepositoryPolicyText|KeyPolicy|ResourcePolicy|AccessPolicies|\w*Description"
        r"|Sid|MetricName|UserData|ZipFile|S3(Key|Bucket|ObjectVersion)|ImageUri|\w*MappingTemplate|Re(quest|sponse)Templates"
        r"|TemplateBody|DashboardBody|Comment|CallerReference"
    ),
    "AWS::IAM::Role": re.compile(r"Policies|ManagedPolicyArns"),
    "AWS::IAM::User": re.compile(r"Policies|ManagedPolicyArns"),
    "AWS::IAM::Group": re.compile(r"Policies|ManagedPolicyArns"),
    "AWS::Organizations::Policy": re.compile(r"Content"),
    "AWS::SSO::PermissionSet": re.compile(r"InlinePolicy"),
    "AWS::Lambda::Function": re.compile(r"Code|Runtime"),
    "AWS::Lambda::LayerVersion": re.compile(r"Content"),
    "AWS::EC2::SecurityGroup": re.compile(r"SecurityGroup(In|E)gress"),
    ALARM: re.compile(
        r"Metrics|Dimensions|Namespace|Threshold|ComparisonOperator|Period|EvaluationPeriods|(Extended)?Statistic|Unit"
    ),
}
_AT_LEAST = re.compile(
    r"\w*(Retention|RetentionPeriod|RetentionInDays|PeriodHours)|VisibilityTimeout|Min\w*|\w*Capacity|(?!\w*Threshold|maxReceive)\w*Count|Num\w*|Replicas\w+"
)
_AT_MOST = re.compile(
    r"Max\w*|(?!Visibility)\w*Timeout\w*|\w*(RateLimit|BurstLimit)|TTL|Request\w*Interval|IntervalInSeconds"
)
_ORDERED = re.compile(r"\.(Choices|Retry|Catch|Branches)$")  # lists of a state whose order has a meaning
# Lists of a task definition to which nothing may be added unseen.
_CLOSED = re.compile(r"\.(ContainerDefinitions|Environment|Secrets)$")
_ENDLESS = re.compile(r"MaximumRe(try|cord)\w+")
_VERSION = re.compile(r"\d+(\.\d+)+")
# The bounds that the service itself keeps: a check of them cannot fail.
_LIMITS: Mapping[str, float] = {
    "Timeout": 900,
    "MaximumRetryAttempts": 10_000,
    "MaximumRecordAgeInSeconds": 604_800,
    "MessageRetentionPeriod": 60,
    "RetryPolicy.MaximumRetryAttempts": 185,
    "RetryPolicy.MaximumEventAgeInSeconds": 86_400,
}
LONGEST = 160  # a longer text is no word that somebody chose
Named = Callable[[Value], str | None]  # the subject that a value denotes


class Pins:
    """What a resource states.

    `tests` are tests of kind `property`. `parts` are expressions about lists and JSON texts, each with the
    property, or the part of the JSON text, that it is about.
    """

    def __init__(self, resource: Resource, environment: str, named: Named, linked: Collection[str]) -> None:
        self._type, self._named, self._in_json = resource.type, named, False
        self._linked = linked  # the paths that name other subjects
        own = re.escape(environment)
        self._environment = re.compile(rf"(?<![A-Za-z0-9])({own})(?![A-Za-z0-9])")
        self._names, self._stack = name_places(resource.type), resource.stack
        self.tests: list[dict[str, Any]] = []
        self.parts: list[tuple[str, str]] = []
        for key, value in resource.properties.items():
            self._walk((key,), value)
        self.tests += _switches(resource)

    def _walk(self, steps: tuple[str, ...], value: Value) -> None:
        """Pins a value that no list is around."""
        if self._is_passed_over(steps[-1]) or dotted(steps) in self._names:
            return
        place = f"self{''.join(map(_step, steps))}"
        data = from_json(value) if isinstance(value, str | Text) else value
        if data is not value:
            self._in_json = True
            self._of_json(dotted(steps), f"json({place})", data)
            self._in_json = False
        elif isinstance(data, dict) and data:
            for key, item in data.items():
                self._walk((*steps, str(key)), item)
            if dotted(steps) == "Environment.Variables":
                known = f"[{', '.join(map(literal, data))}]"
                self.parts.append((dotted(steps), f"{place}.all(v, v in {known})"))
        elif isinstance(data, list):
            self.parts += [(dotted(steps), part) for part in self._holds(place, data, 0)]
        elif isinstance(data, str) and dotted(steps) in self._linked:
            return  # another requirement says what it refers to
        elif (test := self._test(steps, data)) is not None:
            self.tests.append({"path": dotted(steps), **test})
        elif isinstance(data, str | Text):
            self.parts += [(dotted(steps), part) for part in self._of_scalar(place, steps[-1], data)]

    def _of_json(self, head: str, place: str, data: Value) -> None:
        """Pins the data of a JSON text: by its objects of objects, such as the states of a state machine."""
        for key, item in data.items() if isinstance(data, dict) else ():
            if isinstance(item, dict) and item and all(isinstance(each, dict) for each in item.values()):
                for name, each in item.items():
                    below = f"{place}{_step(key)}{_step(name)}"
                    self.parts += [(f"{head}.{key}.{name}", part) for part in self._holds(below, each, 0)]
            else:
                self.parts += [(head, part) for part in self._holds(f"{place}{_step(key)}", item, 0)]

    def _test(self, steps: tuple[str, ...], value: Value) -> dict[str, Value] | None:
        path, name = ".".join(steps), steps[-1]
        own = default(self._type, path, within=True)
        # A template may leave out a property whose value is the service's default.
        optional = {"where_present": True} if value == own and type(value) is type(own) else {}
        if value == {}:
            return {}
        if isinstance(value, bool):
            return {"equals": value, **({} if value else {"where_present": True}), **optional}
        if isinstance(value, int | float):
            return self._number(path, name, value, optional)
        if isinstance(value, str) and self._is_word(value) and not self._is_decided(value):
            of_version = name.endswith("Version") and _VERSION.match(value)
            return None if of_version else {"equals": value, **optional}
        return None

    def _is_decided(self, text: str) -> bool:
        """Whether the environment, by its name or its account, decides of a text."""
        account = self._stack.assembly.text(self._stack.pseudo("AWS::AccountId")) or "$"
        return account in text or self._environment.search(text) is not None

    def _number(
        self, path: str, name: str, value: float, optional: Mapping[str, Value]
    ) -> dict[str, Value] | None:
        if bound_that_cannot_fail(path, value) or (_comparison(name, value) == ">=" and value <= 0):
            return None
        endless = {"at_least": 0} if _ENDLESS.fullmatch(name) else {}  # -1 is no limit
        return {**endless, _TESTS[_comparison(name, value)]: value, **optional}

    def _is_word(self, text: str) -> bool:
        return 0 < len(text) <= LONGEST and "\n" not in text and not HASHED.search(text)

    def _is_passed_over(self, step: str) -> bool:
        own = _PASSED_OVER.get(self._type)
        return bool(_PASSED_OVER["*"].fullmatch(step) or (own and own.fullmatch(step)))

    def _holds(self, place: str, value: Value, depth: int) -> Iterator[str]:
        """Expressions that what is at a place is what it is today."""
        if isinstance(value, str | Text) and (data := from_json(value)) is not value:
            place, value = f"json({place})", data
        if isinstance(value, dict) and value:
            for key, item in value.items():
                if not self._is_passed_over(str(key)):
                    yield from self._holds(f"{place}{_step(key)}", item, depth)
        elif isinstance(value, list) and value:
            yield from self._of_list(place, value, depth)
        elif value == {}:
            yield f"has({place})"
        else:
            yield from self._of_scalar(place, re.findall(r"\w+", place)[-1], value)

    def _of_list(self, place: str, items: Sequence[Value], depth: int) -> Iterator[str]:
        words = [item for item in items if isinstance(item, str | int | float) and self._is_word(str(item))]
        if len(words) == len(items) and not any(self._is_decided(str(word)) for word in words):
            listed = f"[{', '.join(map(literal, words))}]"
            yield f"size({place}) == {len(items)} && {place}.all(v, v in {listed})"
            return
        if self._type == "AWS::StepFunctions::StateMachine" and _ORDERED.search(place):
            for index, item in enumerate(items):
                yield from self._holds(f"{place}[{index}]", item, depth)
            return
        item_name = "ijkl"[depth % 4]
        found = [" && ".join(self._holds(item_name, item, depth + 1)) for item in items]
        yield from (f"{place}.exists({item_name}, {that})" for that in dict.fromkeys(found) if that)
        if len(set(found) - {""}) < len(items):  # not all are told apart
            yield f"size({place}) >= {len(items)}"
        yield from self._no_more(place, item_name, items)

    def _no_more(self, place: str, name: str, items: Sequence[Value]) -> Iterator[str]:
        """Expressions that nothing is beside what a container, or its variables, are today."""
        if not (found := _CLOSED.search(place)):
            return
        objects = [item for item in items if isinstance(item, dict)]
        names = [item.get("Name") for item in objects]
        words = [word for word in names if isinstance(word, str) and not self._is_decided(word)]
        if len(words) == len(items):
            yield f"{place}.all({name}, {name}.Name in [{', '.join(map(literal, words))}])"
        if found[1] == "ContainerDefinitions" and all(
            item.get("Privileged") in (None, False) for item in objects
        ):
            yield f"{place}.all({name}, {name}.Privileged != true)"

    def _of_scalar(self, place: str, name: str, value: Value) -> Iterator[str]:
        if isinstance(value, bool):
            yield f"{place} == true" if value else f"{place} != true"
        elif isinstance(value, int | float):
            comparison = "==" if self._in_json else _comparison(name, value)
            yield f"{place} {comparison} {literal(value)}"
            if comparison == "<=" and _ENDLESS.fullmatch(name):
                yield f"{place} >= 0"
        elif isinstance(value, Ref | Text):
            if self._in_json and (target := self._named(value)):
                yield f"refers({place}, {target})"
            elif (text := self._stack.assembly.text(value)) and (same := written(place, text, self._stack)):
                yield same
        elif isinstance(value, str) and self._is_word(value):
            if name.endswith("Version") and (found := _VERSION.match(value)):
                yield f"version({place}) >= version({literal(found[0])})"
            elif self._is_decided(value) and not self._environment.search(value):
                yield written(place, value, self._stack) or f"{place} == {literal(value)}"
            else:
                yield f"{place} == {self._worded(value)}"

    def _worded(self, text: str) -> str:
        """A text in CEL, with the environment's name by reference."""
        pieces = self._environment.split(text)
        parts = ["env.name" if index % 2 else literal(p) for index, p in enumerate(pieces) if p]
        return " + ".join(parts)


_TESTS = {"<=": "at_most", ">=": "at_least", "==": "equals"}


def _comparison(name: str, value: float) -> str:
    """How a number is bounded, by the name of its property."""
    if value >= 0 and _AT_MOST.fullmatch(name):
        return "<="
    return ">=" if value >= 0 and _AT_LEAST.fullmatch(name) else "=="


def is_common(type_: str, test: Mapping[str, Any]) -> bool:
    """Whether a test may be about all resources of a type: a bound, a switch, or one of a few words."""
    path, value = str(test["path"]), test.get("equals")
    return value is None or isinstance(value, bool) or value in schemas.enum_at(type_, path)


# What the deployment decides of a text, and how an expression about `self` says it.
_DECIDED: Mapping[str, str] = {"AWS::AccountId": "self.account", "AWS::Region": "self.region"}
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


def written(place: str, text: str, stack: Stack) -> str | None:
    """A test that a text is this one, with the account and the region by reference.

    Of a text with a hash, such as an image that CDK builds, the test is about what is before it. None where
    the deployment decides something else of the text.
    """
    for pseudo in _DECIDED:
        own = stack.assembly.text(stack.pseudo(pseudo))
        text = text.replace(own, f"${{{pseudo}}}") if own and not own.startswith("$") else text
    _, partition, rest = text.partition("${AWS::Partition}")
    pieces = _PLACEHOLDER.split(rest if partition else text)
    if not {*pieces[1::2]} <= _DECIDED.keys():
        return None
    hashed = next((n for n, piece in enumerate(pieces) if n % 2 == 0 and HASHED.search(piece)), None)
    if hashed is not None:
        pieces[hashed:] = [HASHED.split(pieces[hashed])[0]]
        if partition or pieces == [""]:
            return None
    parts = [_DECIDED[p] if index % 2 else literal(p) for index, p in enumerate(pieces) if p or not index]
    whole = " + ".join(part for part in parts if part != "''" or len(parts) == 1)
    if hashed is not None:
        return f"{place}.startsWith({whole})"
    return f"{place}.endsWith({whole})" if partition else f"{place} == {whole}"


def _switches(resource: Resource) -> Iterator[dict[str, Any]]:
    """Tests that what is on by default is not off."""
    for path, on in (("State", "ENABLED"), ("Enabled", True)):
        kind = resource.type
        is_switch = on in schemas.enum_at(kind, path) or schemas.types_at(kind, path) == {"boolean"}
        stated = path in resource.properties
        if not stated and is_switch and default(kind, path, within=True) is not False:
            yield {"path": path, "equals": on, "where_present": True}


def bound_that_cannot_fail(path: str, value: float) -> bool:
    """Whether the service itself keeps a property within a bound."""
    last = path.split(".")[-2:]
    return value in (_LIMITS.get(".".join(last)), _LIMITS.get(last[-1]))


def _step(key: object) -> str:
    """A step of a CEL expression: `.Name`, or `['detail-type']`."""
    text = str(key)
    return f".{text}" if re.fullmatch(r"[A-Za-z_]\w*", text) and text not in _WORDS else f"[{literal(text)}]"


# Words that CEL keeps for itself.
_WORDS = frozenset(
    "as break const continue else false for function if import in let loop null package namespace "  # noqa: SIM905
    "return true var void while".split()
)
