"""The fuse box: the only place that knows every concrete class."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import SecretStr

from orchestratex.brokers import LOCAL_REDIS
from orchestratex.domain.profile import Profile, priced_today
from orchestratex.errors import InputError, ProviderAuthenticationError, ProviderNotFoundError
from orchestratex.faultpoints import FaultPoints, make_fault_points
from orchestratex.limits.base import Limiter, NoLimiter
from orchestratex.limits.breaker import Breaker, MemoryBreaker, RedisBreaker
from orchestratex.limits.shared import RedisLimiter
from orchestratex.limits.shared import connect as limits_client
from orchestratex.providers.addresses import check_base_url
from orchestratex.providers.base import Provider, Providers
from orchestratex.providers.dialects import DIALECTS, GATEWAY_DIALECT, MakeProvider
from orchestratex.providers.http import HttpClient
from orchestratex.providers.origins import KeyOrigins, read_origin
from orchestratex.settings import Settings
from orchestratex.steps.heart import Heart
from orchestratex.steps.journal import Journal
from orchestratex.steps.parameters import with_learnt
from orchestratex.steps.services import ProfileCache, Services
from orchestratex.store.base import Store
from orchestratex.store.mongo import MongoStore, connect

if TYPE_CHECKING:
    from orchestratex.queue import CeleryQueue, Queue

_SPARE_CONNECTIONS = 8  # heartbeat, journal and reconcile beside the calls

_NO_KEY = SecretStr("none")  # self-hosted servers want a header, not a secret


class HttpProviders:
    """The endpoints of all profiles: one address for all where the settings name one, else each profile's own.

    A profile whose provider needs no key is served at its own endpoint, in its own dialect, without any setting. A key
    goes to the origins of its provider alone (see KeyOrigins): where a profile names another, there is none for it.
    """

    def __init__(self, settings: Settings, http: HttpClient) -> None:
        self._settings = settings
        self._http = http
        self._keys = settings.provider_keys()
        self._keyed = settings.providers_with_key()
        self._origins = KeyOrigins(settings.further_origins())
        self._made: dict[tuple[str, str, str], Provider] = {}

    def can_serve(self, profile: Profile) -> bool:
        """See Providers."""
        if self._settings.models_base_url is not None:
            return True
        has_key = profile.provider in self._keyed and self.why_withheld(profile) is None
        return (has_key or not profile.api_key_required) and profile.dialect in DIALECTS

    def why_withheld(self, profile: Profile) -> str | None:
        """See Providers."""
        if self._settings.models_base_url is not None or profile.provider not in self._keyed:
            return None
        return self._origins.why_withheld(profile.provider, profile.api_endpoint)

    def close(self) -> None:
        """See Providers."""
        self._http.close()

    def of(self, profile: Profile) -> Provider:
        """See Providers."""
        dialect, address = self._find_endpoint(profile)
        made = self._made.get((dialect, address, profile.provider))
        if made is None:
            make = _check_endpoint(profile, dialect, address)
            made = make(self._http, base_url=address, api_key=self._find_key(profile))
            self._made[dialect, address, profile.provider] = made
        return made

    def _find_endpoint(self, profile: Profile) -> tuple[str, str]:
        """Dialect and address."""
        if self._settings.models_base_url is not None:
            return GATEWAY_DIALECT, self._settings.models_base_url
        return profile.dialect, profile.api_endpoint

    def _find_key(self, profile: Profile) -> SecretStr:
        """The key for the model's address. The gateway and its key belong together: settings name both."""
        if self._settings.models_base_url is not None:
            return self._settings.models_api_key or _NO_KEY
        withheld = self.why_withheld(profile)
        key = None if withheld else self._keys.get(profile.provider)
        if key is None and profile.api_key_required:
            problem = withheld or f"no key for {profile.provider} is set"
            raise ProviderAuthenticationError(profile.model_name, problem)
        return key or _NO_KEY


