"""The input that mutants are made of, read and judged once; and how a changed one is judged, in memory.

What a change leaves alone is not judged anew: templates are shared but for what is edited, other environments
are made where a rule asks for one, and a handler is run again only where what it is given has changed.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from compliance.document.requirements import Document
from compliance.facts.declared import find
from compliance.facts.wiring import FUNCTION, Wiring
from compliance.handlers.runs import Handlers, Plan, Ran, run
from compliance.handlers.targets import NotRun, Target
from compliance.model import CheckerError, InputError, Status
from compliance.mutation import GONE, Edit, Mutant, Source, edited
from compliance.mutation.draft import Unit
from compliance.mutation.reads import Read, may_see, watched
from compliance.rules import Case, Rule, Waits
from compliance.rules.environments import Comparison
from compliance.rules.handlers import planned
from compliance.rules.judging import names
from compliance.template.assembly import Assembly, Resource, Stack
from compliance.template.scratch import Scratch

# Kinds that need another environment's input, or a run: asked last.
DEAR = ("parameterised", "retained")


class Judged(msgspec.Struct, frozen=True):
    """What became of a mutant: the requirements that are met no more, or why it is no input at all.

    Only the first that was found, unless all were asked for.
    """

    broken: tuple[str, ...] = ()
    refused: str | None = None

    @property
    def killed(self) -> bool:
        return bool(self.broken or self.refused)


CaseOf = Callable[[Rule], Case]
Code = Mapping[Resource, Target]  # functions with other code
NO_CODE: Code = {}


class Lazy(Mapping[str, Any]):
    """Other environments' inputs, changed when they are asked for."""

    def __init__(self, environments: Sequence[str], make: Callable[[str], Any]) -> None:
        self._names, self._make = environments, make
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Ground:
    """One input with its document. `others` as in `compliance.rules.Case`; `handlers` False runs none."""

    def __init__(
        self,
        document: Document,
        rules: tuple[Rule, ...],
        assembly: Assembly,
        environment: str,
        others: Mapping[str, Assembly | str] | str,
        as_of: date,
        *,
        handlers: bool = True,
    ) -> None:
        self.document, self.rules, self.assembly = document, rules, assembly
        self.environment, self.others, self.as_of, self.handlers = environment, others, as_of, handlers
        self._likely: dict[tuple[str, ...], str] = {}  # what saw a mutant of such a place before
        self._known_twins: dict[str, Twins] = {}
        self._runs: dict[str, Ran | NotRun] = {}
        self._by_role: dict[str, Sequence[Rule]] = {}

    @cached_property
    def pipeline(self) -> Wiring:
        return self._find(self.assembly)

    def wiring(self, environment: str) -> Wiring:
        """Who is who in an environment's input."""
        if environment == self.environment:
            return self.pipeline
        return find(self.document, self.inputs[environment], names(self.rules, environment), environment)

    @cached_property
    def observations(self) -> Handlers:
        return self._asked(self.pipeline)

    @cached_property
    def functions(self) -> Mapping[str, Ran]:
        """What running each function showed, by the first subject that it is."""
        found: dict[Resource, tuple[str, Ran]] = {}
        for name, resource in self.pipeline.filled.items():
            if resource and resource.type == FUNCTION and resource not in found:
                ran = self.observations.of(resource)
                if isinstance(ran, Ran):
                    found[resource] = name, ran
        return dict(found.values())

    @cached_property
    def statuses(self) -> Mapping[str, Status]:
        """Each requirement's status on the input as it is."""
        return {rule.requirement.id: rule.judge(self.case(rule)).status for rule in self.rules}

    @cached_property
    def met(self) -> tuple[Rule, ...]:
        """The requirements that the input meets: those that a mutant can break, the cheap ones first."""
        cost = dict.fromkeys(DEAR, 3)
        met = [r for r in self.rules if self.statuses[r.requirement.id] is Status.PASS]
        return tuple(sorted(met, key=lambda r: cost.get(r.kind.name, r.kind.waits)))

    @cached_property
    def reads(self) -> Mapping[str, frozenset[Read] | None]:
        """What each rule reads of the input; None of those that compare whole templates."""
        return {rule.requirement.id: self._reads(rule) for rule in self.met}

    def _reads(self, rule: Rule) -> frozenset[Read] | None:
        if rule.kind.name == "parameterised":
            return None
        reads: set[Read] = set()
        others: Any = self.others
        if not isinstance(others, str):
            # By what resources are called here.
            of_others: dict[str, set[Read]] = {name: set() for name in others}
            others = Lazy(tuple(others), lambda name: self._watched(name, of_others[name]))
        pipeline = self._find(watched(self.assembly, reads))
        cases = self._cases(pipeline, others, self._asked(pipeline))
        status = rule.judge(cases(rule)).status
        assert status is self.statuses[rule.requirement.id], rule.requirement.id
        if isinstance(others, str):
            return frozenset(reads)
        for name, found in of_others.items():
            if found:
                twins = self._twins(name)
                stacks = {twin: own for own, twin in twins.stacks.items()}
                ids = {twin: own for own, twin in twins.ids.items()}
                reads |= {(stacks.get(s, s), ids.get(i, i), key) for s, i, key in found}
        return frozenset(reads)

    def _watched(self, name: str, reads: set[Read]) -> Assembly | str:
        other = self._other(name)
        return watched(other, reads) if isinstance(other, Assembly) else other

    def case(self, rule: Rule) -> Case:
        """What a rule may look at, of the input as it is."""
        return self._cases(self.pipeline, self.others, self.observations)(rule)

    @cached_property
    def subjects(self) -> Mapping[str, Sequence[str]]:
        """The subjects that each resource fills, by its logical id; `members` of all that belongs to them."""
        found: dict[str, list[str]] = {}
        for name, resource in self.pipeline.filled.items():
            if resource:
                found.setdefault(resource.logical_id, []).append(name)
        for resource in self.pipeline.members:
            found.setdefault(resource.logical_id, []).append("members")
        return found

    # Judging

    def judge(self, mutant: Mutant, *, every_rule: bool = False) -> Judged:
        """What a mutant breaks: the first thing that is found to be, or all of it."""
        try:
            with ExitStack() as stack:
                pipeline, others, code = self._changes(mutant, stack)
                return self._first(
                    self._asking(pipeline, others, code, alone=not every_rule), mutant, every_rule
                )
        except InputError as error:
            return Judged(refused=str(error))

    def judge_units(self, units: Mapping[str, Sequence[Unit]]) -> Judged:
        """All that is broken where each environment has these stacks."""

        def made(name: str) -> Assembly:
            like = self.inputs[name]
            return assemble(like, units[name], self.document.environment.region)

        others: Any = self.others
        if not isinstance(others, str):
            others = Lazy(tuple(others), lambda name: made(name) if name in units else self._other(name))
        try:
            pipeline = self._find(made(self.environment))
            return self._first(self._cases(pipeline, others, self._asked(pipeline)), None, True)
        except InputError as error:
            return Judged(refused=str(error))

    @property
    def inputs(self) -> Mapping[str, Assembly]:
        """Every environment's input that there is, the judged one first."""
        others = {} if isinstance(self.others, str) else self.others
        there = {name: other for name, other in others.items() if isinstance(other, Assembly)}
        return {self.environment: self.assembly, **there}

    def _first(self, case_of: CaseOf, mutant: Mutant | None, every_rule: bool) -> Judged:
        broken: list[str] = []
        for rule in self._in_order(mutant):
            if _status(rule, case_of(rule), mutant) is not Status.PASS:
                broken.append(rule.requirement.id)
                if not every_rule:
                    self._remember(mutant, rule.requirement.id)
                    break
        return Judged(tuple(broken))

    def _in_order(self, mutant: Mutant | None) -> Sequence[Rule]:
        """The rules that may see it, first the one that most likely will."""
        if mutant is None:
            return self.met
        if mutant.source:
            rules = self._looking_at(mutant.source.role)
        else:
            rules = [r for r in self.met if may_see(self.reads[r.requirement.id], mutant.edits)]
        likely = [mutant.breaks, *(self._likely.get(key) for key in _keys(mutant))]
        first = [r for id_ in dict.fromkeys(likely) if id_ for r in rules if r.requirement.id == id_]
        return [*first, *(r for r in rules if r not in first)]

    def _remember(self, mutant: Mutant | None, id_: str) -> None:
        for key in _keys(mutant) if mutant else ():
            self._likely[key] = id_

    def _asking(self, pipeline: Wiring, others: Any, code: Code, *, alone: bool) -> CaseOf:
        """Cases of a changed input. With `alone`, the first rule that depends on a run has its own tasks run.

        Mostly it sees the mutant, and nothing else is run.
        """
        whole = self._asked(pipeline, code)
        asked: list[Rule] = []

        def case_of(rule: Rule) -> Case:
            handlers = whole
            if rule.kind.waits is Waits.FOR_HANDLERS:
                asked.append(rule)
                if alone and len(asked) == 1:
                    handlers = self._asked(pipeline, code, rule)
            return self._cases(pipeline, others, handlers)(rule)

        return case_of

    def _cases(self, pipeline: Wiring, others: Any, observations: Handlers) -> CaseOf:
        return lambda rule: Case(
            rule.requirement, self.document, pipeline, self.as_of, self.environment, others, observations
        )

    def _find(self, assembly: Assembly) -> Wiring:
        return find(self.document, assembly, names(self.rules, self.environment), self.environment)

    # A changed template

    def _changes(self, mutant: Mutant, stack: ExitStack) -> tuple[Wiring, Any, Code]:
        """An input with a mutant's change, the other environments' inputs, and the functions' code."""
        if mutant.source:
            function = self.pipeline.one(mutant.source.role)
            known = self._plans(self.pipeline)[function].target
            assert isinstance(known, Target)
            code = stack.enter_context(changed_code(known, mutant.source))
            return self.pipeline, self.others, {function: code}
        pipeline = self._find(self.assembly.changed(applied(self.assembly, mutant.edits)))
        others: Any = self.others
        if not isinstance(others, str):
            others = Lazy(tuple(others), lambda name: self._changed(name, mutant))
        return pipeline, others, {}

    def _changed(self, environment: str, mutant: Mutant) -> Assembly | str:
        """Another environment's input with the same change."""
        other = self._other(environment)
        if not mutant.everywhere or isinstance(other, str):
            return other
        twins = self._twins(environment)
        edits = [twins.edit(edit, mutant.literal) for edit in mutant.edits]
        return other.changed(applied(other, edits, lenient=True))

    def _other(self, name: str) -> Assembly | str:
        assert not isinstance(self.others, str)
        return self.others[name]

    def _twins(self, environment: str) -> Twins:
        if environment not in self._known_twins:
            other = self._other(environment)
            assert isinstance(other, Assembly)
            self._known_twins[environment] = Twins.of(self.assembly, other, self.environment, environment)
        return self._known_twins[environment]

    def _asked(self, pipeline: Wiring, code: Code = NO_CODE, rule: Rule | None = None) -> Handlers:
        """What handlers do: what they did, where they are given the same; found out when it is asked for.

        `code` are functions with other code. With a rule, a run that is not known shows its tasks alone.
        """
        if not self.handlers:
            return Handlers.none("handlers were not run (--skip-handlers)")

        def make() -> Mapping[Resource, Ran | NotRun]:
            own = self._plans(pipeline, [rule]) if rule else {}
            return {
                function: self._ran(plan, own.get(function), code.get(function))
                for function, plan in self._plans(pipeline).items()
            }

        return _Asked(make)

    def _plans(self, pipeline: Wiring, rules: Sequence[Rule] = ()) -> Mapping[Resource, Plan]:
        return planned(rules or self.rules, self._cases(pipeline, self.others, Handlers.none("planned only")))

    def _ran(self, plan: Plan, own: Plan | None, code: Target | None) -> Ran | NotRun:
        """A handler's run, remembered: many mutants give a handler the same."""
        part = own if own and own.tasks else plan
        if code:
            return _run(replace(part, target=code))
        if plan.signature in self._runs:
            return self._runs[plan.signature]
        if part.signature not in self._runs:
            self._runs[part.signature] = _run(part)
        return self._runs[part.signature]

    def _looking_at(self, role: str) -> Sequence[Rule]:
        """The rules that look at what a handler does, first those that a part of its run is enough for."""
        if role not in self._by_role:
            function = self.pipeline.one(role)
            waiting = [rule for rule in self.met if rule.kind.waits is not Waits.NOT]
            own = [rule for rule in waiting if function in self._plans(self.pipeline, [rule])]
            self._by_role[role] = sorted(own, key=lambda rule: rule.kind.waits, reverse=True)
        return self._by_role[role]


