"""checkov's CloudFormation checks, as a library and offline."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from compliance.deferred import Deferred
from compliance.scanners.worker import File, Found, Scan, serve

# Only checkov's online service has the guideline of each check. This page lists all checks.
INDEX = "https://www.checkov.io/5.Policy%20Index/cloudformation.html"
# What checkov imports to ask its online service, the registries of images and AWS, and does not use here.
ONLINE = ("aiohttp", "boto3", "docker")
CANARY_RULES = frozenset({"CKV_AWS_18", "CKV_AWS_26", "CKV_AWS_27", "CKV_AWS_28"})


def load() -> tuple[str, Scan]:
    """checkov's version, and the function that scans a template with it."""
    logging.disable(logging.CRITICAL)
    os.environ["CKV_IGNORE_HIDDEN_DIRECTORIES"] = "false"
    _leave_out("checkov.terraform.checks.resource", "checkov.terraform.checks.data")
    for name in ONLINE:
        sys.modules.setdefault(name, Deferred(name, is_package=True))
    from checkov.cloudformation.runner import Runner
    from checkov.runner_filter import RunnerFilter

    def scan(file: File, request: dict[str, Any]) -> tuple[int, set[str], Iterator[Found]]:
        chosen = RunnerFilter(framework=["cloudformation"], run_image_referencer=False)
        report: Any = Runner().run(root_folder=None, files=[file.path], runner_filter=chosen)
        _expect_all(file, report)
        records = (*report.passed_checks, *report.failed_checks, *report.skipped_checks)
        return len(records), {_id(record) for record in records}, _found(report)

    return importlib.metadata.version("checkov"), scan


def _leave_out(*packages: str) -> None:
    """Keeps checkov from importing its 800 Terraform checks, which takes a quarter of its time.

    Its CloudFormation checks need one class of them. The `__init__` of the packages is not run; modules in
    them can still be imported.
    """
    checkov = importlib.util.find_spec("checkov")
    if checkov is None or not checkov.submodule_search_locations:
        raise ImportError("checkov is not installed")
    for name in packages:
        module = ModuleType(name)
        module.__path__ = [str(Path(checkov.submodule_search_locations[0], *name.split(".")[1:]))]
        sys.modules[name] = module


def _expect_all(file: File, report: Any) -> None:
    """Raises an error for a template that checkov cannot read, which it would skip silently."""
    if file.path in report.parsing_errors:
        raise SystemExit(f"it could not read the template of {file.stack}")
    for logical_id, resource in json.loads(Path(file.path).read_text("utf-8"))["Resources"].items():
        if f"{file.path}:{resource['Type']}.{logical_id}" not in report.resources:
            raise SystemExit(f"it left out {logical_id} of {file.stack}")


def _found(report: Any) -> Iterator[Found]:
    # A skipped check is a suppression in the template. `strip` removes them; one that is left stays open.
    for record in (*report.failed_checks, *report.skipped_checks):
        yield Found(
            logical_id=_id(record),
            rule=record.check_id,
            text=record.check_name,
            severity=_severity(record.severity),
            link=record.guideline or INDEX,
        )


def _id(record: Any) -> str:
    return str(record.resource).rsplit(".", 1)[-1]


def _severity(severity: Any) -> str:
    """checkov's severities come from its online service; offline there is none."""
    name = severity.name.lower() if severity is not None else "medium"
    return {"critical": "high", "info": "low"}.get(name, name)


if __name__ == "__main__":
    serve(load, CANARY_RULES)
