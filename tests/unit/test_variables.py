"""Variables that look like ours, and those that a process cannot do without."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestratex.settings import Settings
from orchestratex.variables import find_missing, find_misspelt
from workers.needs import require_settings

BARE = Settings(mongodb_uri=None, redis_url=None, broker_url=None)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ORCHESTRATEX_PANELSIZE", "ORCHESTRATEX_PANEL_SIZE"),
        ("ORCHESTRATEX_MONGO_URI", "ORCHESTRATEX_MONGODB_URI"),
        ("ORCHESTRATEX_REDIS_URI", "ORCHESTRATEX_REDIS_URL"),
        ("orchestratex_loglevel", "ORCHESTRATEX_LOG_LEVEL"),
        ("ORCHESTRATEX_FLOWERPORT", "ORCHESTRATEX_FLOWER_PORT"),
    ],
)
def test_a_misspelt_name_is_told_with_what_was_meant(name: str, meant: str) -> None:
    assert find_misspelt({name: "value"}) == [f"{name} is no setting and does nothing; did you mean {meant}?"]


def test_what_resembles_nothing_is_told_all_the_same() -> None:
    assert find_misspelt({"ORCHESTRATEX_XYZZY": "1"}) == ["ORCHESTRATEX_XYZZY is no setting and does nothing"]


@pytest.mark.parametrize("name", [f"ORCHESTRATEX_{field.upper()}" for field in Settings.model_fields])
def test_every_setting_is_known(name: str) -> None:
    assert find_misspelt({name: "x", name.lower(): "x"}) == []


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "ORCHESTRATEX_PROFILES", "ORCHESTRATEX_SANDBOX_PORT", "PATH", "ORCHESTRATE"]
)
def test_other_names_are_left_alone(name: str) -> None:
    assert find_misspelt({name: "x"}) == []


def test_a_misspelt_file_of_secrets_is_told(tmp_path: Path) -> None:
    (tmp_path / "orchestratex_mongodb_url").write_text("mongodb://secret@db")
    (tmp_path / "openai_api_key").write_text("k")

    (line,) = find_misspelt({"ORCHESTRATEX_SECRETS_DIR": str(tmp_path)})

    assert "did you mean ORCHESTRATEX_MONGODB_URI?" in line
    assert "secret" not in line


def test_what_is_missing_is_told_with_what_was_misspelt() -> None:
    told = find_missing(("mongodb_uri", "redis_url"), {"ORCHESTRATEX_MONGO_URI": "x"}, BARE) or ""

    assert told.startswith("ORCHESTRATEX_MONGODB_URI and ORCHESTRATEX_REDIS_URL are not set; ")
    assert "ORCHESTRATEX_MONGO_URI is no setting" in told
    assert "`orchestratex up`" in told


def test_nothing_is_missing_where_all_is_set() -> None:
    assert find_missing(("home",), {}, Settings(home="/x")) is None


@pytest.mark.parametrize("settings", [BARE])
def test_a_worker_without_addresses_ends_with_a_line(settings: Settings) -> None:
    from celery.signals import beat_init, celeryd_init

    before = [list(signal.receivers) for signal in (celeryd_init, beat_init)]
    require_settings(settings)
    try:
        with pytest.raises(SystemExit, match="ORCHESTRATEX_MONGODB_URI and ORCHESTRATEX_REDIS_URL are not set"):
            celeryd_init.receivers[-1][1](sender="worker")
        with pytest.raises(SystemExit, match="ORCHESTRATEX_REDIS_URL is not set"):
            beat_init.receivers[-1][1](sender="beat")
    finally:
        celeryd_init.receivers[:], beat_init.receivers[:] = before
