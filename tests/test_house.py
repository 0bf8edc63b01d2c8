"""The layout of the repository: what a newcomer finds where."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_top_of_the_package_is_small() -> None:
    files = [path.name for path in (ROOT / "compliance").iterdir() if path.is_file()]
    assert len(files) <= 12, sorted(files)


def test_every_room_of_the_package_is_described() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / "compliance").glob("*/__init__.py")}
    assert not {room for room in rooms if f"`{room}/`" not in page}


def test_the_site_builds_without_a_broken_link(tmp_path: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "architecture" / "index.html").is_file()
