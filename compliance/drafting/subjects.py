"""The subjects of a draft: resources that type and wiring identify, each with a name."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice

from compliance.facts.references import denoted, named_at
from compliance.facts.subjects import RESERVED
from compliance.facts.wiring import ALARM, BUCKET, FUNCTION, KEY, LOG_GROUP, MAPPING, QUEUE, TOPIC, spoken
from compliance.json_data import JSON, mapping
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Ref, Text, Value, refs_in
from compliance.template.physical_names import name_property

API, STAGE = "AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage"
INTEGRATION = "AWS::ApiGatewayV2::Integration"
# The words for types of subjects. The types that a stack is built around come first.
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
# The words for types that are only subjects as groups.
GROUPS: Mapping[str, str] = {ALARM: "alarm", LOG_GROUP: "log_group"}
# Types that are no subjects: requirements are about the role or resource that they belong to.
NO_SUBJECTS = re.compile(
    r"AWS::IAM::(Role|User|Group)?Policy|AWS::S3::BucketPolicy|AWS::SQS::QueuePolicy|AWS::SNS::TopicPolicy|AWS::CDK::.*|Custom::.*"
    r"|AWS::CloudFormation::.*|AWS::Lambda::Version|AWS::ApiGateway::Deployment|AWS::EC2::SecurityGroup(In|E)gress"
)
# Constructs that CDK makes itself; and names with a hash, which CDK generates. (An account's number is none.)
CDK_MADE = re.compile(
    r"(Custom::.*|LogRetention[0-9a-f]{32}|BucketNotificationsHandler[0-9a-f]{32}|CDKMetadata|framework-\w+"
    r"|AWS[0-9a-f]{32}|waiter-state-machine)"
)
HASHED = re.compile(r"(?<!\d{4})[0-9A-F]{8}(?![0-9A-Za-z])|[0-9a-f]{16,}")

# Properties that requirements of their own are about.
OF_POLICIES = ("Policies", "SecurityGroupIngress", "SecurityGroupEgress")


class Discovery:
    """Finds the resources that type and wiring identify, and gives each a subject's name."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self.specs: dict[str, dict[str, JSON]] = {}
        self.by_name: dict[str, Resource] = {}
        self.groups: dict[str, tuple[Resource, ...]] = {}
        made = [r for r in assembly.resources() if not NO_SUBJECTS.fullmatch(r.type)]
        self.own = [r for r in made if not cdk_made(r)]
        self.words = _words_of(resource.type for resource in self.own)
        place = {type_: number for number, type_ in enumerate(self.words)}
        self._pool = [r for r in self.own if r.exists is True and r.type not in GROUPS]
        self._pool.sort(key=lambda r: place[r.type])  # stable: the templates' order
        self._pooled = frozenset(self._pool)
        self._by_text: dict[str, Resource | None] = {}
        self._links = {resource: self.links_of(resource) for resource in self._pool}
        self._holders: dict[Resource, list[tuple[Resource, str]]] = {}
        # The number of resources of a type that a holder refers to at a path, and of those that refer to a
        # target.
        self._alike: Counter[tuple[Resource, str, str]] = Counter()
        self._rivals: Counter[tuple[Resource, str, str]] = Counter()
        for holder, paths in self._links.items():
            for path, target in ((path, t) for path, targets in paths.items() for t in targets):
                self._holders.setdefault(target, []).append((holder, path))
                self._alike[holder, path, target.type] += 1
                self._rivals[target, path, holder.type] += 1
        self._names: dict[Resource, str] = {}
        self._by_policies = False  # whether a policy within a role may tell it: it may become one of its own
        self._numbers: Counter[str] = Counter()
        self._by_type: dict[str, str] = {}
        self._find()
        self._add_groups()

    def name(self, resource: Resource | None) -> str | None:
        return self._names.get(resource) if resource else None

    def of_type(self, type_: str) -> tuple[str, tuple[Resource, ...]] | None:
        """The subject of all resources of a type: the only resource, or the group."""
        resources = tuple(self.assembly.resources(type_))
        if name := self._by_type.get(type_):
            return name, resources
        only = self.name(resources[0]) if len(resources) == 1 else None
        return (only, resources) if only else None

    def links(self, resource: Resource) -> Mapping[str, Sequence[str]]:
        """The subjects that a resource refers to, by property path."""
        return self.names_of(self._links.get(resource, {}))

    def names_of(self, links: Mapping[str, Sequence[Resource]]) -> Mapping[str, Sequence[str]]:
        found = {
            path: [self._names[target] for target in targets if target in self._names]
            for path, targets in links.items()
        }
        return {path: names for path, names in found.items() if names}

    def _find(self) -> None:
        """Names the resources that their type, one link or else their own name identifies."""
        alone = Counter(resource.type for resource in self.assembly.resources())
        fresh = deque[Resource]()
        for resource in self._pool:
            if alone[resource.type] == 1:
                self._add(resource, {}, self.words[resource.type])
                fresh.append(resource)
        self._spread(fresh)
        called = {resource: own_name(self.assembly, resource) for resource in self._pool}
        alike = Counter((resource.type, name) for resource, name in called.items())
        self._by_own_name({r: name for r, name in called.items() if alike[r.type, name] == 1})
        self._by_policies = True
        self._spread(deque(self._names))
        self._by_own_name(called)  # in stacks of several regions, a name may stand more than once

    def _by_own_name(self, called: Mapping[Resource, str | None]) -> None:
        for resource, name in called.items():
            if resource not in self._names and name and not HASHED.search(name):
                self._add(resource, {}, about="of this name")  # a requirement on the name will decide
                self._spread(deque((resource,)))

    def _spread(self, fresh: deque[Resource]) -> None:
        """Names what links identify, from fresh subjects on."""
        while fresh:
            fresh.extend(self._extended(fresh.popleft()))

    def _extended(self, named: Resource) -> Iterator[Resource]:
        """Names the neighbours of a resource that a link to or from it identifies."""
        targets = (target for found in self._links[named].values() for target in found)
        holders = (holder for holder, _ in self._holders.get(named, ()))
        for resource in dict.fromkeys((*targets, *holders)):
            link = None if resource in self._names else next(self._identifying(resource, named), None)
            if link:
                self._add(resource, link)
                yield resource

    def _identifying(self, resource: Resource, named: Resource) -> Iterator[dict[str, JSON]]:
        """The links between a resource and a known subject that no other resource of its type has."""
        subject = self._names[named]
        for path, targets in self._links[named].items():
            if resource in targets and self._alike[named, path, resource.type] == 1:
                yield {"referred_by": {"subject": subject, "property": path}}
        for path, targets in self._links[resource].items():
            if is_of_policy(path) and not self._by_policies:
                continue
            if named in targets and self._rivals[named, path, resource.type] == 1:
                yield {"refers_to": {"subject": subject, "property": path}}

    def neighbours(self, resource: Resource) -> Iterator[str]:
        """Expressions that a resource refers to one of a type, and that one of a type refers to it."""
        for target in islice(chain.from_iterable(self._links[resource].values()), 1):
            yield f"refs(self).exists(r, r.type == '{target.type}')"
        for holder, _ in self._holders.get(resource, ())[:1]:
            yield f"resources.exists(r, r.type == '{holder.type}' && refers(r, self))"

    def at(self, resource: Resource, path: str) -> Sequence[Resource]:
        return self._links[resource].get(path, ())

    def links_of(self, resource: Resource) -> Mapping[str, list[Resource]]:
        """The resources that a resource refers to, by property path with `*` for list items."""
        found: dict[str, dict[Resource, None]] = {}
        for path, value in leaves(resource.properties):
            for item in (value, *refs_in(value)) if isinstance(value, str | Ref | Text) else ():
                target = self._denoted(item)
                target = target or named_at(self.assembly, resource, path, item, *self.words)
                if target is not None and target is not resource and target in self._pooled:
                    # A list of one may be written as a single value.
                    found.setdefault(path.removesuffix(".*"), {})[target] = None
        return {path: list(targets) for path, targets in found.items()}

    def _denoted(self, value: Value) -> Resource | None:
        if not isinstance(value, str):
            return denoted(self.assembly, value, *self.words)
        if value not in self._by_text:
            self._by_text[value] = denoted(self.assembly, value, *self.words)
        return self._by_text[value]

    def _add(self, resource: Resource, link: Mapping[str, JSON], name: str = "", about: str = "") -> None:
        name = self._free(name or _called(resource, link))
        spec = {"type": resource.type, "about": _about(resource, link) + (about and f" {about}"), **link}
        self.specs[name], self.by_name[name] = spec, resource
        self._names[resource] = name

    def _free(self, name: str) -> str:
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


