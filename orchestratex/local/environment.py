"""What a process of the stack gets of our environment: what it needs, and no secret that is another's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import AliasChoices

from orchestratex.settings import Settings

PLAIN = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"),
        *("LANG", "LANGUAGE", "TZ", "TZDIR", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"),
    }
)
PLAIN_PREFIXES = ("LC_", "PYTHON", "LD_", "DYLD_", "MALLOC_", "XDG_", "FAKETIME", "COVERAGE_", "COV_CORE_")

WORK = frozenset({"worker", "control"})  # call models, and probe them
STORE = WORK | {"api"}
BROKER = STORE | {"beat", "flower"}
AUDIENCES = {  # who gets a setting that is secret or holds a password; all others are for everyone in BROKER
    "mongodb_uri": STORE,
    "redis_url": STORE,  # and BROKER where it is the broker
    "broker_url": BROKER,
    "sentinel_password": BROKER,
    "proxy": WORK,
    "models_api_key": WORK,
    "openai_api_key": WORK,
    "anthropic_api_key": WORK,
    "xai_api_key": WORK,
    "alibaba_api_key": WORK,
    "meta_api_key": WORK,
    "mistral_api_key": WORK,
    "openrouter_api_key": WORK,
    "google_api_key": WORK,
}
OWN_PREFIXES = {"sandbox": ("ORCHESTRATEX_SANDBOX_",), "flower": ("ORCHESTRATEX_FLOWER_", "FLOWER_")}
FROM_FILE = "_FILE"  # the name of a file in place of the value: for the same readers


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what any program needs to run as we do; no setting of ours is among it."""
    return {name: value for name, value in environ.items() if name in PLAIN or name.startswith(PLAIN_PREFIXES)}


def select_environment(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a process of this type gets of the variables."""
    own = OWN_PREFIXES.get(kind, ())
    chosen = {
        name: value
        for name, value in environ.items()
        if kind in _audience(name.upper(), environ) or name.upper().startswith(own)
    }
    return base_environment(environ) | chosen


def _audience(variable: str, environ: Mapping[str, str]) -> frozenset[str]:
    field = FIELDS.get(variable) or FIELDS.get(variable.removesuffix(FROM_FILE))
    if field is None:
        return frozenset()
    if field == "redis_url" and not environ.get("ORCHESTRATEX_BROKER_URL"):
        return BROKER
    return AUDIENCES.get(field, BROKER)


def _name_variables() -> Iterator[tuple[str, str]]:
    """Every name that a setting is read from, in upper case as pydantic does not mind, and its field."""
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        given = alias.choices if isinstance(alias, AliasChoices) else [alias] if alias else []
        for name in (f"ORCHESTRATEX_{field}", *given):
            yield str(name).upper(), field


FIELDS = dict(_name_variables())
