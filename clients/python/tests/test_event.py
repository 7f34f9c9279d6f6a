"""The bytes of an event, and its UUID."""

import datetime
import decimal
import enum
import json
import threading
import time
import uuid

import pytest

from lakegate import InvalidEvent
from lakegate.event import encode
from lakegate.uuid7 import uuid7


class Plan(enum.Enum):
    PAID = "paid"


def test_uuids_are_version_7_of_now_and_sort_by_time():
    before = time.time_ns() // 1_000_000
    made = [uuid.UUID(uuid7()) for _ in range(20_000)]
    assert {(one.version, one.variant) for one in made} == {(7, uuid.RFC_4122)}
    assert before <= made[0].int >> 80 <= time.time_ns() // 1_000_000
    assert made == sorted(made) and len(set(made)) == len(made)


def test_a_clock_that_is_set_back_makes_no_uuid_twice_and_none_out_of_order(monkeypatch):
    first = uuid7()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000 * 1_000_000_000)
    later = [uuid7() for _ in range(5000)]
    assert later == sorted(later) and first < later[0] and len(set(later)) == 5000


def test_threads_never_share_a_uuid():
    made: list = []
    threads = [threading.Thread(target=lambda: made.extend([uuid7() for _ in range(3000)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 24_000


def test_values_of_python_get_their_usual_form():
    moment = datetime.datetime(2026, 11, 27, 8, 30, tzinfo=datetime.timezone.utc)
    number = uuid.UUID(int=5)
    event_uuid, data = encode("a:b", {"at": moment, "day": moment.date(), "id": number, "plan": Plan.PAID, "name": "Bacalhau à Brás\n"})
    event = json.loads(data)
    assert event["event_uuid"] == event_uuid and event["event_name"] == "a:b" and abs(event["created_at"] - time.time()) < 5
    assert [event[name] for name in ("at", "day", "id", "plan", "name")] == [
        "2026-11-27T08:30:00+00:00", "2026-11-27", str(number), "paid", "Bacalhau à Brás\n"]
    assert b"\n" not in data


def test_uuid_moment_and_version_may_be_given_and_the_name_may_not():
    moment = datetime.datetime(2026, 11, 27, 8, 30, tzinfo=datetime.timezone.utc)
    number = uuid.UUID(int=5)
    event_uuid, data = encode("a:b", {"event_uuid": number, "created_at": moment, "schema_version": 2, "event_name": "other"})
    assert event_uuid == str(number)
    assert json.loads(data) == {
        "event_uuid": str(number), "event_name": "a:b", "created_at": moment.timestamp(), "schema_version": 2}


def circle() -> list:
    mine: list = []
    mine.append(mine)
    return mine


@pytest.mark.parametrize("value", [
    object(), decimal.Decimal("1.5"), float("nan"), float("inf"), "\ud800", b"bytes", circle(), {1, 2},
    datetime.datetime(2026, 1, 1), "x" * 1_000_001,
], ids=lambda value: type(value).__name__)
def test_what_cannot_be_an_event_is_told_at_once(value):
    with pytest.raises(InvalidEvent, match="a:b|time zone"):
        encode("a:b", {"value": value})
