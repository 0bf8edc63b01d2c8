"""What other teams' documents say, and how each sentence is said here: docs/generality.md.

A folder of examples/documents holds a document, a corrected and a flawed stack (a template, or an assembly),
and `proof.yaml`: the sentences of the original with the requirements that say them, what the flawed stack
fails, and variants of the corrected one. A sentence counts as exact only if each of its requirements passes
on the corrected stack and fails on a wrong one; tests/test_documents.py judges them all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from compliance.auditing import DocumentAndRules, Options, audit
from compliance.document.requirements import KEYED
from compliance.model import Status
from compliance.template.source import read_template, read_yaml

FOLDER = Path(__file__).parents[1] / "examples" / "documents"
HEAD = """\
# What other teams' documents say, and what of it can be said

<!-- Made by `make docs`; edit what it is made of. -->

Real documents of other teams, about stacks that this project did not know, restated sentence by sentence.
*exact*: each requirement named passes on the corrected stack and fails on at least one wrong one, and the
tests show both. *weaker*: less than the sentence is judged. *not*: nothing is. The documents with their
stacks and variants are in [examples/documents](../examples/documents); none has a line of Python.
"""


class Sentence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A sentence of the original, and the requirements that say it; why not, or how much less."""

    says: str
    by: tuple[str, ...] = ()
    weaker: str | None = None
    lacks: str | None = None


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change of the corrected stack: texts replaced, values set by their paths (null takes one away).

    `fails` are the requirements that it then fails; none where it is the same in another spelling.
    `unseen` are those that are then not assessed. `handlers` has the handlers run as well.
    """

    name: str
    replace: tuple[tuple[str, str], ...] = ()
    set: Mapping[str, Any] = {}
    fails: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    handlers: bool = False


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a stack is judged for: an environment, and values of the template's parameters.

    `replace` makes it what the app would have made for that environment; `handlers` has its handlers run.
    """

    environment: str | None = None
    parameters: Mapping[str, str] = {}
    replace: tuple[tuple[str, str], ...] = ()
    handlers: bool = True


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `proof.yaml` holds; `own` documents restate nobody's."""

    sentences: tuple[Sentence, ...] = ()
    flawed: tuple[str, ...]
    flawed_unseen: tuple[str, ...] = ()
    variants: tuple[Variant, ...]
    inputs: tuple[Input, ...] = (Input(),)

    def how(self, sentence: Sentence) -> str:
        """exact, weaker or not: what is not seen to fail is not said."""
        if sentence.lacks or not sentence.by:
            return "not"
        return "weaker" if sentence.weaker or set(sentence.by) - self.failing else "exact"

    @property
    def failing(self) -> frozenset[str]:
        """The requirements that fail on some wrong stack."""
        return frozenset(self.flawed).union(*(variant.fails for variant in self.variants))


def folders() -> list[Path]:
    return sorted(path.parent for path in FOLDER.glob("*/proof.yaml"))


def proof(folder: Path) -> Proof:
    return msgspec.convert(read_yaml(folder / "proof.yaml")[0], Proof)


def stack(folder: Path, name: str) -> Path:
    """The corrected or the flawed stack: a template, or the folder of an assembly."""
    return next(path for path in (folder / f"{name}.yaml", folder / name) if path.exists())


# Judging


def unmet(
    document: DocumentAndRules,
    path: Path,
    inputs: Sequence[Input],
    *,
    handlers: bool,
    cache: Path | None = None,
) -> dict[str, Status]:
    """The requirements that a stack does not meet, for any of the inputs; handlers' apart unless they run.

    `cache` remembers what a handler did: most variants change one handler of several.
    """
    found: dict[str, Status] = {}
    for given in inputs:
        if given.replace:
            with TemporaryDirectory() as folder:
                alone = msgspec.structs.replace(given, replace=())
                there = changed(path, Path(folder), given.replace)
                rest = unmet(document, there, [alone], handlers=handlers and given.handlers, cache=cache)
            found = rest | {id_: status for id_, status in found.items() if rest.get(id_) is not Status.FAIL}
            continue
        options = Options(
            assembly=path if path.is_dir() else None,
            template=None if path.is_dir() else path,
            environment=given.environment,
            parameters=given.parameters,
            skip_scanners=True,
            skip_handlers=not handlers,
            cache=cache,
        )
        for result in audit(options, load_document=lambda _: document).results:
            if not result.settled and (handlers or result.id not in of_handlers(document)):
                was = found.get(result.id)
                found[result.id] = Status.FAIL if was is Status.FAIL else result.verdict.status
    return found


