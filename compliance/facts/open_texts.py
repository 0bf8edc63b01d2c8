"""Texts with parts that only the deployment knows: what they may become, and tests that all of that passes.

Each such part has one value wherever it occurs: the region is the same in a name and in what is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from compliance.cel import Failed, patterns
from compliance.model import Undecided
from compliance.template import schemas
from compliance.template.assembly import Assembly
from compliance.template.intrinsics import (
    Part,
    Pseudo,
    Ref,
    Unknown,
    Value,
    join,
    parts_of,
    pattern_of,
    show,
)

# Sample values of pseudo parameters. A test is decided if it gives the same answer for all samples.
_SAMPLES: Mapping[str, tuple[str, ...]] = {
    "AWS::AccountId": ("123456789012", "998877665544"),
    "AWS::Region": ("us-east-1", "eu-central-2", "ap-southeast-4", "me-south-1"),
    "AWS::URLSuffix": ("amazonaws.com",),
    "AWS::Partition": ("aws", "aws-cn"),
}
_GENERATED = ("a-Name1", "Z9")  # samples of names that CloudFormation generates
_FORMS = {
    "AWS::AccountId": r"\d{12}",
    "AWS::Region": "[a-z]{2}(?:-[a-z]+)+-[0-9]",
    "AWS::Partition": "aws[a-z-]*",
    "AWS::URLSuffix": "[a-z0-9.-]+",
    "AWS::StackName": "[A-Za-z0-9-]+",
    "AWS::StackId": ".+",
}
_WRITTEN = {name: rf"(?<!\w){_FORMS[name]}(?!\w)" for name in ("AWS::AccountId", "AWS::Region")}
MOST = 4096  # samples of all texts together
MOST_PIECES = 24  # beginnings and ends of a literal text that are tried


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


def passes(name: str, value: Value, looked_for: Value) -> bool:
    """Whether a text passes one of TESTS, whatever the deployment decides about its open parts.

    Raises: Undecided where that is not known.
    """
    try:
        answers = {TESTS[name](*texts) for texts in samples([value, looked_for])}
    except Undecided:
        if (answer := _by_literals(name, value, looked_for)) is None:
            raise
        return answer
    if len(answers) != 1:
        open_ = looked_for if isinstance(value, str) else value
        raise Undecided(f"{show(open_)} is not known before the deployment")
    return answers.pop()


def _by_literals(name: str, value: Value, looked_for: Value) -> bool | None:
    """What the literal parts of a text decide, whatever its other parts are; None where they do not."""
    if not isinstance(looked_for, str):
        return None
    parts, test = parts_of(value), TESTS[name]
    if name == "contains":
        return any(isinstance(part, str) and looked_for in part for part in parts) or None
    end = {"startsWith": parts[0], "endsWith": parts[-1]}.get(name)
    if not isinstance(end, str):
        return None
    return test(end, looked_for) or (None if test(looked_for, end) else False)


def may_be_equal(one: Value, other: Value) -> bool:
    """Whether two texts may become equal, by what the deployment decides (an account, a region).

    Raises: Undecided where that is not known.
    """
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    left, right = (list(parts_of(value)) for value in (one, other))
    refs = [part for part in (*left, *right) if isinstance(part, Ref)]
    named = {(ref.stack, ref.logical_id) for ref in refs if not ref.opaque}
    if named and named.isdisjoint((ref.stack, ref.logical_id) for ref in refs if ref.opaque):
        return False  # a name that CloudFormation generates equals no text but a part of its own ARN
    if any(isinstance(part, Ref) for part in right):
        left, right = right, left
    if any(isinstance(part, Ref) for part in right):
        return True
    form = "".join(map(_form, left))
    try:
        return any(patterns.fullmatch(form, text) is not None for (text,) in samples([join(right)]))
    except ValueError as error:
        raise Undecided(str(error)) from None


def samples(values: Sequence[Value]) -> list[tuple[str, ...]]:
    """Samples of what several texts may become together.

    Returns: for each sample, the texts in their order.
    Raises: Undecided where a part is unknown, or there are more than MOST samples.
    """
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
    """The beginnings and ends of a literal text. An open part may be one of them, and complete the text."""
    if isinstance(part, str):
        for cut in range(min(len(part), MOST_PIECES)):
            yield from (part[cut:], part[: len(part) - cut])


def _form(part: Part) -> str:
    """A regular expression for what a part of a text may become. An attribute never holds a `*`."""
    if isinstance(part, Ref):
        return "[^*]*"
    return _FORMS.get(part.name, ".*") if isinstance(part, Pseudo) else re.escape(str(part))


def _choices(part: Part, literal: str, pieces: Sequence[str]) -> Sequence[str]:
    match part:
        case Unknown(why=why):
            raise Undecided(why)
        case Pseudo(name=name):
            # The account or region may be one that is written out, whole or in part, in another text.
            written = re.findall(_WRITTEN[name], literal) if name in _WRITTEN else ()
            known = _SAMPLES.get(name) or (*_GENERATED, *pieces)
            return tuple(dict.fromkeys((*written, *known, *_completed(name, literal))))
        case Ref(opaque=opaque):
            # As in `_form`, an attribute never holds a `*`.
            return (*_GENERATED, *(p for p in pieces if "*" not in p)) if opaque else _GENERATED
    return (str(part),)


def _completed(name: str, literal: str) -> Iterator[str]:
    """Accounts and regions that have a word of a literal text as a part."""
    words = set(re.findall("[a-z]+|[0-9]+", literal))
    if name == "AWS::Region":
        yield from (region for region in schemas.regions() if words & set(region.split("-")))
    if name == "AWS::AccountId":
        digits = sorted(word for word in words if word.isdigit() and len(word) < 12)
        yield from (text for d in digits[:4] for text in (d.ljust(12, "0"), d.rjust(12, "0")))


def spelt(assembly: Assembly, value: Value) -> Value:
    """A text written out, with what is known of references in it: an ARN begins with `arn:`.

    A reference that returns no name, but an ARN or a URL, becomes one whose text only the deployment knows.
    """
    parts = parts_of(assembly.written_out(value))
    return join(piece for part in parts for piece in _spelt(assembly, part))


def _spelt(assembly: Assembly, part: Part) -> tuple[Part, ...]:
    resource = assembly.resource(part) if isinstance(part, Ref) else None
    if resource is None or not isinstance(part, Ref):
        return (part,)
    kind = schemas.gives(resource.type, part.attribute)
    if kind.form in ("id", "name") if kind else part.attribute is None:
        return (part,)
    opaque = Ref(part.stack, part.logical_id, part.attribute, opaque=True)
    return ("arn:", Pseudo("AWS::Partition"), ":", opaque) if kind and kind.form == "arn" else (opaque,)


def without_dot(name: Value) -> Value:
    """A domain name without a final dot."""
    *parts, last = parts_of(name)
    return join([*parts, last.removesuffix(".") if isinstance(last, str) else last])


def bound(text: str) -> Value:
    """A fact's text with its placeholders (`${AWS::Region}`, `${stack/Queue.Arn}`) as what they stand for."""
    pieces = re.split(r"(\$\{(?:AWS::\w+|[^{}:]+/[^{}/:]+)\})", text)
    return join(_meant(piece[2:-1]) if index % 2 else piece for index, piece in enumerate(pieces))


def _meant(name: str) -> Pseudo | Ref:
    stack, _, reference = name.rpartition("/")
    logical_id, _, attribute = reference.partition(".")
    return Ref(stack, logical_id, attribute or None) if stack else Pseudo(name)


def cannot_be(value: Value, text: str) -> bool:
    """Whether the known parts of a value rule a text out: `x-${Later}` is never empty."""
    parts = parts_of(value)
    form = "".join(re.escape(part) if isinstance(part, str) else pattern_of(part) for part in parts)
    return len(parts) < MOST_PIECES and re.fullmatch(form, text, re.DOTALL) is None
