"""How commands reach MongoDB, Redis and workers: those that the settings name, else this machine's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from orchestratex.bootstrap import make_providers, make_services, make_store
from orchestratex.cli.output import say
from orchestratex.errors import LocalStackError, NotFoundError
from orchestratex.local import LocalStack, local_stack
from orchestratex.local.pids import is_alive
from orchestratex.local.plan import KEYED_PROVIDERS
from orchestratex.local.state import home_directory, read_state
from orchestratex.settings import Settings
from orchestratex.steps.lookup import name_id
from orchestratex.steps.profiles import load_profiles
from orchestratex.steps.services import Services
from orchestratex.store.migrations import init_db
from orchestratex.store.profiles import read_profiles

WORKING = ("worker", "control", "beat")
READER_S = 30.0  # a command that only reads holds the servers no longer than this
LOOK_S = 0.3
PATIENCE_S = 5.0  # a person waits no longer for a database that is away

Prepare = Callable[[Services], None]


@dataclass(frozen=True)
class Reached:
    """Services that answer, and the local stack behind them; None: the settings name the services."""

    services: Services
    stack: LocalStack | None = None

    @property
    def uses_sandbox(self) -> bool:
        """Whether the models are the sandbox's."""
        return self.stack is not None and self.stack.uses_sandbox

    def has_ended(self) -> bool:
        """Whether another command ran the stack and has taken it away."""
        if self.stack is None or self.stack.is_owner:
            return False
        try:
            self.stack.check()
        except LocalStackError:
            return True
        return False


def names_services(settings: Settings) -> bool:
    """Whether the settings name all services."""
    return bool(settings.mongodb_uri and settings.redis_url)


def is_stack_running(settings: Settings) -> bool:
    """Whether a command runs the local stack now."""
    state = read_state(home_directory(settings.home))
    return state is not None and is_alive(state.owner)


@contextmanager
def reach_store(settings: Settings, *, with_models: bool = False) -> Iterator[Reached]:
    """Services for commands that need no worker: without a running stack the servers alone are started meanwhile.

    `with_models` starts the sandbox beside them where no other model can be served.
    """
    if names_services(settings):
        with open_services(settings) as services:
            services.store.ping()
            yield Reached(services)
        return
    with (
        open_stack(
            settings,
            (),
            accept=lambda stack: not with_models or stack.is_owner or KEYED_PROVIDERS in stack.environment,
            on_event=_ignore,
            calls_models=with_models,
        ) as stack,
        open_services(apply_environment(settings, stack.environment)) as services,
    ):
        yield Reached(services, stack)


@contextmanager
def reach_workers(settings: Settings, *, prepare: Prepare, worker_count: int = 1) -> Iterator[Reached]:
    """Services with workers behind them: those named by the settings, a running stack's, or a stack of our own.

    `prepare` gets the services before our own workers start, and may be called again. The workers of services that the
    settings name are not looked after.
    """
    if names_services(settings):
        with open_services(settings) as services:
            check_services(services)
            prepare(services)
            yield Reached(services)
        return

    def prepare_stack(environment: dict[str, str]) -> None:
        with open_services(apply_environment(settings, environment)) as services:
            prepare(services)

    with (
        open_stack(
            settings,
            WORKING,
            worker_count=worker_count,
            before_processes=prepare_stack,
            accept=lambda stack: stack.is_owner or has_workers(stack),
        ) as stack,
        open_services(apply_environment(settings, stack.environment)) as services,
    ):
        prepare(services)
        yield Reached(services, stack)


@contextmanager
def open_stack(
    settings: Settings,
    processes: Sequence[str],
    *,
    accept: Callable[[LocalStack], bool],
    before_processes: Callable[[dict[str, str]], None] = lambda _environment: None,
    worker_count: int = 1,
    quiet: bool = True,
    calls_models: bool = True,
    on_event: Callable[[str], None] = say,
) -> Iterator[LocalStack]:
    """Join or start a stack that `accept` takes, waiting for one that will soon end. Raises LocalStackError.

    The database of one that starts is brought to its present form. Where no model in it can be served, and no key and
    no gateway is set, the sandbox plays.
    """
    deadline = time.monotonic() + READER_S
    while True:
        with ExitStack() as held:
            stack = held.enter_context(
                local_stack(
                    settings,
                    processes=processes,
                    worker_count=worker_count,
                    quiet=quiet,
                    on_event=on_event,
                    prepare_database=lambda environment: prepare_database(
                        settings, environment, forgets_health=bool(processes)
                    ),
                    before_processes=before_processes,
                    calls_models=calls_models,
                )
            )
            if accept(stack):
                yield stack
                return
        if time.monotonic() > deadline:
            raise LocalStackError("Another command runs the local stack: end it, then run this one again.")
        time.sleep(LOOK_S)


