"""What functions make of an object, made once: indexes over a whole assembly, answers for one resource."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Memo:
    """An object that keeps what functions make of it, for as long as it is there."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def cached(self, make: Callable[Concatenate[Self, P], T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """What a function makes of this object, called once for equal arguments.

        Args:
            make: the function; its first argument is this object.
            arguments: its other arguments, which must be hashable.
            keywords: the same.
        Returns: its result, which callers must not change.
        """
        key = (make, arguments, *keywords.items()) if arguments or keywords else make
        if key not in self._made:
            self._made[key] = make(self, *arguments, **keywords)
        found: T = self._made[key]
        return found
