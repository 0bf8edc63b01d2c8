"""Events of every trigger, by somebody else's model of them."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parser import models
from pydantic import TypeAdapter

from compliance.handlers.events import Draw
from compliance.handlers.events.template import TRIGGERS, UnknownEvent, event
from compliance.handlers.events.values import KINDS, UnknownDraw, Values

AT = datetime(2031, 5, 7, 0, 20, tzinfo=UTC)
BODY = {"id": "7", "größe": [1, None]}


def made(data: Any, seed: str = "seed") -> Any:
    return event(data, Draw(seed), AT)


S3_NOTICE = {"s3": [{"bucket": "uploads", "key": "a b/ü+1.csv"}]}
FITTING: list[tuple[Any, Any]] = [
    (models.APIGatewayProxyEventModel, {"rest_api": {}}),
    (
        models.APIGatewayProxyEventModel,
        {"rest_api": {"method": "put", "resource": "/orders/{id}", "path": "/orders/7", "body": BODY}},
    ),
    (models.APIGatewayProxyEventModel, {"rest_api": {"query": {"a": ["1", "2"]}, "cookies": ["a=1"]}}),
    (models.APIGatewayProxyEventV2Model, {"http_api": {"path": "/orders", "body": "{"}}),
    (models.APIGatewayProxyEventV2Model, {"http_api": {"query": {"a": ["1", "2"]}, "stage": "live"}}),
    (models.LambdaFunctionUrlModel, {"function_url": {"body": BODY, "base64": True}}),
    (models.AlbModel, {"alb": {"path": "/", "query": {"q": "a b"}}}),
    (models.SqsModel, {"sqs": [{"body": BODY}, {"body": "{", "receive_count": 3}]}),
    (models.SqsModel, {"sqs": [{"body": "x", "group": "g", "message_attributes": {"a": "1", "n": 2}}]}),
    (models.SqsModel, {"sqs": {"event": S3_NOTICE}}),
    (models.SnsModel, {"sns": [{"message": BODY, "subject": "s", "message_attributes": {"a": "b"}}]}),
    (models.S3Model, S3_NOTICE),
    (models.S3Model, {"s3": [{"name": "ObjectRemoved:Delete", "version": "v1"}]}),
    (models.KinesisDataStreamModel, {"kinesis": [{"data": BODY}, {"data": b"\x00\xff"}, {"data": "text"}]}),
    (
        models.DynamoDBStreamModel,
        {
            "dynamodb": [
                {"new": {"id": "7", "n": 1.5}},
                {"keys": {"id": {"S": "8"}}, "old": {"id": {"S": "8"}}},
            ]
        },
    ),
    (
        models.DynamoDBStreamModel,
        {"dynamodb": [{"keys": {"id": "9"}, "old": {"id": "9"}, "new": {"id": "9"}, "user_identity": True}]},
    ),
    (models.KinesisFirehoseModel, {"firehose": [{"data": BODY}]}),
    (models.EventBridgeModel, {"eventbridge": {"source": "shop", "detail_type": "Paid", "detail": BODY}}),
    (models.EventBridgeModel, {"schedule": {}}),
    (models.CloudFormationCustomResourceCreateModel, {"custom_resource": {"properties": {"a": "1"}}}),
    (models.CloudFormationCustomResourceDeleteModel, {"custom_resource": {"request": "Delete"}}),
    (models.CloudFormationCustomResourceUpdateModel, {"custom_resource": {"request": "Update"}}),
    (models.CloudWatchLogsModel, {"logs": {"messages": ["a", BODY]}}),
    (models.CognitoPreSignupTriggerModel, {"cognito": {}}),
    (models.CognitoPostConfirmationTriggerModel, {"cognito": {"trigger": "PostConfirmation_ConfirmSignUp"}}),
    (
        models.CognitoPreTokenGenerationTriggerModelV1,
        {"cognito": {"trigger": "TokenGeneration_Authentication"}},
    ),
    (models.CognitoCustomMessageTriggerModel, {"cognito": {"trigger": "CustomMessage_SignUp"}}),
]


@pytest.mark.parametrize(("model", "data"), FITTING, ids=lambda value: str(value)[:60])
def test_events_fit_the_model(model: Any, data: Any) -> None:
    assert isinstance(TypeAdapter(model).validate_python(made(data)), model)


def test_every_trigger_has_a_model_or_is_plain() -> None:
    tried = {trigger for _, data in FITTING for trigger in data}
    assert set(TRIGGERS) - tried == {"json", "step_functions"}


def test_plain_events_stay_as_they_are() -> None:
    assert made({"json": [1]}) == [1]
    assert made({"step_functions": {"a": 1}}) == {"a": 1}


def test_a_key_is_encoded_as_s3_does() -> None:
    assert made(S3_NOTICE)["Records"][0]["s3"]["object"]["key"] == "a+b/%C3%BC%2B1.csv"


def test_path_parameters_come_from_the_route() -> None:
    data = {"path": "/orders/7/lines/a/b", "resource": "/orders/{id}/lines/{rest+}"}
    assert made({"http_api": data})["pathParameters"] == {"id": "7", "rest": "a/b"}
    assert "pathParameters" not in made({"http_api": {"path": "/orders"}})


def test_bodies() -> None:
    assert made({"http_api": {"body": "{"}})["body"] == "{"
    assert json.loads(made({"http_api": {"body": BODY}})["body"]) == BODY
    encoded = made({"http_api": {"body": "ü", "base64": True}})
    assert (base64.b64decode(encoded["body"]).decode(), encoded["isBase64Encoded"]) == ("ü", True)


def test_a_message_carries_other_events() -> None:
    message = json.loads(made({"sqs": [{"event": S3_NOTICE}]})["Records"][0]["body"])
    models.S3Model.model_validate(message)
    nested = json.loads(made({"sqs": [{"sns": {"event": S3_NOTICE}}]})["Records"][0]["body"])
    assert nested["Type"] == "Notification"
    models.S3Model.model_validate_json(nested["Message"])


def test_records_are_told_apart() -> None:
    for data in ({"sqs": [{}, {}]}, {"kinesis": [{}, {}]}, {"dynamodb": [{}, {}]}, {"sns": [{}, {}]}):
        one, two = made(data)["Records"]
        assert one != two


def test_logs_are_zipped() -> None:
    data = made({"logs": {"messages": ["a"]}})["awslogs"]["data"]
    assert json.loads(gzip.decompress(base64.b64decode(data)))["logEvents"][0]["message"] == "a"


def test_two_seeds_have_nothing_in_common() -> None:
    one, two = made({"sqs": [{}]}, "a")["Records"][0], made({"sqs": [{}]}, "b")["Records"][0]
    assert one["messageId"] != two["messageId"]
    assert made({"sqs": [{}]}, "a") == made({"sqs": [{}]}, "a")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"sqs": [], "sns": []},
        {"http": {}},
        {"http_api": {"pth": "/"}},
        {"sqs": ["text"]},
        {"s3": [{"Bucket": "b"}]},
        {"http_api": []},
        {"cognito": {"users": {}}},
    ],
)
def test_unknown_data_is_refused(data: Any) -> None:
    with pytest.raises(UnknownEvent):
        made(data)


def test_a_drawn_value_is_the_same_throughout() -> None:
    values = Values(Draw("seed"))
    filled = values.fill(
        {
            "path": "/orders/{{id}}",
            "body": {"id": {"draw": "id", "as": "uuid"}, "n": {"draw": "n", "as": "number"}},
        }
    )
    assert filled["path"] == f"/orders/{filled['body']['id']}" == f"/orders/{values.drawn['id']}"
    assert len(values.drawn["id"]) == 36
    assert isinstance(filled["body"]["n"], int)
    assert values.fill("{{id}}") == values.drawn["id"]
    assert values.fill({"draw": 1, "other": 2}) == {"draw": 1, "other": 2}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn(kind: str) -> None:
    one, two = (Values(Draw(seed)).fill({"draw": "x", "as": kind}) for seed in "ab")
    assert (one == two) == (kind == "empty")


def test_a_draw_of_no_kind_is_refused() -> None:
    with pytest.raises(UnknownDraw, match="no values of kind 'guid'"):
        Values(Draw("a")).fill({"draw": "x", "as": "guid"})
    with pytest.raises(UnknownDraw, match="as uuid and as word"):
        Values(Draw("a")).fill([{"draw": "x", "as": "uuid"}, {"draw": "x", "as": "word"}])
