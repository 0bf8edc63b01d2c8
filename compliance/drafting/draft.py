"""A first requirements document for a stack: its subjects by their wiring, and what holds of them today.

Nothing is claimed beyond what is there: whatever is proposed was judged on that very stack, and met.
What would be usual but is not met stands in a comment. What should hold is for people to decide.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import yaml

from compliance.auditing import Options, Progress
from compliance.document.requirements import Document, Environment, File
from compliance.facts.alarms import WATCHED, metrics_of
from compliance.facts.subjects import Declared, find
from compliance.facts.wiring import ALARM, BUCKET, FUNCTION, KEY, LOG_GROUP, MAPPING, QUEUE, TABLES, TOPIC
from compliance.handlers.runs import Handlers
from compliance.model import InputError, Status
from compliance.rules import bind
from compliance.rules.judging import judge, names
from compliance.rules.runtime import parts
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Value, refs_in, to_bool, to_list, to_number
from compliance.template.loading import load_assembly, load_template
from compliance.template.physical_names import DEFAULTS, name_of
from compliance.template.properties import values_at
from compliance.template.scratch import Scratch
from compliance.template.source import Lines, converted
from compliance.template.synth import Synths, find_app
from compliance.text import one_line, printable

API, STAGE = "AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage"
INTEGRATION = "AWS::ApiGatewayV2::Integration"
NOT_RUN = Handlers.none("handlers are not run for a draft")
# What may be a subject, and what it is called; those first that a stack is built around.
WORDS: Mapping[str, str] = {
    API: "api",
    "AWS::ApiGateway::RestApi": "rest_api",
    "AWS::StepFunctions::StateMachine": "state_machine",
    BUCKET: "bucket",
    "AWS::DynamoDB::Table": "table",
    "AWS::DynamoDB::GlobalTable": "global_table",
    FUNCTION: "function",
    QUEUE: "queue",
    TOPIC: "topic",
    "AWS::Kinesis::Stream": "stream",
    "AWS::Events::EventBus": "event_bus",
    "AWS::Events::Rule": "rule",
    "AWS::Cognito::UserPool": "user_pool",
    STAGE: "stage",
    "AWS::ApiGateway::Stage": "rest_stage",
    INTEGRATION: "integration",
    MAPPING: "mapping",
    KEY: "key",
}
CONNECTIONS = (MAPPING, INTEGRATION, STAGE, "AWS::ApiGateway::Stage")
# Judged as groups alone.
GROUPS: Mapping[str, str] = {ALARM: "alarm", LOG_GROUP: "log_group"}
CATEGORIES: Mapping[str, tuple[str, str]] = {
    "wiring": ("WIR", "Wiring"),
    "operation": ("OPS", "Operation"),
    "data": ("DAT", "Data"),
    "security": ("SEC", "Security"),
    "monitoring": ("MON", "Monitoring"),
    "naming": ("NAM", "Naming"),
}


class Setting(msgspec.Struct, frozen=True):
    """A property whose present value may be worth a requirement: the value, a bound, or that it is set."""

    category: str
    path: str
    form: str  # equals, at_most, at_least, between, set
    words: str


_ACCESS = "PublicAccessBlockConfiguration."
SETTINGS: Mapping[str, Sequence[Setting]] = {
    FUNCTION: (
        Setting("operation", "Timeout", "at_most", "ends within {} seconds"),
        Setting("operation", "ReservedConcurrentExecutions", "at_most", "runs {} times at once at most"),
        Setting("monitoring", "TracingConfig.Mode", "equals", "traces ({})"),
        Setting("monitoring", "LoggingConfig.LogFormat", "equals", "logs in the format {}"),
    ),
    **dict.fromkeys(
        TABLES,
        (
            Setting("operation", "BillingMode", "equals", "is billed by {}"),
            Setting("data", "StreamSpecification.StreamViewType", "equals", "streams {} of its changes"),
            Setting("security", "SSESpecification.SSEEnabled", "equals", "is encrypted with a key in KMS"),
            Setting(
                "data",
                "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled",
                "equals",
                "recovers to a point in time",
            ),
            Setting("data", "DeletionProtectionEnabled", "equals", "is protected from deletion"),
        ),
    ),
    BUCKET: (
        Setting("data", "VersioningConfiguration.Status", "equals", "keeps versions ({})"),
        Setting(
            "security",
            "BucketEncryption.ServerSideEncryptionConfiguration.*.ServerSideEncryptionByDefault.SSEAlgorithm",
            "equals",
            "states its encryption, {}",
        ),
        Setting("security", _ACCESS + "BlockPublicAcls", "equals", "blocks public ACLs"),
        Setting("security", _ACCESS + "BlockPublicPolicy", "equals", "blocks public policies"),
        Setting("security", _ACCESS + "IgnorePublicAcls", "equals", "ignores public ACLs"),
        Setting("security", _ACCESS + "RestrictPublicBuckets", "equals", "restricts public access"),
    ),
    QUEUE: (
        Setting("operation", "MessageRetentionPeriod", "at_least", "keeps messages {} seconds"),
        Setting("security", "SqsManagedSseEnabled", "equals", "is encrypted"),
        Setting("security", "KmsMasterKeyId", "set", "is encrypted with a key"),
    ),
    TOPIC: (Setting("security", "KmsMasterKeyId", "set", "is encrypted with a key"),),
    LOG_GROUP: (Setting("monitoring", "RetentionInDays", "between", "keeps logs {} days"),),
    MAPPING: (
        Setting("operation", "MaximumRetryAttempts", "at_most", "retries {} times at most"),
        Setting("operation", "MaximumRecordAgeInSeconds", "at_most", "gives up on a record after {} seconds"),
        Setting("operation", "BisectBatchOnFunctionError", "equals", "halves a batch that fails"),
    ),
    STAGE: (
        Setting(
            "operation",
            "DefaultRouteSettings.ThrottlingRateLimit",
            "at_most",
            "lets {} requests a second through",
        ),
        Setting(
            "operation",
            "DefaultRouteSettings.ThrottlingBurstLimit",
            "at_most",
            "lets {} requests at once through",
        ),
        Setting("monitoring", "AccessLogSettings.DestinationArn", "set", "keeps an access log"),
    ),
    "AWS::ApiGateway::Stage": (
        Setting("monitoring", "TracingEnabled", "equals", "traces ({})"),
        Setting("monitoring", "AccessLogSetting.DestinationArn", "set", "keeps an access log"),
    ),
    "AWS::Kinesis::Stream": (
        Setting("security", "StreamEncryption.EncryptionType", "equals", "is encrypted"),
        Setting("data", "RetentionPeriodHours", "at_least", "keeps records {} hours"),
    ),
    KEY: (Setting("security", "EnableKeyRotation", "equals", "rotates"),),
    ALARM: (Setting("monitoring", "TreatMissingData", "equals", "takes silence for {}"),),
}


FIXES: Mapping[str, str] = {
    "present": "Put back the resource, or the reference that it is found by.",
    "property": "Set the property as the check says.",
    "reference": "Pass its name or ARN in the environment by reference, not written out.",
    "ratio": "Raise the one, or lower the other.",
    "runtime": "Set a runtime that is in support.",
    "own_role": "Give each function a role of its own, which Lambda alone may assume.",
    "keys": "Put back the key schema. (A table whose keys change is replaced.)",
    "tls_only": "Deny what does not come by TLS, in a policy on it (CDK: enforce_ssl=True).",
    "alarm": "Put back the alarm on this metric.",
    "metrics_exist": "Make the alarm by the construct's own metric methods.",
    "tells": "Send the alarm to a topic that somebody has subscribed to.",
    "name": "Name it as the pattern says.",
    "tags": "Tag the app, or the resource, with these keys.",
    "region": "Bind the stack to the document's region.",
}


class Proposal(msgspec.Struct, frozen=True):
    """A requirement as it may stand in the document."""

    category: str
    title: str
    subject: tuple[str, ...]
    check: Mapping[str, Any]

    @property
    def fix(self) -> str:
        return FIXES.get(self.check["kind"], "Bring it back to what the check wants.")

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


def read(options: Options, progress: Progress = lambda _: None) -> str:
    """The text of a document for an input, as `audit` takes it. Raises InputError."""
    usual = Environment()
    environment = options.environment or options.context.get(usual.context, usual.default)
    with ExitStack() as stack:
        if options.template is not None:
            assembly = load_template(options.template)
        elif options.assembly is not None:
            assembly = load_assembly(options.assembly, base=options.folder)
        else:
            app = find_app(options.app, options.folder, options.context)
            folder = Path(stack.enter_context(Scratch("init")))
            own = {usual.context: environment} if options.environment else {}
            progress(f"synthesising for {environment}")
            synths = Synths(app, folder, {environment: own})
            stack.callback(synths.close)
            assembly = load_assembly(synths.result(environment), base=options.folder)
            assembly.kind = "app"
        if assembly.missing:  # a draft would write the placeholders down
            raise InputError(assembly.missing[0])
        progress("looking at what is there")
        return draft(assembly, environment, options.as_of)


def draft(assembly: Assembly, environment: str, as_of: date) -> str:
    """The document's text. Raises InputError where the stack has nothing to start from."""
    subjects = Discovery(assembly)
    if not subjects.specs:
        raise InputError(f"{_stacks(assembly)}: no resource that a requirement could be about")
    proposals: list[Proposal] = []
    for proposal in _Proposals(assembly, subjects, environment):
        if proposal not in proposals:
            proposals.append(proposal)
    met, unmet = _judged(assembly, subjects, proposals, environment, as_of)
    met = _merged(met)
    if not met:
        raise InputError(f"{_stacks(assembly)}: states nothing that a requirement could hold it to")
    return _render(assembly, subjects, met, unmet, environment, as_of)


