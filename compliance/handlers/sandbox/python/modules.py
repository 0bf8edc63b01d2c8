"""The modules that a handler can import: its own, and stand-ins for those that Lambda's runtime ships.

Any other module is missing, as it is on Lambda.
"""

import builtins
import importlib.machinery
import importlib.util
import sys
import types
import urllib
from contextlib import suppress

from . import Any, boto, calls

STOOD_IN = {"boto3", "botocore", "s3transfer", "awslambdaric"}
# These are the real modules, where they are installed beside the audit; the job says where.
REAL = {"dateutil", "jmespath", "six", "urllib3"}


class Harmless:
    """An object that can be called, indexed, entered, printed, and used as a decorator."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Harmless()

    def __call__(self, *args, **kwargs):
        return args[0] if len(args) == 1 and not kwargs and callable(args[0]) else Harmless()

    def __getitem__(self, key):
        return Harmless()

    def __iter__(self):
        return iter(())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False

    def __str__(self):
        return "stand-in"


class StandIn(types.ModuleType):
    """A module from which any name can be imported."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        with suppress(AttributeError):
            return boto.part(self.__name__, name)
        if self.__name__.partition(".")[0] in REAL:
            calls.call("python", f"{self.__name__}.{name}", {})  # which has no stand-in
        error = name.endswith(("Error", "Exception"))
        found = type(name, (Exception,), {}) if error else Harmless()
        setattr(self, name, found)
        return found


class Finder:
    """Finds and loads modules. Importing importlib.abc for its base classes takes a third of the start."""

    def __init__(self, own, supplied, real, send) -> None:
        self.own = own
        self.supplied = supplied
        self.real = real
        self.send = send
        self.reported: set[str] = set()

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in REAL and path is None:
            found = importlib.machinery.PathFinder.find_spec(name) or self.shipped(name)
            if found:
                self.report(top, True)
                return found
        if top in STOOD_IN or top in self.supplied or (top in REAL and top not in self.real):
            self.report(top, True)
            loader: Any = self
            return importlib.machinery.ModuleSpec(name, loader, is_package=True)
        if path is None and name not in sys.stdlib_module_names and name != self.own and not self.inside():
            self.report(name, importlib.machinery.PathFinder.find_spec(name) is not None)
        return None

    def shipped(self, name):
        """The folder or file of a module that Lambda's runtime ships."""
        place = self.real.get(name)
        if place is None:
            return None
        if place.endswith(".py"):
            return importlib.util.spec_from_file_location(name, place)
        file = f"{place}/__init__.py"
        return importlib.util.spec_from_file_location(name, file, submodule_search_locations=[place])

    def inside(self) -> bool:
        """Whether a shipped module imports: one that it does without is not missing for the handler."""
        frame: Any = sys._getframe(2)
        while frame is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        return frame is not None and frame.f_code.co_filename.startswith(tuple(self.real.values()))

    def report(self, name, found) -> None:
        if name not in self.reported:
            self.reported.add(name)
            self.send("module", name=name, found=found)

    def create_module(self, spec):
        return boto.module(spec.name) or StandIn(spec.name)

    def exec_module(self, module) -> None:
        pass


def _of_urllib(name):
    """A part of urllib that the handler did not import: on Lambda, boto3 has."""
    if name == "parse" or (name in ("error", "request", "response") and sys.modules.keys() & STOOD_IN):
        return importlib.import_module(f"urllib.{name}")
    raise AttributeError(f"module 'urllib' has no attribute {name!r}")


def install(job, send, ask) -> None:
    calls.start(ask, job["attempts"])
    vars(urllib)["__getattr__"] = _of_urllib
    own = job["handler"].rpartition(".")[0].replace("/", ".").partition(".")[0]
    sys.meta_path.insert(0, Finder(own, set(job["supplies"]["modules"]), job["real"], send))
    for name in job["supplies"]["names"]:
        setattr(builtins, name, Harmless())
