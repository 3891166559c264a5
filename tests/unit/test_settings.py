from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestratex.settings import Settings


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("ORCHESTRATEX_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ORCHESTRATEX_SECRETS_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("spell", [str.lower, str.upper], ids=["small letters", "capitals"])
def test_every_setting_may_stand_in_a_file(secrets: Path, spell: type[str]) -> None:
    for name, value in {
        "ORCHESTRATEX_MONGODB_URI": "mongodb://ox:word@db/\n",
        "ORCHESTRATEX_REDIS_URL": "redis://ox:word@cache:6379/0",
        "ORCHESTRATEX_MODELS_API_KEY": "sk-gateway\n",
        "OPENAI_API_KEY": "sk-1\n",
        "GEMINI_API_KEY": "g-2",
    }.items():
        (secrets / spell(name)).write_text(value)

    settings = Settings()

    assert settings.mongodb_uri == "mongodb://ox:word@db/"
    assert settings.redis_url == "redis://ox:word@cache:6379/0"
    assert settings.models_api_key is not None
    assert settings.models_api_key.get_secret_value() == "sk-gateway"
    assert {name: key.get_secret_value() for name, key in settings.provider_keys().items()} == {
        "openai": "sk-1",
        "google": "g-2",
    }


def test_a_variable_wins_over_its_file(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "orchestratex_mongodb_uri").write_text("mongodb://file/")
    monkeypatch.setenv("ORCHESTRATEX_MONGODB_URI", "mongodb://variable/")

    assert Settings().mongodb_uri == "mongodb://variable/"


def test_a_key_whose_file_is_empty_is_not_set(secrets: Path) -> None:
    (secrets / "openai_api_key").write_text("\n")

    assert Settings().provider_keys() == {}


def test_files_of_others_are_left_alone(secrets: Path) -> None:
    (secrets / "mongo_keyfile").write_bytes(b"\xff\xfe")
    (secrets / "kubernetes.io").mkdir()

    assert Settings().secrets_dir == str(secrets)


def test_a_directory_that_is_not_there_is_named(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATEX_SECRETS_DIR", str(secrets / "nope"))

    with pytest.raises(ValidationError, match=r"secrets_dir\n.*nope cannot be read: No such file"):
        Settings()


def test_a_file_that_is_no_text_is_named_and_not_repeated(secrets: Path) -> None:
    (secrets / "openai_api_key").write_bytes(b"sk-secret\xff")

    with pytest.raises(ValidationError, match=r"openai_api_key is not UTF-8") as caught:
        Settings()

    assert "sk-secret" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(secrets: Path) -> None:
    (secrets / "openai_api_key").write_text("sk-1")
    (secrets / "openai_api_key").chmod(0)

    with pytest.raises(ValidationError, match=r"openai_api_key cannot be read: Permission denied"):
        Settings()


def test_without_the_directory_no_file_is_read(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "openai_api_key").write_text("sk-1")
    monkeypatch.delenv("ORCHESTRATEX_SECRETS_DIR")
    monkeypatch.chdir(secrets)

    assert Settings().provider_keys() == {}


def test_a_level_of_logging_that_there_is_not_is_refused(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATEX_LOG_LEVEL", "loud")

    with pytest.raises(ValidationError, match="must be one of DEBUG, INFO"):
        Settings()


def test_levels_of_logging_may_be_written_small(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATEX_LOG_LEVEL", "warning")

    assert Settings().log_level == "WARNING"
