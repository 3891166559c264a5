"""Threads over real models: run by `pytest -m realmodel` while serve.sh serves them."""

from __future__ import annotations

import pytest

from orchestratex.domain.base import ThreadStatus
from tests.realmodel.clean import find_scaffolding
from tests.realmodel.measure import make_world
from tests.realmodel.models import LARGE, MIDDLE, SMALL
from tests.realmodel.prompts import PROMPTS

SERVED = [model for model in (LARGE, MIDDLE, SMALL) if model.is_served]

pytestmark = [
    pytest.mark.realmodel,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(len(SERVED) < 2, reason="no real models are served: see tests/realmodel/README.md"),
]


@pytest.mark.parametrize("with_schema", [True, False], ids=["schema", "free"])
@pytest.mark.parametrize("domain", list(PROMPTS))
def test_what_the_user_sees_of_a_real_model_is_its_answer_alone(domain: str, with_schema: bool) -> None:
    world = make_world(SERVED, with_schema=with_schema)

    thread = world.solve(PROMPTS[domain][0], preferred_models=[SERVED[0].name], max_iterations=2)

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response
    assert find_scaffolding(thread.final_response, thread.original_prompt) == []
