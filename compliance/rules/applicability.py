"""Checks, when a document is read, that each check fits the resource types of its subject.

A misspelt property is never set, and a kind skips types that it is not about: both would judge nothing.
The provider schemas say which properties a type has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from compliance.cel import parse
from compliance.cel.fixed import fixed
from compliance.document.requirements import Document, Requirement
from compliance.facts.expressions import spread
from compliance.facts.literals import in_words, never, range_of
from compliance.facts.property_tests import Test
from compliance.facts.subjects import read
from compliance.rules import Check, Kind
from compliance.template.paths import steps
from compliance.template.physical_names import elsewhere
from compliance.template.schemas import is_known, lacks, problem, takes_lists_alone

Field = tuple[str | int, ...]


def check_subjects(document: Document) -> None:
    """Checks the property paths by which a document finds its subjects. Raises InputError."""
    subjects = read(document)
    for name, subject in subjects.items():
        place: Field = ("subjects", name)
        for index, test in enumerate(subject.where if isinstance(subject.where, list) else ()):
            _check_test(document, subject.types, test, (*place, "where", index))
        for where, link in subject.selectors():
            holder = subject if where[0] == "refers_to" else subjects[link.subject]
            if link.property:
                _check_path(document, holder.types, link.property, (*place, *where, "property"))
        for index, clue in enumerate(subject.links):
            if clue.other() and clue.property:
                holder = subject if clue.refers_to else subjects[clue.other() or ""]
                _check_path(document, holder.types, clue.property, (*place, "links", index, "property"))


def check_events(document: Document) -> None:
    """Makes each event that a document names, as scenarios do. Raises InputError."""
    from compliance.handlers.events.template import try_event

    for name, events in document.events.items():
        for below, event in (
            [((), events)] if isinstance(events, dict) else [((i,), e) for i, e in enumerate(events)]
        ):
            try:
                try_event(event)
            except ValueError as error:
                place: Field = ("events", name, *below)
                raise document.error(f"{document.words(*place)}: {error}", *place) from None


def check_requirement(
    document: Document, requirement: Requirement, place: Field, kind: Kind, check: Check
) -> None:
    """Checks a check's subjects against its kind, and its property paths. Raises InputError.

    `place` is where the check stands in the document.
    """
    count = len(requirement.subjects)
    if (kind.about != "none" and not count) or (kind.about == "one" and count > 1):
        wanted = "one `subject`" if kind.about == "one" else "a `subject`"
        raise document.error(f"{requirement.id}: kind {kind.name} is about {wanted}: name it", *place[:2])
    types = document.cached(types_of)
    for subject in requirement.subjects:
        _check_types(document, requirement, place, kind, subject, types.get(subject, ()))
    _check_together(document, check, place)
    about = [type_ for subject in requirement.subjects for type_ in types.get(subject, ("*",))]
    for below, test in _tests(check):
        _check_test(document, about, test, (*place, *below))
    for field, named in check.subjects_named():
        text = getattr(check, field, None)
        if isinstance(text, str) and text.startswith(f"{named}."):
            path = text.removeprefix(f"{named}.")
            _check_path(document, types.get(named, ("*",)), path, (*place, field))


def types_of(document: Document) -> Mapping[str, Sequence[str]]:
    """The types of the resources that may fill each subject, `*` for any."""
    return {name: subject.types for name, subject in read(document).items()} | {"members": ("*",)}


def _check_types(
    document: Document, requirement: Requirement, place: Field, kind: Kind, subject: str, types: Sequence[str]
) -> None:
    """Each type written out must be one that the kind is about; of a pattern's types, one must be."""
    for type_ in types:
        known_types = [found for found in spread([type_]) if is_known(found)]
        if type_ == "*" or not known_types:
            continue
        selects = kind.selects or kind.types.__contains__
        if kind.selects and any(map(selects, spread(types))):
            return
        if (kind.types or kind.selects) and not any(map(selects, known_types)):
            about = f", but about {' and '.join(kind.types)}" if kind.types else ""
            message = f"kind {kind.name} is not about {type_}, as which {subject} is defined{about}"
            raise document.error(f"{requirement.id}: {message}", *place[:2], "subject")


def _tests(check: Check) -> Iterator[tuple[Field, Test]]:
    for field in ("all", "any"):
        for number, test in enumerate(getattr(check, field, ())):
            if isinstance(test, Test):
                yield (field, number), test


def _check_together(document: Document, check: Check, place: Field) -> None:
    """Of the tests of one property, some values must pass, and some must not, unless it is in a list."""
    for field, sign, never_wanted in (("all", " && ", False), ("any", " || ", True)):
        by_path: dict[str, list[str]] = {}
        for test in getattr(check, field, ()):
            if isinstance(test, Test) and "*" not in steps(test.path):
                holds = "v == null" if test.absent else test.condition or "v != null"
                holds = f"(v == null || {holds})" if test.where_present else f"({holds})"
                by_path.setdefault(test.path, []).append(holds)
        for path, conditions in by_path.items():
            if len(conditions) > 1 and fixed(parse(sign.join(conditions))) is never_wanted:
                what = "every value passes one of the tests" if never_wanted else "no value passes all tests"
                raise document.error(f"{document.words(*place)}.{field}: {path}: {what}", *place, field)


def _check_test(document: Document, types: Sequence[str], test: Test, place: Field) -> None:
    """The test's property must exist, and have values that pass as well as values that do not."""
    _check_path(document, types, test.path, (*place, "path"))
    known_types = spread(types)
    paths = {elsewhere(type_, test.path) for type_ in known_types}
    numbers, [path, *others] = None, paths or {test.path}
    if not others and "*" not in known_types:
        item = f"{path}.*" if all(takes_lists_alone(type_, path) for type_ in known_types) else path
        if test.contains and (why := never(known_types, item, test.contains, equal=True)):
            raise document.error(f"{document.words(*place)}: {why}", *place)
        for value in test.literals:
            if value != "" and (why := never(known_types, path, value, equal=True)):
                raise document.error(f"{document.words(*place)}: {why}", *place)
        numbers = range_of(known_types, path)
    result = (
        fixed(parse(test.condition), lambda node: numbers if node.kind == "name" else None)
        if test.condition
        else None
    )
    if result is not None:
        which = "every value passes, so that it cannot fail" if result else "no value passes"
        message = f"{test.wanted()}: {which}{in_words(numbers)}"
        raise document.error(f"{document.words(*place)}: {message}", *place)


def _check_path(document: Document, types: Sequence[str], path: str, place: Field) -> None:
    """One of the types must have a property path, as far as the schemas know them."""
    name = document.words(*place)
    try:
        steps(path)
    except ValueError as error:
        raise document.error(f"{name}: {error}", *place) from None
    known_types = spread(types)
    if "*" in known_types or not all(map(is_known, known_types)):
        return
    if known_types and all(lacks(type_, elsewhere(type_, path)) for type_ in known_types):
        texts = [problem(type_, elsewhere(type_, path)) or "" for type_ in known_types]
        best = next((text for text in texts if "did you mean" in text), texts[0])
        raise document.error(f"{name}: {best}", *place)