def _stacks(assembly: Assembly) -> str:
    """What was looked at, as people call it: an app's assembly lies in a temporary folder."""
    names = [stack.name for stack in assembly.stacks]
    if assembly.kind != "app" or not names:
        return str(assembly.path)
    return f"stack{'s' * (len(names) != 1)} {', '.join(names)}"


# The subjects


class Discovery:
    """The resources that can be told apart by type and wiring, each with a subject's name."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.specs: dict[str, dict[str, Any]] = {}
        self.by_name: dict[str, Resource] = {}
        self.groups: dict[str, tuple[Resource, ...]] = {}
        self._pool = [r for r in assembly.resources(*WORDS) if r.exists is True]
        self._pool.sort(key=lambda r: list(WORDS).index(r.type))  # stable: the templates' order
        self._wiring = Declared(assembly, {})
        self._links = {resource: self._links_of(resource) for resource in self._pool}
        self._holders: dict[Resource, list[tuple[Resource, str]]] = {}
        for holder, paths in self._links.items():
            for path, target in ((path, t) for path, targets in paths.items() for t in targets):
                self._holders.setdefault(target, []).append((holder, path))
        self._names: dict[Resource, str] = {}
        self._find()
        self._add_groups()

    def name(self, resource: Resource | None) -> str | None:
        return self._names.get(resource) if resource else None

    def of_type(self, type_: str) -> tuple[str, tuple[Resource, ...]] | None:
        """The subject that stands for all resources of a type: the only one, or the group."""
        resources = tuple(self.assembly.resources(type_))
        for name, found in self.groups.items():
            if found == resources:
                return name, resources
        only = self.name(resources[0]) if len(resources) == 1 else None
        return (only, resources) if only else None

    def _find(self) -> None:
        by_type = {type_: list(self.assembly.resources(type_)) for type_ in WORDS}
        for resource in self._pool:
            if by_type[resource.type] == [resource]:
                self._add(resource, {}, WORDS[resource.type])
        while self._extend() or self._add_by_name():
            pass

    def _extend(self) -> bool:
        """Adds a resource that one link tells apart from all others of its type."""
        for resource in self._open():
            for link in self._telling(resource):
                self._add(resource, link)
                return True
        return False

    def _add_by_name(self) -> bool:
        """Adds one that its name alone tells apart: a requirement on the name will decide."""
        for resource in self._open():
            if _literal(self.assembly, resource.get(name_of(resource.type))):
                self._add(resource, {}, about="of this name")
                return True
        return False

    def _open(self) -> Iterator[Resource]:
        return (resource for resource in self._pool if resource not in self._names)

    def _telling(self, resource: Resource) -> Iterator[dict[str, Any]]:
        """The links to known subjects that no other resource of its type has."""
        for holder, path in self._holders.get(resource, ()):
            alike = [t for t in self._links[holder][path] if t.type == resource.type]
            if holder in self._names and alike == [resource]:
                yield {"referred_by": {"subject": self._names[holder], "property": path}}
        for path, targets in self._links[resource].items():
            for target in targets:
                holders = [h for h, p in self._holders[target] if p == path and h.type == resource.type]
                if target in self._names and holders == [resource]:
                    yield {"refers_to": {"subject": self._names[target], "property": path}}

    def _at(self, resource: Resource, path: str) -> Sequence[Resource]:
        return self._links[resource].get(path, ())

    def _links_of(self, resource: Resource) -> Mapping[str, list[Resource]]:
        """What a resource refers to, by property path; lists as `*`, a function's variables each."""
        found: dict[str, dict[Resource, None]] = {}
        for path, value in _leaves(resource.properties):
            for item in (value, *refs_in(value)):
                target = self._wiring.identify(item, *WORDS)
                if target is not None and target is not resource:
                    found.setdefault(path, {})[target] = None
        return {path: list(targets) for path, targets in found.items()}

    def _add(self, resource: Resource, link: Mapping[str, Any], name: str = "", about: str = "") -> None:
        name = self._free(name or _called(resource, link))
        spec = {"type": resource.type, "about": _about(resource, link) + (about and f" {about}"), **link}
        self.specs[name], self.by_name[name] = spec, resource
        self._names[resource] = name

    def _free(self, name: str) -> str:
        taken = {*self.by_name, "members", *(f"{word}s" for word in (*WORDS.values(), *GROUPS.values()))}
        numbers = (f"{name}_{number}" for number in range(2, 10_000))
        return name if name not in taken else next(n for n in numbers if n not in taken)

    def _add_groups(self) -> None:
        for type_, word in (*WORDS.items(), *GROUPS.items()):
            resources = tuple(self.assembly.resources(type_))
            if len(resources) > 1 or (resources and type_ in GROUPS):
                name = f"{word}s"
                self.groups[name] = resources
                about = f"every {word.replace('_', ' ')} of the stack"
                self.specs[name] = {"type": type_, "about": about, "many": True}


