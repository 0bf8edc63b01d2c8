"""Events of services that invoke a function once for each thing that happens.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-events-structure.html
https://docs.aws.amazon.com/cognito/latest/developerguide/cognito-user-pools-working-with-lambda-triggers.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-requests.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import datetime

from compliance.handlers.events import (
    ACCOUNT,
    REGIONS,
    Data,
    Draw,
    Event,
    as_text,
    check_members,
    milliseconds,
)
from compliance.json_data import JSON, array, mapping


def eventbridge(data: Data, draw: Draw, at: datetime) -> Event:
    check_members(data, "source detail_type detail resources account region id")
    return {
        "version": "0",
        "id": str(data.get("id") or draw.uuid()),
        "detail-type": str(data.get("detail_type") or "Something happened"),
        "source": str(data.get("source") or f"com.example.{draw.word(6)}"),
        "account": str(data.get("account") or ACCOUNT),
        "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": str(data.get("region") or draw.one(REGIONS)),
        "resources": [str(arn) for arn in array(data.get("resources") or [])],
        "detail": data.get("detail", {}),
    }


def schedule(data: Data, draw: Draw, at: datetime) -> Event:
    check_members(data, "rule")
    region = draw.one(REGIONS)
    rule = str(data.get("rule") or f"arn:aws:events:{region}:{ACCOUNT}:rule/{draw.word(6)}-rule")
    event: Data = {
        "source": "aws.events",
        "detail_type": "Scheduled Event",
        "resources": [rule],
        "region": region,
    }
    return eventbridge(event, draw, at)


def cognito(data: Data, draw: Draw, at: datetime) -> Event:
    check_members(data, "trigger user pool client request response")
    region, name = draw.one(REGIONS), draw.word()
    user = {"sub": draw.uuid(), "email": f"{name}@example.com", **mapping(data.get("user") or {})}
    trigger = str(data.get("trigger") or "PreSignUp_SignUp")
    request, response = REQUESTS.get(trigger.partition("_")[0], ({}, {}))
    return {
        "version": "1",
        "triggerSource": trigger,
        "region": region,
        "userPoolId": str(data.get("pool") or f"{region}_{draw.word(9)}"),
        "userName": name,
        "callerContext": {
            "awsSdkVersion": "aws-sdk-unknown-unknown",
            "clientId": str(data.get("client") or draw.hex(26)),
        },
        "request": {
            "userAttributes": {str(k): str(v) for k, v in user.items()},
            **request,
            **mapping(data.get("request") or {}),
        },
        "response": {**response, **mapping(data.get("response") or {})},
    }


# The members of a trigger's request and response besides the user's attributes.
REQUESTS: Mapping[str, tuple[dict[str, JSON], dict[str, JSON]]] = {
    "PreSignUp": (
        {"validationData": None, "clientMetadata": {}},
        {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
    ),
    "PostConfirmation": ({"clientMetadata": {}}, {}),
    "PreAuthentication": ({"userNotFound": False, "validationData": None}, {}),
    "PostAuthentication": ({"newDeviceUsed": False, "clientMetadata": {}}, {}),
    "TokenGeneration": (
        {"groupConfiguration": {"groupsToOverride": [], "iamRolesToOverride": [], "preferredRole": None}},
        {"claimsOverrideDetails": None},
    ),
    "CustomMessage": (
        {"codeParameter": "{####}", "linkParameter": None, "usernameParameter": None, "clientMetadata": {}},
        {"smsMessage": None, "emailMessage": None, "emailSubject": None},
    ),
}


def custom_resource(data: Data, draw: Draw, at: datetime) -> Event:
    check_members(data, "request type properties old_properties logical_id physical_id")
    region, request = draw.one(REGIONS), str(data.get("request") or "Create")
    token = f"arn:aws:lambda:{region}:{ACCOUNT}:function:{draw.word(8)}"
    made: Event = {
        "RequestType": request,
        "ServiceToken": token,
        "ResponseURL": f"https://cloudformation-custom-resource-response-{draw.word(6)}.s3.amazonaws.com/{draw.word(20)}",
        "StackId": f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{draw.word(6)}/{draw.uuid()}",
        "RequestId": draw.uuid(),
        "LogicalResourceId": str(data.get("logical_id") or f"Thing{draw.word(4)}"),
        "ResourceType": str(data.get("type") or "Custom::Thing"),
        "ResourceProperties": {"ServiceToken": token, **mapping(data.get("properties") or {})},
    }
    if request != "Create":
        made["PhysicalResourceId"] = str(data.get("physical_id") or draw.word(12))
    if request == "Update":
        made["OldResourceProperties"] = {"ServiceToken": token, **mapping(data.get("old_properties") or {})}
    return made


def logs(data: Data, draw: Draw, at: datetime) -> Event:
    """The event of a log group's subscription, with its messages compressed."""
    check_members(data, "group stream messages")
    import gzip

    content = {
        "messageType": "DATA_MESSAGE",
        "owner": ACCOUNT,
        "logGroup": str(data.get("group") or f"/aws/lambda/{draw.word(6)}"),
        "logStream": str(data.get("stream") or draw.word(12)),
        "subscriptionFilters": [draw.word(6)],
        "logEvents": [
            {"id": draw.digits(56), "timestamp": milliseconds(at), "message": as_text(message)}
            for message in array(data.get("messages") or [])
        ],
    }
    return {"awslogs": {"data": base64.b64encode(gzip.compress(json.dumps(content).encode())).decode()}}
