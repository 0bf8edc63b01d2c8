"""Mutants of handlers: a dozen operators on the syntax tree of each file, for JavaScript and for Python.

Most know nothing of requirements. A file of aims says which of them break one: a record without its
`recordId` breaks the requirement that wants it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from compliance.handlers.runs import Ran
from compliance.handlers.static_analysis import files
from compliance.model import InputError
from compliance.mutation import Mutant, Source
from compliance.mutation.code import javascript, python
from compliance.mutation.code.change import Change
from compliance.rules import Rule
from compliance.template.source import converted, read_yaml


class Aim(msgspec.Struct, frozen=True):
    """What breaks a requirement: patterns of the function's subject, of operator and place."""

    breaks: str
    function: str
    operator: str
    place: str

    def fits(self, function: str, change: Change) -> bool:
        pairs = ((self.function, function), (self.operator, change.operator), (self.place, change.place))
        return all(re.fullmatch(pattern, text) for pattern, text in pairs)


def mutants(functions: Mapping[str, Ran], rules: Sequence[Rule], aims: Sequence[Aim]) -> Iterator[Mutant]:
    """Every mutant of the handlers that were run, by the subject that each is. Aims serve the rules given."""
    judged = {rule.requirement.id for rule in rules}
    aims = [aim for aim in aims if aim.breaks in judged]
    for subject, ran in functions.items():
        for file, text in files(ran.target.program):
            for change in changes(text, ran):
                yield Mutant(
                    operator=change.operator,
                    type=_language(ran),
                    place=change.place,
                    subject=f"{subject} {file}:{change.at}",
                    source=Source(subject, file, change.text),
                    breaks=next((aim.breaks for aim in aims if aim.fits(subject, change)), None),
                )


def changes(text: str, seen: Ran) -> Iterator[Change]:
    """A file in every other way."""
    export = seen.target.program.handler.rpartition(".")[2]
    yield from (javascript if _language(seen) == "JavaScript" else python).changes(text, export)


def _language(seen: Ran) -> str:
    return "JavaScript" if seen.target.program.runtime.startswith("nodejs") else "Python"


def load(path: Path) -> list[Aim]:
    """The aims of a file. Raises InputError naming the file and the field."""
    try:
        return converted(read_yaml(path)[0], list[Aim])
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from None