def _called(resource: Resource, link: Mapping[str, Any]) -> str:
    """A name for a subject: its own; for what only connects others, theirs."""
    word, own = WORDS[resource.type], _snake(resource.logical_id)
    others = [way["subject"] for way in link.values()]
    if others and (resource.type in CONNECTIONS or len(own) > 40):
        return f"{others[0]}_{word}"
    return own if len(own) <= 40 else word


def _about(resource: Resource, link: Mapping[str, Any]) -> str:
    """How a resource is found, in words that stand after "nothing is"."""
    word = _words(WORDS[resource.type])
    if "referred_by" in link:
        return f"the {word} that the {_words(link['referred_by']['subject'])} refers to"
    if "refers_to" in link:
        return f"the {word} that refers to the {_words(link['refers_to']['subject'])}"
    return f"the {word}"


def _leaves(value: Value, path: str = "") -> Iterator[tuple[str, Value]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if "." not in str(key):
                yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}.*")
    else:
        yield path, value


def _snake(logical_id: str) -> str:
    """A logical id as a subject's name, without the hash that CDK adds."""
    text = re.sub(r"(?<=[a-z0-9])[0-9A-F]{8}$", "", logical_id)
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    return text if text[:1].isalpha() else f"the_{text}"


def _literal(assembly: Assembly, value: Value) -> str | None:
    text = assembly.text(value)
    return text or None


