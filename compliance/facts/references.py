"""Which resource a value denotes, and by which kind of text: its name, ARN, URL or id.

The kind matters: an alarm takes a queue's name, a queue's policy takes its URL, an event source mapping takes
its ARN. The provider schemas say which kind a property takes, and which kind `Ref` and attributes return;
`WANTED` adds what they do not say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from operator import itemgetter

from compliance.facts.open_texts import bound
from compliance.facts.patterns import arn_fields
from compliance.facts.truth import Truth
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Ref, Text, Unknown, Value, refs_in, scalars_in
from compliance.template.paths import values
from compliance.template.physical_names import FORMS, name_of, name_places

TABLES = ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable")
FUNCTION, QUEUE, BUCKET = "AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::S3::Bucket"
MAPPING, ROLE, ALARM = "AWS::Lambda::EventSourceMapping", "AWS::IAM::Role", "AWS::CloudWatch::Alarm"
TOPIC, LOG_GROUP = "AWS::SNS::Topic", "AWS::Logs::LogGroup"
# With which CDK makes the log group of a function, and says how long that keeps what is in it.
LOG_RETENTION = "Custom::LogRetention"
KEY, ALIAS = "AWS::KMS::Key", "AWS::KMS::Alias"
OF_SECRETS = "AWS::SecretsManager::Secret"
QUALIFIED = ("AWS::Lambda::Alias", "AWS::Lambda::Version")
MAX_ARN = (
    1000  # characters, more than AWS's own limit, because placeholders are longer than what they stand for
)

Forms = frozenset[str]
ANY: Forms = frozenset()
NAME, ARN, URL = frozenset(("name",)), frozenset(("arn",)), frozenset(("url",))
# A function by its name, its ARN or a part of that, with or without a qualifier; a key by id, ARN or alias.
_FUNCTION, _KEY = NAME | ARN | {"qualified"}, ARN | {"id", "name"}
# Each from the page of its type in
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
WANTED: Mapping[tuple[str, str], Forms] = {
    ("AWS::CloudWatch::Alarm", "AlarmActions"): ARN,
    ("AWS::CloudWatch::Alarm", "InsufficientDataActions"): ARN,
    ("AWS::CloudWatch::Alarm", "OKActions"): ARN,
    ("AWS::CloudWatch::CompositeAlarm", "AlarmActions"): ARN,
    ("AWS::DynamoDB::Table", "SSESpecification.KMSMasterKeyId"): _KEY,
    ("AWS::IAM::ManagedPolicy", "Roles"): NAME,
    ("AWS::IAM::Policy", "Roles"): NAME,
    ("AWS::IAM::Role", "PermissionsBoundary"): ARN,
    ("AWS::IAM::RolePolicy", "RoleName"): NAME,
    ("AWS::KMS::Alias", "TargetKeyId"): ARN | {"id"},
    ("AWS::Lambda::EventInvokeConfig", "DestinationConfig.OnFailure.Destination"): ARN,
    ("AWS::Lambda::EventInvokeConfig", "FunctionName"): _FUNCTION,
    ("AWS::Lambda::EventSourceMapping", "DestinationConfig.OnFailure.Destination"): ARN,
    ("AWS::Lambda::EventSourceMapping", "FunctionName"): _FUNCTION,
    ("AWS::Lambda::Function", "Layers"): ARN,
    ("AWS::Lambda::Function", "LoggingConfig.LogGroup"): NAME,
    ("AWS::Lambda::Permission", "FunctionName"): _FUNCTION,
    ("AWS::Lambda::Url", "TargetFunctionArn"): _FUNCTION,
    ("AWS::S3::Bucket", "LoggingConfiguration.DestinationBucketName"): NAME,
    ("AWS::S3::BucketPolicy", "Bucket"): NAME,
    ("AWS::SNS::TopicPolicy", "Topics"): ARN,
    ("AWS::SQS::Queue", "RedriveAllowPolicy.sourceQueueArns"): ARN,
    ("AWS::SQS::QueueInlinePolicy", "Queue"): URL,
    ("AWS::SQS::QueuePolicy", "Queues"): URL,
}
_WORDS = {
    **{"arn": "ARN", "url": "URL", "id": "id", "name": "name"},
    **{"qualified": "name with a qualifier", "parts": "several parts in one text"},
}


def wanted(type_: str, path: str) -> Forms:
    """The kinds of text by which a property names a resource: `name`, `arn`, `url`, `id`; none: any kind.

    Args:
        type_: the resource type.
        path: the property's path; steps for list items (`*` or numbers) do not matter.
    """
    plain = ".".join(step for step in path.split(".") if step != "*" and not step.isdigit())
    known = WANTED.get((type_, plain), URL if plain.endswith("QueueUrl") else None)
    if known is not None:
        return known
    return frozenset(kind.form for kind in schemas.wants(type_, path))


def denoted(assembly: Assembly, value: Value, *types: str, forms: Forms = ANY) -> Resource | None:
    """The resource that a value denotes; None where there is none.

    Args:
        assembly: where resources are looked up.
        value: a reference, or a name, ARN or URL written out.
        types: the types of resources that are looked for.
        forms: the kinds of text that count. A queue's URL denotes no queue where its ARN is wanted.
    """
    found = _denoted(assembly, value, types)
    return found[0] if found and (not forms or found[1] is None or found[1] in forms) else None


def denoted_at(assembly: Assembly, holder: Resource, path: str, value: Value, *types: str) -> Resource | None:
    """The resource that a property's value denotes, by a kind of text that the property takes.

    Args:
        assembly: where resources are looked up.
        holder: the resource with the property.
        path: the property's path.
        value: the value.
        types: the types of resources that are looked for.
    """
    found = denoted(assembly, value, *types, forms=wanted(holder.type, path))
    return found or named_at(assembly, holder, path, value, *types)


def named_at(assembly: Assembly, holder: Resource, path: str, value: Value, *types: str) -> Resource | None:
    """The resource whose name is written out at a property that takes names; arguments as of `denoted_at`."""
    text = assembly.text(value)
    named = [r for r in assembly.cached(_by_stated_name).get(text or "", ()) if r.type in types]
    if not named:
        return None
    forms = wanted(holder.type, path)
    if forms and not forms & {"name", "id"}:
        return None
    if len(types) > 1:
        # The property's name says which of the types it names: EventBusName, GlobalClusterIdentifier.
        last = re.sub("(Name|Identifier|Id)s?$", "", path.removesuffix(".*").rpartition(".")[2])
        named = [r for r in named if last and r.type.endswith(last)]
    return named[0] if len(named) == 1 else None


def misfit(assembly: Assembly, value: Value, forms: Forms, *types: str) -> str | None:
    """In words, the kind of text by which a value denotes a resource, where that is not a wanted kind."""
    found = _denoted(assembly, value, types)
    if found is None or found[1] is None or not forms or found[1] in forms:
        return None
    return f"the {word_of(found[0].type)}'s {_WORDS[found[1]]}"


def in_words(forms: Forms) -> str:
    """Kinds of text in words: `its ARN or name`."""
    return "its " + " or ".join(sorted(_WORDS[form] for form in forms - {"qualified"}))


def word_of(type_: str) -> str:
    """A resource type in words: `log group`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type_.rpartition("::")[2]).lower()


