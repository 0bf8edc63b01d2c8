"""Mutants aimed at the order pipeline's expressions: values that break what they want."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compliance.facts.expressions import BUILT_IN
from compliance.facts.keys import key_values
from compliance.facts.references import key_of
from compliance.mutation import GONE
from compliance.mutation.aimed import Aim, aims, attribute, drop, put
from compliance.rules import Case
from compliance.rules.predicates import Compiled

OLD = {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}
UNFINISHED = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}


def _rules(*rules: Mapping[str, Any], status: str = "Enabled") -> dict[str, Any]:
    return {"Rules": [{"Status": status, **rule} for rule in rules]}


BREAKING: Mapping[str, Sequence[Any]] = {
    "AccessControl": ("Private", "PublicRead"),
    "DeletionProtectionEnabled": (False, "false", GONE),
    "LifecycleConfiguration": (
        *(GONE, _rules(), _rules(OLD), _rules(UNFINISHED), _rules(OLD, UNFINISHED, status="Disabled")),
        _rules({**OLD, "Prefix": "tmp/"}, UNFINISHED),
    ),
    "MetricsConfig": (GONE, {"Metrics": []}),
    "OwnershipControls": tuple(
        {"Rules": [{"ObjectOwnership": owner}]} for owner in ("ObjectWriter", "BucketOwnerPreferred")
    ),
}


@aims(Compiled)
def predicate(compiled: Compiled, case: Case) -> Iterator[Aim]:
    check = compiled.check
    named = [name for name in dict.fromkeys(re.findall(r"self\.(\w+)", check.that or "")) if name in BREAKING]
    named_subjects = [name for name in check.subjects if name not in BUILT_IN]
    subjects = [resource for name in named_subjects for resource in case.wiring.all(name)]
    for holder in case.assembly.resources() if "resources" in check.subjects else subjects:
        own = holder.raw_properties
        for name in named if holder in subjects or any(name in own for name in named) else ():
            for value in BREAKING[name]:
                if value is not GONE:
                    yield Aim(f"{name} {value!r}", holder, put(holder, name, value))
                elif name in own:
                    yield Aim(f"no {name}", holder, drop(holder, name))
    if "key_of(self)" in (check.that or "") and "deletion_policy" in (check.that or ""):
        values = [value for resource in subjects for _, value in key_values(resource)]
        for key in dict.fromkeys(key for value in values if (key := key_of(case.assembly, value))):
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                yield Aim(f"{policy} Delete", key, attribute(key, policy, "Delete"))