# What could be required


class _Proposals:
    """Every requirement that may hold. Which do is found by judging them."""

    def __init__(self, assembly: Assembly, subjects: Discovery, environment: str) -> None:
        self.assembly, self.subjects, self.environment = assembly, subjects, environment

    def __iter__(self) -> Iterator[Proposal]:
        yield from self._presence()
        yield from self._references()
        yield from self._ratios()
        yield from self._settings()
        yield from self._functions()
        yield from self._keys()
        yield from self._transport()
        yield from self._alarms()
        yield from self._names()
        yield from self._tags()
        yield from self._region()

    def _presence(self) -> Iterator[Proposal]:
        for name in self.subjects.by_name:
            yield Proposal("wiring", f"the {_words(name)} is there", (name,), {"kind": "present"})

    def _references(self) -> Iterator[Proposal]:
        for name, function in self._named(FUNCTION):
            variables = function.get("Environment.Variables")
            targets = dict.fromkeys(
                self.subjects.name(self.assembly.resource(ref)) for ref in refs_in(variables)
            )
            for target in filter(None, targets):
                title = f"the {_words(name)} gets the {_words(target)} by reference"
                yield Proposal("wiring", title, (name,), {"kind": "reference", "to": target})

    def _ratios(self) -> Iterator[Proposal]:
        wiring = Declared(self.assembly, {})
        for mapping in wiring.mappings:
            queue, function = (self.subjects.name(end) for end in (mapping.source, mapping.function))
            if queue and function and mapping.source and mapping.source.type == QUEUE:
                sides = (f"{queue}.VisibilityTimeout", f"{function}.Timeout")
                title = f"the {_words(queue)} hides messages longer than the {_words(function)} runs"
                yield from self._ratio(title, queue, sides, 1, {})
        for name, integration in self._named(INTEGRATION):
            targets = self.subjects._at(integration, "IntegrationUri")
            function = next((self.subjects.name(t) for t in targets if t.type == FUNCTION), None)
            if function:
                sides = (f"{name}.TimeoutInMillis", f"{function}.Timeout")
                units = {"left_unit": "ms", "of_unit": "s"}
                title = f"the {_words(name)} waits longer than the {_words(function)} runs"
                yield from self._ratio(title, name, sides, 1000, units)

    def _ratio(
        self, title: str, subject: str, sides: tuple[str, str], factor: int, units: Mapping[str, str]
    ) -> Iterator[Proposal]:
        left, right = map(self._number, sides)
        if left and right:
            # Rounded down: what is there must do.
            times = int(left / (right * factor) * 10) / 10
            check = {"kind": "ratio", "left": sides[0], "at_least": times or 1.0, "of": sides[1], **units}
            yield Proposal("wiring", title, (subject,), check)

    def _number(self, place: str) -> float | None:
        name, _, path = place.partition(".")
        resource = self.subjects.by_name[name]
        value = resource.get(path)
        return to_number(DEFAULTS.get((resource.type, path)) if value is NO_VALUE else value)

    def _settings(self) -> Iterator[Proposal]:
        """Of each type, what all state alike; else what each states."""
        for type_, settings in SETTINGS.items():
            group = self.subjects.of_type(type_)
            for setting in settings:
                shared = group and self._setting(setting, group[0], group[1])
                if shared:
                    yield shared
                    continue
                for name, resource in self._named(type_):
                    own = self._setting(setting, name, (resource,))
                    if own:
                        yield own

    def _setting(self, setting: Setting, subject: str, resources: Sequence[Resource]) -> Proposal | None:
        values = [values_at(resource, setting.path) for resource in resources]
        if not all(values):
            return None
        test = _test(setting, [value for own in values for value in own])
        if test is None:
            return None
        group = subject in self.subjects.groups
        who = f"every {_words(subject.removesuffix('s'))}" if group else f"the {_words(subject)}"
        bounds = dict.fromkeys(str(value) for key, value in test.items() if key != "path")
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

    def _keys(self) -> Iterator[Proposal]:
        for name, table in (pair for type_ in TABLES for pair in self._named(type_)):
            entries = [entry for entry in to_list(table.get("KeySchema")) if isinstance(entry, dict)]
            keys = {str(e.get("KeyType")).lower(): e.get("AttributeName") for e in entries}
            if all(isinstance(key, str) for key in keys.values()) and "hash" in keys:
                check = {"kind": "keys", **keys}
                types = {
                    d.get("AttributeType")
                    for d in to_list(table.get("AttributeDefinitions"))
                    if isinstance(d, dict) and d.get("AttributeName") in keys.values()
                }
                if types != {"S"} and len(types) == 1:
                    check["type"] = next(iter(types))
                yield Proposal("data", f"the {_words(name)} has its keys", (name,), check)

    def _transport(self) -> Iterator[Proposal]:
        for type_ in (BUCKET, QUEUE, TOPIC):
            if group := self.subjects.of_type(type_):
                title = f"{_words(group[0])} refuse plain HTTP" if len(group[1]) > 1 else ""
                title = title or f"the {_words(group[0])} refuses plain HTTP"
                yield Proposal("security", title, (group[0],), {"kind": "tls_only"})

    def _alarms(self) -> Iterator[Proposal]:
        wiring = Declared(self.assembly, {})
        for alarm in self.assembly.resources(ALARM):
            for metric in metrics_of(alarm):
                targets = [wiring.identify(value, *WATCHED) for _, value in metric.dimensions]
                name = self.subjects.name(targets[0]) if len(targets) == 1 else None
                if name and isinstance(metric.name, str):
                    title = f"an alarm watches {metric.name} of the {_words(name)}"
                    yield Proposal("monitoring", title, (name,), {"kind": "alarm", "metric": metric.name})
        if "alarms" in self.subjects.groups:
            title = "alarms watch metrics that exist"
            yield Proposal("monitoring", title, ("alarms",), {"kind": "metrics_exist"})
            yield Proposal("monitoring", "every alarm tells somebody", ("alarms",), {"kind": "tells"})

    def _names(self) -> Iterator[Proposal]:
        for name, resource in self.subjects.by_name.items():
            text = _literal(self.assembly, resource.get(name_of(resource.type)))
            if text:
                check = {"kind": "name", "pattern": self._pattern(text, resource)}
                yield Proposal("naming", f"the {_words(name)} has its name", (name,), check)

    def _pattern(self, text: str, resource: Resource) -> str:
        """A name with the environment's name and the account by what they stand for."""
        account = self.assembly.text(resource.stack.pseudo("AWS::AccountId"))
        if account:
            text = text.replace(account, "{account}")
        return re.sub(rf"(?<![A-Za-z0-9]){re.escape(self.environment)}(?![A-Za-z0-9])", "{env}", text)

    def _tags(self) -> Iterator[Proposal]:
        found: list[set[str]] = []
        for resource in self.subjects.by_name.values():
            entries = [tag for tag in values_at(resource, "Tags.*") if isinstance(tag, dict)]
            keys = {tag["Key"] for tag in entries if isinstance(tag.get("Key"), str)}
            if keys:
                found.append({key for key in keys if not key.startswith("aws")})
        common = sorted(set.intersection(*found)) if found else []
        if common:
            check = {"kind": "tags", "keys": common}
            yield Proposal("naming", "everything that takes tags has these", ("members",), check)

    def _region(self) -> Iterator[Proposal]:
        if _region(self.assembly):
            yield Proposal("operation", "the stacks are deployed in one region", (), {"kind": "region"})

    def _named(self, type_: str) -> Iterator[tuple[str, Resource]]:
        return ((name, r) for name, r in self.subjects.by_name.items() if r.type == type_)


