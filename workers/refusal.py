"""Which messages a worker refuses: those that no task of ours could have been given."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from bson import ObjectId
from kombu.exceptions import ContentDisallowed, KombuError

LARGEST_BODY: Final = 64 * 1024  # bytes; ours are names and ids, below 3 kB


def find_envelope_problem(envelope: object) -> str | None:
    """What is wrong with an element of a queue in Redis; kombu itself dies of it."""
    if not isinstance(envelope, dict):
        return "not a JSON object"
    properties = envelope.get("properties")
    if not isinstance(properties, dict) or not isinstance(properties.get("delivery_tag"), str):
        return "no delivery tag"
    target = properties.get("delivery_info")
    if not isinstance(target, dict) or not {"exchange", "routing_key"} <= target.keys():
        return "no exchange and routing key"
    if not isinstance(envelope.get("headers"), dict):
        return "no headers"
    return _find_encoding_problem(envelope.get("body"), properties.get("body_encoding"))


def find_message_problem(message: Any, tasks: Mapping[str, Any]) -> str | None:
    """What is wrong with a delivered message, on any broker: its shape, its task's name or the task's arguments."""
    headers = message.headers
    if not isinstance(headers, dict) or not isinstance(headers.get("task"), str) or not headers.get("id"):
        return "no task and id in the headers"
    if headers.get("eta") is not None:
        return "a time to wait for: ours wait in the store, not in a worker's memory"
    if len(message.body or "") > LARGEST_BODY:
        return f"a body of {len(message.body)} bytes"
    try:
        payload = message.decode()
    except (ContentDisallowed, KombuError, ValueError, LookupError, TypeError, RecursionError) as error:
        return f"a body that cannot be read: {type(error).__name__}"
    if not _is_call(payload):
        return "a body that is no list of arguments, keyword arguments and canvas"
    task = tasks.get(headers["task"])
    if task is None:
        return f"unknown task {headers['task'][:100]}"
    return _find_argument_problem(task, payload[0], payload[1])


def _find_encoding_problem(body: object, encoding: object) -> str | None:
    if not isinstance(body, str) or encoding not in (None, "base64", "utf-8"):
        return "no readable body"
    if encoding == "base64":
        try:
            base64.b64decode(body)
        except (binascii.Error, ValueError):
            return "a body that is not base64"
    return None


def _is_call(payload: object) -> bool:
    return (
        isinstance(payload, list | tuple)
        and len(payload) == 3
        and isinstance(payload[0], list)
        and isinstance(payload[1], dict)
        and isinstance(payload[2], dict)
    )


def _find_argument_problem(task: Any, arguments: list[Any], keywords: dict[str, Any]) -> str | None:
    """Another version's task may take other arguments; all of ours are ids."""
    try:
        task.__header__(*arguments, **keywords)
    except TypeError as error:
        return f"{task.name} does not take these arguments: {str(error)[:100]}"
    if all(ObjectId.is_valid(each) for each in (*arguments, *keywords.values())):
        return None
    return f"{task.name} takes ids only"
