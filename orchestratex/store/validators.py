"""MongoDB validators generated from the records, so that another program cannot write a broken document either."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database
from pymongo.errors import CollectionInvalid, OperationFailure

from orchestratex.domain.base import Document
from orchestratex.store.base import COLLECTIONS

_Schema = dict[str, Any]
_NAMESPACE_EXISTS = 48
_NUMBER = ["double", "int", "long", "decimal"]
_KEPT = ("minimum", "maximum", "minLength", "maxLength", "pattern", "enum", "minItems", "maxItems")


def make_validator(document: type[Document]) -> _Schema:
    """The `$jsonSchema` of a record: types, ranges, enumerations; every field required but those added later."""
    schema = document.model_json_schema(by_alias=True, mode="serialization")
    return {"$jsonSchema": _convert(schema, schema.get("$defs", {}))}


def apply_validators(database: Database[dict[str, Any]]) -> None:
    """Create the collections that are missing and put the present validators in force."""
    for name, document in COLLECTIONS.items():
        _create_collection(database, name)
        database.command("collMod", name, validator=make_validator(document), validationLevel="strict")


def _create_collection(database: Database[dict[str, Any]], name: str) -> None:
    try:
        database.create_collection(name)
    except CollectionInvalid:
        return  # it is there already
    except OperationFailure as error:  # another program made it in this moment
        if error.code != _NAMESPACE_EXISTS:
            raise


def _convert(schema: _Schema, definitions: _Schema) -> _Schema:
    """JSON Schema as pydantic writes it, in the dialect that MongoDB reads: BSON types, no references."""
    if "$ref" in schema:
        return _convert(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return {"anyOf": [_convert(choice, definitions) for choice in schema["anyOf"]]}
    converted: _Schema = {key: schema[key] for key in _KEPT if key in schema}
    if converted.get("pattern", "").endswith("$"):  # in MongoDB's dialect `$` stands before a last line break, too
        converted["pattern"] = converted["pattern"][:-1] + r"\z"
    if "const" in schema:
        converted["enum"] = [schema["const"]]
    if "type" in schema:
        converted["bsonType"] = _bson_type(schema)
    if "properties" in schema:
        properties = schema["properties"]
        converted["properties"] = {name: _convert(value, definitions) for name, value in properties.items()}
        required = sorted(name for name, field in properties.items() if not field.get("added"))
        converted |= {"required": required} if required else {}  # MongoDB takes no empty list
    if isinstance(schema.get("additionalProperties"), dict):
        converted["additionalProperties"] = _convert(schema["additionalProperties"], definitions)
    if isinstance(schema.get("items"), dict):
        converted["items"] = _convert(schema["items"], definitions)
    return converted


def _bson_type(schema: _Schema) -> str | list[str]:
    kind = schema["type"]
    if kind == "string":
        return {"objectid": "objectId", "date-time": "date"}.get(schema.get("format", ""), "string")
    if kind == "integer":
        return ["int", "long"]
    if kind == "number":
        return _NUMBER
    return "bool" if kind == "boolean" else str(kind)
