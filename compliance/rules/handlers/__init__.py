"""What handlers do when they are run, never what their text looks like: scenarios and laws.

Both are planned before anything is judged, run in the background, and judged by their findings.
"""

from __future__ import annotations

from compliance.rules.handlers import earlier, isolation, law, scenario
from compliance.rules.handlers.judging import planned

__all__ = ["earlier", "isolation", "law", "planned", "scenario"]
