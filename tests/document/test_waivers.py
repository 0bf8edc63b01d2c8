from __future__ import annotations

import os
from datetime import date, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from compliance import scanners
from compliance.document.waivers import Outcome, Waiver, apply, check, load
from compliance.model import Finding, FindingStatus, InputError

TODAY = date(2026, 11, 25)
REASON = "The function reaches public AWS endpoints only, a VPC would protect nothing."
FINDING = Finding(
    scanner="checkov",
    rule="CKV_AWS_117",
    text="Ensure that AWS Lambda function is configured inside a VPC",
    stack="Pipe",
    logical_id="Fn123",
    construct_path="Pipe/Fn/Resource",
)
OTHER = replace(FINDING, logical_id="Other456", construct_path="Pipe/Other/Resource")
WAIVER = Waiver(
    scanner="checkov",
    rule="CKV_AWS_117",
    resource="Pipe/Fn/Resource",
    reason=REASON,
    expires="2027-06-30",
    where="waivers.yaml:7",
)


def changed(**fields: object) -> Waiver:
    values = {name: getattr(WAIVER, name) for name in WAIVER.__struct_fields__}
    return Waiver(**(values | fields))


def judge(*waivers: Waiver, findings: tuple[Finding, ...] = (FINDING,), **options: object) -> Outcome:
    return apply(findings, waivers, TODAY, **options)  # type: ignore[arg-type]


def problem(*waivers: Waiver, findings: tuple[Finding, ...] = (FINDING,)) -> str:
    _, problems, _ = judge(*waivers, findings=findings)
    assert len(problems) == 1, problems
    return problems[0]


def is_open(outcome: Outcome) -> bool:
    return all(finding.status is FindingStatus.OPEN for finding in outcome[0])


def test_the_product_s_own_file_can_be_read():
    waivers = load(Path(scanners.__file__).parents[1] / "waivers.yaml")
    assert waivers
    assert all(waiver.reason for waiver in waivers)


# What a waiver does


def test_a_waiver_marks_its_finding_with_reason_and_end():
    (finding,), problems, warnings = judge(WAIVER)
    assert finding.status is FindingStatus.WAIVED
    assert (finding.reason, finding.expires) == (REASON, "2027-06-30")
    assert not problems
    assert not warnings


def test_a_resource_without_construct_path_goes_by_stack_and_logical_id():
    bare = replace(FINDING, construct_path=None)
    (finding,), problems, _ = judge(changed(resource="Pipe/Fn123"), findings=(bare,))
    assert finding.status is FindingStatus.WAIVED
    assert not problems


def test_a_finding_about_the_whole_template_goes_by_its_stack():
    whole = replace(FINDING, construct_path=None, logical_id=None)
    (finding,), _, _ = judge(changed(resource="Pipe"), findings=(whole,))
    assert finding.status is FindingStatus.WAIVED


def test_rules_are_exact_even_where_they_hold_a_star():
    put, every = (replace(FINDING, rule=f"AwsSolutions-IAM5[Action::s3:{x}]") for x in ("Put*", "*"))
    (first, second), problems, _ = judge(changed(rule=every.rule), findings=(put, every))
    assert (first.status, second.status) == (FindingStatus.OPEN, FindingStatus.WAIVED)
    assert not problems


# What makes one red


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"expires": "2026-11-24"}, "expired on 2026-11-24; fix the finding, or argue it anew"),
        ({"expires": "2027-11-26"}, "more than a year from 2026-11-25; choose an earlier date"),
        ({"expires": "next year"}, "expires is 'next year'; write a date as YYYY-MM-DD"),
        ({"expires": "20270101"}, "write a date as YYYY-MM-DD"),
        ({"expires": "2027-02-30"}, "write a date as YYYY-MM-DD"),
        ({"expires": ""}, "write a date as YYYY-MM-DD"),
        ({"reason": "accepted"}, "the reason is no sentence"),
        ({"reason": "x" * 40}, "the reason is no sentence"),
        ({"scanner": "chekov"}, "there is no scanner 'chekov'; write one of cdk-nag, checkov, cfn-lint"),
        ({"rule": " "}, "it has no rule"),
        ({"resource": "Pipe/*"}, "a glob has to list under `matches`"),
        ({"matches": ("Pipe/Fn/Resource",)}, "`matches` is for globs"),
        (
            {"resource": "Pipe/Fm/Resource"},
            "matches no finding; the rule is broken elsewhere: Pipe/Fn/Resource",
        ),
        ({"rule": "CKV_AWS_171"}, "matches no finding; take it out, or correct its rule"),
    ],
)
def test_a_bad_waiver_waives_nothing_and_says_which_and_why(fields, told):
    waiver = changed(**fields)
    line = problem(waiver)
    assert line.startswith(f"waivers.yaml:7: {waiver.scanner} {waiver.rule} on {waiver.resource}: ")
    assert told in line
    assert is_open(judge(waiver))


