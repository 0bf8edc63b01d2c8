"""`make models` writes service_models/ from the service models that a botocore ships.

They say what a request of an operation may hold, how it travels, which errors it declares and how it
pages. Only what a handler may need is kept: no documentation, no operations that set up resources.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # botocore's files have no schema

from compliance.handlers.sandbox.models import FOLDER as MODELS

# By the SDK for Python's name: which operations a handler may call (all names are kept, these in full).
SERVICES = {
    "cloudwatch": "PutMetricData|GetMetricData|GetMetricStatistics",
    "dynamodb": ".*(Item|Items|Statement|Transaction)|Query|Scan|DescribeTable|DescribeTimeToLive",
    "events": "PutEvents",
    "firehose": "PutRecord.*",
    "kinesis": "PutRecords?|GetRecords|GetShardIterator|ListShards|ListStreams|DescribeStream.*",
    "lambda": "Invoke",
    "logs": "PutLogEvents|CreateLogStream",
    "s3": "(Put|Get|Head|Delete|Copy|List)Object(|s|sV2|Tagging|Acl|Attributes|Versions|LegalHold|Retention)|"
    "HeadBucket|ListBuckets|GetBucketLocation|UploadPart|UploadPartCopy|ListParts|.*MultipartUpload",
    "secretsmanager": "(Get|BatchGet|Put)SecretValue|DescribeSecret|UpdateSecret|ListSecrets",
    "ses": "Send(Email|RawEmail|TemplatedEmail|BulkTemplatedEmail)",
    "sesv2": "Send(Email|BulkEmail)",
    "sns": "Publish|PublishBatch|ListTopics|GetTopicAttributes|Subscribe",
    "sqs": ".*Message(|Batch|Visibility|VisibilityBatch)|GetQueue(Url|Attributes)|ListQueues|PurgeQueue",
    "ssm": "(Get|Put|Delete)Parameters?|GetParametersByPath|DescribeParameters|SendCommand",
    "stepfunctions": "Start(Sync)?Execution|Send.*|(Describe|Stop|List)Executions?|GetExecutionHistory",
    "sts": "GetCallerIdentity|AssumeRole",
}
LIMITS = ("min", "max", "pattern", "enum")
PLACES = {"location": "in", "locationName": "name", "timestampFormat": "format", "xmlAttribute": "attribute"}


def main(folder: str) -> None:
    data = next(Path(folder).glob("**/botocore/data"))
    MODELS.mkdir(exist_ok=True)
    for service, wanted in SERVICES.items():
        version = sorted(p for p in (data / service).iterdir() if p.is_dir())[-1]
        model = made(_read(version, "service-2"), _read(version, "paginators-1")["pagination"], wanted)
        text = json.dumps(model, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        # A shape a line, so that an update can be read.
        text = re.sub(r'(?<=[}\]]),(?="\w+":[{\[])', ",\n", text)
        (MODELS / f"{service}.json").write_text(text + "\n", "utf-8")


def _read(folder: Path, name: str) -> Any:
    for path in (folder / f"{name}.json", folder / f"{name}.json.gz"):
        if path.exists():
            raw = path.read_bytes()
            return json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    return {"pagination": {}}


def made(service: Any, pages: Any, wanted: str) -> Any:
    about, operations, shapes = service["metadata"], {}, service["shapes"]
    used: set[str] = set()
    for name, operation in service["operations"].items():
        if not re.fullmatch(wanted, name):
            continue
        ends = {end: operation[end] for end in ("input", "output") if end in operation}
        for reference in ends.values():
            _reach(reference["shape"], shapes, used)
        errors = [error["shape"] for error in operation.get("errors", [])]
        http = operation["http"]
        operations[name] = {
            **{end: reference["shape"] for end, reference in ends.items()},
            **({"errors": errors} if errors else {}),
            **(
                {"wrapper": ends["output"]["resultWrapper"]}
                if "resultWrapper" in ends.get("output", {})
                else {}
            ),
            **(
                {"http": [http["method"], http["requestUri"]]} if about["protocol"].startswith("rest") else {}
            ),
            **({"pages": _pages(pages[name])} if name in pages else {}),
        }
    return {
        "name": about["serviceId"],
        "protocol": about["protocol"],
        "protocols": about.get("protocols", [about["protocol"]]),
        "target": about.get("targetPrefix", ""),
        "version": about.get("jsonVersion", "1.0"),
        "api": about["apiVersion"],
        "endpoint": about["endpointPrefix"],
        "names": " ".join(sorted(service["operations"])),
        "operations": operations,
        "shapes": {name: _shape(shapes[name]) for name in sorted(used)},
        "exceptions": {name: _error(name, shape) for name, shape in shapes.items() if shape.get("exception")},
    }


def _error(name: str, shape: Any) -> Any:
    """The error's code on the wire, which the shape's name need not be, and its HTTP status."""
    about = shape.get("error", {})
    return [about.get("code", name), about.get("httpStatusCode", 500 if shape.get("fault") else 400)]


def _reach(name: str, shapes: Any, used: set[str]) -> None:
    if name in used:
        return
    used.add(name)
    for reference in _references(shapes[name]):
        _reach(reference["shape"], shapes, used)


def _references(shape: Any) -> Iterator[Any]:
    yield from shape.get("members", {}).values()
    yield from (shape[part] for part in ("member", "key", "value") if part in shape)


def _shape(shape: Any) -> Any:
    kept: Any = {"type": shape["type"], **{name: shape[name] for name in LIMITS if name in shape}}
    for name in ("required", "payload", "flattened", "union", "streaming"):
        if shape.get(name):
            kept[name] = shape[name]
    if "members" in shape:
        kept["members"] = {name: _reference(member) for name, member in shape["members"].items()}
    for part in ("member", "key", "value"):
        if part in shape:
            kept[part] = _reference(shape[part])
    if "timestampFormat" in shape:
        kept["format"] = shape["timestampFormat"]
    return kept


def _reference(reference: Any) -> Any:
    """The shape's name, and how the member travels where that is not the usual way."""
    places = {ours: reference[theirs] for theirs, ours in PLACES.items() if theirs in reference}
    if reference.get("flattened"):
        places["flattened"] = True
    return [reference["shape"], places] if places else reference["shape"]


def _pages(pages: Any) -> Any:
    def many(value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    return {
        "from": many(pages["input_token"]),
        "to": many(pages["output_token"]),
        "results": many(pages["result_key"]),
        **({"more": pages["more_results"]} if "more_results" in pages else {}),
        **({"limit": pages["limit_key"]} if "limit_key" in pages else {}),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
