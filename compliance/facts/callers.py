"""Callers of AWS's API, and what is known of the condition keys in their requests.

Global keys: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
S3's: https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
KMS's: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from compliance.facts.conditions import ABSENT, UNKNOWN, Key, known, perhaps
from compliance.facts.patterns import equal
from compliance.facts.references import FUNCTION, arn_of, denoted
from compliance.facts.truth import Truth, every, some
from compliance.json_data import JSON
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, is_unknown, to_list

ACCOUNT = "AWS::AccountId"
Principal = tuple[str, str]  # kind and name: ("AWS", an ARN), ("Service", "lambda.amazonaws.com")

_NEVER = ("aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:federatedprovider", "aws:referer")
_FROM_A_VPC = ("aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip")
# Keys of every request of AWS's SDKs and services.
_EVERY: Mapping[str, Key] = {
    "aws:securetransport": known("true"),
    "aws:viaawsservice": known("false"),
    "s3:tlsversion": Key(one_of=("1.2", "1.3")),
    "s3:authtype": known("REST-HEADER"),
    "s3:signatureversion": known("AWS4-HMAC-SHA256"),
    **dict.fromkeys(_NEVER, ABSENT),
    **dict.fromkeys(_FROM_A_VPC, ABSENT),
    **dict.fromkeys(("s3:dataaccesspointarn", "s3:dataaccesspointaccount", "kms:viaservice"), ABSENT),
}
# Keys in requests of a role that Lambda has assumed. Only services send `aws:SourceAccount` and its like.
_OF_ROLE: Mapping[str, Key] = {
    **_EVERY,
    "aws:principaltype": known("AssumedRole"),
    "aws:principalisawsservice": known("false"),
    "aws:sourceip": Key(public=True),
    "aws:multifactorauthpresent": perhaps("false"),
    **dict.fromkeys(
        (
            *(
                "aws:sourceaccount",
                "aws:sourcearn",
                "aws:sourceorgid",
                "aws:sourceorgpaths",
                "aws:sourceowner",
            ),
            *("aws:principalservicename", "aws:principalservicenameslist", "aws:username"),
            *("aws:sourceidentity", "aws:multifactorauthage", "aws:tagkeys"),
        ),
        ABSENT,
    ),
}
_OF_SERVICE: Mapping[str, Key] = {
    **_EVERY,
    "aws:principalisawsservice": known("true"),
    **dict.fromkeys(
        (
            *("aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principalorgpaths"),
            *("aws:username", "aws:sourceidentity", "aws:multifactorauthpresent", "aws:multifactorauthage"),
        ),
        ABSENT,
    ),
}
# The condition keys that hold parameters of S3's operations.
_S3_PARAMETERS = {
    "ACL": "s3:x-amz-acl",
    "CopySource": "s3:x-amz-copy-source",
    "Delimiter": "s3:delimiter",
    "IfMatch": "s3:if-match",
    "IfNoneMatch": "s3:if-none-match",
    "MaxKeys": "s3:max-keys",
    "MetadataDirective": "s3:x-amz-metadata-directive",
    "ObjectLockLegalHoldStatus": "s3:object-lock-legal-hold",
    "ObjectLockMode": "s3:object-lock-mode",
    "Prefix": "s3:prefix",
    "SSECustomerAlgorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "StorageClass": "s3:x-amz-storage-class",
    "VersionId": "s3:versionid",
    **{f"Grant{what}": f"s3:x-amz-grant-{what.lower()}" for what in ("Read", "Write", "FullControl")},
}


class Caller(msgspec.Struct, frozen=True):
    """A role or a service of AWS, with what is known of the condition keys in its requests (`context`).

    `names` are the principals that denote it, and `account` those that denote its whole account. The ARNs of
    the role's sessions begin with `sessions`. With `anybody`, the caller is any principal: an answer is true
    only if it is true for every principal.
    """

    names: tuple[Principal, ...]
    account: tuple[Principal, ...] = ()
    context: Mapping[str, Key] = {}
    role: Resource | None = None
    sessions: str = ""
    anybody: bool = False

    def key(self, name: str, action: str, more: Mapping[str, Key]) -> Key:
        """What is known of a condition key in a request; S3's and KMS's keys are in their own requests only.

        Args:
            name: the key in lower case.
            action: the action, such as `s3:PutObject`.
            more: what is known of this request alone.
        """
        service, called = name.partition(":")[0], action.partition(":")[0].lower()
        if service in ("s3", "kms") and not called.startswith(service) and "*" not in called:
            return ABSENT
        for context in (more, self.context):
            if name in context:
                return context[name]
            family = name.partition("/")[0] + "/"
            if "/" in name and family in context:
                return context[family]
        return UNKNOWN if service in ("aws", called) else ABSENT

    def is_named(self, named: Principal, *, allow: bool = True) -> Truth:
        """Whether a principal of a policy denotes this caller.

        Args:
            named: the principal.
            allow: whether the statement allows. One that denies the caller's account denies the caller.
        """
        kind, name = named
        if name == "*" and kind in ("AWS", "*"):
            return True
        principals = (*self.names, *(() if allow else self.account))
        return some((*(_same(named, one) for one in principals), self.is_session(named)))

    def is_session(self, named: Principal) -> Truth:
        """Whether a principal is a session of the role. Lambda names a session after the function."""
        if named[0] != "AWS" or not self.sessions or not named[1].startswith(f"{self.sessions}/"):
            return False
        names = self.context.get("aws:rolesessionname")
        if names is None or names.values is None:
            return Unknown(f"whether {named[1]} is its session is not known")
        return some(equal(f"{self.sessions}/{value}", named[1]) for value in names.values)

    def is_account(self, named: Principal) -> Truth:
        """Whether a principal denotes the caller's whole account."""
        return some(_same(named, one) for one in self.account)

    def is_excepted(self, others: Sequence[Principal]) -> Truth:
        """Whether NotPrincipal excepts this caller. To except a role it must name session, role and account.

        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
        """
        if self.anybody:
            return Unknown("anybody may be one that NotPrincipal names")
        named = some(self.is_named(other) for other in others)
        if named is not True or self.role is None:
            return named
        rest_named = every((some(map(self.is_account, others)), some(map(self.is_session, others))))
        why = "NotPrincipal names the role, but not its account and session"
        return True if rest_named is True else Unknown(why)


