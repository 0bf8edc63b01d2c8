"""Texts of which parts are known at the deployment alone: what they may become, and what holds of all that.

One reference is one text wherever it stands: a region in a name and in what is looked for are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from compliance.cel import Failed, patterns
from compliance.model import Undecided
from compliance.template.intrinsics import Part, Pseudo, Ref, Unknown, Value, join, parts_of, pattern_of

# What a pseudo parameter may become: a test that all samples answer alike is decided.
_SAMPLES: Mapping[str, tuple[str, ...]] = {
    "AWS::AccountId": ("123456789012", "998877665544"),
    "AWS::Region": ("us-east-1", "eu-central-2", "ap-southeast-4", "me-south-1"),
    "AWS::URLSuffix": ("amazonaws.com",),
    "AWS::Partition": ("aws", "aws-cn"),
}
_MADE_UP = ("a-Name1", "Z9")  # by CloudFormation
_FORMS = {
    "AWS::AccountId": r"\d{12}",
    "AWS::Region": "[a-z]{2}(?:-[a-z]+)+-[0-9]",
    "AWS::Partition": "aws[a-z-]*",
    "AWS::URLSuffix": "[a-z0-9.-]+",
    "AWS::StackName": "[A-Za-z0-9-]+",
    "AWS::StackId": ".+",
}
_WRITTEN = {name: re.compile(rf"(?<!\w){_FORMS[name]}(?!\w)") for name in ("AWS::AccountId", "AWS::Region")}
MOST = 4096  # samples
MOST_PIECES = 24  # from each end of a text


def _matches(text: str, pattern: str) -> bool:
    try:
        return patterns.search(pattern, text)
    except ValueError as error:
        raise Failed(str(error)) from None


TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": lambda text, part: part in text,
    "matches": _matches,
}


def may_be_equal(one: Value, other: Value) -> bool:
    """Whether what the deployment binds (an account, a region) may make two texts equal. Raises Undecided."""
    own, theirs = (list(parts_of(value)) for value in (one, other))
    if any(isinstance(part, Ref) and not part.opaque for part in (*own, *theirs)):
        return False  # a name that CloudFormation makes up is nobody else's
    if any(isinstance(part, Ref) for part in theirs):
        own, theirs = theirs, own
    if any(isinstance(part, Ref) for part in theirs):
        return True
    form = "".join(map(_form, own))
    try:
        return any(patterns.fullmatch(form, text) is not None for (text,) in samples([join(theirs)]))
    except ValueError as error:
        raise Undecided(str(error)) from None


def samples(values: Sequence[Value]) -> list[tuple[str, ...]]:
    """What texts may become together. Raises Undecided where a part is unknown, or too many are open."""
    texts = [list(parts_of(value)) for value in values]
    literal = " ".join(part for parts in texts for part in parts if isinstance(part, str))
    pieces = tuple(piece for (part, *more) in filter(None, texts) if not more for piece in _pieces(part))
    made: list[dict[Part, str]] = [{}]
    for part in dict.fromkeys(part for parts in texts for part in parts):
        choices = _choices(part, literal, pieces)
        if len(made) * len(choices) > MOST:
            raise Undecided("too much of the text is known at the deployment alone")
        made = [{**known, part: choice} for known in made for choice in choices]
    return [tuple("".join(known[part] for part in parts) for parts in texts) for known in made]


def _pieces(part: Part) -> Iterator[str]:
    """What a text begins and ends with: what is not known may be any of these, and so complete it."""
    if isinstance(part, str):
        for cut in range(min(len(part), MOST_PIECES)):
            yield from (part[cut:], part[: len(part) - cut])


def _form(part: Part) -> str:
    """What a part of a text may become, as a regular expression. No attribute is a `*`, or has one in it."""
    if isinstance(part, Ref):
        return "[^*]*"
    return _FORMS.get(part.name, ".*") if isinstance(part, Pseudo) else re.escape(str(part))


def _choices(part: Part, literal: str, pieces: Sequence[str]) -> Sequence[str]:
    match part:
        case Unknown(why=why):
            raise Undecided(why)
        case Pseudo(name=name):
            # It may be the one that is written out beside it.
            written = _WRITTEN[name].findall(literal) if name in _WRITTEN else ()
            return (*dict.fromkeys(written), *(_SAMPLES.get(name) or (*_MADE_UP, *pieces)))
        case Ref(opaque=opaque):
            return (*_MADE_UP, *pieces) if opaque else _MADE_UP
    return (str(part),)


def without_dot(name: Value) -> Value:
    """A domain name without the dot that may end it."""
    *parts, last = parts_of(name)
    return join([*parts, last.removesuffix(".") if isinstance(last, str) else last])


_PLACEHOLDER = re.compile(r"\$\{(AWS::\w+)\}")


def bound(text: str) -> Value:
    """A fact's text, with what the deployment binds (an account, a region) in the place of placeholders."""
    pieces = _PLACEHOLDER.split(text)
    return join(Pseudo(piece) if index % 2 else piece for index, piece in enumerate(pieces))


def cannot_be(value: Value, text: str) -> bool:
    """Whether what is known of a value keeps it from being a text: `x-${Later}` is never empty."""
    parts = parts_of(value)
    form = "".join(re.escape(part) if isinstance(part, str) else pattern_of(part) for part in parts)
    return len(parts) < MOST_PIECES and re.fullmatch(form, text, re.DOTALL) is None
