"""Times that handlers write, told from texts that tell none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from compliance.cel import Failed
from compliance.handlers.effects import moment
from compliance.handlers.functions import time_of
from compliance.json_data import JSON

MOMENT = datetime(2031, 7, 8, 0, 21, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2031-07-08T00:21:10Z",
        "2031-07-08 00:21:10+00:00",
        "Tue, 08 Jul 2031 00:21:10 GMT",
        "Tue Jul 08 2031 00:21:10 GMT+0000",
        str(int(MOMENT.timestamp())),
        str(int(MOMENT.timestamp() * 1000)),
    ],
)
def test_a_time_is_told_in_every_spelling(text: str) -> None:
    assert moment(text) == MOMENT


@pytest.mark.parametrize("value", [None, True, "", " ", "x", "now", "Tue", "Tue,", "NaN", "-", [], {}])
def test_what_tells_no_time_fails_and_breaks_nothing(value: JSON) -> None:
    with pytest.raises(Failed, match="tells no time"):
        time_of(value)
