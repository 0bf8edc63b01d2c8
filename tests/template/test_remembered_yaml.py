"""YAML that was parsed before is not parsed again, and nothing that somebody else wrote is believed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from compliance.auditing import load_document
from compliance.document import waivers
from compliance.document.requirements import OWN
from compliance.model import InputError
from compliance.rules import applicability
from compliance.template import source, yaml_text
from compliance.template.cache import Parsed
from compliance.template.source import read_yaml, remembering

TEXT = "a:\n  b: [1, 2.5, true, null, text]\n"
WAIVER = """\
- scanner: checkov
  rule: CKV_1
  resource: A/B
  reason: The reason is a whole sentence of enough words.
  expires: 2027-01-31
"""


def parses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are parsed from now on."""
    parsed: list[str] = []
    real = yaml_text.parse

    def parse(text: str, path: Path) -> Any:
        parsed.append(text)
        return real(text, path)

    monkeypatch.setattr(yaml_text, "parse", parse)
    return parsed


def read(cache: Path | None, text: str = TEXT) -> Any:
    with remembering(Parsed(cache) if cache else None):
        data, lines = read_yaml(Path("x.yaml"), text=text)
    assert lines.at(("a", "b")) in (2, None)
    return data


def test_the_same_text_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = parses(monkeypatch)
    first = read(tmp_path / "cache")
    assert first == {"a": {"b": [1, 2.5, True, None, "text"]}}
    assert read(tmp_path / "cache") == first
    assert parsed == [TEXT]
    assert read(tmp_path / "cache", TEXT + "c: 1\n") == {**first, "c": 1}
    assert read(None) == first
    assert len(parsed) == 3, "another text, and without a memory the same, are parsed"


@pytest.mark.parametrize("forged", ["content", "secret", "permissions"])
def test_what_somebody_else_wrote_is_parsed_anew(
    forged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    first = read(cache)
    (entry,) = cache.glob("*.json")
    signature, _, content = entry.read_bytes().partition(b"\n")
    assert json.loads(content) == first
    if forged == "content":
        entry.write_bytes(signature + b"\n" + content.replace(b"text", b"fake"))
    elif forged == "secret":
        (cache / "secret").write_bytes(b"x" * 32)
    else:
        (cache / "secret").chmod(0o644)
    parsed = parses(monkeypatch)
    assert read(cache) == first
    assert parsed == [TEXT]


def test_another_parser_parses_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path / "cache")
    parsed = parses(monkeypatch)
    monkeypatch.setattr(source, "versions", lambda: "others")
    read(tmp_path / "cache")
    assert parsed == [TEXT]


def test_what_one_thread_remembers_another_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit with `--no-cache` may run beside one with a cache."""
    read(tmp_path / "cache")
    parsed = parses(monkeypatch)
    with remembering(Parsed(tmp_path / "cache")):
        thread = Thread(target=read_yaml, args=(Path("x.yaml"),), kwargs={"text": TEXT})
        thread.start()
        thread.join()
    assert parsed == [TEXT]


def test_a_long_text_that_many_aliases_repeat_is_refused(tmp_path: Path) -> None:
    text = f"a: &a '{'x' * 100_000}'\nb:\n" + "- *a\n" * 20_000
    with pytest.raises(InputError, match=r"x\.yaml: more than 500,000 nodes, aliases followed"):
        read(tmp_path / "cache", text)


def test_errors_are_never_remembered(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=r"x\.yaml:1"):
            read(tmp_path / "cache", "a: ]")
    assert not list(tmp_path.rglob("*.json"))


def test_waivers_are_remembered_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "waivers.yaml"
    file.write_text(WAIVER)
    with remembering(Parsed(tmp_path / "cache")):
        first, again = waivers.load(file), waivers.load(file)
    assert first == again == waivers.load(file)
    assert first[0].where == f"{file}:1"


def test_a_second_audit_loads_no_yaml(tmp_path: Path) -> None:
    code = "import sys\nfrom compliance.cli import main\ntry: main()\nfinally: print('yaml' in sys.modules)"
    (tmp_path / "t.json").write_text(json.dumps({"Resources": {"T": {"Type": "AWS::SNS::Topic"}}}))
    arguments = ["audit", "--template", tmp_path / "t.json", "--skip-scanners", "--skip-handlers", "--quiet"]
    for loaded in ("True", "False"):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={"COMPLIANCE_CACHE": str(tmp_path / "cache"), "PATH": ""},
            capture_output=True,
            text=True,
        )
        assert done.stdout.splitlines()[-1] == loaded, done.stderr


def test_a_document_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = applicability.check_subjects
    monkeypatch.setattr(
        applicability, "check_subjects", lambda document: (looked.append(document.title), real(document))
    )
    for cache, times in ((None, 1), (tmp_path, 2), (tmp_path, 2)):
        with remembering(Parsed(cache) if cache else None):
            document, rules = load_document(OWN)
        assert len(looked) == times
        assert [rule.requirement.id for rule in rules] == list(document.by_id)
    monkeypatch.setattr(source, "versions", lambda: "others")
    with remembering(Parsed(tmp_path)):
        load_document(OWN)
    assert len(looked) == 3, "another version looks through it anew"


DOCUMENT = """\
version: 1
title: A document
subjects: {log: {type: "AWS::Logs::LogGroup", about: the log}}
requirements:
  - {id: LOG-1, title: t, text: t, fix: f, check: {each: log, that: "self.PROPERTY == 7"}}
"""


def test_a_wrong_document_is_refused_each_time(tmp_path: Path) -> None:
    file = tmp_path / "requirements.yaml"
    with remembering(Parsed(tmp_path / "cache")):
        for name in ("RetentionInDays", "RetentionInDay", "RetentionInDay"):
            file.write_text(DOCUMENT.replace("PROPERTY", name))
            if name == "RetentionInDays":
                load_document(file)
                continue
            with pytest.raises(InputError, match="RetentionInDay"):
                load_document(file)


def test_versions_tell_a_changed_product(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "compliance" / "template"
    package.mkdir(parents=True)
    (package / ".#other.py").symlink_to("me@here.123")  # as Emacs locks a file
    monkeypatch.setattr(source, "__file__", str(package / "source.py"))
    found = []
    for text in ("a = 1", "a = 10"):
        (package / "other.py").write_text(text)
        source.versions.cache_clear()
        found.append(source.versions())
    source.versions.cache_clear()
    assert found[0] != found[1]


@pytest.mark.parametrize(
    "changed", ["schemas/version.json", "schemas/providers/us-east-1.json", "AdditionalSpecs/Policies.json"]
)
def test_versions_tell_data_of_cfn_lint_that_are_updated_in_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    package = tmp_path / "cfnlint"
    for name in ("schemas/providers", "schemas/resources", "AdditionalSpecs"):
        (package / "data" / name).mkdir(parents=True)
    written = ("data/schemas/version.json", "data/AdditionalSpecs/Policies.json")
    for name in ("__init__.py", "version.py", *written):
        (package / name).write_text("old")
    os.utime(package / "data/schemas/providers", (1, 1))  # clocks of files are coarse
    spec = importlib.util.spec_from_file_location("cfnlint", package / "__init__.py")
    real = importlib.util.find_spec
    monkeypatch.setattr(source, "find_spec", lambda name: spec if name == "cfnlint" else real(name))
    source.versions.cache_clear()
    before = source.versions()
    (package / "data" / changed).write_text("updated")
    source.versions.cache_clear()
    after = source.versions()
    source.versions.cache_clear()
    assert before != after
