"""How the database comes to its present form, and how later changes reach it.

A migration has a number, runs once, and is recorded in `schema_migrations`. Each is written so that running it twice,
or by two programs at once, or beside running workers, does no harm: it adds before anything needs the addition.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, Final

from pymongo.database import Database

from orchestratex.domain.prices import PriceSchedule
from orchestratex.domain.profile import Profile, todays_costs
from orchestratex.store.indexes import create_indexes
from orchestratex.store.mongo import MongoStore
from orchestratex.store.validators import apply_validators

_Database = Database[dict[str, Any]]


def shipped_profiles(now: datetime) -> list[Profile]:
    """The eight profiles that come with the package, at the prices of a moment."""
    return [_make_profile(row, now) for row in shipped_rows()]


def shipped_rows() -> list[dict[str, Any]]:
    """The same as they stand in the file that is shipped."""
    table = tomllib.loads(files("orchestratex.store").joinpath("profiles.toml").read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = table["profiles"]
    return rows


def _make_profile(row: dict[str, Any], now: datetime) -> Profile:
    costs = todays_costs([PriceSchedule.model_validate(each) for each in row["prices"]], now)
    return Profile.model_validate({**row, **costs, "created_at": now, "updated_at": now})


def _load_profiles(store: MongoStore) -> None:
    store.insert_profiles(shipped_profiles(datetime.now(UTC)))


def _let_threads_in(store: MongoStore) -> None:
    """Before there were bounds nobody stood in line. Other fields may be missing, too: nothing is validated here."""
    store.database["conversation_threads"].update_many(
        {"is_queued": {"$exists": False}}, {"$set": {"is_queued": False}}, bypass_document_validation=True
    )


MIGRATIONS: Final[dict[int, tuple[str, Callable[[MongoStore], None]]]] = {
    1: ("load the shipped model profiles", _load_profiles),
    2: ("say of every thread that it does not stand in line", _let_threads_in),
}


def init_db(store: MongoStore) -> list[str]:
    """Bring the database to the present form; returns what was done. Idempotent.

    Validators and indexes follow the code at every run; numbered migrations run once. Raises StoreUnavailableError.
    """
    store.ping()
    apply_validators(store.database)
    create_indexes(store.database)
    done = [f"validators and indexes of {len(store.database.list_collection_names())} collections are in force"]
    applied = {row["_id"] for row in store.database["schema_migrations"].find({}, {"_id": 1})}
    for number, (name, migrate) in sorted(MIGRATIONS.items()):
        if number in applied:
            continue
        migrate(store)
        record = {"name": name, "applied_at": datetime.now(UTC)}
        store.database["schema_migrations"].update_one({"_id": number}, {"$set": record}, upsert=True)
        done.append(f"migration {number}: {name}")
    return done
