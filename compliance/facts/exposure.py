"""Who outside of its account a resource is open to, by its own policies.

https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from compliance.facts.authorization import conditions_of, policies_on
from compliance.facts.conditions import UNKNOWN, Key, hold, known
from compliance.facts.iam import Statement, doubt
from compliance.facts.references import denoted_at
from compliance.facts.truth import Truth
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Unknown

ROLE, URL, FUNCTION = "AWS::IAM::Role", "AWS::Lambda::Url", "AWS::Lambda::Function"
STRANGER = "a stranger"
# What the requests of another account's principals and services have: its account, wherever one is named.
_THEIRS: Mapping[str, str] = {
    **dict.fromkeys(
        (*("aws:principalaccount", "aws:sourceaccount", "aws:sourceowner", "kms:calleraccount"),),
        STRANGER,
    ),
    **dict.fromkeys(
        (
            *("aws:principalarn", "aws:sourcearn", "kms:encryptioncontext:aws:logs:arn"),
            *("kms:encryptioncontext:aws:s3:arn", "kms:encryptioncontext:aws:sqs:arn"),
            *("kms:encryptioncontext:aws:sns:topicarn", "lambda:sourcefunctionarn"),
        ),
        f"arn:*:*:*:{STRANGER}:*",
    ),
}


def openings(assembly: Assembly, resource: Resource) -> Iterator[tuple[Statement | Resource, str, Truth]]:
    """What opens a resource to others: where, who they are in words, and whether it surely does."""
    for statement in policies_on(assembly, resource):
        if not statement.allow and "Effect" not in statement.open:
            continue
        for who in _strangers(statement, resource, assembly):
            if hold(statement.conditions, _key) is False:
                continue
            why = doubt(statement)
            tests = conditions_of(statement)
            yield statement, f"{who}{f' if {tests}' if tests else ''}", Unknown(why) if why else True
    if resource.type == FUNCTION:
        for url in assembly.resources(URL):
            path = "TargetFunctionArn"
            own = denoted_at(assembly, url, path, url.get(path), FUNCTION) is resource
            if own and url.get("AuthType") != "AWS_IAM":
                yield url, "everybody, by its URL", True


def _key(name: str) -> Key:
    """What a stranger's request has for a condition key: what it pleases, but for the account.

    An organisation (`aws:PrincipalOrgID`) is more than the account.
    """
    return known(_THEIRS[name]) if name in _THEIRS else UNKNOWN


def _strangers(statement: Statement, resource: Resource, assembly: Assembly) -> Iterator[str]:
    """Whom a statement names that is not of the resource's account."""
    if statement.not_principals or "NotPrincipal" in statement.open:
        yield "everybody but some"
    if "Principal" in statement.open:
        yield "whoever the deployment names"
    account = assembly.text(resource.stack.pseudo("AWS::AccountId"))
    for kind, name in statement.principals:
        if kind == "Service":
            # A role is handed to a service by whoever may pass it; that is of the account.
            if statement.resource.type != ROLE:
                yield f"{name}, for any account"
        elif name == "*":
            yield "everybody"
        elif _account(name) != account:
            yield name


def _account(principal: str) -> str | None:
    """The account of a principal, an ARN or a number; a placeholder there holds colons of its own."""
    if ":" not in principal.replace("${AWS::", ""):
        return principal
    fields = re.sub(r"\$\{AWS::", "${AWS\0", principal).split(":")
    return fields[4].replace("\0", "::") if len(fields) > 4 else None
