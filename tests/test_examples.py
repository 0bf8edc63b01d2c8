"""Another team's stack, judged by its own document: no line of Python is theirs, but the app's."""

import sys
from pathlib import Path

import pytest

from compliance.auditing import Options, audit
from compliance.model import Scorecard, Status

pytestmark = pytest.mark.usefixtures("synthesised_once")
EXAMPLE = Path(__file__).parents[1] / "examples" / "http_api"
DOCUMENT = EXAMPLE / "requirements.yaml"
TEMPLATE = EXAMPLE / "template.yaml"
RED = {"API-02", "API-03", "DAT-01", "DAT-02", "OPS-02", "NAM-01"} | {"FUN-01", "FUN-02", "FUN-04", "FUN-05"}


def statuses(card: Scorecard) -> dict[str, Status]:
    """What is not met, by id."""
    return {r.id: r.verdict.status for r in card.results if r.verdict.status is not Status.PASS}


def audited(**context: str) -> Scorecard:
    app = f"{sys.executable} {EXAMPLE / 'app.py'}"
    return audit(Options(app=app, folder=EXAMPLE, requirements=DOCUMENT, context=context, skip_scanners=True))


def judged(template: Path) -> Scorecard:
    return audit(Options(template=template, requirements=DOCUMENT, skip_scanners=True))


def changed(folder: Path, *changes: tuple[str, str]) -> Path:
    text = TEMPLATE.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "template.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_green_variant_is_green() -> None:
    card = audited()
    assert card.green
    assert not statuses(card)
    assert len(card.results) == 19
    assert not card.problems


def test_the_red_variant_fails_what_it_breaks_and_nothing_else() -> None:
    card = audited(variant="red", env="staging")
    assert statuses(card) == dict.fromkeys(RED, Status.FAIL)
    assert not card.green


def test_the_document_is_short() -> None:
    """Fifteen lines a requirement at most."""
    entries = DOCUMENT.read_text(encoding="utf-8").partition("\nrequirements:\n")[2].split("\n\n")
    assert max(len(entry.strip().splitlines()) for entry in entries) <= 15


def test_the_hand_written_template_is_green() -> None:
    card = judged(TEMPLATE)
    assert card.green
    assert not statuses(card)


@pytest.mark.parametrize(
    ("old", "new", "failing"),
    [
        ('TimeoutInMillis: "6000"', 'TimeoutInMillis: "5999"', {"API-02"}),
        ("Timeout: 5\n", "Timeout: 6\n", {"API-02"}),
        ('ThrottlingRateLimit: "20", ', "", {"API-03"}),
        ('ThrottlingBurstLimit: "40"', "ThrottlingBurstLimit: 201", {"API-03"}),
        ('{WHERE: !Sub "dynamodb:${Store}"}', "{WHERE: dev-links}", {"DAT-01"}),
        ('SSEEnabled: "true"', 'SSEEnabled: "false"', {"DAT-02"}),
        ("PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false", {"DAT-03"}),
        ("[dynamodb:GetItem, dynamodb:PutItem]", '"dynamodb:*"', {"DAT-04"}),
        ("Runtime: python3.13", "Runtime: python3.9", {"OPS-01"}),
        ("RetentionInDays: 60", "RetentionInDays: 7", {"OPS-02"}),
        ('RetentionInDays: "365"', 'RetentionInDays: "400"', {"OPS-02"}),
        ("Threshold: 0", "Threshold: 1", {"OPS-03"}),
        ('{Name: !Sub "${Env}-links"', "{Name: links", {"NAM-01"}),
        ("Principal: apigateway.amazonaws.com", 'Principal: "*"', {"API-05"}),
    ],
)
def test_each_flaw_fails_its_requirement_alone(tmp_path: Path, old: str, new: str, failing: set[str]) -> None:
    assert statuses(judged(changed(tmp_path, (old, new)))) == dict.fromkeys(failing, Status.FAIL)


def test_what_is_not_there_fails_once_and_leaves_the_rest_unassessed(tmp_path: Path) -> None:
    """The call leads to no function of the stack: the wiring fails, what depends on it is not assessed."""
    card = judged(changed(tmp_path, ("function:${Worker}/invocations", "function:other/invocations")))
    found = statuses(card)
    assert {id for id, status in found.items() if status is Status.FAIL} == {"API-01"}
    unknown = {id for id, status in found.items() if status is Status.NOT_ASSESSED}
    assert unknown == {"API-02", "API-05", "DAT-01", "DAT-02", "DAT-03", "DAT-04"} | {
        *("OPS-01", "OPS-02", "OPS-03", "NAM-01", "NAM-02"),
        *(f"FUN-0{n}" for n in range(1, 6)),
    }
    why = next(r.verdict.why for r in card.results if r.id == "DAT-02")
    assert why.startswith(
        "table depends on function: no resource is the function that the API calls (AWS::Lambda::"
    )


def test_a_function_of_another_account_is_not_the_stacks(tmp_path: Path) -> None:
    """The name is the same, the account is not: written out, an ARN counts as a whole."""
    arn = '"arn:aws:lambda:us-east-1:999999999999:function:dev-shortener/invocations"'
    own = "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:function:"
    whole = f'!Sub "{own}${{Worker}}/invocations"'
    assert statuses(judged(changed(tmp_path, (whole, arn))))["API-01"] is Status.FAIL
    (tmp_path / "own").mkdir()
    literal = f'!Sub "{own}dev-shortener/invocations"'
    assert not statuses(judged(changed(tmp_path / "own", (whole, literal))))


# Uploads: S3 event -> function -> table and topic

UPLOADS = EXAMPLE.with_name("s3_uploads")


@pytest.mark.parametrize(
    ("template", "failing"),
    [
        ("template.yaml", set()),
        ("red.yaml", {"HND-02", "HND-03", "HND-04", "HND-05", "HND-06", "HND-07", "HND-08"}),
    ],
)
def test_uploads(template: str, failing: set[str]) -> None:
    options = Options(
        template=UPLOADS / template, requirements=UPLOADS / "requirements.yaml", skip_scanners=True
    )
    card = audit(options)
    assert statuses(card) == dict.fromkeys(failing, Status.FAIL)
    assert card.green is not bool(failing)


@pytest.mark.parametrize("stage", ["reading", "judging"])
def test_a_file_that_changes_meanwhile_is_a_problem(tmp_path: Path, stage: str) -> None:
    """Green would be about what is not there any more."""
    template = changed(tmp_path)
    text = template.read_text(encoding="utf-8")

    def progress(words: str) -> None:
        if words.startswith(stage) and "requirements" not in words:
            template.write_text(f"{text}# {words}\n", encoding="utf-8")

    options = Options(template=template, requirements=DOCUMENT, skip_scanners=True, skip_handlers=True)
    card = audit(options, progress)
    found = [problem for problem in card.problems if "changed while it was judged" in problem]
    assert len(found) == (stage == "judging")
    assert not audit(options).problems