def _test(setting: Setting, values: Sequence[Value]) -> dict[str, Any] | None:
    """A test that all of these values pass; None where there is none worth it."""
    path = {"path": setting.path}
    if setting.form == "set":
        return path
    if setting.form == "equals":
        first = values[0]
        if any(value != first for value in values) or to_bool(first) is False:
            return None
        if to_bool(first) is True:
            return {**path, "equals": True}
        return {**path, "equals": first} if isinstance(first, str) else None
    numbers = [number for number in map(to_number, values) if number is not None]
    if len(numbers) != len(values) or min(numbers) < 0:
        return None
    bounds = {"at_least": min(numbers), "at_most": max(numbers)}
    wanted = bounds if setting.form == "between" else {setting.form: bounds[setting.form]}
    return {**path, **wanted}


def _region(assembly: Assembly) -> str | None:
    regions = {stack.declared_region for stack in assembly.stacks}
    return next(iter(regions)) if len(regions) == 1 else None


def _words(name: str) -> str:
    return name.replace("_", " ")


# What of it holds


def _judged(
    assembly: Assembly,
    subjects: Discovery,
    proposals: Sequence[Proposal],
    environment: str,
    as_of: date,
) -> tuple[list[Proposal], list[Proposal]]:
    """What is met and what is not. Without one, another may not be: a name may have told subjects apart."""
    met, unmet = list(proposals), list[Proposal]()
    while met:
        met = [proposal for _, proposal in _numbered(met)]  # as they will stand there
        data = _data(assembly, subjects, met, environment)
        document = Document(Path("requirements.yaml"), converted(data, File), Lines())
        rules = bind(document)
        results = judge(
            rules,
            document,
            find(document, assembly, names(rules, environment), environment),
            as_of=as_of,
            environment=environment,
            others="a draft looks at one environment",
            observations=NOT_RUN,
        )
        kept = [p for p, r in zip(met, results, strict=True) if r.verdict.status is Status.PASS]
        unmet += [p for p in met if p not in kept]
        if len(kept) == len(met):
            break
        met = kept
    return met, unmet


