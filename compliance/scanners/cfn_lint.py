"""cfn-lint, as a library: its errors and warnings for us-east-1."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from compliance.scanners.worker import File, Found, Scan, serve

REGION = "us-east-1"
CANARY_RULES = frozenset({"E2533"})

IGNORED = {
    # CDK writes DependsOn between a function and its role's policies, besides the reference that implies the
    # same order. It does no harm, and apps cannot remove it.
    "W3005",
}
# Informational rules (I...) are off by default.

UNREADABLE = ("E0000", "E0001")  # no JSON, or a transform that failed: then no other rule has run

# The rules that read today's date. They get the audit's date (`--as-of`) instead.
LIFE_CYCLE = ("E2531", "E2533", "W2531")


def load() -> tuple[str, Scan]:
    """cfn-lint's version, and the function that scans a template with it."""
    logging.disable(logging.CRITICAL)
    from cfnlint.config import ConfigMixIn, ManualArgs  # type: ignore[import-untyped]
    from cfnlint.core import get_rules  # type: ignore[import-untyped]
    from cfnlint.decode import cfn_json  # type: ignore[import-untyped]
    from cfnlint.runner import run_template_by_data  # type: ignore[import-untyped]
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER  # type: ignore[import-untyped]
    from cfnlint.version import __version__  # type: ignore[import-untyped]

    rules = get_rules([], sorted(IGNORED), [])

    def is_judged(resource: Any) -> bool:
        """Whether cfn-lint has a schema for a resource, as its rule E3002 looks it up."""
        return any(PROVIDER_SCHEMA_MANAGER.get_resource_schemas_by_regions(resource["Type"], [REGION]))

    def scan(file: File, request: dict[str, Any]) -> tuple[int, set[str], list[Found]]:
        _set_today(rules, request["as_of"])
        config = ConfigMixIn(**ManualArgs(regions=[REGION], ignore_checks=sorted(IGNORED)))
        template = cfn_json.loads(Path(file.path).read_text(encoding="utf-8"))
        found = list(_found(file.stack, run_template_by_data(template, config, rules)))
        judged = {str(id_) for id_, resource in template.get("Resources", {}).items() if is_judged(resource)}
        return len(rules.used_rules), judged | {f.logical_id for f in found if f.logical_id}, found

    return __version__, scan


def _found(stack: str, matches: Iterator[Any]) -> Iterator[Found]:
    for match in matches:
        if match.rule.id in UNREADABLE:
            raise SystemExit(f"it could not read the template of {stack}: {match.message}")
        path = list(getattr(match, "path", None) or ())
        yield Found(
            logical_id=str(path[1]) if len(path) > 1 and path[0] == "Resources" else None,
            rule=match.rule.id,
            text=match.message,
            severity="high" if match.rule.id.startswith("E") else "medium",
            link=match.rule.source_url or None,
        )


def _set_today(rules: Any, as_of: str) -> None:
    day = datetime.fromisoformat(as_of)

    class Clock(datetime):
        @classmethod
        def today(cls) -> Any:
            return day

    for rule_id in LIFE_CYCLE:
        names = type(rules.rules[rule_id]).validate.__globals__
        names["datetime"]  # a KeyError here says that cfn-lint no longer reads the date so
        names["datetime"] = Clock


if __name__ == "__main__":
    serve(load, CANARY_RULES)
