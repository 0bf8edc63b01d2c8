"""The times at which a function is invoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from compliance.handlers.events import Draw

DAYS, MONTHS = (7, 8, 9), range(2, 9)  # see Draw.day
MORNING, EVENING = range(5, 105), range(23 * 60 + 5, 23 * 60 + 51)  # in minutes of a day


class Moments:
    """One rising sequence of times for a function, so that what its container remembers grows old.

    Each is soon after midnight or before it, at which mistakes with dates show, and twenty minutes at least
    after the one before: a circuit breaker that is open for a while is closed again, and a cache expires.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        year = draw.number(2026, 2027)
        self._last_year = draw.early(datetime(year - 1, 12, draw.number(26, 29), tzinfo=UTC))
        self._last = datetime(year, draw.number(1, 6), 28, tzinfo=UTC)

    def year_end(self) -> datetime:
        """A time at the end of a year, before all those of `next`: days later, month and year are others."""
        self._last_year = self._soon_after(self._last_year)
        return self._last_year

    def next(self, *, late: bool | None = None, span: timedelta = timedelta()) -> datetime:
        """The next time.

        Args:
            late: before midnight, or else after it; None: drawn.
            span: how long what happens then may take. The time after it is later.
        """
        at = self._soon_after(self._last)
        moves_on = late is None and self._draw.number(1, 4) == 1
        if moves_on or not _shows_mistakes(at, late):
            at = self._window_after(at, late)
        self._last = at + span
        return at

    def _soon_after(self, at: datetime) -> datetime:
        return at + timedelta(minutes=self._draw.number(20, 25), seconds=self._draw.number(0, 59))

    def _window_after(self, at: datetime, late: bool | None) -> datetime:
        day = at.replace(hour=0, minute=0, second=0)
        while True:
            if _is_good(day):
                if late is not True and day > at:
                    return self._draw.early(day)
                if late is not False and day + timedelta(hours=23) > at:
                    return self._draw.late(day)
            day += timedelta(days=1)


def _is_good(day: datetime) -> bool:
    return day.day in DAYS and day.month in MONTHS


def _shows_mistakes(at: datetime, late: bool | None) -> bool:
    minute = at.hour * 60 + at.minute
    windows = [MORNING] * (late is not True) + [EVENING] * (late is not False)
    return _is_good(at) and any(minute in window for window in windows)
