"""The store in MongoDB: single documents changed by compare-and-set, judged by the server's clock (`$$NOW`)."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from bson import ObjectId
from bson.codec_options import CodecOptions
from pydantic import BaseModel, ValidationError
from pymongo import ASCENDING, DESCENDING, MongoClient, ReturnDocument, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
)
from pymongo.uri_parser import parse_uri
from pymongo.write_concern import WriteConcern

from orchestratex.domain.base import (
    CALL_STEPS,
    MAX_ITERATIONS,
    NANOS_PER_USD,
    CostSource,
    Document,
    Leased,
    Purpose,
    ResponseStatus,
    Role,
    SessionStatus,
    Step,
)
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import PROMPT_WITH_RESPONSE, Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.metrics import Metrics
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import LEAST_CERTAIN_FIRST, AttemptCost, Response, Usage, sum_costs
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.errors import DocumentTooLargeError, NotFoundError, StoreUnavailableError
from orchestratex.store.base import (
    COLLECTIONS,
    COUNTED,
    LEFT_OUT,
    NO_DEADLINES,
    REOPENED,
    Account,
    AccountId,
    Changes,
    Doc,
    HeldCall,
    ThreadTotals,
)
from orchestratex.store.listing import MongoListing
from orchestratex.store.places import MongoPlaces
from orchestratex.store.purging import MongoPurging
from orchestratex.store.rollups import MongoRollups
from orchestratex.store.turns import MongoTurns

_log = logging.getLogger(__name__)
_Work = TypeVar("_Work", bound=Leased)
_Class = TypeVar("_Class")
_Mongo = dict[str, Any]

_NAMES: dict[type[Document], str] = {document: name for name, document in COLLECTIONS.items()}
_DUPLICATE_KEY = 11000
_AUTHENTICATION_FAILED = 18
_ILLEGAL = 20
_NO_RETRIES = "Transaction numbers"  # are what a server of its own does not take with a write
_NO_SET = "answers, and its replica set was not initiated: run `rs.initiate()` in mongosh there, once"
_SETUP = {  # codes of what only who set it up can mend
    13: "does not let the user in ORCHESTRATEX_MONGODB_URI read and write, or wants one: name a user who may",
    _ILLEGAL: "is no replica set: start mongod with --replSet NAME, then run `rs.initiate()` in mongosh there, once",
    94: _NO_SET,
}
_TOO_LARGE = {  # codes of documents that MongoDB does not take
    10334,  # BSONObjectTooLarge
    16493,  # one text alone is larger than 16 MB
    17419,  # a document would be after its update
    17420,  # a document is that is to be inserted
}
_PASSING = {  # codes of errors that go by: the same operation may be tried again when the servers are well
    6,  # HostUnreachable
    7,  # HostNotFound
    64,  # WriteConcernFailed: no majority has it yet
    79,  # UnknownReplWriteConcern
    89,  # NetworkTimeout
    91,  # ShutdownInProgress
    100,  # UnsatisfiableWriteConcern
    133,  # FailedToSatisfyReadPreference
    189,  # PrimarySteppedDown
    202,  # NetworkInterfaceExceededTimeLimit
    262,  # ExceededTimeLimit
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11602,  # InterruptedDueToReplStateChange
    13435,  # NotPrimaryNoSecondaryOk
    13436,  # NotPrimaryOrSecondary
    14031,  # OutOfDiskSpace
}
_INSERT_TOO_LARGE = "object to insert too large"  # its code, 2, is that of every bad value
_TOO_LARGE_WORDS = "a document would be larger than the 16 MB that MongoDB takes"
_SELECTION_KEY = ("thread_id", "iteration_number", "selection_phase", "ordinal")
_TOUCHED: _Mongo = {"$currentDate": {"updated_at": True}}
_FREED: _Mongo = {"lease_token": None, "lease_until": None}
_RESET: _Mongo = {"crashes": 0, "errors": 0, "dispatches": 0, "not_before": None}  # with every move
# partial indexes are taken for questions that repeat their condition word for word: hence a $type beside a value
_EVALUATED: _Mongo = {"due_step": {"$eq": Step.EVALUATE, "$type": "string"}, "is_queued": {"$ne": True}}
_BRIEF: _Mongo = {"prompt_sent": 0, "completion": 0}
_SAMPLE_AGE_S = 60  # what control sampled longer ago is unknown
_OLDEST_FIRST = [("dispatched_at", ASCENDING)]
_NO_TIMES: Mapping[ObjectId, _Mongo] = {}
_SCAN_BATCH = 500  # documents: the server would send 16 MB at once
_MAX_DOUBLINGS = 6  # a message that was sent again so often waits 64 times the first wait


_DEFAULTS: _Mongo = {
    "tz_aware": True,
    "w": "majority",
    "journal": True,
    "retryWrites": True,
    "serverSelectionTimeoutMS": 20_000,  # an election takes about 12 s
    "connectTimeoutMS": 5_000,
    "socketTimeoutMS": 30_000,
}


def connect(
    uri: str, *, pool_size: int = 100, patience_s: float | None = None, client_name: str = "orchestratex"
) -> MongoClient[_Mongo]:
    """A client whose writes are majority-acknowledged and retried. Make it after a fork, never before.

    `patience_s` is how long an operation waits for a primary (default 20 s: workers sit out an election). What the URI
    itself says wins. Raises StoreUnavailableError when the URI cannot be read.
    """
    options = {**_DEFAULTS, "appname": client_name, "maxPoolSize": pool_size}
    if patience_s is not None:
        options["serverSelectionTimeoutMS"] = round(patience_s * 1000)
    try:
        said = {name.lower() for name in parse_uri(uri)["options"]}
        return MongoClient(uri, **{name: value for name, value in options.items() if name.lower() not in said})
    except (ValueError, ConfigurationError) as error:
        raise StoreUnavailableError(f"ORCHESTRATEX_MONGODB_URI cannot be read: {error}") from error


def dump(document: Document) -> _Mongo:
    """A record as MongoDB keeps it."""
    return document.model_dump(by_alias=True)


def _dump_value(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    if isinstance(value, Mapping):
        return {key: _dump_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_dump_value(item) for item in value]
    return value


def _set(changes: Changes) -> _Mongo:
    """Fields of a pipeline's $set: values are literals, whatever text they hold."""
    return {name: {"$literal": _dump_value(value)} for name, value in changes.items()}


