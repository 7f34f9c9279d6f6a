"""What the package gives to its user: outcomes, counts and errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Literal, Optional

WhenFull = Literal["drop", "raise", "block"]
LostReason = Literal["queue_full", "queue_failed", "closed"]


@dataclass(frozen=True)
class Rejected:
    """An event that is wrong and always will be. Correct the code that made it."""

    event: Dict[str, Any]
    # Stable codes of the gateway: ERRORS.md, or `lakegate errors`.
    code: str
    detail: str
    # Where in the event, as a JSON pointer.
    pointer: Optional[str] = None
    # Which schema says so, such as "order:created/1".
    schema: Optional[str] = None
    # Whether the gateway keeps the event in its dead letters. Where it does not, the queue on disk keeps it in `rejected.ndjson`.
    in_dead_letters: bool = True


@dataclass(frozen=True)
class Lost:
    """An event that was not sent, or not surely: it is in no queue any more."""

    event: Dict[str, Any]
    reason: LostReason


@dataclass(frozen=True)
class Stats:
    """What a client did since it was made; after a fork, since the fork."""

    # Events that `track` took.
    tracked: int = 0
    # Of them, how many wait now, with those that were left by dead processes; and their bytes.
    queued: int = 0
    queued_bytes: int = 0
    accepted: int = 0
    # Sent more often than once, and accepted once.
    duplicates: int = 0
    rejected: int = 0
    lost: int = 0
    requests: int = 0
    # Requests after which something must be sent again.
    failures: int = 0
    # Why the last request settled nothing; None once a request is settled again.
    problem: Optional[str] = None


class LakegateError(Exception):
    """What this package raises."""


class InvalidEvent(LakegateError, ValueError):
    """The fields cannot be an event: not JSON, or too large."""


class QueueFull(LakegateError):
    """As many bytes wait as may. The event was not taken."""


class QueueFailed(LakegateError, OSError):
    """The disk did not take the event. It may still be sent, if the disk has it all the same."""


class Closed(LakegateError):
    """The client is closed. The event was not taken."""
