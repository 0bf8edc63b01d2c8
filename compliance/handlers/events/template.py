"""Events of every trigger of a Lambda function, made from short data.

    event({"http_api": {"method": "POST", "path": "/orders", "body": {"id": "7"}}}, draw, at)
    event({"sqs": [{"body": {"id": "7"}}, {"body": "{"}]}, draw, at)
    event({"s3": [{"bucket": "uploads", "key": "a b.csv"}]}, draw, at)

A member that the data leaves out gets a drawn value of the right form. The key names the trigger:

rest_api, http_api, function_url
    method, path, resource (the route: /orders/{id}), path_parameters, query, headers, cookies, body
    (a text, or anything else as JSON), base64 (true: the body is encoded), authorizer, stage, source_ip
sqs: a list of messages
    body (a text, or anything else as JSON) or event (the event of another trigger) or sns (a message as
    below, in SNS's envelope); attributes (SQS's own), message_attributes, group and deduplication of a FIFO
    queue, receive_count, queue (ARN)
sns: a list of messages
    message (a text, or anything else as JSON) or event, subject, message_attributes, topic (ARN)
s3: a list of objects
    bucket, key (as the object has it; the event gets it URL-encoded), name (ObjectCreated:Put), size, etag,
    version
kinesis: a list of records
    data (a text, bytes, or anything else as JSON) or event, partition_key, stream (ARN)
dynamodb: a list of changes
    name (INSERT, MODIFY, REMOVE; else told from the images), keys, new, old (plain values or attribute
    values), stream (ARN), user_identity (true: time to live deleted the item), view, version (of the event)
eventbridge
    source, detail_type, detail, resources, account, region
schedule
    rule (ARN)
step_functions, json
    the event itself
cognito
    trigger (PreSignUp_SignUp), user, pool, client, request, response
custom_resource
    request (Create, Update, Delete), type, properties, old_properties, logical_id, physical_id
firehose: a list of records
    data, partition_key
logs
    group, stream, messages
alb
    method, path, query, headers, body, base64

Sources: https://docs.aws.amazon.com/lambda/latest/dg/lambda-services.html and the pages of each service.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from compliance.handlers.events import Data, Draw, Event, http, others, records
from compliance.handlers.events.values import Values
from compliance.json_data import JSON, mapping, mappings

# Triggers whose members are a batch: their data is a list.
BATCHES: Mapping[str, Callable[[list[Data], Draw, datetime], Event]] = {
    "sqs": records.sqs,
    "sns": records.sns,
    "s3": records.s3,
    "kinesis": records.kinesis,
    "dynamodb": records.dynamodb,
    "firehose": records.firehose,
}
SINGLE: Mapping[str, Callable[[Data, Draw, datetime], Event]] = {
    "rest_api": http.rest_api,
    "http_api": http.http_api,
    "function_url": http.function_url,
    "alb": http.alb,
    "eventbridge": others.eventbridge,
    "schedule": others.schedule,
    "cognito": others.cognito,
    "custom_resource": others.custom_resource,
    "logs": others.logs,
}
# Triggers whose data are the event itself.
VERBATIM = ("step_functions", "json")
TRIGGERS = (*SINGLE, *BATCHES, *VERBATIM)


class UnknownEvent(ValueError):
    """No event can be made from the data, for the reason in the message."""


def event(data: JSON, draw: Draw, at: datetime) -> JSON:
    """The event of a trigger, as Lambda hands it to the function.

    Args:
        data: has one key, the trigger. Its drawn values (`{draw: id}`) are filled in already, by
            `values.Values`.
        draw: the source of the members that the data leaves out.
        at: when the event happens.

    Raises UnknownEvent.
    """
    if not isinstance(data, dict) or len(data) != 1:
        raise UnknownEvent(f"an event has one trigger ({', '.join(TRIGGERS)}); found {data!r}")
    ((trigger, content),) = data.items()
    if trigger not in TRIGGERS:
        raise UnknownEvent(f"there is no trigger {trigger!r}; there are {', '.join(TRIGGERS)}")
    if trigger in VERBATIM:
        return content
    try:
        if trigger in BATCHES:
            return BATCHES[trigger]([_nested(one, draw, at) for one in _records(trigger, content)], draw, at)
        if content is not None and not isinstance(content, dict):
            raise UnknownEvent(f"{trigger}: a mapping is wanted")
        return SINGLE[trigger](content or {}, draw, at)
    except UnknownEvent:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownEvent(f"{trigger}: {error}") from error


def _records(trigger: str, content: JSON) -> list[Data]:
    """The records of a batch. Raises UnknownEvent."""
    try:
        return mappings([content] if isinstance(content, dict) else content)
    except TypeError:
        raise UnknownEvent(f"{trigger}: a list of mappings is wanted") from None


def _nested(one: Data, draw: Draw, at: datetime) -> Data:
    """A record whose body is the event of another trigger, such as S3's event in a message of SQS."""
    if "event" in one:
        payload = event(one["event"], draw, at)
    elif "sns" in one:
        inner = records.sns([_nested(mapping(one["sns"] or {}), draw, at)], draw, at)
        payload = records.envelope(mapping(mappings(inner["Records"])[0]["Sns"]))
    else:
        return one
    rest = {name: value for name, value in one.items() if name not in ("event", "sns")}
    return {**rest, "payload": payload}


def try_event(data: JSON) -> None:
    """Makes an event once, so that a mistake in it is told before anything runs. Raises ValueError."""
    draw = Draw("a try")
    event(Values(draw).fill(data), draw, draw.day())
