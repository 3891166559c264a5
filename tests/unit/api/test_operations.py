"""Metrics, guards, and errors that are nobody's input."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orchestratex.api.server import require_loopback, run
from orchestratex.errors import InputError, StoreUnavailableError
from orchestratex.settings import Settings
from orchestratex.steps.measure import measure
from orchestratex.steps.reconcile import reconcile
from orchestratex.ticking import SlowTickingServer

if TYPE_CHECKING:
    from tests.unit.api.conftest import Client

PROBLEM = "application/problem+json"


def test_metrics_are_the_latest_windows(client: Client) -> None:
    client.world.solve("What is a monad?", max_iterations=1)
    measure(client.world.services)

    body = client.get("/v1/metrics?period=hourly&limit=1").json()

    assert body["period"] == "hourly"
    assert [window["total_threads"] for window in body["windows"]] == [1]


def test_windows_do_not_wait_for_the_models_whole_history(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def take_too_long() -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer: operation exceeded time limit")

    client.world.solve("What is a monad?", max_iterations=1)
    monkeypatch.setattr(client.world.store, "model_stats", take_too_long)

    measure(client.world.services)
    assert client.get("/v1/metrics?period=hourly&limit=1").json()["windows"][0]["total_threads"] == 1


@pytest.mark.parametrize("period", ["hourly", "daily", "weekly", "monthly"])
def test_windows_can_be_asked_for_by_when_they_begin(client: Client, period: str) -> None:
    for _ in range(3):
        client.world.solve("What is a monad?", max_iterations=1)
        measure(client.world.services)
        client.world.clock.pass_time(40 * 86400)

    def begins(query: str) -> list[str]:
        body = client.get(f"/v1/metrics?period={period}{query}").json()
        return [window["metric_date"] for window in body["windows"]]

    last, middle, first = begins("")

    assert last > middle > first
    assert begins(f"&from={middle}") == [last, middle]
    assert begins(f"&to={middle}") == [first]
    assert begins(f"&from={first}&to={last}&limit=1") == [middle]
    assert begins("&from=2026-01-02&to=2026-01-01") == []


def test_windows_do_not_show_what_they_are_made_of(client: Client) -> None:
    measure(client.world.services)

    (window,) = client.get("/v1/metrics").json()["windows"]

    assert {"sums", "rolls", "open_sessions"}.isdisjoint(window)


def test_what_users_say_later_is_in_the_window_of_their_thread(client: Client) -> None:
    thread = client.world.solve("What is a monad?", max_iterations=1)
    client.world.clock.pass_time(86400)
    measure(client.world.services)

    client.patch(f"/v1/threads/{thread.id}", {"user_accepted": True})
    client.patch(f"/v1/sessions/{thread.session_id}", {"user_satisfaction": 8})
    measure(client.world.services)

    window = client.get("/v1/metrics?period=daily").json()["windows"][-1]
    assert window["quality_metrics"]["user_satisfaction_rate"] == 1
    assert window["domain_performance"][thread.domain]["average_satisfaction"] == 8


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("period=yearly", "period"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("from=yesterday", "from"),
        ("from=1767225600", "from"),
        ("to=2026-02-30", "to"),
        ("to=2026-01-01T25:00:00Z", "to"),
        ("to=0000-01-01", "to"),
        ("from=0001-01-01T00:00:00%2B10:00", "from"),
        ("from=2026-01-01T00:00:00+10:00", "from"),  # a plus that is not escaped is a space
        ("from=", "from"),
    ],
)
def test_metrics_refuse_what_is_not_there(client: Client, query: str, field: str) -> None:
    answer = client.get(f"/v1/metrics?{query}")

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.headers["Content-Type"] == PROBLEM


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/v1/metrics", "/v1/threads", "/nope"])
def test_head_says_what_get_says_without_a_body(client: Client, path: str) -> None:
    got, head = client.get(path), client.call("HEAD", path)

    assert head.content == b""
    assert (head.status_code, head.headers.get("Allow")) == (got.status_code, got.headers.get("Allow"))
    assert head.headers["Content-Type"] == got.headers["Content-Type"]
    assert head.headers["Content-Length"] == str(len(got.content))


@pytest.mark.parametrize("verb", ["touch_session", "get_session"])
def test_threads_that_were_taken_in_are_never_refused(
    client: Client, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Who heard of an error would submit, and pay, twice."""
    insert = client.world.store.insert_threads

    def fail(_id: object) -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    def insert_then_fail(*arguments: Any, **options: Any) -> None:
        insert(*arguments, **options)
        monkeypatch.setattr(client.world.store, verb, fail)

    monkeypatch.setattr(client.world.store, "insert_threads", insert_then_fail)
    answer = client.post("/v1/threads", {"prompt": "What is a monad?"})
    monkeypatch.undo()

    assert answer.status_code in {201, 202}
    client.world.clock.pass_time(60)
    reconcile(client.world.services)
    client.world.run()
    assert client.get(f"/v1/threads/{answer.json()['id']}").json()["status"] == "completed"


