"""The requirements document: what may stand in one, and errors that name file, line and field."""

from __future__ import annotations

from pathlib import Path

import pytest
from inputs import DOCUMENT

from compliance.document.requirements import OWN, load
from compliance.document.suggestions import hint
from compliance.model import InputError
from compliance.rules import KINDS, bind


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    text = DOCUMENT
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "requirements.yaml"
    path.write_text(text)
    return path


def test_reads(tmp_path: Path) -> None:
    document = load(write(tmp_path))
    assert [(c.id, c.gate, c.hardening) for c in document.categories] == [
        ("core", True, False),
        ("extra", False, True),
    ]
    first, second = document.requirements
    assert (first.severity, first.subjects) == ("high", ("all_functions",))
    assert (second.severity, second.subjects) == ("medium", ("all_functions",))
    assert document.by_id["FUN-02"] is second
    assert document.environment.all_retained == ("staging", "prod")
    assert [document.environment.keeps_data(name) for name in ("dev", "pr7", "pr", "staging")] == [
        *(False, False, True, True),
    ]
    assert [rule.kind.name for rule in bind(document)] == ["property", "property"]


SHORT = """\
version: 1
title: A queue
requirements:
  - id: NFR-SEC.1
    category: Data-at-rest
    title: It is encrypted
    text: The queue is encrypted at rest.
    check: {each: resources, that: "has(self.KmsMasterKeyId)"}
    fix: Set KmsMasterKeyId.
  - {id: R2, title: One, text: There is one., check: {some: resources}, fix: Make one.}
"""


def test_a_short_document_needs_neither_categories_nor_environment(tmp_path: Path) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(SHORT)
    document = load(path)
    assert [(c.id, c.title, c.gate) for c in document.categories] == [
        ("Data-at-rest", "Data at rest", True),
        ("requirements", "Requirements", True),
    ]
    assert list(document.by_id) == ["NFR-SEC.1", "R2"]
    assert document.environment.default == "dev"


