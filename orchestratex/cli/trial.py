"""One real answer and one real evaluation of each model: ordinary threads of one iteration, in one session."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestratex.advance import end_session
from orchestratex.cli.check import Found, find_out
from orchestratex.cli.follow import Watch
from orchestratex.cli.inputs import plan_own_session, require_models
from orchestratex.cli.outcome import Calls, Outcome, Tried
from orchestratex.cli.reach import Reached
from orchestratex.cli.snapshot import Snapshot, take_snapshot
from orchestratex.cli.tally import open_tally
from orchestratex.cli.waits import WaitWatch
from orchestratex.domain.base import Effort
from orchestratex.domain.inputs import MAX_NAMES
from orchestratex.domain.profile import Profile
from orchestratex.domain.thread import Thread
from orchestratex.steps.check import Finding, Grade
from orchestratex.steps.services import Services
from orchestratex.steps.submit import ThreadRequest, submit, submit_new

PROMPT: Final = "In one or two sentences: why is the sky blue?"
# holds an answer and an evaluation at their worst case, of a model that always thinks, at $15 for a million output
# tokens; what is paid is far less
USD_A_MODEL: Final = 0.20
LOOK_S: Final = 0.5


@dataclass(frozen=True)
class _Pair:
    author: str
    evaluator: str | None  # None: there is no other model


class Trial:
    """Asks once, however often it is run.

    `cost_limit` is what all calls may cost together, in US dollars; None: USD_A_MODEL for each model.
    """

    def __init__(self, names: Sequence[str], cost_limit: float | None) -> None:
        self._names = list(names)
        self._cost_limit = cost_limit
        self._pairs: list[_Pair] = []
        self._threads: list[Thread] = []
        self.is_left_alone = True  # until it is known who works on it
        self.found: Found = {}

    def submit(self, services: Services) -> None:
        """Only look whether any model can be asked. Raises InputError where none can."""
        require_models(services)

    def end(self, services: Services) -> None:
        """End the session."""
        if self._threads:
            end_session(self._threads[0].session_id, services)

    def run(self, reached: Reached, *, is_silent: bool) -> dict[str, Tried]:
        """Look at the models at no cost, let those answer and evaluate that can be asked, and wait.

        Raises InputError for unknown names.
        """
        services = reached.services
        self.found = self.found or find_out(self._names, reached)
        profiles = {profile.model_name: profile for profile in services.store.profiles()}
        unfit = find_unfit(self.found, profiles, services)
        wanted = [name for name in self.found if name not in unfit]
        if not self._threads:
            self._ask(_pair_up([*wanted, *_find_partner(wanted, services)]), profiles, services)
        self._wait(reached, is_silent=is_silent)
        if again := self._pair_again(wanted, services):
            self._ask(again, profiles, services)
            self._wait(reached, is_silent=is_silent)
        calls = Calls(self._threads, services)
        is_alone = all(pair.evaluator is None for pair in self._pairs)
        answered = {
            pair.author: thread for pair, thread in reversed(list(zip(self._pairs, self._threads, strict=True)))
        }
        return {
            name: unfit[name] if name in unfit else calls.read(name, answered[name], is_alone=is_alone)
            for name in self.found
        }

    def _ask(self, pairs: Sequence[_Pair], known: Collection[str], services: Services) -> None:
        """Submit a thread for each pair; the first ones open the session."""
        requests = [_make_request(pair, known, services) for pair in pairs]
        self._pairs += pairs
        if self._threads:
            self._threads += submit(self._threads[0].session_id, requests, services)
        elif requests:
            limit = USD_A_MODEL * len(requests) if self._cost_limit is None else self._cost_limit
            self._threads = submit_new(plan_own_session(limit), requests, services)

    def _wait(self, reached: Reached, *, is_silent: bool) -> None:
        if not self._threads:
            return
        wanted, waits = [thread.id for thread in self._threads], WaitWatch(reached.services)

        def note(seen: Sequence[Snapshot]) -> str:
            return next(filter(None, map(waits.tell, seen)), "")

        watch = Watch(
            lambda: [take_snapshot(thread_id, reached.services) for thread_id in wanted],
            is_final=lambda seen: all(each.thread.is_ended for each in seen),
            pause_s=LOOK_S,
            reached=reached,
        )
        with open_tally(len(wanted), is_silent=is_silent) as show:
            seen = watch.run(lambda seen: show([each.thread for each in seen], note(seen)))
        self._threads = [each.thread for each in seen]

    def _pair_again(self, wanted: Sequence[str], services: Services) -> list[_Pair]:
        """Who had nothing to evaluate, because its author gave no answer, gets the answer of another."""
        calls = Calls(self._threads, services)
        good = [name for name in wanted if calls.has_answered(name)]
        idle = [name for name in wanted if not calls.was_asked_to_evaluate(name)]
        pairs = [_Pair(by, name) for name in idle if (by := next((other for other in good if other != name), None))]
        return [pair for pair in pairs if pair not in self._pairs]


def find_unfit(found: Found, profiles: Mapping[str, Profile], services: Services) -> dict[str, Tried]:
    """The models that are not asked, with the reason: what cannot be reached, and what no selection would choose."""
    usable = {profile.model_name for profile in services.usable_profiles()}
    return {
        name: Tried(outcome, outcome)
        for name, findings in found.items()
        if (outcome := _find_obstacle(profiles[name], findings, is_usable=name in usable))
    }


def _find_obstacle(profile: Profile, findings: Sequence[Finding], *, is_usable: bool) -> Outcome | None:
    failed = next((each for each in findings if each.grade is Grade.FAILED), None)
    if failed:
        return Outcome(Grade.FAILED, f"not asked: {failed.about}: {failed.text}")
    if not profile.is_active:
        return Outcome(Grade.FAILED, f"not asked: switched off; orchestratex models enable {profile.model_name}")
    if not is_usable:
        key = next((each.text for each in findings if each.about == "key"), "it cannot be served")
        return Outcome(Grade.SKIPPED, f"not asked: {key}")
    if not profile.is_available:
        return Outcome(Grade.FAILED, "not asked: its last probe failed; the next one, within minutes, may find it well")
    return None


def _pair_up(names: Sequence[str]) -> list[_Pair]:
    """A ring: each answers, and the next one evaluates."""
    if len(names) == 1:
        return [_Pair(names[0], None)]
    return [_Pair(name, names[(at + 1) % len(names)]) for at, name in enumerate(names)]


def _find_partner(wanted: Sequence[str], services: Services) -> list[str]:
    """For a single model the cheapest other one: it answers what the first evaluates, and evaluates its answer."""
    others = [each for each in services.usable_profiles() if each.is_available and each.model_name not in wanted]
    if len(wanted) != 1 or not others:
        return []
    return [min(others, key=lambda each: (each.cost_per_output_token, each.model_name)).model_name]


def _make_request(pair: _Pair, known: Collection[str], services: Services) -> ThreadRequest:
    here, settings = {pair.author, pair.evaluator}, services.settings
    patience_s = 2 * settings.call_timeout_s + settings.panel_deadline_s  # an answer asked for twice, and a panel
    return ThreadRequest(
        prompt=PROMPT,
        max_iterations=1,
        effort=Effort.NONE,  # where a model must think, the least: the question is easy, and room to think costs money
        preferred_models=[pair.author],
        excluded_models=sorted(set(known) - here)[:MAX_NAMES] if pair.evaluator else None,
        evaluators=[pair.evaluator] if pair.evaluator else None,
        deadline_s=min(patience_s, settings.thread_deadline_s),
    )
