"""Who outside of its account may use a resource, by its own policies, and where it sends data to.

https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from compliance.facts.authorization import conditions_of, policies_on
from compliance.facts.conditions import ABSENT, UNKNOWN, Key, Lookup, hold, known
from compliance.facts.iam import Statement, doubt
from compliance.facts.patterns import arn_fields, is_pattern
from compliance.facts.references import FUNCTION, ROLE, denoted, denoted_at, holder_of
from compliance.facts.truth import Truth
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Unknown, Value, show, why_unknown

URL = "AWS::Lambda::Url"
STRANGER = "a stranger"
# The condition keys of a request by another account's principals and services that hold its account.
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


# Types whose settings only read from another account, or that other rules judge.
_WITHOUT = ("AWS::IAM::", "AWS::CloudWatch::")  # how their names begin
_POLICIES = ("Policy", "AWS::Lambda::Permission")  # how others end
_APART = ("Layers", "Environment", "Tags", "RuntimeManagementConfig", "CodeSigningConfigArn")

Opening = tuple[Resource, str, str, Truth]


def openings(assembly: Assembly, resource: Resource) -> Iterator[Opening]:
    """What opens a resource to other accounts.

    Yields: the resource and property that opens it, what it says in words, and True, or Unknown where only
    the deployment decides that it does.
    """
    for statement in policies_on(assembly, resource):
        if not statement.allow and "Effect" not in statement.open:
            continue
        for who in _strangers(statement, resource, assembly):
            lets = [why for key, why in _requests(statement, who, assembly) if holds(statement, key)]
            if not lets:
                continue
            why = doubt(statement) or (None if None in lets else lets[0])
            tests = conditions_of(statement)
            to = f"open to {who}{f' if {tests}' if tests else ''}"
            yield statement.resource, statement.property, to, Unknown(why) if why else True
    if resource.type == FUNCTION:
        for url in assembly.resources(URL):
            path = "TargetFunctionArn"
            is_its_url = denoted_at(assembly, url, path, url.get(path), FUNCTION) is resource
            if is_its_url and url.get("AuthType") != "AWS_IAM":
                yield url, "AuthType", "open to everybody, by its URL", True
    if not resource.type.startswith(_WITHOUT) and not resource.type.endswith(_POLICIES):
        own_account = assembly.text(resource.stack.pseudo("AWS::AccountId")) or ""
        for path, value in _settings(resource.properties, ""):
            if sure := _leads_away(assembly, path, value, own_account):
                yield resource, path, f"{show(value)}, of another account", sure


def _settings(value: Value, path: str) -> Iterator[tuple[str, Value]]:
    """Each value of a resource's settings with its path, without policies.

    A destination's bucket comes once more as `BucketAccountId` where the destination does not state an
    account.
    """
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if isinstance(value, dict) and "Statement" in value:
        return
    if not isinstance(value, dict | list):
        yield path, value
    for step, item in items:
        if step not in _APART:
            yield from _settings(item, f"{path}.{step}".lstrip("."))
    if isinstance(value, dict) and path.rpartition(".")[2] == "Destination":
        bucket = value.get("Bucket", value.get("BucketArn"))
        if bucket is not None and not {"Account", "BucketAccountId"} & value.keys():
            yield f"{path}.BucketAccountId", bucket


def _leads_away(assembly: Assembly, path: str, value: Value, own: str) -> Truth:
    """Whether a setting names another account than `own`: by its number, in an ARN, or by a bucket."""
    is_account, text = path.endswith(("Account", "AccountId")), assembly.text(value)
    if text is None:
        return Unknown(why_unknown(value) or show(value)) if is_account else False
    if is_account and text.startswith("arn:"):
        ours = denoted(assembly, value, "AWS::S3::Bucket")
        return False if ours else Unknown(f"of which account {text} is, is not known")
    account = text if is_account else _account(text) if re.match(r"arn:(?!aws[a-z-]*:kms:)", text) else ""
    if account in ("", own, None) or not (is_account or re.fullmatch(r"\d{12}", account)):
        return False
    return True if own.isdigit() else Unknown(f"whether {account} is this account is not known")


def holds(statement: Statement, key: Lookup) -> bool:
    """Whether a statement's conditions hold, or may hold, for a request."""
    return hold(statement.conditions, key) is not False


