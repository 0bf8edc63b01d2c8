"""The kind that follows an alarm to its subscribers: action, topic, policy, key, subscription, filter."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from compliance.facts.alarms import COMPOSITE, is_on, topics_told
from compliance.facts.authorization import conditions_of, may
from compliance.facts.callers import Caller, of_service
from compliance.facts.conditions import Key, known, perhaps
from compliance.facts.filters import notification, passes
from compliance.facts.iam import Statement
from compliance.facts.keys import unusable
from compliance.facts.metric_math import Unclear
from compliance.facts.references import (
    arn_of,
    denoted,
    denoted_at,
    in_words,
    key_of,
    misfit,
    region_of,
    wanted,
)
from compliance.facts.truth import Truth
from compliance.facts.wiring import ALARM, FUNCTION, QUEUE, TOPIC
from compliance.json_data import JSON, as_mapping
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind
from compliance.rules.policies import refuses_plain_http
from compliance.template.assembly import Resource, Stack
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, show, to_list
from compliance.template.json_text import parsed_or_unknown

# https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
ENDPOINTS: Mapping[str, str] = {
    "http": r"http://.+",
    "https": r"https://.+",
    **dict.fromkeys(("email", "email-json"), r"[^@]+@.+"),
    "sms": r"\+?[\d -]+",
    **dict.fromkeys(("sqs", "lambda", "firehose"), r"arn:.+"),
    "application": r"arn:.+",
}
# By protocol, the endpoint's resource type and the action that SNS needs on it.
REACHED_BY = {"sqs": (QUEUE, "sqs:SendMessage"), "lambda": (FUNCTION, "lambda:InvokeFunction")}
ARN = frozenset({"arn"})
ELSEWHERE = "another account"


class Tells(Check, frozen=True):
    """Every subject, an alarm, notifies somebody through a topic that CloudWatch can publish to.

    The alarm does so by its own actions, or by a composite alarm that it sets off. The topic's policy lets
    CloudWatch publish from this account only and over TLS only; its customer key can be used, and lets
    CloudWatch decrypt and generate data keys; the subscription's filter passes the notification. Sources:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html,
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    """

    service: str = "cloudwatch.amazonaws.com"


@kind("tells", Tells, types=(ALARM, COMPOSITE))
def judge_tells(check: Tells, case: Case) -> Verdict:
    tally = Tally()
    alarms: dict[Resource, list[Resource]] = {}  # by the topic that they notify
    for alarm in case.subjects():
        with tally.doubting(alarm):
            topics = _topics(alarm, case)
            for topic in topics:
                alarms.setdefault(topic, []).append(alarm)
            if topics:
                item = evidence(
                    alarm, ", ".join(t.logical_id for t in topics), "a topic of the stacks", "AlarmActions"
                )
                tally.add(True, item)
            else:
                tally.add(False, _silent(alarm, case))
    for topic, alarms_of_topic in alarms.items():
        with tally.doubting(topic):
            for holds, item in _topic_evidence(check, topic, alarms_of_topic, case):
                tally.add(holds, item)
    if not alarms and not tally.failures:
        tally.add(False, Evidence("no alarm", "alarms that tell somebody"))
    return tally.verdict()


def _topics(alarm: Resource, case: Case) -> list[Resource]:
    try:
        topics = topics_told(case.assembly, alarm)
    except Unclear as error:
        raise Undecided(str(error)) from None
    if not topics:
        for path in ("AlarmActions", "ActionsEnabled"):
            decided(alarm.get(path))
        for parent in case.assembly.resources(COMPOSITE):
            case.certain(parent)
    return topics


def _silent(alarm: Resource, case: Case) -> Evidence:
    """Evidence of why an alarm notifies nobody."""
    if not is_on(alarm):
        return evidence(alarm, alarm.get("ActionsEnabled"), "true, or not set", "ActionsEnabled")
    path = "AlarmActions"
    forms = wanted(alarm.type, path)
    for action in to_list(alarm.get(path)):
        if wrong := misfit(case.assembly, action, forms, TOPIC):
            return evidence(alarm, f"{wrong}: {show(action)}", f"{in_words(forms)}", path)
    return evidence(alarm, alarm.get(path), "a topic of the stacks", path)


def _topic_evidence(
    check: Tells, topic: Resource, alarms: Sequence[Resource], case: Case
) -> Iterator[tuple[bool, Evidence]]:
    case.certain(topic)
    yield _subscriptions(topic, alarms, case)
    yield from _publishing(check, topic, alarms, case)
    holds, found = refuses_plain_http(case, topic)
    yield holds, evidence(topic, found, "a policy that denies publishing without TLS")
    yield from _key_evidence(check, topic, alarms, case)


# Subscriptions


def _subscriptions(topic: Resource, alarms: Sequence[Resource], case: Case) -> tuple[bool, Evidence]:
    """The topic's subscriptions. One that exists only if a parameter is given counts (HRD-06)."""
    found: list[str] = []
    ineffective: list[str] = []
    for name, properties in _all_subscriptions(topic, case):
        if not _has_endpoint(properties):
            continue
        if why := _unreached(properties, topic, case):
            ineffective.append(f"{name}, which reaches nobody: {why}")
            continue
        passed = [_filter_passes(properties, alarm, case) for alarm in alarms]
        if all(answer is True for answer in passed):
            found.append(name)
        else:
            ineffective.append(f"{name}, whose filter lets no alarm through")
        for answer in passed:
            if isinstance(answer, Unknown) and not found:
                raise Undecided(answer.why)
    if found:
        return True, evidence(topic, ", ".join(found), "a subscription", "Subscription")
    shown = "; ".join(ineffective) or "none"
    return False, evidence(topic, shown, "a subscription that hears of alarms", "Subscription")