def test_an_unreachable_store_is_503(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_id: object) -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    monkeypatch.setattr(client.world.store, "get_thread", fail)

    answer = client.get("/v1/threads/" + "0" * 24)

    assert (answer.status_code, answer.headers["Content-Type"]) == (503, PROBLEM)
    assert answer.headers["Retry-After"]


def test_an_error_of_ours_shows_no_inside(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_id: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(client.world.store, "get_thread", fail)

    answer = client.get("/v1/threads/" + "0" * 24)

    assert (answer.status_code, answer.headers["Content-Type"]) == (500, PROBLEM)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nope", 404), ("DELETE", "/healthz", 405)])
def test_unknown_routes_are_problems(client: Client, method: str, path: str, status: int) -> None:
    answer = client.call(method, path)

    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert answer.json()["status"] == status


def test_a_body_that_is_not_json(client: Client) -> None:
    answer = client.call("POST", "/v1/threads", data=b"{", headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["field"]) == (400, "body")


def _chunks() -> Iterator[bytes]:
    for _ in range(6):
        yield b"x" * 1_000_000


def test_too_long_a_body_is_refused(client: Client) -> None:
    announced = client.call("POST", "/v1/threads", data=b"x" * 5_000_001)
    chunked = client.call("POST", "/v1/threads", data=_chunks())

    assert [announced.status_code, chunked.status_code] == [413, 413]
    assert announced.headers["Content-Type"] == PROBLEM


@pytest.mark.parametrize("host", ["example.com", "example.com:8000", "169.254.169.254", "[2001:db8::1]:80", ""])
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    answer = client.get("/healthz", headers={"Host": host})

    assert answer.status_code in {400, 421}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_this_machine_is_served(client: Client, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_addresses_may_be_listened_on(host: str) -> None:
    require_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.com", ""])
def test_other_addresses_may_not(host: str) -> None:
    with pytest.raises(InputError, match="ORCHESTRATEX_API_HOST"):
        run(Settings(api_host=host, mongodb_uri="mongodb://db", redis_url="redis://cache"))


def test_in_the_image_it_may_serve_what_the_container_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    image = (Path(__file__).parents[3] / "deploy" / "Dockerfile").read_text()
    for name, value in re.findall(r"(ORCHESTRATEX_\w+)=(\S+)", image):
        monkeypatch.setenv(name, value)
    served: list[str] = []

    def serve(server: SlowTickingServer) -> None:
        served.append(server.config.host)
        server.started = True

    monkeypatch.setattr(SlowTickingServer, "run", serve)

    run(Settings(mongodb_uri="mongodb://127.0.0.1:1", redis_url="redis://127.0.0.1:1"))

    assert served == ["0.0.0.0"]


@pytest.mark.parametrize("missing", ["mongodb_uri", "redis_url"])
def test_the_server_needs_services(missing: str) -> None:
    settings = Settings(mongodb_uri="mongodb://db", redis_url="redis://cache").model_copy(update={missing: None})

    with pytest.raises(InputError, match=f"ORCHESTRATEX_{missing.upper()}"):
        run(settings)
