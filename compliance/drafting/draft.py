"""A first requirements document for a stack: its subjects by their wiring, and what holds of them today.

Nothing is claimed beyond what is there: whatever is proposed was judged on that very stack, and met.
What would be usual but is not met stands in a comment. What should hold is for people to decide.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import yaml

from compliance.auditing import Options, Progress
from compliance.cel.syntax import RESERVED as CEL_WORDS
from compliance.document.requirements import Document, Environment, File, kind_of
from compliance.drafting import stated
from compliance.facts.alarms import WATCHED, metrics_of
from compliance.facts.subjects import RESERVED, Declared, find
from compliance.facts.wiring import (
    ALARM,
    BUCKET,
    FUNCTION,
    KEY,
    LOG_GROUP,
    MAPPING,
    QUEUE,
    ROLE,
    TABLES,
    TOPIC,
)
from compliance.handlers.runs import Handlers
from compliance.model import InputError, Status
from compliance.rules import bind
from compliance.rules.judging import judge, names
from compliance.rules.runtime import parts
from compliance.template.assembly import Assembly, Resource
from compliance.template.defaults import DEFAULTS
from compliance.template.intrinsics import NO_VALUE, Value, refs_in, to_bool, to_list, to_number
from compliance.template.loading import load_assembly, load_template
from compliance.template.physical_names import name_property
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
# No subjects: what they say is said of the role or resource that they are attached to.
NO_SUBJECTS = re.compile(
    r"AWS::IAM::\w*Policy|AWS::S3::BucketPolicy|AWS::SQS::QueuePolicy|AWS::SNS::TopicPolicy|AWS::CDK::.*|Custom::.*"
    r"|AWS::CloudFormation::.*|AWS::Lambda::Version|AWS::ApiGateway::Deployment"
)
# What CDK names or makes by itself: constructs of its own, and names with a hash in them.
CDK_MADE = re.compile(
    r"(Custom::.*|LogRetention[0-9a-f]{32}|BucketNotificationsHandler[0-9a-f]{32}|CDKMetadata|framework-\w+"
    r"|AWS[0-9a-f]{32}|waiter-state-machine)"
)
HASHED = re.compile(r"[0-9A-F]{8}(?![0-9A-Za-z])|[0-9a-f]{16,}")
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
    "predicate": "Put back what the expression says.",
    "confined": "Name principals of this account, and bind AWS services by aws:SourceAccount.",
    "region": "Bind the stack to the document's region.",
}


class Proposal(msgspec.Struct, frozen=True):
    """A requirement as it may stand in the document."""

    category: str
    title: str
    subject: tuple[str, ...]
    check: Mapping[str, Any]
    names: tuple[str, ...] = ()  # other subjects, which an expression names

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
    proposals = list({repr(p): p for p in _Proposals(assembly, subjects, environment)}.values())
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
        made = [r for r in assembly.resources() if not NO_SUBJECTS.fullmatch(r.type)]
        self.own = [r for r in made if not _cdk_made(r)]
        self.words = _words_of(resource.type for resource in self.own)
        place = {type_: number for number, type_ in enumerate(self.words)}
        self._pool = [r for r in self.own if r.exists is True and r.type not in GROUPS]
        self._pool.sort(key=lambda r: place[r.type])  # stable: the templates' order
        self._pooled = frozenset(self._pool)
        self._wiring = Declared(assembly, {})
        self._links = {resource: self._links_of(resource) for resource in self._pool}
        self._holders: dict[Resource, list[tuple[Resource, str]]] = {}
        # How many of one type a holder refers to at a path, and how many of one type refer to a target there.
        self._alike: Counter[tuple[Resource, str, str]] = Counter()
        self._rivals: Counter[tuple[Resource, str, str]] = Counter()
        for holder, paths in self._links.items():
            for path, target in ((path, t) for path, targets in paths.items() for t in targets):
                self._holders.setdefault(target, []).append((holder, path))
                self._alike[holder, path, target.type] += 1
                self._rivals[target, path, holder.type] += 1
        self._names: dict[Resource, str] = {}
        self._numbers: Counter[str] = Counter()
        self._by_type: dict[str, str] = {}
        self._find()
        self._add_groups()

    def name(self, resource: Resource | None) -> str | None:
        return self._names.get(resource) if resource else None

    def of_type(self, type_: str) -> tuple[str, tuple[Resource, ...]] | None:
        """The subject that stands for all resources of a type: the only one, or the group."""
        resources = tuple(self.assembly.resources(type_))
        if name := self._by_type.get(type_):
            return name, resources
        only = self.name(resources[0]) if len(resources) == 1 else None
        return (only, resources) if only else None

    def links(self, resource: Resource) -> Mapping[str, Sequence[str]]:
        """The subjects that a resource refers to, by property path."""
        found = {
            path: [self._names[target] for target in targets if target in self._names]
            for path, targets in self._links[resource].items()
        }
        return {path: names for path, names in found.items() if names}

    def _find(self) -> None:
        """Names what its type, one link or else its own name tells apart from all others."""
        alone = Counter(resource.type for resource in self.assembly.resources())
        fresh = deque[Resource]()
        for resource in self._pool:
            if alone[resource.type] == 1:
                self._add(resource, {}, self.words[resource.type])
                fresh.append(resource)
        while fresh:
            fresh.extend(self._extended(fresh.popleft()))
        for resource in self._pool:
            if resource not in self._names:
                name = _own_name(self.assembly, resource)
                if not name or HASHED.search(name):
                    continue
                self._add(resource, {}, about="of this name")  # a requirement on the name will decide
                fresh.append(resource)
            while fresh:
                fresh.extend(self._extended(fresh.popleft()))

    def _extended(self, named: Resource) -> Iterator[Resource]:
        """Names the neighbours of a resource that a link to or from it tells apart."""
        targets = (target for found in self._links[named].values() for target in found)
        holders = (holder for holder, _ in self._holders.get(named, ()))
        for resource in dict.fromkeys((*targets, *holders)):
            link = None if resource in self._names else next(self._telling(resource, named), None)
            if link:
                self._add(resource, link)
                yield resource

    def _telling(self, resource: Resource, named: Resource) -> Iterator[dict[str, Any]]:
        """The links between a resource and a known subject that no other resource of its type has."""
        subject = self._names[named]
        for path, targets in self._links[named].items():
            if resource in targets and self._alike[named, path, resource.type] == 1:
                yield {"referred_by": {"subject": subject, "property": path}}
        for path, targets in self._links[resource].items():
            if named in targets and self._rivals[named, path, resource.type] == 1:
                yield {"refers_to": {"subject": subject, "property": path}}

    def _at(self, resource: Resource, path: str) -> Sequence[Resource]:
        return self._links[resource].get(path, ())

    def _links_of(self, resource: Resource) -> Mapping[str, list[Resource]]:
        """What a resource refers to, by property path; lists as `*`, a function's variables each."""
        found: dict[str, dict[Resource, None]] = {}
        for path, value in _leaves(resource.properties):
            for item in (value, *refs_in(value)):
                target = self._wiring.identify(item, *self.words)
                if target is not None and target is not resource and target in self._pooled:
                    found.setdefault(path, {})[target] = None
        return {path: list(targets) for path, targets in found.items()}

    def _add(self, resource: Resource, link: Mapping[str, Any], name: str = "", about: str = "") -> None:
        name = self._free(name or _called(resource, link))
        spec = {"type": resource.type, "about": _about(resource, link) + (about and f" {about}"), **link}
        self.specs[name], self.by_name[name] = spec, resource
        self._names[resource] = name

    def _free(self, name: str) -> str:
        if name in CEL_WORDS:  # expressions could not name it
            name = "handler" if name == "function" else f"own_{name}"
        taken = name in self.by_name or name in RESERVED or name in self._plurals
        while taken:
            self._numbers[name] += 1
            numbered = f"{name}_{self._numbers[name] + 1}"
            taken = numbered in self.by_name or numbered in self._plurals
            if not taken:
                return numbered
        return name

    @cached_property
    def _plurals(self) -> frozenset[str]:
        return frozenset(map(_plural, self.words.values()))

    def _add_groups(self) -> None:
        for type_, word in self.words.items():
            resources = tuple(self.assembly.resources(type_))
            if len(resources) > 1 or (resources and type_ in GROUPS):
                name = self._by_type[type_] = _plural(word)
                self.groups[name] = resources
                about = f"every {word.replace('_', ' ')} of the stack"
                self.specs[name] = {"type": type_, "about": about, "many": True}


