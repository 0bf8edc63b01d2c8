"""Other spellings of the example documents' stacks: whoever wrote the document, none may alarm."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest

from compliance.mutation import inputs, run
from tools.mutants import ALL

EXAMPLES = Path(__file__).parents[2] / "examples" / "documents"
STACKS = {
    folder.name: template
    for folder in sorted(EXAMPLES.iterdir())
    for template in sorted([*folder.glob("corrected.yaml"), *folder.glob("corrected/*.yaml")])[:1]
}
# What a document asks for by its shape, name or order, so that the change is one in its eyes.
NAMES = "a resource is added, whose name is not as the document wants names"
ORDER = "the order of these items has a meaning"
ALARM = "the document states the alarm's own settings"
SHAPE = "the document asks for this operator alone"
OBJECT = "CloudFormation takes no list there"
CHANGES: dict[str, dict[str, str]] = {
    "cicd": {
        "everything in the opposite order": ORDER,
        "keys by alias": NAMES,
        "an alarm under a composite alarm": NAMES,
    },
    "data_lake": {"keys by alias": NAMES, "aws:SecureTransport by BoolIfExists false": SHAPE},
    "dr_payments": {"thresholds from above": ALARM, "an alarm under a composite alarm": NAMES},
    "event_routing": {
        "lists for single values": OBJECT,
        "aws:SecureTransport by BoolIfExists false": SHAPE,
    },
    "fraud_multi_env": {
        "every resource under a true condition": "the document wants no conditions",
        "bucket names by a parameter of the stack": NAMES,
        "an alarm under a composite alarm": NAMES,
    },
    "network_hub": dict.fromkeys(
        (
            "alarms as queries",
            "missing data is missing",
            "missing data is ignored",
            "missing data by default",
            "alarms fill what is missing",
        ),
        ALARM,
    ),
    "security_services": {
        "alarms as queries": ALARM,
        "thresholds from above": ALARM,
        "alarms fill what is missing": ALARM,
        "aws:SecureTransport by BoolIfExists false": SHAPE,
        "an unbound account": "the document wants one account, which is not known then",
        "keys allow a role of the account": "the document wants no statement for everybody",
    },
    "sns_notifications": {
        "two stacks, by exports": "a parameter is used in one of them alone",
        "two stacks, by outputs": "a parameter is used in one of them alone",
        "an alarm under a composite alarm": NAMES,
    },
    "static_site": {"aws:SecureTransport by BoolIfExists false": SHAPE},
    "telemetry": {"thresholds from above": ALARM},
    "web_infra": {
        "everything under a true condition": "the document asks for Fn::GetAZs itself",
        "everything under conditions of conditions": "the document asks for Fn::GetAZs itself",
        "keys by alias": NAMES,
    },
}


@pytest.mark.parametrize("name", STACKS)
def test_other_spellings_of_a_stack_stay_quiet(name: str) -> None:
    with ExitStack() as stack:
        ground = inputs.read(
            EXAMPLES / name / "requirements.yaml",
            app=None,
            assembly=None,
            template=STACKS[name],
            context={},
            environment=None,
            as_of=date(2026, 6, 1),
            handlers=False,
            stack=stack,
        )
        equals = run.equivalents(ground, ALL)
        judged = run.judge(ground, [], equals, processes=1)
    alarmed = {what: result.broken or result.refused for what, result in judged.alarmed}
    assert len(equals) > 30
    assert {what: why for what, why in alarmed.items() if what not in CHANGES.get(name, {})} == {}
    assert CHANGES.get(name, {}).keys() <= alarmed.keys(), "a change that the document does not mind"
