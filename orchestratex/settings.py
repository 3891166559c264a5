"""The validated environment: every variable starts with ORCHESTRATEX_, except the providers' own key names.

Each may stand in a file instead, in the directory that ORCHESTRATEX_SECRETS_DIR names: the file has the variable's
name, in capitals or not, and holds its value. A variable that is set wins over its file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]

_REDIS_SCHEMES = ("redis", "rediss", "sentinel")
_ORIGIN = re.compile(r"[a-z][a-z0-9_-]*=https?://(?:[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?/?")
_BROKER_SCHEMES = (*_REDIS_SCHEMES, "amqp", "amqps")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SECRETS_DIR = "ORCHESTRATEX_SECRETS_DIR"
_OUR_FILE = re.compile(r"orchestratex_\w+|\w+_api_key", re.IGNORECASE)


class Settings(BaseSettings):
    """Defaults are for one machine; each has the reason for its value beside it."""

    model_config = SettingsConfigDict(
        env_prefix="ORCHESTRATEX_",
        env_file=None,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # addresses hold passwords
    )

    # files that hold settings, as containers mount secrets (/run/secrets): the environment can be read in many places
    secrets_dir: str | None = None

    # services; unset: the local stack of this machine
    mongodb_uri: str | None = None
    mongodb_database: str = "orchestratex"
    redis_url: str | None = None  # limits and breakers; redis://, rediss:// (certificates are checked) or sentinel://
    broker_url: str | None = None  # None: that Redis; or another of its kinds, or RabbitMQ: amqp://, amqps://
    sentinel_master: str = "mymaster"  # which master to ask Sentinels for; the name in Redis' own example
    sentinel_password: SecretStr | None = None  # of the Sentinels themselves; the address holds the master's
    home: str | None = None  # data of the local stack; None: the user's data directory

    # the HTTP door: loopback only, until keys exist
    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    api_in_container: bool = False  # any api_host is then inside: what the container publishes decides who reaches it

    # /sandbox/* of the sandbox, its faults and its ledger, want this as a bearer token; None: nobody gets there
    sandbox_admin_key: SecretStr | None = None

    # models: one address and key for all of them (a gateway, the sandbox); None: each profile's own endpoint
    models_base_url: str | None = None
    models_api_key: SecretStr | None = None
    openai_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("OPENAI_API_KEY"))
    anthropic_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_API_KEY"))
    xai_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("XAI_API_KEY"))
    alibaba_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DASHSCOPE_API_KEY"))
    meta_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("LLAMA_API_KEY"))
    mistral_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("MISTRAL_API_KEY"))
    openrouter_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("OPENROUTER_API_KEY"))
    google_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("GEMINI_API_KEY"))

    # the providers that have a key where calls are made, comma-separated: for a process that submits and makes no call
    keyed_providers: str = ""
    # further origins that a provider's key may go to, beside its own ones in providers/origins.py: `openai=https://gw:8443
    # mistral=http://127.0.0.1:9000`. A setting, since whoever can write profiles could send the keys anywhere
    key_origins: str | None = None

    # a TOML file of profiles that init-db loads: what a deployment states about its models stays in its own repository,
    # and wins over `models edit` in the fields that it names; None: the shipped eight
    profiles_file: str | None = Field(
        default=None, validation_alias=AliasChoices("ORCHESTRATEX_PROFILES", "profiles_file")
    )

    proxy: str | None = None  # the address of a proxy for all calls to providers; none is read from elsewhere

    # calls
    connect_timeout_s: Seconds = 5  # a provider that does not answer a handshake in this time is down
    call_timeout_s: Seconds = 120  # reading: long answers of slow models take about a minute
    call_attempts: int = Field(default=4, ge=1, le=20)  # sends per call before its model is given up
    backoff_s: Seconds = 1  # first wait after a provider's error; doubles, with full jitter
    backoff_max_s: Seconds = 30
    # a server that refuses connections may be restarting, which takes a minute: an answer waits for it so long before
    # another model is asked (for ever where there is none), an evaluation as long as its panel has time
    refused_patience_s: Seconds = 15
    max_response_bytes: int = Field(default=8_000_000, ge=1000)  # more than this is not an answer
    answer_max_tokens: int = Field(default=2048, ge=16)  # an answer or a revision
    evaluation_max_tokens: int = Field(default=1024, ge=16)
    # how hard models think where nobody says: none, low, medium or high; unset: as each does by itself. More effort is
    # more output to pay for: a thinking model's call allows at least 4,096 (low), 8,192 or 16,384 (high) tokens
    effort: Literal["none", "low", "medium", "high"] | None = None
    # what a model thinks of its own answer: call asks for it beside the panel, and nothing waits for it; off leaves
    # confidence_score and self_assessment unknown, and saves a short call an iteration
    assessments: Literal["call", "off"] = "call"

    # evaluators of a thread that names none: the cheapest, of different providers. Four cheap ones find what seven find
    # for a quarter of the money; more of them pay where single evaluators are poor
    panel_size: int = Field(default=4, ge=1, le=100)
    # scales the bonus that lets little tried models answer now and then, so that something is learnt of them; 0: the
    # model that is known or claims to be best always answers
    exploration: float = Field(default=1.0, ge=0, le=10)

    # budgets in US dollars for one UTC day, beside the sessions' own limits; None = no limit
    user_daily_limit: float | None = Field(default=None, ge=0)
    daily_limit: float | None = Field(default=None, ge=0)  # of the whole installation
    probe_daily_limit: float = Field(default=1.0, ge=0)  # of health probes that have to make a real call
    useful_answer_tokens: int = Field(default=256, ge=1)  # a budget that leaves less output than this stops the loop

    # leases; together they mend a crash within 30 s, and a MongoDB election of about 12 s costs no lease
    lease_s: Seconds = 20
    heartbeat_s: Seconds = 5
    reconcile_s: Seconds = 5
    resend_s: Seconds = 10  # due work that nobody claimed is sent again after this
    crash_cap: int = Field(default=4, ge=1)  # a step that killed its worker this often is quarantined
    step_deadline_s: Seconds = 120  # a step that computes has hung; a call may take so much beside its own time
    quorum_deadline_s: Seconds = 60  # evaluators under way so long after the panel opened are stragglers
    quorum: float = Field(default=0.5, gt=0, le=1)  # this share of the panel is enough to leave stragglers behind
    panel_deadline_s: Seconds = 180  # all are left behind: one slow call and its retry
    thread_deadline_s: Seconds = 3600  # nobody waits longer for an answer; a thread may ask for less

    # back-pressure: threads in flight. More than this only wait for each other: a worker process has 64 calls in
    # flight, and every reconcile looks at all of them
    max_threads: int = Field(default=2000, ge=1)  # of the whole installation
    max_user_threads: int | None = Field(default=None, ge=1)  # of each user; None = no bound of its own
    # above a bound: refuse tells the caller at once (429 over HTTP), who knows best whether to wait; queue takes the
    # thread in and lets it stand in line
    when_full: Literal["refuse", "queue"] = "refuse"

    # sessions and measuring
    session_idle_s: Seconds = 1800  # a session without a running thread for this long has ended
    measure_s: Seconds = 60
    probe_s: Seconds = 60
    probe_timeout_s: Seconds = 20  # who cannot say yes in this time is not well, and control has other work

    # retention, in days; 0: kept. Ended threads go whole, with all that belongs to them. Metrics stay, but hours
    # so old are not rolled up again
    retention_days: float = Field(default=0, ge=0)
    log_retention_days: float = Field(default=30, ge=0)  # events are most of the documents, and about what is running

    # workers
    worker_concurrency: int = Field(default=64, ge=1)  # calls in flight in one worker process (threads)
    control_concurrency: int = Field(default=2, ge=1)  # processes: they compute, they do not wait
    broker_prefix: str = "ox:"  # of our keys in Redis; on RabbitMQ the virtual host in the address isolates
    # control: what runs at SIGTERM has this long, then it is handed back. Steps take ms; Celery waits all of it
    # and is deaf to the broker meanwhile, so it stays below RabbitMQ's heartbeat of 20 s
    control_shutdown_s: Seconds = 5

    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"  # json: an object a line, for programs that collect logs
    fault_points: str | None = None  # tests only: a directory of orders, see faultpoints.py

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is none
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours is named by a variable
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments first, then the environment, then the files."""
        directory = os.environ.get(_SECRETS_DIR)
        if not directory or _find_secrets_problem(directory):
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, secrets_dir=directory)

    @field_validator("secrets_dir")
    @classmethod
    def _check_secrets(cls, directory: str | None) -> str | None:
        """A key that cannot be read would otherwise be taken for one that is not set."""
        problem = _find_secrets_problem(directory) if directory else None
        if problem:
            raise ValueError(problem)
        return directory

    @field_validator("log_level")
    @classmethod
    def _check_level(cls, level: str) -> str:
        """Logging would refuse it later, in every process, with a traceback."""
        if level.upper() not in _LOG_LEVELS:
            raise ValueError(f"must be one of {', '.join(_LOG_LEVELS)}")
        return level.upper()

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _check_scheme(cls, url: str | None, info: ValidationInfo) -> str | None:
        """A typo would otherwise be found by the first message."""
        allowed = _REDIS_SCHEMES if info.field_name == "redis_url" else _BROKER_SCHEMES
        if url is not None and url.partition("://")[0] not in allowed:
            raise ValueError(f"the address must start with one of {', '.join(f'{each}://' for each in allowed)}")
        if url is not None and not all(map(_is_readable, url.split(";"))):
            raise ValueError(
                "the address cannot be read: a port is a number from 1 to 65535, a Redis database one from 0; "
                "in passwords write / as %2F, : as %3A, @ as %40, # as %23, ? as %3F"
            )
        return url

    @field_validator("key_origins")
    @classmethod
    def _check_origins(cls, text: str | None) -> str | None:
        """A typo would otherwise be found as a missing key."""
        for each in re.split(r"[\s,]+", text.strip()) if text and text.strip() else ():
            if not _ORIGIN.fullmatch(each) or not _is_readable(each.partition("=")[2]):
                raise ValueError(
                    "write PROVIDER=ORIGIN, several with spaces between them; an origin is https:// or http://, a host "
                    "and perhaps a port, as in openai=https://gateway.example:8443"
                )
        return text

    def further_origins(self) -> dict[str, tuple[str, ...]]:
        """The origins that `key_origins` adds, by provider."""
        pairs = [each.partition("=") for each in re.split(r"[\s,]+", self.key_origins or "") if each]
        return {name: tuple(url for other, _, url in pairs if other == name) for name, _, _ in pairs}

    def provider_keys(self) -> dict[str, SecretStr]:
        """The keys that are set, by provider."""
        keys = {
            "openai": self.openai_api_key,
            "anthropic": self.anthropic_api_key,
            "xai": self.xai_api_key,
            "alibaba": self.alibaba_api_key,
            "meta": self.meta_api_key,
            "mistral": self.mistral_api_key,
            "google": self.google_api_key,
            "openrouter": self.openrouter_api_key,
        }
        return {provider: key for provider, key in keys.items() if key and key.get_secret_value()}

    def providers_with_key(self) -> frozenset[str]:
        """The providers whose key is set, here or, by `keyed_providers`, where calls are made."""
        named = (name.strip() for name in self.keyed_providers.split(","))
        return frozenset(self.provider_keys()) | frozenset(filter(None, named))


def _is_readable(url: str) -> bool:
    """Whether port and database are numbers. What urlsplit says otherwise repeats a part of the password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    database = parts.path.strip("/")
    return port != 0 and (parts.scheme.startswith("amqp") or not database or database.isdecimal())


def _find_secrets_problem(directory: str) -> str | None:
    """What keeps the files from being read; the message names a file, never what it holds."""
    path = Path(directory)
    try:
        for file in path.iterdir():
            if _OUR_FILE.fullmatch(file.name) and file.is_file():
                file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return f"{file} is not UTF-8"
    except OSError as error:
        return f"{error.filename or directory} cannot be read: {error.strerror}"
    return None


def environment() -> Mapping[str, str]:
    """The variables of this process, for who looks at their names."""
    return os.environ


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the environment once a process. Raises pydantic's ValidationError naming the variable."""
    return Settings()
