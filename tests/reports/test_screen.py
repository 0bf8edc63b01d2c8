"""Styled lines, wrapped as a terminal would show them."""

from __future__ import annotations

import re

import pytest

from compliance.reports.screen import Screen, cells


def lines(text: str, width: int, colour: bool = False) -> list[str]:
    screen = Screen(width, colour)
    screen.line((text, "bold red"))
    return screen.text.splitlines()


def test_a_line_breaks_at_spaces_and_in_words_wider_than_it() -> None:
    assert lines("one two three four", 16) == ["one two three", "four"]
    assert lines("a " + "b" * 20 + " c", 16) == ["a", "b" * 16, "bbbb c"]
    assert lines("first\n  second", 16) == ["first", "  second"]
    assert lines("", 16) == [""]


@pytest.mark.parametrize(
    "text", ["注文" * 20, "größe 注文 " * 9, "e\u0301" * 40, "x" * 99, " " * 40, "a\tb " * 20]
)
@pytest.mark.parametrize("width", [16, 17, 40])
def test_no_line_is_wider_than_the_screen_and_nothing_is_lost(text: str, width: int) -> None:
    found = lines(text, width)
    assert max(map(cells, found)) <= width
    assert "".join(found).replace(" ", "").replace("\t", "") == text.replace(" ", "").replace("\t", "")


def test_styles_go_with_their_text_over_a_break() -> None:
    found = lines("one two three four", 16, colour=True)
    assert found == ["\x1b[1;31mone two three\x1b[0m", "\x1b[1;31mfour\x1b[0m"]


def test_columns_stand_beside_each_other() -> None:
    screen = Screen(20)
    screen.labelled("found", "one two three four")
    screen.row([["注"], ["x"]], [4, 2], gap=2)
    assert screen.text.splitlines() == ["   found one two", "         three four", "注    x"]
    assert not re.search(r"\s$", screen.text.rstrip("\n"), re.M)
