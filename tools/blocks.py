"""The parts of a page of docs/ that a command writes."""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parents[1] / "docs" / "tests.md"


def put(page: Path, command: str, name: str, text: str) -> None:
    """Writes the text between `<!-- Name: made by `command`. -->` and `<!-- End of name. -->`."""
    begin, end = f"<!-- {name}: made by `{command}`. -->", f"<!-- End of {name.lower()}. -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")
