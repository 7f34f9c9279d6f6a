"""The queue in memory: as quick as can be, and lost with the process."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Container, List, NamedTuple, Protocol, Sequence, Tuple

from .limits import LINE_END_BYTES, MEMORY_BYTES_PER_EVENT
from .types import Closed

# Where an event is: the folder, the file and the line of a queue on disk; in memory only the last is used.
Place = Tuple[int, int, int]


class Entry(NamedTuple):
    """An event that waits."""

    place: Place
    data: bytes


class Queue(Protocol):
    """Events in the order in which they came. `put` may be called by any thread, the rest by the sender's."""

    @property
    def waiting_events(self) -> int: ...

    @property
    def waiting_bytes(self) -> int: ...

    # The bytes that they have in a request: less than they take up here.
    @property
    def request_bytes(self) -> int: ...

    # How many `put` took so far, and how many of them, from the first on, are settled without a gap.
    @property
    def taken_in(self) -> int: ...

    @property
    def settled_until(self) -> int: ...

    def cost(self, data: bytes) -> int:
        """The bytes that an event takes up."""
        ...

    def put(self, data: bytes) -> None:
        """Takes an event; when it returns, the event is as safe as this queue makes it. Raises Closed or QueueFailed."""
        ...

    def oldest(self, events_max: int, bytes_max: int, but: Container[Place] = ()) -> List[Entry]:
        """The oldest events but some, at least one if there is any. They stay until they are settled."""
        ...

    def settle(self, entries: Sequence[Entry]) -> None:
        """Forgets events for good."""
        ...

    def keep_rejected(self, lines: Sequence[bytes]) -> bool:
        """Keeps what the gateway does not have, for a person. False where this queue cannot."""
        ...

    def look_around(self) -> None:
        """Takes over what dead processes left."""
        ...

    def abandon(self) -> None:
        """In a child after a fork: lets go of the parent's files, without a word to them."""
        ...

    def close(self) -> List[Entry]:
        """Ends the queue. Gives what is lost with it."""
        ...


class MemoryQueue:
    """A `Queue` in a dictionary that keeps the order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The first of a usual dictionary is slow to find once many before it are gone.
        self._waiting: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0
        self._taken_in = 0
        self._is_closed = False

    @property
    def waiting_events(self) -> int:
        return len(self._waiting)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def request_bytes(self) -> int:
        with self._lock:
            return self._bytes - len(self._waiting) * (MEMORY_BYTES_PER_EVENT - LINE_END_BYTES)

    @property
    def taken_in(self) -> int:
        return self._taken_in

    @property
    def settled_until(self) -> int:
        with self._lock:
            return next(iter(self._waiting), self._taken_in)

    def cost(self, data: bytes) -> int:
        return len(data) + MEMORY_BYTES_PER_EVENT

    def put(self, data: bytes) -> None:
        with self._lock:
            if self._is_closed:
                raise Closed("the client is closed")
            self._waiting[self._taken_in] = data
            self._taken_in += 1
            self._bytes += self.cost(data)

    def oldest(self, events_max: int, bytes_max: int, but: Container[Place] = ()) -> List[Entry]:
        found: List[Entry] = []
        with self._lock:
            for number, data in self._waiting.items():
                if (0, 0, number) in but:
                    continue
                bytes_max -= len(data) + 1
                if found and (len(found) == events_max or bytes_max < 0):
                    break
                found.append(Entry((0, 0, number), data))
        return found

    def settle(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            for entry in entries:
                data = self._waiting.pop(entry.place[2], None)
                if data is not None:
                    self._bytes -= self.cost(data)

    def keep_rejected(self, lines: Sequence[bytes]) -> bool:
        return False

    def look_around(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def close(self) -> List[Entry]:
        with self._lock:
            self._is_closed = True
            left = [Entry((0, 0, number), data) for number, data in self._waiting.items()]
            self._waiting.clear()
            self._bytes = 0
        return left
