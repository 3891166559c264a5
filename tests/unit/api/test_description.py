"""The API keeps to its own description, whatever it is sent."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings

from orchestratex.api.app import create_app
from tests.support import World

SEED = 20
EXAMPLES = 20  # of each operation
ADDRESS = "http://127.0.0.1"


# made when the tests are collected: a test of each operation
schema = schemathesis.openapi.from_asgi(
    "/openapi.json", create_app(World().services), headers={"Host": ADDRESS.removeprefix("http://")}
)


@schema.parametrize()
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(base_url=ADDRESS)
