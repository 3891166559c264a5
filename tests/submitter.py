"""A process that submits, as one API process of many does: `python -m tests.submitter COUNT THREADS`.

Prints how many threads were taken in and how many refused.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from orchestratex.bootstrap import make_services
from orchestratex.errors import CapacityError
from orchestratex.settings import load_settings
from orchestratex.steps.submit import SessionRequest, ThreadRequest, submit_new


def main(count: int, threads: int) -> None:
    services = make_services(load_settings())

    def try_one(number: int) -> bool:
        request = ThreadRequest(prompt=f"Why is the sky blue? {number}", max_iterations=1)
        try:
            submit_new(SessionRequest(user_id=f"user {number % 3}"), [request], services)
        except CapacityError:
            return False
        return True

    with ThreadPoolExecutor(threads) as pool:
        taken = sum(pool.map(try_one, range(count)))
    print(taken, count - taken)
    services.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
