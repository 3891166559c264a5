from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from bson import ObjectId
from pydantic import BaseModel
from pymongo.database import Database

from orchestratex.store.base import COLLECTIONS, Store

Document = Mapping[str, Any]

ENDED: Final = frozenset({"completed", "failed"})
ANSWERS: Final = frozenset({"answer", "re_ask"})  # purposes whose completed call brings an answer
NANOS: Final = 1_000_000_000


class Records:
    """All documents of the nine collections, and what is looked up in them."""

    def __init__(self, documents: Mapping[str, Sequence[Document]]) -> None:
        self.documents: dict[str, list[Document]] = {name: list(documents.get(name, ())) for name in COLLECTIONS}

    @classmethod
    def read(cls, database: Database[dict[str, Any]], store: Store) -> Records:
        """Everything as it is stored; evaluations with the prompt that readers of the store are shown."""
        documents = {name: list(database[name].find()) for name in COLLECTIONS}
        shown = {
            evaluation.id: evaluation.evaluation_prompt_used
            for thread in documents["conversation_threads"]
            for evaluation in store.evaluations_of(thread["_id"])
        }
        documents["model_evaluations"] = [
            {**each, "evaluation_prompt_used": shown.get(each["_id"])} for each in documents["model_evaluations"]
        ]
        return cls(documents)

    @classmethod
    def of_thread(cls, thread_id: ObjectId, store: Store) -> Records:
        """What a store of any kind has of one thread, its session and the models."""
        thread = store.get_thread(thread_id)
        found: dict[str, Sequence[BaseModel]] = {
            "user_sessions": [store.get_session(thread.session_id)],
            "conversation_threads": [thread],
            "ai_model_profiles": store.profiles(),
            "model_responses": store.responses_of(thread_id),
            "model_evaluations": store.evaluations_of(thread_id),
            "model_selection_history": store.selections_of(thread_id),
            "criticism_responses": store.criticisms_of(thread_id),
            "orchestration_logs": store.logs_of(thread_id),
            "algorithm_metrics": store.metrics("hourly", limit=1),
        }
        return cls({name: [each.model_dump(by_alias=True) for each in kept] for name, kept in found.items()})

    @cached_property
    def sessions(self) -> dict[ObjectId, Document]:
        """By id."""
        return self._by_id("user_sessions")

    @cached_property
    def threads(self) -> dict[ObjectId, Document]:
        """By id."""
        return self._by_id("conversation_threads")

    @cached_property
    def responses(self) -> dict[ObjectId, Document]:
        """By id."""
        return self._by_id("model_responses")

    @cached_property
    def evaluations(self) -> dict[ObjectId, Document]:
        """By id."""
        return self._by_id("model_evaluations")

    @cached_property
    def criticisms(self) -> dict[ObjectId, Document]:
        """By id."""
        return self._by_id("criticism_responses")

    @cached_property
    def profiles(self) -> dict[str, Document]:
        """By model."""
        return {each["model_name"]: each for each in self.documents["ai_model_profiles"]}

    @cached_property
    def threads_in(self) -> dict[ObjectId, list[Document]]:
        """By session, oldest first."""
        return self._group("conversation_threads", "session_id", order="created_at")

    @cached_property
    def responses_in(self) -> dict[ObjectId, list[Document]]:
        """By thread, oldest first."""
        return self._group("model_responses", "thread_id")

    @cached_property
    def evaluations_of(self) -> dict[ObjectId, list[Document]]:
        """By the response that is evaluated."""
        return self._group("model_evaluations", "evaluated_response_id")

    @cached_property
    def selections_in(self) -> dict[ObjectId, list[Document]]:
        """By thread, oldest first."""
        return self._group("model_selection_history", "thread_id")

    @cached_property
    def criticisms_in(self) -> dict[ObjectId, list[Document]]:
        """By thread, oldest first."""
        return self._group("criticism_responses", "thread_id")

    @cached_property
    def events_of(self) -> dict[tuple[ObjectId | None, str], list[Document]]:
        """Log events by thread and type, oldest first."""
        found: dict[tuple[ObjectId | None, str], list[Document]] = defaultdict(list)
        for event in sorted(self.documents["orchestration_logs"], key=lambda each: each["timestamp"]):
            found[event.get("thread_id"), event["event_type"]].append(event)
        return found

    @cached_property
    def told_of_session(self) -> set[tuple[ObjectId | None, str]]:
        """Sessions and the types of events that speak of them."""
        return {(event.get("session_id"), event["event_type"]) for event in self.documents["orchestration_logs"]}

    def thread_of(self, document: Document) -> Document:
        """The thread that a document belongs to."""
        return self.threads[document["thread_id"]]

    def answers_in(self, thread: Document) -> list[Document]:
        """A thread's answers, first ones and revisions, oldest first."""
        return [each for each in self.responses_in.get(thread["_id"], ()) if is_answer(each)]

    def best_of(self, thread: Document) -> Document | None:
        """The response that a thread shows."""
        found: Document | None = self.responses.get(thread["best_response_id"])
        return found

    def scores_of(self, response: Document) -> list[float]:
        """The panel's plain mean; nothing where nobody evaluated in time.

        An evaluation that arrived in the moment in which its panel was closed does not count: its call is superseded.
        """
        in_time = self.evaluations_in_time(response)
        return [mean(_scores(in_time))] if in_time else []

    def is_scored(self, response: Document) -> bool:
        """Whether somebody evaluated it in time, so that it must have a score."""
        return bool(self.evaluations_in_time(response))

    def evaluations_in_time(self, response: Document) -> list[Document]:
        """What its panel brought before it was closed."""
        found = self.evaluations_of.get(response["_id"], [])
        return [each for each in found if self.responses[each["_id"]]["status"] == "completed"]

    def _by_id(self, collection: str) -> dict[ObjectId, Document]:
        return {each["_id"]: each for each in self.documents[collection]}

    def _group(self, collection: str, key: str, *, order: str = "timestamp") -> dict[ObjectId, list[Document]]:
        found: dict[ObjectId, list[Document]] = defaultdict(list)
        for document in sorted(self.documents[collection], key=lambda each: each[order]):
            found[document.get(key)].append(document)  # type: ignore[index]
        return found


def is_answer(response: Document) -> bool:
    """Whether a call brought a text for the user."""
    is_asked_for_text = response["role"] != "evaluator" and response["purpose"] in ANSWERS
    return is_asked_for_text and response["status"] == "completed"


def is_sent(response: Document) -> bool:
    """Whether a request of a call ever left."""
    return response["prompt_sent"] is not None


def to_usd(nanos: int) -> float:
    """Billionths as dollars."""
    return nanos / NANOS


def mean(values: Sequence[float]) -> float:
    """The plain mean."""
    return math.fsum(values) / len(values)


def _scores(evaluations: Iterable[Document]) -> list[float]:
    return [
        each["overall_score"] if each.get("calibrated_score") is None else each["calibrated_score"]
        for each in evaluations
    ]
