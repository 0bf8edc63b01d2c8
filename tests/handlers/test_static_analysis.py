"""What is read of a handler's code: the calls it names, the names it does not declare."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from compliance.handlers.actions import actions_of
from compliance.handlers.sandbox import Program
from compliance.handlers.static_analysis import operations, undeclared

V3 = "const { S3Client, PutObjectCommand: Put, paginateListObjectsV2 } = require('@aws-sdk/client-s3');\n"


def program(code: Path | str, runtime: str = "nodejs24.x") -> Program:
    return Program(runtime, "index.handler", code)


def read(code: Path | str, runtime: str = "nodejs24.x") -> list[str]:
    return [f"{o.service}:{o.operation} {o.at}" for o in operations(program(code, runtime))]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (f"{V3}new Put({{}});", ["s3:PutObject index.js:2"]),
        (
            f"{V3}for await (const p of paginateListObjectsV2({{}}, {{}})) {{}}",
            ["s3:ListObjectsV2 index.js:2"],
        ),
        (
            "import * as s3 from '@aws-sdk/client-s3';\nnew s3.HeadObjectCommand({});",
            ["s3:HeadObject index.js:2"],
        ),
        (
            "import { SendMessageCommand as S } from '@aws-sdk/client-sqs';\nnew S({});",
            ["sqs:SendMessage index.js:2"],
        ),
        (
            "var x = __toESM(require('@aws-sdk/client-sns'));\nnew x.PublishCommand({});",
            ["sns:Publish index.js:2"],
        ),
        (
            "const { PutCommand } = await import('@aws-sdk/lib-dynamodb');\nnew PutCommand({});",
            ["dynamodb:PutItem index.js:2"],
        ),
        ("import { Upload } from '@aws-sdk/lib-storage';\nnew Upload({});", ["s3:PutObject index.js:2"]),
        (
            "const { DynamoDB } = require('@aws-sdk/client-dynamodb');\n"
            "class A { db = new DynamoDB(); f() { this.db.putItem({}); this.db.toString(); } }",
            ["dynamodb:PutItem index.js:2"],
        ),
        (
            "const AWS = require('aws-sdk');\nconst db = new AWS.DynamoDB.DocumentClient();\n"
            "new Map().get(1); db.get({});",
            ["dynamodb:GetItem index.js:3"],
        ),
        ("class PutObjectCommand {}\nnew PutObjectCommand();", []),  # somebody else's
        ("const s = \"new PutObjectCommand\"; // require('@aws-sdk/client-s3')", []),
        ("this is no JavaScript (", []),
    ],
)
def test_calls_of_javascript(code: str, found: list[str]) -> None:
    assert read(code) == found


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import boto3\nboto3.client('s3').put_object()", ["s3:PutObject index.py:2"]),
        ("s3 = session.client('s3')\ns3.upload_fileobj(a, b, c)", ["s3:PutObject index.py:2"]),
        ("s3 = boto3.client('s3')\ns3.get_paginator('list_objects_v2')", ["s3:ListObjectsV2 index.py:2"]),
        ("t = boto3.resource('dynamodb').Table('t')\nt.query()\n{}.get(1)", ["dynamodb:Query index.py:2"]),
        ("boto3.client('sqs').not_an_operation()", []),
        ("import boto3\ndef f(:", []),
    ],
)
def test_calls_of_python(code: str, found: list[str]) -> None:
    assert read(code, "python3.14") == found


def test_only_the_codes_own_files_are_read(tmp_path: Path) -> None:
    text = f"{V3}new Put({{}});"
    for name in ("index.js", "lib/more.mjs", "node_modules/x/index.js", "data.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read(tmp_path) == ["s3:PutObject index.js:2", "s3:PutObject lib/more.mjs:2"]
    archive = tmp_path / "code.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("index.js", text)
        opened.writestr("node_modules/x/index.js", text)
    assert read(archive) == ["s3:PutObject index.js:2"]


def test_packages_that_pip_put_beside_the_code_are_not_read(tmp_path: Path) -> None:
    for name in ("index.py", "other/__init__.py", "other-1.0.dist-info/METADATA"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("boto3.client('s3').put_object()")
    assert read(tmp_path, "python3.14") == ["s3:PutObject index.py:1"]


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("exports.handler = async (event) => context.awsRequestId;", ("context",)),
        ("exports.handler = async (event, context) => context.awsRequestId;", ()),
        (
            "const { a, b: [c], ...d } = event2; for (const e of [a, c, d]) try { f(e); } catch (g) { g; }",
            ("event2", "f"),
        ),
        ("import h, { i as j } from 'k'; import * as l from 'm'; h(j, l, { n: 1, o });", ("o",)),
        ("function* p() { q = 1; yield q; } class R { s = 1; t() { return this.s; } } new R(p);", ()),
    ],
)
def test_undeclared_names_of_javascript(code: str, names: tuple[str, ...]) -> None:
    assert undeclared(program(code)) == names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def handler(event, _):\n    return context.aws_request_id", ("context",)),
        ("import os\nclass A: pass\ndef f():\n    global g\n    g = os\n    return [A for x in g]", ()),
        ("def f(:", ()),
    ],
)
def test_undeclared_names_of_python(code: str, names: tuple[str, ...]) -> None:
    assert undeclared(program(code, "python3.14")) == names


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "actions"),
    [
        ("s3", "PutObject", {}, ("s3:PutObject",)),
        ("s3", "PutObject", {"ACL": "private"}, ("s3:PutObject", "s3:PutObjectAcl")),
        ("s3", "ListObjectsV2", {}, ("s3:ListBucket",)),
        ("s3", "CopyObject", {}, ("s3:GetObject", "s3:PutObject")),
        ("dynamodb", "BatchWriteItem", {}, ("dynamodb:BatchWriteItem",)),
        ("dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": {}}]}, ("dynamodb:PutItem",)),
        ("sts", "GetCallerIdentity", {}, ()),
        ("s3", "MakeCoffee", {}, None),
        ("nowhere", "PutObject", {}, None),
    ],
)
def test_actions(
    service: str, operation: str, parameters: dict[str, object], actions: tuple[str, ...] | None
) -> None:
    assert actions_of(service, operation, parameters) == actions


@pytest.mark.parametrize("runtime", ["nodejs24.x", "python3.13"])
@pytest.mark.parametrize(
    "code",
    [
        "x = " + "-" * 100_000 + "1",
        "x = " + "1+" * 100_000 + "1",
        "x" + ".a" * 50_000,
        "(" * 50_000,
        "\0",
        "[" * 9999,
    ],
    ids=["signs", "sums", "attributes", "brackets", "nothing", "lists"],
)
def test_odd_sources_are_no_error_of_the_gate(code: str, runtime: str) -> None:
    assert read(code, runtime) == []
    assert isinstance(undeclared(program(code, runtime)), tuple)
