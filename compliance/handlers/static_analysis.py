"""Static analysis of a handler's code: its calls to AWS, and names that nothing declares.

It never gives a verdict by itself: a run confirms its results, or they are shown besides those of runs.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath

import msgspec
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from compliance.handlers.actions import actions_of
from compliance.handlers.sandbox import Program
from compliance.handlers.sandbox.models import PREFIXES
from compliance.template import archives

SUFFIXES = {"nodejs": (".js", ".mjs", ".cjs"), "python": (".py",)}
MOST_BYTES = 2_000_000


class Operation(msgspec.Struct, frozen=True):
    """A call to AWS in the code: IAM's prefix of the service, the operation, and `file:line`."""

    service: str
    operation: str
    at: str


def operations(program: Program) -> tuple[Operation, ...]:
    """The calls to AWS in the code's own files, where the code names the operation."""
    find = _javascript_operations if program.runtime.startswith("nodejs") else _python_operations
    return tuple(operation for name, text in files(program) for operation in find(name, text))


def undeclared(program: Program) -> tuple[str, ...]:
    """Names that a file uses and does not declare, in the order of their use."""
    find = _javascript_undeclared if program.runtime.startswith("nodejs") else _python_undeclared
    return tuple(dict.fromkeys(name for _, text in files(program) for name in find(text)))


# The errors of Python's parser for a source that is wrong, or nested too deeply.
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)


# The files


def files(program: Program) -> Iterator[tuple[str, str]]:
    """The code's own files by name, without the packages that it contains."""
    language = "nodejs" if program.runtime.startswith("nodejs") else "python"
    if isinstance(program.code, str):
        yield f"index{SUFFIXES[language][0]}", program.code
        return
    everything = dict(_zipped(program.code) if program.code.is_file() else _unzipped(program.code))
    packages = {"node_modules", *_installed(everything)}
    left = MOST_BYTES
    for name, content in sorted(everything.items()):
        is_own = name.endswith(SUFFIXES[language]) and not packages & set(PurePosixPath(name).parts)
        if is_own and (data := content()) is not None and len(data) <= left:
            left -= len(data)
            yield name, data.decode("utf-8", "replace")


def _unzipped(folder: Path) -> Iterator[tuple[str, _Content]]:
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            yield file.relative_to(folder).as_posix(), _Content(file)


def _zipped(archive: Path) -> Iterator[tuple[str, _Content]]:
    try:
        with archives.opened(archive) as found:
            for info in found.infolist():
                if info.file_size <= MOST_BYTES:
                    yield info.filename, _Content(archive, info.filename)
    except archives.UNREADABLE:
        return


class _Content(msgspec.Struct, frozen=True):
    """Reads a file, or a member of an archive, when it is called; None where it cannot be read."""

    path: Path
    member: str | None = None

    def __call__(self) -> bytes | None:
        try:
            if self.member is None:
                return self.path.read_bytes() if self.path.stat().st_size <= MOST_BYTES else None
            with archives.opened(self.path) as found:
                return found.read(self.member)
        except archives.UNREADABLE:
            return None


def _installed(names: Mapping[str, object]) -> Iterator[str]:
    """The packages that pip installed beside the code."""
    for name in names:
        folder = PurePosixPath(name).parts[0]
        if folder.endswith(".dist-info"):
            yield folder.split("-")[0].lower()
            yield folder.split("-")[0]


# JavaScript

DOCUMENT = {
    "Put": "PutItem",
    "Get": "GetItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "Query": "Query",
    "Scan": "Scan",
    "BatchWrite": "BatchWriteItem",
    "BatchGet": "BatchGetItem",
    "TransactWrite": "TransactWriteItems",
    "TransactGet": "TransactGetItems",
}


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_javascript.language()))


def _tree(text: str) -> Node:
    return _parser().parse(text.encode()).root_node


def _walk(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(current.children))


def _text(node: Node | None) -> str:
    return node.text.decode() if node and node.text else ""


class _Imports(msgspec.Struct):
    """By local name, the module that it stands for, and the export where it is one."""

    names: dict[str, tuple[str, str | None]] = msgspec.field(default_factory=dict)

    def of(self, node: Node | None) -> tuple[str, str] | None:
        """Module and export that an expression names: `PutObjectCommand`, `s3.PutObjectCommand`."""
        if node is None:
            return None
        if node.type == "member_expression":
            module = self.names.get(_text(node.child_by_field_name("object")))
            name = _text(node.child_by_field_name("property"))
            return (module[0], name) if module else None
        found = self.names.get(_text(node))
        return (found[0], found[1]) if found and found[1] else None