def _data(
    assembly: Assembly, subjects: Discovery, proposals: Sequence[Proposal], environment: str
) -> dict[str, Any]:
    used = [name for name in CATEGORIES if any(p.category == name for p in proposals)]
    return {
        "version": 1,
        "title": "Requirements of " + ", ".join(stack.name for stack in assembly.stacks[:3]),
        "environment": _environment(environment, _region(assembly)),
        "categories": [{"id": name, "title": CATEGORIES[name][1], "gate": True} for name in used],
        "subjects": _used(subjects.specs, proposals),
        "requirements": [proposal.entry(id_) for id_, proposal in _numbered(proposals)],
    }


def _numbered(proposals: Sequence[Proposal]) -> Iterator[tuple[str, Proposal]]:
    for category, (prefix, _) in CATEGORIES.items():
        own = [proposal for proposal in proposals if proposal.category == category]
        yield from ((f"{prefix}-{number:02}", proposal) for number, proposal in enumerate(own, 1))


def _environment(name: str, region: str | None) -> dict[str, Any]:
    """Names for all that a document wants to know of environments, around the one that is known."""
    usual = Environment()
    found: dict[str, Any] = {"context": "env", "default": name}
    if name in ("staging", "prod", "production"):
        others = [other for other in ("staging", "prod") if other != name]
        found |= {"probe": others[0], "retained": [name, *others], "throwaway": usual.throwaway}
    else:
        throwaway = usual.throwaway if not usual.keeps_data(name) else f"{re.escape(name)}|pr[0-9]+"
        probe = "pr1" if name != "pr1" else "pr2"
        found |= {"probe": probe, "retained": ["staging", "prod"], "throwaway": throwaway}
    return found | ({"region": region} if region else {})


