"""Our evaluation of IAM's policies against the emulator's, on policies drawn at random.

SimulatePrincipalPolicy of the emulator looks at a role's own policies: Allow and Deny, NotAction, NotResource
and wildcards. It takes no context and no resource policies, so conditions are no part of this.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from compliance.facts.authorization import may
from compliance.template.loading import load_template
from emulator.ministack import Emulator

ROUNDS = 40
ACTIONS = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:PutObjectAcl",
    "sqs:SendMessage",
    "dynamodb:PutItem",
    "S3:putobject",
)
RESOURCES = (
    "arn:aws:s3:::orders/in/a.json",
    "arn:aws:s3:::orders",
    "arn:aws:s3:::Orders/in/a.json",
    "arn:aws:sqs:us-east-1:111122223333:dlq",
    "arn:aws:dynamodb:us-east-1:111122223333:table/audits",
)
ACTION_PATTERNS = (
    *ACTIONS,
    "*",
    "s3:*",
    "s3:Put*",
    "s3:?etObject",
    "S3:PUT*",
    "*:Put*",
    "sqs:*Message",
    "s3:PutObjec?",
)
RESOURCE_PATTERNS = (
    *RESOURCES,
    *(
        "*",
        "arn:aws:s3:::orders/*",
        "arn:aws:s3:::orders*",
        "arn:aws:s3:::order?/??/*",
        "arn:aws:s3:::*/a.json",
    ),
    *("arn:aws:*:*:111122223333:*", "arn:aws:sqs:*:*:dl?", "arn:aws:dynamodb:*:*:table/*s"),
)


def statement(draw: random.Random) -> dict[str, Any]:
    def some(patterns: tuple[str, ...]) -> Any:
        found = draw.sample(patterns, draw.randint(1, 3))
        return found[0] if len(found) == 1 and draw.random() < 0.5 else found

    no = draw.random()
    return {
        "Effect": draw.choices(("Allow", "Deny"), (3, 1))[0],
        "NotAction" if no < 0.15 else "Action": some(ACTION_PATTERNS),
        "NotResource" if 0.1 < no < 0.25 else "Resource": some(RESOURCE_PATTERNS),
    }


def test_what_a_role_may_is_what_the_emulator_says(aws: Emulator, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**9)
    draw, iam = random.Random(seed), aws.client("iam")  # noqa: S311  no secret
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    allowed = 0
    for number in range(ROUNDS):
        documents = [
            {"Version": "2012-10-17", "Statement": [statement(draw) for _ in range(draw.randint(1, 3))]}
            for _ in range(draw.randint(1, 2))
        ]
        name = f"drawn-{seed}-{number}"
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
        for i, document in enumerate(documents):
            iam.put_role_policy(RoleName=name, PolicyName=f"p{i}", PolicyDocument=json.dumps(document))
        own = [{"PolicyName": f"p{i}", "PolicyDocument": document} for i, document in enumerate(documents)]
        properties = {"AssumeRolePolicyDocument": {"Statement": [trust]}, "Policies": own}
        template = {"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": properties}}}
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(template))
        assembly = load_template(path, region="us-east-1")
        [ours] = assembly.resources("AWS::IAM::Role")
        for resource in RESOURCES:
            answer = iam.simulate_principal_policy(
                PolicySourceArn=role["Role"]["Arn"], ActionNames=list(ACTIONS), ResourceArns=[resource]
            )
            for result in answer["EvaluationResults"]:
                action, said = result["EvalActionName"], result["EvalDecision"] == "allowed"
                found = may(assembly, ours, action, resource)
                assert found.allowed is said, (
                    seed,
                    action,
                    resource,
                    result["EvalDecision"],
                    found,
                    documents,
                )
                allowed += said
    assert 0 < allowed < ROUNDS * len(ACTIONS) * len(RESOURCES)
