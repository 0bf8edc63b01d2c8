"""CloudWatch's metric math and the rules of composite alarms: those parts that decide when an alarm goes off.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutCompositeAlarm.html
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_WORD = (  # compiled when it is first used, as are all that few templates need
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<text>\"[^\"]*\"|'[^']*')"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/^()<>,\[\]!]))"
)
Values = Mapping[str, float]


class Unclear(Exception):
    """The result of an expression cannot be determined; the message says why."""


def _divided(left: float, right: float) -> float:
    return left / right if right else math.nan


_OPERATORS: Sequence[Mapping[str, Callable[[float, float], float]]] = (
    {"||": lambda a, b: float(bool(a) or bool(b)), "OR": lambda a, b: float(bool(a) or bool(b))},
    {"&&": lambda a, b: float(bool(a) and bool(b)), "AND": lambda a, b: float(bool(a) and bool(b))},
    {
        sign: (lambda a, b, f=f: float(f(a, b)))  # type: ignore[misc]
        for sign, f in (
            *(("==", operator.eq), ("!=", operator.ne), ("<", operator.lt)),
            *(("<=", operator.le), (">", operator.gt), (">=", operator.ge)),
        )
    },
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": _divided},
    {"^": operator.pow},
)
_OF_LISTS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SUM": sum,
    "MAX": max,
    "MIN": min,
    "AVG": lambda values: sum(values) / len(values),
}
_OF_ONE: Mapping[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}


def evaluate(expression: str, values: Values) -> float:
    """The value of an expression whose metrics have the same value in each period.

    Args:
        expression: in CloudWatch's metric math.
        values: the metrics' values by their ids.
    Raises: Unclear where a function is not supported, or the expression is malformed.
    """
    try:
        return _Parser(expression, values).whole()
    except (RecursionError, OverflowError, ZeroDivisionError, ValueError, TypeError):
        raise Unclear(f"what {expression} makes of its metrics is not known") from None


class _Parser:
    def __init__(self, expression: str, values: Values) -> None:
        self.expression, self.values = expression, values
        self.tokens: list[str] = []
        end = 0
        while end < len(expression.rstrip()):
            match = re.compile(_WORD).match(expression, end)
            if match is None:
                raise Unclear(f"{expression} is no metric math")
            self.tokens.append(match[0].strip())
            end = match.end()
        self.at = 0

    def whole(self) -> float:
        found = self._level(0)
        if self.at != len(self.tokens) or not isinstance(found, int | float):
            raise self._unclear()
        return found

    def _unclear(self) -> Unclear:
        return Unclear(f"what {self.expression} makes of its metrics is not known")

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self, wanted: str | None = None) -> str:
        token = self._peek()
        if not token or (wanted is not None and token != wanted):
            raise self._unclear()
        self.at += 1
        return token

    def _level(self, depth: int) -> Any:
        if depth == len(_OPERATORS):
            return self._single()
        left = self._level(depth + 1)
        while (sign := self._peek()) in _OPERATORS[depth]:
            self.at += 1
            left = _OPERATORS[depth][sign](left, self._level(depth + 1))
        return left

    def _single(self) -> Any:
        word = self._take()
        if word == "(":
            found = self._level(0)
            self._take(")")
            return found
        if word == "[":
            return self._items("]")
        if word == "-":
            return -self._single()
        if word == "!":
            return float(not self._single())
        if re.match(r"\d", word):
            return float(word)
        if self._peek() == "(":
            return self._call(word)
        if word in self.values:
            return self.values[word]
        raise self._unclear()

    def _items(self, end: str) -> list[Any]:
        found: list[Any] = []
        while self._peek() != end:
            found.append(self._level(0) if self._peek()[:1] not in "\"'" else self._take())
            if self._peek() == ",":
                self._take()
            elif self._peek() != end:
                raise self._unclear()
        self._take(end)
        return found

    def _call(self, name: str) -> Any:
        self._take("(")
        if name == "FILL":  # its second argument replaces missing data; here no data is missing
            found = self._level(0)
            self._take(",")
            self._take("REPEAT") if self._peek() in ("REPEAT", "LINEAR") else self._level(0)
            self._take(")")
            return found
        arguments = self._items(")")
        if name == "METRICS":
            ids = [name for name in self.values if not arguments or arguments[0].strip("\"'") in name]
            return [self.values[name] for name in ids]
        if name == "IF" and len(arguments) in (2, 3):
            yes, no = arguments[1], arguments[2] if len(arguments) == 3 else math.nan
            return yes if arguments[0] else no
        flat = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
        if name in _OF_LISTS and flat:
            return _OF_LISTS[name](flat)
        if name in _OF_ONE and len(arguments) == 1:
            return _OF_ONE[name](arguments[0])
        raise self._unclear()


# Composite alarms

_RULE = (
    r"(?i)\s*(?:(?P<state>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*[\"']?(?P<name>[^)\"']*?)[\"']?\s*\)"
    r"|(?P<word>AND|OR|NOT|TRUE|FALSE|\(|\)))"
)


def rule_holds(rule: str, alarming: Callable[[str], bool]) -> bool:
    """Whether a composite alarm's rule holds, where these alarms are in ALARM and all others are OK.

    Args:
        rule: the alarm rule, such as `ALARM(a) AND NOT OK(b)`.
        alarming: whether the alarm that a name or ARN denotes is in ALARM.
    Raises: Unclear where it is no rule.
    """
    words: list[str] = []
    end = 0
    while end < len(rule.rstrip()):
        match = re.compile(_RULE).match(rule, end)
        if match is None:
            raise Unclear(f"{rule} is no alarm rule")
        if state := match["state"]:
            on = alarming(match["name"])
            words.append(str({"ALARM": on, "OK": not on}.get(state.upper(), False)))
        else:
            words.append({"TRUE": "True", "FALSE": "False"}.get(match["word"].upper(), match["word"].lower()))
        end = match.end()
    return _Rule(rule, words).whole()


class _Rule:
    def __init__(self, rule: str, words: list[str]) -> None:
        self.rule, self.words = rule, words

    def whole(self) -> bool:
        found = self._or()
        if self.words:
            raise Unclear(f"{self.rule} is no alarm rule")
        return found

    def _or(self) -> bool:
        found = self._and()
        while self.words[:1] == ["or"]:
            self.words.pop(0)
            found = self._and() or found
        return found

    def _and(self) -> bool:
        found = self._single()
        while self.words[:1] == ["and"]:
            self.words.pop(0)
            found = self._single() and found
        return found

    def _single(self) -> bool:
        word = self.words.pop(0) if self.words else ""
        if word == "not":
            return not self._single()
        if word == "(":
            found = self._or()
            if self.words[:1] != [")"]:
                raise Unclear(f"{self.rule} is no alarm rule")
            self.words.pop(0)
            return found
        if word not in ("True", "False"):
            raise Unclear(f"{self.rule} is no alarm rule")
        return word == "True"