def _denoted(assembly: Assembly, value: Value, types: Sequence[str]) -> tuple[Resource, str | None] | None:
    """The resource that a value denotes, and the kind of text that the value is, where that is known."""
    value = without_stack(value)
    if isinstance(value, Ref):
        resource = assembly.resource(value)
        if resource and resource.type in types:
            kind = schemas.gives(resource.type, value.attribute)
            return resource, kind.form if kind else None
        if resource and FUNCTION in types and resource.type in QUALIFIED:
            function = denoted(assembly, resource.get("FunctionName"), FUNCTION)
            return (function, "arn") if function else None
    text = assembly.text(value)
    if not text:
        return None
    if KEY in types and ALIAS not in types and (key := _behind_alias(assembly, value, text)):
        return key, "name"
    known = assembly.cached(_by_text).get(text, ())
    if found := [resource for resource in known if resource.type in types]:
        same = {form for attribute, form in _texts_of(found[0].type) if text in _texts(found[0], attribute)}
        return found[0], same.pop() if len(same) == 1 else None
    if KEY in types and ALIAS in types and (key := _behind_alias(assembly, value, text)):
        return key, "name"
    if FUNCTION in types and (function := _function(assembly, text)):
        return function, "arn" if ":function:" in text else "qualified"
    of_secret = _OF_SECRET.fullmatch(text) if OF_SECRETS in types else None
    if of_secret and (secret := _denoted(assembly, of_secret[1], (OF_SECRETS,))):
        return secret[0], "parts"
    if "/stream/" in text:
        return _denoted(assembly, text.partition("/stream/")[0], types)
    if isinstance(value, str) and isinstance(named := bound(text), Ref):  # a reference, written as text
        return _denoted(assembly, named, types)
    # The ARN of a resource of another type is no other resource's.
    written = _by_written_arn(assembly, text, types) if text.startswith("arn:") and not known else None
    return (written, "arn") if written else None