@pytest.mark.parametrize(
    "fields", [{"expires": "next year"}, {"reason": "accepted"}, {"scanner": "chekov"}, {"rule": " "}]
)
def test_one_that_could_waive_nothing_on_any_day_is_refused_before_the_work(fields):
    with pytest.raises(InputError, match=r"^waivers\.yaml:7: "):
        check([WAIVER, changed(**fields)])
    check([WAIVER, changed(expires="2026-11-24")])  # it has expired: the findings say so


def test_a_waiver_holds_through_its_last_day_and_for_a_whole_year():
    for expires in ("2026-11-25", "2027-11-25"):
        (finding,), problems, _ = judge(changed(expires=expires))
        assert finding.status is FindingStatus.WAIVED
        assert not problems


def test_the_last_year_of_all_has_none_after_it():
    (finding,), problems, _ = apply([FINDING], [changed(expires="9999-12-31")], date(9999, 12, 31))
    assert (finding.status, problems) == (FindingStatus.WAIVED, ())


def test_a_year_after_the_leap_day():
    (finding,), problems, _ = apply([FINDING], [changed(expires="2029-02-28")], date(2028, 2, 29))
    assert not problems
    assert finding.status is FindingStatus.WAIVED


@pytest.mark.parametrize(
    ("days", "told"), [(31, None), (30, "expires in 30 days"), (1, "expires in 1 day,"), (0, "expires today")]
)
def test_it_warns_in_the_last_thirty_days(days, told):
    expires = (TODAY + timedelta(days=days)).isoformat()
    _, problems, warnings = judge(changed(expires=expires))
    assert not problems
    assert len(warnings) == (told is not None)
    assert all(told in warning and "waivers.yaml:7" in warning for warning in warnings)


def test_the_day_of_the_audit_decides():
    early, late = (apply([FINDING], [WAIVER], day) for day in (date(2026, 7, 1), date(2027, 7, 1)))
    assert not early[1]
    assert "expired on 2027-06-30" in late[1][0]


def test_the_same_waiver_twice_is_one_too_many():
    line = problem(WAIVER, changed(where="waivers.yaml:20"))
    assert line.startswith("waivers.yaml:20")
    assert "waivers.yaml:7 waives this already" in line


@pytest.mark.parametrize("resource", ["Pipe/Fn/Resource", "Pipe/*"])
def test_the_first_waiver_keeps_its_reason_and_its_end(resource):
    other = changed(
        resource=resource,
        matches=("Pipe/Fn/Resource",) if "*" in resource else (),
        reason="Another reason, which nobody has weighed for this finding.",
        expires="2026-12-31",
        where="waivers.yaml:20",
    )
    (finding,), _, _ = judge(WAIVER, other)
    assert (finding.reason, finding.expires) == (WAIVER.reason, WAIVER.expires)
    (finding,), _, _ = judge(other, WAIVER)
    assert (finding.reason, finding.expires) == (other.reason, other.expires)


def test_a_glob_that_overlaps_an_exact_waiver_would_outlive_it():
    glob = changed(resource="Pipe/*", matches=("Pipe/Fn/Resource",), where="waivers.yaml:20")
    assert "waives this already" in problem(WAIVER, glob)


# Globs


def test_a_glob_waives_what_it_lists():
    glob = changed(resource="Pipe/*/Resource", matches=("Pipe/Fn/Resource", "Pipe/Other456"))
    findings, problems, _ = judge(glob, findings=(FINDING, OTHER))
    assert {finding.status for finding in findings} == {FindingStatus.WAIVED}
    assert not problems


def test_a_resource_added_since_is_named_and_stays_open():
    glob = changed(resource="Pipe/*/Resource", matches=("Pipe/Fn/Resource",))
    (old, new), problems, _ = judge(glob, findings=(FINDING, OTHER))
    assert (old.status, new.status) == (FindingStatus.WAIVED, FindingStatus.OPEN)
    (new, old), _, _ = judge(glob, findings=(OTHER, FINDING))
    assert (old.status, new.status) == (FindingStatus.WAIVED, FindingStatus.OPEN)
    assert "also matches Pipe/Other/Resource, which it was not granted for" in problems[0]


def test_one_resource_replaced_by_another_does_not_pass_for_the_same():
    glob = changed(resource="Pipe/*/Resource", matches=("Pipe/Fn/Resource",))
    findings, problems, _ = judge(glob, findings=(OTHER,))
    assert findings[0].status is FindingStatus.OPEN
    assert [("also matches" in p, "no longer matches" in p) for p in problems] == [
        (True, False),
        (False, True),
    ]


