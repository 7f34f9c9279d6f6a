"""What type checkers accept: right fields of every form. Nothing runs this file."""

from __future__ import annotations

from datetime import datetime, timezone

import lakegate
from events import Events, LessonStartedV1, MenuItemViewedV1

client = lakegate.Client("https://events.example.com", key="k", when_full="block")
events = Events(client)
started: LessonStartedV1 = {"lesson_id": "l-1", "course_id": "c-1", "student_id": "s", "attempt_number": 1}
uuid: str = events.track("lesson:started", started)
events.track("lesson:started", lesson_id="l-1", course_id="c-1", student_id="s", attempt_number=1, created_at=datetime.now(timezone.utc))
events.track(
    "account:created", account_id="a", email_sha256="e", signup_method="passkey",
    consent={"terms_version": "2026-09", "accepted_at": "2026-11-27T08:00:00Z"},
)
old: MenuItemViewedV1


async def later() -> str:
    return await events.atrack("lesson:started", started)


def rejected(one: lakegate.Rejected) -> None:
    print(one.code, one.pointer, one.event["event_uuid"])


with lakegate.Client("https://events.example.com", on_rejected=rejected) as lake:
    flushed: bool = lake.flush(1)
    accepted: int = lake.stats().accepted
