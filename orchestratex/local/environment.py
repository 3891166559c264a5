"""What a process of the stack gets of our environment: what it needs, and no secret that is another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestratex.variables import FIELDS, SECRETS_DIR

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
    "secrets_dir": WORK,  # the keys are among its files: the others get the values of those that are theirs
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
    "sandbox_admin_key": frozenset({"sandbox"}),
}
OWN_PREFIXES = {"sandbox": ("ORCHESTRATEX_SANDBOX_",), "flower": ("ORCHESTRATEX_FLOWER_", "FLOWER_")}


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what any program needs to run as we do; no setting of ours is among it."""
    return {name: value for name, value in environ.items() if name in PLAIN or name.startswith(PLAIN_PREFIXES)}


def select_environment(kind: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a process of this type gets of the variables, and of the settings that stand in files."""
    own = OWN_PREFIXES.get(kind, ())
    environ = environ if kind in WORK else {**_read_files(environ), **environ}
    chosen = {
        name: value
        for name, value in environ.items()
        if kind in _audience(name.upper(), environ) or name.upper().startswith(own)
    }
    return base_environment(environ) | chosen


def _audience(variable: str, environ: Mapping[str, str]) -> frozenset[str]:
    field = FIELDS.get(variable)
    if field is None:
        return frozenset()
    if field == "redis_url" and not environ.get("ORCHESTRATEX_BROKER_URL"):
        return BROKER
    return AUDIENCES.get(field, BROKER)


def _read_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in the directory of secrets, each under its variable; a variable that is set wins."""
    folder, given = environ.get(SECRETS_DIR), {name.upper() for name in environ}
    files = Path(folder).iterdir() if folder else ()
    return {
        name: file.read_text(encoding="utf-8").strip()
        for file in files
        if (name := file.name.upper()) in FIELDS and name not in given and file.is_file()
    }
