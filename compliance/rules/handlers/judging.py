"""From functions to runs, and from the findings of runs to verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from compliance.cel import did_you_mean
from compliance.document.requirements import Document
from compliance.facts.subjects import known
from compliance.facts.wiring import FUNCTION, MAPPING, Unfilled, Wiring
from compliance.handlers.runs import Begin, Finding, Plan, Ran
from compliance.handlers.targets import NotRun, Target, physical, target
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Rule, Undecided
from compliance.template.assembly import Resource
from compliance.text import clean

MOST_EVIDENCE = 6


Tasks = Mapping[str, Begin]


def functions_of(case: Case) -> tuple[Resource, ...]:
    """The functions that a requirement is about: its subjects, or those that its mappings feed.

    Raises Undecided where a subject is another resource, or a mapping's function is not in the assembly.
    """
    found: list[Resource] = []
    for subject in case.subjects():
        if subject.type == MAPPING:
            fed = case.wiring.identify(subject.get("FunctionName"), FUNCTION)
            if fed is None:
                raise Undecided(f"the function of {subject.logical_id} is not in the {case.assembly.kind}")
            found.append(fed)
        elif subject.type == FUNCTION:
            found.append(subject)
        else:
            raise Undecided(f"{subject.logical_id} is no function: it has no handler to run")
    return tuple(dict.fromkeys(found))


def names(document: Document, wiring: Wiring) -> Mapping[str, str]:
    """By subject that one resource fills, the resource's physical name in the sandbox."""
    found = {}
    for name in known(document):
        try:
            [resource] = wiring.all(name)
        except (Unfilled, ValueError):
            continue
        text = wiring.assembly.text(resource.ref)
        if text:
            found[name] = physical(text)
    return found


def check_names(document: Document, data: object) -> None:
    """Raises ValueError where data name a subject, by `{{names.SUBJECT}}`, that the document has not."""
    from compliance.handlers.scenarios import OF_SUBJECT

    for name in OF_SUBJECT.findall(str(data)):
        if name not in known(document):
            raise ValueError(f"names.{name}: there is no such subject{did_you_mean(name, known(document))}")


def planned(rules: Sequence[Rule], case_of: Callable[[Rule], Case]) -> Mapping[Resource, Plan]:
    """What to run for the requirements of a document: by function, the tasks of all of them.

    `case_of` gives a rule's case. Its observations are not read, since nothing has run yet.
    """
    tasks: dict[Resource, dict[str, Begin]] = {}
    targets: dict[Resource, Target | NotRun] = {}
    for rule in rules:
        if rule.kind.plan:
            case = case_of(rule)
            for function, tasks_of_rule in _tasks(rule, case):
                tasks.setdefault(function, {}).update(tasks_of_rule)
                targets[function] = targets.get(function) or target(case.wiring, function)
    return {function: Plan(targets[function], of_function) for function, of_function in tasks.items()}


def _tasks(rule: Rule, case: Case) -> Iterator[tuple[Resource, Tasks]]:
    try:
        assert rule.kind.plan
        yield from rule.kind.plan(rule.parameters, case)
    except (Undecided, Unfilled):
        return  # the rule raises it again when it judges


class Judged(msgspec.Struct, frozen=True):
    """A function, its run and the findings about it."""

    function: Resource
    ran: Ran
    findings: Sequence[Finding]


def verdict(seen: Sequence[Judged], not_run: Sequence[NotRun]) -> Verdict:
    """Fails where a finding does not hold; passes where every function was run and all findings hold.

    Raises Undecided where a function was not run, or a finding is neither.
    """
    doubts = [Undecided(n.why, excused=n.excused) for n in not_run]
    doubts += [Undecided(item.found, item) for item in _evidence(seen, None)]
    return Verdict.of(_evidence(seen, False), _evidence(seen, True), doubts)


def _evidence(seen: Sequence[Judged], holds: bool | None) -> list[Evidence]:
    found = [
        Evidence(
            found=clean(finding.found + each.ran.words(holds)),
            wanted=clean(finding.wanted),
            logical_id=each.function.logical_id,
            construct_path=each.function.construct_path,
            source=finding.at or each.function.source,
            stack=each.function.stack.name,
        )
        for each in seen
        for finding in each.findings
        if finding.holds is holds
    ]
    return list(dict.fromkeys(found))[:MOST_EVIDENCE]