def _check_endpoint(profile: Profile, dialect: str, address: str) -> MakeProvider:
    """What makes the provider of a dialect. Raises ProviderNotFoundError for an unknown one, or no fit address."""
    make = DIALECTS.get(dialect)
    if make is None:
        raise ProviderNotFoundError(profile.model_name, f"no dialect {dialect!r}: we speak {', '.join(DIALECTS)}")
    try:
        check_base_url(address)
    except InputError as error:
        raise ProviderNotFoundError(profile.model_name, str(error)) from error
    return make


def _known_origins(settings: Settings) -> frozenset[str]:
    """What code and settings name, and no document: behind a proxy these names need no look where they lead."""
    known = KeyOrigins(settings.further_origins()).all()
    if settings.models_base_url is None:
        return known
    try:
        return known | {read_origin(settings.models_base_url)}
    except InputError:  # its calls say so
        return known


def make_store(settings: Settings, *, patience_s: float | None = None) -> MongoStore:
    """The store that the settings name; `patience_s` as in `connect`."""
    pool_size = settings.worker_concurrency + _SPARE_CONNECTIONS
    client = connect(settings.mongodb_uri or "mongodb://127.0.0.1:27017", pool_size=pool_size, patience_s=patience_s)
    return MongoStore(client, settings.mongodb_database)


def make_queue(settings: Settings, *, in_background: bool = False) -> CeleryQueue:
    """The queue that the settings name; `in_background` as in CeleryQueue."""
    from orchestratex.queue import CeleryQueue, make_app  # who only reads the store loads no Celery

    return CeleryQueue(make_app(settings), in_background=in_background)


def make_providers(settings: Settings) -> HttpProviders:
    """The endpoints of all models, as the settings let them be reached."""
    http = HttpClient(
        pool_size=settings.worker_concurrency,
        connect_timeout_s=settings.connect_timeout_s,
        read_timeout_s=settings.call_timeout_s,
        max_bytes=settings.max_response_bytes,
        proxy=settings.proxy,
        known_origins=_known_origins(settings),
    )
    return HttpProviders(settings, http)


def make_services(settings: Settings, *, queue: CeleryQueue | None = None, patience_s: float | None = None) -> Services:
    """Everything real. Make it once a process, after any fork; importing does nothing.

    `patience_s` is how long MongoDB may be away before an operation raises; people wait less than workers.
    """
    limits = limits_client(
        settings.redis_url or LOCAL_REDIS,
        master=settings.sentinel_master,
        sentinel_password=settings.sentinel_password,
    )
    return assemble(
        settings,
        limiter=RedisLimiter(limits, prefix=settings.broker_prefix),
        breaker=RedisBreaker(limits, prefix=settings.broker_prefix),
        store=make_store(settings, patience_s=patience_s),
        queue=queue or make_queue(settings),
        providers=make_providers(settings),
    )


def assemble(
    settings: Settings,
    *,
    store: Store,
    queue: Queue,
    providers: Providers,
    limiter: Limiter | None = None,
    breaker: Breaker | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    jitter: Callable[[], float] = random.random,
    sleep: Callable[[float], None] = time.sleep,
    faults: FaultPoints | None = None,
) -> Services:
    """Put ports together to what steps receive; tests hand in the shipped fakes.

    Without a limiter nothing is limited, without a breaker this process has one of its own.
    """
    heart = Heart(store, lease_s=settings.lease_s, beat_s=settings.heartbeat_s)
    return Services(
        store=store,
        queue=queue,
        providers=providers,
        limiter=limiter or NoLimiter(),
        breaker=breaker or MemoryBreaker(lambda: clock().timestamp()),
        settings=settings,
        clock=clock,
        nonce=nonce,
        jitter=jitter,
        sleep=sleep,
        heart=heart,
        journal=Journal(store, clock=clock, active_requests=lambda: heart.active),
        cache=ProfileCache(store, read=lambda profile: _as_used(profile, settings, clock())),
        faults=faults or make_fault_points(settings.fault_points),
    )


def _as_used(profile: Profile, settings: Settings, now: datetime) -> Profile:
    """A profile as calls use it: with all that is known of what it takes, and the prices of the moment."""
    return priced_today(with_learnt(profile, settings.models_base_url), now)
