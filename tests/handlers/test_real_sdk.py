"""Our handlers with the real AWS SDKs, against a server on the loopback that speaks as S3 and DynamoDB do.

What the sandbox's stand-ins record and answer is compared with what the SDKs send and make of an answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import changes
import dead_letters
import npm
import pytest
from changes import Change, Stream
from dead_letters import DeadLetters, Message
from scenes import Scene, audit_scenes, processor_scenes

from compliance.handlers.events import Draw
from compliance.handlers.sandbox import Program, Table
from compliance.handlers.sandbox.run import execute
from compliance.template.host import bundled_node

ROOT = Path(__file__).parents[2]
SDK = Path(__file__).parents[1] / "sdk"
BUCKET, TABLE = "processed-orders-dev", "failure-audit-dev"
NAMES = {"BUCKET_NAME": BUCKET, "AUDIT_TABLE_NAME": TABLE}
FOLDERS = {"processor": "order_processor", "audit": "audit"}
SERVICES = {"processor": "s3", "audit": "dynamodb"}
LANGUAGES = ("nodejs", "python")
TIMEOUT = 60  # of both functions
BATCHES = {"processor": 100, "audit": 10}  # of their mappings


# What stands for AWS


@dataclass(frozen=True)
class Request:
    service: str
    operation: str
    path: str
    headers: dict[str, str]
    body: str

    @property
    def parameters(self) -> Any:
        """As the API's reference has them, which is how the sandbox records a call."""
        if self.service == "dynamodb":
            return json.loads(self.body)
        _, bucket, key = unquote(self.path.partition("?")[0], errors="strict").split("/", 2)
        names = {"ContentType": "content-type", "IfNoneMatch": "if-none-match"}
        told = {name: self.headers[header] for name, header in names.items()}
        return {"Bucket": bucket, "Key": key, "Body": self.body} | told


@dataclass(frozen=True)
class Refused:
    """An error, with the status that the service gives it. A status of 0: the service stays silent."""

    error: str
    status: int = 400

    def body(self, service: str) -> str:
        if service == "s3":
            return f"<?xml version='1.0'?><Error><Code>{self.error}</Code><Message>No.</Message></Error>"
        return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{self.error}", "message": "No."})


Answer = Callable[[Request], Refused | None]
STATUS = {"AccessDenied": 403, "SlowDown": 503}
SILENCE = Refused("silence", 0)
ALREADY, STORED = Refused("PreconditionFailed", 412), Refused("ConditionalCheckFailedException")


