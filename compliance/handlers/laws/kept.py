"""A law about values: the values of an event arrive as they were sent.

Plain values show where each value is written; then values that mistakes in code change must be there too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import unicodedata
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from urllib.parse import quote, unquote, unquote_plus

import msgspec
from msgspec.structs import replace

from compliance.handlers.batches import Batch, Record, identifies, leaves, of_senders
from compliance.handlers.effects import Unit, of_record
from compliance.handlers.events import Draw
from compliance.handlers.events.values import Values
from compliance.handlers.laws.bench import Bench, bad, brief, good, unknown, unmet
from compliance.handlers.runs import Finding, Outcomes, Play, Task
from compliance.handlers.sandbox import Outcome
from compliance.json_data import JSON, array, mapping

UNCHANGED = "ids and values as they were sent"

# Values that mistakes in code change, by what is special about them.
WORDS: Mapping[str, Callable[[Draw], str]] = {
    "capitals": lambda draw: f"{draw.word(5).upper()}{draw.word(5)}",
    "digits only": lambda draw: draw.digits(14),
    "leading zeros": lambda draw: f"000{draw.digits(9)}",
    "spaces": lambda draw: f" {draw.word(5)}  {draw.word(5)} ",
    "combining characters": lambda draw: unicodedata.normalize("NFD", f"Åé{draw.word(6)}ö"),
    "composed characters": lambda draw: f"Åéñß{draw.word(6)}注文 №{draw.number(1, 9)}😀",
    "what looks escaped": lambda draw: f"{draw.word(5)}%41+%{draw.word(3)}&amp;",
    # For String.replace, strftime, str.format and template literals.
    "what looks like a placeholder": lambda draw: f"{draw.word(5)}$&%d{{0}}%Y${{{draw.word(3)}}}",
    "great length": lambda draw: draw.word(300),
    "quotes and backslashes": lambda draw: f'{draw.word(5)}"\\n{draw.word(3)}\\',
}


class _OddValues(Values):
    """Values with words of one kind of WORDS instead of plain ones."""

    def __init__(self, draw: Draw, kind: str) -> None:
        super().__init__(draw)
        self._odd, self._words = draw, kind

    def value(self, name: str) -> JSON:
        if name not in self.drawn and self._kinds.get(name, "word") == "word":
            self.drawn[name] = WORDS[self._words](self._odd)
        return super().value(name)


class _Place(msgspec.Struct, frozen=True):
    """Where a record's value is written: the leaf of a call's parameters, as a whole or as a part of it."""

    value: str
    kind: str
    target: str
    leaf: str
    whole: bool


class _Odd(msgspec.Struct, frozen=True):
    """A batch with special values: words of one kind, or attributes of some types (`typed`)."""

    what: str
    batch: Batch
    play: Play
    typed: bool = False

    def alone(self, bench: Bench) -> list[_Odd]:
        """The same for each of its records alone, in a container that has not seen them."""
        batches = [self.batch.alone(index) for index in range(len(self.batch.records))]
        return [replace(self, batch=batch, play=bench.play(batch, container=1)) for batch in batches]


def kept_as_is(bench: Bench) -> Task:
    """The law of that name: plain records first, then records with special words and with all types.

    A record that arrives changed among others is tried alone, and judged by that: the law `as_alone` judges
    records together.
    """
    outcomes = yield [play for _, play in bench.singles]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    places = {
        kind: list(_places(bench, bench.units(outcome), single.records[0]))
        for kind, ((single, _), [outcome]) in enumerate(zip(bench.singles, outcomes, strict=True))
    }
    if rounded := [
        finding
        for (single, _), [outcome] in zip(bench.singles, outcomes, strict=True)
        for finding in _rounded(bench, bench.units(outcome), single.records[0])
    ]:
        return rounded[:4]
    kinds = [kind for kind, found in places.items() if found]
    if not kinds:
        why = next(
            (t for [outcome] in outcomes if (t := bench.failure_reason(outcome))),
            "no value of a record is in what it writes",
        )
        return [unknown(why, UNCHANGED)]
    findings = yield from _tried(bench, places, kinds)
    if findings:
        return list({(f.at, f.found.partition(":")[0]): f for f in findings}.values())[:4]
    known = {place.value for found in places.values() for place in found}
    return [
        good(f"{len(known)} values arrive unchanged, with {', '.join(WORDS)}, and of every type", UNCHANGED)
    ]


def _tried(
    bench: Bench, places: Mapping[int, Sequence[_Place]], kinds: Sequence[int]
) -> Generator[Sequence[Play], Sequence[Outcomes], list[Finding]]:
    """The findings about special values. Records of a batch with a difference are tried alone."""
    odd = bench.shared(f"odd {kinds}", lambda bench_of_odd: list(_odd(bench_of_odd, kinds)))
    wanted = [one for one in odd if not (one.typed and bench.only == "keys")]
    outcomes = yield [one.play for one in wanted]
    findings: list[Finding] = []
    again: list[_Odd] = []
    for one, [outcome] in zip(wanted, outcomes, strict=True):
        found = list(_differences(bench, places, one, outcome))
        if len(one.batch.records) == 1:
            findings += found
        elif found or bench.failure_reason(outcome):
            again += one.alone(bench)
    if again:
        outcomes = yield [one.play for one in again]
        for one, [outcome] in zip(again, outcomes, strict=True):
            findings += _differences(bench, places, one, outcome)
    return findings


def _odd(bench: Bench, kinds: Sequence[int]) -> Iterator[_Odd]:
    """Batches with each kind of word. The kinds of records take turns at the first place."""
    size = bench.source.size
    for turn, word in enumerate(WORDS):
        order = [kinds[(turn + i) % len(kinds)] for i in range(len(kinds))]
        for start in range(0, len(order), size):
            batch = bench.odd(partial(_OddValues, bench.draw, word), order[start : start + size])
            yield _Odd(word, batch, bench.play(batch))
    if bench.source.trigger == "dynamodb":
        for attribute_types in (COMMON, RARE):
            for kind in kinds:
                batch = _typed(bench, bench.batch(1, kinds=[kind]), attribute_types)
                yield _Odd(attribute_types, batch, bench.play(batch), typed=True)


def _differences(
    bench: Bench, places: Mapping[int, Sequence[_Place]], one: _Odd, outcome: Outcome | None
) -> Iterator[Finding]:
    made = bench.units(outcome)
    if one.typed:
        [record] = one.batch.records
        yield from _types(bench, places[record.kind], record, outcome, made)
        return
    held = [(unit, leaves(unit.value)) for unit in made]
    for record in one.batch.records:
        yield from _changed(bench, places[record.kind], record, outcome, held, one.what)


def _places(bench: Bench, made: Sequence[Unit], record: Record) -> Iterator[_Place]:
    for unit in of_record(made, record):
        found = leaves(unit.value)
        for leaf, text in found.items():
            if text[:1] in ("{", "[") and any(other.startswith(f"{leaf}.") for other in found):
                continue  # its contents are leaves too
            for value, sent in record.own.items():
                # A value in capitals is found too, so that the change is reported.
                is_in_leaf = sent.casefold() in text.casefold()
                if len(sent) >= 5 and is_in_leaf and of_senders(value) and _is_judged(bench, value):
                    yield _Place(value, unit.kind, unit.target, leaf, len(text) == len(sent))


def _rounded(bench: Bench, made: Sequence[Unit], record: Record) -> Iterator[Finding]:
    """Findings about numbers that are written under their own name, but without their fraction."""
    written = [(unit, _name(leaf), text) for unit in made for leaf, text in leaves(unit.value).items()]
    for value, text in record.own.items():
        sent = _number(text)
        if (
            sent is None
            or not sent.is_finite()
            or sent == sent.to_integral_value()
            or not _is_judged(bench, value)
        ):
            continue
        same_name = [(unit, arrived) for unit, name, arrived in written if name == _name(value)]
        if any(_number(arrived) == sent for _, arrived in same_name):
            continue
        for unit, arrived in same_name:
            number = _number(arrived)
            if (
                number is not None
                and number.is_finite()
                and number == number.to_integral_value()
                and abs(number - sent) < 1
            ):
                found = f"{_short(value)} {text} arrives in {unit.kind} as {brief(arrived, 80)}"
                yield bad(found, UNCHANGED, unit.call.at)
                break


def _name(leaf: str) -> str:
    """The name of a leaf, without a type of DynamoDB after it."""
    return leaf.removesuffix(".N").removesuffix(".S").rpartition(".")[2].casefold()


def _is_judged(bench: Bench, value: str) -> bool:
    """Whether the check is about this value: `only` narrows it to keys or to the others."""
    return bench.only is None or (bench.only == "keys") is identifies(value, frozenset(bench.source.keys))


def _changed(
    bench: Bench,
    places: Sequence[_Place],
    record: Record,
    outcome: Outcome | None,
    made: Sequence[tuple[Unit, Mapping[str, str]]],
    word: str,
) -> Iterator[Finding]:
    why = bench.failure_reason(outcome)
    if why and not made:
        if word == "great length":
            return  # an error is right: services limit lengths, such as that of a topic's subject
        yield unmet(outcome, f"a record with {word}: {why}", UNCHANGED)
        return
    sent = leaves(record.raw)
    for place in places:
        wanted = sent.get(place.value, "")
        if place.value.endswith("s3.object.key"):  # URL-encoded in the event
            wanted = unquote_plus(wanted)
        written = [
            (unit, found[place.leaf])
            for unit, found in made
            if (unit.kind, unit.target) == (place.kind, place.target) and place.leaf in found
        ]
        if any(_arrived(wanted, text, place.whole) for _, text in written):
            continue
        if word == "great length" and any(_digested(wanted, text) for _, text in written):
            continue  # the length of names is limited, and a digest may stand for a long one
        unit, text = written[0] if written else (None, "nothing")
        where = f"{place.kind} {place.leaf}"
        found = f"{word}: {_short(place.value)} {wanted!r} arrives in {where} as {brief(text, 80)!r}"
        yield bad(found, UNCHANGED, unit.call.at if unit else None)


def _arrived(wanted: str, text: str, whole: bool) -> bool:
    if text == wanted:
        return True
    if whole:
        return False
    forms = (
        wanted,
        quote(wanted),
        quote(wanted, safe=""),
        wanted.replace("/", "%2F"),
        json.dumps(wanted)[1:-1],
    )
    return any(form in text for form in forms) or wanted in unquote(text) or wanted in unquote_plus(text)


def _digested(wanted: str, text: str) -> bool:
    """Whether a text contains a digest of the wanted one, at least its beginning, in hex or base64."""
    for name in ("md5", "sha1", "sha256", "sha384", "sha512", "blake2b", "blake2s", "sha3_256"):
        digest = hashlib.new(name, wanted.encode(), usedforsecurity=False).digest()
        coded = base64.b64encode(digest).decode(), base64.urlsafe_b64encode(digest).decode()
        if digest.hex()[:DIGITS] in text.lower() or any(form[:DIGITS] in text for form in coded):
            return True
    return False


DIGITS = 16  # characters of a digest: enough that no two ids share them


def _short(value: str) -> str:
    return value.rpartition("Image.")[2] if "Image." in value else value


# Every type of DynamoDB


def _typed(bench: Bench, single: Batch, attribute_types: str) -> Batch:
    """The same change of an item that has attributes of these types besides."""
    raw: dict[str, JSON] = json.loads(json.dumps(single.records[0].raw))
    change = mapping(raw["dynamodb"])
    for image in ("NewImage", "OldImage"):
        if image in change:
            mapping(change[image]).update(attributes(bench.draw, attribute_types))
    record = replace(single.records[0], raw=raw)
    return Batch({**single.event, "Records": [raw]}, (record,), single.at)


# Types that JSON has too, and types that plain JSON does not have.
COMMON, RARE = "S BOOL NULL L M N", "SS NS B BS"


def attributes(draw: Draw, attribute_types: str) -> dict[str, JSON]:
    """Attributes of these types, under drawn names, as an event has them."""
    number = draw.digits(38)
    binary = base64.b64encode(b"\xff\x00\xfe" + draw.word(6).encode()).decode()
    values: Sequence[dict[str, JSON]] = (
        {"N": draw.digits(9)},
        {"N": f"-0.{draw.digits(6)}"},
        {"BOOL": False},
        {"BOOL": True},
        {"NULL": True},
        {"S": ""},
        {"S": draw.word(9000)},
        {"SS": [*sorted([draw.word(), draw.word().upper()])]},
        {"NS": ["1", number]},
        {"B": binary},
        {"BS": [binary]},
        {"L": []},
        {"M": {}},
        {"L": [{"N": draw.digits(7)}, {"NULL": True}, {"M": {draw.word(): {"BOOL": True}}}]},
    )
    wanted = [value for value in values if next(iter(value)) in attribute_types.split()]
    wanted += [{"N": number}] if attribute_types == RARE else []
    return {f"{draw.word(6)}{i}": value for i, value in enumerate(wanted)}


def _types(
    bench: Bench, places: Sequence[_Place], record: Record, outcome: Outcome | None, made: Sequence[Unit]
) -> Iterator[Finding]:
    """Findings about attributes that are missing or changed where a whole image is written."""
    changes = mapping(record.raw["dynamodb"])
    copies = {
        (p.kind, p.target, *copy) for p in places if p.whole and (copy := _copy(p)) and copy[0] in changes
    }
    for kind, target, image, where, typed in sorted(copies):
        sent = {name: mapping(value) for name, value in mapping(changes[image]).items()}
        rare = any(next(iter(value)) in RARE.split() for value in sent.values())
        if (why := bench.failure_reason(outcome)) and not made:
            if typed or not rare:
                yield unmet(outcome, f"an item with {'rare' if rare else 'common'} types: {why}", UNCHANGED)
            continue
        for unit in made:
            if (unit.kind, unit.target) == (kind, target):
                written = _value_at(unit.value, where)
                for name, value in sent.items():
                    got = written.get(name, MISSING) if isinstance(written, dict) else MISSING
                    near = rare and not typed and got not in ({}, [], "", None)
                    if got == MISSING or not (near or same(got, value)):
                        found = (
                            f"{next(iter(value))} of {image} {brief(value, 60)} arrives as {brief(got, 60)}"
                        )
                        yield bad(found, UNCHANGED, unit.call.at)


MISSING = "nothing"


def _copy(place: _Place) -> tuple[str, str, bool] | None:
    """The image that a value is of, where the image's copy is, and whether the copy keeps DynamoDB's types.

    None where the place does not show that the whole image is copied. Only a nested value of the drawn item
    does, at the same place within the copy.
    """
    _, _, rest = place.value.partition("dynamodb.")
    image, _, within = rest.partition(".")
    if not image.endswith("Image") or within.count(".") < 3:
        return None
    steps, wanted = place.leaf.split("."), _untyped(within.split("."))
    for i in reversed(range(len(steps))):
        if (
            steps[i] == wanted[0] and _untyped(steps[i:]) == wanted
        ):  # whether or not the copy has the names of types
            return image, ".".join(steps[:i]), ".".join(steps[i:]) == within
    return None


def _untyped(steps: Sequence[str]) -> list[str]:
    return [step for step in steps if step not in ("M", "L", "S", "N")]


def _value_at(value: object, path: str) -> object:
    """The value at a leaf's place. JSON in texts is parsed, and numbers are exact."""
    for step in filter(None, path.split(".")):
        if isinstance(value, str):
            value = _loaded(value)
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return _loaded(value) if isinstance(value, str) else value