def without_stack(value: Value) -> Value:
    """The reference in `dualstack.${Balancer.DNSName}`, a load balancer's name; any other value as it is."""
    parts = value.parts if isinstance(value, Text) else ()
    return parts[1] if len(parts) == 2 and parts[0] == "dualstack." else value


# Words of ARNs for services and kinds of resources, and the words of type names for the same.
_SERVICES = {
    "cognito-idp": "cognito",
    "elasticfilesystem": "efs",
    "es": "opensearchservice",
    "firehose": "kinesisfirehose",
    "kafka": "msk",
    "states": "stepfunctions",
}
_KINDS = {"db": "dbinstance", "subgrp": "dbsubnetgroup", "pg": "dbparametergroup"}
# Properties that ARNs have instead of the physical name.
_IN_ARNS = {"AWS::IAM::OIDCProvider": ("Url",), "AWS::IAM::ManagedPolicy": ("ManagedPolicyName",)}


def _by_written_arn(assembly: Assembly, arn: str, types: Sequence[str] = ()) -> Resource | None:
    """The resource whose ARN is written out with its name, of a type (any) that has no form in `FORMS`."""
    named, within = assembly.cached(_by_stated_name), assembly.cached(_by_name_within)
    rest = (arn_fields(arn) + [""] * 5)[5]
    for start in (0, *(match.end() for match in re.finditer("[/:]", rest))):
        name = rest[start:]
        of_types = [r for r in (*named.get(name, ()), *within.get(name, ())) if not types or r.type in types]
        if not of_types:
            continue
        words = re.split("[/:]", rest[:start])  # the last is empty
        fits = [resource for resource in of_types if _is_of(arn, resource, by_ref=name.startswith("${"))]
        fits = [r for r in fits if not start or _is_kind(words, r.type)]
        fits = [r for r in fits if all((assembly.text(r.get(p)) or "") in words for p in _around(r.type))]
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None


def _is_kind(words: Sequence[str], type_: str) -> bool:
    """Whether the words before the name in an ARN say a kind of resource that is this type."""
    word = re.sub(r"[^a-z]", "", words[-2 if _around(type_) else 0].lower())
    return _KINDS.get(word, word).removesuffix("s") in type_.rpartition("::")[2].lower()


@cache
def _around(type_: str) -> tuple[str, ...]:
    """The properties that name what a resource is in, where they identify it together with its own name."""
    ids = schemas.identifier(type_)
    if name_places(type_) or schemas.read_only(type_).intersection(ids):
        return ()
    return tuple(name for name in ids if name != _own(type_))


@cache
def _own(type_: str) -> str | None:
    """Which of the properties that identify a resource is its own name: the one called after its type."""
    ids = schemas.identifier(type_)
    after = (n for n in ids if n.endswith("Name") and type_.endswith(n.removesuffix("Name")))
    return next(after, ids[-1] if ids else None)


