"""Expands AWS's own macros, as CloudFormation does before it deploys a template.

AWS's translator, which the service itself runs, expands `AWS::Serverless-2016-10-31` (extra `sam`). This
module expands `AWS::LanguageExtensions`, because cfn-lint's implementation invents values that it does not
know. Where the result of a macro depends on an unknown value, this module raises an error or leaves an
unknown value.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/transform-aws-languageextensions.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from compliance.json_data import JSON, as_array, as_mapping, mapping
from compliance.model import InputError
from compliance.text import one_line, truncated

if TYPE_CHECKING:
    from compliance.template.intrinsics import Value
    from compliance.template.resolver import Resolver

LANGUAGE, SERVERLESS = "AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"
LOOP = "Fn::ForEach::"
MOST_ITEMS = 1000  # that one loop may make
# A bucket in the place of code beside the template, because the translator accepts only code in S3.
LOCAL = "beside-the-template.invalid"
# By SAM type, the property that may name a local file.
_FILES = {
    "Function": "CodeUri",
    "LayerVersion": "ContentUri",
    "Api": "DefinitionUri",
    "HttpApi": "DefinitionUri",
    "StateMachine": "DefinitionUri",
}

Origins = dict[str, str]  # by logical id, the key under Resources that it was made of


def expand(
    template: dict[str, JSON], resolver: Resolver, region: str | None
) -> tuple[dict[str, JSON], Origins]:
    """Expands AWS's macros in a template.

    Args:
        template: as it was written; it is not changed.
        resolver: resolves values of that template.
        region: the one that the translator makes ARNs for.
    Returns: the expanded template (the template itself where it names no macro of AWS), and the origin of
        each new resource.
    Raises: InputError (a message without the file) where a macro cannot be expanded faithfully.
    """
    named = template.get("Transform", [])
    names = named if isinstance(named, list) else [named]
    known = [name for name in names if isinstance(name, str) and name in (LANGUAGE, SERVERLESS)]
    if not known or not isinstance(template.get("Resources"), dict):
        return template, {}
    made: dict[str, JSON] = json.loads(json.dumps(template))  # the translator changes parts that are shared
    origins: Origins = {}
    for name in known:
        before = list(mapping(made["Resources"]))
        made = (
            _Extensions(resolver).template(made) if name == LANGUAGE else _serverless(made, resolver, region)
        )
        fresh = {key: _origin(key, before) for key in as_mapping(made.get("Resources")) if key not in before}
        origins |= {key: origins.get(origin, origin) for key, origin in fresh.items() if origin}
    rest = [name for name in names if name not in known]
    made.pop("Transform", None)
    return (made | {"Transform": rest} if rest else made), origins


def _origin(key: str, before: Sequence[str]) -> str | None:
    """The origin of a resource: the one whose name begins its own, or else the first loop."""
    loops = (name for name in before if name.startswith(LOOP))
    names = sorted((name for name in before if key.startswith(name)), key=len)
    return names[-1] if names else next(loops, None)


# AWS::LanguageExtensions


class _Extensions:
    """Expands `AWS::LanguageExtensions`: loops, and functions in the place of names."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def template(self, template: dict[str, JSON]) -> dict[str, JSON]:
        sections = ("Conditions", "Resources", "Outputs")
        return template | {
            name: self.walk(template[name], {}) for name in sections if isinstance(template.get(name), dict)
        }

    def walk(self, node: JSON, names: Mapping[str, str]) -> JSON:
        """A part of the template with its loops expanded; `names` are the values of their identifiers."""
        if isinstance(node, str):
            return _replaced(node, names)
        if isinstance(node, list):
            return [self.walk(item, names) for item in node]
        if not isinstance(node, dict):
            return node
        name = node.get("Ref") if len(node) == 1 else None
        if isinstance(name, str) and name in names:
            return names[name]
        made: dict[str, JSON] = {}
        for key, value in node.items():
            several = self.loop(key, value, names) if key.startswith(LOOP) else None
            for name, item in (several or {_replaced(key, names): self.walk(value, names)}).items():
                if name in made:
                    raise InputError(f"{key}: makes {name} twice")
                made[name] = item
        return self.with_resolved_names(made)

    def loop(self, key: str, value: JSON, names: Mapping[str, str]) -> dict[str, JSON]:
        if not isinstance(value, list) or len(value) != 3 or not isinstance(value[2], dict):
            raise InputError(f"{key}: wants an identifier, a collection and what it makes")
        if not isinstance(value[0], str):
            raise InputError(f"{key}: its identifier is no text")
        made: dict[str, JSON] = {}
        for item in self.collection(key, value[1], names):
            for name, body in mapping(self.walk(value[2], {**names, value[0]: item})).items():
                if name in made:
                    raise InputError(f"{key}: makes {name} twice")
                made[name] = body
                if len(made) > MOST_ITEMS:
                    raise InputError(f"{key}: makes more than {MOST_ITEMS} entries")
        return made

    def collection(self, key: str, node: JSON, names: Mapping[str, str]) -> list[str]:
        found = self.resolver.resolve(self.walk(node, names))
        items: list[Value] | None = [] if isinstance(found, list) else None
        for part in found if isinstance(found, list) else ():
            items = [*(items or []), *(part if isinstance(part, list) else [part])]
        known = [str(item) for item in items or [] if isinstance(item, str | int)]
        if items is None or len(known) < len(items):
            from compliance.template.intrinsics import show

            raise InputError(f"{key}: what it goes over is not known: {show(found)}; give it a value")
        return known

    def with_resolved_names(self, node: dict[str, JSON]) -> JSON:
        """A Ref or Fn::GetAtt whose names are functions, with these resolved; any other node as it is."""
        if len(node) != 1:
            return node
        (function, argument), *_ = node.items()
        if function == "Ref" and isinstance(argument, dict):
            name = self.resolver.resolve(argument)
            return {function: name} if isinstance(name, str) else _unknown(LANGUAGE, function)
        parts = as_array(argument) if function == "Fn::GetAtt" else []
        if not any(isinstance(part, dict) for part in parts):
            return node
        found = [self.resolver.resolve(part) for part in parts]
        names = [part for part in found if isinstance(part, str)]
        return {function: [*names]} if len(names) == len(found) else _unknown(LANGUAGE, function)


