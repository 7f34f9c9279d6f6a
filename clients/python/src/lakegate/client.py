"""The client: what an application holds."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Callable, Mapping, Optional, Type, Union

from .connection import Connection
from .disk_queue import DiskQueue
from .event import decode, encode
from .limits import (
    BATCH_BYTES, BATCH_EVENTS, DISK_BYTES_MAX, EXIT_SECONDS, FLUSH_SECONDS, MEMORY_BYTES_MAX, TIMEOUT_SECONDS,
)
from .memory_queue import MemoryQueue, Queue
from .sender import Batching, Sender
from .types import Closed, Lost, LostReason, QueueFailed, QueueFull, Rejected, Stats, WhenFull

log = logging.getLogger("lakegate")
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


class Client:
    """Sends events to a Lakegate gateway, from a queue and a thread of its own.

    `url`: the gateway, such as "https://events.example.com"; a path before /v1/events is kept.
    `key`: the secret of a key of the kind "server".
    `queue`: a folder for a queue on disk, which any number of processes may share. Without: a queue in memory.
    `queue_bytes_max`: bytes that may wait, of this process. Unless said otherwise 64 MiB in memory, 1 GiB on disk.
    `when_full`: what `track` does then: "drop" the new event (it is counted, logged and given to `on_lost`), "raise" QueueFull, or
        "block" for up to `block_seconds`, then raise. Unless said otherwise "drop" in memory and "raise" on disk.
    `on_rejected`, `on_lost`: called once for each such event; the first in the client's own thread, so it should be quick.
    `batch_events`, `batch_bytes`, `flush_seconds`: a request is sent when so much waits, or the oldest waits so long.
    `cafile`: authorities to trust in place of the system's. `timeout`: seconds for each step of a request.
    """

    def __init__(
        self,
        url: str,
        key: Optional[str] = None,
        *,
        queue: Union[str, Path, None] = None,
        queue_bytes_max: Optional[int] = None,
        when_full: Optional[WhenFull] = None,
        block_seconds: float = 5.0,
        on_rejected: Optional[Callable[[Rejected], None]] = None,
        on_lost: Optional[Callable[[Lost], None]] = None,
        batch_events: int = BATCH_EVENTS,
        batch_bytes: int = BATCH_BYTES,
        flush_seconds: float = FLUSH_SECONDS,
        cafile: Union[str, Path, None] = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        if when_full not in (None, "drop", "raise", "block"):
            raise ValueError(f'when_full is "drop", "raise" or "block", not {when_full!r}')
        if not 1 <= batch_events <= 10_000 or not 1 <= batch_bytes <= 4 * 1024 * 1024:
            raise ValueError("the gateway takes 10,000 events and 4 MiB in a request")
        self._folder = Path(queue).absolute() if queue is not None else None
        self._bytes_max = queue_bytes_max or (MEMORY_BYTES_MAX if queue is None else DISK_BYTES_MAX)
        self._when_full: WhenFull = when_full or ("drop" if queue is None else "raise")
        self._block_seconds = block_seconds
        self._on_rejected, self._on_lost = on_rejected, on_lost
        self._batching = Batching(batch_events, batch_bytes, flush_seconds)
        self._connection = Connection(url, key, cafile, timeout)
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._begin()
        self._queue.look_around()
        _clients.add(self)
        if self._queue.waiting_events:
            with self._sender.changed:
                self._sender.start()

    def _begin(self) -> None:
        """An empty queue and no thread: at first, and in a child after a fork."""
        self._queue: Queue = DiskQueue(self._folder) if self._folder is not None else MemoryQueue()
        self._sender = Sender(self._queue, self._connection, self._batching, self._on_rejected)
        self._lock = threading.Lock()
        self._tracked = self._lost = 0
        self._is_closed = False
        self._ends_with_process = False

    def track(self, event_name: str, fields: Optional[Mapping[str, object]] = None, /, **more: object) -> str:
        """Takes an event and gives its event_uuid. Does not wait for the network.

        With a queue on disk, the event is on disk when this returns. Fields are given as a mapping, as arguments, or both.
        `event_uuid`, `created_at` (a datetime too) and `schema_version` may be among them.
        """
        event_uuid, data = encode(event_name, {**fields, **more} if fields else more)
        if self._is_closed:
            raise Closed("the client is closed")
        if not self._ends_with_process:
            self._end_with_process()
        if not self._has_room(data):
            if self._when_full != "drop":
                problem = self._sender.counts.problem
                raise QueueFull(f"{self._queue.waiting_bytes} of {self._bytes_max} bytes wait; the last problem was: {problem}")
            self._lose(data, "queue_full")
            return event_uuid
        try:
            self._queue.put(data)
        except QueueFailed:
            if self._when_full != "drop":
                raise
            self._lose(data, "queue_failed")
            return event_uuid
        with self._lock:
            self._tracked += 1
        self._sender.came_in()
        return event_uuid

    def _has_room(self, data: bytes) -> bool:
        wanted = self._bytes_max - self._queue.cost(data)
        if self._queue.waiting_bytes <= wanted:
            return True
        if self._when_full != "block":
            return False
        with self._sender.changed:
            return self._sender.changed.wait_for(lambda: self._queue.waiting_bytes <= wanted or self._is_closed, self._block_seconds)

    def _lose(self, data: bytes, reason: LostReason) -> None:
        with self._lock:
            self._lost += 1
            # Once for each time it begins, not for each event.
            is_first = self._lost & (self._lost - 1) == 0
        if is_first:
            log.error("lakegate: an event is lost: %s (%d so far)", reason, self._lost)
        if self._on_lost is not None:
            try:
                self._on_lost(Lost(decode(data), reason))
            except Exception:
                log.exception("lakegate: on_lost failed")

    def flush(self, timeout: float = 30.0) -> bool:
        """Sends now, and waits until everything that was tracked before is settled. False where that took longer than `timeout`."""
        return self._sender.flush(self._queue.taken_in, time.monotonic() + timeout)

    def close(self, timeout: float = 10.0) -> int:
        """Flushes, then ends. Gives how many events were left: on disk for the next process; from memory they are lost, and told.

        A second call does nothing.
        """
        with self._lock:
            if self._is_closed:
                return 0
            self._is_closed = True
        deadline = time.monotonic() + timeout
        self._sender.hurry()
        self._sender.flush(self._queue.taken_in, deadline)
        self._sender.stop(deadline)
        left = self._queue.waiting_events
        for entry in self._queue.close():
            self._lose(entry.data, "closed")
        atexit.unregister(self._at_exit)
        return left

    def stats(self) -> Stats:
        """What this client did so far."""
        counts = self._sender.counts
        return Stats(
            tracked=self._tracked, queued=self._queue.waiting_events, queued_bytes=self._queue.waiting_bytes, accepted=counts.accepted,
            duplicates=counts.duplicates, rejected=counts.rejected, lost=self._lost, requests=counts.requests,
            failures=counts.failures, problem=counts.problem,
        )

    async def atrack(self, event_name: str, fields: Optional[Mapping[str, object]] = None, /, **more: object) -> str:
        """`track` for asyncio: waits for the disk, and for room, beside the event loop."""
        if self._folder is None and self._when_full != "block":
            return self.track(event_name, fields, **more)
        return await asyncio.to_thread(self.track, event_name, fields, **more)

    async def aflush(self, timeout: float = 30.0) -> bool:
        """`flush` for asyncio."""
        return await asyncio.to_thread(self.flush, timeout)

    async def aclose(self, timeout: float = 10.0) -> int:
        """`close` for asyncio."""
        return await asyncio.to_thread(self.close, timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        await self.aclose()

    def _end_with_process(self) -> None:
        """What is queued is sent when the process ends, also where nobody holds the client any more."""
        self._ends_with_process = True
        atexit.register(self._at_exit)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            # A child of multiprocessing does not run atexit's functions; it runs these.
            util.Finalize(None, self._at_exit, exitpriority=0)

    def _at_exit(self) -> None:
        self.close(EXIT_SECONDS)

    def _after_fork(self) -> None:
        """In the child: the queue, the connection and the thread are the parent's."""
        was_closed = self._is_closed
        self._queue.abandon()
        self._connection.abandon()
        self._begin()
        self._is_closed = was_closed


def _after_fork() -> None:
    for client in list(_clients):
        client._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