def of_handlers(document: DocumentAndRules) -> frozenset[str]:
    """The requirements that run a handler, alone or among several checks."""
    return frozenset(
        rule.requirement.id for rule in document[1] if KEYED & _kinds(rule.requirement.check) - {"checks"}
    )


def _kinds(check: Mapping[str, Any]) -> set[str]:
    """The kinds of a check and of those within it, by the key that names each."""
    return {*check, *(kind for part in check.get("checks", ()) for kind in _kinds(part))}


def made(folder: Path, variant: Variant, into: Path) -> Path:
    """Writes a variant of a folder's corrected stack."""
    target = changed(stack(folder, "corrected"), into, variant.replace)
    if variant.set:
        template = target / "template.yaml" if target.is_dir() else target
        data = read_template(template)[0]
        for place, value in variant.set.items():
            _set(data, place, value)
        template.write_text(json.dumps(data), encoding="utf-8")
    return target


def changed(source: Path, into: Path, replace: Sequence[tuple[str, str]]) -> Path:
    """A copy of a stack with texts replaced. Raises ValueError where one is not there."""
    target = into / source.name
    files = [target]
    if source.is_dir():
        shutil.copytree(source, target)
        files = [path for path in target.rglob("*") if path.is_file()]
    else:
        shutil.copy(source, target)
    for old, new in replace:
        holding = [path for path in files if old in path.read_text(encoding="utf-8")]
        if not holding:
            raise ValueError(f"{source}: nothing is {old!r}")
        for path in holding:
            text = path.read_text(encoding="utf-8").replace(old, new)
            path.write_text(text, encoding="utf-8")
    return target


def _set(data: Any, place: str, value: Any) -> None:
    """Sets what stands at a path: `+` is after a list's last item, null takes away."""
    *steps, last = place.split(".")
    for step in steps:
        data = data[int(step)] if isinstance(data, list) else data.setdefault(step, {})
    if isinstance(data, list):
        data[:] = [*data, value] if last == "+" else [v for i, v in enumerate(data) if i != int(last)]
        if last != "+" and value is not None:
            data.insert(int(last), value)
    elif value is None:
        del data[last]
    else:
        data[last] = value


# The page


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    proofs = {folder.name: proof(folder) for folder in folders()}
    restated = {name: p for name, p in proofs.items() if p.sentences}
    yield HEAD
    yield from _table(
        ("document", "sentences", "exact", "weaker", "not", "variants"),
        [
            *(_counts(f"[{name}](#{name})", [p]) for name, p in restated.items()),
            _counts("all", list(restated.values())),
        ],
    )
    yield from ("", "Documents of this project's own, to try the language where it had not been:", "")
    own = [(name, str(len(p.failing)), str(len(p.variants))) for name, p in proofs.items() if not p.sentences]
    yield from _table(("document", "requirements", "variants"), own)
    for name, p in restated.items():
        yield from ("", f"## {name}", "")
        rows = [(s.says, ", ".join(s.by), p.how(s), s.lacks or s.weaker or "") for s in p.sentences]
        yield from _table(("sentence", "requirements", "said", "what is missing"), rows)


def _counts(name: str, proofs: Sequence[Proof]) -> tuple[str, ...]:
    hows = [p.how(s) for p in proofs for s in p.sentences]
    counts = [len(hows), *(hows.count(how) for how in ("exact", "weaker", "not"))]
    return (name, *map(str, counts), str(sum(len(p.variants) for p in proofs)))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (heads, ["---"] * len(heads), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