def _same(one: Principal, other: Principal) -> Truth:
    return equal(one[1], other[1]) if one[0] == other[0] else False


def of_role(
    assembly: Assembly, role: Resource, as_of: date | None = None, function: Resource | None = None
) -> Caller:
    """The caller that a role is for the functions that run under it.

    Args:
        assembly: where the functions are looked up.
        role: the role.
        as_of: the day from which on it calls.
        function: the function whose code calls, where that is known.
    """
    arn = assembly.text(arn_of(role)) or ""
    account = assembly.text(role.stack.pseudo(ACCOUNT)) or ""
    partition = arn.split(":", 2)[1] if arn.count(":") > 1 else "aws"
    users = [function] if function else list(assembly.cached(_users).get(role, ()))
    names = [text for user in users if (text := assembly.text(user.ref))]
    context = {
        **_OF_ROLE,
        **_of_stack(assembly, role, account),
        "aws:principalarn": known(arn),
        "aws:principalaccount": known(account),
        "kms:calleraccount": known(account),
        **_times(as_of),
        **_tags(assembly, role),
    }
    if any(user.get("VpcConfig") is not NO_VALUE for user in users):
        context.update(
            dict.fromkeys(("aws:sourcevpc", "aws:sourcevpce", "aws:vpcsourceip", "aws:sourceip"), UNKNOWN)
        )
    if names:
        context["aws:rolesessionname"] = Key(tuple(names))
        arns = tuple(assembly.text(arn_of(user)) or "" for user in users)
        context["lambda:sourcefunctionarn"] = Key(one_of=arns) if function is None else known(*arns)
    root = f"arn:{partition}:iam::{account}:root"
    sessions = arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    return Caller((("AWS", arn),), (("AWS", root), ("AWS", account)), context, role, sessions)


