"""How a thread's outcome is printed for people."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestratex.cli.advice import advise
from orchestratex.cli.output import format_cost, format_score, print_pairs, print_text
from orchestratex.cli.snapshot import Snapshot, describe_scores
from orchestratex.domain.base import FILTERED, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.rules.flow import describe_best_panel
from orchestratex.steps.waiting import Waiting


def print_result(
    snapshot: Snapshot, waiting: Waiting | None = None, *, uses_sandbox: bool = False, tells_failure: bool = True
) -> None:
    """Print the final response, then how it came about; the summary alone when there is no response.

    With `uses_sandbox`, or where calls say so, it says that the sandbox played the models, and that the cost is none.
    Without `tells_failure` somebody else says why it failed and what to do.
    """
    thread = snapshot.thread
    if thread.thread_status is ThreadStatus.COMPLETED and thread.final_response is not None:
        print_text(thread.final_response)
        print()
    pairs = _summarise(snapshot, waiting, is_simulated=uses_sandbox or snapshot.is_simulated)
    print_pairs(pair for pair in pairs if tells_failure or pair[0] not in _OF_FAILURE)


_OF_FAILURE = ("failure", "next")


def _summarise(snapshot: Snapshot, waiting: Waiting | None, *, is_simulated: bool) -> list[tuple[str, str]]:
    thread = snapshot.thread
    stop_reason = thread.stop_reason.value if thread.stop_reason else "-"
    pairs = [
        ("status", thread.thread_status.value),
        ("score", describe_score(thread)),
        ("iterations", f"{thread.current_iteration} of at most {thread.options.max_iterations}"),
        ("models", (", ".join(snapshot.models) or "none called") + (", played by the sandbox" if is_simulated else "")),
        ("cost", format_cost(snapshot.cost_nanos) + (" (simulated)" if is_simulated else "")),
        ("tokens", f"{thread.total_tokens_used:,}"),
        ("time", f"{thread.total_time_spent / 1000:.1f} s"),
        ("stop_reason", stop_reason),
        ("session", str(thread.session_id)),
        ("thread", str(thread.id)),
    ]
    if thread.is_final_partial:
        pairs.insert(1, ("note", describe_partial(thread)))
    advice = advise(thread)
    if advice:
        pairs.insert(1, ("next", advice))
    if thread.failure_reason:
        pairs.insert(1, ("failure", thread.failure_reason))
    if waiting:
        pairs.insert(1, ("waiting", waiting.tell(datetime.now(UTC))))
    return pairs


def describe_status(thread: Thread) -> str:
    """The status in a word, and whether the final response is whole."""
    return thread.thread_status.value + (", not whole" if thread.is_final_partial else "")


def describe_partial(thread: Thread) -> str:
    """Why the final response is not whole."""
    by_filter = thread.final_finish_reason in FILTERED
    cause = "the provider's filter ended it" if by_filter else "it was cut off at its model's output limit"
    return f"the final response is not whole: {cause}"


def describe_score(thread: Thread) -> str:
    """The score of the first response and of the one that is shown, and how many evaluations stand behind it."""
    final = format_score(thread.final_quality_score)
    scores = describe_scores(thread)
    panel = describe_best_panel(thread)
    if panel is None:
        return "-"
    if thread.final_quality_score is None and thread.is_ended:
        return panel
    if not thread.is_ended or thread.best_model_id is None:
        return f"{' → '.join(format_score(score) for score in scores)}, {panel}"
    first = f"{format_score(scores[0])} → " if len(scores) > 1 else ""
    return f"{first}{final} ({thread.best_model_id}), {panel}"
