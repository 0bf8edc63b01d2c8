"""Property paths: names and list indexes with dots between them, `*` for every item or key.

A name that holds a dot is quoted: `Parameters."rds.force_ssl"`, with either kind of quotation mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import msgspec

from compliance.template.intrinsics import NO_VALUE, Unknown, Value, optional, show
from compliance.template.json_text import from_json

_STEP = r"""(?:"([^"]*)"|'([^']*)'|([^."']+))(?:\.(?=.)|$)"""
_MARKS = frozenset(".\"'")
_NOT_SPLIT = frozenset("\n\"'")  # `.` of a pattern leaves line breaks out


@lru_cache(2**12)
def steps(path: str) -> tuple[str, ...]:
    """The steps of a property path.

    Args:
        path: such as `Statement.*.Condition.StringEquals."aws:SourceArn"`.
    Returns: the names, indexes and `*` in their order; none for an empty path.
    Raises: ValueError where the path has an empty step or an open quotation mark.
    """
    if _NOT_SPLIT.isdisjoint(path) and "" not in (found := path.split(".")):
        return tuple(found)
    found, end = [], 0
    while end < len(path):
        match = re.compile(_STEP).match(path, end)
        if match is None:
            raise ValueError(f"no property path: {path!r} (a name with a dot in it is quoted)")
        found.append(next(step for step in match.groups() if step is not None))
        end = match.end()
    return tuple(found)


class Place(msgspec.Struct, frozen=True):
    """A place that a path leads to, with the value there: NO_VALUE where it is missing, or Unknown."""

    steps: tuple[str, ...]
    value: Value

    @property
    def path(self) -> str:
        """The place as a path, with the numbers of items instead of `*`."""
        return dotted(self.steps)


def dotted(parts: Iterable[str]) -> str:
    """Steps as a path: what `steps` reads."""
    return ".".join(step if step and _MARKS.isdisjoint(step) else _quoted(step) for step in parts)


def _quoted(step: str) -> str:
    mark = "'" if '"' in step else '"'
    return f"{mark}{step}{mark}"


def places(value: Value, path: str, is_list: Callable[[tuple[str, ...]], bool] | None = None) -> list[Place]:
    """Every place that a path leads to: one for each item of a list, also for items that lack the property.

    Where a list is usual, a single value counts as a list of one. A text that is JSON counts as the data in
    it. A key with dots in it is found without quotes too.

    Args:
        value: the resolved value that the path starts at.
        path: names, indexes and `*`; see `steps`.
        is_list: whether a list is usual at a place, by the steps that lead there; without it, at `Statement`.
    Returns: at least one place.
    Raises: ValueError where it is no path.
    """
    return list(_places(value, steps(path), (), is_list or _is_statement))


def values(value: Value, path: str) -> list[Value]:
    """The values of `places`, without missing ones."""
    if isinstance(value, dict) and path.isidentifier():
        return [value[path]] if path in value else []
    return [place.value for place in places(value, path) if place.value is not NO_VALUE]


def _is_statement(walked: tuple[str, ...]) -> bool:
    """Whether a list is usual at a place that no schema describes: the statements of a policy."""
    return walked[-1:] == ("Statement",)


# Where a step leads: the key or index there, how many steps of the path it takes, and the value.
_Found = list[tuple[tuple[str, ...], int, Value]]


def _places(
    value: Value, left: tuple[str, ...], walked: tuple[str, ...], is_list: Callable[[tuple[str, ...]], bool]
) -> Iterator[Place]:
    if not left or isinstance(value, Unknown):
        yield Place((*walked, *left), value)
        return
    value = from_json(value)
    found: _Found
    any_item = left[0] == "*" or left[0].isdecimal()
    if isinstance(value, dict) and not (any_item and is_list(walked)):
        found = _named(value, left)
    elif isinstance(value, list):
        found = _indexed(value, left[0])
    elif any_item and left[0] in ("*", "0"):
        found = [((), 1, value)]
    elif value is None:
        found = []
    else:
        what = dotted(walked) or "it"
        found = [(left, len(left), Unknown(f"{what} is {show(value)}, which has nothing below it"))]
    for step, taken, item in found:
        yield from _places(item, left[taken:], (*walked, *step), is_list)
    if not found:
        yield Place((*walked, *left), NO_VALUE)


def _named(value: Mapping[str, Value], left: tuple[str, ...]) -> _Found:
    """The entry of an object under the next step, or under several steps that are one key with dots in it."""
    if left[0] == "*":
        return [((key,), 1, item) for key, item in value.items()]
    found: _Found = [((left[0],), 1, value[left[0]])] if left[0] in value else []
    for count in range(2, len(left) + 1):
        key = ".".join(left[:count])
        if key in value:
            found.append(((key,), count, value[key]))
    return found


def _indexed(items: Sequence[Value], step: str) -> _Found:
    """One item of a list, or each. A name instead of an index is looked up in each item."""
    if not step.isdecimal():
        return [((str(index),), int(step == "*"), item) for index, item in enumerate(items)]
    index = int(step)
    shifting = optional(items[: index + 1])
    return [((step,), 1, shifting or item) for item in items[index : index + 1]]
