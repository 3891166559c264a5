"""What a supervisor is told, and what who submits is told, while something is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from orchestratex.domain.profile import Profile
from orchestratex.errors import (
    BrokerUnavailableError,
    LimiterUnavailableError,
    ProviderConnectionError,
    StoreUnavailableError,
)
from orchestratex.providers.fake import FakeProvider, FakeProviders
from orchestratex.queue import EVALUATE, REFINE, RESPOND
from orchestratex.steps.probe import probe
from orchestratex.steps.pulse import note_worker
from orchestratex.steps.reconcile import reconcile
from tests.support import World, answer_by_rule, steady
from tests.unit.api.conftest import Client, serve

if TYPE_CHECKING:
    pass

PARTS = ("store", "broker", "limits", "models", "workers", "control", "beat")
READY = {"status": "ok", **dict.fromkeys(PARTS, "ok")}
PROMPT = {"prompt": "What is a monad?"}


class Keyless(FakeProviders):
    """No model has a key."""

    def can_serve(self, profile: Profile) -> bool:
        return False


def run_all(world: World) -> None:
    """Leave the signs of everybody who should run."""
    reconcile(world.services)
    world.store.put_sample("beat", 1)
    note_worker([RESPOND, EVALUATE, REFINE], world.services)


@pytest.fixture
def keyless() -> Iterator[Client]:
    world = World(providers=Keyless(FakeProvider(answer_by_rule)))
    run_all(world)
    with serve(world.services) as address:
        yield Client(address, world)


@pytest.fixture
def empty() -> Iterator[Client]:
    world = World(profiles=[])
    run_all(world)
    with serve(world.services) as address:
        yield Client(address, world)


def test_the_process_is_alive_and_ready(client: Client) -> None:
    run_all(client.world)

    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == READY
    assert client.post("/v1/threads", PROMPT).json()["waiting_for"] is None


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_balancers_may_ask_by_head(client: Client, path: str) -> None:
    head = client.call("HEAD", path, headers={"Connection": "close"})

    assert (head.status_code, head.content) == (200, b"")


def test_without_a_beat_it_is_degraded_and_says_for_how_long_and_what_to_do(client: Client) -> None:
    client.world.store.put_sample("beat", 1)
    client.world.clock.pass_time(42)
    reconcile(client.world.services)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["status"], answer.json()["control"]) == (200, "degraded", "ok")
    assert "for 42 s" in answer.json()["beat"]
    assert "celery -A workers.app beat" in answer.json()["beat"]


def test_without_control_workers_it_is_degraded_and_the_beat_is_unknown(client: Client) -> None:
    run_all(client.world)
    client.world.clock.pass_time(16)

    body = client.get("/readyz").json()

    assert body["status"] == "degraded"
    assert "for 16 s" in body["control"]
    assert "`control`" in body["control"]
    assert body["beat"].startswith("unknown")


def test_without_workers_that_call_models_it_is_degraded_and_threads_say_so(client: Client) -> None:
    note_worker([RESPOND, EVALUATE, REFINE], client.world.services)
    client.world.clock.pass_time(42)
    reconcile(client.world.services)
    client.world.store.put_sample("beat", 1)

    answer = client.get("/readyz")
    taken = client.post("/v1/threads", PROMPT)

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["workers"].startswith("nothing came from a worker that calls models for 42 s: ")
    assert "`worker`" in answer.json()["workers"]
    assert taken.status_code == 202
    assert taken.json()["waiting_for"] == answer.json()["workers"]


def test_a_queue_that_nobody_takes_calls_from_is_named(client: Client) -> None:
    run_all(client.world)
    client.world.clock.pass_time(20)
    reconcile(client.world.services)
    note_worker([RESPOND, REFINE], client.world.services)

    assert client.get("/readyz").json()["workers"].startswith("of ox.evaluate: nothing came")


def test_what_never_gave_a_sign_is_missing_and_may_be_starting(client: Client) -> None:
    reconcile(client.world.services)

    beat = client.get("/readyz").json()["beat"]

    assert beat.startswith("nothing ever came from the beat")
    assert "still starting: this process began" in beat


def test_a_store_that_is_away_is_named_and_nothing_is_taken_in(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_store() -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    def fail_broker() -> None:
        raise BrokerUnavailableError("the broker at redis://cache:6379 does not answer")

    monkeypatch.setattr(client.world.store, "ping", fail_store)
    monkeypatch.setattr(client.world.queue, "ping", fail_broker)

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:orchestratex:problem:store-unavailable")
    assert "db:27017" in answer.json()["detail"]
    assert "cache:6379" in answer.json()["detail"]
    assert client.get("/healthz").status_code == 200


def test_a_store_that_can_only_be_read_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_name: str, _value: int) -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not let the user read and write")

    monkeypatch.setattr(client.world.store, "put_sample", refuse)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert "db:27017" in answer.json()["detail"]


@pytest.mark.parametrize("problem", ["does not answer", "takes no message: OOM command not allowed"])
def test_without_a_broker_threads_are_taken_in_and_say_what_they_wait_for(
    client: Client, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    def fail() -> None:
        raise BrokerUnavailableError(f"the broker at redis://cache:6379 {problem}")

    run_all(client.world)
    monkeypatch.setattr(client.world.queue, "ping", fail)

    answer = client.get("/readyz")
    taken = client.post("/v1/threads", PROMPT)

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "cache:6379" in answer.json()["broker"]
    assert taken.status_code == 202
    assert taken.json()["waiting_for"] == f"the broker at redis://cache:6379 {problem}"


def test_limits_that_cannot_be_asked_are_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_limiter: object) -> None:
        raise LimiterUnavailableError("the limits in Redis at cache:6379 cannot be asked: READONLY")

    run_all(client.world)
    monkeypatch.setattr(type(client.world.services.limiter), "ping", fail)
    with serve(client.world.services) as address:
        body = Client(address, client.world).get("/readyz").json()

    assert body["status"] == "degraded"
    assert "READONLY" in body["limits"]
    assert "no model is called" in body["limits"]


def test_a_broker_that_hangs_holds_up_neither_probes_nor_submissions(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    run_all(client.world)
    monkeypatch.setattr(client.world.queue, "ping", lambda: release.wait(30))
    try:
        with serve(client.world.services) as address:
            hanging = Client(address, client.world)
            started = time.monotonic()
            taken = hanging.post("/v1/threads", PROMPT)
            submitted_s = time.monotonic() - started
            body = hanging.get("/readyz").json()
            looked_s = time.monotonic() - started - submitted_s
    finally:
        release.set()

    assert taken.status_code == 202
    assert submitted_s < 2.5
    assert looked_s < 10  # three seconds of waiting, on a machine that may be busy
    assert body["status"] == "degraded"
    assert body["broker"].startswith("the broker has not answered for ")


def test_before_the_database_has_its_form_nothing_is_taken_in(empty: Client) -> None:
    answer, taken = empty.get("/readyz"), empty.post("/v1/threads", PROMPT)

    assert (answer.status_code, taken.status_code) == (503, 503)
    assert answer.json()["type"] == taken.json()["type"] == "urn:orchestratex:problem:no-model"
    assert answer.json()["detail"] == taken.json()["detail"]
    assert "orchestratex init-db" in taken.json()["detail"]


@pytest.mark.parametrize("path", ["/v1/threads", "/v1/sessions"])
def test_where_no_model_has_a_key_that_is_said_and_not_what_was_excluded(keyless: Client, path: str) -> None:
    answer, taken = keyless.get("/readyz"), keyless.post(path, PROMPT if "threads" in path else {})

    assert (answer.status_code, taken.status_code) == (503, 503)
    assert "no key is set here for alibaba, anthropic, google" in taken.json()["detail"]
    assert "excluded" not in taken.text
    assert answer.json()["models" if "models" in answer.json() else "detail"] == taken.json()["detail"]


def test_where_every_model_is_switched_off_that_is_said(client: Client) -> None:
    for profile in client.world.store.profiles():
        client.world.store.update_profile(profile.model_name, {"is_active": False})
    client.world.services.cache.forget()

    taken = client.post("/v1/threads", PROMPT)

    assert taken.status_code == 503
    assert "orchestratex models enable" in taken.json()["detail"]


def _make_sick(world: World, sick: Callable[[str], bool]) -> None:
    def find(profile: Profile) -> bool:
        if sick(profile.model_name):
            raise ProviderConnectionError(profile.model_name, "connection refused at 127.0.0.1:9")
        return True

    world.provider.probe = find  # type: ignore[method-assign]
    probe(world.services)
    world.services.cache.forget()


def test_while_no_model_can_be_reached_it_is_degraded_with_the_cause(client: Client) -> None:
    run_all(client.world)
    _make_sick(client.world, lambda _: True)

    answer, taken = client.get("/readyz"), client.post("/v1/threads", PROMPT)

    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "claude: connection refused at 127.0.0.1:9" in answer.json()["models"]
    assert taken.status_code == 202
    assert "connection refused" in taken.json()["waiting_for"]


def test_while_one_model_can_be_reached_it_is_well(client: Client) -> None:
    run_all(client.world)
    _make_sick(client.world, lambda name: name != "gpt4")

    assert client.get("/readyz").json()["models"] == "ok"


def test_a_thread_says_what_it_waits_for_and_for_how_long(client: Client) -> None:
    run_all(client.world)
    thread_id = client.post("/v1/threads", PROMPT).json()["id"]
    at_once = client.get(f"/v1/threads/{thread_id}").json()
    client.world.clock.pass_time(90)
    with serve(client.world.services) as address:
        later = Client(address, client.world).get(f"/v1/threads/{thread_id}").json()
    client.world.run()
    ended = client.get(f"/v1/threads/{thread_id}").json()

    assert (at_once["waiting_for"], at_once["waiting_s"]) == (None, None)
    assert later["waiting_for"].startswith("nothing works on it: nothing came from a control worker for 90 s")
    assert later["waiting_s"] == pytest.approx(90, abs=1)
    assert (ended["status"], ended["waiting_for"]) == ("completed", None)


def test_a_thread_in_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(settings=steady(max_threads=1, when_full="queue"))
    with serve(world.services) as address:
        client = Client(address, world)
        client.post("/v1/threads", PROMPT)
        second = client.post("/v1/threads", PROMPT).json()
        seen = client.get(f"/v1/threads/{second['id']}").json()

    assert seen["is_queued"]
    assert "in line" in seen["waiting_for"]
