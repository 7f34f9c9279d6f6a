"""The end of the queue on disk at which events come in: threads that wait at the same time share one fsync."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .disk_files import events_file, line_of, sync, sync_folder
from .limits import SEGMENT_BYTES
from .types import Closed, QueueFailed


class _Waiter:
    """A thread in `put`."""

    __slots__ = ("line", "is_done", "error")

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.is_done = False
        self.error: Optional[BaseException] = None


class DiskWriter:
    """Appends events to the newest segment of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Condition()
        self._waiters: List[_Waiter] = []
        self._is_writing = False
        self._descriptor: Optional[int] = None
        # The newest segment. Those before it are never written again.
        self.segment = 0
        # How far each segment is on disk: bytes and lines. What lies behind was never acknowledged.
        self.ends: Dict[int, Tuple[int, int]] = {}
        # How many lines all segments before have.
        self.bases: Dict[int, int] = {}
        self.taken_in = 0
        self._is_closed = False

    def put(self, data: bytes) -> None:
        """Returns when the event is on disk."""
        mine = _Waiter(line_of(data))
        with self._turn:
            if self._is_closed:
                raise Closed("the client is closed")
            self._waiters.append(mine)
            while self._is_writing and not mine.is_done:
                self._turn.wait()
            if mine.is_done:
                return self._raise(mine)
            # The first that finds nobody writing writes for all that wait.
            self._is_writing = True
            group, self._waiters = self._waiters, []
        error: Optional[BaseException] = None
        try:
            self._append([waiter.line for waiter in group])
        except BaseException as caught:
            error = caught
            self._give_up_segment()
        with self._turn:
            self._is_writing = False
            for waiter in group:
                waiter.error, waiter.is_done = error, True
            self._turn.notify_all()
        if error is not None and not isinstance(error, OSError):
            raise error
        self._raise(mine)

    def _raise(self, waiter: _Waiter) -> None:
        if waiter.error is not None:
            raise QueueFailed(f"{self._folder}: {waiter.error}") from waiter.error

    def _append(self, lines: List[bytes]) -> None:
        text = b"".join(lines)
        if self._descriptor is None or self.ends[self.segment][0] >= SEGMENT_BYTES:
            self._new_segment()
        assert self._descriptor is not None
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        sync(self._descriptor)
        end, count = self.ends[self.segment]
        self.ends[self.segment] = (end + len(text), count + len(lines))
        self.taken_in += len(lines)

    def _new_segment(self) -> None:
        self._close_file()
        next_segment = self.segment + 1
        self._descriptor = os.open(events_file(self._folder, next_segment), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        # Its name must be on disk before a line in it is acknowledged.
        sync_folder(self._folder)
        self.ends[next_segment] = (0, 0)
        self.bases[next_segment] = self.taken_in
        self.segment = next_segment

    def _give_up_segment(self) -> None:
        """After a failed write nobody knows what is behind the end; after a failed fsync, what the disk has of it."""
        descriptor = self._descriptor
        if descriptor is not None:
            try:
                os.ftruncate(descriptor, self.ends[self.segment][0])
            except OSError:
                # The reader stops at the end that is known; another process may read what is behind, and send it.
                pass
        self._close_file()

    def close(self) -> None:
        """Takes no more, once all that wait are written."""
        with self._turn:
            self._is_closed = True
            while self._is_writing or self._waiters:
                self._turn.wait()
        self._close_file()

    def abandon(self) -> None:
        """In a child after a fork: the threads that waited, and the locks they held, are the parent's."""
        self._close_file()

    def _close_file(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
