"""Drafts a first requirements document for a stack: its subjects by their wiring, and what holds today.

Every requirement of the draft was judged on that stack, and met. Usual requirements that are not met are in
comments. People decide what should hold.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from msgspec import ValidationError, structs

from compliance.auditing import Options, Progress
from compliance.document.requirements import Document, Environment, File
from compliance.drafting.context_key import PROBE, candidates, read_by
from compliance.drafting.proposals import CATEGORIES, Proposal, Proposals, region_of
from compliance.drafting.subjects import Discovery, cdk_made
from compliance.facts.declared import find
from compliance.facts.wiring import Wiring
from compliance.handlers.runs import Handlers
from compliance.model import InputError, Status
from compliance.rules import Rule, bind
from compliance.rules.judging import judge, names
from compliance.template import unseen
from compliance.template.assembly import Assembly
from compliance.template.loading import load_assembly, load_template
from compliance.template.scratch import Scratch
from compliance.template.source import Lines, converted
from compliance.template.synth import Synths, find_app
from compliance.text import one_line, printable

NOT_RUN = Handlers.none("handlers are not run for a draft")


def read(options: Options, progress: Progress = lambda _: None) -> str:
    """The text of a document for an input of an audit. Raises InputError."""
    defaults = Environment()
    environment = options.environment or options.context.get(defaults.context, defaults.default)
    key: str | None = defaults.context
    with ExitStack() as stack:
        if options.template is not None:
            assembly = load_template(options.template)
        elif options.assembly is not None:
            assembly = load_assembly(options.assembly, base=options.folder)
        else:
            assembly, key, environment = _of_app(options, environment, stack, progress)
            assembly.kind = "app"
        if assembly.missing:  # a draft would contain the placeholders
            raise InputError(assembly.missing[0])
        progress("looking at what is there")
        return draft(assembly, environment, options.as_of, key)


def _of_app(
    options: Options, environment: str, stack: ExitStack, progress: Progress
) -> tuple[Assembly, str | None, str]:
    """The app's assembly, the context key from which it reads its environment, and that environment."""
    required = options.require_confinement
    app = find_app(options.app, options.folder, options.context, require_confinement=required)
    folder = Path(stack.enter_context(Scratch("init")))
    keys = candidates(app)
    own = {keys[0] if keys else Environment().context: environment} if options.environment else {}
    progress(f"synthesising for {environment}")

    synths = Synths(app, folder, {"": own, **{key: {key: PROBE} for key in keys}})
    stack.callback(synths.close)

    def made(name: str) -> Assembly:
        return load_assembly(synths.result(name), base=options.folder)

    assembly, probed = made(""), dict[str, Assembly | None]()
    for name in keys:
        try:
            probed[name] = made(name)
        except InputError:
            probed[name] = None
    found = read_by(app, assembly, probed)
    if found is None:
        return assembly, None, environment
    return assembly, found.name, environment if options.environment else found.default or environment


def draft(assembly: Assembly, environment: str, as_of: date, key: str | None = "env") -> str:
    """The document's text.

    Args:
        assembly: the stack's.
        environment: the environment's name.
        as_of: the day to judge for.
        key: the context key from which the app reads its environment; None: it reads none.

    Raises: InputError where the stack has no resource for a requirement.
    """
    subjects = Discovery(assembly)
    if not subjects.specs:
        raise InputError(f"{_stacks(assembly)}: no resource that a requirement could be about")
    source = Proposals(assembly, subjects, environment)
    proposals = list({repr(p): p for p in source}.values())
    for name, that in source.signs():
        subjects.specs[name]["links"] = [{"that": each} for each in that]
    met, unmet = _judged(assembly, subjects, proposals, environment, as_of)
    met = _merged(met)
    if not met:
        raise InputError(f"{_stacks(assembly)}: states nothing that a requirement could hold it to")
    return _render(assembly, subjects, met, unmet, environment, as_of, key)


def _named(assembly: Assembly) -> list[str]:
    """The stacks' names, as CloudFormation calls them."""
    return [stack.stack_name or stack.name for stack in assembly.stacks]


def _stacks(assembly: Assembly) -> str:
    """The input's name for messages: an app's stacks, since its assembly is in a temporary folder."""
    names = _named(assembly)
    if assembly.kind != "app" or not names:
        return str(assembly.path)
    return f"stack{'s' * (len(names) != 1)} {', '.join(names)}"


# Which proposals hold


