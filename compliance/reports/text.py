"""What the reports say alike."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.model import Evidence, Result, Scorecard, Status


def scores(card: Scorecard) -> Iterator[tuple[str, int, int]]:
    """Title, met and total of each category, and of all but hardening where there is any."""
    yield from ((c.title, c.met, c.total) for c in card.categories if not c.hardening)
    yield ("Requirements", *_sum(card, hardening=False))
    yield from ((c.title, c.met, c.total) for c in card.categories if c.hardening)


def totals(card: Scorecard) -> str:
    """`46/46 requirements, 17/17 hardening`."""
    met, total = _sum(card, hardening=False)
    hardened, hardening = _sum(card, hardening=True)
    return f"{met}/{total} requirements" + (f", {hardened}/{hardening} hardening" if hardening else "")


def _sum(card: Scorecard, *, hardening: bool) -> tuple[int, int]:
    own = [c for c in card.categories if c.hardening is hardening]
    return sum(c.met for c in own), sum(c.total for c in own)


def unmet(card: Scorecard) -> list[Result]:
    """What failed, then what was not assessed, each in the document's order."""
    failed = [r for r in card.results if r.verdict.status is Status.FAIL]
    return failed + [r for r in card.results if r.verdict.status is Status.NOT_ASSESSED]


def place(item: Evidence) -> str:
    """Where something was found, on one line: resource and property, construct path, source line."""
    resource = ".".join(filter(None, (item.logical_id, item.property)))
    return "  ".join(filter(None, (resource, item.construct_path, item.source))) or "the assembly"