def _requests(statement: Statement, who: str, assembly: Assembly) -> Iterator[tuple[Lookup, str | None]]:
    """Requests of callers outside of the account, by their condition keys.

    A stranger's request can have any value for a key that does not hold its account. So each request here has
    the keys of `_THEIRS` and leaves the others unknown:

    - one whose ARNs are as near to the conditions' as a stranger's can be;
    - an anonymous one without these keys, where everybody is named;
    - one for each ARN in the conditions that names no account, or another one.

    Yields: a request's keys, and why its caller may be no stranger (None: it certainly is one).
    """

    def of(theirs: Mapping[str, Key]) -> Lookup:
        return lambda name: theirs.get(name, UNKNOWN)

    tests = [test for tests in statement.conditions.values() for test in tests.items()]
    wanted = {name.lower(): values for name, values in tests if name.lower() in _THEIRS and values}
    for i in range(max(map(len, wanted.values()), default=1)):
        nearest = {name: _as_theirs(values[i % len(values)]) for name, values in wanted.items()}
        yield of({n: known(v if n in _ACCOUNTS else nearest.get(n, v)) for n, v in _THEIRS.items()}), None
    if who in EVERYBODY:
        yield of(dict.fromkeys(_THEIRS, ABSENT)), None
    own = assembly.text(statement.resource.stack.pseudo("AWS::AccountId"))
    named = {value for name, values in tests if name.lower() in _THEIRS for value in values}
    for value in sorted(named):
        # `arn:aws:s3:::data-*` names no account: a bucket of that name may be anybody's.
        if ":" in value and _account(value) == "" and holder_of(assembly, value) is None:
            arn = value.replace("*", "theirs").replace("?", "x")
            why = None if is_pattern(value) else f"whose {value} is, is not known"
            yield of({n: known(STRANGER if n in _ACCOUNTS else arn) for n in _THEIRS}), why
    for account in sorted({_account(value) or "" for value in named} - {"", "*", own}):
        if re.fullmatch(r"\d{12}", account):
            arns = [value for value in named if f":{account}:" in value] or [f"arn:*:*:*:{account}:*"]
            why = None if (own or "").isdigit() else f"whether {account} is this account is not known"
            for arn in arns:
                yield of({n: known(account if n in _ACCOUNTS else arn) for n in _THEIRS}), why


def _as_theirs(arn: str) -> str:
    """An ARN, with a stranger's account in the place of its own."""
    fields = arn_fields(arn)
    if len(fields) < 6:
        return f"arn:*:*:*:{STRANGER}:*"
    return ":".join([*fields[:4], STRANGER, fields[5]])


EVERYBODY = ("everybody", "everybody but some")
_ACCOUNTS = frozenset(name for name, value in _THEIRS.items() if value == STRANGER)


def _strangers(statement: Statement, resource: Resource, assembly: Assembly) -> Iterator[str]:
    """The principals of a statement that are not of the resource's account."""
    if statement.not_principals or "NotPrincipal" in statement.open:
        yield "everybody but some"
    if "Principal" in statement.open:
        yield "whoever the deployment names"
    account = assembly.text(resource.stack.pseudo("AWS::AccountId"))
    for kind, name in statement.principals:
        if kind == "Service":
            # A service gets a role only from somebody in the account who may pass it.
            if statement.resource.type != ROLE:
                yield f"{name}, for any account"
        elif name == "*":
            yield "everybody"
        elif _account(name) != account:
            yield name


def _account(principal: str) -> str | None:
    """The account of a principal: an ARN, or the account's number itself; None where the ARN has none."""
    fields = arn_fields(principal)
    if len(fields) == 1:
        return principal
    return fields[4] if len(fields) > 4 else None
