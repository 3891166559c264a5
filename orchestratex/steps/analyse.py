from __future__ import annotations

from orchestratex.domain.base import Component, Step
from orchestratex.domain.thread import Thread
from orchestratex.rules.analysis import analyse_prompt
from orchestratex.steps.moves import Move
from orchestratex.steps.services import Services


def analyse(thread: Thread, services: Services) -> Move:
    """Clean the prompt and say what it is about and how hard it is."""
    analysis = analyse_prompt(thread.original_prompt)
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
