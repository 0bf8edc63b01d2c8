"""Several invocations of one function: what is there before, what one leaves to the next, and cold starts."""

from __future__ import annotations

import time
from typing import Any

import pytest
from patience import limit

from compliance.handlers.sandbox import TIMED_OUT, Execution, Fault, Given, Invocation, Limits, Program, Table
from compliance.handlers.sandbox.run import execute

NODE = """
const ddb = require('@aws-sdk/lib-dynamodb'); const { DynamoDBClient } = require('@aws-sdk/client-dynamodb');
const docs = ddb.DynamoDBDocumentClient.from(new DynamoDBClient({}));
let count = 0;
exports.handler = async (event) => {
  count += 1;
  const { Item } = await docs.send(new ddb.GetCommand({ TableName: 't', Key: { id: event.id } }));
  await docs.send(new ddb.PutCommand({ TableName: 't', Item: { id: event.id, n: (Item?.n ?? 0) + 1 } }));
  console.log('first'); console.log('second');
  return count;
};
"""
PYTHON = """
import boto3
table = boto3.resource('dynamodb').Table('t')
count = 0
def handler(event, context):
    global count
    count += 1
    item = table.get_item(Key={'id': event['id']}).get('Item') or {'n': 0}
    table.put_item(Item={'id': event['id'], 'n': item['n'] + 1})
    print('first'); print('second')
    return count
"""
BOTH = pytest.mark.parametrize(("runtime", "code"), [("nodejs24.x", NODE), ("python3.13", PYTHON)])
TABLES = {"t": Table(("id",))}
SEVEN = {"id": "7"}


def run(runtime: str, code: str, *invocations: Invocation) -> Execution:
    return execute(Program(runtime, "index.handler", code), invocations, tables=TABLES)


def numbers(execution: Execution) -> list[Any]:
    return [[item["n"]["N"] for item in o.state.tables.get("t", ())] for o in execution.outcomes]


@BOTH
def test_one_leaves_its_items_to_the_next(runtime: str, code: str) -> None:
    given = Given(items={"t": [{"id": "7", "n": 4}]})
    seen = run(
        runtime,
        code,
        Invocation("one", SEVEN, given=given),
        Invocation("two", SEVEN),
        Invocation("three", SEVEN, given=Given()),
        Invocation("four", SEVEN, given=given, fresh=True),
    )
    assert numbers(seen) == [["5"], ["6"], ["1"], ["5"]]
    assert [o.result for o in seen.outcomes] == [1, 2, 3, 1]
    assert [o.name for o in seen.outcomes] == ["one", "two", "three", "four"]
    assert seen.outcomes[0].lines == ("first", "second")
    get, put = seen.outcomes[0].calls
    assert (get.writes, put.writes) == (False, True)


@BOTH
def test_a_fault_of_one_is_not_of_the_next(runtime: str, code: str) -> None:
    seen = run(
        runtime,
        code,
        Invocation("one", SEVEN, (Fault("dynamodb", "PutItem", "ThrottlingException"),)),
        Invocation("two", SEVEN),
    )
    assert [o.error is not None for o in seen.outcomes] == [True, False]
    assert numbers(seen) == [[], ["1"]]


QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/q"
WAITING = {
    "nodejs24.x": """
const { SQSClient, SendMessageCommand } = require('@aws-sdk/client-sqs');
const sqs = new SQSClient();
exports.handler = async ({ QueueUrl }) => {
  const send = () => sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'b' }));
  await send(); await new Promise((done) => setTimeout(done, 50)); await send();
};""",
    "python3.14": """
import time, boto3
sqs = boto3.client('sqs')
def handler(event, context):
    sqs.send_message(QueueUrl=event['QueueUrl'], MessageBody='b')
    time.sleep(0.05)
    sqs.send_message(QueueUrl=event['QueueUrl'], MessageBody='b')""",
}


@pytest.mark.parametrize("runtime", WAITING)
def test_a_call_says_how_long_after_the_start_it_was_made(runtime: str) -> None:
    program = Program(runtime, "index.handler", WAITING[runtime])
    (outcome,) = execute(program, [Invocation("one", {"QueueUrl": QUEUE})]).outcomes
    first, second = outcome.calls
    assert 0 < first.after < second.after - 0.045


AT_ONCE = """
const { S3Client, PutObjectCommand, GetObjectCommand } = require('@aws-sdk/client-s3');
const s3 = new S3Client({});
const put = (Key, Body) => s3.send(new PutObjectCommand({ Bucket: 'b', Key, Body }));
const get = async (Key) => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'b', Key }));
  return (await Body.transformToString()).length;
};
exports.handler = async ({ many, size }) => {
  const order = [];
  const body = (i) => 'x'.repeat(i % 50 ? i : size);
  const sent = Array.from({ length: many }, (_, i) => put(`${i}`, body(i)).then(() => order.push(i)));
  const read = Array.from({ length: many }, (_, i) => get(`${i}`));
  const [, sizes] = await Promise.all([Promise.all(sent), Promise.all(read)]);
  const missing = await get('none').catch((error) => error.name);
  return { order, sizes, missing };
};"""


def test_calls_that_are_made_at_once_are_answered_in_their_order() -> None:
    """However many they are, and however large: neither side waits for the other for good."""
    many, size = 120, 90_000
    program = Program("nodejs24.x", "index.handler", AT_ONCE)
    (outcome,) = execute(program, [Invocation("one", {"many": many, "size": size})]).outcomes
    assert not outcome.error
    assert outcome.result == {
        "order": [*range(many)],
        "sizes": [i if i % 50 else size for i in range(many)],
        "missing": "NoSuchKey",
    }
    puts, gets = ["PutObject"] * many, ["GetObject"] * (many + 1)
    assert [call.operation for call in outcome.calls] == [*puts, *gets]
    assert {call.at for call in outcome.calls} == {"index.js:4", "index.js:6"}
    assert not any(call.late for call in outcome.calls)


