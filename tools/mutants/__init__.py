"""What the mutation engine knows of the order pipeline alone: its spellings, neighbours, aims and survivors.

`python -m tools.mutants` runs the engine with them. The engine itself, `compliance.mutation`, serves every
document and is part of the package.
"""

from __future__ import annotations

from pathlib import Path

from compliance.mutation.equivalents import EQUIVALENTS, Equivalent
from tools.mutants import predicates  # noqa: F401  registers its aims
from tools.mutants.neighbours import NEIGHBOURS
from tools.mutants.spellings import SPELLINGS

AIMS = Path(__file__).with_name("handlers.yaml")
SURVIVORS = Path(__file__).with_name("survivors.yaml")
ALL = (*EQUIVALENTS, *SPELLINGS, *(Equivalent(*each) for kind in NEIGHBOURS.values() for each in kind))
