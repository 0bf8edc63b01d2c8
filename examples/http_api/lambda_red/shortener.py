"""GET /{slug} redirects to what PUT /{slug} stored."""

import os

import boto3

TABLE = boto3.resource("dynamodb").Table(os.environ["TABLE"])


def handle(event, context):
    slug = event["pathParameters"]["slug"]
    if event["requestContext"]["http"]["method"] == "PUT":
        TABLE.put_item(Item={"slug": slug, "url": event["body"]})
        return {"statusCode": 204}
    item = TABLE.get_item(Key={"slug": slug}).get("Item")
    if item is None:
        return {"statusCode": 404}
    return {"statusCode": 302, "headers": {"Location": item["url"]}}