def _all_subscriptions(topic: Resource, case: Case) -> Iterator[tuple[str, Any]]:
    for item in to_list(topic.get("Subscription")):
        yield show(item), item
    for stack in case.assembly.stacks:
        for resource in stack.declared("AWS::SNS::Subscription"):
            target = denoted_at(case.assembly, resource, "TopicArn", resource.get("TopicArn"), TOPIC)
            counts = resource.exists is not False or _by_parameter(stack, resource.raw.get("Condition"))
            region = resource.get("Region")  # that of the topic
            counts &= region is NO_VALUE or case.text(region) == case.assembly.text(region_of(topic))
            if target is topic and counts:
                yield resource.logical_id, resource.properties


def _has_endpoint(subscription: Value) -> bool:
    """Whether a subscription has an endpoint, also one that only a deployment's parameter gives."""
    if not isinstance(subscription, dict):
        return True
    protocol = subscription.get("Protocol")
    return "Endpoint" in subscription and (
        protocol in ENDPOINTS if isinstance(protocol, str) else bool(protocol)
    )


def _unreached(subscription: Value, topic: Resource, case: Case) -> str | None:
    """Why SNS reaches nobody at a subscription's endpoint, as far as that is known."""
    if not isinstance(subscription, dict):
        return None
    protocol, endpoint = str(subscription.get("Protocol")), subscription.get("Endpoint")
    text = case.assembly.text(endpoint)
    if text is None or protocol not in ENDPOINTS:
        return None
    type_, action = REACHED_BY.get(protocol, (None, ""))
    if type_ and (wrong := misfit(case.assembly, endpoint, ARN, type_)):
        return f"{wrong}, and not {in_words(ARN)}"
    if not text.startswith("${") and not re.fullmatch(ENDPOINTS[protocol], text):
        return f"{text or 'nothing'} is no endpoint of {protocol}"
    end = denoted(case.assembly, endpoint, type_, forms=ARN) if type_ else None
    if end is None:
        return None
    sns = of_service(case.assembly, "sns.amazonaws.com", topic, [topic], case.as_of)
    answer = may(case.assembly, sns, action, case.assembly.text(arn_of(end)))
    if isinstance(answer.allowed, Unknown):
        raise Undecided(f"{action} for SNS: {answer.why}")
    return None if answer.allowed else f"SNS may not {action} there: {answer.why}"


def _filter_passes(subscription: Value, alarm: Resource, case: Case) -> Truth:
    """Whether a subscription's filter passes an alarm's message, which has no message attributes."""
    if not isinstance(subscription, dict) or "FilterPolicy" not in subscription:
        return True
    name = case.assembly.text(alarm.get("AlarmName"))
    scope = subscription.get("FilterPolicyScope", "MessageAttributes")
    event = notification(name) if scope == "MessageBody" else {}
    return passes(parsed_or_unknown(subscription["FilterPolicy"], "a filter"), event)