LINKS = {"refers_to", "referred_by"}  # the fields of a subject that link it to others


def _judged(
    assembly: Assembly,
    subjects: Discovery,
    proposals: Sequence[Proposal],
    environment: str,
    as_of: date,
) -> tuple[list[Proposal], list[Proposal]]:
    """The proposals that are met, and those that are not.

    The rest is judged again without those that failed: a failed name may have told subjects apart.
    """
    met, bound = _readable(assembly, subjects, proposals, environment)
    unmet: list[Proposal] = []
    counted: list[Proposal] = []
    used = _specs_in_use(subjects.specs, met)
    while used:
        met = [proposal for _, proposal in _numbered(met)]  # in the document's order
        document, rules = bound or _bound(assembly, subjects, met, environment)
        bound = None
        wiring = find(document, assembly, names(rules, environment), environment)
        results = judge(
            rules,
            document,
            wiring,
            as_of=as_of,
            environment=environment,
            others="a draft looks at one environment",
            observations=NOT_RUN,
        )
        passes = [r.verdict.status is Status.PASS for r in results]
        failed = [p for p, holds in zip(met, passes, strict=True) if not holds]
        counted = [
            _counted(p, rule, wiring) for p, rule, holds in zip(met, rules, passes, strict=True) if holds
        ]
        met = [p for p, holds in zip(met, passes, strict=True) if holds]
        unmet += failed
        still_used = _specs_in_use(subjects.specs, met)
        unused, used = used.keys() - still_used.keys(), still_used
        # The other verdicts stay the same if the same resources fill their subjects: if no name failed, and
        # no subject with links is left out.
        name_failed = any(p.kind == "name" for p in failed)
        if not name_failed and not any(LINKS & subjects.specs[name].keys() for name in unused):
            break
    # Requirements that name no resource of the stack are not proposed alone.
    return counted if used else [], unmet


def _counted(proposal: Proposal, rule: Rule, wiring: Wiring) -> Proposal:
    """The proposal with the number of all that it holds of: those of another proposal could fill a gap."""
    least, that = proposal.check.get("at_least"), getattr(rule.parameters, "that", None)
    if proposal.kind != "predicate" or least is None or that is None:
        return proposal
    group = [resource for resource in wiring.all(proposal.check["of"]) if resource.exists is True]
    number = sum(wiring.bound.outcome(that, resource).value is True for resource in group)
    if number <= least:
        return proposal
    title = re.sub(rf"^{least}(?= of )", str(number), proposal.title)
    return structs.replace(proposal, title=title, check={**proposal.check, "at_least": number})


Bound = tuple[Document, tuple[Rule, ...]]


def _bound(assembly: Assembly, subjects: Discovery, proposals: Sequence[Proposal], environment: str) -> Bound:
    data = _data(assembly, subjects, proposals, environment)
    document = Document(Path("requirements.yaml"), converted(data, File), Lines())
    return document, bind(document)


def _readable(
    assembly: Assembly, subjects: Discovery, proposals: Sequence[Proposal], environment: str
) -> tuple[list[Proposal], Bound | None]:
    """The proposals that a document can contain. Reading it refuses types and properties without schema.

    The document itself is given too, where it can contain all of them.
    """

    def read(chosen: Sequence[Proposal]) -> Bound | None:
        try:
            return _bound(assembly, subjects, chosen, environment)
        except (InputError, ValidationError):
            return None

    document = read(proposals)
    return [p for p in proposals if document or read([p])], document


def _data(
    assembly: Assembly, subjects: Discovery, proposals: Sequence[Proposal], environment: str
) -> dict[str, Any]:
    used = [name for name in CATEGORIES if any(p.category == name for p in proposals)]
    return {
        "version": 1,
        "title": "Requirements of " + ", ".join(_named(assembly)[:3]),
        "environment": _environment(environment, region_of(assembly)),
        "categories": [{"id": name, "title": CATEGORIES[name][1], "gate": True} for name in used],
        "subjects": _specs_in_use(subjects.specs, proposals),
        "requirements": [proposal.entry(id_) for id_, proposal in _numbered(proposals)],
    }


def _numbered(proposals: Sequence[Proposal]) -> Iterator[tuple[str, Proposal]]:
    for category, (prefix, _) in CATEGORIES.items():
        of_category = [proposal for proposal in proposals if proposal.category == category]
        yield from ((f"{prefix}-{number:02}", proposal) for number, proposal in enumerate(of_category, 1))