def test_a_call_that_is_not_waited_for_is_late_and_was_made() -> None:
    code = AT_ONCE.replace("const order = [];", "put('a', 'x'); return 1;")
    program = Program("nodejs24.x", "index.handler", code)
    one, two = execute(program, [Invocation(name, {}) for name in ("one", "two")]).outcomes
    for outcome in (one, two):
        assert [(call.operation, call.late) for call in outcome.calls] == [("PutObject", True)]


LOGS_BEFORE_IT_READS = """
const { S3Client, PutObjectCommand, GetObjectCommand } = require('@aws-sdk/client-s3');
const s3 = new S3Client({});
exports.handler = async () => {
  await s3.send(new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'x'.repeat(40000) }));
  const read = Array.from({ length: 20 }, () => s3.send(new GetObjectCommand({ Bucket: 'b', Key: 'k' })));
  for (let i = 0; i < 20; i++) console.log('y'.repeat(10000));
  return (await Promise.all(read)).length;
};"""


def test_a_long_log_before_the_answers_are_read_keeps_nobody_waiting() -> None:
    """Neither the answers nor the log fit into a pipe."""
    execution = execute(Program("nodejs24.x", "index.handler", LOGS_BEFORE_IT_READS), [Invocation("a", {})])
    assert [outcome.result for outcome in execution.outcomes] == [20], execution.stopped


IDLE = """
import concurrent.futures as cf
pool = cf.ThreadPoolExecutor(4)
def handler(event, context):
    return sum(pool.map(len, ['a', 'bc']))
"""


def test_threads_that_wait_for_work_keep_nobody_waiting() -> None:
    """Those of a pool that the module keeps: nothing goes on after the answer."""
    invocations = [Invocation(f"{n}", {}, timeout=3) for n in range(40)]
    execution = execute(Program("python3.14", "index.handler", IDLE), invocations)
    assert [(outcome.result, outcome.idle) for outcome in execution.outcomes] == [(3, True)] * 40


TWICE = {
    "nodejs24.x": """
const { SQSClient, SendMessageCommand } = require('@aws-sdk/client-sqs');
const sqs = new SQSClient();
exports.handler = async ({ QueueUrl }) => {
  const send = () => sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'b' }));
  for (let i = 1; ; i++) try { await send(); return i; } catch {}
};""",
    "python3.14": """
import boto3
sqs = boto3.client('sqs')
def handler(event, context):
    for i in range(1, 9):
        try:
            sqs.send_message(QueueUrl=event['QueueUrl'], MessageBody='b')
            return i
        except Exception: pass""",
}


@pytest.mark.parametrize("runtime", TWICE)
def test_each_fault_counts_the_calls_that_another_hits_too(runtime: str) -> None:
    faults = tuple(Fault("sqs", "SendMessage", "ThrottlingException", call=nth) for nth in (0, 1, 3))
    program = Program(runtime, "index.handler", TWICE[runtime])
    (outcome,) = execute(program, [Invocation("one", {"QueueUrl": QUEUE}, faults)]).outcomes
    assert outcome.result == 3


BESIDE = {
    "nodejs24.x": """
setInterval(() => {}, 60000);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
exports.handler = async () => { for (let i = 0; i < 50; i++) await sleep(100); };""",
    "python3.14": """
import threading, time
def beside():
    while True: time.sleep(60)
threading.Thread(target=beside, daemon=True).start()
def handler(event, context):
    for _ in range(50): time.sleep(0.1)""",
}


@pytest.mark.parametrize("runtime", BESIDE)
def test_what_goes_on_beside_a_handler_does_not_slow_it(runtime: str) -> None:
    invocations = [Invocation(f"{n}", {}, timeout=30) for n in range(5)]
    began, program = time.monotonic(), Program(runtime, "index.handler", BESIDE[runtime])
    outcomes = execute(program, invocations, limits=Limits(seconds=limit(10))).outcomes
    assert [round(outcome.duration, 3) for outcome in outcomes] == [5] * 5
    assert time.monotonic() - began < limit(
        6
    )  # 25 s of each invocation's 100 looks of 0.1 s, or 10 s of 40 ms


def test_a_negative_sleep_raises_as_it_does_anywhere() -> None:
    code = "import time\ndef handler(event, context): time.sleep(-1)"
    (outcome,) = execute(
        Program("python3.14", "index.handler", code), [Invocation("a", {}, timeout=3)]
    ).outcomes
    assert outcome.error
    assert outcome.error.kind == "ValueError"


WAITS = {
    "an iterator of timers": """
const { setInterval } = require('node:timers/promises');
exports.handler = async () => {
  let n = 0;
  for await (const _ of setInterval(500)) if (++n === 4) return n;
};""",
    "Atomics": """
const cell = new Int32Array(new SharedArrayBuffer(4));
exports.handler = async () => { for (let i = 0; i < 4; i++) Atomics.wait(cell, 0, 0, 500); return 4; };""",
}


@pytest.mark.parametrize("way", WAITS)
def test_waiting_is_skipped_however_node_waits(way: str) -> None:
    program = Program("nodejs24.x", "index.handler", WAITS[way])
    [seen, over] = [
        execute(program, [Invocation("one", {}, timeout=timeout)]).outcomes[0] for timeout in (3, 1)
    ]
    assert (seen.result, seen.duration) == (4, 2.0)
    assert over.error
    assert over.error.kind == TIMED_OUT
