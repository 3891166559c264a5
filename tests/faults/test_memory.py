"""Growth is told from warm-up and noise."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.faults.memory import Growth, Track, describe, find_growth


def make_track(memory: Callable[[int], float], samples: int = 100) -> Track:
    return Track("worker", [(float(n), memory(n)) for n in range(samples)])


def judge(memory: Callable[[int], float]) -> Growth:
    growth = find_growth(make_track(memory))
    assert growth is not None
    return growth


def test_a_steady_process_is_flat() -> None:
    assert judge(lambda n: 100 + n % 7).is_flat


def test_warm_up_is_no_growth() -> None:
    assert judge(lambda n: min(100, 20 + 5 * n)).is_flat


def test_a_leak_is_found() -> None:
    growth = judge(lambda n: 100 + 0.6 * n)

    assert not growth.is_flat
    assert growth.slope_mb_per_hour == pytest.approx(2160)


def test_too_little_is_not_judged() -> None:
    assert find_growth(make_track(lambda _: 1.0, samples=4)) is None
    assert find_growth(Track("worker")) is None


def test_a_process_is_looked_at_while_it_lives() -> None:
    track = Track("me")
    track.sample(1.0, os.getpid())
    track.sample(2.0, None)

    assert [at for at, _ in track.samples] == [1.0]
    assert track.samples[0][1] > 5


def test_the_table_names_what_grows() -> None:
    assert "NO" in describe([judge(lambda n: 100 + n)])
