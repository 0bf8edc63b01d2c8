"""`python -m compliance`, and what the `compliance` script starts."""

import atexit
import gc
import os
import sys
import threading
from contextlib import suppress

# The process is short and mostly imports modules. The default threshold costs a tenth of the time, and frees
# almost nothing.
gc.set_threshold(1_000_000)

if sys.platform == "win32":
    sys.stderr.write("error: the gate needs Linux or macOS; on Windows run it in WSL or in its container\n")
    raise SystemExit(2)

from compliance.deferred import defer  # noqa: E402

defer()

from compliance.cli import main as command_line  # noqa: E402


def main() -> None:
    """Runs the command line, and ends the process at once: freeing all objects takes 4% of a short audit."""
    try:
        command_line()
    except SystemExit as ended:
        if isinstance(ended.code, int) and threading.active_count() == 1:
            atexit._run_exitfuncs()
            with suppress(OSError, ValueError):  # else the interpreter says what is wrong with the output
                for stream in filter(None, (sys.stdout, sys.stderr)):  # a closed one is None
                    stream.flush()
                os._exit(ended.code)
        raise


if __name__ == "__main__":
    main()
