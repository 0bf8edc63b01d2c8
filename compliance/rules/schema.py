"""The JSON Schema of a requirements document: its own structure, its subjects, and every kind of check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import msgspec

from compliance.document.requirements import KEYED, File
from compliance.facts.subjects import Subject
from compliance.rules import KINDS, MODULES, PREDICATE

REF = "#/$defs/{name}"


def document_schema() -> str:
    """The schema as JSON: draft 2020-12, which editors take."""
    for module in MODULES:
        import_module(f"compliance.rules.{module}")
    kinds = {name: kind.parameters for name, kind in sorted(KINDS.items())}
    roots, parts = msgspec.json.schema_components((File, Subject, *kinds.values()), ref_template=REF)
    file, subject, *checks = roots
    found = {name: dict(part) for name, part in parts.items()}
    _of(found, file)["properties"]["subjects"] = {"type": "object", "additionalProperties": subject}
    for (name, _), reference in zip(kinds.items(), checks, strict=True):
        check = _of(found, reference)
        check["properties"] = {"kind": {"const": name}, **check["properties"]}
        if name not in (PREDICATE, *KEYED):  # which are told by their own fields
            check["required"] = ["kind", *check.get("required", [])]
    found["Requirement"]["properties"]["check"] = {"anyOf": checks}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **file, "$defs": found}
    return json.dumps(whole, indent=2)


def _of(parts: dict[str, dict[str, Any]], reference: Mapping[str, Any]) -> dict[str, Any]:
    """The part that a reference names, a copy that may be changed."""
    name = str(reference["$ref"]).rpartition("/")[2]
    parts[name]["properties"] = dict(parts[name].get("properties", {}))
    return parts[name]
