"""IAM's patterns (`*`, `?`), compared with texts that have parts which only the deployment decides.

Action names are compared without case.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
"""

from __future__ import annotations

import re
from functools import lru_cache

from compliance.facts.truth import Truth
from compliance.template.intrinsics import Unknown

# `${AWS::Region}`, `${stack/Resource.Arn}`: what `Assembly.text` writes for what a deployment decides.
PLACEHOLDER = re.compile(r"\$\{(?:AWS::\w+|[^{}:]+/[^{}:]+)\}")
# The values of a pseudo parameter: how many characters (0: any number), and which.
_BECOMES = {
    "${AWS::AccountId}": (12, "0123456789"),
    "${AWS::Region}": (0, "abcdefghijklmnopqrstuvwxyz0123456789-"),
    "${AWS::Partition}": (0, "abcdefghijklmnopqrstuvwxyz-"),
}


def covers_resource(pattern: str, text: str) -> bool:
    """Whether everything that `text` (itself perhaps a pattern) matches is matched by `pattern`."""
    return _covers(pattern, text)


def covers_action(pattern: str, action: str) -> bool:
    """Whether every action that `action` (itself perhaps a pattern) matches is matched by `pattern`."""
    return _covers(pattern.lower(), action.lower())


def is_pattern(text: str) -> bool:
    """Whether a text has a wildcard."""
    return "*" in text or "?" in text.replace("${?", "")


def arn_fields(arn: str) -> list[str]:
    """The fields of an ARN, six at most. A colon within a placeholder (`${AWS::Region}`) separates none."""
    fields = arn.replace("${AWS::", "${AWS\0").split(":", 5)
    return [field.replace("${AWS\0", "${AWS::") for field in fields]


@lru_cache(2**14)  # bounded, because one process audits a whole fleet
def _covers(pattern: str, text: str) -> bool:
    """Matches a pattern with a text whose own wildcards count as characters.

    A `*` in `pattern` matches any characters, a `?` any one but `*`.
    """
    if "*" not in pattern and "?" not in pattern:
        return pattern == text
    p = t = 0
    star, mark = -1, 0
    while t < len(text):
        if p < len(pattern) and pattern[p] == "*":
            star, mark = p, t
            p += 1
        elif p < len(pattern) and (pattern[p] == text[t] or (pattern[p] == "?" and text[t] != "*")):
            p, t = p + 1, t + 1
        elif star >= 0:
            mark += 1
            p, t = star + 1, mark
        else:
            return False
    return all(character == "*" for character in pattern[p:])


@lru_cache(2**14)
def matches(pattern: str, text: str) -> Truth:
    """Whether a pattern matches a text; unknown where the deployment decides that.

    A `*` in `text` stands for a part that no template states: a stream's label, the key of an object.
    """
    if _covers(pattern, text):
        return True
    if not is_pattern(text) and "${" not in text and "${" not in pattern:
        return False
    if is_pattern(text) and _covers(text, pattern):
        return Unknown(f"it is about {pattern} alone, a part of {text}")
    if _meet(_tokens(pattern), _tokens(text)):
        return Unknown(f"whether {text} is {pattern} is known when it is deployed")
    return False


def equal(one: str, other: str) -> Truth:
    """Whether two texts are the same; unknown where the deployment decides that."""
    if one == other:
        return True
    if "${" not in one and "${" not in other:
        return False
    if _meet(_tokens(one, literal=True), _tokens(other, literal=True)):
        return Unknown(f"whether {one} is {other} is known when it is deployed")
    return False


_REFERENCE = re.compile(r"\$\{([^{}:./]+/[^{}:./]+)(\.[^{}:]+)?\}")


def are_of_one(one: str, other: str) -> bool:
    """Whether two texts have different attributes of one resource: its ARN may be written out with its id."""
    left, right = (set(_REFERENCE.findall(text)) for text in (one, other))
    return any(id_ == same and a != b for id_, a in left for same, b in right)


# A token: the characters that may stand in a place (None: any), and whether any number of them may. A
# reference to a resource counts as a character of its own, because no other text has the name that
# CloudFormation makes.
_Token = tuple[frozenset[str] | None, bool]


@lru_cache(2**12)
def _tokens(text: str, literal: bool = False) -> tuple[_Token, ...]:
    found: list[_Token] = []
    end = 0
    for match in PLACEHOLDER.finditer(text):
        found += [_token(character, literal) for character in text[end : match.start()]]
        count, characters = _BECOMES.get(match[0], (1, None))
        # The same placeholder on both sides has the same characters, so it matches itself.
        allowed = frozenset(characters) if characters else frozenset((match[0],))
        found += [(allowed, False)] * count if count else [(allowed, True)]
        end = match.end()
    return (*found, *(_token(character, literal) for character in text[end:]))


def _token(character: str, literal: bool) -> _Token:
    if not literal and character in "*?":
        return None, character == "*"
    return frozenset((character,)), False


def _meet(left: tuple[_Token, ...], right: tuple[_Token, ...]) -> bool:
    """Whether there is a text that both token lists match: a search over pairs of positions."""
    open_ = [(0, 0)]
    seen = set(open_)
    while open_:
        i, j = open_.pop()
        if i == len(left) and j == len(right):
            return True
        for step in _steps(left, i, right, j):
            if step not in seen:
                seen.add(step)
                open_.append(step)
    return False


def _steps(left: tuple[_Token, ...], i: int, right: tuple[_Token, ...], j: int) -> list[tuple[int, int]]:
    found = []
    if i < len(left) and left[i][1]:
        found.append((i + 1, j))
    if j < len(right) and right[j][1]:
        found.append((i, j + 1))
    if i < len(left) and j < len(right) and _share(left[i][0], right[j][0]):
        found.append((i + (not left[i][1]), j + (not right[j][1])))
    return found


def _share(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return one is None or other is None or not one.isdisjoint(other)
