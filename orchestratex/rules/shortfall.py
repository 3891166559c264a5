"""What a reply falls short of, and whether asking the same model again can help: each asking differs from the last."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestratex.domain.base import FILTERED, FinishReason
from orchestratex.domain.response import Completion

MOST_RE_ASKS: Final = 2  # of one model for one reply: one that is unreadable, or longer and longer ones
_LONGER: Final = 2  # times the limit at which a text was cut off
_MUCH_LONGER: Final = 4  # where thinking used up the limit before the first word: nobody knows how much is missing
_LEAST_GAIN: Final = 1.25  # a limit that is hardly higher ends the reply at hardly another place


class Kind(StrEnum):
    """In what a reply falls short."""

    CUT_OFF = "cut_off"  # by the output limit, in its text
    NO_TEXT = "no_text"  # by the output limit, before any text
    FILTERED = "filtered"  # ended by the provider's filter
    TOO_LONG = "too_long"  # more than can be kept: what came is cut
    UNREADABLE = "unreadable"


@dataclass(frozen=True)
class Shortfall:
    """What is wrong with a reply, in words for the record and, as the end of "Your last reply …", for its model."""

    kind: Kind
    record: str
    told: str

    @property
    def is_for_length(self) -> bool:
        """Whether a higher output limit would mend it."""
        return self.kind in {Kind.CUT_OFF, Kind.NO_TEXT}


def find_shortfall(
    completion: Completion, *, limit: int, problem: str | None = None, is_whole: bool = False
) -> Shortfall | None:
    """What is wrong with a completion that was allowed `limit` tokens; None when nothing is.

    `problem` says why it cannot be read, `is_whole` that what was wanted of it is there to its end, however it stopped.
    """
    if is_whole:
        return None
    if completion.bytes_left_out:
        return say_too_long(f"{completion.bytes_left_out} bytes")
    if completion.finish_reason is FinishReason.LENGTH:
        return _say_cut_off(completion, limit)
    if completion.finish_reason in FILTERED:
        said = "was ended by the provider's filter before its end"
        return Shortfall(Kind.FILTERED, f"the reply {said}", said)
    if problem is None:
        return None
    return Shortfall(Kind.UNREADABLE, f"malformed reply: {problem}", f"could not be read: {problem}")


def say_too_long(by: str) -> Shortfall:
    """A reply that is longer than can be kept, by so much."""
    said = f"was longer than can be kept, by {by}"
    return Shortfall(Kind.TOO_LONG, f"the reply {said}", said)


def longer_limit(limit: int, kind: Kind, *, most: int) -> int | None:
    """The output limit to ask again with, `most` at the most; None where that is hardly more than the last one."""
    wanted = min(most, limit * (_MUCH_LONGER if kind is Kind.NO_TEXT else _LONGER))
    return wanted if wanted >= limit * _LEAST_GAIN else None


def may_ask_again(shortfall: Shortfall, *, re_asks: int, was_for_length: bool) -> bool:
    """Whether the same model may be asked once more after `re_asks`, the last of them for a cut-off reply or not.

    A filter would end the same reply again, and a second unreadable one costs the model its place.
    """
    if re_asks >= MOST_RE_ASKS or shortfall.kind in {Kind.FILTERED, Kind.TOO_LONG}:
        return False
    return shortfall.is_for_length or re_asks == 0 or was_for_length


def _say_cut_off(completion: Completion, limit: int) -> Shortfall:
    if completion.text.strip():
        said = f"was cut off at the output limit of {limit} tokens"
        return Shortfall(Kind.CUT_OFF, f"the reply {said}", said)
    thought = completion.usage.reasoning_tokens if completion.usage else 0
    spent = f", {thought} of them spent on thinking" if thought else ""
    record = f"output limit reached before any text: the limit was {limit} tokens{spent}"
    return Shortfall(Kind.NO_TEXT, record, f"was empty ({record})")