def _by_parameter(stack: Stack, condition: JSON) -> bool:
    """Whether a condition depends on a parameter, and so may hold in another deployment."""
    conditions, parameters = (as_mapping(stack.template.get(name)) for name in ("Conditions", "Parameters"))
    pending, seen = [conditions.get(str(condition))], {condition}
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("Ref") in parameters:
                return True
            further = node.get("Condition")
            if isinstance(further, str) and further not in seen:
                seen.add(further)
                pending.append(conditions.get(further))
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return False


# The topic's policy, and its key's


def _callers(check: Tells, near: Resource, alarms: Sequence[Resource], case: Case) -> Iterator[Caller]:
    """The service as it acts for each alarm, and for each composite alarm beside them.

    Without any alarm, the service as it acts for none.
    """
    for sources in [[alarm] for alarm in (*alarms, *case.assembly.resources(COMPOSITE))] or [[]]:
        yield of_service(case.assembly, check.service, near, sources, case.as_of)


def _publishing(
    check: Tells, topic: Resource, alarms: Sequence[Resource], case: Case
) -> Iterator[tuple[bool, Evidence]]:
    """Whether CloudWatch may publish, and only for this account."""
    text = case.assembly.text(arn_of(topic)) or ""
    expected = f"a topic policy that lets {check.service} publish, for this account only"
    for caller in _callers(check, topic, alarms, case):
        answer = may(case.assembly, caller, "sns:Publish", text)
        shown = _granting(answer.statement, answer.why) if answer.statement else answer.why
        holder, place = _evidence_place(answer.statement, topic)
        if isinstance(answer.allowed, Unknown):
            raise Undecided(f"{answer.why} ({answer.allowed.why})", evidence(holder, shown, expected, place))
        yield answer.allowed, evidence(holder, shown, expected, place)
        foreign = may(case.assembly, _elsewhere(caller), "sns:Publish", text)
        if foreign.allowed is not False:
            holder, place = _evidence_place(foreign.statement, topic)
            found = f"{check.service} may, for any account"
            yield False, evidence(holder, found, expected, place)


def _evidence_place(statement: Statement | None, otherwise: Resource) -> tuple[Resource, str | None]:
    return (statement.resource, statement.property) if statement else (otherwise, None)


def _elsewhere(caller: Caller) -> Caller:
    """The same service as it acts for an account that is not this one."""
    [region] = caller.context["aws:requestedregion"].values or ("",)
    arn = f"arn:aws:cloudwatch:{region}:{ELSEWHERE}:alarm:{ELSEWHERE}"
    foreign = {"aws:sourceaccount": known(ELSEWHERE), "aws:sourceowner": known(ELSEWHERE)}
    return replace(caller, context={**caller.context, **foreign, "aws:sourcearn": Key((arn,))})


def _granting(statement: Statement, why: str) -> str:
    who = ", ".join(name for _, name in statement.principals)
    tests = conditions_of(statement)
    return f"{why} ({who}, {f'if {tests}' if tests else 'on no condition'})"


def _key_evidence(
    check: Tells, topic: Resource, alarms: Sequence[Resource], case: Case
) -> Iterator[tuple[bool, Evidence]]:
    value = decided(topic.get("KmsMasterKeyId"))
    key = key_of(case.assembly, value)
    yield key is not None, evidence(topic, value, "a customer key of the stack", "KmsMasterKeyId")
    if key is None:
        return
    case.certain(key)
    for path, found, what in unusable(key):
        yield False, evidence(key, decided(found), what, path)
    text = case.assembly.text(arn_of(key)) or ""
    callers = list(_callers(check, topic, alarms, case))
    # AWS does not say whether the call counts as SNS's on CloudWatch's behalf.
    region = case.assembly.text(region_of(topic))
    context = {"kms:viaservice": perhaps(f"sns.{region}.amazonaws.com")}
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        answers = [may(case.assembly, caller, action, text, context) for caller in callers]
        worst = next((a for a in answers if a.allowed is not True), answers[0])
        if isinstance(worst.allowed, Unknown):
            raise Undecided(f"{action} for {check.service}: {worst.why}")
        found = f"{action} {'allowed' if worst.allowed else 'not allowed'} for {check.service}: {worst.why}"
        yield worst.allowed, evidence(key, found, f"{action} for {check.service}", "KeyPolicy")