class _Asked(Handlers):
    """Runs that are found out when the first is asked for."""

    def __init__(self, make: Callable[[], Mapping[Resource, Ran | NotRun]]) -> None:
        super().__init__()
        self._make = make
        self._found: Handlers | None = None

    def of(self, function: Resource) -> Ran | NotRun:
        if self._found is None:
            self._found = Handlers(self._make())
        return self._found.of(function)


def _run(plan: Plan) -> Ran | NotRun:
    """What one handler does."""
    if isinstance(plan.target, NotRun):
        return plan.target
    return run(plan.target, plan.tasks, secrets.token_hex(16))


def _status(rule: Rule, case: Case, mutant: Mutant | None) -> Status:
    """A rule's answer. One that breaks on a mutant has proved nothing."""
    try:
        return rule.judge(case).status
    except (InputError, CheckerError):
        raise
    except Exception as error:
        on = mutant.name if mutant else "an equivalent"
        what = f"{type(error).__name__}: {error}"
        raise CheckerError(f"{rule.requirement.id}: the check broke on {on}: {what}") from error


def _keys(mutant: Mutant) -> Iterator[tuple[str, ...]]:
    yield mutant.type, mutant.place, mutant.operator.partition(" to ")[0]
    yield mutant.type, mutant.place
    if mutant.source:
        yield mutant.type, mutant.source.role, mutant.place.partition(".")[0]
        yield mutant.type, mutant.source.role


