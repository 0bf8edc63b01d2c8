"""Runs the handlers of Lambda functions, and analyses their code.

Other packages use three things of this one.

**Events** of every trigger from short data, with drawn values:

    from compliance.handlers.events import Draw
    from compliance.handlers.events.template import event     # its docstring lists triggers and members
    from compliance.handlers.events.values import Values      # {draw: id, as: uuid}, "{{id}}" within texts

    draw = Draw(seed)
    values = Values(draw)
    data = values.fill({"sqs": [{"body": {"id": {"draw": "id"}}}]})
    made = event(data, draw, at)                               # values.drawn["id"] is what was drawn

**A sequence of invocations** of one function in one process:

    from compliance.handlers.sandbox import Fault, Given, Invocation, Program, Table
    from compliance.handlers.sandbox.run import execute

    execution = execute(
        Program(runtime, "index.handler", folder, environment),
        [
            Invocation("first", made, given=Given(items={"orders": [{"id": "7", "n": 1}]})),
            Invocation("again", made, clock=86_400),           # a day later, AWS as the first left it
            Invocation("cold", made, faults=(Fault("dynamodb", "PutItem", "ThrottlingException"),),
                       given=Given(), fresh=True),             # AWS empty, a process of its own
        ],
        tables={"orders": Table(("id",), {"by-day": ("day", "id")})},
    )

`given` replaces everything in AWS (None keeps it); `fresh` starts another process; `clock` is in seconds
from now. `Fault` says which service, operation and error, which call (`call`: the nth; `containing`,
`where`: by its parameters), which entries of a batch, and whether the call took effect (`after`).
Limits are for the whole execution: many invocations may need `Limits(seconds=...)`.

**What was seen**, by invocation: `execution.outcomes[i]` has `result`, `error`, `calls` (each with
service, operation, parameters, `writes`, `error`, code line `at`), `log` and its `lines`, `state` (tables
and buckets after it), and `not_stood_in`: operations that the sandbox has no answer to. Where that is not
empty, the handler got an error that AWS would not have given: what depends on it is `not_assessed`, with
the texts of `not_stood_in` as the reason. `execution.loading` has the calls made while the code was loaded,
and `execution.not_stood_in` what was not stood in for in all of it. `execution.stopped`, `load_error`,
`missing`, `unheld`: as the docstring of Execution says.
"""
