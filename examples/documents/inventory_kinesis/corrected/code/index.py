import base64
import json
import os

import boto3
import psycopg2
import redis

secrets, s3 = boto3.client("secretsmanager"), boto3.client("s3")
UPSERT = "insert into stock (sku, stock) values (%s, %s) on conflict (sku) do update set stock = %s"
SCHEMA = "create table if not exists stock (sku text primary key, stock integer not null)"


def connected():
    login = json.loads(secrets.get_secret_value(SecretId=os.environ["SECRET_ARN"])["SecretString"])
    return psycopg2.connect(host=os.environ["DB"], user=login["username"], password=login["password"])


def handle(event, context):
    failed = []
    for record in event["Records"]:
        number = record["kinesis"]["sequenceNumber"]
        try:
            store(record, number)
        except Exception as error:
            print("failed", number, type(error).__name__)
            failed.append({"itemIdentifier": number})
    return {"batchItemFailures": failed}


def store(record, number):
    raw = base64.b64decode(record["kinesis"]["data"])
    update = json.loads(raw)
    with connected() as database:
        database.cursor().execute(UPSERT, (update["sku"], update["stock"], update["stock"]))
    redis.Redis(host=os.environ["REDIS"], ssl=True).delete(f"stock:{update['sku']}")
    s3.put_object(Bucket=os.environ["BUCKET"], Key=f"{update['sku']}/{number}.json", Body=raw)


def schema(event, context):
    if event["RequestType"] != "Delete":
        with connected() as database:
            database.cursor().execute(SCHEMA)
    return {"PhysicalResourceId": "schema"}
