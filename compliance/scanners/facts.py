"""Which rules of different scanners state the same fact, and which ask for more than a requirement does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
import yaml

from compliance.template.source import converted

OWN = Path(__file__).with_name("facts.yaml")


class _Fact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fact: str
    rules: tuple[str, ...]


class Stricter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules that ask for more than these requirements (`than`), and why."""

    rules: tuple[str, ...]
    than: tuple[str, ...]
    because: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    facts: tuple[_Fact, ...]
    stricter: tuple[Stricter, ...]


class Facts:
    """The facts that rules of different scanners state, and the rules that are stricter than requirements."""

    def __init__(self, facts: Sequence[tuple[str, tuple[str, ...]]], stricter: Sequence[Stricter]) -> None:
        self.rules: Mapping[str, tuple[str, ...]] = dict(facts)
        self.stricter = tuple(stricter)
        self._fact = {rule: fact for fact, rules in facts for rule in rules}
        self._stricter: dict[str, set[str]] = defaultdict(set)
        for entry in stricter:
            for rule in entry.rules:
                self._stricter[rule].update(entry.than)

    def of(self, rule: str) -> str | None:
        """The fact that a finding's rule (by its whole id) states; None if no other rule states it."""
        return self._fact.get(rule)

    def same(self, rule: str) -> tuple[str, ...]:
        """All rules that state the same fact, including this one."""
        fact = self.of(rule)
        return self.rules[fact] if fact is not None else (rule,)

    def asks_more_than(self, rule: str) -> frozenset[str]:
        """The ids of the requirements that a finding's rule is stricter than."""
        return frozenset().union(*(self._stricter.get(name, ()) for name in names_of(rule)))


def names_of(rule: str) -> tuple[str, ...]:
    """The ids of a finding's rule: the whole one, and the one without brackets (AwsSolutions-IAM5[...])."""
    base = rule.partition("[")[0]
    return (rule,) if base == rule else (rule, base)


@cache
def load(path: Path = OWN) -> Facts:
    """The facts that come with this package."""
    file = converted(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader), _File)
    return Facts([(entry.fact, entry.rules) for entry in file.facts], file.stricter)
