"""The modules of boto3 and botocore that a handler can import."""

import importlib
import sys
import types

from . import calls, dynamo, errors
from .clients import Client
from .resources import Resource


class Session:
    region_name = "us-east-1"

    def __init__(self, *_, **__) -> None:
        self.events = types.SimpleNamespace(register=lambda *_, **__: None)

    def client(self, service_name, *_, config=None, **__):
        return Client(service_name, config)

    def resource(self, service_name, *_, config=None, **__):
        return Resource(service_name, config=config)

    def get_credentials(self):
        names = ("access_key", "secret_key", "token")
        return types.SimpleNamespace(**dict.fromkeys(names, "sandbox"))


class Config:
    def __init__(self, *_, **options) -> None:
        self.__dict__.update(options)

    def merge(self, other):
        return Config(**{**vars(self), **vars(other)})


def _boto3(module) -> None:
    session = Session()
    module.client, module.resource, module.Session = session.client, session.resource, Session
    module.DEFAULT_SESSION = None
    module.setup_default_session = lambda **_: None
    module.set_stream_logger = lambda *_, **__: None
    module.__version__ = "1.40.4"
    module.__getattr__ = lambda name: part("boto3", name)


def _session(module) -> None:
    module.Session = Session
    module.get_session = Session


def _exceptions(module) -> None:
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, Exception):
            setattr(module, value.__name__, value)
    module.__getattr__ = _other_error


def _other_error(name):
    if not name.endswith(("Error", "Exception")):
        raise AttributeError(name)
    error = type(name, (errors.BotoCoreError,), {})
    setattr(sys.modules["botocore.exceptions"], name, error)
    return error


def _config(module) -> None:
    module.Config = Config


def _response(module) -> None:
    module.StreamingBody = calls.StreamingBody


def _types(module) -> None:
    for name in ("TypeSerializer", "TypeDeserializer", "Binary", "DYNAMODB_CONTEXT"):
        setattr(module, name, getattr(dynamo, name))


def _conditions(module) -> None:
    module.Key, module.Attr, module.ConditionBase = dynamo.Attribute, dynamo.Attribute, dynamo.Condition


MODULES = {
    "boto3": _boto3,
    "boto3.session": _session,
    "botocore.session": _session,
    "botocore.exceptions": _exceptions,
    "boto3.exceptions": _exceptions,
    "botocore.config": _config,
    "botocore.client": _config,
    "botocore.response": _response,
    "boto3.dynamodb.types": _types,
    "boto3.dynamodb.conditions": _conditions,
}


def part(package, name):
    """A module of a package that the code did not import itself, since boto3 imports most of them."""
    whole = f"{package}.{name}"
    if not any(known == whole or known.startswith(f"{whole}.") for known in MODULES):
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return importlib.import_module(whole)


def module(name):
    """The stand-in for a module; None for one that handlers do not use."""
    if name not in MODULES:
        return None
    made = types.ModuleType(name)
    made.__path__ = []
    MODULES[name](made)
    return made
