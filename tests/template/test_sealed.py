"""A writer who swaps files while they are judged, and swaps them back: no verdict is about other bytes."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from inputs import DOCUMENT, assembly_files, write

from compliance.auditing import Options, audit
from compliance.model import InputError, Scorecard
from compliance.release import snapshot
from compliance.template import digest, sealed
from compliance.template.loading import load_assembly, load_template

FUNCTION = '{{"Resources": {{"F": {{"Type": "AWS::Lambda::Function", "Properties": {{"Timeout": {}}}}}}}}}'
GREEN, RED = FUNCTION.format(3), FUNCTION.format(900)


def put(path: Path, text: str) -> None:
    """Replaces a file in one step, as a writer would who wants nobody to see half of it."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    os.replace(fresh, path)


@pytest.mark.parametrize("name", [name for name in assembly_files() if not name.startswith("asset.")])
def test_what_was_swapped_after_it_was_hashed_is_not_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, assembly_files())
    load_assembly(tmp_path)
    _swap_once_hashed(tmp_path / name, monkeypatch)
    with pytest.raises(InputError, match=f"{name}: changed while it was judged"):
        load_assembly(tmp_path)


def test_a_template_that_was_swapped_after_it_was_hashed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"t.json": GREEN})
    _swap_once_hashed(tmp_path / "t.json", monkeypatch)
    with pytest.raises(InputError, match=r"t\.json: changed while it was judged"):
        load_template(tmp_path / "t.json")


def _swap_once_hashed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_text()
    for module, name in ((sealed, "seal_of"), (sealed, "_of_file")):
        real = getattr(module, name)

        def swapping(place: Path, real: Callable[[Path], digest.Seal] = real) -> digest.Seal:
            found = real(place)
            put(path, f"{before} ")
            return found

        monkeypatch.setattr(module, name, swapping)


CHANGES: dict[str, Callable[[Path], object]] = {
    "another content": lambda code: put(code / "index.js", "exports.handler = 2"),
    "one more file": lambda code: (code / "more.js").write_text(""),
    "one file less": lambda code: (code / "index.js").unlink(),
    "a link to another file": lambda code: (code / "link").symlink_to("index.js"),
    "a program": lambda code: (code / "index.js").chmod(0o755),
    "a pipe": lambda code: os.mkfifo(code / "pipe"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_code_that_was_swapped_after_it_was_hashed_is_not_judged(change: str, tmp_path: Path) -> None:
    write(tmp_path, {**assembly_files(), "asset.abc/index.js": "exports.handler = 1"})
    assembly = load_assembly(tmp_path)
    CHANGES[change](tmp_path / "asset.abc")
    said = r"asset\.abc(/pipe)?: (changed while it was judged|cannot be copied)"
    with pytest.raises(InputError, match=said):
        assembly.asset("abc.zip")


def test_what_is_too_deep_or_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, assembly_files())
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="more than 21,474,836,480 bytes"):
        load_assembly(tmp_path)
    with pytest.raises(InputError, match="more than 21,474,836,480 bytes"):
        snapshot.copy(tmp_path, tmp_path.with_name("copy"))
    (tmp_path / "sparse").unlink()
    monkeypatch.chdir(tmp_path)
    for _ in range(102):  # a path of its own for each would be too long
        os.mkdir("d")
        os.chdir("d")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nested more than 100 folders deep"):
        load_assembly(tmp_path)


def test_a_link_out_of_an_assembly_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, assembly_files())
    (tmp_path / "asset.abc" / "link").symlink_to("/proc")  # which holds what cannot be read
    assert load_assembly(tmp_path).sealed.seal.entries["asset.abc/link"] == ("link", "/proc")


def test_code_is_judged_by_a_copy_that_nobody_swaps(tmp_path: Path) -> None:
    write(tmp_path, {**assembly_files(), "asset.abc/index.js": "exports.handler = 1"})
    (tmp_path / "asset.abc" / "link").symlink_to("index.js")
    assembly = load_assembly(tmp_path)
    copy = assembly.asset("abc.zip")
    assert copy
    put(tmp_path / "asset.abc" / "index.js", "exports.handler = 2")
    assert assembly.changed({}).asset("abc.zip") == copy
    assert (copy / "link").read_text() == "exports.handler = 1"
    assert not copy.is_relative_to(tmp_path)


@contextmanager
def swapped(path: Path, *texts: str) -> Iterator[None]:
    """A file that changes all the time, from one text to the next."""
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for text in texts:
                put(path, text)

    writer = threading.Thread(target=swap)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def audits(options: Options, count: int = 30) -> list[Scorecard]:
    """Those that came to a verdict: some meet the file as it changes."""
    cards = []
    for _ in range(count):
        with suppress(InputError):
            cards.append(audit(options))
    assert cards
    return cards


def test_a_verdict_on_a_file_that_is_swapped_all_the_time_is_about_the_bytes_that_it_names(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"t.json": GREEN, "requirements.yaml": DOCUMENT})
    options = Options(
        template=tmp_path / "t.json",
        requirements=tmp_path / "requirements.yaml",
        skip_scanners=True,
        skip_handlers=True,
    )
    met = {sha256(GREEN): "pass", sha256(RED): "fail"}
    with swapped(tmp_path / "t.json", GREEN, RED):
        for card in audits(options):
            assert card.results[0].verdict.status == met[card.subject.digest]
    lax = DOCUMENT.replace("at_most: 300", "at_most: 900")
    put(tmp_path / "t.json", RED)
    met = {sha256(DOCUMENT): "fail", sha256(lax): "pass"}
    with swapped(tmp_path / "requirements.yaml", DOCUMENT, lax):
        for card in audits(options):
            assert card.document
            assert card.results[0].verdict.status == met[card.document.digest]


def test_a_seal_of_a_copy_is_that_of_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, {"a/b/c": "x", "d": "y"})
    (tmp_path / "d").chmod(0o755)
    files = {"a/b/c": sha256("x"), "d": sha256("y")}
    made = digest.Seal.of_files(files, frozenset({"d"}))
    assert made.entries == digest.seal_of(tmp_path).entries
    assert made.digest == digest.digest_of(tmp_path)
    assert made.digest != digest.Seal.of_files(files, frozenset()).digest
