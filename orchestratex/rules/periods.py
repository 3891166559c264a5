"""The calendar of metrics, in UTC. A window is half open: its start belongs to it, its end to the next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestratex.domain.base import Period


def start_period(period: Period, moment: datetime) -> datetime:
    """Return the start of the window that holds the moment: the full hour, midnight, Monday, the first of the month."""
    hour = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    starts: dict[Period, datetime] = {
        Period.HOURLY: hour,
        Period.DAILY: day,
        Period.WEEKLY: day - timedelta(days=day.weekday()),
        Period.MONTHLY: day.replace(day=1),
    }
    return starts[period]


def end_period(period: Period, start: datetime) -> datetime:
    """Return the end of the window that begins at `start`, which is the start of the next one."""
    if period is Period.MONTHLY:
        return start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start + {Period.HOURLY: timedelta(hours=1), Period.DAILY: timedelta(days=1)}.get(period, timedelta(weeks=1))