def _in(seconds: float) -> _Mongo:
    """The server's time in so many seconds."""
    return {"$add": ["$$NOW", round(seconds * 1000)]}


def _first_line(error: Exception) -> str:
    """What happened, without pymongo's dump of its whole view of the servers."""
    return str(error).split(", Timeout:")[0].split(" (configured timeouts")[0]


def _translate(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def verb(self: MongoStore, *args: Any, **kwargs: Any) -> Any:
        with _translating(self):
            return function(self, *args, **kwargs)

    @functools.wraps(function)
    def scan(self: MongoStore, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with _translating(self):
            yield from function(self, *args, **kwargs)

    return scan if inspect.isgeneratorfunction(function) else verb


@contextlib.contextmanager
def _translating(store: MongoStore) -> Iterator[None]:
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout) as error:  # elections, restarts, lost networks
        problem = _explain_set(store) or f"does not answer: {_first_line(error)}"
        raise StoreUnavailableError(f"MongoDB at {store.address} {problem}") from error
    except DocumentTooLarge as error:  # the driver does not even send it
        raise DocumentTooLargeError(_TOO_LARGE_WORDS) from error
    except OperationFailure as error:
        if not _codes(error).isdisjoint(_TOO_LARGE) or _INSERT_TOO_LARGE in str(error):
            raise DocumentTooLargeError(_TOO_LARGE_WORDS) from error
        if error.code == _AUTHENTICATION_FAILED:
            problem = "refuses the name or password in ORCHESTRATEX_MONGODB_URI"
            raise StoreUnavailableError(f"MongoDB at {store.address} {problem}") from error
        if error.code in _SETUP and (error.code != _ILLEGAL or _NO_RETRIES in str(error)):
            raise StoreUnavailableError(f"MongoDB at {store.address} {_SETUP[error.code]}") from error
        if not _is_passing(error):
            raise
        raise StoreUnavailableError(f"MongoDB at {store.address} cannot do it now: {_first_line(error)}") from error


def _explain_set(store: MongoStore) -> str | None:
    """What is wrong where servers answer that no set has been made of."""
    servers = store.client.topology_description.server_descriptions().values()
    return _NO_SET if any(server.server_type_name == "RSGhost" for server in servers) else None


def _is_passing(error: OperationFailure) -> bool:
    """Whether the servers' state is at fault, and not what was asked of them: the operation's outcome is then unknown.

    pymongo raises most of these as AutoReconnect; not those of updates of many documents, nor of the write concern.
    """
    return error.has_error_label("RetryableWriteError") or not _codes(error).isdisjoint(_PASSING)


def _codes(error: OperationFailure) -> set[Any]:
    """The error's code, and those of each operation of a bulk."""
    details = error.details or {}
    inner = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    return {error.code, *(failure.get("code") for failure in inner)}


def _translate_all(store: type[_Class]) -> type[_Class]:
    members = {name: member for base in reversed(store.__mro__[:-1]) for name, member in vars(base).items()}
    for name, member in members.items():
        if callable(member) and not name.startswith("_"):
            setattr(store, name, _translate(member))
    return store


@_translate_all
class MongoStore(MongoPlaces, MongoRollups, MongoTurns, MongoListing, MongoPurging):
    """See Store. Every verb raises StoreUnavailableError when MongoDB does not answer."""

    def __init__(self, client: MongoClient[_Mongo], database: str) -> None:
        self.client = client
        self.database = client.get_database(database, codec_options=CodecOptions(tz_aware=True))
        self._sessions = self._collection(Session)
        self._threads = self._collection(Thread)
        self._responses = self._collection(Response)
        self._days = self.database["budget_days"]
        self._noted = {}
        # the log is not the ledger: losing its last lines in an election is no harm, waiting for a majority is
        self._logs = self._collection(LogEvent).with_options(write_concern=WriteConcern(w=1))

    @property
    def address(self) -> str:
        """Where the servers are, without credentials."""
        seeds = self.client.topology_description.server_descriptions()
        return ",".join(f"{host}:{port}" for host, port in sorted(seeds, key=str)) or "no address"

    def ping(self) -> None:
        self.client.admin.command("ping")

    def close(self) -> None:
        self.client.close()

    # -- reading

    def get_session(self, session_id: ObjectId) -> Session:
        return self._get(Session, session_id, "session_id")

    def get_thread(self, thread_id: ObjectId) -> Thread:
        return self._get(Thread, thread_id, "thread_id")

    def get_response(self, response_id: ObjectId, *, brief: bool = False) -> Response:
        return self._get(Response, response_id, "response_id", _BRIEF if brief else None)

    def profiles(self) -> list[Profile]:
        return self._find(Profile, {}, [("model_name", ASCENDING)])

    def threads_of(self, session_id: ObjectId) -> list[Thread]:
        return self._find(Thread, {"session_id": session_id}, [("created_at", ASCENDING)])

    def responses_of(self, thread_id: ObjectId, *, iteration: int | None = None) -> list[Response]:
        return self._find(Response, _of(thread_id, iteration), [("timestamp", ASCENDING), ("_id", ASCENDING)])

    def answers_of(self, thread_id: ObjectId, *, iteration: int) -> list[Response]:
        query = {**_of(thread_id, iteration), "role": {"$ne": Role.EVALUATOR}}
        rows = self._responses.find(query, _BRIEF, sort=[("timestamp", ASCENDING), ("_id", ASCENDING)])
        return [Response.model_validate(row) for row in rows]

    def panel_of(self, thread_id: ObjectId, *, iteration: int) -> list[Response]:
        query = {**_of(thread_id, iteration), "role": Role.EVALUATOR}
        return [Response.model_validate(row) for row in self._responses.find(query, _BRIEF)]

    def has_completed_since(self, model_name: str, moment: datetime) -> bool:
        recent = {"model_name": model_name, "timestamp": {"$gte": moment}, "status": ResponseStatus.COMPLETED}
        return self._responses.find_one(recent, {"_id": 1}) is not None

    def is_panel_open(self, thread: Thread) -> bool:
        members = {**_of(thread.id, thread.current_iteration), "role": Role.EVALUATOR}
        pending = {**members, "status": ResponseStatus.PENDING}
        return self._responses.find_one(pending, {"_id": 1}) is not None

    def evaluations_of(
        self, thread_id: ObjectId, *, iteration: int | None = None, brief: bool = False
    ) -> list[Evaluation]:
        order = [("iteration_number", ASCENDING), ("evaluator_model", ASCENDING)]
        if not brief:
            return self._fill_prompts(self._find(Evaluation, _of(thread_id, iteration), order))
        rows = self._collection(Evaluation).find(_of(thread_id, iteration), {"evaluation_prompt_used": 0}, sort=order)
        return [Evaluation.model_validate({**row, "evaluation_prompt_used": ""}) for row in rows]

    def selections_of(self, thread_id: ObjectId) -> list[Selection]:
        order = [("iteration_number", ASCENDING), ("timestamp", ASCENDING)]
        return self._find(Selection, {"thread_id": thread_id}, order)

    def criticisms_of(self, thread_id: ObjectId) -> list[CriticismResponse]:
        return self._find(CriticismResponse, {"thread_id": thread_id}, [("iteration_number", ASCENDING)])

    def logs_of(self, thread_id: ObjectId) -> list[LogEvent]:
        return self._find(LogEvent, {"thread_id": thread_id}, [("timestamp", ASCENDING)])

    def metrics(
        self, time_period: str, *, limit: int, since: datetime | None = None, until: datetime | None = None
    ) -> list[Metrics]:
        bounds = {"$gte": since, "$lt": until}
        window = {name: moment for name, moment in bounds.items() if moment is not None}
        query = {"time_period": time_period, **({"metric_date": window} if window else {})}
        return self._find(Metrics, query, [("metric_date", DESCENDING)], limit)

    def scan_between(
        self, document: type[Doc], field: str, start: datetime, end: datetime, *, event_type: str | None = None
    ) -> Iterator[Doc]:
        window: _Mongo = {field: {"$gte": start, "$lt": end, "$type": "date"}}
        if event_type is not None:
            window["event_type"] = event_type
        left_out = LEFT_OUT.get(document, {})
        without = dict.fromkeys(left_out, 0) or None
        with self._collection(document).find(window, without, batch_size=_SCAN_BATCH) as rows:
            for row in rows:
                yield document.model_validate({**row, **left_out})

    def pending_of(self, thread_id: ObjectId) -> list[Response]:
        rows = self._responses.find({"thread_id": thread_id, "status": ResponseStatus.PENDING}, _BRIEF)
        return [Response.model_validate(row) for row in rows]

    def thread_totals(self, thread_id: ObjectId) -> ThreadTotals:
        is_completed = {"$eq": ["$status", ResponseStatus.COMPLETED]}
        total = {
            "_id": None,
            "models": {"$addToSet": {"$cond": [is_completed, "$model_name", "$$REMOVE"]}},
            "tokens": {"$sum": "$tokens_used.total_tokens"},
            "cost_nanos": {"$sum": "$cost_nanos"},
            "is_simulated": {"$max": {"$eq": ["$is_simulated", True]}},
        }
        paid = {"thread_id": thread_id, "cost": {"$ne": None}}
        for row in self._responses.aggregate([{"$match": paid}, {"$group": total}]):
            sums = {name: row[name] for name in ("tokens", "cost_nanos", "is_simulated")}
            return ThreadTotals(models=len(row["models"]), **sums)
        return ThreadTotals()

    def is_current(self, thread: Thread) -> bool:
        return self._threads.find_one(_stands(thread), {"_id": 1}) is not None

    # -- inserting

    def insert_session(self, session: Session) -> None:
        self._note_change(session.session_start, session.session_end)
        self._insert(session)

    def insert_threads(self, threads: Sequence[Thread], *, deadline_s: float | None = None) -> None:
        seconds = {thread.id: thread.options.deadline_s or deadline_s for thread in threads}
        deadlines = {key: {"deadline_at": _in(value)} for key, value in seconds.items() if value is not None}
        self._note_change(*(thread.completed_at for thread in threads))
        self._insert_dispatched(self._threads, threads, deadlines)

    def insert_responses(self, responses: Sequence[Response]) -> None:
        self._note_change(*(response.timestamp for response in responses))
        self._insert_dispatched(self._responses, responses)

    def insert_selection(self, selection: Selection) -> Selection:
        self._insert(selection)
        key = {name: getattr(selection, name) for name in _SELECTION_KEY}
        return self._find(Selection, key, [])[0]

    def insert_evaluation(self, evaluation: Evaluation) -> None:
        self._insert(evaluation)

    def insert_criticism(self, criticism: CriticismResponse) -> None:
        self._insert(criticism)

    def insert_logs(self, events: Sequence[LogEvent]) -> None:
        if events:
            with _ignoring_duplicates():
                self._logs.insert_many([dump(event) for event in events], ordered=False)

    def insert_profiles(self, profiles: Sequence[Profile]) -> None:
        for profile in profiles:
            self._insert(profile)

    def write_profiles(self, added: Sequence[Profile], changes_by_name: Mapping[str, Changes]) -> bool:
        """See Store. One transaction; it is run again when a worker writes to the same profile meanwhile."""
        profiles = self._collection(Profile)

        def write(session: ClientSession) -> bool:
            for profile in added:
                profiles.insert_one(dump(profile), session=session)
            for name, changes in changes_by_name.items():
                update = {"$set": _dump_value(changes), "$currentDate": {"updated_at": True}}
                if not profiles.update_one({"model_name": name}, update, session=session).matched_count:
                    session.abort_transaction()
                    return False
            return True

        try:
            with self.client.start_session() as session:
                return session.with_transaction(write)
        except DuplicateKeyError:
            return False

    # -- leases and moves

    def claim_thread(self, thread_id: ObjectId, *, lease_s: float) -> Thread | None:
        due = {"_id": thread_id, "due_step": {"$nin": [None, *CALL_STEPS]}, "is_queued": {"$ne": True}}
        return self._claim(Thread, due, lease_s, {})

    def claim_response(self, response_id: ObjectId, *, lease_s: float) -> Response | None:
        return self._claim(Response, {"_id": response_id, "status": ResponseStatus.PENDING}, lease_s, {"sent_at": None})

    def renew_leases(self, tokens: Sequence[str], *, lease_s: float) -> set[str]:
        held: set[str] = set()
        ours = {"lease_token": {"$in": list(tokens), "$type": "string"}}
        wanted = {**ours, "status": ResponseStatus.PENDING}
        for collection, mine in ((self._responses, wanted), (self._threads, ours)):
            collection.update_many(mine, [{"$set": {"lease_until": _in(lease_s)}}])
            held.update(row["lease_token"] for row in collection.find(mine, {"lease_token": 1}))
        return held

    def move_thread(
        self,
        thread: Thread,
        changes: Changes,
        *,
        deadlines_s: Mapping[str, float] = NO_DEADLINES,
        lease_s: float | None = None,
    ) -> Thread | None:
        fixed = {"is_queued": False, **_RESET, **changes, **_FREED}
        if lease_s is not None:
            fixed |= {"lease_token": secrets.token_hex(8), "attempt": thread.attempt + 1}
            deadlines_s = {**deadlines_s, "lease_until": lease_s}
        moved: _Mongo = {
            **_set(fixed),
            "moves": {"$add": ["$moves", 1]},
            "dispatched_at": "$$NOW",
            "updated_at": "$$NOW",
        }
        moved |= {field: _in(seconds) for field, seconds in deadlines_s.items()}
        mine = {**_stands(thread), "lease_token": thread.lease_token}
        self._note_change(thread.completed_at, changes.get("completed_at"))
        if not self._write(self._threads, mine, moved):
            return None
        return thread.model_copy(update={**fixed, "moves": thread.moves + 1})

    def release_thread(self, thread: Thread, *, delay_s: float) -> None:
        mine = {"_id": thread.id, "lease_token": thread.lease_token}
        freed = {**_set(_FREED), "errors": {"$add": ["$errors", 1]}, "not_before": _in(delay_s)}
        self._write(self._threads, mine, freed)

    def set_thread(self, thread_id: ObjectId, changes: Changes) -> None:
        if not COUNTED.isdisjoint(changes):
            self._note_document(Thread, thread_id, "completed_at")
        self._threads.update_one({"_id": thread_id}, {"$set": _dump_value(changes)})

    def update_response(
        self,
        response: Response,
        changes: Changes,
        *,
        is_release: bool = False,
        delay_s: float | None = None,
        is_pending: bool = False,
        charge: AttemptCost | None = None,
    ) -> Response | None:
        if response.lease_token is None:
            return None
        fixed = {**changes, **(_FREED if is_release else {})}
        update = _set(fixed)
        if delay_s is not None:
            update["not_before"] = _in(delay_s)
        mine: _Mongo = {"_id": response.id, "lease_token": response.lease_token}
        if is_pending:
            mine["status"] = ResponseStatus.PENDING
        self._note_change(response.timestamp)
        return self._write_response(response, mine, fixed, update, charge)

    def end_wait(self, response_id: ObjectId) -> Response | None:
        waiting = {"_id": response_id, "status": ResponseStatus.PENDING, "lease_token": None}
        found = self._responses.find_one_and_update(
            {**waiting, "seat_wanted_at": {"$type": "date"}},
            [{"$set": {"not_before": None, "dispatched_at": "$$NOW"}}],
            projection=_BRIEF,
            return_document=ReturnDocument.AFTER,
        )
        return Response.model_validate(found) if found is not None else None

    def complete_response(
        self, response: Response, changes: Changes, *, charge: AttemptCost | None = None
    ) -> Response | None:
        if response.lease_token is None:
            return None
        fixed = {**changes, **_FREED}
        mine = {"_id": response.id, "lease_token": response.lease_token, "status": ResponseStatus.PENDING}
        self._note_change(response.timestamp)
        return self._write_response(response, mine, fixed, _set(fixed), charge)

    def amend_attempt(self, response_id: ObjectId, attempt: int, cost: AttemptCost) -> bool:
        self._note_document(Response, response_id, "timestamp")
        estimated = {"_id": response_id, f"attempt_costs.{attempt}.source": CostSource.ESTIMATED}
        return self._responses.update_one(estimated, _charge(attempt, cost)).modified_count == 1

    def reopen_responses(self, response_ids: Sequence[ObjectId]) -> int:
        failed = {"status": ResponseStatus.FAILED, "completion": None}
        closed = {"_id": {"$in": list(response_ids)}, "$or": [{"status": ResponseStatus.SUPERSEDED}, failed]}
        is_free = {"$eq": ["$lease_token", None]}  # else its request may be under way, and its money held
        opened = {
            **_set(REOPENED),
            "attempt": {"$cond": [is_free, {"$add": ["$attempt", 1]}, "$attempt"]},
            "reserved_nanos": {"$cond": [is_free, 0, "$reserved_nanos"]},
            "dispatched_at": "$$NOW",
        }
        return self._responses.update_many(closed, [{"$set": opened}]).modified_count

    def supersede_responses(
        self, thread_id: ObjectId, *, up_to: int = MAX_ITERATIONS, keeps_assessments: bool = False
    ) -> int:
        pending: _Mongo = {
            "thread_id": thread_id,
            "status": ResponseStatus.PENDING,
            "iteration_number": {"$lte": up_to},
        }
        if keeps_assessments:
            pending["purpose"] = {"$ne": Purpose.ASSESSMENT}
        lasted = {"$max": [0, {"$toDouble": {"$subtract": ["$$NOW", "$timestamp"]}}]}
        was_sent = {"$gt": ["$prompt_sent", None]}
        over = {"status": ResponseStatus.SUPERSEDED, "processing_duration": {"$cond": [was_sent, lasted, None]}}
        result = self._responses.update_many(pending, [{"$set": over}])
        return result.modified_count

    def mark_best(self, thread_id: ObjectId, response_id: ObjectId | None) -> None:
        if response_id is not None:
            self._responses.update_one({"_id": response_id}, {"$set": {"is_selected_best": True}})
        others = {"thread_id": thread_id, "_id": {"$ne": response_id}, "is_selected_best": True}
        self._responses.update_many(others, {"$set": {"is_selected_best": False}})

    def update_selection(self, selection_id: ObjectId, changes: Changes) -> None:
        self._collection(Selection).update_one({"_id": selection_id}, {"$set": _dump_value(changes)})

    def update_criticism(self, criticism_id: ObjectId, changes: Changes) -> None:
        self._collection(CriticismResponse).update_one({"_id": criticism_id}, {"$set": _dump_value(changes)})

    def update_evaluated(self, response_id: ObjectId, changes: Changes) -> None:
        if not COUNTED.isdisjoint(changes):
            self._note_document(Response, response_id, "timestamp")
        self._responses.update_one({"_id": response_id}, {"$set": _dump_value(changes)})

    def update_profile(self, model_name: str, changes: Changes) -> None:
        update = {"$set": _dump_value(changes), "$currentDate": {"updated_at": True}}
        self._collection(Profile).update_one({"model_name": model_name}, update)

    def swap_profile(self, model_name: str, before: Changes, after: Changes) -> bool:
        update = {"$set": _dump_value(after), "$currentDate": {"updated_at": True}}
        unchanged = {"model_name": model_name, **_dump_value(before)}
        return self._collection(Profile).update_one(unchanged, update).matched_count == 1

    def end_session(
        self,
        session_id: ObjectId,
        status: SessionStatus,
        ended_at: datetime,
        *,
        is_cancelling: bool = False,
        unchanged_since: datetime | None = None,
    ) -> bool:
        ended = {"status": status, "session_end": ended_at, "is_cancelling": is_cancelling}
        active: _Mongo = {"_id": session_id, "status": SessionStatus.ACTIVE}
        if unchanged_since is not None:
            active["updated_at"] = unchanged_since
        self._note_change(ended_at)
        return self._sessions.update_one(active, {"$set": ended, **_TOUCHED}).modified_count == 1

    def reopen_session(self, session_id: ObjectId) -> None:
        active = {"status": SessionStatus.ACTIVE, "session_end": None, "is_cancelling": False}
        self._note_session(session_id)
        self._sessions.update_one({"_id": session_id}, {"$set": active, **_TOUCHED})

    def touch_session(self, session_id: ObjectId) -> None:
        self._sessions.update_one({"_id": session_id}, _TOUCHED)

    def cancelling_sessions(self, *, limit: int) -> list[Session]:
        return self._find(Session, {"is_cancelling": True}, [], limit)

    def set_session(self, session_id: ObjectId, changes: Changes) -> None:
        if not COUNTED.isdisjoint(changes):
            self._note_session(session_id, with_threads="user_satisfaction" in changes)
        self._sessions.update_one({"_id": session_id}, {"$set": _dump_value(changes)})

    # -- money

    def reserve(
        self,
        account_id: AccountId,
        amounts: Mapping[str, int],
        *,
        limit: int | None = None,
        in_place_of: str | None = None,
    ) -> bool:
        """See Store. The one conditional update that makes overspending impossible at any concurrency."""
        if isinstance(account_id, str):
            self._open_day(account_id)
        wanted = dict(amounts)
        while wanted:
            if self._reserve_all(account_id, wanted, limit, in_place_of):
                return True
            held = self.get_account(account_id).reservations
            missing = {key: amount for key, amount in wanted.items() if key not in held}
            if len(missing) == len(wanted):  # nobody holds them: the limit refused
                return False
            wanted = missing
        if in_place_of is not None:
            self.settle(account_id, in_place_of, 0)
        return True

    def settle(self, account_id: AccountId, key: str, cost: int, *, is_estimate: bool = False) -> bool:
        total = {"$add": ["$total_cost_nanos", cost]}
        charged: _Mongo = {
            "held_nanos": {"$subtract": ["$held_nanos", f"$reservations.{key}"]},
            "total_cost_nanos": total,
            "total_cost": {"$divide": [total, NANOS_PER_USD]},
            "updated_at": "$$NOW",
        }
        if is_estimate:
            charged[f"estimates.{key}"] = cost
        elif not isinstance(account_id, str):
            charged["excess_nanos"] = _add_excess(cost, f"$reservations.{key}")
        held = {f"reservations.{key}": {"$exists": True}}
        return self._settle(account_id, held, [{"$set": charged}, {"$unset": f"reservations.{key}"}])

    def charge_unheld(self, account_id: AccountId, key: str, cost: int) -> bool:
        total = {"$add": ["$total_cost_nanos", cost]}
        charged: _Mongo = {
            "total_cost_nanos": total,
            "total_cost": {"$divide": [total, NANOS_PER_USD]},
            f"unheld.{key}": cost,
            "updated_at": "$$NOW",
        }
        if not isinstance(account_id, str):
            charged["excess_nanos"] = _add_excess(cost, 0)
        return self._settle(account_id, {f"unheld.{key}": {"$exists": False}}, [{"$set": charged}])

    def amend_estimate(self, account_id: AccountId, key: str, cost: int) -> bool:
        total = {"$add": [{"$subtract": ["$total_cost_nanos", f"$estimates.{key}"]}, cost]}
        charged: _Mongo = {"total_cost_nanos": total, "total_cost": {"$divide": [total, NANOS_PER_USD]}}
        if not isinstance(account_id, str):
            charged["excess_nanos"] = _add_excess(cost, f"$estimates.{key}")
        estimated = {f"estimates.{key}": {"$exists": True}}
        return self._settle(account_id, estimated, [{"$set": charged}, {"$unset": f"estimates.{key}"}])

    def get_account(self, account_id: AccountId) -> Account:
        found = self._accounts(account_id).find_one({"_id": account_id})
        if found is not None:
            return Account.model_validate({**found, "id": found["_id"]})
        if isinstance(account_id, str):
            return Account(id=account_id)
        raise NotFoundError("session_id", account_id)

    def accounts_with_reservations(self, *, limit: int) -> list[Account]:
        idle_ms = {"$subtract": ["$$NOW", {"$ifNull": ["$updated_at", "$$NOW"]}]}
        listed: list[_Mongo] = [
            {"$match": {"held_nanos": {"$gt": 0}}},
            {"$sort": {"updated_at": ASCENDING}},
            {"$limit": limit},
            {"$set": {"idle_s": {"$divide": [idle_ms, 1000]}, "id": "$_id"}},
        ]
        rows = [row for collection in (self._sessions, self._days) for row in collection.aggregate(listed)]
        return [Account.model_validate(row) for row in rows]

    def held_calls(self, response_ids: Sequence[ObjectId]) -> dict[ObjectId, HeldCall]:
        shown: _Mongo = dict.fromkeys(("thread_id", "status", "attempt", "lease_token"), 1)
        shown |= {"attempt_costs": 1, "has_completion": {"$gt": ["$completion", None]}}
        rows = self._responses.find({"_id": {"$in": list(response_ids)}}, shown)
        return {row["_id"]: HeldCall.model_validate(row) for row in rows}

    # -- reconcile

    def expired_threads(self, *, limit: int) -> list[Thread]:
        return self._find_sound(Thread, _expired(), [], limit)

    def expired_responses(self, *, limit: int) -> list[Response]:
        return self._find_sound(Response, _expired(), [], limit)

    def free_thread(self, thread: Thread) -> Thread | None:
        return self._free(Thread, thread, {}, {})

    def free_response(
        self, response: Response, changes: Changes, *, charge: AttemptCost | None = None
    ) -> Response | None:
        still: _Mongo = {"status": response.status, "sent_at": response.sent_at}
        if response.completion is None:
            still["completion"] = None
        charged = _charge(response.attempt, charge) if charge else []
        self._note_change(response.timestamp)
        return self._free(Response, response, {**changes, "sent_at": None}, still, charged)

    def note_reconcile(self, *, gap_s: float, amnesty_s: float) -> bool:
        never = datetime.max.replace(tzinfo=UTC)  # the first run of all follows no gap
        is_gap = {"$lt": [{"$ifNull": ["$at", never]}, _in(-gap_s)]}
        until = {"$cond": [is_gap, _in(amnesty_s), "$amnesty_until"]}
        found = self.database["system_samples"].find_one_and_update(
            {"_id": "reconcile"},
            [{"$set": {"amnesty_until": until}}, {"$set": {"at": "$$NOW"}}],
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        return found is None or "amnesty_until" not in found or found["amnesty_until"] <= found["at"]

    def overdue_threads(self, *, resend_s: float, doubles: bool, limit: int) -> list[Thread]:
        running = {"due_step": {"$type": "string"}, "is_queued": {"$ne": True}}
        return self._find_sound(Thread, {**running, **_overdue(resend_s, doubles)}, _OLDEST_FIRST, limit)

    def overdue_responses(self, *, resend_s: float, doubles: bool, limit: int) -> list[Response]:
        pending = {"status": ResponseStatus.PENDING}
        return self._find_sound(Response, {**pending, **_overdue(resend_s, doubles)}, _OLDEST_FIRST, limit)

    def mark_thread_sent(self, thread: Thread, *, is_only_seen: bool = False) -> bool:
        return self._mark_sent(self._threads, thread, is_only_seen=is_only_seen)

    def mark_response_sent(self, response: Response, *, is_only_seen: bool = False) -> bool:
        return self._mark_sent(self._responses, response, is_only_seen=is_only_seen)

    def overdue_panels(self, *, limit: int) -> list[Thread]:
        is_past = {"$expr": {"$lt": ["$panel_deadline", "$$NOW"]}}  # null is before every date
        passed = {**_EVALUATED, "panel_deadline": {"$type": "date"}, **is_past}
        return self._find_sound(Thread, passed, [], limit)

    def straggling_panels(self, *, limit: int) -> list[Thread]:
        is_past = {"$expr": {"$lt": ["$quorum_deadline", "$$NOW"]}}
        passed = {**_EVALUATED, "quorum_deadline": {"$type": "date"}, **is_past}
        return self._find_sound(Thread, passed, [], limit)

    def threads_past_deadline(self, *, limit: int) -> list[Thread]:
        running = {
            "due_step": {"$ne": Step.FINISH, "$type": "string"},
            "deadline_at": {"$type": "date"},
            "is_queued": {"$ne": True},
        }
        return self._find_sound(Thread, {**running, "$expr": {"$lt": ["$deadline_at", "$$NOW"]}}, [], limit)

    def idle_sessions(self, *, idle_s: float, limit: int) -> list[Session]:
        idle = {"status": SessionStatus.ACTIVE, "$expr": {"$lt": ["$updated_at", _in(-idle_s)]}}
        running = {
            "from": _NAMES[Thread],
            "localField": "_id",
            "foreignField": "session_id",
            "pipeline": [{"$match": {"due_step": {"$type": "string"}}}, {"$limit": 1}, {"$project": {"_id": 1}}],
            "as": "running",
        }
        rows = self._sessions.aggregate(
            [
                {"$match": idle},
                {"$sort": {"created_at": ASCENDING}},
                {"$lookup": running},
                {"$match": {"running": []}},  # before the limit: busy sessions must not crowd out idle ones
                {"$limit": limit},
            ]
        )
        return self._sound(Session, rows)

    def put_sample(self, name: str, value: int) -> None:
        sample = {"$set": {"value": value}, "$currentDate": {"at": True}}
        self.database["system_samples"].update_one({"_id": name}, sample, upsert=True)

    def get_sample(self, name: str) -> int | None:
        fresh = {"_id": name, "$expr": {"$gt": ["$at", _in(-_SAMPLE_AGE_S)]}}
        found = self.database["system_samples"].find_one(fresh)
        return found["value"] if found else None

    # -- inside

    def _collection(self, kind: type[Document]) -> Collection[_Mongo]:
        return self.database[_NAMES[kind]]

    def _get(self, kind: type[Doc], document_id: ObjectId, field: str, projection: _Mongo | None = None) -> Doc:
        found = self._collection(kind).find_one({"_id": document_id}, projection)
        if found is None:
            raise NotFoundError(field, document_id)
        return kind.model_validate(found)

    def _fill_prompts(self, evaluations: list[Evaluation]) -> list[Evaluation]:
        absent = [each.id for each in evaluations if each.evaluation_prompt_used == PROMPT_WITH_RESPONSE]
        rows = self._responses.find({"_id": {"$in": absent}}, {"prompt_sent": 1}) if absent else ()
        prompts = {row["_id"]: {"evaluation_prompt_used": row["prompt_sent"] or ""} for row in rows}
        return [each.model_copy(update=prompts.get(each.id)) for each in evaluations]

    def _find(self, kind: type[Doc], query: _Mongo, order: Sequence[tuple[str, int]], limit: int = 0) -> list[Doc]:
        cursor = self._collection(kind).find(query, limit=limit, sort=list(order) or None)
        return [kind.model_validate(row) for row in cursor]

    def _find_sound(self, kind: type[Doc], query: _Mongo, order: Sequence[tuple[str, int]], limit: int) -> list[Doc]:
        """As _find, for reconcile: a document that somebody has spoilt must not keep the others from being mended."""
        return self._sound(kind, self._collection(kind).find(query, limit=limit, sort=list(order) or None))

    def _sound(self, kind: type[Doc], rows: Iterable[_Mongo]) -> list[Doc]:
        found = []
        for row in rows:
            try:
                found.append(kind.model_validate(row))
            except ValidationError as error:
                _log.error("%s %s cannot be read, and so not mended: %s", kind.__name__, row["_id"], error)
        return found

    def _insert(self, document: Document) -> None:
        try:
            self._collection(type(document)).insert_one(dump(document))
        except DuplicateKeyError:
            return  # a retry: the first one's document stands

    def _insert_dispatched(
        self, collection: Collection[_Mongo], documents: Sequence[Leased], times: Mapping[ObjectId, _Mongo] = _NO_TIMES
    ) -> None:
        """Inserts cannot evaluate $$NOW: upserts that write a whole document where there is none."""
        if not documents:
            return
        updates = []
        for document in documents:
            fields = dump(document)
            is_new = {"$eq": [{"$type": "$attempt"}, "missing"]}
            whole = {"$mergeObjects": [{"$literal": fields}, {"dispatched_at": "$$NOW", **times.get(document.id, {})}]}
            change = [{"$replaceWith": {"$cond": [is_new, whole, "$$ROOT"]}}]
            updates.append(UpdateOne({"_id": document.id}, change, upsert=True))
        with _ignoring_duplicates():  # the unique key of a call stands under another id: it is there already
            collection.bulk_write(updates, ordered=False)

    def _write(self, collection: Collection[_Mongo], query: _Mongo, fields: _Mongo) -> bool:
        """Change without fetching: the caller knows what it wrote."""
        return collection.update_one(query, [{"$set": fields}]).matched_count == 1

    def _write_response(
        self, response: Response, query: _Mongo, fixed: Changes, update: _Mongo, charge: AttemptCost | None
    ) -> Response | None:
        """Write without fetching; what comes back has the sums of the attempts as the caller knew them."""
        stages = [{"$set": update}, *(_charge(response.attempt, charge) if charge else [])]
        if self._responses.update_one(query, stages).matched_count == 0:
            return None
        return response.model_copy(update={**fixed, **(_known_charge(response, charge) if charge else {})})

    def _change(self, kind: type[Doc], query: _Mongo, fields: _Mongo) -> Doc | None:
        found = self._collection(kind).find_one_and_update(
            query, [{"$set": fields}], return_document=ReturnDocument.AFTER
        )
        return kind.model_validate(found) if found is not None else None

    def _claim(self, kind: type[_Work], due: _Mongo, lease_s: float, extra: Changes) -> _Work | None:
        free = {**due, "lease_token": None, "$expr": {"$lte": ["$not_before", "$$NOW"]}}  # null sorts before all dates
        taken = {
            **_set({**extra, "lease_token": secrets.token_hex(8)}),
            "lease_until": _in(lease_s),
            "attempt": {"$add": ["$attempt", 1]},
        }
        return self._change(kind, free, taken)

    def _free(
        self, kind: type[_Work], work: _Work, changes: Changes, still: _Mongo, then: Sequence[_Mongo] = ()
    ) -> _Work | None:
        gone = {"_id": work.id, "lease_token": work.lease_token, "$expr": {"$lt": ["$lease_until", "$$NOW"]}, **still}
        freed = {**_set({**changes, **_FREED}), "crashes": {"$add": ["$crashes", 1]}}
        found = self._collection(kind).find_one_and_update(
            gone, [{"$set": freed}, *then], return_document=ReturnDocument.AFTER
        )
        return kind.model_validate(found) if found is not None else None

    def _mark_sent(self, collection: Collection[_Mongo], work: Leased, *, is_only_seen: bool) -> bool:
        unsent = {"_id": work.id, "dispatched_at": work.dispatched_at}
        sent = {"dispatched_at": "$$NOW", "dispatches": {"$add": ["$dispatches", 0 if is_only_seen else 1]}}
        return collection.update_one(unsent, [{"$set": sent}]).modified_count == 1

    def _accounts(self, account_id: AccountId) -> Collection[_Mongo]:
        return self._days if isinstance(account_id, str) else self._sessions

    def _settle(self, account_id: AccountId, unsettled: _Mongo, changes: Sequence[_Mongo]) -> bool:
        """Change an account that is not settled yet. What an ended session cost counts in the hour of its end."""
        accounts, found = self._accounts(account_id), {"_id": account_id, **unsettled}
        if isinstance(account_id, str):
            return accounts.update_one(found, changes).modified_count == 1
        if accounts.update_one({**found, "session_end": None}, changes).modified_count == 1:
            return True
        self._note_session(account_id)
        return accounts.update_one(found, changes).modified_count == 1

    def _open_day(self, name: str) -> None:
        empty = {"total_cost_nanos": 0, "total_cost": 0.0, "held_nanos": 0, "reservations": {}, "estimates": {}}
        if self._days.find_one({"_id": name}, {"_id": 1}) is None:
            with contextlib.suppress(DuplicateKeyError):  # somebody else opened it
                self._days.update_one({"_id": name}, {"$setOnInsert": empty}, upsert=True)

    def _reserve_all(
        self, account_id: AccountId, amounts: Mapping[str, int], limit: int | None, in_place_of: str | None
    ) -> bool:
        freed = {"$ifNull": [f"$reservations.{in_place_of}", 0]} if in_place_of else 0
        held = {"$subtract": [{"$add": ["$held_nanos", sum(amounts.values())]}, freed]}
        spent = {"$add": ["$total_cost_nanos", held]}
        most = {"$literal": limit} if isinstance(account_id, str) else "$cost_limit_nanos"
        is_affordable = {"$or": [{"$eq": [most, None]}, {"$lte": [spent, most]}]}  # a null limit would refuse all
        absent = {f"reservations.{key}": {"$exists": False} for key in amounts}
        by_key = {f"reservations.{key}": value for key, value in amounts.items()}
        result = self._accounts(account_id).update_one(
            {"_id": account_id, "$expr": is_affordable, "excess_nanos": {"$not": {"$gt": 0}}, **absent},
            [
                {"$set": {**by_key, "held_nanos": held, "updated_at": "$$NOW"}},
                *([{"$unset": f"reservations.{in_place_of}"}] if in_place_of else []),
            ],
        )
        return result.modified_count == 1


def _add_excess(cost: int, expected: str | int) -> _Mongo:
    """A session's excess with what a call cost beyond an expected amount; older sessions have none yet."""
    return {"$add": [{"$ifNull": ["$excess_nanos", 0]}, {"$max": [0, {"$subtract": [cost, expected]}]}]}


@contextlib.contextmanager
def _ignoring_duplicates() -> Iterator[None]:
    try:
        yield
    except BulkWriteError as error:
        if error.details.get("writeConcernErrors"):
            raise
        if any(failure["code"] != _DUPLICATE_KEY for failure in error.details["writeErrors"]):
            raise


def _of(thread_id: ObjectId, iteration: int | None) -> _Mongo:
    return {"thread_id": thread_id} if iteration is None else {"thread_id": thread_id, "iteration_number": iteration}


def _stands(thread: Thread) -> _Mongo:
    return {
        "_id": thread.id,
        "due_step": thread.due_step,
        "current_iteration": thread.current_iteration,
        "moves": thread.moves,
    }


def _charge(attempt: int, cost: AttemptCost) -> list[_Mongo]:
    """The stages that put an attempt's cost among the others and sum them up anew, as `sum_costs` does."""
    costs = {"$objectToArray": "$attempt_costs"}

    def gather(path: str) -> _Mongo:
        return {"$map": {"input": costs, "in": f"$$this.v.{path}"}}

    nanos = {"$sum": gather("nanos")}
    source: Any = LEAST_CERTAIN_FIRST[-1]
    for less in reversed(LEAST_CERTAIN_FIRST[:-1]):
        source = {"$cond": [{"$in": [less, gather("source")]}, less, source]}
    sums = {
        "cost_nanos": nanos,
        "cost": {"$divide": [nanos, NANOS_PER_USD]},
        "cost_source": source,
        "tokens_used": {name: {"$sum": gather(f"usage.{name}")} for name in Usage.model_fields},
    }
    return [{"$set": _set({f"attempt_costs.{attempt}": cost})}, {"$set": sums}]


def _known_charge(response: Response, cost: AttemptCost) -> _Mongo:
    return sum_costs({**response.attempt_costs, str(response.attempt): cost})


def _expired() -> _Mongo:
    return {"lease_token": {"$type": "string"}, "$expr": {"$lt": ["$lease_until", "$$NOW"]}}


def _overdue(resend_s: float, doubles: bool) -> _Mongo:
    doublings = {"$pow": [2, {"$min": ["$dispatches", _MAX_DOUBLINGS]}]} if doubles else 1
    wait_ms = {"$multiply": [round(resend_s * 1000), doublings]}
    since = {"$max": ["$dispatched_at", "$not_before"]}
    return {"lease_token": None, "$expr": {"$lt": [{"$add": [since, wait_ms]}, "$$NOW"]}}
