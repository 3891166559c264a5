"""The specification, held against the records, the database and a whole run."""

from __future__ import annotations

import copy
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from bson import ObjectId
from pydantic import ValidationError
from pymongo.database import Database
from pymongo.errors import WriteError

from orchestratex.domain.base import Document
from orchestratex.domain.response import Completion, Usage
from orchestratex.store.base import COLLECTIONS
from orchestratex.store.indexes import SCHEMA_INDEXES
from orchestratex.store.migrations import MIGRATIONS, init_db, shipped_profiles
from orchestratex.store.mongo import MongoStore, dump
from tests.contract.schema import FIELDS, TEXT, SchemaField, missing_fields, parse_indexes, unexpected_nulls
from tests.make import (
    NOW,
    make_answer,
    make_candidate,
    make_criticism_response,
    make_evaluation,
    make_log,
    make_metrics,
    make_profile,
    make_selection,
    make_session,
    make_thread,
)
from tests.support import World

Mongo = Database[dict[str, Any]]
OPEN = {
    "model_name",
    "provider",
    "language",
    "event_type",
    "supported_languages",
}  # known sets that are open where the world is open
FULL: dict[str, Document] = {
    "user_sessions": make_session(),
    "conversation_threads": make_thread(best_model_id="gpt4"),
    "ai_model_profiles": make_profile(),
    "model_responses": make_answer(
        tokens_used=Usage(), completion=Completion(text="t"), criticism_addressed=[ObjectId()]
    ),
    "model_evaluations": make_evaluation(),
    "model_selection_history": make_selection(candidates_considered=[make_candidate(), make_candidate("claude")]),
    "criticism_responses": make_criticism_response(),
    "orchestration_logs": make_log(),
    "algorithm_metrics": make_metrics(),
}
ALL_FIELDS = [(name, field) for name, fields in FIELDS.items() for field in fields]
RANGED = [(name, field) for name, field in ALL_FIELDS if field.bounds]
ENUMERATED = [(name, field) for name, field in ALL_FIELDS if field.choices]