def _cdk_made(resource: Resource) -> bool:
    """Whether CDK made a resource of its own accord."""
    return any(CDK_MADE.fullmatch(part) for part in (resource.construct_path or "").split("/"))


def _words_of(types: Iterable[str]) -> Mapping[str, str]:
    """What resources of these types are called; those first that a stack is built around."""
    known = {**WORDS, **GROUPS}
    found = dict.fromkeys(types)
    words = {type_: word for type_, word in known.items() if type_ in found}
    for type_ in found:
        if type_ not in words:
            service, _, last = type_.rpartition("::")
            word = _word(type_)
            taken = {*words.values(), *map(_plural, words.values())}
            words[type_] = (
                word
                if {word, _plural(word)}.isdisjoint(taken)
                else _snake(f"{service.rpartition('::')[2]}_{last}")
            )
    return words


def _plural(word: str) -> str:
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "ch", "sh")) else f"{word}s"


def _called(resource: Resource, link: Mapping[str, Any]) -> str:
    """A name for a subject: its own; for what only connects others, theirs."""
    word, own = _word(resource.type), _snake(resource.logical_id)
    others = [way["subject"] for way in link.values()]
    if others and (resource.type in CONNECTIONS or len(own) > 40):
        return f"{others[0]}_{word}"
    return own if len(own) <= 40 else word


