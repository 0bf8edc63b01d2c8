"""Proposals for requirements, made of a stack's present values. `draft` judges which of them hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any

import msgspec

from compliance.document.requirements import kind_of
from compliance.drafting import permissions, stated
from compliance.drafting.pins import Pins, is_common
from compliance.drafting.subjects import HASHED, INTEGRATION, Discovery, own_name
from compliance.drafting.usual import Setting, usual
from compliance.facts.alarms import Metric, metrics_of
from compliance.facts.authorization import policies_on
from compliance.facts.declared import Declared
from compliance.facts.elements import elements
from compliance.facts.exposure import openings
from compliance.facts.network import GROUP
from compliance.facts.policy import WITHOUT_PRINCIPALS
from compliance.facts.property_tests import Test, literal
from compliance.facts.references import denoted
from compliance.facts.wiring import (
    ALARM,
    BUCKET,
    FUNCTION,
    QUEUE,
    ROLE,
    TOPIC,
    spoken,
)
from compliance.rules.runtime import parts
from compliance.template.assembly import Assembly, Resource
from compliance.template.defaults import defaults
from compliance.template.intrinsics import NO_VALUE, Value, refs_in, to_number
from compliance.template.properties import values_at
from compliance.template.schemas import takes_tags
from compliance.template.source import converted

CATEGORIES: Mapping[str, tuple[str, str]] = {
    "wiring": ("WIR", "Wiring"),
    "operation": ("OPS", "Operation"),
    "data": ("DAT", "Data"),
    "security": ("SEC", "Security"),
    "monitoring": ("MON", "Monitoring"),
    "naming": ("NAM", "Naming"),
}


FEW = 8  # expressions about one resource that one requirement holds
MOST_TOLD = 3  # words of a resource in a title
FIXES: Mapping[str, str] = {
    "present": "Restore the resource, or the reference by which it is found.",
    "property": "Set the property to the value that is wanted.",
    "ratio": "Raise the one, or lower the other.",
    "runtime": "Set a runtime that is in support.",
    "own_role": "Give each function a role of its own, which Lambda alone may assume.",
    "tls_only": "Deny what does not come by TLS, in a policy on it (CDK: enforce_ssl=True).",
    "alarm": "Restore the alarm on this metric.",
    "metrics_exist": "Make the alarm by the construct's own metric methods.",
    "tells": "Send the alarm to a topic that somebody has subscribed to.",
    "name": "Give it the name that the pattern says.",
    "tags": "Tag the app, or the resource, with these keys.",
    "predicate": "Change the stack so that the expression holds again.",
    "confined": "Name principals of this account, and bind AWS services by aws:SourceAccount.",
    "region": "Bind the stack to the document's region.",
}


# What is allowed by resources of these types, in words.
CLOSED: Mapping[str, str] = {
    ROLE: "is assumed by these alone, and allows this alone",
    **dict.fromkeys(WITHOUT_PRINCIPALS, "allows this alone, and denies this"),
    GROUP: "lets in and out what it does today",
}
# What an expression says of a resource by itself: category and title of the requirement, and what makes it.
EACH_ALONE: Sequence[tuple[str, str, Callable[[Assembly, Resource], str | None]]] = (
    ("security", "the {} reads its secrets when it is deployed", stated.secrets),
    ("security", "the {} is in subnets of one kind alone", stated.subnets),
    ("data", "the {} outlives its stack", stated.kept),
)


class Proposal(msgspec.Struct, frozen=True):
    """A requirement for the document."""

    category: str
    title: str
    subject: tuple[str, ...]
    check: Mapping[str, Any]
    names: tuple[str, ...] = ()  # other subjects that an expression names
    less_than: str = ""  # the kind of a stronger proposal: where that is met, this one is left out

    @property
    def kind(self) -> str:
        return kind_of(self.check)

    @property
    def fix(self) -> str:
        return FIXES.get(self.kind, "Bring it back to what the check wants.")

    @property
    def is_there(self) -> bool:
        return self.kind == "present"

    def entry(self, id_: str) -> dict[str, Any]:
        about: dict[str, Any] = {}
        if self.subject:
            about["subject"] = self.subject[0] if len(self.subject) == 1 else list(self.subject)
        return {
            "id": id_,
            "category": self.category,
            "severity": "medium",
            "title": self.title,
            "text": self.title[0].upper() + self.title[1:] + ".",
            **about,
            "check": dict(self.check),
            "fix": self.fix,
        }


class Proposals:
    """Every requirement that may hold for a stack. `draft` judges them."""

    def __init__(self, assembly: Assembly, subjects: Discovery, environment: str) -> None:
        self.assembly, self.subjects, self.environment = assembly, subjects, environment

    def __iter__(self) -> Iterator[Proposal]:
        yield from self._presence()
        yield from self._ratios()
        yield from self._settings()
        yield from self._functions()
        yield from self._transport()
        yield from self._alarms()
        yield from self._names()
        yield from self._tags()
        yield from self._region()
        yield from self._stated()
        yield from self._wires()
        yield from self._policies()
        yield from self._each_alone()
        yield from self._outputs()

    def _presence(self) -> Iterator[Proposal]:
        for name in self.subjects.by_name:
            yield Proposal("wiring", f"the {spoken(name)} is there", (name,), {"kind": "present"})
        for name, resources in self._groups():
            if len(resources) > 1:
                title = f"there are at least {len(resources)} {spoken(name)}"
                yield Proposal("wiring", title, (), {"at_least": len(resources), "of": name})

    def _groups(self) -> Iterator[tuple[str, tuple[Resource, ...]]]:
        """The groups with a resource that has no subject of its own."""
        with_subject = frozenset(self.subjects.by_name.values())
        yield from (
            (name, found)
            for name, found in self.subjects.groups.items()
            if not with_subject.issuperset(found)
        )

    def _ratios(self) -> Iterator[Proposal]:
        wiring = Declared(self.assembly, {})
        for mapping in wiring.mappings:
            queue, function = (self.subjects.name(end) for end in (mapping.source, mapping.function))
            if queue and function and mapping.source and mapping.source.type == QUEUE:
                sides = (f"{queue}.VisibilityTimeout", f"{function}.Timeout")
                title = f"the {spoken(queue)} hides messages longer than the {spoken(function)} runs"
                yield from self._ratio(title, queue, sides, 1, {})
        for name, integration in self._named(INTEGRATION):
            targets = self.subjects.at(integration, "IntegrationUri")
            function = next((self.subjects.name(t) for t in targets if t.type == FUNCTION), None)
            if function:
                sides = (f"{name}.TimeoutInMillis", f"{function}.Timeout")
                units = {"left_unit": "ms", "of_unit": "s"}
                title = f"the {spoken(name)} waits longer than the {spoken(function)} runs"
                yield from self._ratio(title, name, sides, 1000, units)

    def _ratio(
        self, title: str, subject: str, sides: tuple[str, str], factor: int, units: Mapping[str, str]
    ) -> Iterator[Proposal]:
        left, right = map(self._number, sides)
        if left and right:
            # Rounded down, so that the present values meet it.
            times = int(left / (right * factor) * 10) / 10
            check = {"kind": "ratio", "left": sides[0], "at_least": times or 1.0, "of": sides[1], **units}
            yield Proposal("wiring", title, (subject,), check)

    def _number(self, place: str) -> float | None:
        name, _, path = place.partition(".")
        resource = self.subjects.by_name[name]
        value = resource.get(path)
        return to_number(defaults().get((resource.type, path)) if value is NO_VALUE else value)

    def _settings(self) -> Iterator[Proposal]:
        """Settings that all resources of a type share; else those of each resource."""
        for type_, settings in usual().items():
            group = self.subjects.of_type(type_)
            for setting in settings:
                shared = group and self._setting(setting, group[0], group[1])
                if shared:
                    yield shared
                    continue
                for name, resource in self._named(type_):
                    proposal = self._setting(setting, name, (resource,))
                    if proposal:
                        yield proposal

    def _setting(self, setting: Setting, subject: str, resources: Sequence[Resource]) -> Proposal | None:
        values = [values_at(resource, setting.path) for resource in resources]
        if not all(values):
            return None
        test = setting.test([value for of_resource in values for value in of_resource])
        if test is None:
            return None
        group = subject in self.subjects.groups
        who = f"every {spoken(subject.removesuffix('s'))}" if group else f"the {spoken(subject)}"
        unsaid = ("path", "at_least") if setting.form == "limited" else ("path",)
        bounds = dict.fromkeys(str(value) for key, value in test.items() if key not in unsaid)
        title = f"{who} {setting.words.format(' to '.join(bounds))}"
        return Proposal(setting.category, title, (subject,), {"kind": "property", "all": [test]})

    def _functions(self) -> Iterator[Proposal]:
        group = self.subjects.of_type(FUNCTION)
        if not group:
            return
        families: dict[str, str] = {}
        for function in group[1]:
            family, version = parts(str(function.get("Runtime")))
            if version:
                text = ".".join(map(str, version))
                known = families.setdefault(family, text)
                families[family] = min(known, text, key=lambda v: [int(part) for part in v.split(".")])
        if families:
            check = {"kind": "runtime", "families": families}
            yield Proposal("operation", "functions run on runtimes in support", (group[0],), check)
        yield Proposal("security", "each function has a role of its own", (group[0],), {"kind": "own_role"})

    def _transport(self) -> Iterator[Proposal]:
        for type_ in (BUCKET, QUEUE, TOPIC):
            if group := self.subjects.of_type(type_):
                title = f"{spoken(group[0])} refuse plain HTTP" if len(group[1]) > 1 else ""
                title = title or f"the {spoken(group[0])} refuses plain HTTP"
                yield Proposal("security", title, (group[0],), {"kind": "tls_only"})

    def _alarms(self) -> Iterator[Proposal]:
        wiring, others = Declared(self.assembly, {}), dict[str, dict[Resource, list[Metric]]]()
        alone: Counter[str] = Counter()
        for alarm in self.assembly.resources(ALARM):
            metrics = (
                [m for m in metrics_of(alarm) if isinstance(m.name, str)] if alarm.exists is True else []
            )
            for metric in metrics:
                found = [wiring.identify(value, *self.subjects.words) for _, value in metric.dimensions]
                for name in filter(None, map(self.subjects.name, found)):
                    others.setdefault(name, {}).setdefault(alarm, []).append(metric)
            if metrics and not any(alarm in found for found in others.values()):
                alone[" && ".join(stated.watched(alarm, metrics, "self"))] += 1
        for name, alarms in others.items():
            listed = dict.fromkeys(str(m.name) for metrics in alarms.values() for m in metrics)
            each = (
                f"alarms_on(self).exists(a, {' && '.join(stated.watched(alarm, metrics, 'a'))})"
                for alarm, metrics in alarms.items()
            )
            title = f"alarms watch the {spoken(name)}: {', '.join(listed)}"
            yield Proposal("monitoring", title, (), {"each": name, "that": " && ".join(each)})
        yield from self._told(others)
        if "alarms" in self.subjects.groups:
            for that, number in alone.items():
                title = "alarms watch what no other requirement names"
                yield Proposal("monitoring", title, (), {"at_least": number, "of": "alarms", "that": that})
            title = "alarms watch metrics that exist"
            yield Proposal("monitoring", title, ("alarms",), {"kind": "metrics_exist"})
            yield Proposal("monitoring", "every alarm tells somebody", ("alarms",), {"kind": "tells"})
            check = {"each": "alarms", "that": "self.ActionsEnabled && size(self.AlarmActions) > 0"}
            yield Proposal("monitoring", "every alarm has an action", (), check, less_than="tells")

    def _told(self, alarms_of: Mapping[str, Mapping[Resource, Sequence[Metric]]]) -> Iterator[Proposal]:
        """Which alarms tell a topic: apart from what sets them off, for the topic may not be found again."""
        told: dict[str, dict[str, None]] = {}
        for name, alarms in alarms_of.items():
            for alarm, metrics in alarms.items():
                watched = f"metrics(a).exists(m, m.name == {literal(str(metrics[0].name))})"
                for path, topics in self.subjects.names_of(self.subjects.links_of(alarm)).items():
                    for topic in topics if path in ("AlarmActions", "OKActions") else ():
                        that = f"alarms_on({name}).exists(a, {watched} && refers(a.{path}, self))"
                        told.setdefault(topic, {})[that] = None
        for topic, by in told.items():
            title = f"alarms tell the {spoken(topic)}"
            yield Proposal("monitoring", title, (), {"each": topic, "that": " && ".join(by)})

    def _names(self) -> Iterator[Proposal]:
        for name, resource in self.subjects.by_name.items():
            text = own_name(self.assembly, resource)
            if text and not HASHED.search(text):
                check = {"kind": "name", "pattern": self._pattern(text, resource)}
                yield Proposal("naming", f"the {spoken(name)} has its name", (name,), check)

    def _pattern(self, text: str, resource: Resource) -> str:
        """A name with placeholders for the environment's name and the account."""
        account = self.assembly.text(resource.stack.pseudo("AWS::AccountId"))
        if account:
            text = text.replace(account, "{account}")
        return re.sub(rf"(?<![A-Za-z0-9]){re.escape(self.environment)}(?![A-Za-z0-9])", "{env}", text)

    def _tags(self) -> Iterator[Proposal]:
        found: dict[str, set[str]] = {}
        for name, resource in self.subjects.by_name.items():
            entries = [tag for tag in values_at(resource, "Tags.*") if isinstance(tag, dict)]
            if keys := {tag["Key"] for tag in entries if isinstance(tag.get("Key"), str)}:
                found[name] = {key for key in keys if not key.startswith("aws")}
        common = sorted(set.intersection(*found.values())) if found else []
        if common:
            whole = all(name in found or not takes_tags(r.type) for name, r in self.subjects.by_name.items())
            title = "everything that takes tags has these" if whole else "these keep the tags that they share"
            check = {"kind": "tags", "keys": common}
            yield Proposal("naming", title, ("members",) if whole else tuple(found), check)

    def _region(self) -> Iterator[Proposal]:
        if region_of(self.assembly):
            yield Proposal("operation", "the stacks are deployed in one region", (), {"kind": "region"})

    def _stated(self) -> Iterator[Proposal]:
        """Further settings that all resources of a type share, and those of each resource besides."""
        for type_ in self.subjects.words:
            known = {setting.path for setting in usual().get(type_, ())}
            group, shared = self.subjects.of_type(type_), list[dict[str, Any]]()
            if group:
                each = [self._pins(resource).tests for resource in group[1]]
                shared = [test for test in each[0] if all(test in tests for tests in each[1:])]
                several = len(group[1]) > 1
                shared = [
                    t for t in shared if t["path"] not in known and (is_common(type_, t) or not several)
                ]
                if shared:
                    who = spoken(group[0])
                    title = f"{who} keep their settings" if several else f"the {who} keeps its settings"
                    check = {"kind": "property", "all": shared}
                    yield Proposal("operation", title, (group[0],), check)
                yield from self._unnamed(group, shared, known)
            for name, resource in self._named(type_):
                pins = self._pins(resource)
                others = [t for t in pins.tests if t not in shared and t["path"] not in known]
                if others:
                    check = {"kind": "property", "all": others}
                    yield Proposal("operation", f"the {spoken(name)} keeps its own settings", (name,), check)
                yield from self._parts(name, pins.parts)

    def _parts(self, name: str, parts: Sequence[tuple[str, str]]) -> Iterator[Proposal]:
        """What is in lists and JSON texts of a resource: together, or where that is much, by property."""
        by_head: dict[str, list[str]] = {}
        for head, part in parts:
            by_head.setdefault(head, []).append(part)
        few = len(parts) <= FEW
        for heads in [list(by_head)] if few and by_head else ([head] for head in by_head):
            that = " && ".join(part for head in heads for part in by_head[head])
            title = f"the {spoken(name)} keeps its {', '.join(heads)}"
            yield Proposal("operation", title, (), {"each": name, "that": that})

    def _unnamed(
        self, group: tuple[str, Sequence[Resource]], shared: Sequence[Any], known: AbstractSet[str]
    ) -> Iterator[Proposal]:
        """Settings of a group's resources that no wiring tells apart: so many of the group have them."""
        named = {resource for _, resource in self._named(group[1][0].type)}
        found: Counter[str] = Counter()
        words: dict[str, str] = {}
        for resource in (each for each in group[1] if each not in named and each.type != ALARM):
            pins = self._pins(resource)
            tests = [t for t in pins.tests if t not in shared and t["path"] not in known]
            targets = self.subjects.links_of(resource)
            links = self.subjects.names_of(targets)
            expressions = [converted(test, Test).expression for test in tests]
            expressions += [part for _, part in pins.parts]
            expressions += [
                *stated.wires(links),
                *stated.kinds({p: t for p, t in targets.items() if p not in links}),
            ]
            expressions += self._closed(resource)
            if that := " && ".join(expressions):
                found[that] += 1
                told = [str(t["equals"]) for t in tests if isinstance(t.get("equals"), str)]
                told += [spoken(name) for names in links.values() for name in names]
                words[that] = f" ({', '.join(dict.fromkeys(told[:MOST_TOLD]))})" if told else ""
        for that, number in found.items():
            who = f"{number} of the {spoken(group[0])}{words[that]}"
            title = f"{who} keep their settings and references"
            yield Proposal("operation", title, (), {"at_least": number, "of": group[0], "that": that})

    def _each_alone(self) -> Iterator[Proposal]:
        for name, resource in self.subjects.by_name.items():
            for category, title, expression in EACH_ALONE:
                if that := expression(self.assembly, resource):
                    check = {"each": name, "that": that}
                    yield Proposal(category, title.format(spoken(name)), (), check)

    def _outputs(self) -> Iterator[Proposal]:
        """What the stacks put out, apart from what CDK puts out for other stacks."""
        parts: list[str] = []
        names: dict[str, None] = {}
        for output in elements(self.assembly, "output"):
            if HASHED.search(output.logical_id) or output.exists is not True:
                continue
            parts.append(f"outputs.exists(o, o.logical_id == {literal(output.logical_id)}")
            targets = (self._denoted(value) for value in refs_in(output.get("Value")))
            parts[-1] += "".join(f" && refers(o.Value, {t})" for t in dict.fromkeys(targets) if t) + ")"
            names[output.logical_id] = None
        if parts:
            title = f"the stacks put out {', '.join(names)}"
            yield Proposal("wiring", title, (), {"some": "stacks", "that": " && ".join(parts)})

    def signs(self) -> Iterator[tuple[str, list[str]]]:
        """What a resource that is the only one of its type is known by, should there be another one later."""
        number = Counter(resource.type for resource in self.assembly.resources())
        for name, resource in self.subjects.by_name.items():
            if number[resource.type] == 1 and self.subjects.specs[name].keys() <= {"type", "about"}:
                pins = self._pins(resource)
                words = [test for test in pins.tests if isinstance(test.get("equals"), str)]
                found = [converted(test, Test).expression for test in words[:MOST_TOLD]]
                found += [part for _, part in pins.parts[:MOST_TOLD]]
                found += self.subjects.neighbours(resource) if not found else ()
                if found:  # the first holds of any, so that the subject is found where all others are broken
                    yield name, ["resources.exists(r, r == self)", *found]

    def _pins(self, resource: Resource) -> Pins:
        if resource not in self._known_pins:
            linked = self.subjects.links(resource)
            self._known_pins[resource] = Pins(resource, self.environment, self._denoted, linked)
        return self._known_pins[resource]

    def _denoted(self, value: Value) -> str | None:
        """The subject that a value denotes."""
        return self.subjects.name(denoted(self.assembly, value, *self.subjects.words))

    def _wires(self) -> Iterator[Proposal]:
        for name, resource in self.subjects.by_name.items():
            links = self.subjects.links(resource)
            parts = list(stated.wires(links))
            if parts:
                others = tuple(dict.fromkeys(other for group in links.values() for other in group))
                title = f"the {spoken(name)} refers to {_listed(others)}"
                yield Proposal("wiring", title, (), {"each": name, "that": " && ".join(parts)}, others)

    def _policies(self) -> Iterator[Proposal]:
        """What roles and policies on resources allow, and that nothing is open to others."""
        for name, resource in self.subjects.by_name.items():
            for that in self._closed(resource):
                title = f"the {spoken(name)} {CLOSED.get(resource.type, 'is open for this alone')}"
                yield Proposal("security", title, (), {"each": name, "that": that})
        group = self.subjects.of_type(ROLE)
        several = group and len(group[1]) > len(list(self._named(ROLE)))
        if group and several and (expression := stated.principals(self.assembly, group[1])):
            check = {"each": group[0], "that": expression}
            yield Proposal("security", "roles are assumed by these principals alone", (), check)
        closed = [
            name
            for name, resource in self.subjects.by_name.items()
            if policies_on(self.assembly, resource) and not any(openings(self.assembly, resource))
        ]
        if closed:
            check = {"kind": "confined"}
            title = "these are open to this account alone"
            yield Proposal("security", title, tuple(closed), check, less_than="confined")
        yield Proposal("security", "nothing is open to other accounts", ("members",), {"kind": "confined"})

    def _closed(self, resource: Resource) -> Iterator[str]:
        """What a role, a policy on a resource, or a security group allows, and that it allows no more."""
        names = self._names_of
        if resource.type == GROUP:
            yield from stated.rules(self.assembly, resource, names)
        elif resource.type in CLOSED or policies_on(self.assembly, resource):
            parts = list(permissions.closed(self.assembly, resource, names))
            yield from [" && ".join(parts)] if parts else ()

    @cached_property
    def _names_of(self) -> Mapping[Resource, str]:
        return {resource: name for name, resource in self.subjects.by_name.items()}

    @cached_property
    def _known_pins(self) -> dict[Resource, Pins]:
        return {}

    def _named(self, type_: str) -> Iterator[tuple[str, Resource]]:
        return iter(self._of_type.get(type_, ()))

    @cached_property
    def _of_type(self) -> Mapping[str, Sequence[tuple[str, Resource]]]:
        found: dict[str, list[tuple[str, Resource]]] = {}
        for name, resource in self.subjects.by_name.items():
            found.setdefault(resource.type, []).append((name, resource))
        return found


def region_of(assembly: Assembly) -> str | None:
    regions = {stack.declared_region for stack in assembly.stacks}
    return next(iter(regions)) if len(regions) == 1 else None


def _listed(names: Iterable[str]) -> str:
    """Subjects in words: `the table, the key and the topic`."""
    *first, last = (f"the {spoken(name)}" for name in names)
    return f"{', '.join(first)} and {last}" if first else last