def is_named_within(assembly: Assembly, text: str, target: Resource) -> Truth:
    """Whether a text is the name of a resource that is unique within another one, as of a database's tables.

    Unknown where a resource of the same type has that name in another place.
    """
    path = _own(target.type) if _around(target.type) else None
    if not path or not path.endswith("Name") or not target.type.endswith(path.removesuffix("Name")):
        return False
    of_type = assembly.resources(target.type)
    named = [resource for resource in of_type if assembly.text(resource.get(path)) == text]
    several = Unknown(f"several are called {text}, of which {target.logical_id} is one")
    return target in named and (len(named) == 1 or several)


def _by_name_within(assembly: Assembly) -> Mapping[str, Sequence[Resource]]:
    """Resources whose names are unique within another one, such as a database's tables, by these names."""
    found: dict[str, list[Resource]] = {}
    for resource in assembly.resources():
        if _around(resource.type):
            name = assembly.text(resource.get(_own(resource.type) or ""))
            found.setdefault(name or "", []).append(resource)
    return found


def _by_stated_name(assembly: Assembly) -> Mapping[str, Sequence[Resource]]:
    """Resources by the texts that may stand for them in an ARN: their names, `Ref`, and ids."""
    found: dict[str, list[Resource]] = {}
    for resource in assembly.resources():
        if resource.type in FORMS:
            continue
        names = {assembly.text(resource.get(path)) for path in _names_in_arns(resource.type)}
        names |= {assembly.text_of(resource, attribute) for attribute in (None, *_ids(resource.type))}
        for name in names:
            if name:  # the ARN of an OIDC provider has its address without the scheme
                found.setdefault(name.removeprefix("https://"), []).append(resource)
    return found


@cache
def _names_in_arns(type_: str) -> tuple[str, ...]:
    """The properties of a type whose values stand for a resource in its ARN."""
    own = schemas.identifier(type_)
    return _IN_ARNS.get(type_) or (*name_places(type_), *(own if len(own) == 1 else ()))


@cache
def _ids(type_: str) -> tuple[str, ...]:
    """The attributes of a type that are names or ids of its resources."""
    kinds = {name: schemas.gives(type_, name) for name in schemas.read_only(type_)}
    ids = (
        name for name, kind in kinds.items() if kind and kind.type == type_ and kind.form in ("id", "name")
    )
    return tuple(sorted(name for name in ids if "." not in name))


def arn_of(resource: Resource) -> Ref:
    """The reference to a resource's ARN."""
    return Ref(resource.stack.name, resource.logical_id, _arn_attribute(resource.type))


@cache
def _arn_attribute(type_: str) -> str | None:
    """The attribute that is the ARN of a type's resources, by the schemas; None where `Ref` is the ARN."""
    if type_ in FORMS:
        return "TopicArn" if type_ == "AWS::SNS::Topic" else "Arn"
    ref = schemas.gives(type_)
    if ref and ref.form == "arn":
        return None
    known = sorted(schemas.read_only(type_))
    return next((name for name in ("Arn", *known) if name in known and name.endswith("Arn")), "Arn")


_OF_SECRET = re.compile(r"(.+?[^:])(?::[^:]*){3}")  # a key of a secret: `${Secret}:password:AWSCURRENT:`
_LAST = re.compile(r"[/:](\$\{[^}]+\}|[^/:${}]+)$")


@cache
def _arn_attributes(type_: str) -> tuple[str | None, ...]:
    """What may stand for the ARN of a resource of a type without a form: attributes, and `Ref` (None)."""
    more = ["Arn"] if "Arn" in schemas.read_only(type_) else []
    return tuple(dict.fromkeys((_arn_attribute(type_), None, *more)))


