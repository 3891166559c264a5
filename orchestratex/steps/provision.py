"""Money for the smallest panel, held together with an answer's: so that no answer is bought that nobody can judge.

It is the thread's, whoever answers: held with an attempt at an answer, until the panel's own money takes its place in
one write, the attempt fails, or the thread ends without a panel.
"""

from __future__ import annotations

from dataclasses import dataclass

from bson import ObjectId

from orchestratex.domain.base import Purpose, Role, Step
from orchestratex.domain.prices import Span
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import NotFoundError
from orchestratex.rules.panel import choose_evaluators
from orchestratex.rules.pricing import prompt_tokens, worst_case
from orchestratex.rules.prompts import answer_prompt, evaluate_prompt
from orchestratex.steps import budget
from orchestratex.steps.parameters import effort_of
from orchestratex.steps.request import first_limit, least_useful, role_schema
from orchestratex.steps.services import Services
from orchestratex.steps.span import sending_span
from orchestratex.store.base import Account

_KIND = "panel"  # in the place of an attempt's number
_TOKENS_READ = 3  # tokens that we count, from above, of an answer of one token
_ANY_NONCE = "0" * 16  # nothing is sent with it
_ANSWERED_IN = frozenset({Step.SELECT, Step.RESPOND, Step.REFINE})  # the steps between which it is held


@dataclass(frozen=True)
class Provision:
    """What is to be held for the panel of one answer."""

    key: str  # its name in the accounts
    calls: tuple[tuple[Profile, int, int], ...]  # evaluators, with their input tokens but for the answer, and output
    span: Span  # any price of it may count

    def cost(self, length: int) -> int:
        """The worst case of the cheapest evaluation of an answer of so many tokens, in nano-dollars; 0 without any."""
        costs = (
            worst_case(profile, input_tokens=given + _TOKENS_READ * length, max_tokens=most, span=self.span)
            for profile, given, most in self.calls
        )
        return min(costs, default=0)


def provide(thread: Thread, author: str, services: Services) -> Provision:
    """What the smallest panel of the author's next answer may cost."""
    earlier = {score.model_name for score in thread.scores}
    evaluators = choose_evaluators(
        services.usable_profiles(),
        thread.options,
        author=author,
        earlier_authors=earlier,
        size=services.settings.panel_size,
    )
    asked = prompt_tokens(evaluate_prompt(thread, "", nonce=_ANY_NONCE).text)
    calls = ((each, asked + _schema_tokens(each), _limit(thread, each, services)) for each in evaluators)
    return Provision(provision_key(thread), tuple(calls), sending_span(services))


def provision_key(thread: Thread) -> str:
    """The name of a thread's provision in the accounts."""
    return f"{thread.id}_{_KIND}"


def is_provision(key: str) -> bool:
    """Whether a reservation is not a call's, but a panel's to come."""
    return key.endswith(f"_{_KIND}")


def is_answer(response: Response) -> bool:
    """Whether a panel is to evaluate what a call brings."""
    return response.role is not Role.EVALUATOR and response.purpose is not Purpose.ASSESSMENT


def release(thread: Thread, services: Services) -> None:
    """Give a thread's provision back; harmless where it has none."""
    budget.release(thread.session_id, thread.user_id, provision_key(thread), services)


def release_provision(thread: Thread, services: Services) -> None:
    """Give it back where a thread ends before a panel is opened."""
    if thread.stopped_at in _ANSWERED_IN:
        release(thread, services)


def release_late(thread: Thread, services: Services) -> None:
    """Give back what a call has held whose thread had gone on already."""
    if thread.due_step not in _ANSWERED_IN:
        release(thread, services)


def settle_provision(account: Account, key: str, services: Services) -> bool:
    """Give back what a crash has left behind: its thread is no longer on its way to a panel."""
    return not _is_due(ObjectId(key.partition("_")[0]), services) and services.store.settle(account.id, key, 0)


def is_other_affordable(thread: Thread, author: str, services: Services) -> bool:
    """Whether the budget pays for a short first answer of another model, and for somebody to judge it."""
    left = budget.available(thread.session_id, thread.user_id, services, with_key=provision_key(thread))
    if left is None or thread.current_iteration > 1:
        return False
    given = prompt_tokens(answer_prompt(thread, nonce=_ANY_NONCE).text)
    out = {author, *thread.failed_models, *thread.options.excluded_models}
    others = [each for each in services.usable_profiles() if each.is_available and each.model_name not in out]
    return any(_cheapest(thread, each, given, services) <= left for each in others)


def _cheapest(thread: Thread, author: Profile, given: int, services: Services) -> int:
    effort = effort_of(author, Purpose.ANSWER, thread.options.effort)
    length = min(least_useful(author, effort, services), author.max_output_tokens)
    panel = provide(thread, author.model_name, services).cost(length)
    return panel + worst_case(author, input_tokens=given, max_tokens=length, span=sending_span(services))


def _limit(thread: Thread, evaluator: Profile, services: Services) -> int:
    effort = effort_of(evaluator, Purpose.EVALUATION, thread.options.effort)
    return first_limit(evaluator, Role.EVALUATOR, Purpose.EVALUATION, effort, services)


def _is_due(thread_id: ObjectId, services: Services) -> bool:
    try:
        return services.store.get_thread(thread_id).due_step in _ANSWERED_IN
    except NotFoundError:
        return False


def _schema_tokens(profile: Profile) -> int:
    schema = role_schema(profile, Role.EVALUATOR, Purpose.EVALUATION)
    return 0 if schema is None else prompt_tokens("", json_schema=schema)
