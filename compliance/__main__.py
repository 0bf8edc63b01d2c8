"""`python -m compliance`, and what the `compliance` script starts."""

import atexit
import gc
import sys

# The process is short and mostly imports modules. The default threshold costs a tenth of the time, and frees
# almost nothing.
gc.set_threshold(1_000_000)
atexit.register(gc.freeze)  # else the interpreter looks for garbage in all that there is, just before it ends

if sys.platform == "win32":
    sys.stderr.write("error: the gate needs Linux or macOS; on Windows run it in WSL or in its container\n")
    raise SystemExit(2)

from compliance.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
