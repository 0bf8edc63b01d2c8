import json
import os
import time
import uuid

import boto3

table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


def handle(event, context):
    method, id = event["httpMethod"], (event.get("pathParameters") or {}).get("id")
    if method == "POST":
        if not event.get("body"):
            return {"statusCode": 400, "body": "no body"}
        data = json.loads(event["body"])
        item = {"id": str(uuid.uuid4()), "timestamp": int(time.time() * 1000), "data": json.dumps(data)}
        table.put_item(Item=item)
        return {"statusCode": 201, "body": json.dumps(item)}
    if id is None:
        items = table.scan()["Items"]
        return {"statusCode": 200, "body": json.dumps({"items": items}, default=str)}
    key = {"id": id, "timestamp": id}
    if method == "DELETE":
        table.delete_item(Key=key)
        return {"statusCode": 204, "body": ""}
    found = table.get_item(Key=key).get("Item")
    return {"statusCode": 200 if found else 404, "body": json.dumps(found, default=str)}
