"""Which resource a value denotes: by a reference, or by its name, URL or ARN written out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter

from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Ref, Unknown, Value, refs_in
from compliance.template.physical_names import FORMS, dig, name_of

FUNCTION = "AWS::Lambda::Function"
QUALIFIED = ("AWS::Lambda::Alias", "AWS::Lambda::Version")
MAX_ARN = 1000  # characters; with placeholders for what is not known it is longer than AWS's own limit


def denoted(assembly: Assembly, value: Value, *types: str) -> Resource | None:
    """The resource of one of these types that a value denotes, None where there is none."""
    if isinstance(value, Ref):
        resource = assembly.resource(value)
        if resource and resource.type in types:
            return resource
        if resource and FUNCTION in types and resource.type in QUALIFIED:
            return denoted(assembly, resource.get("FunctionName"), FUNCTION)
    text = assembly.text(value)
    if not text:
        return None
    found = next((r for r in assembly.once(_by_text).get(text, ()) if r.type in types), None)
    if found is None and FUNCTION in types:
        found = _function(assembly, text)
    if found is None and "/stream/" in text:
        return denoted(assembly, text.partition("/stream/")[0], *types)
    return found


def arn_of(resource: Resource) -> Ref:
    """The reference to a resource's ARN."""
    attribute = "TopicArn" if resource.type == "AWS::SNS::Topic" else "Arn"
    return Ref(resource.stack.name, resource.logical_id, attribute)


def holder_of(assembly: Assembly, arn: str) -> Resource | None:
    """The resource that an ARN names, or what it names is part of: an object's bucket, an index's table."""
    found = assembly.once(_by_arn)
    while arn not in found:
        cut = max(arn.rfind("/"), arn.rfind(":"))
        if cut <= 0:
            return None
        arn = arn[:cut]
    return found[arn]


def _by_arn(assembly: Assembly) -> Mapping[str, Resource]:
    found: dict[str, Resource] = {}
    for resource in assembly.resources(*FORMS):
        text = assembly.text(arn_of(resource))
        if text:
            found.setdefault(text.removesuffix(":*"), resource)
    return found


def _function(assembly: Assembly, text: str) -> Resource | None:
    """The function that a partial ARN (account:function:name) or a text with a qualifier denotes."""
    functions = assembly.once(_functions)
    ends = (match.start() for match in re.finditer(r":|\Z", text[: MAX_ARN + 1]))
    found = [functions[text[:end]] for end in ends if text[:end] in functions]
    return min(found, key=itemgetter(0))[1] if found else None


def _functions(assembly: Assembly) -> Mapping[str, tuple[int, Resource]]:
    """Every function, numbered in their order, by each text that denotes it unqualified."""
    found: dict[str, tuple[int, Resource]] = {}
    for number, function in enumerate(assembly.resources(FUNCTION)):
        account = assembly.text(function.stack.pseudo("AWS::AccountId"))
        name, whole = assembly.text(function.ref), assembly.text(arn_of(function))
        for own in filter(None, (name, whole, name and f"{account}:function:{name}")):
            if len(own) <= MAX_ARN:
                found.setdefault(own, (number, function))
    return found


def _by_text(assembly: Assembly) -> Mapping[str, Sequence[Resource]]:
    """Every resource by each text that denotes it."""
    found: dict[str, list[Resource]] = {}
    for resource in assembly.resources(*FORMS):
        for attribute in (None, *FORMS[resource.type].attributes):
            text = assembly.text(Ref(resource.stack.name, resource.logical_id, attribute))
            if text:
                found.setdefault(text, []).append(resource)
    return found


def leaves(value: Value, path: str = "") -> Iterator[Value]:
    """Every scalar at a dotted path or below it, and what is unknown on the way."""
    step, _, rest = path.partition(".")
    if isinstance(value, Unknown):
        yield value
    elif path:
        for item in dig(value, step):
            yield from leaves(item, rest)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def denotes(assembly: Assembly, value: Value, target: Resource) -> bool:
    """Whether a value refers to a resource: is it, or has it as a part (`.../functions/${Arn}/invocations`).

    Written out, its ARN or URL counts anywhere in a text, its name where it stands between `/` or `:`
    and the text is no ARN, which would be another's.
    """
    if any(denoted(assembly, item, target.type) is target for item in (value, *refs_in(value))):
        return True
    text = assembly.text(value)
    if not text:
        return False
    wholes = (own for own in _wholes(assembly, target) if own in text)
    if any(re.search(rf"(?<![\w.-]){re.escape(own)}(?![\w.-])", text) for own in wholes):
        return True
    name = assembly.text(target.get(name_of(target.type)))
    return bool(name) and "arn:" not in text and _stands_in(str(name), text)


def _stands_in(name: str, text: str) -> bool:
    return name in text and re.search(rf"(?:^|[/:]){re.escape(name)}(?:$|[/:])", text) is not None


def _wholes(assembly: Assembly, target: Resource) -> Iterator[str]:
    """The texts that denote a resource wherever they stand: its ARN, its URL."""
    form = FORMS.get(target.type)
    if form and target.get(form.name) is not NO_VALUE:
        for attribute in (None, *form.attributes):
            text = assembly.text(Ref(target.stack.name, target.logical_id, attribute))
            if text and ":" in text.partition("${")[0]:
                yield text.removesuffix(":*")