def _word(type_: str) -> str:
    return WORDS.get(type_) or _snake(re.sub(r"(?<=[A-Z])(?=[A-Z][a-z])", "_", type_.rpartition("::")[2]))


def _about(resource: Resource, link: Mapping[str, Any]) -> str:
    """How a resource is found, in words that stand after "nothing is"."""
    word = _words(_word(resource.type))
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


def _own_name(assembly: Assembly, resource: Resource) -> str | None:
    """A resource's physical name, where its type has one, and it is known."""
    path = name_property(resource.type)
    return assembly.text(resource.get(path)) or None if path else None


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
        yield from self._stated()
        yield from self._wires()
        yield from self._policies()

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
            text = _own_name(self.assembly, resource)
            if text and not HASHED.search(text):
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

    def _stated(self) -> Iterator[Proposal]:
        """Of each type, what all state alike; of each resource, what it states beside that."""
        for type_ in self.subjects.words:
            known = {setting.path for setting in SETTINGS.get(type_, ())}
            group, shared = self.subjects.of_type(type_), list[dict[str, Any]]()
            if group:
                each = [self._tests(resource) for resource in group[1]]
                shared = [test for test in each[0] if all(test in tests for tests in each[1:])]
                shared = [test for test in shared if test["path"] not in known]
                if shared:
                    who = group[0] if len(group[1]) > 1 else f"the {_words(group[0])}"
                    yield Proposal(
                        "operation",
                        f"{_words(who)} keep to their settings"
                        if len(group[1]) > 1
                        else f"{who} keeps its settings",
                        (group[0],),
                        {"kind": "property", "all": shared},
                    )
            for name, resource in self._named(type_):
                own = [t for t in self._tests(resource) if t not in shared and t["path"] not in known]
                if own:
                    check = {"kind": "property", "all": own}
                    yield Proposal("operation", f"the {_words(name)} keeps its own settings", (name,), check)

    def _tests(self, resource: Resource) -> list[dict[str, Any]]:
        if resource not in self._known_tests:
            leaves = list(_leaves(resource.properties))
            self._known_tests[resource] = list(stated.settings(resource.type, leaves))
        return self._known_tests[resource]

    def _wires(self) -> Iterator[Proposal]:
        for name, resource in self.subjects.by_name.items():
            links = self.subjects.links(resource)
            parts = list(stated.wires(links))
            if parts:
                others = tuple(dict.fromkeys(other for names_ in links.values() for other in names_))
                title = f"the {_words(name)} refers to what it did: {', '.join(map(_words, others))}"
                yield Proposal("wiring", title, (), {"each": name, "that": " && ".join(parts)}, others)

    def _policies(self) -> Iterator[Proposal]:
        """Ceilings of roles, and that nothing is open to others."""
        for name, role in self._named(ROLE):
            expression = stated.ceiling(self.assembly, role)
            if expression:
                title = f"the {_words(name)} allows no action that it did not"
                yield Proposal("security", title, (), {"each": name, "that": expression})
        for name, _ in self._named("AWS::EC2::SecurityGroup"):
            check = {"each": name, "that": "rules_into(self).all(r, !r.world)"}
            yield Proposal("security", f"the {_words(name)} lets nothing in from everywhere", (), check)
        yield Proposal("security", "nothing is open to others", ("members",), {"kind": "confined"})

    @cached_property
    def _known_tests(self) -> dict[Resource, list[dict[str, Any]]]:
        return {}

    def _named(self, type_: str) -> Iterator[tuple[str, Resource]]:
        return iter(self._of_type.get(type_, ()))

    @cached_property
    def _of_type(self) -> Mapping[str, Sequence[tuple[str, Resource]]]:
        found: dict[str, list[tuple[str, Resource]]] = {}
        for name, resource in self.subjects.by_name.items():
            found.setdefault(resource.type, []).append((name, resource))
        return found


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
    if any(stated.bound_that_cannot_fail(setting.path, value) for value in wanted.values()):
        return None
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
        passes = [r.verdict.status is Status.PASS for r in results]
        kept = [p for p, holds in zip(met, passes, strict=True) if holds]
        unmet += [p for p, holds in zip(met, passes, strict=True) if not holds]
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
    fresh = {name for p in proposals for name in (*p.subject, *p.names, *_named_in(p.check))} & set(specs)
    while fresh:
        used |= fresh
        links = [specs[name].get(field) for name in fresh for field in ("refers_to", "referred_by")]
        fresh = {link["subject"] for link in links if link} - used
    return {name: spec for name, spec in specs.items() if name in used}


