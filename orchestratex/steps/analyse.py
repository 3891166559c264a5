from __future__ import annotations

from typing import Final

from orchestratex.domain.base import Component, Step
from orchestratex.domain.thread import Thread
from orchestratex.rules.analysis import analyse_prompt
from orchestratex.rules.language import forget_model
from orchestratex.steps.idling import Idling
from orchestratex.steps.moves import Move
from orchestratex.steps.services import Services

_LANGUAGES: Final = Idling(forget_model, keep_s=60)  # the model that tells them: most of what an idle process takes


def analyse(thread: Thread, services: Services) -> Move:
    """Clean the prompt and say what it is about and how hard it is."""
    analysis = analyse_prompt(thread.original_prompt)
    _LANGUAGES.note_use()
    services.journal.write(
        Component.ORCHESTRATOR,
        "prompt_analysed",
        f"{analysis.domain.value} prompt, {analysis.complexity_level.value}, language {analysis.language}",
        thread=thread,
        difficulty=analysis.estimated_difficulty,
    )
    return Move(
        Step.SELECT,
        {
            "processed_prompt": analysis.processed_prompt,
            "domain": analysis.domain,
            "complexity_level": analysis.complexity_level,
            "estimated_difficulty": analysis.estimated_difficulty,
            "language": analysis.language,
        },
    )
