"""Makes docs/report.png: the HTML report of the reviewed stack in a browser, without its lists."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import chromium

from compliance.auditing import Options, audit
from compliance.reports import html

ROOT = Path(__file__).resolve().parent.parent
SIZE = {"width": 1180, "height": 1028}


def main() -> None:
    executable = chromium.find()
    if executable is None:
        sys.exit("no Chromium here (Debian: apt-get install chromium)")
    card = audit(Options(app="python tests/fixtures/flawed/app.py", folder=ROOT, skip_scanners=True))
    with TemporaryDirectory() as folder, chromium.tab(executable) as tab:
        page = Path(folder, "report.html")
        page.write_text(html.render(card, ROOT), encoding="utf-8")
        tab.show(page, **SIZE)
        for section in ("requirements", "findings"):
            tab.run(f"document.querySelector('section[aria-labelledby={section}]').remove()")
        target = ROOT / "docs" / "report.png"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(tab.screenshot())


if __name__ == "__main__":
    main()
