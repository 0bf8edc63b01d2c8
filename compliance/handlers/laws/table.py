"""All laws, each with its promise. A law is a generator of plays (`handlers.runs`) that draws its own events.

Nothing of this is imported before a handler is run: few audits run one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from compliance.handlers.laws import code, deadline, faults, kept, quiet, together
from compliance.handlers.laws.bench import Bench
from compliance.handlers.runs import Finding, Ran, Task


class Law(msgspec.Struct, frozen=True):
    """What a law promises, in words, and the task that finds out."""

    promise: str
    begin: Callable[[Bench], Task]


LAWS: Mapping[str, Law] = {
    "runs": Law("it runs to the end on real events, and declares every name that it uses", code.runs),
    "as_alone": Law(
        "a batch does exactly what its records do alone, in any number and mixture", together.as_alone
    ),
    "no_failure_swallowed": Law(
        "a call that fails, with any error, for any record, is raised or reported as the mapping understands",
        faults.no_failure_swallowed,
    ),
    "isolated": Law(
        "one record that fails neither stops nor repeats the others for good; a FIFO group waits for it",
        faults.isolated,
    ),
    "replay": Law(
        "the same batch again, later and elsewhere, has the same effects under the same keys", together.replay
    ),
    "kept_as_is": Law("ids and values of every type arrive unchanged", kept.kept_as_is),
    "quiet": Law("no content of an event is in a log, nor in an error", quiet.quiet),
    "in_time": Law(
        "a batch is answered before the function's time is over, though AWS never answers", deadline.in_time
    ),
    "nothing_late": Law("nothing is called or logged after the answer", quiet.nothing_late),
}
# Laws about the code of any function, whatever invokes it.
CODE: Mapping[str, Callable[[Ran], Iterable[Finding]]] = {"found": code.found, "modules": code.modules}
