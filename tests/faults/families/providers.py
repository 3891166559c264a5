"""A model whose calls go wrong, for the whole run.

Nothing is over before the run is: recovery is the longest time for which a thread or an open call stood; a wait that is
written down (a provider's wish, a back-off) is no standing.
"""

from __future__ import annotations

from orchestratex.sandbox.faults import parse_fault
from tests.faults.rig import Shape
from tests.faults.trial import Row, Trial

MODEL = "gpt4"  # preferred for answers, so that every thread needs it
SHARES = (0.1, 0.5, 1.0)
KINDS = {
    "500": "server_error",
    "429": "rate_limit retry_after_s=1",
    "hang": "hang hang_s=30",
    "connection dropped after the request": "drop",
    "malformed JSON": "truncated",
    "malformed reply in sound JSON": "malformed",
}
SMALL = {("500", 0.5), ("connection dropped after the request", 0.1)}
IMPATIENT = Shape(settings=(("call_timeout_s", 10),))  # a hanging call is given up: by default after 120 s


def run(trial: Trial, kind: str, share: float) -> None:
    """Every thread ends with an answer all the same."""
    fault = parse_fault(f"{KINDS[kind]} share={share} models={MODEL}")
    trial.rig.play(latency_s=trial.row.latency_s, faults=(fault,))
    trial.submit()
    trial.await_end()
    spoiled = trial.spoiled_calls()
    trial.expect(spoiled > 0 or share < SHARES[1], f"the fault met {spoiled} calls: nothing was tried")


ROWS = [
    Row(
        "provider",
        f"provider: {kind}",
        f"{share:.0%} of one model's calls",
        lambda t, k=kind, s=share: run(t, k, s),  # type: ignore[misc]
        IMPATIENT,
        preferred_models=(MODEL,),
        is_fresh=True,
        is_small=(kind, share) in SMALL,
    )
    for kind in KINDS
    for share in SHARES
]
