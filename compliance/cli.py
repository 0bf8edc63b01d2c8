"""The command line, and what its exit codes mean.

Exit codes: 0 green; 1 red; 2 bad input or usage, one line on stderr; 3 a checker itself broke;
130 interrupted.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from compliance.commands.common import close_stdout, open_streams, say_aside
from compliance.model import CheckerError, InputError

# Each names a module of compliance.commands, and the command in it.
COMMANDS = ("audit", "completion", "deploy", "eval", "fleet", "init", "requirements", "schema", "waive")


class Trusted(click.Command):
    """Reports every error on one line, with an exit code that scripts can rely on."""

    def main(self, *args: Any, **others: Any) -> Any:
        others["standalone_mode"], standalone = False, others.get("standalone_mode", True)
        if not standalone:
            return super().main(*args, **others)
        open_streams()
        try:
            with _termination():
                result = super().main(*args, **others)
            sys.exit(result if isinstance(result, int) else 0)
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2
                error.show()
                sys.exit(2)
            command = error.ctx.command_path if error.ctx else "compliance"
            _fail(f"error: {_usage(error).rstrip('.')} ({command} --help says more)", 2)
        except click.ClickException as error:
            _fail(f"error: {error.format_message()}", 2)
        except click.Abort:
            sys.exit(130)
        except InputError as error:
            _fail(f"error: {error}", 2)
        except CheckerError as error:
            _fail(f"checker broke: {error}", 3)
        except BrokenPipeError:
            close_stdout()
            sys.exit(1)
        except Exception as error:
            # Not 1, which is a verdict: here there is none.
            if os.environ.get("COMPLIANCE_TRACEBACK"):
                raise
            what = f"{type(error).__name__}: {error}"
            _fail(f"checker broke: {what} (a bug; COMPLIANCE_TRACEBACK=1 shows where)", 3)


class Commands(Trusted, click.Group):
    """Imports only the command that is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]}; {_meant(args[0])}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"compliance.commands.{cmd_name}"), cmd_name)
        return command


def _usage(error: click.UsageError) -> str:
    """Click's message; of a value that is none of an option's choices, also which one was probably meant."""
    message, type_ = error.format_message(), getattr(getattr(error, "param", None), "type", None)
    if isinstance(type_, click.Choice) and (wrong := re.search(r": '(.*)' is not one of ", message)):
        return f"{message[: wrong.end(1) + 1]} is not a choice; {_meant(wrong[1], map(str, type_.choices))}"
    return message


def _meant(name: str, known: Iterable[str] = COMMANDS) -> str:
    from compliance.document.suggestions import hint

    return hint(name, known)


def _fail(message: str, code: int) -> NoReturn:
    with suppress(OSError):  # standard error cannot be written either
        say_aside(message)
    sys.exit(code)


@contextmanager
def _termination() -> Iterator[None]:
    """Makes SIGTERM, by which CI ends a job, end the app's processes and remove temporary files too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cdk-compliance-gate", prog_name="compliance")
def main() -> None:
    """Judges an AWS CDK app, a cloud assembly or a template by a requirements
    document that runs.

    \b
    compliance init                              a first document for the app here
    compliance audit                             judge the app by the document
    compliance audit -c env=staging              the same for another environment
    compliance audit --assembly cdk.out          what `cdk synth` wrote
    compliance audit --template stack.yaml       a template, JSON or YAML
    compliance requirements                      the document's requirements
    compliance requirements NAM-02               one of them, and how to meet it
    compliance eval 'size(resources)'            try a requirement's expression
    compliance schema                            the JSON Schema, for editors
    compliance waive --list-expiring             the waivers that end soon
    compliance deploy -c env=staging             audit, then deploy just that
    compliance fleet accounts/                   all in a folder, in one table
    compliance completion bash                   for `eval` in ~/.bashrc
    """


if __name__ == "__main__":
    main()
