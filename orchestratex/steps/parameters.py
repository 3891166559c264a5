"""What a model takes: what its profile says, what its provider's list says, and what it has refused before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from orchestratex.domain.base import Component, Effort, LogLevel, Purpose
from orchestratex.domain.capabilities import (
    Capabilities,
    Refusals,
    Stated,
    choose_effort,
    merge,
    place_of,
    without,
)
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Completion, Response
from orchestratex.domain.thread import Thread
from orchestratex.errors import InputError
from orchestratex.providers.base import Entry
from orchestratex.providers.dialects import GATEWAY_DIALECT
from orchestratex.providers.origins import read_origin
from orchestratex.steps.services import Services

_STATED_AGE: Final = timedelta(days=1)  # lists change with models' versions
_RACES: Final = 10  # others who learn about the same model at the same time


def with_learnt(profile: Profile, gateway: str | None) -> Profile:
    """The profile as calls use it: its capabilities are all that is known where it is asked now.

    What a person wrote in the profile wins over the provider's list; what was refused is out, whoever said otherwise.
    """
    place = find_place(profile, gateway)
    stated = profile.stated.capabilities if profile.stated is not None and profile.stated.at == place else None
    refused = profile.refusals.parameters if profile.refusals is not None and profile.refusals.at == place else ()
    return profile.model_copy(update={"capabilities": without(merge(profile.capabilities, stated), refused)})


def find_place(profile: Profile, gateway: str | None) -> str:
    """Where the model is asked, as far as that matters for what it takes."""
    address, dialect = (profile.api_endpoint, profile.dialect) if gateway is None else (gateway, GATEWAY_DIALECT)
    try:
        origin = read_origin(address)
    except InputError:  # no call goes there, and the address may hold what is nobody's business
        origin = "an address that is none"
    return place_of(profile.model_version, dialect, origin)


def taken(profile: Profile, left_out: Sequence[str]) -> Capabilities:
    """What the model takes in a call in which it has refused some parameters already."""
    return without(profile.capabilities, left_out)


def effort_of(profile: Profile, purpose: Purpose, wanted: Effort | None, left_out: Sequence[str] = ()) -> Effort | None:
    """How hard the model is asked to think. A few words about an answer of its own need no thought at all."""
    return choose_effort(taken(profile, left_out), Effort.NONE if purpose is Purpose.ASSESSMENT else wanted)


def note_refusal(model: str, parameter: str, problem: str, services: Services, *, thread: Thread | None = None) -> None:
    """Remember a parameter that a model refused, and tell it once."""
    gateway = services.settings.models_base_url
    for _ in range(_RACES):
        profile = next((each for each in services.store.profiles() if each.model_name == model), None)
        if profile is None:
            return
        place, before = find_place(profile, gateway), profile.refusals
        known = before.parameters if before is not None and before.at == place else []
        if parameter in known:
            break
        after = Refusals(at=place, parameters=[*known, parameter])
        if services.store.swap_profile(model, {"refusals": before}, {"refusals": after}):
            _tell_refusal(model, parameter, problem, services, thread)
            break
    services.cache.forget()


def _tell_refusal(model: str, parameter: str, problem: str, services: Services, thread: Thread | None) -> None:
    services.journal.write(
        Component.ORCHESTRATOR,
        "parameter_refused",
        f"{model} does not take {parameter}: calls leave it out from now on",
        thread=thread,
        level=LogLevel.WARNING,
        model=model,
        parameter=parameter,
        problem=problem,
    )


def is_stated(profile: Profile, services: Services) -> bool:
    """Whether what the provider's list says of a model was read lately, where the model is asked now."""
    stated = profile.stated
    is_here = stated is not None and stated.at == find_place(profile, services.settings.models_base_url)
    return is_here and stated is not None and services.clock() - stated.read_at < _STATED_AGE


def note_stated(profile: Profile, entry: Entry, services: Services) -> None:
    """Keep what the provider's list says of a model."""
    place = find_place(profile, services.settings.models_base_url)
    stated = Stated(at=place, read_at=services.clock(), capabilities=entry.capabilities)
    services.store.update_profile(profile.model_name, {"stated": stated})
    services.cache.forget()


def note_served(response: Response, completion: Completion, services: Services, thread: Thread) -> None:
    """Keep the version that a reply names, and tell when it is another than the last one's."""
    profile, served = services.profile(response.model_name), completion.served_version
    if profile is None or served is None or profile.served_version == served:
        return
    name, before = profile.model_name, profile.served_version
    is_first_to_note = services.store.swap_profile(name, {"served_version": before}, {"served_version": served})
    services.cache.forget()
    if is_first_to_note and before is not None:
        services.journal.write(
            Component.ORCHESTRATOR,
            "served_version_changed",
            f"{profile.model_name}, asked for as {profile.model_version}, is served by {served} in place of {before}",
            thread=thread,
            level=LogLevel.WARNING,
            model=profile.model_name,
            before=before,
            served=served,
        )
