"""What a call brought goes into the ledger, first of all: it is paid for."""

from __future__ import annotations

import threading

from orchestratex.domain.response import AttemptCost, Completion, Response
from orchestratex.errors import DocumentTooLargeError, StoreUnavailableError
from orchestratex.rules.keeping import fit_completion, leave_out_text
from orchestratex.steps.failing import sent_time, since
from orchestratex.steps.heart import Lease
from orchestratex.steps.services import Services

_PATIENCE = 240  # tries, half a second apart: an answer that was paid for outlives an outage of two minutes
_PAUSE_S = 0.5


def save_patiently(
    response: Response, completion: Completion, cost: AttemptCost, lease: Lease, services: Services
) -> Response | None:
    """Write under the lease, through an outage of the store: what was paid for must not be lost to a blink."""
    for _ in range(_PATIENCE):
        try:
            return _save(response, completion, cost, services)
        except StoreUnavailableError:
            if lease.is_lost:
                return None
            threading.Event().wait(_PAUSE_S)
    return _save(response, completion, cost, services)


def write_late(
    response: Response, completion: Completion | None, cost: AttemptCost, services: Services
) -> Response | None:
    """Keep what came of a call that nobody waits for any more, and free its lease."""
    over: dict[str, object] = {"reserved_nanos": 0, "sent_at": None, "processing_duration": since(response, services)}
    if completion is None:
        over |= sent_time(response, services)
    kept = fit_completion(completion, response.role) if completion else None
    try:
        changes = {**(_fields(kept) if kept else {}), **over}
        return services.store.update_response(response, changes, is_release=True, charge=cost)
    except DocumentTooLargeError:
        return services.store.update_response(response, over, is_release=True, charge=cost)


def _save(response: Response, completion: Completion, cost: AttemptCost, services: Services) -> Response | None:
    """Beside a huge prompt even a text that was cut may be too much: then its money is kept, and none of the text."""
    kept = fit_completion(completion, response.role)
    for fitting in (kept, leave_out_text(kept)):
        try:
            changes = {**_fields(fitting), "reserved_nanos": 0}
            return services.store.update_response(response, changes, is_pending=True, charge=cost)
        except DocumentTooLargeError:
            if not fitting.text:
                raise
    return None


def _fields(completion: Completion) -> dict[str, object]:
    return {
        "completion": completion,
        "finish_reason": completion.finish_reason,
        "response_time": completion.latency_ms,
        "served_version": completion.served_version,
        "is_simulated": completion.is_simulated,
    }