def is_of_policy(path: str) -> bool:
    """Whether a path leads into a policy, or into a rule of a security group."""
    return any(step in OF_POLICIES or step.endswith("PolicyDocument") for step in path.split("."))


def cdk_made(resource: Resource) -> bool:
    """Whether CDK itself made a resource, which the app does not define."""
    return any(CDK_MADE.fullmatch(part) for part in (resource.construct_path or "").split("/"))


def _words_of(types: Iterable[str]) -> Mapping[str, str]:
    """The words for these types. The types that a stack is built around come first."""
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


def _called(resource: Resource, link: Mapping[str, JSON]) -> str:
    """A name for a subject, from its logical id. A connection is named by what it connects."""
    word, name = _word(resource.type), _snake(resource.logical_id)
    others = [mapping(target)["subject"] for target in link.values()]
    if others and (resource.type in CONNECTIONS or len(name) > 40):
        return f"{others[0]}_{word}"
    return name if len(name) <= 40 else word


def _word(type_: str) -> str:
    return WORDS.get(type_) or _snake(type_.rpartition("::")[2])


def _about(resource: Resource, link: Mapping[str, JSON]) -> str:
    """How a resource is found, as a text that continues "no resource is"."""
    word = spoken(_word(resource.type))
    if "referred_by" in link:
        return f"the {word} that the {_spoken(link['referred_by'])} refers to"
    if "refers_to" in link:
        return f"the {word} that refers to the {_spoken(link['refers_to'])}"
    return f"the {word}"


def _spoken(link: JSON) -> str:
    return spoken(str(mapping(link)["subject"]))


def leaves(value: Value, path: str = "") -> Iterator[tuple[str, Value]]:
    """Every scalar, and every empty object, with its path; `*` for any item."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            if "." not in str(key):
                yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{path}.*")
    else:
        yield path, value


def _snake(logical_id: str) -> str:
    """A logical id as a subject's name, without the hash that CDK adds."""
    text = re.sub(r"(?<=\w)[0-9A-F]{8}$", "", logical_id)
    text = text.replace("GraphQL", "Graphql")
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text).lower()
    text = re.sub(r"[^a-z0-9]+", "_", text).strip("_")
    return text if text[:1].isalpha() else f"the_{text}"


def own_name(assembly: Assembly, resource: Resource) -> str | None:
    """A resource's physical name; None where its type has none, or it is not known."""
    path = name_property(resource.type)
    return assembly.text(resource.get(path)) or None if path else None
