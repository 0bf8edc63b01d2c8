"""A document of predicates, judged on a template that is written beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compliance.auditing import Options, audit
from compliance.model import Result

HEAD: dict[str, Any] = {
    "version": 1,
    "title": "A document of predicates",
    "environment": {"default": "dev"},
    "categories": [{"id": "all", "title": "All"}],
}


def written(folder: Path, *checks: dict[str, Any], **sections: Any) -> Path:
    """A document with a requirement a check, ALL-01 and so on; `in` and `subject` stand beside the check."""
    requirements = []
    for number, check in enumerate(checks, 1):
        own = {key: check.pop(key) for key in ("in", "subject") if key in check}
        common = {
            "id": f"ALL-{number:02}",
            "category": "all",
            "title": "as it should be",
            "text": "As it should be.",
        }
        requirements.append({**common, "fix": "Mend it.", "check": check, **own})
    path = folder / "requirements.yaml"
    path.write_text(json.dumps({**HEAD, **sections, "requirements": requirements}, indent=1))
    return path


def judged(
    folder: Path,
    template: dict[str, Any] | str,
    *checks: dict[str, Any],
    at: str = "dev",
    **sections: Any,
) -> list[Result]:
    """The results of checks on a template: YAML text, or resources as data."""
    path = folder / ("template.yaml" if isinstance(template, str) else "template.json")
    text = template if isinstance(template, str) else json.dumps(template)
    path.write_text(text)
    options = Options(
        template=path,
        requirements=written(folder, *checks, **sections),
        environment=at,
        skip_scanners=True,
        skip_handlers=True,
    )
    return list(audit(options).results)


def verdict(folder: Path, template: dict[str, Any] | str, check: dict[str, Any], **given: Any) -> str:
    """The status of one check: pass, fail or not_assessed."""
    return judged(folder, template, check, **given)[0].verdict.status.value
