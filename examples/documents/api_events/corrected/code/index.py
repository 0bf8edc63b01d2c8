import base64
import json
import os
import time
import uuid

import boto3
from boto3.dynamodb.conditions import Key
from botocore.exceptions import ClientError

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


def answer(code, body):
    headers = {"Content-Type": "application/json", "Access-Control-Allow-Origin": "*"}
    return {"statusCode": code, "headers": headers, "body": json.dumps(body, default=str)}


def find(id):
    return table.query(KeyConditionExpression=Key("id").eq(id), Limit=1)["Items"]


def handle(event, context):
    try:
        return work(event)
    except ClientError as error:
        print("failed", error.response["Error"]["Code"])
        return answer(500, {"message": "try again"})


def work(event):
    method, id = event["httpMethod"], (event.get("pathParameters") or {}).get("id")
    if method == "POST":
        return create(event)
    if id is None:
        return listed(event.get("queryStringParameters") or {})
    items = find(id)
    if not items:
        return answer(404, {"message": "unknown"})
    if method == "DELETE":
        table.delete_item(Key={"id": id, "timestamp": items[0]["timestamp"]})
        return answer(204, {})
    return answer(200, items[0])


def create(event):
    try:
        data = json.loads(event.get("body") or "")
    except ValueError:
        return answer(400, {"message": "no JSON"})
    if not isinstance(data, dict) or not data:
        return answer(400, {"message": "empty"})
    item = {"id": str(uuid.uuid4()), "timestamp": int(time.time() * 1000), "data": json.dumps(data)}
    table.put_item(Item=item, ConditionExpression="attribute_not_exists(id)")
    return answer(201, item)


def listed(query):
    start = {}
    if query.get("next"):
        start = {"ExclusiveStartKey": json.loads(base64.urlsafe_b64decode(query["next"]))}
    page = table.scan(Limit=min(int(query.get("limit", 50)), 100), **start)
    last = page.get("LastEvaluatedKey")
    token = base64.urlsafe_b64encode(json.dumps(last, default=int).encode()).decode() if last else None
    return answer(200, {"items": page["Items"], "next": token})
