"""Whether the conditions of a policy's statement hold, by what is known of a request's condition keys.

Operators: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
Keys with several values: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from compliance.facts.patterns import are_of_one, arn_fields, equal, matches
from compliance.facts.truth import Truth, either, every, negated, some
from compliance.template.addresses import range_of, within
from compliance.template.intrinsics import Unknown

# `${aws:PrincipalAccount}`, `${aws:username, 'default'}`; not `${AWS::AccountId}`, which is CloudFormation's.
VARIABLE = re.compile(r"\$\{([A-Za-z0-9-]+:[A-Za-z][^{}:]*|[*?$])\}")
SETS = ("ForAllValues", "ForAnyValue")


class Key(msgspec.Struct, frozen=True):
    """What is known of a condition key in a request.

    `values` are its values; None where they are unknown. With `one_of`, its value is one of these. `sent`
    says whether the request has the key at all; None where that is unknown. Of an unknown value, `since` says
    that it is a time from that day on, and `public` that it is a public address.
    """

    values: tuple[str, ...] | None = None
    one_of: tuple[str, ...] = ()
    sent: bool | None = True
    since: date | None = None
    public: bool = False


ABSENT = Key(sent=False)
UNKNOWN = Key(sent=None)
Lookup = Callable[[str], Key]  # by the key's name in lower case


def known(*values: str) -> Key:
    """A key that the request has, with these values."""
    return Key(values)


def perhaps(*values: str) -> Key:
    """A key that has these values if the request has it at all."""
    return Key(values, sent=None)


def hold(conditions: Mapping[str, Mapping[str, tuple[str, ...]]], lookup: Lookup) -> Truth:
    """Whether all conditions of a statement hold for a request.

    Args:
        conditions: by operator and key, the values that the statement states.
        lookup: what is known of a key in the request, by its name in lower case.
    """
    return every(
        _holds(operator, key, values, lookup)
        for operator, tests in conditions.items()
        for key, values in tests.items()
    )


def _holds(operator: str, name: str, wanted: Sequence[str], lookup: Lookup) -> Truth:
    key = lookup(name.lower())
    mode, _, plain = operator.rpartition(":")
    lenient = plain.endswith("IfExists")
    base = plain.removesuffix("IfExists")
    if mode not in ("", *SETS):
        return Unknown(f"the condition operator {operator} is not known")
    if base == "Null":
        return some(_null(text, key, name) for text in wanted)
    if base not in TESTS:
        return Unknown(f"the condition operator {operator} is not known")
    # The result for a request without the key.
    absent = lenient or mode == "ForAllValues" or (base in NEGATED and mode == "")
    if key.sent is False:
        return absent
    cases = [replace(key, values=(text,)) for text in key.one_of] or [key]
    found = {_present(mode, base, case, name, wanted, lookup) for case in cases}
    why = f"{name} is one of {', '.join(key.one_of)}"
    present = found.pop() if len(found) == 1 else Unknown(why)
    if key.sent is True:
        return present
    return either(absent, present, f"whether the call has {name} is not known")


def _present(mode: str, base: str, key: Key, name: str, wanted: Sequence[str], lookup: Lookup) -> Truth:
    texts = [substituted(text, lookup) for text in wanted]

    def one(value: str | None) -> Truth:
        found = some(_value(base, text, value, key, name) for text in texts)
        return negated(found) if base in NEGATED else found

    values: Sequence[str | None] = (None,) if key.values is None else key.values
    if mode == "ForAnyValue":
        return some(map(one, values))
    return every(map(one, values))


def _value(base: str, wanted: str | Unknown, value: str | None, key: Key, name: str) -> Truth:
    if isinstance(wanted, Unknown):
        return wanted
    if value is not None:
        holds = TESTS[base](wanted, value)
        doubt = Unknown(f"whether {wanted} is {value} is known when it is deployed")
        return doubt if holds is False and are_of_one(wanted, value) else holds
    if base in RANGES:
        return RANGES[base](wanted, key)
    if wanted == "*" and TESTS[base] is matches:
        return True
    return Unknown(f"what {name} a call has is not known")


def _null(text: str, key: Key, name: str) -> Truth:
    if key.sent is None:
        return Unknown(f"whether the call has {name} is not known")
    return (text.lower() == "true") is not key.sent


def substituted(text: str, lookup: Lookup) -> str | Unknown:
    """A text with its policy variables filled in; unknown where one of them is.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    """
    if "${" not in text:
        return text
    unknown: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name, _, default = match[1].partition(",")
        if name in "*?$":
            return name
        key = lookup(name.strip().lower())
        if key.sent is False and default:
            return default.strip().strip("'")
        if key.sent is True and key.values is not None and len(key.values) == 1:
            return key.values[0]
        unknown.append(match[0])
        return match[0]

    filled = VARIABLE.sub(fill, text)
    return Unknown(f"what {unknown[0]} stands for is not known") if unknown else filled


# The operators: each compares a text of the policy (`wanted`) with a value of the request.

_Test: TypeAlias = Callable[[str, str], Truth]


def _ignoring_case(wanted: str, value: str) -> Truth:
    return equal(wanted.lower(), value.lower()) if "${" not in wanted + value else equal(wanted, value)


def _bool(wanted: str, value: str) -> Truth:
    return wanted.lower() == value.lower()


def _arn(wanted: str, value: str) -> Truth:
    """Compares each of the six fields, because a `*` matches within a field only."""
    pattern, text = arn_fields(wanted), arn_fields(value)
    if len(pattern) != len(text):
        return False
    return every(matches(p, t) for p, t in zip(pattern, text, strict=True))


def _compared(holds: Callable[[float], bool], parse: Callable[[str], float | None]) -> _Test:
    def test(wanted: str, value: str) -> Truth:
        left, right = parse(value), parse(wanted)
        if left is None or right is None:
            return Unknown(f"{wanted} and {value} cannot be compared") if "${" in wanted + value else False
        return holds(left - right)

    return test


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _time(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _address(wanted: str, value: str) -> Truth:
    inner, outer = range_of(value), range_of(wanted)
    if inner is None or outer is None:
        return Unknown(f"whether {value} is in {wanted} is not known")
    return within(inner, outer)


_ORDER: Mapping[str, Callable[[float], bool]] = {
    "Equals": lambda d: d == 0,
    "NotEquals": lambda d: d == 0,  # `_present` negates it
    "LessThan": lambda d: d < 0,
    "LessThanEquals": lambda d: d <= 0,
    "GreaterThan": lambda d: d > 0,
    "GreaterThanEquals": lambda d: d >= 0,
}
TESTS: Mapping[str, _Test] = {
    "StringEquals": equal,
    "StringNotEquals": equal,
    "StringEqualsIgnoreCase": _ignoring_case,
    "StringNotEqualsIgnoreCase": _ignoring_case,
    "StringLike": matches,
    "StringNotLike": matches,
    "ArnEquals": _arn,
    "ArnLike": _arn,
    "ArnNotEquals": _arn,
    "ArnNotLike": _arn,
    "Bool": _bool,
    "BinaryEquals": equal,
    "IpAddress": _address,
    "NotIpAddress": _address,
    **{f"Numeric{name}": _compared(holds, _number) for name, holds in _ORDER.items()},
    **{f"Date{name}": _compared(holds, _time) for name, holds in _ORDER.items()},
}
NEGATED = frozenset(name for name in TESTS if "Not" in name)


# Unknown values of which something is known all the same: a time from a day on, or a public address.


def _later(wanted: str, key: Key, *, upper: bool) -> Truth:
    """Whether every time from a day on is before (`upper`) or after the wanted one."""
    moment = _time(wanted)
    if key.since is None or moment is None:
        return Unknown("the time of the call is not known")
    start = datetime(key.since.year, key.since.month, key.since.day, tzinfo=UTC).timestamp()
    if start > moment:
        return not upper
    return Unknown(f"that holds {'only until' if upper else 'from'} {wanted}{'' if upper else ' on'}")


def _public(wanted: str, key: Key) -> Truth:
    network = range_of(wanted)
    if network is None:
        return Unknown(f"{wanted} is no address")
    if key.public and network.is_private and network.prefixlen:
        return False
    if network.prefixlen == 0:
        return True
    return Unknown(f"whether a call comes from {wanted} is not known")


RANGES: Mapping[str, Callable[[str, Key], Truth]] = {
    **{f"DateLessThan{end}": partial(_later, upper=True) for end in ("", "Equals")},
    **{f"DateGreaterThan{end}": partial(_later, upper=False) for end in ("", "Equals")},
    "IpAddress": _public,
    "NotIpAddress": _public,
}
