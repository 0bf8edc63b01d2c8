"""The harness in the process of a Python handler. The audit must not import it."""

# For mypy alone: loading `typing` takes a tenth of the start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any as Any
else:
    Any = object
