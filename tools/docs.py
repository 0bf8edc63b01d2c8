"""`python -m tools.docs` writes the parts of docs/ that are made of code and of requirements.yaml.

A kind's page is made of its parameters' docstring, and of an example in kinds.yaml; the tests run each.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec
import yaml
from click.testing import CliRunner

from compliance import rules
from compliance.cli import main as cli
from compliance.document import requirements as document
from compliance.document.requirements import Category, Document, Requirement
from compliance.facts.subjects import Clue, Link, Subject, known
from compliance.handlers.laws.table import LAWS
from compliance.json_data import mapping
from compliance.rules import KINDS, Kind
from compliance.scanners.finding_status import scanners_rules
from compliance.template.source import read_yaml
from tools import costs, generality

MADE = "<!-- Made by `make docs`; edit what it is made of. -->"
EXAMPLES = Path(__file__).with_name("kinds.yaml")
FLEET = re.compile(r"\$ compliance (fleet .*)\n[^`]*")
DAY = "2026-11-25"
COUNTED = ("deploying.md", "scanners.md")  # pages with totals of today
CONTROLS = Path(__file__).with_name("controls.yaml")
SCANNED = {"AwsSolutions-S1", "CKV_AWS_18"}  # rules of scanners that no requirement is about
WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def pages() -> dict[str, str]:
    """Each page that is made, by its name."""
    own = document.load()
    rules.bind(own)
    made = {"requirements.md": requirements(own), "kinds.md": kinds(own), "controls.md": controls(own)}
    return made | {"generality.md": generality.page()}


def main(folder: Path = Path("docs")) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    fleet = folder / "fleet.md"
    fleet.write_text(with_output(fleet.read_text(encoding="utf-8")), encoding="utf-8")
    pipeline = folder / "pipeline.md"
    pipeline.write_text(costs.page(pipeline.read_text(encoding="utf-8")), encoding="utf-8")
    for name in COUNTED:
        page = folder / name
        page.write_text(with_totals(page.read_text(encoding="utf-8")), encoding="utf-8")


def with_totals(text: str) -> str:
    """A page that counts the requirements of today, which no scanner confirms, and the stack's resources."""
    own = document.load()
    unconfirmed = [requirement.id for requirement in own.requirements if not scanners_rules(requirement)]
    hardening = sum(_category(own, requirement).hardening for requirement in own.requirements)
    scored, resources = len(own.requirements) - hardening, len(costs.template()["Resources"])
    judged = f"GREEN {scored}/{scored} requirements, {hardening}/{hardening} hardening"
    text = re.sub(r"GREEN \d+/\d+ requirements, \d+/\d+ hardening", judged, text)
    text = re.sub(r"backend, \d+ resources", f"backend, {resources} resources", text)
    text = re.sub(r"Of the \d+ requirements", f"Of the {len(own.requirements)} requirements", text)
    text = re.sub(r"can confirm these \d+;", f"can confirm these {len(unconfirmed)};", text)
    return re.sub(r"(?m)^ARC-01, .*\.$", f"{', '.join(unconfirmed)}.", text)


def with_output(text: str) -> str:
    """A page whose first example of `compliance fleet` shows what it prints today."""

    def shown(match: re.Match[str]) -> str:
        arguments = [*match[1].split(), "--as-of", DAY]
        return f"$ compliance {match[1]}\n{CliRunner().invoke(cli, arguments, env={'NO_COLOR': '1'}).stdout}"

    return FLEET.sub(shown, text, count=1)


# Requirements


def requirements(own: Document) -> str:
    return "\n".join(_requirements(own)) + "\n"


def _requirements(own: Document) -> Iterator[str]:
    scored = [r for r in own.requirements if not _category(own, r).hardening]
    yield from (f"# The requirements of {own.title[0].lower()}{own.title[1:]}", "", MADE, "")
    rest = len(own.requirements) - len(scored)
    yield f"{len(scored)} requirements, and {rest} of operational hardening, which are scored apart."
    yield "How a verdict is reached: [kinds of checks](kinds.md). How they are scored: [scoring](scoring.md)."
    for category in own.categories:
        members = [r for r in own.requirements if r.category == category.id]
        yield from ("", f"## {category.title} ({len(members)})")
        if not category.gate:
            yield from ("", "Does not affect the gate.")
        for requirement in members:
            yield ""
            yield from _requirement(requirement)