def _environment(name: str, region: str | None) -> dict[str, Any]:
    """The document's `environment`: the known one, and usual names for the others."""
    defaults = Environment()
    found: dict[str, Any] = {"context": "env", "default": name}
    if name in ("staging", "prod", "production"):
        others = [other for other in ("staging", "prod") if other != name]
        found |= {"probe": others[0], "retained": [name, *others], "throwaway": defaults.throwaway}
    else:
        throwaway = defaults.throwaway if not defaults.keeps_data(name) else f"{re.escape(name)}|pr[0-9]+"
        probe = "pr1" if name != "pr1" else "pr2"
        found |= {"probe": probe, "retained": ["staging", "prod"], "throwaway": throwaway}
    return found | ({"region": region} if region else {})


def _specs_in_use(specs: Mapping[str, Any], proposals: Sequence[Proposal]) -> dict[str, Any]:
    """The subjects that requirements are about or checks name, and those by which they are found."""
    used: set[str] = set()
    added = {name for p in proposals for name in (*p.subject, *p.names, *_named_in(p.check))} & set(specs)
    while added:
        used |= added
        links = [specs[name].get(field) for name in added for field in ("refers_to", "referred_by")]
        added = {link["subject"] for link in links if link} - used
    return {name: spec for name, spec in specs.items() if name in used}


def _named_in(check: Mapping[str, Any]) -> Iterator[str]:
    yield from (check[field] for field in ("to", "each", "of") if field in check)
    yield from (check[side].partition(".")[0] for side in ("left", "of") if side in check)


