"""Faults are drawn, limited and read as said."""

from __future__ import annotations

import pytest

from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.evaluating import NO_BIAS, Bias
from orchestratex.sandbox.faults import Fault, FaultKind, FaultPlan, parse_fault
from orchestratex.sandbox.tasks import TaskKind


def hits_of(plan: FaultPlan, count: int, *, model: str = "gpt4", task: TaskKind = TaskKind.ANSWER) -> list[int]:
    return [n for n in range(count) if plan.draw(model, task, f"key.{n}")[0]]


def test_share_of_calls_is_hit_and_the_same_again() -> None:
    fault = Fault(kind=FaultKind.SERVER_ERROR, share=0.2)

    hits = hits_of(FaultPlan([fault], seed=1), 1000)

    assert 150 < len(hits) < 250
    assert hits == hits_of(FaultPlan([fault], seed=1), 1000)
    assert hits != hits_of(FaultPlan([fault], seed=2), 1000)


def test_times_limits_the_hits() -> None:
    plan = FaultPlan([Fault(kind=FaultKind.DROP, times=3)], seed=0)

    assert hits_of(plan, 10) == [0, 1, 2]
    assert plan.hits == [3]


@pytest.mark.parametrize(
    ("model", "task", "is_hit"),
    [
        ("gpt4", TaskKind.EVALUATE, True),
        ("gpt4", TaskKind.ANSWER, False),
        ("claude", TaskKind.EVALUATE, False),
    ],
)
def test_models_and_tasks_are_chosen(model: str, task: TaskKind, is_hit: bool) -> None:
    plan = FaultPlan([Fault(kind=FaultKind.HANG, models=("gpt4",), tasks=(TaskKind.EVALUATE,))], seed=0)

    assert bool(hits_of(plan, 1, model=model, task=task)) is is_hit


def test_first_fault_wins_and_biases_add_up() -> None:
    plan = FaultPlan(
        [
            Fault(kind=FaultKind.SEVERITY, offset=1),
            Fault(kind=FaultKind.EMPTY),
            Fault(kind=FaultKind.DROP),
            Fault(kind=FaultKind.SEVERITY, offset=0.5),
            Fault(kind=FaultKind.BRIBED, offset=0),
        ],
        seed=0,
    )

    fault, bias = plan.draw("gpt4", TaskKind.EVALUATE, "key")

    assert fault
    assert fault.kind is FaultKind.EMPTY
    assert bias == Bias(is_bribable=True, severity=1.5)
    assert plan.draw("gpt4", TaskKind.ANSWER, "key")[1] == NO_BIAS


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop", Fault(kind=FaultKind.DROP)),
        (
            "rate_limit share=0.1 models=gpt4,claude tasks=evaluate times=2 retry_after_s=3",
            Fault(
                kind=FaultKind.RATE_LIMIT,
                share=0.1,
                models=("gpt4", "claude"),
                tasks=(TaskKind.EVALUATE,),
                times=2,
                retry_after_s=3,
            ),
        ),
        ('{"kind": "hang", "hang_s": 2}', Fault(kind=FaultKind.HANG, hang_s=2)),
    ],
)
def test_reads_faults_from_a_command_line(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize("text", ["earthquake", "drop share", "drop share=2", "drop shares=1", "{", ""])
def test_refuses_what_is_no_fault(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_fault(text)


def test_config_reads_options() -> None:
    config = SandboxConfig.from_options(latency_scale=0, faults=["empty models=qwen"], aliases=["my-model=grok"])

    assert config.aliases == {"my-model": "grok"}
    assert config.faults[0].models == ("qwen",)


@pytest.mark.parametrize("options", [{"aliases": ["x=gpt9"]}, {"faults": ["drop models=gpt9"]}])
def test_config_knows_its_models(options: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match="plays no gpt9"):
        SandboxConfig.from_options(**options)  # type: ignore[arg-type]
