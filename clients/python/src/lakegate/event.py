"""An event as the bytes that are sent: made once, and the same however often they are sent."""

from __future__ import annotations

import datetime
import enum
import json
import time
import uuid
from typing import Any, Dict, Mapping, Tuple

from .limits import EVENT_BYTES_MAX
from .types import InvalidEvent
from .uuid7 import uuid7


def encode(event_name: str, fields: Mapping[str, object]) -> Tuple[str, bytes]:
    """The event_uuid and one line of JSON without its end."""
    event: Dict[str, object] = {"event_uuid": "", "event_name": event_name, "created_at": 0}
    event.update(fields)
    event["event_name"] = event_name
    event_uuid = str(fields.get("event_uuid") or uuid7())
    event["event_uuid"] = event_uuid
    created_at = fields.get("created_at")
    if created_at is None:
        event["created_at"] = round(time.time(), 3)
    elif isinstance(created_at, datetime.datetime):
        event["created_at"] = _aware(created_at).timestamp()
    try:
        text = json.dumps(event, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data = text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"{event_name}: {error}") from error
    if len(data) > EVENT_BYTES_MAX:
        raise InvalidEvent(f"{event_name}: {len(data)} bytes, and an event may have {EVENT_BYTES_MAX}")
    return event_uuid, data


def decode(data: bytes) -> Dict[str, Any]:
    """The event for a callback."""
    event: Dict[str, Any] = json.loads(data)
    return event


def _aware(moment: datetime.datetime) -> datetime.datetime:
    if moment.tzinfo is None:
        raise InvalidEvent(f"{moment!r} has no time zone, so it is no moment: datetime.now(timezone.utc) has one")
    return moment


def _plain(value: object) -> object:
    """Values of Python that JSON does not have, where there is one usual way to write them."""
    if isinstance(value, datetime.datetime):
        return _aware(value).isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no value of JSON: choose a number or a text yourself")