def _merged(proposals: Sequence[Proposal]) -> list[Proposal]:
    """The proposals with one requirement for all present subjects, and without those that others imply."""
    kinds = {p.kind for p in proposals if not p.less_than}
    proposals = [p for p in proposals if p.less_than not in kinds]
    present = [p for p in proposals if p.is_there]
    if len(present) < 2:
        return list(proposals)
    everything = tuple(name for p in present for name in p.subject)
    one = Proposal(
        "wiring", "every resource is there, wired as its subject says", everything, {"kind": "present"}
    )
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
    "elsewhere": """\
# What is deployed, and is no part of the app: nobody looked at it, and the audit takes it as it is.
# DECIDE: do you trust each? What is not listed here makes the audit red.""",
    "categories": """\
# Each is scored apart; only those with `gate: true` decide between green and red.""",
    "subjects": """\
# Who is who: by type, and by what refers to what (a property path, `*` for any item). What is told apart by
# nothing but its name is found by the requirement on that name. `many` makes a group. What `links` says of a
# subject tells it from others of its type; it need not hold.
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
    key: str | None,
) -> str:
    data = _data(assembly, subjects, met, environment)
    day = as_of.isoformat()
    lines = [HEAD.format(source=f"the {assembly.kind}", day=day, file="requirements.yaml").rstrip()]
    lines += ["version: 1", f"title: {_flow(data['title'])}"]
    lines += [*_of_environments(data["environment"], key), *_elsewhere(assembly)]
    lines += ["", NOTES["categories"], "categories:", *(f"  - {_flow(c)}" for c in data["categories"])]
    lines += ["", NOTES["subjects"], "subjects:"]
    for name, spec in data["subjects"].items():
        lines += [f"  {name}:", *_lines(spec)]
    lines += ["", NOTES["requirements"], "requirements:"]
    category = None
    for entry in data["requirements"]:
        if entry["category"] != category:
            category = entry["category"]
            lines += [f"  {NOTES[category]}"]
        lines += [*_item(entry, "  "), ""]
    if unmet:
        lines += [UNMET.rstrip(), *(f"# - {_comment(p)}" for p in unmet), ""]
    if missing := list(_not_covered(assembly, subjects, met)):
        lines += [NOT_COVERED.rstrip(), *missing]
    return "\n".join(lines).rstrip() + "\n"


def _of_environments(names: Mapping[str, Any], key: str | None) -> Iterator[str]:
    """The lines of `environment`. An app without a context key has one stack for all, so only its region."""
    stated = {**names, "context": key} if key else {k: v for k, v in names.items() if k == "region"}
    if stated:
        note = (NOTES["environment"],) if key else ()
        yield from (
            "",
            *note,
            "environment:",
            *(f"  {name}: {_flow(value)}" for name, value in stated.items()),
        )


def _elsewhere(assembly: Assembly) -> Iterator[str]:
    """The lines of `allowed_elsewhere`: what is deployed and not a part of the input."""
    if places := sorted({item.place for item in unseen.find(assembly) if item.place and not item.excused}):
        yield from (
            "",
            NOTES["elsewhere"],
            "allowed_elsewhere:",
            *(f"  - {_flow(place)}" for place in places),
        )


NOT_COVERED = """\
# Not covered: no requirement of this draft is about these. DECIDE: which of them matter?
"""


def _not_covered(assembly: Assembly, subjects: Discovery, proposals: Sequence[Proposal]) -> Iterator[str]:
    """By type, the number of resources without a requirement of their own, with the reason if known."""
    about = [p for p in proposals if "at_least" not in p.check]
    named = {name for p in about for name in (*p.subject, *_named_in(p.check))}
    covered = {subjects.by_name[name] for name in named if name in subjects.by_name}
    covered |= {resource for name in named for resource in subjects.groups.get(name, ())}
    uncovered = Counter((r.type, cdk_made(r)) for r in assembly.resources() if r not in covered)
    for (type_, made), number in sorted(uncovered.items()):
        if not type_.startswith(("AWS::CDK::", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")):
            yield f"# - {number} {type_}" + (", which CDK makes itself" if made else "")


PRINTABLE = re.compile(r"[ -~]+")
PLAIN = re.compile(
    r"(?!(?i:y|n|yes|no|on|off|true|false|null)$)[A-Za-z][\w.-]*( [\w.()/-]+)*"
)  # no other type in YAML
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


WIDTH = 110
EXPRESSION = re.compile(
    r"(?!.*(: | #|:$))[A-Za-z(][ -~]+"
)  # what YAML reads as a text outside of { } and [ ]


def _lines(fields: Mapping[str, Any], indent: str = "    ") -> Iterator[str]:
    """Fields in YAML: each on one line if that is short, else on a line for each part."""
    for key, value in fields.items():
        head = f"{indent}{key}:"
        is_expression = key == "that"
        short = f"{head} {value if is_expression and EXPRESSION.fullmatch(value) else _flow(value)}"
        if len(short) <= WIDTH and not (isinstance(value, dict) and "that" in value):
            yield short
        elif isinstance(value, dict):
            yield head
            yield from _lines(value, indent + "  ")
        elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
            yield head
            for item in value:
                yield from _item(item, indent + "  ")
        elif is_expression and PRINTABLE.fullmatch(value):
            yield f"{head} >-"
            for part in _conjuncts(value):
                yield from _wrapped(part, f"{indent}  ")
        elif isinstance(value, list):
            first, *others = _wrapped(_flow(value), f"{indent}  ")
            yield from (f"{head} {first.lstrip()}", *others)
        else:
            yield short


_WRAPPER = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)


def _wrapped(text: str, indent: str) -> list[str]:
    """Lines that YAML folds into the text again."""
    if "  " in text:
        return [indent + text]
    return [indent + line for line in _WRAPPER.wrap(text)]


def _conjuncts(expression: str) -> Iterator[str]:
    """The parts of an expression that `&&` joins outside of parentheses, each with its `&&`."""
    part, *others = re.split(r" (?=&& )", expression)
    for other in others:
        if part.count("(") == part.count(")"):
            yield part
            part = other
        else:
            part += f" {other}"
    yield part


def _item(fields: Mapping[str, Any], indent: str) -> list[str]:
    """An item of a list."""
    if "that" not in fields and len(one := f"{indent}- {_flow(fields)}") <= WIDTH:
        return [one]
    first, *others = _lines(fields, indent + "  ")
    return [f"{indent}- {first.lstrip()}", *others]


def _flow(value: Any) -> str:
    """A value in YAML, on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(child)}" for key, child in value.items()) + "}"
    return _scalar(type(value).__name__, value)


@lru_cache(2**14)  # a draft of many resources repeats most of its texts
def _scalar(kind: str, value: Any) -> str:
    if kind == "str" and PRINTABLE.fullmatch(value):
        return str(value) if PLAIN.fullmatch(value) else "'" + value.replace("'", "''") + "'"
    # Within a list, since YAML writes a scalar alone with an end-of-document mark.
    text: str = yaml.dump([value], Dumper=DUMPER, default_flow_style=True, width=10**6)
    return text.strip()[1:-1]


def _comment(proposal: Proposal) -> str:
    about = f" ({', '.join(proposal.subject)})" if proposal.subject else ""
    return one_line(printable(f"{proposal.title}{about}: {_flow(dict(proposal.check))}"))
