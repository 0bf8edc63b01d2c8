"""docs/: what is made of code has not drifted, every example holds, every link leads somewhere."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from compliance.auditing import Options, audit
from compliance.cli import main
from compliance.document import requirements as document
from compliance.model import Scorecard, Status
from compliance.rules import KINDS, bind
from tools import docs

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
MADE = ("controls.md", "generality.md", "kinds.md", "requirements.md")
bind(document.load())


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return docs.pages()


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_has_not_drifted(name: str, made: dict[str, str]) -> None:
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == made[name], "run `make docs`"


def test_every_page_that_is_made_is_compared(made: dict[str, str]) -> None:
    assert set(made) == set(MADE)


@pytest.mark.parametrize("name", docs.COUNTED)
def test_a_page_has_the_totals_of_today(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert docs.with_totals(text) == text, "run `make docs`"
    assert (
        docs.with_totals("GREEN 1/1 requirements, 2/2 hardening") != "GREEN 1/1 requirements, 2/2 hardening"
    )


def test_a_control_is_covered_by_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for covered in ("by: [HRD-99]", "by: [AwsSolutions-S99]", "by: []"):
        table = tmp_path / "controls.yaml"
        control = f"{{id: S3.1, title: a control, {covered}}}"
        table.write_text(f"source: s\nservices: [{{name: S3, page: p, controls: [{control}]}}]\n")
        monkeypatch.setattr(docs, "CONTROLS", table)
        with pytest.raises(ValueError, match=r"S3\.1: covered by .*which is not there"):
            docs.controls(document.load())


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_has_prose_and_an_example(name: str) -> None:
    assert docs.examples(KINDS[name])


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Scorecard:
    """Our own app judged by a document of the examples, as kinds.md shows them."""
    text = (ROOT / "docs" / "kinds.md").read_text(encoding="utf-8").partition("## Kinds")[2]
    own = yaml.safe_load(document.OWN.read_text(encoding="utf-8"))
    blocks = re.findall(r"```yaml\n(.*?)\n```", text, re.DOTALL)
    requirements = [
        {"id": f"EX-{n:02}", "category": "core", "title": "example", "text": "example", "fix": "mend it"}
        for n in range(len(blocks))
    ]
    for requirement, block in zip(requirements, blocks, strict=True):
        requirement.update(yaml.safe_load(block))
    file = tmp_path_factory.mktemp("docs") / "requirements.yaml"
    shown = {**own, "categories": own["categories"][:1], "requirements": requirements}
    file.write_text(yaml.safe_dump(shown), encoding="utf-8")
    return audit(Options(requirements=file, skip_scanners=True, folder=ROOT))


def test_the_examples_of_the_kinds_hold_on_our_app(judged: Scorecard) -> None:
    assert len(judged.results) >= len(KINDS)
    unmet = {r.id: r.verdict for r in judged.results if r.verdict.status is not Status.PASS}
    assert not unmet


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_every_option_that_is_shown_exists(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    lines = re.findall(r"compliance audit[^`\n#]*", page.read_text(encoding="utf-8"))
    used = {option for line in lines for option in re.findall(r"--[a-z-]+", line)}
    assert used <= known


# The course in scenarios and laws

HANDLERS = Path(__file__).parents[2] / "docs" / "handlers.md"


def test_every_example_of_the_course_holds_of_our_handlers(tmp_path: Path) -> None:
    from judged import DOCUMENT, NODE, cases, code_of, template

    blocks = re.findall(r"```yaml\n(subject:.*?)```", HANDLERS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    head = (
        "version: 1\ntitle: A course\nenvironment: {}\ncategories: [{id: one, title: One}]\nrequirements:\n"
    )
    words = "category: one, title: An example, text: An example., fix: None is wanted"
    entries = "".join(
        f"  - id: ONE-{i}\n    {words.replace(', ', chr(10) + '    ')}\n" + textwrap.indent(block, "    ")
        for i, block in enumerate(blocks)
    )
    file = tmp_path / "requirements.yaml"
    file.write_text(head + entries, encoding="utf-8")
    course = document.load(file)
    made = template({role: (code_of(role), NODE, "index.handler") for role in ("processor", "audit")})
    assets = {f"{role}.zip": code_of(role) for role in ("processor", "audit")}
    assert course.title != DOCUMENT.title
    for rule, case in cases(made, course, bind(course), assets):
        verdict = rule.judge(case)
        assert verdict.status is Status.PASS, (rule.requirement.id, verdict)