def _requirement(requirement: Requirement) -> Iterator[str]:
    yield from (f"### {requirement.id} {requirement.title}", "", requirement.text, "")
    check = yaml.safe_dump(dict(requirement.check), sort_keys=False, default_flow_style=True, width=10**6)
    kind = requirement.kind
    about = ", ".join(f"`{name}`" for name in requirement.subjects) or "the whole input"
    yield f"- Severity: {requirement.severity}"
    yield f"- About: {about}"
    yield f"- Check: [`{kind}`](kinds.md#{kind}) `{check.strip()}`"
    if requirement.source:
        yield f"- Source: {requirement.source}"
    if requirement.confirmed_by:
        yield f"- Confirmed by: {', '.join(f'`{name}`' for name in requirement.confirmed_by)}"
    yield f"- Fix: {requirement.fix}"


def _category(own: Document, requirement: Requirement) -> Category:
    return next(category for category in own.categories if category.id == requirement.category)


# Security Hub's controls


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A control, and what covers it: requirements or scanners' rules (`by`), or why nothing need (`none`)."""

    id: str
    title: str
    by: list[str] = []
    none: str | None = None


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The controls of a service, in the order of AWS's page."""

    name: str
    page: str
    controls: list[Control]


class Controls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tools/controls.yaml holds."""

    source: str
    services: list[Service]


def controls(own: Document) -> str:
    """The page of controls. Raises ValueError where one is covered by nothing, or by what is not there."""
    raw, _ = read_yaml(CONTROLS)
    return "\n".join(_controls(own, msgspec.convert(raw, Controls))) + "\n"


def _controls(own: Document, table: Controls) -> Iterator[str]:
    yield from ("# Security Hub's controls", "", MADE, "")
    yield f"Every control of [AWS Foundational Security Best Practices]({table.source}) for the services"
    yield "that the pipeline is made of, and what covers it: [requirements](requirements.md), or rules of the"
    yield "scanners."
    known = {requirement.id: requirement for requirement in own.requirements}
    rules = {name for requirement in own.requirements for name in requirement.confirmed_by} | SCANNED
    for service in table.services:
        yield from ("", f"## {service.name}", "", f"[AWS's page]({service.page})", "")
        yield from ("| control | covered by |", "| --- | --- |")
        for control in service.controls:
            unknown = [name for name in control.by if name not in known and name not in rules]
            if unknown or not (control.by or control.none):
                raise ValueError(f"{control.id}: covered by {unknown or 'nothing'}, which is not there")
            links = (_covering(name, known.get(name)) for name in control.by)
            covered = "; ".join(links) or f"nothing: {control.none}"
            yield f"| {control.id}: {control.title} | {covered} |"


def _covering(name: str, requirement: Requirement | None) -> str:
    if requirement is None:
        return f"`{name}`"
    return f"[{name}](requirements.md#{_anchor(requirement)}) {requirement.title}"


# Kinds


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A check as a document would write it, and what it is about."""

    check: dict[str, Any]
    subject: str | None = None

    def text(self) -> str:
        """It as a requirement's lines."""
        data = {"subject": self.subject} if self.subject else {}
        return yaml.safe_dump(
            {**data, "check": self.check}, sort_keys=False, default_flow_style=None, width=90
        ).strip()


def examples(kind: Kind) -> list[Example]:
    """The examples of a kind."""
    return msgspec.convert(mapping(read_yaml(EXAMPLES)[0]).get(kind.name, []), list[Example])


def kinds(own: Document) -> str:
    return "\n".join(_kinds(own)) + "\n"


def _kinds(own: Document) -> Iterator[str]:
    yield from ("# Writing requirements: the kinds of checks", "", MADE, "", INTRODUCTION.strip())
    yield from ("", "## Subjects", "", SUBJECTS.strip(), "")
    yield from _table("subject", "stands for", dict(known(own)))
    yield from ("", "A document about something else says itself what its subjects are:", "")
    yield from ("```yaml", _SUBJECTS_EXAMPLE.strip(), "```", "", _text(_doc(Subject)), "")
    yield from _parameters(Subject)
    yield from ("", "A link: " + _uncapitalised(_text(_doc(Link))), "")
    yield from _parameters(Link)
    yield from ("", "What speaks for a resource: " + _uncapitalised(_text(_doc(Clue))), "")
    yield from _parameters(Clue)
    yield from ("", "## Kinds", "", ", ".join(f"[`{name}`](#{name})" for name in sorted(KINDS)))
    for name in sorted(KINDS):
        yield from ("", f"### {name}", "")
        yield from _kind(own, KINDS[name])