@contextmanager
def changed_code(known: Target, source: Source) -> Iterator[Target]:
    """A function with another text for one file of its code."""
    code = known.program.code
    if isinstance(code, str):
        yield _with_code(known, source.text)
        return
    with Scratch("mutant") as folder:
        copy = Path(folder, "code")
        if code.is_dir():
            shutil.copytree(code, copy, symlinks=True)
        else:
            shutil.unpack_archive(code, copy, "zip")
        (copy / source.file).write_text(source.text, encoding="utf-8")
        yield _with_code(known, copy)


def _with_code(known: Target, code: Path | str) -> Target:
    return replace(known, program=replace(known.program, code=code))


# Changing templates


def applied(
    assembly: Assembly, edits: Sequence[Edit], *, lenient: bool = False
) -> Mapping[str, dict[str, Any]]:
    """The templates that edits change, by their stack. `lenient` leaves out what leads nowhere."""
    templates = {stack.name: stack.template for stack in assembly.stacks}
    changed: dict[str, dict[str, Any]] = {}
    for edit in edits:
        try:
            template = changed.get(edit.stack, templates[edit.stack])
            changed[edit.stack] = edited(template, edit.path, edit.value)
        except (LookupError, TypeError):
            if not lenient:
                raise
    return changed


def assemble(like: Assembly, units: Sequence[Unit], region: str | None) -> Assembly:
    """An assembly of these stacks, with the files of another. Raises InputError.

    `region` is the one that stacks are read for which declare none.
    """
    assembly = Assembly(like.kind, like.path)
    assembly.assets = like.assets
    for unit in units:
        stack = Stack(
            assembly,
            unit.name,
            like.path / f"{unit.name}.template.json",
            unit.template,
            stack_name=unit.stack_name or unit.name,
            account=unit.account,
            region=unit.region or region,
            declared_region=unit.region,
            metadata=unit.metadata,
        )
        stack.protected = unit.protected
        assembly.add(stack)
    return assembly


