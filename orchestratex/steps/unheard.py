"""Why a panel brought no evaluation: what became of those who were asked, or why nobody was."""

from __future__ import annotations

from orchestratex.domain.base import ResponseStatus
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.rules.causes import join_causes
from orchestratex.steps.services import Services

_MOST_WORDS = 1000  # characters, in each iteration's score


def explain_unheard(thread: Thread, services: Services) -> str | None:
    """Of a panel without a single evaluation, by evaluator; None where nobody was wanted."""
    panel = services.store.panel_of(thread.id, iteration=thread.current_iteration)
    if panel:
        said = join_causes({each.model_name: _explain_call(each) for each in sorted(panel, key=_place)})
    elif thread.panel_size:
        said = _explain_nobody(thread, services)
    else:
        return None
    return said[:_MOST_WORDS]


def _place(call: Response) -> int:
    """Of two calls of a model the one that asked again is the last, and counts."""
    return call.ordinal


def _explain_call(call: Response) -> str:
    if call.error_message:
        return call.error_message
    why = call.waits_for or call.retried_for
    late = "was left behind" if call.status is ResponseStatus.SUPERSEDED else "did not come in time"
    return f"{why.removeprefix(f'{call.model_name}: ')} (it {late})" if why else f"its evaluation {late}"


def _explain_nobody(thread: Thread, services: Services) -> str:
    """The evaluators that were wanted could not even be asked."""
    options, usable = thread.options, {profile.model_name for profile in services.usable_profiles()}
    causes = {}
    for profile in services.cache.all():
        name = profile.model_name
        is_wanted = options.evaluators is None or name in options.evaluators
        if not is_wanted or name == thread.best_model_id or name in options.excluded_models or not profile.is_active:
            continue
        if name not in usable:
            causes[name] = f"no key is set for {profile.provider}" if profile.api_key_required else "not served here"
        elif not profile.is_available:
            causes[name] = profile.out_of_reach or "its last probe failed"
    return f"nobody could be asked: {join_causes(causes) or 'no other model is there'}"