def holder_of(assembly: Assembly, arn: str) -> Resource | None:
    """The resource that an ARN names, or that contains what it names: an object's bucket."""
    others, last = assembly.cached(_by_arn), _LAST.search(arn)
    by_name = others.get(last[1]) if last else None
    if by_name and _is_of(arn, by_name):
        return by_name
    while True:
        for resource in assembly.cached(_by_text).get(arn, ()):
            if arn in _texts(resource, _arn_attribute(resource.type)):
                return resource
        if found := others.get(arn) or _by_written_arn(assembly, arn):
            return found
        cut = max(arn.rfind("/"), arn.rfind(":"))
        if cut <= 0:
            return None
        arn = arn[:cut]


def _is_of(arn: str, resource: Resource, *, by_ref: bool = False) -> bool:
    """Whether an ARN has the service, region and account of a resource.

    With `by_ref`, a reference to the resource is part of the ARN, so region and account need not be compared.
    """
    fields = arn_fields(arn)
    service = resource.type.split("::")[1].lower() if "::" in resource.type else ""
    if len(fields) < 6 or _SERVICES.get(fields[2], fields[2]) != service:
        return False
    if by_ref:
        return True
    pseudo, text = resource.stack.pseudo, resource.stack.assembly.text
    place = (text(pseudo(f"AWS::{name}")) or "" for name in ("Region", "AccountId"))
    return all(field in ("", "*", name) for field, name in zip(fields[3:5], place, strict=True))


def _by_arn(assembly: Assembly) -> Mapping[str, Resource]:
    """Resources of types without a form by what may be their ARN; for the others see `_by_text`."""
    found: dict[str, Resource] = {}
    for resource in assembly.resources():
        if resource.type in FORMS:
            continue
        for attribute in _arn_attributes(resource.type):
            text = assembly.text_of(resource, attribute)
            if text:
                found.setdefault(text.removesuffix(":*"), resource)
    return found


def unknown_qualifier(assembly: Assembly, value: Value, function: Resource) -> str | None:
    """The alias or version in a value that names a function; None where it is the code in these stacks.

    Args:
        assembly: where aliases are looked up.
        value: what names the function.
        function: the function.
    Returns: the qualifier where no stack has such an alias, or the alias has a version that is written out.
    """
    if isinstance(value, Ref):
        named = assembly.resource(value)
        return _other_version(assembly, named) if named and named.type == "AWS::Lambda::Alias" else None
    text, name = assembly.text(value) or "", assembly.text(function.ref) or ""
    before, _, qualifier = text.rpartition(":")
    if not name or not before.endswith(name) or qualifier == "$LATEST":
        return None
    for alias in assembly.resources("AWS::Lambda::Alias"):
        of = denoted(assembly, alias.get("FunctionName"), FUNCTION)
        if of is function and assembly.text(alias.get("Name")) == qualifier:
            return _other_version(assembly, alias)
    return qualifier


def _other_version(assembly: Assembly, alias: Resource) -> str | None:
    """The version that an alias names by its number, of which no template shows the code."""
    version = alias.get("FunctionVersion")
    text = assembly.text(version)
    return None if isinstance(version, Ref) or text in (None, "$LATEST") else f"{alias.logical_id} of {text}"


def _function(assembly: Assembly, text: str) -> Resource | None:
    """The function that a partial ARN (account:function:name) or a text with a qualifier denotes."""
    functions = assembly.cached(_functions)
    ends = (match.start() for match in re.finditer(r":|\Z", text[: MAX_ARN + 1]))
    found = [functions[text[:end]] for end in ends if text[:end] in functions]
    return min(found, key=itemgetter(0))[1] if found else None


def _functions(assembly: Assembly) -> Mapping[str, tuple[int, Resource]]:
    """By each text without a qualifier that denotes a function: its number in the templates, and itself."""
    found: dict[str, tuple[int, Resource]] = {}
    for number, function in enumerate(assembly.resources(FUNCTION)):
        account = assembly.text(function.stack.pseudo("AWS::AccountId"))
        name, arn = assembly.text(function.ref), assembly.text(arn_of(function))
        for text in filter(None, (name, arn, name and f"{account}:function:{name}")):
            if len(text) <= MAX_ARN:
                found.setdefault(text, (number, function))
    return found


