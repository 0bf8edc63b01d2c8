"""Ranges of IP addresses, as templates and policies write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

Range: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


def range_of(text: str) -> Range | None:
    """The range that a text denotes; a single address is a range too. None for any other text.

    Bits beyond the prefix are ignored, as EC2 and IAM do: `10.0.0.1/8` is `10.0.0.0/8`.
    """
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The fewest ranges that have the same addresses: 0.0.0.0/1 and 128.0.0.0/1 are 0.0.0.0/0."""
    found: list[Range] = []
    for version in (4, 6):
        found += ipaddress.collapse_addresses(one for one in ranges if one.version == version)  # type: ignore[type-var]
    return found


def within(inner: Range | None, outer: Range | None) -> bool:
    """Whether a range is a part of another; False where either is None."""
    if inner is None or outer is None or inner.version != outer.version:
        return False
    return inner.subnet_of(outer)  # type: ignore[arg-type]
