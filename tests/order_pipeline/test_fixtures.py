"""The two reviewed stacks, and two that were written by others' habits, score what they must."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from compliance.auditing import Options, audit
from compliance.model import Scorecard, Status

pytestmark = pytest.mark.usefixtures("synthesised_once")
FIXTURES = Path(__file__).parents[1] / "fixtures"
# The review's own finding numbers, and the requirements that each must show up as.
FINDINGS = {
    "R1": {"NAM-02"},
    "R2": {"NAM-05"},
    "R3": {"DAT-01", "DAT-02", "DAT-03"},
    "R4": {"DAT-05"},
    "R5": {"SRV-02"},
    "R6": {"ERR-03"},
    "R7": {"NAM-06"},
    "R8": {"ERR-02"},
    "R9": {"DAT-06"},
    "R10": {"DAT-04"},
    "R11": {"SEC-06"},
    "R12": {"ERR-05"},
}


FLAWED = {
    "core": "10/10",
    "serverless": "7/8",
    "errors": "2/5",
    "security": "6/7",
    "monitoring": "3/3",
    "data": "0/6",
    "naming": "4/7",
}
# As of 2025-08-15, the day of the review.
CORRECTED = FLAWED | {"serverless": "8/8", "errors": "5/5", "security": "7/7", "data": "6/6", "naming": "7/7"}


def audited(name: str, **options: object) -> Scorecard:
    app = f"{sys.executable} {FIXTURES / name / 'app.py'}"
    return audit(Options(app=app, skip_scanners=True, **options))  # type: ignore[arg-type]


def score(card: Scorecard) -> dict[str, str]:
    return {category.id: f"{category.met}/{category.total}" for category in card.categories}


def failed(card: Scorecard, *, hardening: bool = False) -> set[str]:
    return {
        result.id
        for result in card.results
        if result.verdict.status is Status.FAIL and (hardening or result.category != "hardening")
    }


@pytest.fixture(scope="module")
def flawed() -> Scorecard:
    return audited("flawed")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What handlers did is the same on any day."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def corrected(cache: Path) -> Scorecard:
    return audited("corrected", as_of=date(2025, 8, 15), cache=cache)


def test_flawed_scores_32_of_46(flawed: Scorecard) -> None:
    assert {key: value for key, value in score(flawed).items() if key != "hardening"} == FLAWED
    assert not flawed.green


@pytest.mark.parametrize("finding", FINDINGS)
def test_flawed_shows_each_finding_of_the_review(flawed: Scorecard, finding: str) -> None:
    assert FINDINGS[finding] <= failed(flawed)


def test_flawed_fails_nothing_that_the_review_did_not_find(flawed: Scorecard) -> None:
    assert failed(flawed) == set().union(*FINDINGS.values())


@pytest.mark.parametrize(
    ("requirement", "words"),
    [
        ("DAT-05", "aws-sdk"),
        ("DAT-06", "context is not defined"),
        ("NAM-02", "dev-processed-data-bucket-backend"),
        ("ERR-03", "30 (the service's default)"),
        ("SEC-06", "in pr1 too"),
    ],
)
def test_flawed_evidence_says_what_was_found(flawed: Scorecard, requirement: str, words: str) -> None:
    result = next(result for result in flawed.results if result.id == requirement)
    assert any(words in item.found for item in result.verdict.evidence), result.verdict.evidence


def test_corrected_met_everything_on_the_day_of_the_review(corrected: Scorecard) -> None:
    assert not failed(corrected)
    assert {key: value for key, value in score(corrected).items() if key != "hardening"} == CORRECTED
    assert sum(c.met for c in corrected.categories if not c.hardening) == 46


def test_corrected_fails_hardening(corrected: Scorecard) -> None:
    expected = {"HRD-02", "HRD-03", "HRD-04", "HRD-05", "HRD-06", "HRD-07", "HRD-08", "HRD-09", "HRD-10"}
    expected |= {"HRD-11", "HRD-12", "HRD-13", "HRD-15", "HRD-16", "HRD-17"}
    assert failed(corrected, hardening=True) >= expected
    assert not corrected.green


def test_corrected_lost_its_runtime_since(cache: Path) -> None:
    card = audited("corrected", as_of=date(2026, 11, 25), cache=cache)
    assert failed(card) == {"SRV-02"}
    assert sum(c.met for c in card.categories if not c.hardening) == 45


def inputs() -> Iterator[object]:
    assembly = Options(assembly=FIXTURES / "typescript" / "assembly", skip_scanners=True)
    template = Options(template=FIXTURES / "handwritten" / "template.yaml", skip_scanners=True)
    yield pytest.param(assembly, {"SEC-06"}, id="TypeScript app")
    yield pytest.param(template, {"SEC-06", "ARC-09"}, id="hand-written YAML")


@pytest.mark.parametrize(("options", "unseen"), list(inputs()))
def test_other_habits_meet_the_same_requirements(options: Options, unseen: set[str]) -> None:
    card = audit(options)
    assert not failed(card)
    not_assessed = {
        result.id
        for result in card.results
        if result.verdict.status is Status.NOT_ASSESSED and result.category != "hardening"
    }
    assert not_assessed == unseen
    assert all(r.verdict.excused for r in card.results if r.id in unseen)


def test_a_nested_stack_that_is_not_here_is_never_green(tmp_path: Path) -> None:
    path = tmp_path / "outer.yaml"
    url = "https://bucket.s3.amazonaws.com/inner.json"
    path.write_text(
        f"Resources: {{Inner: {{Type: AWS::CloudFormation::Stack, Properties: {{TemplateURL: '{url}'}}}}}}"
    )
    card = audit(Options(template=path, skip_scanners=True))
    assert [p for p in card.problems if "Inner.TemplateURL: a nested stack whose template is not here" in p]
    assert not card.green
