from compliance.text import one_line, printable, shortened, truncated


def test_text_is_cut_at_its_limit() -> None:
    assert truncated("abcd", 4) == "abcd"
    assert truncated("abcde", 4) == "abc…"
    assert shortened("abcde", 4) == "abcd… (1 more characters)"


def test_text_gives_no_commands() -> None:
    assert printable("a\x1b[2Jb‮\n") == "a\\x1b[2Jb\\u202e\n"
    assert one_line("a\n  b\tc ") == "a b c"
