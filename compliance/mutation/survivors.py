"""Why mutants survive: classes, each with a reason. What no class explains is a hole in the rules.

A document's classes stand in a YAML file. A class is told by regular expressions on a mutant's type, place
and operator, and on what it is about (`of`): a subject of the document, or a resource's logical id. An absent
one is met by anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from compliance.document.requirements import NonEmpty
from compliance.model import InputError
from compliance.mutation import Mutant
from compliance.template.source import converted, read_yaml

Pattern = str | list[str]


class Class(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Mutants that break no requirement, and why."""

    because: NonEmpty
    type: Pattern = ".*"
    place: Pattern = ".*"
    operator: Pattern = ".*"
    of: Pattern = ".*"

    def explains(self, mutant: Mutant, names: Sequence[str]) -> bool:
        parts = ((self.type, mutant.type), (self.place, mutant.place), (self.operator, mutant.operator))
        return all(_fits(pattern, text) for pattern, text in parts) and any(
            _fits(self.of, name) for name in names
        )

    def is_about(self, types: Iterable[str]) -> bool:
        """Whether mutants of one of these types were judged that it may explain: else it is not stale."""
        return any(_fits(self.type, type_) for type_ in types) and (
            self.type != ".*" or any("::" in type_ for type_ in types)
        )


def _fits(pattern: Pattern, text: str) -> bool:
    patterns = [pattern] if isinstance(pattern, str) else pattern
    return any(re.fullmatch(one, text) for one in patterns)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    survivors: list[Class]


def load(path: Path) -> tuple[Class, ...]:
    """The classes of a file. Raises InputError naming the file and the field."""
    data, _ = read_yaml(path)
    try:
        classes = converted(data, _File).survivors
        for each in classes:
            for pattern in (each.type, each.place, each.operator, each.of):
                for one in [pattern] if isinstance(pattern, str) else pattern:
                    re.compile(one)
    except (msgspec.ValidationError, re.error) as error:
        raise InputError(f"{path}: {error}") from None
    return tuple(classes)


def sort(
    alive: Iterable[Mutant], classes: Sequence[Class], subjects: Mapping[str, Sequence[str]]
) -> tuple[Mapping[Class, list[Mutant]], list[Mutant]]:
    """The survivors by the class that explains them, and those that none does.

    `subjects` names the subjects that each resource fills, by its logical id.
    """
    explained: dict[int, list[Mutant]] = {index: [] for index in range(len(classes))}
    holes: list[Mutant] = []
    for mutant in alive:
        resource = re.split(r"[\[ ]", mutant.subject)[0]
        names = (resource, *subjects.get(resource, ()))
        index = next((i for i, each in enumerate(classes) if each.explains(mutant, names)), None)
        (explained[index] if index is not None else holes).append(mutant)
    return {each: explained[index] for index, each in enumerate(classes)}, holes
