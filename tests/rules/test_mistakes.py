"""Mistakes in documents: each is refused in one line, with its place and what was perhaps meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from compliance.auditing import load_document
from compliance.model import InputError

DOCUMENT = """\
version: 1
title: Mistakes
environment: {default: dev, values: {dev: {days: 7}, prod: {days: 30}}}
subjects:
  function: {type: "AWS::Lambda::Function", about: the function}
  role: {type: "AWS::IAM::Role", about: the role}
  subnets: {type: "AWS::EC2::Subnet", about: subnets, many: true}
  logs: {type: "AWS::Logs::LogGroup", about: logs}
  cluster: {type: "AWS::MemoryDB::Cluster", about: a cluster}
requirements:
  - id: AA-01
    title: something
    text: Something.
    fix: Mend it.
"""
EXPRESSIONS = {
    "self.Layers == 'x'": "column 16: Layers is a list, never 'x': `'x' in ...` asks whether it holds it",
    "trust(role).all(s, s.principals != '*')": "column 36: this is a list, never '*': `x in list` asks",
    "texts(self) != 'x'": "column 16: this is a list, never 'x'",
    "alarms_on(self) == null": "column 20: this is a list, never null",
    "self.Timeout == 'three'": "column 17: Timeout is a number, never 'three'",
    "self.Timeout == true": "column 17: Timeout is a number, never true",
    "self.SnapStart == 'On'": "column 19: SnapStart is an object, never 'On'",
    "self.Architectures == ['arm']": "column 24: Architectures.* is never 'arm'; did you mean 'arm64'?",
    "self.Layers.Arn == 'x'": "column 13: a list has no Arn; did you mean all(...) or exists(...)?",
    "range(3).Arn != 'x'": "a list has no Arn",
    "texts(self).Arn != 'x'": "a list has no Arn",
    "files(self).text != 'x'": "a list has no text",
    "values(self, 'Layers.*').Arn != 'x'": "a list has no Arn",
    "self.deletion_policy == 'retain'": "deletion_policy is never 'retain'; did you mean 'Retain'?",
    "subnets.all(s, subnet_kind(s) == 'Private')": "is never 'Private'; did you mean 'private'?",
    "!may(role, 's3:GetObjct', self)": "there is no action 's3:GetObjct'; did you mean 's3:getobject'?",
    "statements(role).all(s, !s.allows('s3'))": "'s3' is no action: one is service:Name",
    "statements(role).all(s, s.denies('s3:Zap*'))": "there is no action 's3:Zap*'",
    "['s3:GetObject', 's3:Putt'].all(a, !may(role, a, self))": "column 18: there is no action 's3:Putt'",
    "['s3:Putt'].filter(a, true).exists(a, statements(role).all(s, s.denies(a)))": "no action 's3:Putt'",
    "role.all(r, true)": "column 6: all: this is one resource, no list",
}
CHECKS = {
    "\n      each: function\n      that: !self.Timeout": "`str | null`, got `object`; put it in quotes",
    "{kind: permissions, allow: [{actions: ['s3:*', 's3:GetObjct'], on: '*'}]}\n    subject: role": (
        "AA-01: check: allow.0.actions: there is no action 's3:GetObjct'; did you mean 's3:getobject'?"
    ),
    "{kind: permissions, allow: [{actions: ['s3:Zap*'], on: '*'}]}\n    subject: role": (
        "there is no action 's3:Zap*'"
    ),
    "{each: function, that: true}": "AA-01: check.that: Expected `str | null`, got `bool`; put it in quotes",
    "{each: function, that: ['1', '2']}": "got `array`; one text is wanted",
    "{each: function, that: a, b}": "check.b: Object contains unknown field `b`",
    "{kind: property, all: [{path: Timout}]}\n    subject: function": "AA-01: check.all.0.path: AWS::",
    "{each: function, that: has(self.Role)}\n    in: [prd]": (
        "AA-01: in: no environment of `environment.values` is prd; did you mean prod?"
    ),
}


EVENTS = {
    "no member 'methd'; there are": "{http_api: {methd: GET}}",
    "no member 'bdy'; there are body": "{sqs: [{body: a}, {bdy: a}]}",
    "firehose: no member 'dat'; there are data": "{firehose: [{dat: a}]}",
    "sqs: a list of mappings is wanted": "{sqs: [a]}",
    "http_api: a mapping is wanted": "{http_api: [{method: GET}]}",
    "there is no trigger 'htp_api'; there are rest_api, http_api": "{htp_api: {method: GET}}",
    "an event has one trigger (rest_api": "{http_api: {method: GET}, sqs: []}",
    "no values of kind 'wrd' can be drawn; there are word": "{json: {id: {draw: id, as: wrd}}}",
    "no member 'keyy'; there are": "{sqs: [{event: {s3: [{keyy: a}]}}]}",
}
AROUND = {
    "check.faults.0.containng": "faults: [{service: s3, operation: '*', error: SlowDown, containng: a}]",
    "check.faults.0.eror: Object contains unknown field `eror`": "faults: [{service: s3, eror: a}]",
    "faults: dynamodb has no operation 'PutItm'; did you mean 'PutItem'?": (
        "faults: [{service: dynamodb, operation: PutItm, error: SlowDown}]"
    ),
    "faults: there is no service 'dynamodbb'; did you mean 'dynamodb'?": (
        "again: [{faults: [{service: dynamodbb, operation: '*', error: SlowDown}]}]"
    ),
    "faults: PutObject has no parameter 'Bukcet'; did you mean 'Bucket'?": (
        "faults: [{service: s3, operation: PutObject, error: SlowDown, where: {Bukcet: a}}]"
    ),
    "faults: there is no error 'SlowDwn'; did you mean 'SlowDown'?": (
        "faults: [{service: s3, operation: '*', error: SlowDwn}]"
    ),
    "faults: there is no error 'accessdeniedexception'; did you mean 'AccessDeniedException'?": (
        "faults: [{service: '*', operation: '*', error: accessdeniedexception}]"
    ),
    "names.functoin: there is no such subject; did you mean 'function'?": (
        "given: {parameters: {a: '{{names.function}}', b: '{{names.functoin}}'}}"
    ),
    "check.given.itms": "given: {itms: {}}",
    "check.again.0.aftr": "again: [{aftr: 3}]",
    "no values of kind 'wrd'": "given: {parameters: {a: '{{id}}'}, secrets: {b: {draw: id, as: wrd}}}",
    "'id' is drawn as uuid and as word": (
        "given: {secrets: {a: {draw: id, as: uuid}, b: {draw: id, as: word}}}"
    ),
    "no member 'methd'; there are": "again: [{event: {http_api: {methd: GET}}}]",
    "there is no trigger 'htp_api'": "again: [{event: {htp_api: {}}}]",
    "clock: '25:00' is no time in ISO 8601": "clock: '25:00'",
}
RECORDS = {
    "check: records.1: no source has such a record: sqs: no member 'bdy'": "records: [{body: a}, {bdy: a}]",
    "no values of kind 'wrd' can be drawn": "records: [{body: {draw: id, as: wrd}}]",
    "check: names.functoin: there is no such subject; did you mean 'function'?": (
        "given: {parameters: {a: '{{names.functoin}}'}}"
    ),
    "check.given.objcts": "given: {objcts: {}}",
    "check: no values of kind 'wrd' can be drawn": "given: {secrets: {a: {draw: id, as: wrd}}}",
}


def refused(folder: Path, text: str) -> str:
    path = folder / "requirements.yaml"
    path.write_text(DOCUMENT + text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_document(path)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}:")


@pytest.mark.parametrize(("expression", "message"), EXPRESSIONS.items())
def test_an_expression_that_nothing_makes_true(tmp_path: Path, expression: str, message: str) -> None:
    found = refused(tmp_path, f'    check:\n      each: function\n      that: "{expression}"\n')
    assert found.startswith("17: AA-01: check.that: column ")
    assert message in found


@pytest.mark.parametrize(("check", "message"), CHECKS.items())
def test_a_check_of_another_form(tmp_path: Path, check: str, message: str) -> None:
    assert message in refused(tmp_path, f"    check: {check}\n")


def test_an_action_of_a_link(tmp_path: Path) -> None:
    link = '{referred_by: function, may: "s3:GetObjct"}'
    code = f'  code: {{type: "AWS::S3::Bucket", about: a bucket, links: [{link}]}}\n'
    path = tmp_path / "requirements.yaml"
    text = DOCUMENT.replace("requirements:\n", f"{code}requirements:\n")
    path.write_text(f"{text}    check: {{each: function, that: has(self.Role)}}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"10: subjects.code.links.0.may: there is no action 's3:GetObjct'"):
        load_document(path)


@pytest.mark.parametrize("action", ["newservice:DoIt", "S3:getobject", "s3:Get*", "*", "s3:*"])
def test_actions_that_grants_may_name(tmp_path: Path, action: str) -> None:
    path = tmp_path / "requirements.yaml"
    check = f"{{kind: permissions, allow: [{{actions: ['{action}'], on: function}}]}}"
    path.write_text(f"{DOCUMENT}    subject: role\n    check: {check}\n", encoding="utf-8")
    assert load_document(path)


def test_a_comma_without_quotes(tmp_path: Path) -> None:
    entry = (
        "  - {id: AA-02, title: one, two, text: t, fix: f, check: {each: function, that: has(self.Role)}}\n"
    )
    text = "    check: {each: function, that: has(self.Role)}\n" + entry
    assert "unknown field `two`" in (found := refused(tmp_path, text))
    assert found.endswith("; a text with a comma needs quotes within { }")


def test_the_place_within_several_checks_and_lines(tmp_path: Path) -> None:
    first = "        - {each: function, that: has(self.Role)}\n"
    second = "        - each: function\n          that: |\n"
    second += "            has(self.Role) &&\n            has(self.Rolle)\n"
    found = refused(tmp_path, f"    check:\n      checks:\n{first}{second}")
    assert found.startswith("19: AA-01: check.checks.1.that: line 2, column 1: ")


@pytest.mark.parametrize(
    "expression",
    [
        "self.Timeout == '30' && self.Timeout <= 30 && self.MemorySize != '128'",
        "self.ReservedConcurrentExecutions == null && self.deletion_policy != null",
        "logs.RetentionInDays in [14, 30.0] && logs.RetentionInDays == 30.0 && cluster.DataTiering != true",
        "self.Environment.Variables[\\\"it's\\\"] == 'x'",
        "self.Architectures == ['arm64'] && self.Layers != []",
        "may(role, 's3:Get*', self) && may(role, '*', self) && may(role, 'unknownservice:Do', self)",
        "self.FileSystemConfigs == [] || self.Tags.exists(t, t.Value == 'x')",
    ],
)
def test_what_may_be_true_is_accepted(tmp_path: Path, expression: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(f'{DOCUMENT}    check: {{each: function, that: "{expression}"}}\n', encoding="utf-8")
    assert load_document(path)


@pytest.mark.parametrize("names", ["prod", "'pr*'", "pr7", "[staging, 'p[!r]*']", "'*-eu'"])
def test_environments_without_values_of_their_own(tmp_path: Path, names: str) -> None:
    """The names that the language knows by itself, previews, and patterns that may mean the same."""
    path = tmp_path / "requirements.yaml"
    values = DOCUMENT.replace("dev: {days: 7}, prod: {days: 30}", "dev: {days: 7}, 'live-*': {days: 30}")
    path.write_text(f"{values}    check: {{at_least: 1, of: subnets}}\n    in: {names}\n", encoding="utf-8")
    assert load_document(path)


def scenario(event: str, more: str = "again: []") -> str:
    check = f"scenario: {event}\n      expect: [error == null]\n      {more}"
    return f"    subject: function\n    check:\n      {check}\n"


@pytest.mark.parametrize(("message", "event"), EVENTS.items())
def test_an_event_that_no_source_sends(tmp_path: Path, message: str, event: str) -> None:
    """It is refused when the document is read, whether it stands in the check or under `events`."""
    found = refused(tmp_path, scenario(event))
    assert found.startswith("16: AA-01: check: scenario: ")
    assert message in found
    for named, place in ((event, "events.one"), (f"[{{json: 1}}, {event}]", "events.one.1")):
        found = refused(tmp_path, scenario("one") + f"events:\n  one: {named}\n")
        assert found.startswith(f"21: {place}: ")
        assert message in found


def test_a_wrong_event_that_no_scenario_names(tmp_path: Path) -> None:
    found = refused(tmp_path, scenario("{json: 1}") + "events:\n  one: {sqs: [{bdy: a}]}\n")
    assert found.startswith("21: events.one: sqs: no member 'bdy'")


def test_an_event_that_the_document_has_not(tmp_path: Path) -> None:
    found = refused(tmp_path, scenario("uplads") + "events:\n  uploads: {json: 1}\n")
    assert found.startswith(
        "16: AA-01: check: scenario: the document's events have no 'uplads'; did you mean uploads?"
    )


@pytest.mark.parametrize("event", ["{http_api: {method: GET}}", "one"])
@pytest.mark.parametrize(("message", "more"), AROUND.items())
def test_a_mistake_around_an_event(tmp_path: Path, message: str, more: str, event: str) -> None:
    found = refused(tmp_path, scenario(event, more) + "events:\n  one: {http_api: {method: GET}}\n")
    assert found.startswith(("16: AA-01: check", "19: AA-01: check"))
    assert message in found


@pytest.mark.parametrize(("message", "more"), RECORDS.items())
def test_a_mistake_in_a_law(tmp_path: Path, message: str, more: str) -> None:
    found = refused(tmp_path, f"    subject: function\n    check: {{law: replay, {more}}}\n")
    assert found.startswith("16: AA-01: check")
    assert message in found


def test_a_value_that_another_part_declares(tmp_path: Path) -> None:
    """What is right is not refused: `given` says of which kind a value of the event is."""
    given = "given: {secrets: {a: {draw: size, as: number}}}"
    path = tmp_path / "requirements.yaml"
    path.write_text(DOCUMENT + scenario("{s3: [{size: {draw: size}}]}", given), encoding="utf-8")
    assert load_document(path)
