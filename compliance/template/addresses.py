"""Ranges of IP addresses: the one place that reads them."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

Range: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def range_of(text: str) -> Range | None:
    """The range that a text is, without bits beyond its length; an address is one of one. None for others."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def within(inner: Range | None, outer: Range | None) -> bool:
    """Whether a range is a part of another; nothing is, or has, where a text is no range."""
    if inner is None or outer is None or inner.version != outer.version:
        return False
    return inner.subnet_of(outer)  # type: ignore[arg-type]