def _loaded(text: str) -> object:
    try:
        value: object = json.loads(text, parse_float=Decimal)
        return value
    except (ValueError, RecursionError):
        return None


def same(got: object, value: dict[str, JSON]) -> bool:
    """Whether something equals an attribute value, or the plain value that it stands for."""
    (kind, content), *_ = value.items()
    if isinstance(got, dict) and set(got) == {kind}:
        return _equal(got[kind], content, kind, typed=True)
    return _equal(got, content, kind, typed=False)


def _equal(got: object, content: JSON, kind: str, *, typed: bool) -> bool:
    match kind:
        case "NULL":
            return got is True if typed else got is None
        case "M":
            fields = mapping(content)
            return (
                isinstance(got, dict)
                and set(got) == set(fields)
                and all(same(got[name], mapping(value)) for name, value in fields.items())
            )
        case "L":
            values = map(mapping, array(content))
            return isinstance(got, list) and len(got) == len(array(content)) and all(map(same, got, values))
        case "SS" | "NS" | "BS":
            item_kind = {"SS": "S", "NS": "N", "BS": "B"}[kind]
            items = list(got.get("values", ())) if isinstance(got, dict) else got
            wanted = array(content)
            if not isinstance(items, list) or len(items) != len(wanted):
                return False
            return all(any(_equal(item, each, item_kind, typed=typed) for item in items) for each in wanted)
        case "N":
            return not isinstance(got, bool) and _number(got) == Decimal(str(content))
        case "B":
            return _bytes(got) == base64.b64decode(str(content))
        case _:
            return type(got) is type(content) and got == content


def _number(got: object) -> Decimal | None:
    try:
        return Decimal(str(got)) if isinstance(got, str | int | Decimal) else None
    except InvalidOperation:
        return None


def _bytes(got: object) -> bytes | None:
    """Bytes as base64, as a list of numbers, or as Node.js writes a Buffer or an array of them."""
    if isinstance(got, dict):
        got = got["data"] if set(got) == {"type", "data"} else list(got.values())
    try:
        return bytes(got) if isinstance(got, list) else base64.b64decode(str(got), validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
