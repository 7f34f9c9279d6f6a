"""Sends events to a Lakegate gateway, and loses none silently.

    import lakegate

    lake = lakegate.Client("https://events.example.com", key="…")
    lake.track("lesson:started", lesson_id="l-1", course_id="c-1", student_id="…", attempt_number=1)

The way of an event: `client` takes it, `event` makes its bytes, `memory_queue` or `disk_queue` keeps it, `sender` sends it over
`connection`, and `answer` says what became of it.
"""

from typing import Any, Mapping, Optional

from .client import Client
from .types import Closed, InvalidEvent, LakegateError, Lost, QueueFailed, QueueFull, Rejected, Stats
from .version import VERSION as __version__

__all__ = [
    "Client", "Closed", "InvalidEvent", "LakegateError", "Lost", "QueueFailed", "QueueFull", "Rejected", "Stats", "__version__",
    "configure", "track",
]

_default: Optional[Client] = None


def configure(url: str, key: Optional[str] = None, **options: Any) -> Client:
    """Makes the client that `lakegate.track` uses, with the options of `Client`. A client that was there is closed."""
    global _default
    if _default is not None:
        _default.close()
    _default = Client(url, key, **options)
    return _default


def track(event_name: str, fields: Optional[Mapping[str, object]] = None, /, **more: object) -> str:
    """`Client.track` of the client that `configure` made."""
    if _default is None:
        raise LakegateError("call lakegate.configure(url, key=…) first")
    return _default.track(event_name, fields, **more)
