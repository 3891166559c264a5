"""What a person at a terminal sees: the commands, run as processes, on a stack that they start themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from orchestratex.domain.base import Domain
from orchestratex.store.base import COLLECTIONS
from tests.cluster import ROOT, wait_for
from tests.contract.schema import missing_fields, unexpected_nulls

pytestmark = pytest.mark.integration

PROMPTS = ROOT.parent / "shared" / "data" / "domain" / "domain_prompts.jsonl"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATEX_")}
    kept = {name: value for name, value in kept.items() if not name.endswith("_API_KEY")}
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "ORCHESTRATEX_HOME": str(tmp_path_factory.mktemp("home")),
        "ORCHESTRATEX_MEASURE_S": "2",
        "ORCHESTRATEX_API_PORT": "0",
    }


@pytest.fixture(scope="module")
def stack(environment: dict[str, str]) -> Iterator[None]:
    command = [sys.executable, "-m", "orchestratex", "up", "--no-flower"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        state = Path(environment["ORCHESTRATEX_HOME"]) / "stack.json"
        wait_for(state.exists, timeout_s=60, what="the start of the stack")
        yield
        process.terminate()


def start(environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "orchestratex", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=150)
    return process.returncode, out, err


def read_prompts() -> dict[Domain, str]:
    """The first unambiguous English prompt of each domain."""
    found: dict[Domain, str] = {}
    with PROMPTS.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if not row["ambiguous"] and row["lang"] == "en":
                found.setdefault(Domain(row["domain"]), row["prompt"])
    return found


def as_stored(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "_id": ObjectId(document["_id"])}


@pytest.mark.skipif(not PROMPTS.exists(), reason=f"the recorded prompts are not at {PROMPTS}")
def test_a_prompt_of_each_domain_completes_and_leaves_its_documents(environment: dict[str, str], stack: None) -> None:
    prompts = read_prompts()

    runs = {
        domain: finish(process)
        for domain, process in {
            domain: start(environment, "solve", prompt, "--json") for domain, prompt in prompts.items()
        }.items()
    }

    assert set(runs) == set(Domain)
    assert {domain: code for domain, (code, _, _) in runs.items()} == dict.fromkeys(Domain, 0)
    threads = [json.loads(out) for _, out, _ in runs.values()]
    refined = next(thread for thread in threads if thread["iteration"] > 1)

    def read_trace() -> dict[str, list[dict[str, Any]]] | None:
        _, out, _ = finish(start(environment, "trace", refined["thread_id"], "--json"))
        found: dict[str, list[dict[str, Any]]] = json.loads(out)
        return found if found["algorithm_metrics"] else None

    trace = wait_for(read_trace, timeout_s=60, what="the roll-up of the hour")
    assert list(trace) == list(COLLECTIONS)
    for name, documents in trace.items():
        assert documents, name
        for document in documents:
            assert missing_fields(name, document) == [], name
            assert unexpected_nulls(name, document) == [], name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "   "], "prompt"),
        (["solve", "hello", "--max-iterations", "11"], "max_iterations"),
        (["solve", "hello", "--max-iterations", "0"], "max_iterations"),
        (["solve", "hello", "--cost-limit", "-1"], "cost_limit"),
        (["solve", "hello", "--quality-threshold", "11"], "quality_threshold"),
        (["solve", "hello", "--prefer", "gpt9"], "gpt9"),
        (["solve", "hello", "--prefer", "qwen", "--exclude", "qwen"], "qwen"),
        (["show", "nonsense"], "thread_id"),
        (["show", "0" * 24], "thread_id"),
    ],
)
def test_bad_input_exits_with_2_and_names_its_field(
    environment: dict[str, str], stack: None, arguments: list[str], message: str
) -> None:
    code, out, err = finish(start(environment, *arguments))

    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