def _replaced(text: str, names: Mapping[str, str]) -> str:
    """A text with a loop's identifiers filled in: `${Name}` in full, `&{Name}` by letters and digits."""
    for name, item in names.items():
        text = text.replace("${" + name + "}", item)
        text = text.replace("&{" + name + "}", re.sub("[^A-Za-z0-9]", "", item))
    return text


def _unknown(macro: str, what: str) -> dict[str, JSON]:
    """A function that the resolver reads as a value that only the deployment decides."""
    return {"Fn::Transform": {"Name": macro, "Parameters": {"of": what}}}


# AWS::Serverless-2016-10-31


def _serverless(template: dict[str, JSON], resolver: Resolver, region: str | None) -> dict[str, JSON]:
    if find_spec("samtranslator") is None:
        raise InputError(
            f"Transform: {SERVERLESS} is expanded by AWS's translator: pip install 'cdk-compliance-gate[sam]'"
        )
    import logging

    from samtranslator.model.exceptions import InvalidDocumentException  # type: ignore[import-untyped]
    from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
    from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

    values = {name: resolver.resolve({"Ref": name}) for name in as_mapping(template.get("Parameters"))}
    plain = {name: value for name, value in values.items() if isinstance(value, str | int | float | list)}
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)  # the error has the same message
    translator = Translator(_policies(), Parser(), boto_session=_Session(region or "us-east-1"))
    try:
        made: JSON = translator.translate(_uploaded(template), plain)
    except InvalidDocumentException as error:
        raise InputError(f"Transform: {SERVERLESS} refuses it: {_cause(error)}") from None
    except Exception as error:  # it checks little, and so breaks on malformed templates
        raise InputError(f"Transform: {SERVERLESS} breaks at it: {type(error).__name__}: {error}") from None
    finally:
        translator.metrics.publish()  # sends nothing; without it the translator warns on stderr
    return mapping(_without_local(made))


def _cause(error: Exception) -> str:
    causes = [str(getattr(cause, "message", cause)) for cause in getattr(error, "causes", ())]
    return truncated(one_line("; ".join(causes or [str(error)])), 300)


class _Session:
    """What the translator reads of a boto3 session. A real one would take the machine's region."""

    def __init__(self, region: str) -> None:
        self.region_name = region


def _policies() -> Mapping[str, str]:
    """The ARNs of AWS's managed policies by name, which the translator packages."""
    from samtranslator.internal.managed_policies import (  # type: ignore[import-untyped]
        get_bundled_managed_policy_map,
    )

    return get_bundled_managed_policy_map("aws") or {}


def _uploaded(template: dict[str, JSON]) -> dict[str, JSON]:
    """The template with local files replaced by objects in S3, which is all that the translator accepts."""
    sections = template.get("Globals")
    owners = [
        (type_, section.get(type_)) for type_ in _FILES for section in [sections] if isinstance(section, dict)
    ]
    for raw in mapping(template["Resources"]).values():
        if isinstance(raw, dict):
            _set_aside(raw)
            owners.append((str(raw.get("Type")).removeprefix("AWS::Serverless::"), raw.get("Properties")))
    for type_, properties in owners:
        name = _FILES.get(type_)
        if name and isinstance(properties, dict):
            value = properties.get(name)
            if isinstance(value, str) and not value.startswith("s3://"):
                properties[name] = f"s3://{LOCAL}/{value.strip('./') or 'folder'}"
    return template


def _set_aside(raw: dict[str, JSON]) -> None:
    """Replaces what the translator would ask AWS for (an application) or build (an image)."""
    properties = raw.get("Properties")
    if not isinstance(properties, dict):
        return
    if raw.get("Type") == "AWS::Serverless::Application" and isinstance(properties.get("Location"), dict):
        raw["Type"] = "AWS::CloudFormation::Stack"
        raw["Properties"] = {"TemplateURL": _unknown(SERVERLESS, "an application of AWS's repository")}
    if raw.get("Type") == "AWS::Serverless::Function" and properties.get("PackageType") == "Image":
        properties.setdefault("ImageUri", LOCAL)


def _without_local(node: JSON) -> JSON:
    """The translator's result, with an unknown value in the place of each local file."""
    if isinstance(node, list):
        return [_without_local(item) for item in node]
    if not isinstance(node, dict):
        return node
    if LOCAL in (node.get("S3Bucket"), node.get("Bucket"), node.get("ImageUri")):
        return _unknown(SERVERLESS, "code beside the template")
    return {key: _without_local(value) for key, value in node.items()}
