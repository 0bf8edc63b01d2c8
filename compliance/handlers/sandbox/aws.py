"""The stand-in for AWS: it answers as the services do, stores data, and fails where a fault says so.

It is not in the handler's process, so a handler cannot change the record of its calls or the answers. Where
it has no answer, it says so, and what depends on the call is not assessed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from compliance.handlers.sandbox import (
    BATCHES,
    FAILS_BY_ENTRY,
    NO_ANSWER,
    NOT_STOOD_IN,
    Call,
    Fault,
    Given,
    Invocation,
    State,
    Table,
)
from compliance.handlers.sandbox.addresses import refuse_address, states
from compliance.handlers.sandbox.dynamodb import Tables, cancelled
from compliance.handlers.sandbox.messaging import Messages, partly, refused_entries
from compliance.handlers.sandbox.models import Model, accepted, is_about, model_of, prefix_of
from compliance.handlers.sandbox.parameters import Parameters
from compliance.handlers.sandbox.refusal import NotStoodIn, Refusal, refusal_of
from compliance.handlers.sandbox.s3 import Buckets, as_bytes, as_text
from compliance.handlers.sandbox.values import attributes
from compliance.handlers.sandbox.wire import Request, decoded, encoded, service_of
from compliance.json_data import JSON, array, as_mapping, mapping, mappings
from compliance.template.source import converted

Operation = Callable[[dict[str, JSON]], dict[str, JSON]]
HTTP = "http"  # the service in requests of a bundled SDK


class Aws:
    """The AWS of one `execute`: one account. `language` is that of the SDK which makes the requests."""

    def __init__(self, tables: Mapping[str, Table] | None = None, language: str = "nodejs") -> None:
        self.language = language
        self.faults: Sequence[Fault] = ()
        self.given = Given()
        self.tables, self.buckets = Tables(tables), Buckets()
        self.messages, self.parameters = Messages(), Parameters()
        self._hits: dict[int, int] = {}
        self._prepared: Given | None = None

    def prepare(self, given: Given | None) -> None:
        """Replaces all data by what is given, also for code that runs while it is loaded."""
        if given is None:
            return
        self.given = self._prepared = given
        self.tables.replace(
            {n: [attributes(i) for i in items] for n, items in given.items.items()}, given.page
        )
        self.buckets.now = time.time()
        self.buckets.replace(given.objects, given.page)
        self.messages.replace(given.messages)
        self.parameters.replace(given.parameters, given.secrets, given.page)

    def begin(self, invocation: Invocation) -> None:
        if invocation.given is not self._prepared:
            self.prepare(invocation.given)
        self._prepared = None
        self.faults, self._hits = invocation.faults, {}
        self.buckets.now = time.time() + invocation.clock

    def state(self) -> State:
        return State(self.tables.state(), self.buckets.state())

    def call(
        self, service: str, operation: str, parameters: JSON, at: str | None
    ) -> tuple[Call, dict[str, JSON]]:
        """The call for the record, and the answer for the child: `{"ok": ...}` or `{"error": ...}`."""
        sent = as_mapping(parameters)
        if service == HTTP:
            return self._exchange(sent, at)
        prefix, model = prefix_of(service), model_of(service)
        met: list[int] = []
        try:
            if model and operation in model.operations:
                sent = accepted(model, operation, sent, self.language)
            answer, entries = self._answered(prefix, operation, model, sent, met)
            call = Call(prefix, operation, _parameters(sent), None, at, refused=entries, faults=tuple(met))
            return call, {"ok": answer}
        except NotStoodIn as unknown:
            what = f"{prefix}:{operation}{f' {unknown}' if str(unknown) else ''}"
            refusal = Refusal(NOT_STOOD_IN, f"the sandbox does not stand in for {what}", 501)
        except Refusal as refused:
            refusal = refused
        except Exception as error:  # an error of this stand-in proves nothing about the handler
            what = f"{prefix}:{operation} as it was called ({type(error).__name__})"
            refusal = Refusal(NOT_STOOD_IN, f"the sandbox does not stand in for {what}", 501)
        message = refusal.as_message()
        if model and refusal.status:
            shape, code, status = model.error(refusal.code)
            message |= {"shape": shape, "code": code, "status": status or refusal.status}
        call = Call(prefix, operation, _parameters(sent), refusal.code, at, faults=tuple(met))
        return call, {"error": message}

    def _exchange(self, sent: dict[str, JSON], at: str | None) -> tuple[Call, dict[str, JSON]]:
        """A request of an SDK in the code, which gets an HTTP response as its answer."""
        try:
            model, operation, parameters = decoded(converted(sent, Request))
        except Exception as unknown:  # a request that the stand-in does not know
            service = service_of(str(sent.get("host"))) or "http"
            what = str(unknown) if isinstance(unknown, NotStoodIn) else "as it was sent"
            operation = f"{sent.get('method')} {sent.get('path')}"[:200]
            call = Call(prefix_of(service), operation, {}, NOT_STOOD_IN, at)
            text = f"the sandbox does not stand in for this request to {service} {what}"
            return call, {"error": Refusal(NOT_STOOD_IN, text, 501).as_message()}
        call, answer = self.call(model.id, operation, parameters, at)
        if call.error == NO_ANSWER:  # it is not known how long an SDK in the code waits
            call = msgspec.structs.replace(call, error=NOT_STOOD_IN)
        if "error" in answer and mapping(answer["error"])["status"] == 0:
            return call, answer
        return call, {"ok": encoded(model, operation, answer)}

    def _answered(
        self, prefix: str, operation: str, model: Model | None, sent: dict[str, JSON], met: list[int]
    ) -> tuple[JSON, tuple[int, ...]]:
        """The answer, and the entries of a batch that it says have failed.

        Adds the positions of the faults that take effect to `met`.
        """
        refuse_address(prefix, sent)
        entries: dict[int, str] = {}
        lost: Refusal | None = None
        for number in self._matching_faults(prefix, operation, sent):
            fault = self.faults[number]
            if fault.entries and (prefix, operation) in FAILS_BY_ENTRY:
                there = [i for i in fault.entries if i < _size((prefix, operation), sent)]
                entries |= dict.fromkeys(there, fault.error)
                met += [number] if there else []
                continue
            met.append(number)
            if fault.after:
                lost = self._refusal(fault, sent)
            else:
                raise self._refusal(fault, sent)
        answer = self._answer(prefix, operation, model, sent, entries)
        if lost:
            raise lost
        return answer, tuple(sorted({*entries, *refused_entries((prefix, operation), sent, answer)}))

    def _answer(
        self,
        prefix: str,
        operation: str,
        model: Model | None,
        sent: dict[str, JSON],
        entries: Mapping[int, str],
    ) -> JSON:
        if (whole := f"{prefix}:{operation}") in self.given.answers:
            return self.given.answers[whole]
        if model is None:
            raise NotStoodIn
        act = self._operation_of(model.id, operation)
        if not entries:
            return act(sent)
        if (model.id, operation) in BATCHES:
            return partly((model.id, operation), sent, entries, act)
        return _batch_without_refused(operation, sent, entries, act)

    def _operation_of(self, service: str, operation: str) -> Operation:
        if service == "dynamodb":
            return lambda sent: self.tables.answer(operation, sent)
        if service == "s3":
            return lambda sent: self.buckets.answer(operation, sent)
        if service in ("ssm", "secretsmanager"):
            return lambda sent: self.parameters.answer(service, operation, sent)
        return lambda sent: self.messages.answer(service, operation, sent)

    def _matching_faults(self, service: str, operation: str, sent: dict[str, JSON]) -> list[int]:
        """The positions of the faults that match a call. Each of them counts the calls that it matches."""
        text: str | None = None
        found = []
        for i, fault in enumerate(self.faults):
            if not is_about(fault, service, operation):
                continue
            if not all(states(sent, name, value) for name, value in fault.where.items()):
                continue
            if fault.containing is not None:
                text = text or json.dumps(_parameters(sent), ensure_ascii=False)
                if fault.containing not in text:
                    continue
            nth = self._hits[i] = self._hits.get(i, -1) + 1
            if fault.call is None or fault.call == nth:
                found.append(i)
        return found

    def _refusal(self, fault: Fault, sent: dict[str, JSON]) -> Refusal:
        if fault.error != "TransactionCanceledException":
            return refusal_of(fault.error, fault.service, fault.operation)
        others = len(array(sent.get("TransactItems") or [None]))
        reasons = fault.reasons or ("TransactionConflict", *["None"] * (others - 1))
        return cancelled([{"Code": code} for code in reasons])


def _size(key: tuple[str, str], sent: dict[str, JSON]) -> int:
    """The number of entries of a batch."""
    if key in BATCHES:
        return len(array(sent[BATCHES[key][0]]))
    if key == ("s3", "DeleteObjects"):
        return len(array(mapping(sent["Delete"])["Objects"]))
    tables = mapping(sent["RequestItems"]).values()
    return sum(len(array(of["Keys"] if isinstance(of, dict) else of)) for of in tables)


def _batch_without_refused(
    operation: str,
    sent: dict[str, JSON],
    refused: Mapping[int, str],
    act: Operation,
) -> dict[str, JSON]:
    """The answer to a batch of DynamoDB or S3 of which some entries fail: it returns those."""
    if operation == "DeleteObjects":
        delete = mapping(sent["Delete"])
        objects = mappings(delete["Objects"])
        kept: list[JSON] = [one for i, one in enumerate(objects) if i not in refused]
        answer = act({**sent, "Delete": {**delete, "Objects": kept}}) if kept else {}
        errors: list[JSON] = [
            {"Key": one["Key"], "Code": refused[i]} for i, one in enumerate(objects) if i in refused
        ]
        return {**answer, "Errors": errors}
    name = "UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"
    left: dict[str, JSON] = {}
    kept_items: dict[str, JSON] = {}
    i = 0
    for table, of in mapping(sent["RequestItems"]).items():
        members = array(of["Keys"] if isinstance(of, dict) else of)
        for place, is_left in ((left, True), (kept_items, False)):
            if here := [one for n, one in enumerate(members, i) if (n in refused) is is_left]:
                place[table] = {**of, "Keys": here} if isinstance(of, dict) else here
        i += len(members)
    empty: dict[str, JSON] = {} if operation == "BatchWriteItem" else {"Responses": {}}
    return {**(act({**sent, "RequestItems": kept_items}) if kept_items else empty), name: left}


def _parameters(sent: dict[str, JSON]) -> dict[str, JSON]:
    """Parameters for people and rules: bytes as text where they are UTF-8, else in base64."""
    return {name: value if type(value) is str else _readable(value) for name, value in sent.items()}


def _readable(value: JSON) -> JSON:
    if isinstance(value, dict):
        if len(value) == 1 and "$b" in value:
            return as_text(as_bytes(value))
        return _parameters(value)
    if isinstance(value, list):
        return [_readable(child) for child in value]
    return value
