"""The kind that finds what stops a function from running, or makes it run other code than was judged.

https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from compliance.facts.authorization import may
from compliance.facts.callers import of_role, of_service
from compliance.facts.conditions import known
from compliance.facts.keys import key_values, unusable
from compliance.facts.references import arn_of, denoted, denoted_at, key_of
from compliance.facts.wiring import BUCKET, LOG_GROUP, QUEUE, ROLE, TABLES, TOPIC
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind
from compliance.rules.policies import log_group_name
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, show, to_list, to_number

# Variables that redirect the SDK to other endpoints, or give it other credentials.
# https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html
ELSEWHERE = {
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "AWS_ENDPOINT_URL"),  # and AWS_ENDPOINT_URL_ with a service
    *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_PROFILE", "AWS_ROLE_ARN"),
    *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
}
# Variables that run other code before, around or instead of the handler's.
OTHER_CODE = {
    *("AWS_LAMBDA_EXEC_WRAPPER", "LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "NODE_PATH", "PYTHONPATH"),
    *("PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "DOTNET_STARTUP_HOOKS", "RUBYOPT", "RUBYLIB"),
    *("JAVA_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS"),
    *("JAVA_TOOL_OPTIONS", "_JAVA_TOOL_OPTIONS", "JDK_JAVA_TOOL_OPTIONS"),
}
# Variables by which certificates are not verified, or are verified by another authority.
# https://nodejs.org/api/cli.html#node_tls_reject_unauthorizedvalue, #node_extra_ca_certsfile
UNVERIFIED = {"NODE_TLS_REJECT_UNAUTHORIZED": "0", "PYTHONHTTPSVERIFY": "0"}
AUTHORITIES = {
    *("NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF"),
}
OF_RUNTIME = "/var/runtime/"  # Lambda's own certificates
# Options of Node.js that load no code.
HARMLESS = (
    r"--(enable-source-maps|(no-)?(deprecation|warnings)|trace-\S+|unhandled-rejections=\w+"
    r"|max-(old|semi)-space-size=\d+|max-http-header-size=\d+|stack-trace-limit=\d+)"
)
INTERFACES = ("CreateNetworkInterface", "DescribeNetworkInterfaces", "DeleteNetworkInterface")
USED = (BUCKET, QUEUE, TOPIC, LOG_GROUP, *TABLES)


class Runnable(Check, frozen=True):
    """The subjects, functions, can run, and run the code that was judged.

    Lambda may assume their role; the reserved concurrency is not zero; no variable redirects the SDK's
    endpoints, gives it other credentials, or loads other code; layers are of these stacks or their account;
    in a VPC, the role may create network interfaces; the keys of the function and of what it uses are
    enabled, and CloudWatch Logs may use the key of its log group.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """


@kind("runnable", Runnable)
def judge_runnable(check: Runnable, case: Case) -> Verdict:
    tally = Tally()
    for function in case.subjects():
        before = len(tally.failures)
        for judge in (_role_cannot_be_assumed, _concurrency, _variables, _layers, _network, _keys):
            with tally.doubting(function):
                tally.add(False, *judge(function, case))
        if len(tally.failures) == before:
            tally.add(True, evidence(function, "runs, and runs what was judged", "a function that runs"))
    return tally.verdict()


def _role_cannot_be_assumed(function: Resource, case: Case) -> Iterator[Evidence]:
    """Evidence that Lambda may not assume the function's role."""
    role = denoted_at(case.assembly, function, "Role", function.get("Role"), ROLE)
    if role is None:
        return
    lambda_ = of_service(case.assembly, "lambda.amazonaws.com", function, [function], case.as_of)
    answer = may(case.assembly, lambda_, "sts:AssumeRole", case.assembly.text(arn_of(role)))
    path = "AssumeRolePolicyDocument"
    item = evidence(role, answer.why, f"Lambda may assume it for {function.logical_id}", path)
    if isinstance(answer.allowed, Unknown):
        raise Undecided(f"{answer.why} ({answer.allowed.why})", item)
    if not answer.allowed:
        yield item


def _concurrency(function: Resource, case: Case) -> Iterator[Evidence]:
    path = "ReservedConcurrentExecutions"
    value = decided(function.get(path))
    if value is not NO_VALUE and not to_number(value):
        yield evidence(function, value, "at least 1, or not set", path)


