from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestratex.domain.base import SessionStatus
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import ProviderRejectedError
from orchestratex.providers.base import CompletionRequest
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run


def refuse(request: CompletionRequest) -> str:
    raise ProviderRejectedError(request.model_name, "no")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prompts.jsonl"


def write_lines(file: Path, *lines: str) -> str:
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


def test_all_lines_become_threads_of_one_session(run: Run, world: World, file: Path) -> None:
    path = write_lines(
        file, '{"prompt": "one", "max_iterations": 1}', "", '{"prompt": "two\\u2028", "max_iterations": 2}'
    )

    ran = run("submit", path, "--cost-limit", "5")

    threads = world.store._all(Thread)
    assert ran.code == 0
    assert [thread.original_prompt for thread in threads] == ["one", "two\u2028"]
    assert all(str(thread.id) in ran.out for thread in threads)
    assert [session.status for session in world.store._all(Session)] == [SessionStatus.COMPLETED]
    assert "2 of 2 completed" in ran.err


def test_json_is_a_line_a_thread(run: Run, file: Path) -> None:
    path = write_lines(file, "", '{"prompt": "one", "max_iterations": 1}', '{"prompt": "two", "max_iterations": 1}')

    ran = run("submit", path, "--json")

    bodies = [json.loads(line) for line in ran.out.splitlines()]
    assert [body["line"] for body in bodies] == [2, 3]
    assert all(body["final_response"] for body in bodies)
    assert ran.err == ""


def test_a_lines_id_and_metadata_come_back_with_its_result(run: Run, world: World, file: Path) -> None:
    notes: dict[str, object] = {"$a.b": {"": [1, 2.5, None, True]}, "large": 10**30, "text": "é\u0000\u2028 😀"}
    first = json.dumps({"prompt": "one", "max_iterations": 1, "id": "row-é", "metadata": notes})
    path = write_lines(file, first, '{"prompt": "two", "max_iterations": 1, "id": 7}', '{"prompt": "three"}')

    bodies = [json.loads(line) for line in run("submit", path, "--json").out.splitlines()]

    assert [(body["id"], body["metadata"]) for body in bodies] == [("row-é", notes), (7, None), (None, None)]
    assert json.loads(run("show", bodies[0]["thread_id"], "--json").out)["metadata"] == notes


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "is not JSON"),
        ('["prompt"]', "is no JSON object"),
        ('{"prompt": ""}', "prompt: is empty"),
        ("{}", "prompt: "),
        ('{"prompt": "x", "max_iterations": 11}', "max_iterations: "),
        ('{"prompt": "x", "effort": "extreme"}', "effort: "),
        ('{"prompt": "x", "colour": 1}', "colour: "),
        ('{"prompt": "x", "excluded_models": ["nope"]}', "excluded_models: unknown: nope"),
        ('{"prompt": "\\ud800"}', "prompt: "),
        ('{"prompt": "x", "metadata": ' + "[" * 100_000 + "]" * 100_000 + "}", "is not JSON: nested too deeply\n"),
        ('{"prompt": "x", "x": ' + '{"a":' * 5_000 + "1" + "}" * 5_000 + "}", "is not JSON: nested too deeply\n"),
        ('{"prompt": "x", "metadata": ' + '{"a":' * 33 + "1" + "}" * 33 + "}", "metadata: must not be nested deeper"),
        ('{"prompt": "x", "metadata": {"a": "' + "x" * 16_384 + '"}}', "metadata: must have at most 16384 bytes"),
        ('{"prompt": "x", "metadata": {"a": NaN}}', "metadata: must hold no number"),
        ('{"prompt": "x", "metadata": {"\\ud800": 1}}', "metadata: "),
        ('{"prompt": "x", "metadata": [1]}', "metadata: "),
        ('{"prompt": "x", "id": ""}', "id: must be a text of 1 to 200 characters or a whole number"),
        ('{"prompt": "x", "id": true}', "id: must be a text"),
        ('{"prompt": "x", "id": 1.5}', "id: must be a text"),
        ('{"prompt": "x", "id": "\\ud83d"}', "id: must be a text"),
        ('{"prompt": "x", "id": 9007199254740993}', "id: must be a text"),
        ('{"prompt": "x", "id": "a", "reference": "b"}', "id: means the same"),
    ],
)
def test_a_bad_line_is_numbered_and_nothing_is_written(
    run: Run, world: World, file: Path, line: str, problem: str
) -> None:
    path = write_lines(file, '{"prompt": "good"}', "", line, '{"prompt": "good"}')

    ran = run("submit", path)

    assert ran.code == 2
    assert ran.err.startswith("error: line 3: ")
    assert problem in ran.err
    assert "Traceback" not in ran.err
    assert [*world.store._all(Session), *world.store._all(Thread)] == []


def test_a_file_that_is_not_text(run: Run, file: Path) -> None:
    file.write_bytes(b'{"prompt": "good"}\n\xff\n')

    ran = run("submit", str(file))

    assert ran.code == 2
    assert "line 2: is not UTF-8" in ran.err


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file(run: Run, file: Path, content: str) -> None:
    file.write_text(content)

    assert run("submit", str(file)).code == 2


def test_a_file_that_is_not_there(run: Run, file: Path) -> None:
    ran = run("submit", str(file))

    assert ran.code == 2
    assert str(file) in ran.err


def test_without_waiting_workers_must_run(
    run: Run, world: World, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATEX_HOME", str(tmp_path / "home"))

    ran = run("submit", write_lines(file, '{"prompt": "x"}'), "--no-wait")

    assert ran.code == 2
    assert "orchestratex up" in ran.err
    assert world.store._all(Thread) == []


def test_without_waiting_the_ids_are_printed(
    run: Run, world: World, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATEX_MONGODB_URI", "mongodb://db")
    monkeypatch.setenv("ORCHESTRATEX_REDIS_URL", "redis://cache")
    monkeypatch.setattr(world, "run", lambda: None)

    ran = run("submit", write_lines(file, '{"prompt": "one"}', '{"prompt": "two"}'), "--no-wait")
    assert "orchestratex results " in ran.err

    assert ran.out.split() == [str(thread.id) for thread in world.store._all(Thread)]
    assert len(world.queue.messages) == 2


def test_a_failed_thread_exits_1(run: Run, world: World, file: Path) -> None:
    world.provider._reply = refuse

    assert run("submit", write_lines(file, '{"prompt": "x"}')).code == 1


def test_more_threads_than_may_be_in_flight_are_refused_with_what_to_do(
    run: Run, world: World, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.services.settings, "max_threads", 1)

    ran = run("submit", write_lines(file, '{"prompt": "one"}', '{"prompt": "two"}'))

    assert ran.code == 1
    assert ran.err.startswith("error: the installation has 0 threads in flight and may have 1")
    assert "submit fewer" in ran.err
    assert (world.store._all(Thread), world.store._all(Session)) == ([], [])
