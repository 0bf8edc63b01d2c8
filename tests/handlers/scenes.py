"""Events of both of the pipeline's handlers, with what is refused to them: for tests of what runs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import changes
import dead_letters
import msgspec
from changes import Change, Stream
from dead_letters import DeadLetters, Message
from msgspec.structs import replace

from compliance.handlers.events import Draw
from compliance.handlers.sandbox import Fault, Invocation

WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem")


class Scene(msgspec.Struct, frozen=True):
    """An event, the moment the handler believes it to be, and what is refused to it."""

    name: str
    event: Any
    now: datetime
    faults: tuple[Fault, ...] = ()
    changes: tuple[Change, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def contents(self) -> tuple[str, ...]:
        """What of orders is in the event."""
        of_changes = [text for change in self.changes for text in change.contents]
        return (*of_changes, *(text for message in self.messages for text in message.contents))

    def invocation(self) -> Invocation:
        return Invocation(self.name, self.event, self.faults, self.now.timestamp() - time.time())


def processor_scenes(draw: Draw) -> Sequence[Scene]:
    """Each change alone, so that what is written belongs to it; then all at once, days later."""
    stream = Stream(draw)
    day, another = draw.day(), draw.day()
    early, late = draw.early(day), draw.late(day)
    twice = stream.order_id()
    singles = {
        "insert": stream.insert(stream.order_id(), late),
        "modify": stream.modify(twice, early),
        "modify-again": stream.modify(twice, early),
        "remove": stream.remove(stream.order_id(), late),
        "unicode": stream.insert(f"größe {draw.word(6)}-注文+№{draw.number(1, 9)}", early),
        "composite": stream.insert(stream.order_id(), late, lineId=draw.word(6)),
    }
    orders = tuple(singles.values())
    bad, good = stream.insert(stream.order_id(), early), stream.modify(stream.order_id(), early)
    soon = timedelta(minutes=4)
    refused = tuple(Fault("s3", operation, "AccessDenied") for operation in ("PutObject", "UploadPart"))
    one_refused = tuple(replace(fault, containing=bad.order_id) for fault in refused)
    poisoned = {"Records": [good.record, changes.unusable(bad)]}
    return [
        *(Scene(name, changes.batch([c]), c.at + soon, changes=(c,)) for name, c in singles.items()),
        Scene("replay", changes.batch(orders), draw.late(another), changes=orders),
        Scene("one-refused", changes.batch([bad, good]), bad.at + soon, one_refused, (bad, good)),
        Scene("all-refused", changes.batch([bad]), bad.at + soon, refused, (bad,)),
        Scene("unusable", poisoned, bad.at + soon, changes=(good, bad)),
    ]


def audit_scenes(draw: Draw) -> Sequence[Scene]:
    """Whole records; odd ones; each once more, days later; and writes that are refused."""
    queue, orders = DeadLetters(draw), Stream(draw)
    at = draw.early(draw.day())
    now, later = at + timedelta(minutes=2), at + timedelta(days=draw.number(1, 9), hours=3)
    order = orders.insert(orders.order_id(), at)
    earlier = at - timedelta(days=draw.number(1, 9), minutes=draw.number(1, 99))
    condition, function_error = f"Condition{draw.word()}", f"Error{draw.word()}"
    whole = {
        "full": queue.failure(at),
        "other": queue.failure(earlier, condition=condition, function_error=function_error),
    }
    odd = {
        "no-response": queue.failure(at, condition="RecordAgeExceeded", without=["responseContext"]),
        "no-batch": queue.failure(at, condition=f"Condition{draw.word()}", without=["DDBStreamBatchInfo"]),
        "no-request": queue.failure(at, without=["requestContext"]),
        "no-json": queue.text(at, order.contents[0]),
        "no-json-either": queue.text(earlier, order.contents[0]),
    }
    known = whole | odd
    twice = ("full", "no-response", "no-json")
    errors = ("ProvisionedThroughputExceededException", "AccessDeniedException", "TimeoutError")
    denied = {error: queue.failure(at) for error in errors}
    one, among, others = queue.failure(at), queue.failure(at), queue.failure(at)
    three = (one, among, others)
    return [
        *(Scene(name, dead_letters.batch([m.message]), now, messages=(m,)) for name, m in known.items()),
        *(
            Scene(f"{name}-again", dead_letters.batch([m.again(later - now)]), later, messages=(m,))
            for name, m in known.items()
            if name in twice
        ),
        *(
            Scene(error, dead_letters.batch([m.message]), now, _denied(error), messages=(m,))
            for error, m in denied.items()
        ),
        Scene(
            "one-refused",
            dead_letters.batch([m.message for m in three]),
            now,
            _denied(errors[0], containing=among.marks[-1]),
            messages=three,
        ),
    ]


def _denied(error: str, containing: str | None = None) -> tuple[Fault, ...]:
    return tuple(Fault("dynamodb", operation, error, containing=containing) for operation in WRITES)
