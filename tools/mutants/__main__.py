"""`make mutants`: the mutation engine on the order pipeline, with all that is known of its own stack."""

from __future__ import annotations

import sys

from compliance.mutation.__main__ import main
from tools.mutants import AIMS, ALL, SURVIVORS

if __name__ == "__main__":
    own = ["--survivors", str(SURVIVORS), "--aims", str(AIMS)]
    main([*own, *sys.argv[1:]], prog_name="python -m tools.mutants", obj=ALL)