def _imports(root: Node) -> _Imports:
    imports = _Imports()
    for node in _walk(root):
        if node.type == "import_statement":
            module = _string(node.child_by_field_name("source"))
            for part in _walk(node):
                if part.type == "import_specifier":
                    name = _text(part.child_by_field_name("name"))
                    alias = _text(part.child_by_field_name("alias")) or name
                    imports.names[alias] = (module, name)
                elif part.type in ("namespace_import", "import_clause"):
                    for child in part.children:
                        if child.type == "identifier":
                            imports.names[_text(child)] = (module, None)
        elif node.type == "call_expression" and _text(node.child_by_field_name("function")) in (
            "require",
            "import",
        ):
            arguments = node.child_by_field_name("arguments")
            module = _string(arguments.named_child(0) if arguments else None)
            if module:
                _bind(imports, module, node)
    return imports


def _bind(imports: _Imports, module: str, call: Node) -> None:
    """Binds the names of the declaration that contains a `require`.

    Helpers of bundlers, `await` and a member access may be between the two.
    """
    export: str | None = None
    node = call
    while (parent := node.parent) is not None and parent.type != "variable_declarator":
        if parent.type == "member_expression":
            export = _text(parent.child_by_field_name("property"))
        elif parent.type not in (
            "call_expression",
            "arguments",
            "await_expression",
            "parenthesized_expression",
        ):
            return
        node = parent
    pattern = parent.child_by_field_name("name") if parent else None
    if pattern is None:
        return
    if pattern.type == "identifier":
        imports.names[_text(pattern)] = (module, export)
    for part in pattern.named_children if pattern.type == "object_pattern" else ():
        if part.type == "shorthand_property_identifier_pattern":
            imports.names[_text(part)] = (module, _text(part))
        elif part.type == "pair_pattern":
            key, value = part.child_by_field_name("key"), part.child_by_field_name("value")
            imports.names[_text(value)] = (module, _text(key))


def _string(node: Node | None) -> str:
    return _text(node).strip("'\"`") if node and node.type in ("string", "template_string") else ""


def _service(module: str) -> str | None:
    """IAM's prefix for `@aws-sdk/client-s3`."""
    if not module.startswith("@aws-sdk/client-"):
        return None
    name = module.removeprefix("@aws-sdk/client-")
    return PREFIXES.get(name, name)


@lru_cache(maxsize=64)
def _javascript_operations(file: str, text: str) -> tuple[Operation, ...]:
    return tuple(_in_javascript(file, text))


def _in_javascript(file: str, text: str) -> Iterator[Operation]:
    root = _tree(text)
    imports = _imports(root)
    clients: dict[str, str] = {}  # the service of a client with methods, by the variable's last name
    for node in _walk(root):
        at = f"{file}:{node.start_point[0] + 1}"
        if node.type == "new_expression":
            callee = node.child_by_field_name("constructor")
            if found := _constructed(imports.of(callee)):
                yield Operation(*found, at)
            elif service := _aggregated(imports, callee):
                clients[_holder(node)] = service
        elif node.type == "call_expression":
            callee = node.child_by_field_name("function")
            if (imported := imports.of(callee)) and imported[1].startswith("paginate"):
                if service := _service(imported[0]):
                    yield Operation(service, imported[1].removeprefix("paginate"), at)
            elif _text(callee).endswith("DynamoDBDocument.from"):
                clients[_holder(node)] = "document"
            elif callee and callee.type == "member_expression":
                receiver = _text(callee.child_by_field_name("object")).split(".")[-1]
                method = _text(callee.child_by_field_name("property"))
                operation = method[:1].upper() + method[1:]
                if clients.get(receiver) == "document":
                    if operation in DOCUMENT:
                        yield Operation("dynamodb", DOCUMENT[operation], at)
                elif receiver in clients and actions_of(clients[receiver], operation) is not None:
                    yield Operation(clients[receiver], operation, at)


def _constructed(imported: tuple[str, str] | None) -> tuple[str, str] | None:
    """The operation of a command's class, or of an upload."""
    if imported is None:
        return None
    module, name = imported
    if (module, name) == ("@aws-sdk/lib-storage", "Upload"):
        return "s3", "PutObject"
    if not name.endswith("Command"):
        return None
    operation = name.removesuffix("Command")
    if module == "@aws-sdk/lib-dynamodb":
        return "dynamodb", DOCUMENT.get(operation, operation)
    service = _service(module)
    return (service, operation) if service else None


def _aggregated(imports: _Imports, callee: Node | None) -> str | None:
    """The service of a client that has a method for every operation: `new S3()`, `new AWS.S3()`."""
    text = _text(callee)
    imported = imports.of(callee)
    if imported and (service := _service(imported[0])) and not imported[1].endswith(("Client", "Command")):
        return service
    module = imports.names.get(text.split(".")[0])
    if module and module[0] == "aws-sdk" and "." in text:
        name = text.split(".", 1)[1].lower()
        return "document" if name == "dynamodb.documentclient" else PREFIXES.get(name, name)
    return None


