"""Property paths: names and list indexes with dots between them, `*` for every item or key.

A name that holds a dot is quoted: `Parameters."rds.force_ssl"`, with either kind of quotation mark.
"""

from __future__ import annotations

import re
from functools import lru_cache

_STEP = re.compile(r"""(?:"([^"]*)"|'([^']*)'|([^."']+))(?:\.(?=.)|$)""")


@lru_cache(2**12)
def steps(path: str) -> tuple[str, ...]:
    """The steps of a property path.

    Args:
        path: such as `Statement.*.Condition.StringEquals."aws:SourceArn"`.
    Returns: the names, indexes and `*` in their order; none for an empty path.
    Raises: ValueError where the path has an empty step or an open quotation mark.
    """
    found, end = [], 0
    while end < len(path):
        match = _STEP.match(path, end)
        if match is None:
            raise ValueError(f"no property path: {path!r} (a name with a dot in it is quoted)")
        found.append(next(step for step in match.groups() if step is not None))
        end = match.end()
    return tuple(found)
