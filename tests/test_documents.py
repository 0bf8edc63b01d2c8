"""The documents of other teams, examples/documents: what is right is green, and what is wrong is seen.

Each folder's `proof.yaml` says what the flawed stack fails, and what each variant of the corrected one does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from compliance.auditing import DocumentAndRules, load_document
from compliance.model import Status
from tools import generality
from tools.generality import Proof, Variant

PROOFS = {folder: generality.proof(folder) for folder in generality.folders()}
VARIANTS = [(folder, variant) for folder, proof in PROOFS.items() for variant in proof.variants]


@cache
def document(folder: Path) -> DocumentAndRules:
    return load_document(folder / "requirements.yaml")


Unmet = Callable[..., dict[str, Status]]


@pytest.fixture(scope="module")
def unmet(tmp_path_factory: pytest.TempPathFactory) -> Unmet:
    """What a stack of a document does not meet. What a handler does is the same beside another one."""
    cache = tmp_path_factory.mktemp("cache")

    def unmet(folder: Path, path: Path, *, handlers: bool = True) -> dict[str, Status]:
        inputs = PROOFS[folder].inputs
        return generality.unmet(document(folder), path, inputs, handlers=handlers, cache=cache)

    return unmet


def statuses(fails: tuple[str, ...], unseen: tuple[str, ...] = ()) -> dict[str, Status]:
    return dict.fromkeys(fails, Status.FAIL) | dict.fromkeys(unseen, Status.NOT_ASSESSED)


def named(item: object) -> str | None:
    return getattr(item, "name", None)


def test_every_document_has_its_proof() -> None:
    assert {path.parent for path in generality.FOLDER.glob("*/requirements.yaml")} == set(PROOFS)


@pytest.mark.parametrize("folder", PROOFS, ids=named)
def test_the_corrected_stack_is_right(folder: Path, unmet: Unmet) -> None:
    assert unmet(folder, generality.stack(folder, "corrected")) == {}


@pytest.mark.parametrize(("folder", "proof"), PROOFS.items(), ids=named)
def test_every_flaw_of_the_flawed_stack_is_seen(folder: Path, proof: Proof, unmet: Unmet) -> None:
    assert unmet(folder, generality.stack(folder, "flawed")) == statuses(proof.flawed, proof.flawed_unseen)


@pytest.mark.parametrize(("folder", "variant"), VARIANTS, ids=named)
def test_a_variant_fails_what_it_breaks_alone(
    folder: Path, variant: Variant, tmp_path: Path, unmet: Unmet
) -> None:
    handlers = variant.handlers or bool(generality.of_handlers(document(folder)) & {*variant.fails})
    path = generality.made(folder, variant, tmp_path)
    assert unmet(folder, path, handlers=handlers) == statuses(variant.fails, variant.unseen)


@pytest.mark.parametrize(("folder", "proof"), PROOFS.items(), ids=named)
def test_a_proof_is_about_requirements_that_are_there(folder: Path, proof: Proof) -> None:
    known = {requirement.id for requirement in document(folder)[0].requirements}
    assert {id_ for sentence in proof.sentences for id_ in sentence.by} <= known
    assert known <= proof.failing, "a requirement that nothing fails"
    assert len(proof.variants) >= 10
    assert any(not v.fails for v in proof.variants), "no other spelling is tried"


def test_of_what_other_teams_say_nearly_all_can_be_said_exactly() -> None:
    hows = [proof.how(sentence) for proof in PROOFS.values() for sentence in proof.sentences]
    assert len(hows) == 267
    assert hows.count("exact") / len(hows) >= 0.95