def of_service(
    assembly: Assembly,
    service: str,
    near: Resource,
    sources: Sequence[Resource] = (),
    as_of: date | None = None,
) -> Caller:
    """A service of AWS that calls on behalf of an account's resources.

    Args:
        assembly: where names are looked up.
        service: the service's principal, such as `sns.amazonaws.com`.
        near: a resource of the account and region.
        sources: the resources on whose behalf it calls; unknown ones without any.
        as_of: the day from which on it calls.
    """
    account = assembly.text(near.stack.pseudo(ACCOUNT)) or ""
    arns = tuple(assembly.text(arn_of(source)) or "" for source in sources)
    context = {
        **_OF_SERVICE,
        **_of_stack(assembly, near, account),
        "aws:sourceaccount": known(account),
        "aws:sourceowner": known(account),
        "aws:sourcearn": Key(one_of=arns) if arns else UNKNOWN,
        "aws:principalservicename": known(service),
        **_times(as_of),
    }
    return Caller((("Service", service),), (), context)


def anybody(**context: Key) -> Caller:
    """Any caller at all, of whose requests only these keys are known (`viaawsservice`: aws:ViaAWSService)."""
    return Caller((), context={f"aws:{name}": key for name, key in context.items()}, anybody=True)


def of_parameters(service: str, parameters: Mapping[str, JSON] | None) -> dict[str, Key]:
    """The condition keys that the parameters of a call to S3 fill; empty for other services."""
    if service != "s3" or parameters is None:
        return {}
    found = dict.fromkeys(_S3_PARAMETERS.values(), ABSENT)
    for name, key in _S3_PARAMETERS.items():
        value = parameters.get(name)
        if isinstance(value, str | int):
            found[key] = known(str(value))
    if not parameters.get("Tagging"):
        found |= dict.fromkeys(("s3:requestobjecttag/", "s3:requestobjecttagkeys"), ABSENT)
    return found


def via(service: str, region: str) -> dict[str, Key]:
    """The condition keys of a call to KMS that another service makes on the caller's behalf."""
    unknown = ("aws:calledvia", "aws:calledviafirst", "aws:calledvialast", "aws:sourceip")
    return {
        "kms:viaservice": known(f"{service}.{region}.amazonaws.com"),
        "aws:viaawsservice": known("true"),
        **dict.fromkeys(unknown, UNKNOWN),
    }


def _times(as_of: date | None) -> dict[str, Key]:
    return dict.fromkeys(("aws:currenttime", "aws:epochtime"), Key(since=as_of))


def _of_stack(assembly: Assembly, resource: Resource, account: str) -> dict[str, Key]:
    region = assembly.text(resource.stack.pseudo("AWS::Region")) or ""
    return {
        "aws:requestedregion": known(region),
        "aws:resourceaccount": known(account),
        "s3:resourceaccount": known(account),
    }


def _tags(assembly: Assembly, role: Resource) -> dict[str, Key]:
    tags = role.get("Tags")
    if is_unknown(tags):
        return {}
    found = {"aws:principaltag/": ABSENT}
    for tag in to_list(tags):
        if isinstance(tag, dict):
            key, value = assembly.text(tag.get("Key")), assembly.text(tag.get("Value"))
            found[f"aws:principaltag/{str(key).lower()}"] = Key(None if value is None else (value,))
    return found


def _users(assembly: Assembly) -> dict[Resource, list[Resource]]:
    """The functions by the role that they run under."""
    found: dict[Resource, list[Resource]] = {}
    for function in assembly.resources(FUNCTION):
        role = denoted(assembly, function.get("Role"), "AWS::IAM::Role")
        if role:
            found.setdefault(role, []).append(function)
    return found