def _used(specs: Mapping[str, Any], proposals: Sequence[Proposal]) -> dict[str, Any]:
    """The subjects that a requirement is about or a check names, and those that these are found by."""
    used: set[str] = set()
    fresh = {name for p in proposals for name in (*p.subject, *_named_in(p.check))} & set(specs)
    while fresh:
        used |= fresh
        links = [specs[name].get(field) for name in fresh for field in ("refers_to", "referred_by")]
        fresh = {link["subject"] for link in links if link} - used
    return {name: spec for name, spec in specs.items() if name in used}


def _named_in(check: Mapping[str, Any]) -> Iterator[str]:
    if "to" in check:
        yield check["to"]
    for side in ("left", "of"):
        if side in check:
            yield check[side].partition(".")[0]


def _merged(proposals: Sequence[Proposal]) -> list[Proposal]:
    """All that is there, in one requirement."""
    there = [p for p in proposals if p.check["kind"] == "present"]
    if len(there) < 2:
        return list(proposals)
    names_ = tuple(name for p in there for name in p.subject)
    one = Proposal("wiring", "all of it is there, wired so", names_, {"kind": "present"})
    return [one, *(p for p in proposals if p not in there)]


# The text

HEAD = """\
# A first requirements document, written by `compliance init` from {source}.
# It says what is there, no more: on that stack, on {day}, every requirement below was met. It is yours now.
# Decide of each: must it hold in every environment? Is the bound right? Who needs it, how badly (severity)?
# Then judge by it:   compliance audit --requirements {file}
"""
NOTES = {
    "environment": """\
# `{env}` in names is the environment's name, which the app reads from this context key. The audit of an app
# also synthesises it for `probe` (kept no better than the default) and for the first of `retained` (whose
# data must outlive the stack); `throwaway` matches those that may lose theirs.
# DECIDE: are these the names that you use?""",
    "categories": """\
# Each is scored apart; only those with `gate: true` decide between green and red.""",
    "subjects": """\
# Who is who: by type, and by what refers to what (a property path, `*` for any item). What is told apart by
# nothing but its name is found by the requirement on that name. `many` makes a group.
# DECIDE: better names, and words for `about`: both stand in the reports.""",
    "requirements": """\
# `compliance requirements --requirements FILE ID` explains one; the docs have all kinds of checks.""",
    "wiring": "# What refers to what.\n  # DECIDE: which of these would you miss?",
    "operation": "# How it runs, with today's values as bounds.\n  # DECIDE: which bound would you defend?",
    "data": "# What happens to data.",
    "security": "# Encryption and access.\n  # DECIDE: what is high for you?",
    "monitoring": "# Logs, traces, alarms.",
    "naming": "# Names and tags; {env} and {account} stand for the environment and the account.\n"
    "  # DECIDE: a name without {env} is the same in every environment. Should it be?",
}
UNMET = """\
# Not proposed, for it does not hold today, or can't be seen. DECIDE: should it?
"""


