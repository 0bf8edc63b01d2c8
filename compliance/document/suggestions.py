"""Messages for misspelt words and malformed data: `did you mean high? (one of high, medium, low)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import inspect

from compliance.text import nearest


def hint(word: str, known: Iterable[str], most: int = 12) -> str:
    """The known word that is nearest to an unknown one, and all known ones if they are few.

    Args:
        word: the unknown word.
        known: the known words.
        most: how many known words are listed; with more of them, only the nearest is named.
    Returns: `did you mean ...?` or `write one of ...`; an empty text where neither can be said.
    """
    words = [str(each) for each in known]
    lowered = {each.lower(): each for each in reversed(words)}
    wrong = word.lower()
    near = (
        [each for each in lowered if _number_as(each) == _number_as(wrong)]  # wir-1 for wir-01
        or [near for each in (wrong.replace("_", "-"), wrong) if (near := nearest(each, lowered))]
        or [each for each in lowered if len(wrong) > 2 and each.startswith(wrong)]
    )
    listed = f"one of {', '.join(words)}" if words and len(words) <= most else ""
    if near:
        return f"did you mean {lowered[near[0]]}?" + (f" ({listed})" if listed else "")
    return f"write {listed}" if listed else ""


def _number_as(id_: str) -> str:
    """An id without the zeros and the hyphen before its number."""
    return re.sub(r"-?0*([1-9]\d*)$", r"-\1", id_)


def conversion_error(error: msgspec.ValidationError, type_: object) -> tuple[str, tuple[str | int, ...]]:
    """What is wrong with data that could not be converted.

    Args:
        error: msgspec's error.
        type_: the type that the data should have.
    Returns: the message, with what may stand in the place; and the keys and indexes that lead to the place.
    """
    message, _, path = str(error).partition(" - at `")
    path = path.rstrip("`").removeprefix("$").lstrip(".")
    found = re.findall(r"([^.\[\]`]+)|\[(\d+)\]", path)
    place = tuple(int(index) if index else name for name, index in found)
    return _explained(message, type_, place), place


def _explained(message: str, type_: object, place: Sequence[str | int]) -> str:
    """A message of msgspec, with what may stand in the place that it is about."""
    if unknown := re.search(r"unknown field `(.*)`", message):
        known = _fields(_at(inspect.type_info(type_), place))
        return _joined(message, hint(unknown[1], known))
    if wrong := re.match(r"Invalid enum value (.*)", message):
        known = _values(_at(inspect.type_info(type_), place))
        return _joined(message, hint(wrong[1].strip("'"), known))
    if message.startswith("Object missing required field"):
        return _joined(message, f"it needs {', '.join(_required(_at(inspect.type_info(type_), place)))}")
    if text := re.match(r"Expected `str.*`, got `(array|.*)`", message):
        as_one = "one text is wanted" if text[1] == "array" else "put it in quotes"
        return f"{message}; {as_one}"
    if "matching regex" in message:
        return next(iter(_descriptions(inspect.type_info(type_), place)), message)
    return message


def _joined(message: str, hint: str) -> str:
    return f"{message}; {hint}" if hint else message


def _at(info: inspect.Type, place: Sequence[str | int]) -> list[inspect.Type]:
    """The types that a value in a place may have."""
    found = list(_alternatives(info))
    for step in place:
        found = [below for one in found for inner in _below(one, step) for below in _alternatives(inner)]
    return found


def _alternatives(info: inspect.Type) -> Iterable[inspect.Type]:
    """The members of a union, or the type itself."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    return info.types if isinstance(info, inspect.UnionType) else (info,)


def _below(info: inspect.Type, step: str | int) -> Iterable[inspect.Type]:
    """The type of a field, or of the items of a list or dict."""
    if isinstance(info, inspect.StructType):
        return [field.type for field in info.fields if field.encode_name == step]
    if isinstance(info, inspect.DictType):
        return (info.value_type,)
    if isinstance(info, inspect.ListType | inspect.VarTupleType):
        return (info.item_type,)
    return ()


def _required(infos: Iterable[inspect.Type]) -> list[str]:
    structs = (info for info in infos if isinstance(info, inspect.StructType))
    return [field.encode_name for struct in structs for field in struct.fields if field.required]


def _descriptions(info: inspect.Type, place: Sequence[str | int]) -> Iterable[str]:
    """The descriptions that the types of a place give of the text that it must hold."""
    *above, last = place
    for one in _at(info, above):
        for inner in _below(one, last):
            if isinstance(inner, inspect.Metadata) and (schema := inner.extra_json_schema):
                yield f"expected {schema.get('description', 'another text')}"


def _fields(infos: Iterable[inspect.Type]) -> list[str]:
    return [field.encode_name for i in infos if isinstance(i, inspect.StructType) for field in i.fields]


def _values(infos: Iterable[inspect.Type]) -> list[str]:
    values: list[object] = []
    for info in infos:
        if isinstance(info, inspect.LiteralType):
            values += info.values
        elif isinstance(info, inspect.EnumType):
            values += [member.value for member in info.cls]
    return [str(value) for value in values]