class Twins(msgspec.Struct, frozen=True):
    """What stacks and resources of one environment's input are called in another's."""

    comparison: Comparison
    stacks: Mapping[str, str]
    ids: Mapping[str, str]

    @staticmethod
    def of(ours: Assembly, theirs: Assembly, a: str, b: str) -> Twins:
        comparison = Comparison(a, b)

        def place(resource: Resource) -> tuple[str, str, str]:
            name = "/".join(map(comparison.neutral, resource.stack.name.split("/")))
            return name, resource.type, comparison.neutral(resource.logical_id)

        there = {place(each): each.logical_id for stack in theirs.stacks for each in stack.declared()}
        ids = {
            each.logical_id: there.get(place(each), each.logical_id)
            for stack in ours.stacks
            for each in stack.declared()
        }
        stacks = {s.name: t.name for s, t in zip(ours.stacks, theirs.stacks, strict=False)}
        return Twins(comparison, stacks, {key: twin for key, twin in ids.items() if key != twin})

    def edit(self, edit: Edit, literal: bool) -> Edit:
        path = edit.path
        if path[0] == "Resources":
            path = ("Resources", self.ids.get(str(path[1]), path[1]), *path[2:])
        value = edit.value if literal or edit.value is GONE else self.value(edit.value)
        return Edit(self.stacks.get(edit.stack, edit.stack), path, value)

    def value(self, node: Any) -> Any:
        """A value as it reads in the other environment: its name, and what resources are called there."""
        if isinstance(node, dict):
            return {key: self.value(item) for key, item in node.items()}
        if isinstance(node, list):
            return [self.value(item) for item in node]
        if not isinstance(node, str):
            return node
        text = self.ids.get(node) or self.comparison.follows(node)
        if not self.ids:
            return text
        return re.sub(r"[A-Za-z0-9]+", lambda match: self.ids.get(match[0], match[0]), text)