def name_of(value: object) -> str:
    return value.path if isinstance(value, SchemaField) else str(value)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with `value` at a schema path: in the first item of arrays, under the first key of open objects."""
    whole = copy.deepcopy(document)
    at: Any = whole
    *way, last = path.split(".")
    for name in way:
        if name == "*":
            at = next(iter(at.values()))
        elif name.endswith("[]"):
            at = at[name[:-2]][0]
        else:
            at = at[name]
    at[last] = value
    return whole


def is_valid(collection_name: str, document: dict[str, Any]) -> bool:
    try:
        COLLECTIONS[collection_name].model_validate(document)
    except ValidationError:
        return False
    return True


def test_the_specification_is_read_whole() -> None:
    assert list(FIELDS) == list(COLLECTIONS)
    assert len(parse_indexes()) == 15
    paths = {f"{name}.{field.path}" for name, field in ALL_FIELDS}
    assert {
        "model_selection_history.candidates_considered[].selection_reasoning",
        "algorithm_metrics.model_usage_stats.*.total_cost",
        "criticism_responses.specific_improvements[].justification",
        "algorithm_metrics.system_health.peak_concurrent_sessions",
        "user_sessions.settings.quality_threshold",
    } <= paths
    assert len(ENUMERATED) >= 14
    assert len(RANGED) == len(re.findall(r'"Number \d+-\d+', TEXT))


@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_record_has_every_field_of_the_specification(name: str) -> None:
    assert missing_fields(name, dump(FULL[name])) == []


@pytest.mark.parametrize(("name", "field"), ENUMERATED, ids=name_of)
def test_a_record_takes_every_name_as_written_and_no_other(name: str, field: SchemaField) -> None:
    document = dump(FULL[name])

    def accepts(choice: str) -> bool:
        value = [choice] if field.text.startswith("Array") else choice
        return is_valid(name, changed(document, field.path, value))

    assert [choice for choice in field.choices if not accepts(choice)] == []
    assert accepts("something_else") is (field.path.rpartition(".")[2] in OPEN)


@pytest.mark.parametrize(("name", "field"), RANGED, ids=name_of)
def test_a_record_holds_ranges(name: str, field: SchemaField) -> None:
    document = dump(FULL[name])
    assert field.bounds is not None
    low, high = field.bounds

    verdicts = {
        value: is_valid(name, changed(document, field.path, value))
        for value in (low, high, low - 0.1, high + 0.1, float("nan"), float("inf"))
    }

    assert [value for value, accepted in verdicts.items() if accepted] == [low, high]


@pytest.mark.parametrize("iterations", [0, 11])
def test_a_session_has_at_most_ten_iterations(iterations: int) -> None:
    with pytest.raises(ValidationError):
        make_session(max_iterations=iterations)


def test_the_helpers_find_what_is_missing_or_null() -> None:
    session = dump(FULL["user_sessions"])
    selection = dump(FULL["model_selection_history"])
    session["settings"].pop("cost_limit")
    selection["candidates_considered"][1].pop("final_score")
    selection["algorithm_version"] = None

    assert missing_fields("user_sessions", session) == ["settings.cost_limit"]
    assert missing_fields("model_selection_history", selection) == ["candidates_considered[].final_score"]
    assert unexpected_nulls("user_sessions", {**session, "status": "completed"}) == ["session_end"]
    assert unexpected_nulls("model_selection_history", selection) == [
        "algorithm_version",
        "runner_up_model",
        "selection_margin",
    ]


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("Write a Python function that reverses a linked list, with tests.", {"max_iterations": 3}),
        ("What is the capital of France?", {"max_iterations": 1}),
        ("Translate to German: the early bird catches the worm.", {"max_iterations": 2, "cost_limit": 0.5}),
        ("Prove that the square root of 2 is irrational.", {"max_iterations": 4, "quality_threshold": 10}),
    ],
)
def test_documents_of_a_whole_run_keep_the_specification(prompt: str, options: dict[str, Any]) -> None:
    world = World()
    store = world.store

    thread = world.solve(prompt, **options)

    documents: dict[str, list[Any]] = {
        "user_sessions": [store.get_session(thread.session_id)],
        "conversation_threads": [thread],
        "ai_model_profiles": store.profiles(),
        "model_responses": store.responses_of(thread.id),
        "model_evaluations": store.evaluations_of(thread.id),
        "model_selection_history": store.selections_of(thread.id),
        "criticism_responses": store.criticisms_of(thread.id),
        "orchestration_logs": store.logs_of(thread.id),
    }
    assert thread.is_ended
    assert [name for name, found in documents.items() if not found and name != "criticism_responses"] == []
    for name, found in documents.items():
        for document in found:
            assert missing_fields(name, dump(document)) == [], (name, document)
            assert unexpected_nulls(name, dump(document)) == [], (name, document)


# -- on a real server


@pytest.mark.integration
def test_all_indexes_of_the_specification_exist_in_their_order(database: Mongo) -> None:
    wanted = parse_indexes()

    present = {
        name: [
            [(field, int(way)) for field, way in index["key"]] for index in database[name].index_information().values()
        ]
        for name, _ in wanted
    }

    assert [(name, keys) for name, keys in wanted if keys not in present[name]] == []
    assert sorted((name, keys) for name, rows in SCHEMA_INDEXES.items() for keys in rows) == sorted(wanted)


@pytest.mark.integration
@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_validator_accepts_what_a_record_writes(database: Mongo, name: str) -> None:
    document = dump(FULL[name])
    database[name].delete_many({})

    database[name].insert_one(document)

    found = database[name].find_one({"_id": document["_id"]})
    assert found is not None
    assert dump(COLLECTIONS[name].model_validate(found)) == document


@pytest.mark.integration
def test_a_validator_accepts_whole_runs_and_shipped_profiles(mongo_store: MongoStore) -> None:
    world = World()
    thread = world.solve("Write a Python function that reverses a linked list.", max_iterations=3)
    store, kept = world.store, mongo_store

    kept.insert_session(store.get_session(thread.session_id))
    kept.insert_threads([thread])
    kept.insert_responses(store.responses_of(thread.id))
    for evaluation in store.evaluations_of(thread.id):
        kept.insert_evaluation(evaluation)
    for selection in store.selections_of(thread.id):
        kept.insert_selection(selection)
    for criticism in store.criticisms_of(thread.id):
        kept.insert_criticism(criticism)
    kept.insert_logs(store.logs_of(thread.id))

    assert kept.responses_of(thread.id)[0].response_text == store.responses_of(thread.id)[0].response_text
    assert kept.evaluations_of(thread.id) == store.evaluations_of(thread.id)
    assert kept.selections_of(thread.id) == store.selections_of(thread.id)
    assert len(kept.profiles()) == len(shipped_profiles(NOW)) == 8


ADDED_LATER = {  # documents of older versions lack them, and must still be changed
    "user_sessions": {"is_cancelling", "excess_nanos", "unheld", "purged_threads", "purged_nanos"},
    "ai_model_profiles": {"capabilities", "out_of_reach", "prices", "refusals", "served_version", "stated"},
    "conversation_threads": {
        "quorum_deadline",
        "deadline_at",
        "stopped_at",
        "retries",
        "is_queued",
        "final_finish_reason",
        "is_final_partial",
        "panel_size",
        "stopped_in",
        "reference",
        "metadata",
        "is_simulated",
    },
    "model_responses": {
        "waits_for",
        "is_simulated",
        "prompt_time",
        "retried_for",
        "is_quarantined",
        "asked_again_for",
        "attempts_sent",
        "effort",
        "finish_reason",
        "is_partial",
        "left_out",
        "output_limit",
        "output_wanted",
        "refusals",
        "refused_since",
        "seat_wait_ms",
        "seat_wanted_at",
        "served_version",
        "stands_by",
        "without_schema",
    },
    "algorithm_metrics": {"open_sessions", "rolls", "sums"},
}


@pytest.mark.integration
@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_validator_refuses_a_document_without_one_of_its_fields(database: Mongo, name: str) -> None:
    document = dump(FULL[name])
    if name == "ai_model_profiles":
        document["model_name"] = "somebody"  # the shipped names are there, and none is there twice
    accepted = []

    for field in document.keys() - {"_id"}:
        broken = {key: value for key, value in document.items() if key not in {field, "_id"}}
        try:
            database[name].insert_one(broken)
        except WriteError:
            continue
        accepted.append(field)
        database[name].delete_many({})  # its key is the next one's, too

    assert set(accepted) == ADDED_LATER.get(name, set())


@pytest.mark.integration
@pytest.mark.parametrize("name", COLLECTIONS)
def test_a_validator_refuses_wrong_types_ranges_and_names(database: Mongo, name: str) -> None:
    document = {key: value for key, value in dump(FULL[name]).items() if key != "_id"}
    breaks: list[tuple[str, Any]] = []
    for field in FIELDS[name]:
        if field.path == "_id":
            continue
        if not field.text.startswith("Object -"):
            breaks.append((field.path, {"an": {"unexpected": "object"}}))
        if field.bounds:
            breaks += [(field.path, field.bounds[0] - 0.5), (field.path, field.bounds[1] + 0.5)]
            breaks += [(field.path, float("nan")), (field.path, "7")]
        if field.text.startswith("Date"):
            breaks.append((field.path, "2026-01-01T00:00:00Z"))
        if field.choices and field.path.rpartition(".")[2] not in OPEN:
            breaks.append((field.path, ["nonsense"] if field.text.startswith("Array") else "nonsense"))
    accepted = []

    for path, value in breaks:
        try:
            database[name].insert_one(changed(document, path, value))
        except WriteError:
            continue
        accepted.append((path, value))

    assert breaks
    assert accepted == []


@pytest.mark.integration
def test_a_validator_refuses_a_broken_update(database: Mongo) -> None:
    document = dump(FULL["user_sessions"])
    database["user_sessions"].insert_one(document)

    with pytest.raises(WriteError, match="failed validation"):
        database["user_sessions"].update_one({"_id": document["_id"]}, {"$inc": {"held_nanos": -1}})


@pytest.mark.integration
@pytest.mark.parametrize("model_name", ["GPT4", "", "gpt 4", "gpt4\n", "a" * 65])
def test_a_validator_refuses_a_name_that_is_none(database: Mongo, model_name: str) -> None:
    document = dump(make_profile())

    with pytest.raises(WriteError):
        database["ai_model_profiles"].insert_one({**document, "model_name": model_name})


@pytest.mark.integration
def test_preparing_a_database_twice_changes_nothing(empty_store: MongoStore) -> None:
    first = init_db(empty_store)
    empty_store.update_profile("gpt4", {"strengths": "changed by its owner"})
    indexes = empty_store.database["model_responses"].index_information()

    second = init_db(empty_store)

    names = [f"migration {number}: {name}" for number, (name, _) in MIGRATIONS.items()]
    assert [line for line in first if line.startswith("migration")] == names
    assert not any(line.startswith("migration") for line in second)
    assert empty_store.database["model_responses"].index_information() == indexes
    by_name = {profile.model_name: profile for profile in empty_store.profiles()}
    assert (len(by_name), by_name["gpt4"].strengths) == (8, "changed by its owner")


@pytest.mark.integration
def test_a_database_may_be_prepared_by_several_programs_at_once(empty_store: MongoStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: init_db(empty_store), range(4)))

    assert all(result for result in results)
    assert len(empty_store.profiles()) == 8
    recorded = list(empty_store.database["schema_migrations"].find())
    assert [row["_id"] for row in recorded] == sorted(MIGRATIONS)
    assert all(row["name"] and row["applied_at"] > NOW - timedelta(days=1) for row in recorded)


@pytest.mark.integration
def test_threads_from_before_there_were_bounds_can_be_worked_on(mongo_store: MongoStore) -> None:
    threads = mongo_store.database["conversation_threads"]
    document = dump(make_thread())
    del document["is_queued"]
    threads.insert_one(document, bypass_document_validation=True)
    mongo_store.database["schema_migrations"].delete_one({"_id": 2})

    init_db(mongo_store)

    assert mongo_store.claim_thread(document["_id"], lease_s=60) is not None


@pytest.mark.integration
def test_a_profile_that_was_removed_is_not_loaded_again(mongo_store: MongoStore) -> None:
    mongo_store.database["ai_model_profiles"].delete_one({"model_name": "grok"})

    init_db(mongo_store)

    assert "grok" not in {profile.model_name for profile in mongo_store.profiles()}