def _named_in(check: Mapping[str, Any]) -> Iterator[str]:
    yield from (check[field] for field in ("to", "each", "of") if field in check)
    yield from (check[side].partition(".")[0] for side in ("left", "of") if side in check)


def _merged(proposals: Sequence[Proposal]) -> list[Proposal]:
    """All that is there, in one requirement."""
    there = [p for p in proposals if p.is_there]
    if len(there) < 2:
        return list(proposals)
    names_ = tuple(name for p in there for name in p.subject)
    one = Proposal("wiring", "all of it is there, wired so", names_, {"kind": "present"})
    return [one, *(p for p in proposals if not p.is_there)]


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
        lines += [UNMET.rstrip(), *(f"# - {_comment(p)}" for p in unmet), ""]
    if missing := list(_not_covered(assembly, subjects, met)):
        lines += [NOT_COVERED.rstrip(), *missing]
    return "\n".join(lines).rstrip() + "\n"


NOT_COVERED = """\
# Not covered: no requirement of this draft is about these. DECIDE: which of them matter?
"""


def _not_covered(assembly: Assembly, subjects: Discovery, proposals: Sequence[Proposal]) -> Iterator[str]:
    """By type, how many resources no requirement is about, and why where that is known."""
    named = {name for p in proposals for name in (*p.subject, *_named_in(p.check))}
    covered = {subjects.by_name[name] for name in named if name in subjects.by_name}
    covered |= {resource for name in named for resource in subjects.groups.get(name, ())}
    open_ = Counter((r.type, _cdk_made(r)) for r in assembly.resources() if r not in covered)
    for (type_, made), number in sorted(open_.items()):
        if not type_.startswith(("AWS::CDK::", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")):
            yield f"# - {number} {type_}" + (", which CDK makes itself" if made else "")


DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _flow(value: Any) -> str:
    """A value in YAML, on one line."""
    # In a list, for a scalar alone would be a document with an end.
    text: str = yaml.dump([value], Dumper=DUMPER, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()[1:-1]


def _comment(proposal: Proposal) -> str:
    about = f" ({', '.join(proposal.subject)})" if proposal.subject else ""
    return one_line(printable(f"{proposal.title}{about}: {_flow(dict(proposal.check))}"))