def _render(
    assembly: Assembly,
    subjects: Discovery,
    met: Sequence[Proposal],
    unmet: Sequence[Proposal],
    environment: str,
    as_of: date,
) -> str:
    data = _data(assembly, subjects, met, environment)
    day = as_of.isoformat()
    lines = [HEAD.format(source=f"the {assembly.kind}", day=day, file="requirements.yaml").rstrip()]
    lines += ["version: 1", f"title: {_flow(data['title'])}", "", NOTES["environment"]]
    lines += ["environment:", *(f"  {key}: {_flow(value)}" for key, value in data["environment"].items())]
    lines += ["", NOTES["categories"], "categories:", *(f"  - {_flow(c)}" for c in data["categories"])]
    lines += ["", NOTES["subjects"], "subjects:"]
    for name, spec in data["subjects"].items():
        lines += [f"  {name}:", *(f"    {key}: {_flow(value)}" for key, value in spec.items())]
    lines += ["", NOTES["requirements"], "requirements:"]
    category = None
    for entry in data["requirements"]:
        if entry["category"] != category:
            category = entry["category"]
            lines += [f"  {NOTES[category]}"]
        marks = ["  - ", *["    "] * (len(entry) - 1)]
        pairs = zip(marks, entry.items(), strict=True)
        lines += [*(f"{mark}{key}: {_flow(value)}" for mark, (key, value) in pairs), ""]
    if unmet:
        lines += [UNMET.rstrip(), *(f"# - {_comment(p)}" for p in unmet)]
    return "\n".join(lines).rstrip() + "\n"


def _flow(value: Any) -> str:
    """A value in YAML, on one line."""
    # In a list, for a scalar alone would be a document with an end.
    return yaml.safe_dump([value], default_flow_style=True, sort_keys=False, width=10**6).strip()[1:-1]


def _comment(proposal: Proposal) -> str:
    about = f" ({', '.join(proposal.subject)})" if proposal.subject else ""
    return one_line(printable(f"{proposal.title}{about}: {_flow(dict(proposal.check))}"))