@cache
def _texts_of(type_: str) -> Sequence[tuple[str | None, str | None]]:
    """What denotes a resource of a type: `Ref` (None) and attributes, each with its kind of text."""
    attributes = (None, *FORMS[type_].attributes)
    kinds = ((attribute, schemas.gives(type_, attribute)) for attribute in attributes)
    return tuple((attribute, kind.form if kind else None) for attribute, kind in kinds)


def _texts(resource: Resource, attribute: str | None) -> tuple[str, ...]:
    """The texts of `Ref` (None) or an attribute; a log group's ARN is written with and without `:*`."""
    text = resource.stack.assembly.text_of(resource, attribute)
    if not text:
        return ()
    return (text, text.removesuffix(":*")) if ":*" in text and text.endswith(":*") else (text,)


def _by_text(assembly: Assembly) -> Mapping[str, Sequence[Resource]]:
    """Every resource by each text that denotes it."""
    found: dict[str, tuple[Resource, ...]] = {}
    for resource in assembly.resources(*FORMS):
        alone = (resource,)
        for attribute, _ in _texts_of(resource.type):
            for text in _texts(resource, attribute):
                if text not in found:
                    found[text] = alone
                elif found[text][-1] is not resource:
                    found[text] += alone
    return found


def region_of(resource: Resource) -> Value:
    """The region of a resource: a name denotes only resources of the same region."""
    stated = resource.get("LogGroupRegion") if resource.type == LOG_RETENTION else NO_VALUE
    return resource.stack.pseudo("AWS::Region") if stated is NO_VALUE else stated


def leaves(value: Value, path: str = "") -> Iterator[Value]:
    """Every scalar at a dotted path or below it, and each unknown value on the way."""
    for item in values(value, path) if path else (value,):
        yield from scalars_in(item)


def key_of(assembly: Assembly, value: Value) -> Resource | None:
    """The KMS key of these stacks that a value denotes, directly or by an alias."""
    return denoted(assembly, value, KEY)


def _behind_alias(assembly: Assembly, value: Value, text: str) -> Resource | None:
    """The key that an alias stands for: by reference, by its name, or by its ARN."""
    found = denoted(assembly, value, ALIAS)
    if found is None and (alias := re.fullmatch(r"arn:.*:(alias/.+)", text)):
        named = denoted(assembly, alias[1], ALIAS)
        found = named if named and _is_of(text, named, by_ref=False) else None
    key = denoted(assembly, found.get("TargetKeyId"), KEY, ALIAS) if found else None
    return key if key and key.type == KEY else None  # KMS has no alias of an alias


def denotes(assembly: Assembly, value: Value, target: Resource) -> bool:
    """Whether a value denotes a resource, or contains what does (`.../functions/${Arn}/invocations`).

    The resource's ARN or URL may be written out anywhere in a text. Its name counts between `/` or `:` in a
    text that is no ARN, because the ARN of another resource may contain the same name.
    """
    if any(denoted(assembly, item, target.type) is target for item in (value, *refs_in(value))):
        return True
    text = assembly.text(value)
    if not text:
        return False
    unique = (part for part in _unique_texts(assembly, target) if part in text)
    if any(re.search(rf"(?<![\w.-]){re.escape(part)}(?![\w.-])", text) for part in unique):
        return True
    if target.type not in FORMS and text.startswith(("arn:", "${")) and holder_of(assembly, text) is target:
        return True
    name = assembly.text(target.get(name_of(target.type)))
    return bool(name) and "arn:" not in text and _stands_in(str(name), text)


def _stands_in(name: str, text: str) -> bool:
    return name in text and re.search(rf"(?:^|[/:]){re.escape(name)}(?:$|[/:])", text) is not None


def _unique_texts(assembly: Assembly, target: Resource) -> Iterator[str]:
    """The texts that denote a resource wherever they stand, because no other has them: its ARN, its URL."""
    form = FORMS.get(target.type)
    if form and target.get(form.name) is not NO_VALUE:
        for attribute in (None, *form.attributes):
            text = assembly.text_of(target, attribute)
            if text and ":" in text.partition("${")[0]:
                yield text.removesuffix(":*")