@pytest.mark.parametrize("place", ["*", "???*", "ab*", "bucket/?"])
def test_a_place_elsewhere_that_says_too_little(tmp_path: Path, place: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(SHORT + f'allowed_elsewhere: ["arn:aws:lambda:*:layer:x", "{place}"]\n')
    with pytest.raises(InputError, match=r":11: allowed_elsewhere\.1: .*after its first three char"):
        load(path)


def test_our_own_has_46_and_those_of_hardening() -> None:
    document = load()
    assert document.path == OWN
    hardening = {category.id for category in document.categories if category.hardening}
    counts = [requirement.category in hardening for requirement in document.requirements]
    assert counts.count(False) == 46
    assert counts.count(True) >= 17
    assert {rule.kind.name for rule in bind(document)} <= KINDS.keys()


REFUSED: dict[str, tuple[tuple[str, str], str]] = {
    "unknown kind": (
        ("{kind: property, all: [{path: Timeout", "{kind: proprety, all: [{path: Timeout"),
        ":22: FUN-01: unknown kind 'proprety'; known are ",
    ),
    "kind a list": (
        ("{kind: property, all: [{path: Timeout", "{kind: [x], all: [{path: Timeout"),
        ":22: FUN-01: check.kind: a name is wanted",
    ),
    "no kind": (("{kind: property, all", "{all"), ":22: FUN-01: `kind` or one of at_least, "),
    "unknown parameter": (
        ("      kind: property\n", "      kind: property\n      most: 1\n"),
        ":31: FUN-02: check.most: Object contains unknown field `most`; write one of ",
    ),
    "parameter of a wrong type": (
        ("at_most: 300", "at_most: [300]"),
        ":22: FUN-01: check.all.0.at_most: Expected",
    ),
    "unknown subject": (
        ("subject: all_functions", "subject: functoins"),
        ":21: FUN-01: subject: unknown subject 'functoins'; known are ",
    ),
    "two equal ids": (
        ("id: FUN-02", "id: FUN-01"),
        ":24: requirements.1.id: FUN-01 is already taken (line 16)",
    ),
    "two equal categories": (("id: extra", "id: core"), ":11: categories.1.id: core is already taken"),
    "unknown category": (
        ("category: extra", "category: cores"),
        ":25: FUN-02: category: unknown category 'cores'; did you mean core? (one of core, extra)",
    ),
    "unknown field": (
        ("    fix: Set a timeout.\n", "    fix: Set a timeout.\n    fixed: yes\n"),
        ":24: FUN-01: fixed: Object contains unknown field `fixed`; did you mean fix? (one of id, ",
    ),
    "unknown field above": (
        ("version: 1\n", "version: 1\nverson: 1\n"),
        ":2: verson: Object contains unknown field `verson`; did you mean version? (one of version, title, ",
    ),
    "missing field": (
        ("    text: Every function ends within five minutes.\n", ""),
        ":16: requirements.0: Object missing required field `text`; it needs id, title, text, fix, check",
    ),
    "unknown key of the environment": (
        ("  default: dev\n", "  defualt: dev\n"),
        ":5: environment.defualt: Object contains unknown field `defualt`; did you mean default?",
    ),
    "missing section": (
        ("categories:\n", "environments:\n"),
        ":9: environments: Object contains unknown field `environments`; did you mean environment?",
    ),
    "wrong type": (
        ("title: functions end", "title: [x]"),
        ":19: FUN-01: title: Expected `str`, got `array`",
    ),
    "text too short": (
        ("title: functions end", "title: ''"),
        ":19: FUN-01: title: Expected `str` of length >= 1",
    ),
    "about no environment": (
        ("title: functions end", "title: functions end\n    in: []"),
        ":20: FUN-01: in: Expected `array` of length >= 1",
    ),
    "bad severity": (
        ("severity: high", "severity: severe"),
        ":18: FUN-01: severity: Invalid enum value 'severe'; write one of high, medium, low",
    ),
    "bad id": (
        ("id: FUN-01", "id: fun 1"),
        ":16: requirements.0.id: expected up to 40 letters, digits, dots, hyphens and underscores",
    ),
    "bad category": (
        ("category: core", "category: the core"),
        ":17: FUN-01: category: expected up to 40 letters, digits, hyphens and underscores, such as security",
    ),
    "id a number": (("id: FUN-01", "id: 7"), ":16: requirements.0.id: Expected `str`, got `int`"),
    "check a list": (
        ("check: {kind: property, all: [{path: Timeout, at_most: 300}]}", "check: []"),
        ":22: FUN-01: check: Expected `object`, got `array`",
    ),
    "gate a text": (("gate: true", "gate: maybe"), ":10: categories.0.gate: Expected `bool`, got `str`"),
    "nothing gates": (
        ("gate: true", "gate: false"),
        ":9: categories: none that affects the gate has a requirement",
    ),
    "another version": (("version: 1", "version: 2"), ":1: version 2 is not known"),
    "version a text": (("version: 1", "version: '1'"), ":1: version: Expected `int`, got `str`"),
    "merge": (("  context: env\n", "  <<: {context: env}\n"), ":4:3: not valid YAML: a merge key"),
    "a key twice": (
        ("  context: env\n", "  default: x\n"),
        ":5:3: not valid YAML: the key 'default' stands twice",
    ),
    "no regular expression": (
        ('"dev|pr[0-9]+"', '"dev("'),
        ":8: environment.throwaway: no regular expression",
    ),
    "probe is the default": (
        ("probe: pr1", "probe: dev"),
        ":6: environment.probe: must be another environment",
    ),
    "probe of another class": (
        ("probe: pr1", "probe: prod"),
        ":6: environment.probe: must be another environment",
    ),
    "probe empty": (("probe: pr1", "probe: ''"), ":6: environment.probe: Expected `str` of length >= 1"),
    "retained throwaway": (
        ("[staging, prod]", "[staging, pr2]"),
        ":7: environment.retained: must name environm",
    ),
    "retained nothing": (("[staging, prod]", "[]"), ":7: environment.retained: must name environments"),
    "region no region": (
        ("  context: env\n", "  region: Frankfurt\n"),
        ":4: environment.region: Expected `str`",
    ),
    "environment a text": (
        (DOCUMENT[DOCUMENT.index("  context") : DOCUMENT.index("categories")], "  dev\n"),
        ":3: environment: Expected `object`, got `str`",
    ),
}


@pytest.mark.parametrize(("change", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(tmp_path: Path, change: tuple[str, str], error: str) -> None:
    path = write(tmp_path, change)
    with pytest.raises(InputError) as raised:
        bind(load(path))
    assert str(raised.value).startswith(f"{path}{error}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("", ": the file is empty"),
        ("- a\n- b\n", ":1: the document: Expected `object`, got `array`"),
        ("just words", ":1: the document: Expected `object`, got `str`"),
        ("{}", ":1: the document: Object missing required field `version`"),
        ("a: [}", ":1:5: not valid YAML"),
    ],
    ids=["empty", "a list", "words", "an empty mapping", "no yaml"],
)
def test_what_is_no_document(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}{error}")


def test_a_word_with_other_hyphens_is_meant() -> None:
    assert hint("a_b_c_d", ["a-b-c-d"]) == "did you mean a-b-c-d? (one of a-b-c-d)"
