"""Pipelines with a part missing, or two of a part, and properties that are not what CloudFormation wants.

Mutants, which are made by the thousand, are `compliance.mutation`'s: see test_mutation.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import pytest
from witness import (
    ROLES,
    Change,
    Draft,
    all_of,
    bases,
    copy_of,
    differences,
    judge,
    parameter,
    put,
    remove,
    statuses,
)

from compliance.model import InputError, Status
from compliance.mutation import edited
from compliance.mutation.generic import LEFT_OPEN, OPEN, walk
from tools.mutants.spellings import function, let, mapping, role

EVERY = ("app", "typescript", "handwritten")
FUNCTION = "AWS::Lambda::Function"

# A part missing, or two of it

MISSING: Mapping[str, tuple[str, ...]] = {
    "orders_table": ("ARC-03",),
    "stream_mapping": ("ARC-03", "ARC-06", "ERR-02"),
    "processor": ("ARC-03",),
    "dlq": ("ARC-06", "ARC-07", "ERR-02"),
    "audit_mapping": ("ARC-06", "ARC-07"),
    "audit_function": ("ARC-06", "ARC-07"),
    "audit_table": (),
    "processor_role": ("SEC-03",),
    "audit_role": ("SEC-03",),
    "bucket": (),
}
# What still depends on a part: its name, and what is asked of it alone.
DEPENDS_ON: Mapping[str, str] = {
    "orders_table": "ARC-01 ARC-02 NAM-01 SRV-01",
    "stream_mapping": "ARC-04 ERR-01",
    "processor": "ARC-05 SRV-03 SEC-04 MON-01 NAM-04",
    "dlq": "ERR-03 ERR-04 SEC-04 SEC-05 NAM-03",
    "audit_mapping": "HRD-01",
    "audit_function": "ARC-08 SRV-04 SEC-05 NAM-06",
    "audit_table": "ARC-08 SRV-05 SRV-06 NAM-05",
    "processor_role": "SEC-04",
    "audit_role": "SEC-05",
    "bucket": "ARC-05 SEC-01 SEC-02 SRV-07 NAM-02",
}


@pytest.mark.parametrize("part", ROLES)
@pytest.mark.parametrize("name", EVERY[1:])  # our own app has a second bucket, which is then the bucket
def test_a_part_missing(name: str, part: str) -> None:
    base = next(base for base in bases() if base.name == name)
    results = {r.id: r.verdict for r in base.judge(remove(part))}
    changed = differences(base.statuses, {id_: verdict.status for id_, verdict in results.items()})
    assert {id_ for id_, status in changed.items() if status is Status.FAIL} == set(MISSING[part])
    assert all(
        changed[id_] is Status.NOT_ASSESSED for id_ in DEPENDS_ON[part].split() if id_ not in base.failing
    )
    # It says for want of what.
    doubts = [results[id_].why for id_, status in changed.items() if status is Status.NOT_ASSESSED]
    assert all(why and ": no resource is " in why for why in doubts), doubts


NAMES = (
    "TableName",
    "BucketName",
    "QueueName",
    "RoleName",
    "AlarmName",
    "TopicName",
    "LogGroupName",
    "AliasName",
)


def clone(draft: Draft) -> None:
    """The whole pipeline once more in the same stack, without names."""
    ids = sorted(draft.resources, key=len, reverse=True)
    nameless_ones = {key: nameless(raw) for key, raw in copy_of(draft.resources).items()}
    text = re.sub("|".join(map(re.escape, ids)), lambda m: f"{m[0]}Copy", json.dumps(nameless_ones))
    draft.resources.update(json.loads(text))


def nameless(raw: Any) -> Any:
    own = raw.get("Properties", {})
    for name in NAMES + (("FunctionName",) if raw["Type"] == FUNCTION else ()):
        own.pop(name, None)
    return raw


def two_without_names(draft: Draft) -> None:
    for raw in draft.resources.values():
        nameless(raw)
    clone(draft)


BROKEN = dict.fromkeys(("ARC-03", "ARC-06", "ARC-07", "ERR-02"), Status.FAIL)


@pytest.mark.parametrize("name", EVERY)
def test_names_decide_between_two_pipelines(name: str) -> None:
    base = next(base for base in bases() if base.name == name)
    assert differences(base.statuses, statuses(base.judge(clone))) == {}


@pytest.mark.parametrize("name", EVERY)
def test_two_pipelines_without_names_are_one_too_many(name: str) -> None:
    base = next(base for base in bases() if base.name == name)
    results = {r.id: r.verdict for r in base.judge(two_without_names)}
    assert {id_: v.status for id_, v in results.items() if id_ in BROKEN} == BROKEN
    assert {v.status for id_, v in results.items() if id_.startswith(("NAM", "SRV-01", "SRV-03"))} == {
        Status.NOT_ASSESSED
    }
    assert "several could be" in str(results["SRV-03"].why)


def reader(source: Any, action: str, target: Any) -> Change:
    """A second function on a stream or a queue."""
    return all_of(
        role("Role2", let(action, target)),
        function("Function2", "Role2"),
        mapping("Map2", source, "Function2"),
    )


STREAM, DLQ = ({"Fn::GetAtt": [f"@{r}", a]} for r, a in (("orders_table", "StreamArn"), ("dlq", "Arn")))
ON_FAILURE = "stream_mapping.DestinationConfig.OnFailure.Destination"
NOT_SAID = {"Ref": "Open"}
WIRES: Mapping[str, tuple[Change, Mapping[str, Status]]] = {
    "a second function on the stream": (reader(STREAM, "dynamodb:GetRecords", STREAM), {}),
    # The two share the messages: those that the other takes are not audited.
    "a second reader of the DLQ": (reader(DLQ, "sqs:ReceiveMessage", DLQ), {"ARC-06": Status.FAIL}),
    "the table's own ARN": (
        put("stream_mapping.EventSourceArn", {"Fn::GetAtt": ["@orders_table", "Arn"]}),
        {"ARC-03": Status.FAIL},
    ),
    "another table's stream": (
        put("stream_mapping.EventSourceArn", {"Fn::GetAtt": ["@audit_table", "StreamArn"]}),
        {"ARC-03": Status.FAIL},
    ),
    "a stream left open": (put("stream_mapping.EventSourceArn", NOT_SAID), {"ARC-03": Status.NOT_ASSESSED}),
    "a queue left open": (
        put("audit_mapping.EventSourceArn", NOT_SAID),
        dict.fromkeys(("ARC-06", "ARC-07"), Status.NOT_ASSESSED),
    ),
    "failures left open": (
        put(ON_FAILURE, NOT_SAID),
        dict.fromkeys(("ARC-06", "ERR-02"), Status.NOT_ASSESSED),
    ),
    "a bucket left open": (
        put("processor.Environment.Variables", {"B": NOT_SAID}),
        {"ARC-05": Status.NOT_ASSESSED},
    ),
    "a stream by its label": (
        put(
            "stream_mapping.EventSourceArn",
            {"Fn::Sub": "${@orders_table.Arn}/stream/2024-01-01T00:00:00.000"},
        ),
        {},
    ),
    "a role by its ARN": (
        put("processor.Role", {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/${@processor_role}"}),
        {},
    ),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("wire", WIRES)
def test_wire(wire: str, name: str) -> None:
    base = next(base for base in bases() if base.name == name)
    change, expected = WIRES[wire]
    assert differences(base.statuses, statuses(base.judge(all_of(parameter("Open"), change)))) == expected


NAMED = ("orders_table.TableName", "bucket.BucketName", "dlq.QueueName", "processor.FunctionName")
NAMED += ("audit_table.TableName", "audit_function.FunctionName", "processor_role.RoleName")


@pytest.mark.parametrize("number", range(len(NAMED)))
def test_a_name_left_open_is_the_names_matter_alone(number: int) -> None:
    base = next(base for base in bases() if base.name == "typescript")
    change = all_of(parameter("Open"), put(NAMED[number], {"Fn::Sub": "${Open}-backend"}))
    # The bucket's name would end in the account: whatever Open is, this is another one.
    status = Status.FAIL if NAMED[number].startswith("bucket") else Status.NOT_ASSESSED
    wanted = {f"NAM-0{number + 1}": status}
    assert differences(base.statuses, statuses(base.judge(change))) == wanted


# Not what CloudFormation wants: any verdict will do, but one there must be

CONDITIONS = ((("Conditions", OPEN), {"Fn::Equals": [{"Ref": OPEN}, "yes"]}),)
ODD: tuple[Any, ...] = (
    *(None, [], {}, [None], [[1]], [{"x": None}], "", "x", "é\0", 3.5, -1, 10**30, 1e300, True, {"a": 1}),
    *(
        {"Ref": OPEN},
        {"Fn::Sub": "${LeftOpen}-x"},
        {"Fn::Split": [",", {"Ref": OPEN}]},
        {"Ref": "AWS::NoValue"},
    ),
    *(
        {"Fn::If": ["LeftOpen", 1, 2]},
        [{"Fn::If": ["LeftOpen", 1, 2]}],
        {"Fn::GetAZs": ""},
        {"Fn::Base64": "x"},
    ),
    *({"Fn::Transform": {"Name": "X"}}, {"Fn::FindInMap": ["no", "x", "y"]}, {"Fn::Select": [9, []]}),
)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", EVERY)
def test_odd_properties_end_in_verdicts(name: str, seed: int) -> None:
    base = next(base for base in bases() if base.name == name)
    places = [
        (key, "Properties", *path)
        for key, raw in base.units["dev"].template["Resources"].items()
        for path, _ in walk(raw.get("Properties", {}), ())
    ]
    chosen = random.Random(seed)  # noqa: S311
    for _ in range(12):
        place, odd = chosen.choice(places), chosen.choice(ODD)
        draft = base.draft()
        for where, what in ((("Resources", *place), odd), *LEFT_OPEN, *CONDITIONS):
            draft.template = edited(draft.template, where, what)
        try:
            results = judge({"dev": draft.stacks()})
        except InputError:
            continue
        for result in results:
            assert result.verdict.why or result.verdict.evidence, (result.id, place, odd)
            assert all(e.found and e.wanted for e in result.verdict.evidence), (result.id, place, odd)
