"""UUIDv7 (RFC 9562): sorts by the time at which it was made, also when the clock is set back."""

import os
import threading
import time

_lock = threading.Lock()
# The milliseconds and the 12 bits below them of the last one.
_last = 0


def uuid7() -> str:
    """A new UUIDv7; in this process each is above the one before."""
    global _last
    now_ns = time.time_ns()
    milliseconds, rest = divmod(now_ns, 1_000_000)
    moment = milliseconds << 12 | (rest << 12) // 1_000_000
    with _lock:
        # A clock that stands or was set back: one step beyond the last.
        _last = moment = max(moment, _last + 1)
    high = moment >> 12 & 0xFFFF_FFFF_FFFF
    random = int.from_bytes(os.urandom(8), "big") & 0x3FFF_FFFF_FFFF_FFFF
    value = high << 80 | 0x7 << 76 | (moment & 0xFFF) << 64 | 0b10 << 62 | random
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _after_fork() -> None:
    """A thread of the parent may have held the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