def _holder(node: Node) -> str:
    """The variable, field or property that an expression is assigned to, by its last name."""
    current = node
    while (parent := current.parent) is not None:
        for name in ("name", "left", "property", "key"):
            target = parent.child_by_field_name(name)
            if target is not None and target != current:
                return _text(target).split(".")[-1]
        if parent.type in ("program", "statement_block"):
            return ""
        current = parent
    return ""


# Declaring positions: the parent's type, and the field that the name stands in (None: anywhere).
_DECLARES = {
    "variable_declarator": "name",
    "function_declaration": "name",
    "generator_function_declaration": "name",
    "function_expression": "name",
    "class_declaration": "name",
    "class": "name",
    "arrow_function": "parameter",
    "catch_clause": "parameter",
    "for_in_statement": "left",
    "assignment_expression": "left",
    "assignment_pattern": "left",
    "object_assignment_pattern": "left",
    "pair_pattern": "value",
    "import_specifier": None,
    "import_clause": None,
    "namespace_import": None,
    "formal_parameters": None,
    "array_pattern": None,
    "rest_pattern": None,
}
_GLOBALS = """
AbortController AbortSignal AggregateError Array ArrayBuffer Atomics BigInt Boolean Buffer DataView
Date Error EvalError Event EventTarget Float64Array Function Infinity Int8Array Intl JSON Map Math
NaN Number Object Promise Proxy RangeError ReferenceError Reflect RegExp Set String Symbol
SyntaxError TextDecoder TextEncoder TypeError URL URLSearchParams Uint8Array WeakMap WeakRef
WeakSet __dirname __filename arguments atob awslambda btoa clearImmediate clearInterval
clearTimeout console crypto decodeURIComponent encodeURIComponent escape eval exports fetch global
globalThis isFinite isNaN module parseFloat parseInt performance process queueMicrotask require
setImmediate setInterval setTimeout structuredClone undefined unescape
"""


def _javascript_undeclared(text: str) -> Iterator[str]:
    declared = set(_GLOBALS.split())
    used: dict[str, None] = {}
    for node in _walk(_tree(text)):
        if node.type == "shorthand_property_identifier_pattern":
            declared.add(_text(node))
        elif node.type == "shorthand_property_identifier":
            used[_text(node)] = None
        elif node.type == "identifier" and node.parent:
            place = _DECLARES.get(node.parent.type, "")
            if place is None or (place and node.parent.child_by_field_name(place) == node):
                declared.add(_text(node))
            else:
                used[_text(node)] = None
    yield from (name for name in used if name not in declared)


# Python


@lru_cache(maxsize=64)
def _python_operations(file: str, text: str) -> tuple[Operation, ...]:
    return tuple(_in_python(file, text))


def _in_python(file: str, text: str) -> Iterator[Operation]:
    try:
        tree = ast.parse(text)
    except UNREADABLE:
        return
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    services = {
        PREFIXES.get(name, name)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("client", "resource")
        for name in _constants(call)[:1]
    }
    for call in calls:
        if not isinstance(call.func, ast.Attribute):
            continue
        at = f"{file}:{call.lineno}"
        for operation in _called(call, services):
            for service in sorted(services):
                if actions_of(service, operation) is not None:
                    yield Operation(service, operation, at)


def _called(call: ast.Call, services: set[str]) -> Iterator[str]:
    """The operations that a method's name stands for."""
    assert isinstance(call.func, ast.Attribute)
    name = call.func.attr
    if name in ("get_paginator", "generate_presigned_url"):
        yield from map(_pascal, _constants(call)[:1])
    elif "s3" in services and name in ("upload_file", "upload_fileobj"):
        yield "PutObject"
    elif "s3" in services and name in ("download_file", "download_fileobj"):
        yield "GetObject"
    elif "s3" in services and name == "put" and any(k.arg == "Body" for k in call.keywords):
        yield "PutObject"
    elif "dynamodb" in services and name == "batch_writer":
        yield "BatchWriteItem"
    elif "_" in name or name in ("query", "scan", "publish", "invoke"):
        yield _pascal(name)


def _pascal(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _constants(call: ast.Call) -> list[str]:
    return [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]


def _python_undeclared(text: str) -> Iterator[str]:
    try:
        module = symtable.symtable(text, "index.py", "exec")
    except UNREADABLE:
        return
    known = {s.get_name() for s in module.get_symbols() if s.is_assigned() or s.is_imported()}
    known |= {*dir(builtins), "__file__", "__name__", "__doc__", "__spec__"}
    waiting = [module]
    while waiting:
        table = waiting.pop(0)
        waiting.extend(table.get_children())
        for symbol in table.get_symbols():
            if symbol.is_declared_global() and symbol.is_assigned():
                known.add(symbol.get_name())
            elif symbol.is_global() and symbol.is_referenced() and symbol.get_name() not in known:
                yield symbol.get_name()
