"""The ids that the order pipeline's document must have: a document with fewer would also be green."""

from __future__ import annotations

from compliance.document.requirements import Document

TITLE = "The order pipeline"
COUNTS = {"ARC": 10, "SRV": 8, "ERR": 5, "SEC": 7, "MON": 3, "DAT": 6, "NAM": 7, "HRD": 27}
IDS = tuple(f"{chapter}-{number:02}" for chapter, count in COUNTS.items() for number in range(1, count + 1))


def missing(document: Document) -> str | None:
    """A message that names the requirements deleted from the order pipeline's document; None without any."""
    gone = [id_ for id_ in IDS if id_ not in document.by_id] if document.title == TITLE else []
    if not gone:
        return None
    names = ", ".join(gone)
    return f"{document.path.name}: {len(gone)} of the order pipeline's requirements are missing: {names}"