def _variables(function: Resource, case: Case) -> Iterator[Evidence]:
    path = "Environment.Variables"
    variables = function.get(path)
    if isinstance(variables, Unknown):
        decided(variables)
    for name, value in variables.items() if isinstance(variables, dict) else ():
        wanted = "no variable that redirects the SDK, or loads other code"
        item = evidence(function, f"{name}={show(value)}", wanted, f"{path}.{name}")
        unverified = name in UNVERIFIED and case.text(value) == UNVERIFIED[name]
        unverified |= name in AUTHORITIES and not case.text(value).startswith(OF_RUNTIME)
        elsewhere = name.upper() in ELSEWHERE or name.upper().startswith("AWS_ENDPOINT_URL_")
        if unverified or elsewhere or name in OTHER_CODE:
            yield item
        elif name == "NODE_OPTIONS":
            options = case.text(value).split()
            if not all(re.fullmatch(HARMLESS, option) for option in options):
                yield item


def _layers(function: Resource, case: Case) -> Iterator[Evidence]:
    account = case.assembly.text(function.stack.pseudo("AWS::AccountId")) or ""
    for index, layer in enumerate(to_list(decided(function.get("Layers")))):
        if denoted(case.assembly, layer, "AWS::Lambda::LayerVersion"):
            continue
        text = case.text(layer)
        if f":{account}:layer:" not in text:
            yield evidence(function, text, "a layer of these stacks, or of their account", f"Layers.{index}")


def _network(function: Resource, case: Case) -> Iterator[Evidence]:
    subnets = function.get("VpcConfig.SubnetIds")
    if subnets is NO_VALUE or subnets == []:
        return
    role = denoted_at(case.assembly, function, "Role", function.get("Role"), ROLE)
    if role is None:
        raise Undecided(f"the role of {function.logical_id} is not in the assembly")
    caller = of_role(case.assembly, role, case.as_of, function)
    for name in INTERFACES:
        answer = may(case.assembly, caller, f"ec2:{name}", None)
        if isinstance(answer.allowed, Unknown):
            raise Undecided(f"ec2:{name}: {answer.why}")
        if not answer.allowed:
            wanted = f"allowed: {function.logical_id} is in a VPC"
            yield evidence(role, f"ec2:{name} is not allowed: {answer.why}", wanted)


def _keys(function: Resource, case: Case) -> Iterator[Evidence]:
    """Evidence that a customer key of a function, or of something that it uses, cannot be used."""
    users_of: dict[Resource, dict[Resource, None]] = {}
    for user in (function, *used_by(function, case)):
        for _, value in key_values(user):
            key = key_of(case.assembly, value)
            if key:
                users_of.setdefault(key, {})[user] = None
    for key, users in users_of.items():
        case.certain(key)
        names = ", ".join(dict.fromkeys(user.logical_id for user in users))
        for path, value, wanted in unusable(key):
            yield evidence(key, decided(value), f"{wanted}: {names} is encrypted under it", path)
        for group in (user for user in users if user.type == LOG_GROUP):
            yield from _logs_shut_out(key, group, case)


def _logs_shut_out(key: Resource, group: Resource, case: Case) -> Iterator[Evidence]:
    """Evidence that CloudWatch Logs may not use the key of a log group, which then cannot be created.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
    """
    region = case.assembly.text(group.stack.pseudo("AWS::Region"))
    services = (f"logs.{region}.amazonaws.com", "logs.amazonaws.com")
    arn = (case.assembly.text(arn_of(group)) or "").removesuffix(":*")
    logs = replace(
        of_service(case.assembly, services[0], group, [group], case.as_of),
        names=tuple(("Service", name) for name in services),
    )
    for action in ("kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey"):
        context = {"kms:encryptioncontext:aws:logs:arn": known(arn)}
        answer = may(case.assembly, logs, action, case.assembly.text(arn_of(key)), context)
        if isinstance(answer.allowed, Unknown):
            raise Undecided(f"{action} for {services[0]}: {answer.why}")
        if not answer.allowed:
            found = f"{action} is not allowed for {services[0]}: {answer.why}"
            yield evidence(key, found, f"allowed: {group.logical_id} is encrypted under it", "KeyPolicy")
            return


def used_by(function: Resource, case: Case) -> Iterator[Resource]:
    """What a function has in its variables, its event sources, its log group and its failure targets."""
    values: list[Value] = [*case.wiring.environment(function).values()]
    values.append(log_group_name(function, case) or NO_VALUE)
    for mapping in case.wiring.mappings:
        if mapping.function is function:
            values += [mapping.resource.get("EventSourceArn"), case.wiring.failure_target(mapping.resource)]
    values += [value for _, _, value in case.wiring.function_targets(function)]
    for value in values:
        resource = denoted(case.assembly, value, *USED)
        if resource:
            yield resource
