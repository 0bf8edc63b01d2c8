"""JSON in texts that hold references."""

from __future__ import annotations

import json

import pytest

from compliance.template.intrinsics import Pseudo, join
from compliance.template.json_text import parsed

REGION = Pseudo("AWS::Region")


@pytest.mark.parametrize("odd", ["\ue0007\ue001", "\ue0000\ue001", "\ue000", '"', "\\", '\\"'])
def test_private_characters_and_escapes_are_text(odd: str) -> None:
    for text in (json.dumps([odd]), json.dumps([odd], ensure_ascii=False)):
        assert parsed(text) == [odd]
        before, after = text[:-2], text[-2:]
        with_references = join([before, REGION, after[:1], ", ", REGION, "]"])
        assert parsed(with_references) == [join([odd, REGION]), REGION]
