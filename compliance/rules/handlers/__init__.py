"""Kinds that judge what handlers do when they run, and not how their code is written: scenarios and laws.

The runs are planned before anything is judged, happen in the background, and are judged by their findings.
"""

from __future__ import annotations

from compliance.rules.handlers import earlier, isolation, law, scenario
from compliance.rules.handlers.judging import planned

__all__ = ["earlier", "isolation", "law", "planned", "scenario"]
