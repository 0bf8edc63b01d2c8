"""What is remembered is believed only if this very folder's owner wrote it for this very key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from compliance.template import cache

ONE, OTHER = cache.key_of({"input": 1}), cache.key_of({"input": 2})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a" / "cache"
    cache.store(made, ONE, {"found": [1]})
    return made


def loaded(folder: Path, key: str = ONE) -> object:
    return cache.load(folder, key, dict[str, list[int]])


def test_what_is_stored_comes_back_by_its_key_alone(folder: Path) -> None:
    assert loaded(folder) == {"found": [1]}
    assert loaded(folder, OTHER) is None
    assert loaded(folder.parent / "nowhere") is None


def test_only_the_owner_reads_it(folder: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def entry(folder: Path, key: str = ONE) -> Path:
    return folder / f"{key}.json"


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'\n{"found": []}', b'0\n{"found": []}', b"\xc3\n{}"],
)
def test_an_entry_without_its_signature_is_none(folder: Path, content: bytes) -> None:
    entry(folder).write_bytes(content)
    assert loaded(folder) is None


def test_a_changed_entry_and_one_of_another_key_are_none(folder: Path) -> None:
    entry(folder, OTHER).write_bytes(entry(folder).read_bytes())
    assert loaded(folder, OTHER) is None
    entry(folder).write_bytes(entry(folder).read_bytes().replace(b"[1]", b"[]"))
    assert loaded(folder) is None
    cache.store(folder, ONE, {"found": [2]})
    assert loaded(folder) == {"found": [2]}


def test_entries_from_another_machine_are_none(folder: Path, tmp_path: Path) -> None:
    cache.store(tmp_path, OTHER, {"found": []})
    entry(tmp_path).write_bytes(entry(folder).read_bytes())
    assert loaded(tmp_path) is None


def test_an_entry_of_another_type_is_none(folder: Path) -> None:
    assert cache.load(folder, ONE, dict[str, str]) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_secret_that_others_may_have_read_signs_nothing_and_is_made_anew(folder: Path, mode: int) -> None:
    secret = folder / "secret"
    old = secret.read_bytes()
    secret.chmod(mode)
    assert loaded(folder) is None
    cache.store(folder, ONE, {"found": [3]})
    assert loaded(folder) == {"found": [3]}
    assert (secret.read_bytes() != old, secret.stat().st_mode & 0o777) == (True, 0o600)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    entry(folder).unlink()
    os.mkfifo(entry(folder), 0o600)
    assert loaded(folder) is None
    (folder / "secret").unlink()
    os.mkfifo(folder / "secret", 0o600)
    cache.store(folder, OTHER, {"found": [2]})
    assert loaded(folder, OTHER) == {"found": [2]}, "the secret is made anew"


def test_a_short_secret_or_a_link_to_one_signs_nothing(folder: Path) -> None:
    secret = folder / "secret"
    secret.rename(folder / "real")
    secret.symlink_to("real")
    assert loaded(folder) is None
    secret.unlink()
    secret.touch(0o600)
    assert loaded(folder) is None


def test_a_cache_that_cannot_be_written_to_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    cache.store(file, ONE, 1)
    assert cache.load(file, ONE, int) is None
    assert cache.seed(file) != cache.seed(file)


def test_a_cache_draws_the_same_and_no_cache_never(folder: Path, tmp_path: Path) -> None:
    assert cache.seed(folder) == cache.seed(folder)
    assert cache.seed(folder) != cache.seed(tmp_path / "new")
    assert cache.seed(None) != cache.seed(None)


def test_it_is_bounded_and_keeps_what_is_asked_for_and_what_is_not_its_own(tmp_path: Path) -> None:
    for number in range(10):
        file = tmp_path / f"{number}.json"
        file.write_bytes(b"x" * 100)
        os.utime(file, (number, number))
    for name in ("secret", "notes.txt"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    cache.limit_size(tmp_path, 1000)
    assert len(list(tmp_path.glob("*.json"))) == 10, "no more than the bound"
    cache.limit_size(tmp_path, 999)
    assert sorted(file.stem for file in tmp_path.iterdir()) == ["6", "7", "8", "9", "notes", "secret"]
