"""An executable compliance gate for AWS CDK.

Other people's code may import what is exported here. The rest is private and may change with any release.

    from compliance import Options, audit

    card = audit(Options(template=Path("stack.yaml"), requirements=Path("requirements.yaml")))
    print(card.gate, [result.id for result in card.results if result.verdict.status != "pass"])

A CDK app checks itself at each synth: `cdk.Validations.of(app).add_plugins(ComplianceChecks())`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compliance.auditing import Options, audit
    from compliance.model import (
        CheckerError,
        Evidence,
        Finding,
        FindingStatus,
        InputError,
        Result,
        Scorecard,
        Severity,
        Status,
        Verdict,
    )
    from compliance.plugins.cdk_plugin import ComplianceChecks

__all__ = [
    "CheckerError",
    "ComplianceChecks",
    "Evidence",
    "Finding",
    "FindingStatus",
    "InputError",
    "Options",
    "Result",
    "Scorecard",
    "Severity",
    "Status",
    "Verdict",
    "audit",
]

_MODULES = {
    "ComplianceChecks": "compliance.plugins.cdk_plugin",
    "Options": "compliance.auditing",
    "audit": "compliance.auditing",
}


def __getattr__(name: str) -> Any:
    """Imports an exported name when it is used, so that `import compliance` alone is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "compliance.model")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
