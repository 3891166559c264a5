from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestratex.local.environment import AUDIENCES, base_environment, select_environment
from orchestratex.local.processes import LINES
from orchestratex.settings import Settings

KEYS = {"OPENAI_API_KEY": "k1", "GEMINI_API_KEY": "k2", "ORCHESTRATEX_MISTRAL_API_KEY": "k3", "xai_api_key": "k4"}
SECRETS = {
    **KEYS,
    "ORCHESTRATEX_MONGODB_URI": "mongodb://u:s1@h/",
    "ORCHESTRATEX_REDIS_URL": "redis://u:s2@h/0",
    "ORCHESTRATEX_SENTINEL_PASSWORD": "s3",
    "ORCHESTRATEX_MODELS_API_KEY": "k5",
    "ORCHESTRATEX_PROXY": "http://u:s4@proxy",
}
FOREIGN = {"AWS_SECRET_ACCESS_KEY": "f1", "GITHUB_TOKEN": "f2", "DATABASE_URL": "f3", "CELERY_BROKER_URL": "f4"}
CALLING = set(SECRETS)
EXPECTED = {
    "worker": CALLING,
    "control": CALLING,
    "api": {"ORCHESTRATEX_MONGODB_URI", "ORCHESTRATEX_REDIS_URL", "ORCHESTRATEX_SENTINEL_PASSWORD"},
    "beat": {"ORCHESTRATEX_REDIS_URL", "ORCHESTRATEX_SENTINEL_PASSWORD"},
    "flower": {"ORCHESTRATEX_REDIS_URL", "ORCHESTRATEX_SENTINEL_PASSWORD"},
    "sandbox": set(),
}


@pytest.mark.parametrize("kind", LINES)
def test_each_type_of_process_gets_the_secrets_that_it_uses_and_no_others(kind: str) -> None:
    given = select_environment(kind, {**SECRETS, **FOREIGN, "PATH": "/bin"})

    assert set(given) - {"PATH"} == EXPECTED[kind]


def test_servers_get_no_setting_at_all() -> None:
    environ = {**SECRETS, **FOREIGN, "ORCHESTRATEX_LOG_LEVEL": "INFO", "PATH": "/bin", "LC_ALL": "C.UTF-8"}

    assert base_environment(environ) == {"PATH": "/bin", "LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("kind", ["api", "worker", "control", "beat", "flower"])
def test_settings_that_are_no_secrets_reach_every_process_that_reads_settings(kind: str) -> None:
    plain = {"ORCHESTRATEX_LOG_LEVEL": "DEBUG", "ORCHESTRATEX_RECONCILE_S": "3", "ORCHESTRATEX_PROFILES": "/p.toml"}
    needed = {"SSL_CERT_FILE": "/ca.pem", "PYTHONPATH": "/src", "TZ": "UTC", "LD_PRELOAD": "/libfaketime.so"}

    assert select_environment(kind, plain | needed) == plain | needed


def test_files_in_the_directory_of_secrets_go_to_the_readers_of_their_settings(tmp_path: Path) -> None:
    (tmp_path / "openai_api_key").write_text("sk-secret\n")
    (tmp_path / "orchestratex_mongodb_uri").write_text("mongodb://ox:secret@db\n")
    (tmp_path / "ORCHESTRATEX_MAX_THREADS").write_text("7")
    environ = {"ORCHESTRATEX_SECRETS_DIR": str(tmp_path), "ORCHESTRATEX_MAX_THREADS": "9"}

    assert select_environment("worker", environ) == environ
    assert select_environment("api", environ) == {
        "ORCHESTRATEX_MONGODB_URI": "mongodb://ox:secret@db",
        "ORCHESTRATEX_MAX_THREADS": "9",
    }
    assert select_environment("beat", environ) == {"ORCHESTRATEX_MAX_THREADS": "9"}
    assert select_environment("sandbox", environ) == {}


def test_the_redis_of_the_limits_is_not_for_beat_and_flower_where_another_broker_is_set() -> None:
    environ = {"ORCHESTRATEX_REDIS_URL": "redis://:s@h/0", "ORCHESTRATEX_BROKER_URL": "amqp://u:s@h/v"}

    assert set(select_environment("api", environ)) == set(environ)
    assert set(select_environment("beat", environ)) == {"ORCHESTRATEX_BROKER_URL"}
    assert set(select_environment("flower", environ)) == {"ORCHESTRATEX_BROKER_URL"}


def test_variables_of_one_process_are_its_own() -> None:
    environ = {"FLOWER_BASIC_AUTH": "u:p", "ORCHESTRATEX_SANDBOX_ADMIN_KEY": "s"}

    assert set(select_environment("flower", environ)) == {"FLOWER_BASIC_AUTH"}
    assert set(select_environment("sandbox", environ)) == {"ORCHESTRATEX_SANDBOX_ADMIN_KEY"}
    assert select_environment("worker", environ) == {}


def test_somebody_has_decided_who_gets_each_secret_setting() -> None:
    secret = {
        name
        for name, info in Settings.model_fields.items()
        if SecretStr in getattr(info.annotation, "__args__", (info.annotation,)) or name.endswith(("_uri", "redis_url"))
    }

    assert secret | {"broker_url", "proxy", "secrets_dir"} == set(AUDIENCES)