def _kind(own: Document, kind: Kind) -> Iterator[str]:
    yield _text(_doc(kind.parameters))
    for example in examples(kind):
        yield from ("", "```yaml", example.text(), "```")
    if msgspec.structs.fields(kind.parameters):
        yield ""
        yield from _parameters(kind.parameters)
    for nested in _nested(kind.parameters):
        yield from ("", f"`{nested.__name__.lower()}`: {_uncapitalised(_text(_doc(nested)))}", "")
        yield from _parameters(nested)
    users = [r for r in own.requirements if r.kind == kind.name]
    if kind.name == "law":
        yield ""
        yield from _table("law", "what has to hold", {name: law.promise for name, law in LAWS.items()})
    if users:
        links = ", ".join(f"[{r.id}](requirements.md#{_anchor(r)})" for r in users)
        yield from ("", f"Used by {links}.")


def _anchor(requirement: Requirement) -> str:
    """The anchor that GitHub gives a requirement's heading."""
    heading = f"{requirement.id} {requirement.title}".lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def _parameters(struct: type[msgspec.Struct]) -> Iterator[str]:
    yield from ("| parameter | is | default |", "| --- | --- | --- |")
    for field in msgspec.structs.fields(struct):
        yield f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} |"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "wanted"
    value = field.default if field.default is not msgspec.NODEFAULT else None
    if value is None or value in ((), False, ""):
        return ""
    return f"`{value}`"


def _type(type_: Any) -> str:
    """A parameter's type in words."""
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if type_ in WORDS:
        return WORDS[type_]
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (types.UnionType, typing.Union):
        words = dict.fromkeys(_type(a) for a in arguments if a is not type(None))
        return " or ".join(words)
    if origin in (list, tuple):
        return f"a list of: {_type(arguments[0])}"
    if origin in (dict, Mapping):
        return f"a mapping: {_type(arguments[0])} to {_type(arguments[1])}"
    if type_ is rules.SubjectName:
        return "a subject"
    return f"`{getattr(type_, '__name__', str(type_)).lower()}`"


def _nested(struct: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The structures that a kind's parameters are made of."""
    found: dict[type[msgspec.Struct], None] = {}
    for field in msgspec.structs.fields(struct):
        for inner in (field.type, *typing.get_args(field.type)):
            if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                found[inner] = None
    return list(found)


def _table(left: str, right: str, rows: dict[str, str]) -> Iterator[str]:
    yield from (f"| {left} | {right} |", "| --- | --- |")
    yield from (f"| `{name}` | {text} |" for name, text in rows.items())


def _doc(type_: type) -> str:
    return cleandoc(type_.__doc__ or "")


def _text(doc: str) -> str:
    """A docstring as Markdown, each paragraph on a line."""
    paragraphs = doc.split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip())


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


INTRODUCTION = """
A requirement is an entry of a document (`compliance audit --requirements FILE`):

```yaml
- id: ERR-03
  category: errors          # one of the document's
  severity: medium          # high, medium or low
  title: DLQ hides messages 6 times as long as the audit runs
  text: The DLQ's visibility timeout is at least 6 times the audit function's timeout.
  source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
  subject: dlq              # whom it is about; a list for several
  check: {kind: ratio, left: dlq.VisibilityTimeout, at_least: 6, of: audit_function.Timeout}
  confirmed_by: [Serverless-LambdaEventSourceSQSVisibilityTimeout]   # scanners' rules that see the same
  fix: Raise the DLQ's visibility_timeout to 6 times the audit function's timeout.
```

`check` names a kind and its parameters. An unknown kind, parameter or subject is refused with file, line and
field. Values are judged as they resolve (`Ref`, `Fn::Sub`, parameters, conditions and the rest); what stays
unknown until the deployment is `not_assessed`, never a pass. Each example below is run by the tests, on
this repository's app.
"""
SUBJECTS = """
Roles are found from the wiring, not from names. A document without `subjects` of its own is about the order
pipeline:
"""
_SUBJECTS_EXAMPLE = """
subjects:
  api: {type: "AWS::ApiGatewayV2::Api", about: the HTTP API}
  integration:
    about: what the API calls
    type: AWS::ApiGatewayV2::Integration
    refers_to: {subject: api, property: ApiId}
  function:
    about: the function behind the API
    type: AWS::Lambda::Function
    referred_by: {subject: integration, property: IntegrationUri}
"""

if __name__ == "__main__":
    main()