@dataclass
class Service:
    """Keeps the requests, and answers them as it is told to."""

    requests: list[Request] = field(default_factory=list)
    answer: Answer = lambda request: None
    released: threading.Event = field(default_factory=threading.Event)

    def listen(self, port: int = 0) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                service.handle(self, "s3", "PutObject")

            def do_POST(self) -> None:
                service.handle(self, "dynamodb", self.headers["X-Amz-Target"].partition(".")[2])

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def handle(self, http: BaseHTTPRequestHandler, service: str, operation: str) -> None:
        body = http.rfile.read(int(http.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in http.headers.items()}
        request = Request(service, operation, http.path, headers, body)
        self.requests.append(request)
        refused = self.answer(request)
        http.close_connection = True
        if refused is SILENCE:
            self.released.wait(10)
            return
        text = refused.body(service) if refused else "{}" if service == "dynamodb" else ""
        http.send_response(refused.status if refused else 200)
        http.send_header("Content-Length", str(len(text)))
        http.send_header("Connection", "close")
        http.end_headers()
        http.wfile.write(text.encode())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def away(self) -> Iterator[None]:
        """Nobody listens."""
        self.close()
        yield
        self.listen(self.server.server_port)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Result:
    failed: list[str] | None  # None: it raised
    seconds: float
    requests: list[Request]


@dataclass
class Handler:
    """One of our handlers in a process of its own, the real SDK beside it."""

    language: str
    role: str
    service: Service
    process: subprocess.Popen[str]
    log: Path

    def __call__(self, event: Any, answer: Answer = lambda request: None, faster: int = 1) -> Result:
        assert self.process.stdin
        assert self.process.stdout
        self.service.requests, self.service.answer = [], answer
        print(
            json.dumps({"event": event, "faster": faster, "timeout": TIMEOUT}),
            file=self.process.stdin,
            flush=True,
        )
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        told = json.loads(line)
        failed = told["result"].get("batchItemFailures")
        names = None if failed is None else [failure["itemIdentifier"] for failure in failed]
        return Result(names, told["seconds"], self.service.requests)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    service = Service()
    service.listen()
    yield service
    service.released.set()
    service.close()


@pytest.fixture(scope="module", params=[f"{language}-{role}" for language in LANGUAGES for role in FOLDERS])
def handler(
    request: pytest.FixtureRequest, service: Service, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Handler]:
    language, role = request.param.split("-")
    folder = ROOT / "lambda" / language / FOLDERS[role]
    environment = NAMES | {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": service.url,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    if language == "nodejs":
        command = [str(bundled_node()), str(SDK / "run.cjs"), str(folder / "index.js")]
        environment["NODE_PATH"] = str(npm.install(SDK))  # which is how Lambda ships its SDK
    else:
        command = [sys.executable, str(SDK / "run.py"), str(folder / "index.py")]
    log = tmp_path_factory.mktemp("log") / "stderr"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        yield Handler(language, role, service, process, log)


def of(role: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("handler", [f"{name}-{role}" for name in LANGUAGES], indirect=True)


processors, audits = of("processor"), of("audit")


# Events


@dataclass(frozen=True)
class Batch:
    """Things of either role: `names` is what a handler calls those that fail."""

    event: Any
    names: list[str]
    marks: list[str]
    things: list[Change] | list[Message]


def batch(role: str, size: int) -> Batch:
    draw = Draw("real sdk")
    at = draw.day()
    if role == "processor":
        stream = Stream(draw)
        orders = [stream.insert(stream.order_id(), at) for _ in range(size)]
        names = [order.sequence_number for order in orders]
        return Batch(changes.batch(orders), names, [order.order_id for order in orders], orders)
    queue = DeadLetters(draw)
    messages = [queue.failure(at) for _ in range(size)]
    names = [message.id for message in messages]
    return Batch(dead_letters.batch([m.message for m in messages]), names, names, messages)


def scenes(role: str) -> list[Scene]:
    draw = Draw("real sdk")
    return list(processor_scenes(draw) if role == "processor" else audit_scenes(draw))


# The stand-in and the real thing


def test_the_stand_in_records_what_goes_over_the_wire(handler: Handler) -> None:
    """Every scene of the audit: the same calls, and the same answer to Lambda."""
    played = scenes(handler.role)
    runtime = {"nodejs": "nodejs24.x", "python": "python3.14"}[handler.language]
    code = ROOT / "lambda" / handler.language / FOLDERS[handler.role]
    seen = execute(
        Program(runtime, "index.handler", code, NAMES),
        [scene.invocation() for scene in played],
        tables={TABLE: Table(("auditId", "timestamp"))},
    )
    stored = set[str]()

    for scene, outcome in zip(played, seen.outcomes, strict=True):
        answer = partial(answered, scene=scene, stored=stored)
        result = handler(scene.event, answer, faster=25 if scene.faults else 1)

        sent = {said(request.service, request.operation, request.parameters) for request in result.requests}
        recorded = {said(call.service, call.operation, call.parameters) for call in outcome.calls}
        assert sent == recorded, scene.name
        assert recorded
        assert outcome.result == {
            "batchItemFailures": [{"itemIdentifier": name} for name in result.failed or []]
        }, scene.name


def answered(request: Request, scene: Scene, stored: set[str]) -> Refused | None:
    """What the scene wants refused; and, of the table, what it holds already."""
    for fault in scene.faults:
        here = (fault.service, fault.operation) == (request.service, request.operation)
        if here and (fault.containing is None or fault.containing in request.body):
            return (
                SILENCE
                if fault.error == "TimeoutError"
                else Refused(fault.error, STATUS.get(fault.error, 400))
            )
    if request.service == "dynamodb":
        assert request.parameters["ConditionExpression"] == "attribute_not_exists(auditId)"
        keys = json.dumps([request.parameters["Item"][name] for name in ("auditId", "timestamp")])
    else:
        assert request.parameters["IfNoneMatch"] == "*"
        keys = request.parameters["Key"]
    if keys in stored:
        return ALREADY if request.service == "s3" else STORED
    stored.add(keys)
    return None


def said(service: str, operation: str, parameters: Any) -> str:
    """A call, but for the time of day that the handler put into it."""
    parameters = dict(parameters)
    if service == "s3":
        body = json.loads(parameters["Body"])
        assert body.pop("processingTimestamp")
        parameters["Body"] = body
    return json.dumps([service, operation, parameters], sort_keys=True)


IDS = {
    "größe 32-注文+№9": "größe 32-注文+№9",
    "what? #1 & more;": "what? #1 & more;",
    "..": "..",
    "a/b": "a%2Fb",
    "a%2Fb": "a%252Fb",
    "../../2031/01/01/x": "..%2F..%2F2031%2F01%2F01%2Fx",
}


@processors
def test_a_change_is_put_under_its_key_whatever_its_id_says(handler: Handler) -> None:
    draw = Draw("ids")
    stream, at = Stream(draw), draw.day()
    orders = [stream.insert(order_id, at) for order_id in IDS]
    result = handler(changes.batch(orders))
    assert result.failed == []
    requests = {json.loads(request.body)["recordId"]: request for request in result.requests}
    assert set(requests) == set(IDS)
    for change in orders:
        request = requests[change.order_id]
        name = f"{IDS[change.order_id]}-{int(at.timestamp() * 1000)}-{change.sequence_number}"
        path, _, _ = request.path.partition("?")
        assert path.isascii()
        assert unquote(path) == f"/{BUCKET}/processed-data/{at:%Y/%m/%d}/{name}.json"
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.body)["originalData"] == change.record["dynamodb"]["NewImage"]


# What the real clients make of a service in trouble


def throttled(service: str) -> Refused:
    return Refused("SlowDown", 503) if service == "s3" else Refused("ProvisionedThroughputExceededException")


def test_a_write_that_is_throttled_once_is_stored(handler: Handler) -> None:
    asked = batch(handler.role, 1)
    answers = iter([throttled(SERVICES[handler.role])])
    result = handler(asked.event, lambda _: next(answers, None), faster=5)
    assert result.failed == []
    assert [said(r.service, r.operation, r.parameters) for r in result.requests] == (
        [said(r.service, r.operation, r.parameters) for r in result.requests[:1]] * 2
    )
    assert len({request.body for request in result.requests}) == 1


def test_a_refused_write_is_named_and_the_others_are_stored(handler: Handler) -> None:
    asked = batch(handler.role, 3)
    error = "AccessDenied" if handler.role == "processor" else "AccessDeniedException"
    refused = Refused(error, STATUS.get(error, 400))
    result = handler(asked.event, lambda request: refused if asked.marks[1] in request.body else None)
    assert result.failed == [asked.names[1]]
    assert len(result.requests) == 3  # a refusal is not asked twice
    log = handler.log.read_text()
    assert handler.language == "python" or error in log
    assert not any(text in log for thing in asked.things for text in thing.contents)


def test_what_is_there_already_is_a_success(handler: Handler) -> None:
    asked = batch(handler.role, 2)
    there = ALREADY if handler.role == "processor" else STORED
    result = handler(asked.event, lambda _: there)
    assert result.failed == []
    assert len(result.requests) == 2


@processors
def test_an_object_that_somebody_writes_at_the_same_time_is_tried_again(handler: Handler) -> None:
    """S3 answers 409 then, and it is not known which of both is kept."""
    asked = batch("processor", 1)
    result = handler(asked.event, lambda _: Refused("ConditionalRequestConflict", 409))
    assert result.failed == asked.names


def test_nothing_is_acknowledged_where_nobody_listens(handler: Handler) -> None:
    asked = batch(handler.role, 2)
    with handler.service.away():
        result = handler(asked.event)
    assert result.failed == asked.names
    assert handler(asked.event).failed == []


def test_a_whole_batch_that_is_throttled_is_named_in_time(handler: Handler) -> None:
    """Not before the function's time is over, and Lambda would have all of it again."""
    asked = batch(handler.role, BATCHES[handler.role])
    result = handler(asked.event, lambda request: throttled(request.service), faster=5)
    assert result.failed == asked.names
    assert result.seconds < TIMEOUT


def test_a_service_that_stays_silent_is_given_up_in_time(handler: Handler) -> None:
    asked = batch(handler.role, 2)
    silent = lambda request: SILENCE if asked.marks[0] in request.body else None  # noqa: E731
    result = handler(asked.event, silent, faster=20)
    assert result.failed == asked.names[:1]
    assert result.seconds < TIMEOUT


def test_a_whole_batch_that_gets_no_answer_is_named_in_time(handler: Handler) -> None:
    asked = batch(handler.role, BATCHES[handler.role])
    result = handler(asked.event, lambda _: SILENCE, faster=10)
    assert result.failed == asked.names
    assert result.seconds < TIMEOUT


LONG = {
    "the longest that is kept": ("a" * 800, "a" * 800),
    "longer": ("a" * 801, sha256(b"a" * 801).hexdigest()),
    "longer in bytes": ("\u00e9" * 500, sha256("\u00e9".encode() * 500).hexdigest()),
    "longer as it is written": ("/" * 300, sha256(b"/" * 300).hexdigest()),
    "the longest of DynamoDB": ("b" * 2048, sha256(b"b" * 2048).hexdigest()),
}


@processors
def test_an_id_that_is_too_long_for_a_key_is_hashed(handler: Handler) -> None:
    draw = Draw("long ids")
    stream, at = Stream(draw), draw.day()
    orders = [stream.insert(order_id, at) for order_id, _ in LONG.values()]
    result = handler(changes.batch(orders))
    assert result.failed == []
    keys = {json.loads(r.body)["recordId"]: r.parameters["Key"] for r in result.requests}
    for order_id, part in LONG.values():
        assert keys[order_id].split("/")[-1].rsplit("-", 2)[0] == part
        assert len(keys[order_id].encode()) <= 1024


@processors
def test_who_deleted_an_order_is_kept(handler: Handler) -> None:
    """DynamoDB itself, where an item's time to live is over."""
    asked = batch("processor", 2)
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    asked.event["Records"][0]["userIdentity"] = service
    result = handler(asked.event)
    by_id = {body["recordId"]: body["metadata"] for body in (json.loads(r.body) for r in result.requests)}
    assert by_id[asked.marks[0]]["userIdentity"] == service
    assert "userIdentity" not in by_id[asked.marks[1]]


@audits
@pytest.mark.parametrize("body", ["[]", "[{}]", "7", "null", '"text"'])
def test_what_is_no_failure_record_is_kept_as_text(handler: Handler, body: str) -> None:
    asked = batch("audit", 1)
    asked.event["Records"][0]["body"] = body
    (request,) = handler(asked.event).requests
    assert request.parameters["Item"]["failureType"] == {"S": "Unparseable"}
    assert request.parameters["Item"]["rawMessage"] == {"S": body}
