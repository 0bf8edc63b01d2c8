"""GET /{slug} redirects to what PUT /{slug} stored. A slug that is taken keeps its link."""

import os
from urllib.parse import quote, urlsplit

import boto3
from botocore.exceptions import ClientError

TABLE = boto3.resource("dynamodb").Table(os.environ["TABLE"].rpartition(":")[2])
BUSY = ("ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded")


def handle(event, context):
    slug = event["pathParameters"]["slug"]
    try:
        if event["requestContext"]["http"]["method"] == "PUT":
            return store(slug, event.get("body"))
        return redirect(slug)
    except ClientError as error:
        if error.response["Error"]["Code"] not in BUSY:
            raise
        return {"statusCode": 503, "headers": {"Retry-After": "1"}}


def store(slug, url):
    if not is_link(url):
        return {"statusCode": 400, "body": "the body must be a link: https://..."}
    try:
        TABLE.put_item(Item={"slug": slug, "url": url}, ConditionExpression="attribute_not_exists(slug)")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return {"statusCode": 409, "body": "this slug is taken"}
    return {"statusCode": 204}


def redirect(slug):
    item = TABLE.get_item(Key={"slug": slug}).get("Item")
    if item is None:
        return {"statusCode": 404}
    # A header holds ASCII alone.
    return {"statusCode": 302, "headers": {"Location": quote(item["url"], safe=":/?#[]@!$&'()*+,;=%")}}


def is_link(url):
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
