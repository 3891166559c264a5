"""The last choice of a thread: which of its responses is shown, told as a selection among their authors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestratex.domain.selection import Candidate
from orchestratex.domain.thread import IterationScore
from orchestratex.rules.flow import best_score, describe_panel
from orchestratex.rules.selection import Ranking

_CLEAR_MARGIN = 2.0  # points; a lead beyond which more lead adds no confidence


def choose_final(scores: Sequence[IterationScore], known: Mapping[str, Candidate], *, author: str) -> Ranking:
    """Tell the choice of the best response: candidates are the authors, scored by their best response's panel.

    `known` holds the authors' candidacies from earlier selections. Confidence is 1 + 9 s times the lead over the second
    author in units of two points, or times a half where nobody else wrote; s is the share of the evaluations wanted
    that stand behind the best score.
    """
    best = {model: best_score([s for s in scores if s.model_name == model]) for model in {author, *_authors(scores)}}
    marks = {model: score.score for model, score in best.items() if score is not None and score.score is not None}
    others = sorted((model for model in marks if model != author), key=lambda model: (-marks[model], model))
    margin = max(0.0, marks.get(author, 1.0) - marks[others[0]]) if others else None
    candidates = [_candidate(known[model], best[model]) for model in [author, *others] if model in known]
    return Ranking(
        candidates=candidates,
        selected=author,
        runner_up=others[0] if others else None,
        margin=margin,
        confidence=1 + 9 * _share(best[author]) * (0.5 if margin is None else min(1.0, margin / _CLEAR_MARGIN)),
        factors=[_factor(best[author], len(scores))],
        override_reasons="",
    )


def _candidate(selected: Candidate, score: IterationScore | None) -> Candidate:
    """An author as a candidate: by its response's score where a panel gave one, else by that of its selection."""
    if score is None or score.score is None:
        why = f"no panel has scored its response; by its selection: {selected.selection_reasoning}"
        return selected.model_copy(update={"selection_reasoning": why})
    panel = "the evaluations that came" if score.asked is None else describe_panel(score)
    why = f"{panel} give its response of iteration {score.iteration} a mean of {score.score:.2f}"
    return selected.model_copy(update={"final_score": score.score, "selection_reasoning": why})


def _authors(scores: Sequence[IterationScore]) -> set[str]:
    return {score.model_name for score in scores}


def _factor(score: IterationScore | None, count: int) -> str:
    if score is None or score.score is None:
        return "the only response; no evaluation arrived"
    panel = "" if score.asked is None else f" of {describe_panel(score)}"
    return f"panel score {score.score:.2f}{panel} in iteration {score.iteration}, the best of {count}"


def _share(score: IterationScore | None) -> float:
    if score is None or not score.asked:
        return 1.0
    return min(1.0, score.evaluators / score.asked)
