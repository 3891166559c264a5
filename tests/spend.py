"""A process that makes many paid calls at once: `python -m tests.spend`, response ids on stdin, outcomes on stdout."""

from __future__ import annotations

import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bson import ObjectId

from orchestratex.bootstrap import make_services
from orchestratex.rules.prompts import Messages
from orchestratex.settings import load_settings
from orchestratex.steps.calls import run_call
from orchestratex.steps.services import Services

MESSAGES = Messages(system="Answer.", user="What is a bounded queue?")


def spend_one(response_id: str, services: Services) -> str:
    """Make one call, as a worker would, and say how it ended."""
    return run_call(ObjectId(response_id), lambda _thread, _response: MESSAGES, services).state.value


def main() -> None:
    """Make all calls at once."""
    ids = json.load(sys.stdin)
    services = make_services(load_settings())
    with ThreadPoolExecutor(len(ids)) as pool:
        outcomes = Counter(pool.map(lambda each: spend_one(each, services), ids))
    services.close()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
