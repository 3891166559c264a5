"""The command lines of the process types. The Procfile at the top says the same lines; a test holds them together."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping

CELERY = "celery --quiet -A workers.app"
HANDS_BACK = "REMAP_SIGTERM=SIGQUIT"  # SIGTERM: hand back what runs on; prefork only, threads would lose their calls
COLUMNS = "name,state,args,result,received,runtime,worker"  # of Flower's tasks: args hold the thread, results the rest
QUIET = "--without-gossip --without-mingle"  # they only add reconnect trouble

LINES = {
    "api": "orchestratex api",
    "worker": f"{CELERY} worker --pool threads --concurrency ${{ORCHESTRATEX_WORKER_CONCURRENCY:-64}}"
    f" --queues ox.respond,ox.evaluate,ox.refine --hostname worker-$$@%h {QUIET}",
    "control": f"env {HANDS_BACK} {CELERY} worker --pool prefork --concurrency ${{ORCHESTRATEX_CONTROL_CONCURRENCY:-2}}"
    f" --queues ox.control,ox.default --hostname control-$$@%h {QUIET}",
    "beat": f"{CELERY} beat",
    "flower": f"{CELERY} flower --address=127.0.0.1 --port=${{ORCHESTRATEX_FLOWER_PORT:-5555}}"
    f" --max_tasks=20000 --purge_offline_workers=300 --read_only=True --tasks_columns={COLUMNS}",
    "sandbox": "orchestratex sandbox --port ${ORCHESTRATEX_SANDBOX_PORT:-8700}",
}
MODULES = {"celery": "workers", "orchestratex": "orchestratex"}  # run by -m; ours loads no plug-ins of Celery
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def process_commands(environ: Mapping[str, str], *, instance: str) -> dict[str, list[str]]:
    """Return each process type's argument list; `instance` makes the node names unique on this host, as `$$` does."""
    return {name: _expand(line, environ, instance) for name, line in LINES.items()}


def procfile_text() -> str:
    """Return what the Procfile says."""
    return "".join(f"{name}: {line}\n" for name, line in LINES.items())


def _expand(line: str, environ: Mapping[str, str], instance: str) -> list[str]:
    """Split first, expand then: a value with spaces stays one argument."""
    words = [_substitute(word, environ).replace("$$", instance) for word in shlex.split(line)]
    at = next(number for number, word in enumerate(words) if word in MODULES)  # behind `env` and what it sets
    return [*words[:at], sys.executable, "-m", MODULES[words[at]], *words[at + 1 :]]


def _substitute(argument: str, environ: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda match: environ.get(match[1]) or match[2], argument)
