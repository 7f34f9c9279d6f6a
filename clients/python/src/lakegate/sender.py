"""The thread that sends: batches from the queue to the gateway, and each answer back to the queue."""

from __future__ import annotations

import http.client
import json
import logging
import random
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from .answer import Next, Verdict, read
from .connection import Connection
from .event import decode
from .limits import (
    ADOPT_SECONDS, BACKOFF_SECONDS, BACKOFF_SECONDS_MAX, HOLD_SECONDS, LATER_BYTES_MAX, LATER_EVENTS_MAX, LOGGED_KINDS_MAX,
)
from .memory_queue import Entry, Place, Queue
from .types import Rejected

log = logging.getLogger("lakegate")


def _backoff(failures: int) -> float:
    """The longest pause after so many failures in a row."""
    return min(BACKOFF_SECONDS_MAX, BACKOFF_SECONDS * 2.0 ** min(failures, 16))


@dataclass
class Counts:
    """What the sender counts for `Stats`."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    requests: int = 0
    failures: int = 0
    problem: Optional[str] = None


@dataclass
class Batching:
    """When a batch is sent."""

    events: int
    bytes: int
    seconds: float


@dataclass
class _Pause:
    """Why and until when nothing is sent."""

    until: float = 0.0
    # Named by the gateway: obeyed even by `close`.
    is_named: bool = False
    failures: int = 0
    # What was logged, so that it is logged once.
    told: Set[str] = field(default_factory=set)


class Sender:
    """Sends one batch at a time, the oldest events first."""

    def __init__(
        self, queue: Queue, connection: Connection, batching: Batching, on_rejected: Optional[Callable[[Rejected], None]],
    ) -> None:
        self._queue, self._connection, self._batching, self._on_rejected = queue, connection, batching, on_rejected
        self.counts = Counts()
        # Notified by `put` when something is due, by the thread when something is settled.
        self.changed = threading.Condition()
        self._thread: Optional[threading.Thread] = None
        self._pause = _Pause()
        # Events in the next request: fewer after an answer that the batch was too large, or wrong.
        self._events_max = batching.events
        # When the oldest event that waits was seen first.
        self._waiting_since: Optional[float] = None
        # `flush` was called for the events up to here.
        self._flush_until = 0
        # Events that wait for their own next turn: when that is, and how often they had one.
        self._later: Dict[Place, Tuple[float, int]] = {}
        self._later_bytes = 0
        self._new_is_first = False
        self._is_stopping = False
        self._looked_around = 0.0
        self._told_rejections: Set[Tuple[str, str, str]] = set()

    def start(self) -> None:
        """Starts the thread, once. Called with `changed` held."""
        if self._thread is None and not self._is_stopping:
            self._thread = threading.Thread(target=self._run, name="lakegate", daemon=True)
            self._thread.start()

    def came_in(self) -> None:
        """An event was put into the queue."""
        if self._waiting_since is None or self._is_full(self._queue.waiting_events):
            with self.changed:
                self.start()
                self.changed.notify_all()

    def flush(self, until: int, deadline: float) -> bool:
        """Waits until the first `until` events of this process are settled."""
        if threading.current_thread() is self._thread:
            # A callback: nothing is sent while it runs.
            return False
        with self.changed:
            self._flush_until = max(self._flush_until, until)
            if self._queue.settled_until < until:
                self.start()
            self.changed.notify_all()
            while self._queue.settled_until < until:
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self.changed.wait(left)
        return True

    def hurry(self) -> None:
        """One more attempt now, unless the gateway itself named a time."""
        with self.changed:
            if not self._pause.is_named:
                self._pause.until = 0.0
            self.changed.notify_all()

    def stop(self, deadline: float) -> None:
        """Ends the thread; a request that is under way is given until the deadline."""
        with self.changed:
            self._is_stopping = True
            self.changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while True:
            with self.changed:
                while not self._is_stopping:
                    wait = self._seconds_until_due()
                    if wait <= 0:
                        break
                    self.changed.wait(wait)
                if self._is_stopping:
                    break
            try:
                self._step()
            except Exception:
                # A fault of this package or of the disk: never the end of the thread, which would be the end of sending.
                log.exception("lakegate: sending failed, and goes on")
                self._rest(None)
        self._connection.close()

    def _seconds_until_due(self) -> float:
        now = time.monotonic()
        look = self._looked_around + ADOPT_SECONDS - now
        events = self._queue.waiting_events
        if events == 0:
            self._waiting_since = None
            return look
        if self._waiting_since is None:
            self._waiting_since = now
        pause = self._pause.until - now
        if pause > 0:
            return min(pause, look) if look > 0 else look
        passed_over = [until for until, _ in self._later.values() if until > now]
        if len(passed_over) >= events:
            return min(min(passed_over) - now, look)
        if self._is_full(events - len(passed_over)) or self._queue.settled_until < self._flush_until:
            return 0.0
        return min(self._waiting_since + self._batching.seconds - now, look)

    def _is_full(self, events: int) -> bool:
        return events >= self._batching.events or self._queue.request_bytes >= self._batching.bytes

    def _step(self) -> None:
        now = time.monotonic()
        if now - self._looked_around >= ADOPT_SECONDS:
            self._looked_around = now
            self._queue.look_around()
            # What was taken over waits like a new event.
            return
        batch = self._next_batch(now)
        if batch:
            self._obey(self._ask([entry.data for entry in batch]), batch)
        with self.changed:
            self._waiting_since = None
            self.changed.notify_all()

    def _next_batch(self, now: float) -> List[Entry]:
        """New events, and those whose own turn has come, each first in every other request."""
        self._new_is_first = not self._new_is_first
        if self._new_is_first and (batch := self._queue.oldest(self._events_max, self._batching.bytes, self._later)):
            return batch
        early = {place for place, (until, _) in self._later.items() if until > now}
        return self._queue.oldest(self._events_max, self._batching.bytes, early)

    def _ask(self, events: List[bytes]) -> Verdict:
        self.counts.requests += 1
        try:
            answer = self._connection.post(b"\n".join(events))
        except ssl.SSLCertVerificationError as error:
            return Verdict(Next.HOLD, problem="certificate", detail=str(error))
        except (OSError, http.client.HTTPException) as error:
            return Verdict(Next.WAIT, problem="unreachable", detail=str(error) or type(error).__name__)
        return read(answer.status, answer.body, answer.retry_after, len(events))

    def _obey(self, verdict: Verdict, batch: List[Entry]) -> None:
        """Settles what the answer settles, and waits as it says."""
        if verdict.next is Next.SPLIT and len(batch) == 1 and not verdict.settled:
            # The bad one is found. The gateway has not taken it, and never will.
            verdict.settled = [0]
            verdict.rejected = {0: {"code": verdict.problem, "detail": verdict.detail, "taken": False}}
            verdict.next = Next.GO_ON
        self._reject(verdict.rejected, batch)
        settled = [batch[index] for index in verdict.settled]
        self._queue.settle(settled)
        for entry in settled:
            if self._later.pop(entry.place, None):
                self._later_bytes -= len(entry.data)
        counts = self.counts
        counts.accepted += verdict.accepted
        counts.duplicates += verdict.duplicates
        if verdict.next is Next.GO_ON:
            self._events_max = min(self._batching.events, self._events_max * 2)
            if self._pause.told:
                log.warning("lakegate: sending again; %d events wait", self._queue.waiting_events)
            self._pause = _Pause()
            counts.problem = None
            return
        counts.failures += 1
        counts.problem = verdict.problem
        if verdict.next is Next.SPLIT:
            self._events_max = max(1, len(batch) // 2)
            return
        if verdict.problem == "unreachable":
            # A body that never arrives whole may be too large for what is between; and a gateway that starts is not hit at once.
            self._events_max = max(1, len(batch) // 2)
        self._tell(verdict)
        is_old = all(entry.place in self._later for entry in batch)
        if self._put_off([batch[index] for index in verdict.later], verdict) and (verdict.settled or is_old or verdict.is_theirs):
            # Some went through, or none that is new was asked for, or it is the fault of these: the others go on.
            self._pause.until, self._pause.failures = 0.0, 0
        else:
            self._rest(verdict)

    def _put_off(self, entries: List[Entry], verdict: Verdict) -> bool:
        """Lets other events pass those that were answered `retry`. False where there are too many of them, or none."""
        for entry in entries:
            known = self._later.get(entry.place)
            if known is None:
                if len(self._later) >= LATER_EVENTS_MAX or self._later_bytes + len(entry.data) > LATER_BYTES_MAX:
                    return False
                self._later_bytes += len(entry.data)
            turns = known[1] + 1 if known else 0
            seconds = random.uniform(0, _backoff(turns)) + (verdict.retry_after or 0.0)
            self._later[entry.place] = (time.monotonic() + seconds, turns)
        return bool(entries)

    def _rest(self, verdict: Optional[Verdict]) -> None:
        """Full jitter; never earlier than the gateway said."""
        pause = self._pause
        seconds = random.uniform(0, _backoff(pause.failures))
        pause.failures += 1
        if verdict is not None and verdict.next is Next.HOLD:
            seconds = random.uniform(HOLD_SECONDS / 2, HOLD_SECONDS)
        named = verdict.retry_after if verdict is not None else None
        pause.is_named = named is not None
        if named is not None:
            seconds = max(named, seconds) if verdict is not None and verdict.next is Next.HOLD else named + seconds * 0.1
        pause.until = time.monotonic() + seconds

    def _tell(self, verdict: Verdict) -> None:
        problem = verdict.problem or ""
        if problem in self._pause.told or len(self._pause.told) >= LOGGED_KINDS_MAX:
            return
        self._pause.told.add(problem)
        what = "a person must mend this; the events are kept" if verdict.next is Next.HOLD else "tried again until it passes"
        log.warning("lakegate: events cannot be sent: %s %s (%s; %d wait)", problem, verdict.detail, what, self._queue.waiting_events)

    def _reject(self, rejected: Dict[int, Dict[str, Any]], batch: List[Entry]) -> None:
        if not rejected:
            return
        self.counts.rejected += len(rejected)
        lines = []
        for index, error in rejected.items():
            event = decode(batch[index].data)
            schema, pointer = error.get("schema"), error.get("pointer")
            one = Rejected(
                event, str(error.get("code", "unknown")), str(error.get("detail", "")), pointer if isinstance(pointer, str) else None,
                schema if isinstance(schema, str) else None, error.get("taken") is not False,
            )
            if not one.in_dead_letters:
                lines.append(json.dumps({"code": one.code, "detail": one.detail, "event": event}).encode())
            kind = (str(event.get("event_name")), one.code, one.pointer or "")
            if kind not in self._told_rejections and len(self._told_rejections) < LOGGED_KINDS_MAX:
                self._told_rejections.add(kind)
                log.error("lakegate: %s is rejected: %s at %r: %s (logged once)", *kind, one.detail)
            if self._on_rejected is not None:
                try:
                    self._on_rejected(one)
                except Exception:
                    log.exception("lakegate: on_rejected failed")
        if lines:
            self._queue.keep_rejected(lines)