def test_a_glob_that_matches_nothing_is_red():
    assert "matches no finding" in problem(changed(resource="Pope/*", matches=("Pope/Fn",)))


def test_brackets_in_a_path_are_no_character_sets():
    odd = replace(FINDING, construct_path="Pipe/Fn[1]/Resource")
    glob = changed(resource="Pipe/Fn[1]/*", matches=("Pipe/Fn[1]/Resource",))
    (finding,), problems, _ = judge(glob, findings=(odd,))
    assert finding.status is FindingStatus.WAIVED
    assert not problems


# What can't be seen is not judged


@pytest.mark.parametrize(
    "passed_over",
    [{"expires": "2020-01-01"}, {"scanner": "cdk-nag"}, {"environments": ("prod",)}],
    ids=str,
)
def test_a_waiver_that_is_passed_over_hides_none_after_it(passed_over):
    first = changed(where="waivers.yaml:1", **passed_over)
    (finding,), _, _ = judge(first, WAIVER, ran=("checkov",), environment="dev")
    assert finding.status is FindingStatus.WAIVED


def test_a_waiver_for_a_scanner_that_did_not_run_is_left_alone():
    assert not judge(WAIVER, findings=(), ran=("cdk-nag",))[1]
    assert judge(changed(expires="2020-01-01"), findings=(), ran=())[1], "but a bad date is seen all the same"


def test_a_waiver_may_be_for_some_environments_only():
    waiver = changed(environments=("dev", "pr*"))
    assert not is_open(judge(waiver, environment="pr12"))
    assert not is_open(judge(waiver)), "where the environment is not known, it counts"
    assert is_open(judge(waiver, environment="staging"))
    assert not judge(waiver, findings=(), environment="staging")[1]


# The file


def write(folder: Path, text: str) -> Path:
    path = folder / "waivers.yaml"
    path.write_text(text)
    return path


GOOD = f"""\
# a comment
- scanner: checkov
  rule: CKV_AWS_117
  resource: Pipe/Fn/Resource
  reason: {REASON}
  expires: 2027-06-30
"""


def test_a_file_becomes_waivers_that_know_their_line(tmp_path):
    (waiver,) = load(write(tmp_path, GOOD))
    assert waiver == changed(where=f"{tmp_path / 'waivers.yaml'}:2")


def test_every_scalar_is_taken_as_it_is_written(tmp_path):
    (waiver,) = load(write(tmp_path, GOOD.replace("CKV_AWS_117", "1_000").replace("2027-06-30", "yes")))
    assert (waiver.rule, waiver.expires) == ("1_000", "yes")


@pytest.mark.parametrize("text", ["", "# nothing\n", "[]\n", "# as delivered\n[]\n"])
def test_no_waivers_is_fine(tmp_path, text):
    assert load(write(tmp_path, text)) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: ]", ":1: no YAML"),
        ("- &a [*a]", ":1: a waiver is a mapping"),
        (GOOD.replace("CKV_AWS_117", "&a [*a]"), ":3: Expected `str`, got `array`"),
        ("waivers: []", ":1: a list of waivers is wanted"),
        ("- CKV_AWS_117", ":1: a waiver is a mapping with scanner, rule"),
        (GOOD + "  until: 2027\n", ":7: Object contains unknown field `until`"),
        (GOOD.replace("  expires: 2027-06-30\n", ""), ":2: Object missing required field `expires`"),
        (GOOD.replace("CKV_AWS_117", "[CKV_AWS_117]"), ":3: Expected `str`, got `array` - at `$.rule`"),
        (GOOD + "  rule: CKV_AWS_116\n", ":7: rule is stated twice"),
        (GOOD + "  where: here\n", ":7: Object contains unknown field `where`"),
        (GOOD + "\x07", "no YAML"),
    ],
)
def test_what_is_no_list_of_waivers_is_refused_with_its_line(tmp_path, text, told):
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, text))
    assert told in str(caught.value)
    assert str(tmp_path / "waivers.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"waivers\.yaml: no such file"):
        load(tmp_path / "waivers.yaml")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "waivers.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="not UTF-8"):
        load(tmp_path / "waivers.yaml")


def test_lists_are_read_as_lists(tmp_path):
    lists = "  matches:\n    - Pipe/Fn/Resource\n    - Pipe/2\n  environments: [dev, pr*]\n"
    (waiver,) = load(write(tmp_path, GOOD.replace("Pipe/Fn/Resource", "Pipe/*") + lists))
    assert (waiver.matches, waiver.environments) == (("Pipe/Fn/Resource", "Pipe/2"), ("dev", "pr*"))


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_a_file_that_never_ends_is_refused_unread(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "waivers.yaml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.touch()
        os.truncate(path, 2**40)  # which takes no room
    with pytest.raises(InputError, match=r"not a regular file|is too large"):
        load(path)
