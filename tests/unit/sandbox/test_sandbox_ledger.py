"""The ledger adds up."""

from __future__ import annotations

from orchestratex.sandbox.ledger import Ledger


def call(ledger: Ledger, key: str, *, cost_nanos: int | None = None, outcome: str = "ok") -> None:
    entry = ledger.open(key=key, model="gpt4", task="answer", prompt_sha="ab")
    if cost_nanos is not None:
        ledger.charge(entry, input_tokens=10, output_tokens=20, cost_nanos=cost_nanos)
    ledger.close(entry, outcome=outcome, status=200)


def test_sums_charged_calls_only() -> None:
    ledger = Ledger()

    call(ledger, "a.1", outcome="rate_limit")
    call(ledger, "a.2", cost_nanos=7)
    call(ledger, "b.1", cost_nanos=5)

    summary = ledger.summarise()
    assert (summary["calls"], summary["charged"], summary["cost_nanos"]) == (3, 2, 12)
    assert (summary["input_tokens"], summary["output_tokens"]) == (20, 40)
    assert summary["by_outcome"] == {"rate_limit": 1, "ok": 2}


def test_counts_keys_and_responses_charged_more_than_once() -> None:
    ledger = Ledger()

    for key in ("a.1", "a.1", "b.1", "b.2", "c.1", "", ""):
        call(ledger, key, cost_nanos=1)

    summary = ledger.summarise()
    assert summary["repeated_keys"] == 1
    assert summary["repeated_responses"] == 2


def test_remembers_the_highest_concurrency() -> None:
    ledger = Ledger()
    entries = [ledger.open(key=str(n)) for n in range(5)]
    for entry in entries:
        ledger.close(entry, outcome="ok", status=200)

    call(ledger, "later")

    assert ledger.summarise()["max_concurrency"] == 5
    assert ledger.summarise()["under_way"] == 0


def test_clearing_forgets_calls_under_way() -> None:
    ledger = Ledger()
    entry = ledger.open(key="a.1")

    ledger.clear()
    ledger.close(entry, outcome="ok", status=200)

    assert ledger.dump() == []
    assert ledger.summarise()["under_way"] == 0
