"""The sandbox over real HTTP: the dialect, every fault, the ledger."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from orchestratex.rules import markers
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.models import MODELS
from orchestratex.sandbox.server import Running, serve
from tests.support import ADMIN, ADMIN_KEY

PROMPT = "Write a python function that parses invoices"
TIMEOUT_S = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serve(SandboxConfig(latency_scale=0, aliases={"my-model": "qwen"}, admin_key=SecretStr(ADMIN_KEY))) as running:
        yield running


@pytest.fixture
def sandbox(server: Running) -> Running:
    for path in ("faults", "ledger"):
        requests.delete(f"{server.address}/sandbox/{path}", headers=ADMIN, timeout=TIMEOUT_S).raise_for_status()
    return server


def make_body(model: str = "gpt4", task: str = markers.TASK_ANSWER, **fields: Any) -> dict[str, Any]:
    blocks = [markers.fence("PROMPT", PROMPT, "ab12"), markers.fence("ANSWER", "Nothing yet.", "ab12")]
    messages = [{"role": "system", "content": task}, {"role": "user", "content": "\n".join(blocks)}]
    return {"model": model, "messages": messages, **fields}


def post(sandbox: Running, body: dict[str, Any] | None = None, *, key: str = "a.1") -> requests.Response:
    headers = {"Authorization": "Bearer any", "Idempotency-Key": key}
    url = f"{sandbox.base_url}/chat/completions"
    return requests.post(url, json=body or make_body(), headers=headers, timeout=TIMEOUT_S)


def put_faults(sandbox: Running, *faults: dict[str, Any]) -> None:
    requests.put(f"{sandbox.address}/sandbox/faults", json=faults, headers=ADMIN, timeout=TIMEOUT_S).raise_for_status()


def get_ledger(sandbox: Running) -> Any:
    return requests.get(f"{sandbox.address}/sandbox/ledger", headers=ADMIN, timeout=TIMEOUT_S).json()


def get_entry(sandbox: Running) -> Any:
    (entry,) = get_ledger(sandbox)["entries"]
    return entry


def read_content(response: requests.Response) -> str:
    content = response.json()["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


def exchange_raw(sandbox: Running) -> bytes:
    """Send one call over a bare socket and return all bytes until the connection ends."""
    body = json.dumps(make_body()).encode()
    fields = ("Host: localhost", "Authorization: Bearer k", f"Content-Length: {len(body)}")
    head = "\r\n".join(("POST /v1/chat/completions HTTP/1.1", *fields))
    host, port = sandbox.address.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)), timeout=TIMEOUT_S)) as connection:
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


def test_completion_has_the_published_shape(sandbox: Running) -> None:
    response = post(sandbox)

    completion = response.json()
    usage = completion["usage"]
    assert response.status_code == 200
    assert completion["object"] == "chat.completion"
    assert completion["model"] == MODELS["gpt4"].version
    assert completion["choices"][0]["finish_reason"] == "stop"
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == math.ceil(len(read_content(response)) / 4)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0}


@pytest.mark.parametrize("name", [*MODELS, *(model.version for model in MODELS.values()), "my-model"])
def test_every_name_of_a_model_is_served(sandbox: Running, name: str) -> None:
    assert post(sandbox, make_body(name)).status_code == 200


def test_same_seed_gives_the_same_words(sandbox: Running) -> None:
    texts = [read_content(post(sandbox, make_body(seed=seed))) for seed in (4, 4, 5)]

    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_token_limit_truncates(sandbox: Running, name: str) -> None:
    choice = post(sandbox, make_body() | {name: 20}).json()

    assert choice["choices"][0]["finish_reason"] == "length"
    assert choice["usage"]["completion_tokens"] == 20


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found"),
        ({"stream": True}, 400, "unsupported_value"),
        ({"messages": []}, 400, "invalid_messages"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "invalid_messages"),
        ({"messages": [{"role": "user"}]}, 400, "invalid_messages"),
        ({"seed": "x"}, 400, "invalid_type"),
        ({"max_tokens": -1}, 400, "invalid_value"),
    ],
)
def test_bad_requests_are_refused_and_not_charged(
    sandbox: Running, fields: dict[str, Any], status: int, code: str
) -> None:
    response = post(sandbox, make_body() | fields)

    assert response.status_code == status
    assert response.json()["error"]["code"] == code
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert get_entry(sandbox)["is_charged"] is False


def test_key_is_asked_for(sandbox: Running) -> None:
    response = requests.post(f"{sandbox.base_url}/chat/completions", json=make_body(), timeout=TIMEOUT_S)

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"


def test_lists_models(sandbox: Running) -> None:
    listed = requests.get(f"{sandbox.base_url}/models", timeout=TIMEOUT_S).json()

    assert {each["id"] for each in listed["data"]} == {model.version for model in MODELS.values()}


def test_rate_limit_says_when_to_come_back(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "rate_limit", "retry_after_s": 1.5, "times": 1})

    response = post(sandbox)

    assert response.status_code == 429
    assert response.headers["Retry-After"] == "2"
    assert response.headers["Retry-After-Ms"] == "1500"
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert get_entry(sandbox)["is_charged"] is False
    assert post(sandbox).status_code == 200


def test_server_error_is_not_charged(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "server_error"})

    assert post(sandbox).status_code == 500
    assert get_entry(sandbox)["is_charged"] is False


def test_garbage_is_a_page(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "garbage"})

    response = post(sandbox)

    assert response.headers["Content-Type"].startswith("text/html")
    assert get_entry(sandbox)["is_charged"] is False


def test_hang_holds_the_call_and_closes(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "hang", "hang_s": 0.2})

    with pytest.raises(requests.ConnectionError):
        post(sandbox)

    entry = get_entry(sandbox)
    assert entry["outcome"] == "hang"
    assert entry["is_charged"] is False
    assert entry["ended"] - entry["started"] >= 0.19


def test_drop_cuts_the_connection_after_charging(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "drop"})

    with pytest.raises(ConnectionResetError):
        exchange_raw(sandbox)

    entry = get_entry(sandbox)
    assert (entry["outcome"], entry["status"], entry["is_charged"]) == ("drop", None, True)
    with pytest.raises(requests.ConnectionError):
        post(sandbox)


def test_drop_after_sends_half_a_body(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "drop_after"})

    head, _, body = exchange_raw(sandbox).partition(b"\r\n\r\n")

    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    assert len(body) == length // 2
    assert get_entry(sandbox)["is_charged"] is True
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(sandbox)


def test_truncated_json_comes_in_a_whole_reply(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "truncated"})

    response = post(sandbox)

    assert len(response.content) == int(response.headers["Content-Length"])
    with pytest.raises(ValueError, match=r".+"):
        response.json()


@pytest.mark.parametrize("task", [markers.TASK_ANSWER, markers.TASK_EVALUATE, markers.TASK_REFINE, markers.TASK_ASSESS])
def test_malformed_text_is_beyond_repair(sandbox: Running, task: str) -> None:
    put_faults(sandbox, {"kind": "malformed"})

    text = read_content(post(sandbox, make_body(task=task)))

    assert markers.find_tag(markers.REVISED_TAG, text) is None
    assert markers.find_tag(markers.ASSESSMENT_TAG, text) is None
    with pytest.raises(ValueError, match=r".+"):
        json.loads(text)


def test_refusal_stands_where_openai_puts_it(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "refusal"})

    message = post(sandbox).json()["choices"][0]["message"]

    assert message["content"] is None
    assert message["refusal"]


def test_empty_text_costs_only_its_prompt(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "empty"})

    response = post(sandbox)

    assert read_content(response) == ""
    assert get_entry(sandbox)["cost_nanos"] == response.json()["usage"]["prompt_tokens"] * 2000


@pytest.mark.parametrize(
    ("kind", "reason", "has_text", "thought"),
    [("cut_off", "length", True, 0), ("empty_cut_off", "length", False, 300), ("filtered", "content_filter", True, 0)],
)
def test_replies_that_are_not_whole_say_why(
    sandbox: Running, kind: str, reason: str, has_text: bool, thought: int
) -> None:
    whole = read_content(post(sandbox))
    put_faults(sandbox, {"kind": kind})

    response = post(sandbox, {**make_body(), "max_tokens": 300})

    text, usage = read_content(response), response.json()["usage"]
    assert response.json()["choices"][0]["finish_reason"] == reason
    assert bool(text) is has_text
    assert whole.startswith(text)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == thought
    assert (usage["completion_tokens"] == 300) is (reason == "length")


def test_severity_is_planted(sandbox: Running) -> None:
    body = make_body(task=markers.TASK_EVALUATE)
    fair = json.loads(read_content(post(sandbox, body)))
    put_faults(sandbox, {"kind": "severity", "offset": 3, "models": ["gpt4"]})

    kind = json.loads(read_content(post(sandbox, body)))

    assert kind["criteria"]["safety"] - fair["criteria"]["safety"] == pytest.approx(3, abs=0.2)


def test_faults_are_listed_with_their_hits(sandbox: Running) -> None:
    put_faults(sandbox, {"kind": "empty", "models": ["gpt4"]})
    post(sandbox)
    post(sandbox, make_body("claude"))

    (fault,) = requests.get(f"{sandbox.address}/sandbox/faults", headers=ADMIN, timeout=TIMEOUT_S).json()

    assert (fault["kind"], fault["hits"]) == ("empty", 1)


@pytest.mark.parametrize(
    "fault", [{"kind": "earthquake"}, {"kind": "drop", "models": ["gpt9"]}, {"kind": "drop", "x": 1}]
)
def test_unknown_faults_are_refused(sandbox: Running, fault: dict[str, Any]) -> None:
    response = requests.put(f"{sandbox.address}/sandbox/faults", json=[fault], headers=ADMIN, timeout=TIMEOUT_S)

    assert response.status_code == 422


def test_ledger_adds_up_with_what_was_sent(sandbox: Running) -> None:
    replies = [post(sandbox, make_body(model), key=f"{model}.1").json() for model in MODELS]

    ledger = get_ledger(sandbox)
    prices = [(model.input_nanos, model.output_nanos) for model in MODELS.values()]
    costs = [
        reply["usage"]["prompt_tokens"] * price[0] + reply["usage"]["completion_tokens"] * price[1]
        for reply, price in zip(replies, prices, strict=True)
    ]
    assert [entry["cost_nanos"] for entry in ledger["entries"]] == costs
    assert ledger["cost_nanos"] == sum(costs)
    assert [entry["response_id"] for entry in ledger["entries"]] == list(MODELS)
    assert ledger["repeated_keys"] == 0


def test_summary_counts_repeated_charges(sandbox: Running) -> None:
    for key in ("a.1", "a.1", "a.2", "b.1"):
        post(sandbox, key=key)

    summary = requests.get(
        f"{sandbox.address}/sandbox/ledger", params={"summary": 1}, headers=ADMIN, timeout=TIMEOUT_S
    ).json()

    assert (summary["repeated_keys"], summary["repeated_responses"], summary["charged"]) == (1, 1, 4)
    assert "entries" not in summary


def test_calls_wait_side_by_side(sandbox: Running) -> None:
    address = f"{sandbox.address}/sandbox/config"
    requests.put(address, json={"fixed_latency_s": 0.5}, headers=ADMIN, timeout=TIMEOUT_S).raise_for_status()

    with ThreadPoolExecutor(16) as pool:
        statuses = {each.status_code for each in pool.map(lambda n: post(sandbox, key=f"{n}.1"), range(16))}

    config = requests.put(address, json={"fixed_latency_s": None}, headers=ADMIN, timeout=TIMEOUT_S).json()
    assert statuses == {200}
    assert get_ledger(sandbox)["max_concurrency"] > 8
    assert (config["fixed_latency_s"], config["latency_scale"]) == (None, 0)


ADMIN_PATHS = [
    ("GET", "faults"),
    ("PUT", "faults"),
    ("DELETE", "faults"),
    ("GET", "ledger"),
    ("DELETE", "ledger"),
    ("GET", "config"),
    ("PUT", "config"),
]


@pytest.mark.parametrize(("method", "path"), ADMIN_PATHS)
@pytest.mark.parametrize("given", [None, "Bearer sandbox", "Bearer ", f"Basic {ADMIN_KEY}", f"Bearer {ADMIN_KEY}x"])
def test_admin_paths_want_their_key(sandbox: Running, method: str, path: str, given: str | None) -> None:
    put_faults(sandbox, {"kind": "empty"})
    post(sandbox)
    before = (sandbox.state.config, sandbox.state.plan.faults, len(get_ledger(sandbox)["entries"]))
    body: object = [] if path == "faults" else {"latency_scale": 9}

    answer = requests.request(
        method,
        f"{sandbox.address}/sandbox/{path}",
        json=body,
        headers={} if given is None else {"Authorization": given},
        timeout=TIMEOUT_S,
    )

    assert answer.status_code == 401
    assert (sandbox.state.config, sandbox.state.plan.faults, len(get_ledger(sandbox)["entries"])) == before


def test_without_a_key_nobody_gets_to_the_admin_paths() -> None:
    with serve(SandboxConfig(latency_scale=0)) as running:
        answers = [
            requests.get(f"{running.address}/sandbox/{path}", headers=ADMIN, timeout=5) for _, path in ADMIN_PATHS
        ]

    assert {answer.status_code for answer in answers} == {403}


def test_no_answer_shows_the_key(sandbox: Running) -> None:
    config = requests.get(f"{sandbox.address}/sandbox/config", headers=ADMIN, timeout=TIMEOUT_S)

    assert config.json()["latency_scale"] == 0
    assert ADMIN_KEY not in config.text


@pytest.mark.parametrize("host", ["example.com", "evil.example:8700", "127.0.0.1.evil.example", "192.0.2.7", "sandbox"])
def test_a_foreign_host_is_refused(sandbox: Running, host: str) -> None:
    headers = {**ADMIN, "Host": host}
    models = requests.get(f"{sandbox.base_url}/models", headers=headers, timeout=TIMEOUT_S)
    ledger = requests.get(f"{sandbox.address}/sandbox/ledger", headers=headers, timeout=TIMEOUT_S)
    call = requests.post(f"{sandbox.base_url}/chat/completions", json=make_body(), headers=headers, timeout=TIMEOUT_S)

    assert [models.status_code, ledger.status_code, call.status_code] == [421, 421, 421]
    assert get_ledger(sandbox)["entries"] == []


def test_names_that_it_is_told_are_served() -> None:
    with serve(SandboxConfig(latency_scale=0, hosts=("sandbox",))) as running:
        answer = requests.get(f"{running.base_url}/models", headers={"Host": "Sandbox:8700"}, timeout=TIMEOUT_S)

    assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_pages_of_other_origins_call_no_model(sandbox: Running, headers: dict[str, str]) -> None:
    headers = {"Authorization": "Bearer any", **headers}
    answer = requests.post(f"{sandbox.base_url}/chat/completions", json=make_body(), headers=headers, timeout=TIMEOUT_S)

    assert answer.status_code == 403
    assert get_ledger(sandbox)["entries"] == []


def test_runs_in_the_foreground_and_prints_where() -> None:
    code = "from orchestratex.sandbox import server, config; server.run('127.0.0.1', 0, config.SandboxConfig())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr
        line = process.stderr.readline()
        address = line.strip().rpartition(" ")[2].removesuffix("/v1")
        health = requests.get(f"{address}/healthz", timeout=TIMEOUT_S).json()
        process.send_signal(signal.SIGTERM)

    assert line.startswith("sandbox listening on http://127.0.0.1:")
    assert health == {"status": "ok"}
