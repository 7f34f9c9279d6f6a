"""Events that the registry of this repository takes, and the wait for them."""

import uuid

from gateway import Gateway, wait_until

NAME = "lesson:started"


def lesson(number: int = 1, **more: object) -> dict:
    """Good fields; `lesson_id` tells events apart."""
    fields = {"lesson_id": f"l-{number}", "course_id": "c-1", "student_id": str(uuid.UUID(int=number)), "attempt_number": 1}
    return fields | more


def in_lake(gateway: Gateway) -> list[str]:
    return [str(row["event_uuid"]) for row in gateway.lake("event_uuid")]


def wait_for_lake(gateway: Gateway, wanted: set[str], seconds: float = 20) -> list[str]:
    """All event_uuids of the lake, once all that are wanted are among them. One that is there twice is in the list twice."""
    found: list[str] = []

    def is_there() -> bool:
        found[:] = in_lake(gateway)
        return wanted <= set(found)

    wait_until(lambda: f"{len(wanted - set(found))} of {len(wanted)} events in the lake", seconds, is_there)
    return found