def refuse_second(stack: LocalStack, settings: Settings) -> bool:
    """False for a stack that a reading command holds for a moment; raises LocalStackError for one that works."""
    state = read_state(home_directory(settings.home))
    if has_workers(stack) and state is not None:
        raise LocalStackError(f"The stack runs already, in process {state.owner.pid}: use it, or end it first.")
    return False


def has_workers(stack: LocalStack) -> bool:
    """Whether the stack runs workers and their control."""
    kinds = {status.name.partition(".")[0] for status in stack.processes}
    return {"worker", "control"} <= kinds


def apply_environment(settings: Settings, environment: Mapping[str, str]) -> Settings:
    """The settings as a process of the stack sees them, but for keys that this process has not been given."""
    names = {
        "mongodb_uri": "ORCHESTRATEX_MONGODB_URI",
        "redis_url": "ORCHESTRATEX_REDIS_URL",
        "models_base_url": "ORCHESTRATEX_MODELS_BASE_URL",
    }
    update: dict[str, object] = {field: environment[name] for field, name in names.items() if name in environment}
    key = environment.get("ORCHESTRATEX_MODELS_API_KEY")
    if key is not None:
        update["models_api_key"] = SecretStr(key)
    return settings.model_copy(update={**_apply_reach(settings, environment), **update})


def _apply_reach(settings: Settings, environment: Mapping[str, str]) -> dict[str, object]:
    """By what the stack's workers reach models: a key or gateway of ours alone would not help them."""
    keyed = environment.get(KEYED_PROVIDERS)
    if keyed is None:
        return {}
    keyless = set(settings.provider_keys()) - set(keyed.split(","))
    return {
        **{f"{provider}_api_key": None for provider in keyless},
        "keyed_providers": keyed,
        "key_origins": environment.get("ORCHESTRATEX_KEY_ORIGINS"),
        "models_base_url": None,
    }


@contextmanager
def open_services(settings: Settings) -> Iterator[Services]:
    """Services whose connections end with the block; an id in it that names nothing is told for what it is."""
    services = make_services(settings, patience_s=PATIENCE_S)
    try:
        yield services
    except NotFoundError as error:
        raise name_id(error, services.store) from error
    finally:
        services.close()


def check_services(services: Services) -> None:
    """Raise UnavailableError naming the service that does not answer and its address."""
    services.store.ping()
    services.queue.ping()


def init_database(settings: Settings) -> list[str]:
    """Bring the database to its present form, with the profiles of the settings' file; returns what was done.

    Raises InputError when the file is not good; then no profile of it was written.
    """
    path = settings.profiles_file
    rows = read_profiles(Path(path), field="ORCHESTRATEX_PROFILES") if path else []
    store = make_store(settings)
    try:
        done = init_db(store)
        if rows:
            done += [f"{path}: {line}" for line in load_profiles(rows, store, now=datetime.now(UTC)).describe()]
        return done
    finally:
        store.close()


def prepare_database(settings: Settings, environment: Mapping[str, str], *, forgets_health: bool = False) -> bool:
    """Bring the database of a stack that starts to its present form; whether an active model can be served.

    With `forgets_health` every model counts as available: since the last stack found one out of reach, its server may
    have been started or its key set, and the next probe is a minute away.
    """
    applied = apply_environment(settings, environment)
    init_database(applied)
    store, providers = make_store(applied, patience_s=PATIENCE_S), make_providers(applied)
    try:
        profiles = store.profiles()
        for profile in profiles if forgets_health else ():
            if not profile.is_available:
                store.update_profile(profile.model_name, {"is_available": True, "out_of_reach": None})
        return any(profile.is_active and providers.can_serve(profile) for profile in profiles)
    finally:
        providers.close()
        store.close()


def _ignore(_event: str) -> None:
    """Commands that read say nothing about servers."""
