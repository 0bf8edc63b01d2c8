"""Modules that the command line imports at their first use only, and their stand-ins until then."""

from __future__ import annotations

import inspect
import platform
import subprocess
import sys
import urllib.parse

import pytest

from compliance.deferred import cleandoc, quote_from_bytes

FIRST_USE = {
    "a name": "import inspect; assert inspect.signature(len)",
    "a name by from": "from textwrap import dedent; assert dedent(' a') == 'a'",
    "a part of a package": "import urllib.parse; assert urllib.parse.quote('/ ') == '/%20'",
    "a part of a package by from": "from urllib.parse import unquote; assert unquote('%20') == ' '",
    "a name that is given too": "import inspect; assert inspect.cleandoc('a\\n  b') == 'a\\nb'",
    "a path": "from pathlib import Path; assert Path('/a b').as_uri() == 'file:///a%20b'",
    "what others import": "from dataclasses import make_dataclass as made; assert made('A', ['b'])(1).b == 1",
    "addresses": "import ipaddress; assert ipaddress.ip_network('10.0.0.0/8')",
    "types": "import msgspec; assert msgspec.inspect.type_info(int) == msgspec.inspect.IntType()",
    "schemas": "import msgspec; assert msgspec.json.schema(int) == {'type': 'integer'}",
    "the system": "import platform; assert platform.machine()",
    "translations": "import gettext; assert gettext.NullTranslations().gettext('a') == 'a'",
    "extensions of typing": "from typing_extensions import TypedDict",
    "what is missing": "import inspect; assert not hasattr(inspect, 'nothing')",
}


def python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("use", FIRST_USE.values(), ids=FIRST_USE)
def test_the_first_use_imports_the_module(use: str) -> None:
    python(f"from compliance.deferred import defer; defer(); {use}")


DEFERRED = """
import sys
def left():
    from compliance.deferred import Deferred
    return {name for name, module in sys.modules.items() if isinstance(module, Deferred)}
"""


@pytest.mark.parametrize(
    "use",
    [
        "import email.policy; assert email.policy.default",
        "from email import policy",
        "import email; email.message_from_string",
    ],
)
def test_a_package_has_its_modules(use: str) -> None:
    deferred = 'Deferred("email", is_package=True)'
    python(f"import sys; from compliance.deferred import Deferred; sys.modules['email'] = {deferred}; {use}")


def test_the_command_line_starts_without_them() -> None:
    python(f"{DEFERRED}\nimport compliance.__main__; assert len(left()) == 7, left()")


def test_only_a_document_that_is_read_for_the_first_time_needs_the_search_for_mistakes() -> None:
    python(
        "import sys; from importlib import import_module; from compliance.rules import MODULES; "
        "[import_module(f'compliance.rules.{name}') for name in MODULES]; "
        "assert not {'compliance.cel.fixed', 'compliance.rules.applicability'} & {*sys.modules}"
    )


def test_a_library_has_the_modules_themselves() -> None:
    python(f"{DEFERRED}\nimport compliance; assert compliance.audit; assert not left(), left()")


def test_a_module_that_was_imported_before_stays() -> None:
    python("import inspect as one; import compliance.__main__; import inspect; assert inspect is one")


def test_threads_import_one_module() -> None:
    python(
        "import sys; from threading import Thread; from compliance.deferred import defer; defer(); "
        "found = []; import inspect; sys.setswitchinterval(1e-6); "
        "threads = [Thread(target=lambda: found.append(inspect.Signature)) for _ in range(20)]; "
        "[t.start() for t in threads]; [t.join() for t in threads]; assert len(found) == 20; "
        "assert len(set(found)) == 1"
    )


TEXTS = ["", "a", " a ", "\ta", "a\tb", "a\n   b\n  c\n", "\n\n a", "\N{NO-BREAK SPACE}a"]


@pytest.mark.parametrize("text", TEXTS)
def test_help_is_cleaned_as_ever(text: str) -> None:
    assert cleandoc(text) == inspect.cleandoc(text)


def test_paths_are_quoted_as_ever() -> None:
    assert quote_from_bytes(b"/a b", safe="") == urllib.parse.quote_from_bytes(b"/a b", safe="")


def test_the_system_is_as_ever() -> None:
    python(
        "from compliance.deferred import defer; defer(); import platform; "
        f"assert platform.system() == {platform.system()!r}"
    )
